//! What sessions report.

use model::{
    BatchOutcome, DownClass, Incomplete, Kind, Learned, LinkView, Nip77, Outcome, Said, StateError, Timestamp, UpstreamStatus,
};

use super::world::{Link, START, World, announced, complete, ended, home, id, progress, relay, repo_item, row};

fn down(class: DownClass) -> Said {
    Said::Down { class, detail: "as it was seen".to_owned() }
}

fn incomplete(why: Incomplete, detail: &str) -> BatchOutcome {
    BatchOutcome::Incomplete { why, detail: detail.to_owned() }
}

/// Repos 1 and 2 on relay 1, whose link stands.
async fn linked(world: &World) -> Link {
    world.discover(&[announced(1, 5, &[1]), announced(2, 5, &[1])], &[]).await;
    world.caught_up(&relay(1)).await
}

/// Without what goes on with the clock.
async fn shown(world: &World) -> UpstreamStatus {
    UpstreamStatus { next: None, good_to: None, ..world.status_of(&relay(1)).await.unwrap() }
}

pub(crate) async fn s10_the_end_of_a_link_gives_back_what_was_pending(world: World) {
    let mut link = linked(&world).await;
    world.confirm(&mut link, &[repo_item(2)], 0).await;
    world.take(&link, &[repo_item(1)], 0).await.unwrap();
    assert_eq!(world.say(&mut link, down(DownClass::Closed)).await, []);
    assert_eq!(world.counts(&relay(1)).await, (1, 0, 1));
    let snapshot = world.snapshot(&relay(1)).await;
    assert_eq!(snapshot.batches_in_flight, 0);
    assert!(matches!(snapshot.link, LinkView::Down { .. }));
}

pub(crate) async fn s13_a_complete_batch_confirms(world: World) {
    let mut link = linked(&world).await;
    let batch = world.take(&link, &[repo_item(1)], 0).await.unwrap();
    assert_eq!(world.counts(&relay(1)).await, (1, 1, 0));
    assert_eq!(world.say(&mut link, complete(batch)).await, [link.upstream]);
    assert_eq!(world.counts(&relay(1)).await, (1, 0, 1));
    let counts = shown(&world).await.counts;
    assert_eq!((counts.rounds, counts.events), (3, 0), "frames and bytes come with the progress of the link");
}

pub(crate) async fn an_incomplete_batch_waits_longer_each_time(world: World) {
    let mut link = linked(&world).await;
    for wait in [5, 10, 20] {
        let batch = world.take(&link, &[repo_item(1)], 0).await.unwrap();
        let dirty = world.say(&mut link, ended(batch, incomplete(Incomplete::Closed, "blocked: no"))).await;
        assert_eq!(dirty, [link.upstream]);
        let ask_at = world.snapshot(&relay(1)).await.ask_at;
        assert_eq!(ask_at, Some(Timestamp::from_secs(world.now() + wait)));
    }
    assert_eq!(world.counts(&relay(1)).await, (2, 0, 0));
    assert_eq!(shown(&world).await.incomplete.as_deref(), Some("closed: blocked: no"));
    world.confirm(&mut link, &[repo_item(1)], 0).await;
    assert_eq!(shown(&world).await.incomplete, None);
    let batch = world.take(&link, &[repo_item(2)], 0).await.unwrap();
    world.say(&mut link, ended(batch, incomplete(Incomplete::Idle, ""))).await;
    let ask_at = world.snapshot(&relay(1)).await.ask_at;
    assert_eq!(ask_at, Some(Timestamp::from_secs(world.now() + 5)), "a complete batch heals");
    world.say(&mut link, down(DownClass::Closed)).await;
    assert_eq!(world.snapshot(&relay(1)).await.ask_at, None, "a new link asks at once");
}

