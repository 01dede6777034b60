//! The ledger: every event id with a final outcome, and the sets that negentropy is run against.

use std::collections::{BTreeMap, BTreeSet};

use model::{EventId, LedgerCursor, LedgerPage, LedgerRow, LedgerScope, RefTag, StateError, Timestamp};
use sqlx::PgConnection;

use super::codec::RefKey;
use super::{Failure, codec, named, text, waiting};
use crate::waits::is_a_disaster;

/// Rows of one page: about 200 kB in flight.
const ROWS_PER_PAGE: usize = 5000;

statements! {
    // 0 stored, 1 duplicate: what home was said to hold.
    LOST = "UPDATE event SET outcome = 99 WHERE id = ANY($1) AND outcome IN (0, 1)";
    NUMBERS_OF_REFS = "
        SELECT r.tag::bigint, r.value_hash, r.id FROM UNNEST($1::bigint[], $2::bytea[]) k (tag, value_hash)
        JOIN ref r ON r.tag = k.tag AND r.value_hash = k.value_hash";
    // Another report may name the same thing for the first time: who comes second waits, and looks again.
    ADD_REFS = "
        INSERT INTO ref (tag, value_hash, value)
        SELECT k.tag, k.value_hash, k.value FROM UNNEST($1::bigint[], $2::bytea[], $3::bytea[]) k (tag, value_hash, value)
        ORDER BY k.tag, k.value_hash ON CONFLICT DO NOTHING";
    // On a conflict the first upstream, batch, moment and way stay. `stored` (0) wins over anything; what was not the last word, held (3)
    // and needs-parent (5), gives way to any later one, and so does what was forgotten (99).
    WRITE = "
        INSERT INTO event (id, created_at, kind, outcome, reason, upstream, batch, seen_at, via, first_at)
        SELECT n.id, n.created_at, n.kind, n.outcome, n.reason, n.upstream, n.batch, $8, n.via, $8
        FROM UNNEST($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[], $9::bigint[])
            n (id, created_at, kind, outcome, reason, upstream, batch, via)
        ORDER BY n.id
        ON CONFLICT (id) DO UPDATE SET outcome = excluded.outcome, reason = excluded.reason, seen_at = excluded.seen_at
        WHERE (excluded.outcome = 0 AND event.outcome <> 0)
           OR (event.outcome IN (3, 5, 99) AND excluded.outcome <> event.outcome)
        RETURNING id, xmax = 0";
    // Of events that this transaction has written for the first time, so that nobody else can have written these: looking for a
    // conflict would cost another record of the log for each.
    WRITE_NEW_REFS = "
        INSERT INTO event_ref (ref, created_at, id)
        SELECT n.ref, n.created_at, n.id FROM UNNEST($1::bigint[], $2::bigint[], $3::bytea[]) n (ref, created_at, id)";
    WRITE_REFS = "
        INSERT INTO event_ref (ref, created_at, id)
        SELECT n.ref, n.created_at, n.id FROM UNNEST($1::bigint[], $2::bigint[], $3::bytea[]) n (ref, created_at, id)
        ON CONFLICT DO NOTHING";
    // 0 stored, 1 duplicate: what home serves.
    PAGE_OF_KINDS = "
        SELECT created_at, id FROM event
        WHERE kind = ANY($1) AND created_at BETWEEN $2 AND $3 AND (created_at, id) > ($4, $5)
          AND outcome <> 99 AND (NOT $6 OR outcome IN (0, 1))
          AND ($6 OR NOT EXISTS (
            SELECT 1 FROM event_ref o WHERE o.ref = ANY($8) AND o.created_at = event.created_at AND o.id = event.id))
        ORDER BY created_at, id LIMIT $7";
    PAGE_OF_REFS = "
        SELECT r.created_at, r.id FROM event_ref r
        WHERE r.ref = ANY($1) AND r.created_at BETWEEN $2 AND $3 AND (r.created_at, r.id) > ($4, $5)
          AND EXISTS (SELECT 1 FROM event e WHERE e.id = r.id AND e.outcome <> 99 AND (NOT $6 OR e.outcome IN (0, 1))
                      AND (cardinality($8::bigint[]) = 0 OR e.kind = ANY($8)))
        ORDER BY r.created_at, r.id LIMIT $7";
    // GRASP-08: an exchange would show their ids.
    PRIVATE_REPOS = "SELECT i.key FROM repo r JOIN item i ON i.id = r.item WHERE r.private";
    KNOWN = "SELECT id FROM event WHERE id = ANY($1) AND outcome <> 99";
    HELD = "SELECT id FROM event WHERE id = ANY($1) AND outcome = 3";
    AT_HOME = "SELECT coalesce(sum(n), 0)::bigint FROM outcome_count WHERE outcome IN (0, 1)";
    FORGET = "UPDATE event SET outcome = 99 WHERE id = ANY($1) AND outcome <> 0";
    // Held (3): home drops it when nothing comes of it, and is asked again later.
    FORGET_HELD = "UPDATE event SET outcome = 99 WHERE outcome = 3 AND seen_at <= $1";
    // What the operator's word and home's policy have kept out: 15 blocked, 16 declined.
    FORGET_DECLINED = "UPDATE event SET outcome = 99 WHERE outcome IN (15, 16)";
    // What home's terms have kept out: 9 future, 10 too old, 11 too large, 16 declined, 17 expiring.
    FORGET_HOME_TERMS = "UPDATE event SET outcome = 99 WHERE outcome IN (9, 10, 11, 16, 17)";
    // The list is that of the index.
    FORGET_PAST = "
        UPDATE event SET outcome = 99 WHERE outcome IN (9, 10, 11, 16, 17) AND outcome = 9 AND created_at <= $1";
}

