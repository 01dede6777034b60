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
    shell.pass(1);
    let resumed = shell.reqs(Which::Page).into_iter().skip(before).find(|(_, _, filter)| is_of_comments(filter)).unwrap();
    assert_eq!((resumed.0, resumed.2), (5_000, refused), "the same page again");
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
    shell.pass(5_000);
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
