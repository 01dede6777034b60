//! Events that home refuses until something arrives, and the policy under which refusals were made.

use std::collections::BTreeSet;

use model::{EventId, LedgerRow, MAX_WAITING_BYTES, Outcome, Waiting};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::item::ROWS_PER_STATEMENT;
use super::{Failure, codec, ledger};
use crate::waits::{MOST_WAITING, REFRESHED_WITHIN_SECS, RELEASED_AT_ONCE, SETTLED_WITHIN_SECS, follows_home};

statements! {
    ARE_HERE = "
        SELECT hex(id) FROM event WHERE id IN (SELECT unhex(value) FROM json_each(?1)) AND outcome IN (0, 1)";
    ARE_ANNOUNCED = "
        SELECT i.key FROM item i JOIN repo r ON r.item = i.id
        WHERE i.key IN (SELECT value FROM json_each(?1)) AND r.event IS NOT NULL";
    // Of these events alone: the others have been offered since.
    HAVE_ARRIVED = "
        UPDATE waiting SET due = 1 WHERE id IN (SELECT unhex(value) FROM json_each(?1)) AND EXISTS (
            SELECT 1 FROM waiting_for f WHERE f.id = waiting.id AND f.parent IN (SELECT unhex(value) FROM json_each(?2)))";
    ARRIVED = "
        UPDATE waiting SET due = 1
        WHERE due = 0 AND id IN (SELECT id FROM waiting_for WHERE parent IN (SELECT unhex(value) FROM json_each(?1)))";
    EVERYTHING_ARRIVED = "UPDATE waiting SET due = 1";
    RELEASE = "
        UPDATE waiting SET due = 0, taken_until = ?1 + ?2 WHERE id IN (
            SELECT id FROM waiting WHERE (due = 1 OR taken_until IS NOT NULL) AND coalesce(taken_until, 0) <= ?1
            ORDER BY id LIMIT ?3)
        RETURNING id, json";
    WAITS_ON = "UPDATE waiting SET taken_until = NULL WHERE id IN (SELECT unhex(value) FROM json_each(?1))";
    SETTLED = "DELETE FROM waiting WHERE id IN (SELECT unhex(value) FROM json_each(?1))";
    WAITS_FOR_NOTHING = "DELETE FROM waiting_for WHERE id IN (SELECT unhex(value) FROM json_each(?1))";
    TOO_MANY = "SELECT id FROM waiting ORDER BY held_at DESC, id DESC LIMIT -1 OFFSET ?1";
    POLICY = "SELECT fingerprint FROM policy";
    SET_POLICY = "
        INSERT INTO policy (one, fingerprint) VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET fingerprint = excluded.fingerprint";
    HOME_TERMS = "SELECT p.home_terms, (SELECT learned FROM relay WHERE role = 'home') FROM policy p";
    SET_HOME_TERMS = "UPDATE policy SET home_terms = ?1";
    HURRY = "UPDATE relay SET refresh_at = min(refresh_at, ?1 + id * 7919 % ?2)";
}

/// Keeps events. Answers with how many are new here.
pub(super) async fn hold(conn: &mut SqliteConnection, waiting: &[Waiting], now: i64) -> Result<u64, Failure> {
    let short: Vec<&Waiting> = waiting.iter().filter(|one| one.json.len() <= MAX_WAITING_BYTES).collect();
    let mut new: Vec<Vec<u8>> = Vec::new();
    for chunk in short.chunks(ROWS_PER_STATEMENT) {
        let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO waiting (id, json, held_at) ");
        sql.push_values(chunk, |mut row, one| {
            row.push_bind(one.id.as_bytes().to_vec()).push_bind(one.json.as_str()).push_bind(now);
        });
        let inserted: Vec<Vec<u8>> =
            sql.push(" ON CONFLICT DO NOTHING RETURNING id").build_query_scalar().fetch_all(&mut *conn).await?;
        new.extend(inserted);
    }
    let parents: BTreeSet<(Vec<u8>, Vec<u8>)> = short
        .iter()
        .flat_map(|one| one.parents.iter().map(|parent| (codec::hash(parent).to_vec(), one.id.as_bytes().to_vec())))
        .collect();
    for chunk in parents.into_iter().collect::<Vec<_>>().chunks(ROWS_PER_STATEMENT) {
        let mut sql = QueryBuilder::<Sqlite>::new("INSERT OR IGNORE INTO waiting_for (parent, id) ");
        sql.push_values(chunk, |mut row, (parent, id)| {
            row.push_bind(parent.as_slice()).push_bind(id.as_slice());
        });
        sql.build().execute(&mut *conn).await?;
    }
    let here: Vec<String> = here(conn, &short).await?.iter().map(|key| codec::hex(&codec::hash(key))).collect();
    sqlx::query(HAVE_ARRIVED).bind(ids(&new)).bind(super::json(&here)).execute(&mut *conn).await?;
    let too_many: Vec<Vec<u8>> = sqlx::query_scalar(TOO_MANY).bind(codec::size(MOST_WAITING)).fetch_all(&mut *conn).await?;
    remove(conn, &too_many).await?;
    ledger::forget(conn, &too_many).await?;
    Ok(codec::unsigned(codec::size(new.len())))
}

