//! One link to home: EVENTs out, OKs in, with a bounded window that shrinks when home says that it is too much. Home is told
//! who we are if it wants to know and may (NIP-42).

use std::collections::HashMap;
use std::time::Duration;

use engine::auth::{Auth, Refused};
use engine::outcome::{Answer, read_ok};
use engine::session::Frame;
use futures_util::{FutureExt, SinkExt, StreamExt};
use model::{EventId, Outcome, RelayUrl, Role};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tracing::info;

use super::queue::{Offer, Queue};
use crate::dial::Socket;
use crate::identity::Signer;
use crate::means::Means;
use crate::metrics;
use crate::wire::{self, Incoming};

/// Home has not answered an EVENT for this long: the connection is made anew and what was unanswered written again.
const OK_LIMIT: Duration = Duration::from_secs(30);
const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// "error:" and words that nobody agreed on: so many tries, then it counts as declined.
const MOST_TRIES: u8 = 5;
/// Frames taken before the window is filled again: events that take their places are written together.
const FRAMES_AT_ONCE: usize = 128;
/// The waits after `rate-limited:` double between these.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How much home takes. It outlives a link: home does not allow more because the connection is another one.
#[derive(Debug)]
pub(super) struct Rate {
    window: usize,
    /// What of the window is used: home's rate shows in how much it takes at once.
    room: usize,
    paused_until: Instant,
    pause: Duration,
}

impl Rate {
    pub(super) fn of(window: usize) -> Self {
        Self { window, room: window, paused_until: Instant::now(), pause: PAUSES.0 }
    }
}

pub(super) struct Writer<'a> {
    link: usize,
    socket: Socket,
    queue: &'a Queue,
    news: watch::Receiver<()>,
    /// With the moment of their writing.
    unanswered: HashMap<EventId, (Offer, Instant)>,
    rate: &'a mut Rate,
    answered: Instant,
    began: Instant,
    auth: Auth,
    signer: Signer,
    /// An AUTH that is to be sent.
    to_say: Option<String>,
}

impl Drop for Writer<'_> {
    /// Whatever ends the link: what was unanswered is written again, and home deduplicates.
    fn drop(&mut self) {
        for (_, (offer, _)) in self.unanswered.drain() {
            self.queue.put_back(self.link, offer);
        }
    }
}

