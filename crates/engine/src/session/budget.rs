//! How many subscriptions a relay allows, learned from the requests that it does not take (I3): it closes them, or sends a
//! NOTICE that names none of them, or says nothing at all.
//!
//! Owns: which requests were answered, and which of those that were not had no room. Never: what becomes of them.

use std::collections::BTreeMap;

use model::{Learned, LimitShown, Said};

use super::deadlines::PAGE_IDLE_MS;
use super::exchange::PROGRESS_MS;
use super::live::{LIMIT_ZERO_MS, LiveKey, LiveState};
use super::words::{Now, Output, Request};
use super::{OPEN_LIMIT_MS, Owner, Session, SubNo};
use crate::room::{IN_RESERVE, Room};

/// A NOTICE names no subscription: how long (milliseconds) answers may still show which ones it cannot mean.
const SETTLE_MS: u64 = 3_000;
/// A live subscription that stood so recently (milliseconds) may be meant by a NOTICE: some relays send EOSE before they
/// register what is live.
const JUST_STOOD_MS: u64 = 10_000;

#[derive(Debug, Default)]
pub(super) struct Budget {
    /// Requests without a word so far, in the order in which they were sent.
    unanswered: BTreeMap<SubNo, Asked>,
    /// Most subscriptions that were open side by side, the last of them answered.
    proved: usize,
    /// NOTICEs that are not laid at any request's door yet.
    notices: usize,
    /// When they are, whatever is unanswered then (milliseconds); 0 without any.
    pub(super) settle_ms: u64,
    /// A subscription for news alone had its EOSE: silence of another is no habit of the relay.
    answers_news_only: bool,
    /// A request for what is stored was answered to its end.
    answers_stored: bool,
    /// What silence seems to show, until a word shows that the link is alive.
    unsaid: Option<Learned>,
    /// The last request before the limit was learned: those up to it did not know of it.
    learned_after: Option<SubNo>,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    /// Subscriptions that were open when it was sent, so far as they were not refused.
    beside: usize,
    at_ms: u64,
}

impl Budget {
    /// Of the subscriptions that stood beside this one, those that are not without a word to this day.
    fn answered_beside(&self, sub: SubNo, asked: Asked) -> usize {
        asked.beside.saturating_sub(self.unanswered.range(..sub).count())
    }

    /// The subscription was refused: those that were asked for after it stood beside one less. Answers how many stood beside it.
    fn refuse(&mut self, sub: SubNo) -> Option<usize> {
        let asked = self.unanswered.remove(&sub)?;
        for later in self.unanswered.range_mut(sub..) {
            later.1.beside = later.1.beside.saturating_sub(1);
        }
        Some(asked.beside)
    }
}

/// Live subscriptions where so many are allowed in all.
fn limit_of(capacity: usize) -> usize {
    capacity.saturating_sub(IN_RESERVE).max(1)
}

impl Session {
    /// Subscriptions that the relay allows in all, so far as it is known.
    fn capacity(&self) -> Option<usize> {
        Room::of(&self.learned).live.map(|limit| limit + IN_RESERVE)
    }

    /// Requests for history that may be opened now.
    pub(super) fn room(&self) -> usize {
        let Some(capacity) = self.capacity() else { return usize::MAX };
        let history = self.subs.values().filter(|owner| matches!(owner, Owner::Page(_) | Owner::Ids(_))).count();
        IN_RESERVE.min(capacity.saturating_sub(self.live_count()).max(1)).saturating_sub(history)
    }

    /// A request is about to be sent.
    pub(super) fn note_opened(&mut self, sub: SubNo, now: Now) {
        let beside = self.open_count().saturating_sub(1);
        self.budget.unanswered.insert(sub, Asked { beside, at_ms: now.ms });
    }

    fn open_count(&self) -> usize {
        self.subs.values().filter(|owner| !matches!(owner, Owner::Exchange(_))).count()
    }

    /// An EVENT or EOSE of this subscription: the relay took it.
    pub(super) fn heard_of(&mut self, sub: SubNo, now: Now) {
        if let Some(facts) = self.budget.unsaid.take() {
            self.out.push_back(Output::Report(Said::Learned { facts }));
        }
        let Some(asked) = self.budget.unanswered.remove(&sub) else { return };
        self.forget_closed();
        self.budget.proved = self.budget.proved.max(self.budget.answered_beside(sub, asked) + 1);
        if self.budget.notices > 0 {
            self.weigh_notices(now);
        }
    }

