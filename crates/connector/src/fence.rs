//! The moment at which this worker's lease may be somebody else's: a session looks at it before it does anything.
//!
//! It lies on the monotonic clock and counts from before the renewal was sent, so that no skew between hosts and no slow
//! answer makes it late. A process that was stopped finds it in the past when it wakes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Fence {
    began: Instant,
    /// Milliseconds from `began`.
    falls_at: AtomicU64,
}

impl Fence {
    /// Falls after `grace` unless it is moved.
    pub(crate) fn new(grace: Duration) -> Self {
        let fence = Self { began: Instant::now(), falls_at: AtomicU64::default() };
        fence.stand_until(fence.began + grace);
        fence
    }

    pub(crate) fn stand_until(&self, moment: Instant) {
        let after = moment.saturating_duration_since(self.began);
        self.falls_at.store(u64::try_from(after.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn has_fallen(&self) -> bool {
        Instant::now() >= self.falls_at()
    }

    pub(crate) fn falls_at(&self) -> Instant {
        self.began + Duration::from_millis(self.falls_at.load(Ordering::Relaxed))
    }
}
