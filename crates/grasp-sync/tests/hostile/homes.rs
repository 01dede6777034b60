//! Homes that are slow, away, or refuse: each with a system and an upstream of its own, and the end that it must come to.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use model::{RelayUrl, Status};
use testkit::hostile::Behaviour;
use testkit::{ChaosProxy, HostileRelay, stretched};

use crate::common::{Embedded, Project, Relay, Signed, ids};

/// A cell that ran to its end, or to its bound.
pub(crate) struct Ran {
    pub(crate) name: &'static str,
    pub(crate) bound: Duration,
    pub(crate) took: Option<Duration>,
    pub(crate) end: String,
}

type Running = Pin<Box<dyn Future<Output = Ran>>>;

/// Comments of each project; its history is a few events longer.
const COMMENTS: usize = 10;

/// Every cell, to be run side by side.
pub(crate) fn cells() -> Vec<Running> {
    vec![
        Box::pin(answers(
            ("home: slow, 300 ms for an event", 60),
            vec![Behaviour::LateOk(Duration::from_millis(300))],
            Ends::HoldsAll,
        )),
        Box::pin(answers(("home: 60 writes a minute", 80), vec![Behaviour::WritesPerMinute(60)], Ends::HoldsAll)),
        Box::pin(answers(("home: refuses what has no parent yet", 60), vec![Behaviour::WantsParents], Ends::HoldsAll)),
        Box::pin(answers(
            ("home: purgatory", 30),
            vec![Behaviour::AnswersOffers(true, "purgatory: won't be served until git data arrives")],
            Ends::OfferedOnce("held"),
        )),
        Box::pin(answers(
            ("home: refuses what lies a day back", 30),
            vec![Behaviour::RefusesOlderThan(86_400)],
            Ends::OfferedOnce("refused"),
        )),
        Box::pin(answers(
            ("home: refuses by policy", 30),
            vec![Behaviour::AnswersOffers(false, "blocked: not you")],
            Ends::OfferedOnce("declined"),
        )),
        Box::pin(away()),
        Box::pin(restarted()),
    ]
}

