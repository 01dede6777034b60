//! What the state service keeps, in memory: the model that every store is held against.
//!
//! Owns: relays, links, targets, coverage rows, batches, and what each call of the `Store` port does to them. Never: SQL,
//! leases, the ledger, a clock, randomness; the moment and the rolls are arguments.

mod discover;
mod look;
mod relay;
mod reports;

use std::collections::{BTreeMap, BTreeSet};

use model::{
    BatchId, Claim, Claimed, Draft, Epoch, EventId, LinkView, Nip77, PublicKey, RelayUrl, RepoAddr, Resume, Role, RootSeen,
    StateError, Timestamp, UpGranted, UpstreamId,
};

pub use relay::{Batch, Counts, Relay, Row, Status};

use crate::rules::{BATCH_START_SECS, Policy, refresh_after};
use discover::RepoKept;

/// The whole of it. Methods mirror the `Store` port of the `state` crate.
#[derive(Debug, Clone)]
pub struct Book {
    policy: Policy,
    relays: BTreeMap<UpstreamId, Relay>,
    repos: BTreeMap<RepoAddr, RepoKept>,
    roots: BTreeMap<EventId, RootSeen>,
    roots_of: BTreeMap<RepoAddr, BTreeSet<EventId>>,
    participants: BTreeMap<PublicKey, BTreeSet<RepoAddr>>,
    last_relay: i64,
    last_batch: i64,
}

impl Book {
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            relays: BTreeMap::new(),
            repos: BTreeMap::new(),
            roots: BTreeMap::new(),
            roots_of: BTreeMap::new(),
            participants: BTreeMap::new(),
            last_relay: 0,
            last_batch: 0,
        }
    }

    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Every relay, in the order of their numbers.
    pub fn relays(&self) -> impl Iterator<Item = (UpstreamId, &Relay)> {
        self.relays.iter().map(|(id, relay)| (*id, relay))
    }

    #[must_use]
    pub fn relay(&self, upstream: UpstreamId) -> Option<&Relay> {
        self.relays.get(&upstream)
    }

    /// For tests that break what must hold.
    #[cfg(test)]
    pub(crate) fn relay_mut(&mut self, upstream: UpstreamId) -> &mut Relay {
        self.relays.get_mut(&upstream).expect("a test names a relay that it made")
    }

    #[must_use]
    pub fn number_of(&self, url: &RelayUrl) -> Option<UpstreamId> {
        self.relays.iter().find(|(_, relay)| relay.url == *url).map(|(id, _)| *id)
    }

    /// The operator's word: these relays in these roles. A bootstrap relay or a home that is no longer named is listed.
    pub fn name_relays(&mut self, named: &[(RelayUrl, Role)], now: Timestamp) {
        let roles: BTreeMap<&RelayUrl, Role> = named.iter().map(|(url, role)| (url, *role)).collect();
        for relay in self.relays.values_mut() {
            let role = roles.get(&relay.url).copied().unwrap_or(Role::Listed);
            if relay.role != role {
                relay.end_link(relay.last_up, now);
                relay.role = role;
            }
        }
        for (url, role) in roles {
            let number = self.number_for(url, now);
            if let Some(relay) = self.relays.get_mut(&number) {
                relay.role = role;
            }
        }
        self.retarget_all(now);
    }

    /// A socket to `upstream` is open: a new epoch begins (S8, S9). A former link whose end nobody reported ends here, and
    /// proves nothing about the time until now.
    ///
    /// # Errors
    /// The relay is unknown.
    pub fn up(&mut self, upstream: UpstreamId, now: Timestamp, roll: u64) -> Result<UpGranted, StateError> {
        let policy = self.policy.clone();
        let relay = self.relays.get_mut(&upstream).ok_or(StateError::NoSuchUpstream)?;
        if relay.is_up() {
            relay.end_link(relay.last_up, now);
        }
        let is_refresh_due = relay.refresh_at.is_some_and(|at| at <= now);
        let last_up = relay.last_up.filter(|_| !is_refresh_due);
        let resume = crate::resume::resume(last_up, now, policy.quick_reconnect_secs);
        let is_dated = relay.refresh_at.is_some_and(|at| at > now);
        if !is_dated {
            relay.refresh_at = Some(Timestamp::from_secs(now.as_secs() + refresh_after(policy.refresh_secs, roll)));
        }
        if resume == Resume::Fresh {
            relay.want_all(now);
            (relay.ask_at, relay.ask_failures) = (None, 0);
        }
        relay.epoch = Epoch(relay.epoch.0 + 1);
        relay.applied = crate::sequence::Applied::default();
        relay.layout_taken = relay.layout;
        relay.link = LinkView::Up { resume, opened: false, caught_up: false };
        Ok(UpGranted { epoch: relay.epoch, resume })
    }

    /// A session says since when something may be missed on its link.
    pub fn note_behind(&mut self, upstream: UpstreamId, behind: Option<Timestamp>) {
        if let Some(relay) = self.relays.get_mut(&upstream) {
            relay.behind = behind;
        }
    }

    /// Nobody renewed the lease of this link since `last_seen`: it ends, and is known good until then if it had caught up.
    pub fn lapse(&mut self, upstream: UpstreamId, last_seen: Timestamp, now: Timestamp) {
        if let Some(relay) = self.relays.get_mut(&upstream).filter(|relay| relay.is_up()) {
            let last_up = if relay.is_caught_up() { Some(last_seen) } else { relay.last_up };
            relay.end_link(last_up, now);
        }
    }

    /// The lease of `upstream` goes to another worker: a link that stands ends as in [`Self::lapse`], and what its session
    /// still says has an old epoch.
    ///
    /// # Errors
    /// The relay is unknown.
    pub fn lease(&mut self, upstream: UpstreamId, last_seen: Timestamp, now: Timestamp) -> Result<Epoch, StateError> {
        self.lapse(upstream, last_seen, now);
        let relay = self.relays.get_mut(&upstream).ok_or(StateError::NoSuchUpstream)?;
        relay.epoch = Epoch(relay.epoch.0 + 1);
        relay.applied = crate::sequence::Applied::default();
        Ok(relay.epoch)
    }

    /// Takes what a plan takes (S4, S14, S15).
    ///
    /// # Errors
    /// The relay is unknown, its link is down, or the epoch is not its own.
    pub fn claim(&mut self, claim: &Claim, now: Timestamp) -> Result<Claimed, StateError> {
        let relay = self.relays.get_mut(&claim.upstream).ok_or(StateError::NoSuchUpstream)?;
        if relay.epoch != claim.epoch || !relay.is_up() {
            return Err(StateError::Fenced);
        }
        if let Some(next) = claim.refresh {
            start_over(relay, next, now);
        }
        relay.rechunk(&claim.rechunk);
        let mut next_batch = self.last_batch;
        let batches = claim.drafts.iter().map(|draft| begin(relay, draft, &mut next_batch, now)).collect();
        self.last_batch = next_batch;
        Ok(Claimed { batches })
    }

    /// Ends batches past their deadline; answers with every upstream that has something to plan.
    pub fn sweep(&mut self, now: Timestamp) -> Vec<UpstreamId> {
        for relay in self.relays.values_mut() {
            let overdue: Vec<BatchId> =
                relay.batches.iter().filter(|(_, batch)| batch.deadline <= now).map(|(id, _)| *id).collect();
            for batch in overdue {
                relay.release_batch(batch);
            }
        }
        self.relays.keys().copied().filter(|id| self.is_due(*id, now)).collect()
    }
}

