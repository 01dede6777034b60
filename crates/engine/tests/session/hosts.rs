//! Several links to one host, and one link after the other: what its refusals cost is not forgotten (S18).

use engine::tempo::Tempo;

use super::*;

/// A link that has what another one left.
fn with(tempo: Tempo, relay: ModelRelay) -> Shell {
    let mut shell = Shell::fresh(relay);
    *shell.session.tempo_mut() = tempo;
    shell
}

fn tempo(shell: &mut Shell) -> Tempo {
    shell.session.tempo_mut().clone()
}

#[test]
fn s18_a_new_link_waits_for_the_end_of_the_cooldown_that_the_last_one_was_given() {
    let mut first = Shell::fresh(ModelRelay::with(history(3)));
    first.hear(Frame::Notice { text: "rate-limited: slow down".into() });
    let mut next = with(tempo(&mut first), ModelRelay::with(history(3)));
    next.fetch(1, &["alpha"], Method::Negentropy);
    next.pass(4_999);
    assert_eq!(next.sent, []);
    next.pass(20_000);
    assert!(next.is_complete(1), "{:?}", next.said);
}

#[test]
fn s18_the_distance_between_requests_outlives_the_link_and_heals_on_the_next() {
    let mut first = Shell::fresh(ModelRelay::without_negentropy(history(3)));
    first.relay.refusals.push((Which::Page, 1, "rate-limited: slow down".into()));
    first.fetch(1, &["alpha"], Method::Req);
    first.pass(10_000);
    assert!(first.is_complete(1));
    let mut next = with(tempo(&mut first), ModelRelay::without_negentropy(history(3)));
    next.ms = first.ms;
    next.fetch(1, &["alpha"], Method::Req);
    next.pass(10_000);
    assert!(next.is_complete(1), "{:?}", next.said);
    let moments: Vec<u64> = next.reqs(Which::Page).iter().map(|(ms, _, _)| *ms).collect();
    assert!(moments.windows(2).all(|pair| pair[1] - pair[0] >= 250), "{moments:?}");
    next.pass(120_000);
    next.fetch(2, &["beta"], Method::Req);
    next.pass(1_000);
    let before = next.ms;
    next.fetch(3, &["gamma"], Method::Req);
    assert!(next.is_complete(3) && next.ms == before, "full speed again: {:?}", next.session);
}

#[test]
fn s18_a_bucket_of_our_own_bounds_what_a_host_is_asked_and_loses_nothing() {
    let mut shell = Shell::fresh(ModelRelay { page_cap: 5, ..ModelRelay::without_negentropy(history(2_000)) });
    shell.fetch(1, &["alpha"], Method::Req);
    shell.pass(60_000);
    assert!(shell.is_complete(1), "{:?}", shell.said);
    assert_eq!(shell.ledger, Shell::ids_of(&history(2_000)));
    let moments: Vec<u64> = shell.reqs(Which::Page).iter().map(|(ms, _, _)| *ms).collect();
    let in_the_first_second = moments.iter().filter(|ms| **ms < 1_000).count();
    assert!((50..=120).contains(&in_the_first_second), "{in_the_first_second}");
    assert!(moments.len() > 400 && *moments.last().unwrap() > 10_000);
}
