//! What home is known to have deleted, emptied and replaced, in bounded memory: so that nothing is written that home had
//! and gave up (NIP-01, NIP-09, NIP-62).
//!
//! Fed from events that home holds. It is a cache of one process: what all processes must know, and after every restart, is in
//! the store (`marks`).

mod marks;

use std::collections::{BTreeMap, VecDeque};

pub use marks::{is_barred, keys_of, left_by};
use model::{Event, EventId, Kind, MAX_IDENTIFIER_BYTES, PublicKey, RelayUrl, Timestamp, first_values, kinds};

/// Entries of each kind: about 20 MB when all four are full.
const ENTRIES: usize = 65_536;

/// The place that versions of one event take: kind, author, identifier (empty where the kind has none).
type Address = (Kind, PublicKey, String);

#[derive(Debug)]
pub struct Tombstones {
    /// Home, in all its spellings: only requests to vanish that name it count.
    own_urls: Vec<RelayUrl>,
    /// A deletion counts for events of its own author.
    ids: Bounded<(EventId, PublicKey), ()>,
    /// Versions up to this moment are deleted.
    addresses: Bounded<Address, Timestamp>,
    /// Everything of this author up to this moment is gone for good.
    vanished: Bounded<PublicKey, Timestamp>,
    newest: Bounded<Address, (Timestamp, EventId)>,
}

/// Why home would not keep an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    Vanished,
    Deleted,
    /// Home holds a newer version; of two of one second, that with the lower id.
    Superseded,
}

impl Tombstones {
    #[must_use]
    pub fn new(own_urls: Vec<RelayUrl>) -> Self {
        Self::with_room(own_urls, ENTRIES)
    }

    fn with_room(own_urls: Vec<RelayUrl>, room: usize) -> Self {
        let (ids, addresses) = (Bounded::new(room), Bounded::new(room));
        Self { own_urls, ids, addresses, vanished: Bounded::new(room), newest: Bounded::new(room) }
    }

    /// Takes in an event that home holds.
    pub fn learn(&mut self, event: &Event) {
        if event.kind == kinds::DELETION {
            self.learn_deletion(event);
        } else if event.kind == kinds::VANISH {
            self.learn_vanish(event);
        } else if let Some(address) = address_of(event) {
            let (known, seen) = (self.newest.get(&address).copied(), (event.created_at, event.id));
            if known.is_none_or(|known| is_newer(seen, known)) {
                self.newest.insert(address, seen);
            }
        }
    }

    /// Why home would not keep `event`, if that is known.
    #[must_use]
    pub fn judge(&self, event: &Event) -> Option<Gone> {
        let is_up_to = |until: Option<&Timestamp>| until.is_some_and(|until| event.created_at <= *until);
        if event.kind != kinds::VANISH && is_up_to(self.vanished.get(&event.pubkey)) {
            return Some(Gone::Vanished);
        }
        // A deletion of a deletion does nothing.
        if event.kind != kinds::DELETION && self.ids.get(&(event.id, event.pubkey)).is_some() {
            return Some(Gone::Deleted);
        }
        let address = address_of(event)?;
        if is_up_to(self.addresses.get(&address)) {
            return Some(Gone::Deleted);
        }
        let newest = self.newest.get(&address)?;
        is_newer(*newest, (event.created_at, event.id)).then_some(Gone::Superseded)
    }

    fn learn_deletion(&mut self, event: &Event) {
        for id in first_values(event, "e").filter_map(|value| EventId::from_hex(value).ok()) {
            self.ids.insert((id, event.pubkey), ());
        }
        let own = first_values(event, "a").filter_map(read_address).filter(|(_, author, _)| *author == event.pubkey);
        for address in own {
            let until = self.addresses.get(&address).copied().max(Some(event.created_at));
            self.addresses.insert(address, until.unwrap_or(event.created_at));
        }
    }

    fn learn_vanish(&mut self, event: &Event) {
        if marks::names_home(event, &self.own_urls) {
            let until = self.vanished.get(&event.pubkey).copied().max(Some(event.created_at));
            self.vanished.insert(event.pubkey, until.unwrap_or(event.created_at));
        }
    }
}

fn is_newer(this: (Timestamp, EventId), that: (Timestamp, EventId)) -> bool {
    this.0 > that.0 || (this.0 == that.0 && this.1 < that.1)
}

/// None for kinds of which every event stands alone, and for identifiers that are too long to be kept.
fn address_of(event: &Event) -> Option<Address> {
    let identifier = if event.kind.is_addressable() {
        first_values(event, "d").next().unwrap_or_default()
    } else if event.kind.is_replaceable() {
        ""
    } else {
        return None;
    };
    (identifier.len() <= MAX_IDENTIFIER_BYTES).then(|| (event.kind, event.pubkey, identifier.to_owned()))
}

fn read_address(value: &str) -> Option<Address> {
    let mut parts = value.splitn(3, ':');
    let kind = parts.next()?.parse().ok().map(Kind::from_u16)?;
    let author = PublicKey::from_hex(parts.next()?).ok()?;
    let identifier = parts.next()?;
    (identifier.len() <= MAX_IDENTIFIER_BYTES).then(|| (kind, author, identifier.to_owned()))
}

/// A map of at most `room` entries; the one that was there first gives way.
#[derive(Debug)]
struct Bounded<K, V> {
    room: usize,
    entries: BTreeMap<K, V>,
    order: VecDeque<K>,
}

