//! Workers and their sessions between the bus and the relays.

use engine::invariants::Violation;
use engine::session::{Input, Output, Session, UnitId, Verdict};
use model::{Assignment, BatchCounts, DownClass, Event, EventId, Order, Outcome, Report, Role, Said, UpGranted, UpstreamId};

use super::common::relay::{Negentropy, Reply};
use super::network::SocketNo;
use super::sim::{Happening, Sim};
use super::store::{LEASE_MS, WorkerNo};
use super::worker::{Landed, Link, Up};

const BEAT_MS: u64 = 5_000;
/// A session that has ended waits this long (milliseconds) for outcomes.
const DRAIN_MS: u64 = 5_000;
/// An upstream rests this long (milliseconds) between two links.
const REST_MS: u64 = 3_000;
/// A session says which batches moved this often (milliseconds).
const PROGRESS_MS: u64 = 10_000;

impl Sim {
    // Leases.

    pub(crate) fn beat(&mut self, no: WorkerNo) -> Result<(), Violation> {
        if !self.is_awake(no, || Happening::Beat { worker: no }) {
            return Ok(());
        }
        self.within(BEAT_MS - 500, BEAT_MS + 500, Happening::Beat { worker: no });
        if self.workers[no.name].has_fallen(self.ms) {
            let held: Vec<UpstreamId> = self.workers[no.name].links.keys().copied().collect();
            for upstream in held {
                self.with_link(no, upstream, |_, _| {});
            }
        }
        if self.is_bus_away() {
            return Ok(());
        }
        let behind = self.workers[no.name].behind();
        let sent = self.ms;
        let assignments = self.store.renew(no, &behind, self.ms);
        self.check_book()?;
        let is_lost = self.is_faulty() && self.chance.once_in(40);
        if !is_lost {
            self.within(1, 100, Happening::Leased { worker: no, sent, assignments });
        }
        Ok(())
    }

    pub(crate) fn leased(&mut self, no: WorkerNo, sent: u64, assignments: Vec<Assignment>) {
        if !self.is_awake(no, || Happening::Leased { worker: no, sent, assignments: assignments.clone() }) {
            return;
        }
        let ms = self.ms;
        let worker = &mut self.workers[no.name];
        worker.fence_ms = worker.fence_ms.max(sent + LEASE_MS);
        worker.resting.retain(|_, until| *until > ms);
        worker.left_behind.retain(|upstream, _| assignments.iter().any(|one| one.upstream == *upstream));
        let held: Vec<UpstreamId> = worker.links.keys().copied().collect();
        for upstream in held {
            let epoch = self.workers[no.name].links[&upstream].assignment.epoch;
            let is_current = assignments.iter().any(|one| one.upstream == upstream && one.epoch.0 <= epoch.0 + 1);
            if !is_current {
                self.end(no, upstream, DownClass::Released);
            }
        }
        for assignment in assignments {
            self.dial(no, assignment);
        }
    }

    fn dial(&mut self, no: WorkerNo, assignment: Assignment) {
        let upstream = assignment.upstream;
        let worker = &self.workers[no.name];
        if worker.links.contains_key(&upstream) || worker.resting.contains_key(&upstream) || worker.has_fallen(self.ms) {
            return;
        }
        self.last_socket += 1;
        let socket = SocketNo(self.last_socket);
        let now = super::store::wall(self.ms).as_secs();
        let wait = assignment.dial_at.as_secs().saturating_sub(now) * 1000;
        let took = self.chance.between(5, 300);
        self.workers[no.name].links.insert(upstream, Link { assignment, socket, up: None });
        self.at(self.ms + wait + took, Happening::Dialed { worker: no, upstream, socket });
    }

