//! Discoveries become repos, relays and roots, and these become coverage (S2, S3). The cost follows what changed.

use std::collections::{BTreeMap, BTreeSet};

use engine::spam;
use model::{Announced, Discovery, ItemKind, RootSeen, UpstreamId};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::item::{self, ROWS_PER_STATEMENT};
use super::{Failure, bars, codec, coverage, relay, waiting};
use crate::Settings;
use crate::repos::{self, Change, Numbers, RepoRow, Stored};

statements! {
    REPOS = "
        SELECT item, event, created_at, removed_until, maintainers, clone_urls, says_private FROM repo
        WHERE item IN (SELECT value FROM json_each(?1))";
    ANNOUNCED = "
        SELECT i.key, r.maintainers, r.clone_urls FROM repo r JOIN item i ON i.id = r.item
        WHERE r.event IS NOT NULL AND r.identifier IN (SELECT unhex(value) FROM json_each(?1)) ORDER BY i.key";
    RELAYS_OF_REPOS = "SELECT repo, relay FROM repo_relay WHERE repo IN (SELECT value FROM json_each(?1))";
    IS_NEWLY_LISTED = "
        SELECT EXISTS (SELECT 1 FROM json_each(?1) e JOIN relay r ON r.id = e.value
            WHERE r.refused = 1 OR NOT EXISTS (SELECT 1 FROM repo_relay l WHERE l.relay = r.id))";
    UNLIST = "
        DELETE FROM repo_relay WHERE (repo, relay) IN (SELECT e.value ->> 0, e.value ->> 1 FROM json_each(?1) e)";
    MEMBERS_OF_REPOS = "SELECT DISTINCT item FROM member WHERE repo IN (SELECT value FROM json_each(?1))";
    REPOS_OF_ROOTS = "SELECT root, repo FROM root_repo WHERE root IN (SELECT value FROM json_each(?1))";
    COUNTED = "
        SELECT x.repo, x.author, count(*) FROM json_each(?1) e
        JOIN root_repo x ON x.repo = e.value ->> 0 AND x.author = e.value ->> 1 AND x.beyond = 0 GROUP BY x.repo, x.author";
    // Whoever becomes a maintainer has no budget any more.
    LIFT = "
        UPDATE root_repo SET beyond = 0, author = NULL WHERE (root, repo) IN (
            SELECT x.root, x.repo FROM json_each(?1) e JOIN item i ON i.key = e.value ->> 1
            JOIN root_repo x ON x.repo = e.value ->> 0 AND x.author = i.id AND x.beyond = 1)
        RETURNING root";
    ROOTS_OF_REPOS = "SELECT DISTINCT root FROM root_repo WHERE repo IN (SELECT value FROM json_each(?1))";
}

/// Its values are pushed.
const WRITE_REPOS: &str =
    "INSERT INTO repo (item, event, created_at, removed_until, maintainers, identifier, clone_urls, says_private) ";
const WRITE_OVER: &str = " ON CONFLICT (item) DO UPDATE SET event = excluded.event, created_at = excluded.created_at,
    removed_until = excluded.removed_until, maintainers = excluded.maintainers, clone_urls = excluded.clone_urls,
    says_private = excluded.says_private";

/// What home holds under `identifiers`.
pub(super) async fn announced(conn: &mut SqliteConnection, identifiers: &[String]) -> Result<Vec<Announced>, Failure> {
    let hashes: Vec<String> = identifiers.iter().map(|one| codec::hex(&codec::hash(one))).collect();
    let rows: Vec<(String, String, String)> = sqlx::query_as(ANNOUNCED).bind(super::json(&hashes)).fetch_all(conn).await?;
    rows.iter().map(|(key, maintainers, clone)| codec::announced(key, maintainers, clone)).collect()
}

