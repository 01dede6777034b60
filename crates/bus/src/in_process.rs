//! The bus of one process: bounded channels, a coalescing set of notices, questions as calls.

use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;
use model::{Answer, Epoch, GitWanted, Order, Query, Report, Stored, UpstreamId};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::board::Board;
use crate::{Bus, BusError, Delivery, Notices, Origin, Question, Received, lock};

/// Reports that may wait for the state service; beyond it, sessions wait, and with them their sockets.
const REPORTS: usize = 256;
/// Questions that may wait.
const QUESTIONS: usize = 256;
/// Orders that may wait for one session: an activation gives a handful.
const ORDERS: usize = 64;
/// Word of stored events for listeners inside the process; one that lags misses the oldest, and catches up by query.
const STORED: usize = 1024;

/// Where a session listens.
type Session = mpsc::Sender<Received<Order>>;

#[derive(Debug)]
pub struct InProcess {
    notices: Board,
    orders: Mutex<HashMap<(UpstreamId, Epoch), Session>>,
    owners: Mutex<Vec<mpsc::Sender<()>>>,
    reports: Port<Delivery>,
    questions: Port<Question>,
    stored: broadcast::Sender<Stored>,
    git_wanted: broadcast::Sender<GitWanted>,
}

/// A channel whose receiving end is taken once.
#[derive(Debug)]
struct Port<T> {
    sender: mpsc::Sender<T>,
    receiver: Mutex<Option<mpsc::Receiver<T>>>,
}

impl<T> Port<T> {
    fn new(size: usize) -> Self {
        let (sender, receiver) = mpsc::channel(size);
        Self { sender, receiver: Mutex::new(Some(receiver)) }
    }

    fn take(&self) -> Result<mpsc::Receiver<T>, BusError> {
        lock(&self.receiver).take().ok_or(BusError::Closed)
    }
}

impl Default for InProcess {
    fn default() -> Self {
        Self {
            notices: Board::default(),
            orders: Mutex::default(),
            owners: Mutex::default(),
            reports: Port::new(REPORTS),
            questions: Port::new(QUESTIONS),
            stored: broadcast::channel(STORED).0,
            git_wanted: broadcast::channel(STORED).0,
        }
    }
}

impl InProcess {
    /// Listens for word of stored events, inside this process.
    #[must_use]
    pub fn listen_stored(&self) -> broadcast::Receiver<Stored> {
        self.stored.subscribe()
    }

    /// Listens for word of git data that is wanted, inside this process.
    #[must_use]
    pub fn listen_git_wanted(&self) -> broadcast::Receiver<GitWanted> {
        self.git_wanted.subscribe()
    }
}

#[async_trait]
impl Bus for InProcess {
    fn notify(&self, upstream: UpstreamId) {
        self.notices.put(upstream, Origin::here());
    }

    async fn notices(&self) -> Result<Notices, BusError> {
        Ok(Notices::on(self.notices.clone()))
    }

    async fn owners_changed(&self) {
        // A full channel holds the same word already.
        lock(&self.owners).retain(|listener| !matches!(listener.try_send(()), Err(mpsc::error::TrySendError::Closed(()))));
    }

    async fn owners(&self) -> Result<mpsc::Receiver<()>, BusError> {
        let (sender, receiver) = mpsc::channel(1);
        lock(&self.owners).push(sender);
        Ok(receiver)
    }

    async fn order(&self, order: Order) -> Result<(), BusError> {
        let key = (order.upstream, order.epoch);
        let listener = lock(&self.orders).get(&key).cloned();
        if let Some(session) = listener
            && session.send(Received { message: order, origin: Origin::here() }).await.is_err()
        {
            lock(&self.orders).remove(&key);
        }
        Ok(())
    }

    async fn orders(&self, upstream: UpstreamId, epoch: Epoch) -> Result<mpsc::Receiver<Received<Order>>, BusError> {
        let (sender, receiver) = mpsc::channel(ORDERS);
        let mut orders = lock(&self.orders);
        orders.retain(|_, session| !session.is_closed());
        orders.insert((upstream, epoch), sender);
        Ok(receiver)
    }

    async fn report(&self, report: Report) -> Result<(), BusError> {
        let delivery = Delivery { report, origin: Origin::here(), receipt: None };
        self.reports.sender.send(delivery).await.map_err(|_| BusError::Closed)
    }

    async fn reports(&self) -> Result<mpsc::Receiver<Delivery>, BusError> {
        self.reports.take()
    }

    fn stored(&self, stored: &[Stored]) {
        for one in stored {
            // Nobody has to listen.
            let _ = self.stored.send(one.clone());
        }
    }

    fn git_wanted(&self, wanted: &[GitWanted]) {
        for one in wanted {
            // Nobody has to listen.
            let _ = self.git_wanted.send(one.clone());
        }
    }

    fn git_wanted_inside(&self) -> Option<broadcast::Receiver<GitWanted>> {
        Some(self.listen_git_wanted())
    }

    async fn ask(&self, query: Query) -> Result<Answer, BusError> {
        let (reply, answer) = oneshot::channel();
        let question = Question { query, origin: Origin::here(), reply };
        self.questions.sender.send(question).await.map_err(|_| BusError::Closed)?;
        answer.await.map_err(|_| BusError::NoAnswer)
    }

    async fn questions(&self) -> Result<mpsc::Receiver<Question>, BusError> {
        self.questions.take()
    }

    fn is_reachable(&self) -> bool {
        true
    }
}
