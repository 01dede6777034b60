//! The services of a process, by its role: the embedding library's front door.
//!
//! Owns: which services run, on which bus and which store, how a start waits for what is not there yet, and the order in
//! which they end. Never: signals, stdout, exit codes.

mod identity;
mod store;
mod terms;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::{AskError, Bus, ConnectError, InProcess, Nats, NatsSettings, StateClient};
use connector::LeaseSign;
use connector::survey::{SurveyTerms, Surveyor};
use engine::admission::{Admission, Mode};
use engine::rules::Policy;
use model::{Explanation, GitWanted, RelayUrl, Role, StateError, Status, Subject, Timestamp};
use state::{OpenError, Store, postgres};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::{Admits, Config, ProcessRole, Secret};
pub(crate) use identity::KEY_FILE;
use store::OpenStore;
pub(crate) use store::{DATABASE, migrate};

/// Every upstream with something to plan is looked at this often without a notice.
const SWEEP: Duration = Duration::from_secs(30);
/// In a fleet notices are lost with whoever held them: a planner that died is made up for within seconds.
const FLEET_SWEEP: Duration = Duration::from_secs(5);
/// How long a start waits before it tries a bus or a database again, and how often it says so.
const RETRY: Duration = Duration::from_secs(1);
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// Why the system does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "the data directory {path} cannot be used: {why}; let this user write there, or choose another one with --data-dir"
    )]
    DataDir { path: PathBuf, why: std::io::Error },
    #[error("the data directory {path} is in use by another grasp-sync; stop it, or choose another one with --data-dir")]
    InUse { path: PathBuf },
    #[error("the database cannot be used: {0}")]
    Database(OpenError),
    #[error("{url}: {why}")]
    Postgres { url: Secret, why: postgres::ConnectError },
    #[error("{url}: {why}")]
    Bus {
        url: Secret,
        why: String,
        /// Whether it stays until somebody changes the configuration or the server.
        is_mistake: bool,
    },
    #[error("the database does not take the configuration: {0}")]
    Store(#[from] StateError),
    #[error("role {0} has to be told which relay is home")]
    NoHome(ProcessRole),
    #[error("role {0} is of no use alone: it meets the others on NATS, by nats_url")]
    NoBus(ProcessRole),
}

impl StartError {
    /// Whether the same start may succeed a moment later.
    fn may_pass(&self) -> bool {
        match self {
            Self::Postgres { why, .. } => !why.is_mistake(),
            Self::Bus { is_mistake, .. } => !is_mistake,
            Self::Store(_) => true,
            Self::DataDir { .. } | Self::InUse { .. } | Self::Database(_) | Self::NoHome(_) | Self::NoBus(_) => false,
        }
    }
}

/// A running system, or the part of one that is this process' role. Dropped without [`System::stop`], it ends at once; the
/// store is consistent all the same.
pub struct System {
    bus: Arc<dyn Bus>,
    state: StateClient,
    /// Of the connector, where one runs.
    lease: Option<LeaseSign>,
    /// In the order in which they end: sessions report before the state service goes.
    services: Vec<Stage>,
    /// Where the state service runs.
    store: Option<OpenStore>,
}

/// What the services of a process need to do their work, and whether they have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    pub name: &'static str,
    pub is_met: bool,
    pub why: &'static str,
}

/// A service and how to end it.
struct Stage {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Stage {
    async fn end(self) {
        self.stop.cancel();
        // A service that panicked has said so; there is nothing left to end.
        let _ = self.task.await;
    }
}

impl System {
    /// Starts the services of the configured role. `home` is where home answers; the planner needs none. As part of a
    /// fleet (with `nats_url`) it waits for a bus or a database that is not there yet; alone it tries once.
    ///
    /// # Errors
    /// The data directory, the database or the bus cannot be used; as part of a fleet, not before somebody changes the
    /// configuration.
    pub async fn start_role(config: &Config, home: Option<&RelayUrl>) -> Result<Self, StartError> {
        let known_home = || home.ok_or(StartError::NoHome(config.role));
        match config.role {
            ProcessRole::All => Self::start(config, known_home()?).await,
            ProcessRole::State => {
                let store = open_store(config, known_home()?).await?;
                let bus = open_bus(config).await?;
                Ok(Self::of(&bus, vec![serve_state(&store, &bus)], Some(store)))
            }
            ProcessRole::Planner => {
                let bus = open_bus(config).await?;
                Ok(Self::of(&bus, vec![plan(config, &bus)], None))
            }
            ProcessRole::Connector => {
                let settings = connector_settings(config, known_home()?);
                let bus = open_bus(config).await?;
                let lease = settings.lease.clone();
                Ok(Self { lease: Some(lease), ..Self::of(&bus, vec![connect(settings, &bus)], None) })
            }
        }
    }

