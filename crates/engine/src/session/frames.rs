//! What a relay sends, brought to what it belongs to: EOSE and CLOSED reach the owner of their subscription and nobody else,
//! an event is an answer to what was asked, or a stray.

use model::{Event, Filter, Incomplete, LimitShown, Via};
use nostr::prelude::MatchEventOptions;

use super::live::{Live, LiveState};
use super::refusal::{self, Refusal};
use super::unit::{Purpose, Stage, Unit, batch_of};
use super::words::{Frame, Now, Ticket, UnitId, Verdict};
use super::{Owner, Session, SubNo};
use crate::conduct::Excess;

impl Session {
    pub(super) fn frame(&mut self, frame: Frame, now: Now) {
        if self.is_chatter(&frame) {
            self.note(Excess::Chatter, now);
        }
        match frame {
            Frame::Eose { sub, hint } => match self.owner_ended(&sub, now) {
                Some((sub, Owner::Live(key))) => self.live_eose(key, sub, hint, now),
                Some((sub, Owner::Page(unit))) => {
                    self.close(sub);
                    self.page_ended(unit, hint, now);
                }
                Some((sub, Owner::Ids(unit))) => {
                    self.close(sub);
                    self.ids_ended(unit, sub, now);
                }
                Some((_, Owner::Exchange(_))) | None => {}
            },
            Frame::Auth { challenge } => self.challenged(challenge, now),
            Frame::Ok { id } => self.answered(id, now),
            Frame::Closed { sub, text } => self.closed(&sub, &text, now),
            Frame::Notice { text } => self.notice(&text, now),
            Frame::NegMsg { sub, message } => {
                if let Some((_, Owner::Exchange(unit))) = self.owner(&sub) {
                    self.neg_message(unit, message, now);
                }
            }
            Frame::NegErr { sub, text } => {
                if let Some((_, Owner::Exchange(unit))) = self.owner(&sub) {
                    self.exchange_refused(unit, &text, now);
                }
            }
        }
    }

    /// Whose it is; that it was heard shows that the relay took the request.
    fn owner_heard(&mut self, sub: &str, now: Now) -> Option<(SubNo, Owner)> {
        let (sub, _) = self.owner(sub)?;
        self.heard_of(sub, now);
        // What that showed may have ended others, not this one.
        self.subs.get(&sub).map(|owner| (sub, *owner))
    }

    fn owner_ended(&mut self, sub: &str, now: Now) -> Option<(SubNo, Owner)> {
        let heard = self.owner_heard(sub, now);
        if let Some((sub, _)) = heard {
            self.answered_to_its_end(sub);
        }
        heard
    }

    /// CLOSED ends one subscription, not the link.
    fn closed(&mut self, sub: &str, text: &str, now: Now) {
        let Some((sub, owner)) = self.owner(sub) else { return };
        self.subs.remove(&sub);
        if refusal::read(text) == Refusal::TooManySubscriptions && !matches!(owner, Owner::Exchange(_)) {
            return self.refused_for_room(vec![(sub, owner)], LimitShown::Closed, now);
        }
        match owner {
            Owner::Live(key) => self.live_closed(key, sub, Incomplete::Closed, text, now),
            Owner::Page(unit) => self.page_closed(unit, text, now),
            Owner::Ids(unit) => self.ids_closed(unit, sub, text, now),
            Owner::Exchange(unit) => self.exchange_refused(unit, text, now),
        }
    }

    fn notice(&mut self, text: &str, now: Now) {
        if refusal::names_subscriptions(text) {
            self.too_many_notice(now);
        } else if refusal::is_rate_limit_notice(text) {
            self.pause(now);
        } else {
            self.notice_against_exchange(text, now);
        }
    }

