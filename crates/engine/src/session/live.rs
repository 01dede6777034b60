//! Live subscriptions: opened before the history of the same filter (S11), replaced by opening the new one before the
//! old one is closed.

use model::{BatchId, Filter, Incomplete, Learned, Method, Slot, Timestamp};

use super::deadlines::{Deadline, WaitsFor};
use super::refusal::{self, Refusal};
use super::unit::{Purpose, Stage};
use super::words::{NO_ROOM, Now, Request, UnitId};
use super::{OPEN_LIMIT_MS, Owner, REOPEN_MS, STEADY_MS, Session, SubNo};
use crate::refused::{Grounds, by_words};
use crate::resume::{overlapped, unoverlapped};
use crate::rules::REFS_PER_FILTER;
use crate::walk::EoseHint;

/// News only (`limit: 0`) has nothing to read before its EOSE: no relay needs longer (milliseconds).
pub(super) const LIMIT_ZERO_MS: u64 = 8_000;
/// Stored events despite `limit: 0`; one or two may be news that came just before the EOSE.
const STORED_DESPITE_ZERO: usize = 3;
/// Refusals in a row for want of room, after which a live subscription is not asked for again on this link.
const REFUSED_FOR_ROOM: u32 = 3;

/// What a live subscription is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LiveKey {
    /// Layer 1.
    Announcements,
    /// One by kinds, for all that has no room for filters of its own.
    Broad,
    /// Layers 2 and 3.
    Slot(Slot),
}

#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) filter: Filter,
    pub(super) state: LiveState,
    /// The history that came with it, while its stored part is being sent.
    pub(super) gap: Option<UnitId>,
    /// What was stored since then is read too.
    pub(super) since: Option<Timestamp>,
    /// Refusals and losses in a row.
    pub(super) refusals: u32,
    pub(super) stood_ms: u64,
}

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one for each live subscription, at most 70 on a link")]
pub(super) enum LiveState {
    /// Asked for; `former` stays open until this one stands.
    Opening {
        sub: SubNo,
        asked_ms: u64,
        /// Asked with `limit: 0`.
        is_news_only: bool,
        /// Events before its EOSE.
        stored: usize,
        former: Option<(SubNo, Filter)>,
    },
    Standing {
        sub: SubNo,
    },
    /// Refused or lost; asked for again at this moment, from what was known when it was lost.
    Lost {
        retry_ms: u64,
        since: Option<Timestamp>,
    },
}

/// 5 s, 10 s, 20 s … 320 s.
fn reopen_wait(refusals: u32) -> u64 {
    REOPEN_MS << refusals.min(6)
}

/// A chunk's filter with the members that each of the two names.
fn joined(filter: &Filter, other: &Filter) -> Filter {
    let mut all = filter.clone();
    for (tag, members) in &other.generic_tags {
        all.generic_tags.entry(*tag).or_default().extend(members.iter().cloned());
    }
    all
}

impl Live {
    pub(super) fn is_standing(&self) -> bool {
        matches!(self.state, LiveState::Standing { .. })
    }

    /// Since when it may have missed something; none while it, or the one that it replaces, stands.
    pub(super) fn unread_since(&self) -> Option<Timestamp> {
        match &self.state {
            LiveState::Standing { .. } | LiveState::Opening { former: Some(_), .. } => None,
            LiveState::Opening { former: None, .. } => self.since.map(unoverlapped),
            LiveState::Lost { since, .. } => since.map(unoverlapped),
        }
    }
}

