//! A world for tests: signed events, relays in memory, a shell that drives sessions on virtual time.
#![allow(dead_code, reason = "each test binary uses its own part of it")]
#![allow(clippy::unwrap_used)]

pub(crate) mod relay;
pub(crate) mod shell;
pub(crate) mod world;

use engine::discovery;
use model::{Event, EventId, Item, ItemKind, Kind, LiveFilter, RelayUrl, RepoAddr, RepoSeen, RootSeen, Timestamp, kinds};
use nostr::prelude::{EventBuilder, FinalizeEvent, Keys, SecretKey, Tag};

/// The wall clock at the start of every test (seconds).
pub(crate) const START: u64 = 1_700_000_000;

pub(crate) fn keys() -> Keys {
    Keys::new(SecretKey::from_slice(&[1; 32]).expect("a small number is a secret key"))
}

pub(crate) fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs)
}

pub(crate) fn url(text: &str) -> RelayUrl {
    RelayUrl::parse(text).expect("a relay URL")
}

pub(crate) fn addr(name: &str) -> RepoAddr {
    RepoAddr { pubkey: keys().public_key(), identifier: name.to_owned() }
}

pub(crate) fn repo(name: &str) -> Item {
    Item::Repo(addr(name))
}

pub(crate) fn id(n: u32) -> EventId {
    let mut bytes = [0_u8; 32];
    bytes[28..].copy_from_slice(&n.to_be_bytes());
    EventId::from_slice(&bytes).expect("32 bytes are an id")
}

pub(crate) fn root(n: u32) -> Item {
    Item::Root(id(n))
}

pub(crate) fn event(kind: Kind, created_at: u64, tags: &[&[&str]], content: &str) -> Event {
    let tags = tags.iter().map(|tag| Tag::parse(tag.iter().map(ToString::to_string)).expect("a tag"));
    EventBuilder::new(kind, content).tags(tags).custom_created_at(at(created_at)).finalize(&keys()).expect("signed")
}

/// A 30617 of `name` that lists `relays`.
pub(crate) fn announcement(name: &str, created_at: u64, relays: &[&str]) -> Event {
    let mut listed = vec!["relays"];
    listed.extend(relays);
    event(kinds::ANNOUNCEMENT, created_at, &[&["d", name], &listed], "")
}

/// A comment (NIP-22) on a repo.
pub(crate) fn comment(name: &str, created_at: u64, n: usize) -> Event {
    event(Kind::Custom(1111), created_at, &[&["A", &addr(name).to_string()]], &format!("comment {n}"))
}

/// Comments, one a second, the first at `from`.
pub(crate) fn comments(name: &str, from: u64, count: usize) -> Vec<Event> {
    (0..count).map(|n| comment(name, from + n as u64, n)).collect()
}

/// An issue on a repo.
pub(crate) fn issue(name: &str, title: &str, created_at: u64) -> Event {
    event(kinds::ISSUE, created_at, &[&["a", &addr(name).to_string()]], title)
}

/// A comment (NIP-22) on a root.
pub(crate) fn reply(root: &Event, created_at: u64, n: usize) -> Event {
    event(Kind::Custom(1111), created_at, &[&["E", &root.id.to_hex()]], &format!("reply {n}"))
}

pub(crate) fn seen(name: &str, created_at: u64, relays: &[&str]) -> RepoSeen {
    discovery::read_announcement(&announcement(name, created_at, relays)).expect("a short identifier")
}

pub(crate) fn root_seen(n: u32, repos: &[&str]) -> RootSeen {
    let repos = repos.iter().map(|name| addr(name)).collect();
    RootSeen { id: id(n), kind: kinds::ISSUE, created_at: at(START), repos, author: None }
}

/// The live filters of a chunk of repos.
pub(crate) fn live_repos(chunk: u32, names: &[&str]) -> Vec<LiveFilter> {
    let items: Vec<Item> = names.iter().map(|name| repo(name)).collect();
    engine::filters::live(ItemKind::Repo, chunk, &items)
}
