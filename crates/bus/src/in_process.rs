//! The bus of one process: bounded channels, a coalescing set of notices, questions as calls.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use model::{Answer, Discovery, Epoch, Order, Query, Report, Stored, UpstreamId};
use tokio::sync::{Notify, broadcast, mpsc, oneshot};

use crate::{Bus, BusError, Delivery, Incoming, Question};

/// Reports that may wait for the state service; beyond it, sessions wait, and with them their sockets.
const INBOX: usize = 256;
/// Questions that may wait.
const QUESTIONS: usize = 256;
/// Orders that may wait for one session: an activation gives a handful.
const ORDERS: usize = 64;
/// Word of stored events for listeners inside the process; one that lags misses the oldest, and catches up by query.
const STORED: usize = 1024;

#[derive(Debug)]
pub struct InProcess {
    notices: Arc<NoticeBoard>,
    orders: Mutex<HashMap<(UpstreamId, Epoch), mpsc::Sender<Order>>>,
    inbox: Port<Delivery>,
    questions: Port<Question>,
    stored: broadcast::Sender<Stored>,
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

#[derive(Debug, Default)]
struct NoticeBoard {
    waiting: Mutex<BTreeSet<UpstreamId>>,
    news: Notify,
}

/// The receiving side of notices. Each notice goes to one receiver.
#[derive(Debug, Clone)]
pub struct Notices {
    board: Arc<NoticeBoard>,
}

impl Notices {
    /// The next upstream to look at. Cancel-safe.
    pub async fn next(&self) -> UpstreamId {
        loop {
            let news = self.board.news.notified();
            if let Some(upstream) = lock(&self.board.waiting).pop_first() {
                return upstream;
            }
            news.await;
        }
    }
}

impl Default for InProcess {
    fn default() -> Self {
        Self {
            notices: Arc::default(),
            orders: Mutex::default(),
            inbox: Port::new(INBOX),
            questions: Port::new(QUESTIONS),
            stored: broadcast::channel(STORED).0,
        }
    }
}

impl InProcess {
    /// Listens for word of stored events, inside this process.
    #[must_use]
    pub fn listen_stored(&self) -> broadcast::Receiver<Stored> {
        self.stored.subscribe()
    }

    async fn keep(&self, incoming: Incoming) -> Result<(), BusError> {
        self.inbox.sender.send(Delivery { incoming }).await.map_err(|_| BusError::Closed)
    }
}

#[async_trait]
impl Bus for InProcess {
    fn notify(&self, upstream: UpstreamId) {
        if lock(&self.notices.waiting).insert(upstream) {
            self.notices.news.notify_one();
        }
    }

    fn notices(&self) -> Notices {
        Notices { board: Arc::clone(&self.notices) }
    }

    async fn order(&self, order: Order) -> Result<(), BusError> {
        let key = (order.upstream, order.epoch);
        let listener = lock(&self.orders).get(&key).cloned();
        if let Some(session) = listener
            && session.send(order).await.is_err()
        {
            lock(&self.orders).remove(&key);
        }
        Ok(())
    }

    async fn orders(&self, upstream: UpstreamId, epoch: Epoch) -> Result<mpsc::Receiver<Order>, BusError> {
        let (sender, receiver) = mpsc::channel(ORDERS);
        let mut orders = lock(&self.orders);
        orders.retain(|_, session| !session.is_closed());
        orders.insert((upstream, epoch), sender);
        Ok(receiver)
    }

    async fn report(&self, report: Report) -> Result<(), BusError> {
        self.keep(Incoming::Report(report)).await
    }

    async fn discover(&self, discovery: Discovery) -> Result<(), BusError> {
        self.keep(Incoming::Discovery(discovery)).await
    }

    async fn inbox(&self) -> Result<mpsc::Receiver<Delivery>, BusError> {
        self.inbox.take()
    }

    fn stored(&self, stored: &[Stored]) {
        for one in stored {
            // Nobody has to listen.
            let _ = self.stored.send(one.clone());
        }
    }

    async fn ask(&self, query: Query) -> Result<Answer, BusError> {
        let (reply, answer) = oneshot::channel();
        self.questions.sender.send(Question { query, reply }).await.map_err(|_| BusError::Closed)?;
        answer.await.map_err(|_| BusError::NoAnswer)
    }

    async fn questions(&self) -> Result<mpsc::Receiver<Question>, BusError> {
        self.questions.take()
    }
}

/// Each lock guards a collection for one look or one change, so a panic elsewhere cannot have left it half-written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