    pub(crate) fn dialed(&mut self, no: WorkerNo, upstream: UpstreamId, socket: SocketNo) -> Result<(), Violation> {
        if !self.is_awake(no, || Happening::Dialed { worker: no, upstream, socket }) {
            return Ok(());
        }
        let is_its = self.workers[no.name].links.get(&upstream).is_some_and(|link| link.socket == socket);
        if !is_its {
            return Ok(());
        }
        let epoch = self.workers[no.name].links[&upstream].assignment.epoch;
        let Some(relay) = self.relay_of(upstream).filter(|relay| self.relays[*relay].is_up) else {
            self.forget(no, upstream);
            let said = Said::Down { class: DownClass::Refused, detail: String::new() };
            self.handed_over(no, Report { upstream, epoch, sequence: 1_000_000_000 + self.ms, said });
            return Ok(());
        };
        if self.workers[no.name].has_fallen(self.ms) || self.is_bus_away() {
            self.forget(no, upstream);
            return Ok(());
        }
        self.sockets.insert(socket, relay);
        self.relays[relay].connect(socket);
        let roll = self.chance.next();
        let granted = self.store.up(upstream, epoch, self.ms, roll).ok();
        if let Some(granted) = &granted {
            self.check_resumed(upstream, granted.resume)?;
        }
        let is_lost = self.is_faulty() && self.chance.once_in(40);
        self.within(1, 100, Happening::Granted { worker: no, upstream, socket, granted: granted.filter(|_| !is_lost) });
        Ok(())
    }

    pub(crate) fn granted(&mut self, no: WorkerNo, upstream: UpstreamId, socket: SocketNo, granted: Option<UpGranted>) {
        if !self.is_awake(no, || Happening::Granted { worker: no, upstream, socket, granted: granted.clone() }) {
            return;
        }
        let is_its = self.workers[no.name].links.get(&upstream).is_some_and(|link| link.socket == socket);
        let Some(granted) = granted.filter(|_| is_its && !self.workers[no.name].has_fallen(self.ms)) else {
            if is_its {
                self.hang_up(socket);
                self.forget(no, upstream);
            }
            return;
        };
        self.note(&format!("up {} epoch {} at worker {}, {:?}", self.name(upstream), granted.epoch, no.name, granted.resume));
        let (ms, worker) = (self.ms, &mut self.workers[no.name]);
        let link = worker.links.get_mut(&upstream).expect("it is its own");
        let session = Session::new(granted.resume, link.assignment.learned.clone());
        link.up = Some(Up::new(granted.epoch, session, ms));
        worker.left_behind.remove(&upstream);
        self.notify(&[upstream]);
        let is_there = self.sockets.get(&socket).is_some_and(|relay| self.relays[*relay].is_connected(socket));
        if !is_there {
            self.broken(no, upstream, socket);
        }
    }

    /// The link is over before anything was said on it, or after all was.
    fn forget(&mut self, no: WorkerNo, upstream: UpstreamId) {
        let rested = self.ms + REST_MS;
        let worker = &mut self.workers[no.name];
        worker.links.remove(&upstream);
        worker.resting.insert(upstream, rested);
    }

    fn hang_up(&mut self, socket: SocketNo) {
        if let Some(relay) = self.sockets.get(&socket) {
            self.relays[*relay].cut(socket);
        }
    }

    // A session and its shell.

    /// Lets something happen to a living session, then does what it asks for. A fallen fence ends it first.
    pub(crate) fn with_link(&mut self, no: WorkerNo, upstream: UpstreamId, happen: impl FnOnce(&mut Self, &mut Link)) {
        let Some(mut link) = self.workers[no.name].links.remove(&upstream) else { return };
        if self.workers[no.name].has_fallen(self.ms) {
            self.hang_up(link.socket);
            self.note(&format!("{} ends: the fence of worker {} has fallen", self.name(upstream), no.name));
            self.workers[no.name].left_behind.extend(link.behind_since().map(|since| (upstream, since)));
            return self.forget(no, upstream);
        }
        happen(self, &mut link);
        self.act(no, upstream, &mut link);
        self.workers[no.name].links.insert(upstream, link);
        self.finish(no, upstream);
    }

