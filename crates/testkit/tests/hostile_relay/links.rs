//! HTTP, connections, frames.

use super::{everything, seconds, ten_notes};
use serde_json::json;
use std::time::{Duration, Instant};
use testkit::hostile::{Behaviour, Link};
use testkit::{HostileRelay, Wire};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error;

async fn relay(link: Link) -> HostileRelay {
    HostileRelay::start([Behaviour::Link(link)]).await
}

fn addr(relay: &HostileRelay) -> String {
    relay.url().trim_start_matches("ws://").to_owned()
}

/// The answer to a plain GET, as NIP-11 has it.
async fn get(relay: &HostileRelay) -> String {
    let mut socket = TcpStream::connect(addr(relay)).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nAccept: application/nostr+json\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn it_describes_itself_only_as_scripted() {
    assert!(get(&HostileRelay::start([]).await).await.starts_with("HTTP/1.1 404 "));
    let relay = HostileRelay::start([Behaviour::Describes(json!({"supported_nips": [77]}))]).await;
    let answer = get(&relay).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(r#"{"supported_nips":[77]}"#), "{answer}");
    assert!(Wire::connect(&relay.url()).await.is_ok(), "the same URL takes a WebSocket");
}

#[tokio::test]
async fn an_upgrade_is_answered_with_a_status() {
    let relay = relay(Link::Status(429)).await;
    let Err(Error::Http(answer)) = Wire::connect(&relay.url()).await else { panic!("it is refused") };
    assert_eq!(answer.status(), 429);
}

#[tokio::test]
async fn an_upgrade_and_a_question_are_sent_elsewhere() {
    let relay = relay(Link::Redirects("http://127.0.0.1:1/".to_owned())).await;
    let Err(Error::Http(answer)) = Wire::connect(&relay.url()).await else { panic!("it is sent on") };
    assert_eq!((answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()), (302, "http://127.0.0.1:1/"));
    assert!(get(&relay).await.contains("Location: http://127.0.0.1:1/\r\n"));
}

#[tokio::test]
async fn a_black_hole_accepts_and_says_nothing() {
    let relay = relay(Link::BlackHole).await;
    assert!(timeout(Duration::from_millis(150), Wire::connect(&relay.url())).await.is_err());
    assert_eq!(relay.connections(), 1);
}

#[tokio::test]
async fn a_deaf_relay_lets_the_buffers_fill() {
    let relay = relay(Link::Deaf).await;
    let mut wire = Wire::connect(&relay.url()).await.unwrap();
    let filling = async {
        // Far more than the kernel keeps.
        for _ in 0..640 {
            wire.send(json!(["CLOSE", "x".repeat(100_000)])).await;
        }
    };
    assert!(timeout(Duration::from_secs(1), filling).await.is_err(), "the client can write no more");
    assert_eq!(relay.heard().len(), 0);
}

#[tokio::test]
async fn a_connection_is_dropped_after_a_while() {
    let (_relay, mut wire) = ten_notes([Behaviour::Link(Link::DropsAfter(Duration::from_millis(200)))]).await;
    assert_eq!(seconds(&mut wire, "q", everything()).await.len(), 10);
    assert_eq!(wire.next().await, None);
}

/// Asks for an upgrade, with no library in between.
async fn upgrading(relay: &HostileRelay) -> TcpStream {
    let mut socket = TcpStream::connect(addr(relay)).await.unwrap();
    let upgrade = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    socket.write_all(upgrade.as_bytes()).await.unwrap();
    socket
}

/// What comes, up to and with some bytes, and how long it took.
async fn read_to(socket: &mut TcpStream, end: &[u8]) -> (Vec<u8>, Duration) {
    let (before, mut read) = (Instant::now(), Vec::new());
    while !read.ends_with(end) {
        read.push(timeout(Duration::from_secs(20), socket.read_u8()).await.unwrap().unwrap());
    }
    (read, before.elapsed())
}

#[tokio::test]
async fn the_answer_to_the_upgrade_drips() {
    let pause = Duration::from_millis(2);
    let relay = relay(Link::DripsUpgrade(pause)).await;
    let (answer, took) = read_to(&mut upgrading(&relay).await, b"\r\n\r\n").await;
    assert!(answer.starts_with(b"HTTP/1.1 101 ") && answer.len() > 100);
    assert!(took >= pause * 100, "{took:?}");
}

#[tokio::test]
async fn bytes_drip_after_the_upgrade() {
    let pause = Duration::from_millis(2);
    let (_relay, mut wire) = ten_notes([Behaviour::Link(Link::Drips(pause))]).await;
    let before = Instant::now();
    assert_eq!(seconds(&mut wire, "q", json!({"limit": 1})).await, [9]);
    assert!(before.elapsed() >= pause * 300, "{:?}", before.elapsed());
}

#[tokio::test]
async fn a_message_comes_in_frames_of_one_byte() {
    let (_relay, mut wire) = ten_notes([Behaviour::Link(Link::OneByteFrames)]).await;
    assert_eq!(seconds(&mut wire, "q", everything()).await.len(), 10);
    // On the wire every byte of EOSE has a header of its own.
    let relay = relay(Link::OneByteFrames).await;
    let mut socket = upgrading(&relay).await;
    read_to(&mut socket, b"\r\n\r\n").await;
    // A text frame with a mask of zeros.
    let req = br#"["REQ","q",{}]"#;
    socket.write_all(&[&[0x81, 0x80 | 14, 0, 0, 0, 0][..], req].concat()).await.unwrap();
    let (frames, _) = read_to(&mut socket, &[0x80, 1, b']']).await;
    let text: Vec<u8> = frames.chunks(3).map(|frame| frame[2]).collect();
    assert_eq!(text, br#"["EOSE","q"]"#);
    assert!(frames.starts_with(&[1, 1, b'[', 0, 1, b'"']));
}
