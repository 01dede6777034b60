//! NIP-77, driven by the initiator of the negentropy crate.

use std::collections::BTreeSet;

use ::negentropy::{Id, Negentropy, NegentropyStorageVector};

use super::super::negentropy::{from_hex, to_hex};
use super::*;

/// The ids that the relay has and `held` lacks, and the other way round; how many rounds it took.
async fn reconcile(client: &mut Client, filter: &Value, held: &[Event]) -> (BTreeSet<EventId>, BTreeSet<EventId>, usize) {
    let mut set = NegentropyStorageVector::new();
    for event in held {
        set.insert(event.created_at.as_secs(), Id::from_byte_array(event.id.to_bytes())).unwrap();
    }
    set.seal().unwrap();
    let mut side = Negentropy::owned(set, 4_096).unwrap();
    let (mut have, mut need, mut rounds) = (Vec::new(), Vec::new(), 0);
    let first = side.initiate().unwrap();
    client.send(&json!(["NEG-OPEN", "n", filter, to_hex(&first)])).await;
    loop {
        rounds += 1;
        let answer = client.expect().await;
        assert_eq!((&answer[0], &answer[1]), (&json!("NEG-MSG"), &json!("n")), "{answer}");
        let message = from_hex(answer[2].as_str().unwrap()).unwrap();
        assert!(message.len() <= 60_000);
        match side.reconcile_with_ids(&message, &mut have, &mut need).unwrap() {
            Some(next) => client.send(&json!(["NEG-MSG", "n", to_hex(&next)])).await,
            None => break,
        }
    }
    client.send(&json!(["NEG-CLOSE", "n"])).await;
    let ids = |ids: Vec<Id>| ids.into_iter().map(|id| EventId::from_byte_array(id.to_bytes())).collect();
    (ids(need), ids(have), rounds)
}

fn ids(events: &[Event]) -> BTreeSet<EventId> {
    events.iter().map(|event| event.id).collect()
}

#[tokio::test]
async fn an_exchange_names_exactly_what_differs() {
    let (relay, mut client) = relay_and_client().await;
    let notes = notes(3_000);
    relay.preload(notes[200..].to_vec());
    relay.preload(vec![event(1, 7, 1_500, &[])]);
    let held: Vec<Event> = notes.iter().enumerate().filter(|(n, _)| n % 3 != 0).map(|(_, e)| e.clone()).collect();
    let (need, have, rounds) = reconcile(&mut client, &json!({"kinds": [1]}), &held).await;
    let theirs: Vec<Event> = (200..3_000).filter(|n| n % 3 == 0).map(|n| notes[n].clone()).collect();
    let ours: Vec<Event> = (0..200).filter(|n| n % 3 != 0).map(|n| notes[n].clone()).collect();
    assert_eq!((need, have), (ids(&theirs), ids(&ours)));
    assert!(rounds > 1, "one round proves little");
}

#[tokio::test]
async fn an_exchange_over_nothing_names_everything_and_over_all_nothing() {
    let (relay, mut client) = relay_and_client().await;
    let notes = notes(5_000);
    relay.preload(notes.clone());
    let (need, have, _) = reconcile(&mut client, &json!({}), &[]).await;
    assert_eq!((need, have), (ids(&notes), BTreeSet::new()));
    let (need, have, rounds) = reconcile(&mut client, &json!({}), &notes).await;
    assert_eq!((need, have, rounds), (BTreeSet::new(), BTreeSet::new(), 1));
}

#[tokio::test]
async fn the_ids_of_exchanges_are_apart_from_those_of_subscriptions() {
    let (relay, mut client) = relay_and_client().await;
    relay.preload(notes(3));
    client.send(&json!(["REQ", "n", {"limit": 0}])).await;
    client.until_eose("n").await;
    let (need, _, _) = reconcile(&mut client, &json!({}), &[]).await;
    assert_eq!(need.len(), 3);
    let note = event(2, 1, 10, &[]);
    relay.preload(vec![note.clone()]);
    assert_eq!(client.expect().await, json!(["EVENT", "n", note]));
}

#[tokio::test]
async fn an_exchange_that_is_not_open_or_not_sound_gets_an_error() {
    let (_relay, mut client) = relay_and_client().await;
    for (message, prefix) in [
        (json!(["NEG-MSG", "n", "61"]), "closed:"),
        (json!(["NEG-OPEN", "n", {}, "6x"]), "error:"),
        (json!(["NEG-MSG", "n", "61"]), "closed:"),
        (json!(["NEG-OPEN", "n", {}, ""]), "error:"),
        (json!(["NEG-OPEN", "n", {"ids": ["x"]}, "61"]), "invalid:"),
    ] {
        client.send(&message).await;
        let answer = client.expect().await;
        assert_eq!((&answer[0], &answer[1]), (&json!("NEG-ERR"), &json!("n")));
        assert!(answer[2].as_str().unwrap().starts_with(prefix), "{message} got {answer}");
    }
}

#[tokio::test]
async fn too_many_open_exchanges_are_blocked_until_one_is_closed() {
    let (_relay, mut client) = relay_and_client().await;
    for number in 0..33 {
        client.send(&json!(["NEG-OPEN", number.to_string(), {}, "6100000200"])).await;
    }
    for _ in 0..32 {
        assert_eq!(client.expect().await[0], "NEG-MSG");
    }
    let refused = client.expect().await;
    assert_eq!(refused[0], "NEG-ERR");
    assert!(refused[2].as_str().unwrap().starts_with("blocked: too many"));
    client.send(&json!(["NEG-CLOSE", "0"])).await;
    client.send(&json!(["NEG-OPEN", "32", {}, "6100000200"])).await;
    assert_eq!(client.expect().await[0], "NEG-MSG");
}

#[tokio::test]
async fn a_version_we_do_not_know_is_answered_by_ours() {
    let (_relay, mut client) = relay_and_client().await;
    client.send(&json!(["NEG-OPEN", "n", {}, "62"])).await;
    assert_eq!(client.expect().await, json!(["NEG-MSG", "n", "61"]));
}

#[tokio::test]
async fn without_negentropy_every_opening_gets_a_notice() {
    let relay = BuiltinRelay::start(Options { negentropy: false, ..Options::default() }).await.unwrap();
    let mut client = Client::connect(&relay).await;
    client.send(&json!(["NEG-OPEN", "n", {}, "6100000200"])).await;
    assert_eq!(client.expect().await, json!(["NOTICE", "ERROR: bad msg: negentropy disabled"]));
    assert_eq!(relay.traffic().negentropy_opens, 1);
}
