//! An exchange (NIP-77) of one unit: what the relay has and the ledger lacks is fetched by ids, and a closing pass proves
//! that nothing is left. Any refusal ends in a walk of the same filter (S12).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::{EventId, Incomplete, Learned, Nip77};

use super::deadlines::WaitsFor;
use super::ids::IdsAsked;
use super::refusal::{self, Refusal};
use super::unit::{Purpose, Stage, Unit};
use super::words::{Now, Output, Request, UnitId};
use super::{Owner, Session, SubNo};
use crate::conduct::Excess;

/// A set of which no part was loaded for this long (milliseconds) does not come: the store is away.
const LOADING_MS: u64 = 30_000;
/// A relay that has not answered NEG-OPEN by then (milliseconds) refuses by silence.
const FIRST_REPLY_MS: u64 = 8_000;
/// An exchange without a frame of its own for this long (milliseconds) ends.
pub(super) const PROGRESS_MS: u64 = 20_000;
/// More rounds than any honest relay needs within the bound on ids.
const MOST_ROUNDS: u32 = 256;
/// Ids of one set, ours or what a relay names in one exchange: about 40 bytes each in memory.
const MOST_IDS: usize = 250_000;
/// Passes: the first, the closing one, and two for what arrived meanwhile.
const MOST_PASSES: u32 = 4;

#[derive(Debug, Clone)]
pub(super) struct Exchange {
    sub: SubNo,
    phase: Phase,
    /// Ids named in this pass: with frame limits one id may be named several times.
    named: BTreeSet<EventId>,
    pub(super) need: VecDeque<EventId>,
    pub(super) in_flight: BTreeMap<SubNo, IdsAsked>,
    /// Asked for once, not served.
    pub(super) again: Vec<EventId>,
    /// Most ids that one request of this exchange was answered with although it asked for more.
    pub(super) cut_at: usize,
    /// Asked for alone or with others that were not served either: advertised, and not to be had here.
    pub(super) absent: BTreeSet<EventId>,
    /// That the ids of this pass have been fetched was said.
    is_fetched: bool,
    /// Ids that this pass found missing and that are to be had.
    pub(super) pass_needed: usize,
    passes: u32,
    rounds: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The shell loads the set.
    Loading,
    /// NEG-OPEN is sent, nothing came back.
    Opening,
    Reconciling,
    /// The sets are reconciled; ids are still being fetched.
    Fetching,
}

impl Exchange {
    /// What it waits for, and for how long (milliseconds) without progress. None while home has the last word.
    pub(super) fn wait(&self) -> Option<(u64, WaitsFor)> {
        match self.phase {
            Phase::Loading => Some((LOADING_MS, WaitsFor::Set)),
            Phase::Opening => Some((FIRST_REPLY_MS, WaitsFor::FirstReply)),
            Phase::Reconciling => Some((PROGRESS_MS, WaitsFor::Round)),
            Phase::Fetching => (!self.in_flight.is_empty()).then_some((PROGRESS_MS, WaitsFor::Ids)),
        }
    }

    fn is_unanswered(&self) -> bool {
        self.passes == 1 && matches!(self.phase, Phase::Loading | Phase::Opening)
    }

    /// Whether the relay has an exchange open under our id.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Opening | Phase::Reconciling)
    }

    fn is_drained(&self) -> bool {
        self.phase == Phase::Fetching && self.need.is_empty() && self.in_flight.is_empty() && self.again.is_empty()
    }
}

impl Session {
    /// Whether NIP-77 was refused on this upstream since the last refresh, or on this link.
    pub(super) fn refuses_negentropy(&self) -> bool {
        matches!(self.learned.nip77, Some(Nip77::Refused { .. }))
    }

    fn is_negentropy_proved(&self) -> bool {
        matches!(self.learned.nip77, Some(Nip77::Works { .. }))
    }

