//! What home's events say about repos, roots and upstreams, and the window that gathers it (S2).

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Discovery, Event, EventId, Kind, MAINTAINERS_PER_REPO, Participant, PublicKey, RelayUrl, Removal, RepoAddr, RepoSeen,
    RootSeen, Tombstone, first_values, kinds,
};

use crate::admission::npub;
use crate::gate::is_private;
use crate::git::clone_urls;
use crate::targets::is_newer;
use crate::tombstones::left_by;

/// Repos under which one root is written down: one for each maintainer's announcement of a large project.
const REPOS_PER_ROOT: usize = 50;
/// Relays of one announcement that are written down, each with why it is not dialed if it is not. The longest list in use names
/// sixteen.
const RELAYS_PER_ANNOUNCEMENT: usize = 1_000;
/// Tombstones of one window: one deletion may name a thousand events.
const MOST_TOMBSTONES: usize = 5_000;

/// Gathers discoveries for a while (S2). The window opens with the first one; later ones do not prolong it.
#[derive(Debug, Default)]
pub struct Window {
    /// Home, in all its spellings: only requests to vanish that name it count.
    own_urls: Vec<RelayUrl>,
    opened_ms: Option<u64>,
    repos: BTreeMap<RepoAddr, RepoSeen>,
    roots: BTreeMap<EventId, RootSeen>,
    removals: BTreeMap<RepoAddr, Removal>,
    participants: BTreeMap<PublicKey, BTreeSet<RepoAddr>>,
    tombstones: BTreeSet<Tombstone>,
}

impl Window {
    #[must_use]
    pub fn new(own_urls: Vec<RelayUrl>) -> Self {
        Self { own_urls, ..Self::default() }
    }

    /// Whether it holds as much as one message should.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.tombstones.len() >= MOST_TOMBSTONES
    }

    /// Takes in an event that home holds. Answers whether it says anything.
    pub fn gather(&mut self, event: &Event, now_ms: u64) -> bool {
        let found = if event.kind == kinds::ANNOUNCEMENT {
            self.gather_repo(event)
        } else if kinds::is_root(event.kind) {
            self.gather_root(event)
        } else if event.kind == kinds::DELETION || event.kind == kinds::VANISH {
            let (removed, buried) = (self.gather_removals(event), self.gather_tombstones(event));
            removed || buried
        } else {
            false
        };
        if found {
            self.opened_ms.get_or_insert(now_ms);
        }
        found
    }

    /// When the window closes (milliseconds), if it is open.
    #[must_use]
    pub fn closes_at(&self, window_ms: u64) -> Option<u64> {
        self.opened_ms.map(|opened| opened + window_ms)
    }

    /// Closes the window: what it gathered, in stable order.
    pub fn take(&mut self) -> Discovery {
        let next = Self::new(self.own_urls.clone());
        let Self { own_urls: _, opened_ms: _, repos, roots, removals, participants, tombstones } =
            std::mem::replace(self, next);
        let participants = participants.into_iter();
        Discovery {
            participants: participants
                .map(|(author, repos)| Participant { author, repos: repos.into_iter().collect() })
                .collect(),
            tombstones: tombstones.into_iter().collect(),
            repos: repos.into_values().collect(),
            roots: roots.into_values().collect(),
            removals: removals.into_values().collect(),
        }
    }

    fn gather_repo(&mut self, event: &Event) -> bool {
        let Some(seen) = read_announcement(event) else { return false };
        for author in seen.maintainers.iter().chain([&seen.addr.pubkey]) {
            self.participants.entry(*author).or_default().insert(seen.addr.clone());
        }
        match self.repos.get(&seen.addr) {
            Some(known) if !is_newer(&seen, known) => false,
            Some(_) | None => self.repos.insert(seen.addr.clone(), seen).is_none_or(|_| true),
        }
    }

    fn gather_root(&mut self, event: &Event) -> bool {
        let Some(seen) = read_root(event) else { return false };
        self.participants.entry(event.pubkey).or_default().extend(seen.repos.iter().cloned());
        self.roots.insert(seen.id, seen).is_none()
    }

    fn gather_tombstones(&mut self, event: &Event) -> bool {
        let before = self.tombstones.len();
        self.tombstones.extend(left_by(event, &self.own_urls));
        self.tombstones.len() > before
    }

    fn gather_removals(&mut self, event: &Event) -> bool {
        let removals = read_removals(event);
        let found = !removals.is_empty();
        for removal in removals {
            let known = self.removals.entry(removal.addr.clone()).or_insert_with(|| removal.clone());
            known.until = known.until.max(removal.until);
        }
        found
    }
}

