//! Stopped and started again a moment later: how soon it is at rest, and what that costs beside the first start.

use std::time::{Duration, Instant};

use super::figures::figure;
use super::history::{megabytes, millis};
use super::network::Counts;
use super::remote::Remote;
use super::stage::Stage;
use super::{BenchError, Measured, process};
use crate::cli::{NetworkPlan, RestartArgs};

const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What one start has cost.
struct Start {
    at_rest: Duration,
    counts: Counts,
    used: Duration,
}

pub(super) fn of(args: &RestartArgs) -> String {
    let &RestartArgs { events, upstreams, listed, output: _ } = args;
    format!("{events} events on {upstreams} upstreams, {listed} of which each repository lists")
}

pub(super) async fn once(args: &RestartArgs) -> Result<Measured, BenchError> {
    let &RestartArgs { events, upstreams, listed, output: _ } = args;
    let plan = NetworkPlan { events, upstreams, listed, ..NetworkPlan::default() };
    let mut network = Remote::start(plan).await?;
    let stage = Stage::set(&network.home, vec![network.upstreams[0].clone()], upstreams, network.events)?.with_usual_outages();
    let cold = start(&stage, &mut network).await?;
    process::forget_peak()?;
    let warm = start(&stage, &mut network).await?;
    let bytes = |start: &Start| (start.counts.bytes_up + start.counts.bytes_down) as f64;
    Ok(Measured {
        run: vec![
            figure("at rest after a cold start", "ms", millis(cold.at_rest)),
            figure("at rest after a warm one", "ms", millis(warm.at_rest)),
            figure("bytes of the cold start", "kB", bytes(&cold) / 1e3),
            figure("bytes of the warm one, up", "kB", warm.counts.bytes_up as f64 / 1e3),
            figure("bytes of the warm one, down", "kB", warm.counts.bytes_down as f64 / 1e3),
            figure("warm, of the cold one's bytes", "%", bytes(&warm) / bytes(&cold).max(1.0) * 100.0),
            figure("downloaded, cold", "events", cold.counts.downloaded as f64),
            figure("downloaded, warm", "events", warm.counts.downloaded as f64),
            figure("processor, cold", "ms", millis(cold.used)),
            figure("processor, warm", "ms", millis(warm.used)),
            figure("memory, most, warm", "MB", megabytes(process::peak()?)),
        ],
        is_exact: network.check().await? == (0, 0),
    })
}

/// From a start to the end.
async fn start(stage: &Stage, network: &mut Remote) -> Result<Start, BenchError> {
    let (before, used) = (network.counts().await?, process::processor_time()?);
    let began = Instant::now();
    let system = stage.start().await?;
    let at_rest = stage.until_at_rest(&system, (began, LOOK_EVERY)).await?;
    system.stop().await;
    let counts = network.counts().await?.since(before);
    Ok(Start { at_rest, counts, used: process::processor_time()? - used })
}
