//! Leases: which worker holds which upstream, who gives up what to whom, and what a dead worker leaves.
//!
//! An upstream has an owner until the owner gives it up, leaves, or is buried: found expired, by the database's clock, by
//! somebody who holds the lock of its row, which its own renewal needs too. So none is taken from a worker that lives.

use std::collections::BTreeMap;

use engine::placement;
use model::{Assignment, LeaseRequest, UpstreamId, WorkerId};
use sqlx::PgConnection;

use super::{Failure, Time, codec, link};
use crate::status::{self, AssignedRow};

statements! {
    LOCK_WORKER = "SELECT incarnation, expires_at_ms FROM worker WHERE name = $1 FOR UPDATE";
    RENEW = "
        INSERT INTO worker (name, incarnation, expires_at_ms, renewed_at, writes_waiting, writes_per_minute, writes_limited)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (name) DO UPDATE SET incarnation = $2, expires_at_ms = $3, renewed_at = $4,
            writes_waiting = $5, writes_per_minute = $6, writes_limited = $7";
    // Who is locked is just being renewed, or buried by another replica.
    LOCK_EXPIRED = "
        SELECT name, incarnation FROM worker WHERE expires_at_ms <= $1 ORDER BY name FOR UPDATE SKIP LOCKED";
    OWNED = "
        SELECT r.id FROM relay r JOIN UNNEST($1::text[], $2::text[]) w (name, incarnation)
          ON w.name = r.owner AND w.incarnation = r.owner_inc
        ORDER BY r.id FOR UPDATE OF r";
    FORGET_WORKERS = "
        DELETE FROM worker USING UNNEST($1::text[], $2::text[]) w (name, incarnation)
        WHERE worker.name = w.name AND worker.incarnation = w.incarnation";
    // Touches only what is named, or was: usually nothing.
    SET_BEHIND = "
        UPDATE relay SET behind = told.since
        FROM (SELECT r.id, n.since FROM relay r LEFT JOIN UNNEST($3::bigint[], $4::bigint[]) n (id, since) ON n.id = r.id
              WHERE r.owner = $1 AND r.owner_inc = $2 AND r.behind IS DISTINCT FROM n.since) told
        WHERE relay.id = told.id AND relay.owner = $1 AND relay.owner_inc = $2";
    RELEASE_EMPTY = "
        UPDATE relay SET owner = NULL, owner_inc = NULL, moved_at_ms = NULL
        WHERE owner = $1 AND owner_inc = $2 AND role = 'listed' AND link = 'down'
          AND NOT EXISTS (SELECT 1 FROM coverage c WHERE c.relay = relay.id)";
    WORKERS = "SELECT name, incarnation FROM worker ORDER BY name";
    UPSTREAMS = "
        SELECT r.id, r.host, r.owner, r.owner_inc, r.moved_at_ms IS NOT NULL AS is_moving FROM relay r
        WHERE NOT r.refused AND (r.role <> 'listed' OR EXISTS (SELECT 1 FROM coverage c WHERE c.relay = r.id))
        ORDER BY r.id";
    MOVING = "UPDATE relay SET moved_at_ms = $4 WHERE owner = $1 AND owner_inc = $2 AND id = ANY($3) AND moved_at_ms IS NULL";
    STAYING = "UPDATE relay SET moved_at_ms = NULL WHERE owner = $1 AND owner_inc = $2 AND id = ANY($3)";
    // What has hung up, and what was told so long ago that nothing of it can be left.
    LOCK_GIVEN_UP = "
        SELECT id FROM relay WHERE owner = $1 AND owner_inc = $2 AND id = ANY($3) AND (link = 'down' OR moved_at_ms <= $4)
        ORDER BY id FOR UPDATE SKIP LOCKED";
    // Locked in one statement and judged in the next: that one sees the workers that came meanwhile.
    LOCK_FREE = "SELECT id FROM relay WHERE id = ANY($1) ORDER BY id FOR UPDATE SKIP LOCKED";
    STILL_FREE = "
        SELECT r.id FROM relay r WHERE r.id = ANY($1) AND NOT r.refused
          AND NOT EXISTS (SELECT 1 FROM worker w WHERE w.name = r.owner AND w.incarnation = r.owner_inc)";
    // The floor in milliseconds keeps epochs growing when the database is restored from an older dump.
    CLAIM = "
        UPDATE relay SET owner = $1, owner_inc = $2, moved_at_ms = NULL, epoch = greatest(epoch + 1, $3), last_sequence = -1, seen_below = 0
        WHERE id = ANY($4)";
    ASSIGNED = "
        SELECT id, url, role, epoch, dial_at, learned FROM relay
        WHERE owner = $1 AND owner_inc = $2 AND moved_at_ms IS NULL ORDER BY id";
}

