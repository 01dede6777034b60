//! The store of a fleet, in Postgres: any number of replicas on one database.
//!
//! Owns: the pools; each method of [`Store`] is one transaction, and each noun has a module of its own. Never: a decision
//! that `engine` can make, a row at a time where many may come, an end to links that others hold.
//!
//! Who waits for whom: a guarded write locks the row of its upstream and looks at the epoch in that statement; everything
//! that belongs to an upstream (coverage, batches) is written under that lock. Targets are worked out by one replica at a
//! time. A worker's row is locked by its own renewal, and by whoever buries it when it has expired; upstreams change owner
//! only under both locks. Rows are locked in the order of their keys, and what the database still finds to be a deadlock
//! is tried again.
//!
//! Time is the database's ([`Time::Database`]), read in each transaction once it holds its locks, so that no skew between
//! hosts can matter. The statements take it as a parameter all the same: tests turn a clock by hand ([`Time::Given`]), and
//! run the SQL that production runs.

mod bars;
mod claim;
mod connect;
mod coverage;
mod discover;
mod explain;
mod item;
mod lease;
mod ledger;
mod link;
mod named;
pub mod plain;
mod relay;
mod report;
mod schema;
mod snapshot;
mod status;
mod sweep;
mod turn;
mod waiting;

use async_trait::async_trait;
use model::{
    Announced, Assignment, Bar, Claim, Claimed, Discovery, Epoch, EventId, Explanation, LeaseRequest, LedgerCursor, LedgerPage,
    LedgerRow, LedgerScope, RelayUrl, Report, Role, Snapshot, StateError, Status, Subject, UpGranted, UpstreamId, Waiting,
};
use sqlx::{PgConnection, PgPool};

use crate::codec;
use crate::failure::{Failure, unreadable};
use crate::{Clock, Migrated, Settings, Store};
pub use connect::ConnectError;
use connect::Schema;

/// How often a transaction is tried that the database ended for the sake of another one.
const ATTEMPTS: u32 = 5;

/// What the store reads belongs to one moment.
const READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

statements! {
    NOW_MS = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
}

/// Whose clock decides when a lease expires and what is due.
#[derive(Clone)]
pub enum Time {
    /// The database's own. [`Settings::clock`] is not looked at.
    Database,
    /// A clock that a test turns.
    Given(Clock),
}

impl Time {
    /// Unix milliseconds, after whatever the transaction has waited for.
    async fn now_ms(&self, conn: &mut PgConnection) -> Result<i64, Failure> {
        match self {
            Self::Database => Ok(sqlx::query_scalar(NOW_MS).fetch_one(conn).await?),
            Self::Given(clock) => Ok(codec::secs(clock()).saturating_mul(1000)),
        }
    }

    /// Unix seconds.
    async fn now(&self, conn: &mut PgConnection) -> Result<i64, Failure> {
        Ok(self.now_ms(conn).await?.div_euclid(1000))
    }
}

/// A replica's door to the database. Cheap to share behind an `Arc`.
pub struct PostgresStore {
    pool: PgPool,
    /// One connection of its own: no bulk insert may starve the leases.
    leases: PgPool,
    settings: Settings,
    time: Time,
}

impl PostgresStore {
    /// Connects to the database of `url` (`postgres://user:password@host:port/database?sslmode=…`), brings its schema up to
    /// date, and judges the relays by today's dial policy. Links and workers are left as they are: other replicas live.
    ///
    /// # Errors
    /// What an operator has to put right; see [`ConnectError`].
    pub async fn connect(url: &str, settings: Settings, time: Time) -> Result<Self, ConnectError> {
        connect::connect(url, Schema::Migrated, settings, time).await
    }

    /// As [`PostgresStore::connect`], but the schema is left alone: somebody else brings it up to date. A newer one will do,
    /// for migrations only ever add.
    ///
    /// # Errors
    /// As [`PostgresStore::connect`], and [`ConnectError::SchemaBehind`].
    pub async fn join(url: &str, settings: Settings, time: Time) -> Result<Self, ConnectError> {
        connect::connect(url, Schema::Expected, settings, time).await
    }

