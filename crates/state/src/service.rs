//! The state service: takes reports from the bus into the store, and answers questions.

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, BusError, Delivery, Question};
use model::{Answer, Claim, Claimed, Query, Snapshot, StateError, UpstreamId};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, debug, error, info_span};

use crate::{Store, metrics};

/// Reports are applied in this many lanes: those of one upstream in one lane, one after the other.
const LANES: i64 = 4;
/// Reports that wait in a lane; beyond it, the bus keeps them.
const LANE: usize = 4;
/// Questions answered at the same time; the store's pool is of this order.
const QUESTIONS_AT_ONCE: usize = 8;
/// How long to wait before a store that failed is tried again.
const STORE_RETRY: Duration = Duration::from_millis(500);

/// Serves `store` on `bus` until `stop`; what was taken from the bus by then is committed.
///
/// # Errors
/// The bus is closed, or another state service already serves it in this process.
pub async fn serve(store: Arc<dyn Store>, bus: Arc<dyn Bus>, stop: CancellationToken) -> Result<(), BusError> {
    let mut reports = bus.reports().await?;
    let questions = bus.questions().await?;
    let answering = tokio::spawn(answer_all(Arc::clone(&store), Arc::clone(&bus), questions, stop.clone()));
    metrics::begin();
    let lanes = Lanes::begin(&store, &bus);
    loop {
        let delivery = tokio::select! {
            biased;
            delivery = reports.recv() => delivery,
            () = stop.cancelled() => None,
        };
        let Some(delivery) = delivery else { break };
        lanes.put(delivery).await;
    }
    lanes.end().await;
    answering.abort();
    Ok(())
}

struct Lanes {
    senders: Vec<mpsc::Sender<Delivery>>,
    tasks: JoinSet<()>,
}

impl Lanes {
    fn begin(store: &Arc<dyn Store>, bus: &Arc<dyn Bus>) -> Self {
        let (mut senders, mut tasks) = (Vec::new(), JoinSet::new());
        for _ in 0..LANES {
            let (sender, mut lane) = mpsc::channel::<Delivery>(LANE);
            let (store, bus) = (Arc::clone(store), Arc::clone(bus));
            tasks.spawn(async move {
                while let Some(delivery) = lane.recv().await {
                    let span = info_span!("process report.{upstream}", upstream = %delivery.report.upstream);
                    let span = delivery.origin.begin(span);
                    let reporter = delivery.report.upstream;
                    let dirty = take_in(&*store, delivery).instrument(span.clone()).await;
                    let (own, others): (Vec<_>, Vec<_>) = dirty.into_iter().partition(|upstream| *upstream == reporter);
                    // What home's coverage lets begin elsewhere belongs to its trace; the reporter's next work is a trace of its own.
                    notify_all(&*bus, &own);
                    let others = linked(&*store, others).await;
                    span.in_scope(|| notify_all(&*bus, &others));
                }
            });
            senders.push(sender);
        }
        Self { senders, tasks }
    }

    async fn put(&self, delivery: Delivery) {
        let lane = usize::try_from(delivery.report.upstream.0.rem_euclid(LANES)).unwrap_or_default();
        // A lane ends only after its sender is dropped.
        let _ = self.senders[lane].send(delivery).await;
    }

