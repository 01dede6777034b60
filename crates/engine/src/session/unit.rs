//! Units: stretches of history, each one filter, fetched by pages or by an exchange to a proven end.

use std::collections::BTreeSet;

use model::{BatchCounts, BatchId, BatchOutcome, Filter, Incomplete, Method, Said, Slot};

use super::exchange::Exchange;
use super::faults::Faults;
use super::live::{LiveKey, LiveState};
use super::overflow::Window;
use super::refusal::{self, Refusal};
use super::words::{NO_ROOM, Now, Output, Request, UnitId};
use super::{Owner, RETRY_UNIT_MS, Session, SubNo};
use crate::refused::{Grounds, by_words};
use crate::room::Room;
use crate::walk::{EoseHint, Step, Walk};

/// What a unit is fetched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Layer 1.
    Announcements,
    /// What came between two links, or while a live subscription was lost (S9).
    Gap(LiveKey),
    Batch(BatchId),
    /// A turn of a live filter without room for a subscription.
    Poll(Slot),
    /// What was confirmed, once more (S9).
    Audit,
}

pub(super) fn batch_of(purpose: Purpose) -> Option<BatchId> {
    match purpose {
        Purpose::Batch(batch) => Some(batch),
        Purpose::Announcements | Purpose::Gap(_) | Purpose::Poll(_) | Purpose::Audit => None,
    }
}

#[derive(Debug, Clone)]
pub(super) struct Unit {
    pub(super) purpose: Purpose,
    pub(super) filter: Filter,
    /// The time of it that this unit reads.
    pub(super) window: Window,
    pub(super) stage: Stage,
    /// Events of this unit without a final outcome (I8).
    pub(super) unsettled: usize,
    pub(super) method: Method,
    /// Frames of it that could not be taken.
    pub(super) faults: Faults,
    /// Times that it failed.
    pub(super) failures: u32,
    /// Refusals for rate or number since it was last served.
    pub(super) refusals: u32,
    /// Last frame of this unit.
    pub(super) moved_ms: u64,
}

impl Unit {
    fn new(purpose: Purpose, filter: Filter, stage: Stage, method: Method) -> Self {
        Self {
            purpose,
            filter,
            window: Window::default(),
            stage,
            unsettled: 0,
            method,
            faults: Faults::default(),
            failures: 0,
            refusals: 0,
            moved_ms: 0,
        }
    }

    /// The filter that is asked for.
    pub(super) fn asked(&self) -> Filter {
        self.window.of(&self.filter)
    }
}

#[derive(Debug, Clone)]
pub(super) enum Stage {
    /// Not before this moment.
    Queued {
        at_ms: u64,
    },
    Exchange(Box<Exchange>),
    /// `page` is the subscription of the page in flight; none while the page waits to be asked for again.
    Walk {
        walk: Box<Walk>,
        page: Option<SubNo>,
    },
    /// Everything was read; events wait for their outcome.
    Settling,
}

/// A batch in hand.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    /// S11: live subscriptions that must stand before the history is asked for.
    pub(super) waits_for: BTreeSet<LiveKey>,
    pub(super) units: usize,
    pub(super) failed: Option<(Incomplete, String)>,
    pub(super) method: Method,
    pub(super) counts: BatchCounts,
}

impl Session {
    pub(super) fn queue_unit(&mut self, purpose: Purpose, filter: Filter, method: Method) -> UnitId {
        let id = self.next_unit();
        self.units.insert(id, Unit::new(purpose, filter, Stage::Queued { at_ms: 0 }, method));
        id
    }

    /// A walk whose first page was asked for together with a live subscription.
    pub(super) fn walk_in_flight(&mut self, purpose: Purpose, filter: Filter, sub: SubNo, now: Now) -> UnitId {
        let id = self.next_unit();
        let stage = Stage::Walk { walk: Box::new(Walk::of_news(filter.clone(), self.manners)), page: Some(sub) };
        self.units.insert(id, Unit { moved_ms: now.ms, ..Unit::new(purpose, filter, stage, Method::Req) });
        id
    }

    /// Starts queued units, as many as may be in flight, gaps before others, each in order.
    pub(super) fn start_units(&mut self, now: Now) {
        if !self.may_ask(now) {
            return;
        }
        let mut free = self.free_units();
        let mut queued: Vec<UnitId> =
            self.units.iter().filter(|(_, unit)| self.may_start(unit, now)).map(|(id, _)| *id).collect();
        // A gap first: `last up` stands still until it is read.
        queued.sort_by_key(|id| self.units.get(id).is_none_or(|unit| !matches!(unit.purpose, Purpose::Gap(_))));
        for id in queued {
            if free == 0 || !self.may_ask(now) {
                return;
            }
            // What was started before may be in the way of it.
            let may_start = self.units.get(&id).is_some_and(|unit| self.may_start(unit, now));
            if may_start && self.start_unit(id, now) {
                free -= 1;
            }
        }
    }

