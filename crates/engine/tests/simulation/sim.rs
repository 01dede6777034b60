//! The loop: one queue of happenings on virtual time. What a happening does stands in `links`, `home` and `services`; here is
//! the queue, what faults do, and what must hold.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use engine::book::Status;
use engine::invariants::{self, Violation};
use engine::rules::Policy;
use engine::session::{Input, Request};
use engine::{filters, plan};
use model::{
    Ask, Assignment, BatchId, BatchOutcome, Discovery, Event, EventId, Item, Kind, Order, Report, Resume, Role, Said, Snapshot,
    UpGranted, UpstreamId,
};

use super::chance::Chance;
use super::common::relay::{Negentropy, Reply, is_match};
use super::common::url;
use super::faults::{Fault, Size, faults};
use super::network::{Served, SocketNo};
use super::store::{Store, WorkerNo};
use super::universe::{HOME, REFUSED_KIND, universe};
use super::worker::{Landed, Worker};

const WORKERS: usize = 3;
const PLANNERS: usize = 2;
/// Once faults have stopped, everything is complete within this time (milliseconds): the ladders reach up to an hour.
const CALM_MS: u64 = 4 * 3_600_000;
/// How often it is looked whether everything is complete.
const LOOK_MS: u64 = 20_000;
/// Lines of the log that a violation shows.
const SHOWN: usize = 400;

#[derive(Debug, Clone)]
pub(crate) enum Happening {
    // Workers.
    Beat { worker: WorkerNo },
    Leased { worker: WorkerNo, sent: u64, assignments: Vec<Assignment> },
    Dialed { worker: WorkerNo, upstream: UpstreamId, socket: SocketNo },
    Granted { worker: WorkerNo, upstream: UpstreamId, socket: SocketNo, granted: Option<UpGranted> },
    Wake { worker: WorkerNo, upstream: UpstreamId, socket: SocketNo },
    Heard { worker: WorkerNo, upstream: UpstreamId, socket: SocketNo, reply: Reply },
    Worked { worker: WorkerNo, upstream: UpstreamId, socket: SocketNo, input: Input },
    Broken { worker: WorkerNo, upstream: UpstreamId, socket: SocketNo },
    Drained { worker: WorkerNo, upstream: UpstreamId, socket: SocketNo },
    // Relays.
    Sent { socket: SocketNo, request: Request },
    HomeGets { worker: WorkerNo, landed: Landed },
    HomeSaid { worker: WorkerNo, landed: Landed },
    Published { relay: usize, event: Event },
    // Discoveries.
    WindowCloses { worker: WorkerNo },
    Discovers { worker: WorkerNo, found: Discovery, waiting: Vec<Landed> },
    Discovered { worker: WorkerNo, waiting: Vec<Landed> },
    // The bus and the services behind it.
    Ordered { order: Order },
    HandedOver { worker: WorkerNo, report: Report },
    Reported { report: Report },
    Noticed { planner: usize, upstream: UpstreamId },
    Snapshots { planner: usize, upstream: UpstreamId },
    Plans { planner: usize, look: Box<Snapshot> },
    Sweep,
    // Faults.
    Fault(Fault),
    RelayBack { relay: usize },
    WorkerBack { worker: usize },
    PlannerBack { planner: usize },
}

#[derive(Default)]
pub(crate) struct Planner {
    pub(crate) is_alive: bool,
    pub(crate) active: BTreeSet<UpstreamId>,
    pub(crate) dirty: BTreeSet<UpstreamId>,
}