impl Session {
    /// S11: opens `filter` at `key`. With `since`, what is stored since then is read too, to a proven end, as a unit of
    /// its own. Asking for what already stands changes nothing.
    ///
    /// What stands has no `since` where the relay takes `limit: 0`: relays hold what is published later against it too, and
    /// would never send what is dated before the gap.
    pub(super) fn open_live(&mut self, key: LiveKey, filter: Filter, mut since: Option<Timestamp>, now: Now) {
        if let LiveKey::Slot(slot) = key
            && let Some(read_until) = self.stop_polling(slot)
        {
            since = since.into_iter().chain([overlapped(read_until)]).min();
        }
        let known = self.lives.get(&key);
        if known.is_some_and(|live| live.filter == filter && (since.is_none() || live.since == since)) {
            return;
        }
        let unread = known.and_then(Live::unread_since).map(overlapped);
        let asked_since = known.and_then(|live| live.since);
        let former = match known.map(|live| (live.state.clone(), live.filter.clone())) {
            Some((LiveState::Standing { sub }, filter)) => Some((sub, filter)),
            Some((LiveState::Opening { sub, former, .. }, _)) => {
                since = since.into_iter().chain(asked_since).min();
                self.close(sub);
                self.read_gap_by_itself(key);
                former
            }
            Some((LiveState::Lost { .. }, _)) => {
                // What came while nothing stood here is still to be read.
                since = since.into_iter().chain(unread).min();
                None
            }
            None => None,
        };
        self.ask_live(key, filter, since, former, now);
    }

    /// As [`Self::open_live`], for a chunk that may have grown further than this order knows: within a layout chunks lose no
    /// member, so what stands is never replaced by less.
    pub(super) fn join_live(&mut self, slot: Slot, filter: Filter, since: Option<Timestamp>, now: Now) {
        let filter = self.grown(slot, filter);
        self.open_live(LiveKey::Slot(slot), filter, since, now);
    }

    /// `filter` with the members of what stands at its slot, live or polled: never both.
    pub(super) fn grown(&self, slot: Slot, filter: Filter) -> Filter {
        let live = self.lives.get(&LiveKey::Slot(slot)).map(|live| &live.filter);
        let polled = self.polls.get(&slot).map(|poll| &poll.filter);
        live.or(polled).map_or_else(|| filter.clone(), |known| joined(&filter, known))
    }

    /// The subscription that brought a gap's first page is replaced: the gap is read by pages of its own.
    fn read_gap_by_itself(&mut self, key: LiveKey) {
        let gap = self.lives.get_mut(&key).and_then(|live| live.gap.take());
        if let Some(unit) = gap.and_then(|gap| self.units.get_mut(&gap)) {
            unit.stage = Stage::Queued { at_ms: 0 };
        }
    }

    fn ask_live(&mut self, key: LiveKey, filter: Filter, since: Option<Timestamp>, former: Option<(SubNo, Filter)>, now: Now) {
        let refusals = self.lives.get(&key).map_or(0, |live| live.refusals);
        if former.is_none() && !self.may_ask(now) {
            // S18: it waits for its turn; nothing is lost, for it knows since when.
            let state = LiveState::Lost { retry_ms: now.ms, since };
            self.lives.insert(key, Live { filter, state, gap: None, since, refusals, stood_ms: now.ms });
            return;
        }
        self.note_asked(now);
        let sub = self.new_sub(Owner::Live(key), now);
        let is_news_only = !self.ignores_limit_zero();
        let (gap, request) = if is_news_only {
            (None, filter.clone().limit(0))
        } else {
            let gap = since.map(|since| self.gap_unit(key, filter.clone().since(since), sub, now));
            // News are dated by their authors, whose clocks may be late: as far back as after an outage.
            (gap, filter.clone().since(since.unwrap_or(overlapped(now.wall))).limit(self.manners.limit()))
        };
        let state = LiveState::Opening { sub, asked_ms: now.ms, is_news_only, stored: 0, former };
        self.lives.insert(key, Live { filter, state, gap, since, refusals, stood_ms: now.ms });
        self.send(Request::Req { sub: sub.to_string(), filter: request });
    }

