//! Whose turn it is to plan an upstream. The table is not logged: a turn does not outlive a crash, and costs no disk.

use model::UpstreamId;
use sqlx::PgConnection;

use super::{Failure, Time};
use crate::{PLAN_HOLD, codec};

statements! {
    BEGIN_TURN = "
        INSERT INTO turn (relay, planner, until_ms) VALUES ($1, $2, $3::bigint + $4::bigint)
        ON CONFLICT (relay) DO UPDATE SET planner = excluded.planner, until_ms = excluded.until_ms
        WHERE turn.planner = excluded.planner OR turn.until_ms <= $3::bigint";
    HOLDS_TURN = "SELECT EXISTS (SELECT 1 FROM turn WHERE relay = $1 AND planner = $2)";
    END_TURN = "DELETE FROM turn WHERE relay = $1 AND planner = $2";
}

pub(super) async fn begin(conn: &mut PgConnection, time: &Time, upstream: UpstreamId, planner: &str) -> Result<bool, Failure> {
    let (now, hold) = (time.now_ms(conn).await?, codec::signed(PLAN_HOLD.as_secs() * 1000));
    let begun = sqlx::query(BEGIN_TURN).bind(upstream.0).bind(planner).bind(now).bind(hold).execute(conn).await?;
    Ok(begun.rows_affected() > 0)
}

pub(super) async fn holds(conn: &mut PgConnection, upstream: UpstreamId, planner: &str) -> Result<bool, Failure> {
    Ok(sqlx::query_scalar(HOLDS_TURN).bind(upstream.0).bind(planner).fetch_one(conn).await?)
}

pub(super) async fn end(conn: &mut PgConnection, upstream: UpstreamId, planner: &str) -> Result<bool, Failure> {
    Ok(sqlx::query(END_TURN).bind(upstream.0).bind(planner).execute(conn).await?.rows_affected() > 0)
}