    /// Its EOSE.
    pub(super) fn answered_to_its_end(&mut self, sub: SubNo) {
        let is_news_only = self.is_news_only(sub);
        self.budget.answers_news_only |= is_news_only;
        self.budget.answers_stored |= !is_news_only;
    }

    fn is_news_only(&self, sub: SubNo) -> bool {
        let Some(Owner::Live(key)) = self.subs.get(&sub) else { return false };
        let state = self.lives.get(key).map(|live| &live.state);
        matches!(state, Some(LiveState::Opening { sub: opening, is_news_only: true, .. }) if *opening == sub)
    }

    /// A NOTICE of too many subscriptions.
    pub(super) fn too_many_notice(&mut self, now: Now) {
        self.budget.notices += 1;
        self.weigh_notices(now);
    }

    /// As many notices as unanswered requests: they mean these. Else answers may still come for some of them.
    fn weigh_notices(&mut self, now: Now) {
        self.forget_closed();
        if self.budget.unanswered.len() <= self.budget.notices {
            self.settle_notices(now);
        } else {
            self.budget.settle_ms = now.ms + SETTLE_MS;
        }
    }

    fn settle_notices(&mut self, now: Now) {
        let notices = std::mem::take(&mut self.budget.notices);
        self.budget.settle_ms = 0;
        let mut meant: Vec<SubNo> = self.budget.unanswered.keys().copied().collect();
        meant.extend(self.just_stood(now).into_iter().take(notices.saturating_sub(meant.len())));
        if meant.is_empty() {
            self.learn_capacity(self.open_count(), now, LimitShown::Notice);
        } else {
            self.close_for_room(meant, LimitShown::Notice, now);
        }
    }

    /// Live subscriptions that stand since a moment ago, the newest first.
    fn just_stood(&self, now: Now) -> Vec<SubNo> {
        let recent = self.lives.values().filter(|live| now.ms < live.stood_ms + JUST_STOOD_MS);
        let standing = recent.filter_map(|live| match live.state {
            LiveState::Standing { sub } => Some(sub),
            LiveState::Opening { .. } | LiveState::Lost { .. } => None,
        });
        let mut standing: Vec<SubNo> = standing.collect();
        standing.sort_unstable_by(|this, that| that.cmp(this));
        standing
    }

    pub(super) fn tick_budget(&mut self, now: Now) {
        self.forget_closed();
        if self.budget.settle_ms > 0 && now.ms >= self.budget.settle_ms {
            self.settle_notices(now);
        }
        let silent = self.met_with_silence(now);
        if !silent.is_empty() {
            self.close_for_room(silent, LimitShown::Silence, now);
        }
    }

    /// Requests without a word for as long as their kind may take, on a relay that answers others and was never seen to have
    /// so many open.
    fn met_with_silence(&self, now: Now) -> Vec<SubNo> {
        let Budget { unanswered, proved, .. } = &self.budget;
        let ends_some = self.budget.answers_news_only || self.budget.answers_stored;
        // Where that would teach nothing, the relay is slow or gone, and the request is idle.
        let known = Room::of(&self.learned).live.unwrap_or(usize::MAX);
        let had_no_room = |sub: SubNo, asked: Asked| {
            let beside = self.budget.answered_beside(sub, asked);
            ends_some && beside >= *proved && limit_of(beside) < known
        };
        let is_overdue = |sub: SubNo, asked: Asked| {
            self.silence_limit(sub).is_some_and(|limit| now.ms >= (asked.at_ms + limit).max(self.paused_until_ms))
        };
        let without_room: Vec<(&SubNo, &Asked)> =
            unanswered.iter().filter(|(sub, asked)| had_no_room(**sub, **asked)).collect();
        // Where one had no room, others that had none either need not be waited for.
        let is_certain = without_room.iter().any(|(sub, asked)| is_overdue(**sub, **asked));
        if is_certain { without_room.into_iter().map(|(sub, _)| *sub).collect() } else { Vec::new() }
    }