/// An upstream that somebody should hold.
#[derive(Debug, sqlx::FromRow)]
struct Upstream {
    id: i64,
    host: String,
    owner: Option<String>,
    owner_inc: Option<String>,
    is_moving: bool,
}

impl Upstream {
    fn is_held_by(&self, worker: &WorkerId) -> bool {
        self.owner.as_deref() == Some(&worker.name) && self.owner_inc.as_deref() == Some(&worker.incarnation)
    }

    fn is_held(&self, workers: &BTreeMap<String, String>) -> bool {
        self.owner.as_ref().is_some_and(|owner| workers.get(owner) == self.owner_inc.as_ref())
    }
}

/// What placement makes of the upstreams, as one worker sees it.
#[derive(Debug, Default)]
struct Share {
    /// Its own by placement, and held by nobody living.
    free: Vec<i64>,
    /// Held by it, and placed elsewhere.
    moving: Vec<i64>,
    /// Told to hang up before, and placed with it after all.
    staying: Vec<i64>,
}

/// Renews or begins the lease of a worker; it is given what is placed with it and nobody living holds.
pub(super) async fn renew(conn: &mut PgConnection, time: &Time, request: &LeaseRequest) -> Result<Vec<Assignment>, Failure> {
    let worker = &request.worker;
    let former: Option<(String, i64)> = sqlx::query_as(LOCK_WORKER).bind(&worker.name).fetch_optional(&mut *conn).await?;
    let now_ms = time.now_ms(conn).await?;
    note_behind(conn, request).await?;
    if request.leaving {
        bury(conn, &[(worker.name.clone(), worker.incarnation.clone())], now_ms).await?;
        return Ok(Vec::new());
    }
    // An older incarnation of this name is dead; and a lease that ran out is not revived: its links have ended.
    let is_over = |(incarnation, expires_at): &(String, i64)| *incarnation != worker.incarnation || *expires_at <= now_ms;
    if let Some((incarnation, _)) = former.filter(is_over) {
        bury(conn, &[(worker.name.clone(), incarnation)], now_ms).await?;
    }
    let expires_at_ms = now_ms.saturating_add(codec::signed(request.ttl_ms));
    let renewal = held(RENEW, worker).bind(expires_at_ms).bind(now_ms.div_euclid(1000));
    status::writes_columns(request.writes, |waiting, per_minute, limited| renewal.bind(waiting).bind(per_minute).bind(limited))
        .execute(&mut *conn)
        .await?;
    bury_expired(conn, now_ms).await?;
    held(RELEASE_EMPTY, worker).execute(&mut *conn).await?;
    let share = share(conn, worker).await?;
    give_up(conn, request, &share, now_ms).await?;
    take(conn, worker, &share.free, now_ms).await?;
    assignments(conn, worker).await
}

type Statement<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn held<'q>(sql: &'static str, worker: &WorkerId) -> Statement<'q> {
    sqlx::query(sql).bind(worker.name.clone()).bind(worker.incarnation.clone())
}

async fn note_behind(conn: &mut PgConnection, request: &LeaseRequest) -> Result<(), Failure> {
    let (relays, since): (Vec<i64>, Vec<i64>) =
        request.behind.iter().map(|(relay, since)| (relay.0, codec::secs(*since))).unzip();
    held(SET_BEHIND, &request.worker).bind(relays).bind(since).execute(conn).await?;
    Ok(())
}

/// Ends every worker whose lease ran out.
pub(super) async fn end_expired(conn: &mut PgConnection, time: &Time) -> Result<(), Failure> {
    let now_ms = time.now_ms(conn).await?;
    bury_expired(conn, now_ms).await
}

async fn bury_expired(conn: &mut PgConnection, now_ms: i64) -> Result<(), Failure> {
    let expired: Vec<(String, String)> = sqlx::query_as(LOCK_EXPIRED).bind(now_ms).fetch_all(&mut *conn).await?;
    bury(conn, &expired, now_ms).await
}