/// What home was said to hold, and does not: it is asked for again by whoever still has it.
pub(super) async fn lost(conn: &mut PgConnection, ids: &[EventId], now: i64) -> Result<(), Failure> {
    let ids: Vec<Vec<u8>> = ids.iter().map(|id| id.as_bytes().to_vec()).collect();
    let held: i64 = sqlx::query_scalar(AT_HOME).fetch_one(&mut *conn).await?;
    let lost = sqlx::query(LOST).bind(ids).execute(&mut *conn).await?.rows_affected();
    if is_a_disaster(lost, held) {
        waiting::hurry(conn, now).await?;
    }
    Ok(())
}

/// The numbers of references. A reference keeps its number for ever.
pub(super) type Refs = BTreeMap<RefKey, i64>;

/// Takes rows into the ledger. Rows that it holds already change nothing but their outcome. `refs`: what they name.
///
/// A report that says two things about one event is applied in its order: the database takes a row once in a statement.
pub(super) async fn write(conn: &mut PgConnection, rows: &[LedgerRow], refs: &Refs, now: i64) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    let (mut changed, mut new) = (BTreeSet::new(), BTreeSet::new());
    let mut left: Vec<&LedgerRow> = rows.iter().collect();
    while !left.is_empty() {
        let mut seen = BTreeSet::new();
        let (once, again): (Vec<&LedgerRow>, Vec<&LedgerRow>) = left.into_iter().partition(|row| seen.insert(row.id));
        for (id, is_new) in write_once(conn, &once, now).await? {
            changed.insert(id);
            if is_new {
                new.insert(id);
            }
        }
        left = again;
    }
    let (first, again): (Vec<&LedgerRow>, Vec<&LedgerRow>) = rows.iter().partition(|row| new.contains(&row.id));
    write_refs(conn, WRITE_NEW_REFS, &first, refs).await?;
    write_refs(conn, WRITE_REFS, &again, refs).await?;
    // What is said again is no news to those who wait.
    let news: Vec<&LedgerRow> = rows.iter().filter(|row| changed.contains(&row.id) && row.outcome.is_at_home()).collect();
    named::note(conn, &news, now).await?;
    waiting::arrived(conn, news.iter().map(|row| row.id.to_hex())).await
}

/// Answers with the rows that are new, or say something else than before, and whether they are new.
async fn write_once(conn: &mut PgConnection, rows: &[&LedgerRow], now: i64) -> Result<Vec<(EventId, bool)>, Failure> {
    let ids: Vec<Vec<u8>> = rows.iter().map(|row| row.id.as_bytes().to_vec()).collect();
    let created: Vec<i64> = rows.iter().map(|row| codec::secs(row.created_at)).collect();
    let kinds: Vec<i64> = rows.iter().map(|row| i64::from(row.kind.as_u16())).collect();
    let outcomes: Vec<i64> = rows.iter().map(|row| codec::outcome_code(row.outcome)).collect();
    let reasons: Vec<Option<String>> = rows.iter().map(|row| row.reason.as_deref().map(text)).collect();
    let upstreams: Vec<i64> = rows.iter().map(|row| row.upstream.0).collect();
    let batches: Vec<Option<i64>> = rows.iter().map(|row| row.batch.map(|batch| batch.0)).collect();
    let ways: Vec<Option<i64>> = rows.iter().map(|row| row.via.map(codec::via_code)).collect();
    let write = sqlx::query_as(WRITE).bind(ids).bind(created).bind(kinds).bind(outcomes);
    let written = write.bind(reasons).bind(upstreams).bind(batches).bind(now).bind(ways);
    let written: Vec<(Vec<u8>, bool)> = written.fetch_all(conn).await?;
    written.iter().map(|(id, is_new)| Ok((codec::event_id(id)?, *is_new))).collect()
}

