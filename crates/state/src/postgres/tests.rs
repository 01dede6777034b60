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
        own_urls: Vec::new(),
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
        claim::STATEMENTS,
        coverage::STATEMENTS,
        discover::STATEMENTS,
        item::STATEMENTS,
        lease::STATEMENTS,
        ledger::STATEMENTS,
        link::STATEMENTS,
        relay::STATEMENTS,
        report::STATEMENTS,
        snapshot::STATEMENTS,
        status::STATEMENTS,
        sweep::STATEMENTS,
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
}

#[test]
fn text_holds_no_null_character() {
    assert_eq!(text("blocked:\0 no"), "blocked:\u{fffd} no");
}
