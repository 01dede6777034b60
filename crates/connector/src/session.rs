//! The shell around `engine::session`: one task from dial to end, the only owner of its socket. It decides nothing.
//!
//! Path of an event: socket → session (is it ours?) → intake → outcome → report. Each step waits for the next one, so a
//! slow home slows the reading of this socket, and nothing is dropped.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bus::{Origin, Received};
use engine::conduct::{Excess, SHORTEST_BAN_SECS};
use engine::gate::CopyFault;
use engine::rules::REDIAL_SECS;
use engine::session::{Frame, Input, Output, Request, Session, Ticket, UnitId, Verdict};
use futures_util::{FutureExt, SinkExt, StreamExt};
use model::{
    Ask, Assignment, BatchCounts, BatchId, DownClass, Epoch, Event, EventId, LedgerRow, Order, Report, Role, Said, Timestamp,
    UpGranted,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, Span, debug, info, info_span, warn};

use crate::dial::Socket;
use crate::document::News;
use crate::fence::Fence;
use crate::fetching::Fetching;
use crate::hosts::HostShare;
use crate::identity::Signer;
use crate::intake::{Awaited, Offer, Settled, Shared, What, take_in};
use crate::late::Outcomes;
use crate::lines::Line;
use crate::load::{Named, Share};
use crate::means::Means;
use crate::metrics;
use crate::sets::{Sets, Source};
use crate::wire::{self, Incoming};

/// Events on their way home per session; beyond it, or beyond what they may weigh, the socket is not read.
const IN_FLIGHT: usize = 2048;
/// Frames taken from the socket before the other sources are looked at, and events handed over together.
pub(crate) const FRAMES_AT_ONCE: usize = 128;
/// Outcomes are reported at this many, or this old.
const ROWS_AT_ONCE: usize = 500;
const ROWS_AGE: Duration = Duration::from_millis(200);
/// Batches that move without outcomes (what they read is known) are named this often: their deadlines move too.
const PROGRESS_AGE: Duration = Duration::from_secs(10);
/// A quiet link is pinged after this long, and down when nothing at all came for three times as long.
pub(crate) const PING_AFTER: Duration = Duration::from_secs(30);
pub(crate) const SILENCE: Duration = Duration::from_secs(90);
/// A write that does not get through.
pub(crate) const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// At the end, outcomes of events on their way are waited for this long, and reported by the end of `DRAIN`.
const LAST_OUTCOMES: Duration = Duration::from_secs(4);
const DRAIN: Duration = Duration::from_secs(5);
/// Ids of one report of lost events: about 270 kB.
const LOST_AT_ONCE: usize = 4_000;

/// What a worker keeps of a running session.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// Unix seconds since when something has been on its way without a break; 0 when nothing is.
    behind_since: AtomicU64,
    /// Unix seconds since when something may have been missed on the link and not been read yet; 0 when nothing is.
    gap_since: AtomicU64,
    /// Its link was ended for the relay's conduct.
    is_banned: AtomicBool,
}

impl Pulse {
    /// Of a session whose former one left something behind: that counts until the next link has its own word.
    pub(crate) fn after(left_behind: Option<Timestamp>) -> Self {
        let gap_since = AtomicU64::new(left_behind.map_or(0, |since| since.as_secs().max(1)));
        Self { gap_since, ..Self::default() }
    }

    /// Its link is ended for the relay's conduct.
    pub(crate) fn ban(&self) {
        self.is_banned.store(true, Ordering::Relaxed);
    }

    /// How long (seconds) the upstream of a session that has ended has no other one, at least. The store says how long in all;
    /// its answer may be from before it knew.
    pub(crate) fn rests_secs(&self) -> u64 {
        if self.is_banned.load(Ordering::Relaxed) { SHORTEST_BAN_SECS } else { REDIAL_SECS }
    }

    /// Since when an event may be without a final outcome.
    pub(crate) fn behind_since(&self) -> Option<Timestamp> {
        let moments = [&self.behind_since, &self.gap_since].map(|moment| moment.load(Ordering::Relaxed));
        moments.into_iter().filter(|secs| *secs > 0).min().map(Timestamp::from_secs)
    }
}