    fn input(&mut self, no: WorkerNo, upstream: UpstreamId, socket: SocketNo, input: Input) {
        let skew = self.workers[no.name].skew_secs;
        self.with_link(no, upstream, |sim, link| {
            if let Some(up) = link.up.as_mut().filter(|_| link.socket == socket) {
                let now = up.now(sim.ms, skew);
                up.session.handle(input, now);
            }
        });
    }

    /// Whether this socket's session still reads.
    fn is_reading(&self, no: WorkerNo, upstream: UpstreamId, socket: SocketNo) -> bool {
        let link = self.workers[no.name].links.get(&upstream).filter(|link| link.socket == socket);
        link.and_then(|link| link.up.as_ref()).is_some_and(|up| up.ended.is_none())
    }

    pub(crate) fn wake(&mut self, no: WorkerNo, upstream: UpstreamId, socket: SocketNo) {
        // What has arrived while a process stood still is read before its deadlines are looked at.
        let woke_at = self.workers[no.name].stalled_until;
        if self.ms <= woke_at {
            return self.at(woke_at + 1, Happening::Wake { worker: no, upstream, socket });
        }
        if !self.is_awake(no, || Happening::Wake { worker: no, upstream, socket }) {
            return;
        }
        if self.is_reading(no, upstream, socket) {
            if let Some(up) = self.workers[no.name].links.get_mut(&upstream).and_then(|link| link.up.as_mut()) {
                up.wakes_at = u64::MAX;
            }
            self.input(no, upstream, socket, Input::Tick);
        }
    }

    pub(crate) fn worked(&mut self, no: WorkerNo, upstream: UpstreamId, socket: SocketNo, input: Input) {
        if !self.is_awake(no, || Happening::Worked { worker: no, upstream, socket, input: input.clone() }) {
            return;
        }
        if self.is_reading(no, upstream, socket) {
            self.input(no, upstream, socket, input);
        }
    }

    pub(crate) fn ordered(&mut self, order: &Order) {
        let is_its = |link: &Link| link.up.as_ref().is_some_and(|up| up.epoch == order.epoch && up.ended.is_none());
        let owner = self.workers.iter().find_map(|worker| {
            let link = worker.links.get(&order.upstream).filter(|link| is_its(link))?;
            Some((worker.no, link.socket))
        });
        let Some((no, socket)) = owner else { return };
        if self.is_awake(no, || Happening::Ordered { order: order.clone() }) {
            self.input(no, order.upstream, socket, Input::Order(order.ask.clone()));
            // That it was heard is told soon.
            if let Some(up) = self.workers[no.name].links.get_mut(&order.upstream).and_then(|link| link.up.as_mut()) {
                up.progress_at = self.ms;
            }
        }
    }

    pub(crate) fn heard(&mut self, no: WorkerNo, upstream: UpstreamId, socket: SocketNo, reply: Reply) {
        if !self.is_awake(no, || Happening::Heard { worker: no, upstream, socket, reply: reply.clone() }) {
            return;
        }
        if !self.is_reading(no, upstream, socket) {
            return;
        }
        match reply {
            Reply::Frame(frame) => self.input(no, upstream, socket, Input::Frame(frame)),
            Reply::Event { sub, event } => self.event(no, upstream, socket, &sub, &event),
            Reply::Unreadable { .. } => unreachable!("no relay of the simulation garbles"),
        }
    }

    fn event(&mut self, no: WorkerNo, upstream: UpstreamId, socket: SocketNo, sub: &str, event: &Event) {
        let skew = self.workers[no.name].skew_secs;
        let mut taken = None;
        self.with_link(no, upstream, |sim, link| {
            let Some(up) = link.up.as_mut() else { return };
            let now = up.now(sim.ms, skew);
            let Verdict::Take(ticket) = up.session.event(sub, event, now) else { return };
            if let Some(unit) = ticket.unit {
                up.fetched.entry(unit).or_default().insert(event.id);
            }
            up.in_flight += 1;
            up.behind_since.get_or_insert(sim.ms);
            taken = Some((ticket, link.assignment.role));
        });
        let Some((ticket, role)) = taken else { return };
        let landed = Landed { upstream, socket, ticket, event: event.clone(), outcome: Outcome::Stored };
        let is_known = !self.is_bus_away() && self.store.ledger.contains_key(&event.id);
        match role {
            _ if is_known => self.settle(no, &landed, false),
            Role::Home => self.home_said(no, landed),
            Role::Bootstrap | Role::Listed => self.within(1, 150, Happening::HomeGets { worker: no, landed }),
        }
    }

