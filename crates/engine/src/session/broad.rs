//! One live subscription by kinds for all that has no room for filters of its own (I3), on GRASP peers only.
//!
//! Owns: when it is open, which of its events are wanted. Never: what confirms: history is read by the items' own filters, and so,
//! once in a while, is what kinds alone may miss.

use model::{Event, Timestamp};

use super::frames::is_match;
use super::live::{LiveKey, LiveState};
use super::polls::Poll;
use super::unit::{Purpose, Unit};
use super::words::{Now, UnitId};
use super::{Owner, Session};
use crate::filters;
use crate::room::Room;

/// Refusals or losses in a row, after which it is not asked for again on this link.
const MOST_LOSSES: u32 = 3;

#[derive(Debug, Default)]
pub(super) struct Broad {
    /// Since when it has stood; what was read up to then, or later, is live.
    stands_since: Option<Timestamp>,
    is_given_up: bool,
    /// Events that it brought and nothing wanted.
    unwanted: u64,
}

impl Session {
    /// Opens it when something has no room, closes it when everything has.
    pub(super) fn tend_broad(&mut self, now: Now) {
        let is_needed = Room::of(&self.learned).is_grasp && !self.polls.is_empty() && !self.broad.is_given_up;
        match self.lives.get(&LiveKey::Broad) {
            None if is_needed => self.open_live(LiveKey::Broad, filters::broad(), None, now),
            Some(_) if !is_needed => self.end_broad(now),
            Some(live) if live.refusals >= MOST_LOSSES && matches!(live.state, LiveState::Lost { .. }) => {
                self.broad.is_given_up = true;
                self.end_broad(now);
            }
            Some(_) | None => {}
        }
    }

    fn end_broad(&mut self, now: Now) {
        self.give_up_live(LiveKey::Broad);
        self.broad.stands_since = None;
        self.poll_soon(now);
    }

    pub(super) fn broad_stands(&mut self, now: Now) {
        self.broad.stands_since.get_or_insert(now.wall);
    }

    /// Whether the news of a filter come with the broad one: its own turns are rare then.
    pub(super) fn is_with_broad(&self, poll: &Poll) -> bool {
        poll.is_caught_up && self.broad.stands_since.is_some_and(|since| poll.read_until >= since)
    }

    /// Whether an event of this subscription came with the broad filter and is of nothing that we want.
    pub(super) fn is_beside_what_is_wanted(&self, owner: Owner, event: &Event) -> bool {
        let of_broad = |id: UnitId| matches!(self.units.get(&id), Some(Unit { purpose: Purpose::Gap(LiveKey::Broad), .. }));
        let is_of_broad = match owner {
            Owner::Live(key) => key == LiveKey::Broad,
            Owner::Page(id) => of_broad(id),
            Owner::Ids(_) | Owner::Exchange(_) => false,
        };
        is_of_broad && !self.is_of_an_item(event)
    }

    fn is_of_an_item(&self, event: &Event) -> bool {
        let of_live = || {
            let slots = self.lives.iter().filter(|(key, _)| matches!(key, LiveKey::Slot(_)));
            slots.into_iter().any(|(_, live)| is_match(&live.filter, event))
        };
        self.polls.values().any(|poll| is_match(&poll.filter, event)) || of_live()
    }

    pub(super) fn count_unwanted(&mut self) {
        self.broad.unwanted += 1;
    }

    /// Events of the broad filter that nothing wanted: dropped, and no breach of the relay's.
    #[must_use]
    pub fn unwanted(&self) -> u64 {
        self.broad.unwanted
    }
}
