//! Items and their numbers.

use std::collections::BTreeMap;

use model::Item;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::{Failure, codec};

/// Rows of one multi-row statement: larger ones are no faster.
pub(super) const ROWS_PER_STATEMENT: usize = 300;

statements! {
    NUMBERS_OF_KEYS = "
        SELECT json_group_array(json_array(key, id)) FROM item WHERE key IN (SELECT value FROM json_each(?1))";
}

/// The numbers of `items` by key; those that the store has never seen get one.
pub(super) async fn numbers(
    conn: &mut SqliteConnection,
    items: impl IntoIterator<Item = Item>,
) -> Result<BTreeMap<String, i64>, Failure> {
    let wanted: BTreeMap<String, i64> =
        items.into_iter().map(|item| (item.key(), codec::item_kind_code(item.kind()))).collect();
    let mut numbers = known_numbers(conn, wanted.keys().cloned()).await?;
    let new: Vec<(&String, i64)> =
        wanted.iter().filter(|(key, _)| !numbers.contains_key(*key)).map(|(key, kind)| (key, *kind)).collect();
    for chunk in new.chunks(ROWS_PER_STATEMENT) {
        numbers.extend(insert(conn, chunk).await?);
    }
    Ok(numbers)
}

/// The numbers of those keys that the store knows.
pub(super) async fn known_numbers(
    conn: &mut SqliteConnection,
    keys: impl IntoIterator<Item = String>,
) -> Result<BTreeMap<String, i64>, Failure> {
    let keys: Vec<String> = keys.into_iter().collect();
    let mut numbers = BTreeMap::new();
    for chunk in keys.chunks(ROWS_PER_STATEMENT) {
        let known: String = sqlx::query_scalar(NUMBERS_OF_KEYS).bind(super::json(chunk)).fetch_one(&mut *conn).await?;
        numbers.extend(super::listed::<(String, i64)>(&known)?);
    }
    Ok(numbers)
}

async fn insert(conn: &mut SqliteConnection, new: &[(&String, i64)]) -> Result<Vec<(String, i64)>, Failure> {
    let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO item (key, kind) ");
    sql.push_values(new, |mut row, (key, kind)| {
        row.push_bind(*key).push_bind(*kind);
    });
    sql.push(" RETURNING key, id");
    Ok(sql.build_query_as().fetch_all(conn).await?)
}
