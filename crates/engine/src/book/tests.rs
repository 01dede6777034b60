use model::{
    BatchCounts, BatchOutcome, Discovery, DownClass, Incomplete, Item, Learned, Method, Nip77, Removal, RepoSeen, Report, Said,
};

use super::*;
use crate::rules::HOME_FIRST_SECS;
use crate::testing::{addr, at, id, repo, url};

const NOW: u64 = 1_000_000;
const A: UpstreamId = UpstreamId(1);

fn seen(identifier: &str, version: u32, relays: &[&str]) -> RepoSeen {
    let relays = relays.iter().map(|relay| url(relay)).collect();
    RepoSeen {
        addr: addr(identifier),
        event: id(version),
        created_at: at(u64::from(version)),
        relays,
        maintainers: vec![],
        clone_urls: vec![],
        private: false,
    }
}

fn issue(n: u32, repos: &[&str]) -> RootSeen {
    let repos = repos.iter().map(|name| addr(name)).collect();
    RootSeen { id: id(n), kind: model::kinds::ISSUE, created_at: at(1), repos, author: None }
}

fn repos(seen: impl IntoIterator<Item = RepoSeen>) -> Discovery {
    Discovery { repos: seen.into_iter().collect(), ..Discovery::default() }
}

/// `wss://a.example` lists the repos r0…
fn book_of(count: u32) -> Book {
    let mut book = Book::new(Policy::default());
    book.discover(&repos((0..count).map(|n| seen(&format!("r{n:03}"), 1, &["wss://a.example"]))), at(NOW));
    book
}

fn say(book: &mut Book, epoch: Epoch, sequence: u64, said: Said, now: u64) -> Result<Vec<UpstreamId>, StateError> {
    book.report(&Report { upstream: A, epoch, sequence, said }, at(now), 0)
}

fn ended(batch: BatchId, outcome: BatchOutcome) -> Said {
    Said::BatchEnded { batch, outcome, method: Method::Req, counts: BatchCounts::default() }
}

fn incomplete() -> BatchOutcome {
    BatchOutcome::Incomplete { why: Incomplete::Closed, detail: String::new() }
}

fn down() -> Said {
    Said::Down { class: DownClass::Closed, detail: String::new() }
}

fn claim(book: &mut Book, items: &[Item], chunk: u32, now: u64) -> Option<BatchId> {
    let epoch = book.relays[&A].epoch;
    let drafts = vec![Draft { items: items.to_vec(), chunk, method: Method::Req }];
    let claim = Claim { upstream: A, epoch, refresh: None, rechunk: vec![], drafts, audit: None };
    book.claim(&claim, at(now)).unwrap().batches[0]
}

fn counts(book: &Book) -> (u64, u64, u64) {
    let Counts { wanted, pending, confirmed } = book.relays[&A].counts();
    (wanted, pending, confirmed)
}

#[test]
fn s09_last_up_does_not_pass_what_the_link_may_have_missed() {
    let mut book = book_of(1);
    let epoch = book.up(A, at(NOW), 0).unwrap().epoch;
    say(&mut book, epoch, 1, Said::CaughtUp, NOW).unwrap();
    book.note_behind(A, Some(at(NOW + 50)));
    say(&mut book, epoch, 2, down(), NOW + 100).unwrap();
    assert_eq!(book.relays[&A].last_up, Some(at(NOW + 50)));
}

#[test]
fn s10_pending_is_released_when_the_link_goes_down_and_not_later() {
    let mut book = book_of(3);
    let epoch = book.up(A, at(NOW), 0).unwrap().epoch;
    claim(&mut book, &[repo("r000"), repo("r001")], 0, NOW).unwrap();
    assert_eq!(counts(&book), (1, 2, 0));
    say(&mut book, epoch, 1, down(), NOW + 1).unwrap();
    assert_eq!(counts(&book), (3, 0, 0));
    assert_eq!(book.relays[&A].batches().count(), 0);
}

