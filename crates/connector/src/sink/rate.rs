//! How fast home takes what is written: final words in the last minute, and whether it has said that it is too much.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What is counted of, in seconds.
const MINUTE: usize = 60;

pub(super) struct Rate {
    began: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    /// Final words by second, in a ring.
    landed: [u64; MINUTE],
    /// The second that was counted last.
    newest: u64,
    limited_at: Option<Instant>,
}

impl Rate {
    pub(super) fn new() -> Self {
        let inner = Inner { landed: [0; MINUTE], newest: 0, limited_at: None };
        Self { began: Instant::now(), inner: Mutex::new(inner) }
    }

    /// Home gave its final word on an event.
    pub(super) fn landed(&self) {
        let now = self.began.elapsed().as_secs();
        let mut inner = self.lock();
        inner.pass_to(now);
        inner.landed[slot(now)] += 1;
    }

    /// Home refused a write for its rate.
    pub(super) fn limited(&self) {
        self.lock().limited_at = Some(Instant::now());
    }

    /// Final words within the last minute, and whether home has refused writes for their rate in it.
    pub(super) fn look(&self) -> (u64, bool) {
        let now = self.began.elapsed().as_secs();
        let mut inner = self.lock();
        inner.pass_to(now);
        let minute = Duration::from_secs(MINUTE as u64);
        (inner.landed.iter().sum(), inner.limited_at.is_some_and(|at| at.elapsed() < minute))
    }

    /// Counts are changed in single steps, so a panic elsewhere cannot have left them half-written.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Seconds in which nothing landed count nothing.
    fn pass_to(&mut self, now: u64) {
        let first = (self.newest + 1).max(now.saturating_sub(MINUTE as u64 - 1));
        for second in first..=now {
            self.landed[slot(second)] = 0;
        }
        self.newest = now;
    }
}

fn slot(second: u64) -> usize {
    usize::try_from(second % MINUTE as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn l06_the_rate_is_that_of_the_last_minute() {
        let rate = Rate::new();
        for _ in 0..90 {
            rate.landed();
            advance(Duration::from_secs(1)).await;
        }
        // The second that has just begun counts as one of the sixty.
        assert_eq!(rate.look(), (59, false));
        rate.limited();
        advance(Duration::from_secs(30)).await;
        assert_eq!(rate.look(), (29, true));
        advance(Duration::from_secs(300)).await;
        assert_eq!(rate.look(), (0, false));
    }
}
