//! Word of what home holds becomes discovery windows (S2): from home's own feed, and from every write that it took.
//!
//! An event whose discovery is not kept yet has no final outcome: its ledger row is held back until then, or a crash in
//! between would leave an event that is known, and so never read again, but never discovered.

use std::sync::Arc;
use std::time::Duration;

use bus::Bus;
use engine::discovery::{Window, is_discovery};
use model::Event;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// A window with this many discoveries closes early: those who wait for it hold places on their links.
const WINDOW_EVENTS: usize = 1_000;

/// Called when the discovery is kept.
type Kept = Box<dyn FnOnce() + Send>;

/// Where events that home holds are handed in.
#[derive(Debug, Clone)]
pub(crate) struct Discoveries {
    /// As many wait as sessions may have on their way.
    sender: mpsc::UnboundedSender<Held>,
}

struct Held {
    event: Arc<Event>,
    kept: Kept,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("event", &self.event.id).finish_non_exhaustive()
    }
}

impl Discoveries {
    /// Begins to gather; windows are sent until `stop`, the open one at last.
    pub(crate) fn begin(bus: Arc<dyn Bus>, window: Duration, stop: CancellationToken) -> (Self, tokio::task::JoinHandle<()>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { sender }, tokio::spawn(gather(bus, window, receiver, stop)))
    }

    /// Hands in an event that home holds; `kept` is called once its discovery is kept, at once if it has none.
    pub(crate) fn hold(&self, event: Arc<Event>, kept: Kept) {
        if !is_discovery(event.kind) {
            return kept();
        }
        // Closed only when the process stops: the event has no outcome then, and is read again.
        let _ = self.sender.send(Held { event, kept });
    }
}

async fn gather(bus: Arc<dyn Bus>, window: Duration, mut events: mpsc::UnboundedReceiver<Held>, stop: CancellationToken) {
    let began = Instant::now();
    let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
    let elapsed_ms = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut gathered = Window::default();
    let mut waiting: Vec<Kept> = Vec::new();
    loop {
        let closes_at = gathered.closes_at(window_ms).map(|ms| began + Duration::from_millis(ms));
        let closing = async { if let Some(at) = closes_at { sleep_until(at).await } else { std::future::pending().await } };
        tokio::select! {
            biased;
            () = closing => send(&*bus, &mut gathered, &mut waiting).await,
            held = events.recv() => match held {
                Some(Held { event, kept }) => {
                    gathered.gather(&event, elapsed_ms());
                    waiting.push(kept);
                    if waiting.len() >= WINDOW_EVENTS {
                        send(&*bus, &mut gathered, &mut waiting).await;
                    }
                }
                None => break,
            },
            () = stop.cancelled() => break,
        }
        if gathered.closes_at(window_ms).is_none() {
            // Nothing new was said: nobody has to wait.
            waiting.drain(..).for_each(|kept| kept());
        }
    }
    send(&*bus, &mut gathered, &mut waiting).await;
}

async fn send(bus: &dyn Bus, window: &mut Window, waiting: &mut Vec<Kept>) {
    let discovery = window.take();
    debug!(repos = discovery.repos.len(), roots = discovery.roots.len(), "a discovery window closed");
    let sent = if discovery.is_empty() { Ok(()) } else { bus.discover(discovery).await };
    match sent {
        Ok(()) => waiting.drain(..).for_each(|kept| kept()),
        Err(error) => {
            warn!(%error, "a discovery window was not kept; its events are read again");
            waiting.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicBool, Ordering};

    use bus::{InProcess, Incoming};
    use nostr::prelude::{EventBuilder, FinalizeEvent, Keys, Kind, Tag};

    use super::*;

    fn announcement() -> Arc<Event> {
        let tags = [["d", "x"], ["relays", "wss://a.example"]].map(|tag| Tag::parse(tag).unwrap());
        Arc::new(EventBuilder::new(Kind::Custom(30617), "").tags(tags).finalize(&Keys::generate()).unwrap())
    }

    fn flag() -> (Arc<AtomicBool>, Kept) {
        let flag = Arc::<AtomicBool>::default();
        let set = Arc::clone(&flag);
        (flag, Box::new(move || set.store(true, Ordering::SeqCst)))
    }

    #[tokio::test(start_paused = true)]
    async fn s02_an_event_has_no_outcome_until_its_discovery_is_kept() {
        let bus = Arc::new(InProcess::default());
        let mut inbox = bus.inbox().await.unwrap();
        let (discoveries, _) = Discoveries::begin(bus, Duration::from_secs(5), CancellationToken::new());
        let (is_kept, kept) = flag();
        discoveries.hold(announcement(), kept);
        tokio::time::sleep(Duration::from_millis(4_900)).await;
        assert!(!is_kept.load(Ordering::SeqCst) && inbox.is_empty(), "the window is open");
        tokio::time::sleep(Duration::from_millis(200)).await;
        let delivery = inbox.try_recv().unwrap();
        assert!(matches!(delivery.incoming, Incoming::Discovery(found) if found.repos.len() == 1));
        assert!(is_kept.load(Ordering::SeqCst));
    }

    #[tokio::test(start_paused = true)]
    async fn what_says_nothing_new_waits_for_nothing() {
        let bus = Arc::new(InProcess::default());
        let (discoveries, _) = Discoveries::begin(bus, Duration::from_secs(5), CancellationToken::new());
        let note = EventBuilder::new(Kind::Custom(1), "").finalize(&Keys::generate()).unwrap();
        let (is_kept, kept) = flag();
        discoveries.hold(Arc::new(note), kept);
        assert!(is_kept.load(Ordering::SeqCst));
        let root_of_nothing = EventBuilder::new(Kind::Custom(1621), "").finalize(&Keys::generate()).unwrap();
        let (is_kept, kept) = flag();
        discoveries.hold(Arc::new(root_of_nothing), kept);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(is_kept.load(Ordering::SeqCst));
    }

    #[tokio::test(start_paused = true)]
    async fn s02_a_full_window_closes_early() {
        let bus = Arc::new(InProcess::default());
        let mut inbox = bus.inbox().await.unwrap();
        let (discoveries, _) = Discoveries::begin(bus, Duration::from_secs(5), CancellationToken::new());
        let event = announcement();
        for _ in 0..WINDOW_EVENTS {
            discoveries.hold(Arc::clone(&event), Box::new(|| {}));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(inbox.try_recv().is_ok());
    }
}