    /// The stored part of a live subscription ended: it stands.
    pub(super) fn live_eose(&mut self, key: LiveKey, sub: SubNo, hint: EoseHint, now: Now) {
        let Some(live) = self.lives.get_mut(&key) else { return };
        let LiveState::Opening { sub: opening, former, stored, is_news_only, .. } = &mut live.state else { return };
        if *opening != sub {
            return;
        }
        let (former, has_stored) = (former.take(), *is_news_only && *stored >= STORED_DESPITE_ZERO);
        let missed = live.since.filter(|_| *is_news_only).map(|since| live.filter.clone().since(since));
        live.state = LiveState::Standing { sub };
        live.stood_ms = now.ms;
        let gap = live.gap.take();
        if let Some((old, _)) = former {
            self.close(old);
        }
        if let Some(unit) = gap {
            self.page_ended(unit, hint, now);
        }
        if let Some(missed) = missed {
            self.queue_unit(Purpose::Gap(key), missed, Method::Req);
        }
        if has_stored || self.was_silent_at_zero {
            self.learn_limit_zero();
        }
        self.tempo.answered(now.ms);
        self.live_stands(key);
        if key == LiveKey::Broad {
            self.broad_stands(now);
        }
        self.finish_rebuild();
    }

    /// S11: `limit: 0` asks for news only. Some relays take it for no limit at all, others never send its EOSE; these
    /// are asked with `since` instead.
    fn ignores_limit_zero(&self) -> bool {
        self.was_silent_at_zero || self.learned.ignores_limit_zero == Some(true)
    }

    fn learn_limit_zero(&mut self) {
        if self.learned.ignores_limit_zero != Some(true) {
            self.learn(Learned { ignores_limit_zero: Some(true), ..Learned::default() });
        }
    }

    /// An event of a live subscription that was asked for without history.
    pub(super) fn count_before_eose(&mut self, key: LiveKey, sub: SubNo) {
        if let Some(LiveState::Opening { sub: opening, stored, .. }) = self.lives.get_mut(&key).map(|live| &mut live.state)
            && *opening == sub
        {
            *stored += 1;
        }
    }

    /// Batches that waited for `key` may start.
    pub(super) fn live_stands(&mut self, key: LiveKey) {
        for batch in self.batches.values_mut() {
            batch.waits_for.remove(&key);
        }
    }

    /// The relay closed a live subscription, or never answered it.
    pub(super) fn live_closed(&mut self, key: LiveKey, sub: SubNo, why: Incomplete, text: &str, now: Now) {
        let refusal = refusal::read(text);
        if refusal == Refusal::AuthRequired && self.reopens_after_auth(key, sub, now) {
            return;
        }
        let Some(live) = self.lives.get_mut(&key) else { return };
        match &mut live.state {
            LiveState::Opening { sub: opening, former, .. } if *opening == sub => {
                let former = former.take();
                let (gap, since) = (live.gap.take(), live.since);
                live.refusals += 1;
                let names = live.filter.generic_tags.values().map(std::collections::BTreeSet::len).max().unwrap_or(0);
                match refusal {
                    Refusal::RateLimited => self.pause(now),
                    // S6: what every relay takes is asked for instead, when the planner has made the chunks anew.
                    Refusal::TooLarge | Refusal::Other if names > REFS_PER_FILTER as usize && why == Incomplete::Closed => {
                        self.learn(Learned { refs_per_filter: Some(REFS_PER_FILTER as usize), ..Learned::default() });
                    }
                    Refusal::Quota => self.tempo.too_many(now.ms),
                    Refusal::TooManySubscriptions
                    | Refusal::AuthRequired
                    | Refusal::TooLarge
                    | Refusal::TimedOut
                    | Refusal::Other => {}
                }
                self.opening_refused(key, former, (gap, since), (why, text), now);
            }
            LiveState::Opening { former: Some((former, _)), sub: opening, .. } if *former == sub => {
                let (opening, filter) = (*opening, live.filter.clone());
                let since = live.since.into_iter().chain([overlapped(now.wall)]).min();
                self.close(opening);
                self.read_gap_by_itself(key);
                self.ask_live(key, filter, since, None, now);
            }
            LiveState::Standing { sub: standing } if *standing == sub => {
                if now.ms >= live.stood_ms + STEADY_MS {
                    live.refusals = 0;
                }
                let since = Some(overlapped(now.wall));
                live.state = LiveState::Lost { retry_ms: now.ms + reopen_wait(live.refusals), since };
                live.refusals += 1;
            }
            LiveState::Opening { .. } | LiveState::Standing { .. } | LiveState::Lost { .. } => {}
        }
    }