/// What a session is told from outside.
#[derive(Clone)]
pub(crate) struct Leash {
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) fence: Arc<Fence>,
    pub(crate) stop: CancellationToken,
}

/// Runs one link of an assigned upstream: waits for its moment, dials, works until the link ends, says why.
pub(crate) async fn run(shared: Arc<Shared>, assignment: Assignment, means: Arc<Means>, leash: Leash) {
    let stop = leash.stop.clone();
    let wait = assignment.dial_at.as_secs().saturating_sub(Timestamp::now().as_secs());
    tokio::select! {
        () = stop.cancelled() => return,
        () = tokio::time::sleep(Duration::from_secs(wait)) => {}
    }
    let dialed = tokio::select! {
        () = stop.cancelled() => return,
        dialed = means.dial(&assignment) => dialed,
    };
    let (epoch, class, detail, sequence) = match dialed {
        Ok(socket) => match open(&shared, &assignment, (socket, &means), leash).await {
            Ok(mut link) => {
                metrics::dialed(assignment.role, "up");
                let _counted = metrics::link_up(assignment.role);
                let ended = link.work().await;
                metrics::link_ended(assignment.role, ended.class);
                (link.epoch, ended.class, ended.detail, link.sequence + 1)
            }
            // Somebody else holds the lease by now, or state is away: the lease is looked at again at the next beat.
            Err(detail) => {
                metrics::dialed(assignment.role, "not-granted");
                return debug!(upstream = %assignment.url, detail, "the link was not granted");
            }
        },
        // No link, so no new epoch: the clock keeps the sequence growing from dial to dial.
        Err(error) => {
            metrics::dialed(assignment.role, error.class().as_str());
            (assignment.epoch, error.class(), error.to_string(), unix_ms())
        }
    };
    if shared.sink.lines().may_say(Line::Down, &assignment.url, assignment.role) {
        info!(upstream = %assignment.url, class = class.as_str(), detail, "link down");
    } else {
        debug!(upstream = %assignment.url, class = class.as_str(), detail, "link down");
    }
    let said = Said::Down { class, detail };
    metrics::report(&said);
    let reporting = shared.bus.report(Report { upstream: assignment.upstream, epoch, sequence, said });
    if !matches!(timeout(DRAIN, reporting).await, Ok(Ok(()))) {
        debug!("the end of a link was not reported; its lease ends it");
    }
}

/// Listens for orders of the coming epoch, then asks for it.
async fn open<'a>(
    shared: &'a Arc<Shared>,
    assignment: &'a Assignment,
    (socket, means): (Socket, &Means),
    leash: Leash,
) -> Result<Link<'a>, String> {
    let coming = Epoch(assignment.epoch.0 + 1);
    let orders = shared.bus.orders(assignment.upstream, coming).await.map_err(|error| error.to_string())?;
    let UpGranted { epoch, resume } =
        shared.state.up(assignment.upstream, assignment.epoch).await.map_err(|error| error.to_string())?;
    if epoch != coming {
        return Err(format!("granted epoch {epoch}, listening for {coming}"));
    }
    if shared.sink.lines().may_say(Line::Up, &assignment.url, assignment.role) {
        info!(upstream = %assignment.url, role = assignment.role.as_str(), ?resume, "link up");
    }
    metrics::resumed(assignment.role, resume);
    let (offers, taken) = mpsc::channel(4);
    let (settled_to, settled) = Outcomes::of_session(assignment.role, &shared.late);
    tokio::spawn(take_in(Arc::clone(shared), assignment.role, taken));
    let now = Instant::now();
    let (news, asking) = means.news(assignment, &shared.gates);
    let signer = means.identity.signer(assignment.role, &assignment.url);
    let session = Session::new(resume, assignment.learned.clone()).with_auth(signer.policy());
    let session = if assignment.role == Role::Home { session.with_trust() } else { session };
    Ok(Link {
        shared,
        assignment,
        epoch,
        session,
        host: shared.hosts.share(&assignment.url, assignment.role),
        signer,
        news,
        _asking: asking,
        socket,
        orders,
        sets: Sets::new(
            Source::Ledger { state: shared.state.clone(), at_home: assignment.role == Role::Home },
            &assignment.learned,
        ),
        offers,
        settled,
        settled_to,
        leash,
        drains_until: None,
        traces: HashMap::new(),
        heard: now,
        pinged: now,
        rows: Vec::new(),
        rows_since: None,
        reported: now,
        counts: BatchCounts::default(),
        sequence: 0,
        in_flight: 0,
        share: shared.load.share(),
        live: metrics::Live::of(assignment.role),
        named: shared.ids.of_a_link(),
        fetching: Fetching::begin(shared, (assignment.upstream, epoch)),
    })
}

