//! Each invariant holds on a sound world, and is broken on purpose.

use model::{Claim, Discovery, Draft, Item, Method, RepoSeen};

use super::*;
use crate::book::Row;
use crate::rules::Policy;
use crate::session::{Input, Now};
use crate::testing::{addr, at, id, repo, root, url};

const NOW: u64 = 1_000_000;
const A: UpstreamId = UpstreamId(1);

/// One relay, up, with `pending` and `wanted` repos.
fn book(pending: u32, wanted: u32) -> Book {
    let mut book = Book::new(Policy::default());
    let seen = |n| RepoSeen {
        addr: addr(&format!("r{n:03}")),
        event: id(n),
        created_at: at(1),
        relays: vec![url("wss://a.example")],
        maintainers: vec![],
        clone_urls: vec![],
        private: false,
    };
    book.discover(&Discovery { repos: (0..pending + wanted).map(seen).collect(), ..Discovery::default() }, at(NOW));
    let epoch = book.up(A, at(NOW), 0).expect("known").epoch;
    let items: Vec<Item> = (0..pending).map(|n| repo(&format!("r{n:03}"))).collect();
    let drafts = vec![Draft { items, chunk: 0, method: Method::Req }];
    book.claim(&Claim { upstream: A, epoch, refresh: None, rechunk: vec![], drafts, audit: None }, at(NOW)).expect("current");
    book
}

fn relay(book: &mut Book) -> &mut Relay {
    book.relay_mut(A)
}

fn says(result: Result<(), Violation>, invariant: &str) -> String {
    let violation = result.expect_err("it is broken on purpose");
    assert_eq!(violation.invariant, invariant);
    violation.to_string()
}

#[test]
fn i01_i02_i04_hold_on_a_sound_book() {
    assert_eq!(of_book(&book(3, 2)), Ok(()));
}

#[test]
fn i01_pending_on_a_dead_link_is_seen() {
    let mut book = book(1, 0);
    relay(&mut book).link = LinkView::Down { dial_at: at(NOW) };
    assert_eq!(
        says(i01_pending_belongs_to_a_living_link(&book), "I1"),
        "I1 is broken: wss://a.example/ is down and has pending items"
    );
}

#[test]
fn i01_a_batch_of_an_older_epoch_is_seen() {
    let mut book = book(1, 0);
    relay(&mut book).epoch.0 += 1;
    says(i01_pending_belongs_to_a_living_link(&book), "I1");
}

#[test]
fn i02_an_item_in_two_batches_is_seen() {
    let mut book = book(2, 0);
    let (number, batch) = relay(&mut book).batches().next().map(|(id, batch)| (id, batch.clone())).expect("one batch");
    relay(&mut book).batches.insert(model::BatchId(number.0 + 1), batch);
    says(i02_an_item_has_one_state(&book), "I2");
}

#[test]
fn i02_a_confirmed_item_in_an_open_batch_is_seen() {
    let mut book = book(1, 0);
    let confirmed = Row { status: Status::Confirmed, chunk: Some(0), wanted_at: at(NOW) };
    relay(&mut book).rows.insert(repo("r000"), confirmed);
    says(i02_an_item_has_one_state(&book), "I2");
}

#[test]
fn i03_a_live_subscription_too_many_is_seen() {
    let mut session = Session::new(Resume::Fresh, model::Learned::default());
    let live = crate::filters::live(model::ItemKind::Repo, 0, &[repo("x")]);
    let fetch = Ask::Fetch { batch: model::BatchId(1), live, polled: vec![], history: vec![], method: Method::Req, layout: 0 };
    session.handle(Input::Order(fetch), Now { ms: 0, wall: at(NOW) });
    assert_eq!(i03_live_subscriptions_fit_the_limit(&session, 3), Ok(()));
    says(i03_live_subscriptions_fit_the_limit(&session, 2), "I3");
}

#[test]
fn i04_a_filter_with_301_items_is_seen() {
    let items: Vec<Item> = (0..301).map(root).collect();
    assert_eq!(i04_no_filter_names_too_many(&crate::filters::history(model::ItemKind::Root, &items[..300])), Ok(()));
    says(i04_no_filter_names_too_many(&crate::filters::history(model::ItemKind::Root, &items)), "I4");
}

