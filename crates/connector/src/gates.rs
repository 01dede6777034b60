//! The gates of one process: what is known of home's deletions and versions, and whether an event may be offered at all.
//!
//! The decisions are `engine`'s; here is only the memory that they are made from, shared by all sessions.

use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::admission::{Admission, Verdict};
use engine::gate::{AtTheGate, Limits, gate};
use engine::tombstones::Tombstones;
use model::{Announced, Event, Outcome, RelayUrl, Timestamp};

#[derive(Debug)]
pub(crate) struct Gates {
    admission: Admission,
    limits: Limits,
    tombstones: Mutex<Tombstones>,
}

impl Gates {
    /// `own_urls`: home and its aliases.
    pub(crate) fn new(admission: Admission, own_urls: Vec<RelayUrl>) -> Self {
        Self { admission, limits: Limits::default(), tombstones: Mutex::new(Tombstones::new(own_urls)) }
    }

    /// Takes in an event that home holds.
    pub(crate) fn learn(&self, event: &Event) {
        self.lock().learn(event);
    }

    /// The outcome of an event that is not to be offered to home. `bytes`: the length of its JSON.
    pub(crate) fn judge(&self, event: &Event, bytes: usize) -> Option<Outcome> {
        gate(AtTheGate { event, bytes }, &self.limits, &self.lock(), Timestamp::now())
    }

    /// Whether the operator has blocked it: then nothing of it is looked for either.
    pub(crate) fn is_blocked(&self, event: &Event) -> bool {
        self.admission.is_blocked(event)
    }

    /// What is let in, as one text. Home's NIP-11 is not read yet.
    pub(crate) fn fingerprint(&self) -> String {
        self.admission.fingerprint(None)
    }

    /// The identifier that [`Gates::admit`] has to know home's announcements of.
    pub(crate) fn in_question<'a>(&self, event: &'a Event) -> Option<&'a str> {
        self.admission.identifier_in_question(event)
    }

    /// Whether the operator lets it in.
    pub(crate) fn admit(&self, event: &Event, known: &[Announced]) -> Verdict {
        self.admission.judge(event, known)
    }

    /// Entries are changed in single steps, so a panic elsewhere cannot have left them half-written.
    fn lock(&self) -> MutexGuard<'_, Tombstones> {
        self.tombstones.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
