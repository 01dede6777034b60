//! The archive together with who listens to it, under one lock: a subscription misses nothing
//! between its stored events and its live ones. The lock is never held across an await.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nostr::event::EventId;
use nostr::filter::Filter;
use serde_json::json;

use super::archive::{Archive, Stored, Verdict};
use super::index::matches;
use super::outbox::{Frame, Outbox};

/// Caps on what one client may ask for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caps {
    /// Stored events sent for one filter.
    pub(super) page: usize,
    /// Open subscriptions on one connection.
    pub(super) subscriptions: usize,
}

#[derive(Debug)]
pub(super) struct Hub {
    inner: Mutex<Inner>,
    caps: Caps,
}

#[derive(Debug, Default)]
struct Inner {
    archive: Archive,
    listeners: BTreeMap<u64, Listener>,
}

#[derive(Debug)]
struct Listener {
    outbox: Arc<Outbox>,
    subscriptions: BTreeMap<Arc<str>, Vec<Filter>>,
}

impl Hub {
    pub(super) fn new(archive: Archive, caps: Caps) -> Self {
        let inner = Inner { archive, listeners: BTreeMap::new() };
        Self { inner: Mutex::new(inner), caps }
    }

    pub(super) fn join(&self, connection: u64, outbox: Arc<Outbox>) {
        let listener = Listener { outbox, subscriptions: BTreeMap::new() };
        self.lock().listeners.insert(connection, listener);
    }

    pub(super) fn leave(&self, connection: u64) {
        self.lock().listeners.remove(&connection);
    }

    /// Sends what is stored, then EOSE, and keeps the subscription open for what comes.
    pub(super) fn subscribe(&self, connection: u64, id: &str, filters: Vec<Filter>, now: u64) {
        let inner = &mut *self.lock();
        let Some(listener) = inner.listeners.get_mut(&connection) else {
            return;
        };
        let is_new = !listener.subscriptions.contains_key(id);
        if is_new && listener.subscriptions.len() >= self.caps.subscriptions {
            let text = format!("error: too many subscriptions, at most {}", self.caps.subscriptions);
            listener.outbox.push(Frame::Text(json!(["CLOSED", id, text]).to_string()));
            return;
        }
        let subscription: Arc<str> = Arc::from(id);
        for stored in page(&inner.archive, &filters, self.caps.page, now) {
            listener.outbox.push(Frame::Event { subscription: Arc::clone(&subscription), stored });
        }
        listener.outbox.push(Frame::Text(json!(["EOSE", id]).to_string()));
        listener.subscriptions.insert(subscription, filters);
    }

    pub(super) fn unsubscribe(&self, connection: u64, id: &str) {
        if let Some(listener) = self.lock().listeners.get_mut(&connection) {
            listener.subscriptions.remove(id);
        }
    }

    pub(super) fn judge(&self, stored: &Stored, now: u64) -> Verdict {
        self.lock().archive.judge(stored, now)
    }

    pub(super) fn holds(&self, id: &EventId) -> bool {
        self.lock().archive.holds(id)
    }

    /// Takes the events in order and sends the new ones to who subscribed to them.
    pub(super) fn admit(&self, events: &[Arc<Stored>], now: u64) -> Vec<Verdict> {
        let inner = &mut *self.lock();
        events
            .iter()
            .map(|stored| {
                let verdict = inner.archive.admit(stored, now);
                if matches!(verdict, Verdict::Stored | Verdict::Broadcast) {
                    inner.listeners.values().for_each(|listener| listener.tell(stored));
                }
                verdict
            })
            .collect()
    }

    /// Every match, without a cap, newest first.
    pub(super) fn all_matches(&self, filter: &Filter, now: u64) -> Vec<Arc<Stored>> {
        self.lock().archive.query(filter, usize::MAX, now)
    }

    #[cfg(test)]
    pub(super) fn listeners(&self) -> usize {
        self.lock().listeners.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    fn tell(&self, stored: &Arc<Stored>) {
        for (subscription, filters) in &self.subscriptions {
            if filters.iter().any(|filter| matches(filter, &stored.event)) {
                self.outbox.push(Frame::Event { subscription: Arc::clone(subscription), stored: Arc::clone(stored) });
            }
        }
    }
}

/// The stored matches of all filters: each filter has its own limit, each event is sent once.
fn page(archive: &Archive, filters: &[Filter], cap: usize, now: u64) -> Vec<Arc<Stored>> {
    let mut found: Vec<_> =
        filters.iter().flat_map(|filter| archive.query(filter, filter.limit.unwrap_or(cap).min(cap), now)).collect();
    found.sort_by(|one, other| one.event.cmp(&other.event));
    found.dedup_by(|one, other| one.event.id == other.event.id);
    found
}