    pub(super) fn start_exchange(&mut self, id: UnitId, now: Now) -> bool {
        let unproved = !self.is_negentropy_proved();
        if (unproved && self.exchanges().any(|(_, exchange)| exchange.is_unanswered())) || self.window_must_wait(id) {
            return false;
        }
        let sub = self.new_sub(Owner::Exchange(id), now);
        self.note_asked(now);
        let Some(unit) = self.units.get_mut(&id) else { return false };
        unit.moved_ms = now.ms;
        unit.stage = Stage::Exchange(Box::new(Exchange {
            sub,
            phase: Phase::Loading,
            named: BTreeSet::new(),
            need: VecDeque::new(),
            in_flight: BTreeMap::new(),
            again: Vec::new(),
            cut_at: 0,
            absent: BTreeSet::new(),
            is_fetched: false,
            pass_needed: 0,
            passes: 1,
            rounds: 0,
        }));
        let filter = unit.asked();
        self.out.push_back(Output::LoadSet { unit: id, filter, again: false, most: MOST_IDS });
        true
    }

    /// A part of the set is loaded: the store is slow, not away.
    pub(super) fn set_moved(&mut self, id: UnitId, now: Now) {
        if self.exchange_mut(id).is_some_and(|exchange| exchange.phase == Phase::Loading) {
            self.touch(id, now);
            self.moved(id, 0);
        }
    }

    /// Our own set is more than an exchange may hold.
    pub(super) fn set_too_large(&mut self, id: UnitId, now: Now) {
        if self.exchange_mut(id).is_some_and(|exchange| exchange.phase == Phase::Loading) {
            // That is a count, not a refusal that may mean something else.
            self.know_to_be_size(id);
            self.overflowed(id, now);
        }
    }

    pub(super) fn set_ready(&mut self, id: UnitId, message: String, now: Now) {
        let Some(exchange) = self.exchange_mut(id) else { return };
        if exchange.phase != Phase::Loading {
            return;
        }
        exchange.phase = Phase::Opening;
        let sub = exchange.sub.to_string();
        self.touch(id, now);
        let Some(filter) = self.units.get(&id).map(Unit::asked) else { return };
        self.send(Request::NegOpen { sub, filter, message });
    }

    /// The relay answered within an exchange: its NIP-77 works.
    pub(super) fn neg_message(&mut self, id: UnitId, message: String, now: Now) {
        if !self.is_negentropy_proved() {
            self.learn(Learned { nip77: Some(Nip77::Works { at: now.wall }), ..Learned::default() });
        }
        let Some(exchange) = self.exchange_mut(id) else { return };
        if !exchange.is_open() {
            return;
        }
        exchange.phase = Phase::Reconciling;
        self.window_answered(id);
        self.served(id, now);
        self.touch(id, now);
        self.moved(id, 1);
        self.out.push_back(Output::Reconcile { unit: id, message });
    }

    /// Ids of this pass that somebody else brings home. The closing pass shows whether they came.
    pub(super) fn awaits(&mut self, id: UnitId, count: usize) {
        let Some(unit) = self.units.get_mut(&id) else { return };
        if let Stage::Exchange(exchange) = &mut unit.stage {
            exchange.pass_needed += count;
            unit.unsettled += count;
        }
    }

    pub(super) fn reconciled(&mut self, id: UnitId, need: Vec<EventId>, reply: Option<String>, now: Now) {
        let Some(exchange) = self.exchange_mut(id) else { return };
        exchange.rounds += 1;
        for wanted in need {
            if exchange.named.insert(wanted) && !exchange.absent.contains(&wanted) {
                exchange.pass_needed += 1;
                exchange.need.push_back(wanted);
            }
        }
        if exchange.named.len() > MOST_IDS {
            self.note(Excess::Claims, now);
            // A verdict: each exchange would cost as much again.
            return self.walk_instead(id, "it claims more than an exchange may hold", true, now);
        }
        if exchange.rounds > MOST_ROUNDS {
            // Many exchanges of one link may come here at once: the verdict is enough.
            return self.walk_instead(id, "its exchanges have no end", true, now);
        }
        let sub = exchange.sub.to_string();
        match reply {
            Some(message) => self.send(Request::NegMsg { sub, message }),
            None => {
                exchange.phase = Phase::Fetching;
                self.send(Request::NegClose { sub });
            }
        }
        self.fetch_ids(id, now);
    }

