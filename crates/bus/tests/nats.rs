//! What only a bus between processes can suffer: a server that dies or forgets, receivers that die, messages too large for
//! it, and other versions of ourselves.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, BusError, ConnectError, Look, Nats, NatsSettings, StateClient};
use common::{A_MOMENT, SOON, answer_by, connect, order, report, settings};
use model::{
    Answer, Ask, BatchCounts, Claim, Claimed, Covered, Epoch, EventId, Filter, HangUpReason, Item, Kind, LedgerRow, LiveFilter,
    Order, Outcome, Query, Report, Said, Timestamp, UpstreamId,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::timeout;

async fn dyn_bus(server: &testkit::Nats) -> Arc<dyn Bus> {
    Arc::new(connect(&server.url()).await)
}

#[tokio::test]
async fn a_report_whose_receiver_dies_before_the_commit_comes_again_to_another() {
    let server = testkit::Nats::start().await;
    let connector = connect(&server.url()).await;
    let first = connect(&server.url()).await;
    let mut reports = first.reports().await.unwrap();
    connector.report(report(1)).await.unwrap();
    let taken = timeout(SOON, reports.recv()).await.unwrap().unwrap();
    drop((taken, reports, first));
    let second = connect(&server.url()).await;
    let mut reports = second.reports().await.unwrap();
    let again = timeout(SOON, reports.recv()).await.unwrap().unwrap();
    assert_eq!(again.report, report(1));
    again.ack().await;
    assert!(timeout(Duration::from_secs(4), reports.recv()).await.is_err(), "it was acknowledged");
}

#[tokio::test]
async fn work_that_takes_long_is_not_given_to_another() {
    let server = testkit::Nats::start().await;
    let (connector, state) = (connect(&server.url()).await, connect(&server.url()).await);
    let mut reports = state.reports().await.unwrap();
    connector.report(report(1)).await.unwrap();
    let working = timeout(SOON, reports.recv()).await.unwrap().unwrap();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(900)).await;
        working.still_working().await;
    }
    assert!(timeout(A_MOMENT, reports.recv()).await.is_err(), "twice its time has passed");
    working.ack().await;
}

#[tokio::test]
async fn a_report_that_is_published_again_is_kept_once() {
    let server = testkit::Nats::start().await;
    let (connector, state) = (connect(&server.url()).await, connect(&server.url()).await);
    let mut reports = state.reports().await.unwrap();
    for _ in 0..3 {
        connector.report(report(1)).await.unwrap();
    }
    connector.report(report(2)).await.unwrap();
    for expected in 1..=2 {
        let delivery = timeout(SOON, reports.recv()).await.unwrap().unwrap();
        assert_eq!(delivery.report.sequence, expected);
        delivery.ack().await;
    }
}

#[tokio::test]
async fn every_conversation_goes_on_after_the_server_was_killed() {
    let mut server = testkit::Nats::start().await;
    everything_survives(&mut server, false).await;
}

#[tokio::test]
async fn every_conversation_goes_on_after_the_server_has_lost_its_data() {
    let mut server = testkit::Nats::start().await;
    everything_survives(&mut server, true).await;
}

async fn everything_survives(server: &mut testkit::Nats, is_wiped: bool) {
    let [state, planner, connector] = [dyn_bus(server).await, dyn_bus(server).await, dyn_bus(server).await];
    answer_by(&state, |_| Some(Answer::Due(vec![UpstreamId(3)]))).await;
    let reports = tokio::sync::Mutex::new(state.reports().await.unwrap());
    let notices = planner.notices().await.unwrap();
    let mut orders = connector.orders(UpstreamId(1), Epoch(1)).await.unwrap();
    connector.report(report(1)).await.unwrap();
    timeout(SOON, async { reports.lock().await.recv().await }).await.unwrap().unwrap().ack().await;

    server.kill().await;
    testkit::wait_until("the loss to be seen", SOON, || async { !connector.is_reachable() }).await;
    let reporting = {
        let connector = Arc::clone(&connector);
        tokio::spawn(async move { connector.report(report(2)).await })
    };
    tokio::time::sleep(A_MOMENT).await;
    assert!(!reporting.is_finished(), "it waits for the server");
    if is_wiped {
        server.wipe().await;
    }
    server.start_again().await;

    // An acknowledgement that the server had not written is lost with it: that report comes again.
    testkit::wait_until("what was said while the server was away to be heard", SOON, || async {
        let kept = reports.lock().await.recv().await.unwrap();
        let is_it = kept.report == report(2);
        kept.ack().await;
        is_it
    })
    .await;
    reporting.await.unwrap().unwrap();
    testkit::wait_until("the planner to look everywhere", SOON, || async { notices.next().await == Look::Everywhere }).await;
    state.notify(UpstreamId(9));
    testkit::wait_until("a notice", SOON, || async { notices.next().await == Look::At(UpstreamId(9)) }).await;
    planner.order(order(1, 1)).await.unwrap();
    assert_eq!(timeout(SOON, orders.recv()).await.unwrap().unwrap().message, order(1, 1));
    assert_eq!(StateClient::new(planner).due().await.unwrap(), [UpstreamId(3)]);
}

