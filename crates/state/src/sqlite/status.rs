//! Figures of the whole system.

use std::collections::BTreeMap;

use model::{Outcome, Status, UpstreamId, UpstreamStatus};
use sqlx::SqliteConnection;

use super::Failure;
use super::codec::{self, CountColumns, LinkColumns};

statements! {
    REPOS = "SELECT count(*) FROM repo WHERE event IS NOT NULL";
    ROOTS = "SELECT count(*) FROM root";
    OUTCOMES = "SELECT outcome, n FROM outcome_count WHERE n > 0 ORDER BY outcome";
    ITEMS = "SELECT relay, status, count(*) FROM coverage GROUP BY relay, status";
    RELAYS = "
        SELECT id, url, role, refused, link, opened, caught_up, resume_since, dial_at, learned, failures, last_class,
            last_detail, incomplete, events, fresh, rounds, bytes_in, bytes_out
        FROM relay ORDER BY id";
}

#[derive(Debug, sqlx::FromRow)]
struct Relay {
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
    #[sqlx(flatten)]
    counts: CountColumns,
}

/// Wanted, pending, confirmed.
type Items = [u64; 3];

pub(super) async fn status(conn: &mut SqliteConnection) -> Result<Status, Failure> {
    let repos: i64 = sqlx::query_scalar(REPOS).fetch_one(&mut *conn).await?;
    let roots: i64 = sqlx::query_scalar(ROOTS).fetch_one(&mut *conn).await?;
    let outcomes: Vec<(i64, i64)> = sqlx::query_as(OUTCOMES).fetch_all(&mut *conn).await?;
    let outcomes = outcomes
        .into_iter()
        .map(|(code, n)| Ok((codec::outcome(code)?, codec::unsigned(n))))
        .collect::<Result<Vec<(Outcome, u64)>, Failure>>()?;
    Ok(Status {
        repos: codec::unsigned(repos),
        roots: codec::unsigned(roots),
        at_home: outcomes.iter().filter(|(outcome, _)| outcome.is_at_home()).map(|(_, n)| n).sum(),
        outcomes: outcomes.into_iter().map(|(outcome, n)| (outcome.as_str().to_owned(), n)).collect(),
        upstreams: upstreams(conn).await?,
    })
}

async fn upstreams(conn: &mut SqliteConnection) -> Result<Vec<UpstreamStatus>, Failure> {
    let mut items: BTreeMap<i64, Items> = BTreeMap::new();
    let counted: Vec<(i64, i64, i64)> = sqlx::query_as(ITEMS).fetch_all(&mut *conn).await?;
    for (relay, status, n) in counted {
        let [wanted, pending, confirmed] = items.entry(relay).or_default();
        let figure = match status {
            codec::WANTED => wanted,
            codec::PENDING => pending,
            _ => confirmed,
        };
        *figure = codec::unsigned(n);
    }
    let relays: Vec<Relay> = sqlx::query_as(RELAYS).fetch_all(conn).await?;
    relays.into_iter().map(|relay| upstream(&relay, items.get(&relay.id).copied().unwrap_or_default())).collect()
}

fn upstream(relay: &Relay, [wanted, pending, confirmed]: Items) -> Result<UpstreamStatus, Failure> {
    Ok(UpstreamStatus {
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
