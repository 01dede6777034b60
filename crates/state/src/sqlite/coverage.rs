//! Coverage: one row per upstream and item of its target, in exactly one state.
//!
//! The target is never stored: it is what these statements join together (S3). Upstreams cover the repos that list them and
//! the roots and members of these; home covers everything. What is private is covered on the peers that it is shared with.

use std::collections::BTreeSet;

use engine::rules::PARTICIPANTS_PER_REPO;
use sqlx::SqliteConnection;

use super::Failure;
use super::item::ROWS_PER_STATEMENT;

/// Items of one statement when targets are worked out anew.
const ITEMS_PER_STATEMENT: usize = 1000;

statements! {
    ADD_REPOS_OF_UPSTREAMS = "
        INSERT INTO coverage (relay, item, kind, status, wanted_at)
        SELECT rr.relay, rr.repo, 0, 0, ?2
        FROM json_each(?1) touched JOIN repo_relay rr ON rr.repo = touched.value
        JOIN repo b ON b.item = rr.repo JOIN relay r ON r.id = rr.relay AND r.role <> 'home' AND r.refused = 0
        WHERE b.private <= r.private_peer ON CONFLICT DO NOTHING RETURNING relay";
    ADD_ROOTS_OF_UPSTREAMS = "
        INSERT INTO coverage (relay, item, kind, status, wanted_at)
        SELECT DISTINCT rr.relay, x.root, 1, 0, ?2
        FROM json_each(?1) touched JOIN root_repo x ON x.root = touched.value AND x.beyond = 0
        JOIN repo_relay rr ON rr.repo = x.repo
        JOIN relay r ON r.id = rr.relay AND r.role <> 'home' AND r.refused = 0
        WHERE r.private_peer = 1 OR NOT EXISTS (
            SELECT 1 FROM root_repo o JOIN repo b ON b.item = o.repo AND b.private = 1 WHERE o.root = x.root)
        ON CONFLICT DO NOTHING RETURNING relay";
    ADD_MEMBERS_OF_UPSTREAMS = "
        INSERT INTO coverage (relay, item, kind, status, wanted_at)
        SELECT DISTINCT rr.relay, m.item, m.kind, 0, ?2
        FROM json_each(?1) touched JOIN member m ON m.item = touched.value JOIN repo_relay rr ON rr.repo = m.repo
        JOIN repo b ON b.item = m.repo JOIN relay r ON r.id = rr.relay AND r.role <> 'home' AND r.refused = 0
        WHERE b.private <= r.private_peer ON CONFLICT DO NOTHING RETURNING relay";
    ADD_MEMBERS_OF_HOME = "
        INSERT INTO coverage (relay, item, kind, status, wanted_at)
        SELECT DISTINCT home.id, m.item, m.kind, 0, ?2
        FROM json_each(?1) touched JOIN member m ON m.item = touched.value
        JOIN relay home ON home.role = 'home'
        WHERE true ON CONFLICT DO NOTHING RETURNING relay";
    ADD_REPOS_OF_HOME = "
        INSERT INTO coverage (relay, item, kind, status, wanted_at)
        SELECT home.id, repo.item, 0, 0, ?2
        FROM json_each(?1) touched JOIN repo ON repo.item = touched.value AND repo.event IS NOT NULL
        JOIN relay home ON home.role = 'home'
        WHERE true ON CONFLICT DO NOTHING RETURNING relay";
    ADD_ROOTS_OF_HOME = "
        INSERT INTO coverage (relay, item, kind, status, wanted_at)
        SELECT home.id, root.item, 1, 0, ?2
        FROM json_each(?1) touched JOIN root ON root.item = touched.value
        JOIN relay home ON home.role = 'home'
        WHERE EXISTS (SELECT 1 FROM root_repo x WHERE x.root = root.item AND x.beyond = 0)
            OR NOT EXISTS (SELECT 1 FROM root_repo x WHERE x.root = root.item)
        ON CONFLICT DO NOTHING RETURNING relay";
    ADD_MEMBERS = "
        INSERT INTO member (item, repo, kind)
        SELECT e.value ->> 0, e.value ->> 1, ?2 FROM json_each(?1) e
        WHERE (SELECT count(*) FROM member m WHERE m.repo = e.value ->> 1 AND m.kind = ?2) < ?3
        ON CONFLICT DO NOTHING RETURNING item";
    DROP_WHAT_IS_NO_TARGET = "
        DELETE FROM coverage
        WHERE item IN (SELECT value FROM json_each(?1)) AND NOT CASE
            (SELECT CASE WHEN r.refused THEN 'refused' WHEN r.role = 'home' THEN 'home' WHEN r.private_peer THEN 'peer'
                    ELSE r.role END FROM relay r WHERE r.id = coverage.relay)
            WHEN 'refused' THEN 0
            WHEN 'home' THEN
                EXISTS (SELECT 1 FROM repo WHERE repo.item = coverage.item AND repo.event IS NOT NULL)
                OR EXISTS (SELECT 1 FROM root_repo x WHERE x.root = coverage.item AND x.beyond = 0)
                OR (EXISTS (SELECT 1 FROM root WHERE root.item = coverage.item)
                    AND NOT EXISTS (SELECT 1 FROM root_repo x WHERE x.root = coverage.item))
                OR EXISTS (SELECT 1 FROM member m WHERE m.item = coverage.item)
            WHEN 'peer' THEN
                EXISTS (SELECT 1 FROM repo_relay rr WHERE rr.repo = coverage.item AND rr.relay = coverage.relay)
                OR EXISTS (SELECT 1 FROM root_repo x JOIN repo_relay rr ON rr.repo = x.repo
                           WHERE x.root = coverage.item AND x.beyond = 0 AND rr.relay = coverage.relay)
                OR EXISTS (SELECT 1 FROM member m JOIN repo_relay rr ON rr.repo = m.repo
                           WHERE m.item = coverage.item AND rr.relay = coverage.relay)
            ELSE
                EXISTS (SELECT 1 FROM repo_relay rr JOIN repo b ON b.item = rr.repo AND b.private = 0
                        WHERE rr.repo = coverage.item AND rr.relay = coverage.relay)
                OR (EXISTS (SELECT 1 FROM root_repo x JOIN repo_relay rr ON rr.repo = x.repo
                            WHERE x.root = coverage.item AND x.beyond = 0 AND rr.relay = coverage.relay)
                    AND NOT EXISTS (SELECT 1 FROM root_repo o JOIN repo b ON b.item = o.repo AND b.private = 1
                                    WHERE o.root = coverage.item))
                OR EXISTS (SELECT 1 FROM member m JOIN repo_relay rr ON rr.repo = m.repo
                           JOIN repo b ON b.item = m.repo AND b.private = 0
                           WHERE m.item = coverage.item AND rr.relay = coverage.relay)
            END
        RETURNING relay, chunk IS NOT NULL AND kind <> 3";
    NEW_LAYOUT = "
        UPDATE relay SET layout = layout + 1 WHERE link = 'up' AND id IN (SELECT value FROM json_each(?1))";
    MARK_EMPTY = "
        UPDATE relay SET empty_since = CASE
            WHEN EXISTS (SELECT 1 FROM coverage c WHERE c.relay = relay.id) THEN NULL
            ELSE coalesce(empty_since, ?2) END
        WHERE id IN (SELECT value FROM json_each(?1))";
    ALL_ITEMS = "SELECT item FROM repo UNION ALL SELECT item FROM root UNION SELECT item FROM member";
    // Without the hint every row of the upstream would be read to find the few that are pending.
    RELEASE_PENDING = "
        UPDATE coverage INDEXED BY coverage_state SET status = 0, batch = NULL, epoch = NULL, method = NULL
        WHERE status = 1 AND relay IN (SELECT value FROM json_each(?1))";
    RELEASE_BATCHES = "
        UPDATE coverage SET status = 0, batch = NULL, epoch = NULL, method = NULL
        WHERE status = 1 AND batch IN (SELECT value FROM json_each(?1))";
    END_BATCHES = "
        UPDATE batch SET state = 'released', ended_at = ?2
        WHERE ended_at IS NULL AND relay IN (SELECT value FROM json_each(?1))";
    WANT_ALL = "
        UPDATE coverage SET status = 0, batch = NULL, epoch = NULL, method = NULL, confirmed_at = NULL, wanted_at = ?2
        WHERE relay = ?1 AND status <> 0";
}

