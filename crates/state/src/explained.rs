//! What is known of one event, repo or upstream, made of rows: the same for every adapter.

use engine::conduct::Strikes;
use engine::{consolidation, parents, room};
use model::{
    BatchId, BatchShown, CoverageAt, CoverageState, Epoch, Event, Explained, Kind, Learned, LiveLayout, PublicKey, Ref,
    RelayUrl, RepoAddr, RepoAt, RepoExplained, Role, Seen, Status, Timestamp, UpstreamExplained, UpstreamStatus, WaitingSince,
};

use crate::codec::{self, CountColumns};
use crate::failure::Failure;

/// Batches of an upstream that are shown.
pub(crate) const BATCHES_SHOWN: i64 = 20;

#[derive(Debug, sqlx::FromRow)]
pub(crate) struct EventRow {
    created_at: i64,
    kind: i64,
    outcome: i64,
    reason: Option<String>,
    url: Option<String>,
    via: Option<i64>,
    pub(crate) batch: Option<i64>,
    first_at: Option<i64>,
    seen_at: i64,
}

#[derive(Debug, sqlx::FromRow)]
pub(crate) struct WaitingRow {
    held_at: i64,
    is_released: bool,
    json: String,
}

#[derive(Debug, sqlx::FromRow)]
pub(crate) struct CoverageRow {
    url: String,
    role: String,
    status: i64,
    wanted_at: i64,
    confirmed_at: Option<i64>,
    method: Option<String>,
    batch: Option<i64>,
}

#[derive(Debug, sqlx::FromRow)]
pub(crate) struct BatchRow {
    id: i64,
    method: String,
    items: i64,
    state: String,
    outcome: Option<String>,
    deadline: i64,
    started_at: i64,
    ended_at: Option<i64>,
    #[sqlx(flatten)]
    counts: CountColumns,
}

#[derive(Debug, sqlx::FromRow)]
pub(crate) struct RepoRow {
    event: Option<Vec<u8>>,
    created_at: Option<i64>,
    removed_until: Option<i64>,
    maintainers: String,
    clone_urls: String,
}

#[derive(Debug, sqlx::FromRow)]
pub(crate) struct UpstreamRow {
    pub(crate) id: i64,
    epoch: i64,
    owner: Option<String>,
    up_since: Option<i64>,
    last_up: Option<i64>,
    behind: Option<i64>,
    last_detail: Option<String>,
    failing_since: Option<i64>,
    strikes: i64,
    struck_at: Option<i64>,
    ask_failures: i64,
    ask_at: Option<i64>,
    refresh_at: Option<i64>,
    empty_since: Option<i64>,
    layout: i64,
    layout_taken: i64,
}

/// The chunks of one kind of items on one upstream.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct ChunksRow {
    kind: i64,
    used: i64,
    highest: i64,
    /// Items of the largest.
    largest: i64,
}

/// What is known of a repo, beside its upstreams.
pub(crate) struct RepoRows {
    pub(crate) repo: RepoRow,
    pub(crate) same: Vec<String>,
    pub(crate) roots: i64,
    pub(crate) roots_beyond: i64,
    pub(crate) waiting: i64,
    /// Home and the upstreams that it lists.
    pub(crate) listed: Vec<i64>,
    pub(crate) coverage: Vec<CoverageRow>,
    /// Its roots: upstream, state, number.
    pub(crate) roots_at: Vec<(i64, i64, i64)>,
}

/// What is known of an upstream, beside its status.
pub(crate) struct UpstreamRows {
    pub(crate) upstream: UpstreamRow,
    pub(crate) repos: i64,
    pub(crate) chunks: Vec<ChunksRow>,
    pub(crate) batches: Vec<BatchRow>,
}

