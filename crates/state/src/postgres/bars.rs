//! What is kept from home for good: tombstones, and private repos.

use std::collections::{BTreeMap, BTreeSet};

use model::{Bar, Discovery, RelayUrl, Tombstone};
use sqlx::PgConnection;

use super::{Failure, codec};
use crate::buried::{self, OfIdentifier, Version};

statements! {
    TOMBSTONES = "SELECT encode(key, 'hex'), until FROM tombstone WHERE key = ANY($1)";
    PRIVATE = "
        SELECT i.key FROM item i JOIN repo r ON r.item = i.id AND r.private WHERE i.key_hash = ANY($1)";
    WRITE = "
        INSERT INTO tombstone (key, until)
        SELECT n.key, max(n.until) FROM UNNEST($1::bytea[], $2::bigint[]) n (key, until) GROUP BY n.key ORDER BY n.key
        ON CONFLICT (key) DO UPDATE SET until = greatest(tombstone.until, excluded.until)";
    // 13: deleted. What home was said to hold is gone with its author's word (5: author), whatever home says later.
    BURY_EVENTS = "
        UPDATE event SET outcome = 13, reason = NULL FROM (
            SELECT v.id FROM UNNEST($1::bytea[], $2::bytea[]) n (id, author) JOIN event v ON v.id = n.id
            JOIN ref f ON f.tag = 5 AND f.value_hash = n.author
            JOIN event_ref x ON x.ref = f.id AND x.created_at = v.created_at AND x.id = v.id
            WHERE v.outcome IN (0, 1) AND v.kind <> 5 ORDER BY v.id FOR UPDATE OF v) gone
        WHERE event.id = gone.id";
    // 6: the repo that an announcement or a state is of.
    BURY_VERSIONS = "
        UPDATE event SET outcome = 13, reason = NULL FROM (
            SELECT v.id FROM UNNEST($1::bytea[], $2::bigint[], $3::bigint[]) n (own, kind, until)
            JOIN ref f ON f.tag = 6 AND f.value_hash = n.own
            JOIN event_ref x ON x.ref = f.id AND x.created_at <= n.until
            JOIN event v ON v.id = x.id AND v.kind = n.kind
            WHERE v.outcome IN (0, 1) ORDER BY v.id FOR UPDATE OF v) gone
        WHERE event.id = gone.id";
    // 12: vanished. A request to vanish (62) stays.
    BURY_AUTHORS = "
        UPDATE event SET outcome = 12, reason = NULL FROM (
            SELECT v.id FROM UNNEST($1::bytea[], $2::bigint[]) n (author, until)
            JOIN ref f ON f.tag = 5 AND f.value_hash = n.author
            JOIN event_ref x ON x.ref = f.id AND x.created_at <= n.until
            JOIN event v ON v.id = x.id
            WHERE v.outcome IN (0, 1) AND v.kind <> 62 ORDER BY v.id FOR UPDATE OF v) gone
        WHERE event.id = gone.id";
    ANNOUNCED_BY_EVENTS = "
        SELECT i.key, r.event, r.created_at FROM repo r JOIN item i ON i.id = r.item WHERE r.event = ANY($1)";
    // Seventy bytes: `30617:`, and the author in hex.
    ANNOUNCED_BY_AUTHORS = "
        SELECT i.key, r.event, r.created_at FROM repo r JOIN item i ON i.id = r.item
        WHERE r.event IS NOT NULL AND substring(i.key FROM 1 FOR 70) = ANY($1)";
    OF_IDENTIFIERS = "
        SELECT r.item, i.key, r.maintainers, r.says_private, r.private, r.identifier FROM repo r JOIN item i ON i.id = r.item
        WHERE r.event IS NOT NULL AND r.identifier = ANY($1) ORDER BY r.item";
    SET_PRIVATE = "
        UPDATE repo SET private = n.private FROM UNNEST($1::bigint[], $2::boolean[]) n (item, private)
        WHERE repo.item = n.item";
    MARK_PEERS = "
        UPDATE relay SET private_peer = url_hash = ANY($1) WHERE private_peer <> (url_hash = ANY($1))";
}

/// Which of `keys` bar events from home.
pub(super) async fn bars(conn: &mut PgConnection, keys: &[String]) -> Result<Vec<Bar>, Failure> {
    let hashes: Vec<Vec<u8>> = keys.iter().map(|key| codec::hash(key).to_vec()).collect();
    let found: Vec<(String, Option<i64>)> = sqlx::query_as(TOMBSTONES).bind(hashes).fetch_all(&mut *conn).await?;
    let mut bars = buried::barred(keys, &found);
    let repos = keys.iter().filter_map(|key| key.strip_prefix("private "));
    let repos: Vec<Vec<u8>> = repos.map(|addr| codec::hash(addr).to_vec()).collect();
    if !repos.is_empty() {
        let private: Vec<Vec<u8>> = sqlx::query_scalar(PRIVATE).bind(repos).fetch_all(conn).await?;
        let key = |addr: &Vec<u8>| format!("private {}", String::from_utf8_lossy(addr));
        bars.extend(private.iter().map(|addr| Bar { key: key(addr), until: None }));
    }
    Ok(bars)
}