#[test]
fn s13_a_complete_batch_confirms_what_is_still_pending_in_it_and_nothing_else() {
    let mut book = book_of(3);
    let epoch = book.up(A, at(NOW), 0).unwrap().epoch;
    let first = claim(&mut book, &[repo("r000"), repo("r001")], 0, NOW).unwrap();
    assert_eq!(book.sweep(at(NOW + 59)), [A], "one item is wanted");
    book.sweep(at(NOW + 60));
    assert_eq!(counts(&book), (3, 0, 0), "a batch past its deadline is released");
    let second = claim(&mut book, &[repo("r000")], 0, NOW + 60).unwrap();
    assert_eq!(say(&mut book, epoch, 1, ended(first, BatchOutcome::Complete), NOW + 61), Ok(vec![]));
    assert_eq!(counts(&book), (2, 1, 0));
    assert_eq!(say(&mut book, epoch, 2, ended(second, BatchOutcome::Complete), NOW + 62), Ok(vec![A]));
    assert_eq!(counts(&book), (2, 0, 1));
}

#[test]
fn a_report_of_an_older_epoch_changes_nothing() {
    let mut book = book_of(1);
    let old = book.up(A, at(NOW), 0).unwrap().epoch;
    book.up(A, at(NOW + 1), 0).unwrap();
    let batch = claim(&mut book, &[repo("r000")], 0, NOW + 1).unwrap();
    for said in [ended(batch, BatchOutcome::Complete), down(), Said::Opened, Said::RateLimited { seconds: 9 }] {
        assert_eq!(say(&mut book, old, 9, said, NOW + 2), Err(StateError::Fenced));
    }
    assert_eq!(counts(&book), (0, 1, 0));
    assert!(book.relays[&A].is_up() && book.relays[&A].ask_at.is_none());
}

#[test]
fn a_claim_of_an_older_epoch_is_fenced() {
    let mut book = book_of(1);
    let old = book.up(A, at(NOW), 0).unwrap().epoch;
    book.up(A, at(NOW + 1), 0).unwrap();
    let drafts = vec![Draft { items: vec![repo("r000")], chunk: 0, method: Method::Req }];
    let claim = Claim { upstream: A, epoch: old, refresh: None, rechunk: vec![], drafts, audit: None };
    assert_eq!(book.claim(&claim, at(NOW + 2)), Err(StateError::Fenced));
}

#[test]
fn a_repeated_incomplete_batch_is_counted_once_and_the_next_ask_waits_longer_each_time() {
    let mut book = book_of(1);
    let epoch = book.up(A, at(NOW), 0).unwrap().epoch;
    let batch = claim(&mut book, &[repo("r000")], 0, NOW).unwrap();
    for sequence in [1, 1, 2] {
        say(&mut book, epoch, sequence, ended(batch, incomplete()), NOW).unwrap();
    }
    assert_eq!(book.relays[&A].ask_at, Some(at(NOW + 5)));
    let batch = claim(&mut book, &[repo("r000")], 0, NOW + 5).unwrap();
    say(&mut book, epoch, 3, ended(batch, incomplete()), NOW + 5).unwrap();
    assert_eq!(book.relays[&A].ask_at, Some(at(NOW + 15)));
}

#[test]
fn s09_last_up_is_the_end_of_a_link_that_had_caught_up() {
    let mut book = book_of(1);
    let epoch = book.up(A, at(NOW), 0).unwrap().epoch;
    say(&mut book, epoch, 1, Said::Opened, NOW).unwrap();
    say(&mut book, epoch, 2, Said::CaughtUp, NOW + 10).unwrap();
    say(&mut book, epoch, 3, down(), NOW + 100).unwrap();
    let granted = book.up(A, at(NOW + 130), 0).unwrap();
    assert_eq!(granted.resume, Resume::CatchUp { since: at(NOW + 100 - 900) });
}

#[test]
fn s09_a_link_that_did_not_catch_up_leaves_the_gap_of_the_former_one() {
    let mut book = book_of(1);
    let epoch = book.up(A, at(NOW), 0).unwrap().epoch;
    say(&mut book, epoch, 1, Said::CaughtUp, NOW).unwrap();
    say(&mut book, epoch, 2, down(), NOW + 100).unwrap();
    let epoch = book.up(A, at(NOW + 200), 0).unwrap().epoch;
    say(&mut book, epoch, 1, Said::Opened, NOW + 200).unwrap();
    say(&mut book, epoch, 2, down(), NOW + 300).unwrap();
    assert_eq!(book.relays[&A].last_up, Some(at(NOW + 100)));
    assert_eq!(book.up(A, at(NOW + 100 + 901), 0).unwrap().resume, Resume::Fresh);
}