/// In the order of their key, as everybody writes them.
async fn write_refs(conn: &mut PgConnection, sql: &'static str, rows: &[&LedgerRow], refs: &Refs) -> Result<(), Failure> {
    let named = rows.iter().flat_map(|row| row.refs.iter().map(|to| (refs[&codec::ref_key(to)], row.created_at, row.id)));
    let named: BTreeSet<(i64, Timestamp, EventId)> = named.collect();
    if named.is_empty() {
        return Ok(());
    }
    let tos: Vec<i64> = named.iter().map(|(to, ..)| *to).collect();
    let created: Vec<i64> = named.iter().map(|(_, at, _)| codec::secs(*at)).collect();
    let ids: Vec<Vec<u8>> = named.iter().map(|(.., id)| id.as_bytes().to_vec()).collect();
    sqlx::query(sql).bind(tos).bind(created).bind(ids).execute(conn).await?;
    Ok(())
}

/// The numbers of everything that `rows` name; new names get one, which is theirs whatever becomes of the rows. Outside of the
/// transaction that writes the rows: who names the same thing for the first time waits for the end of the other's transaction.
pub(super) async fn ref_numbers(conn: &mut PgConnection, rows: &[LedgerRow]) -> Result<Refs, Failure> {
    let values: BTreeMap<RefKey, &str> =
        rows.iter().flat_map(|row| row.refs.iter().map(|to| (codec::ref_key(to), to.value.as_str()))).collect();
    let mut numbers = known_refs(conn, values.keys()).await?;
    let new: Vec<RefKey> = values.keys().filter(|key| !numbers.contains_key(*key)).copied().collect();
    if !new.is_empty() {
        let (tags, hashes) = columns(new.iter());
        let texts: Vec<&[u8]> = new.iter().map(|key| values[key].as_bytes()).collect();
        sqlx::query(ADD_REFS).bind(tags).bind(hashes).bind(texts).execute(&mut *conn).await?;
        numbers.extend(known_refs(conn, new.iter()).await?);
    }
    Ok(numbers)
}

fn columns<'a>(keys: impl Iterator<Item = &'a RefKey>) -> (Vec<i64>, Vec<Vec<u8>>) {
    keys.map(|(tag, hash)| (*tag, hash.to_vec())).unzip()
}

async fn known_refs<'a>(conn: &mut PgConnection, keys: impl Iterator<Item = &'a RefKey> + Send) -> Result<Refs, Failure> {
    let (tags, hashes) = columns(keys);
    let rows: Vec<(i64, Vec<u8>, i64)> = sqlx::query_as(NUMBERS_OF_REFS).bind(tags).bind(hashes).fetch_all(conn).await?;
    let keyed = |(tag, hash, id): (i64, Vec<u8>, i64)| {
        let hash = hash.try_into().map_err(|_| super::unreadable("a reference"))?;
        Ok(((tag, hash), id))
    };
    rows.into_iter().map(keyed).collect()
}

/// One page of a set, sorted by time, then id. Conditions of the filter beyond kinds, one tag, `since` and `until` are
/// passed over: a set that is too large costs bytes, one that is too small a download.
pub(super) async fn page(
    conn: &mut PgConnection,
    scope: &LedgerScope,
    after: Option<LedgerCursor>,
) -> Result<LedgerPage, Failure> {
    let Members { sql, members, apart } = members(conn, scope).await?;
    let since = scope.filter.since.map_or(0, codec::secs);
    let until = scope.filter.until.map_or(i64::MAX, codec::secs);
    let (after_at, after_id) = after.map_or((-1, Vec::new()), |at| (codec::secs(at.created_at), at.id.as_bytes().to_vec()));
    let rows = sqlx::query_as(sql).bind(members).bind(since.max(after_at)).bind(until).bind(after_at).bind(after_id);
    let rows = rows.bind(scope.at_home).bind(codec::size(ROWS_PER_PAGE)).bind(apart);
    let rows: Vec<(i64, Vec<u8>)> = rows.fetch_all(conn).await?;
    let is_last = rows.len() < ROWS_PER_PAGE;
    let cursor = |(at, id): (i64, Vec<u8>)| Ok(LedgerCursor { created_at: codec::timestamp(at), id: codec::event_id(&id)? });
    let mut rows = rows.into_iter().map(cursor).collect::<Result<Vec<_>, Failure>>()?;
    // An event that names two members of the set comes twice, side by side.
    rows.dedup();
    Ok(LedgerPage { rows, is_last })
}

