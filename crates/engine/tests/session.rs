//! What a session does on the wire, seen from a relay, on virtual time.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use common::relay::{ModelRelay, Negentropy, Which, which};
use common::shell::Shell;
use common::{START, announcement, at, comment, comments, event, live_repos, reply};
use engine::session::{Frame, Request};
use engine::walk::EoseHint;
use model::{
    Ask, BatchId, BatchOutcome, DownClass, Event, Family, HangUpReason, Incomplete, ItemKind, Kind, Learned, LiveFilter,
    Method, Nip77, Resume, Said, Slot,
};
use proptest::prelude::*;

const OLD: u64 = START - 1_000_000;

fn history(count: usize) -> Vec<Event> {
    comments("alpha", OLD, count)
}

fn incomplete(shell: &Shell, batch: i64) -> Option<Incomplete> {
    shell.ends().into_iter().find_map(|(id, outcome)| match outcome {
        BatchOutcome::Incomplete { why, .. } if id == BatchId(batch) => Some(why),
        BatchOutcome::Incomplete { .. } | BatchOutcome::Complete => None,
    })
}

fn refusals(shell: &Shell) -> usize {
    let is_refusal =
        |said: &&Said| matches!(said, Said::Learned { facts } if matches!(facts.nip77, Some(Nip77::Refused { .. })));
    shell.reports().filter(is_refusal).count()
}

fn pauses(shell: &Shell) -> Vec<u64> {
    let pause = |said: &Said| if let Said::RateLimited { seconds } = said { Some(*seconds) } else { None };
    shell.reports().filter_map(pause).collect()
}

/// The `A` family of chunk 0: the one that comments on repos come by.
fn slot_a() -> Slot {
    Slot { family: Family::of(ItemKind::Repo)[1], chunk: 0 }
}

fn live_sub(shell: &Shell) -> String {
    let of_comments = |filter: &model::Filter| filter.generic_tags.keys().any(|tag| tag.to_string() == "A");
    let live = shell.reqs(Which::Live).into_iter().chain(shell.reqs(Which::Page)).filter(|(_, _, filter)| of_comments(filter));
    live.filter(|(_, sub, _)| shell.relay.open.contains_key(sub)).map(|(_, sub, _)| sub).next_back().expect("it is open")
}

fn catch_up(relay: ModelRelay, since: u64) -> Shell {
    Shell::new(Resume::CatchUp { since: at(since) }, Learned::default(), relay)
}

fn open_since(shell: &mut Shell, since: u64) {
    let filter = engine::filters::layer1(model::Role::Listed);
    shell.order(Ask::OpenAnnouncements { filter, since: Some(at(since)), method: Method::Req });
}

mod opening {
    use super::*;

    #[test]
    fn s11_layer_1_is_live_before_its_history_is_asked_for() {
        let mut shell = Shell::fresh(ModelRelay::without_negentropy([announcement("alpha", OLD, &[])]));
        shell.relay.holds_eose = Some(Which::Live);
        shell.open_fresh(Method::Req);
        assert_eq!((shell.reqs(Which::Live).len(), shell.reqs(Which::Page).len()), (1, 0));
        shell.end_of("s1");
        assert_eq!(shell.reqs(Which::Page).len(), 3);
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
}

mod exchanges {
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

