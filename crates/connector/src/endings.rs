//! Which ends of links are worth a line: the first of a class, and then one a minute. A dead upstream fills no log.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::{DownClass, UpstreamId};
use tokio::time::Instant;

/// The same end of the same upstream is said once in this time.
const SAY_AGAIN: Duration = Duration::from_secs(60);
/// Upstreams and classes remembered; beyond it those whose time is over are forgotten.
const REMEMBERED: usize = 4_096;

/// What was said last, over all sessions of a process.
#[derive(Debug, Default)]
pub(crate) struct Endings {
    said: Mutex<HashMap<(UpstreamId, DownClass), Instant>>,
}

impl Endings {
    /// Whether it is time to say that a link of this upstream has ended so; it counts as said.
    pub(crate) fn is_news(&self, upstream: UpstreamId, class: DownClass) -> bool {
        // Entries are written whole, so a panic elsewhere cannot have left one half-written.
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() >= REMEMBERED {
            said.retain(|_, at| at.elapsed() < SAY_AGAIN);
        }
        let is_news = said.get(&(upstream, class)).is_none_or(|at| at.elapsed() >= SAY_AGAIN);
        if is_news {
            said.insert((upstream, class), Instant::now());
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn o1_the_same_end_of_a_link_is_said_once_a_minute_and_another_one_at_once() {
        let endings = Endings::default();
        let is_news = |class| endings.is_news(UpstreamId(1), class);
        assert!(is_news(DownClass::Refused));
        assert!(!is_news(DownClass::Refused));
        assert!(is_news(DownClass::Timeout) && endings.is_news(UpstreamId(2), DownClass::Refused));
        tokio::time::advance(SAY_AGAIN).await;
        assert!(is_news(DownClass::Refused));
        assert!(!is_news(DownClass::Refused));
    }
}
