//! The gates of one process: what is known of home's deletions and versions, and whether an event may be offered at all.
//!
//! The decisions are `engine`'s; here is only the memory that they are made from, shared by all sessions.

use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::gate::{AtTheGate, Limits, gate};
use engine::tombstones::Tombstones;
use model::{Event, Outcome, RelayUrl, Timestamp};

#[derive(Debug)]
pub(crate) struct Gates {
    limits: Limits,
    tombstones: Mutex<Tombstones>,
}

impl Gates {
    /// `own_urls`: home and its aliases.
    pub(crate) fn new(own_urls: Vec<RelayUrl>) -> Self {
        Self { limits: Limits::default(), tombstones: Mutex::new(Tombstones::new(own_urls)) }
    }

    /// Takes in an event that home holds.
    pub(crate) fn learn(&self, event: &Event) {
        self.lock().learn(event);
    }

    /// The outcome of an event that is not to be offered to home. `bytes`: the length of its JSON.
    pub(crate) fn judge(&self, event: &Event, bytes: usize) -> Option<Outcome> {
        gate(AtTheGate { event, bytes }, &self.limits, &self.lock(), Timestamp::now())
    }

    /// Entries are changed in single steps, so a panic elsewhere cannot have left them half-written.
    fn lock(&self) -> MutexGuard<'_, Tombstones> {
        self.tombstones.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
