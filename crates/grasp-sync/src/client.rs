//! The smallest client there can be: publishes an event, waits for one, reads a whole relay. For demonstrations and
//! measurements; it speaks over a WebSocket of its own and shares nothing with the system that is shown.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use model::{Event, EventId, RelayUrl};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// A relay nearby answers at once.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Why a relay of the demonstration could not be spoken to, or read.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the connection broke: {0}")]
    Broken(#[from] WsError),
    #[error("the relay closed the connection")]
    Closed,
    #[error("the relay refused an event: {0}")]
    Refused(String),
    #[error("the relay did not answer within {} s", ANSWER_LIMIT.as_secs())]
    Silent,
    #[error("the relay ended a subscription: {0}")]
    Ended(String),
    #[error("the relay serves what is no event: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error("the relay holds more events of second {0} than it serves on one page")]
    DenseSecond(u64),
}

/// A connection.
pub(crate) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    pub(crate) async fn connect(url: &RelayUrl) -> Result<Self, ClientError> {
        let connecting = timeout(ANSWER_LIMIT, connect_async(url.as_str()));
        let (socket, _) = connecting.await.map_err(|_| ClientError::Silent)??;
        Ok(Self { socket })
    }

    /// Returns at the relay's OK.
    pub(crate) async fn publish(&mut self, event: &Event) -> Result<(), ClientError> {
        self.say(&json!(["EVENT", event])).await?;
        timeout(ANSWER_LIMIT, self.consent(&event.id.to_hex())).await.map_err(|_| ClientError::Silent)?
    }

    pub(crate) async fn watch_for(&mut self, id: EventId) -> Result<(), ClientError> {
        self.say(&json!(["REQ", "arrival", { "ids": [id.to_hex()] }])).await
    }

    /// Returns when the relay serves the event.
    pub(crate) async fn arrival(&mut self, id: EventId) -> Result<(), ClientError> {
        let id = id.to_hex();
        loop {
            let heard = self.hear().await?;
            if heard[0] == "EVENT" && heard[2]["id"] == id.as_str() {
                return Ok(());
            }
        }
    }

    /// Watches for all events of a kind that are published from now on.
    pub(crate) async fn watch_kind(&mut self, kind: u16) -> Result<(), ClientError> {
        self.say(&json!(["REQ", "arrivals", { "kinds": [kind], "limit": 0 }])).await?;
        loop {
            if self.hear().await?[0] == "EOSE" {
                return Ok(());
            }
        }
    }

    /// The id of the next event that the relay serves; nothing where that is no id.
    pub(crate) async fn next_arrival(&mut self) -> Result<Option<EventId>, ClientError> {
        loop {
            let heard = self.hear().await?;
            if heard[0] == "EVENT" {
                return Ok(heard[2]["id"].as_str().and_then(|id| EventId::from_hex(id).ok()));
            }
        }
    }

    /// Everything that the relay serves, page by page.
    pub(crate) async fn everything(&mut self) -> Result<BTreeMap<EventId, Event>, ClientError> {
        let mut found = BTreeMap::new();
        let mut until = None;
        let mut suspect = None;
        loop {
            let page = self.page(until).await?;
            let Some(oldest) = page.iter().map(|event| event.created_at.as_secs()).min() else { return Ok(found) };
            if let Some(second) = suspect {
                return Err(ClientError::DenseSecond(second));
            }
            // A page that does not leave the second that it begins with is the last one, or a part of that second.
            let is_stuck = until == Some(oldest);
            suspect = is_stuck.then_some(oldest);
            found.extend(page.into_iter().map(|event| (event.id, event)));
            match (is_stuck, oldest.checked_sub(1)) {
                (false, _) => until = Some(oldest),
                (true, Some(before)) => until = Some(before),
                (true, None) => return Ok(found),
            }
        }
    }

    /// The newest events up to a second, as many as the relay serves at once.
    async fn page(&mut self, until: Option<u64>) -> Result<Vec<Event>, ClientError> {
        let filter = until.map_or_else(|| json!({}), |until| json!({ "until": until }));
        self.say(&json!(["REQ", "page", filter])).await?;
        let page = timeout(ANSWER_LIMIT, self.stored()).await.map_err(|_| ClientError::Silent)??;
        self.say(&json!(["CLOSE", "page"])).await?;
        Ok(page)
    }

    async fn stored(&mut self) -> Result<Vec<Event>, ClientError> {
        let mut events = Vec::new();
        loop {
            let mut heard = self.hear().await?;
            match heard[0].as_str() {
                Some("EVENT") => events.push(serde_json::from_value(heard[2].take())?),
                Some("EOSE") => return Ok(events),
                Some("CLOSED") => return Err(ClientError::Ended(words(&heard[2]))),
                Some(_) | None => {}
            }
        }
    }

    async fn consent(&mut self, id: &str) -> Result<(), ClientError> {
        loop {
            let heard = self.hear().await?;
            if heard[0] == "OK" && heard[1] == id {
                return if heard[2] == true { Ok(()) } else { Err(ClientError::Refused(words(&heard[3]))) };
            }
        }
    }

    async fn say(&mut self, message: &Value) -> Result<(), ClientError> {
        Ok(self.socket.send(Message::text(message.to_string())).await?)
    }

    /// The next message that is JSON.
    async fn hear(&mut self) -> Result<Value, ClientError> {
        loop {
            let message = self.socket.next().await.ok_or(ClientError::Closed)??;
            if let Message::Text(text) = message
                && let Ok(value) = serde_json::from_str(&text)
            {
                return Ok(value);
            }
        }
    }
}

fn words(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;
    use crate::builtin_relay::{BuiltinRelay, Options, Store};
    use crate::cli::SizeArgs;
    use crate::world;

    /// A relay that serves so many events at once.
    async fn relay(events: Vec<Event>, page_cap: usize) -> BuiltinRelay {
        BuiltinRelay::start(Options { store: Store::Filled(events), page_cap, ..Options::default() }).await.unwrap()
    }

    async fn read(relay: &BuiltinRelay) -> Result<BTreeSet<EventId>, ClientError> {
        let mut client = Client::connect(&RelayUrl::parse(&relay.url()).unwrap()).await?;
        Ok(client.everything().await?.into_keys().collect())
    }

    fn events() -> Vec<Event> {
        let size = SizeArgs { repos: 3, roots: 20, replies: 60, seed: 1 };
        let world = world::generate(&size.shape(1_700_000_000), &["ws://127.0.0.1:1/".to_owned()]);
        world.upstreams.into_iter().flat_map(|upstream| upstream.events).collect()
    }

    #[tokio::test]
    async fn a_whole_relay_is_read_whatever_its_pages_hold() {
        // The oddities of the world share their seconds, and the smallest page has to hold one of these.
        for page_cap in [90, 500] {
            let relay = relay(events(), page_cap).await;
            assert!(relay.event_ids().len() > 80);
            assert_eq!(read(&relay).await.unwrap(), relay.event_ids(), "{page_cap} a page");
        }
        assert!(read(&relay(Vec::new(), 500).await).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_second_that_no_page_holds_is_an_error_and_no_gap() {
        let read = read(&relay(events(), 1).await).await;
        assert!(matches!(read, Err(ClientError::DenseSecond(_))), "{read:?}");
    }
}
