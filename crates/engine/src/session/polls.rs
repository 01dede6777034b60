//! Live filters without room for a subscription (I3): each in turn is asked for what came since its last proven end.

use model::{Filter, LiveFilter, Slot, Timestamp};

use super::deadlines::{Deadline, WaitsFor};
use super::live::LiveKey;
use super::unit::Purpose;
use super::words::{Now, UnitId};
use super::{RETRY_UNIT_MS, Session};
use crate::resume::overlapped;

/// A filter is asked for again this long (milliseconds) after it was read.
const POLL_EVERY_MS: u64 = 60_000;
/// The same where its news come with the broad filter: for kinds that are not among those.
const POLL_BESIDE_BROAD_MS: u64 = 3_600_000;
/// Between two polls of a link (milliseconds): many filters make a longer round, not more requests.
const POLL_SPACING_MS: u64 = 1_000;

#[derive(Debug, Clone)]
pub(super) struct Poll {
    pub(super) filter: Filter,
    /// Everything up to then was read.
    pub(super) read_until: Timestamp,
    /// What came before this link, or before there was no more room, was read.
    pub(super) is_caught_up: bool,
    /// The turn under way, and when it began.
    turn: Option<(UnitId, Timestamp)>,
    next_ms: u64,
    failures: u32,
}

impl Session {
    /// From now on `filter` is asked for in rotation; what came since `read_until` is still to be read.
    pub(super) fn poll(&mut self, LiveFilter { slot, filter }: LiveFilter, read_until: Timestamp, is_caught_up: bool) {
        let unread_since = self.take_live(LiveKey::Slot(slot));
        let is_caught_up = is_caught_up && unread_since.is_none();
        let read_until = unread_since.map_or(read_until, |since| read_until.min(since));
        match self.polls.get_mut(&slot) {
            Some(poll) => {
                poll.filter = filter;
                poll.read_until = poll.read_until.min(read_until);
            }
            None => {
                let poll = Poll { filter, read_until, is_caught_up, turn: None, next_ms: 0, failures: 0 };
                self.polls.insert(slot, poll);
            }
        }
    }

    /// As [`Self::poll`], for a chunk that may have grown further than this order knows.
    pub(super) fn join_poll(&mut self, LiveFilter { slot, filter }: LiveFilter, read_until: Timestamp, is_caught_up: bool) {
        let filter = self.grown(slot, filter);
        self.poll(LiveFilter { slot, filter }, read_until, is_caught_up);
    }

    /// This slot is open again, or gone: since when it was not read.
    pub(super) fn stop_polling(&mut self, slot: Slot) -> Option<Timestamp> {
        let poll = self.polls.remove(&slot)?;
        if let Some((unit, _)) = poll.turn {
            self.drop_unit(unit);
        }
        Some(poll.read_until)
    }

    /// The relay has no room for a live subscription that was open.
    pub(super) fn poll_instead(&mut self, key: LiveKey, now: Now) {
        let LiveKey::Slot(slot) = key else { return };
        let Some(live) = self.lives.get(&key) else { return };
        let filter = live.filter.clone();
        self.poll(LiveFilter { slot, filter }, now.wall, false);
    }

    /// Closes a live subscription; since when it has not read everything.
    fn take_live(&mut self, key: LiveKey) -> Option<Timestamp> {
        let live = self.lives.get_mut(&key)?;
        let (since, gap) = (live.unread_since(), live.gap.take());
        if let Some(gap) = gap {
            self.drop_unit(gap);
        }
        self.give_up_live(key);
        // S11: from now on news come by polling.
        self.live_stands(key);
        since
    }

    /// Gives the next filter its turn, if it is time.
    pub(super) fn start_poll(&mut self, now: Now) {
        let Some((due_ms, slot)) = self.next_poll() else { return };
        if now.ms < due_ms.max(self.asks_at()) {
            return;
        }
        let Some(poll) = self.polls.get(&slot) else { return };
        let filter = poll.filter.clone().since(overlapped(poll.read_until));
        let unit = self.queue_unit(Purpose::Poll(slot), filter, model::Method::Req);
        self.polled_ms = now.ms;
        if let Some(poll) = self.polls.get_mut(&slot) {
            poll.turn = Some((unit, now.wall));
        }
    }

    /// One at a time, the one that has waited longest.
    fn next_poll(&self) -> Option<(u64, Slot)> {
        if self.polls.values().any(|poll| poll.turn.is_some()) {
            return None;
        }
        let (slot, poll) = self.polls.iter().min_by_key(|(_, poll)| poll.next_ms)?;
        // What is needed to be caught up does not wait.
        let spaced_ms = if poll.is_caught_up { self.polled_ms + POLL_SPACING_MS } else { 0 };
        Some((poll.next_ms.max(spaced_ms), *slot))
    }

    pub(super) fn poll_deadline(&self) -> Option<Deadline> {
        let (due_ms, _) = self.next_poll()?;
        Some(Deadline { at_ms: due_ms.max(self.asks_at()), waits_for: WaitsFor::Turn })
    }

    /// A turn ended at a proven end, and everything in it has its outcome.
    pub(super) fn polled(&mut self, slot: Slot, now: Now) {
        let Some(poll) = self.polls.get_mut(&slot) else { return };
        let Some((_, began)) = poll.turn.take() else { return };
        poll.read_until = began;
        poll.is_caught_up = true;
        poll.failures = 0;
        let Some(poll) = self.polls.get(&slot) else { return };
        let every_ms = if self.is_with_broad(poll) { POLL_BESIDE_BROAD_MS } else { POLL_EVERY_MS };
        if let Some(poll) = self.polls.get_mut(&slot) {
            poll.next_ms = now.ms + every_ms;
        }
    }

    /// No broad filter brings the news any more: each has its turn within a round.
    pub(super) fn poll_soon(&mut self, now: Now) {
        for poll in self.polls.values_mut() {
            poll.next_ms = poll.next_ms.min(now.ms);
        }
    }

    /// A turn proved nothing: the next one reaches back as far, and comes ever later.
    pub(super) fn poll_failed(&mut self, slot: Slot, now: Now) {
        let Some(poll) = self.polls.get_mut(&slot) else { return };
        let Some((unit, _)) = poll.turn.take() else { return };
        poll.next_ms = now.ms + (RETRY_UNIT_MS << poll.failures.min(7));
        poll.failures += 1;
        self.drop_unit(unit);
    }
}