impl<'a> Writer<'a> {
    pub(super) async fn connect(
        home: &RelayUrl,
        queue: &'a Queue,
        link: usize,
        (rate, means): (&'a mut Rate, &Means),
    ) -> Result<Self, String> {
        let socket = means.dialer.dial(home, Role::Home).await.map_err(|error| error.to_string())?;
        info!(%home, link, "writing to home");
        means.home_terms.look_again();
        let signer = means.identity.signer(Role::Home, home);
        let now = Instant::now();
        let mut news = queue.news();
        news.mark_changed();
        Ok(Self {
            link,
            socket,
            queue,
            news,
            unanswered: HashMap::new(),
            rate,
            answered: now,
            began: now,
            auth: Auth::new(signer.policy()),
            signer,
            to_say: None,
        })
    }

    /// Works until the connection ends; answers why.
    pub(super) async fn work(&mut self) -> String {
        loop {
            if let Err(why) = self.fill_window().await {
                return why;
            }
            let has_room = self.unanswered.len() < self.rate.room;
            let overdue = if self.unanswered.is_empty() { None } else { Some(self.answered + OK_LIMIT) };
            let paused = self.holds_until();
            tokio::select! {
                frame = self.socket.next() => if let Err(why) = self.take_frames(frame) {
                    return why;
                },
                Ok(()) = self.news.changed(), if has_room && paused.is_none() => {}
                () = until(paused) => {}
                () = until(overdue) => return format!("no OK for {} s", OK_LIMIT.as_secs()),
            }
        }
    }

    async fn fill_window(&mut self) -> Result<(), String> {
        let mut wrote = false;
        if let Some(text) = self.to_say.take() {
            self.feed(text).await?;
            wrote = true;
        }
        let may_offer = self.holds_until().is_none();
        while may_offer && self.unanswered.len() < self.rate.room {
            let Some(offer) = self.queue.pop(self.link) else { break };
            if self.unanswered.is_empty() {
                self.answered = Instant::now();
            }
            let text = wire::write_event(&offer.json);
            metrics::sent_home(text.len());
            self.unanswered.insert(offer.id, (offer, Instant::now()));
            self.feed(text).await?;
            wrote = true;
        }
        if wrote {
            let flushed = timeout(WRITE_LIMIT, self.socket.flush()).await;
            flushed.map_err(|_| "home reads nothing".to_owned())?.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    async fn feed(&mut self, text: String) -> Result<(), String> {
        let fed = timeout(WRITE_LIMIT, self.socket.feed(Message::text(text))).await;
        fed.map_err(|_| "home reads nothing".to_owned())?.map_err(|error| error.to_string())
    }

    /// Until when nothing is offered: home wants a pause, or is being told who we are.
    fn holds_until(&mut self) -> Option<Instant> {
        self.auth.tick(self.ms());
        let auth = self.auth.waits_until().map(|ms| self.began + Duration::from_millis(ms));
        auth.into_iter().chain([self.rate.paused_until]).max().filter(|until| *until > Instant::now())
    }

    /// Since the link is up.
    fn ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes the frames that are there, up to a bound.
    fn take_frames(&mut self, first: Option<Result<Message, WsError>>) -> Result<(), String> {
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(frame) = next.take() {
            match frame {
                Some(Ok(message)) => self.take_frame(&message),
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err("home closed the connection".to_owned()),
            }
            taken += 1;
            if taken < FRAMES_AT_ONCE {
                next = self.socket.next().now_or_never();
            }
        }
        Ok(())
    }

    fn take_frame(&mut self, message: &Message) {
        let Message::Text(text) = message else { return };
        match wire::read(text) {
            Ok(Incoming::Ok { id, accepted, text }) => self.take_ok(id, accepted, &text),
            Ok(Incoming::Frame(Frame::Auth { challenge })) => {
                let challenge = self.auth.challenged(challenge, self.ms());
                self.say_who_we_are(challenge);
            }
            Ok(Incoming::Frame(_) | Incoming::Event { .. } | Incoming::UnreadableEvent { .. } | Incoming::Unknown) | Err(_) => {
            }
        }
    }

    fn say_who_we_are(&mut self, challenge: Option<String>) {
        if let Some((id, json)) = challenge.and_then(|challenge| self.signer.sign(&challenge)) {
            self.auth.signed(id);
            self.to_say = Some(wire::write_auth(&json));
        }
    }

    fn take_ok(&mut self, id: EventId, accepted: bool, text: &str) {
        if self.auth.answered(id, self.ms()) {
            return;
        }
        self.answered = Instant::now();
        let Some((mut offer, written)) = self.unanswered.remove(&id) else { return };
        metrics::answered_by_home(self.answered.duration_since(written));
        match read_ok(accepted, text) {
            Answer::Final(outcome) => {
                self.rate.room = (self.rate.room + 1).min(self.rate.window);
                if self.rate.paused_until <= self.answered {
                    self.rate.pause = PAUSES.0;
                }
                self.end(offer, outcome, text);
            }
            Answer::RateLimited => {
                self.slow_down();
                self.queue.put_back(self.link, offer);
            }
            Answer::AuthRequired if self.waits_for_auth() => self.queue.put_back(self.link, offer),
            Answer::AuthRequired | Answer::Failed if offer.tries + 1 < MOST_TRIES => {
                offer.tries += 1;
                self.queue.put_back(self.link, offer);
            }
            Answer::AuthRequired | Answer::Failed => self.end(offer, Outcome::Declined, text),
        }
    }

    /// Whether home is being told who we are: then what it refused is offered again after that.
    fn waits_for_auth(&mut self) -> bool {
        match self.auth.refused(self.ms()) {
            Refused::Final => false,
            Refused::Wait { sign } => {
                self.say_who_we_are(sign);
                true
            }
        }
    }

    fn end(&self, offer: Offer, outcome: Outcome, words: &str) {
        self.queue.landed(self.link, offer.rank);
        (offer.done)(outcome, words);
    }

    /// What was on its way when home said so is refused with the same words: that counts once.
    fn slow_down(&mut self) {
        self.queue.rate.limited();
        metrics::write_refused();
        if self.rate.paused_until > self.answered {
            return;
        }
        self.rate.paused_until = self.answered + self.rate.pause;
        self.rate.pause = (self.rate.pause * 2).min(PAUSES.1);
        self.rate.room = (self.rate.room / 2).max(1);
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
