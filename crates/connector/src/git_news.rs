//! Word for those who fetch git data: what home took or holds, with where its commits may be had (GRASP-02, duties 2 and 3).
//!
//! Said when home has taken an event, and again every hour as long as home holds it without serving it. Never a git connection, and
//! never on the path of an event: a word that finds no room is dropped, and of what is held, said later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, StateClient};
use engine::git;
use model::{Announced, Event, EventId, GitWanted, Outcome};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Events that wait to be told of.
const WAITING: usize = 4_096;
/// Told of at once: one question to the state service.
const AT_ONCE: usize = 256;
/// Held events that are told of again; beyond it the oldest is not.
const HELD: usize = 10_000;
/// A question that was not answered is asked again after this time.
const RETRY: Duration = Duration::from_secs(1);

/// When what is held is said again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) again_after: Duration,
    /// How often it is looked whether anything is due.
    pub(crate) look_every: Duration,
}

impl Default for Pace {
    /// GRASP-02: at least hourly, and for those who listen at most that.
    fn default() -> Self {
        Self { again_after: Duration::from_secs(3600), look_every: Duration::from_secs(60) }
    }
}

/// Where events with git data are handed in.
#[derive(Debug, Clone)]
pub(crate) struct GitNews {
    sender: mpsc::Sender<News>,
}

#[derive(Debug, Clone)]
struct News {
    event: Arc<Event>,
    is_held: bool,
}

impl GitNews {
    /// Begins to tell, until `stop`.
    pub(crate) fn begin(state: StateClient, bus: Arc<dyn Bus>, pace: Pace, stop: CancellationToken) -> (Self, JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let teller = Teller { state, bus, pace, held: BTreeMap::new() };
        let telling = async move { stop.run_until_cancelled(teller.tell_all(receiver)).await.unwrap_or(()) };
        (Self { sender }, tokio::spawn(telling))
    }

    /// Takes in what home said of an event.
    pub(crate) fn learn(&self, event: &Arc<Event>, outcome: Outcome) {
        let is_held = outcome == Outcome::Held;
        if git::names_git_data(event.kind) && (is_held || outcome == Outcome::Stored) {
            // Full: see above.
            let _ = self.sender.try_send(News { event: Arc::clone(event), is_held });
        }
    }
}

struct Teller {
    state: StateClient,
    bus: Arc<dyn Bus>,
    pace: Pace,
    /// What home held when it was told of last, and when that was.
    held: BTreeMap<EventId, (Arc<Event>, Instant)>,
}

impl Teller {
    async fn tell_all(mut self, mut news: mpsc::Receiver<News>) {
        let mut look = tokio::time::interval(self.pace.look_every);
        loop {
            let mut told = Vec::new();
            tokio::select! {
                count = news.recv_many(&mut told, AT_ONCE) => {
                    if count == 0 {
                        return;
                    }
                    self.tell(&told).await;
                }
                _ = look.tick() => self.tell_again().await,
            }
        }
    }

    async fn tell(&mut self, news: &[News]) {
        let known = self.announced(news).await;
        let wanted: Vec<GitWanted> = news.iter().map(|one| git::wanted(&one.event, &known, one.is_held)).collect();
        self.bus.git_wanted(&wanted);
        let now = Instant::now();
        for News { event, is_held } in news {
            if *is_held {
                self.held.insert(event.id, (Arc::clone(event), now));
            } else {
                self.held.remove(&event.id);
            }
        }
        while self.held.len() > HELD {
            let oldest = self.held.iter().min_by_key(|(_, (_, told))| *told).map(|(id, _)| *id);
            oldest.and_then(|id| self.held.remove(&id));
        }
    }

    /// What is due and still held is said again; the rest is over.
    async fn tell_again(&mut self) {
        let is_due = |told: &Instant| told.elapsed() >= self.pace.again_after;
        let due: Vec<EventId> = self.held.iter().filter(|(_, (_, told))| is_due(told)).map(|(id, _)| *id).collect();
        for ids in due.chunks(AT_ONCE) {
            let Ok(held) = self.state.held(ids.to_vec()).await else { return };
            let gone = ids.iter().filter(|id| !held.contains(id));
            for id in gone {
                self.held.remove(id);
            }
            let again = held.iter().filter_map(|id| self.held.get(id)).map(|(event, _)| Arc::clone(event));
            let again: Vec<News> = again.map(|event| News { event, is_held: true }).collect();
            self.tell(&again).await;
        }
    }

