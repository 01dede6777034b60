//! Word for those who fetch git data (GRASP-02): which commits an event names, and where they may be had.

use nostr::prelude::{EventId, Kind, Timestamp};
use serde::{Deserialize, Serialize};

use crate::item::RepoAddr;

/// Clone URLs kept of one announcement, and told of one event.
pub const CLONE_URLS: usize = 32;
/// Longer values are no clone URL (bytes).
pub const MAX_CLONE_URL_BYTES: usize = 1024;
/// Commits told of one event.
pub const COMMITS_PER_EVENT: usize = 1000;

/// Home took a state (30618), a pull request (1618) or an update of one (1619): its git data is to be fetched within the hour
/// (GRASP-02). Said once when home has taken the event, and again every hour as long as home holds it without serving it.
/// It may be missed, and may come twice: whoever fetches looks first at what is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitWanted {
    pub id: EventId,
    pub kind: Kind,
    pub created_at: Timestamp,
    /// The repositories that it speaks of: by the addresses that it tags, and for a state every announcement at home that
    /// names its author; a state that no announcement at home is known for has its author's own.
    pub repos: Vec<RepoAddr>,
    /// Of their announcements at home, then the event's own `clone`; as they stand there, without repeats, at most 32 of
    /// 1,024 bytes. They are words of strangers: judge them before you connect.
    pub clone_urls: Vec<String>,
    /// The object ids that it names (refs of a state; `c` and `merge-base`), 40 or 64 hex digits, without repeats, at most 1,000.
    pub commits: Vec<String>,
    /// Home holds it without serving it: it is waiting for this.
    pub is_held: bool,
}
