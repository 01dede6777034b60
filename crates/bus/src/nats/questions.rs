//! Questions and answers: an inbox for all answers of a process, a queue group for all state replicas.
//!
//! A question that one message cannot hold is sent in parts to the door of one replica, which that replica names first.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::{Client, HeaderMap, Message, StatusCode, Subject};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use model::{Answer, Query, subject};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use super::connect::NatsSettings;
use super::envelope::{self, Assembler, Unreadable};
use crate::{BusError, Origin, Question, lock};

/// All state replicas: one of them answers.
const GROUP: &str = "state";
/// Asks for the door of whichever replica is free.
const DOOR: &str = "door";
/// Longer than a statement may take at the store.
const ANSWER_LIMIT: Duration = Duration::from_secs(6);
/// What decides over a lease is answered in time to be asked again, or is of no use.
const LEASE_LIMIT: Duration = Duration::from_secs(1);
/// How long a question is asked again while nobody hears it, or its answers are lost.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// Questions that wait inside a replica.
const QUESTIONS: usize = 256;

/// Asks, and hands answers to those who asked.
#[derive(Debug)]
pub(super) struct Asker {
    client: Client,
    settings: NatsSettings,
    inbox: String,
    waiting: Arc<Mutex<HashMap<u64, Waiting>>>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Waiting {
    parts: Assembler,
    answer: oneshot::Sender<Reply>,
}

/// What came back.
#[derive(Debug)]
enum Reply {
    Payload(Option<HeaderMap>, Bytes),
    NobodyListens,
    Refused(Option<u32>),
}

/// Takes its place in `waiting` away, whatever becomes of the question.
struct Place<'a> {
    asker: &'a Asker,
    token: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(&self.asker.waiting).remove(&self.token);
    }
}

impl Asker {
    pub(super) async fn begin(client: Client, settings: NatsSettings) -> Result<Self, BusError> {
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(format!("{inbox}.*")).await.map_err(|_| BusError::Closed)?;
        let waiting = Arc::<Mutex<HashMap<u64, Waiting>>>::default();
        let places = Arc::downgrade(&waiting);
        tokio::spawn(async move {
            while let Some(message) = answers.next().await {
                let Some(waiting) = places.upgrade() else { return };
                hand_over(&waiting, message);
            }
        });
        Ok(Self { client, settings, inbox, waiting, next: AtomicU64::default() })
    }

    /// Asks until there is an answer, or it is too late for one.
    pub(super) async fn ask(&self, query: &Query) -> Result<Answer, BusError> {
        let payload = serde_json::to_vec(query).expect("questions are plain data");
        let limit = if matches!(query, Query::Lease(_)) { LEASE_LIMIT } else { ANSWER_LIMIT };
        let until = Instant::now() + ASK_AGAIN;
        loop {
            let failed = match self.ask_once(query.name(), payload.clone(), limit).await {
                Ok(Reply::Payload(headers, payload)) => return self.read(headers.as_ref(), &payload),
                Ok(Reply::NobodyListens | Reply::Refused(None)) => BusError::NoAnswer,
                Ok(Reply::Refused(Some(version))) => BusError::Version(version),
                Err(lost) if query.is_repeatable() => lost,
                Err(lost) => return Err(lost),
            };
            if Instant::now() >= until {
                return Err(failed);
            }
            sleep(Duration::from_millis(rand::random_range(50..200))).await;
        }
    }

    /// Waits until the server has taken everything that this connection sent before: what was subscribed to is listened to.
    pub(super) async fn round_trip(&self) -> Result<(), BusError> {
        let (token, answered) = self.place();
        let _place = Place { asker: self, token };
        self.publish(&self.reply_to(token), None, HeaderMap::new(), Bytes::new()).await?;
        match timeout(LEASE_LIMIT, answered).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(BusError::Closed),
            Err(_) => Err(BusError::NoAnswer),
        }
    }

    fn read(&self, headers: Option<&HeaderMap>, payload: &[u8]) -> Result<Answer, BusError> {
        envelope::read(headers, payload, self.settings.reads).map_err(|unreadable| match unreadable {
            Unreadable::Version(version) => BusError::Version(version),
            Unreadable::Content(why) => {
                warn!(why, "an answer cannot be read");
                BusError::NoAnswer
            }
        })
    }

    async fn ask_once(&self, name: &str, payload: Vec<u8>, limit: Duration) -> Result<Reply, BusError> {
        let parts = envelope::parts(self.settings.writes, &Origin::here(), payload, self.client.max_payload());
        let mut to = subject::question(name);
        if parts.len() > 1 {
            match self.send(&subject::question(DOOR), vec![(HeaderMap::new(), Bytes::new())], limit).await? {
                Reply::Payload(_, door) => to = String::from_utf8_lossy(&door).into_owned(),
                other @ (Reply::NobodyListens | Reply::Refused(_)) => return Ok(other),
            }
        }
        self.send(&to, parts, limit).await
    }

    async fn send(&self, to: &str, parts: Vec<(HeaderMap, Bytes)>, limit: Duration) -> Result<Reply, BusError> {
        let (token, answered) = self.place();
        let _place = Place { asker: self, token };
        let exchange = async {
            for (headers, payload) in parts {
                self.publish(to, Some(self.reply_to(token)), headers, payload).await?;
            }
            answered.await.map_err(|_| BusError::Closed)
        };
        timeout(limit, exchange).await.unwrap_or(Err(BusError::NoAnswer))
    }

    fn place(&self) -> (u64, oneshot::Receiver<Reply>) {
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        lock(&self.waiting).insert(token, Waiting { parts: Assembler::default(), answer });
        (token, answered)
    }

    fn reply_to(&self, token: u64) -> String {
        format!("{}.{token}", self.inbox)
    }

    async fn publish(&self, to: &str, reply_to: Option<String>, headers: HeaderMap, payload: Bytes) -> Result<(), BusError> {
        let to = to.to_owned();
        let published = match reply_to {
            Some(reply_to) => self.client.publish_with_reply_and_headers(to, reply_to, headers, payload).await,
            None => self.client.publish_with_headers(to, headers, payload).await,
        };
        published.map_err(|_| BusError::Closed)
    }
}

