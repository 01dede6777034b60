//! The worlds of the bus tests: each service has a connection of its own where there is one to have.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, InProcess, Nats, NatsSettings};
use model::{Answer, Ask, Epoch, HangUpReason, Order, Query, Report, Said, UpstreamId};

/// Long enough for what must happen, on a busy machine.
pub const SOON: Duration = Duration::from_secs(10);
/// Long enough to see that nothing happens.
pub const A_MOMENT: Duration = Duration::from_millis(300);

#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum World {
    InProcess(Arc<InProcess>),
    Nats(testkit::Nats),
}

impl World {
    pub async fn in_process() -> Self {
        Self::InProcess(Arc::default())
    }

    pub async fn nats() -> Self {
        Self::Nats(testkit::Nats::start().await)
    }

    /// The bus as one service sees it.
    pub async fn bus(&self) -> Arc<dyn Bus> {
        match self {
            Self::InProcess(bus) => Arc::clone(bus) as Arc<dyn Bus>,
            Self::Nats(server) => Arc::new(connect(&server.url()).await),
        }
    }

    /// Gives what was said the time to travel.
    pub async fn settle(&self) {
        tokio::time::sleep(A_MOMENT).await;
    }
}

/// A small stream and a short wait, so that tests see both.
pub fn settings(url: &str) -> NatsSettings {
    NatsSettings { stream_bytes: 128 * 1024, ack_wait: Duration::from_secs(2), ..NatsSettings::new(url, "all") }
}

pub async fn connect(url: &str) -> Nats {
    Nats::connect(settings(url)).await.expect("the server was just started")
}

pub fn order(upstream: i64, epoch: i64) -> Order {
    Order { upstream: UpstreamId(upstream), epoch: Epoch(epoch), ask: Ask::HangUp { reason: HangUpReason::Empty } }
}

pub fn report(sequence: u64) -> Report {
    Report { upstream: UpstreamId(1), epoch: Epoch(1), sequence, said: Said::CaughtUp }
}

/// A state service that answers by a function; `None` answers nothing.
pub async fn answer_by(bus: &Arc<dyn Bus>, answer: impl Fn(Query) -> Option<Answer> + Send + 'static) {
    let mut questions = bus.questions().await.expect("nobody else takes them");
    let bus = Arc::clone(bus);
    tokio::spawn(async move {
        let _kept = bus;
        while let Some(question) = questions.recv().await {
            if let Some(answer) = answer(question.query) {
                // The asker may have gone.
                let _ = question.reply.send(answer);
            }
        }
    });
}
