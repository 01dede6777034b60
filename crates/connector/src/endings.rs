//! Which ends of links are worth a line: one a minute of each relay, however many links it has. A dead relay fills no log.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::RelayUrl;
use tokio::time::Instant;

/// That links of a relay end is said once in this time; `status` tells the rest.
const SAY_AGAIN: Duration = Duration::from_secs(60);
/// Relays remembered; beyond it those whose time is over are forgotten.
const REMEMBERED: usize = 4_096;

/// What was said last, over all links of a process, those over which home is written to among them.
#[derive(Debug, Default)]
pub(crate) struct Endings {
    said: Mutex<HashMap<RelayUrl, Instant>>,
}

impl Endings {
    /// Whether it is time to say that a link of this relay has ended, or that there is none; it counts as said.
    pub(crate) fn is_news(&self, relay: &RelayUrl) -> bool {
        // Entries are written whole, so a panic elsewhere cannot have left one half-written.
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() >= REMEMBERED {
            said.retain(|_, at| at.elapsed() < SAY_AGAIN);
        }
        let is_news = said.get(relay).is_none_or(|at| at.elapsed() >= SAY_AGAIN);
        if is_news {
            said.insert(relay.clone(), Instant::now());
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn o1_that_links_of_a_relay_end_is_said_once_a_minute() {
        let endings = Endings::default();
        let (one, other) = (RelayUrl::parse("wss://one.example").unwrap(), RelayUrl::parse("wss://other.example").unwrap());
        assert!(endings.is_news(&one));
        assert!(!endings.is_news(&one));
        assert!(endings.is_news(&other));
        tokio::time::advance(SAY_AGAIN).await;
        assert!(endings.is_news(&one));
        assert!(!endings.is_news(&one));
    }
}
