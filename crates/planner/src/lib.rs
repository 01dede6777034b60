//! The service that decides what to ask for: an activation looks at one upstream, plans, claims, and sends the orders.
//!
//! Owns: when to look. Never: what is true (the store), what to ask (`engine::plan`). A lost notice costs a sweep.

mod metrics;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bus::{AskError, Bus, Look, Notices, Origin, StateClient};
use engine::plan::plan;
use engine::rules::Policy;
use model::{Order, Snapshot, Timestamp, UpstreamId};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info_span, warn};

/// Activations at the same time; each is a question or two to the store.
const AT_ONCE: usize = 4;
/// Another planner's turn takes milliseconds.
const TURN_RETRY: Duration = Duration::from_millis(250);
const LISTEN_RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub struct Settings {
    pub policy: Policy,
    /// How often every upstream that has something to plan is looked at without a notice.
    pub sweep: Duration,
    /// Its name among planners: unlike any other's, past or present.
    pub name: String,
    /// A random number: when refreshes fall due (S15).
    pub roll: fn() -> u64,
}

/// What an activation says to the loop.
type Activated = (UpstreamId, Option<Duration>);

/// Plans until `stop`.
pub async fn run(bus: Arc<dyn Bus>, settings: Settings, stop: CancellationToken) {
    let Some(notices) = stop.run_until_cancelled(listen(&*bus)).await else { return };
    metrics::begin();
    let state = StateClient::new(Arc::clone(&bus));
    let mut sweep = interval(settings.sweep);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut queue = Queue::default();
    let mut active: JoinSet<Activated> = JoinSet::new();
    loop {
        metrics::waiting(queue.dirty.len());
        while let Some(upstream) = queue.next(active.len()) {
            let span = queue.origins.remove(&upstream).unwrap_or_default().begin(info_span!("plan", %upstream));
            active.spawn(activate(Arc::clone(&bus), state.clone(), settings.clone(), upstream).instrument(span));
        }
        tokio::select! {
            () = stop.cancelled() => return,
            (look, origin) = notices.next_of() => match look {
                Look::At(upstream) => {
                    queue.origins.entry(upstream).or_insert(origin);
                    queue.dirty(upstream);
                }
                Look::Everywhere => sweep.reset_immediately(),
            },
            Some(done) = active.join_next() => match done {
                Ok((upstream, look_again)) => queue.done(upstream, look_again),
                Err(error) => warn!(%error, "an activation ended early; the sweep repeats it"),
            },
            () = queue.due() => queue.wake(),
            _ = sweep.tick() => match state.due().await {
                Ok(due) => due.into_iter().for_each(|upstream| queue.dirty(upstream)),
                Err(error) => debug!(%error, "the sweep found no state service"),
            },
        }
    }
}

/// Listens for notices; a bus that is away is waited for.
async fn listen(bus: &dyn Bus) -> Notices {
    loop {
        match bus.notices().await {
            Ok(notices) => return notices,
            Err(error) => warn!(%error, "the bus does not take a listener for notices; trying again"),
        }
        sleep(LISTEN_RETRY).await;
    }
}

/// One look at one upstream. Takes no input: it reads the world again.
async fn activate(bus: Arc<dyn Bus>, state: StateClient, settings: Settings, upstream: UpstreamId) -> Activated {
    let began = Instant::now();
    let ended = look_and_order(&*bus, &state, &settings, upstream).await;
    metrics::activation(&ended, began.elapsed());
    match ended {
        Ok(look_again) => (upstream, look_again.map(from_now)),
        Err(error) if error.is_being_planned() => (upstream, Some(TURN_RETRY)),
        // The link changed under the plan; its next report makes the upstream dirty again.
        Err(error) if error.is_fenced() => (upstream, None),
        Err(error) => {
            warn!(%upstream, %error, "an upstream could not be planned; the sweep tries again");
            (upstream, None)
        }
    }
}

fn from_now(at: Timestamp) -> Duration {
    Duration::from_secs(at.as_secs().saturating_sub(Timestamp::now().as_secs()))
}

async fn look_and_order(
    bus: &dyn Bus,
    state: &StateClient,
    settings: &Settings,
    upstream: UpstreamId,
) -> Result<Option<Timestamp>, AskError> {
    let look = state.snapshot(upstream, settings.name.clone()).await?;
    let ordered = order(bus, state, settings, &look).await;
    if let Err(error) = state.planned(upstream, settings.name.clone()).await {
        debug!(%upstream, %error, "the end of a turn was not heard; it runs out");
    }
    ordered
}

async fn order(
    bus: &dyn Bus,
    state: &StateClient,
    settings: &Settings,
    look: &Snapshot,
) -> Result<Option<Timestamp>, AskError> {
    let plan = plan(look, &settings.policy, (settings.roll)());
    debug!(upstream = %look.url, plan = %plan.report, "planned");
    let granted = match plan.claim(look) {
        Some(claim) => {
            metrics::claimed(&claim);
            state.claim(claim, settings.name.clone()).await?.batches
        }
        None => Vec::new(),
    };
    let look_again = plan.look_again;
    for ask in plan.orders(&granted) {
        metrics::ordered(&ask);
        bus.order(Order { upstream: look.upstream, epoch: look.epoch, ask }).await?;
    }
    Ok(look_again)
}

/// Upstreams to look at: each at most once in the queue, and never twice at the same time.
#[derive(Default)]
struct Queue {
    dirty: BTreeSet<UpstreamId>,
    active: BTreeSet<UpstreamId>,
    again: BTreeMap<UpstreamId, Instant>,
    /// The traces of those who said that upstreams are dirty.
    origins: BTreeMap<UpstreamId, Origin>,
}

impl Queue {
    fn dirty(&mut self, upstream: UpstreamId) {
        self.dirty.insert(upstream);
    }

    fn next(&mut self, running: usize) -> Option<UpstreamId> {
        if running >= AT_ONCE {
            return None;
        }
        let upstream = self.dirty.iter().find(|upstream| !self.active.contains(upstream)).copied()?;
        self.dirty.remove(&upstream);
        self.again.remove(&upstream);
        self.active.insert(upstream);
        Some(upstream)
    }

    fn done(&mut self, upstream: UpstreamId, look_again: Option<Duration>) {
        self.active.remove(&upstream);
        if let Some(wait) = look_again {
            self.again.insert(upstream, Instant::now() + wait);
        }
    }

    /// When the next upstream is to be looked at again. Never, if none is.
    fn due(&self) -> impl Future<Output = ()> + use<> {
        let next = self.again.values().min().copied();
        async move {
            match next {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
    }

    fn wake(&mut self) {
        let now = Instant::now();
        let due: Vec<UpstreamId> = self.again.iter().filter(|(_, at)| **at <= now).map(|(upstream, _)| *upstream).collect();
        for upstream in due {
            self.again.remove(&upstream);
            self.dirty.insert(upstream);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_never_planned_twice_at_the_same_time_and_repeats_coalesce() {
        let mut queue = Queue::default();
        queue.dirty(UpstreamId(1));
        queue.dirty(UpstreamId(1));
        assert_eq!(queue.next(0), Some(UpstreamId(1)));
        queue.dirty(UpstreamId(1));
        assert_eq!(queue.next(1), None, "it is being planned");
        queue.done(UpstreamId(1), None);
        assert_eq!(queue.next(0), Some(UpstreamId(1)));
        assert_eq!(queue.next(1), None);
    }
}
