//! What the server does when it is asked for nothing but to take rows: the limit beside which the ledger is measured. Never part of
//! the store.

use std::time::{Duration, Instant};

use model::LedgerRow;
use sqlx::{Connection, PgConnection};

use super::connect::{self, ConnectError, refused};
use super::{Failure, codec};

const HAS_TABLES: &str = "
    SELECT EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema')";
const MAKE: [&str; 2] = [
    "CREATE TABLE plain_event (id bytea NOT NULL, created_at bigint NOT NULL, kind integer NOT NULL, outcome smallint NOT NULL,
        upstream bigint NOT NULL, seen_at bigint NOT NULL)",
    "CREATE TABLE plain_ref (ref bigint NOT NULL, created_at bigint NOT NULL, id bytea NOT NULL)",
];
const EVENTS: &str = "
    INSERT INTO plain_event
    SELECT * FROM UNNEST($1::bytea[], $2::bigint[], $3::integer[], $4::smallint[], $5::bigint[], $6::bigint[])";
const REFS: &str = "INSERT INTO plain_ref SELECT * FROM UNNEST($1::bigint[], $2::bigint[], $3::bytea[])";
const DROP_BOTH: &str = "DROP TABLE plain_event, plain_ref";

/// Whether the database of `url` has no table of anybody's.
///
/// # Errors
/// It cannot be reached or read.
pub async fn is_empty(url: &str) -> Result<bool, ConnectError> {
    let mut conn = connect::first(&connect::options(url)?).await?;
    let has_tables: bool = sqlx::query_scalar(HAS_TABLES).fetch_one(&mut conn).await.map_err(|error| refused(&error))?;
    Ok(!has_tables)
}

/// How long the database of `url` takes for the same rows as [`ledger`](super::ledger) writes, in tables of their own without
/// an index, `at_once` in each transaction, one after the other.
///
/// # Errors
/// It cannot be reached or written.
pub async fn take(url: &str, rows: &[LedgerRow], at_once: usize) -> Result<Duration, ConnectError> {
    let mut conn = connect::first(&connect::options(url)?).await?;
    timed(&mut conn, rows, at_once).await.map_err(connect::failed)
}

async fn timed(conn: &mut PgConnection, rows: &[LedgerRow], at_once: usize) -> Result<Duration, Failure> {
    for make in MAKE {
        sqlx::query(make).execute(&mut *conn).await?;
    }
    let began = Instant::now();
    for part in rows.chunks(at_once.max(1)) {
        let mut tx = conn.begin().await?;
        insert(&mut tx, part).await?;
        tx.commit().await?;
    }
    let took = began.elapsed();
    sqlx::query(DROP_BOTH).execute(conn).await?;
    Ok(took)
}

async fn insert(conn: &mut PgConnection, rows: &[LedgerRow]) -> Result<(), Failure> {
    let bytes = |row: &LedgerRow| row.id.as_bytes().to_vec();
    let ids: Vec<Vec<u8>> = rows.iter().map(bytes).collect();
    let created: Vec<i64> = rows.iter().map(|row| codec::secs(row.created_at)).collect();
    let kinds: Vec<i32> = rows.iter().map(|row| i32::from(row.kind.as_u16())).collect();
    let outcomes: Vec<i16> = rows.iter().map(|_| 0).collect();
    let upstreams: Vec<i64> = rows.iter().map(|row| row.upstream.0).collect();
    let events = sqlx::query(EVENTS).bind(ids).bind(&created).bind(kinds).bind(outcomes).bind(upstreams).bind(&created);
    events.execute(&mut *conn).await?;
    let named = || rows.iter().flat_map(|row| row.refs.iter().zip(0_i64..).map(move |(_, nth)| (row, nth)));
    let (refs, of): (Vec<i64>, Vec<i64>) = named().map(|(row, nth)| (nth, codec::secs(row.created_at))).unzip();
    let ids: Vec<Vec<u8>> = named().map(|(row, _)| bytes(row)).collect();
    sqlx::query(REFS).bind(refs).bind(of).bind(ids).execute(conn).await?;
    Ok(())
}