const ADD: [&str; 6] = [
    ADD_REPOS_OF_UPSTREAMS,
    ADD_ROOTS_OF_UPSTREAMS,
    ADD_MEMBERS_OF_UPSTREAMS,
    ADD_REPOS_OF_HOME,
    ADD_ROOTS_OF_HOME,
    ADD_MEMBERS_OF_HOME,
];

/// Makes items members of repos; answers with those for which one of these is new. Participants of one repo have a bound.
pub(super) async fn add_members(
    conn: &mut SqliteConnection,
    pairs: &BTreeSet<(i64, i64)>,
    kind: i64,
) -> Result<BTreeSet<i64>, Failure> {
    let pairs: Vec<Vec<i64>> = pairs.iter().map(|(item, repo)| vec![*item, *repo]).collect();
    let mut added = BTreeSet::new();
    for chunk in pairs.chunks(ROWS_PER_STATEMENT) {
        let add = sqlx::query_scalar(ADD_MEMBERS).bind(super::json(chunk)).bind(kind).bind(i64::from(PARTICIPANTS_PER_REPO));
        let new: Vec<i64> = add.fetch_all(&mut *conn).await?;
        added.extend(new);
    }
    Ok(added)
}

/// Brings the coverage of `items` in line with the targets (S3); answers with the upstreams where rows came or went.
pub(super) async fn retarget(conn: &mut SqliteConnection, items: &BTreeSet<i64>, now: i64) -> Result<BTreeSet<i64>, Failure> {
    let items: Vec<i64> = items.iter().copied().collect();
    let (mut dirty, mut changed) = (BTreeSet::new(), BTreeSet::new());
    for chunk in items.chunks(ITEMS_PER_STATEMENT) {
        let touched = super::json(chunk);
        let dropped: Vec<(i64, bool)> = sqlx::query_as(DROP_WHAT_IS_NO_TARGET).bind(&touched).fetch_all(&mut *conn).await?;
        // A live filter of theirs names what is gone.
        changed.extend(dropped.iter().filter(|(_, had_place)| *had_place).map(|(relay, _)| *relay));
        dirty.extend(dropped.into_iter().map(|(relay, _)| relay));
        for add in ADD {
            let added: Vec<i64> = sqlx::query_scalar(add).bind(&touched).bind(now).fetch_all(&mut *conn).await?;
            dirty.extend(added);
        }
    }
    if !changed.is_empty() {
        let changed: Vec<i64> = changed.into_iter().collect();
        sqlx::query(NEW_LAYOUT).bind(super::json(&changed)).execute(&mut *conn).await?;
    }
    mark_empty(conn, &dirty, now).await?;
    Ok(dirty)
}

