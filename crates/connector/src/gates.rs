//! The gates of one process: what is known of home's deletions and versions, and whether an event may be offered at all.
//!
//! The decisions are `engine`'s; here is only the memory that they are made from, shared by all sessions.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use engine::admission::{Admission, Verdict};
use engine::gate::{AtTheGate, Limits, gate};
use engine::tombstones::Tombstones;
use model::{Announced, Event, Outcome, RelayUrl, Stated, Timestamp};

#[derive(Debug)]
pub(crate) struct Gates {
    admission: Admission,
    limits: RwLock<Limits>,
    tombstones: Mutex<Tombstones>,
}

impl Gates {
    /// `own_urls`: home and its aliases.
    pub(crate) fn new(admission: Admission, own_urls: Vec<RelayUrl>) -> Self {
        let limits = RwLock::new(Limits::default());
        Self { admission, limits, tombstones: Mutex::new(Tombstones::new(own_urls)) }
    }

    /// Takes in an event that home holds.
    pub(crate) fn learn(&self, event: &Event) {
        self.lock().learn(event);
    }

    /// What home says it takes holds from now on.
    pub(crate) fn heed(&self, stated: &Stated) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = Limits::of(stated);
    }

    /// The outcome of an event that is not to be offered to home. `bytes`: the length of its JSON.
    pub(crate) fn judge(&self, event: &Event, bytes: usize) -> Option<Outcome> {
        let limits = self.limits.read().unwrap_or_else(PoisonError::into_inner).clone();
        gate(AtTheGate { event, bytes }, &limits, &self.lock(), Timestamp::now())
    }

    /// Whether the operator has blocked it: then nothing of it is looked for either.
    pub(crate) fn is_blocked(&self, event: &Event) -> bool {
        self.admission.is_blocked(event)
    }

    /// What is let in, as one text. Home's own terms are told with its document.
    pub(crate) fn fingerprint(&self) -> String {
        self.admission.fingerprint()
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