pub(crate) async fn a_batch_that_ended_cannot_end_again(world: World) {
    let mut link = linked(&world).await;
    let batch = world.take(&link, &[repo_item(1)], 0).await.unwrap();
    world.say(&mut link, ended(batch, incomplete(Incomplete::Idle, ""))).await;
    assert_eq!(world.say(&mut link, complete(batch)).await, []);
    assert_eq!(world.counts(&relay(1)).await, (2, 0, 0));
    assert_eq!(world.say(&mut link, complete(model::BatchId(4711))).await, []);
}

pub(crate) async fn a_report_of_an_old_epoch_is_fenced(world: World) {
    let mut old = linked(&world).await;
    let batch = world.take(&old, &[repo_item(1)], 0).await.unwrap();
    let new = world.link(&relay(1)).await;
    for said in [complete(batch), down(DownClass::Closed), Said::Opened, progress(vec![], vec![])] {
        old.sequence += 1;
        assert_eq!(world.try_say(&old, said).await, Err(StateError::Fenced));
    }
    let view = world.snapshot(&relay(1)).await.link;
    assert_eq!(view, LinkView::Up { resume: new.resume, opened: false, caught_up: false });
    assert_eq!(world.counts(&relay(1)).await, (2, 0, 0));
    let nobody = Link { upstream: model::UpstreamId(4711), ..old };
    assert_eq!(world.try_say(&nobody, Said::Opened).await, Err(StateError::NoSuchUpstream));
}

pub(crate) async fn a_repeated_sequence_changes_nothing(world: World) {
    let mut link = linked(&world).await;
    let failed = down(DownClass::Timeout);
    world.say(&mut link, failed.clone()).await;
    let before = shown(&world).await;
    assert_eq!(before.failures, 1);
    world.pass(100);
    assert_eq!(world.try_say(&link, failed).await, Ok(vec![]));
    assert_eq!(shown(&world).await, before);
    let mut link = world.link(&relay(1)).await;
    let seen = progress(vec![], vec![row(1, Kind::TextNote, 5, Outcome::Stored)]);
    world.say(&mut link, seen.clone()).await;
    let before = shown(&world).await;
    world.try_say(&link, seen).await.unwrap();
    assert_eq!(shown(&world).await, before, "nothing is counted twice");
}

pub(crate) async fn a_late_report_of_events_still_counts_for_the_ledger(world: World) {
    let mut link = linked(&world).await;
    let late = Link { sequence: link.sequence, ..link.clone() };
    let batch = world.take(&link, &[repo_item(1)], 0).await.unwrap();
    world.say(&mut link, progress(vec![], vec![row(2, Kind::TextNote, 5, Outcome::Stored)])).await;
    world.try_say(&late, progress(vec![], vec![row(1, Kind::TextNote, 5, Outcome::Stored)])).await.unwrap();
    assert_eq!(world.store.known(&[id(1), id(2)]).await.unwrap(), [id(1), id(2)]);
    world.try_say(&late, complete(batch)).await.unwrap();
    assert_eq!(world.counts(&relay(1)).await, (1, 0, 1));
}

pub(crate) async fn x5_each_ban_is_longer_than_the_one_before_and_good_conduct_is_the_only_thing_that_heals_it(world: World) {
    let mut link = linked(&world).await;
    for (strikes, ban) in [(1_u32, 600), (2, 3_600), (3, 86_400)] {
        // Neither events nor a link that lasts takes a strike back.
        world.live(40).await;
        let seen = progress(vec![], vec![row(strikes as usize, Kind::TextNote, 5, Outcome::Stored)]);
        world.say(&mut link, seen).await;
        world.say(&mut link, Said::CaughtUp).await;
        world.say(&mut link, down(DownClass::Banned)).await;
        let known = explained(&world).await;
        assert_eq!((known.status.last_down, known.strikes), (Some(DownClass::Banned), strikes));
        let until = Timestamp::from_secs(world.now() + ban);
        assert_eq!(world.assignment(&relay(1)).await.unwrap().dial_at, until);
        assert_eq!(known.status.next, Some(model::Next { at: until, why: model::NextWhy::Dial }));
        link = world.link(&relay(1)).await;
    }
    world.pass(3 * 86_400 + 86_400);
    assert_eq!(explained(&world).await.strikes, 0, "three days of good conduct");
}

