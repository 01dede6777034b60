//! The relays themselves: which exist, in which role, and which are never dialed.

use std::collections::{BTreeMap, BTreeSet};

use model::{DownClass, RelayUrl, Role};
use sqlx::PgConnection;

use super::item::{by_hash, named};
use super::{Failure, Time, bars, codec, coverage, link};
use crate::Settings;
use crate::upstreams::{self, Known, Listing};

statements! {
    // The author stands behind `30617:` in the key of a repo.
    LISTINGS = "
        SELECT rr.relay, rr.repo, convert_from(substring(i.key FROM 7 FOR 64), 'UTF8')
        FROM repo_relay rr JOIN item i ON i.id = rr.repo ORDER BY rr.relay, rr.repo";
    REPOS_OF_RELAYS = "SELECT DISTINCT repo FROM repo_relay WHERE relay = ANY($1)";
    RELAYS = "SELECT id, url, role, refused, learned FROM relay ORDER BY id";
    LOCK = "SELECT id FROM relay WHERE id = ANY($1) ORDER BY id FOR UPDATE";
    NUMBERS_OF_URLS = "SELECT url_hash, id FROM relay WHERE url_hash = ANY($1)";
    ADD = "
        INSERT INTO relay (url, url_hash, host, role, refused, last_class, last_detail, dial_at, empty_since)
        SELECT n.url, n.url_hash, n.host, $4, n.refusal IS NOT NULL, CASE WHEN n.refusal IS NOT NULL THEN $6 END, n.refusal, $7, $7
        FROM UNNEST($1::text[], $2::bytea[], $3::text[], $5::text[]) n (url, url_hash, host, refusal)
        ORDER BY n.url RETURNING url_hash, id";
    // There is one home at any moment: the old one goes before the new one comes.
    SET_ROLES = "UPDATE relay SET role = $2 WHERE id = ANY($1)";
    SET_REFUSALS = "
        UPDATE relay SET refused = n.refusal IS NOT NULL, last_detail = n.refusal,
            last_class = CASE WHEN n.refusal IS NOT NULL THEN $3 END
        FROM UNNEST($1::bigint[], $2::text[]) n (id, refusal) WHERE relay.id = n.id";
    UNLISTED = "SELECT n.id FROM UNNEST($1::bigint[]) n (id) WHERE NOT EXISTS (SELECT 1 FROM repo_relay WHERE relay = n.id)";
    FORGET_COVERAGE = "DELETE FROM coverage WHERE relay = ANY($1)";
    FORGET = "DELETE FROM relay WHERE id = ANY($1)";
}

/// Locks these rows, in the order in which everybody locks them.
pub(super) async fn lock(conn: &mut PgConnection, relays: &[i64]) -> Result<(), Failure> {
    sqlx::query(LOCK).bind(relays).execute(conn).await?;
    Ok(())
}

/// Gives each relay that the operator named its role. A changed role changes targets.
pub(super) async fn name_all(
    conn: &mut PgConnection,
    settings: &Settings,
    time: &Time,
    named: &[(RelayUrl, Role)],
) -> Result<(), Failure> {
    coverage::alone(conn).await?;
    let now = time.now(conn).await?;
    let roles = settings.roles(named);
    let known: Vec<Known> = sqlx::query_as(RELAYS).fetch_all(&mut *conn).await?;
    let mut is_changed = rename(conn, &known, &roles, now).await?;
    for role in [Role::Home, Role::Bootstrap] {
        let is_new = |url: &&String| roles[*url] == role && !known.iter().any(|relay| relay.url == **url);
        let new = roles.keys().filter(is_new).map(|url| codec::url(url)).collect::<Result<Vec<RelayUrl>, Failure>>()?;
        add(conn, (role, now), &new, |_| None).await?;
        is_changed |= role == Role::Home && !new.is_empty();
    }
    is_changed |= !judge(conn, settings, now).await?.is_empty();
    is_changed |= bars::mark_peers(conn, &settings.private_peers).await?;
    if is_changed {
        coverage::retarget_all(conn, now).await?;
    }
    Ok(())
}

/// Says whether the role of a relay changed. Whose role changes begins anew, whoever holds it.
async fn rename(conn: &mut PgConnection, known: &[Known], roles: &BTreeMap<String, Role>, now: i64) -> Result<bool, Failure> {
    let role_of = |relay: &Known| roles.get(&relay.url).copied().unwrap_or(Role::Listed);
    let changed: Vec<&Known> = known.iter().filter(|relay| relay.role != role_of(relay).as_str()).collect();
    let ids: Vec<i64> = changed.iter().map(|relay| relay.id).collect();
    lock(conn, &ids).await?;
    link::end(conn, &ids, now).await?;
    link::disown(conn, &ids).await?;
    let is_past_home = |relay: &&&Known| relay.role == Role::Home.as_str() && role_of(relay) == Role::Listed;
    forget_unlisted(conn, &changed.iter().filter(is_past_home).map(|relay| relay.id).collect::<Vec<i64>>()).await?;
    for role in [Role::Listed, Role::Bootstrap, Role::Home] {
        let these: Vec<i64> = changed.iter().filter(|relay| role_of(relay) == role).map(|relay| relay.id).collect();
        sqlx::query(SET_ROLES).bind(these).bind(role.as_str()).execute(&mut *conn).await?;
    }
    Ok(!changed.is_empty())
}

