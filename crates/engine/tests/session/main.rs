//! What a session does on the wire, seen from a relay, on virtual time.
#![allow(clippy::unwrap_used)]

mod audits;
mod auth;
mod broad;
#[path = "../common/mod.rs"]
mod common;
mod conduct;
mod deadlines;
mod exchanges;
mod faults;
mod hosts;
mod late;
mod live;
mod news;
mod opening;
mod overflow;
mod pages;
mod polls;
mod rate_limits;

use std::collections::BTreeSet;

use common::relay::{Guard, ModelRelay, Negentropy, Which, which};
use common::shell::Shell;
use common::{START, announcement, at, comment, comments, event, live_repos, reply};
use engine::session::{Frame, Input, Request, Settled, UnitId, WaitsFor};
use engine::walk::EoseHint;
use model::{
    Ask, BatchId, BatchOutcome, DownClass, Event, EventId, HangUpReason, Incomplete, ItemKind, Kind, Learned, LiveFilter,
    Method, Nip77, Resume, Said,
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
            let layout = shell.next_layout();
            shell.order(Ask::Rebuild { live, polled: Vec::new(), since: at(START), layout });
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
            Request::Close { .. } | Request::NegMsg { .. } | Request::NegClose { .. } | Request::Auth { .. } => None,
        }).collect();
        prop_assert_eq!(subs.iter().collect::<BTreeSet<_>>().len(), subs.len(), "an id is used twice");
        let batches = steps.iter().filter(|step| matches!(step, Step::Fetch { .. })).count();
        prop_assert_eq!(shell.ends().len(), batches);
    }
}