#[tokio::test]
async fn a_question_waits_for_a_replica_that_is_on_its_way_up() {
    let server = testkit::Nats::start().await;
    let asker = StateClient::new(dyn_bus(&server).await);
    let asking = tokio::spawn(async move { asker.due().await });
    tokio::time::sleep(A_MOMENT * 3).await;
    let replica = dyn_bus(&server).await;
    answer_by(&replica, |_| Some(Answer::Due(Vec::new()))).await;
    assert!(timeout(SOON, asking).await.unwrap().unwrap().unwrap().is_empty());
}

fn many_items(count: u32) -> Vec<Covered> {
    (0..count)
        .map(|number| {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&number.to_be_bytes());
            Covered { item: Item::Root(EventId::from_byte_array(id)), chunk: Some(number / 100) }
        })
        .collect()
}

#[tokio::test]
async fn messages_larger_than_the_server_takes_arrive_whole() {
    let server = testkit::Nats::with_max_payload(64 * 1024).await;
    let [state, planner, connector] = [dyn_bus(&server).await, dyn_bus(&server).await, dyn_bus(&server).await];
    let items = many_items(20_000);
    let rechunk: Vec<(Item, u32)> = items.iter().map(|one| (one.item.clone(), one.chunk.unwrap())).collect();
    let claim = Claim { upstream: UpstreamId(1), epoch: Epoch(1), refresh: None, rechunk, drafts: Vec::new(), audit: None };
    let expected = claim.clone();
    answer_by(&state, move |query| match query {
        Query::Claim { claim, .. } if claim == expected => Some(Answer::Claimed(Claimed { batches: vec![None; 50_000] })),
        _ => None,
    })
    .await;
    let claimed = timeout(SOON, StateClient::new(Arc::clone(&planner)).claim(claim, "a".to_owned())).await.unwrap().unwrap();
    assert_eq!(claimed.batches.len(), 50_000, "a large question, and a large answer");

    let mut orders = connector.orders(UpstreamId(1), Epoch(1)).await.unwrap();
    let slot = model::Slot { family: model::Family::of(model::ItemKind::Root)[0], chunk: 1 };
    let filter = Filter::new().ids((0..5_000_u32).map(|number| {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        EventId::from_byte_array(id)
    }));
    let ask =
        Ask::Rebuild { live: vec![LiveFilter { slot, filter }], polled: Vec::new(), since: Timestamp::from_secs(1), layout: 1 };
    let large = Order { upstream: UpstreamId(1), epoch: Epoch(1), ask };
    planner.order(large.clone()).await.unwrap();
    assert_eq!(timeout(SOON, orders.recv()).await.unwrap().unwrap().message, large);

    outcomes_arrive(&state, &connector).await;
}

async fn outcomes_arrive(state: &Arc<dyn Bus>, connector: &Arc<dyn Bus>) {
    let mut reports = state.reports().await.unwrap();
    let rows: Vec<LedgerRow> = many_items(500).into_iter().filter_map(|one| row(&one.item)).collect();
    let said = Said::Progress { batches: Vec::new(), rows: rows.clone(), counts: BatchCounts::default() };
    let connector = Arc::clone(connector);
    let many = Report { upstream: UpstreamId(1), epoch: Epoch(1), sequence: 1, said };
    let reporting = tokio::spawn(async move { connector.report(many).await });
    let mut arrived = Vec::new();
    while arrived.len() < rows.len() {
        let delivery = timeout(SOON, reports.recv()).await.unwrap().unwrap();
        if let Said::Progress { rows, .. } = &delivery.report.said {
            arrived.extend(rows.clone());
        }
        delivery.ack().await;
    }
    reporting.await.unwrap().unwrap();
    assert_eq!(arrived, rows);
}

fn row(item: &Item) -> Option<LedgerRow> {
    let Item::Root(id) = item else { return None };
    Some(LedgerRow {
        id: *id,
        created_at: Timestamp::from_secs(7),
        kind: Kind::Custom(1621),
        refs: Vec::new(),
        outcome: Outcome::Stored,
        reason: Some("words ".repeat(30)),
        upstream: UpstreamId(1),
        batch: None,
        via: None,
    })
}

#[tokio::test]
async fn a_listener_that_falls_too_far_behind_loses_its_own_messages_only_and_it_is_counted() {
    let server = testkit::Nats::start().await;
    let (planner, connector) = (connect(&server.url()).await, connect(&server.url()).await);
    let sleeping = connector.orders(UpstreamId(1), Epoch(1)).await.unwrap();
    let mut awake = connector.orders(UpstreamId(2), Epoch(1)).await.unwrap();
    for _ in 0..80_000 {
        planner.order(order(1, 1)).await.unwrap();
    }
    planner.order(order(2, 1)).await.unwrap();
    assert_eq!(timeout(SOON, awake.recv()).await.unwrap().unwrap().message, order(2, 1));
    testkit::wait_until("the loss to be counted", SOON, || async { connector.slow_consumers() > 0 }).await;
    drop(sleeping);
}

