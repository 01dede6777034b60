//! Coverage: one row per upstream and item of its target, in exactly one state.
//!
//! The target is never stored: it is what these statements join together (S3). Upstreams cover the repos that list them and
//! the roots and members of these; home covers everything. What is private is covered on the peers that it is shared with. Whoever calls these holds the rows of the upstreams; [`retarget`] locks them.

use std::collections::BTreeSet;

use engine::rules::PARTICIPANTS_PER_REPO;
use sqlx::PgConnection;

use super::Failure;
use super::item::ROWS_PER_STATEMENT;

statements! {
    // Two replicas that add the two ends of one path at once would both miss the path: one at a time.
    ALONE = "SELECT pg_advisory_xact_lock(hashtextextended('grasp-sync targets', 0))";
    // By their numbers, however few: alternatives would read every relay.
    LOCK_TOUCHED = "
        SELECT id FROM relay WHERE id IN (
            SELECT id FROM relay WHERE role = 'home'
            UNION SELECT relay FROM repo_relay WHERE repo = ANY($1)
            UNION SELECT rr.relay FROM root_repo x JOIN repo_relay rr ON rr.repo = x.repo WHERE x.root = ANY($1)
            UNION SELECT rr.relay FROM member m JOIN repo_relay rr ON rr.repo = m.repo WHERE m.item = ANY($1)
            UNION SELECT relay FROM coverage WHERE item = ANY($1))
        ORDER BY id FOR UPDATE";
    ADD_ITEMS_OF_UPSTREAMS = "
        WITH added AS (
            INSERT INTO coverage (relay, item, kind, status, wanted_at)
            SELECT t.relay, t.item, t.kind, 0, $2 FROM (
                SELECT rr.relay, rr.repo AS item, 0 AS kind, b.private
                FROM repo_relay rr JOIN repo b ON b.item = rr.repo WHERE rr.repo = ANY($1)
                UNION
                SELECT rr.relay, x.root, 1, EXISTS (
                    SELECT 1 FROM root_repo o JOIN repo b ON b.item = o.repo AND b.private WHERE o.root = x.root)
                FROM root_repo x JOIN repo_relay rr ON rr.repo = x.repo WHERE x.root = ANY($1) AND NOT x.beyond
                UNION
                SELECT rr.relay, m.item, m.kind, bool_and(b.private)
                FROM member m JOIN repo_relay rr ON rr.repo = m.repo JOIN repo b ON b.item = m.repo
                WHERE m.item = ANY($1) GROUP BY rr.relay, m.item, m.kind
            ) t JOIN relay r ON r.id = t.relay AND r.role <> 'home' AND NOT r.refused AND t.private <= r.private_peer
            ORDER BY t.relay, t.item
            ON CONFLICT DO NOTHING RETURNING relay)
        SELECT DISTINCT relay FROM added";
    ADD_ITEMS_OF_HOME = "
        WITH added AS (
            INSERT INTO coverage (relay, item, kind, status, wanted_at)
            SELECT home.id, t.item, t.kind, 0, $2 FROM (
                SELECT item, 0 AS kind FROM repo WHERE item = ANY($1) AND event IS NOT NULL
                UNION ALL SELECT item, 1 FROM root
                    LEFT JOIN (SELECT root, bool_and(beyond) AS beyond FROM root_repo WHERE root = ANY($1) GROUP BY root) x
                    ON x.root = item WHERE item = ANY($1) AND NOT coalesce(x.beyond, false)
                UNION ALL SELECT DISTINCT item, kind FROM member WHERE item = ANY($1)
            ) t JOIN relay home ON home.role = 'home'
            ORDER BY t.item
            ON CONFLICT DO NOTHING RETURNING relay)
        SELECT DISTINCT relay FROM added";
    ADD_MEMBERS = "
        INSERT INTO member (item, repo, kind)
        SELECT n.item, n.repo, $3 FROM UNNEST($1::bigint[], $2::bigint[]) n (item, repo)
        WHERE (SELECT count(*) FROM member m WHERE m.repo = n.repo AND m.kind = $3) < $4
        ORDER BY n.item, n.repo ON CONFLICT DO NOTHING RETURNING item";
    DROP_WHAT_IS_NO_TARGET = "
        WITH dropped AS (
            DELETE FROM coverage c USING relay r
            WHERE r.id = c.relay AND c.item = ANY($1) AND NOT CASE
                WHEN r.refused THEN false
                WHEN r.role = 'home' THEN
                    EXISTS (SELECT 1 FROM repo WHERE repo.item = c.item AND repo.event IS NOT NULL)
                    OR (EXISTS (SELECT 1 FROM root WHERE root.item = c.item) AND NOT coalesce(
                        (SELECT bool_and(x.beyond) FROM root_repo x WHERE x.root = c.item), false))
                    OR EXISTS (SELECT 1 FROM member m WHERE m.item = c.item)
                ELSE
                    EXISTS (SELECT 1 FROM repo_relay rr JOIN repo b ON b.item = rr.repo AND b.private <= r.private_peer
                            WHERE rr.repo = c.item AND rr.relay = c.relay)
                    OR (EXISTS (SELECT 1 FROM root_repo x JOIN repo_relay rr ON rr.repo = x.repo
                                WHERE x.root = c.item AND NOT x.beyond AND rr.relay = c.relay)
                        AND (r.private_peer OR NOT EXISTS (
                            SELECT 1 FROM root_repo o JOIN repo b ON b.item = o.repo AND b.private WHERE o.root = c.item)))
                    OR EXISTS (SELECT 1 FROM member m JOIN repo_relay rr ON rr.repo = m.repo
                               JOIN repo b ON b.item = m.repo AND b.private <= r.private_peer
                               WHERE m.item = c.item AND rr.relay = c.relay)
                END
            RETURNING c.relay, (c.chunk IS NOT NULL AND c.kind <> 3) AS had_place)
        SELECT relay, bool_or(had_place) FROM dropped GROUP BY relay";
    NEW_LAYOUT = "UPDATE relay SET layout = layout + 1 WHERE link = 'up' AND id = ANY($1)";
    MARK_EMPTY = "
        UPDATE relay SET empty_since = CASE
            WHEN EXISTS (SELECT 1 FROM coverage c WHERE c.relay = relay.id) THEN NULL
            ELSE coalesce(empty_since, $2) END
        WHERE id = ANY($1)";
    ALL_ITEMS = "SELECT item FROM repo UNION ALL SELECT item FROM root UNION SELECT item FROM member";
    RELEASE_PENDING = "
        UPDATE coverage SET status = 0, batch = NULL, epoch = NULL, method = NULL WHERE status = 1 AND relay = ANY($1)";
    RELEASE_BATCHES = "
        UPDATE coverage SET status = 0, batch = NULL, epoch = NULL, method = NULL WHERE status = 1 AND batch = ANY($1)";
    END_BATCHES = "UPDATE batch SET state = 'released', ended_at = $2 WHERE ended_at IS NULL AND relay = ANY($1)";
    WANT_ALL = "
        UPDATE coverage SET status = 0, batch = NULL, epoch = NULL, method = NULL, confirmed_at = NULL, wanted_at = $2
        WHERE relay = $1 AND status <> 0";
}

