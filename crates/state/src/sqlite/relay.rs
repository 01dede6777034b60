//! The relays themselves: which exist, in which role, and which are never dialed.

use std::collections::{BTreeMap, BTreeSet};

use model::{DownClass, RelayUrl, Role};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::item::ROWS_PER_STATEMENT;
use super::{Failure, bars, coverage, link};
use crate::Settings;
use crate::upstreams::{self, Known, Listing};

statements! {
    // The author stands behind `30617:` in the key of a repo.
    LISTINGS = "
        SELECT rr.relay, rr.repo, substr(i.key, 7, 64) FROM repo_relay rr JOIN item i ON i.id = rr.repo ORDER BY rr.relay, rr.repo";
    REPOS_OF_RELAYS = "SELECT DISTINCT repo FROM repo_relay WHERE relay IN (SELECT value FROM json_each(?1))";
    RELAYS = "SELECT id, url, role, refused, learned FROM relay ORDER BY id";
    NUMBERS_OF_URLS = "SELECT url, id FROM relay WHERE url IN (SELECT value FROM json_each(?1))";
    ADD_NAMED = "INSERT INTO relay (url, role, dial_at, empty_since) VALUES (?1, ?2, ?3, ?3)";
    SET_ROLE = "UPDATE relay SET role = ?2 WHERE id = ?1";
    SET_REFUSAL = "UPDATE relay SET refused = ?2, last_class = ?3, last_detail = ?4 WHERE id = ?1";
    IS_LISTED = "SELECT EXISTS (SELECT 1 FROM repo_relay WHERE relay = ?1)";
    FORGET_COVERAGE = "DELETE FROM coverage WHERE relay = ?1";
    FORGET = "DELETE FROM relay WHERE id = ?1";
}

/// Gives each relay that the operator named its role. A changed role changes targets.
pub(super) async fn name_all(
    conn: &mut SqliteConnection,
    settings: &Settings,
    named: &[(RelayUrl, Role)],
    now: i64,
) -> Result<(), Failure> {
    let roles = settings.roles(named);
    let mut known: Vec<Known> = sqlx::query_as(RELAYS).fetch_all(&mut *conn).await?;
    // There is one home at any moment: the old one goes before the new one comes.
    known.sort_by_key(|relay| roles.get(&relay.url) == Some(&Role::Home));
    let mut is_changed = false;
    for relay in &known {
        is_changed |= rename(conn, relay, roles.get(&relay.url).copied(), now).await?;
    }
    for (url, role) in roles.iter().filter(|(url, _)| !known.iter().any(|relay| relay.url == **url)) {
        sqlx::query(ADD_NAMED).bind(url).bind(role.as_str()).bind(now).execute(&mut *conn).await?;
        is_changed |= *role == Role::Home;
    }
    is_changed |= !judge(conn, settings, now).await?.is_empty();
    is_changed |= bars::mark_peers(conn, &settings.private_peers).await?;
    if is_changed {
        coverage::retarget_all(conn, now).await?;
    }
    Ok(())
}

/// Says whether the role of `relay` changed.
async fn rename(conn: &mut SqliteConnection, relay: &Known, role: Option<Role>, now: i64) -> Result<bool, Failure> {
    let role = role.unwrap_or(Role::Listed);
    if relay.role == role.as_str() {
        return Ok(false);
    }
    link::end(conn, &[relay.id], now).await?;
    link::disown(conn, &[relay.id]).await?;
    let is_listed: bool = sqlx::query_scalar(IS_LISTED).bind(relay.id).fetch_one(&mut *conn).await?;
    if relay.role == Role::Home.as_str() && role == Role::Listed && !is_listed {
        sqlx::query(FORGET_COVERAGE).bind(relay.id).execute(&mut *conn).await?;
        sqlx::query(FORGET).bind(relay.id).execute(&mut *conn).await?;
    } else {
        sqlx::query(SET_ROLE).bind(relay.id).bind(role.as_str()).execute(&mut *conn).await?;
    }
    Ok(true)
}

