//! A session with one relay, from an open socket to its end, as a sans-IO state machine.
//!
//! Owns: subscriptions, history in flight, what confirms and what does not, deadlines. Never: a socket, a clock, the
//! negentropy arithmetic, events themselves; the shell sends what [`Session::poll_output`] gives and decides nothing.

mod audit;
mod auth;
mod broad;
mod budget;
mod conduct;
mod deadlines;
mod exchange;
mod faults;
mod frames;
mod ids;
mod limits;
mod live;
mod orders;
mod overflow;
mod polls;
mod rebuild;
mod refusal;
mod unit;
mod words;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use model::{BatchId, Event, EventId, Learned, Resume, Said, Slot, Timestamp};

use broad::Broad;
use budget::Budget;
pub use deadlines::{Deadline, WaitsFor};
pub use words::{Frame, Input, Now, Output, Request, Settled, Ticket, UnitId, Verdict};

use crate::auth::{Auth, Policy};
use crate::conduct::{Conduct, Excess};
use crate::resume::unoverlapped;
use crate::room::{IN_RESERVE, Room, page_limit};
use crate::tempo::Tempo;
use crate::walk::Manners;
use audit::Auditing;
use faults::Seen;
use live::{Live, LiveKey};
use overflow::Overflow;
use polls::Poll;
use unit::{Batch, Purpose, Stage, Unit, batch_of};

/// A live subscription that has no EOSE by then (milliseconds) does not stand.
const OPEN_LIMIT_MS: u64 = 30_000;
/// A lost live subscription is asked for again after this long (milliseconds), doubling while it is refused.
const REOPEN_MS: u64 = 5_000;
/// A live subscription that stood this long (milliseconds) was no refusal in disguise: its next loss is the first.
const STEADY_MS: u64 = 60_000;
/// Layer 1 or a gap that could not be read is tried again after this long (milliseconds), doubling while it cannot.
const RETRY_UNIT_MS: u64 = 30_000;
/// How long (milliseconds) a page waits that the relay had no subscription for, doubling up to 32 times that.
const ROOM_MS: u64 = 1_000;
/// Refusals of one stretch for its rate or its number, one after the other: then it is incomplete, and asked for again later.
const MOST_REFUSALS: u32 = 8;

/// A subscription of ours; ids are never used twice on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct SubNo(u64);

impl fmt::Display for SubNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

impl SubNo {
    fn read(text: &str) -> Option<Self> {
        text.strip_prefix('s')?.parse().ok().map(Self)
    }
}

/// What a subscription is for: CLOSED and EOSE reach their owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Live(LiveKey),
    Page(UnitId),
    Ids(UnitId),
    Exchange(UnitId),
}

#[derive(Debug)]
pub struct Session {
    resume: Resume,
    learned: Learned,
    manners: Manners,
    subs: BTreeMap<SubNo, Owner>,
    lives: BTreeMap<LiveKey, Live>,
    /// I3: live filters without room.
    polls: BTreeMap<Slot, Poll>,
    /// When the last poll began (milliseconds).
    polled_ms: u64,
    units: BTreeMap<UnitId, Unit>,
    batches: BTreeMap<BatchId, Batch>,
    auditing: Option<Auditing>,
    /// Stretches that were too much for one exchange, by the unit that they were at first.
    overflows: BTreeMap<UnitId, Overflow>,
    /// S14: the live subscriptions that stay when all of them stand.
    rebuilding: Option<BTreeSet<LiveKey>>,
    /// The layout of chunks of the last rebuild.
    layout: Option<u64>,
    taken: Taken,
    /// `limit: 0` was not answered in time on this link.
    was_silent_at_zero: bool,
    /// The pause that is on: since when, until when. Both 0 without one.
    paused_since_ms: u64,
    paused_until_ms: u64,
    budget: Budget,
    broad: Broad,
    /// Of the host: links to it share it.
    tempo: Tempo,
    auth: Auth,
    /// Something may be held back until this moment (milliseconds); 0 when nothing is.
    held_until_ms: u64,
    /// Last outcome of an event of this link (milliseconds).
    settled_ms: u64,
    last_number: u64,
    moved: BTreeSet<BatchId>,
    /// Frames of subscriptions that are not ours, or events outside their filter.
    strays: u64,
    conduct: Conduct,
    /// Faulty frames of this link, by fingerprint.
    faulty: BTreeMap<u64, Seen>,
    out: VecDeque<Output>,
}

