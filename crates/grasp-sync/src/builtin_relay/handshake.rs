//! The HTTP side of the port: a websocket upgrade (RFC 6455), the NIP-11 document, or a short text.
//! It reads exactly one request; what follows an upgrade belongs to the websocket.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tracing::debug;

use super::message::MAX_MESSAGE;

/// A client that has not sent its request by then is not one.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of request line and headers.
const MAX_HEAD: usize = 16 * 1024;

const NEUTRAL: &str = "Access-Control-Allow-Origin: *\r\n\
    Access-Control-Allow-Headers: *\r\n\
    Access-Control-Allow-Methods: GET, OPTIONS\r\n\
    Connection: close\r\n";

/// The websocket, or nothing when the request was of another sort and is answered.
pub(super) async fn accept(mut stream: TcpStream, document: &Value) -> Option<WebSocketStream<TcpStream>> {
    let (request, rest) = match timeout(PATIENCE, read_request(&mut stream)).await {
        Ok(Some(read)) => read,
        Ok(None) | Err(_) => return None,
    };
    let Some(key) = request.websocket_key() else {
        reply(&mut stream, &request.answer(document)).await;
        return None;
    };
    let accepted = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    );
    stream.write_all(accepted.as_bytes()).await.ok()?;
    // Framing is not counted in the limit of a message; room is left to refuse one that is too long.
    let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    Some(WebSocketStream::from_partially_read(stream, rest, Role::Server, Some(config)).await)
}

struct Request {
    method: String,
    /// Names in lower case.
    headers: BTreeMap<String, String>,
}

impl Request {
    fn parse(head: &str) -> Option<Self> {
        let mut lines = head.split("\r\n");
        let method = lines.next()?.split(' ').next()?.to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Some(Self { method, headers })
    }

    fn websocket_key(&self) -> Option<&str> {
        let upgrade = self.headers.get("upgrade")?;
        let is_websocket = self.method == "GET" && upgrade.eq_ignore_ascii_case("websocket");
        is_websocket.then(|| self.headers.get("sec-websocket-key").map(String::as_str))?
    }

    fn answer(&self, document: &Value) -> String {
        let accepts = self.headers.get("accept").map(String::as_str).unwrap_or_default();
        match self.method.as_str() {
            "OPTIONS" => format!("HTTP/1.1 204 No Content\r\n{NEUTRAL}\r\n"),
            "GET" if accepts.contains("application/nostr+json") => {
                body("200 OK", "application/nostr+json", &document.to_string())
            }
            "GET" => body("200 OK", "text/plain", "This is a Nostr relay: connect with a websocket.\n"),
            _ => body("405 Method Not Allowed", "text/plain", "Only GET is offered.\n"),
        }
    }
}

fn body(status: &str, kind: &str, text: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{NEUTRAL}Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{text}", text.len())
}

/// The request, and the bytes that came after it.
async fn read_request(stream: &mut TcpStream) -> Option<(Request, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(at + 4);
            return Some((Request::parse(std::str::from_utf8(&bytes).ok()?)?, rest));
        }
        if bytes.len() > MAX_HEAD || stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

async fn reply(stream: &mut TcpStream, answer: &str) {
    let sent = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    };
    if let Ok(Err(cause)) = timeout(PATIENCE, sent).await {
        debug!(%cause, "an HTTP client left before its answer");
    }
}