/// Judges every relay by the dial policy of today, which may be another than yesterday's.
pub(super) async fn judge_all(conn: &mut SqliteConnection, settings: &Settings, now: i64) -> Result<(), Failure> {
    let is_changed = !judge(conn, settings, now).await?.is_empty();
    if bars::mark_peers(conn, &settings.private_peers).await? || is_changed {
        coverage::retarget_all(conn, now).await?;
    }
    Ok(())
}

/// An upstream that has stated one of our keys since is none any more.
pub(super) async fn judge_stated(conn: &mut SqliteConnection, settings: &Settings, now: i64) -> Result<(), Failure> {
    let known: Vec<Known> = sqlx::query_as(RELAYS).fetch_all(&mut *conn).await?;
    if upstreams::has_ours(settings, &known)? { judge_all(conn, settings, now).await } else { Ok(()) }
}

/// Repos name other relays than before, which may change the verdict on these and on others: the repos that these list.
pub(super) async fn judge_again(conn: &mut SqliteConnection, settings: &Settings, now: i64) -> Result<Vec<i64>, Failure> {
    let changed = judge(conn, settings, now).await?;
    Ok(sqlx::query_scalar(REPOS_OF_RELAYS).bind(super::json(&changed)).fetch_all(conn).await?)
}

/// Answers with the relays whose verdict changed. What is refused from now on is taken from who holds it.
async fn judge(conn: &mut SqliteConnection, settings: &Settings, now: i64) -> Result<Vec<i64>, Failure> {
    let known: Vec<Known> = sqlx::query_as(RELAYS).fetch_all(&mut *conn).await?;
    let listings: Vec<Listing> = sqlx::query_as(LISTINGS).fetch_all(&mut *conn).await?;
    let changed = upstreams::verdicts(settings, &known, &listings)?;
    let ids: Vec<i64> = changed.iter().map(|(id, _)| *id).collect();
    link::end(conn, &ids, now).await?;
    link::disown(conn, &ids).await?;
    for (id, refusal) in changed {
        let class = refusal.as_ref().map(|_| DownClass::NotDialable.as_str());
        let set = sqlx::query(SET_REFUSAL).bind(id).bind(refusal.is_some()).bind(class).bind(refusal);
        set.execute(&mut *conn).await?;
    }
    Ok(ids)
}

/// The numbers of relays that announcements name, by URL. New ones become listed, or refused.
pub(super) async fn numbers(
    conn: &mut SqliteConnection,
    settings: &Settings,
    urls: &BTreeSet<&RelayUrl>,
    now: i64,
) -> Result<BTreeMap<String, i64>, Failure> {
    let urls: Vec<&RelayUrl> = urls.iter().copied().collect();
    let mut numbers = BTreeMap::new();
    for chunk in urls.chunks(ROWS_PER_STATEMENT) {
        let texts: Vec<String> = chunk.iter().map(|url| url.as_str().to_owned()).collect();
        let known: Vec<(String, i64)> = sqlx::query_as(NUMBERS_OF_URLS).bind(super::json(&texts)).fetch_all(&mut *conn).await?;
        numbers.extend(known);
        let new: Vec<&RelayUrl> = chunk.iter().copied().filter(|url| !numbers.contains_key(url.as_str())).collect();
        if !new.is_empty() {
            numbers.extend(add_listed(conn, settings, &new, now).await?);
            bars::mark_peers(conn, &settings.private_peers).await?;
        }
    }
    Ok(numbers)
}

async fn add_listed(
    conn: &mut SqliteConnection,
    settings: &Settings,
    new: &[&RelayUrl],
    now: i64,
) -> Result<Vec<(String, i64)>, Failure> {
    let columns = "INSERT INTO relay (url, role, refused, last_class, last_detail, dial_at, empty_since) ";
    let mut sql = QueryBuilder::<Sqlite>::new(columns);
    sql.push_values(new, |mut row, url| {
        let refusal = settings.refusal(url);
        row.push_bind(url.as_str()).push_bind(Role::Listed.as_str()).push_bind(refusal.is_some());
        row.push_bind(refusal.as_ref().map(|_| DownClass::NotDialable.as_str())).push_bind(refusal);
        row.push_bind(now).push_bind(now);
    });
    sql.push(" RETURNING url, id");
    Ok(sql.build_query_as().fetch_all(conn).await?)
}