pub(super) async fn discover(
    conn: &mut SqliteConnection,
    settings: &Settings,
    discovery: &Discovery,
    now: i64,
) -> Result<Vec<UpstreamId>, Failure> {
    let discovery = &bars::bury(conn, discovery).await?;
    let numbers = item::numbers(conn, repos::items_of(discovery)).await?;
    let seen = repos::seen(discovery);
    let stored = stored(conn, &repos::numbers_of(&seen, &numbers)).await?;
    let changes = repos::changes(seen, &numbers, &stored);
    write_repos(conn, &changes).await?;
    waiting::arrived(conn, repos::keys_of_announced(&changes).into_iter()).await?;
    let relisted = relist(conn, settings, &changes, now).await?;
    let shown = bars::judge_private(conn, changes.iter().map(|change| change.identifier).collect()).await?;
    let moved: BTreeSet<i64> = relisted.union(&shown).copied().collect();
    let mut touched = add_roots(conn, settings, &discovery.roots, &numbers).await?;
    touched.extend(lift(conn, &repos::maintained(&changes)).await?);
    let taking_part = repos::taking_part(discovery, &numbers);
    touched.extend(coverage::add_members(conn, &taking_part, codec::item_kind_code(ItemKind::Participant)).await?);
    for dependent in [ROOTS_OF_REPOS, MEMBERS_OF_REPOS] {
        touched.extend(items_of(conn, dependent, &moved).await?);
    }
    touched.extend(moved);
    touched.extend(changes.iter().filter(|change| change.is_of_announcement()).map(|change| change.item));
    let dirty = coverage::retarget(conn, &touched, now).await?;
    Ok(dirty.into_iter().map(UpstreamId).collect())
}

async fn stored(conn: &mut SqliteConnection, items: &[i64]) -> Result<BTreeMap<i64, Stored>, Failure> {
    let mut stored = BTreeMap::new();
    for chunk in items.chunks(ROWS_PER_STATEMENT) {
        let rows: Vec<RepoRow> = sqlx::query_as(REPOS).bind(super::json(chunk)).fetch_all(&mut *conn).await?;
        for row in rows {
            stored.insert(row.item, row.stored()?);
        }
    }
    Ok(stored)
}