/// A former home that no repo lists is nobody's upstream.
async fn forget_unlisted(conn: &mut PgConnection, homes: &[i64]) -> Result<(), Failure> {
    let unlisted: Vec<i64> = sqlx::query_scalar(UNLISTED).bind(homes).fetch_all(&mut *conn).await?;
    sqlx::query(FORGET_COVERAGE).bind(&unlisted).execute(&mut *conn).await?;
    sqlx::query(FORGET).bind(&unlisted).execute(conn).await?;
    Ok(())
}

/// Judges every relay by the dial policy of today, which may be another than yesterday's.
pub(super) async fn judge_all(conn: &mut PgConnection, settings: &Settings, time: &Time) -> Result<(), Failure> {
    coverage::alone(conn).await?;
    let now = time.now(conn).await?;
    let is_judged = !judge(conn, settings, now).await?.is_empty();
    if bars::mark_peers(conn, &settings.private_peers).await? || is_judged {
        coverage::retarget_all(conn, now).await?;
    }
    Ok(())
}

/// An upstream that has stated one of our keys since is none any more.
pub(super) async fn judge_stated(conn: &mut PgConnection, settings: &Settings, time: &Time) -> Result<(), Failure> {
    let known: Vec<Known> = sqlx::query_as(RELAYS).fetch_all(&mut *conn).await?;
    if upstreams::has_ours(settings, &known)? { judge_all(conn, settings, time).await } else { Ok(()) }
}

/// Repos name other relays than before, which may change the verdict on these and on others: the repos that these list.
pub(super) async fn judge_again(conn: &mut PgConnection, settings: &Settings, now: i64) -> Result<Vec<i64>, Failure> {
    let changed = judge(conn, settings, now).await?;
    Ok(sqlx::query_scalar(REPOS_OF_RELAYS).bind(changed).fetch_all(conn).await?)
}

/// Answers with the relays whose verdict changed. What is refused from now on is taken from who holds it.
async fn judge(conn: &mut PgConnection, settings: &Settings, now: i64) -> Result<Vec<i64>, Failure> {
    let known: Vec<Known> = sqlx::query_as(RELAYS).fetch_all(&mut *conn).await?;
    let listings: Vec<Listing> = sqlx::query_as(LISTINGS).fetch_all(&mut *conn).await?;
    let (changed, refusals): (Vec<i64>, Vec<Option<String>>) =
        upstreams::verdicts(settings, &known, &listings)?.into_iter().unzip();
    if changed.is_empty() {
        return Ok(changed);
    }
    lock(conn, &changed).await?;
    link::end(conn, &changed, now).await?;
    link::disown(conn, &changed).await?;
    let set = sqlx::query(SET_REFUSALS).bind(&changed).bind(refusals).bind(DownClass::NotDialable.as_str());
    set.execute(conn).await?;
    Ok(changed)
}

/// The numbers of relays that announcements name, by URL. New ones become listed, or refused. Only who works out targets
/// may call it.
pub(super) async fn numbers(
    conn: &mut PgConnection,
    settings: &Settings,
    urls: &BTreeSet<&RelayUrl>,
    now: i64,
) -> Result<BTreeMap<String, i64>, Failure> {
    let hashes = by_hash(urls.iter().map(|url| url.as_str().to_owned()));
    let all: Vec<Vec<u8>> = hashes.keys().cloned().collect();
    let known = sqlx::query_as(NUMBERS_OF_URLS).bind(all).fetch_all(&mut *conn).await?;
    let mut numbers: BTreeMap<String, i64> = named(known, &hashes).collect();
    let is_new = |url: &&&RelayUrl| !numbers.contains_key(url.as_str());
    let new: Vec<RelayUrl> = urls.iter().filter(is_new).map(|url| (*url).clone()).collect();
    let added = add(conn, (Role::Listed, now), &new, |url| settings.refusal(url)).await?;
    if !added.is_empty() {
        bars::mark_peers(conn, &settings.private_peers).await?;
    }
    numbers.extend(named(added, &hashes));
    Ok(numbers)
}

async fn add(
    conn: &mut PgConnection,
    (role, now): (Role, i64),
    new: &[RelayUrl],
    refusal: impl Fn(&RelayUrl) -> Option<String>,
) -> Result<Vec<(Vec<u8>, i64)>, Failure> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let texts: Vec<String> = new.iter().map(|url| url.as_str().to_owned()).collect();
    let hashes: Vec<Vec<u8>> = texts.iter().map(|url| codec::hash(url).to_vec()).collect();
    let hosts: Vec<String> = new.iter().map(|url| url.host().to_string()).collect();
    let refusals: Vec<Option<String>> = new.iter().map(refusal).collect();
    let add = sqlx::query_as(ADD).bind(texts).bind(hashes).bind(hosts).bind(role.as_str()).bind(refusals);
    Ok(add.bind(DownClass::NotDialable.as_str()).bind(now).fetch_all(conn).await?)
}
