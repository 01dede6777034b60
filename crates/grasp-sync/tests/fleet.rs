//! A fleet of real processes over Postgres and NATS, and what may happen to each of them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "how long things took is for whoever reads the run")]

mod common;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use common::deployment::{self, Deployment, Size};
use common::{Embedded, Relay, now};
use grasp_sync::world::{self, Shape};
use testkit::fleet::{Fleet, Process, Role, Wiring, names_to_look_for, tables_of_sqlite};
use testkit::{ChaosProxy, stretched, wait_for};

const START: Duration = Duration::from_secs(30);
const COMPLETE: Duration = Duration::from_secs(240);
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
    deployment.until_some_is_home().await;
    let killed = &connectors[1];
    assert!(deployment.owned_by(killed).await > 0);
    killed.kill().await;
    let took = deployment.until_handed_over(killed.name(), stretched(AFTER_DEATH)).await;
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
    deployment.until_some_is_home().await;
    let zombie = &connectors[1];
    zombie.suspend().await;
    let took = deployment.until_handed_over(zombie.name(), stretched(AFTER_DEATH)).await;
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
        let took = deployment.until_handed_over(&name, stretched(AFTER_LEAVE)).await;
        let (ended, errors) = leaves.await.unwrap();
        println!("F3 SIGTERM: owned again after {took:?}, ended after {:?}", ended.took);
        assert_eq!(ended.code(), Some(0));
        assert!(ended.took < stretched(Duration::from_secs(15)) && errors.is_empty(), "{:?} {errors:?}", ended.took);
    }
    deployment.until_up(START).await;
    deployment.check().await;
    assert_eq!(deployment.sent_twice(), sent, "a hand-over is a quick reconnect: no event is fetched again");
}

