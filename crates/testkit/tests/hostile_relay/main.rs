//! That the hostile relay does what each behaviour says, and nothing else wrong.
#![allow(clippy::unwrap_used)]

mod content;
mod links;
mod pages;
mod refusals;

use serde_json::{Value, json};
use testkit::hostile::Behaviour;
use testkit::{HostileRelay, Publisher, Wire};

/// A second well in the past.
const THEN: u64 = 1_600_000_000;

fn author() -> Publisher {
    Publisher::new("0000000000000000000000000000000000000000000000000000000000000001")
}

/// Notes of these seconds after [`THEN`], in this order.
fn notes(seconds: impl IntoIterator<Item = u64>) -> Vec<String> {
    let note = |(number, second): (usize, u64)| author().sign(1, THEN + second, &[&["t", "x"]], &number.to_string());
    seconds.into_iter().enumerate().map(note).collect()
}

fn id_of(event: &str) -> String {
    serde_json::from_str::<Value>(event).unwrap()["id"].as_str().unwrap().to_owned()
}

/// A relay that holds ten notes, one a second, and one connection to it.
async fn ten_notes(script: impl IntoIterator<Item = Behaviour>) -> (HostileRelay, Wire) {
    let relay = HostileRelay::start(script).await;
    relay.has_held(notes(0..10).iter().map(String::as_str));
    let wire = Wire::connect(&relay.url()).await.unwrap();
    (relay, wire)
}

/// The seconds of the stored events, in the order in which they came.
async fn seconds(wire: &mut Wire, subscription: &str, filter: Value) -> Vec<u64> {
    let stored = wire.stored(subscription, &filter).await.unwrap();
    stored.iter().map(|event| event["created_at"].as_u64().unwrap() - THEN).collect()
}

/// The first elements of the next messages.
async fn labels(wire: &mut Wire, count: usize) -> Vec<String> {
    let mut labels = Vec::new();
    for _ in 0..count {
        labels.push(wire.next().await.unwrap()[0].as_str().unwrap().to_owned());
    }
    labels
}

fn everything() -> Value {
    json!({"kinds": [1]})
}
