//! Links: how one begins (S8, S9), and what its end leaves behind (S10).

use engine::rules::refresh_after;
use model::{Epoch, Resume, StateError, UpGranted, UpstreamId};
use sqlx::SqliteConnection;

use super::{Failure, claim, codec, coverage};
use crate::Settings;
use crate::reported::audit_due;

statements! {
    EPOCH = "SELECT epoch FROM relay WHERE id = ?1";
    // `last up` is the owner's last renewal, so that a living link writes no row. A link that never caught up has proved
    // nothing: the next one reaches back as far as this one had to.
    END = "
        UPDATE relay SET
            last_up = CASE WHEN link = 'up' AND caught_up = 1 THEN coalesce(
                (SELECT min(w.renewed_at, coalesce(relay.behind, w.renewed_at)) FROM worker w
                 WHERE w.name = relay.owner AND w.incarnation = relay.owner_inc), last_up) ELSE last_up END,
            link = 'down', opened = 0, caught_up = 0, resume_since = NULL, up_since = NULL, behind = NULL, ask_at = NULL
        WHERE id IN (SELECT value FROM json_each(?1))";
    DISOWN = "UPDATE relay SET owner = NULL, owner_inc = NULL WHERE id IN (SELECT value FROM json_each(?1))";
    STANDING = "SELECT link FROM relay WHERE id = ?1 AND owner IS NOT NULL";
    HISTORY = "SELECT last_up, refresh_at, learned FROM relay WHERE id = ?1";
    BEGIN = "
        UPDATE relay SET epoch = epoch + 1, link = 'up', up_since = ?2, opened = 0, caught_up = 0, last_sequence = -1,
            seen_below = 0, resume_since = ?3, refresh_at = ?4, layout_taken = layout,
            audit_at = CASE WHEN ?3 IS NULL OR ?5 IS NULL THEN NULL ELSE coalesce(audit_at, ?5) END, audit_part = 0
        WHERE id = ?1 RETURNING epoch";
    UP_OF = "SELECT id FROM relay WHERE id IN (SELECT value FROM json_each(?1)) AND link = 'up' ORDER BY id";
    CALM = "UPDATE relay SET ask_at = NULL, ask_failures = 0 WHERE id = ?1";
}

/// The fence of every guarded write.
///
/// # Errors
/// The upstream is unknown, or another epoch is current.
pub(super) async fn fence(conn: &mut SqliteConnection, upstream: UpstreamId, epoch: Epoch) -> Result<(), Failure> {
    let current: Option<i64> = sqlx::query_scalar(EPOCH).bind(upstream.0).fetch_optional(conn).await?;
    match current {
        None => Err(StateError::NoSuchUpstream.into()),
        Some(current) if current == epoch.0 => Ok(()),
        Some(_) => Err(StateError::Fenced.into()),
    }
}

/// S10: ends the links of these relays, up or not: what is pending is wanted again.
pub(super) async fn end(conn: &mut SqliteConnection, relays: &[i64], now: i64) -> Result<(), Failure> {
    if relays.is_empty() {
        return Ok(());
    }
    coverage::release(conn, relays, now).await?;
    sqlx::query(END).bind(super::json(relays)).execute(conn).await?;
    Ok(())
}

/// Takes these relays from their owner; their links have ended.
pub(super) async fn disown(conn: &mut SqliteConnection, relays: &[i64]) -> Result<(), Failure> {
    sqlx::query(DISOWN).bind(super::json(relays)).execute(conn).await?;
    Ok(())
}

/// Those of `upstreams` whose link is up.
pub(super) async fn up_of(conn: &mut SqliteConnection, upstreams: &[UpstreamId]) -> Result<Vec<UpstreamId>, Failure> {
    let asked: Vec<i64> = upstreams.iter().map(|upstream| upstream.0).collect();
    let up: Vec<i64> = sqlx::query_scalar(UP_OF).bind(super::json(&asked)).fetch_all(conn).await?;
    Ok(up.into_iter().map(UpstreamId).collect())
}

/// A socket is open: a new epoch begins. The end of the former link may not have been reported yet; it ends here too.
pub(super) async fn up(
    conn: &mut SqliteConnection,
    settings: &Settings,
    (upstream, epoch): (UpstreamId, Epoch),
    now: i64,
) -> Result<UpGranted, Failure> {
    fence(conn, upstream, epoch).await?;
    let standing: Option<String> = sqlx::query_scalar(STANDING).bind(upstream.0).fetch_optional(&mut *conn).await?;
    match standing.as_deref() {
        None => return Err(StateError::Fenced.into()),
        Some("up") => end(conn, &[upstream.0], now).await?,
        Some(_) => {}
    }
    let (last_up, refresh_at, learned): (Option<i64>, Option<i64>, String) =
        sqlx::query_as(HISTORY).bind(upstream.0).fetch_one(&mut *conn).await?;
    let is_refresh_due = refresh_at.is_some_and(|at| at <= now);
    let resume = match last_up {
        Some(_) if is_refresh_due => Resume::Fresh,
        last_up => {
            let quick = settings.policy.quick_reconnect_secs;
            engine::resume::resume(last_up.map(codec::timestamp), codec::timestamp(now), quick)
        }
    };
    if is_refresh_due {
        claim::forget_refusal(conn, upstream.0).await?;
    }
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
    conn: &mut SqliteConnection,
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
