//! What tombstones mean for the repos that are known, and which repos are private: the decisions, without the rows.

use std::collections::{BTreeMap, BTreeSet};

use model::{Bar, Discovery, EventId, PublicKey, Removal, RepoAddr, Timestamp, Tombstone, kinds};

use crate::codec;
use crate::failure::{Failure, unreadable};

/// An announcement that the store holds: its repo, its id, its moment.
pub(crate) type Version = (RepoAddr, EventId, Timestamp);

/// The keys under which the announcements of a discovery may be buried already.
pub(crate) fn keys_of_repos(discovery: &Discovery) -> Vec<String> {
    let keys = discovery.repos.iter().flat_map(|repo| {
        let (author, id) = (repo.addr.pubkey, repo.event);
        [Tombstone::Event { id, author }.key(), Tombstone::Vanished { author, until: repo.created_at }.key()]
    });
    keys.collect()
}

/// The discovery as it counts: without announcements that are gone for good (`bars`), and with the end of every repo whose
/// announcement, among `stored` or in the discovery itself, a tombstone takes by its id or with its author. Home may be
/// told of a deletion before it serves what was deleted, or after.
pub(crate) fn counted(discovery: &Discovery, bars: &[Bar], stored: &[Version]) -> Discovery {
    let bars: BTreeMap<&str, Option<Timestamp>> = bars.iter().map(|bar| (bar.key.as_str(), bar.until)).collect();
    let is_barred = |key: &str, at: Timestamp| bars.get(key).is_some_and(|until| until.is_none_or(|until| at <= until));
    let mut counted = discovery.clone();
    counted.repos.retain(|repo| {
        let (author, id, at) = (repo.addr.pubkey, repo.event, repo.created_at);
        let keys = [Tombstone::Event { id, author }.key(), Tombstone::Vanished { author, until: at }.key()];
        !keys.iter().any(|key| is_barred(key, at))
    });
    let here: Vec<Version> = discovery.repos.iter().map(|repo| (repo.addr.clone(), repo.event, repo.created_at)).collect();
    let versions = || stored.iter().chain(&here);
    counted.removals.extend(discovery.tombstones.iter().flat_map(|tombstone| removed_by(tombstone, versions())));
    counted
}

fn removed_by<'a>(tombstone: &Tombstone, versions: impl Iterator<Item = &'a Version>) -> Vec<Removal> {
    let takes = |(addr, event, at): &&Version| match tombstone {
        Tombstone::Event { id, author } => event == id && addr.pubkey == *author,
        Tombstone::Vanished { author, until } => addr.pubkey == *author && at <= until,
        // Read as a removal already.
        Tombstone::Address { .. } => false,
    };
    versions.filter(takes).map(|(addr, _, at)| Removal { addr: addr.clone(), until: *at }).collect()
}

/// The bars among `keys`, from the hashes (hex) that the store knows of them.
pub(crate) fn barred(keys: &[String], found: &[(String, Option<i64>)]) -> Vec<Bar> {
    let by_hash: BTreeMap<String, &String> = keys.iter().map(|key| (codec::hex(&codec::hash(key)), key)).collect();
    let bar = |(hash, until): &(String, Option<i64>)| {
        let key = by_hash.get(&hash.to_lowercase())?;
        Some(Bar { key: (*key).clone(), until: until.map(codec::timestamp) })
    };
    found.iter().filter_map(bar).collect()
}

/// The repo that an address is of, as the ledger knows announcements and states by it; none for addresses of other kinds.
pub(crate) fn own_of(tombstone: &Tombstone) -> Option<String> {
    match tombstone {
        Tombstone::Address { kind, author, identifier, .. } if [kinds::ANNOUNCEMENT, kinds::STATE].contains(kind) => {
            RepoAddr::new(*author, identifier).ok().map(|addr| addr.to_string())
        }
        Tombstone::Address { .. } | Tombstone::Event { .. } | Tombstone::Vanished { .. } => None,
    }
}

