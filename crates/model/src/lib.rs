//! The words of grasp-sync and the messages its services exchange.
//!
//! Owns: identifiers, items, outcomes, link and coverage vocabulary, every message on the bus, and the subjects they
//! travel on. Never: a decision (those are in `engine`), IO, a clock. Event types are those of the `nostr` crate.

pub mod kinds;
mod event;
mod item;
mod ledger;
mod link;
mod message;
mod query;
pub mod subject;

pub use event::{first_values, refs_of};
pub use item::{Item, ItemKind, RepoAddr, RepoAddrError};
pub use ledger::{GateReason, LedgerRow, Outcome, REFS_PER_EVENT, Ref, RefTag};
pub use link::{BatchId, Epoch, Learned, Method, Nip77, Resume, Role, UpstreamId, WorkerId};
pub use message::{
    Ask, BatchCounts, BatchOutcome, Discovery, DownClass, Family, HangUpReason, Incomplete, LiveFilter, Order, Removal, RepoSeen,
    Report, RootSeen, Said, Slot, Stored,
};
pub use nostr::{Event, EventId, Filter, Kind, PublicKey, Timestamp};
pub use query::{
    Answer, Assignment, Claim, Claimed, Covered, Draft, LeaseRequest, LedgerCursor, LedgerPage, LedgerScope, LinkView, Query,
    Snapshot, StateError, Status, Tail, UpGranted, UpstreamStatus,
};
