//! What is being looked at: each thing once, however many look at it, and only while somebody does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Page, detail};

/// How often the figures are asked for while somebody looks.
const REFRESH: Duration = Duration::from_secs(2);
/// Without news, a viewer hears this often that the connection is alive.
const ALIVE: Duration = Duration::from_secs(10);
/// A viewer that takes nothing for so long is let go.
const PATIENCE: Duration = Duration::from_secs(30);
/// How soon a browser tries again (milliseconds).
const RETRY: &str = "retry: 2000\n\n";

/// What a viewer looks at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Look {
    Overview,
    /// One upstream, repository or event, as it was typed.
    Explain(String),
}

type Frame = Arc<str>;

/// Everything that is looked at. Frames are rendered once for all viewers; a viewer that was busy gets the newest only.
#[derive(Debug, Default)]
pub(super) struct Looks(Mutex<BTreeMap<Look, Arc<watch::Sender<Frame>>>>);

impl Looks {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Look, Arc<watch::Sender<Frame>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// News of a look as server-sent events; none where too many look already.
pub(super) fn news(page: &Page, look: Look) -> Option<impl Stream<Item = Result<Bytes, std::convert::Infallible>> + use<>> {
    let place = Arc::clone(&page.shared.viewers).try_acquire_owned().ok()?;
    let (frames, taken) = mpsc::channel(1);
    let news = follow(page, look);
    tokio::spawn(tell(news, frames, page.shared.stop.clone(), place));
    Some(unfold(taken, |mut taken| async { taken.recv().await.map(|frame| (Ok(frame), taken)) }))
}

fn follow(page: &Page, look: Look) -> watch::Receiver<Frame> {
    let mut looks = page.shared.looks.lock();
    if let Some(sender) = looks.get(&look) {
        return sender.subscribe();
    }
    let (sender, receiver) = watch::channel(Frame::from(""));
    let sender = Arc::new(sender);
    looks.insert(look.clone(), Arc::clone(&sender));
    tokio::spawn(refresh(page.clone(), look, sender));
    receiver
}

/// Looks again and again until nobody else does.
async fn refresh(page: Page, look: Look, viewers: Arc<watch::Sender<Frame>>) {
    let mut last = String::new();
    loop {
        let (key, html) = match page.see(&look).await {
            Ok(seen) => (seen.key, seen.html),
            Err(trouble) => {
                let html = detail::trouble(&trouble.to_string());
                (html.clone(), html)
            }
        };
        if last != key {
            viewers.send_replace(frame(&html));
            last = key;
        }
        tokio::select! {
            () = page.shared.stop.cancelled() => {}
            () = sleep(REFRESH) => {}
        }
        // Nobody can begin to follow between the count and the removal.
        let mut looks = page.shared.looks.lock();
        if viewers.receiver_count() == 0 || page.shared.stop.is_cancelled() {
            looks.remove(&look);
            return;
        }
    }
}

fn frame(html: &str) -> Frame {
    let text = serde_json::to_string(html).expect("a text always serialises");
    Frame::from(format!("event: view\ndata: {text}\n\n"))
}

/// Passes on the newest frame, until the viewer goes, takes nothing, or the page is closed.
async fn tell(
    mut news: watch::Receiver<Frame>,
    frames: mpsc::Sender<Bytes>,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
) {
    // What others see already is news to this one.
    news.mark_changed();
    let mut next = Bytes::from_static(RETRY.as_bytes());
    loop {
        if !next.is_empty() && !matches!(timeout(PATIENCE, frames.send(next)).await, Ok(Ok(()))) {
            return;
        }
        next = tokio::select! {
            () = stop.cancelled() => return,
            () = frames.closed() => return,
            changed = timeout(ALIVE, news.changed()) => match changed {
                Ok(Ok(())) => Bytes::copy_from_slice(news.borrow_and_update().as_bytes()),
                Ok(Err(_)) => return,
                Err(_) => Bytes::from_static(b"event: alive\ndata:\n\n"),
            },
        };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_viewer_that_takes_nothing_loses_its_place_and_holds_one_frame_at_most() {
        let places = Arc::new(Semaphore::new(1));
        let (sender, news) = watch::channel(Frame::from("first"));
        let (frames, mut taken) = mpsc::channel(1);
        let place = Arc::clone(&places).try_acquire_owned().unwrap();
        let telling = tokio::spawn(tell(news, frames, CancellationToken::new(), place));
        for number in 0..100 {
            sender.send_replace(Frame::from(format!("frame {number}")));
            sleep(Duration::from_secs(1)).await;
        }
        telling.await.unwrap();
        assert_eq!(places.available_permits(), 1);
        assert_eq!(taken.recv().await.unwrap(), RETRY.as_bytes());
        assert_eq!(taken.recv().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_viewer_hears_the_newest_frame_and_that_the_connection_lives() {
        let (sender, news) = watch::channel(Frame::from("first"));
        let (frames, mut taken) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        tokio::spawn(tell(news, frames, stop.clone(), place));
        assert_eq!(taken.recv().await.unwrap(), RETRY.as_bytes());
        assert_eq!(taken.recv().await.unwrap(), "first");
        assert_eq!(taken.recv().await.unwrap(), "event: alive\ndata:\n\n");
        sender.send_replace(Frame::from("second"));
        assert_eq!(taken.recv().await.unwrap(), "second");
        stop.cancel();
        assert_eq!(taken.recv().await, None, "and that is all");
    }
}