/// Whether events of `kind` say anything about repos, roots or upstreams.
#[must_use]
pub fn is_discovery(kind: Kind) -> bool {
    kind == kinds::ANNOUNCEMENT || kind == kinds::DELETION || kind == kinds::VANISH || kinds::is_root(kind)
}

/// A 30617 in our words. Its relays are the union of all values of all `relays` tags, in normal form, each once;
/// values that are no relay URL say nothing. None if its identifier is too long for an address.
#[must_use]
pub fn read_announcement(event: &Event) -> Option<RepoSeen> {
    let mut relays: Vec<RelayUrl> = Vec::new();
    let values = event.tags.iter().filter(|tag| tag.kind() == "relays").flat_map(|tag| tag.as_slice().iter().skip(1));
    for relay in values.filter_map(|value| RelayUrl::parse(value).ok()) {
        if !relays.contains(&relay) && relays.len() < RELAYS_PER_ANNOUNCEMENT {
            relays.push(relay);
        }
    }
    let addr = RepoAddr::new(event.pubkey, first_values(event, "d").next().unwrap_or_default()).ok()?;
    let (maintainers, private) = (read_maintainers(event), is_private(event));
    let clone_urls = if private { Vec::new() } else { clone_urls(event) };
    Some(RepoSeen { addr, event: event.id, created_at: event.created_at, relays, maintainers, clone_urls, private })
}

/// The keys of all `maintainers` tags, in hex or as npub; what is neither says nothing.
fn read_maintainers(event: &Event) -> Vec<PublicKey> {
    let values = event.tags.iter().filter(|tag| tag.kind() == "maintainers").flat_map(|tag| tag.as_slice().iter().skip(1));
    let mut maintainers: Vec<PublicKey> = Vec::new();
    for key in values.filter_map(|value| PublicKey::from_hex(value).ok().or_else(|| npub(value))) {
        if !maintainers.contains(&key) && maintainers.len() < MAINTAINERS_PER_REPO {
            maintainers.push(key);
        }
    }
    maintainers
}

/// A root under every repo that it tags by `a`; none if it tags no repo.
#[must_use]
pub fn read_root(event: &Event) -> Option<RootSeen> {
    let mut repos: Vec<RepoAddr> = Vec::new();
    for addr in first_values(event, "a").filter_map(|value| value.parse::<RepoAddr>().ok()) {
        if !repos.contains(&addr) && repos.len() < REPOS_PER_ROOT {
            repos.push(addr);
        }
    }
    let seen = RootSeen { id: event.id, kind: event.kind, created_at: event.created_at, repos, author: Some(event.pubkey) };
    (!seen.repos.is_empty()).then_some(seen)
}

