//! One WebSocket, JSON in, JSON out: for tests that look at the protocol itself.
//!
//! It reconnects nothing, answers nothing by itself (but pings) and interprets nothing.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// How long a relay on the loopback may take for one message, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// An open WebSocket to a relay.
#[derive(Debug)]
pub struct Wire {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// As the socket library says: refused, no WebSocket, TLS.
    pub async fn connect(relay_url: &str) -> Result<Self, Error> {
        let (socket, _) = connect_async(relay_url).await?;
        Ok(Self { socket })
    }

    /// Sends one message.
    ///
    /// # Panics
    /// When the socket is gone.
    pub async fn send(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.expect("the relay still reads");
    }

    /// The relay's next message; `None` once it has closed or dropped the socket.
    ///
    /// # Panics
    /// After a minute of silence, and on a message that is not JSON.
    pub async fn next(&mut self) -> Option<Value> {
        timeout(PATIENCE, self.next_text()).await.expect("the relay says something in time")
    }

    /// Whether the relay says nothing for this long.
    pub async fn is_silent_for(&mut self, span: Duration) -> bool {
        timeout(span, self.next_text()).await.is_err()
    }

    /// Opens a subscription and gathers its stored events up to EOSE, in the order in which they came. It
    /// needs an id that this socket has not used: live events of an older subscription cannot be told from stored ones.
    ///
    /// # Errors
    /// The text of a CLOSED that came before EOSE, or "socket closed".
    pub async fn stored(&mut self, subscription: &str, filter: &Value) -> Result<Vec<Value>, String> {
        self.send(json!(["REQ", subscription, filter])).await;
        let mut events = Vec::new();
        while let Some(message) = self.next().await {
            if message[1] != subscription {
                continue;
            }
            match message[0].as_str() {
                Some("EVENT") => events.push(message[2].clone()),
                Some("EOSE") => return Ok(events),
                Some("CLOSED") => return Err(message[2].as_str().unwrap_or_default().to_owned()),
                Some(_) | None => {}
            }
        }
        Err("socket closed".to_owned())
    }

    async fn next_text(&mut self) -> Option<Value> {
        loop {
            match self.socket.next().await? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).expect("relays speak JSON")),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
            }
        }
    }
}
