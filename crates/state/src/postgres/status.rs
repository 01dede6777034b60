//! Figures of the whole system.

use model::Status;
use sqlx::PgConnection;

use super::{Failure, Time};
use crate::status::{self, Counted};

statements! {
    REPOS = "SELECT count(*) FROM repo WHERE event IS NOT NULL";
    ROOTS = "SELECT count(*) FROM root";
    OUTCOMES = "
        SELECT outcome::bigint, sum(n)::bigint FROM outcome_count WHERE outcome <> 99
        GROUP BY outcome HAVING sum(n) > 0 ORDER BY outcome";
    ITEMS = "SELECT relay, status::bigint, sum(n)::bigint FROM coverage_sum GROUP BY relay, status HAVING sum(n) > 0";
    RELAYS = "
        SELECT id, url, role, refused, link, opened, caught_up, resume_since, dial_at, learned, failures, last_class,
            last_detail, incomplete, ask_at, refresh_at, empty_since, last_up, behind,
            (SELECT min(b.deadline) FROM batch b WHERE b.relay = relay.id AND b.ended_at IS NULL) AS deadline, events, fresh, rounds, bytes_in, bytes_out,
            w.renewed_at, w.expires_at_ms AS lease_ends_ms
        FROM relay LEFT JOIN worker w ON w.name = relay.owner AND w.incarnation = relay.owner_inc ORDER BY id";
    WRITES = "
        SELECT coalesce(sum(writes_waiting), 0)::bigint, coalesce(sum(writes_per_minute), 0)::bigint,
            coalesce(bool_or(writes_limited), false)
        FROM worker WHERE expires_at_ms > $1";
}

pub(super) async fn status(conn: &mut PgConnection, time: &Time) -> Result<Status, Failure> {
    let now_ms = time.now_ms(conn).await?;
    status::status(Counted {
        repos: sqlx::query_scalar(REPOS).fetch_one(&mut *conn).await?,
        roots: sqlx::query_scalar(ROOTS).fetch_one(&mut *conn).await?,
        outcomes: sqlx::query_as(OUTCOMES).fetch_all(&mut *conn).await?,
        items: sqlx::query_as(ITEMS).fetch_all(&mut *conn).await?,
        upstreams: sqlx::query_as(RELAYS).fetch_all(&mut *conn).await?,
        writes: sqlx::query_as(WRITES).bind(now_ms).fetch_one(conn).await?,
        now: now_ms.div_euclid(1000),
    })
}