    /// What is in the lanes is committed.
    async fn end(mut self) {
        self.senders.clear();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Applies one report and acknowledges it after the commit. A store that fails is tried again: the reports behind this one
/// wait, and with them the sockets that they come from.
async fn take_in(store: &dyn Store, delivery: Delivery) -> Vec<UpstreamId> {
    let dirty = loop {
        let timed = metrics::taking_in();
        let applied = store.report(&delivery.report).instrument(in_store(store, "report")).await;
        drop(timed);
        metrics::took_in(&applied);
        match applied {
            Ok(dirty) => break dirty,
            // A report of an older epoch changes nothing; taking it again would not either.
            Err(StateError::Fenced | StateError::NoSuchUpstream | StateError::BeingPlanned) => {
                debug!("dropped a report of an older epoch");
                break Vec::new();
            }
            Err(StateError::Store(why)) => {
                error!(why, "the store did not take a report; trying again");
                tokio::time::sleep(STORE_RETRY).await;
                delivery.still_working().await;
            }
        }
    };
    delivery.ack().await;
    dirty
}

/// What the store does for one message, by the semantic conventions for databases.
fn in_store(store: &dyn Store, operation: &'static str) -> Span {
    info_span!(
        "store",
        otel.name = operation,
        otel.kind = "client",
        db.system.name = store.system(),
        db.operation.name = operation
    )
}

/// A window of a busy home touches thousands of upstreams, most of which are down: a planner has nothing to do there.
async fn linked(store: &dyn Store, dirty: Vec<UpstreamId>) -> Vec<UpstreamId> {
    if dirty.is_empty() { dirty } else { store.linked(&dirty).await.unwrap_or(dirty) }
}

fn notify_all(bus: &dyn Bus, dirty: &[UpstreamId]) {
    for upstream in dirty {
        bus.notify(*upstream);
    }
}

async fn answer_all(
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    mut questions: mpsc::Receiver<Question>,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(QUESTIONS_AT_ONCE));
    while let Some(Question { query, origin, reply }) = questions.recv().await {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let (store, bus) = (Arc::clone(&store), Arc::clone(&bus));
        let span = origin.begin(info_span!("process query.{name}", name = query.name()));
        let answering = async move {
            let fresh_link = if let Query::Up { upstream, .. } = &query { Some(*upstream) } else { None };
            let name = query.name();
            let answered = answer(&*store, query).instrument(in_store(&*store, name)).await;
            match (&answered, fresh_link) {
                (Answer::Up(_), Some(upstream)) => bus.notify(upstream),
                (Answer::Discovered(dirty), _) => notify_all(&*bus, &linked(&*store, dirty.clone()).await),
                _ => {}
            }
            // The asker may have gone; then the answer is of no use.
            let _ = reply.send(answered);
            drop(permit);
        };
        tokio::spawn(answering.instrument(span));
        if stop.is_cancelled() && questions.is_empty() {
            return;
        }
    }
}

async fn answer(store: &dyn Store, query: Query) -> Answer {
    let _timed = metrics::answering(&query);
    let answered = match query {
        Query::Lease(request) => store.lease(&request).await.map(Answer::Leases),
        Query::Discover(discovery) => {
            let dirty = store.discover(&discovery).await;
            dirty.inspect(|_| metrics::discovered(&discovery)).map(Answer::Discovered)
        }
        Query::Up { upstream, epoch } => store.up(upstream, epoch).await.map(Answer::Up),
        Query::Snapshot { upstream, planner } => {
            look(store, upstream, &planner).await.map(|look| Answer::Snapshot(Box::new(look)))
        }
        Query::Claim { claim, planner } => take(store, &claim, &planner).await.map(Answer::Claimed),
        Query::Planned { upstream, planner } => store.end_plan(upstream, &planner).await.map(Answer::Planned),
        Query::Due => store.sweep().await.map(Answer::Due),
        Query::Ledger { scope, after } => store.ledger(&scope, after).await.map(Answer::Ledger),
        Query::Known { ids } => store.known(&ids).await.map(Answer::Known),
        Query::Held { ids } => store.held(&ids).await.map(Answer::Known),
        Query::Announced { identifiers } => store.announced(&identifiers).await.map(Answer::Announced),
        Query::Bars { keys } => store.bars(&keys).await.map(Answer::Bars),
        Query::Hold { waiting } => store.hold(&waiting).await.map(Answer::Held),
        Query::Released => store.released().await.map(Answer::Released),
        Query::Settle { rows } => store.settle(&rows).await.map(Answer::Settled),
        Query::Policy { fingerprint } => store.policy(&fingerprint).await.map(Answer::Policy),
        Query::Status => store.status().await.map(Answer::Status),
        Query::Explain { subject } => store.explain(&subject).await.map(|told| Answer::Explanation(Box::new(told))),
    };
    answered.unwrap_or_else(Answer::Failed)
}

/// An upstream is never planned by two at once.
async fn look(store: &dyn Store, upstream: UpstreamId, planner: &str) -> Result<Snapshot, StateError> {
    if store.begin_plan(upstream, planner).await? { store.snapshot(upstream).await } else { Err(StateError::BeingPlanned) }
}

/// A planner that was too slow has lost its turn, and its plan with it.
async fn take(store: &dyn Store, claim: &Claim, planner: &str) -> Result<Claimed, StateError> {
    if store.holds_plan(claim.upstream, planner).await? { store.claim(claim).await } else { Err(StateError::BeingPlanned) }
}
