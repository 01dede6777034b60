//! The ledger: every event id with a final outcome, and the sets that negentropy is run against.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use model::{EventId, LedgerCursor, LedgerPage, LedgerRow, LedgerScope, RefTag, StateError};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::codec::RefKey;
use super::item::ROWS_PER_STATEMENT;
use super::{Failure, codec, named, waiting};
use crate::waits::is_a_disaster;

/// Rows of one page: about 200 kB in flight.
const ROWS_PER_PAGE: usize = 5000;
/// Sixteen of the time, 64 of the id.
const DIGITS_PER_ROW: usize = 80;
const DIGITS_PER_ID: usize = 64;
/// Statements of up to so many rows are kept, one of each.
const FEW_ROWS: usize = 4;

statements! {
    // Asked for by a digit of the tag and the hash; answered in one row, as a page is: each by 64 digits of the hash, one of the
    // tag and 15 of the number.
    NUMBERS_OF_REFS = "
        SELECT coalesce(group_concat(hex(r.value_hash) || r.tag || printf('%015x', r.id), ''), '')
        FROM json_each(?1) k
        CROSS JOIN ref r ON r.tag = CAST(substr(k.value, 1, 1) AS INTEGER) AND r.value_hash = unhex(substr(k.value, 2))";
    // What of a report is not new: one row of 64 digits each.
    PRESENT = "
        SELECT coalesce(group_concat(hex(id), ''), '') FROM event WHERE id IN (SELECT unhex(value) FROM json_each(?1))";
    COUNT = "
        INSERT INTO outcome_count (outcome, n) SELECT e.value ->> 0, e.value ->> 1 FROM json_each(?1) e WHERE true
        ON CONFLICT (outcome) DO UPDATE SET n = n + excluded.n";
    // A page is one row, for each row costs a message between threads: every event is 80 hexadecimal digits, its time and its id.
    // 0 stored, 1 duplicate: what home serves. What is apart from that is looked for in the index of what is, not event by event.
    PAGE_OF_KINDS = "
        SELECT coalesce(group_concat(printf('%016x', created_at) || hex(id), ''), '') FROM (
        SELECT created_at, id FROM event
        WHERE kind IN (SELECT value FROM json_each(?1)) AND created_at BETWEEN ?2 AND ?3
          AND (created_at > ?4 OR (created_at = ?4 AND id > ?5))
          AND NOT EXISTS (
            SELECT 1 FROM event a INDEXED BY event_apart
            WHERE a.id = event.id AND a.outcome NOT IN (0, 1) AND (?6 = 1 OR a.outcome = 99))
          AND (?6 = 1 OR ?8 = '[]' OR NOT EXISTS (
            SELECT 1 FROM json_each(?8) p JOIN event_ref o ON o.ref = p.value AND o.created_at = event.created_at AND o.id = event.id))
        ORDER BY created_at, id LIMIT ?7)";
    PAGE_OF_REFS = "
        SELECT coalesce(group_concat(printf('%016x', created_at) || hex(id), ''), '') FROM (
        SELECT r.created_at, r.id FROM event_ref r
        WHERE r.ref IN (SELECT value FROM json_each(?1)) AND r.created_at BETWEEN ?2 AND ?3
          AND (r.created_at > ?4 OR (r.created_at = ?4 AND r.id > ?5))
          AND NOT EXISTS (
            SELECT 1 FROM event a INDEXED BY event_apart
            WHERE a.id = r.id AND a.outcome NOT IN (0, 1) AND (?6 = 1 OR a.outcome = 99))
          AND (?8 = '[]' OR EXISTS (SELECT 1 FROM event e WHERE e.id = r.id AND e.kind IN (SELECT value FROM json_each(?8))))
        ORDER BY r.created_at, r.id LIMIT ?7)";
    // GRASP-08: an exchange would show their ids.
    PRIVATE_REPOS = "SELECT i.key FROM repo r JOIN item i ON i.id = r.item WHERE r.private = 1";
    KNOWN = "
        SELECT coalesce(group_concat(hex(id), ''), '') FROM event
        WHERE id IN (SELECT unhex(value) FROM json_each(?1)) AND outcome <> 99";
    HELD = "
        SELECT coalesce(group_concat(hex(id), ''), '') FROM event
        WHERE id IN (SELECT unhex(value) FROM json_each(?1)) AND outcome = 3";
    // 0 stored, 1 duplicate: what home was said to hold.
    LOST = "UPDATE event SET outcome = 99 WHERE id IN (SELECT unhex(value) FROM json_each(?1)) AND outcome IN (0, 1)";
    AT_HOME = "SELECT coalesce(sum(n), 0) FROM outcome_count WHERE outcome IN (0, 1)";
    FORGET = "UPDATE event SET outcome = 99 WHERE id IN (SELECT unhex(value) FROM json_each(?1)) AND outcome <> 0";
    // Held (3): home drops it when nothing comes of it, and is asked again later.
    FORGET_HELD = "UPDATE event SET outcome = 99 WHERE outcome = 3 AND seen_at <= ?1";
    // What the operator's word and home's policy have kept out: 15 blocked, 16 declined.
    FORGET_DECLINED = "UPDATE event SET outcome = 99 WHERE outcome IN (15, 16)";
    // What home's terms have kept out: 9 future, 10 too old, 11 too large, 16 declined, 17 expiring.
    FORGET_HOME_TERMS = "UPDATE event SET outcome = 99 WHERE outcome IN (9, 10, 11, 16, 17)";
    // The list is that of the index.
    FORGET_PAST = "
        UPDATE event SET outcome = 99 WHERE outcome IN (9, 10, 11, 16, 17) AND outcome = 9 AND created_at <= ?1";
}

