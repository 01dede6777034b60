//! Discoveries become repos, relays and roots, and these become coverage (S2, S3). The cost follows what changed.

use std::collections::{BTreeMap, BTreeSet};

use engine::spam;
use model::{Announced, Discovery, ItemKind, RootSeen, UpstreamId};
use sqlx::PgConnection;

use super::{Failure, Time, bars, codec, coverage, item, relay, waiting};
use crate::Settings;
use crate::repos::{self, Change, Numbers, RepoRow, Stored};

statements! {
    REPOS = "SELECT item, event, created_at, removed_until, maintainers, clone_urls, says_private FROM repo WHERE item = ANY($1)";
    WRITE_REPOS = "
        INSERT INTO repo (item, event, created_at, removed_until, maintainers, identifier, clone_urls, says_private)
        SELECT * FROM UNNEST($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::text[], $6::bytea[], $7::text[], $8::boolean[])
        ON CONFLICT (item) DO UPDATE SET
            event = excluded.event, created_at = excluded.created_at, removed_until = excluded.removed_until,
            maintainers = excluded.maintainers, clone_urls = excluded.clone_urls,
            says_private = excluded.says_private";
    ANNOUNCED = "
        SELECT i.key, r.maintainers, r.clone_urls FROM repo r JOIN item i ON i.id = r.item
        WHERE r.event IS NOT NULL AND r.identifier = ANY($1) ORDER BY i.key";
    RELAYS_OF_REPOS = "SELECT repo, relay FROM repo_relay WHERE repo = ANY($1)";
    UNLIST = "
        DELETE FROM repo_relay USING UNNEST($1::bigint[], $2::bigint[]) gone (repo, relay)
        WHERE repo_relay.repo = gone.repo AND repo_relay.relay = gone.relay";
    IS_NEWLY_LISTED = "
        SELECT EXISTS (SELECT 1 FROM relay r WHERE r.id = ANY($1)
            AND (r.refused OR (SELECT l.repo FROM repo_relay l WHERE l.relay = r.id LIMIT 1) IS NULL))";
    LIST = "INSERT INTO repo_relay (repo, relay) SELECT * FROM UNNEST($1::bigint[], $2::bigint[])";
    ADD_ROOTS = "
        INSERT INTO root (item, kind, created_at) SELECT * FROM UNNEST($1::bigint[], $2::bigint[], $3::bigint[])
        ON CONFLICT DO NOTHING RETURNING item";
    MEMBERS_OF_REPOS = "SELECT DISTINCT item FROM member WHERE repo = ANY($1)";
    REPOS_OF_ROOTS = "SELECT root, repo FROM root_repo WHERE root = ANY($1)";
    TAG = "
        INSERT INTO root_repo (root, repo, author, beyond)
        SELECT * FROM UNNEST($1::bigint[], $2::bigint[], $3::bigint[], $4::boolean[])";
    COUNTED = "
        SELECT x.repo, x.author, count(*) FROM UNNEST($1::bigint[], $2::bigint[]) n (repo, author)
        JOIN root_repo x ON x.repo = n.repo AND x.author = n.author AND NOT x.beyond GROUP BY x.repo, x.author";
    // Whoever becomes a maintainer has no budget any more.
    LIFT = "
        UPDATE root_repo x SET beyond = false, author = NULL
        FROM UNNEST($1::bigint[], $2::bytea[]) n (repo, key_hash) JOIN item i ON i.key_hash = n.key_hash
        WHERE x.repo = n.repo AND x.author = i.id AND x.beyond RETURNING x.root";
    ROOTS_OF_REPOS = "SELECT DISTINCT root FROM root_repo WHERE repo = ANY($1)";
}

/// What home holds under `identifiers`.
pub(super) async fn announced(conn: &mut PgConnection, identifiers: &[String]) -> Result<Vec<Announced>, Failure> {
    let hashes: Vec<Vec<u8>> = identifiers.iter().map(|one| codec::hash(one).to_vec()).collect();
    let rows: Vec<(Vec<u8>, String, String)> = sqlx::query_as(ANNOUNCED).bind(hashes).fetch_all(conn).await?;
    let read = |(key, named, clone): &(Vec<u8>, String, String)| codec::announced(&String::from_utf8_lossy(key), named, clone);
    rows.iter().map(read).collect()
}

