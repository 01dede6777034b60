use model::{Epoch, Item, Learned, Tail, UpstreamId};

use super::*;
use crate::testing::{at, repo, root, url};

const NOW: u64 = 1_000_000;

fn up() -> Snapshot {
    Snapshot {
        upstream: UpstreamId(1),
        url: url("wss://a.example"),
        role: Role::Listed,
        epoch: Epoch(5),
        link: LinkView::Up { resume: Resume::Fresh, opened: true, caught_up: false },
        learned: Learned::default(),
        now: at(NOW),
        missing: Vec::new(),
        wanted: 0,
        pending: 0,
        confirmed: 1,
        batches_in_flight: 0,
        tails: Vec::new(),
        chunks: (0, 0),
        layout: 0,
        rebuild: None,
        covered: None,
        refresh_at: at(NOW + 10_000),
        ask_at: None,
        empty_since: None,
    }
}

fn missing(items: impl IntoIterator<Item = Item>) -> Snapshot {
    let missing: Vec<Covered> = items.into_iter().map(|item| Covered { item, chunk: None }).collect();
    Snapshot { wanted: missing.len() as u64, missing, ..up() }
}

fn planned(look: &Snapshot) -> Plan {
    plan(look, &Policy::default(), 0)
}

fn repos(names: std::ops::Range<u32>) -> Vec<Item> {
    names.map(|n| repo(&format!("r{n:04}"))).collect()
}

#[test]
fn s04_an_upstream_that_is_down_is_passed_over() {
    let look = Snapshot { link: LinkView::Down { dial_at: at(NOW + 5) }, ..missing(repos(0..3)) };
    let plan = planned(&look);
    assert!(plan.asks_for_nothing());
    assert_eq!(plan.report.reasons, [Reason::Down { dial_at: at(NOW + 5) }]);
}

#[test]
fn i10_a_settled_upstream_is_asked_for_nothing() {
    let plan = planned(&up());
    assert!(plan.asks_for_nothing());
    assert_eq!(plan.report.to_string(), "settled: nothing is missing (0 wanted, 0 pending, 1 confirmed)");
}

#[test]
fn s06_s07_missing_items_become_batches_of_at_most_100_of_one_kind() {
    let items = repos(0..250).into_iter().chain((0..30).map(root));
    let plan = planned(&missing(items));
    let sizes: Vec<usize> = plan.batches.iter().map(|batch| batch.draft.items.len()).collect();
    assert_eq!(sizes, [100, 100, 50, 30]);
    assert!(plan.batches.iter().all(|batch| batch.history.len() == 3 && batch.live.len() == 3));
}

#[test]
fn a_new_root_joins_the_tail_and_only_it_is_fetched() {
    let tail = Tail { chunk: 2, items: (0..40).map(root).collect() };
    let look = Snapshot { tails: vec![tail], chunks: (0, 3), confirmed: 240, ..missing([root(999)]) };
    let batch = &planned(&look).batches[0];
    assert_eq!(batch.draft.chunk, 2);
    assert!(serde_json::to_string(&batch.history).expect("json").matches("000").count() < 400);
    assert_eq!(batch.live[0].filter.generic_tags.values().next().map(std::collections::BTreeSet::len), Some(41));
    assert_eq!(batch.history[0].generic_tags.values().next().map(std::collections::BTreeSet::len), Some(1));
}

#[test]
fn a_full_tail_is_followed_by_a_new_chunk() {
    let tail = Tail { chunk: 0, items: repos(0..100) };
    let look = Snapshot { tails: vec![tail], chunks: (1, 0), ..missing([repo("new")]) };
    assert_eq!(planned(&look).batches[0].draft.chunk, 1);
}

#[test]
fn s12_negentropy_is_tried_until_it_is_refused() {
    assert_eq!(planned(&missing(repos(0..1))).batches[0].draft.method, Method::Negentropy);
    let refused = Learned { nip77: Some(Nip77::Refused { at: at(1), reason: "silent".into() }), ..Learned::default() };
    let look = Snapshot { learned: refused, ..missing(repos(0..1)) };
    assert_eq!(planned(&look).batches[0].draft.method, Method::Req);
}

#[test]
fn s08_a_fresh_link_opens_layer_1_without_since_and_asks_for_nothing_else_yet() {
    let link = LinkView::Up { resume: Resume::Fresh, opened: false, caught_up: false };
    let plan = planned(&Snapshot { link, ..missing(repos(0..3)) });
    assert!(matches!(&plan.asks[..], [Ask::OpenAnnouncements { since: None, method: Method::Negentropy, .. }]), "{plan:?}");
    assert!(plan.batches.is_empty());
}

