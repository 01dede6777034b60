//! Leases: which worker holds which upstream, and what a dead worker leaves.

use model::{Assignment, LeaseRequest};
use sqlx::SqliteConnection;

use super::{Failure, codec, link};
use crate::status::{self, AssignedRow};

statements! {
    WORKER = "SELECT incarnation, expires_at_ms FROM worker WHERE name = ?1";
    RENEW = "
        INSERT INTO worker (name, incarnation, expires_at_ms, renewed_at, writes_waiting, writes_per_minute, writes_limited)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
        ON CONFLICT (name) DO UPDATE SET incarnation = ?2, expires_at_ms = ?3, renewed_at = ?4,
            writes_waiting = ?5, writes_per_minute = ?6, writes_limited = ?7";
    FORGET_WORKER = "DELETE FROM worker WHERE name = ?1 AND incarnation = ?2";
    FORGET_WORKERS = "DELETE FROM worker";
    EXPIRED = "SELECT name, incarnation FROM worker WHERE expires_at_ms <= ?1";
    OWNED = "SELECT id FROM relay WHERE owner = ?1 AND owner_inc = ?2";
    LEFT_BEHIND = "SELECT id FROM relay WHERE owner IS NOT NULL OR link = 'up'";
    // Touches only what is named, or was: usually nothing.
    SET_BEHIND = "
        UPDATE relay SET behind = (SELECT e.value ->> 1 FROM json_each(?3) e WHERE e.value ->> 0 = relay.id)
        WHERE owner = ?1 AND owner_inc = ?2
          AND (behind IS NOT NULL OR id IN (SELECT e.value ->> 0 FROM json_each(?3) e))";
    RELEASE_EMPTY = "
        UPDATE relay SET owner = NULL, owner_inc = NULL
        WHERE owner = ?1 AND owner_inc = ?2 AND role = 'listed' AND link = 'down'
          AND NOT EXISTS (SELECT 1 FROM coverage c WHERE c.relay = relay.id)";
    FREE = "
        SELECT r.id FROM relay r
        WHERE r.refused = 0
          AND (r.role <> 'listed' OR EXISTS (SELECT 1 FROM coverage c WHERE c.relay = r.id))
          AND NOT EXISTS (SELECT 1 FROM worker w
              WHERE w.name = r.owner AND w.incarnation = r.owner_inc AND w.expires_at_ms > ?1)
        ORDER BY r.id";
    // The floor in milliseconds keeps epochs growing when the file is restored from an older copy.
    CLAIM = "
        UPDATE relay SET owner = ?1, owner_inc = ?2, epoch = max(epoch + 1, ?3), last_sequence = -1, seen_below = 0
        WHERE id IN (SELECT value FROM json_each(?4))";
    ASSIGNED = "SELECT id, url, role, epoch, dial_at, learned FROM relay WHERE owner = ?1 AND owner_inc = ?2 ORDER BY id";
}

/// Renews or begins the lease of a worker and gives it what nobody living owns.
pub(super) async fn renew(conn: &mut SqliteConnection, request: &LeaseRequest, now: i64) -> Result<Vec<Assignment>, Failure> {
    note_behind(conn, request).await?;
    if request.leaving {
        end_worker(conn, &request.worker.name, &request.worker.incarnation, now).await?;
        return Ok(Vec::new());
    }
    end_former(conn, request, now).await?;
    let now_ms = now.saturating_mul(1000);
    let expires_at_ms = now_ms.saturating_add(codec::signed(request.ttl_ms));
    let renewal = bound(RENEW, request).bind(expires_at_ms).bind(now);
    status::writes_columns(request.writes, |waiting, per_minute, limited| renewal.bind(waiting).bind(per_minute).bind(limited))
        .execute(&mut *conn)
        .await?;
    bound(RELEASE_EMPTY, request).execute(&mut *conn).await?;
    claim_free(conn, request, now).await?;
    assignments(conn, request).await
}

type Statement<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

fn bound<'q>(sql: &'static str, request: &LeaseRequest) -> Statement<'q> {
    sqlx::query(sql).bind(request.worker.name.clone()).bind(request.worker.incarnation.clone())
}

async fn note_behind(conn: &mut SqliteConnection, request: &LeaseRequest) -> Result<(), Failure> {
    let pairs: Vec<Vec<i64>> = request.behind.iter().map(|(relay, since)| vec![relay.0, codec::secs(*since)]).collect();
    bound(SET_BEHIND, request).bind(super::json(&pairs)).execute(conn).await?;
    Ok(())
}

/// An older incarnation of this name is dead; and a lease that ran out is not revived: its links have ended.
async fn end_former(conn: &mut SqliteConnection, request: &LeaseRequest, now: i64) -> Result<(), Failure> {
    let name = &request.worker.name;
    let former: Option<(String, i64)> = sqlx::query_as(WORKER).bind(name).fetch_optional(&mut *conn).await?;
    match former {
        Some((incarnation, expires_at_ms))
            if incarnation != request.worker.incarnation || expires_at_ms <= now.saturating_mul(1000) =>
        {
            end_worker(conn, name, &incarnation, now).await
        }
        Some(_) | None => Ok(()),
    }
}

/// Ends the links of a worker, frees its upstreams and forgets it, in this order: `last up` is read from its renewal.
async fn end_worker(conn: &mut SqliteConnection, name: &str, incarnation: &str, now: i64) -> Result<(), Failure> {
    let owned: Vec<i64> = sqlx::query_scalar(OWNED).bind(name).bind(incarnation).fetch_all(&mut *conn).await?;
    link::end(conn, &owned, now).await?;
    link::disown(conn, &owned).await?;
    sqlx::query(FORGET_WORKER).bind(name).bind(incarnation).execute(conn).await?;
    Ok(())
}

/// Ends every worker whose lease ran out.
pub(super) async fn end_expired(conn: &mut SqliteConnection, now: i64) -> Result<(), Failure> {
    let now_ms = now.saturating_mul(1000);
    let expired: Vec<(String, String)> = sqlx::query_as(EXPIRED).bind(now_ms).fetch_all(&mut *conn).await?;
    for (name, incarnation) in expired {
        end_worker(conn, &name, &incarnation, now).await?;
    }
    Ok(())
}

/// Ends every link and forgets every worker: nobody else has this file open, so they are dead.
pub(super) async fn forget_all(conn: &mut SqliteConnection, now: i64) -> Result<(), Failure> {
    let left: Vec<i64> = sqlx::query_scalar(LEFT_BEHIND).fetch_all(&mut *conn).await?;
    link::end(conn, &left, now).await?;
    link::disown(conn, &left).await?;
    sqlx::query(FORGET_WORKERS).execute(conn).await?;
    Ok(())
}

async fn claim_free(conn: &mut SqliteConnection, request: &LeaseRequest, now: i64) -> Result<(), Failure> {
    let now_ms = now.saturating_mul(1000);
    let free: Vec<i64> = sqlx::query_scalar(FREE).bind(now_ms).fetch_all(&mut *conn).await?;
    if free.is_empty() {
        return Ok(());
    }
    link::end(conn, &free, now).await?;
    bound(CLAIM, request).bind(now_ms).bind(super::json(&free)).execute(conn).await?;
    Ok(())
}

async fn assignments(conn: &mut SqliteConnection, request: &LeaseRequest) -> Result<Vec<Assignment>, Failure> {
    let worker = &request.worker;
    let rows: Vec<AssignedRow> = sqlx::query_as(ASSIGNED).bind(&worker.name).bind(&worker.incarnation).fetch_all(conn).await?;
    rows.iter().map(status::assignment).collect()
}
