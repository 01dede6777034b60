//! A worker: leases upstreams, runs one session for each, gives them back when it stops.
//!
//! Owns: the heartbeat, the fence, which sessions run. Never: what a session does.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engine::caps::Dials;
use model::{Assignment, Epoch, LeaseRequest, Timestamp, UpstreamId, WorkerId};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::fence::Fence;
use crate::intake::Shared;
use crate::means::Means;
use crate::metrics;
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
    /// How long sessions go on after that when nobody answers a renewal. What they report then waits, or is refused; an
    /// answer that gives their upstream to another worker ends them at once. Zero keeps I7 strict.
    pub grace: Duration,
}

/// Whether a worker holds its lease, for whoever asks after its health. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct LeaseSign {
    is_held: Arc<AtomicBool>,
}

impl LeaseSign {
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Relaxed)
    }

    fn swap(&self, is_held: bool) -> bool {
        self.is_held.swap(is_held, Ordering::Relaxed)
    }
}

struct Running {
    /// Of the lease; its link has the next one.
    epoch: Epoch,
    task: JoinHandle<()>,
    stop: CancellationToken,
    pulse: Arc<Pulse>,
}

pub(crate) struct Worker {
    shared: Arc<Shared>,
    terms: LeaseTerms,
    means: Arc<Means>,
    fence: Arc<Fence>,
    sign: LeaseSign,
    dials: Dials,
    began: Instant,
    sessions: HashMap<UpstreamId, Running>,
    /// When upstreams whose session has ended may have the next one: by then its end is in the store.
    resting: HashMap<UpstreamId, Instant>,
    /// Since when sessions that have ended may have missed something. It is said until the next session speaks: the word of the
    /// end may come to the store after a renewal.
    left_behind: HashMap<UpstreamId, Timestamp>,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, terms: LeaseTerms, means: Arc<Means>, sign: LeaseSign) -> Self {
        let fence = Arc::new(Fence::new(terms.ttl + terms.grace));
        let (sessions, resting, left_behind) = (HashMap::new(), HashMap::new(), HashMap::new());
        let (dials, began) = (Dials::new(means.dials_per_minute, 0), Instant::now());
        Self { shared, terms, means, fence, sign, dials, began, sessions, resting, left_behind }
    }

    /// Works until `stop`, then ends its sessions and gives its upstreams back.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut owners = self.listen(&stop).await;
        while !stop.is_cancelled() {
            let sent = Instant::now();
            self.beat(sent).await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep_until(self.bounded(sent + self.terms.beat)) => {}
                Some(()) = owners.recv() => {}
            }
        }
        self.sign.swap(false);
        self.end_all().await;
        match self.renew(true, Instant::now() + self.terms.ttl).await {
            Ok(_) => {
                self.shared.bus.owners_changed().await;
                info!("upstreams given back");
            }
            Err(error) => debug!(%error, "upstreams were not given back; the lease runs out"),
        }
    }

    /// Renews the lease and follows the answer; without one in time, every session ends.
    async fn beat(&mut self, sent: Instant) {
        match self.renew(false, self.bounded(sent + self.terms.ttl)).await {
            Ok(assignments) => {
                // The store counts from when it reads its clock, which is never before the question was sent.
                self.fence.stand_until(sent + self.terms.ttl + self.terms.grace);
                metrics::renewal("renewed");
                if !self.sign.swap(true) {
                    self.shared.bus.owners_changed().await;
                }
                return self.follow(assignments);
            }
            Err(error) => {
                metrics::renewal("unanswered");
                debug!(%error, "the lease was not renewed");
            }
        }
        if self.fence.has_fallen() && self.sign.swap(false) {
            metrics::renewal("lost");
            warn!("the lease could not be renewed in time: every session ends");
            self.end_all().await;
        }
    }

    /// `at`, but not beyond the moment at which sessions, if there are any, have to end.
    fn bounded(&self, at: Instant) -> Instant {
        if self.sessions.is_empty() { at } else { at.min(self.fence.falls_at()) }
    }

    /// Word of workers that come and go. Without it, the beat tells the same.
    async fn listen(&self, stop: &CancellationToken) -> mpsc::Receiver<()> {
        let (_, silent) = mpsc::channel(1);
        match stop.run_until_cancelled(self.shared.bus.owners()).await {
            Some(Ok(owners)) => owners,
            Some(Err(_)) | None => silent,
        }
    }

    /// An answer that comes after `limit` is of no use.
    async fn renew(&self, leaving: bool, limit: Instant) -> Result<Vec<Assignment>, bus::AskError> {
        let since = |(upstream, running): (&UpstreamId, &Running)| Some((*upstream, running.pulse.behind_since()?));
        let left = self.left_behind.iter().map(|(upstream, since)| (*upstream, *since));
        let behind = self.sessions.iter().filter_map(since).chain(left).collect();
        let ttl_ms = u64::try_from(self.terms.ttl.as_millis()).unwrap_or(u64::MAX);
        let request =
            LeaseRequest { worker: self.terms.worker.clone(), ttl_ms, behind, leaving, writes: self.shared.sink.writes() };
        match timeout_at(limit, self.shared.state.lease(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(bus::AskError::Bus(bus::BusError::NoAnswer)),
        }
    }

    /// Runs a session for every assignment, and for nothing else.
    fn follow(&mut self, assignments: Vec<Assignment>) {
        self.rest();
        metrics::leases(assignments.len());
        metrics::load(self.shared.hosts.standings(), self.shared.load.sum());
        let mine: HashMap<UpstreamId, Assignment> = assignments.into_iter().map(|one| (one.upstream, one)).collect();
        self.left_behind.retain(|upstream, _| mine.contains_key(upstream));
        for (upstream, running) in &self.sessions {
            // An epoch further on is that of a new lease: nothing that the session says counts any more.
            let is_current = mine.get(upstream).is_some_and(|one| one.epoch.0 <= running.epoch.0 + 1);
            if !is_current {
                running.stop.cancel();
            }
        }
        let mut fresh: Vec<Assignment> = mine.into_values().filter(|one| self.may_start(one.upstream)).collect();
        fresh.sort_by_key(|one| (one.role, one.dial_at, one.upstream));
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let may_begin = self.dials.take(fresh.len().min(DIALS_PER_BEAT), now_ms);
        for assignment in fresh.into_iter().take(may_begin) {
            self.start(assignment);
        }
    }

    fn may_start(&self, upstream: UpstreamId) -> bool {
        !self.sessions.contains_key(&upstream) && !self.resting.contains_key(&upstream)
    }

    /// The upstreams of sessions that have ended rest for the time that no relay is redialed in, or that one is left alone.
    fn rest(&mut self) {
        let now = Instant::now();
        self.resting.retain(|_, until| *until > now);
        for (upstream, ended) in self.sessions.extract_if(|_, running| running.task.is_finished()) {
            self.resting.insert(upstream, now + Duration::from_secs(ended.pulse.rests_secs()));
            self.left_behind.extend(ended.pulse.behind_since().map(|since| (upstream, since)));
        }
    }

    fn start(&mut self, assignment: Assignment) {
        let (upstream, epoch) = (assignment.upstream, assignment.epoch);
        let pulse = Arc::new(Pulse::after(self.left_behind.remove(&upstream)));
        let stop = CancellationToken::new();
        let leash = Leash { pulse: Arc::clone(&pulse), fence: Arc::clone(&self.fence), stop: stop.clone() };
        let link = session::run(Arc::clone(&self.shared), assignment, Arc::clone(&self.means), leash);
        self.sessions.insert(upstream, Running { epoch, task: tokio::spawn(link), stop, pulse });
    }

    async fn end_all(&mut self) {
        for running in self.sessions.values() {
            running.stop.cancel();
        }
        let deadline = Instant::now() + STOP_LIMIT;
        for (upstream, running) in self.sessions.drain() {
            if timeout_at(deadline, running.task).await.is_err() {
                warn!(%upstream, "a session did not end in time");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bus::{Bus, InProcess, Question};
    use model::{Answer, RelayUrl, Role, WorkerId};
    use tokio::sync::mpsc;

    use super::*;
    use crate::dial::{Dialer, Reach};
    use crate::identity::Identity;

    const TTL: Duration = Duration::from_secs(6);
    const GRACE: Duration = Duration::from_secs(4);

    /// A worker, and the questions that it asks.
    async fn worker() -> (Worker, mpsc::Receiver<Question>) {
        let bus: Arc<dyn Bus> = Arc::new(InProcess::default());
        let questions = bus.questions().await.unwrap();
        let shared = Shared::idle(bus, TTL);
        let worker = WorkerId { name: "one".to_owned(), incarnation: "1".to_owned() };
        let terms = LeaseTerms { worker, ttl: TTL, beat: Duration::from_secs(2), grace: GRACE };
        let reach = Reach { allow_non_public: Vec::new(), names: crate::names::Names::Nobody, onion_proxy: None };
        let means = Arc::new(Means::new(Dialer::new(reach, None), Identity::default(), 6));
        (Worker::new(Arc::new(shared), terms, means, LeaseSign::default()), questions)
    }

    /// An upstream that nobody dials before the test is over.
    fn assignment(epoch: i64) -> Assignment {
        Assignment {
            upstream: UpstreamId(1),
            url: RelayUrl::parse("ws://127.0.0.1:1").unwrap(),
            role: Role::Home,
            epoch: Epoch(epoch),
            dial_at: Timestamp::from_secs(Timestamp::now().as_secs() + 3600),
            learned: model::Learned::default(),
        }
    }

    fn is_stopping(worker: &Worker) -> bool {
        worker.sessions[&UpstreamId(1)].stop.is_cancelled()
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_outlive_an_unanswered_lease_by_the_grace_and_no_longer() {
        let (mut worker, mut questions) = worker().await;
        let began = Instant::now();
        let answering = tokio::spawn(async move {
            questions.recv().await.unwrap().reply.send(Answer::Leases(vec![assignment(5)])).unwrap();
            questions
        });
        worker.beat(began).await;
        assert_eq!(worker.fence.falls_at(), began + TTL + GRACE);
        let _nobody_answers = answering.await.unwrap();
        worker.beat(began).await;
        assert_eq!((Instant::now(), worker.sessions.len()), (began + TTL, 1), "the lease is over, the grace is not");
        worker.beat(Instant::now()).await;
        assert_eq!((Instant::now(), worker.sessions.len()), (began + TTL + GRACE, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn new_links_are_begun_a_few_a_minute_and_home_first() {
        let (mut worker, _questions) = worker().await;
        let many: Vec<Assignment> = (1..=10)
            .map(|n| {
                let role = if n == 9 { Role::Home } else { Role::Listed };
                Assignment { upstream: UpstreamId(n), role, ..assignment(5) }
            })
            .collect();
        worker.follow(many.clone());
        assert_eq!(worker.sessions.keys().collect::<Vec<_>>(), [&UpstreamId(9)]);
        tokio::time::advance(Duration::from_secs(60)).await;
        for _ in 0..3 {
            worker.follow(many.clone());
        }
        assert_eq!(worker.sessions.len(), 2, "what was not used is not saved up");
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_ended_session_left_behind_is_said_until_the_next_one_speaks() {
        let (mut worker, mut questions) = worker().await;
        let said = tokio::spawn(async move {
            let mut said = Vec::new();
            for _ in 0..5 {
                let question = questions.recv().await.unwrap();
                let model::Query::Lease(request) = &question.query else { panic!("{:?}", question.query) };
                said.push(request.behind.clone());
                question.reply.send(Answer::Leases(vec![assignment(5)])).unwrap();
            }
            said
        });
        worker.beat(Instant::now()).await;
        let since = Timestamp::from_secs(7);
        let ended = Running { pulse: Arc::new(Pulse::after(Some(since))), ..worker.sessions.remove(&UpstreamId(1)).unwrap() };
        ended.stop.cancel();
        worker.sessions.insert(UpstreamId(1), ended);
        while !worker.sessions[&UpstreamId(1)].task.is_finished() {
            tokio::task::yield_now().await;
        }
        worker.beat(Instant::now()).await;
        assert!(worker.sessions.is_empty(), "it rests");
        worker.beat(Instant::now()).await;
        tokio::time::advance(Duration::from_secs(60)).await;
        worker.beat(Instant::now()).await;
        assert_eq!(worker.sessions.len(), 1, "it is dialed again, and did not speak yet");
        worker.renew(false, Instant::now() + TTL).await.unwrap();
        let left = vec![(UpstreamId(1), since)];
        assert_eq!(said.await.unwrap(), [vec![], left.clone(), left.clone(), left.clone(), left]);
    }

    #[tokio::test(start_paused = true)]
    async fn x5_a_ban_outlives_an_answer_that_is_older_than_its_report() {
        for (is_banned, rests) in [(false, 2), (true, 590)] {
            let (mut worker, _questions) = worker().await;
            worker.follow(vec![assignment(5)]);
            let running = &worker.sessions[&UpstreamId(1)];
            if is_banned {
                running.pulse.ban();
            }
            running.stop.cancel();
            while !worker.sessions[&UpstreamId(1)].task.is_finished() {
                tokio::task::yield_now().await;
            }
            for (passes, runs) in [(0, 0), (rests, 0), (20, 1)] {
                tokio::time::advance(Duration::from_secs(passes)).await;
                worker.follow(vec![assignment(6)]);
                assert_eq!(worker.sessions.len(), runs, "banned: {is_banned}");
            }
        }
    }

    #[tokio::test]
    async fn a_session_ends_when_its_upstream_is_another_s_or_leased_anew() {
        let (mut worker, _questions) = worker().await;
        worker.follow(vec![assignment(5)]);
        worker.follow(vec![assignment(6)]);
        assert!(!is_stopping(&worker), "its own link has raised the epoch");
        worker.follow(vec![assignment(7)]);
        assert!(is_stopping(&worker), "a new lease");
        let (mut worker, _questions) = self::worker().await;
        worker.follow(vec![assignment(5)]);
        worker.follow(Vec::new());
        assert!(is_stopping(&worker), "another's");
    }
}
