//! All history into an empty home: the rate, what an event costs, and how often it is downloaded.

use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::figures::figure;
use super::limit::{Verification, verification};
use super::remote::Remote;
use super::stage::{DISCOVERY_WINDOW, Stage};
use super::{BenchError, Measured, process};
use crate::cli::{HistoryArgs, NetworkPlan};

const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A status counts the whole ledger: asked rarely, it is not what is measured.
const STATUS_EVERY: Duration = Duration::from_millis(250);

pub(super) fn of(args: &HistoryArgs) -> String {
    match &args.home {
        Some(home) => format!("into {home} from {} upstreams", args.urls.len()),
        None => {
            let where_ = if args.everywhere { "each on all of" } else { "shared out over" };
            format!("{} events {where_} {} upstreams{}", args.events, args.upstreams, far(args.line.rtt))
        }
    }
}

/// The round trip in words, where there is one.
pub(super) fn far(rtt: Duration) -> String {
    if rtt.is_zero() { String::new() } else { format!(", {} away", humantime::format_duration(rtt)) }
}

pub(super) async fn once(args: &HistoryArgs) -> Result<Measured, BenchError> {
    match &args.home {
        Some(home) => between_given(home, args).await,
        None => between_own(args).await,
    }
}

async fn between_own(args: &HistoryArgs) -> Result<Measured, BenchError> {
    let &HistoryArgs { events, upstreams, everywhere, line, .. } = args;
    let mut network = Remote::start(NetworkPlan { events, upstreams, everywhere, line, ..NetworkPlan::default() }).await?;
    let limit = spawn_blocking(verification).await??;
    let stage = Stage::set(&network.home, vec![network.upstreams[0].clone()], upstreams, network.events)?;
    let before = (process::processor_time()?, process::resident()?);
    process::forget_peak()?;
    let began = Instant::now();
    let system = stage.start().await?;
    let arrived = until_offered(&mut network, began).await?;
    // From here on the processor only looks.
    let used = process::processor_time()? - before.0;
    let peak = process::peak()?;
    let proved = stage.until_at_rest(&system, (began, STATUS_EVERY)).await?;
    system.stop().await;
    let (counts, check) = (network.counts().await?, network.check().await?);
    let all = network.events as f64;
    let (rate, each) = (all / arrived.as_secs_f64(), used.as_secs_f64() / all);
    let Verification { all_cores, each: verifying } = limit;
    Ok(Measured {
        run: vec![
            figure("events at home", "events/s", rate),
            figure("limit: verification on these cores", "events/s", all_cores),
            figure("of the limit", "%", rate / all_cores * 100.0),
            figure("last event at home after", "ms", millis(arrived)),
            figure("proved complete after", "ms", millis(proved)),
            figure("of that, discovery window", "ms", millis(DISCOVERY_WINDOW)),
            figure("processor per event", "µs", each * 1e6),
            figure("of that, verification", "µs", verifying.as_secs_f64() * 1e6),
            figure("beyond verification", "µs", (each - verifying.as_secs_f64()) * 1e6),
            figure("downloads per event", "", counts.downloaded as f64 / all),
            figure("bytes down per event", "B", counts.bytes_down as f64 / all),
            figure("bytes up per event", "B", counts.bytes_up as f64 / all),
            figure("memory, most", "MB", megabytes(peak)),
            figure("memory before", "MB", megabytes(before.1)),
        ],
        is_exact: check == (0, 0),
    })
}

/// The system's own figures only: what the relays count is theirs.
async fn between_given(home: &model::RelayUrl, args: &HistoryArgs) -> Result<Measured, BenchError> {
    let limit = spawn_blocking(verification).await??;
    let stage = Stage::set(home, args.urls.clone(), args.urls.len(), args.events)?;
    let before = process::processor_time()?;
    process::forget_peak()?;
    let began = Instant::now();
    let system = stage.start().await?;
    let proved = stage.until_at_rest(&system, (began, STATUS_EVERY)).await?;
    let (used, peak) = (process::processor_time()? - before, process::peak()?);
    let status = system.status().await?;
    system.stop().await;
    let read: u64 = status.upstreams.iter().filter(|one| one.role != model::Role::Home).map(|one| one.counts.fresh).sum();
    let rate = read as f64 / proved.as_secs_f64();
    Ok(Measured {
        run: vec![
            figure("new events", "events", read as f64),
            figure("until proved complete", "events/s", rate),
            figure("limit: verification on these cores", "events/s", limit.all_cores),
            figure("proved complete after", "ms", millis(proved)),
            figure("processor per event", "µs", used.as_secs_f64() * 1e6 / (read as f64).max(1.0)),
            figure("memory, most", "MB", megabytes(peak)),
        ],
        // Nothing says what a strange home should hold but the system itself.
        is_exact: true,
    })
}

/// When home had been offered as many events as there are.
async fn until_offered(network: &mut Remote, began: Instant) -> Result<Duration, BenchError> {
    let mut last = (0, Instant::now());
    loop {
        let offered = network.counts().await?.offered;
        let looked = began.elapsed();
        if offered >= network.events as u64 {
            return Ok(looked);
        }
        if offered > last.0 {
            last = (offered, Instant::now());
        } else if last.1.elapsed() > Duration::from_secs(60) {
            let seen = format!("{offered} of {} events were offered to home, and then none for a minute", network.events);
            return Err(BenchError::Late { after: looked, seen });
        }
        sleep(LOOK_EVERY).await;
    }
}

pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

pub(super) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