/// How far the opening of the link has come.
#[derive(Debug, Default)]
struct Taken {
    announcements: bool,
    catch_up: bool,
    said_caught_up: bool,
}

impl Session {
    /// A session on a link that has just come up.
    #[must_use]
    pub fn new(resume: Resume, learned: Learned) -> Self {
        Self {
            resume,
            manners: Manners {
                largest_page: learned.page_cap.unwrap_or(0),
                excludes_until: learned.excludes_until.unwrap_or(false),
                page_limit: page_limit(&learned),
                ..Manners::default()
            },
            learned,
            subs: BTreeMap::new(),
            lives: BTreeMap::new(),
            polls: BTreeMap::new(),
            polled_ms: 0,
            units: BTreeMap::new(),
            batches: BTreeMap::new(),
            auditing: None,
            overflows: BTreeMap::new(),
            rebuilding: None,
            layout: None,
            taken: Taken::default(),
            was_silent_at_zero: false,
            paused_since_ms: 0,
            paused_until_ms: 0,
            budget: Budget::default(),
            broad: Broad::default(),
            tempo: Tempo::default(),
            auth: Auth::new(Policy::Never),
            held_until_ms: 0,
            settled_ms: 0,
            last_number: 0,
            moved: BTreeSet::new(),
            strays: 0,
            conduct: Conduct::default(),
            faulty: BTreeMap::new(),
            out: VecDeque::new(),
        }
    }

    /// The same, on which the relay is told who we are when this allows it. Without, it never is.
    #[must_use]
    pub fn with_auth(self, policy: Policy) -> Self {
        Self { auth: Auth::new(policy), ..self }
    }

    /// The same with a relay that the operator answers for, whatever it does: home.
    #[must_use]
    pub fn with_trust(self) -> Self {
        Self { conduct: Conduct::trusted(), ..self }
    }

    /// Takes one thing that happened.
    pub fn handle(&mut self, input: Input, now: Now) {
        match input {
            Input::Order(ask) => self.order(ask, now),
            Input::Frame(frame) => self.frame(frame, now),
            Input::SetMoved { unit } => self.set_moved(unit, now),
            Input::SetReady { unit, message } => self.set_ready(unit, message, now),
            Input::SetTooLarge { unit } => self.set_too_large(unit, now),
            Input::Reconciled { unit, need, awaited, reply } => {
                self.awaits(unit, awaited);
                self.reconciled(unit, need, reply, now);
            }
            Input::ReconcileFailed { unit, why } => self.walk_instead(unit, &why, false, now),
            Input::Settled { ticket, event, what } => self.settled(ticket, event, what, now),
            Input::Signed { id, json } => self.say_who_we_are(id, json),
            Input::Learned { facts } => {
                self.learn(*facts);
                self.manners.page_limit = page_limit(&self.learned);
            }
            Input::Tick => self.tick(now),
        }
        self.tend_broad(now);
        self.start_poll(now);
        self.use_room(now);
        self.start_units(now);
        self.say_caught_up();
        if !self.may_ask(now) {
            self.held_until_ms = self.asks_at();
        }
    }

    /// What is known of the host: whoever has several links to it lends each of them the same, for as long as a call takes.
    pub fn tempo_mut(&mut self) -> &mut Tempo {
        &mut self.tempo
    }

