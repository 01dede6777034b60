//! What the Python relay does, as its module says; a new version of it that behaves otherwise fails here first.
#![allow(clippy::unwrap_used)]

mod common;

use common::{THEN, author, borrowed, connect, notes, offer, seconds, verdict};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::{PythonRelay, Wire, fetch_all};

#[tokio::test]
async fn a_restart_keeps_the_port_and_the_data() {
    let mut relay = PythonRelay::start().await;
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
    let relay = PythonRelay::with_page_cap(4).await;
    author().publish_all(&relay.url(), borrowed(&notes(10))).await;
    let mut wire = connect(&relay.url()).await;
    let mut ask = async |filter: Value| seconds(&wire.stored("q", &filter).await.unwrap());
    // Since is inclusive, until is not.
    assert_eq!(ask(json!({"kinds": [1], "since": THEN + 3, "until": THEN + 6})).await, [5, 4, 3]);
    // The cap holds for every limit, and "none" is no limit at all.
    assert_eq!(ask(json!({"kinds": [1]})).await, [9, 8, 7, 6]);
    assert_eq!(ask(json!({"kinds": [1], "limit": 9})).await, [9, 8, 7, 6]);
    assert_eq!(ask(json!({"kinds": [1], "limit": 0})).await, [9, 8, 7, 6]);
    assert_eq!(ask(json!({"kinds": [1], "limit": 2})).await, [9, 8]);
    // Nothing matches the empty filter and the empty list.
    assert_eq!(ask(json!({})).await, [0; 0]);
    assert_eq!(ask(json!({"kinds": []})).await, [0; 0]);
    assert_eq!(ask(json!({"since": THEN + 9})).await, [9]);
    assert_eq!(fetch_all(&relay.url(), &json!({"kinds": [1]})).await.len(), 10);
}

#[tokio::test]
async fn it_is_silent_about_negentropy_and_goes_on() {
    let relay = PythonRelay::start().await;
    let mut wire = connect(&relay.url()).await;
    wire.send(json!(["NEG-OPEN", "n", {"kinds": [1]}, "6100000200"])).await;
    assert!(wire.is_silent_for(Duration::from_millis(300)).await);
    assert_eq!(wire.stored("after", &json!({"kinds": [1]})).await.unwrap().len(), 0);
}

#[tokio::test]
async fn live_events_come_with_since_and_tags() {
    let relay = PythonRelay::start().await;
    let mut wire = connect(&relay.url()).await;
    wire.stored("live", &json!({"#a": ["30617:ab:x", "30617:ab:y"], "since": THEN + 5})).await.unwrap();
    let tagged = |second: u64| author().sign(1, THEN + second, &[&["a", "30617:ab:y"]], "");
    author().publish_all(&relay.url(), [tagged(4).as_str(), tagged(5).as_str()]).await;
    assert_eq!(wire.next().await.unwrap()[2]["created_at"], THEN + 5);
}

#[tokio::test]
async fn the_words_of_its_oks() {
    let relay = PythonRelay::start().await;
    let mut wire = connect(&relay.url()).await;
    let version = |second: u64| author().sign(30_617, THEN + second, &[&["d", "x"]], "");
    assert_eq!(verdict(&mut wire, &version(5)).await, (true, String::new()));
    assert_eq!(verdict(&mut wire, &version(5)).await, (false, "duplicate: exists".into()));
    assert_eq!(verdict(&mut wire, &version(6)).await, (true, String::new()));
    // An older version that comes late is kept beside the newer one.
    assert_eq!(verdict(&mut wire, &version(4)).await, (true, String::new()));
    assert_eq!(seconds(&wire.stored("two", &json!({"kinds": [30_617]})).await.unwrap()), [6, 4]);
    // So is another version of the same second; each arrival drops one that is older.
    assert!(verdict(&mut wire, &author().sign(30_617, THEN + 6, &[&["d", "x"]], "other")).await.0);
    assert_eq!(seconds(&wire.stored("three", &json!({"kinds": [30_617]})).await.unwrap()), [6, 6]);
    let long = author().sign(1, 1_000, &[], &"x".repeat(200_000));
    assert_eq!(verdict(&mut wire, &long).await, (true, String::new()));
    let future = author().sign(1, 2_100_000_000, &[], "");
    assert_eq!(verdict(&mut wire, &future).await, (true, String::new()));
    // An invalid event is refused under an empty id, and the connection is slowed down from then on.
    let forged = notes(1)[0].replace(r#""content":"0""#, r#""content":"1""#);
    assert_eq!(offer(&mut wire, &forged).await, (String::new(), false, "invalid: Bad signature".into()));
}

#[tokio::test]
async fn a_deleted_event_is_gone_but_may_come_back() {
    let relay = PythonRelay::start().await;
    let mut wire = connect(&relay.url()).await;
    let note = &notes(1)[0];
    let (id, accepted, _) = offer(&mut wire, note).await;
    assert!(accepted);
    let deletion = author().sign(5, THEN + 9, &[&["e", &id]], "");
    assert_eq!(verdict(&mut wire, &deletion).await, (true, String::new()));
    assert_eq!(wire.stored("gone", &json!({"ids": [id]})).await.unwrap().len(), 0);
    assert_eq!(verdict(&mut wire, note).await, (true, String::new()));
}

#[tokio::test]
async fn a_deletion_by_address_deletes_nothing() {
    let relay = PythonRelay::start().await;
    let mut wire = connect(&relay.url()).await;
    let address = format!("30617:{}:x", author().public_key());
    for event in [author().sign(30_617, THEN, &[&["d", "x"]], ""), author().sign(5, THEN + 9, &[&["a", &address]], "")] {
        assert!(verdict(&mut wire, &event).await.0);
    }
    assert_eq!(wire.stored("still", &json!({"kinds": [30_617]})).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_false_id_is_served_as_it_came() {
    let relay = PythonRelay::start().await;
    let mut wire = connect(&relay.url()).await;
    let mut event: Value = serde_json::from_str(&notes(1)[0]).unwrap();
    event["id"] = json!("ab".repeat(32));
    assert!(verdict(&mut wire, &event.to_string()).await.0);
    let served = wire.stored("false", &json!({"ids": ["ab".repeat(32)]})).await.unwrap();
    assert_eq!(served, [event]);
}

#[tokio::test]
async fn the_last_filters_limit_holds_for_the_whole_req() {
    let relay = PythonRelay::start().await;
    let twos: Vec<String> = (0..3).map(|second| author().sign(2, THEN + second, &[], "")).collect();
    author().publish_all(&relay.url(), borrowed(&notes(3)).chain(borrowed(&twos))).await;
    let mut wire = connect(&relay.url()).await;
    wire.send(json!(["REQ", "both", {"kinds": [1], "limit": 3}, {"kinds": [2], "limit": 1}])).await;
    let mut events = 0;
    loop {
        let message = wire.next().await.unwrap();
        if message[0] == "EOSE" {
            break;
        }
        events += 1;
    }
    assert_eq!(events, 1);
}

#[tokio::test]
async fn forty_subscriptions_on_one_connection_are_none_too_many() {
    let relay = PythonRelay::start().await;
    let mut wire = connect(&relay.url()).await;
    for number in 0..40 {
        wire.stored(&format!("s{number}"), &json!({"kinds": [number + 1], "since": THEN})).await.unwrap();
    }
}
