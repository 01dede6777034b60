//! Word of what home holds becomes discovery windows (S2): from home's own feed, and from every write that it took.

use std::sync::Arc;
use std::time::Duration;

use bus::Bus;
use engine::discovery::Window;
use model::Event;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Events that may wait to be read; beyond it, home's feed waits.
const WAITING: usize = 1024;

/// Where events that home holds are handed in.
#[derive(Debug, Clone)]
pub(crate) struct Discoveries {
    sender: mpsc::Sender<Arc<Event>>,
}

impl Discoveries {
    /// Begins to gather; windows are sent until `stop`, the open one at last.
    pub(crate) fn begin(bus: Arc<dyn Bus>, window: Duration, stop: CancellationToken) -> (Self, tokio::task::JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self { sender }, tokio::spawn(gather(bus, window, receiver, stop)))
    }

    /// Hands in an event that home holds. Waits while discoveries are slow.
    pub(crate) async fn hold(&self, event: Arc<Event>) {
        // Closed only when the process stops; home is read again at the next start.
        let _ = self.sender.send(event).await;
    }

    /// Hands in an event from a place that cannot wait.
    pub(crate) fn hold_soon(&self, event: Arc<Event>) {
        if let Err(mpsc::error::TrySendError::Full(event)) = self.sender.try_send(event) {
            let discoveries = self.clone();
            tokio::spawn(async move { discoveries.hold(event).await });
        }
    }
}

async fn gather(bus: Arc<dyn Bus>, window: Duration, mut events: mpsc::Receiver<Arc<Event>>, stop: CancellationToken) {
    let began = Instant::now();
    let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
    let elapsed_ms = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut gathered = Window::default();
    loop {
        let closes_at = gathered.closes_at(window_ms).map(|ms| began + Duration::from_millis(ms));
        let closing = async { if let Some(at) = closes_at { sleep_until(at).await } else { std::future::pending().await } };
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = closing => send(&*bus, &mut gathered).await,
            event = events.recv() => match event {
                Some(event) => {
                    gathered.gather(&event, elapsed_ms());
                }
                None => break,
            },
        }
    }
    send(&*bus, &mut gathered).await;
}

async fn send(bus: &dyn Bus, window: &mut Window) {
    let discovery = window.take();
    if discovery.is_empty() {
        return;
    }
    debug!(repos = discovery.repos.len(), roots = discovery.roots.len(), "a discovery window closed");
    if let Err(error) = bus.discover(discovery).await {
        warn!(%error, "a discovery window was not kept; home is read again at the next start");
    }
}
