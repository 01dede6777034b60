//! What is kept from home for good: tombstones, and private repos.

use std::collections::BTreeSet;

use model::{Bar, Discovery, EventId, RelayUrl, Tombstone};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::item::ROWS_PER_STATEMENT;
use super::{Failure, codec};
use crate::buried::{self, OfIdentifier, Version};

statements! {
    TOMBSTONES = "
        SELECT hex(t.key), t.until FROM tombstone t WHERE t.key IN (SELECT unhex(value) FROM json_each(?1))";
    PRIVATE = "
        SELECT i.key FROM item i JOIN repo r ON r.item = i.id AND r.private = 1
        WHERE i.key IN (SELECT value FROM json_each(?1))";
    // 13: deleted. What home was said to hold is gone with its author's word (5: author), whatever home says later.
    BURY_EVENTS = "
        UPDATE event SET outcome = 13, reason = NULL
        WHERE outcome IN (0, 1) AND kind <> 5 AND id IN (
            SELECT v.id FROM json_each(?1) e JOIN event v ON v.id = unhex(e.value ->> 0)
            JOIN ref f ON f.tag = 5 AND f.value_hash = unhex(e.value ->> 1)
            JOIN event_ref x ON x.ref = f.id AND x.created_at = v.created_at AND x.id = v.id)";
    // 6: the repo that an announcement or a state is of.
    BURY_VERSIONS = "
        UPDATE event SET outcome = 13, reason = NULL
        WHERE outcome IN (0, 1) AND id IN (
            SELECT v.id FROM json_each(?1) e JOIN ref f ON f.tag = 6 AND f.value_hash = unhex(e.value ->> 0)
            JOIN event_ref x ON x.ref = f.id AND x.created_at <= e.value ->> 2
            JOIN event v ON v.id = x.id AND v.kind = e.value ->> 1)";
    // 12: vanished. A request to vanish (62) stays.
    BURY_AUTHORS = "
        UPDATE event SET outcome = 12, reason = NULL
        WHERE outcome IN (0, 1) AND kind <> 62 AND id IN (
            SELECT x.id FROM json_each(?1) e JOIN ref f ON f.tag = 5 AND f.value_hash = unhex(e.value ->> 0)
            JOIN event_ref x ON x.ref = f.id AND x.created_at <= e.value ->> 1)";
    ANNOUNCED_BY_EVENTS = "
        SELECT i.key, r.event, r.created_at FROM repo r JOIN item i ON i.id = r.item
        WHERE r.event IN (SELECT unhex(value) FROM json_each(?1))";
    ANNOUNCED_BY_AUTHORS = "
        SELECT i.key, r.event, r.created_at FROM json_each(?1) e
        JOIN item i ON i.key > '30617:' || e.value || ':' AND i.key < '30617:' || e.value || ';'
        JOIN repo r ON r.item = i.id AND r.event IS NOT NULL";
    OF_IDENTIFIERS = "
        SELECT r.item, i.key, r.maintainers, r.says_private, r.private, hex(r.identifier) FROM repo r JOIN item i ON i.id = r.item
        WHERE r.event IS NOT NULL AND r.identifier IN (SELECT unhex(value) FROM json_each(?1)) ORDER BY r.item";
    SET_PRIVATE = "
        UPDATE repo SET private = (SELECT e.value ->> 1 FROM json_each(?1) e WHERE e.value ->> 0 = repo.item)
        WHERE item IN (SELECT e.value ->> 0 FROM json_each(?1) e)";
    MARK_PEERS = "
        UPDATE relay SET private_peer = url IN (SELECT value FROM json_each(?1))
        WHERE private_peer <> (url IN (SELECT value FROM json_each(?1)))";
}

/// Which of `keys` bar events from home.
pub(super) async fn bars(conn: &mut SqliteConnection, keys: &[String]) -> Result<Vec<Bar>, Failure> {
    let mut bars = Vec::new();
    for chunk in keys.chunks(ROWS_PER_STATEMENT) {
        let hashes: Vec<String> = chunk.iter().map(|key| codec::hex(&codec::hash(key))).collect();
        let found = sqlx::query_as(TOMBSTONES).bind(super::json(&hashes));
        let found: Vec<(String, Option<i64>)> = found.fetch_all(&mut *conn).await?;
        bars.extend(buried::barred(chunk, &found));
        let repos: Vec<String> = chunk.iter().filter_map(|key| key.strip_prefix("private ")).map(str::to_owned).collect();
        let private: Vec<String> = sqlx::query_scalar(PRIVATE).bind(super::json(&repos)).fetch_all(&mut *conn).await?;
        bars.extend(private.into_iter().map(|addr| Bar { key: format!("private {addr}"), until: None }));
    }
    Ok(bars)
}

/// Keeps the tombstones of a discovery. Answers with the discovery as it counts.
pub(super) async fn bury(conn: &mut SqliteConnection, discovery: &Discovery) -> Result<Discovery, Failure> {
    for chunk in discovery.tombstones.chunks(ROWS_PER_STATEMENT) {
        write(conn, chunk).await?;
        mark(conn, chunk).await?;
    }
    let (bars, versions) = (bars(conn, &buried::keys_of_repos(discovery)).await?, versions(conn, discovery).await?);
    Ok(buried::counted(discovery, &bars, &versions))
}