    /// Starts every service in this process, whatever role is configured. `home` is where home answers.
    ///
    /// # Errors
    /// As [`System::start_role`].
    pub async fn start(config: &Config, home: &RelayUrl) -> Result<Self, StartError> {
        let config = &Config { role: ProcessRole::All, ..config.clone() };
        let store = open_store(config, home).await?;
        let bus = open_bus(config).await?;
        let state = serve_state(&store, &bus);
        let settings = connector_settings(config, home);
        let lease = settings.lease.clone();
        let services = vec![connect(settings, &bus), state, plan(config, &bus)];
        Ok(Self { lease: Some(lease), ..Self::of(&bus, services, Some(store)) })
    }

    /// As [`System::start`], but no name that an announcement holds is looked up: only announced addresses are dialed.
    /// With `allow_non_public` at loopback, nothing leaves this machine. For demonstrations and tests.
    ///
    /// # Errors
    /// As [`System::start`].
    pub async fn start_offline(config: &Config, home: &RelayUrl) -> Result<Self, StartError> {
        let offline = Config { look_up_names: false, ..config.clone() };
        Self::start(&offline, home).await
    }

    fn of(bus: &Arc<dyn Bus>, services: Vec<Stage>, store: Option<OpenStore>) -> Self {
        Self { bus: Arc::clone(bus), state: StateClient::new(Arc::clone(bus)), lease: None, services, store }
    }

    /// What the services need, as of now.
    pub async fn needs(&self) -> Vec<Need> {
        let need = |name, is_met, why| Need { name, is_met, why: if is_met { "" } else { why } };
        let mut needs = vec![need("bus", self.bus.is_reachable(), "not connected; trying again")];
        if let Some(store) = &self.store {
            needs.push(need("store", store.answers().await, "the database does not answer"));
        }
        if let Some(lease) = &self.lease {
            needs.push(need("lease", lease.is_held(), "no state service has answered in time"));
        }
        needs
    }

    /// Figures of the whole system, from its state service, wherever that runs.
    ///
    /// # Errors
    /// The system stops, its state service does not answer, or its store fails.
    pub async fn status(&self) -> Result<Status, AskError> {
        self.state.status().await
    }

    /// What is known of one event, repository or upstream, from the state service, wherever that runs.
    ///
    /// # Errors
    /// As [`System::status`].
    pub async fn explain(&self, subject: Subject) -> Result<Explanation, AskError> {
        self.state.explain(subject).await.map(|told| *told)
    }

    /// The state service, wherever it runs.
    #[must_use]
    pub fn state(&self) -> StateClient {
        self.state.clone()
    }

    /// Word of git data that is wanted, as it is told from now on. None: this process meets the others on NATS, where third
    /// parties listen on `git.*`.
    #[must_use]
    pub fn git_wanted(&self) -> Option<broadcast::Receiver<GitWanted>> {
        self.bus.git_wanted_inside()
    }

