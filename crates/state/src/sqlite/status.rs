//! Figures of the whole system.

use model::Status;
use sqlx::SqliteConnection;

use super::Failure;
use crate::status::{self, Counted};

statements! {
    REPOS = "SELECT count(*) FROM repo WHERE event IS NOT NULL";
    ROOTS = "SELECT count(*) FROM root";
    OUTCOMES = "SELECT outcome, n FROM outcome_count WHERE n > 0 AND outcome <> 99 ORDER BY outcome";
    ITEMS = "SELECT relay, status, sum(n) FROM coverage_sum GROUP BY relay, status HAVING sum(n) > 0";
    RELAYS = "
        SELECT id, url, role, refused, link, opened, caught_up, resume_since, dial_at, learned, failures, last_class,
            last_detail, incomplete, ask_at, refresh_at, empty_since, last_up, behind,
            (SELECT min(b.deadline) FROM batch b WHERE b.relay = relay.id AND b.ended_at IS NULL) AS deadline, events, fresh, rounds, bytes_in, bytes_out,
            w.renewed_at, w.expires_at_ms AS lease_ends_ms
        FROM relay LEFT JOIN worker w ON w.name = relay.owner AND w.incarnation = relay.owner_inc ORDER BY id";
    WRITES = "
        SELECT coalesce(sum(writes_waiting), 0), coalesce(sum(writes_per_minute), 0), coalesce(max(writes_limited), 0)
        FROM worker WHERE expires_at_ms > ?1";
}

pub(super) async fn status(conn: &mut SqliteConnection, now: i64) -> Result<Status, Failure> {
    status::status(Counted {
        repos: sqlx::query_scalar(REPOS).fetch_one(&mut *conn).await?,
        roots: sqlx::query_scalar(ROOTS).fetch_one(&mut *conn).await?,
        outcomes: sqlx::query_as(OUTCOMES).fetch_all(&mut *conn).await?,
        items: sqlx::query_as(ITEMS).fetch_all(&mut *conn).await?,
        upstreams: sqlx::query_as(RELAYS).fetch_all(&mut *conn).await?,
        writes: sqlx::query_as(WRITES).bind(now.saturating_mul(1000)).fetch_one(conn).await?,
        now,
    })
}
