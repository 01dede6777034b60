//! What only this adapter can be asked: that its SQL fits its schema, and what it says about files it cannot use.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use model::Timestamp;
use sqlx::{Executor, SqlSafeStr};

use super::*;

fn settings() -> Settings {
    Settings {
        policy: engine::rules::Policy::default(),
        clock: Arc::new(|| Timestamp::from_secs(1_700_000_000)),
        allow_non_public: Vec::new(),
        has_onion_proxy: false,
        own_urls: Vec::new(),
        operator: None,
        private_peers: Vec::new(),
        rolls: Arc::new(|| 0),
    }
}

fn all_statements() -> Vec<(&'static str, &'static str)> {
    [
        bars::STATEMENTS,
        claim::STATEMENTS,
        coverage::STATEMENTS,
        discover::STATEMENTS,
        explain::STATEMENTS,
        item::STATEMENTS,
        lease::STATEMENTS,
        ledger::STATEMENTS,
        link::STATEMENTS,
        named::STATEMENTS,
        open::STATEMENTS,
        relay::STATEMENTS,
        report::STATEMENTS,
        snapshot::STATEMENTS,
        status::STATEMENTS,
        sweep::STATEMENTS,
        waiting::STATEMENTS,
    ]
    .concat()
}

#[tokio::test]
async fn every_statement_fits_the_schema() {
    let store = SqliteStore::open_in_memory(settings()).await.unwrap();
    let mut conn = store.writer.acquire().await.unwrap();
    for (name, sql) in all_statements() {
        if let Err(error) = conn.prepare(sql.into_sql_str()).await {
            panic!("{name}: {error}");
        }
    }
}

async fn plan_of(store: &SqliteStore, sql: &str) -> String {
    let mut conn = store.writer.acquire().await.unwrap();
    let sql = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let rows: Vec<(i64, i64, i64, String)> = sqlx::query_as(sql).fetch_all(&mut *conn).await.unwrap();
    rows.into_iter().map(|(_, _, _, line)| line + "\n").collect()
}

#[tokio::test]
async fn no_statement_reads_all_coverage_items_or_events() {
    let store = SqliteStore::open_in_memory(settings()).await.unwrap();
    for (name, sql) in all_statements() {
        // Asked for by people, now and then: one counts everything, one has no index. Who is over a cap is judged over all that
        // is listed, when that changes.
        if ["ITEMS", "REFS_OF_EVENT", "LISTINGS"].contains(&name) {
            continue;
        }
        let plan = plan_of(&store, sql).await;
        for table in ["coverage", "c", "h", "item", "i", "event", "e", "event_ref", "ref", "repo_relay", "root_repo", "x", "rr"]
        {
            let scans = [format!("SCAN {table}\n"), format!("SCAN {table} ")];
            let plan: String =
                plan.lines().filter(|line| !line.contains("VIRTUAL TABLE")).map(|line| format!("{line}\n")).collect();
            assert!(!scans.iter().any(|scan| plan.contains(scan)), "{name}:\n{plan}");
        }
    }
}

#[tokio::test]
async fn references_are_found_one_by_one_and_what_is_apart_in_an_index_of_its_own() {
    let store = SqliteStore::open_in_memory(settings()).await.unwrap();
    let plan = async |name: &str| {
        let (_, sql) = ledger::STATEMENTS.iter().find(|(known, _)| *known == name).unwrap();
        plan_of(&store, sql).await
    };
    let numbers = plan("NUMBERS_OF_REFS").await;
    assert!(numbers.contains("(tag=? AND value_hash=?)"), "not by all that one tag names:\n{numbers}");
    for page in ["PAGE_OF_REFS", "PAGE_OF_KINDS"] {
        let plan = plan(page).await;
        assert!(plan.contains("COVERING INDEX event_apart (id=?)"), "{page}:\n{plan}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_said_to_be_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    std::fs::write(&path, "this is a letter, not a database".repeat(100)).unwrap();
    let error = SqliteStore::open(&path, settings()).await.err().unwrap();
    assert!(matches!(error, OpenError::NotADatabase(_)), "{error}");
}

#[tokio::test]
async fn a_folder_that_does_not_exist_is_said_not_to_be_writable() {
    let dir = tempfile::tempdir().unwrap();
    let error = SqliteStore::open(&dir.path().join("missing/state.db"), settings()).await.err().unwrap();
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error}");
}

#[tokio::test]
async fn the_file_of_a_newer_version_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let store = SqliteStore::open(&path, settings()).await.unwrap();
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (9999, 'from the future', true, x'00', 0)";
    sqlx::query(later).execute(&store.writer).await.unwrap();
    store.close().await;
    let error = SqliteStore::open(&path, settings()).await.err().unwrap();
    assert!(matches!(error, OpenError::NewerSchema { schema: 9999, .. }), "{error}");
    let told = error.to_string();
    assert!(told.contains("run that version, or put back the copy from before the upgrade"), "{told}");
}

