//! The planner's view of one upstream.

use std::collections::BTreeSet;

use engine::rules::MISSING_PER_LOOK;
use model::{Covered, ItemKind, Snapshot, StateError, Tail, UpstreamId};
use sqlx::PgConnection;

use super::item::readable;
use super::{Failure, Time, codec};
use crate::Settings;
use crate::view::{self, Figures, Lists, Places, RelayRow, Sum, waited_since};

/// What home holds is known before it is asked for elsewhere: an item waits for home's own coverage of it, but not long.
/// Nor is anything asked for before home has been read for the deletions of those who take part there (kind 2): what they name is
/// not to be written again. `$2` is the moment before which an item has waited long enough.
///
/// Home has as many rows as all others together, which Postgres does not see in a plan for any relay: a join or a set would read
/// all of them. A scalar subquery for the place of a row is one look by key (for a column it would be read from the index by state,
/// from one end to the other), and an equality with each status is one look into that index.
macro_rules! may_be_asked_for {
    () => {
        "(c.wanted_at <= $2 OR c.relay = (SELECT id FROM relay WHERE role = 'home')
          OR ((SELECT h.ctid FROM coverage h
               WHERE h.relay = (SELECT id FROM relay WHERE role = 'home') AND h.item = c.item AND h.status <> 2) IS NULL
            AND NOT EXISTS (
                SELECT 1 FROM coverage h
                WHERE h.relay = (SELECT id FROM relay WHERE role = 'home') AND h.status = 0 AND h.kind = 2
                  AND (SELECT p.ctid FROM coverage p WHERE p.relay = c.relay AND p.item = h.item) IS NOT NULL)
            AND NOT EXISTS (
                SELECT 1 FROM coverage h
                WHERE h.relay = (SELECT id FROM relay WHERE role = 'home') AND h.status = 1 AND h.kind = 2
                  AND (SELECT p.ctid FROM coverage p WHERE p.relay = c.relay AND p.item = h.item) IS NOT NULL)))"
    };
}
pub(super) use may_be_asked_for;

statements! {
    RELAY = "
        SELECT url, role, epoch, link, opened, caught_up, resume_since, dial_at, learned, refresh_at, ask_at, empty_since,
            layout, layout_taken, audit_at, audit_part
        FROM relay WHERE id = $1";
    SUMS = "SELECT kind::bigint, status::bigint, n, placed FROM coverage_sum WHERE relay = $1";
    // The kinds that have places; each maximum is the end of an index.
    PLACES = "
        SELECT k.kind::bigint,
            (SELECT max(c.chunk) FROM coverage_chunk c WHERE c.relay = $1 AND c.kind = k.kind) AS newest,
            (SELECT max(c.n) FROM coverage_chunk c WHERE c.relay = $1 AND c.kind = k.kind) AS largest
        FROM (SELECT 0 AS kind UNION ALL SELECT 1 UNION ALL SELECT 2) k";
    IN_FLIGHT = "SELECT count(*) FROM batch WHERE relay = $1 AND ended_at IS NULL";
    MISSING = concat!(
        "SELECT c.kind::bigint, i.key, c.chunk FROM (
            SELECT c.kind, c.item, c.chunk FROM coverage c
            WHERE c.relay = $1 AND c.status = 0 AND c.kind = $3 AND ",
        may_be_asked_for!(),
        " ORDER BY c.chunk NULLS LAST, c.item LIMIT $4) c JOIN item i ON i.id = c.item"
    );
    MEMBERS = "
        SELECT c.kind::bigint, i.key, c.chunk FROM coverage c JOIN item i ON i.id = c.item
        WHERE c.relay = $1 AND c.status IN (0, 1, 2) AND c.kind = $2 AND c.chunk = $3 ORDER BY i.key";
    // The confirmed items of the first chunk from here on.
    AUDITED = "
        SELECT c.kind::bigint, i.key, c.chunk FROM coverage c JOIN item i ON i.id = c.item
        WHERE c.relay = $1 AND c.status = 2 AND c.chunk = (
            SELECT min(f.chunk) FROM coverage f WHERE f.relay = $1 AND f.status = 2 AND f.chunk >= $2)
        ORDER BY i.key";
    COVERED = "
        SELECT c.kind::bigint, i.key, c.chunk FROM coverage c JOIN item i ON i.id = c.item
        WHERE c.relay = $1 AND c.status IN (1, 2) AND c.kind <> 3 ORDER BY c.kind, c.chunk NULLS FIRST, i.key";
}

pub(super) async fn take(
    conn: &mut PgConnection,
    settings: &Settings,
    time: &Time,
    upstream: UpstreamId,
) -> Result<Snapshot, Failure> {
    let relay: Option<RelayRow> = sqlx::query_as(RELAY).bind(upstream.0).fetch_optional(&mut *conn).await?;
    let relay = relay.ok_or(StateError::NoSuchUpstream)?;
    let now = time.now(conn).await?;
    let sums: Vec<Sum> = sqlx::query_as(SUMS).bind(upstream.0).fetch_all(&mut *conn).await?;
    let places: Vec<Places> = sqlx::query_as(PLACES).bind(upstream.0).fetch_all(&mut *conn).await?;
    let in_flight: i64 = sqlx::query_scalar(IN_FLIGHT).bind(upstream.0).fetch_one(&mut *conn).await?;
    let figures = Figures::of(&sums, &places);
    let covered = if figures.needs_covered(&relay, settings)? {
        Some(view::read(readable(sqlx::query_as(COVERED).bind(upstream.0).fetch_all(&mut *conn).await?)?)?)
    } else {
        None
    };
    let missing = missing(conn, upstream.0, now).await?;
    let tails = tails(conn, upstream.0, figures.chunks_in_sight(&missing)).await?;
    let audited = match relay.audits_from(now) {
        Some(chunk) => readable(sqlx::query_as(AUDITED).bind(upstream.0).bind(chunk).fetch_all(&mut *conn).await?)?,
        None => Vec::new(),
    };
    view::snapshot(upstream, &relay, &figures, in_flight, (Lists { missing, tails, covered, audited }, now))
}

/// What may be asked for now, kind by kind. The cut is made by age, which the index gives for nothing.
async fn missing(conn: &mut PgConnection, relay: i64, now: i64) -> Result<Vec<Covered>, Failure> {
    let mut missing: Vec<Covered> = Vec::new();
    for kind in view::KINDS {
        let room = codec::size(MISSING_PER_LOOK.saturating_sub(missing.len()));
        let rows = sqlx::query_as(MISSING).bind(relay).bind(waited_since(now)).bind(codec::item_kind_code(kind)).bind(room);
        missing.extend(view::missing_in_order(readable(rows.fetch_all(&mut *conn).await?)?)?);
    }
    Ok(missing)
}

async fn tails(conn: &mut PgConnection, relay: i64, places: BTreeSet<(ItemKind, u32)>) -> Result<Vec<Tail>, Failure> {
    let mut tails = Vec::with_capacity(places.len());
    for (kind, chunk) in places {
        let rows = sqlx::query_as(MEMBERS).bind(relay).bind(codec::item_kind_code(kind)).bind(i64::from(chunk));
        tails.push(view::tail(chunk, readable(rows.fetch_all(&mut *conn).await?)?)?);
    }
    Ok(tails)
}
