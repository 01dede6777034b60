//! Discoveries become repos, relays and roots, and these become coverage (S2, S3). The cost follows what changed.

use std::collections::{BTreeMap, BTreeSet};

use model::{Discovery, EventId, Item, RelayUrl, RepoAddr, RepoSeen, RootSeen, Timestamp, UpstreamId};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::item::{self, ROWS_PER_STATEMENT};
use super::{Failure, codec, coverage, relay};
use crate::Settings;

statements! {
    REPOS = "
        SELECT item, event, created_at, removed_until FROM repo WHERE item IN (SELECT value FROM json_each(?1))";
    RELAYS_OF_REPOS = "SELECT repo, relay FROM repo_relay WHERE repo IN (SELECT value FROM json_each(?1))";
    UNLIST = "
        DELETE FROM repo_relay WHERE (repo, relay) IN (SELECT e.value ->> 0, e.value ->> 1 FROM json_each(?1) e)";
    REPOS_OF_ROOTS = "SELECT root, repo FROM root_repo WHERE root IN (SELECT value FROM json_each(?1))";
    ROOTS_OF_REPOS = "SELECT DISTINCT root FROM root_repo WHERE repo IN (SELECT value FROM json_each(?1))";
}

/// Numbers of items by key.
type Numbers = BTreeMap<String, i64>;

/// What is stored of a repo.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Stored {
    version: Option<(Timestamp, EventId)>,
    removed_until: Option<Timestamp>,
}

/// What a discovery says about one repo, and what becomes of it.
struct Change<'a> {
    item: i64,
    before: Stored,
    after: Stored,
    /// The relays that the repo names from now on; none where they stay as they are.
    relays: Option<&'a [RelayUrl]>,
}

pub(super) async fn discover(
    conn: &mut SqliteConnection,
    settings: &Settings,
    discovery: &Discovery,
    now: i64,
) -> Result<Vec<UpstreamId>, Failure> {
    let numbers = item::numbers(conn, items_of(discovery)).await?;
    let changes = changes(conn, discovery, &numbers).await?;
    write_repos(conn, &changes).await?;
    let relisted = relist(conn, settings, &changes, now).await?;
    let mut touched = add_roots(conn, &discovery.roots, &numbers).await?;
    touched.extend(roots_of(conn, &relisted).await?);
    touched.extend(relisted);
    let announced = changes.iter().filter(|change| change.before.version.is_some() != change.after.version.is_some());
    touched.extend(announced.map(|change| change.item));
    let dirty = coverage::retarget(conn, &touched, now).await?;
    Ok(dirty.into_iter().map(UpstreamId).collect())
}

fn items_of(discovery: &Discovery) -> impl Iterator<Item = Item> {
    let announced = discovery.repos.iter().map(|repo| &repo.addr);
    let removed = discovery.removals.iter().map(|removal| &removal.addr);
    let tagged = discovery.roots.iter().flat_map(|root| &root.repos);
    let repos = announced.chain(removed).chain(tagged).cloned().map(Item::Repo);
    repos.chain(discovery.roots.iter().map(|root| Item::Root(root.id)))
}

/// The newest version wins, at the same second the lowest id (NIP-01); a deletion takes the versions up to its moment.
async fn changes<'a>(
    conn: &mut SqliteConnection,
    discovery: &'a Discovery,
    numbers: &Numbers,
) -> Result<Vec<Change<'a>>, Failure> {
    let mut seen: BTreeMap<&RepoAddr, (Option<&'a RepoSeen>, Option<Timestamp>)> = BTreeMap::new();
    for removal in &discovery.removals {
        let entry = seen.entry(&removal.addr).or_default();
        entry.1 = entry.1.max(Some(removal.until));
    }
    for repo in &discovery.repos {
        let entry = seen.entry(&repo.addr).or_default();
        if entry.0.is_none_or(|best| is_newer(version(repo), version(best))) {
            entry.0 = Some(repo);
        }
    }
    let items: Vec<i64> = seen.keys().map(|addr| number_of(numbers, addr)).collect();
    let stored = stored(conn, &items).await?;
    let change = |(addr, (repo, removed)): (&RepoAddr, _)| {
        let item = number_of(numbers, addr);
        changed(item, stored.get(&item).cloned().unwrap_or_default(), repo, removed)
    };
    Ok(seen.into_iter().map(change).filter(|change| change.before != change.after).collect())
}

