//! How the services of grasp-sync talk: one port, [`Bus`], and its adapters.
//!
//! Notices and orders are wake-ups: losing one costs a sweep, never an event. Reports and discoveries are kept until
//! they are acknowledged after the commit. Never on the bus: whole events on their way home.

mod in_process;
mod state_client;

use async_trait::async_trait;
use model::{Answer, Discovery, Epoch, Order, Query, Report, Stored, UpstreamId};
use tokio::sync::{mpsc, oneshot};

pub use in_process::{InProcess, Notices};
pub use state_client::{AskError, StateClient};

/// Why a message did not travel.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The other side, or the bus itself, is gone for good: the process stops.
    #[error("the bus is closed")]
    Closed,
    /// Nobody answered in time.
    #[error("no answer from the state service")]
    NoAnswer,
}

/// The port. In-process it is a set of channels; in a fleet it is NATS.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Says that the planner should look at `upstream`. Coalescing: at most one notice per upstream waits.
    fn notify(&self, upstream: UpstreamId);

    /// Takes part in receiving notices: each goes to one receiver.
    fn notices(&self) -> Notices;

    /// Sends an order to the session of its upstream and epoch. Lost if no such session listens.
    async fn order(&self, order: Order) -> Result<(), BusError>;

    /// Listens for the orders of one epoch. Listening has begun when this returns.
    async fn orders(&self, upstream: UpstreamId, epoch: Epoch) -> Result<mpsc::Receiver<Order>, BusError>;

    /// Hands over a report. Returns when it is kept; waits while the receiver is slow.
    async fn report(&self, report: Report) -> Result<(), BusError>;

    /// Hands over a discovery window. Returns when it is kept.
    async fn discover(&self, discovery: Discovery) -> Result<(), BusError>;

    /// Receives reports and discoveries. One receiver per process.
    async fn inbox(&self) -> Result<mpsc::Receiver<Delivery>, BusError>;

    /// Tells third parties what landed at home. Never waits; nobody may listen.
    fn stored(&self, stored: &[Stored]);

    /// Asks the state service.
    async fn ask(&self, query: Query) -> Result<Answer, BusError>;

    /// Receives questions. One receiver per process.
    async fn questions(&self) -> Result<mpsc::Receiver<Question>, BusError>;
}

/// What the state service takes in.
#[derive(Debug)]
pub enum Incoming {
    Report(Report),
    Discovery(Discovery),
}

/// One kept message. It counts as taken once it is acknowledged, after the commit; a receiver that dies before gets it
/// again where the bus outlives it.
#[derive(Debug)]
pub struct Delivery {
    pub incoming: Incoming,
}

impl Delivery {
    /// To be called after the commit.
    pub fn ack(self) {}
}

/// A question on its way to the state service.
#[derive(Debug)]
pub struct Question {
    pub query: Query,
    pub reply: oneshot::Sender<Answer>,
}
