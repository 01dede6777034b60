//! The bus of a fleet: NATS. Subjects: [`model::subject`].
//!
//! Notices, orders and answers are core messages: whoever is away misses them. Reports lie in a stream until they are
//! acknowledged. Nothing that is only here is ever the truth: the store is, and what is lost here is asked for again.

mod connect;
mod envelope;
mod questions;
mod reports;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_nats::Client;
use async_nats::connection::State;
use async_nats::jetstream::Context;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use model::{Answer, Epoch, GitWanted, Order, Query, Report, Stored, UpstreamId, subject};
use serde::Serialize;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, warn};

use self::connect::Counts;
use self::envelope::Assembler;
use self::questions::Asker;
use crate::board::Board;
use crate::{Bus, BusError, Delivery, Look, Notices, Origin, Question, Received, metrics, origin};

pub use connect::{ConnectError, MESSAGE_VERSION, NatsSettings};
#[cfg(any(test, feature = "fuzzing"))]
pub use envelope::fuzz::message;

/// Planners: each notice reaches one of them.
const PLANNERS: &str = "planner";
/// Reports handed over and not taken yet.
const REPORTS: usize = 16;
/// Orders that may wait for one session.
const ORDERS: usize = 64;
/// Word to third parties on its way out; beyond it, it is dropped: they catch up by query, or hear it again.
const WORDS: usize = 4096;

/// What third parties are told.
#[derive(Debug)]
enum Word {
    Stored(Stored),
    GitWanted(GitWanted),
}

pub struct Nats {
    client: Client,
    jetstream: Context,
    settings: NatsSettings,
    /// Counts connections: the first one, and each after a loss.
    connections: watch::Receiver<u64>,
    counts: Arc<Counts>,
    notices: Board,
    words: mpsc::Sender<Word>,
    asker: Asker,
    _tasks: DropGuard,
}

impl std::fmt::Debug for Nats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nats").field("service", &self.settings.service).finish_non_exhaustive()
    }
}

impl Nats {
    /// Connects once; from then on a lost connection is made again for ever.
    ///
    /// # Errors
    /// What an operator has to put right; see [`ConnectError`].
    pub async fn connect(settings: NatsSettings) -> Result<Self, ConnectError> {
        let (client, connections, counts) = connect::connect(&settings).await?;
        origin::travels_on("nats");
        metrics::begin();
        let asker = Asker::begin(client.clone(), settings.clone()).await;
        let asker = asker.map_err(|error| ConnectError::Unreachable(error.to_string()))?;
        let stop = CancellationToken::new();
        let notices = Board::default();
        let (told, words) = mpsc::channel(WORDS);
        tokio::spawn(stop.clone().run_until_cancelled_owned(send_notices(client.clone(), settings.writes, notices.clone())));
        tokio::spawn(stop.clone().run_until_cancelled_owned(send_words(client.clone(), settings.writes, words)));
        let jetstream = reports::context(client.clone());
        Ok(Self { client, jetstream, settings, connections, counts, notices, words: told, asker, _tasks: stop.drop_guard() })
    }

    /// Times that a subscription of this process fell so far behind that messages were lost.
    #[must_use]
    pub fn slow_consumers(&self) -> u64 {
        self.counts.slow_consumers.load(Ordering::Relaxed)
    }

    /// What the server says of itself: its version, and whether it keeps streams (JetStream).
    #[must_use]
    pub fn server(&self) -> (String, bool) {
        let info = self.client.server_info();
        (info.version, info.jetstream)
    }

    async fn subscribe(&self, subject: String) -> Result<async_nats::Subscriber, BusError> {
        let subscriber = self.client.subscribe(subject).await.map_err(|_| BusError::Closed)?;
        self.asker.round_trip().await?;
        Ok(subscriber)
    }
}

/// Publishes what was put on the board: while the server is away, many notices of one upstream stay one.
async fn send_notices(client: Client, version: u32, board: Board) {
    loop {
        let (Look::At(upstream), origin) = board.next().await else { continue };
        let headers = envelope::headers(version, &origin);
        if let Err(error) = client.publish_with_headers(subject::notice(upstream), headers, Bytes::new()).await {
            debug!(%error, "a notice was lost; the sweep finds what it meant");
        }
    }
}

/// Puts notices on the board. What was said while the connection was lost was not heard.
async fn feed(board: Board, mut subscriber: async_nats::Subscriber, mut connections: watch::Receiver<u64>) {
    connections.mark_unchanged();
    loop {
        tokio::select! {
            Ok(()) = connections.changed() => board.put_everywhere(),
            message = subscriber.next() => match message {
                Some(message) => {
                    if let Some(upstream) = subject::upstream_of_notice(&message.subject) {
                        board.put(upstream, envelope::origin(message.headers.as_ref()));
                    }
                }
                None => return,
            },
        }
    }
}