fn hand_over(waiting: &Mutex<HashMap<u64, Waiting>>, message: Message) {
    let Some(token) = message.subject.rsplit('.').next().and_then(|token| token.parse().ok()) else { return };
    let mut waiting = lock(waiting);
    // Late answers find nobody.
    let Some(asked) = waiting.get_mut(&token) else { return };
    let headers = message.headers.as_ref();
    let reply = if message.status == Some(StatusCode::NO_RESPONDERS) {
        Some(Reply::NobodyListens)
    } else if let Some(version) = envelope::refused(headers) {
        Some(Reply::Refused(version))
    } else {
        asked.parts.take(headers, message.payload).map(|payload| Reply::Payload(message.headers.clone(), payload))
    };
    if let Some(reply) = reply
        && let Some(asked) = waiting.remove(&token)
    {
        // Nobody waits any more: then it is late.
        let _ = asked.answer.send(reply);
    }
}

/// Listens for questions; they are handed over until the receiver is dropped.
pub(super) async fn listen(client: &Client, settings: &NatsSettings) -> Result<mpsc::Receiver<Question>, BusError> {
    let door = subject::door(&nuid::next());
    let shared = client.queue_subscribe(subject::QUESTIONS, GROUP.to_owned()).await.map_err(|_| BusError::Closed)?;
    let own = client.subscribe(door.clone()).await.map_err(|_| BusError::Closed)?;
    let (sender, receiver) = mpsc::channel(QUESTIONS);
    let mut messages = stream::select(shared, own);
    let desk = Desk { client: client.clone(), settings: settings.clone(), door };
    tokio::spawn(async move {
        let mut parts = Assembler::default();
        loop {
            let message = tokio::select! {
                () = sender.closed() => return,
                message = messages.next() => message,
            };
            let Some(message) = message else { return };
            if let Some(question) = desk.receive(&mut parts, message).await
                && sender.send(question).await.is_err()
            {
                return;
            }
        }
    });
    Ok(receiver)
}

/// One replica's side.
#[derive(Clone)]
struct Desk {
    client: Client,
    settings: NatsSettings,
    door: String,
}

impl Desk {
    async fn receive(&self, parts: &mut Assembler, message: Message) -> Option<Question> {
        let reply_to = message.reply?;
        if message.subject.as_str() == subject::question(DOOR) {
            self.send(&reply_to, HeaderMap::new(), Bytes::from(self.door.clone())).await;
            return None;
        }
        let headers = message.headers;
        let payload = parts.take(headers.as_ref(), message.payload)?;
        match envelope::read(headers.as_ref(), &payload, self.settings.reads) {
            Ok(query) => {
                let (reply, answered) = oneshot::channel();
                tokio::spawn(self.clone().answer(reply_to, answered));
                Some(Question { query, origin: envelope::origin(headers.as_ref()), reply })
            }
            Err(unreadable) => {
                warn!(subject = %message.subject, why = %unreadable, "a question cannot be read");
                let version = if let Unreadable::Version(version) = unreadable { Some(version) } else { None };
                self.send(&reply_to, envelope::refusal(version), Bytes::new()).await;
                None
            }
        }
    }

    async fn answer(self, reply_to: Subject, answered: oneshot::Receiver<Answer>) {
        let Ok(answer) = answered.await else {
            return self.send(&reply_to, envelope::refusal(None), Bytes::new()).await;
        };
        let payload = serde_json::to_vec(&answer).expect("answers are plain data");
        for (headers, payload) in envelope::parts(self.settings.writes, &Origin::here(), payload, self.client.max_payload()) {
            self.send(&reply_to, headers, payload).await;
        }
    }

    async fn send(&self, reply_to: &Subject, headers: HeaderMap, payload: Bytes) {
        if let Err(error) = self.client.publish_with_headers(reply_to.clone(), headers, payload).await {
            debug!(%error, "an answer was not sent; it is asked for again");
        }
    }
}
