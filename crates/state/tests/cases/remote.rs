//! The store as a planner and a connector see it: asked over a real bus, with the state service on its other side.
//!
//! What no message exists for goes straight to the store: the operator's word, and the look at a planner's turn.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bus::{AskError, Bus, Nats, NatsSettings, StateClient};
use model::{
    Announced, Assignment, Bar, Claim, Claimed, Discovery, Epoch, EventId, Explanation, LeaseRequest, LedgerCursor, LedgerPage,
    LedgerRow, LedgerScope, RelayUrl, Report, Role, Said, Snapshot, StateError, Status, Subject, UpGranted, UpstreamId,
    Waiting,
};
use state::{Settings, Store};
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::world::Backend;

/// Long enough for what must happen, on a busy machine.
const SOON: Duration = Duration::from_secs(60);
/// Long enough to see that the stream has dropped a report that it knows.
const A_MOMENT: Duration = Duration::from_millis(300);
/// The planner whose turn it is when the suite looks or claims without naming one.
const PLANNER: &str = "the suite";

/// Another backend, through the bus.
pub(crate) struct ThroughTheBus<B>(pub(crate) B);

#[async_trait]
impl<B: Backend> Backend for ThroughTheBus<B> {
    async fn open(&self, database: &str, settings: Settings) -> Arc<dyn Store> {
        Arc::new(Remote::begin(self.0.open(database, settings).await).await)
    }

    fn outlives_its_process(&self) -> bool {
        self.0.outlives_its_process()
    }
}

/// A server of its own each time: subjects are fixed, and what was said to the process before is not for this one.
struct Remote {
    state: StateClient,
    bus: Arc<dyn Bus>,
    store: Arc<dyn Store>,
    reports: Mutex<Reports>,
    _service: DropGuard,
    _server: testkit::Nats,
}

/// What was reported, and what the store said to it.
struct Reports {
    sent: BTreeSet<Key>,
    taken: mpsc::UnboundedReceiver<Taken>,
}

/// By this a report is known.
type Key = (UpstreamId, Epoch, u64);

/// A report, or a piece of one, that the service has handed to the store.
struct Taken {
    key: Key,
    rows: usize,
    answer: Result<Vec<UpstreamId>, StateError>,
}

impl Remote {
    async fn begin(store: Arc<dyn Store>) -> Self {
        let server = testkit::Nats::start().await;
        let (teller, taken) = mpsc::unbounded_channel();
        let spy = Arc::new(Spy { store: Arc::clone(&store), teller });
        let stop = CancellationToken::new();
        tokio::spawn(state::serve(spy, connect(&server, "state").await, stop.clone()));
        let bus = connect(&server, "connector").await;
        let reports = Mutex::new(Reports { sent: BTreeSet::new(), taken });
        let state = StateClient::new(Arc::clone(&bus));
        Self { state, bus, store, reports, _service: stop.drop_guard(), _server: server }
    }
}

async fn connect(server: &testkit::Nats, service: &'static str) -> Arc<dyn Bus> {
    Arc::new(Nats::connect(NatsSettings::new(server.url(), service)).await.unwrap())
}

/// What the store has said. That the bus has lost a question is a failure of the case.
fn said<T>(answer: Result<T, AskError>) -> Result<T, StateError> {
    answer.map_err(|error| match error {
        AskError::State(error) => error,
        AskError::Bus(_) | AskError::WrongAnswer => panic!("the bus did not carry a question: {error}"),
    })
}

fn key(report: &Report) -> Key {
    (report.upstream, report.epoch, report.sequence)
}

fn rows(said: &Said) -> usize {
    if let Said::Progress { rows, .. } = said { rows.len() } else { 0 }
}

