//! A link that catches up is live for everything, whatever its date: what was missed is read apart from it.

use super::*;

const SINCE: u64 = START - 900;
const A_DAY_AGO: u64 = START - 86_400;

/// A link that catches up with one repository.
fn catching_up(relay: ModelRelay, learned: Learned) -> Shell {
    let mut shell = Shell::new(Resume::CatchUp { since: at(SINCE) }, learned, relay);
    open_since(&mut shell, SINCE);
    shell.order(caught_up());
    shell
}

fn caught_up() -> Ask {
    Ask::CatchUp { live: live_repos(0, &["alpha"]), polled: Vec::new(), since: at(SINCE), layout: 0 }
}

/// An event of a day ago is published, and comes.
fn hears_of_yesterday(shell: &mut Shell) {
    let late = comment("alpha", A_DAY_AGO, 1);
    shell.publish(late.clone());
    assert!(shell.ledger.contains(&late.id), "{:?}", shell.relay.open);
    assert_eq!(shell.session.strays(), 0);
}

#[test]
fn s09_what_is_published_after_a_catch_up_and_dated_a_day_ago_comes_live() {
    let (gap, old) = (comments("alpha", START - 800, 90), comments("alpha", OLD, 200));
    let relay = ModelRelay { page_cap: 25, ..ModelRelay::with(gap.iter().chain(&old).cloned()) };
    let mut shell = catching_up(relay, Learned::default());
    assert!(shell.has_caught_up());
    assert_eq!(shell.session.live_count(), 4, "each once");
    assert_eq!(shell.ledger, Shell::ids_of(&gap), "no history is read again");
    hears_of_yesterday(&mut shell);
}

#[test]
fn s09_it_comes_live_while_the_gap_is_being_read() {
    let mut shell = catch_up(ModelRelay::with(comments("alpha", START - 800, 3)), SINCE);
    shell.relay.holds_eose = Some(Which::Page);
    open_since(&mut shell, SINCE);
    shell.order(caught_up());
    assert!(!shell.has_caught_up());
    hears_of_yesterday(&mut shell);
}

#[test]
fn s11_a_gap_is_asked_for_when_its_live_subscription_stands_and_not_before() {
    let mut shell = catch_up(ModelRelay::with([]), SINCE);
    shell.relay.holds_eose = Some(Which::Live);
    open_since(&mut shell, SINCE);
    shell.order(caught_up());
    assert_eq!((shell.reqs(Which::Live).len(), shell.reqs(Which::Page).len()), (4, 0));
    assert_eq!(shell.session.behind_since(), Some(at(START)), "it is not read yet");
    let open: Vec<String> = shell.relay.open.keys().cloned().collect();
    open.iter().for_each(|sub| shell.end_of(sub));
    let read = shell.reqs(Which::Page);
    assert!(read.len() == 4 && read.iter().all(|(_, _, filter)| filter.since == Some(at(SINCE))), "{read:?}");
    assert!(shell.has_caught_up() && shell.session.behind_since().is_none());
}

#[test]
fn s09_a_gap_is_read_before_history_that_waits_for_its_turn() {
    let mut shell = Shell::fresh(ModelRelay::without_negentropy([]));
    shell.open_fresh(Method::Req);
    shell.fetch(1, &["alpha"], Method::Req);
    shell.relay.holds_eose = Some(Which::Page);
    for (batch, name) in [(2, "beta"), (3, "gamma"), (4, "delta")] {
        shell.fetch_with(batch, &[name], live_repos(u32::try_from(batch).unwrap(), &[name]), Method::Req);
    }
    let lost = shell.reqs(Which::Live)[1].1.clone();
    shell.close(&lost, "error: gone");
    shell.pass(6_000);
    let asked = shell.reqs(Which::Page);
    assert!(asked.iter().all(|(_, _, filter)| filter.since.is_none()), "as many as may be are in flight: {asked:?}");
    shell.end_of(&asked.last().unwrap().1);
    let (_, _, next) = shell.reqs(Which::Page).pop().unwrap();
    assert_eq!(next.since, Some(at(START - 900)), "three of the batches' wait");
}

#[test]
fn s09_a_catch_up_that_is_ordered_twice_reads_nothing_again() {
    let mut shell = catching_up(ModelRelay::with(comments("alpha", START - 800, 3)), Learned::default());
    let sent = shell.sent.len();
    shell.order(caught_up());
    open_since(&mut shell, SINCE);
    shell.pass(3_600_000);
    assert_eq!(shell.sent.len(), sent, "{:?}", &shell.sent[sent..]);
}

#[test]
fn s11_where_limit_0_is_mishandled_the_live_subscription_brings_the_gap_with_it() {
    let learned = Learned { ignores_limit_zero: Some(true), ..Learned::default() };
    let gap = comments("alpha", START - 800, 3);
    let shell = catching_up(ModelRelay::with(comments("alpha", OLD, 9).into_iter().chain(gap.clone())), learned);
    assert!(shell.has_caught_up());
    assert_eq!((shell.reqs(Which::Live), shell.session.live_count()), (Vec::new(), 4));
    assert_eq!(shell.ledger, Shell::ids_of(&gap), "and nothing older");
}

#[test]
fn s11_a_relay_that_never_answers_limit_0_is_caught_up_by_since() {
    let gap = comments("alpha", START - 800, 3);
    let mut shell = catch_up(ModelRelay::with(gap.clone()), SINCE);
    shell.relay.holds_eose = Some(Which::Live);
    open_since(&mut shell, SINCE);
    shell.order(caught_up());
    shell.pass(20_000);
    assert!(shell.has_caught_up(), "{:?}", shell.said);
    assert_eq!(shell.ledger, Shell::ids_of(&gap));
    assert_eq!(shell.learned().ignores_limit_zero, Some(true));
}

#[test]
fn s14_what_a_rebuild_opened_hears_of_everything_too() {
    let mut shell = Shell::fresh(ModelRelay::with([]));
    shell.open_fresh(Method::Negentropy);
    shell.fetch(1, &["alpha"], Method::Negentropy);
    let live = live_repos(0, &["alpha", "beta"]);
    shell.order(Ask::Rebuild { live, polled: Vec::new(), since: at(SINCE), layout: 1 });
    hears_of_yesterday(&mut shell);
}

#[test]
fn c05_what_was_lost_and_opened_again_hears_of_everything_too() {
    let mut shell = Shell::fresh(ModelRelay::with([]));
    shell.open_fresh(Method::Negentropy);
    shell.fetch(1, &["alpha"], Method::Negentropy);
    let lost = live_sub(&shell);
    shell.close(&lost, "error: gone");
    shell.pass(20_000);
    hears_of_yesterday(&mut shell);
}
