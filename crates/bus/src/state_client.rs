//! Typed questions to the state service.

use std::sync::Arc;
use std::time::Instant;

use model::{
    Announced, Answer, Assignment, Bar, Claim, Claimed, Discovery, Epoch, EventId, Explanation, LeaseRequest, LedgerCursor,
    LedgerPage, LedgerRow, LedgerScope, Query, Snapshot, StateError, Status, Subject, UpGranted, UpstreamId, Waiting,
};

use crate::{Bus, BusError, metrics};

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    State(#[from] StateError),
    /// A newer or broken state service: its answer is of another kind than the question.
    #[error("the state service answered another question")]
    WrongAnswer,
}

impl AskError {
    /// Whether another planner is at it.
    #[must_use]
    pub fn is_being_planned(&self) -> bool {
        matches!(self, Self::State(StateError::BeingPlanned))
    }

    /// Whether the asker has lost its epoch and must end its session.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::State(StateError::Fenced))
    }
}

/// Asks the state service over a bus.
#[derive(Clone)]
pub struct StateClient {
    bus: Arc<dyn Bus>,
}

macro_rules! questions {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $answer:ty = $query:expr => $variant:path;)*) => {
        $(
            $(#[$doc])*
            ///
            /// # Errors
            /// The bus is closed, nobody answered, or the state service refused.
            pub async fn $name(&self, $($arg: $type),*) -> Result<$answer, AskError> {
                match self.ask($query).await? {
                    $variant(answer) => Ok(answer.into()),
                    Answer::Failed(error) => Err(error.into()),
                    #[allow(unreachable_patterns, clippy::wildcard_enum_match_arm)]
                    _ => Err(AskError::WrongAnswer),
                }
            }
        )*
    };
}

impl StateClient {
    #[must_use]
    pub fn new(bus: Arc<dyn Bus>) -> Self {
        Self { bus }
    }

    async fn ask(&self, query: Query) -> Result<Answer, BusError> {
        let (name, began) = (query.name(), Instant::now());
        let answer = self.bus.ask(query).await;
        metrics::asked(name, &answer, began.elapsed());
        answer
    }

    questions! {
        /// Renews a worker's lease; answers with the upstreams that are its own.
        lease(request: LeaseRequest) -> Vec<Assignment> = Query::Lease(request) => Answer::Leases;
        /// Puts a discovery window on the books; answers with the upstreams whose coverage changed.
        discover(discovery: Discovery) -> Vec<UpstreamId> = Query::Discover(discovery) => Answer::Discovered;
        /// Raises the epoch for an open socket.
        up(upstream: UpstreamId, epoch: Epoch) -> UpGranted = Query::Up { upstream, epoch } => Answer::Up;
        /// What the planner sees of one upstream.
        snapshot(upstream: UpstreamId, planner: String) -> Box<Snapshot> = Query::Snapshot { upstream, planner } => Answer::Snapshot;
        /// Takes what a plan asks for.
        claim(claim: Claim, planner: String) -> Claimed = Query::Claim { claim, planner } => Answer::Claimed;
        /// Says that the orders of a plan are sent.
        planned(upstream: UpstreamId, planner: String) -> bool = Query::Planned { upstream, planner } => Answer::Planned;
        /// Upstreams that a planner should look at.
        due() -> Vec<UpstreamId> = Query::Due => Answer::Due;
        /// One page of a ledger set.
        ledger(scope: LedgerScope, after: Option<LedgerCursor>) -> LedgerPage = Query::Ledger { scope, after } => Answer::Ledger;
        /// The ids among `ids` that have a final outcome.
        known(ids: Vec<EventId>) -> Vec<EventId> = Query::Known { ids } => Answer::Known;
        /// The ids among `ids` that home holds without serving them.
        held(ids: Vec<EventId>) -> Vec<EventId> = Query::Held { ids } => Answer::Known;
        /// What home holds under `identifiers`.
        announced(identifiers: Vec<String>) -> Vec<Announced> = Query::Announced { identifiers } => Answer::Announced;
        /// Which of `keys` bar events from home.
        bars(keys: Vec<String>) -> Vec<Bar> = Query::Bars { keys } => Answer::Bars;
        /// Keeps events until something that they wait for arrives; answers with how many are kept.
        hold(waiting: Vec<Waiting>) -> u64 = Query::Hold { waiting } => Answer::Held;
        /// Some of the kept events, to be offered again.
        released() -> Vec<Waiting> = Query::Released => Answer::Released;
        /// Says what became of released events.
        settle(rows: Vec<LedgerRow>) -> u64 = Query::Settle { rows } => Answer::Settled;
        /// Says what is let in; answers with whether it was something else until now.
        policy(fingerprint: String) -> bool = Query::Policy { fingerprint } => Answer::Policy;
        /// Figures of the whole system.
        status() -> Status = Query::Status => Answer::Status;
        /// What is known of one event, repository or upstream.
        explain(subject: Subject) -> Box<Explanation> = Query::Explain { subject } => Answer::Explanation;
    }
}