    fn may_start(&self, unit: &Unit, now: Now) -> bool {
        let Stage::Queued { at_ms } = unit.stage else { return false };
        let live_first = match unit.purpose {
            Purpose::Batch(batch) => self.batches.get(&batch).is_some_and(|batch| batch.waits_for.is_empty()),
            Purpose::Announcements => self.lives.get(&LiveKey::Announcements).is_some_and(super::live::Live::is_standing),
            Purpose::Gap(_) | Purpose::Poll(_) => true,
            Purpose::Audit => self.may_audit(),
        };
        live_first && now.ms >= at_ms
    }

    /// Answers whether the unit is under way now: an exchange waits while another one is unanswered on a link whose
    /// NIP-77 is not proved, because a refusal by NOTICE would not say which one it means.
    fn start_unit(&mut self, id: UnitId, now: Now) -> bool {
        let Some(unit) = self.units.get(&id) else { return false };
        let has_room = Room::of(&self.learned).exchange_bytes().is_some();
        let by_exchange = unit.method == Method::Negentropy && has_room && !self.refuses_negentropy();
        if by_exchange {
            return self.start_exchange(id, now);
        }
        if unit.purpose == Purpose::Audit {
            self.unit_failed(id, Incomplete::Closed, "it has no NIP-77", now);
            return false;
        }
        let has_room = self.room() > 0;
        if has_room {
            self.start_walk(id, now);
        }
        has_room
    }

    pub(super) fn start_walk(&mut self, id: UnitId, now: Now) {
        let (sub, manners) = (self.new_sub(Owner::Page(id), now), self.manners);
        let Some(unit) = self.units.get_mut(&id) else { return };
        let walk = Box::new(match unit.purpose {
            Purpose::Gap(_) | Purpose::Poll(_) => Walk::of_news(unit.asked(), manners),
            Purpose::Announcements | Purpose::Batch(_) | Purpose::Audit => Walk::new(unit.asked(), manners),
        });
        let filter = walk.request();
        unit.method = Method::Req;
        unit.moved_ms = now.ms;
        unit.stage = Stage::Walk { walk, page: Some(sub) };
        self.note_asked(now);
        self.send(Request::Req { sub: sub.to_string(), filter });
    }

    /// The page in flight reached its EOSE.
    pub(super) fn page_ended(&mut self, id: UnitId, hint: EoseHint, now: Now) {
        let Some(unit) = self.units.get_mut(&id) else { return };
        let Stage::Walk { walk, page } = &mut unit.stage else { return };
        *page = None;
        unit.moved_ms = now.ms;
        let step = walk.page_ended(hint, &mut self.manners);
        self.served(id, now);
        self.moved(id, 1);
        self.take_step(id, step, now);
    }

    fn take_step(&mut self, id: UnitId, step: Step, now: Now) {
        match step {
            Step::Page(_) => self.ask_page(id, now),
            Step::Complete => self.all_read(id, now),
            Step::Incomplete(Incomplete::Faulty) => {
                let words = self.units.get(&id).map(|unit| unit.faults.words()).unwrap_or_default();
                self.unit_failed(id, Incomplete::Faulty, &words, now);
            }
            Step::Incomplete(why) => self.unit_failed(id, why, "", now),
        }
    }

    /// A page that got no answer: a walk goes on without the answer to a question beside what it reads.
    pub(super) fn page_refused(&mut self, id: UnitId, why: Incomplete, text: &str, now: Now) {
        let step = match self.units.get_mut(&id).map(|unit| &mut unit.stage) {
            Some(Stage::Walk { walk, page }) => {
                *page = None;
                walk.calibration_refused(&mut self.manners)
            }
            Some(Stage::Queued { .. } | Stage::Exchange(_) | Stage::Settling) | None => None,
        };
        match step {
            Some(step) => self.take_step(id, step, now),
            None => self.unit_failed(id, why, text, now),
        }
    }

    /// Asks for the page that the walk stands at, unless a cooldown or the last request holds it back.
    fn ask_page(&mut self, id: UnitId, now: Now) {
        if !self.may_ask(now) || self.room() == 0 {
            return;
        }
        let sub = self.new_sub(Owner::Page(id), now);
        let Some(Unit { stage: Stage::Walk { walk, page }, moved_ms, .. }) = self.units.get_mut(&id) else { return };
        *page = Some(sub);
        *moved_ms = now.ms;
        let filter = walk.request();
        self.note_asked(now);
        self.send(Request::Req { sub: sub.to_string(), filter });
    }