impl<K: Ord + Clone, V> Bounded<K, V> {
    fn new(room: usize) -> Self {
        Self { room, entries: BTreeMap::new(), order: VecDeque::new() }
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    fn insert(&mut self, key: K, value: V) {
        if self.entries.insert(key.clone(), value).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > self.room
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{addr, event, event_by, url};

    fn tombstones(held: &[Event]) -> Tombstones {
        let mut tombstones = Tombstones::new(vec![url("wss://home.example")]);
        held.iter().for_each(|event| tombstones.learn(event));
        tombstones
    }

    fn judged(held: &[Event], offered: &Event) -> Option<Gone> {
        tombstones(held).judge(offered)
    }

    #[test]
    fn scenario_15_an_older_version_is_superseded_and_of_one_second_the_lower_id_stays() {
        let version = |at: u64, more: &str| event(30617, at, &[&["d", "x"], &["name", more]]);
        let (first, second) = (version(5, "a"), version(5, "b"));
        let (lower, higher) = if first.id < second.id { (first, second) } else { (second, first) };
        assert_eq!(judged(std::slice::from_ref(&lower), &version(4, "")), Some(Gone::Superseded));
        assert_eq!(judged(std::slice::from_ref(&lower), &higher), Some(Gone::Superseded));
        assert_eq!(judged(std::slice::from_ref(&higher), &lower), None);
        assert_eq!(judged(std::slice::from_ref(&lower), &lower), None, "itself");
        assert_eq!(judged(&[version(6, ""), version(5, "")], &version(5, "z")), Some(Gone::Superseded), "whatever the order");
        assert_eq!(judged(&[version(5, "")], &event(30617, 1, &[&["d", "y"]])), None, "another repository");
        assert_eq!(judged(&[event(10317, 5, &[])], &event(10317, 4, &[])), Some(Gone::Superseded), "replaceable");
        assert_eq!(judged(&[event(1621, 5, &[])], &event(1621, 4, &[])), None, "each issue stands alone");
    }

    #[test]
    fn scenario_15_what_its_author_deleted_stays_deleted() {
        let issue = event(1621, 5, &[]);
        let id = issue.id.to_hex();
        let by_id: &[&[&str]] = &[&["e", &id]];
        assert_eq!(judged(&[event(5, 9, by_id)], &issue), Some(Gone::Deleted));
        assert_eq!(judged(&[event_by(2, 5, 9, by_id)], &issue), None, "a stranger's word");
        assert_eq!(judged(&[event_by(2, 5, 9, by_id), event(5, 9, by_id)], &issue), Some(Gone::Deleted), "hides nobody's");
        let address = addr("x").to_string();
        let by_address: &[&[&str]] = &[&["a", &address]];
        let version = |at: u64| event(30617, at, &[&["d", "x"]]);
        for deletions in
            [[event(5, 9, by_address), event(5, 7, by_address)], [event(5, 7, by_address), event(5, 9, by_address)]]
        {
            assert_eq!(judged(&deletions, &version(9)), Some(Gone::Deleted), "up to its moment");
            assert_eq!(judged(&deletions, &version(10)), None, "a later version is a new beginning");
        }
        assert_eq!(judged(&[event_by(2, 5, 9, by_address)], &version(9)), None);
        let deletion = event(5, 1, &[&["e", "x"]]);
        let of_deletion = deletion.id.to_hex();
        assert_eq!(judged(&[event(5, 9, &[&["e", &of_deletion]])], &deletion), None, "deletions cannot be deleted");
    }

    #[test]
    fn who_has_vanished_from_home_does_not_come_back() {
        let note = event(1, 9, &[]);
        let vanish = |relay: &str| event(62, 9, &[&["relay", "wss://other.example"], &["relay", relay]]);
        for (relay, gone) in [
            ("ALL_RELAYS", Some(Gone::Vanished)),
            ("WSS://Home.example:443", Some(Gone::Vanished)),
            ("wss://home.example.evil.example", None),
            ("all_relays", None),
        ] {
            assert_eq!(judged(&[vanish(relay)], &note), gone, "{relay}");
        }
        let all = [vanish("ALL_RELAYS")];
        assert_eq!(judged(&all, &event(5, 8, &[])), Some(Gone::Vanished), "deletions too");
        assert_eq!(judged(&all, &event(1, 10, &[])), None, "later events are a new life");
        assert_eq!(judged(&all, &event_by(2, 1, 9, &[])), None);
        assert_eq!(judged(&all, &vanish("ALL_RELAYS")), None, "the request itself stays");
    }

    #[test]
    fn memory_is_bounded_and_forgets_the_oldest() {
        let mut tombstones = Tombstones::with_room(Vec::new(), 10);
        let version = |n: u64, at: u64| event(30617, at, &[&["d", &n.to_string()]]);
        for n in 0..30 {
            tombstones.learn(&version(n, 5));
            tombstones.learn(&version(n, 6));
        }
        assert_eq!((tombstones.newest.entries.len(), tombstones.newest.order.len()), (10, 10));
        assert_eq!(tombstones.judge(&version(19, 5)), None, "forgotten: home decides");
        assert_eq!(tombstones.judge(&version(20, 5)), Some(Gone::Superseded));
        let long = "x".repeat(MAX_IDENTIFIER_BYTES + 1);
        tombstones.learn(&event(30617, 6, &[&["d", &long]]));
        assert_eq!(tombstones.newest.entries.len(), 10);
        assert!(!tombstones.newest.entries.keys().any(|(_, _, identifier)| *identifier == long));
    }
}
