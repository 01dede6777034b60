//! Ids that events at home name and that home lacks: noted as they come, asked for by id when nothing else brought them.

use std::collections::BTreeSet;

use engine::rules::{NAMED_AFTER_SECS, NAMED_PER_REPO};
use model::{EventId, Item, ItemKind, LedgerRow};
use sqlx::PgConnection;

use super::{Failure, Time, codec, coverage, item, ledger};
use crate::waits::{NAMED_AT_ONCE, NAMED_KEPT_SECS};
use crate::wanting::{self, Names};

statements! {
    REPOS_OF_ITEMS = "
        SELECT item, item FROM repo WHERE item = ANY($1)
        UNION SELECT root, repo FROM root_repo WHERE root = ANY($1)";
    NOTE = "
        INSERT INTO named (id, repo, seen_at)
        SELECT n.id, n.repo, $3 FROM UNNEST($1::bytea[], $2::bigint[]) n (id, repo)
        WHERE (SELECT count(*) FROM named o WHERE o.repo = n.repo) < $4
        ORDER BY n.id, n.repo ON CONFLICT DO NOTHING";
    // What has arrived, and what nobody has had for long.
    IS_ANY = "
        SELECT EXISTS (SELECT 1 FROM named WHERE seen_at <= $1 OR (item IS NULL AND seen_at <= $2))
            OR EXISTS (SELECT 1 FROM named n JOIN event e ON e.id = n.id AND e.outcome <> 99)";
    OVER = "
        DELETE FROM named WHERE seen_at <= $1
           OR id IN (SELECT n.id FROM named n JOIN event e ON e.id = n.id AND e.outcome <> 99)
        RETURNING item";
    FORGET = "DELETE FROM member WHERE item = ANY($1)";
    DUE = "SELECT id, repo FROM named WHERE item IS NULL AND seen_at <= $1 ORDER BY seen_at LIMIT $2";
    ASKED = "
        UPDATE named SET item = n.item FROM UNNEST($1::bytea[], $2::bigint[]) n (id, item) WHERE named.id = n.id";
}

/// Notes what `rows`, which home holds, name and the ledger does not know.
pub(super) async fn note(conn: &mut PgConnection, rows: &[&LedgerRow], now: i64) -> Result<(), Failure> {
    let names: Vec<Names> = rows.iter().filter_map(|row| wanting::names_of(row)).collect();
    let ids: BTreeSet<EventId> = names.iter().flat_map(|one| one.ids.iter().copied()).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let ids: Vec<EventId> = ids.into_iter().collect();
    let known: BTreeSet<EventId> = ledger::known(conn, &ids).await?.into_iter().collect();
    let lacking: Vec<Names> = names.into_iter().filter_map(|one| one.without(&known)).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let numbers = item::known_numbers(conn, lacking.iter().flat_map(|one| one.parents.iter().cloned())).await?;
    let items: Vec<i64> = numbers.values().copied().collect();
    let repos: Vec<(i64, i64)> = sqlx::query_as(REPOS_OF_ITEMS).bind(items).fetch_all(&mut *conn).await?;
    let pairs = wanting::pairs(&lacking, &numbers, &repos).into_iter();
    let (ids, repos): (Vec<Vec<u8>>, Vec<i64>) = pairs.map(|(id, repo)| (id.as_bytes().to_vec(), repo)).unzip();
    sqlx::query(NOTE).bind(ids).bind(repos).bind(now).bind(i64::from(NAMED_PER_REPO)).execute(conn).await?;
    Ok(())
}

/// Makes items of what has not come by itself, and ends those that have come. A transaction of its own: it works out targets.
pub(super) async fn look_for(conn: &mut PgConnection, time: &Time) -> Result<(), Failure> {
    let now = time.now(conn).await?;
    let (kept, after) = (now.saturating_sub(NAMED_KEPT_SECS), now.saturating_sub(codec::signed(NAMED_AFTER_SECS)));
    let is_any: bool = sqlx::query_scalar(IS_ANY).bind(kept).bind(after).fetch_one(&mut *conn).await?;
    if !is_any {
        return Ok(());
    }
    coverage::alone(conn).await?;
    let over: Vec<Option<i64>> = sqlx::query_scalar(OVER).bind(kept).fetch_all(&mut *conn).await?;
    let gone: Vec<i64> = over.into_iter().flatten().collect();
    sqlx::query(FORGET).bind(&gone).execute(&mut *conn).await?;
    let due: Vec<(Vec<u8>, i64)> = sqlx::query_as(DUE).bind(after).bind(NAMED_AT_ONCE).fetch_all(&mut *conn).await?;
    let due = due.iter().map(|(id, repo)| Ok((codec::event_id(id)?, *repo))).collect::<Result<Vec<_>, Failure>>()?;
    let numbers = item::numbers(conn, due.iter().map(|(id, _)| Item::Named(*id))).await?;
    let number = |id: &EventId| numbers[&Item::Named(*id).key()];
    let pairs: BTreeSet<(i64, i64)> = due.iter().map(|(id, repo)| (number(id), *repo)).collect();
    coverage::add_members(conn, &pairs, codec::item_kind_code(ItemKind::Named)).await?;
    let asked: BTreeSet<EventId> = due.iter().map(|(id, _)| *id).collect();
    let (ids, items): (Vec<Vec<u8>>, Vec<i64>) = asked.iter().map(|id| (id.as_bytes().to_vec(), number(id))).unzip();
    sqlx::query(ASKED).bind(ids).bind(items).execute(&mut *conn).await?;
    let touched = gone.into_iter().chain(pairs.into_iter().map(|(item, _)| item)).collect();
    coverage::retarget(conn, &touched, now).await?;
    Ok(())
}
