//! How the services of grasp-sync talk: one port, [`Bus`], and its two adapters, [`InProcess`] and [`Nats`].
//!
//! Notices and orders are wake-ups: losing one costs a sweep, never an event. Reports are kept until they are
//! acknowledged, after the commit. Questions are answered after the commit. Never on the bus: whole events on their way
//! home.

mod board;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod in_process;
mod metrics;
mod nats;
mod origin;
mod state_client;

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_nats::jetstream::AckKind;
use async_nats::jetstream::message::Acker;
use async_trait::async_trait;
use model::{Answer, Epoch, GitWanted, Order, Query, Report, Stored, UpstreamId};
use tokio::sync::{broadcast, mpsc, oneshot};
use tracing::debug;

pub use board::{Look, Notices};
pub use in_process::InProcess;
pub use nats::{ConnectError, MESSAGE_VERSION, Nats, NatsSettings};
pub use origin::Origin;
pub use state_client::{AskError, StateClient};

/// Why a message did not travel.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The other side, or the bus itself, is gone for good: the process stops.
    #[error("the bus is closed")]
    Closed,
    /// Nobody answered in time. Whether the question was heard is not known.
    #[error("no answer from the state service")]
    NoAnswer,
    /// The bus did not keep a report in time.
    #[error("the bus does not keep reports: {0}")]
    NotKept(String),
    /// The other side speaks another version of the messages.
    #[error("the other side does not read messages of version {0}: upgrade state first, then planners, then connectors")]
    Version(u32),
}

/// The port. In-process it is a set of channels; in a fleet it is NATS.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Says that a planner should look at `upstream`. Coalescing: at most one notice per upstream waits.
    fn notify(&self, upstream: UpstreamId);

    /// Takes part in receiving notices: each goes to one receiver. Listening has begun when this returns.
    async fn notices(&self) -> Result<Notices, BusError>;

    /// Says that workers came or went: every connector renews its lease at once, and learns what is its own now.
    async fn owners_changed(&self);

    /// Receives word that workers came or went. Words that wait collapse.
    async fn owners(&self) -> Result<mpsc::Receiver<()>, BusError>;

    /// Sends an order to the session of its upstream and epoch. Lost if no such session listens.
    async fn order(&self, order: Order) -> Result<(), BusError>;

    /// Listens for the orders of one epoch. Listening has begun when this returns.
    async fn orders(&self, upstream: UpstreamId, epoch: Epoch) -> Result<mpsc::Receiver<Received<Order>>, BusError>;

    /// Hands over a report. Returns when it is kept; waits while the receiver is slow. Cancel-safe: what is cancelled may
    /// have been kept.
    async fn report(&self, report: Report) -> Result<(), BusError>;

    /// Receives reports. One receiver per process.
    async fn reports(&self) -> Result<mpsc::Receiver<Delivery>, BusError>;

    /// Tells third parties what landed at home. Never waits; nobody may listen.
    fn stored(&self, stored: &[Stored]);

    /// Tells third parties which git data is wanted. Never waits; nobody may listen.
    fn git_wanted(&self, wanted: &[GitWanted]);

    /// Listens for word of wanted git data inside this process. None: it travels on the server, for anybody's client.
    fn git_wanted_inside(&self) -> Option<broadcast::Receiver<GitWanted>>;

    /// Asks the state service.
    async fn ask(&self, query: Query) -> Result<Answer, BusError>;

    /// Receives questions. One receiver per process.
    async fn questions(&self) -> Result<mpsc::Receiver<Question>, BusError>;

    /// Whether messages travel at this moment.
    fn is_reachable(&self) -> bool;
}

/// A message with the trace that it belongs to.
#[derive(Debug)]
pub struct Received<T> {
    pub message: T,
    pub origin: Origin,
}

/// One kept report. It counts as taken once it is acknowledged, after the commit; where the receiver dies before, another
/// one gets it.
pub struct Delivery {
    pub report: Report,
    pub origin: Origin,
    receipt: Option<Acker>,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").field("report", &self.report).finish_non_exhaustive()
    }
}

impl Delivery {
    /// To be called after the commit.
    pub async fn ack(self) {
        self.settle(AckKind::Ack).await;
    }

    /// To be called while the work takes long: nobody else gets the report meanwhile.
    pub async fn still_working(&self) {
        self.settle(AckKind::Progress).await;
    }

    async fn settle(&self, kind: AckKind) {
        let Some(receipt) = &self.receipt else { return };
        if let Err(error) = receipt.ack_with(kind).await {
            debug!(%error, "a report was not acknowledged; it comes again");
        }
    }
}

/// A question on its way to the state service.
#[derive(Debug)]
pub struct Question {
    pub query: Query,
    pub origin: Origin,
    pub reply: oneshot::Sender<Answer>,
}

/// Each lock guards a collection for one look or one change, so a panic elsewhere cannot have left it half-written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