async fn write_repos(conn: &mut SqliteConnection, changes: &[Change<'_>]) -> Result<(), Failure> {
    for chunk in changes.chunks(ROWS_PER_STATEMENT) {
        let mut sql = QueryBuilder::<Sqlite>::new(WRITE_REPOS);
        sql.push_values(chunk, |mut row, Change { item, identifier, after, .. }| {
            row.push_bind(*item).push_bind(after.version.map(|(_, event)| event.as_bytes().to_vec()));
            row.push_bind(after.version.map(|(at, _)| codec::secs(at))).push_bind(after.removed_until.map(codec::secs));
            row.push_bind(codec::maintainers_text(&after.maintainers)).push_bind(identifier.as_slice());
            row.push_bind(codec::texts_text(&after.clone_urls));
            row.push_bind(after.says_private);
        });
        sql.push(WRITE_OVER).build().execute(&mut *conn).await?;
    }
    Ok(())
}

/// Writes which relays the changed repos name; answers with the repos for which that is another set than before, or whose
/// relays are judged otherwise than before.
async fn relist(
    conn: &mut SqliteConnection,
    settings: &Settings,
    changes: &[Change<'_>],
    now: i64,
) -> Result<BTreeSet<i64>, Failure> {
    let listings = repos::listings(settings, changes);
    let urls = listings.values().flatten().copied().collect();
    let numbers = relay::numbers(conn, settings, &urls, now).await?;
    let after = repos::listed_pairs(&listings, &numbers);
    let repos: Vec<i64> = listings.into_keys().collect();
    let before = pairs_of(conn, RELAYS_OF_REPOS, &repos).await?;
    let is_to_be_judged = is_to_be_judged(conn, &before, &after).await?;
    let gone: Vec<Vec<i64>> = before.difference(&after).map(|(repo, relay)| vec![*repo, *relay]).collect();
    for chunk in gone.chunks(ROWS_PER_STATEMENT) {
        sqlx::query(UNLIST).bind(super::json(chunk)).execute(&mut *conn).await?;
    }
    let new: Vec<(i64, i64)> = after.difference(&before).copied().collect();
    insert_pairs(conn, "INSERT INTO repo_relay (repo, relay) ", &new).await?;
    let mut relisted: BTreeSet<i64> = before.symmetric_difference(&after).map(|(repo, _)| *repo).collect();
    if is_to_be_judged {
        relisted.extend(relay::judge_again(conn, settings, now).await?);
    }
    Ok(relisted)
}

/// Whether a verdict may be another one: a listing is gone, which may have vouched for a relay, or a relay that has none so far
/// or is refused has one now. Who is dialed and listed once more stays so; judging reads every listing there is.
async fn is_to_be_judged(
    conn: &mut SqliteConnection,
    before: &BTreeSet<(i64, i64)>,
    after: &BTreeSet<(i64, i64)>,
) -> Result<bool, Failure> {
    let Some(listed) = repos::only_listed(before, after) else { return Ok(true) };
    Ok(sqlx::query_scalar(IS_NEWLY_LISTED).bind(super::json(&listed)).fetch_one(conn).await?)
}

/// Writes roots and the repos they tag; answers with the roots that tag a repo that they did not tag before, or are new.
async fn add_roots(
    conn: &mut SqliteConnection,
    settings: &Settings,
    roots: &[RootSeen],
    numbers: &Numbers,
) -> Result<BTreeSet<i64>, Failure> {
    let items = repos::roots_by_number(roots, numbers);
    let mut touched = insert_roots(conn, &items).await?;
    let after = repos::tagged_pairs(roots, numbers);
    let known: Vec<i64> = items.into_keys().collect();
    let before = pairs_of(conn, REPOS_OF_ROOTS, &known).await?;
    let new: Vec<(i64, i64)> = after.difference(&before).copied().collect();
    tag(conn, settings, &new, (roots, numbers)).await?;
    touched.extend(new.into_iter().map(|(root, _)| root));
    Ok(touched)
}

/// Writes which roots tag which repos, and which of these are over an author's budget.
async fn tag(
    conn: &mut SqliteConnection,
    settings: &Settings,
    new: &[(i64, i64)],
    (roots, numbers): (&[RootSeen], &Numbers),
) -> Result<(), Failure> {
    let repos: Vec<i64> = new.iter().map(|(_, repo)| *repo).collect::<BTreeSet<_>>().into_iter().collect();
    let counted = repos::counted_for(new, roots, numbers, &stored(conn, &repos).await?);
    let places: BTreeSet<(i64, i64)> = counted.iter().filter_map(|root| Some((root.repo, root.author?))).collect();
    let places: Vec<Vec<i64>> = places.into_iter().map(|(repo, author)| vec![repo, author]).collect();
    let mut before = BTreeMap::new();
    for chunk in places.chunks(ROWS_PER_STATEMENT) {
        let rows: Vec<(i64, i64, i64)> = sqlx::query_as(COUNTED).bind(super::json(chunk)).fetch_all(&mut *conn).await?;
        before.extend(rows.into_iter().map(|(repo, author, count)| ((repo, author), codec::count(count))));
    }
    let over = spam::over(&counted, &before, settings.policy.roots_per_author);
    let rows: Vec<_> = new.iter().zip(counted).zip(over).collect();
    for chunk in rows.chunks(ROWS_PER_STATEMENT) {
        let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO root_repo (root, repo, author, beyond) ");
        sql.push_values(chunk, |mut row, (((root, repo), counted), is_over)| {
            row.push_bind(*root).push_bind(*repo).push_bind(counted.author).push_bind(*is_over);
        });
        sql.build().execute(&mut *conn).await?;
    }
    Ok(())
}

/// Takes back that roots by these keys are over a budget on these repos; answers with the roots.
async fn lift(conn: &mut SqliteConnection, maintained: &[(i64, String)]) -> Result<BTreeSet<i64>, Failure> {
    let maintained: Vec<serde_json::Value> = maintained.iter().map(|pair| serde_json::json!(pair)).collect();
    let mut lifted = BTreeSet::new();
    for chunk in maintained.chunks(ROWS_PER_STATEMENT) {
        let some: Vec<i64> = sqlx::query_scalar(LIFT).bind(super::json(chunk)).fetch_all(&mut *conn).await?;
        lifted.extend(some);
    }
    Ok(lifted)
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

/// Roots, or members, of repos.
async fn items_of(conn: &mut SqliteConnection, sql: &'static str, repos: &BTreeSet<i64>) -> Result<Vec<i64>, Failure> {
    let repos: Vec<i64> = repos.iter().copied().collect();
    let mut roots = Vec::new();
    for chunk in repos.chunks(ROWS_PER_STATEMENT) {
        let found: Vec<i64> = sqlx::query_scalar(sql).bind(super::json(chunk)).fetch_all(&mut *conn).await?;
        roots.extend(found);
    }
    Ok(roots)
}

async fn pairs_of(conn: &mut SqliteConnection, sql: &'static str, items: &[i64]) -> Result<BTreeSet<(i64, i64)>, Failure> {
    let mut pairs = BTreeSet::new();
    for chunk in items.chunks(ROWS_PER_STATEMENT) {
        let found: Vec<(i64, i64)> = sqlx::query_as(sql).bind(super::json(chunk)).fetch_all(&mut *conn).await?;
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