    pub(crate) fn broken(&mut self, no: WorkerNo, upstream: UpstreamId, socket: SocketNo) {
        if !self.is_awake(no, || Happening::Broken { worker: no, upstream, socket }) {
            return;
        }
        if self.is_reading(no, upstream, socket) {
            self.end(no, upstream, DownClass::Closed);
        }
    }

    /// The link ends; what is on its way has a moment to arrive.
    fn end(&mut self, no: WorkerNo, upstream: UpstreamId, class: DownClass) {
        let skew = self.workers[no.name].skew_secs;
        if self.workers[no.name].links.get(&upstream).is_some_and(|link| link.up.is_none()) {
            let socket = self.workers[no.name].links[&upstream].socket;
            self.hang_up(socket);
            return self.forget(no, upstream);
        }
        self.with_link(no, upstream, |sim, link| {
            sim.hang_up(link.socket);
            let Some(up) = link.up.as_mut().filter(|up| up.ended.is_none()) else { return };
            if class == DownClass::Closed {
                let now = up.now(sim.ms, skew);
                up.session.link_lost(now);
            }
            up.ended = Some((class, sim.ms + DRAIN_MS));
            sim.within(DRAIN_MS, DRAIN_MS, Happening::Drained { worker: no, upstream, socket: link.socket });
        });
    }

    pub(crate) fn drained(&mut self, no: WorkerNo, upstream: UpstreamId, socket: SocketNo) {
        if !self.is_awake(no, || Happening::Drained { worker: no, upstream, socket }) {
            return;
        }
        if self.workers[no.name].links.get(&upstream).is_some_and(|link| link.socket == socket) {
            self.with_link(no, upstream, |_, _| {});
        }
    }

    /// Says the last word of a link that has ended and drained.
    fn finish(&mut self, no: WorkerNo, upstream: UpstreamId) {
        let Some(up) = self.workers[no.name].links.get_mut(&upstream).and_then(|link| link.up.as_mut()) else { return };
        let Some((class, until)) = up.ended else { return };
        if up.in_flight > 0 && self.ms < until {
            return;
        }
        let mut link = self.workers[no.name].links.remove(&upstream).expect("seen just now");
        self.say(no, upstream, &mut link, Said::Down { class, detail: String::new() });
        self.workers[no.name].left_behind.extend(link.behind_since().map(|since| (upstream, since)));
        self.forget(no, upstream);
    }

