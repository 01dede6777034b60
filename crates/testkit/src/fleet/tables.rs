//! What a sync has come to, read from either store's tables and written so that two stores can be compared byte for byte.
//!
//! Left out is what depends on the time, on numbering, and on who did the work: times of ours, numbers, owners, epochs, batches,
//! methods, texts of refusals, and by which upstream an event came.

use sqlx::postgres::PgRow;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, ValueRef};
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// How long a statement may take: what a broken database says must not be waited for for ever.
const LIMIT: Duration = Duration::from_secs(60);

/// A heading, and what is under it in each store: one text a row, in which a word `x:<hex>` stands for any bytes. In whatever
/// order, for each section is sorted here.
struct Section {
    heading: &'static str,
    postgres: &'static str,
    sqlite: &'static str,
}

/// Whether an event was new to home, there already, or older than what home held is a race between upstreams; and an older
/// version that home has replaced may be forgotten (99) or not.
const SECTIONS: [Section; 7] = [
    Section {
        heading: "relays: URL, role, whether it is never dialed",
        postgres: "SELECT url || ' ' || role || ' ' || refused::int FROM relay",
        sqlite: "SELECT url || ' ' || role || ' ' || refused FROM relay",
    },
    Section {
        heading: "repos: address, announcement, its second, until when it is deleted",
        postgres: "SELECT concat_ws(' ', 'x:' || encode(i.key, 'hex'), coalesce(encode(r.event, 'hex'), '-'),
                coalesce(r.created_at::text, '-'), coalesce(r.removed_until::text, '-')) FROM repo r JOIN item i ON i.id = r.item",
        sqlite: "SELECT concat_ws(' ', 'x:' || hex(i.key), coalesce(nullif(lower(hex(r.event)), ''), '-'),
                coalesce(r.created_at, '-'), coalesce(r.removed_until, '-')) FROM repo r JOIN item i ON i.id = r.item",
    },
    Section {
        heading: "repos on relays: address, URL",
        postgres: "SELECT concat_ws(' ', 'x:' || encode(i.key, 'hex'), l.url)
                FROM repo_relay r JOIN item i ON i.id = r.repo JOIN relay l ON l.id = r.relay",
        sqlite: "SELECT concat_ws(' ', 'x:' || hex(i.key), l.url)
                FROM repo_relay r JOIN item i ON i.id = r.repo JOIN relay l ON l.id = r.relay",
    },
    Section {
        heading: "roots: id, kind, its second",
        postgres: "SELECT concat_ws(' ', 'x:' || encode(i.key, 'hex'), r.kind, r.created_at)
                FROM root r JOIN item i ON i.id = r.item",
        sqlite: "SELECT concat_ws(' ', 'x:' || hex(i.key), r.kind, r.created_at) FROM root r JOIN item i ON i.id = r.item",
    },
    Section {
        heading: "roots of repos: id, address",
        postgres: "SELECT concat_ws(' ', 'x:' || encode(i.key, 'hex'), 'x:' || encode(o.key, 'hex'))
                FROM root_repo r JOIN item i ON i.id = r.root JOIN item o ON o.id = r.repo",
        sqlite: "SELECT concat_ws(' ', 'x:' || hex(i.key), 'x:' || hex(o.key))
                FROM root_repo r JOIN item i ON i.id = r.root JOIN item o ON o.id = r.repo",
    },
    Section {
        heading: "coverage: URL, item, status",
        postgres: "SELECT concat_ws(' ', l.url, 'x:' || encode(i.key, 'hex'),
                CASE c.status WHEN 0 THEN 'wanted' WHEN 1 THEN 'pending' WHEN 2 THEN 'confirmed' ELSE c.status::text END)
                FROM coverage c JOIN relay l ON l.id = c.relay JOIN item i ON i.id = c.item",
        sqlite: "SELECT concat_ws(' ', l.url, 'x:' || hex(i.key),
                CASE c.status WHEN 0 THEN 'wanted' WHEN 1 THEN 'pending' WHEN 2 THEN 'confirmed' ELSE c.status END)
                FROM coverage c JOIN relay l ON l.id = c.relay JOIN item i ON i.id = c.item",
    },
    Section {
        heading: "events: id, second, kind, outcome (stored, duplicate and superseded are settled), what it refers to",
        postgres: "SELECT concat_ws(' ', encode(e.id, 'hex'), e.created_at, e.kind,
                CASE WHEN e.outcome <= 2 OR (e.outcome = 99 AND e.kind BETWEEN 30000 AND 39999) THEN 'settled' WHEN e.outcome = 3 THEN 'held' WHEN e.outcome = 4 THEN 'refused'
                    WHEN e.outcome = 5 THEN 'needs-parent' ELSE 'gated-' || e.outcome END,
                (SELECT string_agg(f.tag || ':' || encode(f.value_hash, 'hex'), ' ' ORDER BY f.tag, f.value_hash)
                    FROM event_ref r JOIN ref f ON f.id = r.ref WHERE r.created_at = e.created_at AND r.id = e.id)) FROM event e",
        sqlite: "SELECT concat_ws(' ', lower(hex(e.id)), e.created_at, e.kind,
                CASE WHEN e.outcome <= 2 OR (e.outcome = 99 AND e.kind BETWEEN 30000 AND 39999) THEN 'settled' WHEN e.outcome = 3 THEN 'held' WHEN e.outcome = 4 THEN 'refused'
                    WHEN e.outcome = 5 THEN 'needs-parent' ELSE 'gated-' || e.outcome END,
                (SELECT group_concat(f.tag || ':' || lower(hex(f.value_hash)), ' ' ORDER BY f.tag, f.value_hash)
                    FROM event_ref r JOIN ref f ON f.id = r.ref WHERE r.created_at = e.created_at AND r.id = e.id)) FROM event e",
    },
];

