//! Ids that events at home name and that home lacks: noted as they come, asked for by id when nothing else brought them.

use std::collections::BTreeSet;

use engine::rules::{NAMED_AFTER_SECS, NAMED_PER_REPO};
use model::{EventId, Item, LedgerRow};
use sqlx::SqliteConnection;

use super::bars::hex_ids;
use super::item::{self, ROWS_PER_STATEMENT};
use super::{Failure, codec, coverage, ledger};
use crate::waits::{NAMED_AT_ONCE, NAMED_KEPT_SECS};
use crate::wanting::{self, Names};

statements! {
    REPOS_OF_ITEMS = "
        SELECT e.value, r.item FROM json_each(?1) e JOIN repo r ON r.item = e.value
        UNION SELECT x.root, x.repo FROM root_repo x WHERE x.root IN (SELECT value FROM json_each(?1))";
    NOTE = "
        INSERT INTO named (id, repo, seen_at)
        SELECT unhex(e.value ->> 0), e.value ->> 1, ?2 FROM json_each(?1) e
        WHERE (SELECT count(*) FROM named n WHERE n.repo = e.value ->> 1) < ?3
        ON CONFLICT DO NOTHING";
    // What has arrived, and what nobody has had for long.
    OVER = "
        DELETE FROM named WHERE seen_at <= ?1
           OR id IN (SELECT n.id FROM named n JOIN event e ON e.id = n.id AND e.outcome <> 99)
        RETURNING item";
    FORGET = "DELETE FROM member WHERE item IN (SELECT value FROM json_each(?1))";
    DUE = "SELECT id, repo FROM named WHERE item IS NULL AND seen_at <= ?1 ORDER BY seen_at LIMIT ?2";
    ASKED = "
        UPDATE named SET item = (SELECT i.id FROM item i WHERE i.key = 'id:' || lower(hex(named.id)))
        WHERE id IN (SELECT unhex(value) FROM json_each(?1))";
}

/// Notes what `rows`, which home holds, name and the ledger does not know.
pub(super) async fn note(conn: &mut SqliteConnection, rows: &[&LedgerRow], now: i64) -> Result<(), Failure> {
    let names: Vec<Names> = rows.iter().filter_map(|row| wanting::names_of(row)).collect();
    let ids: BTreeSet<EventId> = names.iter().flat_map(|one| one.ids.iter().copied()).collect();
    let ids: Vec<EventId> = ids.into_iter().collect();
    let known: BTreeSet<EventId> = ledger::known(conn, &ids).await?.into_iter().collect();
    if known.len() == ids.len() {
        return Ok(());
    }
    let lacking: Vec<Names> = names.into_iter().filter_map(|one| one.without(&known)).collect();
    let numbers = item::known_numbers(conn, lacking.iter().flat_map(|one| one.parents.iter().cloned())).await?;
    let items: Vec<i64> = numbers.values().copied().collect();
    let mut repos: Vec<(i64, i64)> = Vec::new();
    for chunk in items.chunks(ROWS_PER_STATEMENT) {
        let found: Vec<(i64, i64)> = sqlx::query_as(REPOS_OF_ITEMS).bind(super::json(chunk)).fetch_all(&mut *conn).await?;
        repos.extend(found);
    }
    let pairs: Vec<serde_json::Value> = wanting::pairs(&lacking, &numbers, &repos)
        .into_iter()
        .map(|(id, repo)| serde_json::json!([id.to_hex(), repo]))
        .collect();
    for chunk in pairs.chunks(ROWS_PER_STATEMENT) {
        let note = sqlx::query(NOTE).bind(super::json(chunk)).bind(now).bind(i64::from(NAMED_PER_REPO));
        note.execute(&mut *conn).await?;
    }
    Ok(())
}

/// Makes items of what has not come by itself, and ends those that have come.
pub(super) async fn look_for(conn: &mut SqliteConnection, now: i64) -> Result<(), Failure> {
    let over = sqlx::query_scalar(OVER).bind(now.saturating_sub(NAMED_KEPT_SECS));
    let over: Vec<Option<i64>> = over.fetch_all(&mut *conn).await?;
    let mut touched: BTreeSet<i64> = over.into_iter().flatten().collect();
    let gone: Vec<i64> = touched.iter().copied().collect();
    sqlx::query(FORGET).bind(super::json(&gone)).execute(&mut *conn).await?;
    let due = sqlx::query_as(DUE).bind(now.saturating_sub(codec::signed(NAMED_AFTER_SECS))).bind(NAMED_AT_ONCE);
    let due: Vec<(Vec<u8>, i64)> = due.fetch_all(&mut *conn).await?;
    let due = due.iter().map(|(id, repo)| Ok((codec::event_id(id)?, *repo))).collect::<Result<Vec<_>, Failure>>()?;
    if !due.is_empty() {
        let numbers = item::numbers(conn, due.iter().map(|(id, _)| Item::Named(*id))).await?;
        let pairs: BTreeSet<(i64, i64)> = due.iter().map(|(id, repo)| (numbers[&Item::Named(*id).key()], *repo)).collect();
        coverage::add_members(conn, &pairs, codec::item_kind_code(model::ItemKind::Named)).await?;
        sqlx::query(ASKED).bind(hex_ids(due.iter().map(|(id, _)| id))).execute(&mut *conn).await?;
        touched.extend(pairs.into_iter().map(|(item, _)| item));
    }
    coverage::retarget(conn, &touched, now).await?;
    Ok(())
}
