//! What only this adapter can be asked: that its SQL fits its schema, and what it says about databases it cannot use.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use model::Timestamp;
use sqlx::{Connection, Executor, SqlSafeStr};

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

async fn refusal(url: &str) -> ConnectError {
    PostgresStore::connect(url, settings(), Time::Database).await.err().unwrap()
}

#[tokio::test]
async fn every_statement_fits_the_schema() {
    let store = PostgresStore::connect(&testkit::postgres::database(), settings(), Time::Database).await.unwrap();
    let mut conn = store.pool.acquire().await.unwrap();
    let all = [
        STATEMENTS,
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
        relay::STATEMENTS,
        report::STATEMENTS,
        schema::STATEMENTS,
        snapshot::STATEMENTS,
        status::STATEMENTS,
        sweep::STATEMENTS,
        waiting::STATEMENTS,
        turn::STATEMENTS,
    ];
    for (name, sql) in all.concat() {
        if let Err(error) = conn.prepare(sql.into_sql_str()).await {
            panic!("{name}: {error}");
        }
    }
}

#[tokio::test]
async fn a_database_that_cannot_be_used_is_said_why() {
    let url = testkit::postgres::database();
    let missing = refusal(&url.replace("/test_", "/no_such_test_")).await;
    assert!(matches!(missing, ConnectError::NoSuchDatabase(_)), "{missing}");
    let login = refusal(&url.replace("test@", "nobody@")).await;
    assert!(matches!(login, ConnectError::LoginRefused(_)), "{login}");
    let dead = refusal("postgres://test@127.0.0.1:1/test").await;
    assert!(matches!(dead, ConnectError::Unreachable(_)), "{dead}");
    let bad = refusal("sqlite://state.db").await;
    assert!(matches!(bad, ConnectError::BadUrl(_)), "{bad}");
}

#[tokio::test]
async fn a_schema_of_somebody_else_is_left_alone() {
    let url = testkit::postgres::database();
    let mut conn = PgConnection::connect(&url).await.unwrap();
    conn.execute("CREATE TABLE relay (name text)").await.unwrap();
    let foreign = refusal(&url).await;
    assert!(matches!(foreign, ConnectError::ForeignSchema(_)), "{foreign}");
    let columns: i64 = sqlx::query_scalar("SELECT count(*) FROM information_schema.columns WHERE table_name = 'relay'")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(columns, 1);
}

#[tokio::test]
async fn a_replica_of_the_version_before_runs_on_a_newer_schema() {
    let url = testkit::postgres::database();
    let store = PostgresStore::connect(&url, settings(), Time::Database).await.unwrap();
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (9999, 'from the future', true, '\\x00', 0)";
    sqlx::query(later).execute(&store.pool).await.unwrap();
    let second = PostgresStore::connect(&url, settings(), Time::Database).await.unwrap();
    assert_eq!(second.status().await.unwrap().upstreams, []);
    let joined = PostgresStore::join(&url, settings(), Time::Database).await.unwrap();
    assert_eq!(joined.status().await.unwrap().upstreams, []);
    assert_eq!(migrate(&url).await.unwrap(), Migrated { before: Some(9999), after: 9999 });
}

/// The number of the newest migration.
fn newest() -> i64 {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/postgres");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.map(|name| name.split_once('_').unwrap().0.parse().unwrap()).max().unwrap()
}

#[tokio::test]
async fn a_replica_that_joins_leaves_an_empty_database_empty_and_says_what_to_run() {
    let url = testkit::postgres::database();
    let refused = PostgresStore::join(&url, settings(), Time::Database).await.err().unwrap();
    let newest = newest();
    let words = "the database's schema is not there yet, and this program needs version";
    assert_eq!(refused.to_string(), format!("{words} {newest}: run `grasp-sync migrate`"));
    assert!(!refused.is_mistake(), "somebody may be migrating just now");
    let unread = PostgresStore::look_at(&url).await.err().unwrap();
    assert!(matches!(unread, ConnectError::SchemaBehind { found: None, needed } if needed == newest), "{unread}");
    let mut conn = PgConnection::connect(&url).await.unwrap();
    let tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'";
    assert_eq!(sqlx::query_scalar::<_, i64>(tables).fetch_one(&mut conn).await.unwrap(), 0);
}

#[tokio::test]
async fn a_replica_joins_once_the_schema_is_there() {
    let url = testkit::postgres::database();
    let newest = newest();
    assert_eq!(migrate(&url).await.unwrap(), Migrated { before: None, after: newest });
    assert_eq!(migrate(&url).await.unwrap(), Migrated { before: Some(newest), after: newest });
    let store = PostgresStore::join(&url, settings(), Time::Database).await.unwrap();
    assert_eq!(store.status().await.unwrap(), PostgresStore::look_at(&url).await.unwrap());
}

#[tokio::test]
async fn a_migration_that_is_under_way_is_waited_for_and_another_program_s_is_not() {
    let url = testkit::postgres::database();
    migrate(&url).await.unwrap();
    let mut conn = PgConnection::connect(&url).await.unwrap();
    conn.execute("UPDATE _sqlx_migrations SET success = false").await.unwrap();
    let unfinished = PostgresStore::join(&url, settings(), Time::Database).await.err().unwrap();
    assert!(matches!(unfinished, ConnectError::SchemaBehind { .. }), "{unfinished}");
    conn.execute("UPDATE _sqlx_migrations SET success = true, checksum = '\\x00'").await.unwrap();
    let foreign = PostgresStore::join(&url, settings(), Time::Database).await.err().unwrap();
    assert!(matches!(foreign, ConnectError::ForeignSchema(_)) && foreign.is_mistake(), "{foreign}");
}

#[test]
fn text_holds_no_null_character() {
    assert_eq!(text("blocked:\0 no"), "blocked:\u{fffd} no");
}

#[tokio::test]
async fn the_sums_of_coverage_follow_every_change_of_its_rows() {
    let store = PostgresStore::connect(&testkit::postgres::database(), settings(), Time::Database).await.unwrap();
    let mut conn = store.pool.acquire().await.unwrap();
    for moved in crate::sums::MOVES {
        sqlx::query(moved).execute(&mut *conn).await.unwrap();
        for differences in crate::sums::DIFFERENCES {
            let found: i64 = sqlx::query_scalar(differences).fetch_one(&mut *conn).await.unwrap();
            assert_eq!(found, 0, "after {moved}: {differences}");
        }
    }
}

#[tokio::test]
async fn a_database_is_empty_until_anybody_makes_a_table_in_it() {
    let url = testkit::postgres::database();
    assert!(plain::is_empty(&url).await.unwrap());
    migrate(&url).await.unwrap();
    assert!(!plain::is_empty(&url).await.unwrap());
}
