//! Opening the file: options, schema, and the end of what a former process left.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, SqliteConnection, SqlitePool};

use model::{Explanation, Status, Subject, Timestamp};

use super::checkpoint::Checkpoints;
use super::{SqliteStore, codec, explain, lease, relay, status};
use crate::turns::Turns;
use crate::{Migrated, Settings};

static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/sqlite");

statements! {
    HAS_MIGRATIONS = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations')";
    NEWEST = "SELECT max(version) FROM _sqlx_migrations";
}

/// Reading connections: snapshots, ledger pages and status at the same time.
const READERS: u32 = 4;
/// Of each connection, in kB as a negative number; SQLite's own 2,000 make it read the pages of a set from the file again.
const PAGE_CACHE: &str = "-8000";
/// How long a connection waits for another process' lock, such as a backup's.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the database could not be opened, as an operator can act on it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{} is not a SQLite database: move it away, or name another file", .0.display())]
    NotADatabase(PathBuf),
    #[error(
        "{} was written by a newer version of grasp-sync (schema {schema}; this one knows {}): run that version, or put back the \
         copy from before the upgrade",
        path.display(), known()
    )]
    NewerSchema { path: PathBuf, schema: i64 },
    #[error(
        "{} was written by an earlier version of grasp-sync (schema {schema}; this one needs {}): start this version, or run \
         `grasp-sync migrate`",
        path.display(), known()
    )]
    OlderSchema { path: PathBuf, schema: i64 },
    #[error("{} has a schema that this version did not make: restore a backup, or start with a new file", .0.display())]
    ForeignSchema(PathBuf),
    #[error("{} cannot be written: check that its folder exists, its owner, and the space on its disk ({reason})", path.display())]
    NotWritable { path: PathBuf, reason: String },
    #[error("{} is in use by another process: stop that one first", .0.display())]
    InUse(PathBuf),
    #[error("{} cannot be opened: {reason}", path.display())]
    Failed { path: PathBuf, reason: String },
}

pub(super) async fn file(path: &Path, settings: Settings) -> Result<SqliteStore, OpenError> {
    let options = writing(path).pragma("wal_autocheckpoint", "0").pragma("cache_size", PAGE_CACHE);
    let readers = sound(pool(READERS)).connect_lazy_with(options.clone().pragma("query_only", "ON"));
    let writer = sound(pool(1)).connect_lazy_with(options.clone());
    let store = recovered(SqliteStore { writer, readers, settings, turns: Turns::default(), checkpoints: None }, path).await?;
    Ok(SqliteStore { checkpoints: Some(Checkpoints::begin(options)), ..store })
}

pub(super) fn writing(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(false)
}

/// Brings the schema up to date, and does no more: links and workers stay as they are.
pub(super) async fn migrate(path: &Path) -> Result<Migrated, OpenError> {
    let own = pool(1).connect_lazy_with(writing(path));
    let before = newest(&own).await.map_err(|error| failed(&error, path))?;
    MIGRATOR.run(&own).await.map_err(|error| migration_failed(&error, path))?;
    let after = newest(&own).await.map_err(|error| failed(&error, path))?;
    own.close().await;
    Ok(Migrated { before, after: after.unwrap_or_default() })
}

/// What the file has, and what this program knows.
pub(super) async fn schema_at(path: &Path) -> Result<(Option<i64>, i64), OpenError> {
    let own = pool(1).connect_lazy_with(reading(path));
    let found = newest(&own).await.map_err(|error| failed(&error, path));
    own.close().await;
    Ok((found?, known()))
}

/// The newest migration of this program.
fn known() -> i64 {
    MIGRATOR.iter().map(|own| own.version).max().unwrap_or_default()
}

/// The newest migration that the file has, if it has any.
async fn newest(own: &SqlitePool) -> Result<Option<i64>, sqlx::Error> {
    let (has_any,): (bool,) = sqlx::query_as(HAS_MIGRATIONS).fetch_one(own).await?;
    if !has_any {
        return Ok(None);
    }
    sqlx::query_scalar(NEWEST).fetch_one(own).await
}

/// Figures of a database that another process may be using: nothing is changed, not even the schema.
pub(super) async fn look_at(path: &Path) -> Result<Status, OpenError> {
    let look = async {
        let mut conn = SqliteConnection::connect_with(&reading(path)).await?;
        let status = status::status(&mut conn, codec::secs(Timestamp::now())).await?;
        conn.close().await?;
        Ok::<Status, super::Failure>(status)
    };
    seen(look.await, path).await
}

