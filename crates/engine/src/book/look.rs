//! The planner's view of one relay, and which relays it should look at.

use std::collections::{BTreeMap, BTreeSet};

use model::{Covered, Item, ItemKind, LinkView, Role, Snapshot, StateError, Tail, Timestamp, UpstreamId};

use super::{Book, Relay, Row, Status};
use crate::consolidation;
use crate::rules::{HOME_FIRST_SECS, MISSING_PER_LOOK, Policy, WANTED_ORDER};

impl Book {
    /// One look at `upstream`.
    ///
    /// # Errors
    /// The relay is unknown.
    pub fn snapshot(&self, upstream: UpstreamId, now: Timestamp) -> Result<Snapshot, StateError> {
        let relay = self.relays.get(&upstream).ok_or(StateError::NoSuchUpstream)?;
        let missing = self.missing(relay, now);
        let (counts, chunks) = (relay.counts(), relay.chunks());
        let (rebuild, limit) = (relay.rebuild(), limit(&self.policy, relay));
        let needs_covered = consolidation::needs_covered(&relay.link, rebuild, (chunks, relay.members()), limit);
        Ok(Snapshot {
            upstream,
            url: relay.url.clone(),
            role: relay.role,
            epoch: relay.epoch,
            link: relay.link,
            learned: relay.learned.clone(),
            now,
            wanted: counts.wanted,
            pending: counts.pending,
            confirmed: counts.confirmed,
            batches_in_flight: relay.batches.len(),
            tails: tails(relay, &missing),
            missing,
            chunks,
            layout: relay.layout,
            rebuild,
            covered: needs_covered.then(|| covered(relay)),
            refresh_at: relay.refresh_at.unwrap_or(Timestamp::max()),
            ask_at: relay.ask_at,
            empty_since: relay.empty_since,
        })
    }

    /// Whether the planner would find something to do.
    pub(super) fn is_due(&self, upstream: UpstreamId, now: Timestamp) -> bool {
        let Some(relay) = self.relays.get(&upstream) else { return false };
        let LinkView::Up { opened, .. } = relay.link else { return false };
        let may_ask = relay.ask_at.is_none_or(|at| at <= now);
        let is_missing = relay.rows.iter().any(|(item, row)| self.may_be_asked_for(relay, item, row, now));
        let is_refresh_due = relay.refresh_at.is_some_and(|at| at <= now);
        let is_empty = relay.role == Role::Listed && relay.empty_since.is_some();
        !opened || relay.rebuild().is_some() || is_refresh_due || is_empty || (may_ask && is_missing)
    }

    /// What may be asked for now: participants, repos, roots; items that have a place before those that need one; cut at a bound.
    fn missing(&self, relay: &Relay, now: Timestamp) -> Vec<Covered> {
        let is_missing = |(item, row): &(&Item, &Row)| self.may_be_asked_for(relay, item, row, now);
        let mut missing: Vec<Covered> = relay.rows.iter().filter(is_missing).map(placed).collect();
        let place = |kind| WANTED_ORDER.iter().position(|wanted| *wanted == kind);
        missing.sort_by_key(|covered| (place(covered.item.kind()), covered.chunk.is_none(), covered.chunk));
        missing.truncate(MISSING_PER_LOOK);
        missing
    }

    /// A wanted item waits for home's own coverage of it, but not long. Without a home there is nothing to wait for.
    fn may_be_asked_for(&self, relay: &Relay, item: &Item, row: &Row, now: Timestamp) -> bool {
        let home = self.relays.values().find(|relay| relay.role == Role::Home);
        let at_home = home.and_then(|home| home.rows.get(item));
        let is_open = |row: &Row| row.status != Status::Confirmed;
        // What home has deleted is known before anything is written that it may be.
        let deletes =
            |(item, row): (&Item, &Row)| item.kind() == ItemKind::Participant && is_open(row) && relay.rows.contains_key(item);
        let knows_deletions = || !home.is_some_and(|home| home.rows.iter().any(deletes));
        let waits_for_home = relay.role != Role::Home && (at_home.is_some_and(is_open) || !knows_deletions());
        let has_waited = now.as_secs() >= row.wanted_at.as_secs() + HOME_FIRST_SECS;
        row.status == Status::Wanted && (has_waited || !waits_for_home)
    }
}

fn placed((item, row): (&Item, &Row)) -> Covered {
    Covered { item: item.clone(), chunk: row.chunk }
}

fn limit(policy: &Policy, relay: &Relay) -> usize {
    relay.learned.live_limit.unwrap_or(usize::MAX).min(policy.live_limit)
}

/// The highest chunk of each kind and every chunk that misses something, each with all its members: a live filter names
/// them all, whatever their state.
fn tails(relay: &Relay, missing: &[Covered]) -> Vec<Tail> {
    [ItemKind::Repo, ItemKind::Root, ItemKind::Participant]
        .into_iter()
        .flat_map(|kind| tails_of(relay, kind, missing))
        .collect()
}

fn tails_of(relay: &Relay, kind: ItemKind, missing: &[Covered]) -> Vec<Tail> {
    let mut chunks: BTreeMap<u32, Vec<Item>> = BTreeMap::new();
    for (chunk, item) in relay.placed(kind) {
        chunks.entry(chunk).or_default().push(item.clone());
    }
    let highest = chunks.keys().next_back().copied();
    let in_missing = missing.iter().filter(|covered| covered.item.kind() == kind).filter_map(|covered| covered.chunk);
    let shown: BTreeSet<u32> = in_missing.chain(highest).collect();
    chunks.into_iter().filter(|(chunk, _)| shown.contains(chunk)).map(|(chunk, items)| Tail { chunk, items }).collect()
}

/// Pending and confirmed items, in the order of their chunks.
fn covered(relay: &Relay) -> Vec<Covered> {
    let is_covered = |(_, row): &(&Item, &Row)| row.status != Status::Wanted;
    let mut covered: Vec<Covered> = relay.rows.iter().filter(is_covered).map(placed).collect();
    covered.sort_by_key(|covered| (covered.item.kind(), covered.chunk));
    covered
}
