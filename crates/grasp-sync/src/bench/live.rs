//! A steady stream of live events: how long each takes from its upstream's OK until home serves it.

use std::time::{Duration, Instant};

use super::figures::{figure, percentile};
use super::remote::Remote;
use super::stage::Stage;
use super::{BenchError, Measured, process};
use crate::cli::{LiveArgs, NetworkPlan};

/// History is not what is measured: a few repositories to talk about.
const HISTORY: usize = 1_000;
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) fn of(args: &LiveArgs) -> String {
    let &LiveArgs { upstreams, events, rate, output: _ } = args;
    format!("{events} events on {upstreams} upstreams, {rate} a second")
}

pub(super) async fn once(args: &LiveArgs) -> Result<Measured, BenchError> {
    let &LiveArgs { upstreams, events, rate, output: _ } = args;
    let plan = NetworkPlan { events: HISTORY, upstreams, ..NetworkPlan::default() };
    let mut network = Remote::start(plan).await?;
    let stage = Stage::set(&network.home, vec![network.upstreams[0].clone()], upstreams, HISTORY)?;
    let system = stage.start().await?;
    stage.until_at_rest(&system, (Instant::now(), LOOK_EVERY)).await?;
    let (used, began) = (process::processor_time()?, Instant::now());
    let mut took = network.stream(events, rate).await?;
    let (used, lasted) = (process::processor_time()? - used, began.elapsed());
    stage.until_at_rest(&system, (Instant::now(), LOOK_EVERY)).await?;
    let check = network.check().await?;
    system.stop().await;
    took.sort_unstable();
    let after = |percent| percentile(&took, percent) as f64 / 1e3;
    Ok(Measured {
        run: vec![
            figure("arrived", "events", took.len() as f64),
            figure("half of them within", "ms", after(50)),
            figure("95 % within", "ms", after(95)),
            figure("99 % within", "ms", after(99)),
            figure("the slowest", "ms", after(100)),
            figure("processor per event", "µs", used.as_secs_f64() * 1e6 / events as f64),
            figure("processor", "% of a core", used.as_secs_f64() / lasted.as_secs_f64() * 100.0),
        ],
        is_exact: check == (0, 0) && took.len() == events,
    })
}