/// On a conflict the first upstream, batch, moment and way stay. `stored` (0) wins over anything; what was not the last word, held (3)
/// and needs-parent (5), gives way to any later one, and so does what was forgotten (99).
const ON_CONFLICT: &str =
    " ON CONFLICT (id) DO UPDATE SET outcome = excluded.outcome, reason = excluded.reason, seen_at = excluded.seen_at
    WHERE (excluded.outcome = 0 AND event.outcome <> 0)
       OR (event.outcome IN (3, 5, 99) AND excluded.outcome <> event.outcome)";

/// Takes rows into the ledger. Rows that it holds already change nothing but their outcome.
pub(super) async fn write(conn: &mut SqliteConnection, rows: &[LedgerRow], now: i64) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    let refs = ref_numbers(conn, rows).await?;
    let mut sorted: Vec<&LedgerRow> = rows.iter().collect();
    sorted.sort_by_key(|row| row.id);
    let mut present = present(conn, &sorted).await?;
    // Of what is said of an event first; what is said of it again is of a row that is there by then.
    let (new, known): (Vec<&LedgerRow>, Vec<&LedgerRow>) = sorted.iter().partition(|row| present.insert(row.id));
    insert_new(conn, &new, now).await?;
    let mut changed: HashSet<EventId> = new.iter().map(|row| row.id).collect();
    changed.extend(write_again(conn, &known, now).await?);
    write_refs(conn, &sorted, &refs).await?;
    // What is said again is no news to those who wait.
    let news: Vec<&LedgerRow> = rows.iter().filter(|row| changed.contains(&row.id) && row.outcome.is_at_home()).collect();
    named::note(conn, &news, now).await?;
    waiting::arrived(conn, news.iter().map(|row| row.id.to_hex())).await
}

/// Those of `rows` that the ledger has a row of, forgotten or not.
async fn present(conn: &mut SqliteConnection, rows: &[&LedgerRow]) -> Result<HashSet<EventId>, Failure> {
    let ids: Vec<String> = rows.iter().map(|row| row.id.to_hex()).collect();
    ids_of(&sqlx::query_scalar::<_, String>(PRESENT).bind(super::json(&ids)).fetch_one(conn).await?)
}

/// Ids of 64 digits, one behind the other.
fn ids_of<C: FromIterator<EventId>>(digits: &str) -> Result<C, Failure> {
    let id = |digits: &[u8]| {
        let text = std::str::from_utf8(digits).ok();
        text.and_then(|text| EventId::from_hex(text).ok()).ok_or_else(|| super::unreadable("an event id"))
    };
    digits.as_bytes().chunks(DIGITS_PER_ID).map(id).collect()
}

const COLUMNS: &str = "INSERT INTO event (id, created_at, kind, outcome, reason, upstream, batch, seen_at, via, first_at) ";