#[test]
fn s09_a_quick_reconnect_reopens_everything_confirmed_with_since_and_without_a_batch() {
    let link = LinkView::Up { resume: Resume::CatchUp { since: at(5) }, opened: false, caught_up: false };
    let covered = vec![Covered { item: repo("x"), chunk: Some(0) }, Covered { item: root(1), chunk: Some(0) }];
    let plan = planned(&Snapshot { link, covered: Some(covered), ..up() });
    let [Ask::OpenAnnouncements { since, .. }, Ask::CatchUp { live, since: gap, .. }] = &plan.asks[..] else {
        panic!("{plan:?}")
    };
    assert_eq!((*since, *gap, live.len()), (Some(at(5)), at(5), 6));
}

#[test]
fn s14_a_rebuild_waits_for_pending_then_packs_the_chunks() {
    let covered: Vec<Covered> =
        repos(0..24).into_iter().enumerate().map(|(n, item)| Covered { item, chunk: u32::try_from(n).ok() }).collect();
    let look = Snapshot { covered: Some(covered), chunks: (24, 0), confirmed: 24, ..up() };
    let waiting = planned(&Snapshot { pending: 1, ..look.clone() });
    assert!(waiting.asks_for_nothing());
    let plan = planned(&look);
    assert_eq!((plan.asks.len(), plan.look_again), (0, Some(at(NOW))), "its claim makes the rebuild due");
    assert_eq!(plan.report.reasons[0], Reason::Consolidate { from: 73, to: 4 });
    assert!(plan.rechunk.iter().all(|(_, chunk)| *chunk == 0));
}

#[test]
fn s14_a_rebuild_is_ordered_until_the_session_has_taken_it_and_nothing_is_asked_for_before() {
    let covered = vec![Covered { item: repo("x"), chunk: Some(0) }, Covered { item: root(1), chunk: Some(1) }];
    let look = Snapshot { covered: Some(covered), rebuild: Some(7), pending: 1, ..missing(repos(0..3)) };
    let plan = planned(&look);
    let [Ask::Rebuild { live, since, layout: 7, .. }] = &plan.asks[..] else { panic!("{plan:?}") };
    assert_eq!((live.len(), *since), (6, at(NOW - 900)));
    assert_eq!((plan.batches.len(), &plan.report.reasons[..]), (0, &[Reason::Rebuild { filters: 6 }][..]));
    let link = LinkView::Up { resume: Resume::Fresh, opened: false, caught_up: false };
    assert!(!planned(&Snapshot { link, ..look }).asks.iter().any(|ask| matches!(ask, Ask::Rebuild { .. })));
}

#[test]
fn scenario_13_an_upstream_that_became_empty_closes_its_live_filters_at_once_and_is_hung_up_later() {
    let empty = Snapshot { empty_since: Some(at(NOW - 1)), confirmed: 0, rebuild: Some(1), covered: Some(vec![]), ..up() };
    let plan = planned(&empty);
    assert!(matches!(&plan.asks[..], [Ask::Rebuild { live, polled, .. }] if live.is_empty() && polled.is_empty()), "{plan:?}");
    let minute = Snapshot { empty_since: Some(at(NOW - 60)), ..empty };
    assert_eq!(planned(&minute).asks, [Ask::HangUp { reason: HangUpReason::Empty }]);
}

#[test]
fn i03_a_chunk_beyond_the_live_limit_is_polled_and_the_report_says_so() {
    let look = Snapshot { chunks: (11, 25), ..missing([root(1)]) };
    let tail = Tail { chunk: 24, items: (100..150).map(root).collect() };
    let plan = planned(&Snapshot { tails: vec![tail], ..look });
    assert_eq!((plan.batches[0].live.len(), plan.batches[0].polled.len()), (0, 3));
    assert_eq!(plan.report.reasons[1], Reason::Polled { first: 22, last: 24, limit: 70 });
    let words = plan.report.reasons[1].to_string();
    assert_eq!(words, "chunks 22 to 24 are polled: 70 live subscriptions are allowed");
}

#[test]
fn s15_a_refresh_that_is_due_comes_before_everything_else() {
    let plan = planned(&Snapshot { refresh_at: at(NOW), ..missing(repos(0..3)) });
    assert_eq!(plan.refresh, Some(at(NOW + 23 * 3600)));
    assert!(plan.batches.is_empty() && plan.asks.is_empty());
}

#[test]
fn s16_an_empty_upstream_is_hung_up_after_a_minute_and_a_bootstrap_upstream_never() {
    let empty = Snapshot { empty_since: Some(at(NOW - 59)), confirmed: 0, ..up() };
    assert_eq!(planned(&empty).look_again, Some(at(NOW + 1)));
    let minute = Snapshot { empty_since: Some(at(NOW - 60)), ..empty };
    assert_eq!(planned(&minute).asks, [Ask::HangUp { reason: HangUpReason::Empty }]);
    let bootstrap = Snapshot { role: Role::Bootstrap, ..minute };
    assert!(planned(&bootstrap).asks_for_nothing());
}

