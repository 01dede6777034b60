//! Planners, the store and the bus between them: messages are late, lost, repeated and out of order while there are faults.

use engine::invariants::{self, Violation};
use engine::plan;
use model::{LinkView, Order, Report, Resume, Said, Snapshot, StateError, UpstreamId};

use super::sim::{Happening, Sim};
use super::store::{WorkerNo, wall};
use super::worker::Landed;

impl Sim {
    pub(crate) fn happen(&mut self, what: Happening) -> Result<(), Violation> {
        match what {
            Happening::Beat { worker } => self.beat(worker)?,
            Happening::Leased { worker, sent, assignments } => self.leased(worker, sent, assignments),
            Happening::Dialed { worker, upstream, socket } => self.dialed(worker, upstream, socket)?,
            Happening::Granted { worker, upstream, socket, granted } => {
                self.granted(worker, upstream, socket, granted);
                self.check_sessions()?;
            }
            Happening::Wake { worker, upstream, socket } => self.wake(worker, upstream, socket),
            Happening::Heard { worker, upstream, socket, reply } => self.heard(worker, upstream, socket, reply),
            Happening::Worked { worker, upstream, socket, input } => self.worked(worker, upstream, socket, input),
            Happening::Broken { worker, upstream, socket } => self.broken(worker, upstream, socket),
            Happening::Drained { worker, upstream, socket } => self.drained(worker, upstream, socket),
            Happening::Sent { socket, request } => self.sent(socket, &request),
            Happening::HomeGets { worker, landed } => self.home_gets(worker, landed),
            Happening::HomeSaid { worker, landed } => self.home_said(worker, landed),
            Happening::Published { relay, event } => self.published(relay, &event),
            Happening::WindowCloses { worker } => self.window_closes(worker),
            Happening::Discovers { worker, found, waiting } => self.discovers(worker, &found, waiting)?,
            Happening::Discovered { worker, waiting } => self.discovered(worker, waiting),
            Happening::Ordered { order } => self.ordered(&order),
            Happening::HandedOver { worker, report } => self.handed_over(worker, report),
            Happening::Reported { report } => self.reported(&report)?,
            Happening::Noticed { planner, upstream } => self.noticed(planner, upstream),
            Happening::Snapshots { planner, upstream } => self.snapshots(planner, upstream),
            Happening::Plans { planner, look } => self.plans(planner, &look)?,
            Happening::Sweep => self.sweep()?,
            Happening::Fault(fault) => self.fault(&fault),
            Happening::RelayBack { relay } => {
                self.note(&format!("{} is back", self.addresses[relay]));
                self.relays[relay].is_up = true;
            }
            // It may have been killed twice.
            Happening::WorkerBack { worker } if self.workers[worker].is_alive => {}
            Happening::WorkerBack { worker } => {
                self.workers[worker].restarted();
                let no = self.workers[worker].no;
                self.note(&format!("worker {worker} starts again"));
                self.within(100, 2_000, Happening::Beat { worker: no });
            }
            Happening::PlannerBack { planner } => self.planners[planner].is_alive = true,
        }
        Ok(())
    }

    // The bus.

    fn is_lost(&mut self, once_in: u64) -> bool {
        self.is_faulty() && (self.is_bus_away() || self.chance.once_in(once_in))
    }

    /// A worker hands over a report: the bus keeps it from then on.
    pub(crate) fn handed_over(&mut self, worker: WorkerNo, report: Report) {
        if !self.is_awake(worker, || Happening::HandedOver { worker, report: report.clone() }) {
            return;
        }
        if self.is_bus_away() {
            self.at(self.bus_away_until, Happening::HandedOver { worker, report });
            return;
        }
        self.keep(report);
    }

    /// Reports come at least once, and not always in order.
    pub(crate) fn keep(&mut self, report: Report) {
        let slowest = if self.is_faulty() { 400 } else { 30 };
        if self.is_faulty() && self.chance.once_in(15) {
            // What nobody acknowledged comes again, after minutes too.
            let latest = *self.chance.pick(&[5_000, 5_000, 600_000]);
            self.within(1, latest, Happening::Reported { report: report.clone() });
        }
        self.within(1, slowest, Happening::Reported { report });
    }

    fn reported(&mut self, report: &Report) -> Result<(), Violation> {
        if !matches!(report.said, Said::Progress { .. } | Said::Learned { .. }) {
            let (name, epoch) = (self.name(report.upstream), report.epoch);
            self.note(&format!("report {name} {epoch}.{} {}", report.sequence, words(&report.said)));
        }
        self.check_confirmed(report)?;
        let roll = self.chance.next();
        let dirty = self.store.report(report, self.ms, roll);
        self.notify(&dirty);
        self.check_book()
    }

    pub(crate) fn notify(&mut self, dirty: &[UpstreamId]) {
        for upstream in dirty {
            for planner in 0..self.planners.len() {
                if !self.is_lost(10) {
                    self.within(1, 50, Happening::Noticed { planner, upstream: *upstream });
                }
            }
        }
    }