    /// Takes an EVENT frame: whether it is an answer to what was asked, and new to it.
    pub fn event(&mut self, sub: &str, event: &Event, now: Now) -> Verdict {
        let verdict = self.judge(sub, event, now);
        if let Some(excess) = self.excess_of(sub, verdict) {
            self.note(excess, now);
        }
        match verdict {
            Verdict::Take(Ticket { unit: Some(id), .. }) => self.count_event(id),
            Verdict::Take(Ticket { unit: None, .. }) | Verdict::Repeat => {}
            Verdict::Stray => self.strays += 1,
            Verdict::Unwanted => self.count_unwanted(),
        }
        verdict
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// Since when something of what is covered may have been missed and not been read yet: a lost live subscription, a gap, a
    /// filter whose turn is to come. What is known good about a link (`last up`) must not pass it.
    #[must_use]
    pub fn behind_since(&self) -> Option<Timestamp> {
        let gap = |unit: &Unit| match unit.purpose {
            Purpose::Gap(_) => unit.filter.since.map(unoverlapped),
            Purpose::Announcements | Purpose::Batch(_) | Purpose::Poll(_) | Purpose::Audit => None,
        };
        let gaps = self.units.values().filter_map(gap);
        let lives = self.lives.values().filter_map(Live::unread_since);
        let polls = self.polls.values().filter(|poll| !self.is_with_broad(poll)).map(|poll| poll.read_until);
        gaps.chain(lives).chain(polls).min()
    }

    /// Batches that moved since this was asked last: their deadlines move too. So do those of batches with a part that waits
    /// here, for its turn, a pause or home: what waits for the relay has deadlines of its own, and ends the batch itself.
    pub fn take_moved(&mut self) -> Vec<BatchId> {
        let waits_here = |unit: &&Unit| match &unit.stage {
            Stage::Queued { .. } | Stage::Walk { page: None, .. } | Stage::Settling => true,
            Stage::Exchange(exchange) => exchange.wait().is_none(),
            Stage::Walk { page: Some(_), .. } => false,
        };
        let waiting = self.units.values().filter(waits_here).filter_map(|unit| batch_of(unit.purpose));
        let mut moved = std::mem::take(&mut self.moved);
        moved.extend(waiting);
        moved.into_iter().collect()
    }

    /// Live subscriptions that are open or asked for (I3), counted on the wire.
    #[must_use]
    pub fn live_count(&self) -> usize {
        self.subs.values().filter(|owner| matches!(owner, Owner::Live(_))).count()
    }

    /// Whether no history is in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.units.is_empty() && self.batches.is_empty()
    }

    /// Whether every live subscription stands: none is being opened, lost, or waits for its turn.
    #[must_use]
    pub fn is_standing(&self) -> bool {
        // What the broad one brings is polled until it stands.
        self.lives.iter().all(|(key, live)| *key == LiveKey::Broad || live.is_standing())
    }

    /// EVENT frames that nothing had asked for.
    #[must_use]
    pub fn strays(&self) -> u64 {
        self.strays
    }

    fn settled(&mut self, ticket: Ticket, event: EventId, what: Settled, now: Now) {
        self.settled_ms = now.ms;
        match what {
            Settled::Forged { .. } => self.note(Excess::Forged, now),
            Settled::Known if ticket.is_live_news() => self.note(Excess::Repeats, now),
            Settled::Fresh | Settled::Known | Settled::NotBrought => {}
        }
        match (what, ticket.unit) {
            (Settled::Fresh | Settled::Known, _) => self.is_true(event),
            (Settled::Forged { frame }, Some(unit)) => self.forged(unit, event, frame),
            (Settled::Forged { .. }, None) | (Settled::NotBrought, _) => {}
        }
        let Some(id) = ticket.unit else { return };
        self.moved(id, 0);
        if what == Settled::Fresh {
            self.audit_found(id);
        }
        if let (Settled::Fresh, Some(batch)) = (what, ticket.batch.and_then(|batch| self.batches.get_mut(&batch))) {
            batch.counts.fresh += 1;
        }
        let Some(unit) = self.units.get_mut(&id) else { return };
        unit.unsettled = unit.unsettled.saturating_sub(1);
        match unit.stage {
            Stage::Exchange(_) => self.end_pass(id, now),
            Stage::Settling => self.finish_if_settled(id, now),
            Stage::Queued { .. } | Stage::Walk { .. } => {}
        }
    }

