//! Sessions without sockets: each takes its orders from the bus and says at once that they are done. What is left is the cost of
//! state and planner.

use std::sync::Arc;
use std::time::Instant;

use bus::{Bus, StateClient};
use model::{Ask, BatchCounts, BatchOutcome, Epoch, Order, Report, Said, UpstreamId};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::BenchError;
use super::filled::Held;

/// An order to fetch, as it was heard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    pub(super) upstream: UpstreamId,
    pub(super) at: Instant,
    /// When its batch was reported complete.
    pub(super) answered: Instant,
}

/// A session that ends with this.
#[derive(Debug)]
pub(super) struct Puppet {
    task: JoinHandle<()>,
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Strings {
    bus: Arc<dyn Bus>,
    upstream: UpstreamId,
    epoch: Epoch,
    sequence: u64,
    heard: mpsc::UnboundedSender<Heard>,
}

/// Brings the link of an upstream up. Orders to fetch are told to `heard`.
pub(super) async fn begin(bus: &Arc<dyn Bus>, held: &Held, heard: mpsc::UnboundedSender<Heard>) -> Result<Puppet, BenchError> {
    // As a session does: it listens before its epoch begins.
    let coming = Epoch(held.epoch.0 + 1);
    let mut orders = bus.orders(held.upstream, coming).await?;
    let epoch = StateClient::new(Arc::clone(bus)).up(held.upstream, held.epoch).await?.epoch;
    let mut strings = Strings { bus: Arc::clone(bus), upstream: held.upstream, epoch, sequence: 0, heard };
    let task = tokio::spawn(async move {
        while let Some(order) = orders.recv().await {
            if strings.answer(order.message).await.is_err() {
                return;
            }
        }
    });
    Ok(Puppet { task })
}

impl Strings {
    async fn answer(&mut self, order: Order) -> Result<(), bus::BusError> {
        let at = Instant::now();
        let (counts, outcome) = (BatchCounts::default(), BatchOutcome::Complete);
        match order.ask {
            Ask::OpenAnnouncements { .. } | Ask::CatchUp { .. } => {
                self.say(Said::Opened).await?;
                self.say(Said::CaughtUp).await
            }
            Ask::Fetch { batch, method, .. } => {
                self.say(Said::BatchEnded { batch, outcome, method, counts }).await?;
                // Nobody has to listen.
                let _ = self.heard.send(Heard { upstream: self.upstream, at, answered: Instant::now() });
                Ok(())
            }
            Ask::Rebuild { layout, .. } => self.say(Said::Rebuilt { layout }).await,
            Ask::Audit { part, .. } => self.say(Said::Audited { part, outcome, found: 0 }).await,
            Ask::HangUp { .. } => Ok(()),
        }
    }

    async fn say(&mut self, said: Said) -> Result<(), bus::BusError> {
        self.sequence += 1;
        self.bus.report(Report { upstream: self.upstream, epoch: self.epoch, sequence: self.sequence, said }).await
    }
}