#[tokio::test(flavor = "multi_thread")]
async fn f4_a_planner_that_is_killed_is_made_up_for_by_the_other() {
    let mut deployment = Deployment::of(&BACKFILL).await;
    deployment.add(Role::State, 1);
    let planners = deployment.add(Role::Planner, 2);
    deployment.add(Role::Connector, 2);
    deployment.until_some_is_home().await;
    planners[0].kill().await;
    let began = Instant::now();
    let completed = deployment.until_complete(COMPLETE).await;
    println!("F4 kill -9 of a planner: complete after {completed:?}, sent twice {:?}", deployment.sent_twice());
    let published = deployment.publish_everywhere("after a planner's death").await;
    let took = deployment.until_home_has_all(&published, stretched(AFTER_DEATH)).await;
    println!("F4: new roots were home {took:?} after they were published, {:?} after the kill", began.elapsed());
    assert_eq!(planners[1].error_lines(), [""; 0]);
    deployment.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f5_a_state_replica_that_is_killed_while_it_commits_loses_nothing() {
    let mut deployment = Deployment::of(&BACKFILL).await;
    let replicas = deployment.add(Role::State, 2);
    deployment.add(Role::Planner, 1);
    deployment.add(Role::Connector, 2);
    deployment.until_some_is_home().await;
    replicas[0].kill().await;
    let completed = deployment.until_complete(COMPLETE).await;
    println!("F5 kill -9 of a state replica: complete after {completed:?}, sent twice {:?}", deployment.sent_twice());
    // What it had taken and not committed is delivered again after the wait of the stream.
    let ledger = format!("SELECT count(*) FROM event HAVING count(*) <> {}", deployment.expected().len());
    let took = deployment.until(stretched(AFTER_FAULT), "every outcome to be on the books", &ledger).await;
    println!("F5: every outcome on the books {took:?} later");
    deployment.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f6_a_bus_that_is_killed_stopped_or_wiped_costs_time_and_nothing_else() {
    let mut deployment = Deployment::of(&BACKFILL).await;
    deployment.add(Role::State, 1);
    deployment.add(Role::Planner, 1);
    let connectors = deployment.add(Role::Connector, 2);
    deployment.until_linked(&connectors, START).await;
    deployment.until_some_is_home().await;
    let epochs = deployment.epochs().await;
    deployment.fleet.nats.kill().await;
    deployment.fleet.nats.start_again().await;
    let completed = deployment.until_complete(COMPLETE).await;
    println!("F6 kill -9 of NATS: complete after {completed:?}, sent twice {:?}", deployment.sent_twice());
    assert_eq!(deployment.epochs().await, epochs, "no lease was lost, no link was ended");

    deployment.fleet.nats.kill().await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    for connector in &connectors {
        assert!(!connector.is_ready().await, "its lease is gone");
    }
    deployment.fleet.nats.wipe().await;
    let published = deployment.publish_everywhere("while the bus was away").await;
    deployment.fleet.nats.start_again().await;
    let took = deployment.until_home_has_all(&published, stretched(AFTER_FAULT)).await;
    let up = deployment.until_up(stretched(AFTER_FAULT)).await;
    println!("F6 NATS stopped and wiped: what came meanwhile was home {took:?} after its return, all up {up:?} later");
    deployment.until_complete(stretched(AFTER_FAULT)).await;
    deployment.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f7_a_database_that_restarts_or_is_away_costs_time_and_nothing_else() {
    let mut deployment = Deployment::of(&BACKFILL).await;
    deployment.add(Role::State, 2);
    deployment.add(Role::Planner, 1);
    let connectors = deployment.add(Role::Connector, 2);
    deployment.until_linked(&connectors, START).await;
    deployment.until_some_is_home().await;
    let epochs = deployment.epochs().await;
    deployment.fleet.postgres.restart_fast().await;
    let completed = deployment.until_complete(COMPLETE).await;
    println!("F7 fast restart of Postgres: complete after {completed:?}, sent twice {:?}", deployment.sent_twice());
    assert_eq!(deployment.epochs().await, epochs, "no lease was lost, no link was ended");

    deployment.fleet.postgres.kill().await;
    deployment.fleet.postgres.start_again().await;
    let published = deployment.publish_everywhere("after the database was killed").await;
    let took = deployment.until_home_has_all(&published, stretched(AFTER_FAULT)).await;
    println!("F7 kill -9 of Postgres: what came then was home after {took:?}");

    deployment.fleet.postgres.stop().await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let published = deployment.publish_everywhere("while the database was away").await;
    deployment.fleet.postgres.start_again().await;
    let took = deployment.until_home_has_all(&published, stretched(AFTER_FAULT)).await;
    let up = deployment.until_up(stretched(AFTER_FAULT)).await;
    println!("F7 Postgres stopped 30 s: what came meanwhile was home {took:?} after its return, all up {up:?} later");
    deployment.until_complete(stretched(AFTER_FAULT)).await;
    deployment.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f8_a_connector_cut_off_from_the_bus_is_replaced_and_comes_back() {
    let mut deployment = Deployment::of(&BACKFILL).await;
    deployment.add(Role::State, 1);
    deployment.add(Role::Planner, 1);
    let mut to_nats = ChaosProxy::to(&deployment.fleet.nats.addr()).await;
    let cut_off = deployment.fleet.add_with(Role::Connector, Wiring { nats: Some(&to_nats), ..Wiring::default() });
    let connectors = [cut_off, deployment.fleet.add(Role::Connector), deployment.fleet.add(Role::Connector)];
    deployment.until_spread(&connectors, START).await;
    deployment.until_some_is_home().await;
    to_nats.hold();
    let took = deployment.until_handed_over(connectors[0].name(), stretched(AFTER_DEATH)).await;
    println!("F8 connector without NATS: owned again after {took:?}");
    let completed = deployment.until_complete(COMPLETE).await;
    println!("F8 connector without NATS: complete after {completed:?}, sent twice {:?}", deployment.sent_twice());
    to_nats.pass().await;
    let took = deployment.until_spread(&connectors, stretched(AFTER_FAULT)).await;
    println!("F8: the connector has its share again {took:?} after the cut");
    deployment.until_up(stretched(AFTER_FAULT)).await;
    deployment.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f8_a_state_replica_cut_off_from_the_database_stops_nobody_for_long() {
    let mut deployment = Deployment::of(&BACKFILL).await;
    let mut to_postgres = ChaosProxy::to(&deployment.fleet.postgres.addr()).await;
    let cut_off = deployment.fleet.add_with(Role::State, Wiring { postgres: Some(&to_postgres), ..Wiring::default() });
    deployment.add(Role::Planner, 1);
    deployment.add(Role::Connector, 2);
    deployment.until_some_is_home().await;
    to_postgres.hold();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(!cut_off.is_ready().await);
    let published = deployment.publish_everywhere("while the database was out of reach").await;
    to_postgres.pass().await;
    let took = deployment.until_home_has_all(&published, stretched(AFTER_FAULT)).await;
    let completed = deployment.until_complete(stretched(AFTER_FAULT)).await;
    println!("F8 state without Postgres: what came meanwhile was home after {took:?}, complete after {completed:?}");
    deployment.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f8_a_home_out_of_reach_holds_up_the_sockets_and_loses_nothing() {
    let (mut deployment, mut to_home) = Deployment::with_home_behind_a_proxy(&BACKFILL).await;
    deployment.add(Role::State, 1);
    deployment.add(Role::Planner, 1);
    let connectors = deployment.add(Role::Connector, 2);
    deployment.until_some_is_home().await;
    to_home.hold();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let memory: Vec<u64> = connectors.iter().map(|connector| connector.rss_kb() / 1024).collect();
    println!("F8 connectors without home: {memory:?} MB");
    assert!(memory.iter().all(|mb| *mb < 256), "{memory:?}");
    to_home.cut();
    to_home.pass().await;
    let completed = deployment.until_complete(stretched(AFTER_FAULT) * 2).await;
    println!("F8 connectors without home: complete {completed:?} after its return");
    deployment.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f9_a_database_restored_from_an_older_dump_and_a_wiped_home_converge() {
    let mut deployment = Deployment::of(&Size { upstreams: 3, repositories_each: 100, comments_each: 4 }).await;
    deployment.add(Role::State, 1);
    deployment.add(Role::Planner, 1);
    let connectors = deployment.add(Role::Connector, 2);
    deployment.until_complete(COMPLETE).await;
    deployment.fleet.postgres.stop().await;
    deployment.fleet.postgres.back_up().await;
    deployment.fleet.postgres.start_again().await;
    let backed_up = deployment.epochs().await;
    let published = deployment.publish_everywhere("after the backup").await;
    deployment.until_home_has_all(&published, stretched(AFTER_FAULT)).await;
    connectors[0].kill().await;
    deployment.until_handed_over(connectors[0].name(), stretched(AFTER_DEATH)).await;
    let forgotten: BTreeSet<String> = deployment.epochs().await.difference(&backed_up).cloned().collect();
    assert!(!forgotten.is_empty());
    deployment.fleet.postgres.stop().await;
    deployment.fleet.postgres.restore().await;
    deployment.fleet.postgres.start_again().await;
    let newer = deployment.publish_everywhere("after the restore").await;
    let took = deployment.until_home_has_all(&newer, stretched(AFTER_FAULT)).await;
    println!("F9 database restored from an older backup: news were home after {took:?}");
    deployment.until_up(stretched(AFTER_FAULT)).await;
    deployment.until_complete(stretched(AFTER_FAULT)).await;
    assert!(deployment.epochs().await.is_disjoint(&forgotten), "no epoch is used twice");
    deployment.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_world_gives_the_same_tables_embedded_and_as_a_fleet() {
    let _turn = deployment::turn().await;
    let upstreams = [Relay::on_host(2, true).await, Relay::on_host(3, true).await, Relay::on_host(4, false).await];
    let urls: Vec<String> = upstreams.iter().map(Relay::url).collect();
    let world = world::generate(&Shape { repos: 40, roots: 200, replies: 800, seed: 3, now: now() }, &urls);
    for (relay, content) in upstreams.iter().zip(world.upstreams) {
        // Whether a root is read before or after the word that deletes it is a race, and its tables tell.
        let is_kept = |event: &model::Event| event.kind != model::kinds::DELETION;
        relay.is_given(content.events.into_iter().filter(is_kept).collect());
    }
    let mut home = Relay::counting().await;
    let mut embedded = Embedded::keeping(&home).pulling_from([&upstreams[0]]).started().await;
    embedded.until_at_rest(&upstreams).await;
    // What nothing but another event leads to is looked for after a minute: both systems have done so in the end.
    let database = embedded.database();
    wait_for("every id that is named to be looked for", COMPLETE, || async {
        let left = names_to_look_for(&database).await;
        if left == 0 { Ok(()) } else { Err(left) }
    })
    .await;
    embedded.until_at_rest(&upstreams).await;
    let at_home = home.held().await;
    embedded.stop().await;
    let tables = tables_of_sqlite(&embedded.database()).await;

    home.is_wiped().await;
    let blueprint = Fleet::of(env!("CARGO_BIN_EXE_grasp-sync")).keeping(&home.url()).pulling_from(&urls[..1]);
    let mut fleet = blueprint.started().await;
    for role in [Role::State, Role::Planner, Role::Planner, Role::Connector, Role::Connector, Role::Connector] {
        fleet.add(role);
    }
    let began = Instant::now();
    wait_for("the fleet to have the tables of the embedded system", COMPLETE * 2, || async {
        let of_fleet = fleet.final_tables().await;
        let differs = || of_fleet.lines().zip(tables.lines()).find(|(one, other)| one != other);
        if of_fleet == tables { Ok(()) } else { Err(format!("{:?}", differs())) }
    })
    .await;
    println!("{} bytes of tables, equal after {:?}", tables.len(), began.elapsed());
    assert_eq!(home.held().await, at_home);
    assert!(tables.contains("confirmed") && tables.len() > 100_000, "{}", tables.len());
}

/// Figures for operators: what many upstreams cost three connectors. `GRASP_SYNC_TEST_UPSTREAMS=1000` and `--release` give
/// those of the documentation.
#[tokio::test(flavor = "multi_thread")]
async fn many_upstreams_over_three_connectors() {
    let asked = std::env::var("GRASP_SYNC_TEST_UPSTREAMS").ok();
    let upstreams: usize = asked.map_or(100, |asked| asked.parse().unwrap());
    let mut deployment = Deployment::of(&Size { upstreams, repositories_each: 1, comments_each: 1 }).await;
    let began = Instant::now();
    let state = deployment.add(Role::State, 1);
    deployment.add(Role::Planner, 1);
    let connectors = deployment.add(Role::Connector, 3);
    deployment.until_spread(&connectors, COMPLETE).await;
    let owned = began.elapsed();
    deployment.until_complete(COMPLETE * 2).await;
    deployment.until_up(COMPLETE).await;
    println!("{upstreams} upstreams: owned after {owned:?}, complete and live after {:?}", began.elapsed());
    let cpu = |processes: &[Process]| processes.iter().map(Process::cpu_seconds).sum::<f64>();
    let (busy, idle_from) = (cpu(&connectors), Instant::now());
    tokio::time::sleep(Duration::from_secs(20)).await;
    let idle = (cpu(&connectors) - busy) / idle_from.elapsed().as_secs_f64();
    let published = deployment.publish_everywhere("one new root each").await;
    let took = deployment.until_home_has_all(&published, COMPLETE).await;
    let rss: u64 = connectors.iter().map(Process::rss_kb).sum();
    println!("{upstreams} upstreams: one new root each was home {took:?} after the last was published");
    println!(
        "{upstreams} upstreams: {busy:.1} s of CPU to complete, {:.1} ms a second when idle, {} KB an upstream; state {} MB",
        idle * 1000.0,
        rss / upstreams as u64,
        state[0].rss_kb() / 1024
    );
    assert!(rss / 1024 < 3 * 256, "{} MB", rss / 1024);
    deployment.check().await;
}

/// Every role in one process, which others may join.
#[tokio::test(flavor = "multi_thread")]
async fn one_process_in_every_role_works_on_a_bus_with_either_store() {
    for (store, settings) in [
        ("Postgres", &[("GRASP_SYNC_ROLE", "all")] as &[_]),
        ("SQLite", &[("GRASP_SYNC_ROLE", "all"), ("GRASP_SYNC_DATABASE_URL", ""), ("GRASP_SYNC_DATA_DIR", "data")]),
    ] {
        let mut deployment = Deployment::of(&Size { upstreams: 2, repositories_each: 20, comments_each: 2 }).await;
        let everything = deployment.fleet.add_with(Role::State, Wiring { settings, ..Wiring::default() });
        let expected = deployment.expected();
        let took = deployment.until_home_has_all(&expected, COMPLETE).await;
        let planner = deployment.fleet.add(Role::Planner);
        planner.until_ready().await;
        let published = deployment.publish_everywhere("with a guest").await;
        deployment.until_home_has_all(&published, stretched(AFTER_FAULT)).await;
        everything.until_ready().await;
        let ended = everything.terminate().await;
        println!("one process on NATS and {store}: complete after {took:?}, ended after {:?}", ended.took);
        assert_eq!((ended.code(), everything.error_lines()), (Some(0), Vec::new()));
    }
}