    fn tick(&mut self, now: Now) {
        self.auth.tick(now.ms);
        if now.ms >= self.paused_until_ms {
            if self.paused_until_ms > 0 {
                self.hold_cut_pages(self.paused_since_ms);
            }
            (self.paused_since_ms, self.paused_until_ms) = (0, 0);
        }
        if now.ms >= self.held_until_ms {
            self.held_until_ms = 0;
        }
        self.tick_budget(now);
        self.ask_what_waits(now);
        self.tick_units(now);
        self.tick_lives(now);
    }

    /// Where the relay limits subscriptions, what ended leaves room for what waits.
    fn use_room(&mut self, now: Now) {
        if (1..=IN_RESERVE).contains(&self.room()) {
            self.ask_what_waits(now);
        }
    }

    /// Pages and ids that a pause or other subscriptions held back.
    fn ask_what_waits(&mut self, now: Now) {
        if !self.may_ask(now) {
            return;
        }
        self.ask_held_pages(now);
        let exchanging: Vec<UnitId> =
            self.units.iter().filter(|(_, unit)| matches!(unit.stage, Stage::Exchange(_))).map(|(id, _)| *id).collect();
        for id in exchanging {
            self.fetch_ids(id, now);
        }
    }

    /// Says once that every live subscription stands and nothing of the time before this link is left.
    fn say_caught_up(&mut self) {
        let is_opened = self.taken.announcements && (self.taken.catch_up || self.resume == Resume::Fresh);
        let has_gaps = self.units.values().any(|unit| matches!(unit.purpose, Purpose::Announcements | Purpose::Gap(_)));
        let has_gaps = has_gaps || self.polls.values().any(|poll| !poll.is_caught_up);
        if self.taken.said_caught_up || !is_opened || has_gaps || !self.is_standing() {
            return;
        }
        self.taken.said_caught_up = true;
        self.out.push_back(Output::Report(Said::CaughtUp));
    }

    fn learn(&mut self, facts: Learned) {
        self.learned.absorb(facts.clone());
        self.out.push_back(Output::Report(Said::Learned { facts }));
    }

    fn touch(&mut self, id: UnitId, now: Now) {
        if let Some(unit) = self.units.get_mut(&id) {
            unit.moved_ms = now.ms;
        }
    }

    fn free_units(&self) -> usize {
        let is_active = |unit: &&Unit| matches!(unit.stage, Stage::Exchange(_) | Stage::Walk { .. });
        let most = if Room::of(&self.learned).live.is_some() { IN_RESERVE } else { usize::MAX };
        most.min(self.tempo.width()).saturating_sub(self.units.values().filter(is_active).count())
    }

    fn owner(&self, sub: &str) -> Option<(SubNo, Owner)> {
        let sub = SubNo::read(sub)?;
        self.subs.get(&sub).map(|owner| (sub, *owner))
    }

    fn new_sub(&mut self, owner: Owner, now: Now) -> SubNo {
        self.last_number += 1;
        let sub = SubNo(self.last_number);
        self.subs.insert(sub, owner);
        if !matches!(owner, Owner::Exchange(_)) {
            self.note_opened(sub, now);
        }
        sub
    }

    fn next_unit(&mut self) -> UnitId {
        self.last_number += 1;
        UnitId(self.last_number)
    }

    fn close(&mut self, sub: SubNo) {
        if self.subs.remove(&sub).is_some() {
            self.send(Request::Close { sub: sub.to_string() });
        }
    }

    fn send(&mut self, request: Request) {
        self.out.push_back(Output::Send(request));
    }
}