async fn explained(world: &World) -> model::UpstreamExplained {
    let told = world.store.explain(&model::Subject::Upstream(relay(1))).await.unwrap();
    match told.explained {
        model::Explained::Upstream(upstream) => *upstream.unwrap(),
        other @ (model::Explained::Event(_) | model::Explained::Repo(_)) => panic!("{other:?}"),
    }
}

pub(crate) async fn s17_failures_add_up_and_a_useful_answer_clears_them(world: World) {
    let mut link = linked(&world).await;
    for failures in 1..=3 {
        world.say(&mut link, down(DownClass::Refused)).await;
        let shown = shown(&world).await;
        assert_eq!((shown.failures, shown.last_down), (failures, Some(DownClass::Refused)));
    }
    // 20 s less a quarter, for the roll is 0.
    let dial_at = Timestamp::from_secs(world.now() + 15);
    assert_eq!(world.assignment(&relay(1)).await.unwrap().dial_at, dial_at);
    world.say(&mut link, down(DownClass::Released)).await;
    assert_eq!(shown(&world).await.failures, 3, "our own hang-up is no failure");
    let mut link = world.link(&relay(1)).await;
    world.say(&mut link, Said::Opened).await;
    assert_eq!(shown(&world).await.failures, 3, "an open socket is no success");
    world.say(&mut link, Said::CaughtUp).await;
    assert_eq!(shown(&world).await.failures, 0);
}

pub(crate) async fn s17_events_of_a_link_that_drops_before_a_batch_ends_heal_the_ladder(world: World) {
    let mut link = linked(&world).await;
    for _ in 0..9 {
        world.say(&mut link, down(DownClass::Refused)).await;
    }
    let seen = || progress(vec![], vec![row(1, Kind::TextNote, 5, Outcome::Refused)]);
    world.live(600).await;
    let mut link = world.link(&relay(1)).await;
    world.say(&mut link, seen()).await;
    assert_eq!(shown(&world).await.failures, 1, "one event of a link that has just come up is not everything");
    world.say(&mut link, down(DownClass::Closed)).await;
    assert_eq!(shown(&world).await.failures, 2);
    let mut link = world.link(&relay(1)).await;
    world.live(30).await;
    world.say(&mut link, seen()).await;
    assert_eq!(shown(&world).await.failures, 0, "it lasted");
}

fn audited(part: u32, outcome: BatchOutcome) -> Said {
    Said::Audited { part, outcome, found: 0 }
}

/// A link that catches up after an outage of ten seconds, with repo 1 confirmed in chunk 4.
async fn reconnected(world: &World) -> Link {
    let mut link = linked(world).await;
    world.confirm(&mut link, &[repo_item(1)], 4).await;
    assert_eq!(world.snapshot(&relay(1)).await.audit, None, "a fresh link reads everything");
    world.live(10).await;
    world.say(&mut link, down(DownClass::Closed)).await;
    world.live(10).await;
    world.caught_up(&relay(1)).await
}

/// The part that is next, and its items.
async fn audit(world: &World) -> Option<(u32, Vec<model::Item>)> {
    world.snapshot(&relay(1)).await.audit.map(|audit| (audit.part, audit.items))
}

