//! Started again on its data after a long time: what it costs to prove that nothing is missing, or to find what is.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::figures::figure;
use super::history::{far, megabytes, millis};
use super::remote::Remote;
use super::stage::{QUICK_RECONNECT, Stage};
use super::{BenchError, Measured, process};
use crate::cli::{NetworkPlan, ResyncArgs};

const LOOK_EVERY: Duration = Duration::from_millis(100);
const SOON: Duration = Duration::from_millis(20);

pub(super) fn of(args: &ResyncArgs) -> String {
    let &ResyncArgs { events, upstreams, missing, line, output: _ } = args;
    format!("{events} events on each of {upstreams} upstreams, {missing} % of them new on one{}", far(line.rtt))
}

pub(super) async fn once(args: &ResyncArgs) -> Result<Measured, BenchError> {
    let &ResyncArgs { events, upstreams, missing, line, output: _ } = args;
    let plan = NetworkPlan { events, upstreams, everywhere: true, kept_back: missing, line, ..NetworkPlan::default() };
    let mut network = Remote::start(plan).await?;
    let stage = Stage::set(&network.home, vec![network.upstreams[0].clone()], upstreams, network.events)?;
    let system = stage.start().await?;
    stage.until_at_rest(&system, (Instant::now(), LOOK_EVERY)).await?;
    system.stop().await;
    let new = network.deliver().await?;
    sleep(QUICK_RECONNECT * 3).await;
    let (before, used) = (network.counts().await?, process::processor_time()?);
    process::forget_peak()?;
    let began = Instant::now();
    let system = stage.start().await?;
    let proved = stage.until_at_rest(&system, (began, SOON)).await?;
    let (used, peak) = (process::processor_time()? - used, process::peak()?);
    let counts = network.counts().await?.since(before);
    system.stop().await;
    let exchanges = counts.exchanges.max(1) as f64;
    Ok(Measured {
        run: vec![
            figure("proved complete after", "ms", millis(proved)),
            figure("new at the upstreams", "events", new as f64),
            figure("downloaded", "events", counts.downloaded as f64),
            figure("offered to home", "events", counts.offered as f64),
            figure("exchanges", "", counts.exchanges as f64),
            figure("bytes up per exchange", "B", counts.bytes_up as f64 / exchanges),
            figure("bytes down per exchange", "B", counts.bytes_down as f64 / exchanges),
            figure("bytes up", "kB", counts.bytes_up as f64 / 1e3),
            figure("bytes down", "kB", counts.bytes_down as f64 / 1e3),
            figure("processor", "ms", millis(used)),
            figure("memory, most", "MB", megabytes(peak)),
        ],
        is_exact: network.check().await? == (0, 0),
    })
}
