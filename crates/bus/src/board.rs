//! Upstreams that wait for a look: a set, so that repeats collapse, and word that it is no longer empty.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use model::UpstreamId;
use tokio::sync::Notify;
use tokio_util::sync::DropGuard;

use crate::{Origin, lock};

/// Where a planner is to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    At(UpstreamId),
    /// Notices may have been lost.
    Everywhere,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Board {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// With the trace of the first who said so.
    upstreams: BTreeMap<UpstreamId, Origin>,
    everywhere: bool,
}

impl Board {
    pub(crate) fn put(&self, upstream: UpstreamId, origin: Origin) {
        let mut is_new = false;
        lock(&self.shared.waiting).upstreams.entry(upstream).or_insert_with(|| {
            is_new = true;
            origin
        });
        if is_new {
            self.shared.news.notify_one();
        }
    }

    pub(crate) fn put_everywhere(&self) {
        lock(&self.shared.waiting).everywhere = true;
        self.shared.news.notify_one();
    }

    /// The next look; waits while there is none. Cancel-safe.
    pub(crate) async fn next(&self) -> (Look, Origin) {
        loop {
            let news = self.shared.news.notified();
            if let Some(look) = self.take() {
                return look;
            }
            news.await;
        }
    }

    fn take(&self) -> Option<(Look, Origin)> {
        let mut waiting = lock(&self.shared.waiting);
        if std::mem::take(&mut waiting.everywhere) {
            return Some((Look::Everywhere, Origin::default()));
        }
        waiting.upstreams.pop_first().map(|(upstream, origin)| (Look::At(upstream), origin))
    }
}

/// The receiving side of notices. Each notice goes to one receiver.
#[derive(Debug, Clone)]
pub struct Notices {
    board: Board,
    /// Ends what fills the board when the last clone is dropped.
    _feed: Option<Arc<DropGuard>>,
}

impl Notices {
    pub(crate) fn on(board: Board) -> Self {
        Self { board, _feed: None }
    }

    pub(crate) fn fed(board: Board, feed: DropGuard) -> Self {
        Self { board, _feed: Some(Arc::new(feed)) }
    }

    /// Where to look next. Cancel-safe.
    pub async fn next(&self) -> Look {
        self.next_of().await.0
    }

    /// The same, with the trace of whoever said so.
    pub async fn next_of(&self) -> (Look, Origin) {
        self.board.next().await
    }
}
