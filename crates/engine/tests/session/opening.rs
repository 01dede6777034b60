//! Layer 1, and how a link begins.

use super::*;

#[test]
fn s11_layer_1_is_live_before_its_history_is_asked_for() {
    let mut shell = Shell::fresh(ModelRelay::without_negentropy([announcement("alpha", OLD, &[])]));
    shell.relay.holds_eose = Some(Which::Live);
    shell.open_fresh(Method::Req);
    assert_eq!((shell.reqs(Which::Live).len(), shell.reqs(Which::Page).len()), (1, 0));
    shell.end_of("s1");
    assert_eq!(shell.reqs(Which::Page).len(), 3);
    assert_eq!(shell.reqs(Which::Question).len(), 2, "to a relay that holds nothing else");
    assert!(shell.has_caught_up());
}

#[test]
fn s11_a_batch_is_live_in_all_three_families_before_its_history_is_asked_for() {
    let mut shell = Shell::fresh(ModelRelay::with(history(3)));
    shell.relay.holds_eose = Some(Which::Live);
    shell.fetch(1, &["alpha"], Method::Negentropy);
    let live: Vec<String> = shell.reqs(Which::Live).into_iter().map(|(_, sub, _)| sub).collect();
    assert_eq!(live.len(), 3);
    shell.end_of(&live[0]);
    shell.end_of(&live[1]);
    assert_eq!(shell.neg_opens(), []);
    shell.end_of(&live[2]);
    assert!(shell.is_complete(1));
}

#[test]
fn s11_an_event_published_while_history_is_read_arrives_by_the_live_subscription() {
    let mut shell = Shell::fresh(ModelRelay::without_negentropy(history(3)));
    shell.relay.holds_eose = Some(Which::Page);
    shell.fetch(1, &["alpha"], Method::Req);
    let news = comment("alpha", START, 99);
    shell.publish(news.clone());
    assert!(shell.ledger.contains(&news.id));
    assert_eq!(shell.ends(), []);
}

#[test]
fn s08_a_fresh_link_is_opened_at_once_and_caught_up_when_layer_1_is_read() {
    let mut shell = Shell::fresh(ModelRelay::with([announcement("alpha", OLD, &[])]));
    shell.settles = false;
    shell.open_fresh(Method::Negentropy);
    assert!(shell.reports().any(|said| *said == Said::Opened));
    assert!(!shell.has_caught_up(), "an announcement has no outcome yet");
    shell.settle_all();
    assert!(shell.has_caught_up());
}

#[test]
fn s15_a_refresh_of_a_link_that_began_with_a_catch_up_is_opened_and_caught_up_too() {
    let mut shell = catch_up(ModelRelay::with([announcement("alpha", OLD, &[])]), START - 900);
    shell.open_fresh(Method::Negentropy);
    assert!(shell.reports().any(|said| *said == Said::Opened), "it would be ordered again for ever");
    assert!(shell.has_caught_up());
}

#[test]
fn s15_a_refresh_says_caught_up_again_when_layer_1_is_read_again() {
    let mut shell = Shell::fresh(ModelRelay::with([announcement("alpha", OLD, &[])]));
    shell.open_fresh(Method::Negentropy);
    shell.pass(60_000);
    shell.open_fresh(Method::Negentropy);
    assert_eq!(shell.reports().filter(|said| **said == Said::CaughtUp).count(), 2);
    assert_eq!(shell.reqs(Which::Live).len(), 1, "the live subscription stays");
}

#[test]
fn layer_1_that_cannot_be_read_is_tried_again_ever_more_seldom() {
    let mut shell = Shell::fresh(ModelRelay::without_negentropy([announcement("alpha", OLD, &[])]));
    shell.relay.refusals.push((Which::Page, usize::MAX, "error: not today".into()));
    shell.open_fresh(Method::Req);
    shell.pass(3_600_000);
    let tries = shell.reqs(Which::Page).len();
    assert!((3..12).contains(&tries), "{tries} tries in an hour");
    assert!(!shell.has_caught_up());
}

#[test]
fn layer_1_that_is_due_while_its_live_subscription_is_lost_waits_without_spinning() {
    let mut shell = Shell::fresh(ModelRelay::without_negentropy([announcement("alpha", OLD, &[])]));
    shell.relay.refusals.push((Which::Page, 1, "error: busy".into()));
    shell.open_fresh(Method::Req);
    shell.relay.refusals.push((Which::Page, 4, "error: busy".into()));
    shell.close("s1", "error: gone");
    shell.pass(3_600_000);
    assert!(shell.has_caught_up(), "{:?}", shell.session);
}

#[test]
fn s16_an_empty_link_is_hung_up() {
    let mut shell = Shell::fresh(ModelRelay::with([]));
    shell.order(Ask::HangUp { reason: HangUpReason::Empty });
    assert_eq!(shell.hung_up, Some(DownClass::Empty));
}