/// The repos that a deletion request (NIP-09) removes: named by address, by their own author.
#[must_use]
pub fn read_removals(event: &Event) -> Vec<Removal> {
    first_values(event, "a")
        .filter_map(|value| value.parse::<RepoAddr>().ok())
        .filter(|addr| addr.pubkey == event.pubkey)
        .map(|addr| Removal { addr, until: event.created_at })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{addr, at, event, url};

    fn announcement(identifier: &str, created_at: u64, relays: &[&str]) -> Event {
        let mut tag = vec!["relays"];
        tag.extend(relays);
        event(30617, created_at, &[&["d", identifier], &tag])
    }

    #[test]
    fn s02_the_window_closes_5_seconds_after_its_first_discovery_whatever_comes_later() {
        let mut window = Window::default();
        assert!(window.gather(&announcement("x", 1, &["wss://a.example"]), 1_000));
        assert!(window.gather(&announcement("y", 1, &["wss://a.example"]), 5_900));
        assert_eq!(window.closes_at(crate::rules::DISCOVERY_WINDOW_MS), Some(6_000));
        assert_eq!(window.take().repos.len(), 2);
        assert_eq!(window.closes_at(5_000), None);
    }

    #[test]
    fn s02_a_window_keeps_the_newest_version_of_each_repo() {
        let mut window = Window::default();
        assert!(window.gather(&announcement("x", 5, &["wss://new.example"]), 0));
        assert!(!window.gather(&announcement("x", 4, &["wss://old.example"]), 0));
        assert_eq!(window.take().repos[0].relays, [url("wss://new.example")]);
    }

    #[test]
    fn relays_are_the_union_of_all_tags_and_values_in_normal_form() {
        let tags: &[&[&str]] = &[
            &["d", "x"],
            &["relays", "wss://a.example", "WSS://A.example:443/"],
            &["relays"],
            &["relays", "wss://b.example", "git@x"],
        ];
        let seen = read_announcement(&event(30617, 1, tags)).expect("a repo");
        assert_eq!(seen.relays, [url("wss://a.example"), url("wss://b.example")]);
    }

    #[test]
    fn a_private_announcement_says_so() {
        let tags: &[&[&str]] = &[&["d", "x"], &["relays", "wss://a.example"], &["private", "true"]];
        assert!(read_announcement(&event(30617, 1, tags)).expect("a repo").private);
        assert!(!read_announcement(&event(30617, 1, &tags[..2])).expect("a repo").private);
    }

    #[test]
    fn maintainers_are_read_as_hex_and_as_npub_and_oddities_say_nothing() {
        use nostr::prelude::ToBech32;
        let (one, two) = (crate::testing::keys(1).public_key(), crate::testing::keys(2).public_key());
        let (hex, npub) = (one.to_hex(), two.to_bech32().expect("a key has an npub"));
        let tags: &[&[&str]] = &[&["d", "x"], &["maintainers", &hex, "zz", &npub], &["maintainers"], &["maintainers", &hex]];
        assert_eq!(read_announcement(&event(30617, 1, tags)).expect("a repo").maintainers, [one, two]);
    }

    #[test]
    fn an_announcement_whose_identifier_is_too_long_says_nothing() {
        let mut window = Window::default();
        let long = "x".repeat(model::MAX_IDENTIFIER_BYTES + 1);
        assert!(!window.gather(&announcement(&long, 1, &["wss://a.example"]), 0));
        assert!(window.take().is_empty());
    }

    #[test]
    fn a_root_is_read_under_all_its_addresses_and_one_without_an_address_says_nothing() {
        let hex = crate::testing::author().to_hex();
        let (first, second) = (format!("30617:{hex}:a:b"), format!("30617:{hex}:c"));
        let tags: &[&[&str]] = &[&["a", &first], &["a", "30618:x:y"], &["a", &second], &["a", &first]];
        let root = read_root(&event(1618, 1, tags)).expect("a root");
        assert_eq!(root.repos, [addr("a:b"), addr("c")]);
        assert_eq!(read_root(&event(1621, 1, &[])), None);
    }

    #[test]
    fn a_window_names_who_takes_part_and_what_is_gone() {
        let mut window = Window::new(vec![url("wss://home.example")]);
        let (one, two) = (crate::testing::author(), crate::testing::keys(2).public_key());
        let repo = addr("x").to_string();
        window.gather(&event(30617, 1, &[&["d", "x"], &["maintainers", &two.to_hex()]]), 0);
        window.gather(&crate::testing::event_by(3, 1621, 1, &[&["a", &repo]]), 0);
        assert!(window.gather(&event(62, 9, &[&["relay", "wss://home.example/"]]), 0));
        assert!(!window.gather(&event(62, 9, &[&["relay", "wss://another.example/"]]), 0));
        let found = window.take();
        let authors: BTreeSet<PublicKey> = found.participants.iter().map(|one| one.author).collect();
        assert_eq!(authors, [one, two, crate::testing::keys(3).public_key()].into());
        assert!(found.participants.iter().all(|one| one.repos == [addr("x")]));
        assert_eq!(found.tombstones, [Tombstone::Vanished { author: one, until: at(9) }]);
        assert!(window.gather(&event(62, 9, &[&["relay", "wss://home.example/"]]), 0), "home is known to every window");
    }

    #[test]
    fn only_its_author_removes_a_repo() {
        let own = addr("x").to_string();
        let foreign = format!("30617:{}:x", crate::testing::keys(2).public_key().to_hex());
        let removals = read_removals(&event(5, 7, &[&["a", &own], &["a", &foreign]]));
        assert_eq!(removals, [Removal { addr: addr("x"), until: at(7) }]);
    }
}