pub(crate) struct Sim {
    pub(crate) seed: u64,
    pub(crate) ms: u64,
    pub(crate) chance: Chance,
    queue: BTreeMap<(u64, u64), Happening>,
    queued: u64,
    pub(crate) policy: Policy,
    pub(crate) store: Store,
    /// Home first.
    pub(crate) relays: Vec<Served>,
    pub(crate) addresses: Vec<String>,
    pub(crate) sockets: BTreeMap<SocketNo, usize>,
    /// When the last thing under way on a socket arrives, to and from its relay: a socket keeps its order.
    pub(crate) under_way: BTreeMap<(SocketNo, bool), u64>,
    pub(crate) last_socket: u64,
    pub(crate) workers: Vec<Worker>,
    pub(crate) planners: Vec<Planner>,
    /// The relay that a socket leads to, for every event that there ever is.
    pub(crate) events: BTreeMap<EventId, Event>,
    expected: BTreeSet<EventId>,
    /// What home may lose.
    restorable: BTreeSet<EventId>,
    /// What home has lost at some time.
    lost: BTreeSet<EventId>,
    /// When each batch was claimed.
    pub(crate) claimed: BTreeMap<BatchId, u64>,
    pub(crate) bus_away_until: u64,
    /// Faults come before this moment.
    pub(crate) span_ms: u64,
    log: VecDeque<String>,
    /// Of the whole log.
    digest: u64,
    pub(crate) happened: u64,
}

/// What a run leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) digest: u64,
    pub(crate) happened: u64,
    /// When everything was complete (milliseconds after the faults).
    pub(crate) complete_after: u64,
}

/// Runs one seed to its end.
///
/// # Errors
/// What did not hold, with the end of the log.
pub(crate) fn run(seed: u64) -> Result<Ran, String> {
    let mut sim = Sim::new(seed);
    let result = sim.run();
    let (digest, happened) = (sim.digest, sim.happened);
    match result {
        Ok(complete_after) => Ok(Ran { digest, happened, complete_after }),
        Err(violation) => Err(sim.failed(&violation)),
    }
}

impl Sim {
    fn new(seed: u64) -> Self {
        let mut chance = Chance::of(seed);
        let span_ms = chance.between(60_000, 40 * 60_000);
        let made = universe(&mut chance, span_ms);
        let addresses: Vec<String> = std::iter::once(HOME.to_owned()).chain(made.addresses).collect();
        let is_refreshed_often = chance.once_in(3);
        let policy = Policy {
            live_limit: *chance.pick(&[12, 30, 70]),
            refresh_secs: if is_refreshed_often { (300, 900) } else { engine::rules::REFRESH_SECS },
            quick_reconnect_secs: *chance.pick(&[20, 900, 900]),
            ..Policy::default()
        };
        let named = [(url(HOME), Role::Home), (url(&addresses[1]), Role::Bootstrap)];
        let relays: Vec<Served> = std::iter::once(made.home).chain(made.upstreams).map(Served::new).collect();
        let held = relays.iter().flat_map(Served::events).chain(made.live.iter().map(|live| &live.event));
        let events = held.map(|event| (event.id, event.clone())).collect();
        let mut sim = Self {
            seed,
            ms: 0,
            queue: BTreeMap::new(),
            queued: 0,
            store: Store::new(policy.clone(), &named),
            policy,
            relays,
            addresses,
            sockets: BTreeMap::new(),
            under_way: BTreeMap::new(),
            last_socket: 0,
            workers: (0..WORKERS).map(Worker::new).collect(),
            planners: (0..PLANNERS).map(|_| Planner { is_alive: true, ..Planner::default() }).collect(),
            events,
            expected: made.expected,
            restorable: made.restorable,
            lost: BTreeSet::new(),
            claimed: BTreeMap::new(),
            bus_away_until: 0,
            span_ms,
            log: VecDeque::new(),
            digest: 0xcbf2_9ce4_8422_2325,
            happened: 0,
            chance,
        };
        for live in made.live {
            sim.at(live.ms, Happening::Published { relay: live.relay + 1, event: live.event });
        }
        let size = Size { relays: sim.relays.len(), workers: WORKERS, planners: PLANNERS };
        for (ms, fault) in faults(&mut sim.chance, span_ms, size, is_refreshed_often) {
            sim.at(ms, Happening::Fault(fault));
        }
        for worker in 0..WORKERS {
            let no = sim.workers[worker].no;
            sim.within(1, 3_000, Happening::Beat { worker: no });
        }
        sim.within(1, 5_000, Happening::Sweep);
        sim
    }