#[tokio::test]
async fn the_log_is_folded_into_the_file_when_the_store_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let store = SqliteStore::open(&path, settings()).await.unwrap();
    let home = RelayUrl::parse("wss://home.example").unwrap();
    store.name_relays(&[(home, Role::Home)]).await.unwrap();
    let log = dir.path().join("state.db-wal");
    assert!(log.exists());
    store.close().await;
    assert!(!log.exists());
}

#[tokio::test]
async fn ended_batches_are_kept_for_seven_days_and_the_last_twenty_for_ever() {
    let store = SqliteStore::open_in_memory(settings()).await.unwrap();
    let home = RelayUrl::parse("wss://home.example").unwrap();
    store.name_relays(&[(home, Role::Home)]).await.unwrap();
    let worker = model::WorkerId { name: "connector".to_owned(), incarnation: "one".to_owned() };
    let request =
        LeaseRequest { worker, ttl_ms: 6_000, behind: Vec::new(), leaving: false, writes: model::HomeWrites::default() };
    let assigned = store.lease(&request).await.unwrap().remove(0);
    let upstream = assigned.upstream;
    let epoch = store.up(upstream, assigned.epoch).await.unwrap().epoch;
    // 30 that ended 8 days ago, of which 17 are among the last 20 once 3 of yesterday have come.
    let ended = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 33)
        INSERT INTO batch (relay, epoch, method, items, state, deadline, started_at, ended_at)
        SELECT ?1, 1, 'REQ', 1, 'complete', 0, 0, ?2 - CASE WHEN i <= 30 THEN 8 ELSE 1 END * 86400 FROM n";
    sqlx::query(ended).bind(upstream.0).bind(store.now()).execute(&store.writer).await.unwrap();
    let draft = model::Draft { items: Vec::new(), chunk: 0, method: model::Method::Req };
    let claim = Claim { upstream, epoch, refresh: None, rechunk: Vec::new(), drafts: vec![draft], audit: None };
    store.claim(&claim).await.unwrap();
    let kept: Vec<i64> = sqlx::query_scalar("SELECT id FROM batch ORDER BY id").fetch_all(&store.writer).await.unwrap();
    assert_eq!(kept, (14..=33).collect::<Vec<i64>>());
}

#[tokio::test]
async fn a_transaction_that_the_database_ended_by_itself_does_not_keep_the_next_one_out() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&directory.path().join("state.sqlite"), settings()).await.unwrap();
    for _ in 0..3 {
        let mut transaction = store.write().await.unwrap();
        // As SQLite does it when the disk is full.
        sqlx::query("ROLLBACK").execute(&mut *transaction).await.unwrap();
        assert!(transaction.commit().await.is_err());
    }
    store.write().await.unwrap().commit().await.unwrap();
}

/// The number of the newest migration.
fn newest() -> i64 {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/sqlite");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.map(|name| name.split_once('_').unwrap().0.parse().unwrap()).max().unwrap()
}

#[tokio::test]
async fn a_file_is_brought_up_to_date_once_and_keeps_what_it_holds() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let newest = newest();
    assert_eq!(migrate(&path).await.unwrap(), Migrated { before: None, after: newest });
    assert_eq!(migrate(&path).await.unwrap(), Migrated { before: Some(newest), after: newest });
    SqliteStore::open(&path, settings()).await.unwrap().close().await;
    assert!(migrate(Path::new("/no/such/directory/state.db")).await.is_err());
}

#[tokio::test]
async fn the_sums_of_coverage_follow_every_change_of_its_rows() {
    let store = SqliteStore::open_in_memory(settings()).await.unwrap();
    let mut conn = store.writer.acquire().await.unwrap();
    for moved in crate::sums::MOVES {
        sqlx::query(moved).execute(&mut *conn).await.unwrap();
        for differences in crate::sums::DIFFERENCES {
            let found: i64 = sqlx::query_scalar(differences).fetch_one(&mut *conn).await.unwrap();
            assert_eq!(found, 0, "after {moved}: {differences}");
        }
    }
}
