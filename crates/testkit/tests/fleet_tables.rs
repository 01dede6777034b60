//! The dumps of both stores, on databases made by hand: equal for equal syncs, different for every difference that counts.
#![allow(clippy::unwrap_used)]

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use testkit::fleet::{tables_of_postgres, tables_of_sqlite};

/// The same sync twice. In the first, the second relay, item and ref have other numbers than in the second, the events came by
/// another relay, and every time and worker is another one.
const SQLITE: &str = "
INSERT INTO relay (id, url, role, dial_at) VALUES (1, 'wss://home.example/', 'home', 10), (2, 'wss://a.example/', 'listed', 11);
INSERT INTO relay (id, url, role, refused, dial_at) VALUES (3, 'wss://b.example/', 'bootstrap', 1, 12);
INSERT INTO item (id, kind, key) VALUES (1, 0, '30617:ab:a tool' || char(10) || 'é'), (2, 1, 'cd');
INSERT INTO repo (item, event, created_at, removed_until, maintainers, identifier) VALUES (1, x'0a', 100, NULL, '[]', x'0d');
INSERT INTO repo_relay (repo, relay) VALUES (1, 2), (1, 3);
INSERT INTO root (item, kind, created_at) VALUES (2, 1621, 101);
INSERT INTO root_repo (root, repo) VALUES (2, 1);
INSERT INTO coverage (relay, item, kind, status, wanted_at) VALUES (2, 1, 0, 2, 5), (2, 2, 1, 0, 6), (3, 1, 0, 1, 7);
INSERT INTO ref (id, tag, value_hash) VALUES (1, 0, x'01'), (2, 2, x'02');
INSERT INTO event (id, created_at, kind, outcome, upstream, seen_at) VALUES
    (zeroblob(32), 101, 1621, 0, 2, 50), (CAST(zeroblob(31) || x'01' AS BLOB), 102, 1111, 4, 2, 51);
INSERT INTO event_ref (ref, created_at, id) VALUES (1, 101, zeroblob(32)), (2, 101, zeroblob(32));
";
const POSTGRES: &str = r"
INSERT INTO relay (id, url, url_hash, host, role, refused, dial_at, epoch, owner) OVERRIDING SYSTEM VALUE VALUES
    (9, 'wss://b.example/', '\x0b', 'b.example', 'bootstrap', true, 77, 3, 'worker'),
    (8, 'wss://a.example/', '\x0a', 'a.example', 'listed', false, 78, 4, NULL),
    (7, 'wss://home.example/', '\x0c', 'home.example', 'home', false, 79, 5, NULL);
INSERT INTO item (id, kind, key, key_hash) OVERRIDING SYSTEM VALUE VALUES
    (5, 1, 'cd', '\x01'), (4, 0, convert_to(E'30617:ab:a tool\né', 'UTF8'), '\x02');
INSERT INTO repo (item, event, created_at, removed_until, maintainers, identifier) VALUES (4, '\x0a', 100, NULL, '[]', '\x0d');
INSERT INTO repo_relay (repo, relay) VALUES (4, 9), (4, 8);
INSERT INTO root (item, kind, created_at) VALUES (5, 1621, 101);
INSERT INTO root_repo (root, repo) VALUES (5, 4);
INSERT INTO coverage (relay, item, kind, status, wanted_at, batch, epoch, method) VALUES
    (9, 4, 0, 1, 70, 1, 3, 'req'), (8, 4, 0, 2, 71, 2, 4, 'negentropy'), (8, 5, 1, 0, 72, NULL, NULL, NULL);
INSERT INTO ref (id, tag, value_hash) OVERRIDING SYSTEM VALUE VALUES (3, 2, '\x02'), (4, 0, '\x01');
INSERT INTO event (id, created_at, kind, outcome, reason, upstream, seen_at) VALUES
    (decode(repeat('00', 31) || '01', 'hex'), 102, 1111, 4, 'not ours', 9, 90),
    (decode(repeat('00', 32), 'hex'), 101, 1621, 1, NULL, 9, 91);
