//! The sweep: what is overdue ends, and every upstream with something to plan is named, though nobody said so.

use model::UpstreamId;
use sqlx::PgConnection;

use super::snapshot::may_be_asked_for;
use super::{Failure, Time, coverage, lease, ledger, relay, waiting};
use crate::Settings;
use crate::view::waited_since;
use crate::waits::held_until;

statements! {
    // What is being written just now is left to the next sweep.
    LOCK_OVERDUE = "
        SELECT id FROM relay WHERE id IN (SELECT relay FROM batch WHERE ended_at IS NULL AND deadline <= $1)
        ORDER BY id FOR UPDATE SKIP LOCKED";
    END_OVERDUE = "
        UPDATE batch SET state = 'overdue', ended_at = $1
        WHERE relay = ANY($2) AND ended_at IS NULL AND deadline <= $1 RETURNING id";
    DUE = concat!(
        "SELECT r.id FROM relay r
        WHERE r.link = 'up' AND (
            NOT r.opened OR r.layout <> r.layout_taken OR r.refresh_at <= $1 OR (r.role = 'listed' AND r.empty_since IS NOT NULL)
            OR (r.audit_at <= $1 AND r.caught_up AND coalesce(r.ask_at, 0) <= $1)
            OR (coalesce(r.ask_at, 0) <= $1 AND EXISTS (
                SELECT 1 FROM coverage c WHERE c.relay = r.id AND c.status = 0 AND ",
        may_be_asked_for!(),
        ")))
        ORDER BY r.id"
    );
}

/// What follows from what relays state of themselves: apart from the rest, for it may touch every row.
pub(super) async fn follow_what_is_stated(conn: &mut PgConnection, settings: &Settings, time: &Time) -> Result<(), Failure> {
    waiting::follow_home(conn, time).await?;
    relay::judge_stated(conn, settings, time).await
}

pub(super) async fn sweep(conn: &mut PgConnection, time: &Time) -> Result<Vec<UpstreamId>, Failure> {
    lease::end_expired(conn, time).await?;
    let now = time.now(conn).await?;
    let held: Vec<i64> = sqlx::query_scalar(LOCK_OVERDUE).bind(now).fetch_all(&mut *conn).await?;
    let overdue: Vec<i64> = sqlx::query_scalar(END_OVERDUE).bind(now).bind(held).fetch_all(&mut *conn).await?;
    coverage::release_batches(conn, &overdue).await?;
    ledger::forget_held(conn, held_until(now)).await?;
    ledger::forget_past(conn, now).await?;
    let due: Vec<i64> = sqlx::query_scalar(DUE).bind(now).bind(waited_since(now)).fetch_all(conn).await?;
    Ok(due.into_iter().map(UpstreamId).collect())
}
