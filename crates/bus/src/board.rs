//! Upstreams that wait for a look: a set, so that repeats collapse, and word that it is no longer empty.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use model::UpstreamId;
use tokio::sync::Notify;
use tokio_util::sync::DropGuard;

use crate::lock;

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
    upstreams: BTreeSet<UpstreamId>,
    everywhere: bool,
}

impl Board {
    pub(crate) fn put(&self, upstream: UpstreamId) {
        if lock(&self.shared.waiting).upstreams.insert(upstream) {
            self.shared.news.notify_one();
        }
    }

    pub(crate) fn put_everywhere(&self) {
        lock(&self.shared.waiting).everywhere = true;
        self.shared.news.notify_one();
    }

    /// The next look; waits while there is none. Cancel-safe.
    pub(crate) async fn next(&self) -> Look {
        loop {
            let news = self.shared.news.notified();
            if let Some(look) = self.take() {
                return look;
            }
            news.await;
        }
    }

    fn take(&self) -> Option<Look> {
        let mut waiting = lock(&self.shared.waiting);
        if std::mem::take(&mut waiting.everywhere) {
            return Some(Look::Everywhere);
        }
        waiting.upstreams.pop_first().map(Look::At)
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
        self.board.next().await
    }
}
