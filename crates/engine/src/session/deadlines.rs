//! Deadlines: what a session waits for, until when, and what it does when nothing came. Only progress moves one.

use model::Incomplete;

use super::live::LiveKey;
use super::unit::{Stage, Unit};
use super::words::{Now, UnitId};
use super::{Owner, Session, SubNo};

/// A page without a frame for this long (milliseconds) is given up; a page that moves has no limit.
pub(super) const PAGE_IDLE_MS: u64 = 30_000;
/// Events that were read and no outcome of any event on the whole link for this long (milliseconds): what waits is given
/// back. Home may take one event a minute from a link that shares it with fifty others.
const OUTCOME_MS: u64 = 900_000;

/// When to wake a session, and what it waits for until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    /// On the clock of [`super::Now::ms`].
    pub at_ms: u64,
    pub waits_for: WaitsFor,
}

/// What a session waits for. Closed, so that a log line or a metric can name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitsFor {
    /// The next frame of a page.
    Page,
    /// The shell loads the ledger's set.
    Set,
    /// The first word to NEG-OPEN.
    FirstReply,
    /// The next message of an exchange.
    Round,
    /// Events that were asked for by their ids.
    Ids,
    /// Home's word on events that were read.
    Outcomes,
    /// The moment at which something that failed is tried again.
    Retry,
    /// The turn of a filter that is polled.
    Turn,
    /// The EOSE of a live subscription.
    Standing,
    /// The end of a cooldown, or of the distance to the last request.
    Cooldown,
}

impl WaitsFor {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Set => "set",
            Self::FirstReply => "first-reply",
            Self::Round => "round",
            Self::Ids => "ids",
            Self::Outcomes => "outcomes",
            Self::Retry => "retry",
            Self::Turn => "turn",
            Self::Standing => "standing",
            Self::Cooldown => "cooldown",
        }
    }

    /// Whether it is the relay that must move: then a cooldown of the relay's holds the deadline back.
    fn is_of_relay(self) -> bool {
        !matches!(self, Self::Set | Self::Outcomes)
    }
}

impl Session {
    /// When to call with [`super::Input::Tick`] (milliseconds), if nothing happens before.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        self.next_deadline().map(|deadline| deadline.at_ms)
    }

    /// The same, with what is waited for.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Deadline> {
        let units = self.units.values().filter_map(|unit| self.unit_deadline(unit)).min();
        // What a pause holds back has no deadline of its own.
        let pause_ends = Deadline { at_ms: self.paused_until_ms.max(self.held_until_ms), waits_for: WaitsFor::Cooldown };
        let others = self.lives_deadline().into_iter().chain(self.poll_deadline());
        units.into_iter().chain(others).chain((pause_ends.at_ms > 0).then_some(pause_ends)).min()
    }

    fn unit_deadline(&self, unit: &Unit) -> Option<Deadline> {
        let (at_ms, waits_for) = match &unit.stage {
            Stage::Walk { page: Some(_), .. } => (unit.moved_ms + PAGE_IDLE_MS, WaitsFor::Page),
            Stage::Exchange(exchange) => match exchange.wait() {
                Some((limit, waits_for)) => (unit.moved_ms + limit, waits_for),
                None if unit.unsettled > 0 => (self.outcome_deadline(unit), WaitsFor::Outcomes),
                None => return None,
            },
            Stage::Queued { at_ms } if *at_ms > 0 => (*at_ms, WaitsFor::Retry),
            Stage::Settling => (self.outcome_deadline(unit), WaitsFor::Outcomes),
            Stage::Queued { .. } | Stage::Walk { page: None, .. } => return None,
        };
        let at_ms = if waits_for.is_of_relay() { at_ms.max(self.paused_until_ms) } else { at_ms };
        Some(Deadline { at_ms, waits_for })
    }

    /// Outcomes come in the order of home, whosever they are: any of them shows that home moves.
    fn outcome_deadline(&self, unit: &Unit) -> u64 {
        unit.moved_ms.max(self.settled_ms) + OUTCOME_MS
    }

    /// What is overdue among units.
    pub(super) fn tick_units(&mut self, now: Now) {
        let overdue: Vec<(UnitId, WaitsFor)> = self
            .units
            .iter()
            .filter_map(|(id, unit)| self.unit_deadline(unit).map(|deadline| (*id, deadline)))
            .filter(|(_, deadline)| now.ms >= deadline.at_ms)
            .map(|(id, deadline)| (id, deadline.waits_for))
            .collect();
        for (id, waits_for) in overdue {
            match waits_for {
                WaitsFor::Page => self.page_idle(id, now),
                WaitsFor::FirstReply | WaitsFor::Round | WaitsFor::Ids => self.exchange_overdue(id, now),
                WaitsFor::Set => self.unit_failed(id, Incomplete::NotLoaded, "the ledger's set did not come", now),
                WaitsFor::Outcomes => self.unit_failed(id, Incomplete::Unsettled, "home gave no outcome", now),
                WaitsFor::Retry => self.unit_is_due(id),
                WaitsFor::Turn | WaitsFor::Standing | WaitsFor::Cooldown => {}
            }
        }
    }

    /// The wait of a unit is over: from now on it waits for its turn, not for a moment.
    fn unit_is_due(&mut self, id: UnitId) {
        if let Some(unit) = self.units.get_mut(&id) {
            unit.stage = Stage::Queued { at_ms: 0 };
        }
    }

    /// No frame of the page for the idle limit: it proves nothing, and its cursor does not move.
    fn page_idle(&mut self, id: UnitId, now: Now) {
        let page = match self.units.get(&id).map(|unit| &unit.stage) {
            Some(Stage::Walk { page, .. }) => *page,
            Some(Stage::Queued { .. } | Stage::Exchange(_) | Stage::Settling) | None => return,
        };
        match page.and_then(|sub| self.live_of(sub)) {
            Some((key, sub)) => {
                self.close(sub);
                self.live_closed(key, sub, Incomplete::Idle, "no EOSE", now);
            }
            None => {
                if let Some(sub) = page {
                    self.close(sub);
                }
                self.page_refused(id, Incomplete::Idle, "no frame of the page in time", now);
            }
        }
    }

    fn live_of(&self, sub: SubNo) -> Option<(LiveKey, SubNo)> {
        match self.subs.get(&sub)? {
            Owner::Live(key) => Some((*key, sub)),
            Owner::Page(_) | Owner::Ids(_) | Owner::Exchange(_) => None,
        }
    }
}
