//! An event's way from a session to its outcome: known? signed? gated? else home decides.
//!
//! Owns: the order of the checks, one result per offered event. Never drops silently: every offer comes back settled.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bus::StateClient;
use engine::admission::Verdict;
use engine::gate::{AtTheGate, CopyFault};
use engine::session::Ticket;
use model::{Bar, Event, EventId, LedgerRow, Outcome, Role, Stored, Timestamp, UpstreamId, ledger_refs_of, shortened};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tracing::{Span, debug};

use crate::desk::{Desk, Place};
use crate::discoveries::Discoveries;
use crate::gates::Gates;
use crate::git_news::GitNews;
use crate::hosts::Hosts;
use crate::late::{Late, Outcomes};
use crate::load::{Ids, Load};
use crate::releases;
use crate::sink::Sink;
use crate::verify::Verifier;
use crate::wire::fingerprint;

/// With so few, both questions to the state service are asked at once: they are news, and what is known among them is rare.
const FEW_OFFERS: usize = 8;
/// How long an event waits until the state service is asked again what it knows.
const STATE_RETRY: Duration = Duration::from_secs(1);

/// What all sessions of a process share.
pub(crate) struct Shared {
    pub(crate) state: StateClient,
    pub(crate) bus: Arc<dyn bus::Bus>,
    pub(crate) desk: Desk<Offer, Awaited>,
    pub(crate) late: Arc<Late>,
    pub(crate) verifier: Verifier,
    pub(crate) hosts: Hosts,
    pub(crate) load: Load,
    pub(crate) ids: Ids,
    pub(crate) gates: Arc<Gates>,
    pub(crate) sink: Sink,
    pub(crate) discoveries: Discoveries,
    pub(crate) git_news: GitNews,
}

#[cfg(test)]
impl Shared {
    /// Of a process in which nothing runs yet, whose discoveries are gathered for `window`.
    pub(crate) fn idle(bus: Arc<dyn bus::Bus>, window: Duration) -> Self {
        let (state, stop) = (StateClient::new(Arc::clone(&bus)), tokio_util::sync::CancellationToken::new());
        let gathered = engine::discovery::Window::default();
        let (discoveries, _) = Discoveries::begin(state.clone(), gathered, window, stop.clone());
        let (git_news, _) = GitNews::begin(state.clone(), Arc::clone(&bus), crate::git_news::Pace::default(), stop);
        let gates = Gates::new(engine::admission::Admission::default(), Vec::new(), Vec::new());
        Self {
            state,
            bus,
            desk: Desk::new(),
            late: Arc::default(),
            verifier: Verifier::new(),
            hosts: Hosts::new(),
            load: Load::default(),
            ids: Ids::default(),
            gates: Arc::new(gates),
            sink: Sink::new(),
            discoveries,
            git_news,
        }
    }
}

/// An event on its way, with where it came from and where its outcome goes.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) event: Arc<Event>,
    pub(crate) json: String,
    pub(crate) ticket: Ticket,
    pub(crate) upstream: UpstreamId,
    /// Private repositories are shared with its relay.
    pub(crate) from_private_peer: bool,
    /// What it costs in memory (bytes).
    pub(crate) weight: usize,
    /// When the frames before it were read: less than a turn of its session ago.
    pub(crate) read: Instant,
    /// Of the batch that asked for it; ends when the last event that was read with it has its outcome.
    pub(crate) span: Span,
    pub(crate) settled: Outcomes,
}

/// An event that an exchange has named while somebody else was bringing it home.
#[derive(Debug)]
pub(crate) struct Awaited {
    pub(crate) ticket: Ticket,
    pub(crate) settled: Outcomes,
}

/// One offered event has its outcome.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) ticket: Ticket,
    pub(crate) event: EventId,
    pub(crate) weight: usize,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// New to the ledger.
    Fresh(Box<LedgerRow>),
    /// The ledger, or another session, had it.
    Known,
    /// It was awaited. Somebody else's copy, of this date, has its outcome; or none was to be had.
    Elsewhere { created_at: Option<Timestamp> },
    /// Its id or signature is not that of its content. A fault of the copy: the ledger learns nothing. `frame` stands for it.
    Faulty { fault: CopyFault, frame: u64 },
}

