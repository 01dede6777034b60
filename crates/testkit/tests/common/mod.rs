//! Events and questions that the tests of every relay share.

use serde_json::{Value, json};
use testkit::{Publisher, Wire};

/// A second well in the past: no relay may refuse it for its age.
pub(crate) const THEN: u64 = 1_600_000_000;

pub(crate) fn author() -> Publisher {
    Publisher::new("0000000000000000000000000000000000000000000000000000000000000001")
}

/// `count` notes, one a second from [`THEN`] on, oldest first.
pub(crate) fn notes(count: u64) -> Vec<String> {
    (0..count).map(|number| author().sign(1, THEN + number, &[], &number.to_string())).collect()
}

pub(crate) fn borrowed(events: &[String]) -> impl Iterator<Item = &str> {
    events.iter().map(String::as_str)
}

pub(crate) async fn connect(url: &str) -> Wire {
    Wire::connect(url).await.expect("the relay can be reached")
}

/// Offers an event over the wire and returns the OK's id, verdict and text.
pub(crate) async fn offer(wire: &mut Wire, event: &str) -> (String, bool, String) {
    let event: Value = serde_json::from_str(event).expect("an event");
    wire.send(json!(["EVENT", event])).await;
    loop {
        let message = wire.next().await.expect("the relay answers");
        if message[0] == "OK" {
            let text = |index: usize| message[index].as_str().expect("a text").to_owned();
            return (text(1), message[2].as_bool().expect("a verdict"), text(3));
        }
    }
}

/// The answer of a relay to an offer, without the id.
pub(crate) async fn verdict(wire: &mut Wire, event: &str) -> (bool, String) {
    let (_, accepted, text) = offer(wire, event).await;
    (accepted, text)
}

pub(crate) fn seconds(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["created_at"].as_u64().expect("a second") - THEN).collect()
}
