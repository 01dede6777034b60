//! Connecting: pools, limits, schema, and the dial policy of today.

use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};

use super::{PostgresStore, Time, relay};
use crate::Settings;
use crate::failure::Failure;

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
    #[error("the database cannot be used: {0}")]
    Failed(String),
}

pub(super) async fn connect(url: &str, settings: Settings, time: Time) -> Result<PostgresStore, ConnectError> {
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(ConnectError::BadUrl("it does not begin with postgres://".to_owned()));
    }
    let options = PgConnectOptions::from_str(url).map_err(|error| ConnectError::BadUrl(error.to_string()))?;
    let options = options.application_name("grasp-sync");
    migrate(&options).await?;
    let limited = options.options(LIMITS);
    let store = PostgresStore { pool: pool(CONNECTIONS, &limited), leases: pool(1, &limited), settings, time };
    judge(&store).await.map_err(|failure| match failure {
        Failure::Sql(error) => refused(&error),
        Failure::Said(error) => ConnectError::Failed(error.to_string()),
    })?;
    Ok(store)
}

fn pool(size: u32, options: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new().max_connections(size).acquire_timeout(ACQUIRE_TIMEOUT).connect_lazy_with(options.clone())
}

/// On a connection of its own, for a migration may take longer than any statement. Replicas that start together wait for
/// each other; one of the version before runs on a newer schema, because migrations only ever add.
async fn migrate(options: &PgConnectOptions) -> Result<(), ConnectError> {
    // A pool would hide behind its own timeout why it gets no connection.
    let first = PgConnection::connect_with(options).await.map_err(|error| refused(&error))?;
    first.close().await.map_err(|error| refused(&error))?;
    let own = PgPoolOptions::new().max_connections(1).acquire_timeout(FIRST_TIMEOUT).connect_with(options.clone());
    let own = own.await.map_err(|error| refused(&error))?;
    let mut migrator = sqlx::migrate!("../../migrations/postgres");
    migrator.set_ignore_missing(true);
    migrator.run(&own).await.map_err(|error| migration_failed(&error))?;
    own.close().await;
    Ok(())
}

async fn judge(store: &PostgresStore) -> Result<(), Failure> {
    let mut tx = store.pool.begin().await?;
    relay::judge_all(&mut tx, &store.settings, &store.time).await?;
    tx.commit().await?;
    Ok(())
}

fn migration_failed(error: &MigrateError) -> ConnectError {
    #[allow(clippy::wildcard_enum_match_arm, reason = "a foreign enum that may grow; what is not named here is told as it is")]
    match error {
        MigrateError::VersionMismatch(_) | MigrateError::Dirty(_) => ConnectError::ForeignSchema(error.to_string()),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => refused(error),
        other => ConnectError::Failed(other.to_string()),
    }
}

/// The SQLSTATEs that an operator can do something about.
fn refused(error: &sqlx::Error) -> ConnectError {
    let reason = error.to_string();
    let code = error.as_database_error().and_then(|error| error.code());
    match code.as_deref() {
        Some("28000" | "28P01") => ConnectError::LoginRefused(reason),
        Some("3D000") => ConnectError::NoSuchDatabase(reason),
        Some("42501") => ConnectError::NotAllowed(reason),
        // Something of ours exists already, or something that ours stands on is another's.
        Some("42P07" | "42710" | "42723" | "42703") => ConnectError::ForeignSchema(reason),
        None if !matches!(error, sqlx::Error::Protocol(_)) => ConnectError::Unreachable(reason),
        Some(_) | None => ConnectError::Failed(reason),
    }
}
