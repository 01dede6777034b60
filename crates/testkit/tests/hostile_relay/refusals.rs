//! Refusals of questions, of events, of negentropy; AUTH.

use super::{THEN, author, everything, labels, notes, seconds, ten_notes};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use testkit::hostile::{Behaviour, Negentropy, Refusal};
use testkit::{Offer, Wire};

/// The answer to NEG-OPEN.
async fn opened(how: Negentropy) -> (testkit::HostileRelay, Wire) {
    let (relay, mut wire) = ten_notes([Behaviour::Negentropy(how)]).await;
    wire.send(json!(["NEG-OPEN", "n", everything(), "6100000200"])).await;
    (relay, wire)
}

async fn is_silent(wire: &mut Wire) -> bool {
    wire.is_silent_for(Duration::from_millis(100)).await
}

#[tokio::test]
async fn a_req_is_refused_in_every_shape() {
    let text = "ERROR: blocked: no";
    let (_relay, mut wire) = ten_notes([Behaviour::Refuses(Refusal::Closed(text))]).await;
    assert_eq!(wire.stored("q", &everything()).await, Err(text.to_owned()));
    let (_relay, mut wire) = ten_notes([Behaviour::Refuses(Refusal::Notice(text))]).await;
    wire.send(json!(["REQ", "q", everything()])).await;
    assert_eq!(wire.next().await.unwrap(), json!(["NOTICE", text]));
    let (_relay, mut wire) = ten_notes([Behaviour::Refuses(Refusal::Silence)]).await;
    wire.send(json!(["REQ", "q", everything()])).await;
    assert!(is_silent(&mut wire).await);
    let (_relay, mut wire) = ten_notes([Behaviour::Refuses(Refusal::HangUp)]).await;
    wire.send(json!(["REQ", "q", everything()])).await;
    assert_eq!(wire.next().await, None);
}

#[tokio::test]
async fn one_subscription_too_many_is_refused_until_another_ends() {
    let (_relay, mut wire) = ten_notes([Behaviour::AtMostSubscriptions(2, Refusal::Closed("too many"))]).await;
    for known in ["one", "two", "two"] {
        assert_eq!(seconds(&mut wire, known, everything()).await.len(), 10);
    }
    assert_eq!(wire.stored("three", &everything()).await, Err("too many".to_owned()));
    wire.send(json!(["CLOSE", "one"])).await;
    assert_eq!(seconds(&mut wire, "three", everything()).await.len(), 10);
}

#[tokio::test]
async fn a_page_breaks_off() {
    let (_relay, mut wire) = ten_notes([Behaviour::BreaksOffAfter(3, "rate-limited: slow down")]).await;
    wire.send(json!(["REQ", "q", everything()])).await;
    assert_eq!(labels(&mut wire, 3).await, ["EVENT"; 3]);
    assert_eq!(wire.next().await.unwrap(), json!(["CLOSED", "q", "rate-limited: slow down"]));
}

#[tokio::test]
async fn every_message_gets_a_notice_too() {
    let (_relay, mut wire) = ten_notes([Behaviour::NoticesAlways("hello")]).await;
    wire.send(json!(["REQ", "q", {"limit": 1}])).await;
    assert_eq!(labels(&mut wire, 3).await, ["EVENT", "EOSE", "NOTICE"]);
    wire.send(json!(["CLOSE", "q"])).await;
    assert_eq!(wire.next().await.unwrap(), json!(["NOTICE", "hello"]));
}

/// Answers a challenge, and returns the verdict.
async fn authenticates(wire: &mut Wire) -> bool {
    let event = author().sign(22_242, THEN, &[&["challenge", "who are you"]], "");
    wire.send(json!(["AUTH", serde_json::from_str::<Value>(&event).unwrap()])).await;
    let ok = wire.next().await.unwrap();
    assert_eq!(ok[0], "OK");
    ok[2].as_bool().unwrap()
}

#[tokio::test]
async fn a_challenge_greets_and_nothing_depends_on_it() {
    let (_relay, mut wire) = ten_notes([Behaviour::Challenges]).await;
    assert_eq!(wire.next().await.unwrap(), json!(["AUTH", "who are you"]));
    assert_eq!(seconds(&mut wire, "q", everything()).await.len(), 10);
}

#[tokio::test]
async fn a_req_needs_auth() {
    let (_relay, mut wire) = ten_notes([Behaviour::ReqNeedsAuth]).await;
    wire.send(json!(["REQ", "q", everything()])).await;
    assert_eq!(labels(&mut wire, 2).await, ["AUTH", "CLOSED"]);
    assert!(authenticates(&mut wire).await);
    assert_eq!(seconds(&mut wire, "q", everything()).await.len(), 10);
}

