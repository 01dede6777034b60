//! What travels between the services: discoveries, orders, reports, and word of stored events.

use nostr::prelude::{EventId, Filter, Kind, PublicKey, Timestamp};
use serde::{Deserialize, Serialize};

use crate::RelayUrl;
use crate::item::{ItemKind, RepoAddr};
use crate::ledger::{LedgerRow, Ref, RefTag, shortened};
use crate::link::{BatchId, Epoch, Learned, Method, Nip77, UpstreamId};

/// What one discovery window gathered from home (S2).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovery {
    pub repos: Vec<RepoSeen>,
    pub roots: Vec<RootSeen>,
    pub removals: Vec<Removal>,
    /// Who takes part in which repos.
    #[serde(default)]
    pub participants: Vec<Participant>,
    /// What home has deleted, or was asked to forget.
    #[serde(default)]
    pub tombstones: Vec<Tombstone>,
}

impl Discovery {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { repos, roots, removals, participants, tombstones } = self;
        repos.is_empty() && roots.is_empty() && removals.is_empty() && participants.is_empty() && tombstones.is_empty()
    }
}

/// Maintainers kept of one announcement; those beyond it have to be named by others.
pub const MAINTAINERS_PER_REPO: usize = 100;

/// A repository announcement (30617) that home holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoSeen {
    pub addr: RepoAddr,
    pub event: EventId,
    pub created_at: Timestamp,
    /// The upstreams it names, in normal form, without repeats, without home.
    pub relays: Vec<RelayUrl>,
    /// Whom it names as its maintainers, without repeats, at most [`MAINTAINERS_PER_REPO`].
    #[serde(default)]
    pub maintainers: Vec<PublicKey>,
    /// Where it says that its git data may be had: as it stands there, without repeats, at most
    /// [`CLONE_URLS`](crate::CLONE_URLS).
    #[serde(default)]
    pub clone_urls: Vec<String>,
    /// GRASP-08: it says of itself that it is private.
    #[serde(default)]
    pub private: bool,
}

/// A root (1617, 1618, 1619, 1621) that home holds, under all the repos it tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootSeen {
    pub id: EventId,
    pub kind: Kind,
    pub created_at: Timestamp,
    pub repos: Vec<RepoAddr>,
    /// None: it was seen by a version that did not say.
    #[serde(default)]
    pub author: Option<PublicKey>,
}

/// A repository that its author deleted (NIP-09 by address): versions up to `until` are gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    pub addr: RepoAddr,
    pub until: Timestamp,
}

/// Somebody whose deletions and requests to vanish concern repos: who announced them, whom these name as maintainers, who
/// opened a root in them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Participant {
    pub author: PublicKey,
    pub repos: Vec<RepoAddr>,
}

/// What is gone from home for good, by its author's word.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tombstone {
    /// NIP-09, by id: counts for an event of this author.
    Event { id: EventId, author: PublicKey },
    /// NIP-09, by address: versions up to this moment.
    Address { kind: Kind, author: PublicKey, identifier: String, until: Timestamp },
    /// NIP-62: everything of this author up to this moment.
    Vanished { author: PublicKey, until: Timestamp },
}

impl Tombstone {
    /// One text for each thing that can be gone.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Event { id, author } => format!("event {} {}", id.to_hex(), author.to_hex()),
            Self::Address { kind, author, identifier, .. } => format!("address {kind}:{}:{identifier}", author.to_hex()),
            Self::Vanished { author, .. } => format!("vanished {}", author.to_hex()),
        }
    }

    /// Up to which moment it counts; an id is gone whenever it was made.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Event { .. } => None,
            Self::Address { until, .. } | Self::Vanished { until, .. } => Some(*until),
        }
    }
}

/// A reason in the store to keep events from home: the key of a tombstone, or of a private repo.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Bar {
    pub key: String,
    /// Up to which moment of `created_at` it counts; without one, always.
    pub until: Option<Timestamp>,
}

/// The key of the bar of a private repo (GRASP-08).
#[must_use]
pub fn private_key_of(addr: &RepoAddr) -> String {
    format!("private {addr}")
}

/// One of the tag families of layers 2 and 3 (S6, S7), or that of deletions, or of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Family {
    pub items: ItemKind,
    pub tag: RefTag,
}

impl Family {
    /// Layer 2: `a`, `A`, `q`. Layer 3: `e`, `E`, `q`. The layer of deletions: authors. Named events: ids.
    #[must_use]
    pub fn of(items: ItemKind) -> Vec<Self> {
        let tags: &[RefTag] = match items {
            ItemKind::Repo => &[RefTag::Address, RefTag::RootAddress, RefTag::Quote],
            ItemKind::Root => &[RefTag::Event, RefTag::RootEvent, RefTag::Quote],
            ItemKind::Participant => &[RefTag::Author],
            ItemKind::Named => &[RefTag::Id],
        };
        tags.iter().map(|tag| Self { items, tag: *tag }).collect()
    }
}

/// The place of a live subscription: a family, and the chunk of items that its filter names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot {
    pub family: Family,
    pub chunk: u32,
}