    fn run(&mut self) -> Result<u64, Violation> {
        let mut next_look = self.span_ms;
        while let Some(((ms, _), what)) = self.queue.pop_first() {
            while ms > next_look {
                self.ms = next_look;
                next_look += LOOK_MS;
                if self.is_complete() {
                    return self.rests().map(|()| self.ms - self.span_ms);
                }
            }
            if ms > self.span_ms + CALM_MS {
                self.ms = ms;
                return Err(self.what_is_missing());
            }
            self.ms = ms;
            self.happened += 1;
            self.happen(what)?;
        }
        unreachable!("a sweep follows each sweep")
    }

    // The queue.

    pub(crate) fn at(&mut self, ms: u64, what: Happening) {
        self.queued += 1;
        self.queue.insert((ms.max(self.ms), self.queued), what);
    }

    /// Between `least` and `most` milliseconds from now.
    pub(crate) fn within(&mut self, least: u64, most: u64, what: Happening) {
        let after = self.chance.between(least, most);
        self.at(self.ms + after, what);
    }

    pub(crate) fn is_faulty(&self) -> bool {
        self.ms < self.span_ms
    }

    pub(crate) fn is_bus_away(&self) -> bool {
        self.ms < self.bus_away_until
    }

    pub(crate) fn note(&mut self, line: &str) {
        let mut text = String::new();
        write!(text, "{:>9.3} {line}", self.ms as f64 / 1000.0).unwrap();
        for byte in text.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.log.push_back(text);
        if self.log.len() > SHOWN {
            self.log.pop_front();
        }
    }

    pub(crate) fn name(&self, upstream: UpstreamId) -> String {
        self.store.url_of(upstream).trim_start_matches("wss://").trim_end_matches(".example/").to_owned()
    }

    pub(crate) fn relay_of(&self, upstream: UpstreamId) -> Option<usize> {
        let url = self.store.book.relay(upstream)?.url.clone();
        self.addresses.iter().position(|address| super::common::url(address) == url)
    }

    // Faults.

    pub(crate) fn fault(&mut self, fault: &Fault) {
        self.note(&format!("FAULT {fault:?}"));
        match *fault {
            Fault::Cut { relay, is_silent } => self.cut(relay, is_silent),
            Fault::Away { relay, ms } => {
                self.relays[relay].is_up = false;
                self.cut(relay, false);
                self.at((self.ms + ms).min(self.span_ms), Happening::RelayBack { relay });
            }
            Fault::Stall { worker, ms } => self.workers[worker].stalled_until = self.ms + ms,
            Fault::Kill { worker, ms } => {
                self.workers[worker].killed();
                let dead: Vec<SocketNo> = self.sockets.keys().copied().collect();
                for socket in dead {
                    self.close_if_nobody_s(socket);
                }
                self.at(self.ms + ms, Happening::WorkerBack { worker });
            }
            Fault::KillPlanner { planner, ms } => {
                self.planners[planner] = Planner::default();
                self.at(self.ms + ms, Happening::PlannerBack { planner });
            }
            Fault::BusAway { ms } => self.bus_away_until = (self.ms + ms).min(self.span_ms),
            Fault::Skew { worker, secs } => self.workers[worker].skew_secs = secs,
            Fault::HomeLoses { count } => {
                let held: Vec<EventId> = self.relays[0].events().map(|event| event.id).collect();
                let is_elsewhere =
                    |id: &&EventId| self.restorable.contains(*id) && self.relays[1..].iter().any(|relay| relay.holds(**id));
                let lost: Vec<EventId> = held.iter().filter(is_elsewhere).take(count).copied().collect();
                self.relays[0].lose(&lost);
                self.lost.extend(lost);
            }
            Fault::Moody { relay } => self.relays[relay].change(|relay| {
                relay.negentropy = match relay.negentropy {
                    Negentropy::Works => Negentropy::NegErr("blocked: not today".into()),
                    Negentropy::NegErr(_)
                    | Negentropy::Closed(_)
                    | Negentropy::Notice(_)
                    | Negentropy::Silent
                    | Negentropy::AnswersOnce => Negentropy::Works,
                };
            }),
        }
    }

