//! What the system knows about one event, repository or upstream, and why it stands there as it does: the answer to
//! `grasp-sync explain`. Plain figures and words; how they are shown is the command's business.

use std::fmt;

use nostr::prelude::{EventId, Kind, PublicKey, Timestamp};
use serde::{Deserialize, Serialize};

use crate::RelayUrl;
use crate::item::RepoAddr;
use crate::ledger::{Outcome, Ref, Via};
use crate::link::{BatchId, Epoch, LimitShown, Role};
use crate::message::BatchCounts;
use crate::query::UpstreamStatus;

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    Event(EventId),
    Repo(RepoAddr),
    Upstream(RelayUrl),
}

/// The answer. `None` in [`Explained::Repo`] and [`Explained::Upstream`]: nothing is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The moment that the answer is of.
    pub now: Timestamp,
    pub explained: Explained,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Explained {
    Event(Box<EventExplained>),
    Repo(Option<Box<RepoExplained>>),
    Upstream(Option<Box<UpstreamExplained>>),
}

impl Explanation {
    /// Whether anything is known of what was asked about.
    #[must_use]
    pub fn is_known(&self) -> bool {
        match &self.explained {
            Explained::Event(event) => event.is_known(),
            Explained::Repo(repo) => repo.is_some(),
            Explained::Upstream(upstream) => upstream.is_some(),
        }
    }
}

/// When something is tried next, and why then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    pub at: Timestamp,
    pub why: NextWhy,
}

/// Why the next attempt is when it is. Closed, so that people, tests and JSON agree on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NextWhy {
    /// The link is down: it is dialed then (S17).
    Dial,
    /// The link is new: what was confirmed is being opened again.
    CatchUp,
    /// Something is wanted, and nothing stands in its way: the next look of the planner asks for it.
    Ask,
    /// The upstream asked for a pause, or batches ended incomplete: it is asked again then (S18).
    AskAgain,
    /// A batch is under way; without progress it goes back to wanted then.
    Deadline,
    /// Nothing is missing: the next fresh sync (S15).
    Refresh,
    /// Nothing is wanted there: it is hung up then (S16).
    HangUp,
}

impl NextWhy {
    /// A stable word for tables and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dial => "dial",
            Self::CatchUp => "catch-up",
            Self::Ask => "ask",
            Self::AskAgain => "ask-again",
            Self::Deadline => "deadline",
            Self::Refresh => "refresh",
            Self::HangUp => "hang-up",
        }
    }
}

/// What became of one event, and how it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventExplained {
    pub id: EventId,
    /// None: it was never seen.
    pub seen: Option<Seen>,
    /// It is kept until something that it needs arrives.
    pub waiting: Option<WaitingSince>,
    /// It is the announcement that stands for this repository.
    pub announces: Option<RepoAddr>,
    /// It is a root: where it is covered.
    pub coverage: Vec<CoverageAt>,
    /// It was never seen: the upstreams that may still serve it, for they are not read to the end.
    pub expected_at: Vec<UpstreamStatus>,
}

impl EventExplained {
    #[must_use]
    pub fn is_known(&self) -> bool {
        let Self { id: _, seen, waiting, announces, coverage, expected_at: _ } = self;
        seen.is_some() || waiting.is_some() || announces.is_some() || !coverage.is_empty()
    }
}

/// A row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub created_at: Timestamp,
    pub kind: Kind,
    /// None: what became of it was forgotten, so that it may come again.
    pub outcome: Option<Outcome>,
    /// Home's own words, or ours.
    pub reason: Option<String>,
    /// The upstream that served it first; none: home itself offered it again, or nobody remembers.
    pub first_upstream: Option<RelayUrl>,
    /// None: it was seen by a version that did not note it.
    pub via: Option<Via>,
    pub batch: Option<BatchShown>,
    /// None: it was seen by a version that did not note it.
    pub first_at: Option<Timestamp>,
    /// When it got the outcome that it has.
    pub outcome_at: Timestamp,
    /// What it names by `a`, `A`, `e`, `E`, `q`; values that were written down by their hash only are not among them.
    pub refs: Vec<Ref>,
}

/// An event that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingSince {
    pub since: Timestamp,
    /// Any of these may release it: ids, addresses, `30617::<identifier>`.
    pub parents: Vec<String>,
    /// One of them has come: it is offered to home again within seconds.
    pub is_released: bool,
}

/// One item on one upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoverageAt {
    pub upstream: RelayUrl,
    pub role: Role,
    pub state: CoverageState,
    /// Since when it is wanted; since when it is confirmed, where it is.
    pub since: Timestamp,
    /// How its history was read last: `negentropy` or `REQ`.
    pub method: Option<String>,
    /// The batch that it is in, or was in last.
    pub batch: Option<BatchId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CoverageState {
    Wanted,
    Pending,
    Confirmed,
}

impl CoverageState {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Pending => "pending",
            Self::Confirmed => "confirmed",
        }
    }
}

