//! What an exchange found to be missing, fetched by ids: how many at a time, what a relay cuts, what it does not serve.

use std::collections::BTreeSet;

use model::{EventId, Filter, Learned};

use super::exchange::Exchange;
use super::refusal::{self, Refusal};
use super::words::{NO_ROOM, Now, Request, UnitId};
use super::{Owner, Session, SubNo};
use crate::room::Room;

/// Ids asked for in one REQ, until the relay shows that it serves less.
const IDS_PER_REQ: usize = 200;
/// Requests by ids in flight per exchange: a round trip must not leave the link idle.
const IDS_IN_FLIGHT: usize = 4;
/// Ids that were not served are asked for once more, this many at a time.
const IDS_AGAIN: usize = 20;

#[derive(Debug, Clone)]
pub(super) struct IdsAsked {
    pub(super) left: BTreeSet<EventId>,
    count: usize,
    is_second_try: bool,
}

impl Exchange {
    /// The next ids to ask for.
    fn next_ids(&mut self, per_req: usize) -> Option<IdsAsked> {
        if !self.need.is_empty() {
            let count = per_req.min(self.need.len());
            return Some(IdsAsked { left: self.need.drain(..count).collect(), count, is_second_try: false });
        }
        let count = IDS_AGAIN.min(per_req).min(self.again.len());
        (count > 0).then(|| IdsAsked { left: self.again.drain(..count).collect(), count, is_second_try: true })
    }
}

impl Session {
    /// Keeps requests by ids in flight; ends the pass when nothing is left.
    pub(super) fn fetch_ids(&mut self, id: UnitId, now: Now) {
        let per_req = self.learned.ids_per_req.unwrap_or(IDS_PER_REQ).min(Room::of(&self.learned).ids()).max(1);
        let in_flight = IDS_IN_FLIGHT.min(self.tempo.width());
        while self.may_ask(now) && self.room() > 0 {
            let Some(exchange) = self.exchange_mut(id) else { return };
            if exchange.in_flight.len() >= in_flight {
                break;
            }
            let Some(asked) = exchange.next_ids(per_req) else { break };
            let filter = Filter::new().ids(asked.left.iter().copied()).limit(asked.left.len());
            let sub = self.new_sub(Owner::Ids(id), now);
            if let Some(exchange) = self.exchange_mut(id) {
                exchange.in_flight.insert(sub, asked);
            }
            self.touch(id, now);
            self.note_asked(now);
            self.send(Request::Req { sub: sub.to_string(), filter });
        }
        self.end_pass(id, now);
    }

    /// An event of a request by ids: ours if it was asked for and had not come yet.
    pub(super) fn ids_event(&mut self, id: UnitId, sub: SubNo, event: EventId) -> bool {
        let Some(exchange) = self.exchange_mut(id) else { return false };
        exchange.in_flight.get_mut(&sub).is_some_and(|asked| asked.left.remove(&event))
    }

    /// A request by ids was refused: that says nothing about the ids. They are asked for after a pause, or by pages.
    pub(super) fn ids_closed(&mut self, id: UnitId, sub: SubNo, text: &str, now: Now) {
        let Some(exchange) = self.exchange_mut(id) else { return };
        let Some(asked) = exchange.in_flight.remove(&sub) else { return };
        let is_served = asked.left.is_empty();
        exchange.need.extend(asked.left);
        self.touch(id, now);
        let refusal = refusal::read(text);
        let is_of_pace = matches!(refusal, Refusal::RateLimited | Refusal::Quota);
        if is_served {
            self.fetch_ids(id, now);
        } else if refusal == Refusal::AuthRequired && self.waits_for_auth(now) {
            // They are asked for again once that is settled.
        } else if let Some(before) = is_of_pace.then(|| self.refused_again(id)).flatten() {
            self.slow_down(refusal, before, now);
        } else {
            self.walk_instead(id, text, false, now);
        }
    }

    /// A request by ids had no room beside other subscriptions.
    pub(super) fn ids_without_room(&mut self, id: UnitId, sub: SubNo, now: Now) {
        let Some(exchange) = self.exchange_mut(id) else { return };
        let Some(asked) = exchange.in_flight.remove(&sub) else { return };
        exchange.need.extend(asked.left);
        self.touch(id, now);
        match self.refused_again(id) {
            Some(before) => self.wait_for_room(before, now),
            None => self.walk_instead(id, NO_ROOM, false, now),
        }
    }

    /// A request by ids reached its EOSE. What was not served may lie beyond the relay's cap: it is asked for again as long
    /// as requests bring something; absent is what a second request for it alone did not bring.
    pub(super) fn ids_ended(&mut self, id: UnitId, sub: SubNo, now: Now) {
        let Some(exchange) = self.exchange_mut(id) else { return };
        let Some(asked) = exchange.in_flight.remove(&sub) else { return };
        let served = asked.count - asked.left.len();
        let is_cut = served > 0 && !asked.left.is_empty();
        // What a second request brings was there all along: the first one was cut.
        let shown = (asked.is_second_try && served > 0).then_some(exchange.cut_at.max(served));
        if is_cut {
            exchange.cut_at = exchange.cut_at.max(served);
        }
        if asked.is_second_try && served == 0 {
            exchange.absent.extend(asked.left);
        } else {
            exchange.again.extend(asked.left);
        }
        self.learn_ids_per_req(shown);
        self.touch(id, now);
        self.served(id, now);
        self.moved(id, 0);
        self.fetch_ids(id, now);
    }

    fn learn_ids_per_req(&mut self, shown: Option<usize>) {
        if shown.is_some_and(|shown| self.learned.ids_per_req.is_none_or(|known| shown < known)) {
            self.learn(Learned { ids_per_req: shown, ..Learned::default() });
        }
    }
}