impl Reports {
    /// The answers of the store to all pieces of `report`. The stream takes a repeated one for the one that it has.
    async fn answer(&mut self, report: &Report) -> Result<Vec<UpstreamId>, StateError> {
        let is_new = self.sent.insert(key(report));
        let (mut left, mut dirty) = (rows(&report.said), Vec::new());
        loop {
            let next = timeout(if is_new { SOON } else { A_MOMENT }, self.taken.recv()).await;
            let Ok(taken) = next else {
                assert!(!is_new, "the service did not take {report:?}");
                return Ok(Vec::new());
            };
            let taken = taken.unwrap();
            assert_eq!(taken.key, key(report));
            dirty.extend(taken.answer?);
            left -= taken.rows;
            if left == 0 {
                return Ok(dirty);
            }
        }
    }
}

#[async_trait]
impl Store for Remote {
    fn system(&self) -> &'static str {
        "remote"
    }

    async fn name_relays(&self, named: &[(RelayUrl, Role)]) -> Result<(), StateError> {
        self.store.name_relays(named).await
    }

    async fn discover(&self, discovery: &Discovery) -> Result<Vec<UpstreamId>, StateError> {
        said(self.state.discover(discovery.clone()).await)
    }

    async fn report(&self, report: &Report) -> Result<Vec<UpstreamId>, StateError> {
        let mut reports = self.reports.lock().await;
        self.bus.report(report.clone()).await.unwrap();
        reports.answer(report).await
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Vec<Assignment>, StateError> {
        said(self.state.lease(request.clone()).await)
    }

    async fn up(&self, upstream: UpstreamId, epoch: Epoch) -> Result<UpGranted, StateError> {
        said(self.state.up(upstream, epoch).await)
    }

    async fn snapshot(&self, upstream: UpstreamId) -> Result<Snapshot, StateError> {
        let snapshot = said(self.state.snapshot(upstream, PLANNER.to_owned()).await);
        self.end_plan(upstream, PLANNER).await?;
        Ok(*snapshot?)
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed, StateError> {
        assert!(self.begin_plan(claim.upstream, PLANNER).await?);
        let claimed = said(self.state.claim(claim.clone(), PLANNER.to_owned()).await);
        assert!(self.end_plan(claim.upstream, PLANNER).await?);
        claimed
    }

    async fn begin_plan(&self, upstream: UpstreamId, planner: &str) -> Result<bool, StateError> {
        match said(self.state.snapshot(upstream, planner.to_owned()).await) {
            Ok(_) => Ok(true),
            Err(StateError::BeingPlanned) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn linked(&self, upstreams: &[UpstreamId]) -> Result<Vec<UpstreamId>, StateError> {
        self.store.linked(upstreams).await
    }

    async fn holds_plan(&self, upstream: UpstreamId, planner: &str) -> Result<bool, StateError> {
        self.store.holds_plan(upstream, planner).await
    }

    async fn end_plan(&self, upstream: UpstreamId, planner: &str) -> Result<bool, StateError> {
        said(self.state.planned(upstream, planner.to_owned()).await)
    }

    async fn sweep(&self) -> Result<Vec<UpstreamId>, StateError> {
        said(self.state.due().await)
    }

    async fn ledger(&self, scope: &LedgerScope, after: Option<LedgerCursor>) -> Result<LedgerPage, StateError> {
        said(self.state.ledger(scope.clone(), after).await)
    }

    async fn known(&self, ids: &[EventId]) -> Result<Vec<EventId>, StateError> {
        said(self.state.known(ids.to_vec()).await)
    }

    async fn held(&self, ids: &[EventId]) -> Result<Vec<EventId>, StateError> {
        said(self.state.held(ids.to_vec()).await)
    }

    async fn announced(&self, identifiers: &[String]) -> Result<Vec<Announced>, StateError> {
        said(self.state.announced(identifiers.to_vec()).await)
    }

    async fn bars(&self, keys: &[String]) -> Result<Vec<Bar>, StateError> {
        said(self.state.bars(keys.to_vec()).await)
    }

    async fn hold(&self, waiting: &[Waiting]) -> Result<u64, StateError> {
        said(self.state.hold(waiting.to_vec()).await)
    }

    async fn released(&self) -> Result<Vec<Waiting>, StateError> {
        said(self.state.released().await)
    }

    async fn settle(&self, rows: &[LedgerRow]) -> Result<u64, StateError> {
        said(self.state.settle(rows.to_vec()).await)
    }

    async fn policy(&self, fingerprint: &str) -> Result<bool, StateError> {
        said(self.state.policy(fingerprint.to_owned()).await)
    }

    async fn status(&self) -> Result<Status, StateError> {
        said(self.state.status().await)
    }

    async fn explain(&self, subject: &Subject) -> Result<Explanation, StateError> {
        said(self.state.explain(subject.clone()).await.map(|told| *told))
    }
}

/// The store that the service serves: it tells what became of each report, for the bus carries no answer.
struct Spy {
    store: Arc<dyn Store>,
    teller: mpsc::UnboundedSender<Taken>,
}

#[async_trait]
impl Store for Spy {
    fn system(&self) -> &'static str {
        "spy"
    }

    async fn report(&self, report: &Report) -> Result<Vec<UpstreamId>, StateError> {
        let answer = self.store.report(report).await;
        // Nobody asks once the case is over.
        let _ = self.teller.send(Taken { key: key(report), rows: rows(&report.said), answer: answer.clone() });
        answer
    }

    async fn name_relays(&self, named: &[(RelayUrl, Role)]) -> Result<(), StateError> {
        self.store.name_relays(named).await
    }

    async fn discover(&self, discovery: &Discovery) -> Result<Vec<UpstreamId>, StateError> {
        self.store.discover(discovery).await
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Vec<Assignment>, StateError> {
        self.store.lease(request).await
    }

    async fn up(&self, upstream: UpstreamId, epoch: Epoch) -> Result<UpGranted, StateError> {
        self.store.up(upstream, epoch).await
    }

    async fn snapshot(&self, upstream: UpstreamId) -> Result<Snapshot, StateError> {
        self.store.snapshot(upstream).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed, StateError> {
        self.store.claim(claim).await
    }

    async fn begin_plan(&self, upstream: UpstreamId, planner: &str) -> Result<bool, StateError> {
        self.store.begin_plan(upstream, planner).await
    }

    async fn linked(&self, upstreams: &[UpstreamId]) -> Result<Vec<UpstreamId>, StateError> {
        self.store.linked(upstreams).await
    }

    async fn holds_plan(&self, upstream: UpstreamId, planner: &str) -> Result<bool, StateError> {
        self.store.holds_plan(upstream, planner).await
    }

    async fn end_plan(&self, upstream: UpstreamId, planner: &str) -> Result<bool, StateError> {
        self.store.end_plan(upstream, planner).await
    }

    async fn sweep(&self) -> Result<Vec<UpstreamId>, StateError> {
        self.store.sweep().await
    }

    async fn ledger(&self, scope: &LedgerScope, after: Option<LedgerCursor>) -> Result<LedgerPage, StateError> {
        self.store.ledger(scope, after).await
    }

    async fn known(&self, ids: &[EventId]) -> Result<Vec<EventId>, StateError> {
        self.store.known(ids).await
    }

    async fn held(&self, ids: &[EventId]) -> Result<Vec<EventId>, StateError> {
        self.store.held(ids).await
    }

    async fn announced(&self, identifiers: &[String]) -> Result<Vec<Announced>, StateError> {
        self.store.announced(identifiers).await
    }

    async fn bars(&self, keys: &[String]) -> Result<Vec<Bar>, StateError> {
        self.store.bars(keys).await
    }

    async fn hold(&self, waiting: &[Waiting]) -> Result<u64, StateError> {
        self.store.hold(waiting).await
    }

    async fn released(&self) -> Result<Vec<Waiting>, StateError> {
        self.store.released().await
    }

    async fn settle(&self, rows: &[LedgerRow]) -> Result<u64, StateError> {
        self.store.settle(rows).await
    }

    async fn policy(&self, fingerprint: &str) -> Result<bool, StateError> {
        self.store.policy(fingerprint).await
    }

    async fn status(&self) -> Result<Status, StateError> {
        self.store.status().await
    }

    async fn explain(&self, subject: &Subject) -> Result<Explanation, StateError> {
        self.store.explain(subject).await
    }
}
