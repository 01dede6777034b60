//! Nothing waits for ever: every wait has a deadline, a name, and an end with a reason.

use super::*;

fn waits_for(shell: &Shell) -> Option<WaitsFor> {
    shell.session.next_deadline().map(|deadline| deadline.waits_for)
}

fn loading() -> Shell {
    let mut shell = Shell::fresh(ModelRelay::with(history(3)));
    shell.loads_sets = false;
    shell.fetch(1, &["alpha"], Method::Negentropy);
    shell
}

#[test]
fn a_set_that_is_not_loaded_in_30_seconds_gives_the_batch_back_with_its_reason() {
    let mut shell = loading();
    assert_eq!(waits_for(&shell), Some(WaitsFor::Set));
    shell.pass(29_999);
    assert_eq!(shell.ends(), []);
    // Three filters, loaded one after the other until the relay's NIP-77 is proved.
    shell.pass(60_001);
    assert_eq!(incomplete(&shell, 1), Some(Incomplete::NotLoaded));
    assert!(shell.session.is_idle());
    assert_eq!((refusals(&shell), shell.neg_opens()), (0, vec![]), "it says nothing about the relay");
}

#[test]
fn a_set_that_is_loaded_slowly_is_waited_for() {
    let mut shell = loading();
    let units = shell.loading();
    for _ in 0..10 {
        shell.pass(20_000);
        for unit in &units {
            shell.session.handle(Input::SetMoved { unit: *unit }, shell.now());
        }
    }
    assert_eq!(shell.ends(), []);
    assert_eq!(shell.session.take_moved(), [BatchId(1)], "its deadline in the store moves too");
}

#[test]
fn a_set_that_comes_after_its_deadline_changes_nothing() {
    let mut shell = loading();
    let units: Vec<UnitId> = shell.loading();
    shell.pass(90_000);
    let sent = shell.sent.len();
    for unit in units {
        shell.session.handle(Input::SetReady { unit, message: "61".into() }, shell.now());
    }
    shell.quiet();
    assert_eq!(shell.sent.len(), sent);
}

#[test]
fn layer_1_whose_set_does_not_come_is_tried_again_and_then_caught_up() {
    let mut shell = Shell::fresh(ModelRelay::with([announcement("alpha", OLD, &[])]));
    shell.loads_sets = false;
    shell.open_fresh(Method::Negentropy);
    shell.pass(30_000);
    assert_eq!(waits_for(&shell), Some(WaitsFor::Retry));
    shell.loads_sets = true;
    shell.pass(30_000);
    assert!(shell.has_caught_up(), "{:?}", shell.session);
    assert_eq!(shell.reqs(Which::Page), []);
}

#[test]
fn i08_events_without_any_outcome_for_15_minutes_give_the_batch_back_with_its_reason() {
    for method in [Method::Req, Method::Negentropy] {
        let mut shell = Shell::fresh(ModelRelay::with(history(3)));
        shell.settles = false;
        shell.fetch(1, &["alpha"], method);
        shell.pass(60_000);
        assert_eq!(waits_for(&shell), Some(WaitsFor::Outcomes), "{method:?}");
        shell.pass(839_999);
        assert_eq!(shell.ends(), []);
        shell.pass(1);
        assert_eq!(incomplete(&shell, 1), Some(Incomplete::Unsettled), "{method:?}");
        assert!(shell.session.is_idle());
    }
}

#[test]
fn any_outcome_shows_that_home_moves() {
    let mut shell = Shell::fresh(ModelRelay::without_negentropy(history(3)));
    shell.settles = false;
    shell.fetch(1, &["alpha"], Method::Req);
    for n in 0..5 {
        shell.pass(800_000);
        shell.settles = true;
        shell.publish(comment("alpha", START, n));
        shell.settles = false;
    }
    assert_eq!(shell.ends(), []);
    shell.settle_all();
    assert!(shell.is_complete(1));
}

#[test]
fn i08_an_outcome_of_a_stretch_that_was_given_up_settles_nothing_of_what_is_read_again() {
    let mut shell = Shell::fresh(ModelRelay::without_negentropy([announcement("alpha", OLD, &[])]));
    shell.settles = false;
    shell.open_fresh(Method::Req);
    shell.pass(900_000 + 40_000);
    assert!(shell.unsettled.len() >= 2, "it was read twice");
    let (ticket, event) = shell.unsettled.pop_front().unwrap();
    let late = Input::Settled { ticket, event: event.id, what: Settled::Fresh };
    shell.session.handle(late, shell.now());
    shell.quiet();
    assert!(!shell.has_caught_up());
    shell.settle_all();
    assert!(shell.has_caught_up());
}
