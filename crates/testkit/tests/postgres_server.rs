//! What a server does that a test stops, kills and starts again.
#![allow(clippy::unwrap_used)]

use sqlx::{Connection, PgConnection};
use std::path::PathBuf;
use testkit::{ChaosProxy, PostgresServer};

async fn connect(server: &PostgresServer) -> PgConnection {
    PgConnection::connect(&server.url()).await.unwrap()
}

/// Commits so many rows, one after the other.
async fn write(connection: &mut PgConnection, rows: i64) {
    sqlx::query("CREATE TABLE kept (n bigint)").execute(&mut *connection).await.unwrap();
    for row in 0..rows {
        sqlx::query("INSERT INTO kept VALUES ($1)").bind(row).execute(&mut *connection).await.unwrap();
    }
}

async fn rows(connection: &mut PgConnection) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM kept").fetch_one(connection).await.unwrap()
}

/// Asked on an open connection, as the server tells it.
async fn data_directory(connection: &mut PgConnection) -> PathBuf {
    let path: String = sqlx::query_scalar("SHOW data_directory").fetch_one(connection).await.unwrap();
    path.into()
}

#[tokio::test]
async fn a_kill_ends_connections_and_loses_no_commit() {
    let mut server = PostgresServer::start().await;
    let url = server.url();
    let mut open = connect(&server).await;
    write(&mut open, 100).await;
    server.kill().await;
    assert!(sqlx::query("SELECT 1").execute(&mut open).await.is_err());
    assert!(PgConnection::connect(&url).await.is_err());
    server.start_again().await;
    assert_eq!(server.url(), url);
    assert_eq!(rows(&mut connect(&server).await).await, 100);
}

#[tokio::test]
async fn a_fast_restart_ends_connections_and_keeps_the_data() {
    let mut server = PostgresServer::start().await;
    let mut open = connect(&server).await;
    write(&mut open, 10).await;
    server.restart_fast().await;
    assert!(sqlx::query("SELECT 1").execute(&mut open).await.is_err());
    assert_eq!(rows(&mut connect(&server).await).await, 10);
}

#[tokio::test]
async fn a_stopped_server_is_gone_until_it_is_started_again() {
    let mut server = PostgresServer::start().await;
    write(&mut connect(&server).await, 1).await;
    server.stop().await;
    assert!(PgConnection::connect(&server.url()).await.is_err());
    server.start_again().await;
    assert_eq!(rows(&mut connect(&server).await).await, 1);
}

#[tokio::test]
async fn a_dropped_server_leaves_no_process_and_no_files() {
    let server = PostgresServer::start().await;
    let (url, mut open) = (server.url(), connect(&server).await);
    let data = data_directory(&mut open).await;
    assert!(data.parent().unwrap().exists());
    drop(server);
    assert!(!data.parent().unwrap().exists());
    assert!(PgConnection::connect(&url).await.is_err());
}

#[tokio::test]
async fn it_is_reached_through_a_proxy_that_can_be_cut() {
    let server = PostgresServer::start().await;
    let proxy = ChaosProxy::to(&server.addr()).await;
    let mut through = PgConnection::connect(&server.url_at(&proxy.addr())).await.unwrap();
    write(&mut through, 3).await;
    proxy.cut();
    assert!(sqlx::query("SELECT 1").execute(&mut through).await.is_err());
    assert_eq!(rows(&mut connect(&server).await).await, 3);
}
