//! Id and signature of every event, always by us, on a pool as wide as the cores.

use std::sync::Arc;

use engine::gate::CopyFault;
use model::Event;
use tokio::sync::Semaphore;

/// So few are checked where they are: they are done before a thread of the pool has woken, and wait for no stretch of history.
const FEW: usize = 2;

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

    /// Which of `items` do not carry the id and the signature of their own content.
    pub(crate) async fn verify<T, F>(&self, items: Vec<T>, event: F) -> Vec<(T, Option<CopyFault>)>
    where
        T: Send + 'static,
        F: Fn(&T) -> &Event + Send + 'static,
    {
        let check = move |item: T| {
            let fault = engine::gate::verify(event(&item));
            (item, fault)
        };
        if items.len() <= FEW {
            return items.into_iter().map(check).collect();
        }
        let _core = self.cores.acquire().await.expect("the pool is never closed");
        let verified = tokio::task::spawn_blocking(move || items.into_iter().map(check).collect());
        verified.await.expect("verification does not panic and is not cancelled")
    }
}
