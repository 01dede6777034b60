//! The store in one SQLite file: what the embedded system and small deployments run on.
//!
//! Owns: the file, one connection that writes and a few that read; each method of [`Store`] is one transaction, and each
//! noun has a module of its own. Never: a decision that `engine` can make, a row at a time where many may come.

mod bars;
mod checkpoint;
mod claim;
mod coverage;
mod discover;
mod explain;
mod item;
mod lease;
mod ledger;
mod link;
mod named;
mod open;
pub mod plain;
mod relay;
mod report;
mod snapshot;
mod status;
mod sweep;
mod waiting;

use std::path::Path;

use async_trait::async_trait;
use model::{
    Announced, Assignment, Bar, Claim, Claimed, Discovery, Epoch, EventId, Explanation, LeaseRequest, LedgerCursor, LedgerPage,
    LedgerRow, LedgerScope, RelayUrl, Report, Role, Snapshot, StateError, Status, Subject, UpGranted, UpstreamId, Waiting,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqlitePool, Transaction};

use crate::codec;
use crate::failure::{Failure, unreadable};
use crate::turns::Turns;
use crate::{Migrated, Settings, Store};
pub use open::OpenError;

/// The store in one SQLite file. Cheap to share behind an `Arc`; one process at a time.
pub struct SqliteStore {
    /// One connection: SQLite has one writer, and waiting for it here is fair, where its own lock is not.
    writer: SqlitePool,
    readers: SqlitePool,
    settings: Settings,
    turns: Turns,
    /// None in memory, where there is no log.
    checkpoints: Option<checkpoint::Checkpoints>,
}

impl SqliteStore {
    /// Opens or creates the database at `path`, brings its schema up to date, and ends every link that a former process
    /// left: its workers are dead, what was pending is wanted (S10).
    ///
    /// # Errors
    /// What an operator has to put right; see [`OpenError`].
    pub async fn open(path: &Path, settings: Settings) -> Result<Self, OpenError> {
        open::file(path, settings).await
    }

    /// Figures of the database at `path`, which a running process may have open. Changes nothing.
    ///
    /// # Errors
    /// It is not there, or cannot be read; see [`OpenError`].
    pub async fn look_at(path: &Path) -> Result<Status, OpenError> {
        open::look_at(path).await
    }

    /// What the database at `path`, which a running process may have open, knows of `subject`. Changes nothing.
    ///
    /// # Errors
    /// As [`SqliteStore::look_at`].
    pub async fn explain_at(path: &Path, subject: &Subject, most: usize) -> Result<Explanation, OpenError> {
        open::explain_at(path, subject, most).await
    }

    /// A database that is gone with the store, for tests.
    ///
    /// # Errors
    /// SQLite refuses to work at all.
    pub async fn open_in_memory(settings: Settings) -> Result<Self, OpenError> {
        open::memory(settings).await
    }

    /// Waits for what is under way, folds the write-ahead log into the file, and closes it.
    pub async fn close(self) {
        drop(self.checkpoints);
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn write(&self) -> Result<Transaction<'static, Sqlite>, Failure> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    async fn read(&self) -> Result<Transaction<'static, Sqlite>, Failure> {
        Ok(self.readers.begin().await?)
    }

    /// For what one statement answers: it is a transaction by itself, and to begin and end one is a wait of its own each.
    async fn look(&self) -> Result<PoolConnection<Sqlite>, Failure> {
        Ok(self.readers.acquire().await?)
    }

    fn now(&self) -> i64 {
        codec::secs((self.settings.clock)())
    }
}

/// Brings the schema of the database at `path` up to date, and does no more; it is made if it is not there.
///
/// # Errors
/// What an operator has to put right; see [`OpenError`].
pub async fn migrate(path: &Path) -> Result<Migrated, OpenError> {
    open::migrate(path).await
}

/// The newest migration that the database at `path` has, if any, and the newest that this program knows. Changes nothing.
///
/// # Errors
/// What an operator has to put right; see [`OpenError`].
pub async fn schema_at(path: &Path) -> Result<(Option<i64>, i64), OpenError> {
    open::schema_at(path).await
}

/// A list as the JSON that `json_each` reads.
fn json<T: Serialize>(items: &[T]) -> String {
    serde_json::to_string(items).expect("lists of texts and numbers always serialise")
}

/// Rows that a statement gives as one JSON text.
fn listed<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, Failure> {
    serde_json::from_str(text).map_err(|_| unreadable("a list"))
}

async fn committed<T>(tx: Transaction<'static, Sqlite>, answer: T) -> Result<T, StateError> {
    tx.commit().await.map_err(Failure::from)?;
    Ok(answer)
}

#[async_trait]
impl Store for SqliteStore {
    fn system(&self) -> &'static str {
        "sqlite"
    }

    async fn name_relays(&self, named: &[(RelayUrl, Role)]) -> Result<(), StateError> {
        let mut tx = self.write().await?;
        relay::name_all(&mut tx, &self.settings, named, self.now()).await?;
        committed(tx, ()).await
    }