#[test]
fn i04_a_chunk_with_301_members_is_seen() {
    assert_eq!(i04_no_chunk_holds_more_than_a_filter_names(&book(300, 5)), Ok(()));
    says(i04_no_chunk_holds_more_than_a_filter_names(&book(301, 0)), "I4");
}

#[test]
fn i05_since_on_a_fresh_link_or_in_a_batch_is_seen() {
    let filter = crate::filters::layer1(Role::Listed);
    let open = |since| [Ask::OpenAnnouncements { filter: filter.clone(), since, method: Method::Req }];
    assert_eq!(i05_fresh_has_no_since(Resume::Fresh, &open(None)), Ok(()));
    assert_eq!(i05_fresh_has_no_since(Resume::CatchUp { since: at(5) }, &open(Some(at(5)))), Ok(()));
    says(i05_fresh_has_no_since(Resume::Fresh, &open(Some(at(5)))), "I5");
    let history = vec![filter.since(at(5))];
    let fetch =
        [Ask::Fetch { batch: model::BatchId(1), live: vec![], polled: vec![], history, method: Method::Req, layout: 0 }];
    says(i05_fresh_has_no_since(Resume::CatchUp { since: at(5) }, &fetch), "I5");
}

#[test]
fn i06_a_bootstrap_upstream_hung_up_for_being_empty_is_seen() {
    let asks = [Ask::HangUp { reason: HangUpReason::Empty }];
    assert_eq!(i06_only_listed_upstreams_are_hung_up(Role::Listed, &asks), Ok(()));
    says(i06_only_listed_upstreams_are_hung_up(Role::Bootstrap, &asks), "I6");
    says(i06_only_listed_upstreams_are_hung_up(Role::Home, &asks), "I6");
}

#[test]
fn i07_two_sessions_on_one_upstream_are_seen() {
    assert_eq!(i07_one_session_per_upstream([A, UpstreamId(2)]), Ok(()));
    says(i07_one_session_per_upstream([A, UpstreamId(2), A]), "I7");
}

#[test]
fn i08_an_event_served_without_an_outcome_is_seen() {
    let (served, settled) = (BTreeSet::from([id(1), id(2)]), BTreeSet::from([id(1), id(2), id(3)]));
    assert_eq!(i08_confirmed_is_settled(&served, &settled), Ok(()));
    says(i08_confirmed_is_settled(&settled, &served), "I8");
}

#[test]
fn i09_an_event_that_home_lacks_and_an_unconfirmed_target_are_seen() {
    let (some, all) = (BTreeSet::from([id(1)]), BTreeSet::from([id(1), id(2)]));
    assert_eq!(i09_home_is_complete(&all, &some), Ok(()));
    assert_eq!(says(i09_home_is_complete(&some, &all), "I9"), "I9 is broken: home lacks 1 events: 00000000");
    says(i09_every_target_is_confirmed(&book(1, 0)), "I9");
    says(i09_every_target_is_confirmed(&book(1, 3)), "I9");
    assert_eq!(i09_every_target_is_confirmed(&Book::new(Policy::default())), Ok(()));
}

#[test]
fn i10_a_plan_that_asks_and_a_link_that_did_not_catch_up_are_seen() {
    let mut book = book(1, 1);
    assert_eq!(i10_settled_asks_for_nothing(&Plan::default()), Ok(()));
    let look = book.snapshot(A, at(NOW)).expect("known");
    says(i10_settled_asks_for_nothing(&crate::plan::plan(&look, book.policy(), 0)), "I10");
    says(i10_settled_links_are_caught_up(&book), "I10");
    relay(&mut book).link = LinkView::Up { resume: Resume::Fresh, opened: true, caught_up: true };
    assert_eq!(i10_settled_links_are_caught_up(&book), Ok(()));
}

#[test]
fn i11_two_logs_that_differ_are_seen_with_the_line() {
    assert_eq!(i11_same_run_same_log("a\nb", "a\nb"), Ok(()));
    assert!(says(i11_same_run_same_log("a\nb", "a\nc"), "I11").contains("line 2"));
    says(i11_same_run_same_log("a", "a\nb"), "I11");
}

#[test]
fn i12_an_event_that_a_catch_up_passes_over_is_seen() {
    let (skipped, settled) = (BTreeSet::from([id(1)]), BTreeSet::from([id(1), id(2)]));
    assert_eq!(i12_a_catch_up_skips_nothing(&skipped, &settled), Ok(()));
    says(i12_a_catch_up_skips_nothing(&settled, &skipped), "I12");
}
