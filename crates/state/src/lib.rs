//! What survives a restart, and the service that is its only reader and writer.
//!
//! Owns: the database behind the [`Store`] port, leases, coverage, the ledger. Never: a decision about what to ask for
//! (that is the planner's), a socket to a relay.

/// Declares SQL constants, and lists them so that a test can prepare each one.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)*) => {
        $($(#[$doc])* const $name: &str = $sql;)*
        #[cfg(test)]
        pub(super) const STATEMENTS: &[(&str, &str)] = &[$((stringify!($name), $name)),*];
    };
}

mod buried;
mod codec;
mod explained;
mod failure;
mod metrics;
pub mod postgres;
mod reported;
mod repos;
mod service;
mod settings;
pub mod sqlite;
mod status;
#[cfg(test)]
mod sums;
mod turns;
mod upstreams;
mod view;
mod waits;
mod wanting;

use async_trait::async_trait;
use model::{
    Announced, Assignment, Bar, Claim, Claimed, Discovery, Epoch, EventId, Explanation, LeaseRequest, LedgerCursor, LedgerPage,
    LedgerRow, LedgerScope, RelayUrl, Report, Role, Snapshot, StateError, Status, Subject, Timestamp, UpGranted, UpstreamId,
    Waiting,
};

pub use postgres::PostgresStore;
pub use service::serve;
pub use settings::{Rolls, Settings};
pub use sqlite::{OpenError, SqliteStore};

/// A turn at planning an upstream: many times what it takes, and what a planner that died in it costs.
pub const PLAN_HOLD: std::time::Duration = std::time::Duration::from_secs(5);

/// What bringing a schema up to date has changed: the newest version before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// `None` where there was no schema.
    pub before: Option<i64>,
    pub after: i64,
}

/// Wall time, in seconds. A database of its own decides it in a fleet; tests turn it by hand.
pub type Clock = std::sync::Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The port. Every method is one transaction; bulk statements only.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// What it is, in the words of the semantic conventions (`db.system.name`).
    fn system(&self) -> &'static str;

    /// Makes the relays that the operator named exist, home among them, each in its role; a bootstrap relay that is no
    /// longer named becomes listed. Home gets every known item as its target.
    async fn name_relays(&self, named: &[(RelayUrl, Role)]) -> Result<(), StateError>;

    /// S2, S3: one discovery window becomes wanted rows. Answers with the upstreams whose coverage changed.
    async fn discover(&self, discovery: &Discovery) -> Result<Vec<UpstreamId>, StateError>;

    /// Applies a report if its epoch is current. Answers with the upstreams that the planner should look at.
    async fn report(&self, report: &Report) -> Result<Vec<UpstreamId>, StateError>;

    /// Renews or begins a worker's lease and answers with its upstreams.
    async fn lease(&self, request: &LeaseRequest) -> Result<Vec<Assignment>, StateError>;

    /// Raises the epoch of an upstream whose socket is open and says how its link starts (S8, S9).
    async fn up(&self, upstream: UpstreamId, epoch: Epoch) -> Result<UpGranted, StateError>;

    async fn snapshot(&self, upstream: UpstreamId) -> Result<Snapshot, StateError>;

    /// Those of `upstreams` whose link is up. The others are passed over, and looked at when they come up (S4).
    async fn linked(&self, upstreams: &[UpstreamId]) -> Result<Vec<UpstreamId>, StateError>;

    async fn claim(&self, claim: &Claim) -> Result<Claimed, StateError>;

    /// Makes an upstream this planner's to plan, for [`PLAN_HOLD`](crate::PLAN_HOLD) at most. False: another one is at it.
    async fn begin_plan(&self, upstream: UpstreamId, planner: &str) -> Result<bool, StateError>;

    /// Whether nobody else has planned this upstream since this planner began.
    async fn holds_plan(&self, upstream: UpstreamId, planner: &str) -> Result<bool, StateError>;

    /// Ends this planner's turn. False: it was over.
    async fn end_plan(&self, upstream: UpstreamId, planner: &str) -> Result<bool, StateError>;

    /// Ends what is overdue (batches past their deadline, links whose worker's lease expired), then answers with every
    /// upstream that has something to plan: links not opened, wanted items, refreshes due, empty links.
    async fn sweep(&self) -> Result<Vec<UpstreamId>, StateError>;

    async fn ledger(&self, scope: &LedgerScope, after: Option<LedgerCursor>) -> Result<LedgerPage, StateError>;

    async fn known(&self, ids: &[EventId]) -> Result<Vec<EventId>, StateError>;

    /// Which of these home holds without serving them, in the order of the question.
    async fn held(&self, ids: &[EventId]) -> Result<Vec<EventId>, StateError>;

    /// What home holds under these identifiers, in the order of its addresses.
    async fn announced(&self, identifiers: &[String]) -> Result<Vec<Announced>, StateError>;

    /// Which of these keys bar events from home: tombstones and private repos.
    async fn bars(&self, keys: &[String]) -> Result<Vec<Bar>, StateError>;

    /// Keeps events that home refuses until something arrives; beyond a bound the oldest is forgotten. Answers with how many
    /// are new here.
    async fn hold(&self, waiting: &[Waiting]) -> Result<u64, StateError>;

    /// Gives out some events for which something has arrived. They are given out again where nobody settles them in time.
    async fn released(&self) -> Result<Vec<Waiting>, StateError>;

    /// Takes in what became of released events. Answers with how many wait no longer.
    async fn settle(&self, rows: &[LedgerRow]) -> Result<u64, StateError>;

    /// Says what is let in. Where it is something else than before, what was declined or blocked is forgotten, what waits is
    /// released, and every upstream is refreshed within the hour. Answers with whether it is something else.
    async fn policy(&self, fingerprint: &str) -> Result<bool, StateError>;

    async fn status(&self) -> Result<Status, StateError>;

    /// What is known of one event, repo or upstream. Asked by people, now and then: it may take a while.
    async fn explain(&self, subject: &Subject) -> Result<Explanation, StateError>;
}
