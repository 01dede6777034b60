//! What `fuzz/` feeds with noise: announcements and their like, information documents. Each body asserts what holds for whatever
//! it is given.
//!
//! Never part of the program: built for tests and with the feature `fuzzing`.

use std::collections::BTreeSet;
use std::fmt::Debug;

use model::{
    CLONE_URLS, Discovery, Event, EventId, Kind, Learned, MAINTAINERS_PER_REPO, MAX_IDENTIFIER_BYTES, PublicKey, RelayUrl,
    RepoAddr, RepoSeen, Timestamp, kinds,
};
use nostr::prelude::{Signature, Tag};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::discovery::{Window, read_announcement, read_removals, read_root};
use crate::gate::Limits;
use crate::nip11;
use crate::room::{Room, page_limit};

/// The generator of the curve: a key that everybody knows.
const AUTHOR: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

/// The first byte is the kind; each line after it a tag, its values apart by tabs. What is read of it is bounded, without
/// repeats, and comes back as it was from JSON; nobody removes what is another's.
pub fn announcement(data: &[u8]) {
    let Some((event, author)) = event_of(data) else { return };
    if let Some(seen) = read_announcement(&event) {
        bounded(&seen);
        comes_back(&seen);
    }
    if let Some(root) = read_root(&event) {
        assert!(!root.repos.is_empty());
        no_repeats(&root.repos);
        root.repos.iter().for_each(comes_back_as_text);
        comes_back(&root);
    }
    assert!(read_removals(&event).iter().all(|removal| removal.addr.pubkey == author));
    let mut window = Window::new(vec![RelayUrl::parse("wss://home.example").expect("a relay URL")]);
    let says_something = window.gather(&event, 0);
    let found: Discovery = window.take();
    assert_eq!(says_something, !found.is_empty());
    comes_back(&found);
    assert!(window.take().is_empty(), "what was taken is taken");
}

/// What is read of a document is bounded, comes back as it was, and never makes a room in which nothing can be asked.
pub fn document(data: &[u8]) {
    let at = Timestamp::from_secs(7);
    let Ok(stated) = nip11::read(data, at) else { return };
    assert!(stated.nips.len() <= 256 && stated.grasps.len() <= 256);
    let texts = stated.grasps.iter().chain(&stated.software);
    assert!(texts.into_iter().all(|text| text.chars().count() <= 241 && !text.contains(char::is_control)));
    comes_back(&stated);
    let again = [b" \n", data, b"\t "].concat();
    assert_eq!(nip11::read(&again, at).expect("blanks say nothing"), stated);
    let (limits, most) = (Limits::of(&stated), Limits::default());
    assert!(limits.event_bytes <= most.event_bytes && limits.ahead_secs <= most.ahead_secs, "it narrows, and never widens");
    let learned = Learned { stated: Some(stated), ..Learned::default() };
    let room = Room::of(&learned);
    assert!(room.live_limit(70) <= 70 && room.ids() > 0);
    assert!(page_limit(&learned).is_none_or(|limit| limit > 0));
}

fn event_of(data: &[u8]) -> Option<(Event, PublicKey)> {
    let (first, rest) = data.split_first()?;
    let kinds = [kinds::ANNOUNCEMENT, kinds::ISSUE, kinds::PATCH, kinds::DELETION, kinds::VANISH, kinds::STATE, Kind::TextNote];
    let kind = kinds[usize::from(*first) % kinds.len()];
    let lines = std::str::from_utf8(rest).ok()?.lines();
    let tags: Vec<Tag> = lines.filter_map(|line| Tag::parse(line.split('\t')).ok()).collect();
    let author = PublicKey::from_hex(AUTHOR).expect("a key");
    let signature = Signature::from_slice(&[1; 64]).expect("64 bytes");
    let id = EventId::from_byte_array([1; 32]);
    Some((Event::new(id, author, Timestamp::from_secs(7), kind, tags, "", signature), author))
}

fn bounded(seen: &RepoSeen) {
    assert!(seen.addr.identifier.len() <= MAX_IDENTIFIER_BYTES);
    assert!(seen.maintainers.len() <= MAINTAINERS_PER_REPO && seen.clone_urls.len() <= CLONE_URLS);
    assert!(!seen.private || seen.clone_urls.is_empty(), "where a private repo lies is nobody's business");
    comes_back_as_text(&seen.addr);
    no_repeats(&seen.relays);
    no_repeats(&seen.maintainers);
    for relay in &seen.relays {
        assert_eq!(RelayUrl::parse(relay.as_str()).as_ref(), Ok(relay));
    }
}

fn no_repeats<T: Ord + Debug>(list: &[T]) {
    assert_eq!(list.iter().collect::<BTreeSet<_>>().len(), list.len(), "{list:?}");
}

fn comes_back_as_text(addr: &RepoAddr) {
    assert_eq!(addr.to_string().parse::<RepoAddr>().as_ref(), Ok(addr));
}

fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let json = serde_json::to_vec(value).expect("it is plain data");
    assert_eq!(&serde_json::from_slice::<T>(&json).expect("written just now"), value);
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;
    use super::*;

    #[test]
    fn whatever_is_announced_what_is_read_of_it_is_bounded() {
        replay("announcement", announcement);
    }

    #[test]
    fn whatever_a_relay_states_of_itself_it_can_be_asked() {
        replay("document", document);
    }
}