/// Ends the links of these workers, frees their upstreams and forgets them, in this order: `last up` is read from the
/// renewal. Their rows are locked, or are not there.
async fn bury(conn: &mut PgConnection, workers: &[(String, String)], now_ms: i64) -> Result<(), Failure> {
    if workers.is_empty() {
        return Ok(());
    }
    let (names, incarnations): (Vec<String>, Vec<String>) = workers.iter().cloned().unzip();
    let owned: Vec<i64> = sqlx::query_scalar(OWNED).bind(&names).bind(&incarnations).fetch_all(&mut *conn).await?;
    link::end(conn, &owned, now_ms.div_euclid(1000)).await?;
    link::disown(conn, &owned).await?;
    sqlx::query(FORGET_WORKERS).bind(names).bind(incarnations).execute(conn).await?;
    Ok(())
}

async fn share(conn: &mut PgConnection, worker: &WorkerId) -> Result<Share, Failure> {
    let workers: Vec<(String, String)> = sqlx::query_as(WORKERS).fetch_all(&mut *conn).await?;
    let upstreams: Vec<Upstream> = sqlx::query_as(UPSTREAMS).fetch_all(conn).await?;
    Ok(share_of(worker, &workers.into_iter().collect(), &upstreams))
}

fn share_of(worker: &WorkerId, workers: &BTreeMap<String, String>, upstreams: &[Upstream]) -> Share {
    let names: Vec<&str> = workers.keys().map(String::as_str).collect();
    let hosts: Vec<(UpstreamId, &str)> = upstreams.iter().map(|one| (UpstreamId(one.id), one.host.as_str())).collect();
    let placed = placement::place(&hosts, &names);
    let mut share = Share::default();
    for one in upstreams {
        let is_mine = placed.get(&UpstreamId(one.id)) == Some(&worker.name.as_str());
        match (is_mine, one.is_held_by(worker)) {
            (true, true) if one.is_moving => share.staying.push(one.id),
            (true, false) if !one.is_held(workers) => share.free.push(one.id),
            (false, true) => share.moving.push(one.id),
            (true | false, _) => {}
        }
    }
    share
}

/// What is placed elsewhere is left out of the answer, which tells the worker to hang up; it is free once its link is down,
/// or when a whole lease has passed since.
async fn give_up(conn: &mut PgConnection, request: &LeaseRequest, share: &Share, now_ms: i64) -> Result<(), Failure> {
    let worker = &request.worker;
    if !share.staying.is_empty() {
        held(STAYING, worker).bind(&share.staying).execute(&mut *conn).await?;
    }
    if share.moving.is_empty() {
        return Ok(());
    }
    held(MOVING, worker).bind(&share.moving).bind(now_ms).execute(&mut *conn).await?;
    let long_ago = now_ms.saturating_sub(codec::signed(request.ttl_ms));
    let given_up = sqlx::query_scalar(LOCK_GIVEN_UP).bind(&worker.name).bind(&worker.incarnation);
    let given_up: Vec<i64> = given_up.bind(&share.moving).bind(long_ago).fetch_all(&mut *conn).await?;
    link::end(conn, &given_up, now_ms.div_euclid(1000)).await?;
    link::disown(conn, &given_up).await
}

/// Gives these upstreams to the worker, as far as they are free still. What another transaction holds waits for the next
/// beat. The old link ends, and what was pending is wanted, in the transaction that raises the epoch.
async fn take(conn: &mut PgConnection, worker: &WorkerId, free: &[i64], now_ms: i64) -> Result<(), Failure> {
    if free.is_empty() {
        return Ok(());
    }
    let locked: Vec<i64> = sqlx::query_scalar(LOCK_FREE).bind(free).fetch_all(&mut *conn).await?;
    let free: Vec<i64> = sqlx::query_scalar(STILL_FREE).bind(locked).fetch_all(&mut *conn).await?;
    link::end(conn, &free, now_ms.div_euclid(1000)).await?;
    held(CLAIM, worker).bind(now_ms).bind(free).execute(conn).await?;
    Ok(())
}

async fn assignments(conn: &mut PgConnection, worker: &WorkerId) -> Result<Vec<Assignment>, Failure> {
    let assigned = sqlx::query_as(ASSIGNED).bind(&worker.name).bind(&worker.incarnation);
    let rows: Vec<AssignedRow> = assigned.fetch_all(conn).await?;
    rows.iter().map(status::assignment).collect()
}
