//! What a plan takes: a refresh starts over, chunks are written, items become pending (S4, S14, S15).

use std::collections::{BTreeMap, BTreeSet};

use engine::rules::BATCH_START_SECS;
use model::{BatchId, Claim, Claimed, Draft, Item, StateError, Timestamp};
use sqlx::SqliteConnection;

use super::{Failure, codec, coverage, item, link};

/// Ended batches are kept this long (seconds), and the last [`BATCHES_KEPT`] of an upstream however old they are.
const BATCH_KEPT_SECS: i64 = 7 * 24 * 3600;
const BATCHES_KEPT: i64 = 20;

statements! {
    IS_UP = "SELECT link = 'up' FROM relay WHERE id = ?1";
    START_OVER = "
        UPDATE relay SET opened = 0, caught_up = 0, resume_since = NULL, refresh_at = ?2 WHERE id = ?1";
    // S12: a refresh probes NIP-77 again.
    FORGET_REFUSAL = "
        UPDATE relay SET learned = json_remove(learned, '$.nip77')
        WHERE id = ?1 AND json_extract(learned, '$.nip77.refused') IS NOT NULL";
    NEW_LAYOUT = "UPDATE relay SET layout = layout + 1 WHERE id = ?1";
    // Their old chunk may be another one's number from now on.
    UNPLACE_WANTED = "UPDATE coverage SET chunk = NULL WHERE relay = ?1 AND status = 0 AND kind < 2 AND chunk IS NOT NULL";
    RECHUNK = "UPDATE coverage SET chunk = ?3 WHERE relay = ?1 AND item IN (SELECT value FROM json_each(?2))";
    // The plus sign keeps SQLite from reading all wanted rows instead of looking up these.
    WANTED = "
        SELECT item FROM coverage WHERE relay = ?1 AND +status = 0 AND item IN (SELECT value FROM json_each(?2))";
    BEGIN = "
        INSERT INTO batch (relay, epoch, method, items, deadline, started_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING id";
    TAKE = "
        UPDATE coverage SET status = 1, batch = ?3, epoch = ?4, chunk = ?5
        WHERE relay = ?1 AND status = 0 AND item IN (SELECT value FROM json_each(?2))";
    PRUNE = "
        DELETE FROM batch WHERE relay = ?1 AND ended_at < ?2
          AND id NOT IN (SELECT id FROM batch WHERE relay = ?1 ORDER BY id DESC LIMIT ?3)";
}

pub(super) async fn take(conn: &mut SqliteConnection, claim: &Claim, now: i64) -> Result<Claimed, Failure> {
    link::fence(conn, claim.upstream, claim.epoch).await?;
    let relay = claim.upstream.0;
    let is_up: bool = sqlx::query_scalar(IS_UP).bind(relay).fetch_one(&mut *conn).await?;
    if !is_up {
        return Err(StateError::Fenced.into());
    }
    if let Some(next) = claim.refresh {
        start_over(conn, relay, next, now).await?;
    }
    rechunk(conn, relay, &claim.rechunk).await?;
    let mut batches = Vec::with_capacity(claim.drafts.len());
    for draft in &claim.drafts {
        batches.push(begin(conn, claim, draft, now).await?);
    }
    if !claim.drafts.is_empty() {
        sqlx::query(PRUNE).bind(relay).bind(now - BATCH_KEPT_SECS).bind(BATCHES_KEPT).execute(conn).await?;
    }
    Ok(Claimed { batches })
}

/// S15: release pending, clear confirmed, fresh.
async fn start_over(conn: &mut SqliteConnection, relay: i64, next: Timestamp, now: i64) -> Result<(), Failure> {
    coverage::want_all(conn, relay, now).await?;
    sqlx::query(START_OVER).bind(relay).bind(codec::secs(next)).execute(&mut *conn).await?;
    forget_refusal(conn, relay).await
}

/// What was refused before is tried again (S12).
pub(super) async fn forget_refusal(conn: &mut SqliteConnection, relay: i64) -> Result<(), Failure> {
    sqlx::query(FORGET_REFUSAL).bind(relay).execute(conn).await?;
    Ok(())
}

/// S14: the named items get new places. A wanted item that is not named loses its own.
async fn rechunk(conn: &mut SqliteConnection, relay: i64, places: &[(Item, u32)]) -> Result<(), Failure> {
    if places.is_empty() {
        return Ok(());
    }
    sqlx::query(NEW_LAYOUT).bind(relay).execute(&mut *conn).await?;
    sqlx::query(UNPLACE_WANTED).bind(relay).execute(&mut *conn).await?;
    let numbers = item::known_numbers(conn, places.iter().map(|(item, _)| item.key())).await?;
    let mut chunks: BTreeMap<u32, Vec<i64>> = BTreeMap::new();
    for (item, chunk) in places {
        chunks.entry(*chunk).or_default().extend(numbers.get(&item.key()));
    }
    for (chunk, items) in chunks {
        let update = sqlx::query(RECHUNK).bind(relay).bind(super::json(&items)).bind(i64::from(chunk));
        update.execute(&mut *conn).await?;
    }
    Ok(())
}

/// A batch of all the draft's items, or nothing where one of them is not wanted any more.
async fn begin(conn: &mut SqliteConnection, claim: &Claim, draft: &Draft, now: i64) -> Result<Option<BatchId>, Failure> {
    let relay = claim.upstream.0;
    let keys: BTreeSet<String> = draft.items.iter().map(Item::key).collect();
    let numbers: Vec<i64> = item::known_numbers(conn, keys.iter().cloned()).await?.into_values().collect();
    let wanted = sqlx::query_scalar(WANTED).bind(relay).bind(super::json(&numbers));
    let wanted: Vec<i64> = wanted.fetch_all(&mut *conn).await?;
    if wanted.is_empty() || wanted.len() != keys.len() {
        return Ok(None);
    }
    let deadline = now.saturating_add(codec::signed(BATCH_START_SECS));
    let begun = sqlx::query_scalar(BEGIN).bind(relay).bind(claim.epoch.0).bind(draft.method.as_str());
    let batch: i64 = begun.bind(codec::size(wanted.len())).bind(deadline).bind(now).fetch_one(&mut *conn).await?;
    let take = sqlx::query(TAKE).bind(relay).bind(super::json(&wanted)).bind(batch).bind(claim.epoch.0);
    take.bind(i64::from(draft.chunk)).execute(conn).await?;
    Ok(Some(BatchId(batch)))
}