#[tokio::test]
async fn negentropy_needs_auth_and_a_req_does_not() {
    let (_relay, mut wire) = ten_notes([Behaviour::NegentropyNeedsAuth, Behaviour::Negentropy(Negentropy::OldVersion)]).await;
    assert_eq!(seconds(&mut wire, "q", everything()).await.len(), 10);
    wire.send(json!(["NEG-OPEN", "n", everything(), "6100000200"])).await;
    assert_eq!(labels(&mut wire, 2).await, ["AUTH", "NEG-ERR"]);
    assert!(authenticates(&mut wire).await);
    wire.send(json!(["NEG-OPEN", "n", everything(), "6100000200"])).await;
    assert_eq!(labels(&mut wire, 1).await, ["NEG-MSG"]);
}

#[tokio::test]
async fn auth_is_refused() {
    let (_relay, mut wire) = ten_notes([Behaviour::ReqNeedsAuth, Behaviour::RefusesAuth]).await;
    assert!(!authenticates(&mut wire).await);
    wire.send(json!(["REQ", "q", everything()])).await;
    assert_eq!(labels(&mut wire, 2).await, ["AUTH", "CLOSED"]);
}

#[tokio::test]
async fn an_offer_is_answered_as_scripted_and_not_kept() {
    let new = &notes([20])[0];
    let (relay, mut wire) = ten_notes([Behaviour::AnswersOffers(true, "purgatory: later")]).await;
    assert_eq!(author().publish(&relay.url(), new).await, Offer::Accepted);
    assert_eq!(seconds(&mut wire, "q", everything()).await.len(), 10);
    let (relay, _wire) = ten_notes([Behaviour::AnswersOffers(false, "blocked: no")]).await;
    assert_eq!(author().publish(&relay.url(), new).await, Offer::Refused("blocked: no".to_owned()));
}

#[tokio::test]
async fn an_offer_is_answered_late_or_never() {
    let new: Value = serde_json::from_str(&notes([20])[0]).unwrap();
    let (_relay, mut wire) = ten_notes([Behaviour::LateOk(Duration::from_millis(120))]).await;
    let offered = Instant::now();
    wire.send(json!(["EVENT", new])).await;
    assert_eq!(wire.next().await.unwrap(), json!(["OK", new["id"], true, ""]));
    assert!(offered.elapsed() >= Duration::from_millis(120));
    let (_relay, mut wire) = ten_notes([Behaviour::NoOk]).await;
    wire.send(json!(["EVENT", new])).await;
    assert!(is_silent(&mut wire).await);
    assert_eq!(seconds(&mut wire, "q", everything()).await.len(), 10);
}

#[tokio::test]
async fn negentropy_is_unknown_without_a_script() {
    let (_relay, mut wire) = ten_notes([]).await;
    wire.send(json!(["NEG-OPEN", "n", everything(), "6100000200"])).await;
    assert_eq!(labels(&mut wire, 1).await, ["NOTICE"]);
}

#[tokio::test]
async fn negentropy_is_refused_in_every_shape() {
    let (_relay, mut wire) = opened(Negentropy::Error("blocked: too many query results")).await;
    assert_eq!(wire.next().await.unwrap(), json!(["NEG-ERR", "n", "blocked: too many query results"]));
    let (_relay, mut wire) = opened(Negentropy::ErrorWithLimit("blocked: too many records", 1_000)).await;
    assert_eq!(wire.next().await.unwrap(), json!(["NEG-ERR", "n", "blocked: too many records", 1_000]));
    let (_relay, mut wire) = opened(Negentropy::Refused(Refusal::Notice("ERROR: bad msg: negentropy disabled"))).await;
    assert_eq!(wire.next().await.unwrap(), json!(["NOTICE", "ERROR: bad msg: negentropy disabled"]));
    let (_relay, mut wire) = opened(Negentropy::Refused(Refusal::Closed("unsupported: no"))).await;
    assert_eq!(wire.next().await.unwrap(), json!(["CLOSED", "n", "unsupported: no"]));
    let (_relay, mut wire) = opened(Negentropy::Refused(Refusal::Silence)).await;
    assert!(is_silent(&mut wire).await);
    let (_relay, mut wire) = opened(Negentropy::Refused(Refusal::HangUp)).await;
    assert_eq!(wire.next().await, None);
}

/// The message of the next NEG-MSG.
async fn neg_msg(wire: &mut Wire) -> String {
    let message = wire.next().await.unwrap();
    assert_eq!((&message[0], &message[1]), (&json!("NEG-MSG"), &json!("n")));
    message[2].as_str().unwrap().to_owned()
}

async fn neg_answers(wire: &mut Wire) {
    wire.send(json!(["NEG-MSG", "n", "6100000200"])).await;
}

#[tokio::test]
async fn negentropy_falls_silent_after_one_good_message() {
    let (_relay, mut wire) = opened(Negentropy::SilentAfterFirst).await;
    assert!(neg_msg(&mut wire).await.starts_with("61000001"), "one fingerprint of everything");
    neg_answers(&mut wire).await;
    assert!(is_silent(&mut wire).await);
}

