//! What the relay's limits mean for a link: cooldowns that grow and heal (S18), room for subscriptions (I3).

use model::{Learned, Said};

use super::words::{Now, Output, UnitId};
use super::{MOST_REFUSALS, ROOM_MS, Session};
use crate::walk::{Manners, SMALLEST_CAP};

impl Session {
    /// S18: nothing new is asked until the cooldown is over; pages go on from their cursor.
    pub(super) fn pause(&mut self, now: Now) {
        let is_new = now.ms >= self.paused_until_ms;
        if !is_new {
            return;
        }
        let seconds = self.tempo.rate_limited(now.ms);
        self.paused_since_ms = now.ms;
        self.paused_until_ms = now.ms + seconds * 1000;
        self.out.push_back(Output::Report(Said::RateLimited { seconds }));
    }

    /// S18: a stretch of history that was read without a refusal heals the cooldown, and shows what pages the relay serves.
    pub(super) fn heal(&mut self) {
        self.tempo.ended_well();
        let Manners { largest_page, excludes_until, cuts_at: _, unproved: _, questions_refused: _, page_limit: _ } =
            self.manners;
        if largest_page > self.learned.page_cap.unwrap_or(SMALLEST_CAP) {
            self.learn(Learned { page_cap: Some(largest_page), ..Learned::default() });
        }
        if excludes_until && self.learned.excludes_until.is_none() {
            self.learn(Learned { excludes_until: Some(true), ..Learned::default() });
        }
    }

    /// Nothing new is asked for a moment: subscriptions of ours end meanwhile. No cooldown of the relay's.
    pub(super) fn wait_for_room(&mut self, refusals: u32, now: Now) {
        self.paused_until_ms = self.paused_until_ms.max(now.ms + (ROOM_MS << refusals.min(5)));
    }

    /// Whether a request may be sent now: no cooldown is on, the relay is not being told who we are, and the last one is long enough ago.
    pub(super) fn may_ask(&self, now: Now) -> bool {
        now.ms >= self.asks_at()
    }

    /// When the next request may be sent (milliseconds).
    pub(super) fn asks_at(&self) -> u64 {
        let tempo = self.tempo.asks_at().max(self.budget.settle_ms);
        self.paused_until_ms.max(tempo).max(self.auth.waits_until().unwrap_or(0))
    }

    /// A request is sent.
    pub(super) fn note_asked(&mut self, now: Now) {
        self.tempo.asked(now.ms);
    }

    /// One more refusal of this stretch, with nothing read in between: how many there were before. None when it is enough.
    pub(super) fn refused_again(&mut self, id: UnitId) -> Option<u32> {
        let unit = self.units.get_mut(&id)?;
        let before = unit.refusals;
        unit.refusals += 1;
        (before < MOST_REFUSALS).then_some(before)
    }

    /// Something of this stretch was read: the relay does not refuse it.
    pub(super) fn served(&mut self, id: UnitId, now: Now) {
        self.tempo.answered(now.ms);
        if let Some(unit) = self.units.get_mut(&id) {
            unit.refusals = 0;
        }
    }
}
