//! A store that is filled to be measured: a SQLite file in a temporary directory, or a Postgres database that was empty.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use engine::caps::Caps;
use model::{Assignment, Epoch, HomeWrites, LeaseRequest, LedgerRow, RelayUrl, Role, UpstreamId, WorkerId};
use state::postgres::{self, Time};
use state::{PostgresStore, Settings, SqliteStore, Store, sqlite};
use tempfile::TempDir;

use super::BenchError;
use crate::config::{Config, Home, Secret};
use crate::system;

/// Nothing renews it: longer than any measurement.
const LEASE: Duration = Duration::from_secs(24 * 3600);
/// No bound of ours may keep out what is measured.
const PLENTY: usize = 10_000_000;

/// Where the store is.
#[derive(Debug)]
enum Place {
    File(TempDir),
    Server(Secret),
}

/// An open store, with home and nothing else in it.
pub(super) struct Filled {
    pub(super) store: Arc<dyn Store>,
    pub(super) config: Config,
    place: Place,
}

/// An upstream that is held here, before its link is up.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) upstream: UpstreamId,
    pub(super) url: RelayUrl,
    pub(super) role: Role,
    pub(super) epoch: Epoch,
}

/// What the store is, in words.
pub(super) fn words(store: Option<&Secret>) -> &'static str {
    if store.is_some() { "Postgres" } else { "SQLite" }
}

impl Filled {
    /// Opens it, and names these relays beside home.
    pub(super) async fn open(server: Option<&Secret>, bootstrap: &[RelayUrl]) -> Result<Self, BenchError> {
        let directory = tempfile::Builder::new().prefix("grasp-sync-bench-").tempdir()?;
        let home = relay("home");
        let config = Config {
            caps: Caps { per_announcement: PLENTY, per_author: PLENTY, per_domain: PLENTY, total: PLENTY },
            ..Config::with_home(Home::Relay(home.clone()), directory.path().to_owned())
        };
        let settings = system::store_settings(&config, &home);
        let (store, place) = match server {
            None => (file(&directory, settings).await?, Place::File(directory)),
            Some(url) => (database(url, settings).await?, Place::Server(url.clone())),
        };
        let named = bootstrap.iter().map(|url| (url.clone(), Role::Bootstrap)).chain([(home, Role::Home)]);
        store.name_relays(&named.collect::<Vec<_>>()).await?;
        Ok(Self { store, config, place })
    }

    /// Takes the lease of every upstream that the store has.
    pub(super) async fn hold_all(&self) -> Result<Vec<Held>, BenchError> {
        let worker = WorkerId { name: "bench".to_owned(), incarnation: "1".to_owned() };
        let ttl_ms = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
        let request = LeaseRequest { worker, ttl_ms, behind: Vec::new(), leaving: false, writes: HomeWrites::default() };
        let assigned = self.store.lease(&request).await?;
        let held = |one: Assignment| Held { upstream: one.upstream, url: one.url, role: one.role, epoch: one.epoch };
        Ok(assigned.into_iter().map(held).collect())
    }

    /// How long the same database takes for these rows and does nothing else.
    pub(super) async fn plain(&self, rows: &[LedgerRow], at_once: usize) -> Result<Duration, BenchError> {
        match &self.place {
            Place::File(directory) => Ok(sqlite::plain::take(&directory.path().join("plain.db"), rows, at_once).await?),
            Place::Server(url) => Ok(postgres::plain::take(url.expose(), rows, at_once).await?),
        }
    }
}

async fn file(directory: &TempDir, settings: Settings) -> Result<Arc<dyn Store>, BenchError> {
    let path: PathBuf = directory.path().join(system::DATABASE);
    Ok(Arc::new(SqliteStore::open(&path, settings).await?))
}

async fn database(url: &Secret, settings: Settings) -> Result<Arc<dyn Store>, BenchError> {
    if !postgres::plain::is_empty(url.expose()).await? {
        return Err(BenchError::NotEmpty);
    }
    Ok(Arc::new(PostgresStore::connect(url.expose(), settings, Time::Database).await?))
}

/// A relay of this name, which nobody dials.
pub(super) fn relay(name: &str) -> RelayUrl {
    RelayUrl::parse(&format!("wss://{name}.example/")).expect("a short name makes a URL")
}