    fn cut(&mut self, relay: usize, is_silent: bool) {
        let cut: Vec<SocketNo> = self.sockets.iter().filter(|(_, leads_to)| **leads_to == relay).map(|(no, _)| *no).collect();
        for socket in cut {
            self.relays[relay].cut(socket);
            let owner = self.workers.iter().find_map(|worker| {
                let (upstream, _) = worker.links.iter().find(|(_, link)| link.socket == socket)?;
                Some((worker.no, *upstream))
            });
            if let Some((worker, upstream)) = owner {
                // Whoever is not told finds out by the silence.
                let (least, most) = if is_silent { (60_000, 90_000) } else { (1, 200) };
                self.within(least, most, Happening::Broken { worker, upstream, socket });
            }
        }
    }

    fn close_if_nobody_s(&mut self, socket: SocketNo) {
        let is_used = self.workers.iter().flat_map(|worker| worker.links.values()).any(|link| link.socket == socket);
        if let Some(relay) = self.sockets.get(&socket).filter(|_| !is_used) {
            self.relays[*relay].cut(socket);
        }
    }

    // What must hold.

    pub(crate) fn check_book(&self) -> Result<(), Violation> {
        invariants::of_book(&self.store.book)
    }

    /// I7, as the relays see it: sessions that may act, by their own fence.
    pub(crate) fn check_sessions(&self) -> Result<(), Violation> {
        let may_act = |worker: &&Worker| worker.is_alive && !worker.has_fallen(self.ms);
        let up = self.workers.iter().filter(may_act).flat_map(|worker| &worker.links);
        let up = up.filter(|(_, link)| link.up.as_ref().is_some_and(|up| up.ended.is_none()));
        invariants::i07_one_session_per_upstream(up.map(|(upstream, _)| *upstream))
    }

    /// I8: what is being confirmed is safe: whatever the upstream held for it when it was claimed is home's business by now.
    pub(crate) fn check_confirmed(&self, report: &Report) -> Result<(), Violation> {
        let Said::BatchEnded { batch, outcome: BatchOutcome::Complete, .. } = &report.said else { return Ok(()) };
        let (Some(relay), Some(served)) = (self.store.book.relay(report.upstream), self.relay_of(report.upstream)) else {
            return Ok(());
        };
        let Some((_, open)) = relay.batches().find(|(id, open)| id == batch && open.epoch == report.epoch) else {
            return Ok(());
        };
        if relay.role == Role::Home {
            return Ok(());
        }
        let asked: Vec<_> =
            open.items.iter().flat_map(|item: &Item| filters::history(item.kind(), std::slice::from_ref(item))).collect();
        let claimed = self.claimed.get(batch).copied().unwrap_or(0);
        let is_asked = |event: &&Event| asked.iter().any(|filter| is_match(filter, event));
        let held = self.relays[served].held_at(claimed).filter(is_asked).map(|event| event.id).collect();
        invariants::i08_confirmed_is_settled(&held, &self.settled())
    }

    /// I12: what a link that comes up by a catch-up does not read again.
    pub(crate) fn check_resumed(&self, upstream: UpstreamId, resume: Resume) -> Result<(), Violation> {
        let (Resume::CatchUp { since }, Some(relay)) = (resume, self.store.book.relay(upstream)) else { return Ok(()) };
        let Some(served) = self.relay_of(upstream).filter(|_| relay.role != Role::Home) else { return Ok(()) };
        let confirmed = relay.rows().filter(|(_, row)| row.status == Status::Confirmed);
        let mut asked: Vec<_> =
            confirmed.flat_map(|(item, _)| filters::history(item.kind(), std::slice::from_ref(item))).collect();
        asked.push(filters::layer1(relay.role));
        let is_skipped = |event: &&Event| event.created_at < since && asked.iter().any(|filter| is_match(filter, event));
        let skipped = self.relays[served].events().filter(is_skipped).map(|event| event.id).collect();
        invariants::i12_a_catch_up_skips_nothing(&skipped, &self.settled())
    }