pub(crate) fn seen(row: EventRow, batch: Option<BatchRow>, refs: Vec<(i64, Vec<u8>)>) -> Result<Seen, Failure> {
    let refs = refs.into_iter().map(|(tag, value)| {
        let value = String::from_utf8_lossy(&value).into_owned();
        Ok(Ref { tag: codec::tag(tag)?, value })
    });
    Ok(Seen {
        created_at: codec::timestamp(row.created_at),
        kind: Kind::from_u16(u16::try_from(row.kind).unwrap_or_default()),
        outcome: if row.outcome == codec::FORGOTTEN { None } else { Some(codec::outcome(row.outcome)?) },
        reason: row.reason,
        first_upstream: row.url.as_deref().map(codec::url).transpose()?,
        via: row.via.map(codec::via).transpose()?,
        batch: batch.map(batch_shown),
        first_at: row.first_at.map(codec::timestamp),
        outcome_at: codec::timestamp(row.seen_at),
        refs: refs.collect::<Result<_, Failure>>()?,
    })
}

pub(crate) fn waiting(row: WaitingRow) -> WaitingSince {
    // We wrote it; what cannot be read waits for nothing that we know.
    let parents = serde_json::from_str::<Event>(&row.json).map(|event| parents::parents_of(&event)).unwrap_or_default();
    WaitingSince { since: codec::timestamp(row.held_at), parents, is_released: row.is_released }
}

pub(crate) fn coverage(row: CoverageRow) -> Result<CoverageAt, Failure> {
    let state = match row.status {
        codec::WANTED => CoverageState::Wanted,
        codec::PENDING => CoverageState::Pending,
        _ => CoverageState::Confirmed,
    };
    let since = row.confirmed_at.filter(|_| state == CoverageState::Confirmed).unwrap_or(row.wanted_at);
    Ok(CoverageAt {
        upstream: codec::url(&row.url)?,
        role: codec::role(&row.role)?,
        state,
        since: codec::timestamp(since),
        method: row.method,
        batch: row.batch.map(BatchId),
    })
}

/// Home first, then in the order of their URLs.
pub(crate) fn coverages(rows: Vec<CoverageRow>) -> Result<Vec<CoverageAt>, Failure> {
    let mut all = rows.into_iter().map(coverage).collect::<Result<Vec<_>, Failure>>()?;
    all.sort_by(|this, that| home_first(this.role, &this.upstream).cmp(&home_first(that.role, &that.upstream)));
    Ok(all)
}

fn home_first(role: Role, url: &RelayUrl) -> (bool, &RelayUrl) {
    (role != Role::Home, url)
}

/// The upstreams that may still serve what was never seen.
pub(crate) fn unread(status: Status) -> Vec<UpstreamStatus> {
    let is_read = |one: &UpstreamStatus| {
        let is_caught_up = matches!(one.link, model::LinkView::Up { caught_up: true, .. });
        one.role == Role::Home || (is_caught_up && one.wanted + one.pending == 0)
    };
    status.upstreams.into_iter().filter(|one| !is_read(one)).collect()
}

pub(crate) fn batch_shown(row: BatchRow) -> BatchShown {
    BatchShown {
        batch: BatchId(row.id),
        method: row.method,
        items: codec::unsigned(row.items),
        state: row.state,
        why: row.outcome,
        started_at: codec::timestamp(row.started_at),
        ended_at: row.ended_at.map(codec::timestamp),
        deadline: codec::timestamp(row.deadline),
        counts: row.counts.counts(),
    }
}