/// One repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoExplained {
    pub addr: RepoAddr,
    /// The announcement that home holds; none: deleted, or known only as what a root tags.
    pub announcement: Option<(EventId, Timestamp)>,
    /// Its author deleted it: versions up to this moment are gone.
    pub removed_until: Option<Timestamp>,
    /// Whom the announcement names.
    pub maintainers: Vec<PublicKey>,
    /// Who else announces this identifier at home.
    pub also_announced_by: Vec<PublicKey>,
    /// Where its git data may be had.
    pub clone_urls: Vec<String>,
    pub roots: u64,
    /// Of these, roots over the budget of their author: no filter names them, and what is said about them comes as far as it tags
    /// the repository.
    #[serde(default)]
    pub roots_beyond: u64,
    /// Events that are kept until this repository is announced.
    pub waiting: u64,
    /// Home, then every upstream that it lists, refused ones too.
    pub upstreams: Vec<RepoAt>,
}

/// A repository on one upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoAt {
    /// Why nothing of it is asked there for good: the dial policy refuses the upstream.
    pub refused: Option<String>,
    /// None: it is no target there.
    pub repo: Option<CoverageAt>,
    /// Its roots: wanted, pending, confirmed.
    pub roots: (u64, u64, u64),
    /// The upstream as a whole: its link, what went wrong last, what is tried next.
    pub upstream: UpstreamStatus,
}

/// One upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamExplained {
    pub status: UpstreamStatus,
    pub epoch: Epoch,
    /// The worker that holds its lease.
    pub owner: Option<String>,
    pub up_since: Option<Timestamp>,
    /// The last moment that its former links are known to have brought everything up to.
    pub last_up: Option<Timestamp>,
    /// An event that has had no final outcome since this moment: `last up` does not pass it.
    pub behind: Option<Timestamp>,
    /// What the end of its last link said, in its own words.
    pub last_detail: Option<String>,
    pub failing_since: Option<Timestamp>,
    /// How often its link was ended for its conduct, as far as that still counts: each ban is longer than the one before.
    #[serde(default)]
    pub strikes: u32,
    /// Batches in a row that ended incomplete: the waits between asks grow with them.
    pub ask_failures: u32,
    pub ask_at: Option<Timestamp>,
    pub refresh_at: Option<Timestamp>,
    pub empty_since: Option<Timestamp>,
    /// Repositories that list it.
    pub repos: u64,
    pub live: LiveLayout,
    /// The newest first; kept for a while after their end.
    pub batches: Vec<BatchShown>,
}

/// How the items of an upstream are kept live, in the order in which it is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrangement {
    /// Each chunk has filters of its own, at most 100 items each.
    Tails,
    /// The same with fewer, larger filters: with chunks of 100 there would be no room.
    Larger { refs: usize, limit: usize },
    /// The chunks from `first` on come with one filter by kinds, of which only what they name is kept.
    Broad { first: u32, last: u32, limit: usize },
    /// The chunks from `first` on are asked for in rotation.
    Polled { first: u32, last: u32, limit: usize },
}

impl fmt::Display for Arrangement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tails => f.write_str("each chunk has live filters of its own"),
            Self::Larger { refs, limit } => {
                write!(f, "live filters name up to {refs} items: {limit} live subscriptions are allowed")
            }
            Self::Broad { first, last, limit } => {
                write!(f, "chunks {first} to {last} come with one filter by kinds: {limit} live subscriptions are allowed")
            }
            Self::Polled { first, last, limit } => {
                write!(f, "chunks {first} to {last} are polled: {limit} live subscriptions are allowed")
            }
        }
    }
}

/// Who says how many live subscriptions a link may have. Closed, so that people, tests and JSON agree on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitFrom {
    /// We do (S14).
    Ours,
    /// Its NIP-11 document.
    Stated,
    /// What it did; none: it was seen by a version that did not note how.
    Shown(Option<LimitShown>),
}

/// How many live subscriptions a link may have, and why it has those that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveBudget {
    /// By items, and layer 1; what is in reserve is not among them.
    pub live: usize,
    /// Kept beside them for history, where the relay limits them (L3).
    pub reserve: usize,
    pub from: LimitFrom,
    /// Items of the largest chunk.
    pub largest: u64,
    pub arranged: Arrangement,
}

/// The live filters of an upstream, as its chunks call for them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveLayout {
    /// Chunks in use by repos, by roots.
    pub chunks: (u32, u32),
    /// Live subscriptions that these make, layer 1 included.
    pub filters: usize,
    /// How often the chunks of this link have changed, and which of these the session has taken.
    pub layout: u64,
    pub layout_taken: u64,
    /// None: it was told by a version that did not say so.
    #[serde(default)]
    pub budget: Option<LiveBudget>,
}

/// One batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchShown {
    pub batch: BatchId,
    /// `negentropy` or `REQ`.
    pub method: String,
    pub items: u64,
    /// `open`, `complete`, `incomplete`, `released`, `overdue`.
    pub state: String,
    /// Why it is incomplete.
    pub why: Option<String>,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub deadline: Timestamp,
    pub counts: BatchCounts,
}