fn push_rows(sql: &mut QueryBuilder<Sqlite>, rows: &[&LedgerRow], now: i64) {
    sql.push_values(rows, |mut values, row| {
        values.push_bind(row.id.as_bytes().to_vec()).push_bind(codec::secs(row.created_at));
        values.push_bind(i64::from(row.kind.as_u16())).push_bind(codec::outcome_code(row.outcome));
        values.push_bind(row.reason.clone()).push_bind(row.upstream.0).push_bind(row.batch.map(|batch| batch.0));
        values.push_bind(now).push_bind(row.via.map(codec::via_code)).push_bind(now);
    });
}

/// Of events that the ledger has no row of. They are counted here.
async fn insert_new(conn: &mut SqliteConnection, rows: &[&LedgerRow], now: i64) -> Result<(), Failure> {
    let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
    for chunk in rows.chunks(ROWS_PER_STATEMENT) {
        let mut sql = QueryBuilder::<Sqlite>::new(COLUMNS);
        push_rows(&mut sql, chunk, now);
        sql.build().persistent(is_kept(chunk.len())).execute(&mut *conn).await?;
        for row in chunk {
            *counts.entry(codec::outcome_code(row.outcome)).or_default() += 1;
        }
    }
    if !counts.is_empty() {
        let counts: Vec<[i64; 2]> = counts.into_iter().map(|(outcome, n)| [outcome, n]).collect();
        sqlx::query(COUNT).bind(super::json(&counts)).execute(conn).await?;
    }
    Ok(())
}

/// Of events that the ledger has a row of. Answers with those that say something else than before.
async fn write_again(conn: &mut SqliteConnection, rows: &[&LedgerRow], now: i64) -> Result<Vec<EventId>, Failure> {
    let mut changed = Vec::new();
    for chunk in rows.chunks(ROWS_PER_STATEMENT) {
        let mut sql = QueryBuilder::<Sqlite>::new(COLUMNS);
        push_rows(&mut sql, chunk, now);
        let written = sql.push(ON_CONFLICT).push(" RETURNING id").build_query_scalar().persistent(is_kept(chunk.len()));
        let written: Vec<Vec<u8>> = written.fetch_all(&mut *conn).await?;
        for id in written {
            changed.push(codec::event_id(&id)?);
        }
    }
    Ok(changed)
}

/// Whether a statement of so many rows comes again as it is: the others are not to push those out that do.
fn is_kept(rows: usize) -> bool {
    rows == ROWS_PER_STATEMENT || rows <= FEW_ROWS
}

/// What home was said to hold, and does not: it is asked for again by whoever still has it.
pub(super) async fn lost(conn: &mut SqliteConnection, ids: &[EventId], now: i64) -> Result<(), Failure> {
    let ids: Vec<String> = ids.iter().map(EventId::to_hex).collect();
    let held: i64 = sqlx::query_scalar(AT_HOME).fetch_one(&mut *conn).await?;
    let lost = sqlx::query(LOST).bind(super::json(&ids)).execute(&mut *conn).await?.rows_affected();
    if is_a_disaster(lost, held) {
        waiting::hurry(conn, now).await?;
    }
    Ok(())
}

async fn write_refs(conn: &mut SqliteConnection, rows: &[&LedgerRow], refs: &BTreeMap<RefKey, i64>) -> Result<(), Failure> {
    let named = |row: &&LedgerRow| -> Vec<(i64, i64, Vec<u8>)> {
        let created_at = codec::secs(row.created_at);
        row.refs.iter().map(|to| (refs[&codec::ref_key(to)], created_at, row.id.as_bytes().to_vec())).collect()
    };
    let named: BTreeSet<_> = rows.iter().flat_map(named).collect();
    let named: Vec<_> = named.into_iter().collect();
    for chunk in named.chunks(ROWS_PER_STATEMENT) {
        let mut sql = QueryBuilder::<Sqlite>::new("INSERT OR IGNORE INTO event_ref (ref, created_at, id) ");
        sql.push_values(chunk, |mut values, (to, created_at, id)| {
            values.push_bind(*to).push_bind(*created_at).push_bind(id.as_slice());
        });
        sql.build().persistent(is_kept(chunk.len())).execute(&mut *conn).await?;
    }
    Ok(())
}