    /// What home holds under the identifiers of these events.
    async fn announced(&self, news: &[News]) -> Vec<Announced> {
        let mut identifiers: Vec<String> = news.iter().flat_map(|one| git::identifiers(&one.event)).collect();
        identifiers.sort_unstable();
        identifiers.dedup();
        while !identifiers.is_empty() {
            match self.state.announced(identifiers.clone()).await {
                Ok(known) => return known,
                Err(error) => debug!(%error, "word of wanted git data waits for the state service"),
            }
            sleep(RETRY).await;
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]
    use std::sync::Mutex;

    use bus::InProcess;
    use model::{Answer, Query, RepoAddr};
    use nostr::prelude::{EventBuilder, FinalizeEvent, Keys, Kind, Tag};
    use tokio::sync::broadcast;
    use tokio::time::timeout;

    use super::*;

    const A_MOMENT: Duration = Duration::from_millis(50);

    struct World {
        news: GitNews,
        heard: broadcast::Receiver<GitWanted>,
        /// What home holds without serving it.
        held: Arc<Mutex<Vec<EventId>>>,
        _stop: tokio_util::sync::DropGuard,
    }

    /// A state service that knows one announcement, and what is held.
    async fn world(announced: RepoAddr) -> World {
        let bus = Arc::new(InProcess::default());
        let mut questions = bus.questions().await.unwrap();
        let held: Arc<Mutex<Vec<EventId>>> = Arc::default();
        let (heard, known) = (bus.listen_git_wanted(), Arc::clone(&held));
        tokio::spawn(async move {
            while let Some(question) = questions.recv().await {
                let answer = match question.query {
                    Query::Announced { .. } => Answer::Announced(vec![Announced {
                        addr: announced.clone(),
                        maintainers: vec![],
                        clone_urls: vec!["https://home.example/x.git".to_owned()],
                    }]),
                    Query::Held { ids } => {
                        Answer::Known(ids.into_iter().filter(|id| known.lock().unwrap().contains(id)).collect())
                    }
                    other => panic!("nobody asks for {other:?}"),
                };
                let _ = question.reply.send(answer);
            }
        });
        let pace = Pace { again_after: Duration::from_secs(3600), look_every: Duration::from_secs(60) };
        let stop = CancellationToken::new();
        let (news, _) = GitNews::begin(StateClient::new(Arc::clone(&bus) as Arc<dyn Bus>), bus, pace, stop.clone());
        World { news, heard, held, _stop: stop.drop_guard() }
    }

    fn state_event(keys: &Keys) -> Arc<Event> {
        let tags = [["d", "x"], ["refs/heads/main", &"c".repeat(40)]].map(|tag| Tag::parse(tag).unwrap());
        Arc::new(EventBuilder::new(Kind::Custom(30618), "").tags(tags).finalize(keys).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn g02_a_held_state_is_told_with_its_clone_urls_and_again_every_hour_until_home_serves_it() {
        let keys = Keys::generate();
        let mut world = world(RepoAddr::new(keys.public_key(), "x").unwrap()).await;
        let state = state_event(&keys);
        world.held.lock().unwrap().push(state.id);
        world.news.learn(&state, Outcome::Held);
        let told = world.heard.recv().await.unwrap();
        assert_eq!((told.id, told.is_held), (state.id, true));
        assert_eq!((told.clone_urls, told.commits), (vec!["https://home.example/x.git".to_owned()], vec!["c".repeat(40)]));
        let first = Instant::now();
        assert!(timeout(Duration::from_secs(3590), world.heard.recv()).await.is_err(), "at most hourly");
        assert!(world.heard.recv().await.unwrap().is_held);
        assert!(first.elapsed() <= Duration::from_secs(3600 + 60), "{:?}", first.elapsed());
        world.held.lock().unwrap().clear();
        assert!(timeout(Duration::from_secs(3 * 3600), world.heard.recv()).await.is_err(), "it is served by now");
    }

    #[tokio::test(start_paused = true)]
    async fn g02_what_home_serves_is_told_once_and_what_it_refused_or_has_no_git_data_never() {
        let keys = Keys::generate();
        let mut world = world(RepoAddr::new(keys.public_key(), "x").unwrap()).await;
        let state = state_event(&keys);
        let issue = Arc::new(EventBuilder::new(Kind::Custom(1621), "").finalize(&keys).unwrap());
        world.news.learn(&issue, Outcome::Stored);
        for outcome in [Outcome::Refused, Outcome::NeedsParent, Outcome::Duplicate] {
            world.news.learn(&state, outcome);
        }
        assert!(timeout(A_MOMENT, world.heard.recv()).await.is_err());
        world.news.learn(&state, Outcome::Stored);
        assert_eq!(world.heard.recv().await.unwrap().id, state.id);
        assert!(timeout(Duration::from_secs(3 * 3600), world.heard.recv()).await.is_err());
    }
}
