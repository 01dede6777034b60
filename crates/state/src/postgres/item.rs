//! Items and their numbers.

use std::collections::BTreeMap;

use model::Item;
use sqlx::PgConnection;

use super::{Failure, codec};
use crate::repos::Numbers;
use crate::view::ItemRow;

/// Rows of one statement: below this a statement costs more than its rows.
pub(super) const ROWS_PER_STATEMENT: usize = 5000;

statements! {
    NUMBERS_OF_KEYS = "SELECT key_hash, id FROM item WHERE key_hash = ANY($1)";
    ADD = "
        INSERT INTO item (key, key_hash, kind)
        SELECT n.key, n.key_hash, n.kind FROM UNNEST($1::bytea[], $2::bytea[], $3::bigint[]) n (key, key_hash, kind)
        ORDER BY n.key_hash ON CONFLICT DO NOTHING RETURNING key_hash, id";
}

/// The numbers of `items` by key; those that the store has never seen get one. Only who works out targets may call it.
pub(super) async fn numbers(conn: &mut PgConnection, items: impl IntoIterator<Item = Item>) -> Result<Numbers, Failure> {
    let wanted: BTreeMap<String, i64> =
        items.into_iter().map(|item| (item.key(), codec::item_kind_code(item.kind()))).collect();
    let mut numbers = known_numbers(conn, wanted.keys().cloned()).await?;
    let new: Vec<(String, i64)> = wanted.into_iter().filter(|(key, _)| !numbers.contains_key(key)).collect();
    for chunk in new.chunks(ROWS_PER_STATEMENT) {
        let hashes = by_hash(chunk.iter().map(|(key, _)| key.clone()));
        let keys: Vec<Vec<u8>> = chunk.iter().map(|(key, _)| key.clone().into_bytes()).collect();
        let key_hashes: Vec<Vec<u8>> = chunk.iter().map(|(key, _)| codec::hash(key).to_vec()).collect();
        let kinds: Vec<i64> = chunk.iter().map(|(_, kind)| *kind).collect();
        let rows = sqlx::query_as(ADD).bind(keys).bind(key_hashes).bind(kinds).fetch_all(&mut *conn).await?;
        numbers.extend(named(rows, &hashes));
    }
    Ok(numbers)
}

/// The numbers of those keys that the store knows.
pub(super) async fn known_numbers(conn: &mut PgConnection, keys: impl IntoIterator<Item = String>) -> Result<Numbers, Failure> {
    let hashes = by_hash(keys);
    let all: Vec<Vec<u8>> = hashes.keys().cloned().collect();
    let mut numbers = Numbers::new();
    for chunk in all.chunks(ROWS_PER_STATEMENT) {
        let rows = sqlx::query_as(NUMBERS_OF_KEYS).bind(chunk).fetch_all(&mut *conn).await?;
        numbers.extend(named(rows, &hashes));
    }
    Ok(numbers)
}

/// Texts by what the database knows them by.
pub(super) fn by_hash(texts: impl IntoIterator<Item = String>) -> BTreeMap<Vec<u8>, String> {
    texts.into_iter().map(|text| (codec::hash(&text).to_vec(), text)).collect()
}

pub(super) fn named(rows: Vec<(Vec<u8>, i64)>, texts: &BTreeMap<Vec<u8>, String>) -> impl Iterator<Item = (String, i64)> {
    rows.into_iter().filter_map(|(hash, number)| Some((texts.get(&hash)?.clone(), number)))
}

/// Kind, key and chunk, as they are stored.
pub(super) type StoredItem = (i64, Vec<u8>, Option<i64>);

pub(super) fn readable(rows: Vec<StoredItem>) -> Result<Vec<ItemRow>, Failure> {
    let readable = |(kind, key, chunk): StoredItem| {
        let key = String::from_utf8(key).map_err(|_| super::unreadable("an item"))?;
        Ok((kind, key, chunk))
    };
    rows.into_iter().map(readable).collect()
}
