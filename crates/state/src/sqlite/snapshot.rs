//! The planner's view of one upstream.

use std::collections::BTreeSet;

use engine::consolidation;
use engine::rules::{HOME_FIRST_SECS, MISSING_PER_LOOK};
use model::{Covered, Epoch, ItemKind, Snapshot, StateError, Tail, UpstreamId};
use sqlx::SqliteConnection;

use super::codec::{self, LinkColumns};
use super::{Failure, unreadable};
use crate::Settings;

/// What home holds is known before it is asked for elsewhere: an item waits for home's own coverage of it, but not long.
/// `?2` is the moment before which an item has waited long enough.
macro_rules! may_be_asked_for {
    () => {
        "(c.wanted_at <= ?2 OR c.relay = (SELECT id FROM relay WHERE role = 'home') OR NOT EXISTS (
            SELECT 1 FROM coverage h
            WHERE h.relay = (SELECT id FROM relay WHERE role = 'home') AND h.item = c.item AND h.status <> 2))"
    };
}
pub(super) use may_be_asked_for;

statements! {
    RELAY = "
        SELECT url, role, epoch, link, opened, caught_up, resume_since, dial_at, learned, refresh_at, ask_at, empty_since
        FROM relay WHERE id = ?1";
    GROUPS = "
        SELECT status, kind, chunk, count(*) AS members FROM coverage WHERE relay = ?1 GROUP BY status, kind, chunk";
    IN_FLIGHT = "SELECT count(*) FROM batch WHERE relay = ?1 AND ended_at IS NULL";
    MISSING = concat!(
        "SELECT c.kind, i.key, c.chunk FROM coverage c JOIN item i ON i.id = c.item
        WHERE c.relay = ?1 AND c.status = 0 AND c.kind = ?3 AND ",
        may_be_asked_for!(),
        " ORDER BY c.chunk NULLS LAST, c.item LIMIT ?4"
    );
    MEMBERS = "
        SELECT c.kind, i.key, c.chunk FROM coverage c JOIN item i ON i.id = c.item
        WHERE c.relay = ?1 AND c.status IN (0, 1, 2) AND c.kind = ?2 AND c.chunk = ?3 ORDER BY i.key";
    COVERED = "
        SELECT c.kind, i.key, c.chunk FROM coverage c JOIN item i ON i.id = c.item
        WHERE c.relay = ?1 AND c.status IN (1, 2) ORDER BY c.kind, c.chunk, i.key";
}

const KINDS: [ItemKind; 2] = [ItemKind::Repo, ItemKind::Root];

#[derive(Debug, sqlx::FromRow)]
struct Relay {
    url: String,
    role: String,
    epoch: i64,
    #[sqlx(flatten)]
    link: LinkColumns,
    learned: String,
    refresh_at: Option<i64>,
    ask_at: Option<i64>,
    empty_since: Option<i64>,
}

/// Rows of one upstream that share state, kind and chunk.
#[derive(Debug, sqlx::FromRow)]
struct Group {
    status: i64,
    kind: i64,
    chunk: Option<i64>,
    members: i64,
}

/// The figures of an upstream, added up from its groups.
#[derive(Debug, Default)]
struct Figures {
    wanted: u64,
    pending: u64,
    confirmed: u64,
    /// Pending and confirmed items, chunks and the newest chunk, by kind.
    members: [u64; 2],
    chunks: [Vec<u32>; 2],
}

pub(super) async fn take(
    conn: &mut SqliteConnection,
    settings: &Settings,
    upstream: UpstreamId,
    now: i64,
) -> Result<Snapshot, Failure> {
    let relay: Option<Relay> = sqlx::query_as(RELAY).bind(upstream.0).fetch_optional(&mut *conn).await?;
    let relay = relay.ok_or(StateError::NoSuchUpstream)?;
    let groups: Vec<Group> = sqlx::query_as(GROUPS).bind(upstream.0).fetch_all(&mut *conn).await?;
    let in_flight: i64 = sqlx::query_scalar(IN_FLIGHT).bind(upstream.0).fetch_one(&mut *conn).await?;
    let figures = add_up(&groups);
    let learned = codec::learned(&relay.learned)?;
    let link = relay.link.view();
    let chunks = (top(&figures.chunks[0]), top(&figures.chunks[1]));
    let limit = learned.live_limit.map_or(settings.policy.live_limit, |allowed| allowed.min(settings.policy.live_limit));
    let members = (figures.members[0], figures.members[1]);
    let covered = if consolidation::needs_covered(&link, chunks, members, limit) {
        Some(read(sqlx::query_as(COVERED).bind(upstream.0).fetch_all(&mut *conn).await?)?)
    } else {
        None
    };
    let missing = missing(conn, upstream.0, now).await?;
    Ok(Snapshot {
        upstream,
        url: codec::url(&relay.url)?,
        role: codec::role(&relay.role)?,
        epoch: Epoch(relay.epoch),
        link,
        learned,
        now: codec::timestamp(now),
        tails: chunks_in_sight(conn, upstream.0, &figures, &missing).await?,
        missing,
        wanted: figures.wanted,
        pending: figures.pending,
        confirmed: figures.confirmed,
        batches_in_flight: usize::try_from(in_flight).unwrap_or(0),
        chunks,
        covered,
        // Drawn when the first link comes up; before that nothing can be due.
        refresh_at: codec::timestamp(relay.refresh_at.unwrap_or(i64::MAX)),
        ask_at: relay.ask_at.map(codec::timestamp),
        empty_since: relay.empty_since.map(codec::timestamp),
    })
}

