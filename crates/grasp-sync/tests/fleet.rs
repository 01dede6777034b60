//! A fleet of real processes over Postgres and NATS, and what may happen to each of them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "how long things took is for whoever reads the run")]

mod common;

use std::time::{Duration, Instant};

use common::deployment::{Deployment, Size};
use testkit::fleet::Role;
use testkit::wait_until;

const START: Duration = Duration::from_secs(30);
const COMPLETE: Duration = Duration::from_secs(120);
/// All upstreams are owned again this long after a worker's death, and after an orderly end.
const AFTER_DEATH: Duration = Duration::from_secs(10);
const AFTER_LEAVE: Duration = Duration::from_secs(5);
/// Everything is complete this long after the end of a fault.
const AFTER_FAULT: Duration = Duration::from_secs(60);
/// Events of one upstream that may be fetched twice: a batch.
const A_BATCH: u64 = 1_000;

const BACKFILL: Size = Size { upstreams: 6, repositories_each: 400, comments_each: 4 };

#[tokio::test(flavor = "multi_thread")]
async fn f1_a_connector_that_is_killed_in_a_backfill_loses_nothing() {
    let mut deployment = Deployment::of(&BACKFILL).await;
    deployment.add(Role::State, 1);
    deployment.add(Role::Planner, 1);
    let connectors = deployment.add(Role::Connector, 3);
    deployment.until_owned(START).await;
    deployment.until_spread(&connectors, START).await;
    wait_until("some of it to be at home", COMPLETE, || async { deployment.home.held().await.len() > 2_000 }).await;
    let killed = &connectors[1];
    assert!(deployment.owned_by(killed).await > 0);
    killed.kill().await;
    let took = deployment.until_handed_over(killed.name(), AFTER_DEATH).await;
    let completed = deployment.until_complete(COMPLETE).await;
    let twice = deployment.sent_twice();
    println!("F1 kill -9: owned again after {took:?}, complete after {completed:?}, sent twice {twice:?}");
    assert!(twice.iter().all(|events| *events <= A_BATCH), "{twice:?}");
    deployment.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f2_a_connector_that_was_stopped_can_neither_write_nor_keep_a_session() {
    let mut deployment = Deployment::of(&BACKFILL).await;
    deployment.add(Role::State, 1);
    deployment.add(Role::Planner, 1);
    let connectors = deployment.add(Role::Connector, 3);
    deployment.until_spread(&connectors, START).await;
    wait_until("some of it to be at home", COMPLETE, || async { deployment.home.held().await.len() > 2_000 }).await;
    let zombie = &connectors[1];
    zombie.suspend().await;
    let took = deployment.until_handed_over(zombie.name(), AFTER_DEATH).await;
    println!("F2 SIGSTOP: owned again after {took:?}");
    tokio::time::sleep(Duration::from_secs(20)).await;
    zombie.resume().await;
    let completed = deployment.until_complete(COMPLETE).await;
    deployment.until_spread(&connectors, START).await;
    println!("F2 SIGCONT: complete after {completed:?}, sent twice {:?}", deployment.sent_twice());
    deployment.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f3_connectors_come_and_go_without_a_gap() {
    let mut deployment = Deployment::of(&Size { upstreams: 8, repositories_each: 100, comments_each: 4 }).await;
    deployment.add(Role::State, 1);
    deployment.add(Role::Planner, 1);
    let mut connectors = deployment.add(Role::Connector, 2);
    deployment.until_complete(COMPLETE).await;
    let sent = deployment.sent_twice();
    let began = Instant::now();
    connectors.extend(deployment.add(Role::Connector, 2));
    deployment.until_spread(&connectors, START).await;
    deployment.until_up(START).await;
    println!("F3 2 to 4: spread after {:?}", began.elapsed());
    for leaving in connectors.drain(..3) {
        let name = leaving.name().to_owned();
        let leaves = tokio::spawn(async move {
            let ended = leaving.terminate().await;
            (ended, leaving.error_lines())
        });
        let took = deployment.until_handed_over(&name, AFTER_LEAVE).await;
        let (ended, errors) = leaves.await.unwrap();
        println!("F3 SIGTERM: owned again after {took:?}, ended after {:?}", ended.took);
        assert_eq!(ended.code(), Some(0));
        assert!(ended.took < Duration::from_secs(15) && errors.is_empty(), "{:?} {errors:?}", ended.took);
    }
    deployment.until_up(START).await;
    deployment.check().await;
    assert_eq!(deployment.sent_twice(), sent, "a hand-over is a quick reconnect: no event is fetched again");
}
