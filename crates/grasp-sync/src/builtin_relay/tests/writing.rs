//! EVENT and OK: what is stored, replaced, deleted, refused.

use super::*;

/// As far ahead of any clock that runs these tests as needed.
const NEVER: &str = "99999999999";

#[tokio::test]
async fn a_stored_event_is_a_duplicate_the_second_time() {
    let (relay, mut client) = relay_and_client().await;
    let note = event(1, 1, 10, &[]);
    client.accepts(&note).await;
    let (accepted, text) = client.write(&note).await;
    assert!(accepted && text.starts_with("duplicate:"), "{text}");
    assert_eq!(relay.events(), vec![note.clone()]);
    assert!(relay.event_ids().contains(&note.id));
}

#[tokio::test]
async fn of_a_replaceable_event_the_newest_is_kept_and_on_a_tie_the_lowest_id() {
    for (kind, tags) in [(0, vec![]), (10_002, vec![]), (30_617, vec!["d", "x"])] {
        let (relay, mut client) = relay_and_client().await;
        let tags: Vec<&[&str]> = if tags.is_empty() { vec![] } else { vec![&tags] };
        let mut twins = [said(1, kind, 20, &tags, "one"), said(1, kind, 20, &tags, "other")];
        twins.sort_by_key(|event| event.id);
        let [low, high] = twins;
        let (old, new) = (event(1, kind, 10, &tags), event(1, kind, 30, &tags));
        client.accepts(&high).await;
        client.refuses(&old, "replaced:").await;
        client.accepts(&low).await;
        client.refuses(&high, "replaced:").await;
        client.accepts(&new).await;
        client.refuses(&low, "replaced:").await;
        client.accepts(&event(2, kind, 5, &tags)).await;
        assert_eq!(client.query(&[json!({"kinds": [kind], "since": 6})]).await, hex(&[&new]));
        assert_eq!(relay.event_ids().len(), 2);
    }
}

#[tokio::test]
async fn addressable_events_are_told_apart_by_their_whole_identifier() {
    let (_relay, mut client) = relay_and_client().await;
    for identifier in ["a", "a:b", "A", ""] {
        client.accepts(&event(1, 30_618, 10, &[&["d", identifier]])).await;
    }
    client.refuses(&event(1, 30_618, 5, &[]), "replaced:").await;
    assert_eq!(client.query(&[json!({"kinds": [30_618]})]).await.len(), 4);
    assert_eq!(client.query(&[json!({"#d": ["a:b"]})]).await.len(), 1);
}

#[tokio::test]
async fn a_deletion_removes_what_its_author_wrote_and_is_served_itself() {
    let (_relay, mut client) = relay_and_client().await;
    let (mine, theirs) = (event(1, 1, 10, &[]), event(2, 1, 11, &[]));
    client.accepts(&mine).await;
    client.accepts(&theirs).await;
    let deletion = event(1, 5, 20, &[&["e", &mine.id.to_hex()], &["e", &theirs.id.to_hex()]]);
    client.accepts(&deletion).await;
    assert_eq!(client.query(&[json!({})]).await, hex(&[&deletion, &theirs]));
    client.refuses(&mine, "blocked:").await;
    let vain = event(1, 5, 30, &[&["e", &deletion.id.to_hex()]]);
    client.accepts(&vain).await;
    assert_eq!(client.query(&[json!({"kinds": [5]})]).await, hex(&[&vain, &deletion]));
}

#[tokio::test]
async fn a_deletion_that_comes_first_keeps_its_event_out() {
    let (_relay, mut client) = relay_and_client().await;
    let note = event(1, 1, 10, &[]);
    client.accepts(&event(2, 5, 20, &[&["e", &note.id.to_hex()]])).await;
    client.accepts(&event(1, 5, 20, &[&["e", &note.id.to_hex()]])).await;
    client.refuses(&note, "blocked:").await;
}

