//! The state service: takes reports and discoveries from the bus into the store, and answers questions.

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, BusError, Delivery, Incoming, Question};
use model::{Answer, Query, StateError, UpstreamId};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::{Store, metrics};

/// Questions answered at the same time; the store's pool is of this order.
const QUESTIONS_AT_ONCE: usize = 8;
/// How long to wait before a store that failed is tried again.
const STORE_RETRY: Duration = Duration::from_millis(500);

/// Serves `store` on `bus` until `stop`; what was taken from the bus by then is committed.
///
/// # Errors
/// The bus is closed, or another state service already serves it in this process.
pub async fn serve(store: Arc<dyn Store>, bus: Arc<dyn Bus>, stop: CancellationToken) -> Result<(), BusError> {
    let mut inbox = bus.inbox().await?;
    let questions = bus.questions().await?;
    let answering = tokio::spawn(answer_all(Arc::clone(&store), Arc::clone(&bus), questions, stop.clone()));
    loop {
        let delivery = tokio::select! {
            biased;
            delivery = inbox.recv() => delivery,
            () = stop.cancelled() => None,
        };
        let Some(delivery) = delivery else { break };
        take_in(&*store, &*bus, delivery).await;
    }
    answering.abort();
    Ok(())
}

/// Applies one kept message and acknowledges it after the commit. A store that fails is tried again: the messages
/// behind this one wait, and with them the sockets that they come from.
async fn take_in(store: &dyn Store, bus: &dyn Bus, delivery: Delivery) {
    loop {
        let timed = metrics::taking_in(&delivery.incoming);
        let applied = match &delivery.incoming {
            Incoming::Report(report) => store.report(report).await,
            Incoming::Discovery(discovery) => store.discover(discovery).await,
        };
        drop(timed);
        match applied {
            Ok(dirty) => break notify_all(bus, dirty),
            // A message of an older epoch changes nothing; taking it again would not either.
            Err(StateError::Fenced | StateError::NoSuchUpstream) => break debug!("dropped a report of an older epoch"),
            Err(StateError::Store(why)) => {
                error!(why, "the store did not take a report; trying again");
                tokio::time::sleep(STORE_RETRY).await;
            }
        }
    }
    delivery.ack();
}

fn notify_all(bus: &dyn Bus, dirty: Vec<UpstreamId>) {
    for upstream in dirty {
        bus.notify(upstream);
    }
}

async fn answer_all(
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    mut questions: mpsc::Receiver<Question>,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(QUESTIONS_AT_ONCE));
    while let Some(Question { query, reply }) = questions.recv().await {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let (store, bus) = (Arc::clone(&store), Arc::clone(&bus));
        tokio::spawn(async move {
            let fresh_link = if let Query::Up { upstream, .. } = &query { Some(*upstream) } else { None };
            let answered = answer(&*store, query).await;
            if let (Some(upstream), Answer::Up(_)) = (fresh_link, &answered) {
                bus.notify(upstream);
            }
            // The asker may have gone; then the answer is of no use.
            let _ = reply.send(answered);
            drop(permit);
        });
        if stop.is_cancelled() && questions.is_empty() {
            return;
        }
    }
}

async fn answer(store: &dyn Store, query: Query) -> Answer {
    let _timed = metrics::answering(&query);
    let answered = match query {
        Query::Lease(request) => store.lease(&request).await.map(Answer::Leases),
        Query::Up { upstream, epoch } => store.up(upstream, epoch).await.map(Answer::Up),
        Query::Snapshot { upstream } => store.snapshot(upstream).await.map(|snapshot| Answer::Snapshot(Box::new(snapshot))),
        Query::Claim(claim) => store.claim(&claim).await.map(Answer::Claimed),
        Query::Due => store.sweep().await.map(Answer::Due),
        Query::Ledger { scope, after } => store.ledger(&scope, after).await.map(Answer::Ledger),
        Query::Known { ids } => store.known(&ids).await.map(Answer::Known),
        Query::Status => store.status().await.map(Answer::Status),
    };
    answered.unwrap_or_else(Answer::Failed)
}