    /// A page was begun and has not ended: on a relay that ended none so far, EOSE may be what is missing.
    fn withholds_eose(&self) -> bool {
        let is_begun =
            |(sub, owner): (&SubNo, &Owner)| matches!(owner, Owner::Page(_)) && !self.budget.unanswered.contains_key(sub);
        !self.budget.answers_stored && self.subs.iter().any(is_begun)
    }

    /// Milliseconds. None where silence has another meaning.
    fn silence_limit(&self, sub: SubNo) -> Option<u64> {
        match self.subs.get(&sub)? {
            Owner::Live(_) if !self.is_news_only(sub) => Some(OPEN_LIMIT_MS),
            Owner::Live(_) => self.budget.answers_news_only.then_some(LIMIT_ZERO_MS),
            Owner::Page(_) => (!self.withholds_eose()).then_some(PAGE_IDLE_MS),
            Owner::Ids(_) => Some(PROGRESS_MS),
            Owner::Exchange(_) => None,
        }
    }

    fn forget_closed(&mut self) {
        let subs = &self.subs;
        self.budget.unanswered.retain(|sub, _| subs.contains_key(sub));
    }

    fn close_for_room(&mut self, mut refused: Vec<SubNo>, shown: LimitShown, now: Now) {
        refused.sort_unstable();
        let owners = refused.iter().filter_map(|sub| self.subs.remove(sub).map(|owner| (*sub, owner))).collect();
        for sub in refused {
            self.send(Request::Close { sub: sub.to_string() });
        }
        self.refused_for_room(owners, shown, now);
    }

    /// These, which are open no more, had no room beside the others: what that shows is learned, then each is asked for again, in
    /// another way, or later. In the order in which they were asked for.
    pub(super) fn refused_for_room(&mut self, refused: Vec<(SubNo, Owner)>, shown: LimitShown, now: Now) {
        let open = self.open_count();
        let besides = refused.iter().map(|(sub, _)| self.budget.refuse(*sub).unwrap_or(open));
        let capacity = besides.min().unwrap_or(open);
        let knew_better = self.budget.learned_after.is_some_and(|last| refused.iter().all(|(sub, _)| *sub > last));
        if !self.learn_capacity(capacity, now, shown) && knew_better {
            self.tempo.too_many(now.ms);
        }
        for (sub, owner) in refused {
            match owner {
                Owner::Live(key) => self.live_without_room(key, sub, now),
                Owner::Page(unit) => self.page_without_room(unit, now),
                Owner::Ids(unit) => self.ids_without_room(unit, sub, now),
                Owner::Exchange(_) => {}
            }
        }
    }

    /// So many subscriptions are allowed and no more. Answers whether that is news.
    fn learn_capacity(&mut self, capacity: usize, now: Now, shown: LimitShown) -> bool {
        let limit = limit_of(capacity);
        if Room::of(&self.learned).live.is_some_and(|known| known <= limit) {
            return false;
        }
        self.budget.learned_after = self.subs.keys().next_back().copied();
        let (live_limit_at, live_limit_by) = (Some(now.wall), Some(shown));
        let facts = Learned { live_limit: Some(limit), live_limit_at, live_limit_by, ..Learned::default() };
        if shown != LimitShown::Silence {
            self.learn(facts);
        } else {
            self.learned.absorb(facts.clone());
            self.budget.unsaid = Some(facts);
        }
        self.keep_live_within(now);
        true
    }

    /// What was refused before is tried again: with a refresh, or when that was so long ago.
    pub(super) fn forget_limits(&mut self) {
        self.learned.live_limit = None;
        self.learned.live_limit_at = None;
        self.learned.live_limit_by = None;
        self.learned.refs_per_filter = None;
        self.budget.learned_after = None;
    }

    /// I3: whether there is room for the live subscription of `key`.
    pub(super) fn allows_live(&self, key: LiveKey) -> bool {
        match key {
            LiveKey::Announcements | LiveKey::Broad => true,
            LiveKey::Slot(slot) => {
                Room::of(&self.learned).live.is_none()
                    || crate::consolidation::is_live(slot, Room::of(&self.learned).live_limit(usize::MAX))
            }
        }
    }
}
