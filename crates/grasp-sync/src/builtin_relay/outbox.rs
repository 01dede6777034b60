//! What waits to be sent on one connection: a bounded queue that never loses a frame in silence.
//! It owns the clock of a reader that is too slow. It never writes to a socket.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::archive::Stored;

/// One message to the client. Events are shared, so that a waiting one costs a pointer.
#[derive(Debug)]
pub(super) enum Frame {
    Text(String),
    Event { subscription: Arc<str>, stored: Arc<Stored> },
}

/// How much a slow reader may leave unread, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slack {
    /// Frames beyond which the queue counts as full.
    pub(super) frames: usize,
    /// How long the queue may stay full before the connection is dropped.
    pub(super) patience: Duration,
}

impl Default for Slack {
    fn default() -> Self {
        // Sixteen full pages; half a minute is what a client may need to store what it was sent.
        Self { frames: 8_192, patience: Duration::from_secs(30) }
    }
}

/// A queue this many times over full is dropped without waiting: it bounds the memory of one connection.
const OVERRUN: usize = 16;

#[derive(Debug)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    drained: Notify,
    slack: Slack,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Frame>,
    full_since: Option<Instant>,
    is_overrun: bool,
}

impl Outbox {
    pub(super) fn new(slack: Slack) -> Self {
        Self { waiting: Mutex::default(), arrived: Notify::new(), drained: Notify::new(), slack }
    }

    /// Never waits: who pushes may hold the lock of the archive.
    pub(super) fn push(&self, frame: Frame) {
        let mut waiting = self.lock();
        if waiting.frames.len() >= self.slack.frames.saturating_mul(OVERRUN) {
            waiting.is_overrun = true;
            return;
        }
        waiting.frames.push_back(frame);
        if waiting.frames.len() > self.slack.frames && waiting.full_since.is_none() {
            waiting.full_since = Some(Instant::now());
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    /// The next frames in order, at most `most`; waits until there is one.
    pub(super) async fn take(&self, most: usize) -> Vec<Frame> {
        loop {
            let taken = self.take_now(most);
            if !taken.is_empty() {
                return taken;
            }
            self.arrived.notified().await;
        }
    }

    /// The next frames in order, at most `most`; none when nothing waits.
    pub(super) fn take_now(&self, most: usize) -> Vec<Frame> {
        let mut waiting = self.lock();
        let most = most.min(waiting.frames.len());
        let taken = waiting.frames.drain(..most).collect();
        if waiting.frames.len() <= self.slack.frames {
            waiting.full_since = None;
            drop(waiting);
            self.drained.notify_one();
        }
        taken
    }

    /// Waits until the queue is no longer full: a client that does not read is not read from.
    pub(super) async fn has_room(&self) {
        while self.lock().full_since.is_some() {
            self.drained.notified().await;
        }
    }

    /// Returns once the reader has been too slow for too long.
    pub(super) async fn is_given_up(&self) {
        let pause = (self.slack.patience / 8).max(Duration::from_millis(10));
        while !self.is_stalled() {
            tokio::time::sleep(pause).await;
        }
    }

    fn is_stalled(&self) -> bool {
        let waiting = self.lock();
        let is_late = waiting.full_since.is_some_and(|since| since.elapsed() >= self.slack.patience);
        waiting.is_overrun || is_late
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
