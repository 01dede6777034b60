//! Writes to home: EVENT in, OK out, pipelined over a small pool of links, each with a bounded window.
//!
//! Owns: the links, the write order, tries. Never loses an event: one without an OK is written again, and home
//! deduplicates by id. Full means that those who offer wait, and with them their sockets.

mod queue;
mod rate;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use model::{Event, HomeWrites, RelayUrl, Role, UpstreamId};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::lines::{Line, Lines};
use crate::means::Means;
use queue::{Done, Queue};
use writer::{Rate, Writer};

/// Events that may wait for home, over all sessions.
const WAITING: usize = 4096;
/// The waits between connections double up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How home is written to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// Connections at the same time.
    pub(crate) links: usize,
    /// EVENTs without an OK yet, on each of them.
    pub(crate) window: usize,
}

/// Where events for home are offered.
#[derive(Clone)]
pub(crate) struct Sink {
    queue: Arc<Queue>,
    places: Arc<Semaphore>,
    lines: Arc<Lines>,
}

impl Sink {
    pub(crate) fn new() -> Self {
        Self { queue: Arc::new(Queue::new()), places: Arc::new(Semaphore::new(WAITING)), lines: Arc::default() }
    }

    /// Offers an event. Waits for a place; `done` is called when home's word on it is final.
    pub(crate) async fn offer(&self, from: UpstreamId, event: &Event, json: String, done: Done) {
        let place = Arc::clone(&self.places).acquire_owned().await.expect("the sink is never closed");
        self.queue.put(from, event, (json, done), place);
    }

    /// Which ends of links are worth a line, of home's and of all others.
    pub(crate) fn lines(&self) -> &Lines {
        &self.lines
    }

    /// How the writes go.
    pub(crate) fn writes(&self) -> HomeWrites {
        let (per_minute, is_limited) = self.queue.rate.look();
        let waiting = WAITING.saturating_sub(self.places.available_permits());
        HomeWrites { waiting: u64::try_from(waiting).unwrap_or(u64::MAX), per_minute, is_limited }
    }

    /// Writes to `home` until `stop`.
    pub(crate) async fn write(self, home: RelayUrl, (terms, means): (Terms, Arc<Means>), stop: CancellationToken) {
        let mut links = JoinSet::new();
        for link in 0..terms.links.max(1) {
            let writing = keep_link(self.clone(), home.clone(), link, (terms.window, Arc::clone(&means)));
            links.spawn(stop.clone().run_until_cancelled_owned(writing));
        }
        while links.join_next().await.is_some() {}
    }
}

/// Keeps one link to home up.
async fn keep_link(sink: Sink, home: RelayUrl, link: usize, (window, means): (usize, Arc<Means>)) {
    let mut wait = Duration::from_secs(1);
    let mut rate = Rate::of(window);
    loop {
        let why = match Writer::connect(&home, &sink.queue, link, (&mut rate, &means)).await {
            Ok(mut writer) => {
                wait = Duration::from_secs(1);
                writer.work().await
            }
            Err(why) => why,
        };
        if sink.lines.may_say(Line::Down, &home, Role::Home) {
            warn!(%home, link, why, "home takes no writes; trying again");
        }
        sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

#[cfg(test)]
pub(crate) mod tests;