    async fn discover(&self, discovery: &Discovery) -> Result<Vec<UpstreamId>, StateError> {
        let mut tx = self.write().await?;
        let dirty = discover::discover(&mut tx, &self.settings, discovery, self.now()).await?;
        committed(tx, dirty).await
    }

    async fn report(&self, report: &Report) -> Result<Vec<UpstreamId>, StateError> {
        let mut tx = self.write().await?;
        let dirty = report::apply(&mut tx, &self.settings, report, self.now()).await?;
        committed(tx, dirty).await
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Vec<Assignment>, StateError> {
        let mut tx = self.write().await?;
        let assignments = lease::renew(&mut tx, request, self.now()).await?;
        committed(tx, assignments).await
    }

    async fn up(&self, upstream: UpstreamId, epoch: Epoch) -> Result<UpGranted, StateError> {
        let mut tx = self.write().await?;
        let granted = link::up(&mut tx, &self.settings, (upstream, epoch), self.now()).await?;
        committed(tx, granted).await
    }

    async fn snapshot(&self, upstream: UpstreamId) -> Result<Snapshot, StateError> {
        let mut tx = self.read().await?;
        Ok(snapshot::take(&mut tx, &self.settings, upstream, self.now()).await?)
    }

    async fn linked(&self, upstreams: &[UpstreamId]) -> Result<Vec<UpstreamId>, StateError> {
        let mut tx = self.read().await?;
        Ok(link::up_of(&mut tx, upstreams).await?)
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed, StateError> {
        let mut tx = self.write().await?;
        let claimed = claim::take(&mut tx, claim, self.now()).await?;
        committed(tx, claimed).await
    }

    async fn begin_plan(&self, upstream: UpstreamId, planner: &str) -> Result<bool, StateError> {
        Ok(self.turns.begin(upstream, planner))
    }

    async fn holds_plan(&self, upstream: UpstreamId, planner: &str) -> Result<bool, StateError> {
        Ok(self.turns.holds(upstream, planner))
    }

    async fn end_plan(&self, upstream: UpstreamId, planner: &str) -> Result<bool, StateError> {
        Ok(self.turns.end(upstream, planner))
    }

    async fn sweep(&self) -> Result<Vec<UpstreamId>, StateError> {
        let mut tx = self.write().await?;
        let due = sweep::sweep(&mut tx, &self.settings, self.now()).await?;
        committed(tx, due).await
    }

    async fn ledger(&self, scope: &LedgerScope, after: Option<LedgerCursor>) -> Result<LedgerPage, StateError> {
        let mut tx = self.read().await?;
        Ok(ledger::page(&mut tx, scope, after).await?)
    }

    async fn known(&self, ids: &[EventId]) -> Result<Vec<EventId>, StateError> {
        let mut conn = self.look().await?;
        Ok(ledger::known(&mut conn, ids).await?)
    }

    async fn held(&self, ids: &[EventId]) -> Result<Vec<EventId>, StateError> {
        let mut conn = self.look().await?;
        Ok(ledger::held(&mut conn, ids).await?)
    }

    async fn announced(&self, identifiers: &[String]) -> Result<Vec<Announced>, StateError> {
        let mut tx = self.read().await?;
        Ok(discover::announced(&mut tx, identifiers).await?)
    }

    async fn bars(&self, keys: &[String]) -> Result<Vec<Bar>, StateError> {
        let mut conn = self.look().await?;
        Ok(bars::bars(&mut conn, keys).await?)
    }

    async fn hold(&self, waiting: &[Waiting]) -> Result<u64, StateError> {
        let mut tx = self.write().await?;
        let answer = waiting::hold(&mut tx, waiting, self.now()).await?;
        committed(tx, answer).await
    }

    async fn released(&self) -> Result<Vec<Waiting>, StateError> {
        let mut tx = self.write().await?;
        let answer = waiting::released(&mut tx, self.now()).await?;
        committed(tx, answer).await
    }

    async fn settle(&self, rows: &[LedgerRow]) -> Result<u64, StateError> {
        let mut tx = self.write().await?;
        let answer = waiting::settle(&mut tx, rows, self.now()).await?;
        committed(tx, answer).await
    }

    async fn policy(&self, fingerprint: &str) -> Result<bool, StateError> {
        let mut tx = self.write().await?;
        let answer = waiting::policy(&mut tx, fingerprint, self.now()).await?;
        committed(tx, answer).await
    }

    async fn status(&self) -> Result<Status, StateError> {
        let mut tx = self.read().await?;
        Ok(status::status(&mut tx, self.now()).await?)
    }

    async fn explain(&self, subject: &Subject) -> Result<Explanation, StateError> {
        let mut tx = self.read().await?;
        Ok(explain::explain(&mut tx, subject, self.now(), self.settings.policy.live_limit).await?)
    }
}

#[cfg(test)]
mod tests;