impl Offer {
    fn settle(self, what: What) {
        self.settled.took(&what, self.read.elapsed());
        self.settled.tell(Settled { ticket: self.ticket, event: self.event.id, weight: self.weight, what });
    }

    fn row(&self, outcome: Outcome, words: &str) -> LedgerRow {
        let reason = (!words.is_empty() && !outcome.is_at_home()).then(|| shortened(words));
        LedgerRow {
            id: self.event.id,
            created_at: self.event.created_at,
            kind: self.event.kind,
            refs: ledger_refs_of(&self.event),
            outcome,
            reason,
            upstream: self.upstream,
            batch: self.ticket.batch,
            via: self.ticket.via,
        }
    }
}

impl Awaited {
    /// With its date if it has its outcome; without, if it is to be asked for elsewhere.
    pub(crate) fn settle(self, event: EventId, created_at: Option<Timestamp>) {
        self.settled.tell(Settled { ticket: self.ticket, event, weight: 0, what: What::Elsewhere { created_at } });
    }
}

/// Takes offers of one session until its channel closes.
pub(crate) async fn take_in(shared: Arc<Shared>, role: Role, mut offers: mpsc::Receiver<Vec<Offer>>) {
    while let Some(batch) = offers.recv().await {
        match role {
            Role::Home => from_home(&shared, batch),
            Role::Bootstrap | Role::Listed => from_upstream(&shared, batch).await,
        }
    }
}

/// What home serves is at home: it feeds the ledger and discovery. Home's own word needs no check of ours.
fn from_home(shared: &Shared, offers: Vec<Offer>) {
    for offer in offers {
        shared.gates.learn(&offer.event);
        // What we write comes back on home's feed; the sink tells its outcome, with the upstream that it came from.
        if shared.desk.is_at_home_or_on_its_way(offer.event.id) {
            offer.settle(What::Known);
        } else {
            finish(shared, offer, Outcome::Stored, "");
        }
    }
}

async fn from_upstream(shared: &Arc<Shared>, offers: Vec<Offer>) {
    let (mut first, mut bars) = if offers.len() <= FEW_OFFERS {
        let keys = Gates::keys(offers.iter().map(|offer| &*offer.event));
        let (first, bars) = tokio::join!(drop_known(shared, offers), shared.gates.bars(&shared.state, keys));
        (first, Some(bars))
    } else {
        (drop_known(shared, offers).await, None)
    };
    while !first.is_empty() {
        let verified = shared.verifier.verify(first, |offer: &Offer| &offer.event).await;
        first = Vec::new();
        let bars = match bars.take() {
            Some(bars) => bars,
            None => {
                let sound = verified.iter().filter(|(_, fault)| fault.is_none()).map(|(offer, _)| &*offer.event);
                shared.gates.bars(&shared.state, Gates::keys(sound)).await
            }
        };
        for (offer, fault) in verified {
            if let Some(fault) = fault {
                let id = offer.event.id;
                let waiting = shared.desk.give_up(id);
                let frame = fingerprint(&offer.json);
                offer.settle(What::Faulty { fault, frame });
                waiting.named.into_iter().for_each(|one| one.settle(id, None));
                first.extend(waiting.offers.into_iter().filter_map(|offer| first_of(shared, offer)));
            } else {
                bring_home(shared, offer, &bars).await;
            }
        }
    }
}

/// The offers that this session brings home; the others are settled, or wait for another session's.
async fn drop_known(shared: &Shared, offers: Vec<Offer>) -> Vec<Offer> {
    let ids: Vec<EventId> = offers.iter().map(|offer| offer.event.id).collect();
    let known: HashSet<EventId> = match shared.state.known(ids).await {
        Ok(known) => known.into_iter().collect(),
        Err(error) => {
            // A missing answer costs work, never an event: home deduplicates.
            debug!(%error, "the ledger did not answer");
            HashSet::new()
        }
    };
    let mut first = Vec::new();
    for offer in offers {
        if known.contains(&offer.event.id) {
            let (id, created_at) = (offer.event.id, offer.event.created_at);
            shared.desk.was_known(id).into_iter().for_each(|one| one.settle(id, Some(created_at)));
            offer.settle(What::Known);
        } else {
            first.extend(first_of(shared, offer));
        }
    }
    first
}

