//! Frames that cannot be taken: they confirm nothing in silence.

use super::*;

/// A relay of `alpha` of which one comment comes in a way that nobody can take.
fn with_a_fault(spoil: impl FnOnce(&mut ModelRelay, EventId)) -> (Shell, EventId) {
    let mut relay = ModelRelay::without_negentropy(history(30));
    let victim = history(30)[7].id;
    spoil(&mut relay, victim);
    (Shell::fresh(relay), victim)
}

fn forged() -> (Shell, EventId) {
    with_a_fault(|relay, victim| _ = relay.forges.insert(victim))
}

fn garbled() -> (Shell, EventId) {
    with_a_fault(|relay, victim| _ = relay.garbles.insert(victim))
}

fn names_root_addresses(filter: &model::Filter) -> bool {
    filter.generic_tags.keys().any(|tag| tag.to_string() == "A")
}

fn detail(shell: &Shell, batch: i64) -> String {
    match shell.ends().into_iter().find(|(id, _)| *id == BatchId(batch)) {
        Some((_, BatchOutcome::Incomplete { detail, .. })) => detail,
        other => panic!("{other:?}"),
    }
}

#[test]
fn i08_a_forged_event_does_not_confirm_a_batch_and_is_counted_in_its_reason() {
    let (mut shell, victim) = forged();
    shell.fetch(1, &["alpha"], Method::Req);
    assert_eq!((incomplete(&shell, 1), detail(&shell, 1).as_str()), (Some(Incomplete::Faulty), "1 forged"));
    assert_eq!(shell.ledger.len(), 29, "what is true comes home all the same");
    assert!(!shell.ledger.contains(&victim));
}

#[test]
fn i08_an_unreadable_event_does_not_confirm_a_batch_and_is_counted_in_its_reason() {
    let (mut shell, _) = garbled();
    shell.fetch(1, &["alpha"], Method::Req);
    assert_eq!((incomplete(&shell, 1), detail(&shell, 1).as_str()), (Some(Incomplete::Faulty), "1 unreadable"));
    assert_eq!(shell.ledger.len(), 29);
}

#[test]
fn i08_a_page_of_nothing_but_unreadable_events_is_no_end() {
    let mut relay = ModelRelay { page_cap: 5, ..ModelRelay::without_negentropy(history(10)) };
    relay.garbles.extend(history(10)[5..].iter().map(|event| event.id));
    let mut shell = Shell::fresh(relay);
    for batch in 1..6 {
        shell.fetch(batch, &["alpha"], Method::Req);
        shell.pass(10_000);
        assert_eq!(incomplete(&shell, batch), Some(Incomplete::Faulty), "older events are behind it");
    }
}

#[test]
fn i08_a_forged_event_that_was_asked_for_by_its_id_does_not_confirm_either() {
    let mut relay = ModelRelay::with(history(30));
    relay.forges.insert(history(30)[7].id);
    let mut shell = Shell::fresh(relay);
    shell.fetch(1, &["alpha"], Method::Negentropy);
    assert_eq!(incomplete(&shell, 1), Some(Incomplete::Faulty));
}

#[test]
fn the_same_faults_in_three_readings_end_complete_and_stay_in_sight() {
    for (mut shell, faults) in [(forged().0, (1, 0)), (garbled().0, (0, 1))] {
        for batch in 1..4 {
            shell.fetch(batch, &["alpha"], Method::Req);
            shell.pass(10_000);
        }
        let ends = [1, 2, 3].map(|batch| shell.is_complete(batch));
        assert_eq!(ends, [false, false, true], "{:?}", shell.said);
        let faulty = shell.learned().faulty.unwrap();
        assert_eq!((faulty.forged, faulty.unreadable), faults);
    }
}

#[test]
fn readings_at_once_by_several_filters_are_one_reading() {
    let address = common::addr("alpha").to_string();
    let everywhere = event(Kind::Custom(1111), OLD, &[&["A", &address], &["a", &address], &["q", &address]], "three tags");
    let mut relay = ModelRelay::without_negentropy([everywhere.clone()]);
    relay.forges.insert(everywhere.id);
    let mut shell = Shell::fresh(relay);
    shell.fetch(1, &["alpha"], Method::Req);
    assert_eq!(incomplete(&shell, 1), Some(Incomplete::Faulty), "read three times, by one batch");
}

#[test]
fn another_fault_is_not_excused_by_those_before_it() {
    let (mut shell, _) = forged();
    for batch in 1..4 {
        shell.fetch(batch, &["alpha"], Method::Req);
        shell.pass(10_000);
    }
    shell.relay.forges.insert(history(30)[9].id);
    shell.ledger.remove(&history(30)[9].id);
    shell.fetch(4, &["alpha"], Method::Req);
    assert_eq!(incomplete(&shell, 4), Some(Incomplete::Faulty));
}