/// Waits until no other replica works out targets; until the end of the transaction none will.
pub(super) async fn alone(conn: &mut PgConnection) -> Result<(), Failure> {
    sqlx::query(ALONE).execute(conn).await?;
    Ok(())
}

/// Makes items members of repos; answers with those for which one of these is new. Members of one repo have a bound, more or
/// less: those of one statement are not counted against each other.
pub(super) async fn add_members(
    conn: &mut PgConnection,
    pairs: &BTreeSet<(i64, i64)>,
    kind: i64,
) -> Result<BTreeSet<i64>, Failure> {
    if pairs.is_empty() {
        return Ok(BTreeSet::new());
    }
    let (items, repos): (Vec<i64>, Vec<i64>) = pairs.iter().copied().unzip();
    let add = sqlx::query_scalar(ADD_MEMBERS).bind(items).bind(repos).bind(kind).bind(i64::from(PARTICIPANTS_PER_REPO));
    let added: Vec<i64> = add.fetch_all(conn).await?;
    Ok(added.into_iter().collect())
}

/// Brings the coverage of `items` in line with the targets (S3); answers with the upstreams where rows came or went.
pub(super) async fn retarget(conn: &mut PgConnection, items: &BTreeSet<i64>, now: i64) -> Result<BTreeSet<i64>, Failure> {
    let items: Vec<i64> = items.iter().copied().collect();
    let (mut dirty, mut changed) = (BTreeSet::new(), BTreeSet::new());
    if items.is_empty() {
        return Ok(dirty);
    }
    sqlx::query(LOCK_TOUCHED).bind(&items).execute(&mut *conn).await?;
    for chunk in items.chunks(ROWS_PER_STATEMENT) {
        let dropped: Vec<(i64, bool)> = sqlx::query_as(DROP_WHAT_IS_NO_TARGET).bind(chunk).fetch_all(&mut *conn).await?;
        // A live filter of theirs names what is gone.
        changed.extend(dropped.iter().filter(|(_, had_place)| *had_place).map(|(relay, _)| *relay));
        dirty.extend(dropped.into_iter().map(|(relay, _)| relay));
        for add in [ADD_ITEMS_OF_UPSTREAMS, ADD_ITEMS_OF_HOME] {
            let added: Vec<i64> = sqlx::query_scalar(add).bind(chunk).bind(now).fetch_all(&mut *conn).await?;
            dirty.extend(added);
        }
    }
    if !changed.is_empty() {
        let changed: Vec<i64> = changed.into_iter().collect();
        sqlx::query(NEW_LAYOUT).bind(changed).execute(&mut *conn).await?;
    }
    mark_empty(conn, &dirty, now).await?;
    Ok(dirty)
}