#[tokio::test]
async fn negentropy_of_an_old_version_or_of_none_is_answered() {
    let (_relay, mut wire) = opened(Negentropy::OldVersion).await;
    assert_eq!(neg_msg(&mut wire).await, "60");
    let (_relay, mut wire) = opened(Negentropy::Garbage).await;
    assert!(neg_msg(&mut wire).await.contains('z'));
}

#[tokio::test]
async fn ids_are_claimed_that_nobody_has_a_thousand_a_message() {
    let (_relay, mut wire) = opened(Negentropy::FakeIds(2_500)).await;
    let mut ids = std::collections::BTreeSet::new();
    for round in 0..3_u8 {
        let message = neg_msg(&mut wire).await;
        let (is_last, count) = (round == 2, if round == 2 { 500 } else { 1_000 });
        // Version, bound (a second, or infinity), no beginning of an id, id list, how many (in base 128).
        let head = format!("61{:02x}0002{:02x}{:02x}", if is_last { 0 } else { round + 2 }, 0x80 | (count / 128), count % 128);
        let rest = message.strip_prefix(&head).unwrap();
        ids.extend(rest.as_bytes()[..count * 64].chunks(64).map(<[u8]>::to_vec));
        let after = &rest[count * 64..];
        assert!(if is_last { after.is_empty() } else { after.starts_with("000001") && after.len() == 6 + 32 });
        neg_answers(&mut wire).await;
    }
    assert_eq!(ids.len(), 2_500);
}

#[tokio::test]
async fn negentropy_never_converges() {
    for repeats in [true, false] {
        let (_relay, mut wire) = opened(Negentropy::NeverConverges { repeats }).await;
        let first = neg_msg(&mut wire).await;
        for _ in 0..100 {
            neg_answers(&mut wire).await;
            let next = neg_msg(&mut wire).await;
            assert!(next.starts_with("61000001") && next.len() == 8 + 32);
            assert_eq!(next == first, repeats);
        }
    }
}

#[tokio::test]
async fn a_message_is_larger_than_any_frame_limit() {
    let (_relay, mut wire) = opened(Negentropy::Oversize(2_000_000)).await;
    assert_eq!(neg_msg(&mut wire).await.len(), 4_000_000);
}

#[tokio::test]
async fn a_closed_exchange_is_unknown() {
    let (_relay, mut wire) = opened(Negentropy::NeverConverges { repeats: true }).await;
    neg_msg(&mut wire).await;
    wire.send(json!(["NEG-CLOSE", "n"])).await;
    neg_answers(&mut wire).await;
    assert_eq!(labels(&mut wire, 1).await, ["NEG-ERR"]);
}

/// Offers an event; the verdict and the words.
async fn verdict(wire: &mut Wire, event: &str) -> (bool, String) {
    wire.send(json!(["EVENT", serde_json::from_str::<Value>(event).unwrap()])).await;
    loop {
        let message = wire.next().await.unwrap();
        if message[0] == "OK" {
            return (message[2] == true, message[3].as_str().unwrap().to_owned());
        }
    }
}

#[tokio::test]
async fn beyond_the_first_few_events_a_minute_holds_so_many_and_no_more() {
    let (relay, mut wire) = ten_notes([Behaviour::WritesPerMinute(600)]).await;
    let began = Instant::now();
    let mut refused = 0;
    let events = notes(100..115);
    for event in &events {
        while !verdict(&mut wire, event).await.0 {
            refused += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert!(refused > 0 && began.elapsed() >= Duration::from_millis(900), "{refused} {:?}", began.elapsed());
    assert_eq!(relay.held_ids().len(), 25);
}

#[tokio::test]
async fn an_event_without_its_parent_is_refused_until_that_is_there() {
    let (_relay, mut wire) = ten_notes([Behaviour::WantsParents]).await;
    let parent = author().sign(1621, THEN, &[], "a bug");
    let child = author().sign(1111, THEN, &[&["E", &super::id_of(&parent)]], "me too");
    assert_eq!(verdict(&mut wire, &child).await, (false, "blocked: parent event not found".to_owned()));
    assert!(verdict(&mut wire, &parent).await.0);
    assert!(verdict(&mut wire, &child).await.0);
}

#[tokio::test]
async fn an_event_that_lies_too_far_back_is_refused() {
    let (_relay, mut wire) = ten_notes([Behaviour::RefusesOlderThan(1_000)]).await;
    let old = author().sign(1, THEN, &[], "old");
    let new = author().sign(1, now(), &[], "new");
    assert!(!verdict(&mut wire, &old).await.0);
    assert!(verdict(&mut wire, &new).await.0);
}

fn now() -> u64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}