    /// A subscription had no room beside others. Where there is room for it, it is asked for again soon; else its filter is polled.
    /// Batches go on either way: what comes from now on is read.
    pub(super) fn live_without_room(&mut self, key: LiveKey, sub: SubNo, now: Now) {
        let Some(live) = self.lives.get_mut(&key) else { return };
        let since = match &mut live.state {
            LiveState::Opening { sub: opening, former, .. } if *opening == sub => {
                former.take().map_or((live.since, None), |(former, _)| (Some(overlapped(now.wall)), Some(former)))
            }
            LiveState::Standing { sub: standing } if *standing == sub => (Some(overlapped(now.wall)), None),
            LiveState::Opening { .. } => {
                return self.live_closed(key, sub, Incomplete::Closed, NO_ROOM, now);
            }
            LiveState::Standing { .. } | LiveState::Lost { .. } => return,
        };
        let (since, former) = (since.0.into_iter().chain(live.since).min(), since.1);
        let gap = live.gap.take();
        live.refusals += 1;
        live.state = LiveState::Lost { retry_ms: now.ms + reopen_wait(live.refusals - 1), since };
        let is_hopeless = live.refusals >= REFUSED_FOR_ROOM || !self.allows_live(key);
        if let Some(former) = former {
            self.close(former);
        }
        if let Some(gap) = gap {
            self.drop_unit(gap);
        }
        if is_hopeless {
            self.poll_instead(key, now);
        }
        self.make_room_for(key);
    }

    /// A subscription that did not come to stand: its batches are incomplete; what is needed beside them is tried again.
    fn opening_refused(
        &mut self,
        key: LiveKey,
        former: Option<(SubNo, Filter)>,
        (gap, since): (Option<UnitId>, Option<Timestamp>),
        (why, text): (Incomplete, &str),
        now: Now,
    ) {
        if let Some(unit) = gap {
            self.drop_unit(unit);
        }
        let waiting = self.waiting_for(key);
        let belongs_to_batches = !waiting.is_empty();
        for batch in waiting {
            let grounds = by_words(text).map_or(Incomplete::NotLive, Grounds::incomplete);
            self.fail_batch(batch, grounds, format!("{}: {text}", why.as_str()));
        }
        // Members change their places in a rebuild: what stood before is not what is wanted, and may stand in the way of it.
        let (replaced, former) = if since.is_some() && self.is_rebuilt(key) { (former, None) } else { (None, former) };
        let Some(live) = self.lives.get_mut(&key) else { return };
        match former {
            Some((sub, filter)) => {
                live.filter = filter;
                live.since = None;
                live.state = LiveState::Standing { sub };
            }
            None if belongs_to_batches && since.is_none() => {
                self.lives.remove(&key);
            }
            None => {
                let held_ms = by_words(text).map_or(0, |grounds| grounds.holds_secs(live.refusals) * 1000);
                let retry_ms = now.ms + reopen_wait(live.refusals).max(held_ms);
                live.state = LiveState::Lost { retry_ms, since };
            }
        }
        if let Some((replaced, _)) = replaced {
            self.close(replaced);
        }
        self.make_room_for(key);
    }

    /// I3: what the planner would not open under the limit is closed, so that history has room, and polled.
    pub(super) fn keep_live_within(&mut self, now: Now) {
        let surplus: Vec<LiveKey> = self.lives.keys().filter(|key| !self.allows_live(**key)).copied().collect();
        for key in surplus {
            self.poll_instead(key, now);
        }
        self.finish_rebuild();
    }

