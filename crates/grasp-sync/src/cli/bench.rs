//! The arguments of `grasp-sync bench`: what is measured, how large, and over which lines.

use std::time::Duration;

use clap::{Args, Subcommand};
use model::RelayUrl;
use serde::{Deserialize, Serialize};

use crate::config::Secret;

pub(super) const EXAMPLES: &str = "\
Examples:
  grasp-sync bench history
  grasp-sync bench history --events 100000 --runs 5 --json
  grasp-sync bench history --rtt 100ms
  grasp-sync bench history --home ws://127.0.0.1:7777 --upstream ws://127.0.0.1:7778
  grasp-sync bench resync --missing 1
  grasp-sync bench live --upstreams 50 --events 5000 --rate 500
  grasp-sync bench restart --upstreams 50
  grasp-sync bench density --upstreams 1000
  grasp-sync bench ledger --events 1000000
  grasp-sync bench planner --repositories 1000000 --store postgres://bench@127.0.0.1/empty

The relays run in a process of their own, on loopback, and the system runs in this one: its processor time and its memory
are this process' own. Each table gives the limit that was measured in the same run beside the figure. The exit code is 0
only if home ended with exactly what it should hold.";

/// What is measured.
#[derive(Clone, Debug, Subcommand)]
pub enum BenchWork {
    /// All history into an empty home
    History(HistoryArgs),
    /// Started again on its data after a long time: everything is compared, and what is missing is fetched
    Resync(ResyncArgs),
    /// From an upstream's OK to home's, under a steady stream of events
    Live(LiveArgs),
    /// Stopped, and started again a moment later: how soon it is at rest, beside the first start
    Restart(RestartArgs),
    /// Memory and processor time of upstreams on which nothing happens
    Density(DensityArgs),
    /// The ledger as it grows: rows written a second, and the time to read a set
    Ledger(LedgerArgs),
    /// State and planner among many repositories: how long a new root takes until it is ordered
    Planner(PlannerArgs),
    /// The relays that are measured against; the other commands start it
    #[command(hide = true)]
    Network(NetworkPlan),
}

/// How often, and how the result is shown.
#[derive(Clone, Copy, Debug, Args)]
pub struct BenchOutput {
    /// How often it is measured; the table shows the median
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,
    /// Print the result as one JSON document
    #[arg(long)]
    pub json: bool,
}

/// The lines to the upstreams.
#[derive(Clone, Copy, Debug, Default, Args, Serialize, Deserialize)]
pub struct LineArgs {
    /// Round trip to every upstream, as `100ms`
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    pub rtt: Duration,
    /// Bytes a second from every upstream, and to it; 0 is unlimited
    #[arg(long = "bandwidth", value_name = "BYTES", default_value_t = 0)]
    pub bytes_per_second: u64,
}

#[derive(Clone, Debug, Args)]
pub struct HistoryArgs {
    /// Events in all
    #[arg(long, value_name = "COUNT", default_value_t = 20_000)]
    pub events: usize,
    /// Upstreams
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    pub upstreams: usize,
    /// Every upstream holds every event, instead of a share of them
    #[arg(long)]
    pub everywhere: bool,
    /// Measure against this relay instead; it is written to. With --upstream
    #[arg(long, value_name = "URL", value_parser = RelayUrl::parse, requires = "upstream", conflicts_with_all = ["events", "upstreams", "everywhere", "rtt", "bytes_per_second", "runs"])]
    pub home: Option<RelayUrl>,
    /// A relay to read from; repeatable. With --home
    #[arg(long = "upstream", id = "upstream", value_name = "URL", requires = "home", value_parser = RelayUrl::parse)]
    pub urls: Vec<RelayUrl>,
    #[command(flatten)]
    pub line: LineArgs,
    #[command(flatten)]
    pub output: BenchOutput,
}

