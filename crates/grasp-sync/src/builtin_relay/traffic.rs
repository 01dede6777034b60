//! Counters of what crossed the wire since the relay started. They only grow.

use std::sync::atomic::{AtomicU64, Ordering};

/// What crossed the wire since the start. Bytes are those of the messages, without their framing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of the messages that clients sent.
    pub bytes_in: u64,
    /// Bytes of the messages sent to clients.
    pub bytes_out: u64,
    /// EVENT messages sent to clients, stored and live.
    pub events_sent: u64,
    /// REQ messages of clients.
    pub requests: u64,
    /// NEG-OPEN messages of clients, refused ones too.
    pub negentropy_opens: u64,
    /// EVENT messages of clients, refused ones too.
    pub events_written: u64,
    /// Websocket connections opened.
    pub connections: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    pub(super) events_sent: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) negentropy_opens: AtomicU64,
    pub(super) events_written: AtomicU64,
    pub(super) connections: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> Traffic {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            bytes_in: value(&self.bytes_in),
            bytes_out: value(&self.bytes_out),
            events_sent: value(&self.events_sent),
            requests: value(&self.requests),
            negentropy_opens: value(&self.negentropy_opens),
            events_written: value(&self.events_written),
            connections: value(&self.connections),
        }
    }
}

/// Adds `by` to one counter and returns its value before.
pub(super) fn count(counter: &AtomicU64, by: usize) -> u64 {
    let by = u64::try_from(by).expect("a length in memory fits 64 bits");
    counter.fetch_add(by, Ordering::Relaxed)
}
