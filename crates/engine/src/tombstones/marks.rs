//! What a deletion or a request to vanish leaves in the store, and by which keys the store is asked about an event.
//!
//! Never: a look at the store.

use std::collections::BTreeMap;

use model::{
    Bar, Event, EventId, GateReason, RelayUrl, RepoAddr, Timestamp, Tombstone, first_values, kinds, own_repo, private_key_of,
};

use super::{address_of, read_address};

/// What `event`, which home holds, has taken away for good. `own_urls`: home in all its spellings, for a request to vanish
/// counts only where it names home (NIP-62).
#[must_use]
pub fn left_by(event: &Event, own_urls: &[RelayUrl]) -> Vec<Tombstone> {
    if event.kind == kinds::DELETION {
        deleted_by(event).collect()
    } else if event.kind == kinds::VANISH && names_home(event, own_urls) {
        vec![Tombstone::Vanished { author: event.pubkey, until: event.created_at }]
    } else {
        Vec::new()
    }
}

/// NIP-09: nobody deletes what is another's.
fn deleted_by(event: &Event) -> impl Iterator<Item = Tombstone> {
    let author = event.pubkey;
    let ids = first_values(event, "e").filter_map(|value| EventId::from_hex(value).ok());
    let addresses = first_values(event, "a").filter_map(read_address).filter(move |(_, owner, _)| *owner == author);
    let until = event.created_at;
    let by_address = addresses.map(move |(kind, author, identifier)| Tombstone::Address { kind, author, identifier, until });
    ids.map(move |id| Tombstone::Event { id, author }).chain(by_address)
}

pub(super) fn names_home(event: &Event, own_urls: &[RelayUrl]) -> bool {
    let is_home = |value: &str| value == "ALL_RELAYS" || RelayUrl::parse(value).is_ok_and(|url| own_urls.contains(&url));
    first_values(event, "relay").any(is_home)
}

/// The keys of everything that may bar `event` from home.
#[must_use]
pub fn keys_of(event: &Event) -> Vec<String> {
    let (author, until) = (event.pubkey, event.created_at);
    let vanished = Tombstone::Vanished { author, until }.key();
    let by_id = Tombstone::Event { id: event.id, author }.key();
    let address = address_of(event);
    let by_address = address.map(|(kind, author, identifier)| Tombstone::Address { kind, author, identifier, until }.key());
    let private = repos_of(event).into_iter().map(|addr| private_key_of(&addr));
    [vanished, by_id].into_iter().chain(by_address).chain(private).collect()
}

/// The repos that an event is of, or tags.
fn repos_of(event: &Event) -> Vec<RepoAddr> {
    let tagged = first_values(event, "a").chain(first_values(event, "A")).filter_map(|value| value.parse().ok());
    own_repo(event).into_iter().chain(tagged.take(model::REFS_PER_EVENT)).collect()
}

/// Why `event` is barred by what the store answered to [`keys_of`], if it is.
#[must_use]
pub fn is_barred(event: &Event, bars: &[Bar]) -> Option<GateReason> {
    let by_key: BTreeMap<&str, Option<Timestamp>> = bars.iter().map(|bar| (bar.key.as_str(), bar.until)).collect();
    let counts = |key: &String| by_key.get(key.as_str()).is_some_and(|until| until.is_none_or(|at| event.created_at <= at));
    keys_of(event).iter().filter(|key| counts(key)).find_map(|key| reason(event, key))
}

/// A deletion of a deletion does nothing, and a request to vanish is no event that vanishes.
fn reason(event: &Event, key: &str) -> Option<GateReason> {
    match key.split(' ').next() {
        Some("vanished") => (event.kind != kinds::VANISH).then_some(GateReason::Vanished),
        Some("event") => (event.kind != kinds::DELETION).then_some(GateReason::Deleted),
        Some("address") => Some(GateReason::Deleted),
        Some("private") => Some(GateReason::Private),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{addr, event, event_by, url};

    fn bars(of: &[Event]) -> Vec<Bar> {
        let own = [url("wss://home.example")];
        let left = of.iter().flat_map(|event| left_by(event, &own));
        left.map(|tombstone| Bar { key: tombstone.key(), until: tombstone.until() }).collect()
    }

    #[test]
    fn scenario_15_what_its_author_deleted_by_id_stays_deleted_and_nobody_else_can_delete_it() {
        let comment = event_by(2, 1111, 50, &[]);
        let id = comment.id.to_hex();
        assert_eq!(is_barred(&comment, &bars(&[event_by(2, 5, 60, &[&["e", &id]])])), Some(GateReason::Deleted));
        assert_eq!(is_barred(&comment, &bars(&[event_by(3, 5, 60, &[&["e", &id]])])), None);
    }

    #[test]
    fn a_deletion_by_address_counts_for_versions_up_to_its_moment() {
        let address = addr("x:y").to_string();
        let bars = bars(&[event(5, 60, &[&["a", &address]])]);
        assert_eq!(is_barred(&event(30617, 60, &[&["d", "x:y"]]), &bars), Some(GateReason::Deleted));
        assert_eq!(is_barred(&event(30617, 61, &[&["d", "x:y"]]), &bars), None);
        assert_eq!(is_barred(&event(30618, 60, &[&["d", "x:y"]]), &bars), None, "another kind");
    }

    #[test]
    fn who_asked_home_to_forget_them_is_forgotten_with_their_deletions_but_not_their_request() {
        let bars = bars(&[event(62, 60, &[&["relay", "wss://home.example"]])]);
        assert_eq!(is_barred(&event(5, 60, &[]), &bars), Some(GateReason::Vanished));
        assert_eq!(is_barred(&event(1621, 61, &[]), &bars), None);
        assert_eq!(is_barred(&event(62, 59, &[&["relay", "ALL_RELAYS"]]), &bars), None);
        assert_eq!(left_by(&event(62, 60, &[&["relay", "wss://other.example"]]), &[url("wss://home.example")]), []);
    }

    #[test]
    fn what_is_of_a_private_repo_is_barred_by_its_address() {
        let private = [Bar { key: private_key_of(&addr("x")), until: None }];
        let address = addr("x").to_string();
        for (kind, tags) in [(30617, ["d", "x"]), (30618, ["d", "x"]), (1621, ["a", &address]), (1111, ["A", &address])] {
            assert_eq!(is_barred(&event(kind, 5, &[&tags]), &private), Some(GateReason::Private), "{kind}");
        }
        assert_eq!(is_barred(&event(1621, 5, &[&["d", "x"]]), &private), None);
    }
}
