//! The configuration: one table of settings, four layers laid over each other, one typed result.
//!
//! default < file (TOML) < environment < flags; every value keeps its origin, and all problems are told at once. Never
//! reads the process's environment or arguments itself: they come in as [`Sources`].

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod layers;
mod problem;
mod role;
mod secret;
mod settings;
mod show;
mod typed;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use engine::admission::Lists;
use engine::auth::Consent;
use engine::caps::Caps;
use ipnet::IpNet;
use model::{PublicKey, RelayUrl};

pub use layers::{CONFIG_ENV, CONFIG_FILE, Effective, FlagValue, Sourced, Sources, find_file};
pub use problem::{Complaint, ConfigError, Origin, Problem};
pub use role::ProcessRole;
pub use secret::Secret;
pub use settings::{
    BUILTIN_HOME, Key, Kind, MAX_CONTACT, MAX_DURATION, MAX_NAME, MAX_TOKEN, MIN_TOKEN, SETTINGS, Setting, Value,
};

/// The validated configuration. What each field means, its default and its unit: [`SETTINGS`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// `None` only where the role needs none.
    pub home: Option<Home>,
    /// Other URLs of home, without repeats.
    pub home_aliases: Vec<RelayUrl>,
    /// Relays with which private repositories are shared.
    pub private_peers: Vec<RelayUrl>,
    /// The operator's word: any scheme, port and host may be dialed. Without repeats; never home.
    pub bootstrap: Vec<RelayUrl>,
    /// Passed to [`RelayUrl::dialable`] for announced upstreams.
    pub allow_non_public: Vec<IpNet>,
    /// Whether names in announcements are looked up.
    pub look_up_names: bool,
    /// Where onion services are reached (SOCKS5); unset, none is dialed.
    pub onion_proxy: Option<SocketAddr>,
    /// Which announcements are offered to home.
    pub admission: Admits,
    /// What an archive keeps; everything where it is empty.
    pub archive_only: Lists,
    /// What is never offered to home.
    pub block: Lists,
    /// What a header can hold.
    pub contact: Option<String>,
    pub operator_key: Option<PublicKey>,
    /// A secret key. Without it one is made when `auth` names anybody.
    pub auth_key: Option<Secret>,
    /// Who is told who we are (NIP-42).
    pub auth: Consent,
    /// What announcements can make us dial; each at least 1.
    pub caps: Caps,
    /// S7: roots by one author on one repository of somebody else's that are asked for by themselves; at least 1.
    pub roots_per_author: usize,
    /// Links; at least 1.
    pub dials_per_minute: usize,
    pub data_dir: PathBuf,
    /// Without it, the state is a SQLite file in `data_dir`.
    pub database_url: Option<Secret>,
    /// Without it, the process is alone, in role all.
    pub nats_url: Option<Secret>,
    pub role: ProcessRole,
    /// Of the worker. Without it, the host's name.
    pub name: Option<String>,
    pub discovery_window: Duration,
    pub quick_reconnect: Duration,
    pub audit_after: Duration,
    /// At most `refresh_max`.
    pub refresh_min: Duration,
    pub refresh_max: Duration,
    /// Subscriptions per upstream; at least 1.
    pub live_limit: usize,
    /// Events; at least 1.
    pub home_write_window: usize,
    /// Connections; at least 1.
    pub home_write_links: usize,
    /// Of a fleet; more than twice `lease_beat`.
    pub lease_ttl: Duration,
    pub lease_beat: Duration,
    pub session_grace: Duration,
    /// A filter that `telemetry` takes.
    pub log: String,
    pub log_format: LogFormat,
    pub listen: Listen,
    /// What opens the page. Without it, the page is open on loopback and off elsewhere.
    pub http_token: Option<Secret>,
    /// An `http` or `https` URL with a host.
    pub otlp_endpoint: Option<String>,
}

/// Which announcements are offered to home.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admits {
    HomeDecides,
    /// Those that name home.
    Listed,
    Archive,
}

/// The relay that is kept complete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Home {
    /// A relay inside this process.
    Builtin,
    Relay(RelayUrl),
}

/// Where the state is, and who answers for it: what commands need that look at a system or prepare its database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Places {
    pub role: ProcessRole,
    pub data_dir: PathBuf,
    pub database_url: Option<Secret>,
    pub nats_url: Option<Secret>,
    /// Live subscriptions that a link may have at most.
    pub live_limit: usize,
}

/// How log lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    Text,
    /// One JSON object a line.
    Json,
}

/// Where the process answers questions about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listen {
    /// Nobody chose: any other free port will do if this one is taken.
    Preferably(SocketAddr),
    Exactly(SocketAddr),
}

impl Listen {
    /// Either way, the address that is tried first.
    #[must_use]
    pub fn address(self) -> SocketAddr {
        match self {
            Self::Preferably(address) | Self::Exactly(address) => address,
        }
    }
}

impl Config {
    /// The defaults, with `home` and a data directory: for embedding, demonstrations and tests.
    pub fn with_home(home: Home, data_dir: PathBuf) -> Self {
        let mut effective = Effective::defaults();
        let builtin = Value::Text(Cow::Borrowed(BUILTIN_HOME));
        effective.lay(Key::Home, builtin, Origin::Default);
        let defaults = effective.config().expect("the defaults are valid");
        Self { home: Some(home), data_dir, ..defaults }
    }

    /// True for every known URL of home: such a relay is never an upstream.
    pub fn is_home(&self, url: &RelayUrl) -> bool {
        let is_named = match &self.home {
            None | Some(Home::Builtin) => false,
            Some(Home::Relay(home)) => home == url,
        };
        is_named || self.home_aliases.contains(url)
    }
}

#[cfg(test)]
mod tests;