    fn falls_back(shape: Negentropy, within_ms: u64) {
        let mut shell = Shell::fresh(ModelRelay { negentropy: shape.clone(), ..ModelRelay::with(history(30)) });
        shell.fetch(1, &["alpha"], Method::Negentropy);
        shell.pass(within_ms);
        assert!(shell.is_complete(1), "{shape:?}: {:?}", shell.said);
        assert_eq!(shell.ledger, Shell::ids_of(&history(30)));
        assert_eq!((refusals(&shell), shell.neg_opens().len()), (1, 1), "{shape:?}: said once, tried once");
        let method =
            shell.reports().find_map(|said| if let Said::BatchEnded { method, .. } = said { Some(*method) } else { None });
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
    fn s12_a_size_refusal_falls_back_for_this_filter_only() {
        let shape = Negentropy::NegErr("blocked: too many records (2988225 > 1000000)".into());
        let mut shell = Shell::fresh(ModelRelay { negentropy: shape, ..ModelRelay::with(history(3)) });
        shell.fetch(1, &["alpha"], Method::Negentropy);
        assert!(shell.is_complete(1));
        assert_eq!((refusals(&shell), shell.neg_opens().len()), (0, 3));
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
        let learned =
            shell.reports().find_map(|said| if let Said::Learned { facts } = said { facts.ids_per_req } else { None });
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
        shell.pass(5_000);
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
}

mod pages {
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
        shell.relay.holds_eose = Some(Which::Page);
        shell.fetch(1, &["alpha"], Method::Req);
        shell.settle_all();
        assert_eq!(shell.ends(), [], "the shell reports what the session said before the drop: nothing");
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
}

mod rate_limits {
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
}

mod live {
    use super::*;

    fn up(names: &[&str]) -> Shell {
        let mut shell = Shell::fresh(ModelRelay::with([]));
        shell.open_fresh(Method::Negentropy);
        shell.fetch(1, names, Method::Negentropy);
        assert!(shell.is_complete(1) && shell.has_caught_up());
        shell
    }

    fn rebuild(shell: &mut Shell, live: Vec<LiveFilter>, since: u64) {
        shell.order(Ask::Rebuild { live, since: at(since) });
    }

    #[test]
    fn s09_the_gap_is_read_to_its_proven_end_before_the_link_is_caught_up() {
        let since = START - 900;
        let gap = comments("alpha", START - 800, 700);
        let mut shell = catch_up(ModelRelay::with(gap.clone()), since);
        open_since(&mut shell, since);
        shell.settles = false;
        shell.order(Ask::CatchUp { live: live_repos(0, &["alpha"]), since: at(since) });
        assert!(shell.reports().any(|said| *said == Said::Opened));
        assert!(!shell.has_caught_up());
        shell.settle_all();
        assert!(shell.has_caught_up());
        assert_eq!(shell.ledger, Shell::ids_of(&gap));
        assert!(shell.reqs(Which::Page).iter().all(|(_, _, filter)| filter.since == Some(at(since))));
        assert_eq!(shell.neg_opens(), []);
    }

    #[test]
    fn s09_the_events_of_the_gap_arrive_although_the_stored_part_is_capped() {
        let since = START - 900;
        let gap = comments("alpha", START - 800, 90);
        let mut shell = catch_up(ModelRelay { page_cap: 25, ..ModelRelay::with(gap.clone()) }, since);
        open_since(&mut shell, since);
        shell.order(Ask::CatchUp { live: live_repos(0, &["alpha"]), since: at(since) });
        assert!(shell.has_caught_up());
        assert_eq!(shell.ledger, Shell::ids_of(&gap));
    }

    #[test]
    fn s09_a_gap_that_could_not_be_read_is_read_again_and_the_link_is_not_caught_up_before() {
        let since = START - 900;
        let gap = comments("alpha", START - 800, 3);
        let mut shell = catch_up(ModelRelay::with(gap.clone()), since);
        open_since(&mut shell, since);
        shell.relay.refusals.push((Which::Page, 1, "error: busy".into()));
        shell.order(Ask::CatchUp { live: live_repos(0, &["alpha"]), since: at(since) });
        assert!(!shell.has_caught_up());
        shell.pass(60_000);
        assert!(shell.has_caught_up(), "{:?}", shell.said);
        assert_eq!(shell.ledger, Shell::ids_of(&gap));
    }

    #[test]
    fn s09_a_batch_that_joins_the_chunk_does_not_lose_the_gap_that_is_being_read() {
        let since = START - 900;
        let gap = comments("alpha", START - 800, 3);
        let mut shell = catch_up(ModelRelay::with(gap.clone()), since);
        open_since(&mut shell, since);
        shell.relay.holds_eose = Some(Which::Page);
        shell.relay.breaks_off = Some((0, "hm".into()));
        shell.order(Ask::CatchUp { live: live_repos(0, &["alpha"]), since: at(since) });
        shell.relay.holds_eose = None;
        shell.fetch_with(1, &["beta"], live_repos(0, &["alpha", "beta"]), Method::Negentropy);
        shell.pass(5_000);
        assert!(shell.is_complete(1));
        assert_eq!(shell.ledger, Shell::ids_of(&gap));
        assert!(shell.has_caught_up(), "{:?}", shell.said);
    }

    #[test]
    fn the_tail_filter_is_replaced_by_opening_the_new_one_before_the_old_one_is_closed() {
        let mut shell = up(&["alpha"]);
        let old = live_sub(&shell);
        shell.sent.clear();
        shell.fetch_with(2, &["beta"], live_repos(0, &["alpha", "beta"]), Method::Negentropy);
        let opened = shell.position(|request| matches!(request, Request::Req { filter, .. } if which(filter) == Which::Live));
        let closed = shell.position(|request| *request == Request::Close { sub: old.clone() });
        assert!(opened < closed);
        assert!(shell.is_complete(2));
        assert_eq!(shell.relay.open.len(), 4);
    }

    #[test]
    fn the_old_filter_goes_on_while_the_new_one_is_opening() {
        let mut shell = up(&["alpha"]);
        shell.relay.holds_eose = Some(Which::Live);
        shell.fetch_with(2, &["beta"], live_repos(0, &["alpha", "beta"]), Method::Negentropy);
        let news = comment("alpha", START, 1);
        shell.publish(news.clone());
        assert!(shell.ledger.contains(&news.id));
        assert_eq!(shell.session.strays(), 0);
        shell.pass(8_000);
        assert!(shell.is_complete(2), "the new filter stands once it is asked for by since");
        let more = comment("alpha", START + 40, 2);
        shell.publish(more.clone());
        assert!(shell.ledger.contains(&more.id));
    }

    #[test]
    fn c05_closed_on_one_live_subscription_reaches_nobody_else_and_it_is_opened_again_with_since() {
        let mut shell = up(&["alpha"]);
        let (lost, others) = (live_sub(&shell), shell.relay.open.len() - 1);
        shell.close(&lost, "error: shutting down idle subscriptions");
        assert_eq!((shell.relay.open.len(), shell.session.live_count()), (others, others));
        let missed = comment("alpha", START, 1);
        shell.publish(missed.clone());
        assert!(!shell.ledger.contains(&missed.id));
        shell.pass(5_000);
        assert!(shell.ledger.contains(&missed.id));
        let (_, _, reopened) = shell.reqs(Which::Page).into_iter().next().unwrap();
        assert_eq!(reopened.since, Some(at(START - 900)));
        assert_eq!((shell.relay.open.len(), shell.hung_up), (others + 1, None));
    }

    #[test]
    fn c05_a_lost_live_subscription_that_a_batch_replaces_fills_its_gap_all_the_same() {
        let mut shell = up(&["alpha"]);
        let lost = live_sub(&shell);
        shell.close(&lost, "error: gone");
        let missed = comment("alpha", START, 1);
        shell.publish(missed.clone());
        shell.fetch_with(2, &["beta"], live_repos(0, &["alpha", "beta"]), Method::Negentropy);
        shell.pass(60_000);
        assert!(shell.is_complete(2), "{:?}", shell.said);
        assert!(shell.ledger.contains(&missed.id), "what came while nothing was live is lost");
    }

    #[test]
    fn c05_a_lost_live_subscription_that_a_failed_batch_waited_for_is_opened_again() {
        let mut shell = up(&["alpha"]);
        let lost = live_sub(&shell);
        shell.close(&lost, "error: gone");
        shell.relay.refusals.push((Which::Live, 9, "error: busy".into()));
        shell.relay.refusals.push((Which::Page, 9, "error: busy".into()));
        let missed = comment("alpha", START, 1);
        shell.publish(missed.clone());
        shell.fetch_with(2, &["beta"], live_repos(0, &["alpha", "beta"]), Method::Negentropy);
        shell.pass(60_000);
        assert_eq!(incomplete(&shell, 2), Some(Incomplete::NotLive));
        shell.relay.refusals.clear();
        shell.pass(600_000);
        assert!(shell.ledger.contains(&missed.id), "confirmed items are live no more");
    }

    #[test]
    fn c05_a_relay_that_closes_what_it_has_just_opened_is_asked_ever_more_seldom() {
        let mut shell = up(&["alpha"]);
        let before = shell.sent.len();
        for _ in 0..720 {
            let open: Vec<String> = shell.relay.open.keys().cloned().collect();
            for sub in open {
                shell.close(&sub, "");
            }
            shell.pass(5_000);
        }
        let asked = shell.sent.len() - before;
        assert!(asked < 200, "{asked} messages in an hour, for four subscriptions");
    }

    #[test]
    fn c05_a_former_filter_that_is_closed_while_the_new_one_opens_is_not_taken_for_standing() {
        let mut shell = up(&["alpha"]);
        let former = live_sub(&shell);
        shell.relay.holds_eose = Some(Which::Live);
        shell.fetch_with(2, &["beta"], live_repos(0, &["alpha", "beta"]), Method::Negentropy);
        let opening = live_sub(&shell);
        shell.relay.refusals.push((Which::Page, 1, "error: busy".into()));
        shell.close(&former, "error: gone");
        shell.close(&opening, "error: gone");
        shell.relay.holds_eose = None;
        let missed = comment("alpha", START, 1);
        shell.publish(missed.clone());
        shell.pass(600_000);
        assert!(shell.ledger.contains(&missed.id), "{:?}", shell.session);
    }

    #[test]
    fn s14_a_rebuild_opens_before_it_closes_and_reads_the_overlap() {
        let mut shell = up(&["alpha"]);
        shell.fetch_with(2, &["beta"], live_repos(1, &["beta"]), Method::Negentropy);
        let old: BTreeSet<String> = shell.relay.open.keys().cloned().collect();
        shell.sent.clear();
        rebuild(&mut shell, live_repos(0, &["alpha", "beta"]), START - 900);
        let is_close = |request: &Request| matches!(request, Request::Close { sub } if old.contains(sub));
        let opened: Vec<usize> = shell
            .sent
            .iter()
            .enumerate()
            .filter(|(_, (_, request))| matches!(request, Request::Req { .. }))
            .map(|(n, _)| n)
            .collect();
        assert_eq!(opened.len(), 3);
        assert!(opened.iter().all(|n| *n < shell.position(is_close)));
        assert_eq!((shell.relay.open.len(), shell.session.live_count()), (4, 4));
    }

    #[test]
    fn s14_layer_1_is_not_rebuilt() {
        let mut shell = up(&["alpha"]);
        shell.sent.clear();
        rebuild(&mut shell, live_repos(0, &["alpha", "beta"]), START - 900);
        assert!(shell.relay.open.contains_key("s1"));
        assert!(!shell.sent.iter().any(|(_, request)| *request == Request::Close { sub: "s1".into() }));
    }

    #[test]
    fn s14_a_batch_that_comes_during_a_rebuild_keeps_its_live_subscriptions() {
        let mut shell = up(&["alpha"]);
        shell.relay.holds_eose = Some(Which::Page);
        rebuild(&mut shell, live_repos(0, &["alpha", "x"]), START - 900);
        let opening: Vec<String> = shell
            .reqs(Which::Page)
            .into_iter()
            .map(|(_, sub, _)| sub)
            .filter(|sub| shell.relay.open.contains_key(sub))
            .collect();
        assert_eq!(opening.len(), 3);
        shell.fetch_with(2, &["beta"], live_repos(1, &["beta"]), Method::Negentropy);
        shell.relay.holds_eose = None;
        for sub in opening {
            shell.end_of(&sub);
        }
        shell.pass(60_000);
        assert!(shell.is_complete(2), "{:?}", shell.said);
        let news = comment("beta", START + 60, 1);
        shell.publish(news.clone());
        assert!(shell.ledger.contains(&news.id), "the rebuild closed what a later batch had opened");
    }

    #[test]
    fn repeated_orders_change_nothing() {
        let since = START - 900;
        let mut shell = catch_up(ModelRelay::with([]), since);
        let catch_up = Ask::CatchUp { live: live_repos(0, &["alpha"]), since: at(since) };
        open_since(&mut shell, since);
        shell.order(catch_up.clone());
        shell.relay.holds_eose = Some(Which::Live);
        shell.fetch_with(1, &["beta"], live_repos(1, &["beta"]), Method::Negentropy);
        let sent = shell.sent.len();
        open_since(&mut shell, since);
        shell.order(catch_up);
        shell.fetch_with(1, &["beta"], live_repos(1, &["beta"]), Method::Negentropy);
        assert_eq!(shell.sent.len(), sent, "{:?}", &shell.sent[sent..]);
    }

    #[test]
    fn x03_events_that_nothing_asked_for_are_refused() {
        let mut shell = up(&["alpha"]);
        let live = live_sub(&shell);
        let other = comment("other", START, 1);
        let now = shell.now();
        assert_eq!(shell.session.event(&live, &other, now), engine::session::Verdict::Stray);
        assert_eq!(shell.session.event("s999", &comment("alpha", START, 1), now), engine::session::Verdict::Stray);
        assert_eq!(shell.session.event("nobody", &comment("alpha", START, 1), now), engine::session::Verdict::Stray);
        assert_eq!(shell.session.strays(), 3);
    }

    #[test]
    fn x03_frames_with_ids_that_are_not_ours_change_nothing() {
        let mut shell = up(&["alpha"]);
        let (sent, said) = (shell.sent.len(), shell.said.len());
        for sub in ["s999", "x", ""] {
            shell.hear(Frame::Eose { sub: sub.into(), hint: EoseHint::None });
            shell.hear(Frame::Closed { sub: sub.into(), text: "rate-limited: x".into() });
            shell.hear(Frame::NegErr { sub: sub.into(), text: "blocked: x".into() });
            shell.hear(Frame::NegMsg { sub: sub.into(), message: "61".into() });
        }
        assert_eq!((shell.sent.len(), shell.said.len()), (sent, said));
    }

    #[test]
    fn scenario_15_a_root_found_live_is_an_item_like_any_other() {
        let bug = common::issue("alpha", "bug", OLD);
        let replies = [reply(&bug, OLD + 1, 1)];
        let mut shell = Shell::fresh(ModelRelay::with(replies.clone()));
        let items = [model::Item::Root(bug.id)];
        let live = engine::filters::live(ItemKind::Root, 0, &items);
        let history = engine::filters::history(ItemKind::Root, &items);
        shell.order(Ask::Fetch { batch: BatchId(1), live, history, method: Method::Negentropy });
        assert!(shell.is_complete(1));
        assert_eq!(shell.ledger, Shell::ids_of(&replies));
    }
}

/// What may happen to the live subscriptions of a link.
#[derive(Debug, Clone)]
enum Step {
    Fetch { chunk: u32, names: Vec<u8> },
    Rebuild { chunks: Vec<(u32, u8)> },
    Closed { nth: usize, text: &'static str },
    Refuse { sort: Which, times: usize },
    Wait { secs: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let text = prop_oneof![Just("error: x"), Just(""), Just("rate-limited: x"), Just("auth-required: x")];
    prop_oneof![
        3 => (0_u32..3, proptest::collection::vec(0_u8..6, 1..4)).prop_map(|(chunk, names)| Step::Fetch { chunk, names }),
        1 => proptest::collection::vec((0_u32..3, 0_u8..6), 0..3).prop_map(|chunks| Step::Rebuild { chunks }),
        2 => (0_usize..12, text).prop_map(|(nth, text)| Step::Closed { nth, text }),
        1 => (prop_oneof![Just(Which::Live), Just(Which::Page), Just(Which::Ids)], 1_usize..3)
            .prop_map(|(sort, times)| Step::Refuse { sort, times }),
        2 => (1_u64..90).prop_map(|secs| Step::Wait { secs }),
    ]
}

fn play(shell: &mut Shell, n: usize, step: &Step) {
    match step {
        Step::Fetch { chunk, names } => {
            let names: Vec<String> = names.iter().map(|n| format!("r{n}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let batch = i64::try_from(n).unwrap() + 1;
            shell.fetch_with(batch, &names, live_repos(*chunk, &names), Method::Negentropy);
        }
        Step::Rebuild { chunks } => {
            let live = chunks.iter().flat_map(|(chunk, n)| live_repos(*chunk, &[&format!("r{n}")])).collect();
            shell.order(Ask::Rebuild { live, since: at(START) });
        }
        Step::Closed { nth, text } => {
            if let Some(sub) = shell.relay.open.keys().nth(*nth).cloned() {
                shell.close(&sub, text);
            }
        }
        Step::Refuse { sort, times } => shell.relay.refusals.push((*sort, *times, "error: x".into())),
        Step::Wait { secs } => shell.pass(secs * 1000),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// P17: whatever is opened, replaced, closed and refused, the count is what the wire says; no id is used twice; when all is
    /// calm again every batch has ended and every slot stands.
    #[test]
    fn live_count_equals_what_is_open_on_the_wire(steps in proptest::collection::vec(step(), 1..30)) {
        let mut shell = Shell::fresh(ModelRelay::with(history(3)));
        shell.open_fresh(Method::Negentropy);
        for (n, step) in steps.iter().enumerate() {
            play(&mut shell, n, step);
            if shell.session.is_idle() {
                prop_assert_eq!(shell.session.live_count(), shell.relay.open.len());
            }
        }
        shell.relay.refusals.clear();
        shell.pass(3 * 3_600_000);
        prop_assert!(shell.session.is_idle(), "history is in flight for ever: {:?}", shell.session);
        prop_assert_eq!(shell.session.live_count(), shell.relay.open.len());
        let subs: Vec<&String> = shell.sent.iter().filter_map(|(_, request)| match request {
            Request::Req { sub, .. } | Request::NegOpen { sub, .. } => Some(sub),
            Request::Close { .. } | Request::NegMsg { .. } | Request::NegClose { .. } => None,
        }).collect();
        prop_assert_eq!(subs.iter().collect::<BTreeSet<_>>().len(), subs.len(), "an id is used twice");
        let batches = steps.iter().filter(|step| matches!(step, Step::Fetch { .. })).count();
        prop_assert_eq!(shell.ends().len(), batches);
    }
}

#[test]
fn the_slot_of_comments_is_the_one_by_capital_a() {
    assert_eq!(slot_a().family.tag, model::RefTag::RootAddress);
}
