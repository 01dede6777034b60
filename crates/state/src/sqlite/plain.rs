//! What SQLite does when it is asked for nothing but to take rows: the limit beside which the ledger is measured. Never part of
//! the store.

use std::path::Path;
use std::time::{Duration, Instant};

use model::LedgerRow;
use sqlx::{Connection, QueryBuilder, Sqlite, SqliteConnection};

use super::item::ROWS_PER_STATEMENT;
use super::open::{self, OpenError};
use super::{Failure, codec};

/// Not statements of the store: the tables are those of a file that is measured with.
const MAKE: [&str; 2] = [
    "CREATE TABLE plain_event (id BLOB, created_at INTEGER, kind INTEGER, outcome INTEGER, upstream INTEGER, seen_at INTEGER)",
    "CREATE TABLE plain_ref (ref INTEGER, created_at INTEGER, id BLOB)",
];

/// How long a new file at `path` takes for the same rows as [`ledger`](super::ledger) writes, in tables without an index,
/// `at_once` in each transaction, as safe as the store's.
///
/// # Errors
/// It cannot be made or written.
pub async fn take(path: &Path, rows: &[LedgerRow], at_once: usize) -> Result<Duration, OpenError> {
    timed(path, rows, at_once).await.map_err(|failure| open::unopened(failure, path))
}

async fn timed(path: &Path, rows: &[LedgerRow], at_once: usize) -> Result<Duration, Failure> {
    let mut conn = SqliteConnection::connect_with(&open::writing(path)).await?;
    for make in MAKE {
        sqlx::query(make).execute(&mut conn).await?;
    }
    let began = Instant::now();
    for part in rows.chunks(at_once.max(1)) {
        let mut tx = conn.begin().await?;
        insert(&mut tx, part).await?;
        tx.commit().await?;
    }
    let took = began.elapsed();
    conn.close().await?;
    Ok(took)
}

async fn insert(conn: &mut SqliteConnection, rows: &[LedgerRow]) -> Result<(), Failure> {
    let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO plain_event ");
    sql.push_values(rows, |mut values, row| {
        let created_at = codec::secs(row.created_at);
        values.push_bind(row.id.as_bytes().to_vec()).push_bind(created_at).push_bind(i64::from(row.kind.as_u16()));
        values.push_bind(0_i64).push_bind(row.upstream.0).push_bind(created_at);
    });
    sql.build().execute(&mut *conn).await?;
    let named = rows.iter().flat_map(|row| row.refs.iter().zip(0_i64..).map(move |(_, nth)| (row, nth)));
    let named: Vec<(&LedgerRow, i64)> = named.collect();
    for part in named.chunks(ROWS_PER_STATEMENT) {
        let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO plain_ref ");
        sql.push_values(part, |mut values, (row, nth)| {
            values.push_bind(*nth).push_bind(codec::secs(row.created_at)).push_bind(row.id.as_bytes().to_vec());
        });
        sql.build().execute(&mut *conn).await?;
    }
    Ok(())
}