pub(super) async fn discover(
    conn: &mut PgConnection,
    settings: &Settings,
    time: &Time,
    discovery: &Discovery,
) -> Result<Vec<UpstreamId>, Failure> {
    coverage::alone(conn).await?;
    let now = time.now(conn).await?;
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

async fn stored(conn: &mut PgConnection, items: &[i64]) -> Result<BTreeMap<i64, Stored>, Failure> {
    let rows: Vec<RepoRow> = sqlx::query_as(REPOS).bind(items).fetch_all(conn).await?;
    rows.into_iter().map(|row| Ok((row.item, row.stored()?))).collect()
}

async fn write_repos(conn: &mut PgConnection, changes: &[Change<'_>]) -> Result<(), Failure> {
    let versions = || changes.iter().map(|change| change.after.version);
    let items: Vec<i64> = changes.iter().map(|change| change.item).collect();
    let events: Vec<Option<Vec<u8>>> = versions().map(|version| Some(version?.1.as_bytes().to_vec())).collect();
    let created: Vec<Option<i64>> = versions().map(|version| Some(codec::secs(version?.0))).collect();
    let removed: Vec<Option<i64>> = changes.iter().map(|change| change.after.removed_until.map(codec::secs)).collect();
    let named: Vec<String> = changes.iter().map(|change| codec::maintainers_text(&change.after.maintainers)).collect();
    let private: Vec<bool> = changes.iter().map(|change| change.after.says_private).collect();
    let identifiers: Vec<Vec<u8>> = changes.iter().map(|change| change.identifier.to_vec()).collect();
    let clone_urls: Vec<String> = changes.iter().map(|change| codec::texts_text(&change.after.clone_urls)).collect();
    sqlx::query(WRITE_REPOS)
        .bind(items)
        .bind(events)
        .bind(created)
        .bind(removed)
        .bind(named)
        .bind(identifiers)
        .bind(clone_urls)
        .bind(private)
        .execute(conn)
        .await?;
    Ok(())
}

/// Writes which relays the changed repos name; answers with the repos for which that is another set than before, or whose
/// relays are judged otherwise than before.
async fn relist(
    conn: &mut PgConnection,
    settings: &Settings,
    changes: &[Change<'_>],
    now: i64,
) -> Result<BTreeSet<i64>, Failure> {
    let listings = repos::listings(settings, changes);
    let urls = listings.values().flatten().copied().collect();
    let numbers = relay::numbers(conn, settings, &urls, now).await?;
    let after = repos::listed_pairs(&listings, &numbers);
    let listed: Vec<i64> = listings.into_keys().collect();
    let before = pairs_of(conn, RELAYS_OF_REPOS, &listed).await?;
    let is_to_be_judged = is_to_be_judged(conn, &before, &after).await?;
    write_pairs(conn, UNLIST, before.difference(&after)).await?;
    write_pairs(conn, LIST, after.difference(&before)).await?;
    let mut relisted: BTreeSet<i64> = before.symmetric_difference(&after).map(|(repo, _)| *repo).collect();
    if is_to_be_judged {
        relisted.extend(relay::judge_again(conn, settings, now).await?);
    }
    Ok(relisted)
}

/// Whether a verdict may be another one: a listing is gone, which may have vouched for a relay, or a relay that has none so far
/// or is refused has one now. Who is dialed and listed once more stays so; judging reads every listing there is.
async fn is_to_be_judged(
    conn: &mut PgConnection,
    before: &BTreeSet<(i64, i64)>,
    after: &BTreeSet<(i64, i64)>,
) -> Result<bool, Failure> {
    let Some(listed) = repos::only_listed(before, after) else { return Ok(true) };
    Ok(sqlx::query_scalar(IS_NEWLY_LISTED).bind(listed).fetch_one(conn).await?)
}

/// Writes roots and the repos they tag; answers with the roots that tag a repo that they did not tag before, or are new.
async fn add_roots(
    conn: &mut PgConnection,
    settings: &Settings,
    roots: &[RootSeen],
    numbers: &Numbers,
) -> Result<BTreeSet<i64>, Failure> {
    let by_number = repos::roots_by_number(roots, numbers);
    let kinds: Vec<i64> = by_number.values().map(|root| i64::from(root.kind.as_u16())).collect();
    let created: Vec<i64> = by_number.values().map(|root| codec::secs(root.created_at)).collect();
    let items: Vec<i64> = by_number.into_keys().collect();
    let added = sqlx::query_scalar(ADD_ROOTS).bind(&items).bind(kinds).bind(created);
    let mut touched: BTreeSet<i64> = added.fetch_all(&mut *conn).await?.into_iter().collect();
    let before = pairs_of(conn, REPOS_OF_ROOTS, &items).await?;
    let after = repos::tagged_pairs(roots, numbers);
    let new: Vec<(i64, i64)> = after.difference(&before).copied().collect();
    tag(conn, settings, &new, (roots, numbers)).await?;
    touched.extend(new.iter().map(|(root, _)| *root));
    Ok(touched)
}

/// Writes which roots tag which repos, and which of these are over an author's budget.
async fn tag(
    conn: &mut PgConnection,
    settings: &Settings,
    new: &[(i64, i64)],
    (seen, numbers): (&[RootSeen], &Numbers),
) -> Result<(), Failure> {
    let (roots, repos): (Vec<i64>, Vec<i64>) = new.iter().copied().unzip();
    let counted = repos::counted_for(new, seen, numbers, &stored(conn, &repos).await?);
    let places: BTreeSet<(i64, i64)> = counted.iter().filter_map(|root| Some((root.repo, root.author?))).collect();
    let (of, by): (Vec<i64>, Vec<i64>) = places.into_iter().unzip();
    let rows: Vec<(i64, i64, i64)> = sqlx::query_as(COUNTED).bind(of).bind(by).fetch_all(&mut *conn).await?;
    let before = rows.into_iter().map(|(repo, author, count)| ((repo, author), codec::count(count))).collect();
    let over = spam::over(&counted, &before, settings.policy.roots_per_author);
    let authors: Vec<Option<i64>> = counted.iter().map(|root| root.author).collect();
    sqlx::query(TAG).bind(roots).bind(repos).bind(authors).bind(over).execute(conn).await?;
    Ok(())
}

/// Takes back that roots by these keys are over a budget on these repos; answers with the roots.
async fn lift(conn: &mut PgConnection, maintained: &[(i64, String)]) -> Result<BTreeSet<i64>, Failure> {
    let (repos, keys): (Vec<i64>, Vec<Vec<u8>>) =
        maintained.iter().map(|(repo, key)| (*repo, codec::hash(key).to_vec())).unzip();
    let lifted: Vec<i64> = sqlx::query_scalar(LIFT).bind(repos).bind(keys).fetch_all(conn).await?;
    Ok(lifted.into_iter().collect())
}

/// Roots, or members, of repos.
async fn items_of(conn: &mut PgConnection, sql: &'static str, repos: &BTreeSet<i64>) -> Result<Vec<i64>, Failure> {
    let repos: Vec<i64> = repos.iter().copied().collect();
    Ok(sqlx::query_scalar(sql).bind(repos).fetch_all(conn).await?)
}

async fn pairs_of(conn: &mut PgConnection, sql: &'static str, items: &[i64]) -> Result<BTreeSet<(i64, i64)>, Failure> {
    let pairs: Vec<(i64, i64)> = sqlx::query_as(sql).bind(items).fetch_all(conn).await?;
    Ok(pairs.into_iter().collect())
}

async fn write_pairs<'a>(
    conn: &mut PgConnection,
    sql: &'static str,
    pairs: impl Iterator<Item = &'a (i64, i64)> + Send,
) -> Result<(), Failure> {
    let (left, right): (Vec<i64>, Vec<i64>) = pairs.copied().unzip();
    if !left.is_empty() {
        sqlx::query(sql).bind(left).bind(right).execute(conn).await?;
    }
    Ok(())
}