/// The same for every item there is: after the operator changed who is what.
pub(super) async fn retarget_all(conn: &mut PgConnection, now: i64) -> Result<(), Failure> {
    let items: Vec<i64> = sqlx::query_scalar(ALL_ITEMS).fetch_all(&mut *conn).await?;
    retarget(conn, &items.into_iter().collect(), now).await?;
    Ok(())
}

/// S16: notes since when these upstreams have nothing to cover.
async fn mark_empty(conn: &mut PgConnection, relays: &BTreeSet<i64>, now: i64) -> Result<(), Failure> {
    let relays: Vec<i64> = relays.iter().copied().collect();
    sqlx::query(MARK_EMPTY).bind(relays).bind(now).execute(conn).await?;
    Ok(())
}

/// S10: what is pending on these upstreams is wanted again, and their batches are over.
pub(super) async fn release(conn: &mut PgConnection, relays: &[i64], now: i64) -> Result<(), Failure> {
    sqlx::query(RELEASE_PENDING).bind(relays).execute(&mut *conn).await?;
    sqlx::query(END_BATCHES).bind(relays).bind(now).execute(conn).await?;
    Ok(())
}

/// What is pending in these batches is wanted again.
pub(super) async fn release_batches(conn: &mut PgConnection, batches: &[i64]) -> Result<(), Failure> {
    sqlx::query(RELEASE_BATCHES).bind(batches).execute(conn).await?;
    Ok(())
}

/// S8, S15: everything on this upstream is wanted anew; chunks are kept, for live filters may still stand on them.
pub(super) async fn want_all(conn: &mut PgConnection, relay: i64, now: i64) -> Result<(), Failure> {
    release(conn, &[relay], now).await?;
    sqlx::query(WANT_ALL).bind(relay).bind(now).execute(conn).await?;
    Ok(())
}
