//! All roles in one process: the embedding library's front door.
//!
//! Owns: the wiring of state, planner and connector on an in-process bus and a SQLite file, the lock on the data
//! directory, and the order in which they end. Never: signals, stdout, exit codes.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bus::{AskError, Bus, InProcess, StateClient};
use connector::LeaseTerms;
use engine::rules::Policy;
use model::{RelayUrl, Role, StateError, Status, Timestamp, WorkerId};
use state::{OpenError, SqliteStore, Store};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// The store's file in the data directory.
pub(crate) const DATABASE: &str = "grasp-sync.db";
/// One process owns its data directory, so its lease has no rival: it outlives a slow disk.
const LEASE: Duration = Duration::from_secs(30);
const BEAT: Duration = Duration::from_secs(1);
/// Every upstream with something to plan is looked at this often without a notice.
const SWEEP: Duration = Duration::from_secs(30);

/// Why the system does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the data directory {path} cannot be used: {why}")]
    DataDir { path: PathBuf, why: std::io::Error },
    #[error("the data directory {path} is in use by another grasp-sync; stop it, or choose another one with --data-dir")]
    InUse { path: PathBuf },
    #[error("the database cannot be used: {0}")]
    Database(OpenError),
    #[error("the database does not take the configuration: {0}")]
    Store(#[from] StateError),
}

/// A running system. Dropped without [`System::stop`], it ends at once; the store is consistent all the same.
pub struct System {
    state: StateClient,
    store: Arc<SqliteStore>,
    connector: Stage,
    services: Vec<Stage>,
    /// Held while the system lives.
    _lock: File,
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
    /// Starts every role. `home` is where home answers.
    ///
    /// # Errors
    /// The data directory or its database cannot be used.
    pub async fn start(config: &Config, home: &RelayUrl) -> Result<Self, StartError> {
        Self::start_with(config, home, true).await
    }

    /// As [`System::start`], but no name that an announcement holds is looked up: only announced addresses are dialed.
    /// With `allow_non_public` at loopback, nothing leaves this machine. For demonstrations and tests.
    ///
    /// # Errors
    /// As [`System::start`].
    pub async fn start_offline(config: &Config, home: &RelayUrl) -> Result<Self, StartError> {
        Self::start_with(config, home, false).await
    }

    async fn start_with(config: &Config, home: &RelayUrl, look_up_names: bool) -> Result<Self, StartError> {
        let lock = lock_data_dir(&config.data_dir)?;
        let path = config.data_dir.join(DATABASE);
        let opened = SqliteStore::open(&path, store_settings(config, home)).await;
        let store = Arc::new(opened.map_err(StartError::Database)?);
        store.name_relays(&named(config, home)).await?;
        let bus: Arc<dyn Bus> = Arc::new(InProcess::default());
        let services = vec![serve_state(&store, &bus), plan(config, &bus)];
        let connector = connect(connector_settings(config, home, look_up_names), &bus);
        Ok(Self { state: StateClient::new(bus), store, connector, services, _lock: lock })
    }

    /// Figures of the whole system.
    ///
    /// # Errors
    /// The system stops, or its store fails.
    pub async fn status(&self) -> Result<Status, AskError> {
        self.state.status().await
    }

    /// Stops in order: sessions bring home what is on its way and report it, then the rest ends.
    pub async fn stop(self) {
        self.connector.end().await;
        for service in self.services {
            service.end().await;
        }
        if let Ok(store) = Arc::try_unwrap(self.store) {
            store.close().await;
        }
    }
}

/// Creates the directory and locks it for this process. The lock goes with the process, however it ends.
fn lock_data_dir(path: &Path) -> Result<File, StartError> {
    let unusable = |why| StartError::DataDir { path: path.to_owned(), why };
    std::fs::create_dir_all(path).map_err(unusable)?;
    let file = File::create(path.join("lock")).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StartError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(why)) => Err(unusable(why)),
    }
}

fn store_settings(config: &Config, home: &RelayUrl) -> state::Settings {
    let own_urls = std::iter::once(home).chain(&config.home_aliases).cloned().collect();
    state::Settings {
        policy: policy(config),
        clock: Arc::new(Timestamp::now),
        allow_non_public: config.allow_non_public.clone(),
        own_urls,
        rolls: Arc::new(rand::random::<u64>),
    }
}

fn policy(config: &Config) -> Policy {
    Policy {
        discovery_window_ms: u64::try_from(config.discovery_window.as_millis()).unwrap_or(u64::MAX),
        quick_reconnect_secs: config.quick_reconnect.as_secs(),
        live_limit: config.live_limit,
        refresh_secs: (config.refresh_min.as_secs(), config.refresh_max.as_secs()),
    }
}

fn named(config: &Config, home: &RelayUrl) -> Vec<(RelayUrl, Role)> {
    let bootstrap = config.bootstrap.iter().map(|url| (url.clone(), Role::Bootstrap));
    std::iter::once((home.clone(), Role::Home)).chain(bootstrap).collect()
}

fn serve_state(store: &Arc<SqliteStore>, bus: &Arc<dyn Bus>) -> Stage {
    let stop = CancellationToken::new();
    let serving = state::serve(Arc::clone(store) as Arc<dyn Store>, Arc::clone(bus), stop.clone());
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
    let settings = planner::Settings { policy: policy(config), sweep: SWEEP, name, roll: rand::random::<u64> };
    let task = tokio::spawn(planner::run(Arc::clone(bus), settings, stop.clone()));
    Stage { stop, task }
}

fn connector_settings(config: &Config, home: &RelayUrl, look_up_names: bool) -> connector::Settings {
    let worker = WorkerId { name: "embedded".to_owned(), incarnation: format!("{:032x}", rand::random::<u128>()) };
    connector::Settings {
        home: home.clone(),
        terms: LeaseTerms { worker, ttl: LEASE, beat: BEAT, grace: Duration::ZERO },
        discovery_window: config.discovery_window,
        write_window: config.home_write_window,
        allow_non_public: config.allow_non_public.clone(),
        look_up_names,
    }
}

fn connect(settings: connector::Settings, bus: &Arc<dyn Bus>) -> Stage {
    let stop = CancellationToken::new();
    let task = tokio::spawn(connector::run(Arc::clone(bus), settings, stop.clone()));
    Stage { stop, task }
}
