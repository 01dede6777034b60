//! What the throw-away NATS server does over its own text protocol: no client library is met here.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use std::time::Duration;
use testkit::Nats;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that asks one thing at a time.
struct Client {
    socket: BufReader<TcpStream>,
    info: Value,
}

impl Client {
    async fn connect(nats: &Nats) -> Self {
        let mut socket = BufReader::new(TcpStream::connect(nats.addr()).await.unwrap());
        let info = line(&mut socket).await;
        socket.write_all(b"CONNECT {\"verbose\":false}\r\nSUB answers 1\r\n").await.unwrap();
        Self { socket, info: serde_json::from_str(info.strip_prefix("INFO ").unwrap()).unwrap() }
    }

    /// Sends a message and answers with what comes back to it, or with the server's error line.
    async fn ask(&mut self, subject: &str, payload: &str) -> Result<Value, String> {
        self.socket.write_all(format!("PUB {subject} answers {}\r\n{payload}\r\n", payload.len()).as_bytes()).await.unwrap();
        loop {
            let line = line(&mut self.socket).await;
            if line.starts_with("-ERR") {
                return Err(line);
            }
            if line.starts_with("MSG ") {
                let length: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
                let mut answer = vec![0; length + 2];
                self.socket.read_exact(&mut answer).await.unwrap();
                return Ok(serde_json::from_slice(&answer[..length]).unwrap());
            }
        }
    }

    async fn stream_is_made(&mut self) {
        let stream = json!({"name": "KEPT", "subjects": ["kept.>"], "storage": "file", "num_replicas": 1});
        let made = self.ask("$JS.API.STREAM.CREATE.KEPT", &stream.to_string()).await.unwrap();
        assert_eq!(made["error"], Value::Null, "{made}");
    }

    async fn stream_info(&mut self) -> Value {
        self.ask("$JS.API.STREAM.INFO.KEPT", "").await.unwrap()
    }
}

async fn line(socket: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    timeout(PATIENCE, socket.read_line(&mut line)).await.expect("the server says something").unwrap();
    line.trim_end().to_owned()
}

#[tokio::test]
async fn a_kill_ends_connections_and_keeps_the_port_and_the_streams() {
    let mut nats = Nats::start().await;
    let url = nats.url();
    let mut client = Client::connect(&nats).await;
    client.stream_is_made().await;
    assert_eq!(client.ask("kept.one", "hello").await.unwrap()["seq"], 1);
    nats.kill().await;
    assert!(matches!(timeout(PATIENCE, client.socket.read(&mut [0; 64])).await.unwrap(), Ok(0) | Err(_)));
    assert!(TcpStream::connect(nats.addr()).await.is_err());
    nats.start_again().await;
    assert_eq!(nats.url(), url);
    let mut client = Client::connect(&nats).await;
    assert_eq!(client.stream_info().await["state"]["messages"], 1);
}

#[tokio::test]
async fn a_wipe_deletes_the_streams() {
    let mut nats = Nats::start().await;
    Client::connect(&nats).await.stream_is_made().await;
    nats.kill().await;
    nats.wipe().await;
    nats.start_again().await;
    assert_eq!(Client::connect(&nats).await.stream_info().await["error"]["code"], 404);
}

#[tokio::test]
async fn a_message_over_the_bound_is_refused() {
    let nats = Nats::with_max_payload(2_000).await;
    let mut client = Client::connect(&nats).await;
    assert_eq!(client.info["max_payload"], 2_000);
    client.stream_is_made().await;
    assert_eq!(client.ask("kept.fits", &"x".repeat(2_000)).await.unwrap()["seq"], 1);
    let refusal = client.ask("kept.large", &"x".repeat(2_001)).await.unwrap_err();
    assert!(refusal.contains("Maximum Payload"), "{refusal}");
}

#[tokio::test]
async fn the_servers_of_two_tests_know_nothing_of_each_other() {
    let (one, other) = (Nats::start().await, Nats::start().await);
    Client::connect(&one).await.stream_is_made().await;
    assert_eq!(Client::connect(&other).await.stream_info().await["error"]["code"], 404);
}
