//! What a stopped system wrote down, moved into the past: days pass in a moment.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};

/// Makes every outcome in the ledger of this SQLite file so many seconds older. Nobody may have it open.
///
/// # Panics
/// When the file is no store.
pub async fn age_outcomes(database: &Path, secs: i64) {
    let mut conn = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(database)).await.expect("a file");
    let aged = sqlx::query("UPDATE event SET seen_at = seen_at - ?1").bind(secs).execute(&mut conn).await;
    aged.expect("a store has a ledger");
    conn.close().await.expect("nobody else has it open");
}

/// Makes the last moment known good of every link so many seconds older; of a negative number, so many younger, as if a clock had
/// been ahead. Nobody may have the file open.
///
/// # Panics
/// When the file is no store.
pub async fn age_links(database: &Path, secs: i64) {
    let mut conn = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(database)).await.expect("a file");
    let aged = sqlx::query("UPDATE relay SET last_up = last_up - ?1 WHERE last_up IS NOT NULL").bind(secs);
    let aged = aged.execute(&mut conn).await.expect("a store has links").rows_affected();
    assert!(aged > 0, "no link was ever up");
    conn.close().await.expect("nobody else has it open");
}

/// Makes this SQLite file one that a newer version has written, by schema 9999. Nobody may have it open.
///
/// # Panics
/// When the file is no store.
pub async fn written_by_a_newer_version(database: &Path) {
    let mut conn = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(database)).await.expect("a file");
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (9999, 'from the future', true, x'00', 0)";
    sqlx::query(later).execute(&mut conn).await.expect("a store has migrations");
    conn.close().await.expect("nobody else has it open");
}