/// The numbers of everything that `rows` name; new names get one.
async fn ref_numbers(conn: &mut SqliteConnection, rows: &[LedgerRow]) -> Result<BTreeMap<RefKey, i64>, Failure> {
    let values: BTreeMap<RefKey, &str> =
        rows.iter().flat_map(|row| row.refs.iter().map(|to| (codec::ref_key(to), to.value.as_str()))).collect();
    let keys: Vec<RefKey> = values.keys().copied().collect();
    let mut numbers = BTreeMap::new();
    for chunk in keys.chunks(ROWS_PER_STATEMENT) {
        numbers.extend(known_refs(conn, chunk).await?);
        let new: Vec<RefKey> = chunk.iter().filter(|key| !numbers.contains_key(*key)).copied().collect();
        if new.is_empty() {
            continue;
        }
        let is_kept = is_kept(new.len());
        let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO ref (tag, value_hash, value) ");
        sql.push_values(&new, |mut row, key| {
            row.push_bind(key.0).push_bind(key.1.as_slice()).push_bind(values[key].as_bytes());
        });
        sql.build().persistent(is_kept).execute(&mut *conn).await?;
        numbers.extend(known_refs(conn, &new).await?);
    }
    Ok(numbers)
}

async fn known_refs(conn: &mut SqliteConnection, keys: &[RefKey]) -> Result<Vec<(RefKey, i64)>, Failure> {
    let texts: Vec<String> = keys.iter().map(|(tag, hash)| format!("{tag}{}", codec::hex(hash))).collect();
    let digits: String = sqlx::query_scalar(NUMBERS_OF_REFS).bind(super::json(&texts)).fetch_one(conn).await?;
    let rows = digits.as_bytes().chunks(DIGITS_PER_ROW);
    rows.map(|row| number_of_ref(row).ok_or_else(|| super::unreadable("a reference"))).collect()
}

/// A reference and its number, as [`NUMBERS_OF_REFS`] writes them.
fn number_of_ref(digits: &[u8]) -> Option<(RefKey, i64)> {
    let (hash, rest) = std::str::from_utf8(digits).ok()?.split_at_checked(DIGITS_PER_ID)?;
    let (tag, number) = rest.split_at_checked(1)?;
    let key = (tag.parse().ok()?, EventId::from_hex(hash).ok()?.to_bytes());
    Some((key, i64::from_str_radix(number, 16).ok()?))
}

/// One page of a set, sorted by time, then id. Conditions of the filter beyond kinds, one tag, `since` and `until` are
/// passed over: a set that is too large costs bytes, one that is too small a download.
pub(super) async fn page(
    conn: &mut SqliteConnection,
    scope: &LedgerScope,
    after: Option<LedgerCursor>,
) -> Result<LedgerPage, Failure> {
    let Members { sql, members, apart } = members(conn, scope).await?;
    let since = scope.filter.since.map_or(0, codec::secs);
    let until = scope.filter.until.map_or(i64::MAX, codec::secs);
    let (after_at, after_id) = after.map_or((-1, Vec::new()), |at| (codec::secs(at.created_at), at.id.as_bytes().to_vec()));
    let rows = sqlx::query_scalar(sql).bind(members).bind(since.max(after_at)).bind(until).bind(after_at).bind(after_id);
    let rows = rows.bind(scope.at_home).bind(codec::size(ROWS_PER_PAGE)).bind(apart);
    let digits: String = rows.fetch_one(conn).await?;
    let mut rows = digits.as_bytes().chunks(DIGITS_PER_ROW).map(cursor).collect::<Result<Vec<_>, Failure>>()?;
    let is_last = rows.len() < ROWS_PER_PAGE;
    // An event that names two members of the set comes twice, side by side.
    rows.dedup();
    Ok(LedgerPage { rows, is_last })
}

fn cursor(digits: &[u8]) -> Result<LedgerCursor, Failure> {
    let read = || {
        let (at, id) = std::str::from_utf8(digits).ok()?.split_at_checked(16)?;
        Some(LedgerCursor { created_at: codec::timestamp(i64::from_str_radix(at, 16).ok()?), id: EventId::from_hex(id).ok()? })
    };
    read().ok_or_else(|| super::unreadable("a page of the ledger"))
}