pub(crate) async fn s09_an_audit_follows_a_quick_reconnect_part_by_part_and_ends(world: World) {
    let mut link = reconnected(&world).await;
    world.confirm(&mut link, &[repo_item(2)], 7).await;
    let due_at = world.now() + engine::rules::AUDIT_AFTER_SECS;
    let shown = world.snapshot(&relay(1)).await.audit.unwrap();
    assert_eq!((shown.due_at, shown.part, shown.items.len()), (Timestamp::from_secs(due_at), 0, 0));
    assert_eq!(world.store.sweep().await.unwrap(), []);
    world.live(engine::rules::AUDIT_AFTER_SECS).await;
    assert_eq!(world.store.sweep().await.unwrap(), [link.upstream]);
    let again = Timestamp::from_secs(world.now() + 300);
    world.claim(&link, |claim| claim.audit = Some(again)).await.unwrap();
    assert_eq!(world.store.sweep().await.unwrap(), [], "it is asked for");
    assert_eq!(world.snapshot(&relay(1)).await.audit.unwrap().due_at, again);
    let complete = || BatchOutcome::Complete;
    assert_eq!(world.say(&mut link, audited(0, complete())).await, [link.upstream]);
    assert_eq!(audit(&world).await, Some((5, vec![repo_item(1)])), "the first chunk that has items");
    assert_eq!(world.say(&mut link, audited(5, incomplete(Incomplete::Closed, "no"))).await, []);
    assert_eq!(world.store.sweep().await.unwrap(), [], "what could not be compared waits");
    world.live(engine::rules::AUDIT_AFTER_SECS).await;
    world.say(&mut link, audited(5, complete())).await;
    assert_eq!(audit(&world).await, Some((8, vec![repo_item(2)])));
    world.say(&mut link, audited(8, complete())).await;
    assert_eq!(audit(&world).await, None);
    assert_eq!(world.store.sweep().await.unwrap(), []);
    assert_eq!(world.counts(&relay(1)).await, (0, 0, 2), "coverage stays as it was");
}

pub(crate) async fn s09_an_audit_outlives_a_restart_and_is_not_put_off_by_it(mut world: World) {
    reconnected(&world).await;
    let before = world.snapshot(&relay(1)).await.audit.unwrap();
    world.live(10).await;
    world.crash().await;
    world.caught_up(&relay(1)).await;
    assert_eq!(world.snapshot(&relay(1)).await.audit, Some(before), "at the same moment");
    let mut link = world.caught_up(&relay(1)).await;
    world.say(&mut link, audited(0, BatchOutcome::Complete)).await;
    assert_eq!(audit(&world).await.map(|(part, _)| part), Some(5));
    world.crash().await;
    world.caught_up(&relay(1)).await;
    let anew = world.snapshot(&relay(1)).await.audit.unwrap();
    assert!(anew.part == 0 && anew.due_at.as_secs() <= world.now(), "from the first part on, at once: {anew:?}");
}

pub(crate) async fn s09_there_is_no_audit_without_nip77_nor_beside_a_fresh_start(world: World) {
    let mut link = reconnected(&world).await;
    let nip77 = Some(Nip77::Refused { at: Timestamp::from_secs(START), reason: "no \u{0}".to_owned() });
    let faulty = Some(model::Faulty { forged: 1, ..model::Faulty::default() });
    world.say(&mut link, Said::Learned { facts: Learned { nip77, faulty, ..Learned::default() } }).await;
    assert_eq!(audit(&world).await, None, "refused now");
    world.say(&mut link, down(DownClass::Closed)).await;
    let mut link = world.caught_up(&relay(1)).await;
    assert_eq!(audit(&world).await, None, "refused before");
    let refresh = Timestamp::from_secs(world.now() + 9_000);
    world.claim(&link, |claim| claim.refresh = Some(refresh)).await.unwrap();
    assert_eq!(world.snapshot(&relay(1)).await.learned, Learned::default(), "a refresh looks at all of it anew");
    world.say(&mut link, Said::CaughtUp).await;
    world.say(&mut link, down(DownClass::Closed)).await;
    let link = world.caught_up(&relay(1)).await;
    assert!(audit(&world).await.is_some());
    world.claim(&link, |claim| claim.refresh = Some(refresh)).await.unwrap();
    assert_eq!(audit(&world).await, None, "a refresh reads everything");
}