#[derive(Clone, Copy, Debug, Args)]
pub struct ResyncArgs {
    /// Events in all
    #[arg(long, value_name = "COUNT", default_value_t = 20_000)]
    pub events: usize,
    /// Upstreams
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    pub upstreams: usize,
    /// Percent of the events that came to the upstreams meanwhile, scattered over all of history
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=50))]
    pub missing: u8,
    #[command(flatten)]
    pub line: LineArgs,
    #[command(flatten)]
    pub output: BenchOutput,
}

#[derive(Clone, Copy, Debug, Args)]
pub struct LiveArgs {
    /// Upstreams
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    pub upstreams: usize,
    /// Live events in all
    #[arg(long, value_name = "COUNT", default_value_t = 2_000)]
    pub events: usize,
    /// Events a second, over all upstreams
    #[arg(long, value_name = "COUNT", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: u32,
    #[command(flatten)]
    pub output: BenchOutput,
}

#[derive(Clone, Copy, Debug, Args)]
pub struct DensityArgs {
    /// Upstreams
    #[arg(long, value_name = "COUNT", default_value_t = 500)]
    pub upstreams: usize,
    #[command(flatten)]
    pub output: BenchOutput,
}

#[derive(Clone, Copy, Debug, Args)]
pub struct RestartArgs {
    /// Events in all
    #[arg(long, value_name = "COUNT", default_value_t = 100_000)]
    pub events: usize,
    /// Upstreams
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    pub upstreams: usize,
    /// Upstreams that each repository lists, 0 for all of them; each event is on one of these
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    pub listed: usize,
    #[command(flatten)]
    pub output: BenchOutput,
}

#[derive(Clone, Debug, Args)]
pub struct LedgerArgs {
    /// Events at last; measured at a hundredth, a tenth and all of them
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
    pub events: usize,
    /// An empty Postgres database, `postgres://user@host/database`, which is filled; a SQLite file that is thrown away otherwise
    #[arg(long, value_name = "URL", conflicts_with = "runs")]
    pub store: Option<Secret>,
    #[command(flatten)]
    pub output: BenchOutput,
}

#[derive(Clone, Debug, Args)]
pub struct PlannerArgs {
    /// Repositories at last; measured at a tenth and all of them, and from 10,000 on
    #[arg(long, value_name = "COUNT", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub repositories: u64,
    /// Upstreams on which they are; few of them are up
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    pub upstreams: usize,
    /// New roots that are timed at each size
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub roots: usize,
    /// An empty Postgres database, `postgres://user@host/database`, which is filled; a SQLite file that is thrown away otherwise
    #[arg(long, value_name = "URL", conflicts_with = "runs")]
    pub store: Option<Secret>,
    #[command(flatten)]
    pub output: BenchOutput,
}

/// Everything that the process of the relays has to be told.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct NetworkPlan {
    /// Events in all
    #[arg(long)]
    pub events: usize,
    /// Upstreams
    #[arg(long)]
    pub upstreams: usize,
    /// Every upstream holds every event
    #[arg(long)]
    pub everywhere: bool,
    /// Upstreams that each repository lists; 0 for all of them
    #[arg(long, default_value_t = 0)]
    pub listed: usize,
    /// Percent of the events that are kept back until they are asked for
    #[arg(long, default_value_t = 0)]
    pub kept_back: u8,
    /// All upstreams are one relay under many addresses
    #[arg(long)]
    pub one_relay: bool,
    #[command(flatten)]
    pub line: LineArgs,
}

impl NetworkPlan {
    /// The same as words of a command line.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let &Self { events, upstreams, everywhere, listed, kept_back, one_relay, line } = self;
        let LineArgs { rtt, bytes_per_second } = line;
        let mut words = vec![format!("--events={events}"), format!("--upstreams={upstreams}")];
        words.push(format!("--listed={listed}"));
        words.push(format!("--kept-back={kept_back}"));
        words.push(format!("--rtt={}us", rtt.as_micros()));
        words.push(format!("--bandwidth={bytes_per_second}"));
        words.extend(everywhere.then(|| "--everywhere".to_owned()));
        words.extend(one_relay.then(|| "--one-relay".to_owned()));
        words
    }
}
