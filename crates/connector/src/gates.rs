//! The gates of one process: what is known of home's deletions and versions, and whether an event may be offered at all.
//!
//! The decisions are `engine`'s; here is only the memory that they are made from, shared by all sessions.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bus::StateClient;
use engine::admission::{Admission, Verdict};
use engine::gate::{AtTheGate, Limits, gate};
use engine::tombstones::{Tombstones, is_barred, keys_of};
use model::{Announced, Bar, Event, GateReason, Outcome, RelayUrl, Stated, Timestamp};
use tokio::time::sleep;
use tracing::debug;

/// Keys of one question: about 150 kB.
const KEYS_AT_ONCE: usize = 1_000;
/// What the state service does not answer is asked again after this time.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Gates {
    admission: Admission,
    limits: RwLock<Limits>,
    tombstones: Mutex<Tombstones>,
    private_peers: Vec<RelayUrl>,
}

impl Gates {
    /// `own_urls`: home and its aliases. `private_peers`: with whom private repositories are shared.
    pub(crate) fn new(admission: Admission, own_urls: Vec<RelayUrl>, private_peers: Vec<RelayUrl>) -> Self {
        let tombstones = Mutex::new(Tombstones::new(own_urls));
        Self { admission, limits: RwLock::new(Limits::default()), tombstones, private_peers }
    }

    /// Whether private repositories may come from there.
    pub(crate) fn is_private_peer(&self, url: &RelayUrl) -> bool {
        self.private_peers.contains(url)
    }

    /// Under what the store may know something against any of `events`.
    pub(crate) fn keys<'a>(events: impl Iterator<Item = &'a Event>) -> Vec<String> {
        let keys: BTreeSet<String> = events.flat_map(keys_of).collect();
        keys.into_iter().collect()
    }

    /// What the store knows under `keys`: tombstones, and repos that are private. It is waited for: nothing is written to home
    /// on a guess.
    pub(crate) async fn bars(&self, state: &StateClient, keys: Vec<String>) -> Vec<Bar> {
        let mut bars = Vec::new();
        for some in keys.chunks(KEYS_AT_ONCE) {
            bars.extend(ask(state, some).await);
        }
        bars
    }

    /// Takes in an event that home holds.
    pub(crate) fn learn(&self, event: &Event) {
        self.lock().learn(event);
    }

    /// What home says it takes holds from now on.
    pub(crate) fn heed(&self, stated: &Stated) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = Limits::of(stated);
    }

    /// The outcome of an event that is not to be offered to home. `bars`: what the store knows against it and others.
    pub(crate) fn judge(&self, offered: AtTheGate<'_>, bars: &[Bar]) -> Option<Outcome> {
        let barred = || match is_barred(offered.event, bars) {
            Some(GateReason::Private) if offered.from_private_peer => None,
            reason => reason.map(Outcome::Gated),
        };
        let limits = self.limits.read().unwrap_or_else(PoisonError::into_inner).clone();
        gate(offered, &limits, &self.lock(), Timestamp::now()).or_else(barred)
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

async fn ask(state: &StateClient, keys: &[String]) -> Vec<Bar> {
    loop {
        match state.bars(keys.to_vec()).await {
            Ok(bars) => return bars,
            Err(error) => debug!(%error, "events wait for what is known against them"),
        }
        sleep(RETRY).await;
    }
}
