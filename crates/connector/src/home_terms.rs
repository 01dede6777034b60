//! What home says it takes (NIP-11), as this process knows it: read at the start, now and then, and when a link to home has
//! come up, for a home that came back may have other limits. Silence changes nothing.

use std::sync::Arc;
use std::time::Duration;

use model::{Learned, RelayUrl, Role, Stated};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::document::{Documents, News};
use crate::gates::Gates;

/// How often it is read without an occasion.
const EVERY: Duration = Duration::from_secs(3600);
/// Links come up together: one reading in this time is enough for them.
const AT_MOST_EVERY: Duration = Duration::from_secs(5);

/// Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct HomeTerms {
    said: Arc<watch::Sender<Option<Learned>>>,
    occasion: Arc<Notify>,
}

impl HomeTerms {
    pub(crate) fn new() -> Self {
        Self { said: Arc::new(watch::Sender::new(None)), occasion: Arc::default() }
    }

    /// A link to home has come up.
    pub(crate) fn look_again(&self) {
        self.occasion.notify_one();
    }

    /// What is read, the last time included.
    pub(crate) fn news(&self) -> News {
        let mut news = self.said.subscribe();
        news.mark_changed();
        news
    }

    /// Reads until `stop`, and tells `gates`.
    pub(crate) async fn read(self, documents: Arc<Documents>, home: RelayUrl, gates: Arc<Gates>, stop: CancellationToken) {
        let reading = async {
            loop {
                let began = Instant::now();
                let learned = documents.look(&home, Role::Home).await;
                self.take(learned, &gates);
                sleep_until(began + AT_MOST_EVERY).await;
                // The time is an occasion like any other.
                let _ = timeout_at(began + EVERY, self.occasion.notified()).await;
            }
        };
        stop.run_until_cancelled(reading).await;
    }

    fn take(&self, learned: Learned, gates: &Gates) {
        match &learned.stated {
            Some(stated) => gates.heed(stated),
            None => debug!(note = ?learned.not_stated, "home's information document was not read"),
        }
        self.said.send_replace(Some(learned));
    }

    /// What home said to another process, or to a former one, until it says it here.
    pub(crate) fn remember(&self, before: Option<&Stated>, gates: &Gates) {
        let is_read = self.said.borrow().as_ref().is_some_and(|learned| learned.stated.is_some());
        if let Some(stated) = before.filter(|_| !is_read) {
            gates.heed(stated);
        }
    }
}
