//! Questions to the state service and their answers.

use nostr::prelude::{EventId, Filter, PublicKey, Timestamp};
use serde::{Deserialize, Serialize};

use crate::RelayUrl;
use crate::explain::{Explanation, Next, Subject};
use crate::item::{Item, RepoAddr};
use crate::ledger::{LedgerRow, Waiting};
use crate::link::{BatchId, Epoch, Learned, Method, Resume, Role, UpstreamId, WorkerId};
use crate::message::{Bar, BatchCounts, Discovery, DownClass};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Query {
    /// A connector renews its lease and learns which upstreams are its own.
    Lease(LeaseRequest),
    /// What a discovery window gathered is to be on the books (S2, S3). The answer comes after the commit.
    Discover(Discovery),
    /// A session has an open socket and asks for a new epoch.
    Up {
        upstream: UpstreamId,
        epoch: Epoch,
    },
    /// A planner looks at one upstream, which is its own to plan from now until it says `Planned`, for a few seconds at most.
    Snapshot {
        upstream: UpstreamId,
        planner: String,
    },
    /// The planner claims what its plan asks for.
    Claim {
        claim: Claim,
        planner: String,
    },
    /// The orders of the plan are sent.
    Planned {
        upstream: UpstreamId,
        planner: String,
    },
    /// Upstreams that the planner should look at although nobody said so (sweep).
    Due,
    /// One page of a ledger set, for negentropy.
    Ledger {
        scope: LedgerScope,
        after: Option<LedgerCursor>,
    },
    /// Which of these ids have a final outcome.
    Known {
        ids: Vec<EventId>,
    },
    /// Which of these ids home holds without serving them (`held`).
    Held {
        ids: Vec<EventId>,
    },
    /// What home holds under these identifiers: who speaks for a repository is decided from it.
    Announced {
        identifiers: Vec<String>,
    },
    /// Which of these keys bar events from home.
    Bars {
        keys: Vec<String>,
    },
    /// Events that home refuses until something arrives are to be kept. Answers with how many are.
    Hold {
        waiting: Vec<Waiting>,
    },
    /// Some of the kept events for which something has arrived: to be offered to home again, and settled.
    Released,
    /// What became of released events.
    Settle {
        rows: Vec<LedgerRow>,
    },
    /// What is let in from now on: refusals that another policy has caused are forgotten. Answers with whether it is another.
    Policy {
        fingerprint: String,
    },
    Status,
    /// What is known of one event, repository or upstream, and why it stands as it does.
    Explain {
        subject: Subject,
    },
}

impl Query {
    /// One word, as it stands in subjects, logs and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Lease(_) => "lease",
            Self::Discover(_) => "discover",
            Self::Up { .. } => "up",
            Self::Snapshot { .. } => "snapshot",
            Self::Claim { .. } => "claim",
            Self::Planned { .. } => "planned",
            Self::Due => "due",
            Self::Ledger { .. } => "ledger",
            Self::Known { .. } => "known",
            Self::Held { .. } => "held",
            Self::Announced { .. } => "announced",
            Self::Bars { .. } => "bars",
            Self::Hold { .. } => "hold",
            Self::Released => "released",
            Self::Settle { .. } => "settle",
            Self::Policy { .. } => "policy",
            Self::Status => "status",
            Self::Explain { .. } => "explain",
        }
    }

    /// Whether asking twice is as good as asking once: then a question whose answer was lost is simply asked again.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        match self {
            Self::Up { .. } | Self::Claim { .. } => false,
            Self::Lease(_)
            | Self::Discover(_)
            | Self::Snapshot { .. }
            | Self::Planned { .. }
            | Self::Due
            | Self::Ledger { .. }
            | Self::Known { .. }
            | Self::Held { .. }
            | Self::Announced { .. }
            | Self::Bars { .. }
            | Self::Hold { .. }
            | Self::Released
            | Self::Settle { .. }
            | Self::Policy { .. }
            | Self::Status
            | Self::Explain { .. } => true,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Leases(Vec<Assignment>),
    /// The upstreams whose coverage changed.
    Discovered(Vec<UpstreamId>),
    Up(UpGranted),
    Snapshot(Box<Snapshot>),
    Claimed(Claimed),
    /// Whether the upstream was the planner's until now.
    Planned(bool),
    Due(Vec<UpstreamId>),
    Ledger(LedgerPage),
    Known(Vec<EventId>),
    Announced(Vec<Announced>),
    Bars(Vec<Bar>),
    Held(u64),
    Released(Vec<Waiting>),
    Settled(u64),
    Policy(bool),
    Status(Status),
    Explanation(Box<Explanation>),
    Failed(StateError),
}

