//! The words of grasp-sync and the messages its services exchange.
//!
//! Owns: identifiers, items, outcomes, link and coverage vocabulary, every message on the bus, and the subjects they
//! travel on. Never: a decision (those are in `engine`), IO, a clock. Event types are those of the `nostr` crate.

mod event;
mod explain;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod git;
mod item;
pub mod kinds;
mod ledger;
mod link;
mod message;
mod public_address;
mod query;
mod relay_url;
pub mod subject;

pub use event::{first_values, ledger_refs_of, own_repo, refs_of};
pub use explain::{
    Arrangement, BatchShown, CoverageAt, CoverageState, EventExplained, Explained, Explanation, LimitFrom, LiveBudget,
    LiveLayout, Next, NextWhy, RepoAt, RepoExplained, Seen, Subject, UpstreamExplained, WaitingSince,
};
pub use git::{CLONE_URLS, COMMITS_PER_EVENT, GitWanted, MAX_CLONE_URL_BYTES};
pub use item::{Item, ItemKind, MAX_IDENTIFIER_BYTES, RepoAddr, RepoAddrError};
pub use ledger::{
    GateReason, LedgerRow, MAX_REASON_CHARS, MAX_REF_BYTES, MAX_WAITING_BYTES, Outcome, REFS_PER_EVENT, Ref, RefTag, Via,
    Waiting, shortened,
};
pub use link::{
    BatchId, Epoch, Faulty, Learned, LimitShown, Method, Nip77, NotStated, Resume, Role, Stated, UpstreamId, WorkerId,
};
pub use message::{
    Ask, Bar, BatchCounts, BatchOutcome, Discovery, DownClass, Family, HangUpReason, Incomplete, LiveFilter,
    MAINTAINERS_PER_REPO, Order, Participant, Removal, RepoSeen, Report, RootSeen, Said, Slot, Stored, Tombstone,
    private_key_of,
};
pub use nostr::prelude::{Event, EventId, Filter, Kind, PublicKey, Timestamp};
pub use public_address::is_public_address;
pub use query::{
    Announced, Answer, Assignment, Audit, Claim, Claimed, Covered, Draft, HomeWrites, LeaseRequest, LedgerCursor, LedgerPage,
    LedgerScope, LinkView, Query, Snapshot, StateError, Status, Tail, UpGranted, UpstreamStatus,
};
pub use relay_url::{DialRefusal, MAX_RELAY_URL_BYTES, RelayUrl, RelayUrlError, Scheme};
