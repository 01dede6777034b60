//! Connecting: pools, limits, and the dial policy of today. What is wrong is said so that an operator can act on it.

use std::str::FromStr;
use std::time::Duration;

use model::{Explanation, Status, Subject};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::time::timeout;

use super::{PostgresStore, READ, Time, explain, relay, schema, status};
use crate::failure::Failure;
use crate::{Migrated, Settings};

/// Connections of one replica, besides the one for leases: of the order of the questions that it answers at once.
const CONNECTIONS: u32 = 10;
/// Shorter than a lease: a store that cannot answer says so while the asker still has time.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a start waits for the server to take a connection at all.
const FIRST_TIMEOUT: Duration = Duration::from_secs(10);
/// What a session of ours may cost the others: locks end with the statement or the transaction that holds them.
const LIMITS: [(&str, &str); 3] =
    [("statement_timeout", "5s"), ("idle_in_transaction_session_timeout", "10s"), ("tcp_keepalives_idle", "5")];

/// Why the database cannot be used, as an operator can act on it. None of them shows a password.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the database's URL cannot be read: {0}")]
    BadUrl(String),
    #[error("the database server cannot be reached: check host, port and TLS ({0})")]
    Unreachable(String),
    #[error("the database server refuses the user or the password: {0}")]
    LoginRefused(String),
    #[error("the database does not exist: create it ({0})")]
    NoSuchDatabase(String),
    #[error("the user may not change the schema: make it the owner of the database ({0})")]
    NotAllowed(String),
    #[error("the database has a schema that grasp-sync did not make: name another database, or restore a backup ({0})")]
    ForeignSchema(String),
    #[error("the database's schema is {}, and this program needs version {needed}: run `grasp-sync migrate`", version(*found))]
    SchemaBehind {
        /// `None` where there is no schema at all.
        found: Option<i64>,
        needed: i64,
    },
    #[error("the database cannot be used: {0}")]
    Failed(String),
}

impl ConnectError {
    /// Whether it stays until somebody changes the configuration or the database; what does not is worth another try.
    #[must_use]
    pub fn is_mistake(&self) -> bool {
        match self {
            Self::BadUrl(_)
            | Self::LoginRefused(_)
            | Self::NoSuchDatabase(_)
            | Self::NotAllowed(_)
            | Self::ForeignSchema(_) => true,
            Self::Unreachable(_) | Self::SchemaBehind { .. } | Self::Failed(_) => false,
        }
    }
}

fn version(found: Option<i64>) -> String {
    found.map_or_else(|| "not there yet".to_owned(), |version| format!("at version {version}"))
}

/// How a start treats a schema that is older than this program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Schema {
    /// Brings it up to date.
    Migrated,
    /// Leaves it as it is, and refuses an older one.
    Expected,
}

pub(super) async fn connect(url: &str, schema: Schema, settings: Settings, time: Time) -> Result<PostgresStore, ConnectError> {
    let options = options(url)?;
    match schema {
        Schema::Migrated => drop(migrated(&options).await?),
        Schema::Expected => schema::expect(&mut first(&options).await?).await?,
    }
    let limited = options.options(LIMITS);
    let store = PostgresStore { pool: pool(CONNECTIONS, &limited), leases: pool(1, &limited), settings, time };
    judge(&store).await.map_err(failed)?;
    Ok(store)
}

pub(super) async fn migrate(url: &str) -> Result<Migrated, ConnectError> {
    migrated(&options(url)?).await
}

/// On a connection without our limits, for a migration may take longer than any statement.
async fn migrated(options: &PgConnectOptions) -> Result<Migrated, ConnectError> {
    first(options).await?.close().await.map_err(|error| refused(&error))?;
    let own = pool(1, options);
    let migrated = schema::migrate(&own).await;
    own.close().await;
    migrated
}

/// Figures of a database that others are working on: nothing is changed.
pub(super) async fn look_at(url: &str) -> Result<Status, ConnectError> {
    let options = options(url)?.options(LIMITS);
    let mut conn = first(&options).await?;
    schema::expect(&mut conn).await?;
    let look = async {
        let mut tx = conn.begin_with(READ).await?;
        status::status(&mut tx, &Time::Database).await
    };
    look.await.map_err(failed)
}

pub(super) async fn explain_at(url: &str, subject: &Subject, most: usize) -> Result<Explanation, ConnectError> {
    let options = options(url)?.options(LIMITS);
    let mut conn = first(&options).await?;
    schema::expect(&mut conn).await?;
    let look = async {
        let mut tx = conn.begin_with(READ).await?;
        explain::explain(&mut tx, subject, &Time::Database, most).await
    };
    look.await.map_err(failed)
}

pub(super) fn options(url: &str) -> Result<PgConnectOptions, ConnectError> {
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(ConnectError::BadUrl("it does not begin with postgres://".to_owned()));
    }
    let options = PgConnectOptions::from_str(url).map_err(|error| ConnectError::BadUrl(error.to_string()))?;
    Ok(options.application_name("grasp-sync"))
}

/// A connection of its own: a pool would hide behind its timeout why it gets none.
pub(super) async fn first(options: &PgConnectOptions) -> Result<PgConnection, ConnectError> {
    match timeout(FIRST_TIMEOUT, PgConnection::connect_with(options)).await {
        Ok(connected) => connected.map_err(|error| refused(&error)),
        Err(_) => Err(ConnectError::Unreachable(format!("no answer within {} s", FIRST_TIMEOUT.as_secs()))),
    }
}

fn pool(size: u32, options: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new().max_connections(size).acquire_timeout(ACQUIRE_TIMEOUT).connect_lazy_with(options.clone())
}

async fn judge(store: &PostgresStore) -> Result<(), Failure> {
    let mut tx = store.pool.begin().await?;
    relay::judge_all(&mut tx, &store.settings, &store.time).await?;
    tx.commit().await?;
    Ok(())
}

pub(super) fn failed(failure: Failure) -> ConnectError {
    match failure {
        Failure::Sql(error) => refused(&error),
        Failure::Said(error) => ConnectError::Failed(error.to_string()),
    }
}

/// The SQLSTATEs that an operator can do something about.
pub(super) fn refused(error: &sqlx::Error) -> ConnectError {
    let reason = error.to_string();
    let code = error.as_database_error().and_then(|error| error.code());
    match code.as_deref() {
        Some("28000" | "28P01") => ConnectError::LoginRefused(reason),
        Some("3D000") => ConnectError::NoSuchDatabase(reason),
        Some("42501") => ConnectError::NotAllowed(reason),
        // It starts, stops, recovers, or has no connection left: the next try may find it otherwise.
        Some("57P01" | "57P02" | "57P03" | "53300") => ConnectError::Unreachable(reason),
        // Something of ours exists already, or something that ours stands on is another's.
        Some("42P07" | "42710" | "42723" | "42703") => ConnectError::ForeignSchema(reason),
        None if !matches!(error, sqlx::Error::Protocol(_)) => ConnectError::Unreachable(reason),
        Some(_) | None => ConnectError::Failed(reason),
    }
}
