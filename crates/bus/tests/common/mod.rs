//! The worlds of the bus tests: each service has a connection of its own where there is one to have.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, InProcess, Nats, NatsSettings};
use futures_util::StreamExt;
use model::{Answer, Ask, Epoch, GitWanted, HangUpReason, Order, Query, Report, Said, UpstreamId};
use tokio::sync::mpsc;

/// Long enough for what must happen, on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);
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

    /// Word of git data that is wanted, as a third party hears it: on a listener inside the process, or with a client of its own.
    pub async fn listen_git_wanted(&self) -> mpsc::Receiver<GitWanted> {
        let (sender, receiver) = mpsc::channel(16);
        match self {
            Self::InProcess(bus) => {
                let mut words = bus.listen_git_wanted();
                tokio::spawn(async move {
                    while let Ok(word) = words.recv().await
                        && sender.send(word).await.is_ok()
                    {}
                });
            }
            Self::Nats(server) => {
                let client = async_nats::connect(server.url()).await.expect("the server was just started");
                let mut words = client.subscribe("git.*").await.expect("it takes subscriptions");
                // Its own word comes back once the server knows of the subscription.
                client.publish("git.ready", "".into()).await.expect("it takes messages");
                words.next().await.expect("the server answers");
                tokio::spawn(async move {
                    while let Some(message) = words.next().await {
                        let word: GitWanted = serde_json::from_slice(&message.payload).expect("it is what the docs say");
                        assert_eq!(message.subject.as_str(), format!("git.{}", word.kind));
                        if sender.send(word).await.is_err() {
                            return;
                        }
                    }
                });
            }
        }
        receiver
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