fn version(repo: &RepoSeen) -> (Timestamp, EventId) {
    (repo.created_at, repo.event)
}

fn is_newer(this: (Timestamp, EventId), that: (Timestamp, EventId)) -> bool {
    this.0 > that.0 || (this.0 == that.0 && this.1 < that.1)
}

fn number_of(numbers: &Numbers, addr: &RepoAddr) -> i64 {
    numbers[&addr.to_string()]
}

fn changed(item: i64, before: Stored, seen: Option<&RepoSeen>, removed: Option<Timestamp>) -> Change<'_> {
    let removed_until = before.removed_until.max(removed);
    let is_gone = |at: Timestamp| removed_until.is_some_and(|until| at <= until);
    let kept = before.version.filter(|(at, _)| !is_gone(*at));
    let newer = seen.filter(|repo| !is_gone(repo.created_at) && kept.is_none_or(|kept| is_newer(version(repo), kept)));
    let after = Stored { version: newer.map(version).or(kept), removed_until };
    let relays = match (newer, after.version) {
        (Some(repo), _) => Some(repo.relays.as_slice()),
        (None, None) => Some([].as_slice()),
        (None, Some(_)) => None,
    };
    Change { item, before, after, relays }
}

#[derive(Debug, sqlx::FromRow)]
struct RepoRow {
    item: i64,
    event: Option<Vec<u8>>,
    created_at: Option<i64>,
    removed_until: Option<i64>,
}

async fn stored(conn: &mut SqliteConnection, items: &[i64]) -> Result<BTreeMap<i64, Stored>, Failure> {
    let mut stored = BTreeMap::new();
    for chunk in items.chunks(ROWS_PER_STATEMENT) {
        let rows: Vec<RepoRow> = sqlx::query_as(REPOS).bind(codec::json(chunk)).fetch_all(&mut *conn).await?;
        for row in rows {
            let version = match (row.created_at, row.event) {
                (Some(at), Some(event)) => Some((codec::timestamp(at), codec::event_id(&event)?)),
                _ => None,
            };
            stored.insert(row.item, Stored { version, removed_until: row.removed_until.map(codec::timestamp) });
        }
    }
    Ok(stored)
}