    fn sweep(&mut self) -> Result<(), Violation> {
        self.store.bury_expired(self.ms);
        let due = self.store.book.sweep(wall(self.ms));
        self.notify(&due);
        self.within(4_500, 5_500, Happening::Sweep);
        self.check_book()
    }

    // Discoveries.

    pub(crate) fn discovers(
        &mut self,
        worker: WorkerNo,
        found: &model::Discovery,
        waiting: Vec<Landed>,
    ) -> Result<(), Violation> {
        let again = || Happening::Discovers { worker, found: found.clone(), waiting: waiting.clone() };
        if !self.is_awake(worker, again) {
            return Ok(());
        }
        if self.is_bus_away() {
            self.at(self.ms + 500, again());
            return Ok(());
        }
        let dirty = self.store.book.discover(found, wall(self.ms));
        self.note(&format!("discovered {} repos, {} roots", found.repos.len(), found.roots.len()));
        self.notify(&dirty);
        if self.is_lost(30) {
            // Kept, and nobody told: it is said again.
            self.within(500, 2_000, again());
        } else {
            self.within(1, 50, Happening::Discovered { worker, waiting });
        }
        self.check_book()
    }

    // Planners.

    fn noticed(&mut self, planner: usize, upstream: UpstreamId) {
        let one = &mut self.planners[planner];
        if !one.is_alive {
            return;
        }
        if one.active.insert(upstream) {
            self.within(1, 20, Happening::Snapshots { planner, upstream });
        } else {
            one.dirty.insert(upstream);
        }
    }

    fn done(&mut self, planner: usize, upstream: UpstreamId, again_after: Option<u64>) {
        self.planners[planner].active.remove(&upstream);
        if self.planners[planner].dirty.remove(&upstream) {
            self.within(1, 5, Happening::Noticed { planner, upstream });
        }
        if let Some(after) = again_after {
            self.at(self.ms + after, Happening::Noticed { planner, upstream });
        }
    }

    fn snapshots(&mut self, planner: usize, upstream: UpstreamId) {
        if !self.planners[planner].is_alive {
            return;
        }
        if self.is_bus_away() {
            return self.done(planner, upstream, None);
        }
        match self.store.snapshot(upstream, planner, self.ms) {
            Ok(look) => self.within(1, 80, Happening::Plans { planner, look: Box::new(look) }),
            Err(StateError::BeingPlanned) => self.done(planner, upstream, Some(250)),
            Err(StateError::Fenced | StateError::NoSuchUpstream | StateError::Store(_)) => self.done(planner, upstream, None),
        }
    }

    fn plans(&mut self, planner: usize, look: &Snapshot) -> Result<(), Violation> {
        let upstream = look.upstream;
        if !self.planners[planner].is_alive {
            return Ok(());
        }
        if self.is_bus_away() {
            self.done(planner, upstream, None);
            return Ok(());
        }
        let plan = plan::plan(look, &self.policy, self.chance.next());
        let look_again = plan.look_again.map(|at| at.as_secs().saturating_sub(look.now.as_secs()) * 1000);
        if !plan.asks_for_nothing() {
            self.note(&format!("plan {}: {}", self.name(upstream), plan.report));
        }
        let is_refresh = plan.refresh.is_some();
        let granted = match plan.claim(look).map(|claim| self.store.claim(&claim, planner, self.ms)) {
            None => Vec::new(),
            Some(Ok(claimed)) => claimed.batches,
            Some(Err(StateError::BeingPlanned)) => {
                self.done(planner, upstream, Some(250));
                return Ok(());
            }
            Some(Err(_)) => {
                self.done(planner, upstream, None);
                return Ok(());
            }
        };
        self.claimed.extend(granted.iter().flatten().map(|batch| (*batch, self.ms)));
        self.check_book()?;
        if self.is_lost(60) {
            // The answer to the claim is lost: nobody orders the batch.
            self.done(planner, upstream, None);
            return Ok(());
        }
        let asks = plan.orders(&granted);
        let resume = match look.link {
            LinkView::Up { resume, .. } if !is_refresh => resume,
            LinkView::Up { .. } | LinkView::Down { .. } => Resume::Fresh,
        };
        invariants::i05_fresh_has_no_since(resume, &asks)?;
        invariants::i06_only_listed_upstreams_are_hung_up(look.role, &asks)?;
        for ask in asks {
            self.order(&Order { upstream, epoch: look.epoch, ask });
        }
        self.store.planned(upstream, planner);
        self.done(planner, upstream, look_again);
        Ok(())
    }

    fn order(&mut self, order: &Order) {
        if self.is_lost(40) {
            return self.note("an order is lost");
        }
        let slowest = if self.is_faulty() { 300 } else { 20 };
        if self.is_faulty() && self.chance.once_in(25) {
            self.within(1, 4_000, Happening::Ordered { order: order.clone() });
        }
        self.within(1, slowest, Happening::Ordered { order: order.clone() });
    }
}

fn words(said: &Said) -> String {
    let text = format!("{said:?}");
    text.chars().take(160).collect()
}
