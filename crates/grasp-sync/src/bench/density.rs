//! Upstreams on which nothing happens: what one more of them costs.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::figures::figure;
use super::history::{megabytes, millis};
use super::remote::Remote;
use super::stage::Stage;
use super::{BenchError, Measured, process};
use crate::cli::{DensityArgs, NetworkPlan};

/// Compared with, so that what the system needs without upstreams does not count.
const FEW: usize = 10;
const EVENTS: usize = 100;
const IDLE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(200);

struct Crew {
    resident: u64,
    /// Of a core, while nothing happens.
    share: f64,
    settled: Duration,
    is_exact: bool,
}

pub(super) fn of(args: &DensityArgs) -> String {
    format!("{} upstreams, compared with {FEW}, each idle for {} s; without TLS", args.upstreams, IDLE.as_secs())
}

pub(super) async fn once(args: &DensityArgs) -> Result<Measured, BenchError> {
    let few = idle(FEW).await?;
    let many = idle(args.upstreams.max(FEW + 1)).await?;
    let more = (args.upstreams.max(FEW + 1) - FEW) as f64;
    Ok(Measured {
        run: vec![
            figure("memory per upstream", "kB", (many.resident as f64 - few.resident as f64) / 1024.0 / more),
            figure("memory with few", "MB", megabytes(few.resident)),
            figure("memory with all", "MB", megabytes(many.resident)),
            figure("processor with few", "% of a core", few.share * 100.0),
            figure("processor with all", "% of a core", many.share * 100.0),
            figure("all at rest after", "ms", millis(many.settled)),
        ],
        is_exact: few.is_exact && many.is_exact,
    })
}

async fn idle(upstreams: usize) -> Result<Crew, BenchError> {
    let plan = NetworkPlan { events: EVENTS, upstreams, one_relay: true, ..NetworkPlan::default() };
    let mut network = Remote::start(plan).await?;
    let stage = Stage::set(&network.home, vec![network.upstreams[0].clone()], upstreams, EVENTS * upstreams)?;
    let began = Instant::now();
    let system = stage.start().await?;
    let settled = stage.until_at_rest(&system, (began, LOOK_EVERY)).await?;
    let (used, began) = (process::processor_time()?, Instant::now());
    sleep(IDLE).await;
    let share = (process::processor_time()? - used).as_secs_f64() / began.elapsed().as_secs_f64();
    let resident = process::resident()?;
    system.stop().await;
    Ok(Crew { resident, share, settled, is_exact: network.check().await? == (0, 0) })
}