async fn write_repos(conn: &mut SqliteConnection, changes: &[Change<'_>]) -> Result<(), Failure> {
    for chunk in changes.chunks(ROWS_PER_STATEMENT) {
        let mut sql = QueryBuilder::<Sqlite>::new("INSERT OR REPLACE INTO repo (item, event, created_at, removed_until) ");
        sql.push_values(chunk, |mut row, Change { item, after, .. }| {
            row.push_bind(*item).push_bind(after.version.map(|(_, event)| event.as_bytes().to_vec()));
            row.push_bind(after.version.map(|(at, _)| codec::secs(at))).push_bind(after.removed_until.map(codec::secs));
        });
        sql.build().execute(&mut *conn).await?;
    }
    Ok(())
}

/// Writes which relays the changed repos name; answers with the repos for which that is another set than before.
async fn relist(
    conn: &mut SqliteConnection,
    settings: &Settings,
    changes: &[Change<'_>],
    now: i64,
) -> Result<BTreeSet<i64>, Failure> {
    let named: Vec<(i64, &[RelayUrl])> = changes.iter().filter_map(|change| Some((change.item, change.relays?))).collect();
    let is_upstream = |url: &&RelayUrl| !settings.own_urls.contains(url);
    let urls = named.iter().flat_map(|(_, relays)| *relays).filter(is_upstream).collect();
    let numbers = relay::numbers(conn, settings, &urls, now).await?;
    let pairs = |(repo, relays): &(i64, &[RelayUrl])| -> Vec<(i64, i64)> {
        relays.iter().filter(is_upstream).map(|url| (*repo, numbers[url.as_str()])).collect()
    };
    let after: BTreeSet<(i64, i64)> = named.iter().flat_map(pairs).collect();
    let repos: Vec<i64> = named.iter().map(|(repo, _)| *repo).collect();
    let before = pairs_of(conn, RELAYS_OF_REPOS, &repos).await?;
    let gone: Vec<Vec<i64>> = before.difference(&after).map(|(repo, relay)| vec![*repo, *relay]).collect();
    for chunk in gone.chunks(ROWS_PER_STATEMENT) {
        sqlx::query(UNLIST).bind(codec::json(chunk)).execute(&mut *conn).await?;
    }
    let new: Vec<(i64, i64)> = after.difference(&before).copied().collect();
    insert_pairs(conn, "INSERT INTO repo_relay (repo, relay) ", &new).await?;
    Ok(before.symmetric_difference(&after).map(|(repo, _)| *repo).collect())
}

/// Writes roots and the repos they tag; answers with the roots that tag a repo that they did not tag before, or are new.
async fn add_roots(conn: &mut SqliteConnection, roots: &[RootSeen], numbers: &Numbers) -> Result<BTreeSet<i64>, Failure> {
    let items: BTreeMap<i64, &RootSeen> = roots.iter().map(|root| (numbers[&root.id.to_hex()], root)).collect();
    let mut touched = insert_roots(conn, &items).await?;
    let tags = roots.iter().flat_map(|root| {
        let item = numbers[&root.id.to_hex()];
        root.repos.iter().map(move |addr| (item, number_of(numbers, addr)))
    });
    let after: BTreeSet<(i64, i64)> = tags.collect();
    let known: Vec<i64> = items.into_keys().collect();
    let before = pairs_of(conn, REPOS_OF_ROOTS, &known).await?;
    let new: Vec<(i64, i64)> = after.difference(&before).copied().collect();
    insert_pairs(conn, "INSERT INTO root_repo (root, repo) ", &new).await?;
    touched.extend(new.into_iter().map(|(root, _)| root));
    Ok(touched)
}

async fn insert_roots(conn: &mut SqliteConnection, roots: &BTreeMap<i64, &RootSeen>) -> Result<BTreeSet<i64>, Failure> {
    let rows: Vec<_> = roots.iter().collect();
    let mut new = BTreeSet::new();
    for chunk in rows.chunks(ROWS_PER_STATEMENT) {
        let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO root (item, kind, created_at) ");
        sql.push_values(chunk, |mut row, (item, root)| {
            row.push_bind(**item).push_bind(i64::from(root.kind.as_u16())).push_bind(codec::secs(root.created_at));
        });
        sql.push(" ON CONFLICT DO NOTHING RETURNING item");
        let inserted: Vec<i64> = sql.build_query_scalar().fetch_all(&mut *conn).await?;
        new.extend(inserted);
    }
    Ok(new)
}

async fn roots_of(conn: &mut SqliteConnection, repos: &BTreeSet<i64>) -> Result<Vec<i64>, Failure> {
    let repos: Vec<i64> = repos.iter().copied().collect();
    let mut roots = Vec::new();
    for chunk in repos.chunks(ROWS_PER_STATEMENT) {
        let found: Vec<i64> = sqlx::query_scalar(ROOTS_OF_REPOS).bind(codec::json(chunk)).fetch_all(&mut *conn).await?;
        roots.extend(found);
    }
    Ok(roots)
}

async fn pairs_of(conn: &mut SqliteConnection, sql: &'static str, items: &[i64]) -> Result<BTreeSet<(i64, i64)>, Failure> {
    let mut pairs = BTreeSet::new();
    for chunk in items.chunks(ROWS_PER_STATEMENT) {
        let found: Vec<(i64, i64)> = sqlx::query_as(sql).bind(codec::json(chunk)).fetch_all(&mut *conn).await?;
        pairs.extend(found);
    }
    Ok(pairs)
}

async fn insert_pairs(conn: &mut SqliteConnection, into: &'static str, pairs: &[(i64, i64)]) -> Result<(), Failure> {
    for chunk in pairs.chunks(ROWS_PER_STATEMENT) {
        let mut sql = QueryBuilder::<Sqlite>::new(into);
        sql.push_values(chunk, |mut row, (left, right)| {
            row.push_bind(*left).push_bind(*right);
        });
        sql.build().execute(&mut *conn).await?;
    }
    Ok(())
}