/// What the end of a cell is.
#[derive(Debug, Clone, Copy)]
enum Ends {
    /// Home holds everything, and the upstream is confirmed.
    HoldsAll,
    /// Each event was offered once, has this outcome, and the upstream is confirmed.
    OfferedOnce(&'static str),
}

/// A history on one upstream, whose announcement home holds all along.
async fn upstream(name: &str) -> (Relay, Vec<Signed>) {
    let relay = Relay::counting().await;
    let history = Project::named(name).history(&[relay.url()], COMMENTS);
    relay.has_held(&history).await;
    (relay, history)
}

/// A home that answers in its own way.
async fn answers((name, secs): (&'static str, u64), script: Vec<Behaviour>, ends: Ends) -> Ran {
    let (upstream, history) = upstream(name).await;
    let home = HostileRelay::start(script).await;
    home.has_held([history[0].json.as_str()]);
    let system = Embedded::keeping_url(RelayUrl::parse(&home.url()).unwrap()).pulling_from([&upstream]).started().await;
    let look = async || {
        let status = system.status().await;
        let seen = Seen::of(&status, &home, &history);
        (seen.is(ends, &history), seen.words())
    };
    until_its_end(name, secs, look).await
}

/// A home that is away for the first ten seconds, and that comes back when there is work for it.
async fn away() -> Ran {
    let name = "home: down for 10 s";
    let (upstream, history) = upstream(name).await;
    let home = Relay::counting().await;
    home.has_held(&history[..1]).await;
    let mut proxy = ChaosProxy::start(&home.url()).await;
    proxy.refuse().await;
    let system = Embedded::keeping_url(RelayUrl::parse(&proxy.url()).unwrap()).pulling_from([&upstream]).started().await;
    let back = Instant::now() + Duration::from_secs(10);
    tokio::time::sleep_until(back.into()).await;
    proxy.pass().await;
    until_its_end(name, 80, async || holds_all(&system.status().await, &home, &history).await).await
}

/// A home that stops in the middle, and is back after two seconds with what it held.
async fn restarted() -> Ran {
    let name = "home: restarts in the middle";
    let relay = Relay::counting().await;
    let history = Project::named(name).history(&[relay.url()], 300);
    relay.has_held(&history).await;
    let mut home = Relay::counting().await;
    home.has_held(&history[..1]).await;
    let system = Embedded::keeping(&home).pulling_from([&relay]).started().await;
    testkit::wait_until("something to come home", crate::common::PATIENCE, || async { home.held().await.len() > 5 }).await;
    home.goes_down().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    home.start_again().await;
    until_its_end(name, 80, async || holds_all(&system.status().await, &home, &history).await).await
}

async fn holds_all(status: &Status, home: &Relay, history: &[Signed]) -> (bool, String) {
    let missing = ids(history).difference(&home.held().await).count();
    let open: u64 = status.upstreams.iter().map(|one| one.wanted + one.pending).sum();
    (missing == 0 && open == 0 && is_confirmed(status), format!("complete but for {missing} events and {open} items"))
}

fn is_confirmed(status: &Status) -> bool {
    status.upstreams.len() == 2 && status.upstreams.iter().all(|one| one.confirmed > 0 && one.wanted + one.pending == 0)
}

/// A home as it looks at one moment.
struct Seen {
    is_confirmed: bool,
    missing: usize,
    outcomes: Vec<(String, u64)>,
    /// How often each event was offered, the most of all.
    offers: usize,
    offered: usize,
}

impl Seen {
    fn of(status: &Status, home: &HostileRelay, history: &[Signed]) -> Self {
        let held: BTreeSet<String> = home.held_ids().into_iter().collect();
        let missing = history.iter().filter(|event| !held.contains(&event.id.to_hex())).count();
        let heard = home.heard();
        let offered: Vec<&str> =
            heard.iter().filter(|message| message[0] == "EVENT").filter_map(|message| message[1]["id"].as_str()).collect();
        let different: BTreeSet<&str> = offered.iter().copied().collect();
        let most = different.iter().map(|id| offered.iter().filter(|other| *other == id).count()).max();
        Self {
            is_confirmed: is_confirmed(status),
            missing,
            outcomes: status.outcomes.clone(),
            offers: most.unwrap_or(0),
            offered: different.len(),
        }
    }

    fn is(&self, ends: Ends, history: &[Signed]) -> bool {
        let of = |outcome| self.outcomes.iter().find(|(word, _)| word == outcome).map_or(0, |(_, count)| *count);
        let of_some = |outcome| of(outcome) > 0 && of(outcome) <= self.offered as u64;
        self.is_confirmed
            && match ends {
                Ends::HoldsAll => self.missing == 0,
                // What hangs together by roots that home does not serve is not asked for.
                Ends::OfferedOnce(outcome) => self.offers == 1 && of_some(outcome) && self.offered < history.len(),
            }
    }

    fn words(&self) -> String {
        let outcomes: Vec<String> = self.outcomes.iter().map(|(word, count)| format!("{count} {word}")).collect();
        let Self { missing, offers, is_confirmed, .. } = self;
        let state = if *is_confirmed { "confirmed" } else { "NOT confirmed" };
        let offered = self.offered;
        format!("{state}; {}; {missing} not served; {offered} offered, {offers} times at most", outcomes.join(", "))
    }
}

async fn until_its_end(name: &'static str, secs: u64, look: impl AsyncFn() -> (bool, String)) -> Ran {
    let began = Instant::now();
    loop {
        let bound = stretched(Duration::from_secs(secs));
        let (is_at_end, end) = look().await;
        let took = is_at_end.then(|| began.elapsed());
        if is_at_end || began.elapsed() > bound {
            return Ran { name, bound, took, end };
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
