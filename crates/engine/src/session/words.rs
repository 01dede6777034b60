//! What goes into a session and what comes out of it.

use model::{BatchId, DownClass, EventId, Filter, Learned, Said, Timestamp, Via};

use crate::conduct::Excess;
use crate::walk::EoseHint;

/// Our word for a request that the relay took no notice of, or refused without naming it, because there were others.
pub(super) const NO_ROOM: &str = "the relay allows no more subscriptions";

/// Two clocks, each for one thing: durations by the monotonic one, `since` by the wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds; only differences mean anything.
    pub ms: u64,
    pub wall: Timestamp,
}

/// A stretch of history that is fetched: one filter, from open to proven end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnitId(pub u64);

/// What the shell tells a session. Events come through [`super::Session::event`] instead, which answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    Order(model::Ask),
    Frame(Frame),
    /// A part of a unit's ledger set is loaded.
    SetMoved {
        unit: UnitId,
    },
    /// The ledger set of a unit is loaded; `message` opens the exchange (hex).
    SetReady {
        unit: UnitId,
        message: String,
    },
    /// The ledger has more ids for a unit than were to be loaded.
    SetTooLarge {
        unit: UnitId,
    },
    /// One round of an exchange: ids to fetch, and the next message unless the sets are reconciled. So many more are `awaited`:
    /// somebody else brings them home, and each is settled here when it has its outcome.
    Reconciled {
        unit: UnitId,
        need: Vec<EventId>,
        awaited: usize,
        reply: Option<String>,
    },
    /// The relay's message is not negentropy, or the set could not be loaded.
    ReconcileFailed {
        unit: UnitId,
        why: String,
    },
    /// An event that came with this ticket is dealt with.
    Settled {
        ticket: Ticket,
        event: EventId,
        what: Settled,
    },
    /// The answer to a challenge is signed: its id, and the event's JSON.
    Signed {
        id: EventId,
        json: String,
    },
    /// Something was learned about the relay beside the session.
    Learned {
        facts: Box<Learned>,
    },
    /// A deadline has passed.
    Tick,
}

/// A relay's message, other than EVENT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    Eose {
        sub: String,
        hint: EoseHint,
    },
    Closed {
        sub: String,
        text: String,
    },
    Notice {
        text: String,
    },
    NegMsg {
        sub: String,
        message: String,
    },
    NegErr {
        sub: String,
        text: String,
    },
    /// NIP-42: who are you?
    Auth {
        challenge: String,
    },
    /// Of an event that we sent, which is an answer to `Auth`.
    Ok {
        id: EventId,
    },
}

/// Where an event belongs: the shell gives it back when the event is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ticket {
    pub unit: Option<UnitId>,
    pub batch: Option<BatchId>,
    /// How it came.
    pub via: Option<Via>,
}

impl Ticket {
    /// Whether it came by a live subscription, after all that was stored.
    #[must_use]
    pub fn is_live_news(&self) -> bool {
        self.unit.is_none() && self.via == Some(Via::Live)
    }
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It has its final outcome, and was not known before.
    Fresh,
    /// It had one already.
    Known,
    /// Its id or signature is not that of its content: no outcome. `frame` stands for this copy of it.
    Forged { frame: u64 },
    /// It was awaited, and somebody else's copy was forged, or did not come: nothing is known of it yet.
    NotBrought,
}

/// What becomes of an EVENT frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It answers what was asked. It must be settled by [`Input::Settled`].
    Take(Ticket),
    /// The same page of the same walk brought it before.
    Repeat,
    /// It came with the broad filter, and is of nothing that we want: to be dropped, and nobody's fault.
    Unwanted,
    /// Nothing had asked for it: to be dropped.
    Stray,
}

/// What a session asks of the shell, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one at a time passes from a session to its shell")]
pub enum Output {
    Send(Request),
    /// Load the ledger's set for `filter`, unless it has more than `most` ids; with `again`, the former set and all that
    /// this unit fetched since.
    LoadSet {
        unit: UnitId,
        filter: Filter,
        again: bool,
        most: usize,
    },
    /// Take the relay's message into the unit's exchange.
    Reconcile {
        unit: UnitId,
        message: String,
    },
    /// All ids that the unit asked for have come, or do not come.
    Fetched {
        unit: UnitId,
    },
    /// The unit's set is of no more use.
    DropSet {
        unit: UnitId,
    },
    /// NIP-42: sign an answer to this challenge, and say so by [`Input::Signed`]. Never asked for without the operator's consent.
    Sign {
        challenge: String,
    },
    Report(Said),
    /// The relay went beyond what it is let: to be counted.
    Breach(Excess),
    HangUp(DownClass),
}

/// A message to the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    Req {
        sub: String,
        filter: Filter,
    },
    Close {
        sub: String,
    },
    NegOpen {
        sub: String,
        filter: Filter,
        message: String,
    },
    NegMsg {
        sub: String,
        message: String,
    },
    NegClose {
        sub: String,
    },
    /// The JSON of a signed event (NIP-42).
    Auth {
        json: String,
    },
}
