//! `grasp-sync run`: keeps home complete until it is told to stop, and says how far it is.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use model::{LinkView, RelayUrl, Role, Status};
use tokio::time::sleep;
use tracing::{Instrument, info, info_span, warn};

use crate::builtin_relay::{self, BuiltinRelay, Options};
use crate::config::{Config, Home, ProcessRole};
use crate::doctor::remedy_of;
use crate::exit::Exit;
use crate::http::{ListenError, Server};
use crate::lifecycle::Shutdown;
use crate::readiness::Readiness;
use crate::system::{StartError, System};
use crate::telemetry::Metrics;

/// The built-in home's own port, so that its URL stays the same from run to run.
const BUILTIN_PORT: u16 = 7447;
/// How often progress is looked at; it is said only when something changed.
const PROGRESS: Duration = Duration::from_secs(5);
/// How often it is looked at whether the services have what they need.
const LOOK: Duration = Duration::from_secs(1);

/// Why a run ends before its time.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(
        "home {home} cannot be reached: {why}\nWhat to do: {}; `--home builtin` starts a home inside this process",
        remedy_of(why.class)
    )]
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
            Self::Start(why) => why.into(),
            Self::BuiltinHome(builtin_relay::StartError::Store(_)) => Exit::DataDirUnusable,
            Self::Listen(_)
            | Self::BuiltinHome(builtin_relay::StartError::Listen { .. } | builtin_relay::StartError::Thread(_)) => {
                Exit::Failure
            }
        }
    }
}

/// Where the built-in home is, unless something else has its port.
pub(crate) fn builtin_url() -> RelayUrl {
    RelayUrl::parse(&format!("ws://127.0.0.1:{BUILTIN_PORT}")).expect("an address and a port are a relay URL")
}

/// Does what the role says until `shutdown` asks for an end; then brings home what is on its way. Answers about itself
/// meanwhile.
///
/// # Errors
/// What kept it from starting.
pub async fn run(config: Config, metrics: Metrics, shutdown: Shutdown) -> Result<Exit, RunError> {
    let readiness = Readiness::default();
    let started = readiness.check("start");
    let (token, keeps_state) = (config.http_token.as_ref(), config.role.keeps_state());
    let server = Server::start(config.listen, readiness.clone(), metrics, token, keeps_state).await?;
    let (home, builtin) = open_home(&config).await?;
    warn_of_risks(&config);
    // A start may wait for others.
    let system = tokio::select! {
        biased;
        () = shutdown.soft.cancelled() => None,
        started = System::start_role(&config, home.as_ref()).instrument(info_span!("start")) => Some(started?),
    };
    if let Some(system) = system {
        say_start(&config, home.as_ref());
        server.page().show(system.state(), home.clone(), config.live_limit);
        // Every need is known before the first word of readiness.
        look(&system, &readiness).await;
        started.set(true, "");
        tokio::select! {
            () = shutdown.soft.cancelled() => info!("stopping: what is on its way is brought home first"),
            () = say_progress(&system), if config.role.keeps_state() => {}
            () = watch(&system, &readiness) => {}
        }
        started.set(false, "the process stops");
        system.stop().await;
    }
    if let Some(relay) = builtin {
        relay.stop().await;
    }
    info!("stopped");
    Ok(Exit::Ok)
}

fn say_start(config: &Config, home: Option<&RelayUrl>) {
    let (role, bootstrap) = (config.role, config.bootstrap.len());
    let home = home.map_or_else(|| "not needed".to_owned(), RelayUrl::to_string);
    match (&config.database_url, role.keeps_state()) {
        (None, true) => {
            info!(%role, home, bootstrap, data_dir = %config.data_dir.display(), "keeping home complete");
        }
        (Some(database), true) => info!(%role, home, bootstrap, %database, "keeping home complete"),
        (_, false) => info!(%role, home, "taking part in keeping home complete"),
    }
}

/// Home as configured. One process that does everything insists that it answers; in a fleet it may come later.
async fn open_home(config: &Config) -> Result<(Option<RelayUrl>, Option<BuiltinRelay>), RunError> {
    match (&config.home, config.role) {
        (Some(Home::Builtin), _) => {
            let relay = start_builtin(&config.data_dir).await?;
            let home = RelayUrl::parse(&relay.url()).expect("the built-in relay listens on an address, which is a relay URL");
            info!(%home, "the built-in home listens");
            Ok((Some(home), Some(relay)))
        }
        (Some(Home::Relay(home)), ProcessRole::All) => {
            match connector::knock(home, config.contact.as_deref(), config.onion_proxy).await {
                Ok(()) => Ok((Some(home.clone()), None)),
                Err(why) => Err(RunError::HomeUnreachable { home: home.clone(), why }),
            }
        }
        (Some(Home::Relay(home)), ProcessRole::Connector) => {
            if let Err(why) = connector::knock(home, config.contact.as_deref(), config.onion_proxy).await {
                warn!(%home, %why, "home does not answer yet; going on without");
            }
            Ok((Some(home.clone()), None))
        }
        (Some(Home::Relay(home)), ProcessRole::State | ProcessRole::Planner) => Ok((Some(home.clone()), None)),
        (None, _) => Ok((None, None)),
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
    if config.database_url.is_some() && !config.role.keeps_state() {
        warn!(role = %config.role, "database_url is set and not used: only processes in role all or state open the database");
    }
    if config.bootstrap.is_empty() && config.role.keeps_state() {
        info!("no bootstrap relay is configured: upstreams are found only from announcements that home holds");
    }
}

/// Says how far the system is, whenever that changed. Never ends.
async fn say_progress(system: &System) {
    let mut said = None;
    loop {
        sleep(PROGRESS).await;
        let Ok(status) = system.status().await else { continue };
        let now = Progress::of(&status);
        if said.as_ref() != Some(&now) {
            now.say();
            said = Some(now);
        }
    }
}

/// Tells what the services need and whether they have it. Never ends.
async fn watch(system: &System, readiness: &Readiness) {
    loop {
        look(system, readiness).await;
        sleep(LOOK).await;
    }
}

async fn look(system: &System, readiness: &Readiness) {
    for need in system.needs().await {
        readiness.check(need.name).set(need.is_met, need.why);
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
