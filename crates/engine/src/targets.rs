//! Targets and what is missing of them (S3, S4).

use std::collections::{BTreeMap, BTreeSet};

use model::{Item, RelayUrl, RepoAddr, RepoSeen, RootSeen};

/// S3: the inversion of repo → relays. Each upstream should cover the repos that list it, and the roots of these repos.
///
/// The store keeps this incrementally; here it is in one piece, as the measure that the store is held against.
#[must_use]
pub fn targets<'a>(
    repos: impl IntoIterator<Item = &'a RepoSeen>,
    roots: impl IntoIterator<Item = &'a RootSeen>,
) -> BTreeMap<RelayUrl, BTreeSet<Item>> {
    let newest = newest_versions(repos);
    let mut targets: BTreeMap<RelayUrl, BTreeSet<Item>> = BTreeMap::new();
    for seen in newest.values() {
        for relay in &seen.relays {
            targets.entry(relay.clone()).or_default().insert(Item::Repo(seen.addr.clone()));
        }
    }
    for root in roots {
        for relay in root.repos.iter().filter_map(|addr| newest.get(addr)).flat_map(|seen| &seen.relays) {
            targets.entry(relay.clone()).or_default().insert(Item::Root(root.id));
        }
    }
    targets
}

/// Addressable events: the newest version counts, on a tie the one with the lowest id (NIP-01).
#[must_use]
pub fn is_newer(candidate: &RepoSeen, known: &RepoSeen) -> bool {
    (candidate.created_at, std::cmp::Reverse(candidate.event)) > (known.created_at, std::cmp::Reverse(known.event))
}

fn newest_versions<'a>(repos: impl IntoIterator<Item = &'a RepoSeen>) -> BTreeMap<&'a RepoAddr, &'a RepoSeen> {
    let mut newest: BTreeMap<&RepoAddr, &RepoSeen> = BTreeMap::new();
    for seen in repos {
        let known = newest.entry(&seen.addr).or_insert(seen);
        if is_newer(seen, known) {
            *known = seen;
        }
    }
    newest
}

/// S4: target − pending − confirmed, the only decision about new asks.
#[must_use]
pub fn missing(target: &BTreeSet<Item>, pending: &BTreeSet<Item>, confirmed: &BTreeSet<Item>) -> BTreeSet<Item> {
    target.iter().filter(|item| !pending.contains(item) && !confirmed.contains(item)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{addr, at, id, repo, root, url};
    use model::kinds;

    fn seen(identifier: &str, created_at: u64, relays: &[&str]) -> RepoSeen {
        let relays = relays.iter().map(|relay| url(relay)).collect();
        RepoSeen {
            addr: addr(identifier),
            event: id(u32::try_from(created_at).expect("small")),
            created_at: at(created_at),
            relays,
            maintainers: vec![],
            clone_urls: vec![],
            private: false,
        }
    }

    fn issue(n: u32, repos: &[&str]) -> RootSeen {
        let repos = repos.iter().map(|name| addr(name)).collect();
        RootSeen { id: id(n), kind: kinds::ISSUE, created_at: at(1), repos, author: None }
    }

    #[test]
    fn s03_each_upstream_covers_the_repos_that_list_it_and_their_roots() {
        let repos = [seen("x", 1, &["wss://a.example", "wss://b.example"]), seen("y", 1, &["wss://b.example"])];
        let targets = targets(&repos, &[issue(9, &["y"])]);
        assert_eq!(targets[&url("wss://a.example")], BTreeSet::from([repo("x")]));
        assert_eq!(targets[&url("wss://b.example")], BTreeSet::from([repo("x"), repo("y"), root(9)]));
    }

    #[test]
    fn s03_a_newer_announcement_shrinks_the_target_whatever_the_order() {
        let (old, new) = (seen("x", 1, &["wss://a.example", "wss://b.example"]), seen("x", 2, &["wss://b.example"]));
        let forwards = targets([&old, &new], &[issue(9, &["x"])]);
        assert_eq!(forwards, targets([&new, &old], &[issue(9, &["x"])]));
        assert!(!forwards.contains_key(&url("wss://a.example")));
    }

    #[test]
    fn scenario_17_a_root_counts_under_all_its_repos_even_when_the_first_is_unknown() {
        let targets = targets(&[seen("x", 1, &["wss://a.example"])], &[issue(9, &["unknown", "x"])]);
        assert!(targets[&url("wss://a.example")].contains(&root(9)));
    }

    #[test]
    fn s04_missing_is_target_less_pending_less_confirmed() {
        let target = BTreeSet::from([repo("x"), repo("y"), root(1)]);
        let missing = missing(&target, &BTreeSet::from([repo("x")]), &BTreeSet::from([root(1)]));
        assert_eq!(missing, BTreeSet::from([repo("y")]));
    }
}
