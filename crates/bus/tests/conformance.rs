//! What every bus must do: one list of cases for all adapters.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod common;

use std::sync::Arc;

use bus::{AskError, Bus, Look, StateClient};
use common::{A_MOMENT, SOON, World, answer_by, order, report};
use model::{Answer, Epoch, EventId, GitWanted, Kind, Query, StateError, Timestamp, UpstreamId};
use tokio::time::timeout;

macro_rules! conformance {
    ($adapter:ident, $make:expr, [$($case:ident),* $(,)?]) => {
        mod $adapter {
            use super::*;
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case(&$make.await).await;
                }
            )*
        }
    };
    ($adapter:ident, $make:expr) => {
        conformance!(
            $adapter,
            $make,
            [
                notices_of_one_upstream_collapse_while_they_wait,
                a_notice_that_comes_during_the_look_is_another_look,
                a_notice_that_nobody_hears_is_lost_without_harm,
                each_notice_goes_to_one_receiver,
                orders_reach_the_session_of_their_epoch_and_nobody_else,
                an_order_for_a_dead_epoch_is_lost_without_harm,
                word_of_changed_owners_reaches_every_connector,
                word_of_wanted_git_data_reaches_third_parties,
                reports_arrive_in_the_order_of_one_sender,
                a_slow_receiver_makes_the_sender_wait_and_loses_nothing,
                a_question_is_answered_and_a_refusal_is_an_error,
                a_question_that_nobody_answers_is_an_error,
                many_questions_at_once_get_each_its_own_answer,
            ]
        );
    };
}

conformance!(in_process, World::in_process());
conformance!(nats, World::nats());

async fn notices_of_one_upstream_collapse_while_they_wait(world: &World) {
    let (state, planner) = (world.bus().await, world.bus().await);
    let notices = planner.notices().await.unwrap();
    for _ in 0..10 {
        state.notify(UpstreamId(7));
    }
    world.settle().await;
    assert_eq!(timeout(SOON, notices.next()).await.unwrap(), Look::At(UpstreamId(7)));
    assert!(timeout(A_MOMENT, notices.next()).await.is_err(), "ten notices are one look");
}

async fn a_notice_that_comes_during_the_look_is_another_look(world: &World) {
    let (state, planner) = (world.bus().await, world.bus().await);
    let notices = planner.notices().await.unwrap();
    state.notify(UpstreamId(7));
    timeout(SOON, notices.next()).await.unwrap();
    state.notify(UpstreamId(7));
    assert_eq!(timeout(SOON, notices.next()).await.unwrap(), Look::At(UpstreamId(7)));
}

async fn a_notice_that_nobody_hears_is_lost_without_harm(world: &World) {
    let (state, planner) = (world.bus().await, world.bus().await);
    state.notify(UpstreamId(7));
    world.settle().await;
    let notices = planner.notices().await.unwrap();
    state.notify(UpstreamId(8));
    let mut heard = timeout(SOON, notices.next()).await.unwrap();
    if heard == Look::At(UpstreamId(7)) {
        heard = timeout(SOON, notices.next()).await.unwrap();
    }
    assert_eq!(heard, Look::At(UpstreamId(8)));
}

async fn each_notice_goes_to_one_receiver(world: &World) {
    let state = world.bus().await;
    let (one, other) = (world.bus().await.notices().await.unwrap(), world.bus().await.notices().await.unwrap());
    for upstream in 1..=20 {
        state.notify(UpstreamId(upstream));
    }
    let mut heard = Vec::new();
    while heard.len() < 20 {
        let next = async {
            tokio::select! { upstream = one.next() => upstream, upstream = other.next() => upstream }
        };
        let Look::At(upstream) = timeout(SOON, next).await.unwrap() else { panic!("nothing was lost") };
        heard.push(upstream.0);
    }
    heard.sort_unstable();
    assert_eq!(heard, Vec::from_iter(1..=20));
    assert!(timeout(A_MOMENT, async { tokio::join!(one.next(), other.next()) }).await.is_err());
}

async fn orders_reach_the_session_of_their_epoch_and_nobody_else(world: &World) {
    let (planner, connector) = (world.bus().await, world.bus().await);
    let mut session = connector.orders(UpstreamId(1), Epoch(5)).await.unwrap();
    let mut other = connector.orders(UpstreamId(2), Epoch(5)).await.unwrap();
    for stray in [order(1, 4), order(1, 6)] {
        planner.order(stray).await.unwrap();
    }
    planner.order(order(1, 5)).await.unwrap();
    assert_eq!(timeout(SOON, session.recv()).await.unwrap().unwrap().message, order(1, 5));
    assert!(timeout(A_MOMENT, other.recv()).await.is_err());
}

