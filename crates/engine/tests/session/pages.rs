//! Walks: what confirms a batch and what does not.

use super::*;

#[test]
fn s13_req_confirms_at_the_proven_end_of_all_three_filters_and_not_before() {
    let mut shell = Shell::fresh(ModelRelay::without_negentropy(history(3)));
    shell.relay.holds_eose = Some(Which::Page);
    shell.fetch(1, &["alpha"], Method::Req);
    for _ in 0..5 {
        let page = shell.reqs(Which::Page).into_iter().find(|(_, sub, _)| shell.relay.open.contains_key(sub));
        let Some((_, sub, _)) = page else { break };
        assert_eq!(shell.ends(), [], "a page is open");
        shell.end_of(&sub);
    }
    assert!(shell.is_complete(1));
}

#[test]
fn s13_a_page_capped_by_the_relay_is_no_end() {
    for cap in [20, 50, 100, 250] {
        let mut shell = Shell::fresh(ModelRelay { page_cap: cap, ..ModelRelay::without_negentropy(history(300)) });
        shell.fetch(1, &["alpha"], Method::Req);
        assert!(shell.is_complete(1));
        assert_eq!(shell.ledger, Shell::ids_of(&history(300)), "cap {cap}");
    }
}

#[test]
fn s13_closed_on_one_of_three_filters_makes_the_batch_incomplete() {
    let mut shell = Shell::fresh(ModelRelay::without_negentropy(history(3)));
    shell.relay.refusals.push((Which::Page, 1, "error: database is locked".into()));
    shell.fetch(1, &["alpha"], Method::Req);
    assert_eq!(incomplete(&shell, 1), Some(Incomplete::Closed));
    assert!(!shell.is_complete(1));
    assert_eq!(shell.relay.open.len(), 3, "no page is left open");
}

#[test]
fn s13_auth_required_makes_the_batch_incomplete_and_says_why() {
    let mut shell = Shell::fresh(ModelRelay::without_negentropy(history(3)));
    shell.relay.refusals.push((Which::Page, usize::MAX, "auth-required: members only".into()));
    shell.fetch(1, &["alpha"], Method::Req);
    assert_eq!(incomplete(&shell, 1), Some(Incomplete::AuthRequired));
}

#[test]
fn s13_a_page_without_eose_ends_idle_after_30_seconds_and_confirms_nothing() {
    let mut shell = Shell::fresh(ModelRelay::without_negentropy(history(3)));
    shell.relay.holds_eose = Some(Which::Page);
    shell.fetch(1, &["alpha"], Method::Req);
    shell.pass(29_999);
    assert_eq!(shell.ends(), []);
    shell.pass(1);
    assert_eq!(incomplete(&shell, 1), Some(Incomplete::Idle));
    assert_eq!(shell.relay.open.len(), 3, "the pages are closed, the live subscriptions stay");
}

#[test]
fn s13_a_page_that_drips_is_not_idle() {
    let mut shell = Shell::fresh(ModelRelay::without_negentropy([]));
    shell.relay.holds_eose = Some(Which::Page);
    shell.fetch(1, &["alpha"], Method::Req);
    let pages = shell.reqs(Which::Page);
    for n in 0..10 {
        shell.pass(29_000);
        shell.publish(event(
            Kind::Custom(1111),
            START + n,
            &[
                &["A", &common::addr("alpha").to_string()],
                &["a", &common::addr("alpha").to_string()],
                &["q", &common::addr("alpha").to_string()],
            ],
            "drip",
        ));
    }
    assert_eq!(shell.ends(), []);
    assert!(pages.iter().all(|(_, sub, _)| shell.relay.open.contains_key(sub)));
}

#[test]
fn s13_a_drop_confirms_nothing() {
    let mut shell = Shell::fresh(ModelRelay::without_negentropy(history(3)));
    shell.settles = false;
    shell.relay.holds_eose = Some(Which::Page);
    shell.fetch(1, &["alpha"], Method::Req);
    // The socket is gone; outcomes of what it brought still arrive.
    shell.settle_all();
    assert_eq!((shell.landed.len(), shell.ends()), (3, vec![]));
}

#[test]
fn i08_events_without_an_outcome_hold_back_the_confirmation() {
    let mut shell = Shell::fresh(ModelRelay::without_negentropy(history(3)));
    shell.settles = false;
    shell.fetch(1, &["alpha"], Method::Req);
    assert_eq!((shell.unsettled.len(), shell.ends().len()), (3, 0));
    shell.pass(600_000);
    assert_eq!(shell.ends(), [], "time settles nothing");
    shell.settle_all();
    assert!(shell.is_complete(1));
}

#[test]
fn s11_a_relay_that_never_answers_limit_0_is_asked_for_news_by_since_and_the_batch_completes() {
    let mut shell = Shell::fresh(ModelRelay::with(history(3)));
    shell.relay.holds_eose = Some(Which::Live);
    shell.fetch(1, &["alpha"], Method::Negentropy);
    shell.pass(7_000);
    assert_eq!(shell.ends(), []);
    shell.pass(1_000);
    assert!(shell.is_complete(1));
    assert_eq!(shell.session.live_count(), 3);
}

#[test]
fn a_batch_that_waits_its_turn_keeps_its_deadline_moving() {
    let mut shell = Shell::fresh(ModelRelay::without_negentropy(history(3)));
    shell.relay.holds_eose = Some(Which::Page);
    for batch in 1..=4 {
        let name = format!("r{batch}");
        let chunk = u32::try_from(batch).unwrap();
        shell.fetch_with(batch, &[&name], live_repos(chunk, &[&name]), Method::Req);
    }
    shell.session.take_moved();
    shell.pass(20_000);
    let moved: BTreeSet<BatchId> = shell.session.take_moved().into_iter().collect();
    assert!(moved.is_superset(&BTreeSet::from([BatchId(3), BatchId(4)])), "{moved:?}: given back while it waits its turn");
}

/// Forty comments of one second, and an announcement that nobody asked for by its repo.
fn dense_second() -> Vec<Event> {
    (0..40).map(|n| comment("alpha", OLD, n)).chain([announcement("other", OLD - 9, &[])]).collect()
}

#[test]
fn a_question_beside_the_walk_proves_a_dense_second_and_its_events_go_nowhere() {
    let mut shell = Shell::fresh(ModelRelay::without_negentropy(dense_second()));
    shell.fetch(1, &["alpha"], Method::Req);
    assert!(shell.is_complete(1), "{:?}", shell.said);
    assert_eq!(shell.ledger.len(), 40);
    assert_eq!(shell.session.strays(), 0);
}

#[test]
fn a_question_beside_the_walk_that_is_refused_costs_the_walk_nothing_but_the_proof() {
    for text in ["blocked: filters must specify a tag", "auth-required: who are you", "rate-limited: slow down"] {
        let mut shell = Shell::fresh(ModelRelay::without_negentropy(dense_second()));
        shell.relay.refusals.push((Which::Question, 1, text.into()));
        shell.fetch(1, &["alpha"], Method::Req);
        shell.pass(30_000);
        let is_asked_again = text.starts_with("rate-limited");
        let end = if is_asked_again { None } else { Some(Incomplete::DenseSecond) };
        assert_eq!((incomplete(&shell, 1), shell.is_complete(1)), (end, is_asked_again), "{text}");
        assert_eq!(shell.ledger.len(), 40);
    }
}