#[test]
fn s09_a_link_whose_worker_died_is_known_good_until_it_was_last_seen() {
    let mut book = book_of(1);
    let epoch = book.up(A, at(NOW), 0).unwrap().epoch;
    say(&mut book, epoch, 1, Said::CaughtUp, NOW).unwrap();
    book.lapse(A, at(NOW + 50), at(NOW + 90));
    assert_eq!(book.up(A, at(NOW + 95), 0).unwrap().resume, Resume::CatchUp { since: at(NOW + 50 - 900) });
}

#[test]
fn s08_a_fresh_link_wants_everything_and_keeps_the_chunks() {
    let mut book = book_of(2);
    let epoch = book.up(A, at(NOW), 0).unwrap().epoch;
    let batch = claim(&mut book, &[repo("r000")], 4, NOW).unwrap();
    say(&mut book, epoch, 1, ended(batch, BatchOutcome::Complete), NOW).unwrap();
    say(&mut book, epoch, 2, down(), NOW + 1).unwrap();
    assert_eq!(book.up(A, at(NOW + 2000), 0).unwrap().resume, Resume::Fresh);
    assert_eq!(counts(&book), (2, 0, 0));
    assert_eq!(book.relays[&A].rows[&repo("r000")].chunk, Some(4));
}

#[test]
fn s15_a_refresh_starts_over_on_the_same_link_and_probes_nip77_again() {
    let mut book = book_of(1);
    let epoch = book.up(A, at(NOW), 0).unwrap().epoch;
    let refused = Learned { nip77: Some(Nip77::Refused { at: at(1), reason: String::new() }), ..Learned::default() };
    say(&mut book, epoch, 1, Said::Learned { facts: refused }, NOW).unwrap();
    say(&mut book, epoch, 2, Said::Opened, NOW).unwrap();
    claim(&mut book, &[repo("r000")], 0, NOW).unwrap();
    let claim = Claim { upstream: A, epoch, refresh: Some(at(NOW + 9)), rechunk: vec![], drafts: vec![], audit: None };
    book.claim(&claim, at(NOW + 1)).unwrap();
    let relay = &book.relays[&A];
    assert_eq!(counts(&book), (1, 0, 0));
    assert_eq!(relay.link, LinkView::Up { resume: Resume::Fresh, opened: false, caught_up: false });
    assert_eq!((relay.learned.nip77.clone(), relay.refresh_at), (None, Some(at(NOW + 9))));
}

#[test]
fn s15_a_refresh_that_came_due_while_the_link_was_down_makes_the_next_link_fresh() {
    let mut book = book_of(1);
    let epoch = book.up(A, at(NOW), 0).unwrap().epoch;
    say(&mut book, epoch, 1, Said::CaughtUp, NOW).unwrap();
    let due = NOW + crate::rules::REFRESH_SECS.0;
    say(&mut book, epoch, 2, down(), due - 1).unwrap();
    assert_eq!(book.up(A, at(due), 7).unwrap().resume, Resume::Fresh);
    assert_eq!(book.relays[&A].refresh_at, Some(at(due + crate::rules::REFRESH_SECS.0 + 7)));
}

#[test]
fn s17_a_dial_that_fails_waits_longer_and_a_caught_up_link_clears_it() {
    let mut book = book_of(1);
    let refused = |n| (n, Said::Down { class: DownClass::Refused, detail: String::new() });
    for (sequence, said) in [refused(1), refused(2), refused(2)] {
        say(&mut book, Epoch(0), sequence, said, NOW).unwrap();
    }
    assert_eq!(book.relays[&A].health.failures, 2);
    let epoch = book.up(A, at(NOW + 60), 0).unwrap().epoch;
    assert_eq!(book.relays[&A].health.failures, 2, "an open socket is no success");
    say(&mut book, epoch, 1, Said::CaughtUp, NOW + 61).unwrap();
    assert_eq!(book.relays[&A].health.failures, 0);
}

