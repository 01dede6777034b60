//! Pauses, and what goes on after them.

use super::*;

#[test]
fn s18_closed_rate_limited_pauses_and_the_walk_resumes_from_its_cursor() {
    let mut shell = Shell::fresh(ModelRelay { page_cap: 100, ..ModelRelay::without_negentropy(history(300)) });
    shell.relay.refusals.push((Which::Page, 0, "rate-limited: slow down".into()));
    shell.relay.holds_eose = Some(Which::Page);
    shell.fetch(1, &["alpha"], Method::Req);
    let (_, sub, _) = shell.reqs(Which::Page).into_iter().find(|(_, _, filter)| is_of_comments(filter)).unwrap();
    shell.relay.refusals[0].1 = 1;
    shell.relay.holds_eose = None;
    shell.end_of(&sub);
    let refused = last_page(&shell);
    assert_eq!((pauses(&shell), refused.until.is_some()), (vec![5], true), "the second page was refused");
    let before = shell.reqs(Which::Page).len();
    shell.pass(4_999);
    assert_eq!(shell.reqs(Which::Page).len(), before, "nothing is asked during the pause");
    shell.pass(1_001);
    let resumed = shell.reqs(Which::Page).into_iter().skip(before).find(|(_, _, filter)| is_of_comments(filter)).unwrap();
    assert!((5_000..=6_000).contains(&resumed.0), "the pages follow each other: {resumed:?}");
    assert_eq!(resumed.2, refused, "the same page again");
    shell.pass(60_000);
    assert_eq!(shell.ledger, Shell::ids_of(&history(300)));
}

fn is_of_comments(filter: &model::Filter) -> bool {
    filter.generic_tags.keys().any(|tag| tag.to_string() == "A")
}

fn last_page(shell: &Shell) -> model::Filter {
    shell.reqs(Which::Page).into_iter().map(|(_, _, filter)| filter).rfind(is_of_comments).unwrap()
}

#[test]
fn scenario_01_a_notice_inside_a_page_of_500_pauses_and_everything_arrives_within_the_pause_and_10_seconds() {
    let mut shell = Shell::fresh(ModelRelay::without_negentropy(history(700)));
    shell.relay.breaks_off = Some((250, "rate-limited: slow down".into()));
    shell.fetch(1, &["alpha"], Method::Req);
    assert_eq!(pauses(&shell), [5]);
    shell.pass(15_000);
    assert!(shell.is_complete(1), "{:?}", shell.said);
    assert_eq!(shell.ledger, Shell::ids_of(&history(700)));
}

#[test]
fn s18_the_pause_grows_while_the_relay_repeats_itself_and_heals() {
    let mut shell = Shell::fresh(ModelRelay::without_negentropy(history(3)));
    shell.relay.refusals.push((Which::Page, 9, "rate-limited: slow down".into()));
    shell.fetch(1, &["alpha"], Method::Req);
    shell.pass(3_600_000);
    assert!(shell.is_complete(1), "{:?}", shell.said);
    let grown = pauses(&shell);
    assert_eq!(&grown[..3], [5, 10, 20]);
    assert!(grown.windows(2).all(|pair| pair[0] <= pair[1]));
    shell.relay.refusals.push((Which::Page, 1, "rate-limited: slow down".into()));
    shell.fetch(2, &["beta"], Method::Req);
    assert_eq!(pauses(&shell).len(), grown.len() + 1);
    assert!(pauses(&shell).last().unwrap() < grown.last().unwrap(), "it heals");
}

#[test]
fn l02_a_notice_about_too_many_subscriptions_is_no_pause() {
    let mut shell = Shell::fresh(ModelRelay::with([]));
    shell.hear(Frame::Notice { text: "ERROR: too many concurrent REQs".into() });
    assert_eq!(pauses(&shell), [0_u64; 0]);
}

#[test]
fn s18_orders_that_come_during_a_pause_are_done_after_it() {
    let mut shell = Shell::fresh(ModelRelay::with(history(3)));
    shell.hear(Frame::Notice { text: "rate-limited: slow down".into() });
    shell.fetch(1, &["alpha"], Method::Negentropy);
    assert_eq!((shell.neg_opens().len(), shell.reqs(Which::Page).len()), (0, 0));
    shell.pass(20_000);
    assert!(shell.is_complete(1), "{:?}", shell.said);
}

#[test]
fn s18_a_batch_that_waits_for_the_end_of_a_pause_keeps_its_deadline_moving() {
    let mut shell = Shell::fresh(ModelRelay::with(history(3)));
    shell.hear(Frame::Notice { text: "rate-limited: slow down".into() });
    shell.fetch(1, &["alpha"], Method::Negentropy);
    shell.session.take_moved();
    shell.pass(1_000);
    assert_eq!(shell.session.take_moved(), [BatchId(1)]);
}

