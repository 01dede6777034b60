//! Events that home refuses until something arrives, and the policy under which refusals were made.

use std::collections::BTreeSet;

use model::{EventId, LedgerRow, MAX_WAITING_BYTES, Outcome, Waiting};
use sqlx::PgConnection;

use super::ledger::Refs;
use super::{Failure, Time, codec, ledger};
use crate::waits::{MOST_WAITING, REFRESHED_WITHIN_SECS, RELEASED_AT_ONCE, SETTLED_WITHIN_SECS, follows_home};

statements! {
    HOLD = "
        INSERT INTO waiting (id, json, held_at) SELECT n.id, n.json, $3 FROM UNNEST($1::bytea[], $2::text[]) n (id, json)
        ORDER BY n.id ON CONFLICT DO NOTHING RETURNING id";
    HOLD_FOR = "
        INSERT INTO waiting_for (parent, id) SELECT n.parent, n.id FROM UNNEST($1::bytea[], $2::bytea[]) n (parent, id)
        ORDER BY n.parent, n.id ON CONFLICT DO NOTHING";
    ARE_HERE = "SELECT id FROM event WHERE id = ANY($1) AND outcome IN (0, 1)";
    ARE_ANNOUNCED = "
        SELECT i.key FROM item i JOIN repo r ON r.item = i.id WHERE i.key_hash = ANY($1) AND r.event IS NOT NULL";
    // Of these events alone: the others have been offered since.
    HAVE_ARRIVED = "
        UPDATE waiting SET due = true WHERE id = ANY($1) AND EXISTS (
            SELECT 1 FROM waiting_for f WHERE f.id = waiting.id AND f.parent = ANY($2))";
    // In the order of their keys, as everybody locks them.
    ARRIVED = "
        WITH due AS (
            SELECT id FROM waiting WHERE id IN (SELECT id FROM waiting_for WHERE parent = ANY($1)) ORDER BY id FOR UPDATE)
        UPDATE waiting SET due = true WHERE id IN (SELECT id FROM due)";
    EVERYTHING_ARRIVED = "UPDATE waiting SET due = true";
    RELEASE = "
        UPDATE waiting SET due = false, taken_until = $1 + $2 WHERE id IN (
            SELECT id FROM waiting WHERE (due OR taken_until IS NOT NULL) AND coalesce(taken_until, 0) <= $1
            ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED)
        RETURNING id, json";
    WAITS_ON = "UPDATE waiting SET taken_until = NULL WHERE id = ANY($1)";
    SETTLED = "DELETE FROM waiting WHERE id = ANY($1)";
    WAITS_FOR_NOTHING = "DELETE FROM waiting_for WHERE id = ANY($1)";
    TOO_MANY = "SELECT id FROM waiting ORDER BY held_at DESC, id DESC OFFSET $1";
    // Who says another policy at the same time waits.
    LOCK_POLICY = "LOCK TABLE policy IN EXCLUSIVE MODE";
    POLICY = "SELECT fingerprint FROM policy";
    SET_POLICY = "
        INSERT INTO policy (one, fingerprint) VALUES (1, $1) ON CONFLICT (one) DO UPDATE SET fingerprint = excluded.fingerprint";
    HOME_TERMS = "SELECT p.home_terms, (SELECT learned FROM relay WHERE role = 'home') FROM policy p";
    SET_HOME_TERMS = "UPDATE policy SET home_terms = $1";
    HURRY = "UPDATE relay SET refresh_at = least(refresh_at, $1 + id * 7919 % $2)";
}

/// Keeps events. Answers with how many are new here.
pub(super) async fn hold(conn: &mut PgConnection, time: &Time, waiting: &[Waiting]) -> Result<u64, Failure> {
    let now = time.now(conn).await?;
    let short: Vec<&Waiting> = waiting.iter().filter(|one| one.json.len() <= MAX_WAITING_BYTES).collect();
    let ids: Vec<Vec<u8>> = short.iter().map(|one| one.id.as_bytes().to_vec()).collect();
    let texts: Vec<&str> = short.iter().map(|one| one.json.as_str()).collect();
    let new: Vec<Vec<u8>> = sqlx::query_scalar(HOLD).bind(ids).bind(texts).bind(now).fetch_all(&mut *conn).await?;
    let (parents, waits): (Vec<Vec<u8>>, Vec<Vec<u8>>) = short
        .iter()
        .flat_map(|one| one.parents.iter().map(|parent| (codec::hash(parent).to_vec(), one.id.as_bytes().to_vec())))
        .unzip();
    sqlx::query(HOLD_FOR).bind(parents).bind(waits).execute(&mut *conn).await?;
    let here: Vec<Vec<u8>> = here(conn, &short).await?.iter().map(|key| codec::hash(key).to_vec()).collect();
    sqlx::query(HAVE_ARRIVED).bind(&new).bind(here).execute(&mut *conn).await?;
    let too_many: Vec<Vec<u8>> = sqlx::query_scalar(TOO_MANY).bind(codec::size(MOST_WAITING)).fetch_all(&mut *conn).await?;
    remove(conn, &too_many).await?;
    ledger::forget(conn, &too_many).await?;
    Ok(codec::unsigned(codec::size(new.len())))
}

