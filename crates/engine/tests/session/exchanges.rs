//! Negentropy, its refusals, and what is fetched by ids.

use engine::session::Output;

use super::*;

#[test]
fn s12_an_exchange_fetches_what_is_needed_and_a_closing_pass_proves_that_nothing_is_left() {
    let mut shell = Shell::fresh(ModelRelay::with(history(250)));
    shell.ledger = Shell::ids_of(&history(50));
    shell.fetch(1, &["alpha"], Method::Negentropy);
    assert!(shell.is_complete(1));
    assert_eq!(Shell::ids_of(&shell.landed).len(), 200, "what the ledger holds is not fetched");
    assert_eq!(shell.neg_opens().len(), 4, "one pass for each empty family, two for the one with events");
    assert_eq!(shell.reqs(Which::Page), []);
}

#[test]
fn s12_a_second_run_fetches_nothing() {
    let mut shell = Shell::fresh(ModelRelay::with(history(50)));
    shell.ledger = Shell::ids_of(&history(50));
    shell.fetch(1, &["alpha"], Method::Negentropy);
    assert!(shell.is_complete(1));
    assert_eq!((shell.landed.len(), shell.neg_opens().len()), (0, 3));
}

#[test]
fn s12_what_somebody_else_brings_home_is_awaited_and_not_fetched() {
    let mut shell = Shell::fresh(ModelRelay::with(history(3)));
    let ids = Shell::ids_of(&history(3));
    let [first, second, forged]: [EventId; 3] = ids.iter().copied().collect::<Vec<_>>().try_into().unwrap();
    shell.elsewhere = ids;
    shell.fetch(1, &["alpha"], Method::Negentropy);
    shell.elsewhere_ends(first, true);
    shell.pass(600_000);
    shell.elsewhere_ends(second, true);
    assert_eq!((shell.ends().len(), shell.landed.len()), (0, 0), "one is still on its way");
    shell.elsewhere_ends(forged, false);
    assert!(shell.is_complete(1), "{:?}", shell.said);
    assert_eq!(Shell::ids_of(&shell.landed), BTreeSet::from([forged]), "the closing pass names it again");
}

#[test]
fn x5_an_exchange_whose_ids_have_no_room_any_more_reads_pages_and_loses_nothing() {
    let mut shell = Shell::fresh(ModelRelay::with(history(300)));
    shell.settles = false;
    shell.fetch(1, &["alpha"], Method::Negentropy);
    assert_eq!(shell.session.ids_named(), 300);
    let now = shell.now();
    shell.session.give_up_ids(now);
    assert_eq!(shell.session.ids_named(), 0);
    shell.settles = true;
    shell.settle_all();
    shell.pass(60_000);
    assert!(shell.is_complete(1), "{:?}", shell.said);
    assert_eq!(shell.ledger, Shell::ids_of(&history(300)));
    assert_eq!(refusals(&shell), 0, "its negentropy is none the worse");
}

fn falls_back(shape: Negentropy, within_ms: u64) {
    let mut shell = Shell::fresh(ModelRelay { negentropy: shape.clone(), ..ModelRelay::with(history(30)) });
    shell.fetch(1, &["alpha"], Method::Negentropy);
    shell.pass(within_ms);
    assert!(shell.is_complete(1), "{shape:?}: {:?}", shell.said);
    assert_eq!(shell.ledger, Shell::ids_of(&history(30)));
    assert_eq!((refusals(&shell), shell.neg_opens().len()), (1, 1), "{shape:?}: said once, tried once");
    let method = shell.reports().find_map(|said| if let Said::BatchEnded { method, .. } = said { Some(*method) } else { None });
    assert_eq!(method, Some(Method::Req));
    shell.fetch(2, &["beta"], Method::Negentropy);
    assert!(shell.is_complete(2));
    assert_eq!((refusals(&shell), shell.neg_opens().len()), (1, 1), "{shape:?}: remembered");
}

#[test]
fn s12_falls_back_on_neg_err() {
    falls_back(Negentropy::NegErr("blocked: no".into()), 0);
}