#[test]
fn s18_a_rate_limit_holds_back_the_next_ask_and_the_deadlines_of_what_is_in_flight() {
    let mut book = book_of(2);
    let epoch = book.up(A, at(NOW), 0).unwrap().epoch;
    claim(&mut book, &[repo("r000")], 0, NOW).unwrap();
    say(&mut book, epoch, 1, Said::Opened, NOW).unwrap();
    say(&mut book, epoch, 2, Said::RateLimited { seconds: 100 }, NOW).unwrap();
    assert_eq!(book.sweep(at(NOW + 99)), []);
    assert_eq!(counts(&book), (1, 1, 0));
    assert_eq!(book.sweep(at(NOW + 100)), [A]);
}

#[test]
fn s03_a_deleted_repo_leaves_the_targets_and_comes_back_only_with_a_newer_version() {
    let mut book = Book::new(Policy::default());
    book.discover(&Discovery { roots: vec![issue(9, &["x"])], ..repos([seen("x", 5, &["wss://a.example"])]) }, at(NOW));
    assert_eq!(counts(&book), (2, 0, 0));
    let removal = Removal { addr: addr("x"), until: at(6) };
    let dirty = book.discover(&Discovery { removals: vec![removal], ..Discovery::default() }, at(NOW + 1));
    assert_eq!((dirty, counts(&book)), (vec![A], (0, 0, 0)));
    assert_eq!(book.relays[&A].empty_since, Some(at(NOW + 1)));
    book.discover(&repos([seen("x", 6, &["wss://a.example"])]), at(NOW + 2));
    assert_eq!(counts(&book), (0, 0, 0));
    book.discover(&repos([seen("x", 7, &["wss://a.example"])]), at(NOW + 3));
    assert_eq!((counts(&book), book.relays[&A].empty_since), ((2, 0, 0), None));
}

#[test]
fn an_item_that_leaves_the_target_leaves_its_batch() {
    let mut book = book_of(2);
    let epoch = book.up(A, at(NOW), 0).unwrap().epoch;
    let batch = claim(&mut book, &[repo("r000"), repo("r001")], 0, NOW).unwrap();
    book.discover(&repos([seen("r000", 2, &["wss://b.example"])]), at(NOW));
    crate::invariants::of_book(&book).unwrap();
    say(&mut book, epoch, 1, ended(batch, BatchOutcome::Complete), NOW).unwrap();
    assert_eq!(counts(&book), (0, 0, 1));
}

#[test]
fn the_tails_are_the_highest_chunk_and_every_chunk_that_misses_something_with_all_members() {
    let mut book = book_of(6);
    let epoch = book.up(A, at(NOW), 0).unwrap().epoch;
    let lost = claim(&mut book, &[repo("r001")], 0, NOW).unwrap();
    for (item, chunk) in [("r000", 0), ("r002", 1), ("r003", 2), ("r004", 2)] {
        let batch = claim(&mut book, &[repo(item)], chunk, NOW).unwrap();
        say(&mut book, epoch, u64::from(chunk) + 1, ended(batch, BatchOutcome::Complete), NOW).unwrap();
    }
    say(&mut book, epoch, 9, ended(lost, incomplete()), NOW).unwrap();
    let look = book.snapshot(A, at(NOW)).unwrap();
    let tails: Vec<(u32, usize)> = look.tails.iter().map(|tail| (tail.chunk, tail.items.len())).collect();
    assert_eq!((tails, look.chunks), (vec![(0, 2), (2, 2)], (3, 0)));
    let missing: Vec<(String, Option<u32>)> = look.missing.iter().map(|m| (m.item.key()[70..].to_owned(), m.chunk)).collect();
    assert_eq!(missing.len(), 2);
    assert_eq!((missing[0].1, missing[1].1), (Some(0), None), "items with a place come first");
}

#[test]
fn s14_a_rebuild_takes_the_place_of_every_item_that_it_does_not_name() {
    let mut book = book_of(2);
    let epoch = book.up(A, at(NOW), 0).unwrap().epoch;
    let batch = claim(&mut book, &[repo("r000")], 3, NOW).unwrap();
    say(&mut book, epoch, 1, ended(batch, BatchOutcome::Complete), NOW).unwrap();
    let lost = claim(&mut book, &[repo("r001")], 5, NOW).unwrap();
    say(&mut book, epoch, 2, ended(lost, incomplete()), NOW).unwrap();
    let rechunk = vec![(repo("r000"), 0)];
    book.claim(&Claim { upstream: A, epoch, refresh: None, rechunk, drafts: vec![], audit: None }, at(NOW)).unwrap();
    assert_eq!(book.relays[&A].chunks(), (1, 0));
    assert_eq!(book.relays[&A].rows[&repo("r001")].chunk, None);
}

