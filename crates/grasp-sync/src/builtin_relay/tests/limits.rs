//! Caps, bad messages, slow readers and the end of connections.

use super::*;

#[tokio::test]
async fn a_page_is_clamped_in_silence() {
    let relay = BuiltinRelay::start(Options { page_cap: 5, ..Options::default() }).await.unwrap();
    let mut client = Client::connect(&relay).await;
    let notes = notes(8);
    relay.preload(notes.clone());
    let newest: Vec<&Event> = notes.iter().rev().take(5).collect();
    assert_eq!(client.query(&[json!({"limit": 100})]).await, hex(&newest));
    assert_eq!(client.query(&[json!({})]).await, hex(&newest));
    let rest: Vec<&Event> = notes.iter().rev().skip(4).collect();
    assert_eq!(client.query(&[json!({"until": rest[0].created_at})]).await, hex(&rest));
}

#[tokio::test]
async fn a_subscription_too_many_is_closed_and_room_is_made_by_close() {
    let relay = BuiltinRelay::start(Options { max_subscriptions: 2, ..Options::default() }).await.unwrap();
    let mut client = Client::connect(&relay).await;
    for id in ["one", "two", "two"] {
        client.send(&json!(["REQ", id, {"limit": 0}])).await;
        assert_eq!(client.expect().await, json!(["EOSE", id]));
    }
    client.send(&json!(["REQ", "three", {"limit": 0}])).await;
    let closed = client.expect().await;
    assert_eq!((&closed[0], &closed[1]), (&json!("CLOSED"), &json!("three")));
    assert!(closed[2].as_str().unwrap().starts_with("error:"));
    client.send(&json!(["CLOSE", "one"])).await;
    client.send(&json!(["REQ", "three", {"limit": 0}])).await;
    assert_eq!(client.expect().await, json!(["EOSE", "three"]));
}

#[tokio::test]
async fn bad_messages_get_a_notice_and_the_connection_lives_on() {
    let (_relay, mut client) = relay_and_client().await;
    let long_id = format!(r#"["REQ","{}",{{}}]"#, "x".repeat(65));
    for bad in [
        "",
        "{",
        "null",
        "[]",
        "7",
        "[7]",
        r#"["HELLO"]"#,
        r#"["REQ"]"#,
        r#"["REQ",5,{}]"#,
        r#"["REQ","",{}]"#,
        &long_id,
        r#"["EVENT"]"#,
        r#"["EVENT",7]"#,
        r#"["CLOSE"]"#,
        r#"["NEG-OPEN","n",{}]"#,
        r#"["NEG-MSG","n"]"#,
        r#"["EVENT",{"id":5}]"#,
    ] {
        client.send_text(bad.to_owned()).await;
        let answer = client.expect().await;
        assert_eq!(answer[0], "NOTICE", "{bad} got {answer}");
        assert!(answer[1].as_str().unwrap().starts_with("ERROR: bad msg"), "{answer}");
    }
    assert!(client.query(&[json!({})]).await.is_empty());
}

#[tokio::test]
async fn a_bad_filter_closes_its_subscription_with_a_reason() {
    let (_relay, mut client) = relay_and_client().await;
    for (filter, prefix) in [
        (json!(5), "invalid:"),
        (json!({"ids": ["xyz"]}), "invalid:"),
        (json!({"kinds": [-1]}), "invalid:"),
        (json!({"until": -5}), "invalid:"),
        (json!({"search": "x"}), "unsupported:"),
    ] {
        client.send(&json!(["REQ", "s", filter])).await;
        let closed = client.expect().await;
        assert_eq!((&closed[0], &closed[1]), (&json!("CLOSED"), &json!("s")));
        assert!(closed[2].as_str().unwrap().starts_with(prefix), "{closed}");
    }
    client.send(&json!(["REQ", "s"])).await;
    assert_eq!(client.expect().await[0], "CLOSED");
}

#[tokio::test]
async fn a_message_over_a_mebibyte_ends_the_connection_with_a_notice() {
    let (_relay, mut client) = relay_and_client().await;
    client.send_text(format!(r#"["REQ","s",{{"search":"{}"}}]"#, "x".repeat(1 << 20))).await;
    // The notice may be lost with the connection: what was not read resets it.
    if let Some(message) = client.next().await {
        assert_eq!(message[0], "NOTICE");
        assert_eq!(client.next().await, None);
    }
}

#[tokio::test]
async fn a_reader_that_stops_reading_is_disconnected_and_others_go_on() {
    let slack = Slack { frames: 50, patience: Duration::from_millis(300) };
    let relay = BuiltinRelay::start_with(Options::default(), slack).await.unwrap();
    let (mut slow, mut writer) = (Client::connect(&relay).await, Client::connect(&relay).await);
    slow.send(&json!(["REQ", "s", {"kinds": [1]}])).await;
    slow.until_eose("s").await;
    // More than the sockets between the two can hold.
    let text = "x".repeat(100_000);
    let mut written = 0;
    let fill = async {
        while relay.shared.hub.listeners() == 2 {
            writer.accepts(&said(1, 1, 10 + written, &[], &text)).await;
            written += 1;
        }
    };
    tokio::time::timeout(PATIENCE, fill).await.unwrap();
    writer.accepts(&event(1, 7, 10, &[])).await;
    let mut read = 0;
    while slow.next().await.is_some() {
        read += 1;
    }
    assert!(read < written, "{read} of {written} were read though the reader was given up");
}

#[tokio::test]
async fn disconnecting_all_leaves_the_relay_open_for_new_connections() {
    let (relay, mut client) = relay_and_client().await;
    client.accepts(&event(1, 1, 10, &[])).await;
    relay.disconnect_all();
    assert_eq!(client.next().await, None);
    let mut again = Client::connect(&relay).await;
    assert_eq!(again.query(&[json!({})]).await.len(), 1);
    relay.disconnect_all();
    assert_eq!(again.next().await, None);
}

#[tokio::test]
async fn stopping_ends_connections_and_the_listener() {
    let (relay, mut client) = relay_and_client().await;
    let url = relay.url();
    client.send(&json!(["REQ", "s", {}])).await;
    client.until_eose("s").await;
    relay.stop().await;
    assert_eq!(client.next().await, None);
    assert!(tokio_tungstenite::connect_async(url).await.is_err());
}

#[tokio::test]
async fn an_address_in_use_is_a_clear_error() {
    let relay = relay().await;
    let options = Options { listen: relay.address, ..Options::default() };
    let refused = BuiltinRelay::start(options).await;
    assert!(matches!(refused, Err(StartError::Listen { address, .. }) if address == relay.address));
}