/// Of what `waiting` waits for: ids and addresses that are at home by now.
async fn here(conn: &mut PgConnection, waiting: &[&Waiting]) -> Result<Vec<String>, Failure> {
    let keys: BTreeSet<&String> = waiting.iter().flat_map(|one| &one.parents).collect();
    let of_events = keys.iter().filter_map(|key| EventId::from_hex(key).ok());
    let of_events: Vec<Vec<u8>> = of_events.map(|id| id.as_bytes().to_vec()).collect();
    let found: Vec<Vec<u8>> = sqlx::query_scalar(ARE_HERE).bind(of_events).fetch_all(&mut *conn).await?;
    let mut here: Vec<String> = found.iter().map(|id| codec::hex(id)).collect();
    let hashes: Vec<Vec<u8>> = keys.into_iter().map(|key| codec::hash(key).to_vec()).collect();
    let found: Vec<Vec<u8>> = sqlx::query_scalar(ARE_ANNOUNCED).bind(hashes).fetch_all(conn).await?;
    here.extend(found.iter().map(|key| String::from_utf8_lossy(key).into_owned()));
    Ok(here)
}

/// Something that events may wait for has landed at home.
pub(super) async fn arrived(conn: &mut PgConnection, keys: impl Iterator<Item = String>) -> Result<(), Failure> {
    let hashes: Vec<Vec<u8>> = keys.map(|key| codec::hash(&key).to_vec()).collect();
    if !hashes.is_empty() {
        sqlx::query(ARRIVED).bind(hashes).execute(conn).await?;
    }
    Ok(())
}

/// Gives out some events for which something has arrived.
pub(super) async fn released(conn: &mut PgConnection, time: &Time) -> Result<Vec<Waiting>, Failure> {
    let now = time.now(conn).await?;
    let release = sqlx::query_as(RELEASE).bind(now).bind(SETTLED_WITHIN_SECS).bind(codec::size(RELEASED_AT_ONCE));
    let rows: Vec<(Vec<u8>, String)> = release.fetch_all(conn).await?;
    rows.into_iter().map(|(id, json)| Ok(Waiting { id: codec::event_id(&id)?, parents: Vec::new(), json })).collect()
}

/// Takes in what became of released events.
pub(super) async fn settle(conn: &mut PgConnection, time: &Time, rows: &[LedgerRow], refs: &Refs) -> Result<u64, Failure> {
    let now = time.now(conn).await?;
    ledger::write(conn, rows, refs, now).await?;
    let (waits_on, settled): (Vec<&LedgerRow>, Vec<&LedgerRow>) =
        rows.iter().partition(|row| row.outcome == Outcome::NeedsParent);
    let bytes = |rows: &[&LedgerRow]| rows.iter().map(|row| row.id.as_bytes().to_vec()).collect::<Vec<Vec<u8>>>();
    sqlx::query(WAITS_ON).bind(bytes(&waits_on)).execute(&mut *conn).await?;
    remove(conn, &bytes(&settled)).await?;
    Ok(codec::unsigned(codec::size(settled.len())))
}

/// Says what is let in. Where that is something else than before, what was kept out may come again.
pub(super) async fn policy(conn: &mut PgConnection, time: &Time, fingerprint: &str) -> Result<bool, Failure> {
    sqlx::query(LOCK_POLICY).execute(&mut *conn).await?;
    let fingerprint = codec::hex(&codec::hash(fingerprint));
    let before: Option<String> = sqlx::query_scalar(POLICY).fetch_optional(&mut *conn).await?;
    if before.as_ref() == Some(&fingerprint) {
        return Ok(false);
    }
    sqlx::query(SET_POLICY).bind(fingerprint).execute(&mut *conn).await?;
    if before.is_none() {
        return Ok(false);
    }
    let now = time.now(conn).await?;
    ledger::forget_declined(conn).await?;
    sqlx::query(EVERYTHING_ARRIVED).execute(&mut *conn).await?;
    hurry(conn, now).await?;
    Ok(true)
}

/// Compares what home says it takes with what it said before. Where that is something else, what was kept out may come again.
pub(super) async fn follow_home(conn: &mut PgConnection, time: &Time) -> Result<(), Failure> {
    if news_of_home(conn).await?.is_none() {
        return Ok(());
    }
    sqlx::query(LOCK_POLICY).execute(&mut *conn).await?;
    let Some((is_changed, terms)) = news_of_home(conn).await? else { return Ok(()) };
    sqlx::query(SET_HOME_TERMS).bind(terms).execute(&mut *conn).await?;
    if is_changed {
        let now = time.now(conn).await?;
        ledger::forget_home_terms(conn).await?;
        sqlx::query(EVERYTHING_ARRIVED).execute(&mut *conn).await?;
        hurry(conn, now).await?;
    }
    Ok(())
}

async fn news_of_home(conn: &mut PgConnection) -> Result<Option<(bool, String)>, Failure> {
    let told: Option<(Option<String>, Option<String>)> = sqlx::query_as(HOME_TERMS).fetch_optional(conn).await?;
    told.map_or(Ok(None), |(before, learned)| follows_home(before, learned))
}

/// Every upstream is refreshed within the hour, not all at once.
pub(super) async fn hurry(conn: &mut PgConnection, now: i64) -> Result<(), Failure> {
    sqlx::query(HURRY).bind(now).bind(REFRESHED_WITHIN_SECS).execute(conn).await?;
    Ok(())
}

async fn remove(conn: &mut PgConnection, gone: &[Vec<u8>]) -> Result<(), Failure> {
    if !gone.is_empty() {
        sqlx::query(SETTLED).bind(gone).execute(&mut *conn).await?;
        sqlx::query(WAITS_FOR_NOTHING).bind(gone).execute(conn).await?;
    }
    Ok(())
}
