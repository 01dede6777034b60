//! The sweep: what is overdue ends, and every upstream with something to plan is named, though nobody said so.

use model::UpstreamId;
use sqlx::SqliteConnection;

use super::snapshot::may_be_asked_for;
use super::{Failure, coverage, lease, ledger, named, relay, waiting};
use crate::Settings;
use crate::view::waited_since;
use crate::waits::held_until;

statements! {
    END_OVERDUE = "
        UPDATE batch SET state = 'overdue', ended_at = ?1 WHERE ended_at IS NULL AND deadline <= ?1 RETURNING id";
    DUE = concat!(
        "SELECT r.id FROM relay r
        WHERE r.link = 'up' AND (
            r.opened = 0 OR r.layout <> r.layout_taken OR r.refresh_at <= ?1 OR (r.role = 'listed' AND r.empty_since IS NOT NULL)
            OR (r.audit_at <= ?1 AND r.caught_up = 1 AND coalesce(r.ask_at, 0) <= ?1)
            OR (coalesce(r.ask_at, 0) <= ?1 AND EXISTS (
                SELECT 1 FROM coverage c INDEXED BY coverage_state WHERE c.relay = r.id AND c.status = 0 AND ",
        may_be_asked_for!(),
        ")))
        ORDER BY r.id"
    );
}

pub(super) async fn sweep(conn: &mut SqliteConnection, settings: &Settings, now: i64) -> Result<Vec<UpstreamId>, Failure> {
    let overdue: Vec<i64> = sqlx::query_scalar(END_OVERDUE).bind(now).fetch_all(&mut *conn).await?;
    coverage::release_batches(conn, &overdue).await?;
    lease::end_expired(conn, now).await?;
    ledger::forget_held(conn, held_until(now)).await?;
    ledger::forget_past(conn, now).await?;
    waiting::follow_home(conn, now).await?;
    relay::judge_stated(conn, settings, now).await?;
    named::look_for(conn, now).await?;
    let due: Vec<i64> = sqlx::query_scalar(DUE).bind(now).bind(waited_since(now)).fetch_all(conn).await?;
    Ok(due.into_iter().map(UpstreamId).collect())
}
