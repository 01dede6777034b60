//! `grasp-sync run`: keeps home complete until it is told to stop, and says how far it is.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use model::{LinkView, RelayUrl, Role, Status};
use tokio::time::timeout;
use tracing::{Instrument, info, info_span, warn};

use crate::builtin_relay::{self, BuiltinRelay, Options};
use crate::config::{Config, Home};
use crate::exit::Exit;
use crate::http::{ListenError, Server};
use crate::lifecycle::Shutdown;
use crate::readiness::{Check, Readiness};
use crate::system::{StartError, System};
use crate::telemetry::Metrics;

/// The built-in home's own port, so that its URL stays the same from run to run.
const BUILTIN_PORT: u16 = 7447;
/// How often progress is looked at; it is said only when something changed.
const PROGRESS: Duration = Duration::from_secs(5);
/// A store that takes longer to answer is not ready.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Why a run ends before its time.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("home {home} cannot be reached: {why}\nIs it running? `--home builtin` starts a home inside this process")]
    HomeUnreachable { home: RelayUrl, why: connector::Unreachable },
    #[error("the built-in home does not start: {0}")]
    BuiltinHome(#[from] builtin_relay::StartError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Listen(#[from] ListenError),
}

impl RunError {
    /// The code that the process ends with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::HomeUnreachable { .. } => Exit::HomeUnreachable,
            Self::Start(StartError::DataDir { .. } | StartError::InUse { .. } | StartError::Database(_))
            | Self::BuiltinHome(builtin_relay::StartError::Store(_)) => Exit::DataDirUnusable,
            Self::Listen(_)
            | Self::Start(StartError::Store(_))
            | Self::BuiltinHome(builtin_relay::StartError::Listen { .. } | builtin_relay::StartError::Thread(_)) => {
                Exit::Failure
            }
        }
    }
}

/// Keeps home complete until `shutdown` asks for an end; then brings home what is on its way. Answers about itself meanwhile.
///
/// # Errors
/// What kept it from starting.
pub async fn run(config: Config, metrics: Metrics, shutdown: Shutdown) -> Result<Exit, RunError> {
    let readiness = Readiness::default();
    let store = readiness.check("store");
    let _server = Server::start(config.listen, readiness, metrics).await?;
    let (system, builtin) = start(&config).instrument(info_span!("start")).await?;
    tokio::select! {
        () = shutdown.soft.cancelled() => info!("stopping: what is on its way is brought home first"),
        () = watch(&system, &store) => {}
    }
    store.set(false, "the process stops");
    system.stop().await;
    if let Some(relay) = builtin {
        relay.stop().await;
    }
    info!("stopped");
    Ok(Exit::Ok)
}

/// Home, and the system that keeps it complete.
async fn start(config: &Config) -> Result<(System, Option<BuiltinRelay>), RunError> {
    let (home, builtin) = open_home(config).await?;
    warn_of_risks(config);
    let system = System::start(config, &home).await?;
    info!(%home, bootstrap = config.bootstrap.len(), data_dir = %config.data_dir.display(), "keeping home complete");
    Ok((system, builtin))
}

/// Home as configured, shown to answer.
async fn open_home(config: &Config) -> Result<(RelayUrl, Option<BuiltinRelay>), RunError> {
    match &config.home {
        Home::Relay(home) => match connector::knock(home).await {
            Ok(()) => Ok((home.clone(), None)),
            Err(why) => Err(RunError::HomeUnreachable { home: home.clone(), why }),
        },
        Home::Builtin => {
            let relay = start_builtin(&config.data_dir).await?;
            let home = RelayUrl::parse(&relay.url()).expect("the built-in relay listens on an address, which is a relay URL");
            info!(%home, "the built-in home listens");
            Ok((home, Some(relay)))
        }
    }
}

/// On its own port if that is free, else on any.
async fn start_builtin(data_dir: &Path) -> Result<BuiltinRelay, RunError> {
    std::fs::create_dir_all(data_dir).map_err(|why| StartError::DataDir { path: data_dir.to_owned(), why })?;
    let options = |port| Options {
        listen: SocketAddr::from(([127, 0, 0, 1], port)),
        store: builtin_relay::Store::File(data_dir.join("home.jsonl")),
        ..Options::default()
    };
    match BuiltinRelay::start(options(BUILTIN_PORT)).await {
        Err(builtin_relay::StartError::Listen { .. }) => {
            warn!(port = BUILTIN_PORT, "the built-in home's port is taken; it listens on another one");
            Ok(BuiltinRelay::start(options(0)).await?)
        }
        started => Ok(started?),
    }
}

fn warn_of_risks(config: &Config) {
    if !config.allow_non_public.is_empty() {
        let networks = &config.allow_non_public;
        warn!(?networks, "allow_non_public is set: anybody's announcement can make this process dial these networks");
    }
    if config.bootstrap.is_empty() {
        info!("no bootstrap relay is configured: upstreams are found only from announcements that home holds");
    }
}

/// Says how far the system is, whenever that changed, and whether its store answers. Never ends.
async fn watch(system: &System, store: &Check) {
    let mut said = None;
    // Readiness is known at once; progress only when there was time for some.
    look(system, store).await;
    loop {
        tokio::time::sleep(PROGRESS).await;
        let Some(status) = look(system, store).await else { continue };
        let now = Progress::of(&status);
        if said.as_ref() != Some(&now) {
            now.say();
            said = Some(now);
        }
    }
}

/// The figures of the system, unless its store does not answer in time.
async fn look(system: &System, store: &Check) -> Option<Status> {
    match timeout(ANSWER_LIMIT, system.status()).await {
        Ok(Ok(status)) => {
            store.set(true, "it answers");
            Some(status)
        }
        Ok(Err(error)) => {
            store.set(false, &error.to_string());
            None
        }
        Err(_) => {
            store.set(false, &format!("no answer for {} s", ANSWER_LIMIT.as_secs()));
            None
        }
    }
}

/// The figures of one progress line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Progress {
    up: usize,
    upstreams: usize,
    confirmed: u64,
    items: u64,
    at_home: u64,
}

impl Progress {
    fn of(status: &Status) -> Self {
        let upstreams: Vec<_> = status.upstreams.iter().filter(|one| one.role != Role::Home).collect();
        Self {
            up: upstreams.iter().filter(|one| matches!(one.link, LinkView::Up { .. })).count(),
            upstreams: upstreams.len(),
            confirmed: upstreams.iter().map(|one| one.confirmed).sum(),
            items: upstreams.iter().map(|one| one.wanted + one.pending + one.confirmed).sum(),
            at_home: status.at_home,
        }
    }

    fn say(self) {
        let Self { up, upstreams, confirmed, items, at_home } = self;
        if items == 0 {
            return info!(up, upstreams, at_home, "waiting: home holds no announcement that names another relay yet");
        }
        let done = if confirmed == items { "complete" } else { "syncing" };
        info!(
            up,
            upstreams,
            confirmed,
            items,
            at_home,
            "{done}: {confirmed} of {items} items confirmed on {up} of {upstreams} upstreams"
        );
    }
}
