//! Writes to home: EVENT in, OK out, pipelined on one connection with a bounded window.
//!
//! Owns: the connection, the write order, tries. Never loses an event: one without an OK is written again, and home
//! deduplicates by id. Full means that those who offer wait, and with them their sockets.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::outcome::{Answer, read_ok};
use engine::pace::{Pace, WRITING};
use futures_util::{SinkExt, StreamExt};
use model::{Event, EventId, Outcome, RelayUrl, kinds};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::dial::{Socket, Word, dial};
use crate::metrics;
use crate::wire::{self, Incoming};

/// Events that may wait for home, over all sessions.
const WAITING: usize = 4096;
/// Home has not answered an EVENT for this long: the connection is made anew and what was unanswered written again.
const OK_LIMIT: Duration = Duration::from_secs(30);
const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// "error:" and words that nobody agreed on: so many tries, then it counts as declined.
const MOST_TRIES: u8 = 5;
/// The waits between connections double up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Home down is said once in this time.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// Called once, with the outcome and home's own words.
type Done = Box<dyn FnOnce(Outcome, &str) + Send>;

struct Offer {
    id: EventId,
    json: String,
    rank: usize,
    tries: u8,
    done: Done,
    _place: OwnedSemaphorePermit,
}

/// Where events for home are offered.
#[derive(Clone)]
pub(crate) struct Sink {
    queue: Arc<Queue>,
    places: Arc<Semaphore>,
}

/// Write order: announcements, then states and roots, then the rest, so that what depends comes after.
struct Queue {
    ranks: Mutex<[VecDeque<Offer>; 3]>,
    news: Notify,
}

impl Sink {
    pub(crate) fn new() -> Self {
        let queue = Queue { ranks: Mutex::default(), news: Notify::new() };
        Self { queue: Arc::new(queue), places: Arc::new(Semaphore::new(WAITING)) }
    }

    /// Offers an event. Waits for a place; `done` is called when home's word on it is final.
    pub(crate) async fn offer(&self, event: &Event, json: String, done: Done) {
        let place = Arc::clone(&self.places).acquire_owned().await.expect("the sink is never closed");
        let rank = rank(event);
        self.queue.lock()[rank].push_back(Offer { id: event.id, json, rank, tries: 0, done, _place: place });
        self.queue.news.notify_one();
    }

    /// Writes to `home` until `stop`.
    pub(crate) async fn write(self, home: RelayUrl, window: usize, stop: CancellationToken) {
        let mut wait = Duration::from_secs(1);
        let mut said: Option<Instant> = None;
        while !stop.is_cancelled() {
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = Writer::connect(&home, &self.queue, window) => ended,
            };
            let why = match ended {
                Ok(mut writer) => {
                    wait = Duration::from_secs(1);
                    let why = tokio::select! {
                        () = stop.cancelled() => return,
                        why = writer.work() => why,
                    };
                    self.queue.put_back(writer.unanswered);
                    why
                }
                Err(why) => why,
            };
            if said.is_none_or(|said| said.elapsed() >= SAY_AGAIN) {
                warn!(%home, why, "home takes no writes; trying again");
                said = Some(Instant::now());
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(wait) => wait = (wait * 2).min(LONGEST_WAIT),
            }
        }
    }
}

impl Queue {
    fn pop(&self) -> Option<Offer> {
        self.lock().iter_mut().find_map(VecDeque::pop_front)
    }

    fn put_back(&self, offers: HashMap<EventId, Offer>) {
        let mut ranks = self.lock();
        for offer in offers.into_values() {
            ranks[offer.rank].push_front(offer);
        }
    }

    /// The queues are changed in single steps, so a panic elsewhere cannot have left them half-written.
    fn lock(&self) -> MutexGuard<'_, [VecDeque<Offer>; 3]> {
        self.ranks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection to home.
struct Writer<'a> {
    socket: Socket,
    queue: &'a Queue,
    unanswered: HashMap<EventId, Offer>,
    window: usize,
    /// Nothing is written before: a cooldown, or the distance to the last event.
    paused_until: Instant,
    cooling_until: Instant,
    pace: Pace,
    began: Instant,
    answered: Instant,
}

