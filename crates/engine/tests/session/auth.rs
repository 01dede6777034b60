//! NIP-42: what is refused until the relay knows who we are, with and without the operator's consent.

use engine::auth::Policy;

use super::*;

fn shell(policy: Policy, guard: Guard) -> Shell {
    let mut shell = Shell::fresh(ModelRelay { guard: Some(guard), ..ModelRelay::with(history(30)) });
    shell.session = shell.session.with_auth(policy);
    shell
}

fn heard(shell: &Shell) -> usize {
    shell.relay.guard.as_ref().unwrap().heard
}

#[test]
fn without_consent_nothing_is_said_and_the_batch_is_incomplete_with_its_reason() {
    let mut shell = shell(Policy::Never, Guard::of(true, true));
    shell.hear(Frame::Auth { challenge: "who are you".into() });
    shell.fetch(1, &["alpha"], Method::Negentropy);
    assert_eq!(incomplete(&shell, 1), Some(Incomplete::AuthRequired));
    assert!(matches!(shell.ends().remove(0).1, BatchOutcome::Incomplete { detail, .. } if detail.contains("auth-required")));
    shell.pass(3_600_000);
    assert_eq!((heard(&shell), shell.signed.len()), (0, 0));
}

#[test]
fn with_consent_every_refused_req_is_repeated_and_the_relay_is_told_once() {
    for method in [Method::Negentropy, Method::Req] {
        let mut shell = shell(Policy::OnDemand, Guard::of(true, true));
        shell.open_fresh(method);
        shell.fetch(1, &["alpha"], method);
        assert!(shell.is_complete(1), "{:?}", shell.said);
        assert_eq!((heard(&shell), shell.ms), (1, 0), "{method:?}: without any wait");
        assert!(shell.session.is_standing());
        assert_eq!(shell.ledger, Shell::ids_of(&history(30)));
    }
}

#[test]
fn an_exchange_alone_may_need_it() {
    let mut shell = shell(Policy::OnDemand, Guard::of(false, true));
    shell.fetch(1, &["alpha"], Method::Negentropy);
    assert!(shell.is_complete(1));
    assert_eq!((heard(&shell), refusals(&shell)), (1, 0), "that is no refusal of NIP-77");
    assert_eq!(shell.reqs(Which::Page), [], "and nothing is read by pages instead");
}

#[test]
fn s09_a_gap_that_was_refused_is_read_to_its_end() {
    let mut shell = catch_up(ModelRelay { guard: Some(Guard::of(true, true)), ..ModelRelay::with(history(30)) }, OLD);
    shell.session = shell.session.with_auth(Policy::OnDemand);
    open_since(&mut shell, OLD);
    shell.order(Ask::CatchUp { live: live_repos(0, &["alpha"]), polled: Vec::new(), since: at(OLD), layout: 0 });
    assert!(shell.has_caught_up());
    assert_eq!((heard(&shell), shell.ledger.len()), (1, 30));
}

#[test]
fn ids_that_were_refused_are_asked_for_again() {
    let mut shell = shell(Policy::OnDemand, Guard::of(false, false));
    shell.relay.refusals.push((Which::Ids, 1, "auth-required: who are you".into()));
    shell.hear(Frame::Auth { challenge: "who are you".into() });
    shell.fetch(1, &["alpha"], Method::Negentropy);
    assert!(shell.is_complete(1));
    assert_eq!((heard(&shell), shell.reqs(Which::Page).len()), (1, 0));
}

#[test]
fn a_refused_answer_ends_the_batch_and_is_not_given_again() {
    let mut shell = shell(Policy::OnDemand, Guard { lets_in: false, ..Guard::of(true, true) });
    shell.fetch(1, &["alpha"], Method::Negentropy);
    assert_eq!(incomplete(&shell, 1), Some(Incomplete::AuthRequired));
    shell.fetch(2, &["beta"], Method::Negentropy);
    assert!(incomplete(&shell, 2).is_some());
    assert_eq!(heard(&shell), 1, "one try");
}

#[test]
fn a_relay_without_a_challenge_or_without_an_ok_is_not_waited_for_long() {
    for guard in [
        Guard { challenges: false, ..Guard::of(true, true) },
        Guard { answers: false, lets_in: false, ..Guard::of(true, true) },
    ] {
        let mut shell = shell(Policy::OnDemand, guard);
        shell.fetch(1, &["alpha"], Method::Negentropy);
        assert_eq!(incomplete(&shell, 1), None, "it waits");
        shell.pass(11_000);
        assert!(incomplete(&shell, 1).is_some(), "{:?}", shell.said);
    }
}

#[test]
fn what_is_told_always_is_told_before_anything_is_refused_and_restricted_is_no_question() {
    let mut shell = shell(Policy::Always, Guard::of(true, true));
    shell.hear(Frame::Auth { challenge: "who are you".into() });
    assert_eq!(shell.signed, ["who are you"]);
    shell.relay.refusals.push((Which::Live, usize::MAX, "restricted: members only".into()));
    shell.fetch(1, &["alpha"], Method::Negentropy);
    assert!(incomplete(&shell, 1).is_some());
    assert_eq!(heard(&shell), 1);
}