fn asked(shell: &Shell) -> Vec<u64> {
    let is_ask = |request: &Request| matches!(request, Request::Req { .. } | Request::NegOpen { .. });
    shell.sent.iter().filter(|(_, request)| is_ask(request)).map(|(ms, _)| *ms).collect()
}

#[test]
fn l08_requests_come_further_apart_after_each_refusal_and_at_full_speed_again_within_minutes() {
    let mut shell = Shell::fresh(ModelRelay { page_cap: 50, ..ModelRelay::without_negentropy(history(2_000)) });
    shell.relay.refusals.push((Which::Page, 4, "rate-limited: slow down".into()));
    shell.fetch(1, &["alpha"], Method::Req);
    shell.pass(5_000);
    let resumed = shell.sent.len();
    shell.pass(15_000);
    let apart: Vec<u64> = asked(&shell)[resumed - 3..].windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(apart.iter().filter(|ms| **ms >= 250).count() > 5, "{apart:?}");
    shell.pass(600_000);
    assert!(shell.is_complete(1), "{:?}", shell.said);
    assert_eq!(shell.ledger, Shell::ids_of(&history(2_000)));
    // What is read now finds out that nobody minds any more.
    for batch in 2..9 {
        shell.fetch(batch, &["beta"], Method::Req);
        shell.pass(61_000);
    }
    let before = shell.ms;
    shell.fetch(9, &["gamma"], Method::Req);
    assert!(shell.is_complete(9) && shell.ms == before, "{:?}", shell.session);
}

#[test]
fn l08_too_many_at_once_means_fewer_at_once_and_no_cooldown() {
    let mut shell = Shell::fresh(ModelRelay::without_negentropy(history(3)));
    shell.relay.refusals.push((Which::Page, 2, "blocked: too many concurrent requests".into()));
    shell.fetch(1, &["alpha"], Method::Req);
    shell.pass(10_000);
    assert!(shell.is_complete(1), "{:?}", shell.said);
    assert_eq!(pauses(&shell), [0_u64; 0]);
    shell.relay.holds_eose = Some(Which::Page);
    for batch in 2..6 {
        shell.fetch_with(batch, &["beta"], live_repos(0, &["alpha"]), Method::Req);
    }
    let open = shell.relay.open.values().filter(|filter| which(filter) == Which::Page).count();
    assert_eq!(open, 2, "six at first, three, two");
}

#[test]
fn s18_a_relay_that_refuses_every_page_for_its_rate_ends_the_batch_with_that_reason() {
    for text in ["rate-limited: slow down", "blocked: too many concurrent requests", "error: too many subscriptions"] {
        let mut shell = Shell::fresh(ModelRelay::without_negentropy(history(3)));
        shell.fetch(1, &["beta"], Method::Req);
        shell.relay.refusals.push((Which::Page, usize::MAX, text.into()));
        shell.fetch(2, &["alpha"], Method::Req);
        shell.pass(4 * 3_600_000);
        let why = if text.starts_with("rate") { Incomplete::RateLimited } else { Incomplete::Closed };
        assert_eq!(incomplete(&shell, 2), Some(why), "{text}");
        assert!(shell.session.is_idle(), "{text}: {:?}", shell.session);
        let tries = shell.reqs(Which::Page).len();
        // What was live is polled where there are too many subscriptions, ever more seldom.
        let most = if text.starts_with("error") { 400 } else { 50 };
        assert!(tries < most, "{text}: {tries} tries");
    }
}

#[test]
fn s18_ids_that_are_refused_for_their_rate_again_and_again_are_given_up_too() {
    let mut shell = Shell::fresh(ModelRelay::with(history(30)));
    shell.relay.refusals.push((Which::Ids, usize::MAX, "rate-limited: slow down".into()));
    shell.relay.refusals.push((Which::Page, usize::MAX, "rate-limited: slow down".into()));
    shell.fetch(1, &["alpha"], Method::Negentropy);
    shell.pass(4 * 3_600_000);
    assert_eq!(incomplete(&shell, 1), Some(Incomplete::RateLimited), "{:?}", shell.said);
}

#[test]
fn s18_live_subscriptions_that_are_ordered_during_a_pause_are_opened_after_it_one_after_the_other() {
    let since = START - 900;
    let gap = comments("alpha", START - 800, 3);
    let mut shell = catch_up(ModelRelay::with(gap.clone()), since);
    shell.hear(Frame::Notice { text: "rate-limited: slow down".into() });
    open_since(&mut shell, since);
    shell.order(Ask::CatchUp { live: live_repos(0, &["alpha"]), polled: vec![], since: at(since), layout: 0 });
    shell.pass(4_999);
    assert_eq!(asked(&shell), [0_u64; 0]);
    shell.pass(60_000);
    assert!(shell.has_caught_up(), "{:?}", shell.session);
    assert_eq!(shell.ledger, Shell::ids_of(&gap));
    assert!(asked(&shell).windows(2).all(|pair| pair[1] - pair[0] >= 250), "{:?}", asked(&shell));
}