impl<'a> Writer<'a> {
    async fn connect(home: &RelayUrl, queue: &'a Queue, window: usize) -> Result<Self, String> {
        let socket = dial(home, Word::Operator).await.map_err(|error| error.to_string())?;
        info!(%home, "writing to home");
        let now = Instant::now();
        Ok(Self {
            socket,
            queue,
            unanswered: HashMap::new(),
            window,
            paused_until: now,
            cooling_until: now,
            pace: Pace::new(WRITING),
            began: now,
            answered: now,
        })
    }

    /// Works until the connection ends; answers why.
    async fn work(&mut self) -> String {
        loop {
            if let Err(why) = self.fill_window().await {
                return why;
            }
            let has_room = self.unanswered.len() < self.width();
            let overdue = if self.unanswered.is_empty() { None } else { Some(self.answered + OK_LIMIT) };
            let paused = (self.paused_until > Instant::now()).then_some(self.paused_until);
            tokio::select! {
                frame = self.socket.next() => match frame {
                    Some(Ok(message)) => self.take_frame(&message),
                    Some(Err(error)) => return error.to_string(),
                    None => return "home closed the connection".to_owned(),
                },
                () = self.queue.news.notified(), if has_room && paused.is_none() => {}
                () = until(paused) => {}
                () = until(overdue) => return format!("no OK for {} s", OK_LIMIT.as_secs()),
            }
        }
    }

    async fn fill_window(&mut self) -> Result<(), String> {
        if self.paused_until > Instant::now() {
            return Ok(());
        }
        let mut wrote = false;
        while self.unanswered.len() < self.width() {
            let Some(offer) = self.queue.pop() else { break };
            if self.unanswered.is_empty() {
                self.answered = Instant::now();
            }
            let text = wire::write_event(&offer.json);
            metrics::sent_home(text.len());
            self.unanswered.insert(offer.id, offer);
            let fed = timeout(WRITE_LIMIT, self.socket.feed(Message::text(text))).await;
            fed.map_err(|_| "home reads nothing".to_owned())?.map_err(|error| error.to_string())?;
            wrote = true;
            let apart = self.pace.spacing_ms();
            if apart > 0 {
                self.paused_until = Instant::now() + Duration::from_millis(apart);
                break;
            }
        }
        if wrote {
            let flushed = timeout(WRITE_LIMIT, self.socket.flush()).await;
            flushed.map_err(|_| "home reads nothing".to_owned())?.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Events without an OK that home may have at a time.
    fn width(&self) -> usize {
        self.window.min(self.pace.width())
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn take_frame(&mut self, message: &Message) {
        let Message::Text(text) = message else { return };
        let Ok(Incoming::Ok { id, accepted, text }) = wire::read(text) else { return };
        self.answered = Instant::now();
        let Some(mut offer) = self.unanswered.remove(&id) else { return };
        match read_ok(accepted, &text) {
            Answer::Final(outcome) => {
                self.pace.answered(self.elapsed_ms());
                self.pace.ended_well();
                (offer.done)(outcome, &text);
            }
            Answer::RateLimited => {
                // What was written before the cooldown is refused with the first: that is one refusal.
                if self.cooling_until <= Instant::now() {
                    let cooldown = self.pace.rate_limited(self.elapsed_ms());
                    self.cooling_until = Instant::now() + Duration::from_secs(cooldown);
                    self.paused_until = self.cooling_until;
                }
                self.queue.lock()[offer.rank].push_front(offer);
            }
            Answer::Failed if offer.tries + 1 < MOST_TRIES => {
                offer.tries += 1;
                self.queue.lock()[offer.rank].push_back(offer);
            }
            Answer::Failed => (offer.done)(Outcome::Declined, &text),
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn rank(event: &Event) -> usize {
    if event.kind == kinds::ANNOUNCEMENT {
        0
    } else if event.kind == kinds::STATE || kinds::is_root(event.kind) {
        1
    } else {
        2
    }
}