#[tokio::test]
async fn a_server_that_is_too_old_is_refused_with_its_version() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let info = r#"{"server_id":"x","version":"2.9.25","max_payload":1048576,"proto":1,"headers":true}"#;
        socket.write_all(format!("INFO {info}\r\nPONG\r\n").as_bytes()).await.unwrap();
        tokio::time::sleep(SOON).await;
    });
    let refused = Nats::connect(NatsSettings::new(url, "state")).await.unwrap_err();
    assert!(matches!(&refused, ConnectError::TooOld { found } if found == "2.9.25"), "{refused}");
    assert!(refused.to_string().contains("2.12"), "{refused}");
}

#[tokio::test]
async fn what_keeps_a_process_from_the_server_is_told_apart_and_shows_no_password() {
    let nowhere = format!("nats://sync:secret@127.0.0.1:{}", testkit::free_port());
    let refused = Nats::connect(NatsSettings::new(nowhere, "state")).await.unwrap_err();
    assert!(refused.may_pass() && !refused.to_string().contains("secret"), "{refused}");
    let refused = Nats::connect(NatsSettings::new("nats:// sync:secret", "state")).await.unwrap_err();
    assert!(!refused.may_pass() && !refused.to_string().contains("secret"), "{refused}");
}

/// The next release: it reads today's messages too.
async fn newer(server: &testkit::Nats, writes: u32) -> Nats {
    Nats::connect(NatsSettings { reads: 2, writes, ..settings(&server.url()) }).await.unwrap()
}

#[tokio::test]
async fn a_report_of_the_next_version_waits_for_a_replica_that_reads_it() {
    let server = testkit::Nats::start().await;
    let today = connect(&server.url()).await;
    let mut of_today = today.reports().await.unwrap();
    newer(&server, 2).await.report(report(1)).await.unwrap();
    newer(&server, 1).await.report(report(2)).await.unwrap();
    let delivery = timeout(SOON, of_today.recv()).await.unwrap().unwrap();
    assert_eq!(delivery.report.sequence, 2, "what is written as today's is read today");
    delivery.ack().await;
    assert!(timeout(A_MOMENT, of_today.recv()).await.is_err());
    let next = newer(&server, 1).await;
    let mut of_next = next.reports().await.unwrap();
    drop((of_today, today));
    let delivery = timeout(SOON * 2, of_next.recv()).await.unwrap().unwrap();
    assert_eq!(delivery.report.sequence, 1, "it was kept");
    delivery.ack().await;
}

#[tokio::test]
async fn a_question_of_the_next_version_finds_the_replica_that_reads_it() {
    let server = testkit::Nats::start().await;
    let asker = StateClient::new(Arc::new(newer(&server, 2).await));
    let today = dyn_bus(&server).await;
    answer_by(&today, |_| Some(Answer::Due(Vec::new()))).await;
    let alone = asker.due().await.unwrap_err();
    assert!(matches!(alone, bus::AskError::Bus(BusError::Version(2))), "{alone}");
    let next: Arc<dyn Bus> = Arc::new(newer(&server, 1).await);
    answer_by(&next, |_| Some(Answer::Due(vec![UpstreamId(1)]))).await;
    assert_eq!(timeout(SOON, asker.due()).await.unwrap().unwrap(), [UpstreamId(1)]);
}

#[tokio::test]
async fn an_order_of_the_next_version_is_passed_over_and_the_next_one_heard() {
    let server = testkit::Nats::start().await;
    let connector = connect(&server.url()).await;
    let mut orders = connector.orders(UpstreamId(1), Epoch(1)).await.unwrap();
    newer(&server, 2).await.order(order(1, 1)).await.unwrap();
    let planner = newer(&server, 1).await;
    let of_today = Order { ask: Ask::HangUp { reason: HangUpReason::Empty }, ..order(1, 1) };
    planner.order(of_today.clone()).await.unwrap();
    assert_eq!(timeout(SOON, orders.recv()).await.unwrap().unwrap().message, of_today);
}

#[tokio::test]
async fn the_login_of_the_url_is_what_the_server_is_told() {
    let users = r#"authorization { users: [{user: state, password: "p:w@/ü"}] }"#;
    let server = testkit::Nats::with_authorization(users).await;
    let told = async |login: &str| Nats::connect(settings(&format!("nats://{login}{}", server.addr()))).await.map(drop);
    told("state:p%3Aw%40%2F%C3%BC@").await.unwrap();
    for login in ["", "state:wrong@", "state@", "planner:p%3Aw%40%2F%C3%BC@"] {
        let refused = told(login).await;
        assert!(matches!(refused, Err(ConnectError::LoginRefused)), "{login}: {refused:?}");
    }
    assert!(matches!(told("state:%FF@").await, Err(ConnectError::BadUrl)));
}

#[tokio::test]
async fn a_name_alone_is_a_token() {
    let server = testkit::Nats::with_authorization("authorization { token: secret }").await;
    let told = async |login: &str| Nats::connect(settings(&format!("nats://{login}{}", server.addr()))).await.map(drop);
    told("secret@").await.unwrap();
    assert!(matches!(told("other@").await, Err(ConnectError::LoginRefused)));
}
