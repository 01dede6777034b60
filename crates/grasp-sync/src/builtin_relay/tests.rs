//! What holds on the wire, seen by a raw websocket client.

#![allow(clippy::unwrap_used)]

mod client;
mod durable;
mod limits;
mod reading;
mod reconciling;
mod writing;

use std::time::Duration;

use nostr::event::{Event, EventId, Kind, Tag, Tags};
use nostr::key::{Keys, SecretKey};
use nostr::types::Timestamp;
use serde_json::{Value, json};

use super::outbox::Slack;
use super::{BuiltinRelay, Options, StartError, Store};
use client::Client;

/// Nothing in these tests takes as long; a wait that does has failed.
const PATIENCE: Duration = Duration::from_secs(60);

async fn relay() -> BuiltinRelay {
    BuiltinRelay::start(Options::default()).await.unwrap()
}

async fn relay_and_client() -> (BuiltinRelay, Client) {
    let relay = relay().await;
    let client = Client::connect(&relay).await;
    (relay, client)
}

/// An event of person `person`, made in second `at`.
fn event(person: u8, kind: u16, at: u64, tags: &[&[&str]]) -> Event {
    said(person, kind, at, tags, "")
}

fn said(person: u8, kind: u16, at: u64, tags: &[&[&str]], content: &str) -> Event {
    let keys = Keys::new(SecretKey::from_slice(&[person; 32]).unwrap());
    let tags = Tags::from_list(tags.iter().map(|tag| Tag::parse(tag.iter().copied()).unwrap()).collect());
    let (at, kind) = (Timestamp::from_secs(at), Kind::from_u16(kind));
    let id = EventId::compute(&keys.public_key(), &at, &kind, &tags, content);
    let signature = keys.sign_schnorr_with_aux_rand(&Default::default(), id.as_bytes(), &[0; 32]);
    Event::new(id, keys.public_key(), at, kind, tags.to_vec(), content, signature)
}

/// The address of a repository of person `person`.
fn address(person: u8, identifier: &str) -> String {
    format!("30617:{}:{identifier}", event(person, 1, 1, &[]).pubkey.to_hex())
}

fn hex(events: &[&Event]) -> Vec<String> {
    events.iter().map(|event| event.id.to_hex()).collect()
}

fn notes(count: u64) -> Vec<Event> {
    (0..count).map(|number| said(1, 1, 1_000 + number, &[], &format!("note {number}"))).collect()
}