#[test]
fn a_true_copy_from_elsewhere_makes_a_forged_one_of_no_account() {
    let (mut shell, victim) = forged();
    shell.fetch(1, &["alpha"], Method::Req);
    // Another upstream has brought it home; the ledger knows the id, whatever this copy is worth.
    shell.ledger.insert(victim);
    shell.fetch(2, &["alpha"], Method::Req);
    assert!(shell.is_complete(2), "{:?}", shell.said);
    assert_eq!(shell.learned().faulty, None);
}

#[test]
fn a_true_copy_within_the_same_stretch_makes_a_forged_one_of_no_account() {
    let (mut shell, victim) = forged();
    shell.relay.holds_eose = Some(Which::Page);
    shell.fetch(1, &["alpha"], Method::Req);
    shell.relay.holds_eose = None;
    let page = shell.reqs(Which::Page).into_iter().find(|(_, _, filter)| names_root_addresses(filter)).unwrap().1;
    shell.relay.forges.clear();
    let true_copy = history(30).into_iter().find(|event| event.id == victim).unwrap();
    shell.hear_event(&page, true_copy);
    let pages: Vec<String> = shell.reqs(Which::Page).into_iter().map(|(_, sub, _)| sub).collect();
    pages.iter().for_each(|sub| shell.end_of(sub));
    assert!(shell.is_complete(1), "{:?}", shell.said);
}

#[test]
fn answers_under_an_id_that_was_never_opened_confirm_nothing_in_silence() {
    let mut shell = Shell::fresh(ModelRelay::without_negentropy([]));
    shell.relay.holds_eose = Some(Which::Page);
    shell.fetch(1, &["alpha"], Method::Req);
    shell.hear_event("somebody", comment("alpha", OLD, 1));
    shell.relay.holds_eose = None;
    let pages: Vec<String> = shell.reqs(Which::Page).into_iter().map(|(_, sub, _)| sub).collect();
    pages.iter().for_each(|sub| shell.end_of(sub));
    assert_eq!((incomplete(&shell, 1), detail(&shell, 1).as_str()), (Some(Incomplete::Faulty), "1 under a foreign id"));
}

#[test]
fn layer_1_with_a_forged_event_is_read_again_later_and_then_the_link_is_caught_up() {
    let forged = announcement("alpha", OLD, &[]);
    let mut relay = ModelRelay::without_negentropy([forged.clone(), announcement("beta", OLD + 1, &[])]);
    relay.forges.insert(forged.id);
    let mut shell = Shell::fresh(relay);
    shell.open_fresh(Method::Req);
    shell.pass(29_000);
    assert!(!shell.has_caught_up());
    shell.pass(100_000);
    assert!(shell.has_caught_up(), "{:?}", shell.session);
}

#[test]
fn events_outside_the_filter_are_no_end_when_they_fill_the_page() {
    // A relay that does not read tags: what is newer than the wanted ones fills its pages.
    let strangers = comments("other", OLD + 1_000, 100);
    let mut relay = ModelRelay { page_cap: 20, ..ModelRelay::without_negentropy(history(10).into_iter().chain(strangers)) };
    relay.ignores_tags = true;
    let mut shell = Shell::fresh(relay);
    shell.fetch(1, &["alpha"], Method::Req);
    assert!(shell.is_complete(1), "{:?}", shell.said);
    assert_eq!(shell.ledger, Shell::ids_of(&history(10)));
}

#[test]
fn s12_a_message_beyond_our_bound_within_an_exchange_means_pages_on_the_next_link() {
    for is_proved in [false, true] {
        let shape = if is_proved { Negentropy::AnswersOnce } else { Negentropy::Silent };
        let mut shell = Shell::fresh(ModelRelay { negentropy: shape, ..ModelRelay::with(history(3)) });
        shell.fetch(1, &["alpha"], Method::Negentropy);
        let now = shell.now();
        shell.session.message_too_large(now);
        shell.quiet();
        assert!(matches!(shell.learned().nip77, Some(Nip77::Refused { .. })), "proved: {is_proved}");
        let mut next = Shell::new(Resume::Fresh, shell.learned(), ModelRelay::with(history(3)));
        next.fetch(1, &["alpha"], Method::Req);
        assert!(next.is_complete(1) && next.neg_opens().is_empty());
    }
}

#[test]
fn s12_a_message_beyond_our_bound_outside_an_exchange_says_nothing_of_nip77() {
    let mut shell = Shell::fresh(ModelRelay::with(history(3)));
    shell.fetch(1, &["alpha"], Method::Negentropy);
    let now = shell.now();
    shell.session.message_too_large(now);
    shell.quiet();
    assert!(matches!(shell.learned().nip77, Some(Nip77::Works { .. })));
}