async fn write(conn: &mut SqliteConnection, tombstones: &[Tombstone]) -> Result<(), Failure> {
    let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO tombstone (key, until) ");
    sql.push_values(tombstones, |mut row, tombstone| {
        row.push_bind(codec::hash(&tombstone.key()).to_vec()).push_bind(tombstone.until().map(codec::secs));
    });
    sql.push(" ON CONFLICT (key) DO UPDATE SET until = max(until, excluded.until)").build().execute(conn).await?;
    Ok(())
}

/// What the ledger says to be at home and is not any more: it is not asked for again.
async fn mark(conn: &mut SqliteConnection, tombstones: &[Tombstone]) -> Result<(), Failure> {
    let (mut events, mut versions, mut authors) = (Vec::new(), Vec::new(), Vec::new());
    for tombstone in tombstones {
        match tombstone {
            Tombstone::Event { id, author } => {
                events.push(serde_json::json!([id.to_hex(), hashed(&author.to_hex())]));
            }
            Tombstone::Address { kind, until, .. } => {
                let own = buried::own_of(tombstone).map(|own| hashed(&own));
                versions.extend(own.map(|own| serde_json::json!([own, kind.as_u16(), codec::secs(*until)])));
            }
            Tombstone::Vanished { author, until } => {
                authors.push(serde_json::json!([hashed(&author.to_hex()), codec::secs(*until)]));
            }
        }
    }
    for (sql, rows) in [(BURY_EVENTS, events), (BURY_VERSIONS, versions), (BURY_AUTHORS, authors)] {
        if !rows.is_empty() {
            sqlx::query(sql).bind(super::json(&rows)).execute(&mut *conn).await?;
        }
    }
    Ok(())
}

fn hashed(text: &str) -> String {
    codec::hex(&codec::hash(text))
}

/// The announcements that the tombstones of a discovery may take.
async fn versions(conn: &mut SqliteConnection, discovery: &Discovery) -> Result<Vec<Version>, Failure> {
    let mut versions = Vec::new();
    for (sql, names) in [
        (ANNOUNCED_BY_EVENTS, buried::ids_of(&discovery.tombstones).iter().map(EventId::to_hex).collect()),
        (ANNOUNCED_BY_AUTHORS, buried::vanished_of(&discovery.tombstones)),
    ] {
        for chunk in names.chunks(ROWS_PER_STATEMENT) {
            let found: Vec<(String, Vec<u8>, i64)> = sqlx::query_as(sql).bind(super::json(chunk)).fetch_all(&mut *conn).await?;
            for (key, event, at) in found {
                versions.push(buried::version(&key, &event, at)?);
            }
        }
    }
    Ok(versions)
}

/// Works out which repos of these identifiers are private now; answers with the items for which that is new.
pub(super) async fn judge_private(
    conn: &mut SqliteConnection,
    identifiers: BTreeSet<[u8; 32]>,
) -> Result<BTreeSet<i64>, Failure> {
    let hashes: Vec<String> = identifiers.iter().map(|hash| codec::hex(hash)).collect();
    let mut changes = Vec::new();
    for chunk in hashes.chunks(ROWS_PER_STATEMENT) {
        let rows: Vec<(i64, String, String, bool, bool, String)> =
            sqlx::query_as(OF_IDENTIFIERS).bind(super::json(chunk)).fetch_all(&mut *conn).await?;
        let mut repos: std::collections::BTreeMap<String, Vec<OfIdentifier>> = std::collections::BTreeMap::new();
        for (item, key, maintainers, says_private, is_private, identifier) in rows {
            let of = buried::of_identifier(item, &key, &maintainers, (says_private, is_private))?;
            repos.entry(identifier).or_default().push(of);
        }
        changes.extend(repos.values().flat_map(|same| buried::private_changes(same)));
    }
    if !changes.is_empty() {
        let rows: Vec<Vec<i64>> = changes.iter().map(|(item, is_private)| vec![*item, i64::from(*is_private)]).collect();
        sqlx::query(SET_PRIVATE).bind(super::json(&rows)).execute(conn).await?;
    }
    Ok(changes.into_iter().map(|(item, _)| item).collect())
}

/// Says whether private repos are shared with other relays than before.
pub(super) async fn mark_peers(conn: &mut SqliteConnection, peers: &[RelayUrl]) -> Result<bool, Failure> {
    let urls: Vec<&str> = peers.iter().map(RelayUrl::as_str).collect();
    Ok(sqlx::query(MARK_PEERS).bind(super::json(&urls)).execute(conn).await?.rows_affected() > 0)
}

/// Ids as `unhex` reads them.
pub(super) fn hex_ids<'a>(ids: impl IntoIterator<Item = &'a EventId>) -> String {
    super::json(&ids.into_iter().map(EventId::to_hex).collect::<Vec<String>>())
}
