//! The ledger's vocabulary: outcomes, reasons, references, rows.

use nostr::prelude::{EventId, Kind, Timestamp};
use serde::{Deserialize, Serialize};

use crate::link::{BatchId, UpstreamId};

/// References kept per event. An event may carry 2,000 tags; what lies beyond this bound costs bytes, never an event.
pub const REFS_PER_EVENT: usize = 64;
/// The longest value of a reference, in bytes: more than any address or id has. With [`REFS_PER_EVENT`] and
/// [`MAX_REASON_CHARS`] it keeps a row under 512 kB, the room of one message on the bus, even where JSON writes every byte
/// as six.
pub const MAX_REF_BYTES: usize = 1024;
/// The words of a relay that are kept, in characters: on a refusal, or on why a batch or a link ended.
pub const MAX_REASON_CHARS: usize = 200;

/// A tag by which one event names another (each filter names exactly one of them), or what an event is by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RefTag {
    #[serde(rename = "a")]
    Address,
    #[serde(rename = "A")]
    RootAddress,
    #[serde(rename = "e")]
    Event,
    #[serde(rename = "E")]
    RootEvent,
    #[serde(rename = "q")]
    Quote,
    /// No tag: the event's author, in hex. Never in [`refs_of`](crate::refs_of).
    #[serde(rename = "author")]
    Author,
    /// No tag: the repository address that an announcement or a state is of, `30617:…` for both.
    #[serde(rename = "own")]
    Own,
    /// No tag: the event's id.
    #[serde(rename = "id")]
    Id,
}

impl RefTag {
    /// The tag's name on the wire, or a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Address => "a",
            Self::RootAddress => "A",
            Self::Event => "e",
            Self::RootEvent => "E",
            Self::Quote => "q",
            Self::Author => "author",
            Self::Own => "own",
            Self::Id => "id",
        }
    }

    /// Whether it is a tag, and not what an event is by itself.
    #[must_use]
    pub fn is_tag(self) -> bool {
        Self::from_name(self.name()).is_some()
    }

    /// The tag of this name; what is no tag has none.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Address, Self::RootAddress, Self::Event, Self::RootEvent, Self::Quote].into_iter().find(|tag| tag.name() == name)
    }
}

/// One reference from an event to an address or an event id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ref {
    pub tag: RefTag,
    pub value: String,
}

/// What became of an event. Every one of these is final; an event that must be tried again has none yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Home holds it, by our write or because home served it.
    Stored,
    /// Home held it before.
    Duplicate,
    /// Home holds a newer version of it.
    Superseded,
    /// Home accepted it but does not serve it yet (`OK true "purgatory: …"`).
    Held,
    /// Home refuses it for good: it is wrong, or deleted.
    Refused,
    /// Home does not want it as long as its policy is what it is, or has failed to take it too often.
    Declined,
    /// Home refuses it until an event that it depends on arrives.
    NeedsParent,
    /// A gate of ours kept it from home.
    Gated(GateReason),
}

/// Why a gate kept an event from home.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateReason {
    /// NIP-01: kinds 20000–29999 are not stored.
    Ephemeral,
    /// NIP-40: expired, or about to.
    Expired,
    /// NIP-70: only its author may publish it.
    Protected,
    /// `created_at` lies too far ahead.
    Future,
    /// `created_at` lies further back than home takes.
    TooOld,
    /// Longer than any event that home takes.
    TooLarge,
    /// NIP-62: its author has asked home to forget them.
    Vanished,
    /// NIP-09: its author has deleted it.
    Deleted,
    /// GRASP-08: it belongs to a private repository.
    Private,
    /// The operator's block lists name it.
    Blocked,
    /// NIP-40: it expires one day, and home does not say that it honours that.
    Expiring,
}

impl Outcome {
    /// Whether home holds and serves the event.
    #[must_use]
    pub fn is_at_home(self) -> bool {
        matches!(self, Self::Stored | Self::Duplicate)
    }

    /// A stable word for stores, metrics and people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
            Self::Superseded => "superseded",
            Self::Held => "held",
            Self::Refused => "refused",
            Self::Declined => "declined",
            Self::NeedsParent => "needs-parent",
            Self::Gated(GateReason::Ephemeral) => "gated-ephemeral",
            Self::Gated(GateReason::Expired) => "gated-expired",
            Self::Gated(GateReason::Protected) => "gated-protected",
            Self::Gated(GateReason::Future) => "gated-future",
            Self::Gated(GateReason::TooOld) => "gated-too-old",
            Self::Gated(GateReason::TooLarge) => "gated-too-large",
            Self::Gated(GateReason::Vanished) => "gated-vanished",
            Self::Gated(GateReason::Deleted) => "gated-deleted",
            Self::Gated(GateReason::Private) => "gated-private",
            Self::Gated(GateReason::Blocked) => "gated-blocked",
            Self::Gated(GateReason::Expiring) => "gated-expiring",
        }
    }
}

/// How an event reached us the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// A live subscription.
    Live,
    /// A page of history, by REQ.
    Page,
    /// Negentropy named it, and it was asked for by its id.
    Negentropy,
    /// It was kept here, and offered to home again.
    Kept,
}

impl Via {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Page => "page",
            Self::Negentropy => "negentropy",
            Self::Kept => "kept",
        }
    }
}

/// The longest event that is kept until what it depends on arrives, in bytes of JSON: what most relays take at all.
pub const MAX_WAITING_BYTES: usize = 65_536;

/// An event that home refuses until something arrives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub id: EventId,
    /// Keys of what it may wait for: ids in hex, addresses, `30617::<identifier>`.
    pub parents: Vec<String>,
    /// The event, at most [`MAX_WAITING_BYTES`].
    pub json: String,
}

/// A relay's words, shortened to [`MAX_REASON_CHARS`].
#[must_use]
pub fn shortened(words: &str) -> String {
    words.chars().take(MAX_REASON_CHARS).collect()
}

/// One event id with a final outcome, as a session reports it and the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRow {
    pub id: EventId,
    pub created_at: Timestamp,
    pub kind: Kind,
    pub refs: Vec<Ref>,
    pub outcome: Outcome,
    /// Home's own words on a refusal, shortened.
    pub reason: Option<String>,
    /// The upstream that served it first; home itself for what home served.
    pub upstream: UpstreamId,
    pub batch: Option<BatchId>,
    #[serde(default)]
    pub via: Option<Via>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_largest_row_fits_into_a_message_of_512_kb() {
        // U+0000 is what JSON makes most of: six bytes of one.
        let value = |n: usize| "\0".repeat(MAX_REF_BYTES - 2) + &format!("{n:02}");
        let row = LedgerRow {
            id: EventId::from_byte_array([255; 32]),
            created_at: Timestamp::from_secs(u64::MAX),
            kind: Kind::Custom(u16::MAX),
            refs: (0..REFS_PER_EVENT).map(|n| Ref { tag: RefTag::RootAddress, value: value(n) }).collect(),
            outcome: Outcome::Gated(GateReason::Protected),
            reason: Some(shortened(&"\0".repeat(1_000_000))),
            upstream: UpstreamId(i64::MIN),
            batch: Some(BatchId(i64::MIN)),
            via: Some(Via::Negentropy),
        };
        assert!(serde_json::to_vec(&row).unwrap().len() < 400 * 1024);
    }
}
