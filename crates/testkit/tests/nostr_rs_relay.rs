//! What nostr-rs-relay does, as its module says; a new version of it that behaves otherwise fails here first.
#![allow(clippy::unwrap_used)]

mod common;

use common::{THEN, author, borrowed, connect, notes, offer, seconds, verdict};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::{NostrRsRelay, Wire, fetch_all};

#[tokio::test]
async fn a_restart_keeps_the_port_and_the_data() {
    let mut relay = NostrRsRelay::start().await;
    let url = relay.url();
    let offers = author().publish_all(&url, borrowed(&notes(3))).await;
    assert!(offers.iter().all(testkit::Offer::is_accepted), "{offers:?}");
    let mut open = connect(&url).await;
    relay.stop().await;
    assert_eq!(open.next().await, None);
    assert!(Wire::connect(&url).await.is_err());
    relay.restart().await;
    assert_eq!(relay.url(), url);
    assert_eq!(fetch_all(&url, &json!({"kinds": [1]})).await.len(), 3);
}

#[tokio::test]
async fn how_it_answers_questions() {
    let relay = NostrRsRelay::start().await;
    author().publish_all(&relay.url(), borrowed(&notes(10))).await;
    let mut wire = connect(&relay.url()).await;
    let mut number = 0;
    let mut ask = async |filter: Value| {
        number += 1;
        seconds(&wire.stored(&number.to_string(), &filter).await.unwrap())
    };
    // Both ends are inclusive; oldest first without a limit, newest first with one.
    assert_eq!(ask(json!({"kinds": [1], "since": THEN + 3, "until": THEN + 6})).await, [3, 4, 5, 6]);
    assert_eq!(ask(json!({"kinds": [1], "limit": 3})).await, [9, 8, 7]);
    assert_eq!(ask(json!({})).await.len(), 10);
    assert_eq!(ask(json!({"kinds": []})).await, [0; 0]);
    assert_eq!(fetch_all(&relay.url(), &json!({"kinds": [1]})).await.len(), 10);
}

#[tokio::test]
async fn a_live_subscription_with_limit_0_gets_no_eose_but_what_is_published() {
    let relay = NostrRsRelay::start().await;
    let notes = notes(2);
    author().publish(&relay.url(), &notes[0]).await;
    let mut wire = connect(&relay.url()).await;
    wire.send(json!(["REQ", "live", {"kinds": [1], "limit": 0}])).await;
    assert!(wire.is_silent_for(Duration::from_millis(500)).await);
    author().publish(&relay.url(), &notes[1]).await;
    let message = wire.next().await.unwrap();
    assert_eq!((message[0].as_str(), message[2]["content"].as_str()), (Some("EVENT"), Some("1")));
}

#[tokio::test]
async fn the_same_req_again_is_ignored() {
    let relay = NostrRsRelay::start().await;
    let mut wire = connect(&relay.url()).await;
    wire.stored("same", &json!({"kinds": [1]})).await.unwrap();
    wire.send(json!(["REQ", "same", {"kinds": [1]}])).await;
    assert!(wire.is_silent_for(Duration::from_millis(500)).await);
}

#[tokio::test]
async fn the_33rd_subscription_is_refused_by_a_notice() {
    let relay = NostrRsRelay::start().await;
    let mut wire = connect(&relay.url()).await;
    for number in 0..32 {
        wire.stored(&format!("s{number}"), &json!({"kinds": [number + 1]})).await.unwrap();
    }
    wire.send(json!(["REQ", "s32", {"kinds": [33]}])).await;
    let message = wire.next().await.unwrap();
    assert_eq!(message, json!(["NOTICE", "Subscription error: Maximum concurrent subscription count reached"]));
}

#[tokio::test]
async fn negentropy_gets_a_notice() {
    let relay = NostrRsRelay::start().await;
    let mut wire = connect(&relay.url()).await;
    wire.send(json!(["NEG-OPEN", "n", {"kinds": [1]}, "6100000200"])).await;
    assert_eq!(wire.next().await.unwrap(), json!(["NOTICE", "could not parse command"]));
}

#[tokio::test]
async fn the_words_of_its_oks() {
    let relay = NostrRsRelay::start().await;
    let mut wire = connect(&relay.url()).await;
    let version = |second: u64| author().sign(30_617, THEN + second, &[&["d", "x"]], "");
    assert_eq!(verdict(&mut wire, &version(5)).await, (true, String::new()));
    assert_eq!(verdict(&mut wire, &version(5)).await, (true, "duplicate: ".into()));
    assert_eq!(verdict(&mut wire, &version(4)).await, (true, "duplicate: ".into()));
    let other = author().sign(30_617, THEN + 5, &[&["d", "x"]], "other");
    assert_eq!(verdict(&mut wire, &other).await, (true, "duplicate: ".into()));
    assert_eq!(verdict(&mut wire, &version(6)).await, (true, String::new()));
    assert_eq!(seconds(&wire.stored("all", &json!({"kinds": [30_617]})).await.unwrap()), [6]);
    let expired = author().sign(1, THEN, &[&["expiration", "1600000001"]], "");
    assert_eq!(verdict(&mut wire, &expired).await, (false, "invalid: The event has already expired".into()));
    let long = author().sign(1, 1_000, &[], &"x".repeat(200_000));
    assert_eq!(verdict(&mut wire, &long).await, (true, String::new()));
    let forged = notes(1)[0].replace(r#""content":"0""#, r#""content":"1""#);
    let (id, accepted, text) = offer(&mut wire, &forged).await;
    assert_eq!((id.len(), accepted, text.starts_with("invalid: ")), (64, false, true), "{text}");
}

#[tokio::test]
async fn a_deleted_event_is_hidden_and_counts_as_a_duplicate() {
    let relay = NostrRsRelay::start().await;
    let mut wire = connect(&relay.url()).await;
    let note = &notes(1)[0];
    let (id, ..) = offer(&mut wire, note).await;
    let address = format!("30617:{}:x", author().public_key());
    let repo = author().sign(30_617, THEN, &[&["d", "x"]], "");
    let deletion = author().sign(5, THEN + 9, &[&["e", &id], &["a", &address]], "");
    assert!(verdict(&mut wire, &repo).await.0 && verdict(&mut wire, &deletion).await.0);
    assert_eq!(wire.stored("gone", &json!({"ids": [id]})).await.unwrap().len(), 0);
    assert_eq!(verdict(&mut wire, note).await, (true, "duplicate: ".into()));
    // By address nothing is deleted.
    assert_eq!(wire.stored("still", &json!({"kinds": [30_617]})).await.unwrap().len(), 1);
}
