//! The arguments of `grasp-sync demo`: everything in one process, or each relay in one of its own.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use model::RelayUrl;

use crate::world::{MOST_UPSTREAMS, Shape};

pub(super) const EXAMPLES: &str = "\
Examples:
  grasp-sync demo
  grasp-sync demo --repos 20 --roots 100 --replies 400 --seed 7
  grasp-sync demo --json > result.json

Three upstreams and a home run in this process, on loopback. One of the upstreams is known from the start, the others
are found from announcements; one does not speak NIP-77. The exit code is 0 only if home ends with exactly the events
that it should hold.

The subcommands are the same network with every relay in a process of its own, for a fleet to sync: docker-compose.yml
starts one.";

const SERVE_EXAMPLES: &str = "\
Examples:
  grasp-sync demo serve --part home --listen 127.0.0.1:7001
  grasp-sync demo serve --part upstream-1 --listen 127.0.0.1:7002 --upstream ws://127.0.0.1:7002 --upstream ws://127.0.0.1:7003";

const CHECK_EXAMPLES: &str = "\
Examples:
  grasp-sync demo check --home ws://127.0.0.1:7001 --upstream ws://127.0.0.1:7002 --upstream ws://127.0.0.1:7003

The exit code is 0 if home holds exactly what it should, and 5 if not.";

/// The moment of a network whose relays are processes of their own, in Unix seconds: they have to agree on it, and the
/// whole history has to lie in the past.
const MOMENT: u64 = 1_750_000_000;

/// The demonstration.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct DemoArgs {
    #[command(subcommand)]
    pub separately: Option<Separately>,
    #[command(flatten)]
    pub size: SizeArgs,
    /// Print the result as one JSON document
    #[arg(long)]
    pub json: bool,
}

/// The size of the network that is made up.
#[derive(Clone, Copy, Debug, Args)]
pub struct SizeArgs {
    /// Announced repositories
    #[arg(long, value_name = "COUNT", default_value_t = Shape::default().repos)]
    pub repos: usize,
    /// Issues, patches and pull requests, in all
    #[arg(long, value_name = "COUNT", default_value_t = Shape::default().roots)]
    pub roots: usize,
    /// Everything else that is said about repositories, issues, patches and pull requests, in all
    #[arg(long, value_name = "COUNT", default_value_t = Shape::default().replies)]
    pub replies: usize,
    /// Seeds everything that is drawn at random: the same seed makes up the same network
    #[arg(long, value_name = "NUMBER", default_value_t = Shape::default().seed)]
    pub seed: u64,
}

/// The demonstration in several processes.
#[derive(Clone, Debug, Subcommand)]
pub enum Separately {
    /// Serve one relay of the network until a signal asks for an end
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),
    /// Publish the network's live events on its upstreams
    Publish(PublishArgs),
    /// Read every relay, and count what home lacks and what it should not hold
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
}

/// One relay.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// Which relay: home, or upstream-1 and so on in the order of --upstream
    #[arg(long, value_name = "home|upstream-NUMBER")]
    pub part: Part,
    /// Where it listens
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// The file in which home keeps its events; without it, it forgets them when it ends
    #[arg(long, value_name = "FILE")]
    pub store: Option<PathBuf>,
    #[command(flatten)]
    pub network: NetworkArgs,
}

/// The live events.
#[derive(Clone, Debug, Args)]
pub struct PublishArgs {
    #[command(flatten)]
    pub network: NetworkArgs,
}

/// The count.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// The URL of home
    #[arg(long, value_name = "URL", value_parser = RelayUrl::parse)]
    pub home: RelayUrl,
    /// The URL of an upstream as announcements name it, the bootstrap first; repeatable
    #[arg(long = "upstream", value_name = "URL", required = true, value_parser = RelayUrl::parse)]
    pub upstreams: Vec<RelayUrl>,
    /// Print the result as one JSON document
    #[arg(long)]
    pub json: bool,
}

/// The network, which every process has to be told in the same words.
#[derive(Clone, Debug, Args)]
pub struct NetworkArgs {
    /// The URL of an upstream as announcements are to name it, the bootstrap first; repeatable
    #[arg(long = "upstream", value_name = "URL", value_parser = RelayUrl::parse)]
    pub upstreams: Vec<RelayUrl>,
    #[command(flatten)]
    pub size: SizeArgs,
    /// The moment of the network, in Unix seconds: its history lies before it, its live events are made at it
    #[arg(long, value_name = "SECONDS", default_value_t = MOMENT)]
    pub now: u64,
}

/// A relay of the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    Home,
    /// From 0, in the order of the URLs.
    Upstream(usize),
}

impl SizeArgs {
    /// The network of this size at a moment, in Unix seconds.
    #[must_use]
    pub fn shape(&self, now: u64) -> Shape {
        let &Self { repos, roots, replies, seed } = self;
        Shape { repos, roots, replies, seed, now }
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_prefix("upstream-").and_then(|number| number.parse::<usize>().ok());
        match (text, number) {
            ("home", _) => Ok(Self::Home),
            (_, Some(number)) if (1..=MOST_UPSTREAMS).contains(&number) => Ok(Self::Upstream(number - 1)),
            (_, _) => Err(format!("expected home, or upstream-1 to upstream-{MOST_UPSTREAMS}")),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Home => f.write_str("home"),
            Self::Upstream(index) => write!(f, "upstream-{}", index + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_reads_as_it_is_written() {
        for text in ["home", "upstream-1", "upstream-5"] {
            assert_eq!(text.parse::<Part>().map(|part| part.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "upstream-0", "upstream-6", "upstream-", "elsewhere"] {
            assert!(text.parse::<Part>().is_err(), "{text}");
        }
    }
}