    fn settled(&self) -> BTreeSet<EventId> {
        self.events.values().filter(|event| self.is_final(event)).map(|event| event.id).collect()
    }

    fn is_final(&self, event: &Event) -> bool {
        event.kind == Kind::from_u16(REFUSED_KIND) || self.relays[0].holds(event.id) || self.lost.contains(&event.id)
    }

    fn is_complete(&self) -> bool {
        let home: BTreeSet<EventId> = self.relays[0].events().map(|event| event.id).collect();
        let book = &self.store.book;
        let is_reached = |address: &String| {
            let number = self.store.number_of(address);
            let relay = number.and_then(|number| book.relay(number));
            relay.is_none_or(|relay| relay.rows().next().is_none() || relay.is_caught_up())
        };
        invariants::i09_home_is_complete(&home, &self.expected).is_ok()
            && invariants::i09_every_target_is_confirmed(book).is_ok()
            && invariants::i10_settled_links_are_caught_up(book).is_ok()
            && self.addresses.iter().all(is_reached)
            && self.workers.iter().all(|worker| worker.waiting.is_empty())
    }

    /// I10: what is complete asks for nothing but what time makes due: a refresh, an audit, the end of an empty upstream's minute.
    fn rests(&mut self) -> Result<(), Violation> {
        let numbers: Vec<UpstreamId> = self.store.book.relays().map(|(number, _)| number).collect();
        for number in numbers {
            let look = self.store.book.snapshot(number, super::store::wall(self.ms)).expect("it is on the books");
            let plan = plan::plan(&look, &self.policy, 0);
            let hangs_up = plan.asks.iter().any(|ask| matches!(ask, Ask::HangUp { .. }));
            if look.now < look.refresh_at && plan.audit.is_none() && !hangs_up {
                invariants::i10_settled_asks_for_nothing(&plan)?;
            }
        }
        Ok(())
    }

    fn what_is_missing(&self) -> Violation {
        let home: BTreeSet<EventId> = self.relays[0].events().map(|event| event.id).collect();
        let missing: Vec<String> = self.expected.difference(&home).map(|id| self.whereabouts(*id)).collect();
        let mut what = format!("{} events never came home: {}", missing.len(), missing.join("; "));
        for (_, relay) in self.store.book.relays() {
            let counts = relay.counts();
            let (wanted, pending, confirmed) = (counts.wanted, counts.pending, counts.confirmed);
            let (link, ask_at) = (relay.link, relay.ask_at);
            write!(what, "\n  {}: {wanted}/{pending}/{confirmed} {link:?} ask at {ask_at:?}", relay.url).unwrap();
        }
        Violation { invariant: "I9", what }
    }

    fn whereabouts(&self, id: EventId) -> String {
        let holders: Vec<&str> =
            self.relays.iter().zip(&self.addresses).filter(|(relay, _)| relay.holds(id)).map(|(_, at)| at.as_str()).collect();
        let known = self.store.ledger.get(&id);
        let event = &self.events[&id];
        format!("{} of kind {} at {} ({known:?}), {}", &id.to_hex()[..8], event.kind, event.created_at, holders.join(" "))
    }

    fn failed(&self, violation: &Violation) -> String {
        let log: Vec<&str> = self.log.iter().map(String::as_str).collect();
        format!(
            "seed {}: {violation}\nthe last {} lines before {:.3} s (faults until {:.0} s):\n{}\nreplay: just sim --seed {}",
            self.seed,
            log.len(),
            self.ms as f64 / 1000.0,
            self.span_ms as f64 / 1000.0,
            log.join("\n"),
            self.seed
        )
    }

    /// Whether this start of the worker lives, and may act now. If it is stalled, `what` waits until it wakes.
    pub(crate) fn is_awake(&mut self, no: WorkerNo, what: impl FnOnce() -> Happening) -> bool {
        let worker = &self.workers[no.name];
        if !worker.is_alive || worker.no != no {
            return false;
        }
        let wakes_at = worker.stalled_until;
        if wakes_at > self.ms {
            self.at(wakes_at, what());
            return false;
        }
        true
    }
}