pub(crate) fn repo(addr: &RepoAddr, rows: RepoRows, status: Status) -> Result<Explained, Failure> {
    let RepoRows { repo, same, roots, roots_beyond, waiting, listed, coverage, roots_at } = rows;
    let authors = same.iter().filter_map(|key| key.parse::<RepoAddr>().ok()).map(|addr| addr.pubkey);
    let also_announced_by: Vec<PublicKey> = authors.filter(|author| *author != addr.pubkey).collect();
    let announcement = match (&repo.event, repo.created_at) {
        (Some(event), Some(at)) => Some((codec::event_id(event)?, codec::timestamp(at))),
        _ => None,
    };
    let coverage = coverages(coverage)?;
    let mut upstreams: Vec<RepoAt> = status
        .upstreams
        .into_iter()
        .filter(|one| listed.contains(&one.upstream.0))
        .map(|upstream| repo_at(upstream, &coverage, &roots_at))
        .collect();
    upstreams.sort_by(|this, that| {
        home_first(this.upstream.role, &this.upstream.url).cmp(&home_first(that.upstream.role, &that.upstream.url))
    });
    Ok(Explained::Repo(Some(Box::new(RepoExplained {
        addr: addr.clone(),
        announcement,
        removed_until: repo.removed_until.map(codec::timestamp),
        maintainers: codec::maintainers(&repo.maintainers)?,
        also_announced_by,
        clone_urls: codec::texts(&repo.clone_urls)?,
        roots: codec::unsigned(roots),
        roots_beyond: codec::unsigned(roots_beyond),
        waiting: codec::unsigned(waiting),
        upstreams,
    }))))
}

fn repo_at(upstream: UpstreamStatus, coverage: &[CoverageAt], roots_at: &[(i64, i64, i64)]) -> RepoAt {
    let of = |status: i64| {
        let rows = roots_at.iter().filter(|row| row.0 == upstream.upstream.0 && row.1 == status);
        rows.map(|row| codec::unsigned(row.2)).sum()
    };
    let is_refused = upstream.next.is_none() && upstream.incomplete.is_some();
    RepoAt {
        refused: if is_refused { upstream.incomplete.clone() } else { None },
        repo: coverage.iter().find(|one| one.upstream == upstream.url).cloned(),
        roots: (of(codec::WANTED), of(codec::PENDING), of(codec::CONFIRMED)),
        upstream,
    }
}

/// `most`: live subscriptions that we allow ourselves (S14).
pub(crate) fn upstream(
    url: &RelayUrl,
    rows: UpstreamRows,
    status: Status,
    (most, now): (usize, Timestamp),
) -> Option<UpstreamExplained> {
    let UpstreamRows { upstream: row, repos, chunks, batches } = rows;
    let status = status.upstreams.into_iter().find(|one| one.url == *url)?;
    let live = layout(&chunks, (row.layout, row.layout_taken), &status.learned, most);
    let strikes = Strikes { count: codec::small(row.strikes), at: row.struck_at.map(codec::timestamp) };
    Some(UpstreamExplained {
        status,
        epoch: Epoch(row.epoch),
        owner: row.owner,
        up_since: row.up_since.map(codec::timestamp),
        last_up: row.last_up.map(codec::timestamp),
        behind: row.behind.map(codec::timestamp),
        last_detail: row.last_detail,
        failing_since: row.failing_since.map(codec::timestamp),
        strikes: strikes.healed(now),
        ask_failures: codec::small(row.ask_failures),
        ask_at: row.ask_at.map(codec::timestamp),
        refresh_at: row.refresh_at.map(codec::timestamp),
        empty_since: row.empty_since.map(codec::timestamp),
        repos: codec::unsigned(repos),
        live,
        batches: batches.into_iter().map(batch_shown).collect(),
    })
}

fn layout(chunks: &[ChunksRow], (layout, taken): (i64, i64), learned: &Learned, most: usize) -> LiveLayout {
    let of = |kind: i64| chunks.iter().find(|row| row.kind == kind);
    let used = |kind| of(kind).map_or(0, |row| codec::small(row.used));
    let above = |kind| of(kind).map_or(0, |row| codec::small(row.highest) + 1);
    let largest = |kind| of(kind).map_or(0, |row| codec::unsigned(row.largest));
    let top = above(0).max(above(1));
    LiveLayout {
        chunks: (used(0), used(1)),
        filters: consolidation::live_count((top, 0)),
        budget: Some(room::budget(learned, most, top, largest(0).max(largest(1)))),
        layout: codec::unsigned(layout),
        layout_taken: codec::unsigned(taken),
    }
}