/// Which statement reads a set, the numbers that it is made of, and those that are apart: of references, the kinds that count
/// (all, where it is empty); of kinds, the references of what is private.
struct Members {
    sql: &'static str,
    members: String,
    apart: String,
}

async fn members(conn: &mut SqliteConnection, scope: &LedgerScope) -> Result<Members, Failure> {
    let kinds: Vec<i64> = scope.filter.kinds.iter().flatten().map(|kind| i64::from(kind.as_u16())).collect();
    if let Some(keys) = codec::keys_of_scope(scope) {
        let members = super::json(&numbers_of(conn, &keys).await?);
        return Ok(Members { sql: PAGE_OF_REFS, members, apart: super::json(&kinds) });
    }
    if kinds.is_empty() {
        return Err(StateError::Store("a ledger set is named by kinds, authors or one tag".to_owned()).into());
    }
    let private: Vec<String> = sqlx::query_scalar(PRIVATE_REPOS).fetch_all(&mut *conn).await?;
    let private: Vec<RefKey> = private.iter().map(|addr| codec::key_of(RefTag::Own, addr)).collect();
    let apart = super::json(&numbers_of(conn, &private).await?);
    Ok(Members { sql: PAGE_OF_KINDS, members: super::json(&kinds), apart })
}

async fn numbers_of(conn: &mut SqliteConnection, keys: &[RefKey]) -> Result<Vec<i64>, Failure> {
    let mut numbers = Vec::new();
    for chunk in keys.chunks(ROWS_PER_STATEMENT) {
        numbers.extend(known_refs(conn, chunk).await?.into_iter().map(|(_, id)| id));
    }
    Ok(numbers)
}

/// Forgets what became of `ids`, unless home holds them.
pub(super) async fn forget(conn: &mut SqliteConnection, ids: &[Vec<u8>]) -> Result<(), Failure> {
    let ids: Vec<String> = ids.iter().map(|id| codec::hex(id)).collect();
    sqlx::query(FORGET).bind(super::json(&ids)).execute(conn).await?;
    Ok(())
}

/// Forgets what home has held in its purgatory since `until`, and has not served.
pub(super) async fn forget_held(conn: &mut SqliteConnection, until: i64) -> Result<(), Failure> {
    sqlx::query(FORGET_HELD).bind(until).execute(conn).await?;
    Ok(())
}

/// Forgets what was kept out by policy.
pub(super) async fn forget_declined(conn: &mut SqliteConnection) -> Result<(), Failure> {
    sqlx::query(FORGET_DECLINED).execute(conn).await?;
    Ok(())
}

/// Forgets what home's terms have kept out.
pub(super) async fn forget_home_terms(conn: &mut SqliteConnection) -> Result<(), Failure> {
    sqlx::query(FORGET_HOME_TERMS).execute(conn).await?;
    Ok(())
}

/// Forgets what was kept out for lying ahead, and does so no more.
pub(super) async fn forget_past(conn: &mut SqliteConnection, now: i64) -> Result<(), Failure> {
    sqlx::query(FORGET_PAST).bind(now).execute(conn).await?;
    Ok(())
}

/// The ids among `ids` that have a final outcome, in the order of the question.
pub(super) async fn known(conn: &mut SqliteConnection, ids: &[EventId]) -> Result<Vec<EventId>, Failure> {
    those_of(conn, KNOWN, ids).await
}

/// The ids among `ids` that home holds without serving them, in the order of the question.
pub(super) async fn held(conn: &mut SqliteConnection, ids: &[EventId]) -> Result<Vec<EventId>, Failure> {
    those_of(conn, HELD, ids).await
}

async fn those_of(conn: &mut SqliteConnection, sql: &'static str, ids: &[EventId]) -> Result<Vec<EventId>, Failure> {
    let mut known = BTreeSet::new();
    for chunk in ids.chunks(ROWS_PER_PAGE) {
        let texts: Vec<String> = chunk.iter().map(|id| id.to_hex()).collect();
        let found: String = sqlx::query_scalar(sql).bind(super::json(&texts)).fetch_one(&mut *conn).await?;
        known.extend(ids_of::<Vec<EventId>>(&found)?);
    }
    Ok(ids.iter().copied().filter(|id| known.contains(id)).collect())
}
