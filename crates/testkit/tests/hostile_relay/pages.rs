//! Pages, EOSE, live events.

use super::{THEN, author, everything, id_of, labels, notes, seconds, ten_notes};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use testkit::hostile::Behaviour;
use testkit::{HostileRelay, Offer, Wire, fetch_all};

#[tokio::test]
async fn without_a_script_it_is_a_good_relay() {
    let (relay, mut wire) = ten_notes([]).await;
    assert_eq!(seconds(&mut wire, "all", everything()).await, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    assert_eq!(seconds(&mut wire, "two", json!({"#t": ["x"], "limit": 2})).await, [9, 8]);
    assert_eq!(seconds(&mut wire, "window", json!({"since": THEN + 3, "until": THEN + 5})).await, [5, 4, 3]);
    assert_eq!(seconds(&mut wire, "author", json!({"authors": [author().public_key()], "limit": 1})).await, [9]);
    assert_eq!(seconds(&mut wire, "none", json!({"kinds": [2]})).await, [0; 0]);
    assert_eq!(seconds(&mut wire, "ids", json!({"ids": [id_of(&notes([0])[0])]})).await, [0]);
    assert_eq!(fetch_all(&relay.url(), &everything()).await.len(), 10);
    assert_eq!(relay.heard()[0], json!(["REQ", "all", {"kinds": [1]}]));
    assert_eq!(relay.connections(), 2);
}

#[tokio::test]
async fn what_is_offered_is_kept_and_told_to_those_who_listen() {
    let (relay, mut wire) = ten_notes([]).await;
    wire.stored("live", &json!({"kinds": [1], "limit": 0})).await.unwrap();
    assert_eq!(author().publish(&relay.url(), &notes([20])[0]).await, Offer::Accepted);
    assert_eq!(wire.next().await.unwrap()[2]["created_at"], THEN + 20);
    relay.publishes(&author().sign(2, THEN, &[], "not asked for"));
    relay.publishes(&notes([30])[0]);
    assert_eq!(wire.next().await.unwrap()[2]["created_at"], THEN + 30);
    assert_eq!(fetch_all(&relay.url(), &everything()).await.len(), 12);
}

#[tokio::test]
async fn an_event_is_stored_or_live_for_a_subscription_and_never_both() {
    let relay = HostileRelay::start([]).await;
    let mut wire = Wire::connect(&relay.url()).await.unwrap();
    for (number, note) in notes(0..30).iter().enumerate() {
        let (subscription, event) = (number.to_string(), serde_json::from_str::<Value>(note).unwrap());
        wire.send(json!(["EVENT", event])).await;
        wire.send(json!(["REQ", subscription, {"since": THEN + number as u64}])).await;
        assert_eq!(labels(&mut wire, 3).await, ["OK", "EVENT", "EOSE"], "{number}");
        // What follows next is the next OK, or else this event a second time.
        wire.send(json!(["CLOSE", subscription])).await;
    }
    assert!(wire.is_silent_for(Duration::from_millis(100)).await);
}

#[tokio::test]
async fn a_page_cap_holds_for_every_limit() {
    let (relay, mut wire) = ten_notes([Behaviour::PageCap(3)]).await;
    assert_eq!(seconds(&mut wire, "one", json!({"kinds": [1], "limit": 9})).await, [9, 8, 7]);
    assert_eq!(fetch_all(&relay.url(), &everything()).await.len(), 10);
}

#[tokio::test]
async fn more_comes_than_was_asked_for() {
    let (_relay, mut wire) = ten_notes([Behaviour::MoreThanAsked(2)]).await;
    assert_eq!(seconds(&mut wire, "one", json!({"kinds": [1], "limit": 3})).await, [9, 8, 7, 6, 5]);
}

#[tokio::test]
async fn a_page_comes_backwards() {
    let (_relay, mut wire) = ten_notes([Behaviour::Backwards]).await;
    assert_eq!(seconds(&mut wire, "one", json!({"kinds": [1], "limit": 3})).await, [7, 8, 9]);
}

#[tokio::test]
async fn until_is_ignored() {
    let (_relay, mut wire) = ten_notes([Behaviour::IgnoresUntil]).await;
    assert_eq!(seconds(&mut wire, "one", json!({"kinds": [1], "limit": 2, "until": THEN + 4})).await, [9, 8]);
}

#[tokio::test]
async fn honest_hints_say_whether_there_is_more() {
    let (_relay, mut wire) = ten_notes([Behaviour::HintsHonestly, Behaviour::PageCap(1)]).await;
    for (filter, word) in [(everything(), "more"), (json!({"until": THEN}), "finish")] {
        wire.send(json!(["REQ", word, filter])).await;
        wire.next().await.unwrap();
        assert_eq!(wire.next().await.unwrap(), json!(["EOSE", word, [word]]));
    }
}

#[tokio::test]
async fn eose_says_a_word_that_is_not_true() {
    let (_relay, mut wire) = ten_notes([Behaviour::EoseSays("finish"), Behaviour::PageCap(1)]).await;
    wire.send(json!(["REQ", "q", everything()])).await;
    wire.next().await.unwrap();
    assert_eq!(wire.next().await.unwrap(), json!(["EOSE", "q", ["finish"]]));
}

#[tokio::test]
async fn eose_never_comes_and_live_events_do() {
    let (relay, mut wire) = ten_notes([Behaviour::NoEose]).await;
    wire.send(json!(["REQ", "q", everything()])).await;
    assert_eq!(labels(&mut wire, 10).await, ["EVENT"; 10]);
    assert!(wire.is_silent_for(Duration::from_millis(100)).await);
    relay.publishes(&notes([20])[0]);
    assert_eq!(wire.next().await.unwrap()[2]["created_at"], THEN + 20);
}

#[tokio::test]
async fn eose_comes_twice() {
    let (_relay, mut wire) = ten_notes([Behaviour::EoseTwice]).await;
    wire.send(json!(["REQ", "q", {"limit": 1}])).await;
    assert_eq!(labels(&mut wire, 3).await, ["EVENT", "EOSE", "EOSE"]);
}

#[tokio::test]
async fn eose_comes_late() {
    let (_relay, mut wire) = ten_notes([Behaviour::LateEose(Duration::from_millis(120))]).await;
    let asked = Instant::now();
    assert_eq!(seconds(&mut wire, "q", everything()).await.len(), 10);
    assert!(asked.elapsed() >= Duration::from_millis(120));
}

#[tokio::test]
async fn what_is_published_just_after_eose_is_missing_for_ever() {
    let (relay, mut wire) = ten_notes([Behaviour::LateLive(Duration::from_millis(200))]).await;
    seconds(&mut wire, "q", everything()).await;
    relay.publishes(&notes([20])[0]);
    assert!(wire.is_silent_for(Duration::from_millis(300)).await);
    relay.publishes(&notes([30])[0]);
    assert_eq!(wire.next().await.unwrap()[2]["created_at"], THEN + 30);
}

#[tokio::test]
async fn a_req_of_ids_is_capped_and_any_other_is_not() {
    let (_relay, mut wire) = ten_notes([Behaviour::IdsCap(2)]).await;
    let ids: Vec<String> = notes(0..10).iter().map(|note| id_of(note)).collect();
    assert_eq!(seconds(&mut wire, "ids", json!({"ids": ids})).await, [9, 8]);
    assert_eq!(seconds(&mut wire, "all", everything()).await.len(), 10);
}

#[tokio::test]
async fn one_event_is_never_served() {
    let missing = id_of(&notes(0..1)[0]);
    let (_relay, mut wire) = ten_notes([Behaviour::Withholds(missing.clone())]).await;
    assert_eq!(seconds(&mut wire, "ids", json!({"ids": [missing]})).await, [0; 0]);
    assert_eq!(seconds(&mut wire, "all", everything()).await, [9, 8, 7, 6, 5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn a_req_of_ids_that_was_answered_in_full_is_closed() {
    let (_relay, mut wire) = ten_notes([Behaviour::ClosesAnsweredIds]).await;
    let known = id_of(&notes(0..1)[0]);
    wire.send(json!(["REQ", "full", {"ids": [known]}])).await;
    assert_eq!(labels(&mut wire, 2).await, ["EVENT", "EOSE"]);
    assert_eq!(wire.next().await.unwrap(), json!(["CLOSED", "full", ""]));
    wire.send(json!(["REQ", "part", {"ids": [known, "ab".repeat(32)]}])).await;
    assert_eq!(labels(&mut wire, 2).await, ["EVENT", "EOSE"]);
    assert!(wire.is_silent_for(Duration::from_millis(100)).await);
}

#[tokio::test]
async fn a_new_script_is_for_new_connections() {
    let (relay, mut open) = ten_notes([Behaviour::PageCap(1)]).await;
    relay.behaves([]);
    assert_eq!(seconds(&mut open, "q", everything()).await.len(), 1);
    let mut new = Wire::connect(&relay.url()).await.unwrap();
    assert_eq!(seconds(&mut new, "q", everything()).await.len(), 10);
}

#[tokio::test]
async fn a_dropped_relay_ends_its_connections() {
    let (relay, mut wire) = ten_notes([]).await;
    let url = relay.url();
    drop(relay);
    assert_eq!(wire.next().await, None);
    assert!(Wire::connect(&url).await.is_err());
    let _ = HostileRelay::start([]).await;
}