async fn send_words(client: Client, version: u32, mut words: mpsc::Receiver<Word>) {
    while let Some(word) = words.recv().await {
        match word {
            Word::Stored(stored) => publish(&client, version, subject::stored(stored.kind), &stored).await,
            Word::GitWanted(wanted) => publish(&client, version, subject::git_wanted(wanted.kind), &wanted).await,
        }
    }
}

/// Publishes a core message, in parts if need be.
async fn publish(client: &Client, version: u32, subject: String, message: &impl Serialize) {
    let payload = serde_json::to_vec(message).expect("messages are plain data");
    for (headers, payload) in envelope::parts(version, &Origin::here(), payload, client.max_payload()) {
        if let Err(error) = client.publish_with_headers(subject.clone(), headers, payload).await {
            return debug!(%error, subject, "a message was lost");
        }
    }
}

#[async_trait]
impl Bus for Nats {
    fn notify(&self, upstream: UpstreamId) {
        self.notices.put(upstream, Origin::here());
    }

    async fn notices(&self) -> Result<Notices, BusError> {
        let subscribed = self.client.queue_subscribe(subject::NOTICES, PLANNERS.to_owned()).await;
        let subscriber = subscribed.map_err(|_| BusError::Closed)?;
        self.asker.round_trip().await?;
        let (board, stop) = (Board::default(), CancellationToken::new());
        let feeding = feed(board.clone(), subscriber, self.connections.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(feeding));
        Ok(Notices::fed(board, stop.drop_guard()))
    }

    async fn owners_changed(&self) {
        let told = self.client.publish(subject::OWNERS, Bytes::new()).await;
        // Who says it may be about to end.
        let sent = self.client.flush().await;
        if told.is_err() || sent.is_err() {
            debug!("word of a change of owners was lost; the next beat finds it");
        }
    }

    async fn owners(&self) -> Result<mpsc::Receiver<()>, BusError> {
        let mut subscriber = self.subscribe(subject::OWNERS.to_owned()).await?;
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            while subscriber.next().await.is_some() {
                // A full channel holds the same word already.
                if let Err(mpsc::error::TrySendError::Closed(())) = sender.try_send(()) {
                    return;
                }
            }
        });
        Ok(receiver)
    }

    async fn order(&self, order: Order) -> Result<(), BusError> {
        publish(&self.client, self.settings.writes, subject::order(order.upstream, order.epoch), &order).await;
        Ok(())
    }

    async fn orders(&self, upstream: UpstreamId, epoch: Epoch) -> Result<mpsc::Receiver<Received<Order>>, BusError> {
        let mut subscriber = self.subscribe(subject::order(upstream, epoch)).await?;
        let (sender, receiver) = mpsc::channel(ORDERS);
        let reads = self.settings.reads;
        tokio::spawn(async move {
            let mut parts = Assembler::default();
            loop {
                let message = tokio::select! {
                    () = sender.closed() => return,
                    message = subscriber.next() => message,
                };
                let Some(message) = message else { return };
                let headers = message.headers.as_ref();
                let Some(payload) = parts.take(headers, message.payload) else { continue };
                match envelope::read(headers, &payload, reads) {
                    Ok(order) => {
                        if sender.send(Received { message: order, origin: envelope::origin(headers) }).await.is_err() {
                            return;
                        }
                    }
                    Err(why) => warn!(%upstream, %why, "an order cannot be read; its batch runs out and is planned again"),
                }
            }
        });
        Ok(receiver)
    }

    async fn report(&self, report: Report) -> Result<(), BusError> {
        reports::publish(&self.jetstream, &self.settings, report).await
    }

    async fn reports(&self) -> Result<mpsc::Receiver<Delivery>, BusError> {
        let (sender, receiver) = mpsc::channel(REPORTS);
        let (jetstream, settings) = (self.jetstream.clone(), self.settings.clone());
        tokio::spawn(reports::consume(jetstream, settings, self.connections.clone(), sender));
        Ok(receiver)
    }

    fn stored(&self, stored: &[Stored]) {
        for one in stored {
            // Full or closed: nobody has to know.
            let _ = self.words.try_send(Word::Stored(one.clone()));
        }
    }

    fn git_wanted(&self, wanted: &[GitWanted]) {
        for one in wanted {
            // Full or closed: what is held is said again.
            let _ = self.words.try_send(Word::GitWanted(one.clone()));
        }
    }

    fn git_wanted_inside(&self) -> Option<broadcast::Receiver<GitWanted>> {
        None
    }

    async fn ask(&self, query: Query) -> Result<Answer, BusError> {
        self.asker.ask(&query).await
    }

    async fn questions(&self) -> Result<mpsc::Receiver<Question>, BusError> {
        let questions = questions::listen(&self.client, &self.settings).await?;
        self.asker.round_trip().await?;
        Ok(questions)
    }

    fn is_reachable(&self) -> bool {
        self.client.connection_state() == State::Connected
    }
}