/// Of what `waiting` waits for: ids and addresses that are at home by now.
async fn here(conn: &mut SqliteConnection, waiting: &[&Waiting]) -> Result<Vec<String>, Failure> {
    let keys: BTreeSet<&String> = waiting.iter().flat_map(|one| &one.parents).collect();
    let keys: Vec<String> = keys.into_iter().cloned().collect();
    let mut here = Vec::new();
    for chunk in keys.chunks(ROWS_PER_STATEMENT) {
        let of_events: Vec<String> = chunk.iter().filter(|key| EventId::from_hex(key).is_ok()).cloned().collect();
        let found: Vec<String> = sqlx::query_scalar(ARE_HERE).bind(super::json(&of_events)).fetch_all(&mut *conn).await?;
        here.extend(found.into_iter().map(|id| id.to_lowercase()));
        let found: Vec<String> = sqlx::query_scalar(ARE_ANNOUNCED).bind(super::json(chunk)).fetch_all(&mut *conn).await?;
        here.extend(found);
    }
    Ok(here)
}

/// Something that events may wait for has landed at home.
pub(super) async fn arrived(conn: &mut SqliteConnection, keys: impl Iterator<Item = String>) -> Result<(), Failure> {
    let hashes: Vec<String> = keys.map(|key| codec::hex(&codec::hash(&key))).collect();
    for chunk in hashes.chunks(ROWS_PER_STATEMENT) {
        sqlx::query(ARRIVED).bind(super::json(chunk)).execute(&mut *conn).await?;
    }
    Ok(())
}

/// Gives out some events for which something has arrived.
pub(super) async fn released(conn: &mut SqliteConnection, now: i64) -> Result<Vec<Waiting>, Failure> {
    let release = sqlx::query_as(RELEASE).bind(now).bind(SETTLED_WITHIN_SECS).bind(codec::size(RELEASED_AT_ONCE));
    let rows: Vec<(Vec<u8>, String)> = release.fetch_all(conn).await?;
    rows.into_iter().map(|(id, json)| Ok(Waiting { id: codec::event_id(&id)?, parents: Vec::new(), json })).collect()
}

/// Takes in what became of released events.
pub(super) async fn settle(conn: &mut SqliteConnection, rows: &[LedgerRow], now: i64) -> Result<u64, Failure> {
    ledger::write(conn, rows, now).await?;
    let (waits_on, settled): (Vec<&LedgerRow>, Vec<&LedgerRow>) =
        rows.iter().partition(|row| row.outcome == Outcome::NeedsParent);
    let bytes = |rows: &[&LedgerRow]| rows.iter().map(|row| row.id.as_bytes().to_vec()).collect::<Vec<Vec<u8>>>();
    sqlx::query(WAITS_ON).bind(ids(&bytes(&waits_on))).execute(&mut *conn).await?;
    remove(conn, &bytes(&settled)).await?;
    Ok(codec::unsigned(codec::size(settled.len())))
}

/// Says what is let in. Where that is something else than before, what was kept out may come again.
pub(super) async fn policy(conn: &mut SqliteConnection, fingerprint: &str, now: i64) -> Result<bool, Failure> {
    let fingerprint = codec::hex(&codec::hash(fingerprint));
    let before: Option<String> = sqlx::query_scalar(POLICY).fetch_optional(&mut *conn).await?;
    if before.as_ref() == Some(&fingerprint) {
        return Ok(false);
    }
    sqlx::query(SET_POLICY).bind(fingerprint).execute(&mut *conn).await?;
    if before.is_none() {
        return Ok(false);
    }
    ledger::forget_declined(conn).await?;
    sqlx::query(EVERYTHING_ARRIVED).execute(&mut *conn).await?;
    hurry(conn, now).await?;
    Ok(true)
}

/// Compares what home says it takes with what it said before. Where that is something else, what was kept out may come again.
pub(super) async fn follow_home(conn: &mut SqliteConnection, now: i64) -> Result<(), Failure> {
    let told: Option<(Option<String>, Option<String>)> = sqlx::query_as(HOME_TERMS).fetch_optional(&mut *conn).await?;
    let Some((before, learned)) = told else { return Ok(()) };
    let Some((is_changed, terms)) = follows_home(before, learned)? else { return Ok(()) };
    sqlx::query(SET_HOME_TERMS).bind(terms).execute(&mut *conn).await?;
    if is_changed {
        ledger::forget_home_terms(conn).await?;
        sqlx::query(EVERYTHING_ARRIVED).execute(&mut *conn).await?;
        hurry(conn, now).await?;
    }
    Ok(())
}

/// Every upstream is refreshed within the hour, not all at once.
pub(super) async fn hurry(conn: &mut SqliteConnection, now: i64) -> Result<(), Failure> {
    sqlx::query(HURRY).bind(now).bind(REFRESHED_WITHIN_SECS).execute(conn).await?;
    Ok(())
}

async fn remove(conn: &mut SqliteConnection, gone: &[Vec<u8>]) -> Result<(), Failure> {
    if !gone.is_empty() {
        sqlx::query(SETTLED).bind(ids(gone)).execute(&mut *conn).await?;
        sqlx::query(WAITS_FOR_NOTHING).bind(ids(gone)).execute(conn).await?;
    }
    Ok(())
}

fn ids(bytes: &[Vec<u8>]) -> String {
    super::json(&bytes.iter().map(|id| codec::hex(id)).collect::<Vec<String>>())
}
