//! The schema: brought up to date by whoever is told to, expected by everybody else.
//!
//! Owns: which migrations the database has. Migrations only ever add, so a program runs on any schema that holds its own.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};

use super::connect::{ConnectError, refused};
use crate::Migrated;

/// The migrations that this program knows, oldest first.
static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/postgres");

statements! {
    /// One that is under way without a transaction has no success yet.
    APPLIED = "SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version";
}

/// Brings the schema up to date. Replicas that start together wait for each other.
pub(super) async fn migrate(own: &PgPool) -> Result<Migrated, ConnectError> {
    let before = newest(&applied(&mut *acquired(own).await?).await?);
    let mut migrator = sqlx::migrate!("../../migrations/postgres");
    migrator.set_ignore_missing(true);
    migrator.run(own).await.map_err(|error| migration_failed(&error))?;
    let after = newest(&applied(&mut *acquired(own).await?).await?);
    Ok(Migrated { before, after: after.unwrap_or_default() })
}

/// Whether the schema holds every migration of this program; newer ones are welcome.
pub(super) async fn expect(conn: &mut PgConnection) -> Result<(), ConnectError> {
    let applied = applied(conn).await?;
    for own in MIGRATOR.iter() {
        match applied.iter().find(|(version, _)| *version == own.version) {
            Some((_, checksum)) if *checksum == *own.checksum => {}
            Some((version, _)) => return Err(foreign(&MigrateError::VersionMismatch(*version))),
            None => return Err(behind(&applied)),
        }
    }
    Ok(())
}

async fn acquired(own: &PgPool) -> Result<PoolConnection<Postgres>, ConnectError> {
    own.acquire().await.map_err(|error| refused(&error))
}

type Applied = Vec<(i64, Vec<u8>)>;

async fn applied(conn: &mut PgConnection) -> Result<Applied, ConnectError> {
    let read: Result<Applied, sqlx::Error> = sqlx::query_as(APPLIED).fetch_all(conn).await;
    read.or_else(|error| if is_no_table(&error) { Ok(Vec::new()) } else { Err(refused(&error)) })
}

fn is_no_table(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).as_deref() == Some("42P01")
}

fn newest(applied: &Applied) -> Option<i64> {
    applied.last().map(|(version, _)| *version)
}

fn behind(applied: &Applied) -> ConnectError {
    let needed = MIGRATOR.iter().map(|own| own.version).max();
    ConnectError::SchemaBehind { found: newest(applied), needed: needed.unwrap_or_default() }
}

fn foreign(error: &MigrateError) -> ConnectError {
    ConnectError::ForeignSchema(error.to_string())
}

fn migration_failed(error: &MigrateError) -> ConnectError {
    #[allow(clippy::wildcard_enum_match_arm, reason = "a foreign enum that may grow; what is not named here is told as it is")]
    match error {
        MigrateError::VersionMismatch(_) | MigrateError::Dirty(_) => foreign(error),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => refused(error),
        other => ConnectError::Failed(other.to_string()),
    }
}
