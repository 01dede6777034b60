//! What was looked at, as plain values: everything that a finding is made from.

use std::path::PathBuf;

use connector::Unreachable;
use model::{RelayUrl, Stated};

use crate::config::{Listen, ProcessRole};

/// Everything that was looked at.
#[derive(Debug)]
pub struct Facts {
    pub role: ProcessRole,
    pub config: ConfigFacts,
    /// None where the role needs no home.
    pub home: Option<HomeFacts>,
    pub bus: BusFacts,
    pub store: StoreFacts,
    /// The bootstrap relays, and whether each can be dialed.
    pub egress: Vec<(RelayUrl, Result<(), Unreachable>)>,
}

/// What the configuration risks.
#[derive(Debug)]
pub struct ConfigFacts {
    /// Networks, in CIDR notation.
    pub allow_non_public: Vec<String>,
    pub listen: Listen,
    pub has_http_token: bool,
    pub listening: Listening,
    /// Files with secrets that anybody on this machine may read.
    pub open_files: Vec<PathBuf>,
}

/// Who is at the address where the process is to answer.
#[derive(Debug)]
pub enum Listening {
    Nobody,
    /// A grasp-sync, ready or not, and why not.
    Ours(Result<(), String>),
    /// Somebody else, or nobody can be there.
    Taken(String),
}

/// What home shows.
#[derive(Debug)]
pub struct HomeFacts {
    pub url: RelayUrl,
    /// It begins and ends with the process.
    pub is_builtin: bool,
    pub link: Result<(), Unreachable>,
    /// Seconds that its clock is ahead of ours; negative behind. By its web server's word.
    pub clock_ahead: Option<i64>,
    pub document: Result<Document, String>,
    /// None where there is no link.
    pub reading: Option<Reading>,
    /// Home may be told who we are (NIP-42).
    pub is_told_who_we_are: bool,
}

/// What home's NIP-11 document says, as far as it matters here.
#[derive(Debug, Clone, Default)]
pub struct Document {
    pub stated: Stated,
    pub auth_required: bool,
    pub payment_required: bool,
    pub restricted_writes: bool,
    /// Bits.
    pub min_pow_difficulty: u64,
}

/// How a small question is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    ByNegentropy,
    /// By pages; NIP-77 is refused, in these words.
    ByPages(String),
    NeedsAuth(String),
    Refused(String),
}

/// The bus.
#[derive(Debug)]
pub enum BusFacts {
    /// The process is alone.
    None,
    /// The role needs others, and there is no way to them.
    Missing,
    Connected {
        version: String,
        has_jetstream: bool,
    },
    Failed(String),
}

/// The store.
#[derive(Debug)]
pub enum StoreFacts {
    /// The role keeps no state.
    NotOurs,
    File {
        path: PathBuf,
        schema: Schema,
        disk: Option<Disk>,
    },
    Server {
        schema: Schema,
    },
}

/// How far the schema is.
#[derive(Debug, PartialEq, Eq)]
pub enum Schema {
    Current,
    /// There is no database yet, or nothing in it.
    None,
    /// Newest migration found, and needed; both where they are known.
    Behind {
        found: i64,
        needed: i64,
    },
    /// It cannot be used, in words that an operator can act on.
    Failed(String),
}

/// The disk under the data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Bytes that an ordinary user may still write.
    pub free: u64,
    pub is_read_only: bool,
}