/// The same for every item there is: after the operator changed who is what.
pub(super) async fn retarget_all(conn: &mut SqliteConnection, now: i64) -> Result<(), Failure> {
    let items: Vec<i64> = sqlx::query_scalar(ALL_ITEMS).fetch_all(&mut *conn).await?;
    retarget(conn, &items.into_iter().collect(), now).await?;
    Ok(())
}

/// S16: notes since when these upstreams have nothing to cover.
pub(super) async fn mark_empty(conn: &mut SqliteConnection, relays: &BTreeSet<i64>, now: i64) -> Result<(), Failure> {
    let relays: Vec<i64> = relays.iter().copied().collect();
    sqlx::query(MARK_EMPTY).bind(super::json(&relays)).bind(now).execute(conn).await?;
    Ok(())
}

/// S10: what is pending on these upstreams is wanted again, and their batches are over.
pub(super) async fn release(conn: &mut SqliteConnection, relays: &[i64], now: i64) -> Result<(), Failure> {
    let relays = super::json(relays);
    sqlx::query(RELEASE_PENDING).bind(&relays).execute(&mut *conn).await?;
    sqlx::query(END_BATCHES).bind(&relays).bind(now).execute(conn).await?;
    Ok(())
}

/// What is pending in these batches is wanted again.
pub(super) async fn release_batches(conn: &mut SqliteConnection, batches: &[i64]) -> Result<(), Failure> {
    sqlx::query(RELEASE_BATCHES).bind(super::json(batches)).execute(conn).await?;
    Ok(())
}

/// S8, S15: everything on this upstream is wanted anew; chunks are kept, for live filters may still stand on them.
pub(super) async fn want_all(conn: &mut SqliteConnection, relay: i64, now: i64) -> Result<(), Failure> {
    release(conn, &[relay], now).await?;
    sqlx::query(WANT_ALL).bind(relay).bind(now).execute(conn).await?;
    Ok(())
}