/// Which statement reads a set, the numbers that it is made of, and those that are apart: of references, the kinds that count
/// (all, where it is empty); of kinds, the references of what is private.
struct Members {
    sql: &'static str,
    members: Vec<i64>,
    apart: Vec<i64>,
}

async fn members(conn: &mut PgConnection, scope: &LedgerScope) -> Result<Members, Failure> {
    let kinds: Vec<i64> = scope.filter.kinds.iter().flatten().map(|kind| i64::from(kind.as_u16())).collect();
    if let Some(keys) = codec::keys_of_scope(scope) {
        let members = known_refs(conn, keys.iter()).await?.into_values().collect();
        return Ok(Members { sql: PAGE_OF_REFS, members, apart: kinds });
    }
    if kinds.is_empty() {
        return Err(StateError::Store("a ledger set is named by kinds, authors or one tag".to_owned()).into());
    }
    let private: Vec<Vec<u8>> = sqlx::query_scalar(PRIVATE_REPOS).fetch_all(&mut *conn).await?;
    let own = |addr: &Vec<u8>| codec::key_of(RefTag::Own, &String::from_utf8_lossy(addr));
    let private: Vec<RefKey> = private.iter().map(own).collect();
    let apart = known_refs(conn, private.iter()).await?.into_values().collect();
    Ok(Members { sql: PAGE_OF_KINDS, members: kinds, apart })
}

/// Forgets what became of `ids`, unless home holds them.
pub(super) async fn forget(conn: &mut PgConnection, ids: &[Vec<u8>]) -> Result<(), Failure> {
    sqlx::query(FORGET).bind(ids).execute(conn).await?;
    Ok(())
}

/// Forgets what home has held in its purgatory since `until`, and has not served.
pub(super) async fn forget_held(conn: &mut PgConnection, until: i64) -> Result<(), Failure> {
    sqlx::query(FORGET_HELD).bind(until).execute(conn).await?;
    Ok(())
}

/// Forgets what was kept out by policy.
pub(super) async fn forget_declined(conn: &mut PgConnection) -> Result<(), Failure> {
    sqlx::query(FORGET_DECLINED).execute(conn).await?;
    Ok(())
}

/// Forgets what home's terms have kept out.
pub(super) async fn forget_home_terms(conn: &mut PgConnection) -> Result<(), Failure> {
    sqlx::query(FORGET_HOME_TERMS).execute(conn).await?;
    Ok(())
}

/// Forgets what was kept out for lying ahead, and does so no more.
pub(super) async fn forget_past(conn: &mut PgConnection, now: i64) -> Result<(), Failure> {
    sqlx::query(FORGET_PAST).bind(now).execute(conn).await?;
    Ok(())
}

/// The ids among `ids` that have a final outcome, in the order of the question.
pub(super) async fn known(conn: &mut PgConnection, ids: &[EventId]) -> Result<Vec<EventId>, Failure> {
    those_of(conn, KNOWN, ids).await
}

/// The ids among `ids` that home holds without serving them, in the order of the question.
pub(super) async fn held(conn: &mut PgConnection, ids: &[EventId]) -> Result<Vec<EventId>, Failure> {
    those_of(conn, HELD, ids).await
}

async fn those_of(conn: &mut PgConnection, sql: &'static str, ids: &[EventId]) -> Result<Vec<EventId>, Failure> {
    let asked: Vec<Vec<u8>> = ids.iter().map(|id| id.as_bytes().to_vec()).collect();
    let found: Vec<Vec<u8>> = sqlx::query_scalar(sql).bind(asked).fetch_all(conn).await?;
    let known = found.iter().map(|id| codec::event_id(id)).collect::<Result<BTreeSet<EventId>, Failure>>()?;
    Ok(ids.iter().copied().filter(|id| known.contains(id)).collect())
}