/// Why the state service did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum StateError {
    /// The epoch or the lease is somebody else's by now: the session ends.
    #[error("fenced: the epoch is no longer current")]
    Fenced,
    #[error("no such upstream")]
    NoSuchUpstream,
    /// Another planner plans this upstream: look again in a moment.
    #[error("another planner is at it")]
    BeingPlanned,
    /// The store failed; asking again later may work.
    #[error("store: {0}")]
    Store(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRequest {
    pub worker: WorkerId,
    /// Lease length, in milliseconds from when the store reads its own clock.
    pub ttl_ms: u64,
    /// Links with an event that has had no final outcome since this moment: their `last up` must not pass it.
    pub behind: Vec<(UpstreamId, Timestamp)>,
    /// The worker stops: its upstreams are free at once.
    pub leaving: bool,
    /// How its writes to home go.
    #[serde(default)]
    pub writes: HomeWrites,
}

/// How writes to home go, of one worker or of all together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeWrites {
    /// Events that were offered and have no final word from home yet. What their upstreams still hold back waits behind
    /// them, unseen.
    pub waiting: u64,
    /// Events that home gave its final word on within the last minute.
    pub per_minute: u64,
    /// Home has refused writes for their rate within the last minute.
    pub is_limited: bool,
}

impl HomeWrites {
    /// How long what waits takes at the rate of the last minute (seconds), if anything moves.
    #[must_use]
    pub fn left_secs(self) -> Option<u64> {
        (self.per_minute > 0).then(|| self.waiting.saturating_mul(60).div_ceil(self.per_minute))
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            waiting: self.waiting + other.waiting,
            per_minute: self.per_minute + other.per_minute,
            is_limited: self.is_limited || other.is_limited,
        }
    }
}

/// An upstream that a connector holds a lease on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    pub upstream: UpstreamId,
    pub url: RelayUrl,
    pub role: Role,
    pub epoch: Epoch,
    /// Not before this moment (S17).
    pub dial_at: Timestamp,
    pub learned: Learned,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpGranted {
    pub epoch: Epoch,
    pub resume: Resume,
}

/// What the planner sees of one upstream. Lists that can grow without bound are cut or left out unless needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub upstream: UpstreamId,
    pub url: RelayUrl,
    pub role: Role,
    pub epoch: Epoch,
    pub link: LinkView,
    pub learned: Learned,
    pub now: Timestamp,
    /// Wanted items that may be asked for now, in stable order, with the chunk they belong to; cut at a bound.
    pub missing: Vec<Covered>,
    /// All wanted items, those not listed in `missing` too.
    pub wanted: u64,
    pub pending: u64,
    pub confirmed: u64,
    pub batches_in_flight: usize,
    /// The newest chunk of each kind of item, and every chunk that a missing item belongs to, with all their members.
    pub tails: Vec<Tail>,
    /// One above the highest chunk number in use: by repos, by roots. They share one row of numbers.
    pub chunks: (u32, u32),
    /// Items of the largest chunk: of repos, of roots.
    #[serde(default)]
    pub largest: (u64, u64),
    /// Counts the changes of chunks other than growth: each live filter is of one layout.
    #[serde(default)]
    pub layout: u64,
    /// The chunks are not those that the session has taken: the layout that its live filters are to be rebuilt to.
    pub rebuild: Option<u64>,
    /// Every pending or confirmed item: only when the link is not opened yet, or its live filters are to be rebuilt.
    pub covered: Option<Vec<Covered>>,
    pub refresh_at: Timestamp,
    /// Nothing is asked before this moment (S18, or after incomplete batches).
    pub ask_at: Option<Timestamp>,
    /// Since when no item is wanted, pending or confirmed.
    pub empty_since: Option<Timestamp>,
    /// S9: what is still to be compared since the last quick reconnect.
    #[serde(default)]
    pub audit: Option<Audit>,
}

