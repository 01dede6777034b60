//! REQ, EOSE, CLOSE, live delivery, and the NIP-11 document.

use super::client::http;
use super::*;

#[tokio::test]
async fn stored_events_come_newest_first_and_within_a_second_the_lowest_id_first() {
    let (relay, mut client) = relay_and_client().await;
    let mut same: Vec<Event> = (0..5).map(|n| said(1, 1, 50, &[], &n.to_string())).collect();
    let newer = event(1, 1, 60, &[]);
    let older = event(2, 1, 40, &[]);
    relay.preload([&same[..], &[older.clone(), newer.clone()]].concat());
    same.sort_by_key(|event| event.id);
    let expected: Vec<&Event> = std::iter::once(&newer).chain(&same).chain([&older]).collect();
    assert_eq!(client.query(&[json!({})]).await, hex(&expected));
    assert_eq!(client.query(&[json!({"kinds": [1], "limit": 3})]).await, hex(&expected[..3]));
    assert_eq!(client.query(&[json!({"since": 50, "until": 50})]).await, hex(&expected[1..6]));
}

#[tokio::test]
async fn every_condition_of_a_filter_must_hold() {
    let (relay, mut client) = relay_and_client().await;
    let repo = address(1, "a:b");
    let issue = event(2, 1621, 10, &[&["a", &repo], &["t", "x"], &["t", "y", "z"]]);
    let note = event(1, 1, 20, &[&["t", "y"], &["title", "long names are not asked for"]]);
    relay.preload(vec![issue.clone(), note.clone()]);
    let (author, id) = (note.pubkey.to_hex(), issue.id.to_hex());
    for (filter, expected) in [
        (json!({"ids": [id]}), vec![&issue]),
        (json!({"ids": [id], "kinds": [1]}), vec![]),
        (json!({"authors": [author]}), vec![&note]),
        (json!({"kinds": [1, 1621]}), vec![&note, &issue]),
        (json!({"#a": [repo]}), vec![&issue]),
        (json!({"#t": ["x", "y"]}), vec![&note, &issue]),
        (json!({"#t": ["z"]}), vec![]),
        (json!({"#t": ["y"], "#a": [repo]}), vec![&issue]),
        (json!({"#T": ["y"]}), vec![]),
        (json!({"#t": ["y"], "since": 11}), vec![&note]),
        (json!({"since": 30, "until": 5}), vec![]),
        (json!({"ids": []}), vec![]),
        (json!({"#t": []}), vec![]),
    ] {
        assert_eq!(client.query(std::slice::from_ref(&filter)).await, hex(&expected), "{filter}");
    }
}

#[tokio::test]
async fn several_filters_have_a_limit_each_and_name_an_event_once() {
    let (relay, mut client) = relay_and_client().await;
    let (old, new) = (event(1, 1, 10, &[]), event(1, 1, 20, &[]));
    let issue = event(1, 1621, 15, &[]);
    relay.preload(vec![old.clone(), new.clone(), issue.clone()]);
    let filters = [json!({"kinds": [1], "limit": 1}), json!({"kinds": [1621]}), json!({"since": 15})];
    assert_eq!(client.query(&filters).await, hex(&[&new, &issue]));
    assert_eq!(client.query(&[json!({"limit": 0}), json!({"until": 10})]).await, hex(&[&old]));
}

#[tokio::test]
async fn an_open_subscription_gets_what_is_written_until_it_is_closed() {
    let (relay, mut reader) = relay_and_client().await;
    let mut writer = Client::connect(&relay).await;
    reader.send(&json!(["REQ", "live", {"kinds": [1], "limit": 0}])).await;
    assert!(reader.until_eose("live").await.is_empty());
    let (first, second) = (event(1, 1, 10, &[]), event(1, 1, 20, &[]));
    writer.accepts(&event(1, 7, 10, &[])).await;
    writer.accepts(&first).await;
    assert_eq!(reader.expect().await, json!(["EVENT", "live", first]));
    reader.send(&json!(["CLOSE", "live"])).await;
    // The answer to a later request shows that the CLOSE was read.
    assert_eq!(reader.query(&[json!({"kinds": [7]})]).await.len(), 1);
    writer.accepts(&second).await;
    assert_eq!(reader.query(&[json!({"ids": [second.id]})]).await, hex(&[&second]));
}

#[tokio::test]
async fn a_request_of_the_same_id_replaces_the_subscription() {
    let (relay, mut reader) = relay_and_client().await;
    let mut writer = Client::connect(&relay).await;
    reader.send(&json!(["REQ", "s", {"kinds": [1]}])).await;
    reader.until_eose("s").await;
    reader.send(&json!(["REQ", "s", {"kinds": [7]}])).await;
    reader.until_eose("s").await;
    writer.accepts(&event(1, 1, 10, &[])).await;
    let reaction = event(1, 7, 10, &[]);
    writer.accepts(&reaction).await;
    assert_eq!(reader.expect().await, json!(["EVENT", "s", reaction]));
}

#[tokio::test]
async fn nothing_is_lost_between_the_stored_and_the_live_events() {
    let (relay, mut reader) = relay_and_client().await;
    let mut writer = Client::connect(&relay).await;
    let all = notes(300);
    for note in &all {
        writer.send(&json!(["EVENT", note])).await;
    }
    reader.send(&json!(["REQ", "s", {"kinds": [1]}])).await;
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < all.len() {
        let message = reader.expect().await;
        if message[0] == "EVENT" {
            assert!(seen.insert(message[2]["id"].to_string()), "an event came twice");
        }
    }
}

#[tokio::test]
async fn the_information_document_states_the_limits_on_the_same_port() {
    let options = Options { page_cap: 77, max_subscriptions: 9, negentropy: false, ..Options::default() };
    let relay = BuiltinRelay::start(options).await.unwrap();
    let answer = http(&relay, "GET / HTTP/1.1\r\nHost: x\r\nACCEPT: application/nostr+json\r\n\r\n").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("Access-Control-Allow-Origin: *"), "{head}");
    let document: Value = serde_json::from_str(body).unwrap();
    assert_eq!(document["limitation"]["max_limit"], 77);
    assert_eq!(document["limitation"]["max_subscriptions"], 9);
    assert_eq!(document["supported_nips"], json!([1, 9, 11, 40, 70]));
    let plain = http(&relay, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(plain.starts_with("HTTP/1.1 200") && !plain.contains("nostr+json"), "{plain}");
}

#[tokio::test]
async fn traffic_counts_what_crossed_the_wire() {
    let (relay, mut client) = relay_and_client().await;
    client.accepts(&event(1, 1, 10, &[])).await;
    client.query(&[json!({"kinds": [1]})]).await;
    client.send(&json!(["NEG-OPEN", "n", {}, "6100000200"])).await;
    client.expect().await;
    let traffic = relay.traffic();
    assert_eq!((traffic.connections, traffic.events_written, traffic.events_sent), (1, 1, 1));
    assert_eq!((traffic.requests, traffic.negentropy_opens), (1, 1));
    assert!(traffic.bytes_in > 400 && traffic.bytes_out > 400, "{traffic:?}");
}