    /// Ids that relays have named in the exchanges of this link, and that are kept until their pass ends: about 80 bytes each.
    #[must_use]
    pub fn ids_named(&self) -> usize {
        self.exchanges().map(|(_, exchange)| exchange.named.len()).sum()
    }

    /// More ids are kept than there is room for: the exchange that named most of them reads pages instead.
    pub fn give_up_ids(&mut self, now: Now) {
        let most = self.exchanges().max_by_key(|(_, exchange)| exchange.named.len()).map(|(id, _)| id);
        if let Some(id) = most {
            self.walk_instead(id, "all links together were named more ids than there is room for", false, now);
        }
    }

    /// I8: a pass ends when its events are settled. One that needed something is followed by a closing pass: "done" of an
    /// exchange is no proof, nothing needed is.
    pub(super) fn end_pass(&mut self, id: UnitId, now: Now) {
        let is_settled = self.units.get(&id).is_some_and(|unit| unit.unsettled == 0);
        let Some(exchange) = self.exchange_mut(id) else { return };
        if !exchange.is_drained() {
            return;
        }
        if !std::mem::replace(&mut exchange.is_fetched, true) {
            self.out.push_back(Output::Fetched { unit: id });
        }
        let Some(exchange) = self.exchange_mut(id).filter(|_| is_settled) else { return };
        if exchange.pass_needed == 0 {
            let sub = exchange.sub;
            self.subs.remove(&sub);
            self.out.push_back(Output::DropSet { unit: id });
            self.all_read(id, now);
            return;
        }
        if exchange.passes == MOST_PASSES {
            self.walk_instead(id, "its sets do not converge", false, now);
            return;
        }
        exchange.passes += 1;
        exchange.is_fetched = false;
        exchange.pass_needed = 0;
        exchange.rounds = 0;
        exchange.named.clear();
        exchange.phase = Phase::Loading;
        let old = exchange.sub;
        let sub = self.new_sub(Owner::Exchange(id), now);
        if let Some(exchange) = self.exchange_mut(id) {
            exchange.sub = sub;
        }
        self.subs.remove(&old);
        self.touch(id, now);
        let Some(filter) = self.units.get(&id).map(Unit::asked) else { return };
        self.out.push_back(Output::LoadSet { unit: id, filter, again: true, most: MOST_IDS });
    }

    /// NEG-ERR, or CLOSED on the exchange's id.
    pub(super) fn exchange_refused(&mut self, id: UnitId, text: &str, now: Now) {
        let Some(exchange) = self.exchange_mut(id) else { return };
        if !exchange.is_open() {
            // Our NEG-CLOSE and its word crossed; the ids are known and being fetched.
            return;
        }
        let was_unanswered = exchange.is_unanswered();
        match refusal::read(text) {
            Refusal::RateLimited => {
                self.pause(now);
                self.walk_instead(id, text, false, now);
            }
            Refusal::TooLarge => self.overflowed(id, now),
            Refusal::Quota => {
                self.tempo.too_many(now.ms);
                self.walk_instead(id, text, false, now);
            }
            Refusal::TimedOut | Refusal::TooManySubscriptions => self.walk_instead(id, text, false, now),
            Refusal::AuthRequired if self.waits_for_auth(now) => self.exchange_later(id),
            Refusal::AuthRequired | Refusal::Other => self.walk_instead(id, text, was_unanswered, now),
        }
    }

    /// A NOTICE that may refuse the one exchange that is unanswered.
    pub(super) fn notice_against_exchange(&mut self, text: &str, now: Now) {
        if self.is_negentropy_proved() || !refusal::is_negentropy_notice(text) {
            return;
        }
        let opening = self.exchanges().find(|(_, exchange)| exchange.phase == Phase::Opening).map(|(id, _)| id);
        if let Some(id) = opening {
            self.walk_instead(id, text, true, now);
        }
    }

