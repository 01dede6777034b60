//! One websocket connection: reads its messages, acts on them, writes what its outbox holds.
//! It ends by the client, by the relay, or because the client does not read.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use nostr::types::Timestamp;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tracing::{debug, warn};

use super::Shared;
use super::intake;
use super::message::{BadMessage, ClientMessage};
use super::negentropy::{Exchanges, refusal};
use super::outbox::{Frame, Outbox};
use super::traffic::count;

/// Frames written before a flush.
const BURST: usize = 256;
/// Written events that wait for their check; more are left in the socket.
const WAITING_EVENTS: usize = 1_024;
/// How long the last words to a client may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves the connection until it ends by itself; whoever drops the future ends it from outside.
pub(super) async fn serve(stream: WebSocketStream<TcpStream>, shared: Arc<Shared>) {
    let id = count(&shared.counters.connections, 1);
    let outbox = Arc::new(Outbox::new(shared.slack));
    shared.hub.join(id, Arc::clone(&outbox));
    let _leave = Leave { id, shared: Arc::clone(&shared) };
    let (mut sink, stream) = stream.split();
    let (written, events) = channel(WAITING_EVENTS);
    let intake = intake::run(events, Arc::clone(&shared), Arc::clone(&outbox));
    let session =
        Session { id, shared: Arc::clone(&shared), outbox: Arc::clone(&outbox), exchanges: Exchanges::default(), written };
    tokio::select! {
        () = session.read(stream) => {}
        () = write(&mut sink, &outbox, &shared) => {}
        () = intake => {}
        () = outbox.is_given_up() => warn!(connection = id, "a client reads too slowly and is disconnected"),
    }
    // The client may be gone; nothing depends on these words.
    let _ = timeout(FAREWELL, say_farewell(&mut sink, &outbox, &shared)).await;
}

/// Takes the listener out however the connection ends, by being dropped too.
struct Leave {
    id: u64,
    shared: Arc<Shared>,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.shared.hub.leave(self.id);
    }
}

struct Session {
    id: u64,
    shared: Arc<Shared>,
    outbox: Arc<Outbox>,
    exchanges: Exchanges,
    written: Sender<String>,
}

impl Session {
    async fn read(mut self, mut stream: SplitStream<WebSocketStream<TcpStream>>) {
        loop {
            self.outbox.has_room().await;
            match stream.next().await {
                Some(Ok(Message::Text(text))) => self.follow(text.as_str()).await,
                Some(Ok(Message::Binary(_))) => self.notice("ERROR: bad msg: not text"),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_))) | None => return,
                Some(Err(Error::Capacity(cause))) => {
                    return self.notice(&format!("ERROR: bad msg: {cause}"));
                }
                Some(Err(cause)) => {
                    return debug!(connection = self.id, %cause, "a connection broke");
                }
            }
        }
    }

    async fn follow(&mut self, text: &str) {
        count(&self.shared.counters.bytes_in, text.len());
        match ClientMessage::parse(text) {
            Ok(ClientMessage::Event(json)) => {
                count(&self.shared.counters.events_written, 1);
                // A closed intake ends the connection in the same breath.
                let _ = self.written.send(json).await;
            }
            Ok(ClientMessage::Req { id, filters }) => {
                count(&self.shared.counters.requests, 1);
                self.shared.hub.subscribe(self.id, &id, filters, now());
            }
            Ok(ClientMessage::Close { id }) => self.shared.hub.unsubscribe(self.id, &id),
            Ok(message @ (ClientMessage::NegOpen { .. } | ClientMessage::NegMsg { .. } | ClientMessage::NegClose { .. })) => {
                self.reconcile(message);
            }
            Err(bad) => self.refuse(bad),
        }
    }

    fn reconcile(&mut self, message: ClientMessage) {
        if matches!(message, ClientMessage::NegOpen { .. }) {
            count(&self.shared.counters.negentropy_opens, 1);
        }
        if !self.shared.negentropy {
            return self.notice("ERROR: bad msg: negentropy disabled");
        }
        let answer = match message {
            ClientMessage::NegOpen { id, filter, hex } => self.exchanges.open(&id, &filter, &hex, (&self.shared.hub, now())),
            ClientMessage::NegMsg { id, hex } => self.exchanges.step(&id, &hex),
            ClientMessage::NegClose { id } => return self.exchanges.close(&id),
            ClientMessage::Event(_) | ClientMessage::Req { .. } | ClientMessage::Close { .. } => {
                return;
            }
        };
        self.outbox.push(Frame::Text(answer));
    }

    fn refuse(&self, bad: BadMessage) {
        match bad {
            BadMessage::Unreadable(reason) => self.notice(&reason),
            BadMessage::BadFilter { id, reason } => {
                self.outbox.push(Frame::Text(json!(["CLOSED", id, reason]).to_string()));
            }
            BadMessage::BadExchange { id, reason } => self.outbox.push(Frame::Text(refusal(&id, &reason))),
        }
    }

    fn notice(&self, text: &str) {
        self.outbox.push(Frame::Text(json!(["NOTICE", text]).to_string()));
    }
}

type Sink = SplitSink<WebSocketStream<TcpStream>, Message>;

/// Writes what the outbox holds until the client is gone.
async fn write(sink: &mut Sink, outbox: &Outbox, shared: &Shared) {
    loop {
        let frames = outbox.take(BURST).await;
        if send(sink, frames, shared).await.is_err() {
            return;
        }
    }
}

async fn send(sink: &mut Sink, frames: Vec<Frame>, shared: &Shared) -> Result<(), Error> {
    for frame in frames {
        let text = match frame {
            Frame::Text(text) => text,
            Frame::Event { subscription, stored } => {
                count(&shared.counters.events_sent, 1);
                format!("[\"EVENT\",{},{}]", json!(*subscription), stored.json)
            }
        };
        count(&shared.counters.bytes_out, text.len());
        sink.feed(Message::text(text)).await?;
    }
    sink.flush().await
}

async fn say_farewell(sink: &mut Sink, outbox: &Outbox, shared: &Shared) -> Result<(), Error> {
    send(sink, outbox.take_now(BURST), shared).await?;
    sink.close().await
}

fn now() -> u64 {
    Timestamp::now().as_secs()
}