INSERT INTO event_ref (ref, created_at, id) VALUES
    (3, 101, decode(repeat('00', 32), 'hex')), (4, 101, decode(repeat('00', 32), 'hex'));
";

/// One change each, in words of both stores.
const DIFFERENCES: [&str; 14] = [
    "UPDATE relay SET url = 'wss://c.example/' WHERE role = 'bootstrap'",
    "UPDATE relay SET role = 'listed' WHERE role = 'bootstrap'",
    "DELETE FROM relay WHERE role = 'home'",
    "UPDATE repo SET created_at = 99",
    "UPDATE repo SET event = NULL",
    "UPDATE repo SET removed_until = 100",
    "DELETE FROM repo_relay WHERE relay = (SELECT id FROM relay WHERE url = 'wss://a.example/')",
    "UPDATE root SET kind = 1617",
    "DELETE FROM root_repo",
    "UPDATE coverage SET status = 2 WHERE status = 1",
    "UPDATE event SET kind = 1 WHERE kind = 1111",
    "UPDATE event SET outcome = 5 WHERE outcome = 4",
    "DELETE FROM event WHERE created_at = 102",
    "DELETE FROM event_ref WHERE ref = (SELECT id FROM ref WHERE tag = 2)",
];

fn migrations(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations").join(of)
}

async fn sqlite() -> (TempDir, PathBuf, SqliteConnection) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    Migrator::new(migrations("sqlite")).await.unwrap().run(&mut connection).await.unwrap();
    sqlx::raw_sql(SQLITE).execute(&mut connection).await.unwrap();
    (directory, path, connection)
}

async fn postgres() -> (String, PgConnection) {
    let url = testkit::postgres::database();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    Migrator::new(migrations("postgres")).await.unwrap().run(&mut connection).await.unwrap();
    sqlx::raw_sql(POSTGRES).execute(&mut connection).await.unwrap();
    (url, connection)
}

#[tokio::test]
async fn the_same_sync_reads_the_same_in_both_stores() {
    let (_directory, path, _open) = sqlite().await;
    let (url, _) = postgres().await;
    let tables = tables_of_sqlite(&path).await;
    assert_eq!(tables, tables_of_postgres(&url).await);
    let (first, second) = ("00".repeat(32), "00".repeat(31) + "01");
    for row in [
        "wss://b.example/ bootstrap 1",
        r"30617:ab:a\x20tool\n\xc3\xa9 0a 100 -",
        r"30617:ab:a\x20tool\n\xc3\xa9 wss://a.example/",
        "cd 1621 101",
        r"cd 30617:ab:a\x20tool\n\xc3\xa9",
        r"wss://a.example/ 30617:ab:a\x20tool\n\xc3\xa9 confirmed",
        "wss://a.example/ cd wanted",
        &format!("{first} 101 1621 settled 0:01 2:02"),
        &format!("{second} 102 1111 refused"),
    ] {
        assert!(tables.lines().any(|line| line == row), "{row}\n{tables}");
    }
}

#[tokio::test]
async fn every_difference_that_counts_is_seen_in_either_store() {
    let (_directory, path, mut sqlite) = sqlite().await;
    let (url, mut postgres) = postgres().await;
    for difference in DIFFERENCES {
        let before = tables_of_sqlite(&path).await;
        sqlx::raw_sql(AssertSqlSafe(difference)).execute(&mut sqlite).await.unwrap();
        let after = tables_of_sqlite(&path).await;
        assert_ne!(after, before, "{difference}");
        assert_eq!(tables_of_postgres(&url).await, before, "{difference}");
        sqlx::raw_sql(AssertSqlSafe(difference)).execute(&mut postgres).await.unwrap();
        assert_eq!(tables_of_postgres(&url).await, after, "{difference}");
    }
}