/// Keeps the tombstones of a discovery. Answers with the discovery as it counts.
pub(super) async fn bury(conn: &mut PgConnection, discovery: &Discovery) -> Result<Discovery, Failure> {
    if !discovery.tombstones.is_empty() {
        let keys: Vec<Vec<u8>> = discovery.tombstones.iter().map(|one| codec::hash(&one.key()).to_vec()).collect();
        let until: Vec<Option<i64>> = discovery.tombstones.iter().map(|one| one.until().map(codec::secs)).collect();
        sqlx::query(WRITE).bind(keys).bind(until).execute(&mut *conn).await?;
        mark(conn, &discovery.tombstones).await?;
    }
    let bars = bars(conn, &buried::keys_of_repos(discovery)).await?;
    let versions = versions(conn, discovery).await?;
    Ok(buried::counted(discovery, &bars, &versions))
}

/// What the ledger says to be at home and is not any more: it is not asked for again.
async fn mark(conn: &mut PgConnection, tombstones: &[Tombstone]) -> Result<(), Failure> {
    let (mut ids, mut id_authors) = (Vec::new(), Vec::new());
    let (mut owns, mut kinds, mut own_untils) = (Vec::new(), Vec::new(), Vec::new());
    let (mut authors, mut untils) = (Vec::new(), Vec::new());
    for tombstone in tombstones {
        match tombstone {
            Tombstone::Event { id, author } => {
                ids.push(id.as_bytes().to_vec());
                id_authors.push(codec::hash(&author.to_hex()).to_vec());
            }
            Tombstone::Address { kind, until, .. } => {
                if let Some(own) = buried::own_of(tombstone) {
                    owns.push(codec::hash(&own).to_vec());
                    kinds.push(i64::from(kind.as_u16()));
                    own_untils.push(codec::secs(*until));
                }
            }
            Tombstone::Vanished { author, until } => {
                authors.push(codec::hash(&author.to_hex()).to_vec());
                untils.push(codec::secs(*until));
            }
        }
    }
    sqlx::query(BURY_EVENTS).bind(ids).bind(id_authors).execute(&mut *conn).await?;
    sqlx::query(BURY_VERSIONS).bind(owns).bind(kinds).bind(own_untils).execute(&mut *conn).await?;
    sqlx::query(BURY_AUTHORS).bind(authors).bind(untils).execute(conn).await?;
    Ok(())
}

/// The announcements that the tombstones of a discovery may take.
async fn versions(conn: &mut PgConnection, discovery: &Discovery) -> Result<Vec<Version>, Failure> {
    if discovery.tombstones.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Vec<u8>> = buried::ids_of(&discovery.tombstones).iter().map(|id| id.as_bytes().to_vec()).collect();
    let vanished = buried::vanished_of(&discovery.tombstones);
    let prefixes: Vec<Vec<u8>> = vanished.iter().map(|author| format!("30617:{author}").into_bytes()).collect();
    let mut rows: Vec<(Vec<u8>, Vec<u8>, i64)> = sqlx::query_as(ANNOUNCED_BY_EVENTS).bind(ids).fetch_all(&mut *conn).await?;
    rows.extend(sqlx::query_as(ANNOUNCED_BY_AUTHORS).bind(prefixes).fetch_all(conn).await?);
    rows.iter().map(|(key, event, at)| buried::version(&String::from_utf8_lossy(key), event, *at)).collect()
}

/// A repo with its key, its maintainers, whether it says that it is private, whether it is, and its identifier.
type IdentifierRow = (i64, Vec<u8>, String, bool, bool, Vec<u8>);

/// Works out which repos of these identifiers are private now; answers with the items for which that is new.
pub(super) async fn judge_private(conn: &mut PgConnection, identifiers: BTreeSet<[u8; 32]>) -> Result<BTreeSet<i64>, Failure> {
    let hashes: Vec<Vec<u8>> = identifiers.iter().map(|hash| hash.to_vec()).collect();
    let rows: Vec<IdentifierRow> = sqlx::query_as(OF_IDENTIFIERS).bind(hashes).fetch_all(&mut *conn).await?;
    let mut repos: BTreeMap<Vec<u8>, Vec<OfIdentifier>> = BTreeMap::new();
    for (item, key, maintainers, says_private, is_private, identifier) in rows {
        let of = buried::of_identifier(item, &String::from_utf8_lossy(&key), &maintainers, (says_private, is_private))?;
        repos.entry(identifier).or_default().push(of);
    }
    let changes: Vec<(i64, bool)> = repos.values().flat_map(|same| buried::private_changes(same)).collect();
    let (items, private): (Vec<i64>, Vec<bool>) = changes.into_iter().unzip();
    if !items.is_empty() {
        sqlx::query(SET_PRIVATE).bind(&items).bind(private).execute(conn).await?;
    }
    Ok(items.into_iter().collect())
}

/// Says whether private repos are shared with other relays than before.
pub(super) async fn mark_peers(conn: &mut PgConnection, peers: &[RelayUrl]) -> Result<bool, Failure> {
    let urls: Vec<Vec<u8>> = peers.iter().map(|url| codec::hash(url.as_str()).to_vec()).collect();
    Ok(sqlx::query(MARK_PEERS).bind(urls).execute(conn).await?.rows_affected() > 0)
}