/// S15: release pending, clear confirmed, fresh; NIP-77 is probed again (S12).
fn start_over(relay: &mut Relay, next: Timestamp, now: Timestamp) {
    relay.want_all(now);
    relay.refresh_at = Some(next);
    relay.link = LinkView::Up { resume: Resume::Fresh, opened: false, caught_up: false };
    if matches!(relay.learned.nip77, Some(Nip77::Refused { .. })) {
        relay.learned.nip77 = None;
    }
}

/// A batch of all the draft's items, or nothing where one of them is not wanted any more.
fn begin(relay: &mut Relay, draft: &Draft, last_batch: &mut i64, now: Timestamp) -> Option<BatchId> {
    let is_wanted = |item| relay.rows.get(item).is_some_and(|row| row.status == Status::Wanted);
    if draft.items.is_empty() || !draft.items.iter().all(is_wanted) {
        return None;
    }
    *last_batch += 1;
    let batch = BatchId(*last_batch);
    for item in &draft.items {
        if let Some(row) = relay.rows.get_mut(item) {
            row.status = Status::Pending(batch);
            row.chunk = Some(draft.chunk);
        }
    }
    let deadline = Timestamp::from_secs(now.as_secs() + BATCH_START_SECS);
    relay.batches.insert(batch, Batch { epoch: relay.epoch, items: draft.items.iter().cloned().collect(), deadline });
    Some(batch)
}

#[cfg(test)]
mod tests;
