//! A client with no opinion: it sends what it is told and shows what comes.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::*;

pub(super) struct Client {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    pub(super) async fn connect(relay: &BuiltinRelay) -> Self {
        let (stream, _) = connect_async(relay.url()).await.unwrap();
        Self { stream }
    }

    pub(super) async fn send(&mut self, message: &Value) {
        self.send_text(message.to_string()).await;
    }

    pub(super) async fn send_text(&mut self, text: String) {
        self.stream.send(Message::text(text)).await.unwrap();
    }

    /// The next message, or nothing when the relay ended the connection.
    pub(super) async fn next(&mut self) -> Option<Value> {
        loop {
            match timeout(PATIENCE, self.stream.next()).await.expect("the relay says nothing") {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    pub(super) async fn expect(&mut self) -> Value {
        self.next().await.expect("the relay hung up")
    }

    /// Writes the event and returns what its OK says.
    pub(super) async fn write(&mut self, event: &Event) -> (bool, String) {
        self.send(&json!(["EVENT", event])).await;
        self.ok(&event.id.to_hex()).await
    }

    /// Skips to the OK of this id.
    pub(super) async fn ok(&mut self, id: &str) -> (bool, String) {
        loop {
            let message = self.expect().await;
            if message[0] == "OK" && message[1] == id {
                return (message[2].as_bool().unwrap(), message[3].as_str().unwrap().to_owned());
            }
        }
    }

    pub(super) async fn accepts(&mut self, event: &Event) {
        assert_eq!(self.write(event).await, (true, String::new()), "{event:?}");
    }

    pub(super) async fn refuses(&mut self, event: &Event, prefix: &str) {
        let (accepted, text) = self.write(event).await;
        assert!(!accepted && text.starts_with(prefix), "{accepted} {text:?}");
    }

    /// The ids of the stored answer to these filters, in the order in which they came.
    pub(super) async fn query(&mut self, filters: &[Value]) -> Vec<String> {
        let mut request = vec![json!("REQ"), json!("q")];
        request.extend_from_slice(filters);
        self.send(&Value::from(request)).await;
        let ids = self.until_eose("q").await;
        self.send(&json!(["CLOSE", "q"])).await;
        ids
    }

    pub(super) async fn until_eose(&mut self, subscription: &str) -> Vec<String> {
        let mut ids = Vec::new();
        loop {
            let message = self.expect().await;
            match message[0].as_str().unwrap() {
                "EVENT" if message[1] == subscription => ids.push(message[2]["id"].as_str().unwrap().to_owned()),
                "EOSE" if message[1] == subscription => return ids,
                _ => panic!("unexpected {message}"),
            }
        }
    }
}

/// The answer to one plain HTTP request.
pub(super) async fn http(relay: &BuiltinRelay, request: &str) -> String {
    let address = relay.url().replace("ws://", "").replace('/', "");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}