/// As [`look_at`], of one thing.
pub(super) async fn explain_at(path: &Path, subject: &Subject, most: usize) -> Result<Explanation, OpenError> {
    let look = async {
        let mut conn = SqliteConnection::connect_with(&reading(path)).await?;
        let explanation = explain::explain(&mut conn, subject, codec::secs(Timestamp::now()), most).await?;
        conn.close().await?;
        Ok::<Explanation, super::Failure>(explanation)
    };
    seen(look.await, path).await
}

/// Who only looks meets the file as it is. What an earlier version wrote may lack what is asked for, and is said to be that.
async fn seen<T>(looked: Result<T, super::Failure>, path: &Path) -> Result<T, OpenError> {
    let failure = match looked {
        Ok(seen) => return Ok(seen),
        Err(failure) => failure,
    };
    match schema_at(path).await {
        Ok((Some(schema), needed)) if schema < needed => Err(OpenError::OlderSchema { path: path.to_owned(), schema }),
        Ok(_) | Err(_) => Err(unopened(failure, path)),
    }
}

fn reading(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT)
}

pub(super) async fn memory(settings: Settings) -> Result<SqliteStore, OpenError> {
    let path = Path::new(":memory:");
    let writer = pool(1).connect_lazy_with(SqliteConnectOptions::new().in_memory(true).foreign_keys(false));
    recovered(SqliteStore { readers: writer.clone(), writer, settings, turns: Turns::default(), checkpoints: None }, path).await
}

/// Connections live as long as the store: an in-memory database is its connection. Nor are they asked whether they are alive
/// before they are used: they are of this process, and each question is a wait for another thread.
fn pool(size: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new().max_connections(size).idle_timeout(None).max_lifetime(None).test_before_acquire(false)
}

/// Gives no connection out that believes itself in a transaction: SQLite ends one by itself where the disk is full or fails, the
/// library goes on counting it, and nothing would be written any more.
fn sound(pool: SqlitePoolOptions) -> SqlitePoolOptions {
    pool.before_acquire(|conn, _| Box::pin(async { Ok(!conn.is_in_transaction()) }))
}

/// The former process is dead, whatever its lease says, and so are its links; settings may have changed meanwhile.
async fn recovered(store: SqliteStore, path: &Path) -> Result<SqliteStore, OpenError> {
    MIGRATOR.run(&store.writer).await.map_err(|error| migration_failed(&error, path))?;
    let now = codec::secs((store.settings.clock)());
    let recover = async {
        let mut tx = store.write().await?;
        lease::forget_all(&mut tx, now).await?;
        relay::judge_all(&mut tx, &store.settings, now).await?;
        tx.commit().await?;
        Ok::<(), super::Failure>(())
    };
    recover.await.map_err(|failure| unopened(failure, path))?;
    Ok(store)
}

pub(super) fn unopened(failure: super::Failure, path: &Path) -> OpenError {
    match failure {
        super::Failure::Sql(error) => failed(&error, path),
        super::Failure::Said(error) => OpenError::Failed { path: path.to_owned(), reason: error.to_string() },
    }
}

fn migration_failed(error: &MigrateError, path: &Path) -> OpenError {
    #[allow(clippy::wildcard_enum_match_arm, reason = "a foreign enum that may grow; what is not named here is told as it is")]
    match error {
        MigrateError::VersionMissing(schema) => OpenError::NewerSchema { path: path.to_owned(), schema: *schema },
        MigrateError::VersionMismatch(_) | MigrateError::Dirty(_) => OpenError::ForeignSchema(path.to_owned()),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => failed(error, path),
        other => OpenError::Failed { path: path.to_owned(), reason: other.to_string() },
    }
}

/// The primary result codes of SQLite that an operator can do something about.
fn failed(error: &sqlx::Error, path: &Path) -> OpenError {
    let code = error.as_database_error().and_then(|db| db.code()).and_then(|code| code.parse::<i32>().ok());
    let path = path.to_owned();
    let reason = error.to_string();
    match code.map(|extended| extended & 0xff) {
        Some(5 | 6) => OpenError::InUse(path),
        Some(8 | 13 | 14) => OpenError::NotWritable { path, reason },
        Some(11 | 26) => OpenError::NotADatabase(path),
        Some(_) | None => OpenError::Failed { path, reason },
    }
}
