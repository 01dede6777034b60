//! Word of what home holds becomes discovery windows (S2): from home's own feed, and from every write that it took.
//!
//! An event whose discovery is not kept yet has no final outcome: its ledger row is held back until then, or a crash in
//! between would leave an event that is known, and so never read again, but never discovered.

use std::sync::Arc;
use std::time::Duration;

use bus::StateClient;
use engine::discovery::{Window, is_discovery};
use model::Event;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info_span, warn};

/// A window with this many discoveries closes early: those who wait for it hold places on their links.
const WINDOW_EVENTS: usize = 1_000;
/// How long a window that was not kept waits until it is sent again.
const RETRY: Duration = Duration::from_millis(500);

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
    /// Begins to gather in `gathered`; windows are sent until `stop`, the open one at last.
    pub(crate) fn begin(
        state: StateClient,
        gathered: Window,
        window: Duration,
        stop: CancellationToken,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { sender }, tokio::spawn(gather(state, (gathered, window), receiver, stop)))
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

async fn gather(
    state: StateClient,
    (mut gathered, window): (Window, Duration),
    mut events: mpsc::UnboundedReceiver<Held>,
    stop: CancellationToken,
) {
    let began = Instant::now();
    let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
    let elapsed_ms = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut waiting: Vec<Kept> = Vec::new();
    loop {
        let closes_at = gathered.closes_at(window_ms).map(|ms| began + Duration::from_millis(ms));
        let closing = async { if let Some(at) = closes_at { sleep_until(at).await } else { std::future::pending().await } };
        tokio::select! {
            biased;
            () = closing => send(&state, &mut gathered, &mut waiting, &stop).await,
            held = events.recv() => match held {
                Some(Held { event, kept }) => {
                    gathered.gather(&event, elapsed_ms());
                    waiting.push(kept);
                    if waiting.len() >= WINDOW_EVENTS || gathered.is_full() {
                        send(&state, &mut gathered, &mut waiting, &stop).await;
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
    send(&state, &mut gathered, &mut waiting, &stop).await;
}

/// Puts the window on the books. A state service that is away is waited for: events that wait for it hold up their links.
async fn send(state: &StateClient, window: &mut Window, waiting: &mut Vec<Kept>, stop: &CancellationToken) {
    let discovery = window.take();
    debug!(repos = discovery.repos.len(), roots = discovery.roots.len(), "a discovery window closed");
    while !discovery.is_empty() {
        let span = info_span!("discover", repos = discovery.repos.len(), roots = discovery.roots.len());
        let Err(error) = state.discover(discovery.clone()).instrument(span).await else { break };
        if stop.is_cancelled() {
            warn!(%error, "a discovery window was not kept; its events are read again");
            return waiting.clear();
        }
        debug!(%error, "a discovery window waits for the state service");
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(RETRY) => {}
        }
    }
    waiting.drain(..).for_each(|kept| kept());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicBool, Ordering};

    use bus::{Bus, InProcess, Question};
    use model::{Answer, Query};
    use nostr::prelude::{EventBuilder, FinalizeEvent, Keys, Kind, Tag};
    use tokio::sync::mpsc::Receiver;

    use super::*;

    fn announcement() -> Arc<Event> {
        let tags = [["d", "x"], ["relays", "wss://a.example"]].map(|tag| Tag::parse(tag).unwrap());
        Arc::new(EventBuilder::new(Kind::Custom(30617), "").tags(tags).finalize(&Keys::generate()).unwrap())
    }

    async fn state() -> (StateClient, Receiver<Question>) {
        let bus = Arc::new(InProcess::default());
        let questions = bus.questions().await.unwrap();
        (StateClient::new(bus), questions)
    }

    fn flag() -> (Arc<AtomicBool>, Kept) {
        let flag = Arc::<AtomicBool>::default();
        let set = Arc::clone(&flag);
        (flag, Box::new(move || set.store(true, Ordering::SeqCst)))
    }

    #[tokio::test(start_paused = true)]
    async fn s02_an_event_has_no_outcome_until_its_discovery_is_kept() {
        let (state, mut questions) = state().await;
        let (discoveries, _) = Discoveries::begin(state, Window::default(), Duration::from_secs(5), CancellationToken::new());
        let (is_kept, kept) = flag();
        discoveries.hold(announcement(), kept);
        tokio::time::sleep(Duration::from_millis(4_900)).await;
        assert!(!is_kept.load(Ordering::SeqCst) && questions.is_empty(), "the window is open");
        tokio::time::sleep(Duration::from_millis(200)).await;
        let failed = questions.try_recv().unwrap();
        assert!(matches!(&failed.query, Query::Discover(found) if found.repos.len() == 1));
        failed.reply.send(Answer::Failed(model::StateError::Store("away".to_owned()))).unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert!(!is_kept.load(Ordering::SeqCst), "it is not on the books yet");
        let again = questions.try_recv().unwrap();
        assert!(matches!(&again.query, Query::Discover(found) if found.repos.len() == 1));
        again.reply.send(Answer::Discovered(Vec::new())).unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(is_kept.load(Ordering::SeqCst));
    }

    #[tokio::test(start_paused = true)]
    async fn what_says_nothing_new_waits_for_nothing() {
        let (state, _questions) = state().await;
        let (discoveries, _) = Discoveries::begin(state, Window::default(), Duration::from_secs(5), CancellationToken::new());
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
        let (state, mut questions) = state().await;
        let (discoveries, _) = Discoveries::begin(state, Window::default(), Duration::from_secs(5), CancellationToken::new());
        let event = announcement();
        for _ in 0..WINDOW_EVENTS {
            discoveries.hold(Arc::clone(&event), Box::new(|| {}));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(questions.try_recv().is_ok());
    }
}