/// A live subscription that should be open: a slot holds one filter at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveFilter {
    pub slot: Slot,
    pub filter: Filter,
}

/// What the planner tells a session. Doing one twice is harmless.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub upstream: UpstreamId,
    pub epoch: Epoch,
    pub ask: Ask,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Layer 1: open live, then fetch its history (since a moment, or all of it).
    OpenAnnouncements {
        filter: Filter,
        since: Option<Timestamp>,
        method: Method,
    },
    /// Layers 2 and 3 of everything confirmed, live, with what came since (S9). No batch.
    CatchUp {
        live: Vec<LiveFilter>,
        /// For these there is no room: they are asked for in rotation (I3).
        #[serde(default)]
        polled: Vec<LiveFilter>,
        since: Timestamp,
        /// Of which layout of chunks these are.
        #[serde(default)]
        layout: u64,
    },
    /// Open `live`, then fetch `history`; the batch ends when all of it reached its proven end.
    Fetch {
        batch: BatchId,
        live: Vec<LiveFilter>,
        #[serde(default)]
        polled: Vec<LiveFilter>,
        history: Vec<Filter>,
        method: Method,
        /// Of which layout of chunks the live filters are.
        #[serde(default)]
        layout: u64,
    },
    /// Open these with `since`, then close every other live subscription of layers 2 and 3 (S14).
    Rebuild {
        live: Vec<LiveFilter>,
        #[serde(default)]
        polled: Vec<LiveFilter>,
        since: Timestamp,
        /// Which layout of chunks these are.
        #[serde(default)]
        layout: u64,
    },
    /// Compare what was confirmed with what the upstream holds, whatever its date: an exchange of each filter, and nothing
    /// else. Without NIP-77 there is none.
    Audit {
        /// 0 is layer 1, every other one the chunk below its number.
        part: u32,
        filters: Vec<Filter>,
    },
    HangUp {
        reason: HangUpReason,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HangUpReason {
    /// Nothing is wanted, pending or confirmed there (S16).
    Empty,
}

/// What a session says has happened. Idempotent by upstream, epoch and sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub upstream: UpstreamId,
    pub epoch: Epoch,
    pub sequence: u64,
    pub said: Said,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "a report is made, sent and gone; few are held at a time")]
pub enum Said {
    /// The opening orders of this link were taken: layer 1 is open, and on a catch-up the confirmed filters too.
    Opened,
    /// The live filters of this layout of chunks were taken: they are being opened, and others will be closed.
    Rebuilt {
        layout: u64,
    },
    /// Every live subscription stands and the gap before this link is filled.
    CaughtUp,
    Down {
        class: DownClass,
        detail: String,
    },
    BatchEnded {
        batch: BatchId,
        outcome: BatchOutcome,
        method: Method,
        counts: BatchCounts,
    },
    /// Events with a final outcome, and the batches that moved.
    Progress {
        batches: Vec<BatchId>,
        rows: Vec<LedgerRow>,
        counts: BatchCounts,
    },
    Learned {
        facts: Learned,
    },
    /// A part of an audit is over; `found` events of it were new.
    Audited {
        part: u32,
        outcome: BatchOutcome,
        found: u64,
    },
    /// Home does not hold these any more: what the ledger says of them is void. Few thousand at a time.
    Lost {
        ids: Vec<EventId>,
    },
    /// The upstream asked us to slow down (S18): nothing new is asked for this many seconds.
    RateLimited {
        seconds: u64,
    },
}

impl Said {
    /// The same, with an upstream's own words no longer than [`MAX_REASON_CHARS`](crate::MAX_REASON_CHARS): it may close a
    /// subscription with a megabyte of them.
    #[must_use]
    pub fn in_few_words(mut self) -> Self {
        let words = match &mut self {
            Self::Down { detail, .. } => Some(detail),
            Self::BatchEnded { outcome: BatchOutcome::Incomplete { detail, .. }, .. }
            | Self::Audited { outcome: BatchOutcome::Incomplete { detail, .. }, .. } => Some(detail),
            Self::Learned { facts: Learned { nip77: Some(Nip77::Refused { reason, .. }), .. } } => Some(reason),
            Self::Opened
            | Self::CaughtUp
            | Self::Rebuilt { .. }
            | Self::BatchEnded { .. }
            | Self::Audited { .. }
            | Self::Progress { .. }
            | Self::Learned { .. }
            | Self::Lost { .. }
            | Self::RateLimited { .. } => None,
        };
        if let Some(words) = words {
            *words = shortened(words);
        }
        self
    }
}

/// How a batch ended. Only `Complete` confirms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchOutcome {
    /// Every filter was drained to a proven end and every event in it has a final outcome at home.
    Complete,
    /// Its items are wanted again.
    Incomplete { why: Incomplete, detail: String },
}

