//! The way of written events from their JSON to their OK. Parsing and signatures are checked on
//! blocking threads, in batches; the order of the events of one connection is kept.

use std::sync::Arc;

use nostr::event::Event;
use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::Shared;
use super::archive::{Stored, Verdict};
use super::committer::Committer;
use super::message::MAX_EVENT;
use super::outbox::{Frame, Outbox};

/// Events checked together: enough to share a sync, few enough for the first OK to come soon.
const BATCH: usize = 256;
/// Fewer than this are not worth a second thread.
const CHUNK: usize = 32;

/// Batches that are checked while earlier ones are on their way to the disk; they share the next sync.
const AHEAD: usize = 8;

/// Takes the events of one connection until its channel closes.
pub(super) async fn run(events: Receiver<String>, relay: Arc<Shared>, outbox: Arc<Outbox>) {
    let (checked, batches) = channel(AHEAD);
    tokio::join!(check_batches(events, &relay, checked), commit_batches(batches, &relay.committer, &outbox));
}

async fn check_batches(mut events: Receiver<String>, relay: &Arc<Shared>, checked: Sender<Vec<Checked>>) {
    let mut batch = Vec::with_capacity(BATCH);
    while events.recv_many(&mut batch, BATCH).await > 0 {
        let ready = check_all(std::mem::take(&mut batch), relay).await;
        if checked.send(ready).await.is_err() {
            return;
        }
    }
}

async fn commit_batches(mut batches: Receiver<Vec<Checked>>, committer: &Committer, outbox: &Outbox) {
    let mut ready = Vec::with_capacity(AHEAD);
    while batches.recv_many(&mut ready, AHEAD).await > 0 {
        let checked: Vec<Checked> = ready.drain(..).flatten().collect();
        let sound = checked.iter().filter_map(Checked::sound).collect();
        let mut verdicts = committer.commit(sound).await.into_iter();
        for event in checked {
            let answer = match event {
                Checked::Refused(notice) => notice,
                Checked::Known(id) => ok(&id, Verdict::Duplicate),
                Checked::Sound(stored) => {
                    let verdict = verdicts.next().unwrap_or(Verdict::Unwritable);
                    ok(&stored.event.id.to_hex(), verdict)
                }
            };
            outbox.push(Frame::Text(answer));
        }
    }
}

/// An event as far as it can be judged alone.
enum Checked {
    /// With the message that says so.
    Refused(String),
    /// Held already: its signature is not checked again.
    Known(String),
    Sound(Arc<Stored>),
}

impl Checked {
    fn sound(&self) -> Option<Arc<Stored>> {
        match self {
            Self::Sound(stored) => Some(Arc::clone(stored)),
            Self::Refused(_) | Self::Known(_) => None,
        }
    }
}

async fn check_all(texts: Vec<String>, relay: &Arc<Shared>) -> Vec<Checked> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let chunk = texts.len().div_ceil(cores).max(CHUNK);
    let mut texts = texts.into_iter().peekable();
    let mut running = Vec::new();
    while texts.peek().is_some() {
        let part: Vec<String> = texts.by_ref().take(chunk).collect();
        let relay = Arc::clone(relay);
        running.push(tokio::task::spawn_blocking(move || part.iter().map(|text| check(text, &relay)).collect::<Vec<_>>()));
    }
    let mut checked = Vec::new();
    for part in running {
        // A check that panicked or was cut off by the end of the runtime has no answer to give.
        checked.extend(part.await.unwrap_or_default());
    }
    checked
}

fn check(text: &str, relay: &Shared) -> Checked {
    let event = match Event::from_json(text) {
        Ok(event) => event,
        Err(cause) => return Checked::Refused(unparsable(text, &cause.to_string())),
    };
    if text.len() > MAX_EVENT {
        return Checked::Refused(refused(&event.id.to_hex(), "invalid: the event is too large"));
    }
    if relay.hub.holds(&event.id) {
        return Checked::Known(event.id.to_hex());
    }
    if relay.is_trusting {
        return Checked::Sound(Stored::new(event));
    }
    if !event.verify_id() {
        return Checked::Refused(refused(&event.id.to_hex(), "invalid: the id does not match"));
    }
    if !event.verify_signature() {
        return Checked::Refused(refused(&event.id.to_hex(), "invalid: bad signature"));
    }
    Checked::Sound(Stored::new(event))
}

/// An OK where the id can be told, else a NOTICE.
fn unparsable(text: &str, cause: &str) -> String {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    match value.get("id").and_then(Value::as_str) {
        Some(id) => refused(id, &format!("invalid: {cause}")),
        None => json!(["NOTICE", format!("ERROR: bad msg: not an event: {cause}")]).to_string(),
    }
}

fn refused(id: &str, reason: &str) -> String {
    json!(["OK", id, false, reason]).to_string()
}

fn ok(id: &str, verdict: Verdict) -> String {
    json!(["OK", id, verdict.is_accepted(), verdict.text()]).to_string()
}
