//! Builders for this crate's tests.

use model::{Event, EventId, Item, Kind, PublicKey, RelayUrl, RepoAddr, Timestamp};
use nostr::prelude::{EventBuilder, FinalizeEvent, Keys, SecretKey, Tag};

pub(crate) fn keys(n: u8) -> Keys {
    Keys::new(SecretKey::from_slice(&[n.max(1); 32]).expect("a small number is a secret key"))
}

pub(crate) fn author() -> PublicKey {
    keys(1).public_key()
}

pub(crate) fn addr(identifier: &str) -> RepoAddr {
    RepoAddr { pubkey: author(), identifier: identifier.to_owned() }
}

pub(crate) fn repo(identifier: &str) -> Item {
    Item::Repo(addr(identifier))
}

pub(crate) fn id(n: u32) -> EventId {
    let mut bytes = [0_u8; 32];
    bytes[28..].copy_from_slice(&n.to_be_bytes());
    EventId::from_slice(&bytes).expect("32 bytes are an id")
}

pub(crate) fn root(n: u32) -> Item {
    Item::Root(id(n))
}

pub(crate) fn url(text: &str) -> RelayUrl {
    RelayUrl::parse(text).expect("a relay URL")
}

pub(crate) fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs)
}

pub(crate) fn event(kind: u16, created_at: u64, tags: &[&[&str]]) -> Event {
    event_by(1, kind, created_at, tags)
}

/// An issue with this content.
pub(crate) fn event_with_content(content: String, created_at: u64) -> Event {
    let issue = EventBuilder::new(Kind::from_u16(1621), content).custom_created_at(at(created_at));
    issue.finalize(&keys(1)).expect("signed")
}

pub(crate) fn event_by(author: u8, kind: u16, created_at: u64, tags: &[&[&str]]) -> Event {
    let tags = tags.iter().map(|tag| Tag::parse(tag.iter().map(ToString::to_string)).expect("a tag"));
    EventBuilder::new(Kind::from_u16(kind), "")
        .tags(tags)
        .custom_created_at(at(created_at))
        .finalize(&keys(author))
        .expect("signed")
}