#[test]
fn what_home_does_not_hold_for_sure_waits_half_a_minute_and_without_a_home_nothing_waits() {
    let mut book = book_of(1);
    assert_eq!(book.snapshot(A, at(NOW)).unwrap().missing.len(), 1);
    book.name_relays(&[(url("wss://home.example"), Role::Home)], at(NOW));
    let home = book.number_of(&url("wss://home.example")).unwrap();
    assert_eq!(book.relays[&home].counts().wanted, 1, "home gets every known item as its target");
    assert_eq!(book.snapshot(A, at(NOW)).unwrap().missing.len(), 0);
    assert_eq!(book.snapshot(A, at(NOW + HOME_FIRST_SECS)).unwrap().missing.len(), 1);
    let epoch = book.up(home, at(NOW), 0).unwrap().epoch;
    let drafts = vec![Draft { items: vec![repo("r000")], chunk: 0, method: Method::Req }];
    let claimed =
        book.claim(&Claim { upstream: home, epoch, refresh: None, rechunk: vec![], drafts, audit: None }, at(NOW)).unwrap();
    let said = ended(claimed.batches[0].unwrap(), BatchOutcome::Complete);
    let dirty = book.report(&Report { upstream: home, epoch, sequence: 1, said }, at(NOW), 0).unwrap();
    assert_eq!(dirty, [A, home]);
    assert_eq!(book.snapshot(A, at(NOW)).unwrap().missing.len(), 1);
}

#[test]
fn a_bootstrap_relay_that_is_no_longer_named_is_listed() {
    let mut book = Book::new(Policy::default());
    book.name_relays(&[(url("wss://a.example"), Role::Bootstrap)], at(NOW));
    assert_eq!(book.relays[&A].role, Role::Bootstrap);
    book.name_relays(&[], at(NOW));
    assert_eq!(book.relays[&A].role, Role::Listed);
}

#[test]
fn everything_covered_is_shown_only_when_a_catch_up_or_a_rebuild_needs_it() {
    let mut book = book_of(2);
    let epoch = book.up(A, at(NOW), 0).unwrap().epoch;
    let batch = claim(&mut book, &[repo("r000")], 0, NOW).unwrap();
    say(&mut book, epoch, 1, ended(batch, BatchOutcome::Complete), NOW).unwrap();
    say(&mut book, epoch, 2, Said::CaughtUp, NOW).unwrap();
    assert_eq!(book.snapshot(A, at(NOW)).unwrap().covered, None);
    say(&mut book, epoch, 3, down(), NOW).unwrap();
    book.up(A, at(NOW + 5), 0).unwrap();
    let covered = book.snapshot(A, at(NOW + 5)).unwrap().covered.unwrap();
    assert_eq!(covered, [model::Covered { item: repo("r000"), chunk: Some(0) }]);
}

/// One confirmed repo in chunk 4, a link that had caught up and was lost.
fn reconnected(book: &mut Book, learned: Learned) -> Epoch {
    let epoch = book.up(A, at(NOW), 0).unwrap().epoch;
    say(book, epoch, 1, Said::Opened, NOW).unwrap();
    say(book, epoch, 2, Said::CaughtUp, NOW).unwrap();
    let batch = claim(book, &[repo("r000")], 4, NOW).unwrap();
    say(book, epoch, 3, ended(batch, BatchOutcome::Complete), NOW).unwrap();
    assert_eq!(book.relays[&A].audit, None, "a fresh link reads everything");
    say(book, epoch, 4, Said::Learned { facts: learned }, NOW).unwrap();
    say(book, epoch, 5, down(), NOW + 60).unwrap();
    book.up(A, at(NOW + 90), 0).unwrap().epoch
}

fn audited(part: u32, outcome: BatchOutcome) -> Said {
    Said::Audited { part, outcome, found: 0 }
}