    /// The link is lost. If that was over an exchange that was never answered, on a relay whose NIP-77 is not proved, it was
    /// the network once, and the second time a refusal (S12): the next link reads pages. Otherwise such a relay would never be read.
    pub fn link_lost(&mut self, now: Now) {
        let was_asked = self.exchanges().any(|(_, exchange)| exchange.phase == Phase::Opening);
        if !was_asked || self.is_negentropy_proved() {
            return;
        }
        let at = now.wall;
        let facts = if self.learned.hung_up.is_none() {
            Learned { hung_up: Some(at), ..Learned::default() }
        } else {
            let reason = "it ended the connection instead of an answer, twice".to_owned();
            Learned { nip77: Some(Nip77::Refused { at, reason }), ..Learned::default() }
        };
        self.learn(facts);
    }

    /// The relay sent more in one message than we take, which ends the link. If it did so within an exchange, its NIP-77 is of
    /// no use to us (S12): the next link reads pages. Otherwise each link would end in the same way.
    pub fn message_too_large(&mut self, now: Now) {
        if self.exchanges().any(|(_, exchange)| exchange.is_open()) {
            let reason = "its message is larger than we take".to_owned();
            self.learn(Learned { nip77: Some(Nip77::Refused { at: now.wall, reason }), ..Learned::default() });
        }
    }

    pub(super) fn exchange_overdue(&mut self, id: UnitId, now: Now) {
        let Some(exchange) = self.exchange_mut(id) else { return };
        let was_unanswered = exchange.is_unanswered() && !self.is_negentropy_proved();
        self.walk_instead(id, "no answer", was_unanswered, now);
    }

    /// S12: falls back to pages, for this unit; with `is_verdict`, for this upstream until the next refresh.
    pub(super) fn walk_instead(&mut self, id: UnitId, reason: &str, is_verdict: bool, now: Now) {
        if is_verdict {
            let reason = reason.chars().take(120).collect();
            self.learn(Learned { nip77: Some(Nip77::Refused { at: now.wall, reason }), ..Learned::default() });
        }
        if self.units.get(&id).is_some_and(|unit| unit.purpose == Purpose::Audit) {
            return self.unit_failed(id, Incomplete::Closed, reason, now);
        }
        let Some(unit) = self.units.get_mut(&id) else { return };
        if let Stage::Exchange(exchange) = std::mem::replace(&mut unit.stage, Stage::Queued { at_ms: 0 }) {
            self.drop_exchange(id, *exchange);
        }
        if self.may_ask(now) && self.room() > 0 {
            self.start_walk(id, now);
        } else if let Some(unit) = self.units.get_mut(&id) {
            unit.method = model::Method::Req;
        }
    }

    /// Begins anew when the next request may be sent.
    fn exchange_later(&mut self, id: UnitId) {
        let Some(unit) = self.units.get_mut(&id) else { return };
        if let Stage::Exchange(exchange) = std::mem::replace(&mut unit.stage, Stage::Queued { at_ms: 0 }) {
            self.drop_exchange(id, *exchange);
        }
    }

    /// Closes what an exchange has open.
    pub(super) fn drop_exchange(&mut self, id: UnitId, exchange: Exchange) {
        if exchange.is_open() {
            self.send(Request::NegClose { sub: exchange.sub.to_string() });
        }
        self.subs.remove(&exchange.sub);
        for sub in exchange.in_flight.into_keys() {
            self.close(sub);
        }
        self.out.push_back(Output::DropSet { unit: id });
    }

    pub(super) fn exchange_mut(&mut self, id: UnitId) -> Option<&mut Exchange> {
        match &mut self.units.get_mut(&id)?.stage {
            Stage::Exchange(exchange) => Some(exchange),
            Stage::Queued { .. } | Stage::Walk { .. } | Stage::Settling => None,
        }
    }

    pub(super) fn exchanges(&self) -> impl Iterator<Item = (UnitId, &Exchange)> {
        self.units.iter().filter_map(|(id, unit)| match &unit.stage {
            Stage::Exchange(exchange) => Some((*id, &**exchange)),
            Stage::Queued { .. } | Stage::Walk { .. } | Stage::Settling => None,
        })
    }
}