/// An audit that is not over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    pub due_at: Timestamp,
    /// The next part of it: 0 is layer 1, every other one the chunk below its number.
    pub part: u32,
    /// The confirmed items of that chunk; none before it is due.
    pub items: Vec<Item>,
}

/// An item on one upstream, with the chunk of live filters that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Covered {
    pub item: Item,
    pub chunk: Option<u32>,
}

/// A chunk with its members; the newest one is joined by new items until it is full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tail {
    pub chunk: u32,
    pub items: Vec<Item>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkView {
    Down { dial_at: Timestamp },
    Up { resume: Resume, opened: bool, caught_up: bool },
}

/// What a plan takes: items become pending, chunks are written, a refresh starts over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub upstream: UpstreamId,
    pub epoch: Epoch,
    /// S15: release pending, clear confirmed, fresh; the next refresh is due at this moment.
    pub refresh: Option<Timestamp>,
    /// S14: new chunks for these items.
    pub rechunk: Vec<(Item, u32)>,
    pub drafts: Vec<Draft>,
    /// S9: the next part of an audit is asked for; without word of it, not again before this moment.
    #[serde(default)]
    pub audit: Option<Timestamp>,
}

/// A batch before it has an id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    pub items: Vec<Item>,
    pub chunk: u32,
    pub method: Method,
}

/// One entry per draft, in order: the batch, or nothing where an item was no longer wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed {
    pub batches: Vec<Option<BatchId>>,
}

/// Which part of the ledger a set is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerScope {
    /// A filter of layer 1 (`kinds`), 2 or 3 (one tag), with `since` and `until` at most.
    pub filter: Filter,
    /// Only what home holds: for the exchange with home itself.
    pub at_home: bool,
}

/// Where the next page of a set begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LedgerCursor {
    pub created_at: Timestamp,
    pub id: EventId,
}

/// Part of a set, sorted by time, then id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerPage {
    pub rows: Vec<LedgerCursor>,
    pub is_last: bool,
}

/// A repo that home holds an announcement of, and whom that names as its maintainers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Announced {
    pub addr: RepoAddr,
    pub maintainers: Vec<PublicKey>,
    /// Where it says that its git data may be had.
    #[serde(default)]
    pub clone_urls: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub repos: u64,
    pub roots: u64,
    /// Events in the ledger that home holds.
    pub at_home: u64,
    /// Events in the ledger, by outcome.
    pub outcomes: Vec<(String, u64)>,
    pub upstreams: Vec<UpstreamStatus>,
    /// How writes to home go, over all workers.
    #[serde(default)]
    pub writes: HomeWrites,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamStatus {
    pub upstream: UpstreamId,
    pub url: RelayUrl,
    pub role: Role,
    pub link: LinkView,
    pub wanted: u64,
    pub pending: u64,
    pub confirmed: u64,
    pub learned: Learned,
    /// Failures in a row, and the class of the last one.
    pub failures: u32,
    pub last_down: Option<DownClass>,
    /// Why items are not confirmed, as the last incomplete batch put it.
    pub incomplete: Option<String>,
    /// Sums over the life of the store.
    pub counts: BatchCounts,
    /// What is tried next, and why then. None: never, as `incomplete` says; or nothing is wanted there, and nobody dials it.
    #[serde(default)]
    pub next: Option<Next>,
    /// Whatever it published of confirmed items up to this moment has its final outcome at home. The moment of the answer where
    /// its link is up and nothing waits; None: never yet.
    #[serde(default)]
    pub good_to: Option<Timestamp>,
    /// Its link was left up, but nobody has renewed the lease on it since this moment, and the lease is over: no process is there
    /// that would know better.
    #[serde(default)]
    pub unheld_since: Option<Timestamp>,
}