/// The ids that tombstones name.
pub(crate) fn ids_of(tombstones: &[Tombstone]) -> Vec<EventId> {
    let id = |tombstone: &Tombstone| match tombstone {
        Tombstone::Event { id, .. } => Some(*id),
        Tombstone::Address { .. } | Tombstone::Vanished { .. } => None,
    };
    tombstones.iter().filter_map(id).collect()
}

/// Who has vanished, in hex.
pub(crate) fn vanished_of(tombstones: &[Tombstone]) -> Vec<String> {
    let author = |tombstone: &Tombstone| match tombstone {
        Tombstone::Vanished { author, .. } => Some(author.to_hex()),
        Tombstone::Address { .. } | Tombstone::Event { .. } => None,
    };
    tombstones.iter().filter_map(author).collect()
}

/// # Errors
/// No version of ours wrote this row.
pub(crate) fn version(key: &str, event: &[u8], at: i64) -> Result<Version, Failure> {
    let addr = key.parse().map_err(|_| unreadable("an item"))?;
    Ok((addr, codec::event_id(event)?, codec::timestamp(at)))
}

/// # Errors
/// No version of ours wrote this row.
pub(crate) fn of_identifier(
    item: i64,
    key: &str,
    maintainers: &str,
    (says_private, is_private): (bool, bool),
) -> Result<OfIdentifier, Failure> {
    let addr: RepoAddr = key.parse().map_err(|_| unreadable("an item"))?;
    Ok(OfIdentifier { item, author: addr.pubkey, maintainers: codec::maintainers(maintainers)?, says_private, is_private })
}

/// An announced repo among those of one identifier.
pub(crate) struct OfIdentifier {
    pub(crate) item: i64,
    pub(crate) author: PublicKey,
    pub(crate) maintainers: Vec<PublicKey>,
    pub(crate) says_private: bool,
    pub(crate) is_private: bool,
}

/// GRASP-08: a repo is private where any announcement of its maintainer set says so: its own, those of whom it names, and so
/// on. Whom it does not name cannot make it private. Answers with the items for which that is new.
pub(crate) fn private_changes(repos: &[OfIdentifier]) -> Vec<(i64, bool)> {
    let change = |repo: &OfIdentifier| {
        let is_private = set_of(repo, repos).any(|member| member.says_private);
        (is_private != repo.is_private).then_some((repo.item, is_private))
    };
    repos.iter().filter_map(change).collect()
}

fn set_of<'a>(repo: &OfIdentifier, repos: &'a [OfIdentifier]) -> impl Iterator<Item = &'a OfIdentifier> {
    let mut authors = BTreeSet::from([repo.author]);
    loop {
        let named: Vec<PublicKey> =
            repos.iter().filter(|one| authors.contains(&one.author)).flat_map(|one| one.maintainers.iter().copied()).collect();
        let before = authors.len();
        authors.extend(named);
        if authors.len() == before {
            return repos.iter().filter(move |one| authors.contains(&one.author));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key(n: u8) -> PublicKey {
        nostr::prelude::Keys::new(nostr::prelude::SecretKey::from_slice(&[n; 32]).unwrap()).public_key()
    }

    fn repo(n: u8, names: &[u8], says_private: bool) -> OfIdentifier {
        let maintainers = names.iter().copied().map(key).collect();
        OfIdentifier { item: n.into(), author: key(n), maintainers, says_private, is_private: false }
    }

    #[test]
    fn a_repo_is_private_by_the_word_of_whom_it_names_directly_or_not_and_of_nobody_else() {
        let repos = [repo(1, &[2], false), repo(2, &[3, 1], false), repo(3, &[], true), repo(4, &[1], false)];
        assert_eq!(private_changes(&repos), [(1, true), (2, true), (3, true), (4, true)]);
        let stranger = [repo(1, &[], false), repo(5, &[1], true)];
        assert_eq!(private_changes(&stranger), [(5, true)], "who names another does not make that one private");
    }
}
