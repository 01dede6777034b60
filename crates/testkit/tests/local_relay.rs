//! What the in-memory NIP-77 relay does, as its module says; a new version of it that behaves otherwise fails here first.
#![allow(clippy::unwrap_used)]

mod common;

use common::{THEN, author, borrowed, connect, notes, offer, seconds, verdict};
use serde_json::json;
use std::time::Duration;
use testkit::{LocalRelay, Wire, fetch_all};

#[tokio::test]
async fn a_restart_keeps_the_port_and_the_data() {
    let mut relay = LocalRelay::start().await;
    let url = relay.url();
    author().publish_all(&url, borrowed(&notes(3))).await;
    let mut open = connect(&url).await;
    open.stored("before", &json!({"kinds": [1]})).await.unwrap();
    relay.stop().await;
    assert_eq!(open.next().await, None);
    assert!(Wire::connect(&url).await.is_err());
    relay.restart().await;
    assert_eq!(relay.url(), url);
    assert_eq!(fetch_all(&url, &json!({"kinds": [1]})).await.len(), 3);
}

#[tokio::test]
async fn preloaded_events_are_served_but_not_announced() {
    let relay = LocalRelay::start().await;
    let mut listener = connect(&relay.url()).await;
    listener.stored("live", &json!({"kinds": [1], "limit": 0})).await.unwrap();
    relay.preload(borrowed(&notes(2))).await;
    assert!(listener.is_silent_for(Duration::from_millis(150)).await);
    assert_eq!(relay.held().await, fetch_all(&relay.url(), &json!({"kinds": [1]})).await);
    assert_eq!(relay.held().await.len(), 2);
}

#[tokio::test]
async fn a_live_subscription_with_limit_0_gets_no_history_and_then_what_is_published() {
    let relay = LocalRelay::start().await;
    let notes = notes(2);
    author().publish(&relay.url(), &notes[0]).await;
    let mut listener = connect(&relay.url()).await;
    assert_eq!(listener.stored("live", &json!({"kinds": [1], "limit": 0})).await.unwrap().len(), 0);
    author().publish(&relay.url(), &notes[1]).await;
    assert_eq!(listener.next().await.unwrap()[2]["content"], "1");
}

#[tokio::test]
async fn pages_are_newest_first_with_both_ends_inclusive_and_a_default_of_500() {
    let relay = LocalRelay::start().await;
    relay.preload(borrowed(&notes(502))).await;
    let mut wire = connect(&relay.url()).await;
    let window = wire.stored("w", &json!({"kinds": [1], "since": THEN + 3, "until": THEN + 6})).await.unwrap();
    assert_eq!(seconds(&window), [6, 5, 4, 3]);
    assert_eq!(wire.stored("d", &json!({"kinds": [1]})).await.unwrap().len(), 500);
    assert_eq!(wire.stored("a", &json!({"kinds": [1], "limit": 600})).await.unwrap().len(), 502);
    assert_eq!(fetch_all(&relay.url(), &json!({"kinds": [1]})).await.len(), 502);
}

#[tokio::test]
async fn a_page_cap_holds_for_every_limit() {
    let relay = LocalRelay::with_page_cap(4).await;
    relay.preload(borrowed(&notes(10))).await;
    let mut wire = connect(&relay.url()).await;
    for filter in [json!({"kinds": [1]}), json!({"kinds": [1], "limit": 9})] {
        assert_eq!(seconds(&wire.stored("p", &filter).await.unwrap()), [9, 8, 7, 6]);
    }
    assert_eq!(fetch_all(&relay.url(), &json!({"kinds": [1]})).await.len(), 10);
}

#[tokio::test]
async fn a_req_of_ids_is_closed_after_its_eose_when_it_was_answered_in_full() {
    let relay = LocalRelay::start().await;
    relay.preload(borrowed(&notes(1))).await;
    let id = relay.held().await[0].id.to_hex();
    let mut wire = connect(&relay.url()).await;
    assert_eq!(wire.stored("ids", &json!({"ids": [id]})).await.unwrap().len(), 1);
    assert_eq!(wire.next().await.unwrap(), json!(["CLOSED", "ids", ""]));
    assert_eq!(fetch_all(&relay.url(), &json!({"ids": [id]})).await.len(), 1);
}