/// Why a batch is incomplete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Incomplete {
    /// The upstream closed the subscription.
    Closed,
    /// The upstream wants authentication.
    AuthRequired,
    /// The upstream serves those who pay.
    Payment,
    /// The upstream does not serve this to us: blocked, restricted, banned.
    Policy,
    /// No frame of the page arrived in time.
    Idle,
    /// More events in one second than the upstream serves in a page.
    DenseSecond,
    /// The upstream ignores `until`.
    Unpageable,
    /// The live subscription of the batch could not be opened.
    NotLive,
    /// The upstream asked us to slow down again and again, and served nothing of it.
    RateLimited,
    /// Our own ledger's set of the filter was not loaded in time.
    NotLoaded,
    /// Everything was read; home gave no outcome of some of its events in time.
    Unsettled,
    /// Some of what the upstream sent is forged or cannot be read: a true event may be behind it.
    Faulty,
}

impl Incomplete {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::AuthRequired => "auth-required",
            Self::Payment => "payment",
            Self::Policy => "policy",
            Self::Idle => "idle",
            Self::DenseSecond => "dense-second",
            Self::Unpageable => "unpageable",
            Self::NotLive => "not-live",
            Self::RateLimited => "rate-limited",
            Self::NotLoaded => "not-loaded",
            Self::Unsettled => "unsettled",
            Self::Faulty => "faulty",
        }
    }
}

/// Figures of a batch, or of a stretch of a session. All are sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchCounts {
    /// EVENT frames read.
    pub events: u64,
    /// Of these, events that were not known before.
    pub fresh: u64,
    /// Pages, or negentropy rounds.
    pub rounds: u64,
    /// Bytes of text read and written.
    pub bytes_in: u64,
    pub bytes_out: u64,
}

impl BatchCounts {
    /// Adds `other` to each sum.
    pub fn add(&mut self, other: Self) {
        let Self { events, fresh, rounds, bytes_in, bytes_out } = other;
        self.events += events;
        self.fresh += fresh;
        self.rounds += rounds;
        self.bytes_in += bytes_in;
        self.bytes_out += bytes_out;
    }
}

/// Why a link is down. Closed, so that health, metrics and people agree on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DownClass {
    /// The dial policy refuses this URL or its address.
    NotDialable,
    Dns,
    Refused,
    Tls,
    /// The HTTP upgrade was answered with an error status, of no class of its own.
    HttpStatus,
    /// It wants to know who we are (HTTP 401).
    Auth,
    /// It serves those who pay (HTTP 402).
    Payment,
    /// It does not serve us (HTTP 403, 451).
    Policy,
    Timeout,
    /// The peer closed, or the connection broke.
    Closed,
    /// What the peer sent broke the protocol or a bound of ours.
    Protocol,
    /// Neither frame nor pong for the silence limit.
    Silent,
    /// We hung up: nothing is wanted there.
    Empty,
    /// We hung up: the process stops, or the lease is gone.
    Released,
    /// We hung up: again and again it did more of something than anybody is let. It is left alone for a while.
    Banned,
}

impl DownClass {
    pub const ALL: [Self; 15] = [
        Self::NotDialable,
        Self::Dns,
        Self::Refused,
        Self::Tls,
        Self::HttpStatus,
        Self::Auth,
        Self::Payment,
        Self::Policy,
        Self::Timeout,
        Self::Closed,
        Self::Protocol,
        Self::Silent,
        Self::Empty,
        Self::Released,
        Self::Banned,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotDialable => "not-dialable",
            Self::Dns => "dns",
            Self::Refused => "refused",
            Self::Tls => "tls",
            Self::HttpStatus => "http-status",
            Self::Auth => "auth",
            Self::Payment => "payment",
            Self::Policy => "policy",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Protocol => "protocol",
            Self::Silent => "silent",
            Self::Empty => "empty",
            Self::Released => "released",
            Self::Banned => "banned",
        }
    }

    /// Whether the end speaks against the upstream's health: our own hang-ups do not.
    #[must_use]
    pub fn is_failure(self) -> bool {
        !matches!(self, Self::Empty | Self::Released)
    }
}

/// An event landed at home. Third parties (git fetchers, CI, indexers) build on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    pub id: EventId,
    pub kind: Kind,
    pub created_at: Timestamp,
    /// What it names by `a`, `A`, `e`, `E`, `q`: at most 64.
    pub refs: Vec<Ref>,
    /// The upstream that it came from.
    pub upstream: UpstreamId,
}

#[cfg(test)]
mod tests {
    use nostr::prelude::Timestamp;

    use super::*;
    use crate::ledger::MAX_REASON_CHARS;

    #[test]
    fn an_upstreams_words_are_shortened_wherever_a_report_holds_them() {
        let detail = || "é".repeat(1_000_000);
        let nip77 = Some(Nip77::Refused { at: Timestamp::from_secs(1), reason: detail() });
        let outcome = BatchOutcome::Incomplete { why: Incomplete::Closed, detail: detail() };
        let counts = BatchCounts::default();
        for said in [
            Said::Down { class: DownClass::Closed, detail: detail() },
            Said::Learned { facts: Learned { nip77, ..Learned::default() } },
            Said::BatchEnded { batch: BatchId(1), outcome, method: Method::Req, counts },
        ] {
            let text = format!("{:?}", said.in_few_words());
            assert_eq!(text.matches('é').count(), MAX_REASON_CHARS, "{text:.80}");
        }
    }
}
