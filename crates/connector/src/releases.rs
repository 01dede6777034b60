//! Events that home refused for the lack of something: kept by the state service, offered again when something has arrived.
//!
//! Every connector asks for some now and then; none of them is given what another one has.

use std::sync::Arc;
use std::time::Duration;

use engine::admission::Verdict;
use engine::parents::parents_of;
use model::{Event, LedgerRow, MAX_WAITING_BYTES, Outcome, UpstreamId, Waiting, refs_of, shortened};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::intake::{Shared, admit, stored};

/// How often released events are asked for: with the discovery window it makes the time from parent to child.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// What the state service does not answer is said again after this time.
const RETRY: Duration = Duration::from_secs(1);
/// Whose upstream nobody remembers: the ledger keeps the first that it was told.
const NO_UPSTREAM: UpstreamId = UpstreamId(0);

/// Whether an event is kept until what it needs arrives. False: it is too long for that.
pub(crate) async fn hold(shared: &Shared, event: &Event) -> bool {
    let json = serde_json::to_string(event).expect("an event is plain data");
    if json.len() > MAX_WAITING_BYTES {
        return false;
    }
    let waiting = Waiting { id: event.id, parents: parents_of(event), json };
    while let Err(error) = shared.state.hold(vec![waiting.clone()]).await {
        debug!(%error, "an event that needs another one is not kept yet");
        sleep(RETRY).await;
    }
    true
}

/// Says what is let in, then offers what is released, until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    stop.run_until_cancelled(async {
        say_policy(&shared).await;
        loop {
            match shared.state.released().await {
                Ok(released) if !released.is_empty() => offer_again(&shared, released).await,
                Ok(_) => sleep(ASK_EVERY).await,
                Err(error) => {
                    debug!(%error, "what is released is not known");
                    sleep(ASK_EVERY).await;
                }
            }
        }
    })
    .await;
}

async fn say_policy(shared: &Shared) {
    loop {
        match shared.state.policy(shared.gates.fingerprint()).await {
            Ok(true) => return info!("what is let in has changed: what was kept out is looked at again"),
            Ok(false) => return,
            Err(error) => debug!(%error, "the policy is not told yet"),
        }
        sleep(RETRY).await;
    }
}

/// All at once, for the sink keeps the order; then what became of them.
async fn offer_again(shared: &Arc<Shared>, released: Vec<Waiting>) {
    let mut answers = Vec::new();
    for Waiting { json, .. } in released {
        // We wrote it; what cannot be read is given out in vain, until it is the oldest.
        let Ok(event) = serde_json::from_str::<Event>(&json) else { continue };
        answers.push(offer(shared, Arc::new(event), json).await);
    }
    let mut rows = Vec::new();
    for answer in answers {
        // A sink that ends without an answer leaves the event where it is.
        rows.extend(answer.await);
    }
    while !rows.is_empty() && shared.state.settle(rows.clone()).await.is_err() {
        sleep(RETRY).await;
    }
}

async fn offer(shared: &Arc<Shared>, event: Arc<Event>, json: String) -> oneshot::Receiver<LedgerRow> {
    let (answer, answered) = oneshot::channel();
    let done = {
        let (shared, event) = (Arc::clone(shared), Arc::clone(&event));
        move |outcome: Outcome, words: &str| finish(&shared, event, row(outcome, words), answer)
    };
    if let Some(outcome) = shared.gates.judge(&event, json.len()) {
        done(outcome, "");
        return answered;
    }
    match admit(shared, &event).await {
        Verdict::Admitted => shared.sink.offer(&event, json, Box::new(done)).await,
        Verdict::Refused(reason) => done(Outcome::Gated(reason), ""),
        Verdict::NeedsMaintainer { .. } => done(Outcome::NeedsParent, ""),
    }
    answered
}

/// An outcome, with the words that came with it.
fn row(outcome: Outcome, words: &str) -> (Outcome, Option<String>) {
    (outcome, (!words.is_empty() && !outcome.is_at_home()).then(|| shortened(words)))
}

/// What home holds is discovered before it has its outcome.
fn finish(
    shared: &Arc<Shared>,
    event: Arc<Event>,
    (outcome, reason): (Outcome, Option<String>),
    answer: oneshot::Sender<LedgerRow>,
) {
    let row = LedgerRow {
        id: event.id,
        created_at: event.created_at,
        kind: event.kind,
        refs: refs_of(&event),
        outcome,
        reason,
        upstream: NO_UPSTREAM,
        batch: None,
    };
    let tell = move |row: LedgerRow| {
        // The process may be stopping.
        let _ = answer.send(row);
    };
    if !outcome.is_at_home() {
        return tell(row);
    }
    shared.gates.learn(&event);
    shared.bus.stored(&[stored(&row)]);
    shared.discoveries.hold(event, Box::new(move || tell(row)));
}