struct Link<'a> {
    shared: &'a Arc<Shared>,
    assignment: &'a Assignment,
    epoch: Epoch,
    session: Session,
    host: HostShare,
    signer: Signer,
    news: News,
    _asking: Option<AbortOnDropHandle<()>>,
    socket: Socket,
    orders: mpsc::Receiver<Received<Order>>,
    sets: Sets,
    offers: mpsc::Sender<Vec<Offer>>,
    settled: mpsc::UnboundedReceiver<Settled>,
    settled_to: Outcomes,
    leash: Leash,
    /// Set once the link has ended: what is reported then is not waited for longer.
    drains_until: Option<Instant>,
    /// The traces that batches belong to.
    traces: HashMap<BatchId, Origin>,
    heard: Instant,
    pinged: Instant,
    rows: Vec<LedgerRow>,
    rows_since: Option<Instant>,
    reported: Instant,
    counts: BatchCounts,
    sequence: u64,
    in_flight: usize,
    share: Share,
    live: metrics::Live,
    named: Named,
    fetching: Fetching,
}

/// Why a link ended.
#[derive(Debug)]
struct Ended {
    class: DownClass,
    detail: String,
}

impl Ended {
    fn because(class: DownClass, detail: impl Into<String>) -> Self {
        Self { class, detail: detail.into() }
    }
}

/// What happened next.
enum Happened {
    Stop,
    Order(Option<Received<Order>>),
    Settled(Option<Settled>),
    Worked(Input),
    Frame(Option<Result<Message, WsError>>),
    /// Something became known of the relay beside the link.
    News,
    Deadline,
}

