//! Discoveries become repos, roots and relays, and these become targets (S2, S3): only what a discovery touches is looked at.

use std::collections::BTreeSet;

use model::{Discovery, Item, Participant, RelayUrl, RepoAddr, RepoSeen, Role, Timestamp, UpstreamId};

use super::{Book, Relay};
use crate::targets::is_newer;

/// What is kept of a repo: its newest version, and until when versions of it were deleted.
#[derive(Debug, Clone, Default)]
pub(super) struct RepoKept {
    seen: Option<RepoSeen>,
    removed_until: Option<Timestamp>,
}

impl RepoKept {
    fn remove(&mut self, until: Timestamp) {
        self.removed_until = self.removed_until.max(Some(until));
        self.seen = self.seen.take().filter(|seen| seen.created_at > until);
    }

    fn see(&mut self, seen: &RepoSeen) {
        let is_removed = self.removed_until.is_some_and(|until| seen.created_at <= until);
        if !is_removed && self.seen.as_ref().is_none_or(|known| is_newer(seen, known)) {
            self.seen = Some(seen.clone());
        }
    }
}

impl Book {
    /// S2, S3: one discovery window becomes wanted rows. Answers with the upstreams whose coverage changed.
    pub fn discover(&mut self, discovery: &Discovery, now: Timestamp) -> Vec<UpstreamId> {
        let mut touched: BTreeSet<Item> = BTreeSet::new();
        for removal in &discovery.removals {
            self.repos.entry(removal.addr.clone()).or_default().remove(removal.until);
            self.touch(&removal.addr, &mut touched);
        }
        for seen in &discovery.repos {
            self.repos.entry(seen.addr.clone()).or_default().see(seen);
            self.touch(&seen.addr, &mut touched);
        }
        for root in &discovery.roots {
            for addr in &root.repos {
                self.roots_of.entry(addr.clone()).or_default().insert(root.id);
            }
            self.roots.entry(root.id).or_insert_with(|| root.clone());
            touched.insert(Item::Root(root.id));
        }
        for Participant { author, repos } in &discovery.participants {
            self.participants.entry(*author).or_default().extend(repos.iter().cloned());
            touched.insert(Item::Participant(*author));
        }
        self.retarget(&touched, now)
    }

    /// The number of the relay at `url`; a new one is listed.
    pub(super) fn number_for(&mut self, url: &RelayUrl, now: Timestamp) -> UpstreamId {
        if let Some(number) = self.number_of(url) {
            return number;
        }
        self.last_relay += 1;
        let number = UpstreamId(self.last_relay);
        self.relays.insert(number, Relay::new(url.clone(), now));
        number
    }

    pub(super) fn retarget_all(&mut self, now: Timestamp) {
        let repos = self.repos.keys().cloned().map(Item::Repo);
        let participants = self.participants.keys().copied().map(Item::Participant);
        let all = repos.chain(self.roots.keys().copied().map(Item::Root)).chain(participants).collect();
        self.retarget(&all, now);
    }

    fn touch(&self, addr: &RepoAddr, touched: &mut BTreeSet<Item>) {
        touched.insert(Item::Repo(addr.clone()));
        touched.extend(self.roots_of.get(addr).into_iter().flatten().copied().map(Item::Root));
        let theirs = self.participants.iter().filter(|(_, repos)| repos.contains(addr));
        touched.extend(theirs.map(|(author, _)| Item::Participant(*author)));
    }

    fn retarget(&mut self, items: &BTreeSet<Item>, now: Timestamp) -> Vec<UpstreamId> {
        let mut dirty = BTreeSet::new();
        for item in items {
            let listing = self.listing(item);
            for url in &listing {
                self.number_for(url, now);
            }
            let is_known = self.is_known(item);
            for (number, relay) in &mut self.relays {
                let is_target = if relay.role == Role::Home { is_known } else { listing.contains(&relay.url) };
                if relay.set_target(item, is_target, now) {
                    dirty.insert(*number);
                }
            }
        }
        dirty.into_iter().collect()
    }

    /// The relays that should cover `item`: those that its repo lists, or the repos that it tags.
    fn listing(&self, item: &Item) -> BTreeSet<RelayUrl> {
        let seen_of = |addr: &RepoAddr| self.repos.get(addr).and_then(|kept| kept.seen.as_ref());
        let relays_of = |addr: &RepoAddr| seen_of(addr).filter(|seen| !seen.private).map(|seen| &seen.relays);
        match item {
            Item::Repo(addr) => relays_of(addr).into_iter().flatten().cloned().collect(),
            Item::Root(id) => {
                let repos = || self.roots.get(id).into_iter().flat_map(|root| &root.repos);
                let is_private = repos().filter_map(seen_of).any(|seen| seen.private);
                repos().filter(|_| !is_private).filter_map(relays_of).flatten().cloned().collect()
            }
            Item::Participant(author) => {
                let repos = self.participants.get(author).into_iter().flatten();
                repos.filter_map(relays_of).flatten().cloned().collect()
            }
            // Found by the ledger, which is not kept here.
            Item::Named(_) => BTreeSet::new(),
        }
    }

    fn is_known(&self, item: &Item) -> bool {
        match item {
            Item::Repo(addr) => self.repos.get(addr).is_some_and(|kept| kept.seen.is_some()),
            Item::Root(id) => self.roots.contains_key(id),
            Item::Participant(author) => self.participants.contains_key(author),
            Item::Named(_) => false,
        }
    }
}