    /// Does what the session asks for, in order.
    fn act(&mut self, no: WorkerNo, upstream: UpstreamId, link: &mut Link) {
        let socket = link.socket;
        let role = link.assignment.role;
        let mut hung_up = None;
        while let Some(output) = link.up.as_mut().and_then(|up| up.session.poll_output()) {
            let Some(up) = link.up.as_mut() else { return };
            if up.ended.is_some() && !matches!(output, Output::Report(_)) {
                continue;
            }
            match output {
                Output::Send(request) => self.transmit(socket, request),
                Output::LoadSet { unit, filter, again, most } => {
                    let former = up.sets.remove(&unit).filter(|_| again).map(|(_, ids)| ids);
                    let fetched = up.fetched.insert(unit, Default::default()).unwrap_or_default();
                    let ids = match former {
                        Some(ids) => ids.into_iter().chain(fetched).collect(),
                        None => self.store.set(&filter, role == Role::Home, self.events.values()),
                    };
                    let input = if ids.len() > most && !again {
                        Input::SetTooLarge { unit }
                    } else {
                        up.sets.insert(unit, (filter, ids));
                        Input::SetReady { unit, message: "61".into() }
                    };
                    self.within(1, 60, Happening::Worked { worker: no, upstream, socket, input });
                }
                Output::Reconcile { unit, .. } => {
                    let (input, lost) = self.reconciled(up, socket, unit);
                    if role == Role::Home && !lost.is_empty() {
                        self.say(no, upstream, link, Said::Lost { ids: lost });
                    }
                    self.within(1, 20, Happening::Worked { worker: no, upstream, socket, input });
                }
                Output::Fetched { .. } => {}
                Output::DropSet { unit } => {
                    up.sets.remove(&unit);
                    up.fetched.remove(&unit);
                }
                Output::Report(said) => {
                    self.say_progress(no, upstream, link);
                    self.say(no, upstream, link, said);
                }
                Output::Breach(excess) => unreachable!("its relays are honest: {excess}"),
                Output::HangUp(class) => hung_up = Some(class),
                Output::Sign { .. } => unreachable!("its relays may not know who we are"),
            }
        }
        let is_due = link.up.as_ref().is_some_and(|up| !up.rows.is_empty() || self.ms >= up.progress_at);
        if is_due {
            self.say_progress(no, upstream, link);
        }
        self.schedule(no, upstream, link);
        if let (Some(class), Some(up)) = (hung_up, link.up.as_mut()) {
            up.ended.get_or_insert((class, self.ms));
            self.hang_up(socket);
        }
    }

    /// The next wake-up, if none so early is on its way.
    fn schedule(&mut self, no: WorkerNo, upstream: UpstreamId, link: &mut Link) {
        let socket = link.socket;
        let Some(up) = link.up.as_mut().filter(|up| up.ended.is_none()) else { return };
        let progress = (!up.session.is_idle()).then_some(up.progress_at);
        let next = up.deadline().into_iter().chain(progress).min().map(|at| at.max(self.ms + 1));
        if let Some(at) = next.filter(|at| *at < up.wakes_at) {
            up.wakes_at = at;
            self.at(at, Happening::Wake { worker: no, upstream, socket });
        }
    }

    /// The difference of the two sets, in one round; with what only ours has.
    fn reconciled(&self, up: &Up, socket: SocketNo, unit: UnitId) -> (Input, Vec<EventId>) {
        let side = self.sockets.get(&socket).and_then(|relay| self.relays[*relay].side(socket));
        let (Some((filter, ours)), Some(side)) = (up.sets.get(&unit), side) else {
            return (Input::ReconcileFailed { unit, why: "the link is gone".into() }, Vec::new());
        };
        let never_ends = side.negentropy == Negentropy::AnswersOnce;
        if never_ends {
            return (Input::Reconciled { unit, need: Vec::new(), awaited: 0, reply: Some("61".to_owned()) }, Vec::new());
        }
        let theirs = side.advertised(filter);
        let need = theirs.difference(ours).copied().take(side.most_named).collect();
        (Input::Reconciled { unit, need, awaited: 0, reply: None }, ours.difference(&theirs).copied().collect())
    }

    fn say_progress(&mut self, no: WorkerNo, upstream: UpstreamId, link: &mut Link) {
        let Some(up) = link.up.as_mut() else { return };
        let (batches, rows) = (up.session.take_moved(), std::mem::take(&mut up.rows));
        up.progress_at = self.ms + PROGRESS_MS;
        if !(batches.is_empty() && rows.is_empty()) {
            self.say(no, upstream, link, Said::Progress { batches, rows, counts: BatchCounts::default() });
        }
    }

    fn say(&mut self, no: WorkerNo, upstream: UpstreamId, link: &mut Link, said: Said) {
        let Some(up) = link.up.as_mut() else { return };
        up.sequence += 1;
        let report = Report { upstream, epoch: up.epoch, sequence: up.sequence, said };
        self.handed_over(no, report);
    }
}