    /// Pages without a frame since a rate limit was said were cut by it: they are asked for again, from the same cursor.
    pub(super) fn hold_cut_pages(&mut self, since_ms: u64) {
        let mut cut = Vec::new();
        for unit in self.units.values_mut().filter(|unit| unit.moved_ms <= since_ms) {
            let Stage::Walk { walk, page } = &mut unit.stage else { continue };
            let is_own = |sub: &SubNo| matches!(self.subs.get(sub), Some(Owner::Page(_)));
            if let Some(sub) = page.take_if(|sub| is_own(sub)) {
                walk.restart_page();
                cut.push(sub);
            }
        }
        for sub in cut {
            self.close(sub);
        }
    }

    /// Pages that waited for a cooldown are asked for.
    pub(super) fn ask_held_pages(&mut self, now: Now) {
        let held: Vec<UnitId> = self
            .units
            .iter()
            .filter(|(_, unit)| matches!(unit.stage, Stage::Walk { page: None, .. }))
            .map(|(id, _)| *id)
            .collect();
        for id in held {
            self.ask_page(id, now);
        }
    }

    /// The relay closed the page in flight.
    pub(super) fn page_closed(&mut self, id: UnitId, text: &str, now: Now) {
        let refusal = refusal::read(text);
        let is_repeated = refusal == Refusal::AuthRequired && self.waits_for_auth(now);
        let Some(Unit { stage: Stage::Walk { walk, page }, .. }) = self.units.get_mut(&id) else { return };
        *page = None;
        match refusal {
            Refusal::AuthRequired if is_repeated => return walk.restart_page(),
            Refusal::AuthRequired => return self.page_refused(id, Incomplete::AuthRequired, text, now),
            Refusal::TooLarge | Refusal::TimedOut | Refusal::Other => {
                let why = by_words(text).map_or(Incomplete::Closed, Grounds::incomplete);
                return self.page_refused(id, why, text, now);
            }
            Refusal::RateLimited | Refusal::Quota | Refusal::TooManySubscriptions => walk.restart_page(),
        }
        let Some(before) = self.refused_again(id) else {
            let is_rate = refusal == Refusal::RateLimited;
            return self.page_refused(id, if is_rate { Incomplete::RateLimited } else { Incomplete::Closed }, text, now);
        };
        self.slow_down(refusal, before, now);
    }

    /// The page in flight had no room beside other subscriptions: it is asked for again when they have ended.
    pub(super) fn page_without_room(&mut self, id: UnitId, now: Now) {
        let Some(Unit { stage: Stage::Walk { walk, page }, moved_ms, .. }) = self.units.get_mut(&id) else { return };
        *page = None;
        *moved_ms = now.ms;
        walk.restart_page();
        match self.refused_again(id) {
            Some(before) => self.wait_for_room(before, now),
            None => self.page_refused(id, Incomplete::Closed, NO_ROOM, now),
        }
    }

    /// The relay refused one request for its rate, or because there are others: it is sent again later.
    pub(super) fn slow_down(&mut self, refusal: Refusal, refusals: u32, now: Now) {
        match refusal {
            Refusal::RateLimited => self.pause(now),
            Refusal::Quota => {
                self.tempo.too_many(now.ms);
                self.wait_for_room(refusals, now);
            }
            // Others of ours will end meanwhile.
            Refusal::TooManySubscriptions => self.wait_for_room(refusals, now),
            Refusal::AuthRequired | Refusal::TooLarge | Refusal::TimedOut | Refusal::Other => {}
        }
    }

    /// Everything was read; the unit is done when its events are settled.
    pub(super) fn all_read(&mut self, id: UnitId, now: Now) {
        self.heal();
        if let Some(unit) = self.units.get_mut(&id) {
            unit.stage = Stage::Settling;
            unit.moved_ms = now.ms;
        }
        self.finish_if_settled(id, now);
    }

    /// I8, S13: complete only when nothing waits for its outcome, and no frame of it was faulty.
    pub(super) fn finish_if_settled(&mut self, id: UnitId, now: Now) {
        let is_done = self.units.get(&id).is_some_and(|unit| matches!(unit.stage, Stage::Settling) && unit.unsettled == 0);
        if !is_done {
            return;
        }
        if let Some(words) = self.fault_of(id, now) {
            return self.unit_failed(id, Incomplete::Faulty, &words, now);
        }
        let Some(unit) = self.units.remove(&id) else { return };
        self.forget_overflows();
        match unit.purpose {
            Purpose::Batch(batch) => self.batch_unit_ended(batch, unit.method, None),
            Purpose::Poll(slot) => self.polled(slot, now),
            Purpose::Audit => self.audit_unit_ended(None),
            Purpose::Announcements | Purpose::Gap(_) => {}
        }
    }

