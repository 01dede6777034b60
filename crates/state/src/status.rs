//! Figures of the whole system, and assignments, made of rows: the same for every adapter.

use std::collections::BTreeMap;

use engine::next::{Standing, next};
use model::{Assignment, Epoch, HomeWrites, LinkView, Outcome, Status, Timestamp, UpstreamId, UpstreamStatus};

use crate::codec::{self, CountColumns, LinkColumns};
use crate::failure::Failure;

/// An upstream that a worker holds, as a row.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct AssignedRow {
    pub(crate) id: i64,
    url: String,
    role: String,
    epoch: i64,
    dial_at: i64,
    learned: String,
}

pub(crate) fn assignment(row: &AssignedRow) -> Result<Assignment, Failure> {
    Ok(Assignment {
        upstream: UpstreamId(row.id),
        url: codec::url(&row.url)?,
        role: codec::role(&row.role)?,
        epoch: Epoch(row.epoch),
        dial_at: codec::timestamp(row.dial_at),
        learned: codec::learned(&row.learned)?,
    })
}

#[derive(Debug, sqlx::FromRow)]
pub(crate) struct UpstreamRow {
    id: i64,
    url: String,
    role: String,
    refused: bool,
    #[sqlx(flatten)]
    link: LinkColumns,
    learned: String,
    failures: i64,
    last_class: Option<String>,
    last_detail: Option<String>,
    incomplete: Option<String>,
    ask_at: Option<i64>,
    refresh_at: Option<i64>,
    empty_since: Option<i64>,
    last_up: Option<i64>,
    behind: Option<i64>,
    renewed_at: Option<i64>,
    lease_ends_ms: Option<i64>,
    deadline: Option<i64>,
    #[sqlx(flatten)]
    counts: CountColumns,
}

/// Wanted, pending, confirmed.
type Items = [u64; 3];

/// What status is made of: rows of (outcome, number), of (upstream, state of items, number), and the upstreams.
pub(crate) struct Counted {
    pub(crate) repos: i64,
    pub(crate) roots: i64,
    pub(crate) outcomes: Vec<(i64, i64)>,
    pub(crate) items: Vec<(i64, i64, i64)>,
    pub(crate) upstreams: Vec<UpstreamRow>,
    /// Of all workers together: events that wait, events a minute, whether any is held up.
    pub(crate) writes: (i64, i64, bool),
    pub(crate) now: i64,
}

/// The columns of a worker's writes to home, bound by `bind`.
pub(crate) fn writes_columns<T>(writes: HomeWrites, bind: impl FnOnce(i64, i64, bool) -> T) -> T {
    bind(codec::signed(writes.waiting), codec::signed(writes.per_minute), writes.is_limited)
}

pub(crate) fn status(counted: Counted) -> Result<Status, Failure> {
    let outcomes = counted
        .outcomes
        .into_iter()
        .map(|(code, n)| Ok((codec::outcome(code)?, codec::unsigned(n))))
        .collect::<Result<Vec<(Outcome, u64)>, Failure>>()?;
    let items = items_by_relay(counted.items);
    let now = codec::timestamp(counted.now);
    let upstreams = counted.upstreams.iter().map(|row| upstream(row, items.get(&row.id).copied().unwrap_or_default(), now));
    let (waiting, per_minute, is_limited) = counted.writes;
    Ok(Status {
        repos: codec::unsigned(counted.repos),
        roots: codec::unsigned(counted.roots),
        at_home: outcomes.iter().filter(|(outcome, _)| outcome.is_at_home()).map(|(_, n)| n).sum(),
        outcomes: outcomes.iter().map(|(outcome, n)| (outcome.as_str().to_owned(), *n)).collect(),
        upstreams: upstreams.collect::<Result<_, Failure>>()?,
        writes: HomeWrites { waiting: codec::unsigned(waiting), per_minute: codec::unsigned(per_minute), is_limited },
    })
}

fn items_by_relay(counted: Vec<(i64, i64, i64)>) -> BTreeMap<i64, Items> {
    let mut items: BTreeMap<i64, Items> = BTreeMap::new();
    for (relay, status, n) in counted {
        let [wanted, pending, confirmed] = items.entry(relay).or_default();
        let figure = match status {
            codec::WANTED => wanted,
            codec::PENDING => pending,
            _ => confirmed,
        };
        *figure = codec::unsigned(n);
    }
    items
}

fn upstream(relay: &UpstreamRow, [wanted, pending, confirmed]: Items, now: Timestamp) -> Result<UpstreamStatus, Failure> {
    let standing = Standing {
        role: codec::role(&relay.role)?,
        link: relay.link.view(),
        is_refused: relay.refused,
        wanted,
        pending,
        confirmed,
        ask_at: relay.ask_at.map(codec::timestamp),
        deadline: relay.deadline.map(codec::timestamp),
        refresh_at: relay.refresh_at.map(codec::timestamp),
        empty_since: relay.empty_since.map(codec::timestamp),
    };
    Ok(UpstreamStatus {
        next: next(&standing, now),
        good_to: good_to(relay, now),
        unheld_since: unheld_since(relay, now),
        upstream: UpstreamId(relay.id),
        url: codec::url(&relay.url)?,
        role: codec::role(&relay.role)?,
        link: relay.link.view(),
        wanted,
        pending,
        confirmed,
        learned: codec::learned(&relay.learned)?,
        failures: codec::small(relay.failures),
        last_down: relay.last_class.as_deref().and_then(codec::down_class),
        incomplete: if relay.refused { relay.last_detail.clone() } else { relay.incomplete.clone() },
        counts: relay.counts.counts(),
    })
}

/// While a link is up and caught up, only what is still on its way home holds the moment back.
fn good_to(relay: &UpstreamRow, now: Timestamp) -> Option<Timestamp> {
    let reached = unheld_since(relay, now).unwrap_or(now);
    match relay.link.view() {
        LinkView::Up { caught_up: true, .. } => {
            Some(relay.behind.map_or(reached, |behind| codec::timestamp(behind).min(reached)))
        }
        LinkView::Up { .. } | LinkView::Down { .. } => relay.last_up.map(codec::timestamp),
    }
}

/// A process that was killed leaves its links up, until the next one finds that its lease is over.
fn unheld_since(relay: &UpstreamRow, now: Timestamp) -> Option<Timestamp> {
    let is_over = relay.lease_ends_ms.is_some_and(|ends| ends <= codec::secs(now).saturating_mul(1000));
    let is_up = matches!(relay.link.view(), LinkView::Up { .. });
    relay.renewed_at.filter(|_| is_up && is_over).map(codec::timestamp)
}