async fn an_order_for_a_dead_epoch_is_lost_without_harm(world: &World) {
    let (planner, connector) = (world.bus().await, world.bus().await);
    drop(connector.orders(UpstreamId(1), Epoch(5)).await.unwrap());
    planner.order(order(1, 5)).await.unwrap();
    let mut next = connector.orders(UpstreamId(1), Epoch(6)).await.unwrap();
    planner.order(order(1, 6)).await.unwrap();
    assert_eq!(timeout(SOON, next.recv()).await.unwrap().unwrap().message, order(1, 6));
}

async fn word_of_changed_owners_reaches_every_connector(world: &World) {
    let (state, one, other) = (world.bus().await, world.bus().await, world.bus().await);
    let (mut one, mut other) = (one.owners().await.unwrap(), other.owners().await.unwrap());
    state.owners_changed().await;
    timeout(SOON, one.recv()).await.unwrap().unwrap();
    timeout(SOON, other.recv()).await.unwrap().unwrap();
}

async fn word_of_wanted_git_data_reaches_third_parties(world: &World) {
    let connector = world.bus().await;
    let mut heard = world.listen_git_wanted().await;
    let wanted = |kind: u16, is_held| GitWanted {
        id: EventId::from_byte_array([7; 32]),
        kind: Kind::Custom(kind),
        created_at: Timestamp::from_secs(5),
        repos: Vec::new(),
        clone_urls: vec!["https://relay.example/x.git".to_owned()],
        commits: vec!["c".repeat(40)],
        is_held,
    };
    let words = [wanted(30618, true), wanted(1618, false)];
    connector.git_wanted(&words);
    for word in words {
        let told = timeout(SOON, heard.recv()).await.unwrap().unwrap();
        assert_eq!((told.kind.as_u16(), told.is_held), (word.kind.as_u16(), word.is_held));
        assert_eq!((told.clone_urls, told.commits), (word.clone_urls, word.commits));
    }
}

async fn reports_arrive_in_the_order_of_one_sender(world: &World) {
    let (state, connector) = (world.bus().await, world.bus().await);
    let mut reports = state.reports().await.unwrap();
    for sequence in 1..=3 {
        connector.report(report(sequence)).await.unwrap();
    }
    for expected in 1..=3 {
        let delivery = timeout(SOON, reports.recv()).await.unwrap().unwrap();
        assert_eq!(delivery.report, report(expected));
        delivery.ack().await;
    }
}

async fn a_slow_receiver_makes_the_sender_wait_and_loses_nothing(world: &World) {
    const MANY: u64 = 2_000;
    let (state, connector) = (world.bus().await, world.bus().await);
    let mut reports = state.reports().await.unwrap();
    let sending = tokio::spawn(async move {
        for sequence in 0..MANY {
            connector.report(report(sequence)).await.unwrap();
        }
    });
    world.settle().await;
    assert!(!sending.is_finished(), "the sender waits for the receiver");
    let mut expected = 0;
    while expected < MANY {
        let delivery = timeout(SOON, reports.recv()).await.unwrap().unwrap();
        assert_eq!(delivery.report.sequence, expected);
        expected += 1;
        delivery.ack().await;
    }
    sending.await.unwrap();
}

async fn a_question_is_answered_and_a_refusal_is_an_error(world: &World) {
    let (replica, asker) = (world.bus().await, world.bus().await);
    answer_by(&replica, |query| {
        let is_due = matches!(query, Query::Due);
        Some(if is_due { Answer::Due(vec![UpstreamId(3)]) } else { Answer::Failed(StateError::Fenced) })
    })
    .await;
    let state = StateClient::new(asker);
    assert_eq!(state.due().await.unwrap(), [UpstreamId(3)]);
    assert!(state.up(UpstreamId(1), Epoch(1)).await.unwrap_err().is_fenced());
}

async fn a_question_that_nobody_answers_is_an_error(world: &World) {
    let (replica, asker) = (world.bus().await, world.bus().await);
    answer_by(&replica, |_| None).await;
    let state = StateClient::new(asker);
    assert!(matches!(timeout(SOON * 2, state.status()).await.unwrap(), Err(AskError::Bus(_))));
}

async fn many_questions_at_once_get_each_its_own_answer(world: &World) {
    let (replica, asker) = (world.bus().await, world.bus().await);
    answer_by(&replica, |query| match query {
        Query::Snapshot { upstream, .. } => Some(Answer::Due(vec![upstream])),
        _ => None,
    })
    .await;
    let asking =
        (0..200).map(|number| {
            let asker: Arc<dyn Bus> = Arc::clone(&asker);
            async move {
                (number, asker.ask(Query::Snapshot { upstream: UpstreamId(number), planner: String::new() }).await.unwrap())
            }
        });
    for (number, answer) in timeout(SOON * 2, futures_util::future::join_all(asking)).await.unwrap() {
        assert_eq!(answer, Answer::Due(vec![UpstreamId(number)]));
    }
}