pub(crate) async fn s18_a_rate_limit_moves_the_next_ask_and_the_deadlines(world: World) {
    let mut link = linked(&world).await;
    world.take(&link, &[repo_item(1)], 0).await.unwrap();
    world.say(&mut link, Said::RateLimited { seconds: 300 }).await;
    assert_eq!(world.snapshot(&relay(1)).await.ask_at, Some(Timestamp::from_secs(START + 300)));
    world.live(359).await;
    world.store.sweep().await.unwrap();
    assert_eq!(world.counts(&relay(1)).await, (1, 1, 0), "the batch waits too");
    world.live(1).await;
    world.store.sweep().await.unwrap();
    assert_eq!(world.counts(&relay(1)).await, (2, 0, 0));
}

pub(crate) async fn what_was_learned_is_kept_and_added_to(world: World) {
    let mut link = linked(&world).await;
    let nip77 = Some(Nip77::Works { at: Timestamp::from_secs(START) });
    world.say(&mut link, Said::Learned { facts: Learned { nip77: nip77.clone(), ..Learned::default() } }).await;
    let facts = Learned { page_cap: Some(500), ..Learned::default() };
    assert_eq!(world.say(&mut link, Said::Learned { facts }).await, [], "nothing to plan with");
    let learned = Learned { nip77, page_cap: Some(500), ..Learned::default() };
    assert_eq!(world.assignment(&relay(1)).await.unwrap().learned, learned);
    assert_eq!(world.snapshot(&relay(1)).await.learned, learned);
    assert_eq!(shown(&world).await.learned, learned);
}

pub(crate) async fn what_home_confirms_is_free_for_the_other_upstreams(world: World) {
    world.discover(&[announced(1, 5, &[1, 2]), announced(2, 5, &[3])], &[]).await;
    let mut elsewhere = world.caught_up(&relay(2)).await;
    world.confirm(&mut elsewhere, &[repo_item(1)], 0).await;
    let mut link = world.link(&home()).await;
    let dirty = world.confirm(&mut link, &[repo_item(1)], 0).await;
    assert_eq!(world.urls(&dirty).await, [home(), relay(1)], "relay 2 has it, relay 3 never wanted it");
}

pub(crate) async fn a_batch_confirms_nothing_that_left_the_target(world: World) {
    let mut link = linked(&world).await;
    let batch = world.take(&link, &[repo_item(1), repo_item(2)], 0).await.unwrap();
    world.discover(&[announced(1, 6, &[])], &[]).await;
    world.say(&mut link, complete(batch)).await;
    assert_eq!(world.counts(&relay(1)).await, (0, 0, 1));
    world.discover(&[announced(1, 7, &[1])], &[]).await;
    assert_eq!(world.counts(&relay(1)).await, (1, 0, 1), "when it returns it is wanted");
}

/// Replicas share the reports of an upstream, so that they overtake each other.
pub(crate) async fn words_that_were_overtaken_count_once(world: World) {
    world.discover(&[announced(1, 5, &[1])], &[]).await;
    let mut link = world.link(&relay(1)).await;
    let first = link.sequence;
    for (sequence, said) in [
        (first + 3, Said::CaughtUp),
        (first + 2, progress(vec![], vec![])),
        (first + 1, Said::Opened),
        (first + 2, progress(vec![], vec![])),
        (first + 1, Said::Opened),
    ] {
        link.sequence = sequence;
        world.try_say(&link, said).await.unwrap();
    }
    let snapshot = world.snapshot(&relay(1)).await;
    assert!(matches!(snapshot.link, LinkView::Up { opened: true, caught_up: true, .. }), "{:?}", snapshot.link);
    assert_eq!(shown(&world).await.counts.events, 1, "the figures of a report that comes twice count once");
}