    pub(super) fn judge(&mut self, sub: &str, event: &Event, now: Now) -> Verdict {
        let Some((sub, owner)) = self.owner_heard(sub, now) else {
            self.astray(sub, event);
            return Verdict::Stray;
        };
        if let Owner::Page(id) = owner
            && self.calibrates(id, event, now)
        {
            // What happens to be ours is not thrown away.
            return if self.is_ours(id, event) { Verdict::Take(self.ticket_of(Some(id), Via::Page)) } else { Verdict::Repeat };
        }
        let (unit, is_asked, via) = match owner {
            Owner::Live(key) => {
                let live = self.lives.get(&key);
                let matches = live.is_some_and(|live| is_match(&live.filter, event) || former_matches(live, event));
                (self.is_reading(key, sub), matches, Via::Live)
            }
            Owner::Page(id) => (Some(id), self.units.get(&id).is_some_and(|unit| is_match(&unit.filter, event)), Via::Page),
            Owner::Ids(id) => (Some(id), self.ids_event(id, sub, event.id), Via::Negentropy),
            Owner::Exchange(_) => (None, false, Via::Negentropy),
        };
        // A frame outside its filter is movement of the page all the same: a relay that over-returns is not idle.
        if let Some(id) = unit {
            self.touch(id, now);
        }
        if !is_asked {
            unit.into_iter().for_each(|id| self.walk_stray(id, event));
            return Verdict::Stray;
        }
        if let (Owner::Live(key), None) = (owner, unit) {
            self.count_before_eose(key, sub);
        }
        let is_new = unit.is_none_or(|id| self.walk_event(id, event));
        if self.is_beside_what_is_wanted(owner, event) {
            return Verdict::Unwanted;
        }
        if is_new { Verdict::Take(self.ticket_of(unit, via)) } else { Verdict::Repeat }
    }

    /// Whether the event answers a question that a walk asks beside what it reads; it is only counted.
    fn calibrates(&mut self, id: UnitId, event: &Event, now: Now) -> bool {
        let Some(Unit { stage: Stage::Walk { walk, .. }, moved_ms, .. }) = self.units.get_mut(&id) else { return false };
        let is_answer = walk.is_calibrating() && is_match(&walk.request(), event);
        if is_answer {
            *moved_ms = now.ms;
            walk.event(event.id, event.created_at);
        }
        is_answer
    }

    /// Whether anything on this link asks for the event.
    fn is_ours(&self, id: UnitId, event: &Event) -> bool {
        let is_asked = self.units.get(&id).is_some_and(|unit| is_match(&unit.filter, event));
        let is_live = || self.lives.values().any(|live| is_match(&live.filter, event));
        is_asked || is_live() || self.polls.values().any(|poll| is_match(&poll.filter, event))
    }

    /// A frame of a walk that is outside its filter: it shows how far down the page reaches all the same.
    fn walk_stray(&mut self, id: UnitId, event: &Event) {
        if let Some(Unit { stage: Stage::Walk { walk, .. }, .. }) = self.units.get_mut(&id) {
            walk.stray(event.created_at);
        }
    }

    /// Counts a frame of a walk; whether the walk sees the event for the first time.
    fn walk_event(&mut self, id: UnitId, event: &Event) -> bool {
        match self.units.get_mut(&id) {
            Some(Unit { stage: Stage::Walk { walk, .. }, .. }) => walk.event(event.id, event.created_at),
            Some(_) | None => true,
        }
    }

    pub(super) fn count_event(&mut self, id: UnitId) {
        self.moved(id, 0);
        let Some(unit) = self.units.get_mut(&id) else { return };
        unit.unsettled += 1;
        if let Purpose::Batch(batch) = unit.purpose
            && let Some(batch) = self.batches.get_mut(&batch)
        {
            batch.counts.events += 1;
        }
    }

    fn ticket_of(&self, unit: Option<UnitId>, via: Via) -> Ticket {
        let batch = unit.and_then(|id| self.units.get(&id)).and_then(|unit| batch_of(unit.purpose));
        Ticket { unit, batch, via: Some(via) }
    }
}

/// Whether `event` answers `filter`. `since` and `until` are claims about time that a live subscription may outlive.
pub(super) fn is_match(filter: &Filter, event: &Event) -> bool {
    filter.match_event(event, MatchEventOptions::new())
}

/// While a subscription is replaced, its former filter's events still come.
fn former_matches(live: &Live, event: &Event) -> bool {
    match &live.state {
        LiveState::Opening { former: Some((_, filter)), .. } => is_match(filter, event),
        LiveState::Opening { .. } | LiveState::Standing { .. } | LiveState::Lost { .. } => false,
    }
}