/// The tables of an embedded store's file, as [`super::Fleet::final_tables`] writes those of a fleet. A process may run on it.
///
/// # Panics
/// When the file is missing or cannot be read.
pub async fn tables_of_sqlite(path: &Path) -> String {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(LIMIT);
    let mut connection = SqliteConnection::connect_with(&options).await.expect("the store's file can be opened");
    let mut tables = String::new();
    for section in &SECTIONS {
        let rows = sqlx::query_scalar(section.sqlite).fetch_all(&mut connection).await;
        section.write(&mut tables, rows.expect("the store's tables are those of the migrations"));
    }
    tables
}

/// How many ids of events that others name are noted in the store of an embedded system and were not looked for yet.
///
/// # Panics
/// When the file is missing or cannot be read.
pub async fn names_to_look_for(path: &Path) -> i64 {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(LIMIT);
    let mut connection = SqliteConnection::connect_with(&options).await.expect("the store's file can be opened");
    let count = sqlx::query_scalar("SELECT count(*) FROM named WHERE item IS NULL").fetch_one(&mut connection).await;
    count.expect("the store's tables are those of the migrations")
}

/// The same of a database, by its URL.
///
/// # Panics
/// When it cannot be reached or read.
pub async fn tables_of_postgres(url: &str) -> String {
    let mut tables = String::new();
    for section in &SECTIONS {
        section.write(&mut tables, rows_of(url, section.postgres).await);
    }
    tables
}

/// The rows that a statement yields, each its columns between `|`, in the server's own words.
pub(super) async fn rows_of(url: &str, statement: &str) -> Vec<String> {
    let asking = async {
        let mut connection = PgConnection::connect(url).await?;
        sqlx::raw_sql(AssertSqlSafe(statement)).fetch_all(&mut connection).await
    };
    let rows = timeout(LIMIT, asking).await.expect("the database answers");
    rows.unwrap_or_else(|error| panic!("{statement}: {error}")).iter().map(row_as_text).collect()
}

fn row_as_text(row: &PgRow) -> String {
    let column = |index| {
        let value = row.try_get_raw(index).expect("a row has its columns");
        if value.is_null() { "NULL" } else { value.as_str().expect("the server writes text when it is asked this way") }
    };
    (0..row.len()).map(column).collect::<Vec<_>>().join("|")
}

impl Section {
    fn write(&self, tables: &mut String, rows: Vec<String>) {
        let mut rows: Vec<String> = rows.iter().map(|row| readable(row)).collect();
        rows.sort();
        tables.push_str(&format!("# {}\n", self.heading));
        rows.iter().for_each(|row| tables.extend([row, "\n"]));
    }
}

/// The words of a row, with the bytes that some of them stand for.
fn readable(row: &str) -> String {
    let word = |word: &str| word.strip_prefix("x:").map_or_else(|| word.to_owned(), text_of);
    row.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// Bytes in hex as text, in which everything that could be mistaken is escaped.
fn text_of(hex: &str) -> String {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("a store writes hex");
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    bytes.escape_ascii().to_string().replace(' ', "\\x20")
}