    /// Figures of the database of `url`, on which others may be at work. Changes nothing.
    ///
    /// # Errors
    /// It cannot be reached or read, or [`ConnectError::SchemaBehind`].
    pub async fn look_at(url: &str) -> Result<Status, ConnectError> {
        connect::look_at(url).await
    }

    /// What the database of `url`, on which others may be at work, knows of `subject`. Changes nothing.
    ///
    /// # Errors
    /// As [`PostgresStore::look_at`].
    pub async fn explain_at(url: &str, subject: &Subject, most: usize) -> Result<Explanation, ConnectError> {
        connect::explain_at(url, subject, most).await
    }

    /// Numbers for what `rows` name, committed by themselves.
    async fn refs_of(&self, rows: &[LedgerRow]) -> Result<ledger::Refs, StateError> {
        if rows.is_empty() {
            return Ok(ledger::Refs::new());
        }
        let mut conn = self.pool.acquire().await.map_err(Failure::from)?;
        Ok(ledger::ref_numbers(&mut conn, rows).await?)
    }

    /// Waits for what is under way, and hangs up.
    pub async fn close(self) {
        self.leases.close().await;
        self.pool.close().await;
    }
}

/// Brings the schema of the database of `url` up to date, and does no more.
///
/// # Errors
/// What an operator has to put right; see [`ConnectError`].
pub async fn migrate(url: &str) -> Result<Migrated, ConnectError> {
    connect::migrate(url).await
}

/// Postgres' text holds no U+0000, but an upstream's words may.
fn text(words: &str) -> String {
    words.replace('\0', "\u{fffd}")
}

fn is_worth_another_try(failure: &Failure) -> bool {
    let Failure::Sql(error) = failure else { return false };
    let code = error.as_database_error().and_then(|error| error.code());
    // Serialization failure, deadlock: the database ended this transaction so that another one could go on.
    matches!(code.as_deref(), Some("40001" | "40P01"))
}

/// Runs `$work` in a transaction of `$pool`, again if the database asks for it.
macro_rules! transaction {
    ($pool:expr, |$conn:ident| $work:expr) => {{
        let mut attempt = 1;
        loop {
            let done = async {
                let mut tx = $pool.begin().await?;
                let worked = {
                    let $conn: &mut PgConnection = &mut tx;
                    $work.await
                };
                match worked {
                    Ok(answer) => tx.commit().await.map(|()| answer).map_err(Failure::from),
                    Err(failure) => {
                        // Said here, its locks are gone when the failure is known; dropped, they would go a little later.
                        let _ = tx.rollback().await;
                        Err(failure)
                    }
                }
            };
            match done.await {
                Err(failure) if attempt < ATTEMPTS && is_worth_another_try(&failure) => attempt += 1,
                Ok(answer) => break Ok(answer),
                Err(failure) => break Err(StateError::from(failure)),
            }
        }
    }};
}