fn first_of(shared: &Shared, offer: Offer) -> Option<Offer> {
    match shared.desk.take(offer.event.id, offer) {
        Place::First(offer) => Some(offer),
        Place::Waiting => None,
        Place::Known(offer) => {
            offer.settle(What::Known);
            None
        }
    }
}

/// Gates, the operator's word, then home's.
async fn bring_home(shared: &Arc<Shared>, mut offer: Offer, bars: &[Bar]) {
    let at_the_gate = AtTheGate { event: &offer.event, bytes: offer.json.len(), from_private_peer: offer.from_private_peer };
    if let Some(outcome) = shared.gates.judge(at_the_gate, bars) {
        finish(shared, offer, outcome, "");
        return;
    }
    match admit(shared, &offer.event).await {
        Verdict::Admitted => {}
        Verdict::Refused(reason) => return finish(shared, offer, Outcome::Gated(reason), ""),
        Verdict::NeedsMaintainer { .. } => {
            return finish_or_hold(shared, offer, Outcome::NeedsParent, "no announcement names its author");
        }
    }
    // The text goes to the sink; its outcome needs only the event.
    let (from, event, json) = (offer.upstream, Arc::clone(&offer.event), std::mem::take(&mut offer.json));
    let done = {
        let shared = Arc::clone(shared);
        Box::new(move |outcome: Outcome, words: &str| finish_or_hold(&shared, offer, outcome, words))
    };
    shared.sink.offer(from, &event, json, done).await;
}

pub(crate) async fn admit(shared: &Shared, event: &Event) -> Verdict {
    let Some(identifier) = shared.gates.in_question(event) else { return shared.gates.admit(event, &[]) };
    loop {
        match shared.state.announced(vec![identifier.to_owned()]).await {
            Ok(known) => return shared.gates.admit(event, &known),
            Err(error) => debug!(%error, "an announcement waits for the state service"),
        }
        sleep(STATE_RETRY).await;
    }
}

/// As [`finish`], but what needs another event is kept first, in the background: home's link is not to wait for it.
fn finish_or_hold(shared: &Arc<Shared>, offer: Offer, outcome: Outcome, words: &str) {
    if outcome != Outcome::NeedsParent {
        return finish(shared, offer, outcome, words);
    }
    let (shared, words) = (Arc::clone(shared), words.to_owned());
    tokio::spawn(async move {
        let is_kept = releases::hold(&shared, &offer.event).await;
        finish(&shared, offer, if is_kept { outcome } else { Outcome::Declined }, &words);
    });
}

/// The outcome is final: all who wait for the event are told. What home holds is discovered first.
fn finish(shared: &Shared, offer: Offer, outcome: Outcome, words: &str) {
    let id = offer.event.id;
    let waiting = shared.desk.finish(id, offer.event.created_at, outcome.is_at_home());
    waiting.offers.into_iter().for_each(|offer| offer.settle(What::Known));
    waiting.named.into_iter().for_each(|one| one.settle(id, Some(offer.event.created_at)));
    let row = offer.row(outcome, words);
    if !shared.gates.is_blocked(&offer.event) {
        shared.git_news.learn(&offer.event, outcome);
    }
    if !outcome.is_at_home() {
        return offer.settle(What::Fresh(Box::new(row)));
    }
    shared.gates.learn(&offer.event);
    if shared.gates.is_blocked(&offer.event) {
        return offer.settle(What::Fresh(Box::new(row)));
    }
    shared.bus.stored(&[stored(&row)]);
    let event = Arc::clone(&offer.event);
    shared.discoveries.hold(event, Box::new(move || offer.settle(What::Fresh(Box::new(row)))));
}

pub(crate) fn stored(row: &LedgerRow) -> Stored {
    let refs = row.refs.iter().filter(|one| one.tag.is_tag()).cloned().collect();
    Stored { id: row.id, kind: row.kind, created_at: row.created_at, refs, upstream: row.upstream }
}
