//! What a plan takes: a refresh starts over, chunks are written, items become pending (S4, S14, S15).

use std::collections::BTreeSet;

use engine::rules::BATCH_START_SECS;
use model::{BatchId, Claim, Claimed, Draft, Item, Learned, StateError, Timestamp};
use sqlx::PgConnection;

use super::{Failure, Time, codec, coverage, item, link};
use crate::repos::Numbers;

/// Ended batches are kept this long (seconds), and the last [`BATCHES_KEPT`] of an upstream however old they are.
const BATCH_KEPT_SECS: i64 = 7 * 24 * 3600;
const BATCHES_KEPT: i64 = 20;

statements! {
    IS_UP = "SELECT link = 'up' FROM relay WHERE id = $1";
    START_OVER = "
        UPDATE relay SET opened = false, caught_up = false, resume_since = NULL, refresh_at = $2, audit_at = NULL WHERE id = $1";
    LEARNED = "SELECT learned FROM relay WHERE id = $1";
    LEARN = "UPDATE relay SET learned = $2 WHERE id = $1";
    AUDIT_ASKED = "UPDATE relay SET audit_at = $2 WHERE id = $1 AND audit_at IS NOT NULL";
    NEW_LAYOUT = "UPDATE relay SET layout = layout + 1 WHERE id = $1";
    // Their old chunk may be another one's number from now on.
    UNPLACE_WANTED = "UPDATE coverage SET chunk = NULL WHERE relay = $1 AND status = 0 AND kind < 2 AND chunk IS NOT NULL";
    RECHUNK = "
        UPDATE coverage SET chunk = n.chunk FROM UNNEST($2::bigint[], $3::bigint[]) n (item, chunk)
        WHERE coverage.relay = $1 AND coverage.item = n.item";
    // By their keys, one by one: a plan for any relay takes home for one of many, and would read all that it has.
    WANTED = "
        SELECT count(*) FROM UNNEST($2::bigint[]) n (item)
        WHERE (SELECT c.ctid FROM coverage c WHERE c.relay = $1 AND c.item = n.item AND c.status + 0 = 0) IS NOT NULL";
    TAKE = "
        WITH begun AS (
            INSERT INTO batch (relay, epoch, method, items, deadline, started_at)
            VALUES ($1, $3, $4, cardinality($2::bigint[]), $6, $7) RETURNING id),
        wanted AS MATERIALIZED (
            SELECT (SELECT c.ctid FROM coverage c WHERE c.relay = $1 AND c.item = n.item AND c.status + 0 = 0) AS place
            FROM UNNEST($2::bigint[]) n (item)),
        taken AS (
            UPDATE coverage SET status = 1, batch = begun.id, epoch = $3, chunk = $5 FROM begun, wanted
            WHERE coverage.ctid = wanted.place)
        SELECT id FROM begun";
    PRUNE = "
        DELETE FROM batch WHERE relay = $1 AND ended_at < $2
          AND id NOT IN (SELECT id FROM batch WHERE relay = $1 ORDER BY id DESC LIMIT $3)";
}

pub(super) async fn take(conn: &mut PgConnection, time: &Time, claim: &Claim) -> Result<Claimed, Failure> {
    link::fence(conn, claim.upstream, claim.epoch).await?;
    let now = time.now(conn).await?;
    let relay = claim.upstream.0;
    let is_up: bool = sqlx::query_scalar(IS_UP).bind(relay).fetch_one(&mut *conn).await?;
    if !is_up {
        return Err(StateError::Fenced.into());
    }
    if let Some(next) = claim.refresh {
        start_over(conn, relay, next, now).await?;
    }
    rechunk(conn, relay, &claim.rechunk).await?;
    if let Some(again) = claim.audit {
        sqlx::query(AUDIT_ASKED).bind(relay).bind(codec::secs(again)).execute(&mut *conn).await?;
    }
    let drafted = claim.drafts.iter().flat_map(|draft| &draft.items).map(Item::key);
    let numbers = item::known_numbers(conn, drafted).await?;
    let mut batches = Vec::with_capacity(claim.drafts.len());
    for draft in &claim.drafts {
        batches.push(begin(conn, claim, (draft, &numbers), now).await?);
    }
    if !claim.drafts.is_empty() {
        sqlx::query(PRUNE).bind(relay).bind(now - BATCH_KEPT_SECS).bind(BATCHES_KEPT).execute(conn).await?;
    }
    Ok(Claimed { batches })
}

/// S15: release pending, clear confirmed, fresh.
async fn start_over(conn: &mut PgConnection, relay: i64, next: Timestamp, now: i64) -> Result<(), Failure> {
    coverage::want_all(conn, relay, now).await?;
    sqlx::query(START_OVER).bind(relay).bind(codec::secs(next)).execute(&mut *conn).await?;
    forget_refusal(conn, relay).await
}

/// What was refused before is tried again (S12, I3).
pub(super) async fn forget_refusal(conn: &mut PgConnection, relay: i64) -> Result<(), Failure> {
    let learned: String = sqlx::query_scalar(LEARNED).bind(relay).fetch_one(&mut *conn).await?;
    learn(conn, relay, &codec::learned(&learned)?.for_a_refresh()).await
}

pub(super) async fn learn(conn: &mut PgConnection, relay: i64, learned: &Learned) -> Result<(), Failure> {
    sqlx::query(LEARN).bind(relay).bind(codec::learned_text(learned)).execute(conn).await?;
    Ok(())
}

/// S14: the named items get new places. A wanted item that is not named loses its own.
async fn rechunk(conn: &mut PgConnection, relay: i64, places: &[(Item, u32)]) -> Result<(), Failure> {
    if places.is_empty() {
        return Ok(());
    }
    sqlx::query(NEW_LAYOUT).bind(relay).execute(&mut *conn).await?;
    sqlx::query(UNPLACE_WANTED).bind(relay).execute(&mut *conn).await?;
    let numbers = item::known_numbers(conn, places.iter().map(|(item, _)| item.key())).await?;
    let placed = places.iter().filter_map(|(item, chunk)| Some((*numbers.get(&item.key())?, i64::from(*chunk))));
    let (items, chunks): (Vec<i64>, Vec<i64>) = placed.unzip();
    sqlx::query(RECHUNK).bind(relay).bind(items).bind(chunks).execute(conn).await?;
    Ok(())
}

/// A batch of all the draft's items, or nothing where one of them is not wanted any more.
async fn begin(
    conn: &mut PgConnection,
    claim: &Claim,
    (draft, numbers): (&Draft, &Numbers),
    now: i64,
) -> Result<Option<BatchId>, Failure> {
    let relay = claim.upstream.0;
    let keys: BTreeSet<String> = draft.items.iter().map(Item::key).collect();
    let items: Vec<i64> = keys.iter().filter_map(|key| numbers.get(key)).copied().collect();
    let wanted: i64 = sqlx::query_scalar(WANTED).bind(relay).bind(&items).fetch_one(&mut *conn).await?;
    if wanted == 0 || wanted != codec::size(keys.len()) {
        return Ok(None);
    }
    let deadline = now.saturating_add(codec::signed(BATCH_START_SECS));
    let take = sqlx::query_scalar(TAKE).bind(relay).bind(&items).bind(claim.epoch.0).bind(draft.method.as_str());
    let batch: i64 = take.bind(i64::from(draft.chunk)).bind(deadline).bind(now).fetch_one(conn).await?;
    Ok(Some(BatchId(batch)))
}