#[test]
fn s18_a_cooldown_delays_orders_and_loses_none() {
    let look = Snapshot { ask_at: Some(at(NOW + 30)), ..missing(repos(0..3)) };
    let waiting = planned(&look);
    assert!(waiting.asks_for_nothing());
    assert_eq!(waiting.look_again, Some(at(NOW + 30)));
    assert_eq!(planned(&Snapshot { now: at(NOW + 30), ..look }).batches.len(), 1);
}

#[test]
fn what_has_a_chunk_stays_in_it_after_a_release() {
    let items = vec![Covered { item: repo("a"), chunk: Some(0) }, Covered { item: repo("b"), chunk: Some(1) }];
    let tails = vec![Tail { chunk: 0, items: vec![repo("a"), repo("kept")] }, Tail { chunk: 1, items: vec![repo("b")] }];
    let plan = planned(&Snapshot { missing: items, wanted: 2, tails, chunks: (2, 0), ..up() });
    let chunks: Vec<(u32, usize)> = plan.batches.iter().map(|b| (b.draft.chunk, b.draft.items.len())).collect();
    assert_eq!(chunks, [(0, 1), (1, 1)]);
    let live = plan.batches[0].live[0].filter.generic_tags.values().next().map(std::collections::BTreeSet::len);
    assert_eq!(live, Some(2), "the live filter keeps the member that stays confirmed");
}

#[test]
fn s14_items_that_stand_alone_are_not_rebuilt_again_and_again() {
    let long = |n: u32| repo(&format!("{n:0>200}"));
    let covered: Vec<Covered> = (0..24).map(|n| Covered { item: long(n), chunk: Some(n) }).collect();
    let plan = planned(&Snapshot { covered: Some(covered), chunks: (24, 0), confirmed: 24, ..up() });
    assert!(plan.asks_for_nothing(), "{plan:?}");
}

#[test]
fn s14_a_fresh_link_whose_items_are_all_wanted_has_nothing_to_rebuild() {
    let plan = planned(&Snapshot { covered: Some(Vec::new()), chunks: (24, 0), ..missing(repos(0..3)) });
    assert_eq!((plan.asks.len(), plan.batches.len()), (0, 1));
}

#[test]
fn i03_a_catch_up_opens_no_more_than_the_limit() {
    let link = LinkView::Up { resume: Resume::CatchUp { since: at(5) }, opened: false, caught_up: false };
    let covered = (0..40).map(|n| Covered { item: root(n), chunk: Some(n) }).collect();
    let plan = planned(&Snapshot { link, covered: Some(covered), chunks: (0, 40), ..up() });
    let [Ask::OpenAnnouncements { .. }, Ask::CatchUp { live, polled, .. }] = &plan.asks[..] else { panic!("{plan:?}") };
    assert_eq!((live.len() + 1, polled.len()), (67, 54), "three filters of each of 40 chunks");
}

#[test]
fn i03_participants_have_one_live_filter_where_there_is_room_and_are_polled_where_there_is_none() {
    let participant = || Item::Participant(crate::testing::author());
    let tail = |chunk| Tail { chunk, items: vec![participant(); 100] };
    let plan = planned(&Snapshot { chunks: (10, 40), tails: vec![tail(0)], ..missing([participant()]) });
    assert_eq!((plan.batches[0].live.len(), plan.batches[0].polled.len(), plan.batches[0].history.len()), (1, 0, 1));
    let plan = planned(&Snapshot { chunks: (10, 40), tails: vec![tail(1)], ..missing([participant()]) });
    assert_eq!((plan.batches[0].live.len(), plan.batches[0].polled.len(), plan.batches[0].history.len()), (0, 1, 1));
}

#[test]
fn named_events_are_asked_for_by_a_hundred_ids_at_a_time_and_take_no_place() {
    let named = (0..150).map(|n| Item::Named(crate::testing::id(n)));
    let plan = planned(&Snapshot { chunks: (1, 2), ..missing(named.chain([root(1)])) });
    let batches: Vec<(usize, usize, Method)> =
        plan.batches.iter().map(|one| (one.draft.items.len(), one.live.len(), one.draft.method)).collect();
    assert_eq!(batches, [(1, 3, Method::Negentropy), (100, 0, Method::Req), (50, 0, Method::Req)]);
    assert_eq!(plan.batches[0].draft.chunk, 2, "the chunk after the two that there are");
}
