//! Upstreams that wait for a look: a set, so that repeats collapse, and word that it is no longer empty.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use model::UpstreamId;
use tokio::sync::Notify;

use crate::lock;

#[derive(Debug, Clone, Default)]
pub(crate) struct Board {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<BTreeSet<UpstreamId>>,
    news: Notify,
}

impl Board {
    pub(crate) fn put(&self, upstream: UpstreamId) {
        if lock(&self.shared.waiting).insert(upstream) {
            self.shared.news.notify_one();
        }
    }

    /// The next upstream; waits while there is none. Cancel-safe.
    pub(crate) async fn next(&self) -> UpstreamId {
        loop {
            let news = self.shared.news.notified();
            if let Some(upstream) = lock(&self.shared.waiting).pop_first() {
                return upstream;
            }
            news.await;
        }
    }
}

/// The receiving side of notices. Each notice goes to one receiver.
#[derive(Debug, Clone)]
pub struct Notices {
    board: Board,
    /// Ends what fills the board when the last clone is dropped.
    _feed: Option<Arc<tokio_util::sync::DropGuard>>,
}

impl Notices {
    pub(crate) fn on(board: Board) -> Self {
        Self { board, _feed: None }
    }

    pub(crate) fn fed(board: Board, feed: tokio_util::sync::DropGuard) -> Self {
        Self { board, _feed: Some(Arc::new(feed)) }
    }

    /// The next upstream to look at. Cancel-safe.
    pub async fn next(&self) -> UpstreamId {
        self.board.next().await
    }
}