#[test]
fn s12_falls_back_on_closed() {
    falls_back(Negentropy::Closed("error: unknown message".into()), 0);
}

#[test]
fn s12_falls_back_on_auth_required() {
    falls_back(Negentropy::Closed("auth-required: who are you".into()), 0);
}

#[test]
fn s12_falls_back_on_notice() {
    falls_back(Negentropy::Notice("ERROR: bad msg: negentropy disabled".into()), 0);
}

#[test]
fn s12_falls_back_on_silence_within_ten_seconds() {
    falls_back(Negentropy::Silent, 10_000);
}

fn learned_when_the_link_is_lost(shell: &mut Shell) -> Option<Output> {
    let now = shell.now();
    shell.session.link_lost(now);
    shell.session.poll_output()
}

#[test]
fn s12_a_relay_that_hangs_up_over_its_first_exchange_twice_refuses_negentropy() {
    let mut known = Learned::default();
    for is_refusal in [false, true] {
        let relay = ModelRelay { negentropy: Negentropy::Silent, ..ModelRelay::with(history(3)) };
        let mut shell = Shell::new(Resume::Fresh, known.clone(), relay);
        shell.fetch(1, &["alpha"], Method::Negentropy);
        let learned = learned_when_the_link_is_lost(&mut shell);
        let Some(Output::Report(Said::Learned { facts })) = learned else { panic!("{learned:?}") };
        known.absorb(facts);
        assert_eq!(known.refuses_nip77(), is_refusal, "once may be the network");
    }
}

#[test]
fn s12_a_drop_of_a_relay_that_speaks_negentropy_is_no_refusal() {
    let mut shell = Shell::fresh(ModelRelay::with(history(3)));
    shell.fetch(1, &["alpha"], Method::Negentropy);
    assert!(shell.is_complete(1));
    assert_eq!(learned_when_the_link_is_lost(&mut shell), None);
}

#[test]
fn s12_chatter_does_not_keep_a_silent_exchange_alive() {
    let mut shell = Shell::fresh(ModelRelay { negentropy: Negentropy::Silent, ..ModelRelay::with(history(3)) });
    shell.fetch(1, &["alpha"], Method::Negentropy);
    for _ in 0..10 {
        shell.pass(1_000);
        shell.hear(Frame::Notice { text: "welcome to this relay".into() });
    }
    assert!(shell.is_complete(1));
}

#[test]
fn s12_a_refresh_probes_negentropy_again() {
    let refused = Learned { nip77: Some(Nip77::Refused { at: at(OLD), reason: "silent".into() }), ..Learned::default() };
    let mut shell = Shell::new(Resume::Fresh, refused, ModelRelay::with([announcement("alpha", OLD, &[])]));
    shell.open_fresh(Method::Req);
    assert_eq!(shell.neg_opens(), []);
    shell.open_fresh(Method::Negentropy);
    assert_eq!(shell.neg_opens().len(), 1);
}

#[test]
fn s12_a_refresh_as_the_first_order_of_a_link_probes_negentropy_again() {
    let refused = Learned { nip77: Some(Nip77::Refused { at: at(OLD), reason: "silent".into() }), ..Learned::default() };
    let mut shell = Shell::new(Resume::Fresh, refused, ModelRelay::with([announcement("alpha", OLD, &[])]));
    shell.open_fresh(Method::Negentropy);
    assert_eq!(shell.neg_opens().len(), 2, "a pass, and the closing one");
}

#[test]
fn scenario_08_ids_capped_at_20_and_one_absent_id_end_complete_and_keep_nip77_on() {
    let absent = comment("alpha", OLD + 999, 999);
    let mut relay = ModelRelay { ids_cap: 20, ..ModelRelay::with(history(300)) };
    relay.absent.insert(absent.id);
    let mut shell = Shell::fresh(relay);
    shell.fetch(1, &["alpha"], Method::Negentropy);
    assert!(shell.is_complete(1), "{:?}", shell.said);
    assert_eq!(shell.ledger, Shell::ids_of(&history(300)));
    assert_eq!((refusals(&shell), shell.reqs(Which::Page).len()), (0, 0));
}