    /// Closes a live subscription for good. Its gap is read all the same.
    pub(super) fn give_up_live(&mut self, key: LiveKey) {
        self.read_gap_by_itself(key);
        match self.lives.remove(&key).map(|live| live.state) {
            Some(LiveState::Opening { sub, former, .. }) => {
                self.close(sub);
                if let Some((former, _)) = former {
                    self.close(former);
                }
            }
            Some(LiveState::Standing { sub }) => self.close(sub),
            Some(LiveState::Lost { .. }) | None => {}
        }
    }

    /// No live subscription of this key is to be: a batch of before that waits for it ends.
    pub(super) fn end_waiting_for(&mut self, key: LiveKey, why: &str) {
        for batch in self.waiting_for(key) {
            self.fail_batch(batch, Incomplete::NotLive, why.to_owned());
        }
    }

    fn waiting_for(&self, key: LiveKey) -> Vec<BatchId> {
        self.batches.iter().filter(|(_, batch)| batch.waits_for.contains(&key)).map(|(id, _)| *id).collect()
    }

    /// What is overdue among live subscriptions.
    pub(super) fn tick_lives(&mut self, now: Now) {
        let keys: Vec<LiveKey> = self.lives.keys().copied().collect();
        for key in keys {
            let Some(live) = self.lives.get(&key) else { continue };
            match live.state {
                LiveState::Opening { sub, .. } if Self::opening_deadline(live).is_some_and(|deadline| now.ms >= deadline) => {
                    self.close(sub);
                    self.opening_overdue(key, sub, now);
                }
                LiveState::Lost { retry_ms, since } if now.ms >= retry_ms.max(self.asks_at()) => {
                    let filter = live.filter.clone();
                    self.ask_live(key, filter, since, None, now);
                }
                LiveState::Opening { .. } | LiveState::Standing { .. } | LiveState::Lost { .. } => {}
            }
        }
    }

    pub(super) fn lives_deadline(&self) -> Option<Deadline> {
        let deadline = |live: &Live| match live.state {
            LiveState::Opening { .. } => {
                Self::opening_deadline(live).map(|at_ms| Deadline { at_ms, waits_for: WaitsFor::Standing })
            }
            LiveState::Lost { retry_ms, .. } => {
                Some(Deadline { at_ms: retry_ms.max(self.asks_at()), waits_for: WaitsFor::Retry })
            }
            LiveState::Standing { .. } => None,
        };
        self.lives.values().filter_map(deadline).min()
    }

    /// When a subscription without history should stand at the latest; one with history has its page's limit.
    fn opening_deadline(live: &Live) -> Option<u64> {
        let LiveState::Opening { asked_ms, is_news_only, .. } = live.state else { return None };
        let limit = if is_news_only { LIMIT_ZERO_MS } else { OPEN_LIMIT_MS };
        live.gap.is_none().then_some(asked_ms + limit)
    }

    /// No EOSE: with `limit: 0` it is asked once more the other way, before it counts as refused.
    fn opening_overdue(&mut self, key: LiveKey, sub: SubNo, now: Now) {
        let Some(live) = self.lives.get(&key) else { return };
        let LiveState::Opening { former, is_news_only, .. } = live.state.clone() else { return };
        if !is_news_only {
            self.live_closed(key, sub, Incomplete::Idle, "no EOSE", now);
            return;
        }
        let (filter, since) = (live.filter.clone(), live.since);
        // Learned when it answers the other way: until then the link may be dead.
        self.was_silent_at_zero = true;
        self.close(sub);
        self.ask_live(key, filter, since, former, now);
    }

    fn gap_unit(&mut self, key: LiveKey, filter: Filter, sub: SubNo, now: Now) -> UnitId {
        self.walk_in_flight(Purpose::Gap(key), filter, sub, now)
    }
}