#[async_trait]
impl Store for PostgresStore {
    fn system(&self) -> &'static str {
        "postgresql"
    }

    async fn name_relays(&self, named: &[(RelayUrl, Role)]) -> Result<(), StateError> {
        transaction!(self.pool, |conn| relay::name_all(conn, &self.settings, &self.time, named))
    }

    async fn discover(&self, discovery: &Discovery) -> Result<Vec<UpstreamId>, StateError> {
        transaction!(self.pool, |conn| discover::discover(conn, &self.settings, &self.time, discovery))
    }

    async fn report(&self, report: &Report) -> Result<Vec<UpstreamId>, StateError> {
        let refs = self.refs_of(report::rows_of(report)).await?;
        transaction!(self.pool, |conn| report::apply(conn, &self.settings, &self.time, (report, &refs)))
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Vec<Assignment>, StateError> {
        transaction!(self.leases, |conn| lease::renew(conn, &self.time, request))
    }

    async fn up(&self, upstream: UpstreamId, epoch: Epoch) -> Result<UpGranted, StateError> {
        transaction!(self.pool, |conn| link::up(conn, &self.settings, &self.time, (upstream, epoch)))
    }

    async fn snapshot(&self, upstream: UpstreamId) -> Result<Snapshot, StateError> {
        let mut tx = self.pool.begin_with(READ).await.map_err(Failure::from)?;
        Ok(snapshot::take(&mut tx, &self.settings, &self.time, upstream).await?)
    }

    async fn linked(&self, upstreams: &[UpstreamId]) -> Result<Vec<UpstreamId>, StateError> {
        let mut conn = self.pool.acquire().await.map_err(Failure::from)?;
        Ok(link::up_of(&mut conn, upstreams).await?)
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed, StateError> {
        transaction!(self.pool, |conn| claim::take(conn, &self.time, claim))
    }

    async fn begin_plan(&self, upstream: UpstreamId, planner: &str) -> Result<bool, StateError> {
        let mut conn = self.pool.acquire().await.map_err(Failure::from)?;
        Ok(turn::begin(&mut conn, &self.time, upstream, planner).await?)
    }

    async fn holds_plan(&self, upstream: UpstreamId, planner: &str) -> Result<bool, StateError> {
        let mut conn = self.pool.acquire().await.map_err(Failure::from)?;
        Ok(turn::holds(&mut conn, upstream, planner).await?)
    }

    async fn end_plan(&self, upstream: UpstreamId, planner: &str) -> Result<bool, StateError> {
        let mut conn = self.pool.acquire().await.map_err(Failure::from)?;
        Ok(turn::end(&mut conn, upstream, planner).await?)
    }

    async fn sweep(&self) -> Result<Vec<UpstreamId>, StateError> {
        transaction!(self.pool, |conn| sweep::follow_what_is_stated(conn, &self.settings, &self.time))?;
        transaction!(self.pool, |conn| named::look_for(conn, &self.time))?;
        transaction!(self.pool, |conn| sweep::sweep(conn, &self.time))
    }

    async fn ledger(&self, scope: &LedgerScope, after: Option<LedgerCursor>) -> Result<LedgerPage, StateError> {
        let mut conn = self.pool.acquire().await.map_err(Failure::from)?;
        Ok(ledger::page(&mut conn, scope, after).await?)
    }

    async fn known(&self, ids: &[EventId]) -> Result<Vec<EventId>, StateError> {
        let mut conn = self.pool.acquire().await.map_err(Failure::from)?;
        Ok(ledger::known(&mut conn, ids).await?)
    }

    async fn held(&self, ids: &[EventId]) -> Result<Vec<EventId>, StateError> {
        let mut conn = self.pool.acquire().await.map_err(Failure::from)?;
        Ok(ledger::held(&mut conn, ids).await?)
    }

    async fn announced(&self, identifiers: &[String]) -> Result<Vec<Announced>, StateError> {
        let mut conn = self.pool.acquire().await.map_err(Failure::from)?;
        Ok(discover::announced(&mut conn, identifiers).await?)
    }

    async fn bars(&self, keys: &[String]) -> Result<Vec<Bar>, StateError> {
        let mut conn = self.pool.acquire().await.map_err(Failure::from)?;
        Ok(bars::bars(&mut conn, keys).await?)
    }

    async fn hold(&self, waiting: &[Waiting]) -> Result<u64, StateError> {
        transaction!(self.pool, |conn| waiting::hold(conn, &self.time, waiting))
    }

    async fn released(&self) -> Result<Vec<Waiting>, StateError> {
        transaction!(self.pool, |conn| waiting::released(conn, &self.time))
    }

    async fn settle(&self, rows: &[LedgerRow]) -> Result<u64, StateError> {
        let refs = self.refs_of(rows).await?;
        transaction!(self.pool, |conn| waiting::settle(conn, &self.time, rows, &refs))
    }

    async fn policy(&self, fingerprint: &str) -> Result<bool, StateError> {
        transaction!(self.pool, |conn| waiting::policy(conn, &self.time, fingerprint))
    }

    async fn status(&self) -> Result<Status, StateError> {
        let mut tx = self.pool.begin_with(READ).await.map_err(Failure::from)?;
        Ok(status::status(&mut tx, &self.time).await?)
    }

    async fn explain(&self, subject: &Subject) -> Result<Explanation, StateError> {
        let mut tx = self.pool.begin_with(READ).await.map_err(Failure::from)?;
        Ok(explain::explain(&mut tx, subject, &self.time, self.settings.policy.live_limit).await?)
    }
}

#[cfg(test)]
mod tests;
