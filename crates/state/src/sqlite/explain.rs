//! What is known of one event, repo or upstream. Asked by people, now and then: some of it is looked for row by row.

use engine::parents::any_announcement_of;
use model::{EventExplained, EventId, Explained, Explanation, RelayUrl, RepoAddr, Subject};
use sqlx::SqliteConnection;

use super::{Failure, codec, status};
use crate::explained::{
    self, BATCHES_SHOWN, BatchRow, CoverageRow, EventRow, RepoRow, RepoRows, UpstreamRow, UpstreamRows, WaitingRow,
};

statements! {
    EVENT = "
        SELECT e.created_at, e.kind, e.outcome, e.reason, r.url, e.via, e.batch, e.first_at, e.seen_at
        FROM event e LEFT JOIN relay r ON r.id = e.upstream WHERE e.id = ?1";
    // By no index: there is none that a report would not pay for with every event.
    REFS_OF_EVENT = "
        SELECT f.tag, f.value FROM event_ref x JOIN ref f ON f.id = x.ref
        WHERE x.id = ?1 AND f.value IS NOT NULL ORDER BY f.tag, f.value";
    WAITING = "SELECT held_at, due OR taken_until IS NOT NULL AS is_released, json FROM waiting WHERE id = ?1";
    ANNOUNCES = "SELECT i.key FROM repo r JOIN item i ON i.id = r.item WHERE r.event = ?1";
    ITEM = "SELECT id FROM item WHERE key = ?1";
    COVERAGE = "
        SELECT r.url, r.role, c.status, c.wanted_at, c.confirmed_at, c.method, c.batch
        FROM coverage c JOIN relay r ON r.id = c.relay WHERE c.item = ?1";
    BATCH = "
        SELECT id, method, items, state, outcome, deadline, started_at, ended_at, events, fresh, rounds, bytes_in, bytes_out
        FROM batch WHERE id = ?1";
    BATCHES = "
        SELECT id, method, items, state, outcome, deadline, started_at, ended_at, events, fresh, rounds, bytes_in, bytes_out
        FROM batch WHERE relay = ?1 ORDER BY id DESC LIMIT ?2";
    REPO = "SELECT event, created_at, removed_until, maintainers, clone_urls FROM repo WHERE item = ?1";
    SAME = "SELECT i.key FROM repo r JOIN item i ON i.id = r.item WHERE r.identifier = ?1 AND r.event IS NOT NULL ORDER BY i.key";
    ROOTS = "SELECT count(*) FROM root_repo WHERE repo = ?1";
    ROOTS_BEYOND = "SELECT count(*) FROM root_repo WHERE repo = ?1 AND beyond = 1";
    WAITING_FOR = "SELECT count(DISTINCT id) FROM waiting_for WHERE parent IN (?1, ?2)";
    LISTED = "SELECT relay FROM repo_relay WHERE repo = ?1 UNION SELECT id FROM relay WHERE role = 'home'";
    ROOTS_AT = "
        SELECT c.relay, c.status, count(*) FROM root_repo x JOIN coverage c ON c.item = x.root
        WHERE x.repo = ?1 GROUP BY c.relay, c.status";
    UPSTREAM = "
        SELECT id, epoch, owner, up_since, last_up, behind, last_detail, failing_since, strikes, struck_at, ask_failures,
            ask_at, refresh_at, empty_since, layout, layout_taken
        FROM relay WHERE url = ?1";
    REPOS_OF = "SELECT count(*) FROM repo_relay WHERE relay = ?1";
    CHUNKS = "
        SELECT kind, count(*) AS used, max(chunk) AS highest, max(members) AS largest
        FROM (SELECT kind, chunk, count(*) AS members FROM coverage WHERE relay = ?1 AND chunk IS NOT NULL GROUP BY kind, chunk)
        GROUP BY kind";
}

/// `most`: live subscriptions that we allow ourselves (S14).
pub(super) async fn explain(
    conn: &mut SqliteConnection,
    subject: &Subject,
    now: i64,
    most: usize,
) -> Result<Explanation, Failure> {
    let explained = match subject {
        Subject::Event(id) => event(conn, *id, now).await?,
        Subject::Repo(addr) => repo(conn, addr, now).await?,
        Subject::Upstream(url) => upstream(conn, url, now, most).await?,
    };
    Ok(Explanation { now: codec::timestamp(now), explained })
}

