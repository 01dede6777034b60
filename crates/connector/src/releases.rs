//! Events that home refused for the lack of something: kept by the state service, offered again when something has arrived.
//!
//! Every connector asks for some now and then; none of them is given what another one has.

use std::sync::Arc;
use std::time::Duration;

use engine::admission::Verdict;
use engine::gate::AtTheGate;
use engine::parents::parents_of;
use model::{Bar, Event, LedgerRow, MAX_WAITING_BYTES, Outcome, UpstreamId, Via, Waiting, ledger_refs_of, shortened};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::gates::Gates;
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
    // We wrote them; what cannot be read is given out in vain, until it is the oldest.
    let read = |Waiting { json, .. }: Waiting| Some((serde_json::from_str::<Event>(&json).ok()?, json));
    let released: Vec<(Event, String)> = released.into_iter().filter_map(read).collect();
    let bars = shared.gates.bars(&shared.state, Gates::keys(released.iter().map(|(event, _)| event))).await;
    for (event, json) in released {
        answers.push(offer(shared, Arc::new(event), json, &bars).await);
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

/// What was kept has a turn of its own, beside those of upstreams.
const KEPT: UpstreamId = UpstreamId(0);

async fn offer(shared: &Arc<Shared>, event: Arc<Event>, json: String, bars: &[Bar]) -> oneshot::Receiver<LedgerRow> {
    let (answer, answered) = oneshot::channel();
    let done = {
        let (shared, event) = (Arc::clone(shared), Arc::clone(&event));
        move |outcome: Outcome, words: &str| finish(&shared, event, row(outcome, words), answer)
    };
    // Where it came from was looked at when it was kept.
    let at_the_gate = AtTheGate { event: &event, bytes: json.len(), from_private_peer: true };
    if let Some(outcome) = shared.gates.judge(at_the_gate, bars) {
        done(outcome, "");
        return answered;
    }
    match admit(shared, &event).await {
        Verdict::Admitted => shared.sink.offer(KEPT, &event, json, Box::new(done)).await,
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
        refs: ledger_refs_of(&event),
        outcome,
        reason,
        upstream: NO_UPSTREAM,
        batch: None,
        via: Some(Via::Kept),
    };
    shared.git_news.learn(&event, outcome);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]
    use std::collections::VecDeque;

    use bus::{Bus, InProcess};
    use model::{Answer, EventId, GateReason, Query};
    use nostr::prelude::{EventBuilder, FinalizeEvent, Keys, Kind, Tag, Timestamp};
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::*;
    use crate::identity::Identity;
    use crate::sink;
    use crate::sink::tests::{Does, Home};

    fn event(kind: u16, tags: &[[&str; 2]]) -> Event {
        let tags = tags.iter().map(|tag| Tag::parse(tag.iter().map(ToString::to_string)).unwrap());
        EventBuilder::new(Kind::Custom(kind), "").tags(tags).finalize(&Keys::generate()).unwrap()
    }

    fn waiting(event: &Event) -> Waiting {
        Waiting { id: event.id, parents: Vec::new(), json: serde_json::to_string(event).unwrap() }
    }

    /// A state service that gives these out, one list at a time; what is settled and held is told.
    async fn state(bus: &Arc<InProcess>, released: Vec<Vec<Waiting>>) -> mpsc::UnboundedReceiver<Query> {
        let mut questions = bus.questions().await.unwrap();
        let (told, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut released = VecDeque::from(released);
            while let Some(question) = questions.recv().await {
                let answer = match &question.query {
                    Query::Policy { .. } => Answer::Policy(false),
                    Query::Announced { .. } => Answer::Announced(Vec::new()),
                    Query::Released => Answer::Released(released.pop_front().unwrap_or_default()),
                    Query::Discover(_) => Answer::Discovered(Vec::new()),
                    Query::Bars { .. } => Answer::Bars(Vec::new()),
                    Query::Settle { rows } => Answer::Settled(rows.len() as u64),
                    Query::Hold { waiting } => Answer::Held(waiting.len() as u64),
                    other => panic!("nobody asks for {other:?}"),
                };
                told.send(question.query).unwrap();
                let _ = question.reply.send(answer);
            }
        });
        heard
    }

    fn shared(bus: Arc<InProcess>) -> Arc<Shared> {
        Arc::new(Shared::idle(bus, Duration::from_millis(10)))
    }

    async fn settled(heard: &mut mpsc::UnboundedReceiver<Query>) -> Vec<(EventId, Outcome)> {
        loop {
            let query = timeout(Duration::from_secs(20), heard.recv()).await.expect("a settlement").unwrap();
            if let Query::Settle { rows } = query {
                return rows.into_iter().map(|row| (row.id, row.outcome)).collect();
            }
        }
    }

    #[tokio::test]
    async fn scenario_16_what_is_released_is_offered_again_and_its_outcome_told() {
        let home = Home::new(|_, kind| match kind {
            1111 => Does::Says("blocked: no announcement found"),
            _ => Does::Takes,
        })
        .await;
        let (state_event, comment) = (event(30618, &[["d", "x"]]), event(1111, &[]));
        let expired = event(1621, &[["expiration", "5"]]);
        let bus = Arc::<InProcess>::default();
        let released = vec![vec![waiting(&state_event), waiting(&comment)], vec![waiting(&expired)]];
        let mut heard = state(&bus, released).await;
        let (shared, stop) = (shared(bus), CancellationToken::new());
        let terms = sink::Terms { links: 1, window: 8 };
        tokio::spawn(shared.sink.clone().write(
            home.url.clone(),
            (terms, sink::tests::means(Identity::default())),
            stop.clone(),
        ));
        let running = tokio::spawn(run(shared, stop.clone()));
        let expected = [(state_event.id, Outcome::Stored), (comment.id, Outcome::NeedsParent)];
        assert_eq!(settled(&mut heard).await, expected);
        assert_eq!(settled(&mut heard).await, [(expired.id, Outcome::Gated(GateReason::Expired))]);
        assert_eq!(home.taken(), [(30618, state_event.created_at.as_secs())]);
        stop.cancel();
        running.await.unwrap();
    }

    #[tokio::test]
    async fn what_needs_another_event_is_kept_with_the_keys_of_that_unless_it_is_too_long() {
        let bus = Arc::<InProcess>::default();
        let mut heard = state(&bus, Vec::new()).await;
        let shared = shared(bus);
        let root = "7".repeat(64);
        let comment = event(1111, &[["E", &root], ["e", &root]]);
        assert!(hold(&shared, &comment).await);
        let kept = Waiting { parents: vec![root], ..waiting(&comment) };
        assert_eq!(heard.recv().await.unwrap(), Query::Hold { waiting: vec![kept] });
        let long = EventBuilder::new(Kind::Custom(1111), "x".repeat(MAX_WAITING_BYTES));
        let long = long.custom_created_at(Timestamp::from_secs(1)).finalize(&Keys::generate()).unwrap();
        assert!(!hold(&shared, &long).await);
        assert!(heard.is_empty());
    }
}
