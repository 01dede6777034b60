//! The live events: published one by one as any client would, and watched for at home.
//!
//! It speaks to relays over a WebSocket of its own and shares nothing with the system that is shown.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use model::{Event, EventId, RelayUrl};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::cast::Cast;
use crate::world::LiveEvent;

/// An upstream on loopback answers at once.
const OK_LIMIT: Duration = Duration::from_secs(10);
/// Far longer than a discovery window and the batch that follows it.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(15);

/// Why a relay of the demonstration could not be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    #[error("the connection broke: {0}")]
    Broken(#[from] WsError),
    #[error("the relay closed the connection")]
    Closed,
    #[error("the relay refused an event: {0}")]
    Refused(String),
    #[error("the relay did not answer an event within {} s", OK_LIMIT.as_secs())]
    Silent,
}

/// What became of one live event.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    /// In words.
    pub(super) what: String,
    pub(super) kind: u16,
    pub(super) upstream: RelayUrl,
    /// From the upstream's OK until home served it; nothing if it did not in time.
    pub(super) after: Option<Duration>,
}

/// Publishes one event and waits for it at home.
pub(super) async fn publish(cast: &Cast, live: &LiveEvent) -> Result<Arrival, LiveError> {
    let upstream = &cast.upstreams[live.upstream].url;
    let mut home = Client::connect(&cast.home.url).await?;
    home.watch_for(live.event.id).await?;
    let mut client = Client::connect(upstream).await?;
    timeout(OK_LIMIT, client.publish(&live.event)).await.map_err(|_| LiveError::Silent)??;
    let taken = Instant::now();
    let after = match timeout(ARRIVAL_LIMIT, home.arrival(live.event.id)).await {
        Ok(arrived) => arrived.map(|()| Some(taken.elapsed()))?,
        Err(_) => None,
    };
    let kind = live.event.kind.as_u16();
    Ok(Arrival { what: in_words(kind), kind, upstream: upstream.clone(), after })
}

/// A connection of the smallest client there can be.
struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    async fn connect(url: &RelayUrl) -> Result<Self, LiveError> {
        let (socket, _) = connect_async(url.as_str()).await?;
        Ok(Self { socket })
    }

    async fn say(&mut self, message: &Value) -> Result<(), LiveError> {
        Ok(self.socket.send(Message::text(message.to_string())).await?)
    }

    /// The next message that is JSON.
    async fn hear(&mut self) -> Result<Value, LiveError> {
        loop {
            let message = self.socket.next().await.ok_or(LiveError::Closed)??;
            if let Message::Text(text) = message
                && let Ok(value) = serde_json::from_str(&text)
            {
                return Ok(value);
            }
        }
    }

    /// Returns at the relay's OK.
    async fn publish(&mut self, event: &Event) -> Result<(), LiveError> {
        self.say(&json!(["EVENT", event])).await?;
        let id = event.id.to_hex();
        loop {
            let answer = self.hear().await?;
            if answer[0] == "OK" && answer[1] == id.as_str() {
                let words = || answer[3].as_str().unwrap_or_default().to_owned();
                return if answer[2] == true { Ok(()) } else { Err(LiveError::Refused(words())) };
            }
        }
    }

    async fn watch_for(&mut self, id: EventId) -> Result<(), LiveError> {
        self.say(&json!(["REQ", "arrival", { "ids": [id.to_hex()] }])).await
    }

    /// Returns when the relay serves the event.
    async fn arrival(&mut self, id: EventId) -> Result<(), LiveError> {
        let id = id.to_hex();
        loop {
            let heard = self.hear().await?;
            if heard[0] == "EVENT" && heard[2]["id"] == id.as_str() {
                return Ok(());
            }
        }
    }
}

fn in_words(kind: u16) -> String {
    let known = match kind {
        1 => "note",
        5 => "deletion",
        7 => "reaction",
        1111 => "comment",
        1617 => "patch",
        1618 => "pull request",
        1619 => "pull request update",
        1621 => "issue",
        1630 => "status open",
        1631 => "status applied",
        1632 => "status closed",
        1633 => "status draft",
        30617 => "repository announcement",
        30618 => "repository state",
        other => return format!("event of kind {other}"),
    };
    known.to_owned()
}