#[tokio::test]
async fn of_several_d_values_of_one_author_and_kind_only_the_first_is_looked_at() {
    let relay = LocalRelay::start().await;
    let repos = ["x", "y"].map(|name| author().sign(30_617, THEN, &[&["d", name]], ""));
    relay.preload(borrowed(&repos)).await;
    let mut wire = connect(&relay.url()).await;
    let wanted = json!({"kinds": [30_617], "authors": [author().public_key()], "#d": ["x", "y"]});
    assert_eq!(wire.stored("one", &wanted).await.unwrap().len(), 1);
    let two_kinds = json!({"kinds": [30_617, 30_618], "authors": [author().public_key()], "#d": ["x", "y"]});
    assert_eq!(wire.stored("two", &two_kinds).await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_words_of_its_oks() {
    let relay = LocalRelay::start().await;
    let mut wire = connect(&relay.url()).await;
    let version = |second: u64| author().sign(30_617, THEN + second, &[&["d", "x"]], "");
    let said = async |wire: &mut Wire, event: &str| verdict(wire, event).await;
    assert_eq!(said(&mut wire, &version(5)).await, (true, String::new()));
    assert_eq!(said(&mut wire, &version(5)).await, (true, "duplicate: already have this event".into()));
    assert_eq!(said(&mut wire, &version(4)).await, (false, "error: unknown".into()));
    assert_eq!(said(&mut wire, &version(6)).await, (true, String::new()));
    assert_eq!(said(&mut wire, &version(5)).await, (false, "blocked: this event is deleted".into()));
    let no_d = author().sign(30_617, THEN, &[], "");
    assert_eq!(said(&mut wire, &no_d).await, (false, "error: unknown".into()));
    let expired = author().sign(1, THEN, &[&["expiration", "1600000001"]], "");
    assert_eq!(said(&mut wire, &expired).await, (false, "error: unknown".into()));
    let protected = author().sign(1, THEN, &[&["-"]], "");
    assert_eq!(said(&mut wire, &protected).await, (false, "auth-required: you must auth".into()));
}

#[tokio::test]
async fn a_deleted_event_is_gone_and_stays_out() {
    let relay = LocalRelay::start().await;
    let note = &notes(1)[0];
    let mut wire = connect(&relay.url()).await;
    let (id, accepted, _) = offer(&mut wire, note).await;
    assert!(accepted);
    let deletion = author().sign(5, THEN + 9, &[&["e", &id]], "");
    assert_eq!(verdict(&mut wire, &deletion).await, (true, String::new()));
    assert_eq!(verdict(&mut wire, note).await, (false, "blocked: this event is deleted".into()));
    assert_eq!(relay.held().await.len(), 1);
}

#[tokio::test]
async fn of_two_versions_of_one_second_the_later_arrival_wins() {
    let versions: Vec<String> = ["one", "two"].map(|text| author().sign(30_617, THEN, &[&["d", "x"]], text)).into();
    for order in [[0, 1], [1, 0]] {
        let relay = LocalRelay::start().await;
        let mut wire = connect(&relay.url()).await;
        for number in order {
            assert!(verdict(&mut wire, &versions[number]).await.0);
        }
        let held = relay.held().await;
        assert_eq!((held.len(), held[0].content.as_str()), (1, ["one", "two"][order[1]]));
    }
}

#[tokio::test]
async fn negentropy_is_spoken_and_nonsense_ends_the_connection() {
    let relay = LocalRelay::start().await;
    relay.preload(borrowed(&notes(2))).await;
    let mut wire = connect(&relay.url()).await;
    // Protocol version 1; one range up to infinity, with an empty id list: "I have nothing, what have you?"
    wire.send(json!(["NEG-OPEN", "n", {"kinds": [1]}, "6100000200"])).await;
    let answer = wire.next().await.unwrap();
    let ids: Vec<String> = relay.held().await.iter().map(|event| event.id.to_hex()).collect();
    assert_eq!((answer[0].as_str(), answer[1].as_str()), (Some("NEG-MSG"), Some("n")));
    assert!(ids.iter().all(|id| answer[2].as_str().unwrap().contains(id)), "{answer}");
    wire.send(json!(["NEG-MSG", "unknown", "61"])).await;
    assert_eq!(wire.next().await.unwrap(), json!(["NEG-ERR", "unknown", "error: subscription not found"]));
    wire.send(json!(["WHAT"])).await;
    assert_eq!(wire.next().await, None);
}