    /// A unit that cannot be completed now. What every link needs is tried again; a batch goes back to the planner.
    pub(super) fn unit_failed(&mut self, id: UnitId, why: Incomplete, text: &str, now: Now) {
        let Some(unit) = self.units.get(&id) else { return };
        match unit.purpose {
            Purpose::Batch(batch) => {
                let method = unit.method;
                self.drop_unit(id);
                self.batch_unit_ended(batch, method, Some((why, text.to_owned())));
            }
            Purpose::Announcements | Purpose::Gap(_) => self.read_later(id, now),
            Purpose::Poll(slot) => self.poll_failed(slot, now),
            Purpose::Audit => {
                self.drop_unit(id);
                self.audit_unit_ended(Some((why, text.to_owned())));
            }
        }
    }

    /// Reads a stretch anew, from its beginning, ever later. It is a unit of its own: an outcome that comes late settles
    /// nothing of what is read again.
    fn read_later(&mut self, id: UnitId, now: Now) {
        let Some(Unit { purpose, filter, window, method, failures, .. }) = self.drop_unit(id) else { return };
        let again = self.queue_unit(purpose, filter, method);
        if let Some(unit) = self.units.get_mut(&again) {
            unit.stage = Stage::Queued { at_ms: now.ms + (RETRY_UNIT_MS << failures.min(7)) };
            unit.failures = failures + 1;
            unit.window = window;
        }
    }

    /// Forgets a unit and closes what it has open.
    pub(super) fn drop_unit(&mut self, id: UnitId) -> Option<Unit> {
        let mut unit = self.units.remove(&id)?;
        match std::mem::replace(&mut unit.stage, Stage::Queued { at_ms: 0 }) {
            Stage::Walk { page: Some(sub), .. } if matches!(self.subs.get(&sub), Some(Owner::Page(_))) => self.close(sub),
            Stage::Exchange(exchange) => self.drop_exchange(id, *exchange),
            Stage::Walk { .. } | Stage::Queued { .. } | Stage::Settling => {}
        }
        self.forget_overflows();
        Some(unit)
    }

    fn batch_unit_ended(&mut self, id: BatchId, method: Method, failed: Option<(Incomplete, String)>) {
        let Some(batch) = self.batches.get_mut(&id) else { return };
        batch.units -= 1;
        batch.failed = batch.failed.take().or(failed);
        if method == Method::Req {
            batch.method = Method::Req;
        }
        if batch.units == 0 {
            self.end_batch(id);
        }
    }

    /// Ends a batch at once, with all that it has in flight.
    pub(super) fn fail_batch(&mut self, id: BatchId, why: Incomplete, detail: String) {
        let of_batch = |unit: &Unit| unit.purpose == Purpose::Batch(id);
        let units: Vec<UnitId> = self.units.iter().filter(|(_, unit)| of_batch(unit)).map(|(id, _)| *id).collect();
        for unit in units {
            self.drop_unit(unit);
        }
        if let Some(batch) = self.batches.get_mut(&id) {
            batch.failed = Some((why, detail));
            self.end_batch(id);
        }
    }

    fn end_batch(&mut self, id: BatchId) {
        let Some(batch) = self.batches.remove(&id) else { return };
        let outcome = match batch.failed {
            None => BatchOutcome::Complete,
            Some((why, detail)) => BatchOutcome::Incomplete { why, detail },
        };
        self.moved.remove(&id);
        self.out.push_back(Output::Report(Said::BatchEnded { batch: id, outcome, method: batch.method, counts: batch.counts }));
    }

    /// Progress of a unit: its batch's deadline moves.
    pub(super) fn moved(&mut self, id: UnitId, rounds: u64) {
        let Some(Purpose::Batch(batch)) = self.units.get(&id).map(|unit| unit.purpose) else { return };
        if let Some(in_hand) = self.batches.get_mut(&batch) {
            in_hand.counts.rounds += rounds;
            self.moved.insert(batch);
        }
    }

    /// Whether the stored part of a live subscription is still being read into this unit.
    pub(super) fn is_reading(&self, key: LiveKey, sub: SubNo) -> Option<UnitId> {
        let live = self.lives.get(&key)?;
        match live.state {
            LiveState::Opening { sub: opening, .. } if opening == sub => live.gap,
            LiveState::Opening { .. } | LiveState::Standing { .. } | LiveState::Lost { .. } => None,
        }
    }
}