    /// Stops in order: sessions bring home what is on its way and report it, then the rest ends.
    pub async fn stop(self) {
        for service in self.services {
            service.end().await;
        }
        if let Some(store) = self.store {
            store.close().await;
        }
    }
}

/// Connects to the NATS server of a fleet, in the name of a service: `all`, `state`, `planner` or `connector`.
pub(crate) async fn connect_nats(url: &Secret, service: &'static str) -> Result<Arc<dyn Bus>, StartError> {
    let connected = Nats::connect(NatsSettings::new(url.expose(), service)).await;
    let refused = |why: ConnectError| StartError::Bus { url: url.clone(), is_mistake: !why.may_pass(), why: why.to_string() };
    Ok(Arc::new(connected.map_err(refused)?))
}

async fn open_bus(config: &Config) -> Result<Arc<dyn Bus>, StartError> {
    match &config.nats_url {
        Some(url) => patiently(|| connect_nats(url, config.role.as_str())).await,
        None if config.role.needs_others() => Err(StartError::NoBus(config.role)),
        None => Ok(Arc::new(InProcess::default())),
    }
}

async fn open_store(config: &Config, home: &RelayUrl) -> Result<OpenStore, StartError> {
    let open = || async {
        let store = OpenStore::open(config, store_settings(config, home)).await?;
        store.port().name_relays(&named(config, home)).await?;
        Ok(store)
    };
    if config.nats_url.is_some() { patiently(open).await } else { open().await }
}

/// Tries until it succeeds, or fails for a reason that does not pass. The processes of a fleet start in any order, and one
/// that ended instead would only be started again.
async fn patiently<T, F>(attempt: impl Fn() -> F) -> Result<T, StartError>
where
    F: Future<Output = Result<T, StartError>>,
{
    let mut said: Option<Instant> = None;
    loop {
        match attempt().await {
            Err(error) if error.may_pass() => {
                if said.is_none_or(|at| at.elapsed() >= SAY_AGAIN) {
                    warn!(%error, "waiting; trying again every second");
                    said = Some(Instant::now());
                }
                tokio::time::sleep(RETRY).await;
            }
            Ok(opened) => {
                if said.is_some() {
                    info!("what was waited for is there");
                }
                return Ok(opened);
            }
            Err(error) => return Err(error),
        }
    }
}

pub(crate) fn store_settings(config: &Config, home: &RelayUrl) -> state::Settings {
    let own_urls = std::iter::once(home).chain(&config.home_aliases).cloned().collect();
    state::Settings {
        policy: policy(config),
        clock: Arc::new(Timestamp::now),
        allow_non_public: config.allow_non_public.clone(),
        has_onion_proxy: config.onion_proxy.is_some(),
        own_urls,
        operator: config.operator_key,
        private_peers: config.private_peers.clone(),
        rolls: Arc::new(rand::random::<u64>),
    }
}

fn policy(config: &Config) -> Policy {
    Policy {
        discovery_window_ms: u64::try_from(config.discovery_window.as_millis()).unwrap_or(u64::MAX),
        quick_reconnect_secs: config.quick_reconnect.as_secs(),
        audit_after_secs: config.audit_after.as_secs(),
        live_limit: config.live_limit,
        refresh_secs: (config.refresh_min.as_secs(), config.refresh_max.as_secs()),
        caps: config.caps,
        roots_per_author: config.roots_per_author,
    }
}

fn named(config: &Config, home: &RelayUrl) -> Vec<(RelayUrl, Role)> {
    let bootstrap = config.bootstrap.iter().map(|url| (url.clone(), Role::Bootstrap));
    std::iter::once((home.clone(), Role::Home)).chain(bootstrap).collect()
}

/// The services that no relay is needed for, as [`System::start`] runs them, on a store that is open: to be measured alone.
pub(crate) struct Inside {
    services: Vec<Stage>,
}

impl Inside {
    pub(crate) fn begin(config: &Config, bus: &Arc<dyn Bus>, store: Arc<dyn Store>) -> Self {
        Self { services: vec![serve_port(store, bus), plan(config, bus)] }
    }

    pub(crate) async fn end(self) {
        for service in self.services {
            service.end().await;
        }
    }
}

fn serve_state(store: &OpenStore, bus: &Arc<dyn Bus>) -> Stage {
    serve_port(store.port(), bus)
}

fn serve_port(store: Arc<dyn Store>, bus: &Arc<dyn Bus>) -> Stage {
    let stop = CancellationToken::new();
    let serving = state::serve(store, Arc::clone(bus), stop.clone());
    let task = tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "the state service ended");
        }
    });
    Stage { stop, task }
}

fn plan(config: &Config, bus: &Arc<dyn Bus>) -> Stage {
    let stop = CancellationToken::new();
    let name = format!("{:032x}", rand::random::<u128>());
    let sweep = if config.nats_url.is_some() { FLEET_SWEEP } else { SWEEP };
    // Refreshes fall due at a sweep: it is never rarer than they are.
    let sweep = sweep.min(config.refresh_min).max(Duration::from_secs(1));
    let settings = planner::Settings { policy: policy(config), sweep, name, roll: rand::random::<u64> };
    let task = tokio::spawn(planner::run(Arc::clone(bus), settings, stop.clone()));
    Stage { stop, task }
}

fn connector_settings(config: &Config, home: &RelayUrl) -> connector::Settings {
    connector::Settings {
        home: home.clone(),
        home_aliases: config.home_aliases.clone(),
        terms: terms::of(config),
        discovery_window: config.discovery_window,
        write_window: config.home_write_window,
        write_links: config.home_write_links,
        admission: admission(config, home),
        private_peers: config.private_peers.clone(),
        allow_non_public: config.allow_non_public.clone(),
        look_up_names: config.look_up_names,
        onion_proxy: config.onion_proxy,
        identity: identity::of(config),
        contact: config.contact.clone(),
        dials_per_minute: config.dials_per_minute,
        lease: LeaseSign::default(),
    }
}

