//! A client that we did not write (`nostr-sdk`), for what goes to a relay.
//!
//! It answers an AUTH challenge with its own key. It never shares a connection between two calls: a relay that was restarted in
//! between is no surprise to it.

use nostr_sdk::prelude::{Client, Event, EventBuilder, JsonUtil, Keys, Kind, RelayUrl, Tag, Timestamp};
use std::time::Duration;

/// How long a relay on the loopback may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// A relay's answer to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// OK true, with whatever text.
    Accepted,
    /// OK false, and its text. No OK in time is a refusal too, in the client library's words.
    Refused(String),
}

impl Offer {
    /// Whether the relay said OK true.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        *self == Self::Accepted
    }
}

/// One author with one key.
#[derive(Debug, Clone)]
pub struct Publisher {
    keys: Keys,
}

impl Publisher {
    /// An author, by a secret key in hex.
    ///
    /// # Panics
    /// When it is no secret key.
    #[must_use]
    pub fn new(secret_key: &str) -> Self {
        Self { keys: Keys::parse(secret_key).expect("a secret key in hex") }
    }

    /// The author's public key in hex.
    #[must_use]
    pub fn public_key(&self) -> String {
        self.keys.public_key().to_hex()
    }

    /// Signs an event of this author and returns it as JSON. `created_at` is in seconds.
    ///
    /// # Panics
    /// When a tag is empty.
    #[must_use]
    pub fn sign(&self, kind: u16, created_at: u64, tags: &[&[&str]], content: &str) -> String {
        let tags = tags.iter().map(|tag| Tag::parse(tag.iter().copied()).expect("a tag has a name"));
        let unsigned = EventBuilder::new(Kind::from(kind), content).custom_created_at(Timestamp::from(created_at)).tags(tags);
        unsigned.sign_with_keys(&self.keys).expect("a valid key signs").as_json()
    }

    /// Publishes one event (JSON, by whatever author).
    ///
    /// # Panics
    /// As [`Self::publish_all`].
    pub async fn publish(&self, relay_url: &str, event: &str) -> Offer {
        self.publish_all(relay_url, [event]).await.remove(0)
    }

    /// Publishes events over one connection, one after the other, each when the one before has its OK.
    ///
    /// # Panics
    /// When the relay cannot be reached, or one is not an event.
    pub async fn publish_all<'a>(&self, relay_url: &str, events: impl IntoIterator<Item = &'a str>) -> Vec<Offer> {
        let url = RelayUrl::parse(relay_url).expect("a relay URL");
        let client = Client::new(self.keys.clone());
        client.add_relay(&url).await.expect("a relay can be added to a new client");
        client.try_connect_relay(&url, CONNECT_LIMIT).await.expect("the relay can be reached");
        let mut offers = Vec::new();
        for json in events {
            let event = Event::from_json(json).expect("an event as JSON");
            let sent = client.send_event_to([&url], &event).await.expect("the client knows the relay");
            offers.push(sent.failed.get(&url).map_or(Offer::Accepted, |reason| Offer::Refused(reason.clone())));
        }
        client.shutdown().await;
        offers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LocalRelay, fetch_all};
    use serde_json::json;

    const SECRET: &str = "0000000000000000000000000000000000000000000000000000000000000001";

    #[tokio::test]
    async fn what_is_published_is_what_the_relay_holds() {
        let relay = LocalRelay::start().await;
        let author = Publisher::new(SECRET);
        let events =
            [author.sign(1617, 1_700_000_001, &[&["a", "30617:ab:x"]], "a patch"), author.sign(1, 1_700_000_000, &[], "")];
        let offers = author.publish_all(&relay.url(), events.iter().map(String::as_str)).await;
        assert_eq!(offers, [Offer::Accepted, Offer::Accepted]);
        let held = fetch_all(&relay.url(), &json!({"kinds": [1617]})).await;
        assert_eq!(held.len(), 1);
        assert_eq!((held[0].content.as_str(), held[0].pubkey.to_hex()), ("a patch", author.public_key()));
    }

    #[tokio::test]
    async fn a_refusal_is_told_with_the_relays_reason() {
        let relay = LocalRelay::start().await;
        let author = Publisher::new(SECRET);
        let expired = author.sign(1, 1_700_000_000, &[&["expiration", "1700000001"]], "");
        assert_eq!(author.publish(&relay.url(), &expired).await, Offer::Refused("error: unknown".into()));
    }

    #[tokio::test]
    async fn a_relay_that_asks_for_auth_gets_it() {
        let relay = LocalRelay::start().await;
        let author = Publisher::new(SECRET);
        let protected = author.sign(1, 1_700_000_000, &[&["-"]], "mine alone");
        assert_eq!(author.publish(&relay.url(), &protected).await, Offer::Accepted);
    }
}
