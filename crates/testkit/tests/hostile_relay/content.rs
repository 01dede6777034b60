//! What is served, and what floods.

use super::{THEN, everything, notes, seconds, ten_notes};
use futures_util::{SinkExt, StreamExt};
use nostr::prelude::Event;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use testkit::hostile::{Behaviour, Corruption, Flood};
use testkit::{HostileRelay, Publisher};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// An event as it is served.
async fn served(event: &str, how: Corruption) -> String {
    let relay = HostileRelay::start([Behaviour::Corrupts(how)]).await;
    relay.has_held([event]);
    let mut socket = asked(&relay, json!({"limit": 1})).await;
    text(&mut socket).await.strip_prefix(r#"["EVENT","q","#).unwrap().strip_suffix(']').unwrap().to_owned()
}

fn is_valid(event: &str) -> bool {
    serde_json::from_str::<Event>(event).is_ok_and(|event| event.verify().is_ok())
}

/// A connection that has asked for something as `q`.
async fn asked(relay: &HostileRelay, filter: Value) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
    let (mut socket, _) = connect_async(relay.url()).await.unwrap();
    socket.send(Message::text(json!(["REQ", "q", filter]).to_string())).await.unwrap();
    socket
}

/// What comes next, in whatever shape.
async fn next(socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>) -> Result<Message, Error> {
    timeout(Duration::from_secs(20), socket.next()).await.expect("something comes").expect("it goes on")
}

async fn text(socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>) -> String {
    next(socket).await.unwrap().into_text().unwrap().to_string()
}

/// A connection that is being flooded.
async fn flooded(flood: Flood) -> (HostileRelay, WebSocketStream<MaybeTlsStream<TcpStream>>) {
    let relay = HostileRelay::start([Behaviour::Floods(flood)]).await;
    let socket = asked(&relay, json!({"kinds": [1617], "#a": ["30617:ab:x"]})).await;
    (relay, socket)
}

#[tokio::test]
async fn each_corruption_changes_one_field_and_leaves_no_valid_event() {
    let original = &notes([0])[0];
    assert!(is_valid(original));
    let fields: Value = serde_json::from_str(original).unwrap();
    for (how, field) in [
        (Corruption::WrongId, "id"),
        (Corruption::WrongSignature, "sig"),
        (Corruption::SwappedAuthor, "pubkey"),
        (Corruption::OtherContent, "content"),
        (Corruption::Second("-1"), "created_at"),
    ] {
        let text = served(original, how).await;
        assert!(!is_valid(&text), "{how:?}");
        let event: Value = serde_json::from_str(&text).unwrap();
        let changed = event.as_object().unwrap().iter().filter(|(name, value)| fields[*name] != **value);
        let changed: Vec<&String> = changed.map(|(name, _)| name).collect();
        assert_eq!(changed, [field]);
    }
}

#[tokio::test]
async fn a_second_may_be_beyond_every_integer() {
    let text = served(&notes([0])[0], Corruption::Second("18446744073709551616")).await;
    assert!(text.contains(r#""created_at":18446744073709551616"#), "{text}");
}

#[tokio::test]
async fn what_nobody_asked_for_comes_with_every_page() {
    let stranger = Publisher::new(&"7".repeat(64)).sign(7, THEN + 77, &[], "");
    let (_relay, mut wire) = ten_notes([Behaviour::AlsoServes(vec![stranger])]).await;
    assert_eq!(seconds(&mut wire, "q", json!({"kinds": [1], "limit": 1})).await, [77, 9]);
}

#[tokio::test]
async fn events_come_under_a_subscription_that_nobody_opened() {
    let (_relay, mut wire) = ten_notes([Behaviour::ForeignSubscription]).await;
    wire.send(json!(["REQ", "q", everything()])).await;
    for _ in 0..10 {
        let message = wire.next().await.unwrap();
        assert!(message[0] == "EVENT" && message[1] != "q");
    }
    assert_eq!(wire.next().await.unwrap(), json!(["EOSE", "q"]));
}

#[tokio::test]
async fn valid_events_come_without_end_asked_for_or_not() {
    for (flood, kind, tags) in [(Flood::Strangers, 1, json!([])), (Flood::Matching, 1617, json!([["a", "30617:ab:x"]]))] {
        let (relay, mut socket) = flooded(flood).await;
        let mut ids = BTreeSet::new();
        for _ in 0..1_000 {
            let message: Value = serde_json::from_str(&text(&mut socket).await).unwrap();
            let event = &message[2];
            assert!(message[1] == "q" && event["kind"] == kind && event["tags"] == tags, "{message}");
            assert!(ids.len() > 3 || is_valid(&event.to_string()));
            ids.insert(event["id"].to_string());
        }
        assert!(ids.len() == 1_000 && relay.messages_sent() >= 1_000);
    }
}

#[tokio::test]
async fn text_that_is_no_message_floods() {
    let (_relay, mut socket) = flooded(Flood::NoJson(50)).await;
    for _ in 0..50 {
        assert!(serde_json::from_str::<Value>(&text(&mut socket).await).is_err());
    }
    let (_relay, mut socket) = flooded(Flood::NoMessage(50)).await;
    for _ in 0..50 {
        let message: Value = serde_json::from_str(&text(&mut socket).await).unwrap();
        assert!(!message[2].is_object() || !message[2]["id"].is_string());
    }
    let (_relay, mut socket) = flooded(Flood::DeepJson(10_000)).await;
    let deep = text(&mut socket).await;
    assert!(deep.len() == 20_000 && deep.starts_with("[[[") && deep.ends_with("]]]"));
    let (_relay, mut socket) = flooded(Flood::HugeMessage(2_000_000)).await;
    assert!(text(&mut socket).await.len() > 2_000_000);
}

#[tokio::test]
async fn what_is_no_text_floods() {
    let (_relay, mut socket) = flooded(Flood::BadUtf8).await;
    assert!(matches!(next(&mut socket).await, Err(Error::Utf8(_))));
    let (_relay, mut socket) = flooded(Flood::Binary(5_000)).await;
    assert_eq!(next(&mut socket).await.unwrap(), Message::binary(vec![0; 5_000]));
    let (_relay, mut socket) = flooded(Flood::Pings(100)).await;
    for _ in 0..100 {
        assert!(matches!(next(&mut socket).await, Ok(Message::Ping(_))));
    }
    let (_relay, mut socket) = flooded(Flood::Header(1_000_000_000)).await;
    assert!(matches!(next(&mut socket).await, Err(Error::Capacity(_))), "refused from the header alone");
}