/// Who reads relays from outside, beside the services and by the same rules.
pub(crate) fn surveyor(config: &Config) -> Surveyor {
    Surveyor::new(SurveyTerms {
        allow_non_public: config.allow_non_public.clone(),
        look_up_names: config.look_up_names,
        onion_proxy: config.onion_proxy,
        contact: config.contact.clone(),
    })
}

/// Home and its other names are the service that announcements may name.
fn admission(config: &Config, home: &RelayUrl) -> Admission {
    let mode = match config.admission {
        Admits::HomeDecides => Mode::HomeDecides,
        Admits::Listed => Mode::Listed { services: std::iter::once(home).chain(&config.home_aliases).cloned().collect() },
        Admits::Archive => Mode::Archive { allowed: config.archive_only.clone() },
    };
    Admission { mode, blocked: config.block.clone() }
}

fn connect(settings: connector::Settings, bus: &Arc<dyn Bus>) -> Stage {
    let stop = CancellationToken::new();
    let task = tokio::spawn(connector::run(Arc::clone(bus), settings, stop.clone()));
    Stage { stop, task }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::config::Home;

    fn away(is_mistake: bool) -> StartError {
        StartError::Bus { url: "nats://bus".to_owned().into(), why: "no answer".to_owned(), is_mistake }
    }

    #[tokio::test]
    async fn what_is_away_is_waited_for_and_a_mistake_is_not() {
        let tries = AtomicU32::new(0);
        let comes_up = || async {
            let nth = tries.fetch_add(1, Ordering::Relaxed);
            if nth == 1 { Ok(nth) } else { Err(away(false)) }
        };
        assert_eq!(patiently(comes_up).await.unwrap(), 1);
        let is_wrong = || async {
            tries.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(away(true))
        };
        assert!(patiently(is_wrong).await.is_err());
        assert_eq!(tries.into_inner(), 3, "the mistake was tried once");
    }

    #[tokio::test]
    async fn a_role_does_not_start_without_what_it_needs() {
        let directory = tempfile::tempdir().unwrap();
        let home = RelayUrl::parse("ws://127.0.0.1:1").unwrap();
        let config = |role| Config { role, ..Config::with_home(Home::Relay(home.clone()), directory.path().to_owned()) };
        for role in [ProcessRole::State, ProcessRole::Planner, ProcessRole::Connector] {
            let refused = System::start_role(&config(role), Some(&home)).await.err();
            assert!(matches!(refused, Some(StartError::NoBus(named)) if named == role), "{refused:?}");
        }
        for role in [ProcessRole::All, ProcessRole::State, ProcessRole::Connector] {
            let refused = System::start_role(&config(role), None).await.err();
            assert!(matches!(refused, Some(StartError::NoHome(named)) if named == role), "{refused:?}");
        }
    }

    /// The recipes of the roles, on one bus as if they were processes that met on it.
    #[tokio::test]
    async fn the_services_of_three_roles_find_each_other_on_a_bus() {
        let directory = tempfile::tempdir().unwrap();
        let home = RelayUrl::parse("ws://127.0.0.1:1").unwrap();
        let config = Config::with_home(Home::Relay(home.clone()), directory.path().to_owned());
        let bus: Arc<dyn Bus> = Arc::new(InProcess::default());
        let store = open_store(&config, &home).await.unwrap();
        let state = System::of(&bus, vec![serve_state(&store, &bus)], Some(store));
        let planner = System::of(&bus, vec![plan(&config, &bus)], None);
        let connector = System::of(&bus, vec![connect(connector_settings(&config, &home), &bus)], None);
        let has_dialed = |status: &Status| status.upstreams.iter().any(|one| one.url == home && one.failures > 0);
        let dialed = testkit::wait_for("the connector to have dialed home", Duration::from_secs(60), || async {
            let status = planner.status().await.unwrap();
            if has_dialed(&status) { Ok(()) } else { Err(status) }
        });
        dialed.await;
        for process in [connector, planner, state] {
            process.stop().await;
        }
        assert!(OpenStore::open(&config, store_settings(&config, &home)).await.is_ok(), "the directory is free again");
    }
}
