//! A worker: leases upstreams, runs one session for each, gives them back when it stops.
//!
//! Owns: the heartbeat, the fence, which sessions run. Never: what a session does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use engine::rules::REDIAL_SECS;
use model::{Assignment, LeaseRequest, Timestamp, UpstreamId, WorkerId};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::dial::Reach;
use crate::fence::Fence;
use crate::intake::Shared;
use crate::session::{self, Leash, Pulse};

/// New dials are spread: at most this many in one beat.
const DIALS_PER_BEAT: usize = 40;
/// Sessions that stop are waited for this long.
const STOP_LIMIT: Duration = Duration::from_secs(8);

#[derive(Debug, Clone)]
pub struct LeaseTerms {
    pub worker: WorkerId,
    /// How long a lease lasts without a renewal.
    pub ttl: Duration,
    /// How often it is renewed.
    pub beat: Duration,
    /// How long sessions go on after the lease has run out while *nobody answers*. Zero keeps I7 strict; more rides out an
    /// outage of the state service, and somebody else may have the upstream meanwhile.
    pub grace: Duration,
}

struct Running {
    task: JoinHandle<()>,
    stop: CancellationToken,
    pulse: Arc<Pulse>,
}

pub(crate) struct Worker {
    shared: Arc<Shared>,
    terms: LeaseTerms,
    reach: Arc<Reach>,
    fence: Arc<Fence>,
    sessions: HashMap<UpstreamId, Running>,
    /// When upstreams whose session has ended may have the next one: by then its end is in the store.
    resting: HashMap<UpstreamId, Instant>,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, terms: LeaseTerms, reach: Reach) -> Self {
        let fence = Arc::new(Fence::new(terms.ttl));
        Self { shared, terms, reach: Arc::new(reach), fence, sessions: HashMap::new(), resting: HashMap::new() }
    }

    /// Works until `stop`, then ends its sessions and gives its upstreams back.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut owners = self.listen(&stop).await;
        let mut is_member = false;
        while !stop.is_cancelled() {
            let sent = Instant::now();
            match self.renew(false).await {
                Ok(assignments) => {
                    // The store counts from when it reads its clock, which is never before the question was sent.
                    self.fence.stand_until(sent + self.terms.ttl + self.terms.grace);
                    if !is_member {
                        self.shared.bus.owners_changed();
                    }
                    is_member = true;
                    self.follow(assignments);
                }
                Err(error) => debug!(%error, "the lease was not renewed"),
            }
            if self.fence.has_fallen() && !self.sessions.is_empty() {
                warn!("the lease could not be renewed in time: every session ends");
                is_member = false;
                self.end_all().await;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep_until(self.wake_at(sent)) => {}
                Some(()) = owners.recv() => {}
            }
        }
        self.end_all().await;
        match self.renew(true).await {
            Ok(_) => {
                self.shared.bus.owners_changed();
                info!("upstreams given back");
            }
            Err(error) => debug!(%error, "upstreams were not given back; the lease runs out"),
        }
    }

    /// The next beat, or the fence if that falls first.
    fn wake_at(&self, sent: Instant) -> Instant {
        let beat = sent + self.terms.beat;
        if self.sessions.is_empty() { beat } else { beat.min(self.fence.falls_at()) }
    }

    /// Word of workers that come and go. Without it, the beat tells the same.
    async fn listen(&self, stop: &CancellationToken) -> mpsc::Receiver<()> {
        let (_, silent) = mpsc::channel(1);
        match stop.run_until_cancelled(self.shared.bus.owners()).await {
            Some(Ok(owners)) => owners,
            Some(Err(_)) | None => silent,
        }
    }

    async fn renew(&self, leaving: bool) -> Result<Vec<Assignment>, bus::AskError> {
        let behind: Vec<(UpstreamId, Timestamp)> = self
            .sessions
            .iter()
            .filter_map(|(upstream, running)| running.pulse.behind_since().map(|since| (*upstream, since)))
            .collect();
        let ttl_ms = u64::try_from(self.terms.ttl.as_millis()).unwrap_or(u64::MAX);
        let request = LeaseRequest { worker: self.terms.worker.clone(), ttl_ms, behind, leaving };
        // An answer that comes after the lease has run out is of no use.
        match timeout(self.terms.ttl, self.shared.state.lease(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(bus::AskError::Bus(bus::BusError::NoAnswer)),
        }
    }

    /// Runs a session for every assignment, and for nothing else.
    fn follow(&mut self, assignments: Vec<Assignment>) {
        self.rest();
        let mine: HashMap<UpstreamId, Assignment> = assignments.into_iter().map(|one| (one.upstream, one)).collect();
        for (upstream, running) in &self.sessions {
            let is_mine = mine.get(upstream).is_some_and(|assigned| !running.pulse.is_before(assigned.epoch));
            if !is_mine {
                running.stop.cancel();
            }
        }
        let mut fresh: Vec<Assignment> = mine.into_values().filter(|one| self.may_start(one.upstream)).collect();
        fresh.sort_by_key(|one| (one.role, one.dial_at, one.upstream));
        for assignment in fresh.into_iter().take(DIALS_PER_BEAT) {
            self.start(assignment);
        }
    }

    fn may_start(&self, upstream: UpstreamId) -> bool {
        !self.sessions.contains_key(&upstream) && !self.resting.contains_key(&upstream)
    }

    /// Sessions that have ended rest for the time that no relay is redialed in.
    fn rest(&mut self) {
        let now = Instant::now();
        let rested = now + Duration::from_secs(REDIAL_SECS);
        self.resting.retain(|_, until| *until > now);
        let ended = self.sessions.extract_if(|_, running| running.task.is_finished());
        self.resting.extend(ended.map(|(upstream, _)| (upstream, rested)));
    }

    fn start(&mut self, assignment: Assignment) {
        let (stop, pulse) = (CancellationToken::new(), Arc::<Pulse>::default());
        let upstream = assignment.upstream;
        let leash = Leash { pulse: Arc::clone(&pulse), fence: Arc::clone(&self.fence), stop: stop.clone() };
        let link = session::run(Arc::clone(&self.shared), assignment, Arc::clone(&self.reach), leash);
        self.sessions.insert(upstream, Running { task: tokio::spawn(link), stop, pulse });
    }

    async fn end_all(&mut self) {
        for running in self.sessions.values() {
            running.stop.cancel();
        }
        let deadline = Instant::now() + STOP_LIMIT;
        for (upstream, running) in self.sessions.drain() {
            if tokio::time::timeout_at(deadline, running.task).await.is_err() {
                warn!(%upstream, "a session did not end in time");
            }
        }
    }
}