impl Link<'_> {
    /// Works until the link ends, then brings home what is on its way.
    async fn work(&mut self) -> Ended {
        let ended = loop {
            if let Err(ended) = self.step().await {
                break ended;
            }
        };
        if self.leash.fence.has_fallen() {
            // Somebody else may have this upstream by now; whatever we said of it would be refused.
            self.leave_outcomes();
            return ended;
        }
        if ended.class == DownClass::Closed {
            self.session.link_lost(self.shared.hosts.now());
        }
        self.drain().await;
        self.leave_outcomes();
        ended
    }

    async fn step(&mut self) -> Result<(), Ended> {
        if self.leash.fence.has_fallen() {
            return Err(Ended::because(DownClass::Released, "the lease ran out"));
        }
        let wake = self.wake_at();
        let may_read = self.has_room();
        // Frames come before deadlines: what has arrived is not late.
        let happened = tokio::select! {
            biased;
            () = self.leash.stop.cancelled() => Happened::Stop,
            settled = self.settled.recv() => Happened::Settled(settled),
            order = self.orders.recv() => Happened::Order(order),
            input = self.sets.next() => Happened::Worked(input),
            frame = self.socket.next(), if may_read => Happened::Frame(frame),
            Ok(()) = self.news.changed() => Happened::News,
            () = sleep_until(wake) => Happened::Deadline,
        };
        match happened {
            Happened::Stop => return Err(Ended::because(DownClass::Released, "the process stops or the lease is gone")),
            Happened::Settled(Some(settled)) => self.take_settled(settled),
            Happened::Order(Some(order)) => self.take_order(order),
            Happened::Worked(mut input) => {
                if let Input::Reconciled { unit, need, awaited, .. } = &mut input {
                    *awaited = self.spare(*unit, need);
                }
                self.handle(input);
                self.bound_ids();
                self.report_lost().await?;
            }
            Happened::Frame(frame) => self.read(frame).await?,
            Happened::News => self.take_news(),
            Happened::Deadline => self.tick().await?,
            Happened::Settled(None) | Happened::Order(None) => {
                return Err(Ended::because(DownClass::Released, "the bus is closed"));
            }
        }
        self.act().await
    }

    fn has_room(&self) -> bool {
        self.in_flight < IN_FLIGHT && self.share.has_room()
    }

    /// Leaves in `need` what has to be fetched; answers with how many are on their way.
    fn spare(&mut self, unit: UnitId, need: &mut Vec<EventId>) -> usize {
        let ticket = Ticket { unit: Some(unit), ..Ticket::default() };
        let spared = self.fetching.spare(unit, need, || Awaited { ticket, settled: self.settled_to.clone() });
        for (id, created_at) in spared.recent {
            self.sets.fetched(unit, id, created_at);
        }
        spared.awaited
    }

    /// Ids that relays name are memory: for all links together there is so much.
    fn bound_ids(&mut self) {
        if !self.named.are(self.session.ids_named()) {
            self.session.give_up_ids(self.shared.hosts.now());
            self.named.are(self.session.ids_named());
        }
    }

    /// Tells the session what happened, with all that is known of its host.
    fn handle(&mut self, input: Input) {
        let now = self.shared.hosts.now();
        self.host.lent_to(&mut self.session, |session| session.handle(input, now));
    }

    fn take_news(&mut self) {
        let news = self.news.borrow_and_update().clone();
        if let Some(facts) = news {
            self.handle(Input::Learned { facts: Box::new(facts) });
        }
    }

    fn take_order(&mut self, Received { message: order, origin }: Received<Order>) {
        let span =
            origin.begin(info_span!("process order.{upstream}.{epoch}", upstream = %order.upstream, epoch = %order.epoch));
        let _entered = span.enter();
        if let Ask::Fetch { batch, .. } = &order.ask {
            self.traces.insert(*batch, Origin::here());
            // That it was heard is told with the next outcomes, or soon.
            self.rows_since.get_or_insert_with(Instant::now);
        }
        self.handle(Input::Order(order.ask));
    }

    /// Takes the frames that are there, up to a bound, and hands over their events together.
    async fn read(&mut self, first: Option<Result<Message, WsError>>) -> Result<(), Ended> {
        let mut next = Some(first);
        let mut offers = Vec::new();
        let mut taken = 0;
        let ended = loop {
            let Some(frame) = next.take() else { break Ok(()) };
            if let Err(ended) = self.take_frame(frame, &mut offers) {
                break Err(ended);
            }
            taken += 1;
            if taken < FRAMES_AT_ONCE && self.has_room() {
                next = self.socket.next().now_or_never();
            }
        };
        self.heard = Instant::now();
        self.hand_over(offers).await;
        ended
    }

    fn take_frame(&mut self, frame: Option<Result<Message, WsError>>, offers: &mut Vec<Offer>) -> Result<(), Ended> {
        match frame {
            Some(Ok(Message::Text(text))) => {
                self.counts.bytes_in += text.len() as u64;
                self.take_text(&text, offers);
                Ok(())
            }
            Some(Ok(Message::Binary(bytes))) => {
                self.counts.bytes_in += bytes.len() as u64;
                self.drop_message(Excess::Garbage, wire::fingerprint(&bytes));
                Ok(())
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {
                self.session.note(Excess::Pings, self.shared.hosts.now());
                Ok(())
            }
            Some(Ok(Message::Frame(_))) => Ok(()),
            Some(Ok(Message::Close(_))) | None => Err(Ended::because(DownClass::Closed, "the relay closed the connection")),
            Some(Err(WsError::Capacity(error))) => {
                metrics::breach(self.assignment.role, Excess::TooLong);
                self.session.message_too_large(self.shared.hosts.now());
                Err(Ended::because(DownClass::Protocol, error.to_string()))
            }
            Some(Err(error)) => Err(Ended::because(DownClass::Closed, error.to_string())),
        }
    }

    /// What nobody can read may stand for an event; whoever asks for one asks again.
    fn drop_message(&mut self, excess: Excess, frame: u64) {
        self.session.garbage(excess, frame, self.shared.hosts.now());
        metrics::dropped(self.assignment.role, CopyFault::Malformed);
    }

    fn take_text(&mut self, text: &str, offers: &mut Vec<Offer>) {
        if !self.session.takes(text.len()) {
            return self.drop_message(Excess::TooLong, wire::fingerprint(text));
        }
        let Ok(message) = wire::read(text) else {
            return self.drop_message(Excess::Garbage, wire::fingerprint(text));
        };
        match message {
            Incoming::Event { sub, event, json } => {
                let now = self.shared.hosts.now();
                let verdict = self.session.event(&sub, &event, now);
                if let Verdict::Take(ticket) = verdict {
                    self.counts.events += 1;
                    self.in_flight += 1;
                    if let Some(unit) = ticket.unit {
                        self.sets.fetched(unit, event.id, event.created_at);
                        self.fetching.read(unit, event.id);
                    }
                    let (upstream, settled) = (self.assignment.upstream, self.settled_to.clone());
                    let from_private_peer = self.shared.gates.is_private_peer(&self.assignment.url);
                    let weight = weight_of(&event, &json);
                    self.share.add(weight);
                    let (event, read) = (Arc::from(event), self.heard);
                    offers.push(Offer {
                        event,
                        json,
                        ticket,
                        upstream,
                        from_private_peer,
                        weight,
                        read,
                        settled,
                        span: Span::none(),
                    });
                } else if verdict == Verdict::Stray {
                    metrics::dropped(self.assignment.role, CopyFault::NotAskedFor);
                } else if verdict == Verdict::Unwanted {
                    metrics::dropped(self.assignment.role, CopyFault::NotWanted);
                }
            }
            Incoming::Frame(frame) => {
                if matches!(frame, Frame::NegMsg { .. }) {
                    metrics::exchanged("in", text.len());
                }
                self.handle(Input::Frame(frame));
            }
            Incoming::Ok { id, .. } => self.handle(Input::Frame(Frame::Ok { id })),
            Incoming::Unknown => self.session.note(Excess::Chatter, self.shared.hosts.now()),
            Incoming::UnreadableEvent { sub, frame } => {
                self.session.unreadable(&sub, frame, self.shared.hosts.now());
                metrics::dropped(self.assignment.role, CopyFault::Malformed);
            }
        }
    }

    async fn hand_over(&mut self, mut offers: Vec<Offer>) {
        if offers.is_empty() {
            return;
        }
        self.trace(&mut offers);
        if self.leash.pulse.behind_since.load(Ordering::Relaxed) == 0 {
            self.leash.pulse.behind_since.store(Timestamp::now().as_secs(), Ordering::Relaxed);
        }
        // The intake ends only after this sender is dropped.
        let _ = self.offers.send(offers).await;
    }

    /// What was read together of a batch is brought home in one span, which ends with the last outcome.
    fn trace(&self, offers: &mut [Offer]) {
        let of_batch = |offer: &Offer| self.traces.get(&offer.ticket.batch?);
        let Some(origin) = offers.iter().find_map(of_batch) else { return };
        let span = origin.begin(info_span!("bring home", events = offers.len()));
        offers.iter_mut().for_each(|offer| offer.span = span.clone());
    }

    fn take_settled(&mut self, settled: Settled) {
        self.settle(settled);
        while let Ok(settled) = self.settled.try_recv() {
            self.settle(settled);
        }
    }

    fn settle(&mut self, Settled { ticket, event, weight, what }: Settled) {
        if !matches!(what, What::Elsewhere { .. }) {
            self.has_landed(weight);
            metrics::event(self.assignment.role, &what);
        }
        let what = match what {
            What::Fresh(row) => {
                self.rows_since.get_or_insert_with(Instant::now);
                self.rows.push(*row);
                self.counts.fresh += 1;
                engine::session::Settled::Fresh
            }
            What::Known => engine::session::Settled::Known,
            What::Elsewhere { created_at: Some(created_at) } => {
                if let Some(unit) = ticket.unit {
                    self.sets.fetched(unit, event, created_at);
                }
                engine::session::Settled::Known
            }
            What::Elsewhere { created_at: None } => engine::session::Settled::NotBrought,
            What::Faulty { fault: _, frame } => engine::session::Settled::Forged { frame },
        };
        self.handle(Input::Settled { ticket, event, what });
    }

    /// An event that this link has read is no longer on its way.
    fn has_landed(&mut self, weight: usize) {
        self.in_flight -= 1;
        self.share.give_back(weight);
        if self.in_flight == 0 {
            self.leash.pulse.behind_since.store(0, Ordering::Relaxed);
        }
    }

    async fn tick(&mut self) -> Result<(), Ended> {
        let now = Instant::now();
        if now >= self.heard + SILENCE {
            return Err(Ended::because(DownClass::Silent, format!("nothing came for {} s", SILENCE.as_secs())));
        }
        if now >= self.heard + PING_AFTER && now >= self.pinged + PING_AFTER {
            self.pinged = now;
            self.write(Message::Ping(Vec::new().into())).await?;
        }
        self.handle(Input::Tick);
        Ok(())
    }

    /// Does what the session asks for, in order.
    async fn act(&mut self) -> Result<(), Ended> {
        let gap_since = self.session.behind_since().map_or(0, |since| since.as_secs().max(1));
        self.leash.pulse.gap_since.store(gap_since, Ordering::Relaxed);
        let mut wrote = false;
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(request) => {
                    self.feed(&request).await?;
                    wrote = true;
                }
                Output::LoadSet { unit, filter, again, most } => self.sets.load(unit, filter, again, most),
                Output::Reconcile { unit, message } => self.sets.reconcile(unit, message),
                Output::Fetched { unit } => self.fetching.ended(unit),
                Output::DropSet { unit } => {
                    self.sets.drop_set(unit);
                    self.fetching.ended(unit);
                    self.bound_ids();
                }
                Output::Sign { challenge } => {
                    if let Some((id, json)) = self.signer.sign(&challenge) {
                        self.handle(Input::Signed { id, json });
                    }
                }
                Output::Report(said) => {
                    // Outcomes come before the word that depends on them (I8).
                    self.report_progress().await?;
                    self.report(said).await?;
                }
                Output::Breach(excess) => metrics::breach(self.assignment.role, excess),
                Output::HangUp(DownClass::Banned) => {
                    self.leash.pulse.ban();
                    return Err(Ended::because(DownClass::Banned, self.session.misconduct()));
                }
                Output::HangUp(class) => return Err(Ended::because(class, "nothing is wanted here")),
            }
        }
        self.live.are(self.session.live_count());
        if wrote {
            let flushed = timeout(WRITE_LIMIT, self.socket.flush()).await;
            flushed.map_err(|_| write_stalled())?.map_err(|error| Ended::because(DownClass::Closed, error.to_string()))?;
        }
        let has_rows = self.rows.len() >= ROWS_AT_ONCE || self.rows_since.is_some_and(|since| since.elapsed() >= ROWS_AGE);
        if has_rows || self.reported.elapsed() >= PROGRESS_AGE { self.report_progress().await } else { Ok(()) }
    }

    async fn feed(&mut self, request: &Request) -> Result<(), Ended> {
        let text = wire::write(request);
        self.counts.bytes_out += text.len() as u64;
        if matches!(request, Request::NegOpen { .. } | Request::NegMsg { .. }) {
            metrics::exchanged("out", text.len());
        }
        let fed = timeout(WRITE_LIMIT, self.socket.feed(Message::text(text))).await;
        fed.map_err(|_| write_stalled())?.map_err(|error| Ended::because(DownClass::Closed, error.to_string()))
    }

    async fn write(&mut self, message: Message) -> Result<(), Ended> {
        let written = timeout(WRITE_LIMIT, self.socket.send(message)).await;
        written.map_err(|_| write_stalled())?.map_err(|error| Ended::because(DownClass::Closed, error.to_string()))
    }

    /// Outcomes so far, and the batches that moved.
    async fn report_progress(&mut self) -> Result<(), Ended> {
        self.reported = Instant::now();
        self.rows.extend(self.shared.late.take(ROWS_AT_ONCE));
        let batches = self.session.take_moved();
        if self.rows.is_empty() && batches.is_empty() && self.counts == BatchCounts::default() {
            return Ok(());
        }
        self.rows_since = None;
        let rows = std::mem::take(&mut self.rows);
        let counts = std::mem::take(&mut self.counts);
        metrics::traffic(self.assignment.role, &counts);
        let last = self.drains_until.map(|_| rows.clone());
        let reported = self.report(Said::Progress { batches, rows, counts }).await;
        if reported.is_err() {
            // A row that is told twice is one row.
            self.shared.late.keep(last.into_iter().flatten());
        }
        reported
    }

    /// What home has lost, a restored backup for example, is void on the books, and comes again with the next refreshes.
    async fn report_lost(&mut self) -> Result<(), Ended> {
        let lost = self.sets.take_lost();
        if !lost.is_empty() {
            warn!(events = lost.len(), "home does not hold what it held: the next refresh of each upstream brings it back");
        }
        for ids in lost.chunks(LOST_AT_ONCE) {
            self.shared.desk.forget(ids);
            self.report(Said::Lost { ids: ids.to_vec() }).await?;
        }
        Ok(())
    }

    async fn report(&mut self, said: Said) -> Result<(), Ended> {
        self.sequence += 1;
        metrics::report(&said);
        let ended = if let Said::BatchEnded { batch, .. } = &said { self.traces.remove(batch) } else { None };
        let span = info_span!("send report.{upstream}", upstream = %self.assignment.upstream);
        let span = ended.unwrap_or_default().begin(span);
        let report = Report {
            upstream: self.assignment.upstream,
            epoch: self.epoch,
            sequence: self.sequence,
            said: said.in_few_words(),
        };
        tokio::select! {
            biased;
            reported = self.shared.bus.report(report).instrument(span) => {
                reported.map_err(|error| Ended::because(DownClass::Released, error.to_string()))
            }
            () = self.patience() => Err(Ended::because(DownClass::Released, "the bus did not keep a report in time")),
        }
    }

    /// How long a report may take: until the link has to end, or the time to drain is over.
    async fn patience(&self) {
        match self.drains_until {
            Some(deadline) => sleep_until(deadline).await,
            None => self.leash.stop.cancelled().await,
        }
    }

    /// Outcomes that this session reports no more: another one does.
    fn leave_outcomes(&mut self) {
        self.settled.close();
        while let Ok(settled) = self.settled.try_recv() {
            self.settled_to.keep(settled);
        }
        self.shared.late.keep(self.rows.drain(..));
    }

    /// After the end: events on their way get their outcome reported, within bounds. The rest is left to others.
    async fn drain(&mut self) {
        let now = Instant::now();
        let deadline = now + LAST_OUTCOMES;
        self.drains_until = Some(now + DRAIN);
        while self.in_flight > 0 {
            let Ok(Some(settled)) = tokio::time::timeout_at(deadline, self.settled.recv()).await else { break };
            self.settle(settled);
        }
        while let Some(output) = self.session.poll_output() {
            if let Output::Report(said @ (Said::BatchEnded { .. } | Said::CaughtUp | Said::Learned { .. })) = output
                && (self.report_progress().await.is_err() || self.report(said).await.is_err())
            {
                return;
            }
        }
        if let Err(ended) = self.report_progress().await {
            debug!(detail = ended.detail, "the last outcomes were not reported");
        }
        // A close frame is a courtesy.
        let _ = timeout(Duration::from_millis(500), self.socket.close(None)).await;
    }

    fn wake_at(&mut self) -> Instant {
        let ping = (self.heard + PING_AFTER).max(self.pinged + PING_AFTER).min(self.heard + SILENCE);
        let session = self.host.lent_to(&mut self.session, |session| session.deadline());
        let session = session.map(|ms| self.shared.hosts.moment(ms));
        let rows = self.rows_since.map(|since| since + ROWS_AGE);
        let progress = (!self.session.is_idle()).then_some(self.reported + PROGRESS_AGE);
        [session, rows, progress].into_iter().flatten().fold(ping, Instant::min)
    }
}

/// What an event costs in memory while it is on its way (bytes): its text, the same once more in parts, each of them with what
/// holds it.
fn weight_of(event: &Event, json: &str) -> usize {
    const PART_BYTES: usize = 64;
    let parts: usize = event.tags.iter().map(|tag| 1 + tag.as_slice().len()).sum();
    2 * json.len() + PART_BYTES * parts
}

fn unix_ms() -> u64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

fn write_stalled() -> Ended {
    Ended::because(DownClass::Silent, format!("a write did not get through for {} s", WRITE_LIMIT.as_secs()))
}