#[tokio::test]
async fn a_deleted_address_stays_empty_up_to_the_second_of_the_deletion() {
    let (_relay, mut client) = relay_and_client().await;
    let tags: [&[&str]; 1] = [&["d", "a:b"]];
    client.accepts(&event(1, 30_617, 10, &tags)).await;
    client.accepts(&event(2, 5, 20, &[&["a", &address(1, "a:b")]])).await;
    assert_eq!(client.query(&[json!({"kinds": [30_617]})]).await.len(), 1);
    client.accepts(&event(1, 5, 20, &[&["a", &address(1, "a:b")]])).await;
    assert!(client.query(&[json!({"kinds": [30_617]})]).await.is_empty());
    client.refuses(&event(1, 30_617, 15, &tags), "blocked:").await;
    client.refuses(&said(1, 30_617, 20, &tags, "again"), "blocked:").await;
    let later = event(1, 30_617, 21, &tags);
    client.accepts(&later).await;
    assert_eq!(client.query(&[json!({"kinds": [30_617]})]).await, hex(&[&later]));
}

#[tokio::test]
async fn an_ephemeral_event_reaches_who_listens_and_nobody_later() {
    let (relay, mut reader) = relay_and_client().await;
    let mut writer = Client::connect(&relay).await;
    reader.send(&json!(["REQ", "s", {"kinds": [20_001]}])).await;
    reader.until_eose("s").await;
    let ephemeral = event(1, 20_001, 10, &[]);
    writer.accepts(&ephemeral).await;
    assert_eq!(reader.expect().await, json!(["EVENT", "s", ephemeral]));
    assert!(writer.query(&[json!({"kinds": [20_001]})]).await.is_empty());
}

#[tokio::test]
async fn expired_and_protected_events_are_refused() {
    let (_relay, mut client) = relay_and_client().await;
    client.refuses(&event(1, 1, 10, &[&["expiration", "11"]]), "invalid:").await;
    client.refuses(&event(1, 1, 10, &[&["-"]]), "blocked:").await;
    client.accepts(&event(1, 1, 10, &[&["expiration", NEVER]])).await;
}

#[tokio::test]
async fn an_event_is_no_longer_served_once_it_expires() {
    let (relay, mut client) = relay_and_client().await;
    let soon = (Timestamp::now().as_secs() + 2).to_string();
    let fleeting = event(1, 1, 10, &[&["expiration", &soon]]);
    client.accepts(&fleeting).await;
    assert_eq!(client.query(&[json!({})]).await, hex(&[&fleeting]));
    let gone = async {
        while !client.query(&[json!({})]).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    assert!(relay.event_ids().is_empty());
}

#[tokio::test]
async fn an_event_that_is_not_what_it_claims_is_invalid() {
    let (relay, mut client) = relay_and_client().await;
    let (note, other) = (event(1, 1, 10, &[]), event(1, 1, 11, &[]));
    let mut forged = note.clone();
    forged.sig = other.sig;
    client.refuses(&forged, "invalid:").await;
    let mut changed = note.clone();
    changed.content = "changed".to_owned();
    client.refuses(&changed, "invalid:").await;
    client.refuses(&said(1, 1, 12, &[], &"x".repeat(130 * 1024)), "invalid:").await;
    client.send(&json!(["EVENT", {"id": "abc", "kind": "one"}])).await;
    let (accepted, text) = client.ok("abc").await;
    assert!(!accepted && text.starts_with("invalid:"), "{text}");
    assert!(relay.event_ids().is_empty());
}

#[tokio::test]
async fn preloaded_events_follow_the_same_rules() {
    let relay = relay().await;
    let mut unsigned = event(1, 30_617, 20, &[&["d", "x"]]);
    unsigned.sig = event(1, 1, 1, &[]).sig;
    let older = event(1, 30_617, 10, &[&["d", "x"]]);
    relay.preload(vec![unsigned.clone(), older, event(1, 1, 5, &[&["-"]])]);
    assert_eq!(relay.events(), vec![unsigned]);
}

#[tokio::test]
async fn thousands_of_pipelined_events_get_an_ok_each() {
    let (relay, mut client) = relay_and_client().await;
    let notes = notes(2_000);
    for note in &notes {
        client.send(&json!(["EVENT", note])).await;
    }
    for note in &notes {
        let message = client.expect().await;
        assert_eq!(message, json!(["OK", note.id, true, ""]));
    }
    assert_eq!(relay.event_ids().len(), notes.len());
}
