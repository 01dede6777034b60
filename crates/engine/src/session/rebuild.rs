//! Rebuilding the live subscriptions of a link (S14): the new ones stand before the old ones are closed, where the relay has room
//! for both.

use std::collections::BTreeSet;

use model::{LiveFilter, Slot, Timestamp};

use super::Session;
use super::live::{Live, LiveKey};
use super::words::Now;
use crate::resume::{overlapped, unoverlapped};

impl Session {
    /// S14: these and no others, opened before the old ones are closed.
    pub(super) fn rebuild(&mut self, live: Vec<LiveFilter>, polled: Vec<LiveFilter>, since: Timestamp, now: Now) {
        // Items change their places: each may come from where the least was read.
        let since = self.behind_since().map(overlapped).into_iter().chain([since]).min().unwrap_or(since);
        let wanted: BTreeSet<LiveKey> = live.iter().map(|live| LiveKey::Slot(live.slot)).collect();
        let staying: BTreeSet<Slot> = polled.iter().map(|polled| polled.slot).collect();
        for LiveFilter { slot, filter } in live {
            let key = LiveKey::Slot(slot);
            // A chunk that is as it was needs nothing.
            if self.lives.get(&key).is_none_or(|live| live.filter != filter || live.unread_since().is_some()) {
                self.open_live(key, filter, Some(since), now);
            }
        }
        for filter in polled {
            self.poll(filter, unoverlapped(since), false);
        }
        let gone: Vec<Slot> = self.polls.keys().filter(|slot| !staying.contains(slot)).copied().collect();
        for slot in gone {
            self.stop_polling(slot);
        }
        self.rebuilding = Some(wanted);
        self.finish_rebuild();
    }

    /// Whether `key` is to replace what stood before.
    pub(super) fn is_rebuilt(&self, key: LiveKey) -> bool {
        self.rebuilding.as_ref().is_some_and(|wanted| wanted.contains(&key))
    }

    /// A subscription was refused: if it was to replace another, that one may have taken its room.
    pub(super) fn make_room_for(&mut self, key: LiveKey) {
        if self.is_rebuilt(key) {
            self.close_surplus();
            self.finish_rebuild();
        }
    }

    pub(super) fn finish_rebuild(&mut self) {
        let Some(wanted) = &self.rebuilding else { return };
        let stands = |key: &LiveKey| self.lives.get(key).is_none_or(Live::is_standing);
        if wanted.iter().all(stands) {
            self.close_surplus();
            self.rebuilding = None;
        }
    }

    /// Closes what a rebuild leaves out.
    fn close_surplus(&mut self) {
        let Some(wanted) = &self.rebuilding else { return };
        let surplus: Vec<LiveKey> =
            self.lives.keys().filter(|key| matches!(key, LiveKey::Slot(_)) && !wanted.contains(key)).copied().collect();
        for key in surplus {
            self.give_up_live(key);
            self.end_waiting_for(key, "its live subscriptions were rebuilt");
        }
    }
}