async fn event(conn: &mut SqliteConnection, id: EventId, now: i64) -> Result<Explained, Failure> {
    let bytes = id.as_bytes().as_slice();
    let row: Option<EventRow> = sqlx::query_as(EVENT).bind(bytes).fetch_optional(&mut *conn).await?;
    let seen = match row {
        Some(row) => {
            let batch: Option<BatchRow> = sqlx::query_as(BATCH).bind(row.batch).fetch_optional(&mut *conn).await?;
            let refs = sqlx::query_as(REFS_OF_EVENT).bind(bytes).fetch_all(&mut *conn).await?;
            Some(explained::seen(row, batch, refs)?)
        }
        None => None,
    };
    let waiting: Option<WaitingRow> = sqlx::query_as(WAITING).bind(bytes).fetch_optional(&mut *conn).await?;
    let announces: Option<String> = sqlx::query_scalar(ANNOUNCES).bind(bytes).fetch_optional(&mut *conn).await?;
    let coverage = match number(conn, &id.to_hex()).await? {
        Some(item) => sqlx::query_as(COVERAGE).bind(item).fetch_all(&mut *conn).await?,
        None => Vec::new(),
    };
    let mut event = EventExplained {
        id,
        seen,
        waiting: waiting.map(explained::waiting),
        announces: announces.and_then(|key| key.parse().ok()),
        coverage: explained::coverages(coverage)?,
        expected_at: Vec::new(),
    };
    if !event.is_known() {
        event.expected_at = explained::unread(status::status(conn, now).await?);
    }
    Ok(Explained::Event(Box::new(event)))
}

async fn number(conn: &mut SqliteConnection, key: &str) -> Result<Option<i64>, Failure> {
    Ok(sqlx::query_scalar(ITEM).bind(key).fetch_optional(conn).await?)
}

async fn repo(conn: &mut SqliteConnection, addr: &RepoAddr, now: i64) -> Result<Explained, Failure> {
    let key = addr.to_string();
    let Some(item) = number(conn, &key).await? else { return Ok(Explained::Repo(None)) };
    let row: Option<RepoRow> = sqlx::query_as(REPO).bind(item).fetch_optional(&mut *conn).await?;
    let Some(repo) = row else { return Ok(Explained::Repo(None)) };
    let identifier = codec::hash(&addr.identifier).to_vec();
    let (this, any) = (codec::hash(&key).to_vec(), codec::hash(&any_announcement_of(&addr.identifier)).to_vec());
    let rows = RepoRows {
        repo,
        same: sqlx::query_scalar(SAME).bind(identifier).fetch_all(&mut *conn).await?,
        roots_beyond: sqlx::query_scalar(ROOTS_BEYOND).bind(item).fetch_one(&mut *conn).await?,
        roots: sqlx::query_scalar(ROOTS).bind(item).fetch_one(&mut *conn).await?,
        waiting: sqlx::query_scalar(WAITING_FOR).bind(this).bind(any).fetch_one(&mut *conn).await?,
        listed: sqlx::query_scalar(LISTED).bind(item).fetch_all(&mut *conn).await?,
        coverage: sqlx::query_as::<_, CoverageRow>(COVERAGE).bind(item).fetch_all(&mut *conn).await?,
        roots_at: sqlx::query_as(ROOTS_AT).bind(item).fetch_all(&mut *conn).await?,
    };
    explained::repo(addr, rows, status::status(conn, now).await?)
}

async fn upstream(conn: &mut SqliteConnection, url: &RelayUrl, now: i64, most: usize) -> Result<Explained, Failure> {
    let row: Option<UpstreamRow> = sqlx::query_as(UPSTREAM).bind(url.as_str()).fetch_optional(&mut *conn).await?;
    let Some(upstream) = row else { return Ok(Explained::Upstream(None)) };
    let id = upstream.id;
    let rows = UpstreamRows {
        upstream,
        repos: sqlx::query_scalar(REPOS_OF).bind(id).fetch_one(&mut *conn).await?,
        chunks: sqlx::query_as(CHUNKS).bind(id).fetch_all(&mut *conn).await?,
        batches: sqlx::query_as(BATCHES).bind(id).bind(BATCHES_SHOWN).fetch_all(&mut *conn).await?,
    };
    let status = status::status(conn, now).await?;
    Ok(Explained::Upstream(explained::upstream(url, rows, status, (most, codec::timestamp(now))).map(Box::new)))
}