#[test]
fn scenario_08_the_number_of_ids_that_a_relay_serves_is_learned() {
    let mut shell = Shell::fresh(ModelRelay { ids_cap: 20, ..ModelRelay::with(history(300)) });
    shell.fetch(1, &["alpha"], Method::Negentropy);
    let learned = shell.reports().find_map(|said| if let Said::Learned { facts } = said { facts.ids_per_req } else { None });
    assert_eq!(learned, Some(20));
}

#[test]
fn scenario_08_a_cap_below_20_ids_loses_nothing() {
    let mut shell = Shell::fresh(ModelRelay { ids_cap: 7, ..ModelRelay::with(history(100)) });
    shell.fetch(1, &["alpha"], Method::Negentropy);
    assert!(shell.is_complete(1));
    assert_eq!(shell.ledger, Shell::ids_of(&history(100)), "complete, and events were left behind");
}

#[test]
fn scenario_09_neg_open_answered_then_silence_is_followed_by_pages_within_20_seconds() {
    let mut shell = Shell::fresh(ModelRelay { negentropy: Negentropy::AnswersOnce, ..ModelRelay::with(history(30)) });
    shell.fetch(1, &["alpha"], Method::Negentropy);
    assert_eq!(shell.reqs(Which::Page), []);
    shell.pass(20_000);
    assert!(shell.is_complete(1), "{:?}", shell.said);
    assert_eq!(shell.ledger, Shell::ids_of(&history(30)));
    assert_eq!(refusals(&shell), 0, "it answered: its NIP-77 works");
}

#[test]
fn i08_ids_refused_by_closed_are_not_taken_for_absent() {
    for text in ["rate-limited: slow down", "error: overloaded", "auth-required: who are you", ""] {
        let mut shell = Shell::fresh(ModelRelay::with(history(30)));
        shell.relay.refusals.push((Which::Ids, usize::MAX, text.into()));
        shell.relay.refusals.push((Which::Page, usize::MAX, text.into()));
        shell.fetch(1, &["alpha"], Method::Negentropy);
        shell.pass(120_000);
        assert!(!shell.is_complete(1), "{text:?}: nothing was fetched, and it is confirmed");
    }
}

#[test]
fn s18_ids_refused_by_rate_limit_are_asked_for_after_the_pause() {
    let mut shell = Shell::fresh(ModelRelay::with(history(30)));
    shell.relay.refusals.push((Which::Ids, 1, "rate-limited: slow down".into()));
    shell.fetch(1, &["alpha"], Method::Negentropy);
    assert_eq!(pauses(&shell), [5]);
    shell.pass(4_999);
    assert_eq!(shell.landed.len(), 0);
    shell.pass(5_000);
    assert!(shell.is_complete(1), "{:?}", shell.said);
    assert_eq!((shell.ledger.len(), shell.reqs(Which::Page).len()), (30, 0));
}

#[test]
fn s18_an_exchange_refused_by_rate_limit_is_walked_after_the_pause() {
    let shape = Negentropy::NegErr("rate-limited: slow down".into());
    let mut shell = Shell::fresh(ModelRelay { negentropy: shape, ..ModelRelay::with(history(3)) });
    shell.fetch(1, &["alpha"], Method::Negentropy);
    assert_eq!(shell.reqs(Which::Page), []);
    shell.relay.negentropy = Negentropy::Works;
    shell.pass(20_000);
    assert!(shell.is_complete(1), "{:?}", shell.said);
    assert_eq!(refusals(&shell), 0);
}

#[test]
fn i08_the_exchange_is_complete_only_when_its_events_are_settled() {
    let mut shell = Shell::fresh(ModelRelay::with(history(5)));
    shell.settles = false;
    shell.fetch(1, &["alpha"], Method::Negentropy);
    assert_eq!((shell.unsettled.len(), shell.ends().len()), (5, 0));
    shell.settle_all();
    assert!(shell.is_complete(1));
}