#[test]
fn s09_an_audit_follows_a_quick_reconnect_part_by_part_and_ends() {
    let mut book = book_of(1);
    let epoch = reconnected(&mut book, Learned::default());
    let due = NOW + 90 + crate::rules::AUDIT_AFTER_SECS;
    let audit = |book: &Book, now| book.snapshot(A, at(now)).unwrap().audit.map(|audit| (audit.part, audit.items));
    assert_eq!(audit(&book, NOW + 90), Some((0, vec![])));
    say(&mut book, epoch, 1, Said::Opened, NOW + 91).unwrap();
    say(&mut book, epoch, 2, Said::CaughtUp, NOW + 91).unwrap();
    assert!(!book.is_due(A, at(due - 1)) && book.is_due(A, at(due)));
    assert_eq!(say(&mut book, epoch, 3, audited(0, BatchOutcome::Complete), due), Ok(vec![A]));
    assert_eq!(audit(&book, due), Some((5, vec![repo("r000")])), "the chunk above layer 1 that has items");
    say(&mut book, epoch, 4, audited(5, incomplete()), due).unwrap();
    assert!(!book.is_due(A, at(due)), "what could not be compared waits");
    let later = due + crate::rules::AUDIT_AFTER_SECS;
    assert_eq!(audit(&book, later), Some((5, vec![repo("r000")])));
    say(&mut book, epoch, 5, audited(5, BatchOutcome::Complete), later).unwrap();
    assert_eq!((audit(&book, later), counts(&book)), (None, (0, 0, 1)));
    assert!(!book.is_due(A, at(later)));
}

#[test]
fn s09_another_drop_begins_an_audit_anew_and_does_not_put_it_off() {
    let mut book = book_of(1);
    let epoch = reconnected(&mut book, Learned::default());
    say(&mut book, epoch, 1, Said::CaughtUp, NOW + 91).unwrap();
    say(&mut book, epoch, 2, audited(0, BatchOutcome::Complete), NOW + 100).unwrap();
    assert_eq!(book.relays[&A].audit, Some((at(NOW + 100), 1)), "the next part at once");
    say(&mut book, epoch, 3, down(), NOW + 200).unwrap();
    book.up(A, at(NOW + 230), 0).unwrap();
    assert_eq!(book.relays[&A].audit, Some((at(NOW + 100), 0)));
}

#[test]
fn s09_a_fresh_link_a_refresh_and_a_relay_without_nip77_have_no_audit() {
    let refused = || Learned { nip77: Some(Nip77::Refused { at: at(1), reason: String::new() }), ..Learned::default() };
    let mut book = book_of(1);
    reconnected(&mut book, refused());
    assert_eq!(book.relays[&A].audit, None, "refused before");
    let mut book = book_of(1);
    let epoch = reconnected(&mut book, Learned::default());
    assert!(book.relays[&A].audit.is_some());
    say(&mut book, epoch, 1, Said::Learned { facts: refused() }, NOW + 91).unwrap();
    assert_eq!(book.relays[&A].audit, None, "refused now");
    let mut book = book_of(1);
    let epoch = reconnected(&mut book, Learned::default());
    let claim = Claim { upstream: A, epoch, refresh: Some(at(NOW + 9_000)), rechunk: vec![], drafts: vec![], audit: None };
    book.claim(&claim, at(NOW + 91)).unwrap();
    assert_eq!(book.relays[&A].audit, None, "a refresh reads everything");
    let mut book = book_of(1);
    reconnected(&mut book, Learned::default());
    book.up(A, at(NOW + 100_000), 0).unwrap();
    assert_eq!(book.relays[&A].audit, None, "and so does a fresh link");
}

#[test]
fn s17_a_link_that_brings_events_and_drops_before_a_batch_ends_heals_the_ladder() {
    let mut book = book_of(1);
    for _ in 0..9 {
        book.up(A, at(NOW), 0).unwrap();
        let epoch = book.relays[&A].epoch;
        say(&mut book, epoch, 1, down(), NOW).unwrap();
    }
    assert_eq!(book.relays[&A].health.failures, 9);
    let epoch = book.up(A, at(NOW), 0).unwrap().epoch;
    let counts = BatchCounts { events: 5, ..BatchCounts::default() };
    say(&mut book, epoch, 1, Said::Progress { batches: vec![], rows: vec![], counts }, NOW + 60).unwrap();
    assert_eq!(book.relays[&A].health, crate::health::Health::default());
    say(&mut book, epoch, 2, down(), NOW + 61).unwrap();
    assert_eq!(book.relays[&A].health.failures, 1);
}
