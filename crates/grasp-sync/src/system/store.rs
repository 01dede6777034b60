//! The store of a process: a SQLite file under the lock of its directory, or a Postgres database.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::EventId;
use state::postgres::Time;
use state::{PostgresStore, Settings, SqliteStore, Store};
use tokio::time::timeout;

use super::StartError;
use crate::config::{Config, Places, ProcessRole, Secret};

/// The store's file in the data directory.
pub(crate) const DATABASE: &str = "grasp-sync.db";

/// A store that takes longer is not ready.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// An open store, and how to close it.
pub(super) enum OpenStore {
    Sqlite {
        store: Arc<SqliteStore>,
        /// Held while the store is open.
        _lock: File,
    },
    Postgres(Arc<PostgresStore>),
}

impl OpenStore {
    /// Opens the file of the data directory, which nobody else may have open.
    pub(super) async fn file(data_dir: &Path, settings: Settings) -> Result<Self, StartError> {
        let lock = lock_data_dir(data_dir)?;
        let opened = SqliteStore::open(&data_dir.join(DATABASE), settings).await;
        let store = Arc::new(opened.map_err(StartError::Database)?);
        Ok(Self::Sqlite { store, _lock: lock })
    }

    /// Connects to a database. A process in role all keeps its schema up to date; replicas that come and go leave that to
    /// `grasp-sync migrate`.
    pub(super) async fn server(url: &Secret, role: ProcessRole, settings: Settings) -> Result<Self, StartError> {
        let connected = match role {
            ProcessRole::All => PostgresStore::connect(url.expose(), settings, Time::Database).await,
            ProcessRole::State | ProcessRole::Planner | ProcessRole::Connector => {
                PostgresStore::join(url.expose(), settings, Time::Database).await
            }
        };
        let store = connected.map_err(|why| StartError::Postgres { url: url.clone(), why })?;
        Ok(Self::Postgres(Arc::new(store)))
    }

    /// As the configuration says.
    pub(super) async fn open(config: &Config, settings: Settings) -> Result<Self, StartError> {
        match &config.database_url {
            Some(url) => Self::server(url, config.role, settings).await,
            None => Self::file(&config.data_dir, settings).await,
        }
    }

    pub(super) fn port(&self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite { store, .. } => Arc::clone(store) as Arc<dyn Store>,
            Self::Postgres(store) => Arc::clone(store) as Arc<dyn Store>,
        }
    }

    /// Whether it answers a small question in time.
    pub(super) async fn answers(&self) -> bool {
        let asked = self.port();
        let nothing = [EventId::from_byte_array([0; 32])];
        matches!(timeout(ANSWER_LIMIT, asked.known(&nothing)).await, Ok(Ok(_)))
    }

    /// Closes it, unless a service that did not end still holds it.
    pub(super) async fn close(self) {
        match self {
            Self::Sqlite { store, _lock } => {
                if let Ok(store) = Arc::try_unwrap(store) {
                    store.close().await;
                }
            }
            Self::Postgres(store) => {
                if let Ok(store) = Arc::try_unwrap(store) {
                    store.close().await;
                }
            }
        }
    }
}

/// Brings the schema of the configured store up to date, and does no more.
pub(crate) async fn migrate(places: &Places) -> Result<state::Migrated, StartError> {
    match &places.database_url {
        Some(url) => {
            let migrated = state::postgres::migrate(url.expose()).await;
            migrated.map_err(|why| StartError::Postgres { url: url.clone(), why })
        }
        None => {
            let _lock = lock_data_dir(&places.data_dir)?;
            state::sqlite::migrate(&places.data_dir.join(DATABASE)).await.map_err(StartError::Database)
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
