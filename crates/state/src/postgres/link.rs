//! Links: the fence, how a link begins (S8, S9), and what its end leaves behind (S10).

use engine::rules::refresh_after;
use model::{Epoch, Resume, StateError, UpGranted, UpstreamId};
use sqlx::PgConnection;

use super::{Failure, Time, claim, codec, coverage};
use crate::Settings;
use crate::reported::audit_due;

statements! {
    FENCE = "SELECT epoch FROM relay WHERE id = $1 FOR UPDATE";
    // `last up` is the owner's last renewal, so that a living link writes no row. A link that never caught up has proved
    // nothing: the next one reaches back as far as this one had to.
    END = "
        UPDATE relay SET
            last_up = CASE WHEN link = 'up' AND caught_up THEN coalesce(
                (SELECT least(w.renewed_at, relay.behind) FROM worker w
                 WHERE w.name = relay.owner AND w.incarnation = relay.owner_inc), last_up) ELSE last_up END,
            link = 'down', opened = false, caught_up = false, resume_since = NULL, up_since = NULL, behind = NULL, ask_at = NULL
        WHERE id = ANY($1)";
    DISOWN = "UPDATE relay SET owner = NULL, owner_inc = NULL, moved_at_ms = NULL WHERE id = ANY($1)";
    STANDING = "
        SELECT r.link, r.last_up, r.refresh_at, r.learned FROM relay r
        JOIN worker w ON w.name = r.owner AND w.incarnation = r.owner_inc AND w.expires_at_ms > $2
        WHERE r.id = $1";
    LAST_UP = "SELECT last_up FROM relay WHERE id = $1";
    BEGIN = "
        UPDATE relay SET epoch = epoch + 1, link = 'up', up_since = $2, opened = false, caught_up = false, last_sequence = -1,
            seen_below = 0, resume_since = $3, refresh_at = $4, layout_taken = layout,
            audit_at = CASE WHEN $3::bigint IS NULL OR $5::bigint IS NULL THEN NULL ELSE coalesce(audit_at, $5) END, audit_part = 0
        WHERE id = $1 RETURNING epoch";
    UP_OF = "SELECT id FROM relay WHERE id = ANY($1) AND link = 'up' ORDER BY id";
    CALM = "UPDATE relay SET ask_at = NULL, ask_failures = 0 WHERE id = $1";
}

/// The fence of every guarded write: holds the upstream's row until the transaction ends, so that what is written next is
/// written under this epoch.
///
/// # Errors
/// The upstream is unknown, or another epoch is current.
pub(super) async fn fence(conn: &mut PgConnection, upstream: UpstreamId, epoch: Epoch) -> Result<(), Failure> {
    let current: Option<i64> = sqlx::query_scalar(FENCE).bind(upstream.0).fetch_optional(conn).await?;
    match current {
        None => Err(StateError::NoSuchUpstream.into()),
        Some(current) if current == epoch.0 => Ok(()),
        Some(_) => Err(StateError::Fenced.into()),
    }
}

/// S10: ends the links of these relays, up or not: what is pending is wanted again. Their rows are locked.
pub(super) async fn end(conn: &mut PgConnection, relays: &[i64], now: i64) -> Result<(), Failure> {
    if relays.is_empty() {
        return Ok(());
    }
    coverage::release(conn, relays, now).await?;
    sqlx::query(END).bind(relays).execute(conn).await?;
    Ok(())
}

/// Takes these relays from their owner; their links have ended.
pub(super) async fn disown(conn: &mut PgConnection, relays: &[i64]) -> Result<(), Failure> {
    if !relays.is_empty() {
        sqlx::query(DISOWN).bind(relays).execute(conn).await?;
    }
    Ok(())
}

/// Those of `upstreams` whose link is up.
pub(super) async fn up_of(conn: &mut PgConnection, upstreams: &[UpstreamId]) -> Result<Vec<UpstreamId>, Failure> {
    let asked: Vec<i64> = upstreams.iter().map(|upstream| upstream.0).collect();
    let up: Vec<i64> = sqlx::query_scalar(UP_OF).bind(asked).fetch_all(conn).await?;
    Ok(up.into_iter().map(UpstreamId).collect())
}

/// A socket is open: a new epoch begins, if the owner's lease stands. The end of the former link may not have been reported
/// yet; it ends here too.
pub(super) async fn up(
    conn: &mut PgConnection,
    settings: &Settings,
    time: &Time,
    (upstream, epoch): (UpstreamId, Epoch),
) -> Result<UpGranted, Failure> {
    fence(conn, upstream, epoch).await?;
    let now_ms = time.now_ms(conn).await?;
    let now = now_ms.div_euclid(1000);
    let standing = sqlx::query_as(STANDING).bind(upstream.0).bind(now_ms).fetch_optional(&mut *conn).await?;
    let (link, mut last_up, refresh_at, learned): (String, Option<i64>, Option<i64>, String) =
        standing.ok_or(StateError::Fenced)?;
    if link == "up" {
        end(conn, &[upstream.0], now).await?;
        last_up = sqlx::query_scalar(LAST_UP).bind(upstream.0).fetch_one(&mut *conn).await?;
    }
    let is_refresh_due = refresh_at.is_some_and(|at| at <= now);
    let resume = if is_refresh_due {
        claim::forget_refusal(conn, upstream.0).await?;
        Resume::Fresh
    } else {
        let quick = settings.policy.quick_reconnect_secs;
        engine::resume::resume(last_up.map(codec::timestamp), codec::timestamp(now), quick)
    };
    let refresh_at = refresh_at.filter(|at| *at > now).unwrap_or_else(|| next_refresh(settings, now));
    // S9: what a relay without NIP-77 may hide is read by its next refresh.
    let audit_at = (!codec::learned(&learned)?.refuses_nip77()).then(|| audit_due(settings, now));
    let epoch = begin(conn, (upstream.0, resume), (refresh_at, audit_at), now).await?;
    Ok(UpGranted { epoch, resume })
}

fn next_refresh(settings: &Settings, now: i64) -> i64 {
    now.saturating_add(codec::signed(refresh_after(settings.policy.refresh_secs, (settings.rolls)())))
}

async fn begin(
    conn: &mut PgConnection,
    (relay, resume): (i64, Resume),
    (refresh_at, audit_at): (i64, Option<i64>),
    now: i64,
) -> Result<Epoch, Failure> {
    let since = match resume {
        Resume::Fresh => {
            coverage::want_all(conn, relay, now).await?;
            sqlx::query(CALM).bind(relay).execute(&mut *conn).await?;
            None
        }
        Resume::CatchUp { since } => Some(codec::secs(since)),
    };
    let begun = sqlx::query_scalar(BEGIN).bind(relay).bind(now).bind(since).bind(refresh_at).bind(audit_at);
    Ok(Epoch(begun.fetch_one(conn).await?))
}
