//! Id and signature of every event, always by us, on a pool as wide as the cores.

use std::sync::Arc;

use model::Event;
use tokio::sync::Semaphore;

/// Schnorr verification is nine tenths of what an event costs; more threads than cores would only queue elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct Verifier {
    cores: Arc<Semaphore>,
}

impl Verifier {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { cores: Arc::new(Semaphore::new(cores)) }
    }

    /// Which of `items` carry the id and the signature of their own content.
    pub(crate) async fn verify<T, F>(&self, items: Vec<T>, event: F) -> Vec<(T, bool)>
    where
        T: Send + 'static,
        F: Fn(&T) -> &Event + Send + 'static,
    {
        let _core = self.cores.acquire().await.expect("the pool is never closed");
        let verified = tokio::task::spawn_blocking(move || {
            items
                .into_iter()
                .map(|item| {
                    let is_true = event(&item).verify().is_ok();
                    (item, is_true)
                })
                .collect()
        });
        verified.await.expect("verification does not panic and is not cancelled")
    }
}
