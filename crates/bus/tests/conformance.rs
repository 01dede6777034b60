//! What every bus must do: one list of cases for all adapters.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use bus::{AskError, Bus, InProcess, Incoming, StateClient};
use model::{Answer, Ask, Discovery, Epoch, HangUpReason, Order, Query, Report, Said, StateError, UpstreamId};
use tokio::time::timeout;

/// Long enough for what must happen, on a busy machine.
const SOON: Duration = Duration::from_secs(5);
/// Long enough to see that nothing happens.
const A_MOMENT: Duration = Duration::from_millis(100);

fn order(upstream: i64, epoch: i64) -> Order {
    Order { upstream: UpstreamId(upstream), epoch: Epoch(epoch), ask: Ask::HangUp { reason: HangUpReason::Empty } }
}

fn report(sequence: u64) -> Report {
    Report { upstream: UpstreamId(1), epoch: Epoch(1), sequence, said: Said::CaughtUp }
}

macro_rules! conformance {
    ($adapter:ident, $make:expr, [$($case:ident),* $(,)?]) => {
        mod $adapter {
            use super::*;
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case($make).await;
                }
            )*
        }
    };
}

conformance!(
    in_process,
    Arc::new(InProcess::default()) as Arc<dyn Bus>,
    [
        notices_of_one_upstream_collapse_while_they_wait,
        a_notice_that_comes_during_the_look_is_another_look,
        each_notice_goes_to_one_receiver,
        orders_reach_the_session_of_their_epoch_and_nobody_else,
        an_order_for_a_dead_epoch_is_lost_without_harm,
        reports_and_discoveries_arrive_in_the_order_of_one_sender,
        a_slow_receiver_makes_the_sender_wait_and_loses_nothing,
        a_question_is_answered_and_a_refusal_is_an_error,
        a_question_that_nobody_answers_is_an_error,
    ]
);

async fn notices_of_one_upstream_collapse_while_they_wait(bus: Arc<dyn Bus>) {
    let notices = bus.notices();
    for _ in 0..10 {
        bus.notify(UpstreamId(7));
    }
    assert_eq!(timeout(SOON, notices.next()).await.unwrap(), UpstreamId(7));
    assert!(timeout(A_MOMENT, notices.next()).await.is_err(), "ten notices are one look");
}

async fn a_notice_that_comes_during_the_look_is_another_look(bus: Arc<dyn Bus>) {
    let notices = bus.notices();
    bus.notify(UpstreamId(7));
    notices.next().await;
    bus.notify(UpstreamId(7));
    assert_eq!(timeout(SOON, notices.next()).await.unwrap(), UpstreamId(7));
}

async fn each_notice_goes_to_one_receiver(bus: Arc<dyn Bus>) {
    let (one, other) = (bus.notices(), bus.notices());
    let waiting = tokio::spawn(async move { tokio::join!(one.next(), other.next()) });
    bus.notify(UpstreamId(1));
    bus.notify(UpstreamId(2));
    let (first, second) = timeout(SOON, waiting).await.unwrap().unwrap();
    assert_ne!(first, second);
}

async fn orders_reach_the_session_of_their_epoch_and_nobody_else(bus: Arc<dyn Bus>) {
    let mut session = bus.orders(UpstreamId(1), Epoch(5)).await.unwrap();
    let mut other = bus.orders(UpstreamId(2), Epoch(5)).await.unwrap();
    for stray in [order(1, 4), order(1, 6)] {
        bus.order(stray).await.unwrap();
    }
    bus.order(order(1, 5)).await.unwrap();
    assert_eq!(timeout(SOON, session.recv()).await.unwrap(), Some(order(1, 5)));
    assert!(timeout(A_MOMENT, other.recv()).await.is_err());
}

async fn an_order_for_a_dead_epoch_is_lost_without_harm(bus: Arc<dyn Bus>) {
    drop(bus.orders(UpstreamId(1), Epoch(5)).await.unwrap());
    bus.order(order(1, 5)).await.unwrap();
    let mut next = bus.orders(UpstreamId(1), Epoch(6)).await.unwrap();
    bus.order(order(1, 6)).await.unwrap();
    assert_eq!(timeout(SOON, next.recv()).await.unwrap(), Some(order(1, 6)));
}

async fn reports_and_discoveries_arrive_in_the_order_of_one_sender(bus: Arc<dyn Bus>) {
    let mut inbox = bus.inbox().await.unwrap();
    bus.report(report(1)).await.unwrap();
    bus.discover(Discovery::default()).await.unwrap();
    bus.report(report(2)).await.unwrap();
    let mut kinds = Vec::new();
    for _ in 0..3 {
        let delivery = timeout(SOON, inbox.recv()).await.unwrap().unwrap();
        kinds.push(match &delivery.incoming {
            Incoming::Report(report) => report.sequence,
            Incoming::Discovery(_) => 0,
        });
        delivery.ack();
    }
    assert_eq!(kinds, [1, 0, 2]);
}

async fn a_slow_receiver_makes_the_sender_wait_and_loses_nothing(bus: Arc<dyn Bus>) {
    const MANY: u64 = 2_000;
    let mut inbox = bus.inbox().await.unwrap();
    let sender = Arc::clone(&bus);
    let sending = tokio::spawn(async move {
        for sequence in 0..MANY {
            sender.report(report(sequence)).await.unwrap();
        }
    });
    tokio::time::sleep(A_MOMENT).await;
    assert!(!sending.is_finished(), "the sender waits for the receiver");
    for expected in 0..MANY {
        let delivery = timeout(SOON, inbox.recv()).await.unwrap().unwrap();
        assert!(matches!(&delivery.incoming, Incoming::Report(report) if report.sequence == expected));
        delivery.ack();
    }
    sending.await.unwrap();
}

async fn a_question_is_answered_and_a_refusal_is_an_error(bus: Arc<dyn Bus>) {
    let mut questions = bus.questions().await.unwrap();
    tokio::spawn(async move {
        while let Some(question) = questions.recv().await {
            let is_due = matches!(question.query, Query::Due);
            let answer = if is_due { Answer::Due(vec![UpstreamId(3)]) } else { Answer::Failed(StateError::Fenced) };
            question.reply.send(answer).unwrap();
        }
    });
    let state = StateClient::new(bus);
    assert_eq!(state.due().await.unwrap(), [UpstreamId(3)]);
    assert!(state.up(UpstreamId(1), Epoch(1)).await.unwrap_err().is_fenced());
}

async fn a_question_that_nobody_answers_is_an_error(bus: Arc<dyn Bus>) {
    let mut questions = bus.questions().await.unwrap();
    tokio::spawn(async move { drop(questions.recv().await) });
    let state = StateClient::new(bus);
    assert!(matches!(timeout(SOON, state.status()).await.unwrap(), Err(AskError::Bus(_))));
}