fn add_up(groups: &[Group]) -> Figures {
    let mut figures = Figures::default();
    for group in groups {
        let members = codec::unsigned(group.members);
        match group.status {
            codec::WANTED => {
                figures.wanted += members;
                continue;
            }
            codec::PENDING => figures.pending += members,
            _ => figures.confirmed += members,
        }
        let kind = usize::from(group.kind != 0);
        figures.members[kind] += members;
        figures.chunks[kind].extend(group.chunk.map(codec::small));
    }
    for chunks in &mut figures.chunks {
        chunks.sort_unstable();
        chunks.dedup();
    }
    figures
}

/// One above the highest number.
fn top(chunks: &[u32]) -> u32 {
    chunks.last().map_or(0, |highest| highest + 1)
}

type ItemRow = (i64, String, Option<i64>);

fn read(rows: Vec<ItemRow>) -> Result<Vec<Covered>, Failure> {
    let covered = |(kind, key, chunk): ItemRow| Ok(Covered { item: codec::item(kind, &key)?, chunk: chunk.map(codec::small) });
    rows.into_iter().map(covered).collect()
}

/// What may be asked for now: repos before roots, items that have a place before those that need one. The cut is made by
/// age, which the index gives for nothing; what is left of it is in the order of keys.
async fn missing(conn: &mut SqliteConnection, relay: i64, now: i64) -> Result<Vec<Covered>, Failure> {
    let mut missing: Vec<Covered> = Vec::new();
    for kind in KINDS {
        let room = codec::size(MISSING_PER_LOOK.saturating_sub(missing.len()));
        let rows = sqlx::query_as(MISSING).bind(relay).bind(waited_since(now)).bind(codec::item_kind_code(kind)).bind(room);
        let mut found = read(rows.fetch_all(&mut *conn).await?)?;
        found.sort_by(|this, that| place(this).cmp(&place(that)).then_with(|| this.item.cmp(&that.item)));
        missing.extend(found);
    }
    Ok(missing)
}

fn place(covered: &Covered) -> (bool, Option<u32>) {
    (covered.chunk.is_none(), covered.chunk)
}

/// Items wanted since this moment or longer wait for home no more.
pub(super) fn waited_since(now: i64) -> i64 {
    now.saturating_sub(codec::signed(HOME_FIRST_SECS))
}

/// The newest chunk of each kind, and every chunk that a missing item belongs to, each with all its members.
async fn chunks_in_sight(
    conn: &mut SqliteConnection,
    relay: i64,
    figures: &Figures,
    missing: &[Covered],
) -> Result<Vec<Tail>, Failure> {
    let newest = KINDS.into_iter().zip(&figures.chunks).filter_map(|(kind, chunks)| Some((kind, *chunks.last()?)));
    let touched = missing.iter().filter_map(|covered| Some((covered.item.kind(), covered.chunk?)));
    let places: BTreeSet<(ItemKind, u32)> = newest.chain(touched).collect();
    let mut chunks = Vec::with_capacity(places.len());
    for (kind, chunk) in places {
        let rows = sqlx::query_as(MEMBERS).bind(relay).bind(codec::item_kind_code(kind)).bind(i64::from(chunk));
        let members = read(rows.fetch_all(&mut *conn).await?)?;
        if members.is_empty() {
            return Err(unreadable("an empty chunk"));
        }
        chunks.push(Tail { chunk, items: members.into_iter().map(|covered| covered.item).collect() });
    }
    Ok(chunks)
}
