//! `grasp-sync bench`: how fast the system is, beside the limit that is measured in the same run.
//!
//! Owns: what is measured and how. The system under measure runs in this process, the relays in one of their own, so that
//! processor time and memory are the system's. Never: a figure that no run of it has shown.

mod crowd;
mod density;
mod figures;
mod filled;
mod history;
mod ledger;
mod limit;
mod line;
mod live;
mod network;
mod planner;
mod process;
mod puppet;
mod remote;
mod restart;
mod resync;
mod stage;

use std::io;
use std::time::Duration;

use bus::{AskError, BusError};
use model::StateError;
use state::{OpenError, postgres};
use tokio::task::JoinError;

use crate::builtin_relay;
use crate::cli::{BenchOutput, BenchWork};
use crate::client::ClientError;
use crate::exit::Exit;
use crate::lifecycle::Shutdown;
use crate::output;
use crate::system::StartError;
use figures::{Report, Run};

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error("the relays' process cannot be spoken to, or this one not be measured: {0}")]
    Io(#[from] io::Error),
    #[error("the relays' process ended")]
    NetworkEnded,
    #[error("the relays' process failed: {0}")]
    Network(String),
    #[error("the relays' process answered what it was not asked")]
    Unlike,
    #[error("the system does not say how it stands: {0}")]
    Status(#[from] AskError),
    #[error("a relay does not start: {0}")]
    Relay(#[from] builtin_relay::StartError),
    #[error("the relay could not be spoken to: {0}")]
    Client(#[from] ClientError),
    #[error("the events were not made: {0}")]
    Crowd(#[from] JoinError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the database of --store is not empty: make one for this measurement alone")]
    NotEmpty,
    #[error(transparent)]
    Postgres(#[from] postgres::ConnectError),
    #[error(transparent)]
    Sqlite(#[from] OpenError),
    #[error("the store does not do what it is asked: {0}")]
    Store(#[from] StateError),
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error("it was not complete within {} s: {seen}", after.as_secs())]
    Late { after: Duration, seen: String },
}

impl BenchError {
    /// The code that the process ends with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Late { .. } => Exit::Incomplete,
            Self::Start(why) => why.into(),
            Self::NotEmpty
            | Self::Postgres(_)
            | Self::Sqlite(_)
            | Self::Store(_)
            | Self::Bus(_)
            | Self::Io(_)
            | Self::NetworkEnded
            | Self::Network(_)
            | Self::Unlike
            | Self::Status(_)
            | Self::Relay(_)
            | Self::Client(_)
            | Self::Crowd(_) => Exit::Failure,
        }
    }
}

/// What a run has shown.
struct Measured {
    run: Run,
    /// Whether home ended with exactly what it should hold, or the store found what was written.
    is_exact: bool,
}

/// Measures, and prints the result. The first signal ends it without one.
///
/// # Errors
/// What kept it from being measured.
pub async fn bench(work: BenchWork, shutdown: &Shutdown) -> Result<Exit, BenchError> {
    tokio::select! {
        () = shutdown.soft.cancelled() => Ok(Exit::Incomplete),
        measured = measure(work) => measured,
    }
}

async fn measure(work: BenchWork) -> Result<Exit, BenchError> {
    match work {
        BenchWork::History(args) => {
            let of = history::of(&args);
            repeat("history", of, args.output, async || history::once(&args).await).await
        }
        BenchWork::Resync(args) => repeat("resync", resync::of(&args), args.output, async || resync::once(&args).await).await,
        BenchWork::Live(args) => repeat("live", live::of(&args), args.output, async || live::once(&args).await).await,
        BenchWork::Restart(args) => {
            repeat("restart", restart::of(&args), args.output, async || restart::once(&args).await).await
        }
        BenchWork::Density(args) => {
            repeat("density", density::of(&args), args.output, async || density::once(&args).await).await
        }
        BenchWork::Ledger(args) => repeat("ledger", ledger::of(&args), args.output, async || ledger::once(&args).await).await,
        BenchWork::Planner(args) => {
            repeat("planner", planner::of(&args), args.output, async || planner::once(&args).await).await
        }
        BenchWork::Network(plan) => network::serve(plan).await.map(|()| Exit::Ok),
    }
}

async fn repeat(
    work: &'static str,
    of: String,
    how: BenchOutput,
    once: impl AsyncFn() -> Result<Measured, BenchError>,
) -> Result<Exit, BenchError> {
    let mut runs = Vec::new();
    let mut complete = true;
    for number in 1..=how.runs {
        output::say(&format!("{work}, run {number} of {}: {of}", how.runs));
        let Measured { run, is_exact } = once().await?;
        complete &= is_exact;
        runs.push(run);
    }
    let report = Report::of(work, of, &runs, complete);
    if how.json { output::print_json(&report) } else { output::print(&report.table()) }?;
    Ok(if complete { Exit::Ok } else { Exit::Incomplete })
}
