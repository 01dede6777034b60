//! The shell around `engine::session` for a reading: one socket, from the first filter to the last. It decides nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::gate::CopyFault;
use engine::session::{Frame, Input, Output, Request, Session, Settled, Ticket, Verdict};
use futures_util::{FutureExt, SinkExt, StreamExt};
use model::{Ask, BatchId, BatchOutcome, DownClass, Event, EventId, Incomplete, Learned, Resume, Said};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::{End, Gathered, Lacking, Reading};
use crate::Unreachable;
use crate::dial::Socket;
use crate::hosts::{HostShare, Hosts};
use crate::session::{FRAMES_AT_ONCE, PING_AFTER, SILENCE, WRITE_LIMIT};
use crate::sets::{Sets, Source};
use crate::verify::Verifier;
use crate::wire::{self, Incoming};

/// Readings of a stretch with the same faulty frames until the session takes the fault to be the relay's, and the time between
/// two of them (`engine::session::faults`).
const READINGS: u32 = 3;
const READING_AGAIN: Duration = Duration::from_millis(4_100);

/// One link.
#[derive(Debug)]
pub(super) struct Link {
    session: Session,
    socket: Socket,
    host: HostShare,
    heard: Instant,
    pinged: Instant,
    last_batch: i64,
    learned: Learned,
}

/// A filter that is being read: which, and for which time because of faulty frames.
#[derive(Debug, Clone, Copy)]
struct Asked {
    index: usize,
    readings: u32,
}

/// An event that came, with its JSON.
#[derive(Debug)]
struct Came {
    ticket: Ticket,
    event: Box<Event>,
    json: String,
}

/// A reading on this link.
struct Run<'a> {
    reading: &'a Reading,
    gathered: &'a mut Gathered,
    hosts: &'a Hosts,
    verifier: &'a Verifier,
    sets: Sets,
    asked: BTreeMap<BatchId, Asked>,
    /// Filters that are read once more, and from when on.
    again: Vec<(Instant, Asked)>,
}

enum Happened {
    Worked(Input),
    Frame(Option<Result<Message, WsError>>),
    Deadline,
    Over,
}

impl Link {
    pub(super) fn new(socket: Socket, host: HostShare, learned: &Learned) -> Self {
        let now = Instant::now();
        Self {
            session: Session::new(Resume::Fresh, learned.clone()),
            socket,
            host,
            heard: now,
            pinged: now,
            last_batch: 0,
            learned: learned.clone(),
        }
    }

    /// The same, before anything was asked, with what has become known meanwhile.
    pub(super) fn knowing(self, learned: &Learned) -> Self {
        Self { session: Session::new(Resume::Fresh, learned.clone()), learned: learned.clone(), ..self }
    }

    /// What is known of the relay by now.
    pub(super) fn learned(&self) -> &Learned {
        &self.learned
    }

    /// Reads what is unread.
    pub(super) async fn read(
        &mut self,
        reading: &Reading,
        gathered: &mut Gathered,
        (hosts, verifier): (&Hosts, &Verifier),
    ) -> Result<(), Unreachable> {
        let sets = Sets::new(Source::Held(Arc::clone(&reading.held)), &self.learned);
        let mut run = Run { reading, gathered, hosts, verifier, sets, asked: BTreeMap::new(), again: Vec::new() };
        // It was quiet between two readings.
        self.heard = Instant::now();
        let unread: Vec<usize> = run.gathered.unread().collect();
        for index in unread {
            self.ask(&mut run, Asked { index, readings: 1 });
        }
        let mut ended = self.act(&mut run).await;
        while ended.is_ok() && !(run.asked.is_empty() && run.again.is_empty()) {
            ended = self.step(&mut run).await;
        }
        if ended.as_ref().is_err_and(|why| why.class == DownClass::Closed) {
            self.session.link_lost(hosts.now());
        }
        // What the end has taught.
        while let Some(output) = self.session.poll_output() {
            self.take_report(&mut run, output);
        }
        ended
    }

    fn ask(&mut self, run: &mut Run<'_>, asked: Asked) {
        self.last_batch += 1;
        let batch = BatchId(self.last_batch);
        run.asked.insert(batch, asked);
        let history = vec![run.reading.filters[asked.index].clone()];
        let (live, polled) = (Vec::new(), Vec::new());
        let ask = Ask::Fetch { batch, live, polled, history, method: run.reading.method, layout: 0 };
        self.handle(run.hosts, Input::Order(ask));
    }

    fn handle(&mut self, hosts: &Hosts, input: Input) {
        let now = hosts.now();
        self.host.lent_to(&mut self.session, |session| session.handle(input, now));
    }

    async fn step(&mut self, run: &mut Run<'_>) -> Result<(), Unreachable> {
        let wake = self.wake_at(run);
        let until = run.reading.until;
        let happened = tokio::select! {
            biased;
            () = async { sleep_until(until.expect("it is looked at first")).await }, if until.is_some() => Happened::Over,
            input = run.sets.next() => Happened::Worked(input),
            frame = self.socket.next() => Happened::Frame(frame),
            () = sleep_until(wake) => Happened::Deadline,
        };
        match happened {
            Happened::Over => {
                return Err(because(DownClass::Timeout, "it was not read to its end in the time that it was given"));
            }
            Happened::Worked(mut input) => {
                if let Input::Reconciled { need, .. } = &mut input {
                    run.name(need);
                }
                self.handle(run.hosts, input);
            }
            Happened::Frame(frame) => self.read_frames(run, frame).await?,
            Happened::Deadline => self.tick(run).await?,
        }
        self.act(run).await
    }

    fn wake_at(&mut self, run: &Run<'_>) -> Instant {
        let ping = (self.heard + PING_AFTER).max(self.pinged + PING_AFTER).min(self.heard + SILENCE);
        let session = self.host.lent_to(&mut self.session, |session| session.deadline());
        let session = session.map(|ms| run.hosts.moment(ms));
        let again = run.again.iter().map(|(at, _)| *at);
        session.into_iter().chain(again).fold(ping, Instant::min)
    }

    async fn tick(&mut self, run: &mut Run<'_>) -> Result<(), Unreachable> {
        let now = Instant::now();
        if now >= self.heard + SILENCE {
            return Err(because(DownClass::Silent, format!("nothing came for {} s", SILENCE.as_secs())));
        }
        if now >= self.heard + PING_AFTER && now >= self.pinged + PING_AFTER {
            self.pinged = now;
            self.write(Message::Ping(Vec::new().into())).await?;
        }
        let due: Vec<Asked> = run.again.extract_if(.., |(at, _)| *at <= now).map(|(_, asked)| asked).collect();
        for asked in due {
            self.ask(run, asked);
        }
        self.handle(run.hosts, Input::Tick);
        Ok(())
    }

    /// Takes the frames that are there, up to a bound, and settles their events together.
    async fn read_frames(&mut self, run: &mut Run<'_>, first: Option<Result<Message, WsError>>) -> Result<(), Unreachable> {
        let (mut next, mut came, mut taken) = (Some(first), Vec::new(), 0);
        let ended = loop {
            let Some(frame) = next.take() else { break Ok(()) };
            if let Err(ended) = self.take_frame(run, frame, &mut came) {
                break Err(ended);
            }
            taken += 1;
            if taken < FRAMES_AT_ONCE {
                next = self.socket.next().now_or_never();
            }
        };
        self.heard = Instant::now();
        self.settle(run, came).await?;
        ended
    }

    fn take_frame(
        &mut self,
        run: &mut Run<'_>,
        frame: Option<Result<Message, WsError>>,
        came: &mut Vec<Came>,
    ) -> Result<(), Unreachable> {
        match frame {
            Some(Ok(Message::Text(text))) => {
                run.gathered.surveyed.counts.bytes_in += text.len() as u64;
                self.take_text(run, &text, came)
            }
            Some(Ok(Message::Binary(_))) => Err(because(DownClass::Protocol, "a binary message")),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(()),
            Some(Ok(Message::Close(_))) | None => Err(because(DownClass::Closed, "the relay closed the connection")),
            Some(Err(WsError::Capacity(error))) => {
                self.session.message_too_large(run.hosts.now());
                Err(because(DownClass::Protocol, error.to_string()))
            }
            Some(Err(error)) => Err(because(DownClass::Closed, error.to_string())),
        }
    }

    fn take_text(&mut self, run: &mut Run<'_>, text: &str, came: &mut Vec<Came>) -> Result<(), Unreachable> {
        match wire::read(text).map_err(|error| because(DownClass::Protocol, error.to_string()))? {
            Incoming::Event { sub, event, json } => {
                run.reading.tally.events.fetch_add(1, Ordering::Relaxed);
                run.gathered.surveyed.counts.events += 1;
                if let Verdict::Take(ticket) = self.session.event(&sub, &event, run.hosts.now()) {
                    if let Some(unit) = ticket.unit {
                        run.sets.fetched(unit, event.id, event.created_at);
                    }
                    came.push(Came { ticket, event, json });
                }
            }
            Incoming::Frame(frame) => self.handle(run.hosts, Input::Frame(frame)),
            Incoming::Ok { id, .. } => self.handle(run.hosts, Input::Frame(Frame::Ok { id })),
            Incoming::Unknown => {}
            Incoming::UnreadableEvent { sub, frame } => self.session.unreadable(&sub, frame, run.hosts.now()),
        }
        Ok(())
    }

    /// What is known is settled at once, the rest when it is verified.
    async fn settle(&mut self, run: &mut Run<'_>, came: Vec<Came>) -> Result<(), Unreachable> {
        let is_known = |one: &Came| run.reading.held.contains(&one.event.id) || run.gathered.seen.contains(&one.event.id);
        let (known, unknown): (Vec<Came>, Vec<Came>) = came.into_iter().partition(is_known);
        for Came { ticket, event, .. } in known {
            self.handle(run.hosts, Input::Settled { ticket, event: event.id, what: Settled::Known });
        }
        if unknown.is_empty() {
            return Ok(());
        }
        for (one, fault) in run.verifier.verify(unknown, |one: &Came| &one.event).await {
            let (ticket, event) = (one.ticket, one.event.id);
            let what = run.take_verified(one, fault);
            self.handle(run.hosts, Input::Settled { ticket, event, what });
        }
        if run.gathered.bytes > run.reading.most_bytes {
            let most = run.reading.most_bytes / (1024 * 1024);
            return Err(because(DownClass::Released, format!("it serves more than {most} MiB that are not held: left there")));
        }
        Ok(())
    }

    /// Does what the session asks for, in order.
    async fn act(&mut self, run: &mut Run<'_>) -> Result<(), Unreachable> {
        let mut wrote = false;
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(request) => {
                    self.feed(run, &request).await?;
                    wrote = true;
                }
                Output::LoadSet { unit, filter, again, most } => run.sets.load(unit, filter, again, most),
                Output::Reconcile { unit, message } => run.sets.reconcile(unit, message),
                Output::Fetched { .. } => {}
                Output::DropSet { unit } => run.sets.drop_set(unit),
                Output::HangUp(DownClass::Banned) => return Err(because(DownClass::Banned, self.session.misconduct())),
                Output::HangUp(class) => return Err(because(class, "nothing is asked here")),
                // The reason of the end names it.
                // Without consent nothing is ever to be signed.
                output @ (Output::Report(_) | Output::Sign { .. } | Output::Breach(_)) => self.take_report(run, output),
            }
        }
        if !wrote {
            return Ok(());
        }
        let flushed = timeout(WRITE_LIMIT, self.socket.flush()).await;
        flushed.map_err(|_| write_stalled())?.map_err(|error| because(DownClass::Closed, error.to_string()))
    }

    fn take_report(&mut self, run: &mut Run<'_>, output: Output) {
        match output {
            Output::Report(Said::BatchEnded { batch, outcome, method, .. }) => {
                let Some(asked) = run.asked.remove(&batch) else { return };
                run.ended(
                    asked,
                    match outcome {
                        BatchOutcome::Complete => End::Complete(method),
                        BatchOutcome::Incomplete { why, detail } => End::Incomplete { why, detail: model::shortened(&detail) },
                    },
                );
            }
            Output::Report(Said::Learned { facts }) => self.learned.absorb(facts),
            Output::Report(_)
            | Output::Send(_)
            | Output::LoadSet { .. }
            | Output::Reconcile { .. }
            | Output::Fetched { .. }
            | Output::DropSet { .. }
            | Output::Sign { .. }
            | Output::Breach(_)
            | Output::HangUp(_) => {}
        }
    }

    async fn feed(&mut self, run: &mut Run<'_>, request: &Request) -> Result<(), Unreachable> {
        let text = wire::write(request);
        run.gathered.surveyed.counts.bytes_out += text.len() as u64;
        let fed = timeout(WRITE_LIMIT, self.socket.feed(Message::text(text))).await;
        fed.map_err(|_| write_stalled())?.map_err(|error| because(DownClass::Closed, error.to_string()))
    }

    async fn write(&mut self, message: Message) -> Result<(), Unreachable> {
        let written = timeout(WRITE_LIMIT, self.socket.send(message)).await;
        written.map_err(|_| write_stalled())?.map_err(|error| because(DownClass::Closed, error.to_string()))
    }
}

impl Run<'_> {
    /// Takes note of what an exchange named, and leaves of it what is to be fetched.
    fn name(&mut self, need: &mut Vec<EventId>) {
        self.gathered.named.extend(need.iter().filter(|id| !self.reading.held.contains(id)));
        need.retain(|id| !self.gathered.seen.contains(id));
    }

    fn take_verified(&mut self, Came { event, json, .. }: Came, fault: Option<CopyFault>) -> Settled {
        if let Some(fault) = fault {
            self.gathered.surveyed.faulty.insert(event.id, (event.kind, fault));
            return Settled::Forged { frame: wire::fingerprint(&json) };
        }
        if !self.gathered.seen.insert(event.id) {
            return Settled::Known;
        }
        let mut event = *event;
        let content_chars = event.content.chars().count();
        event.content = String::new();
        self.gathered.bytes += json.len();
        self.gathered.surveyed.counts.fresh += 1;
        self.gathered.surveyed.lacking.push(Lacking { event, bytes: json.len(), content_chars });
        Settled::Fresh
    }

    /// A reading of a filter ended. Where what came is faulty, it is read again as often as it takes to know whose fault it is.
    fn ended(&mut self, asked: Asked, end: End) {
        let is_faulty = matches!(end, End::Incomplete { why: Incomplete::Faulty, .. });
        if is_faulty && asked.readings < READINGS {
            let asked = Asked { readings: asked.readings + 1, ..asked };
            return self.again.push((Instant::now() + READING_AGAIN, asked));
        }
        self.reading.tally.filters_read.fetch_add(1, Ordering::Relaxed);
        self.gathered.ends[asked.index] = Some(end);
    }
}

fn because(class: DownClass, detail: impl Into<String>) -> Unreachable {
    Unreachable { class, detail: detail.into() }
}

fn write_stalled() -> Unreachable {
    because(DownClass::Silent, format!("a write did not get through for {} s", WRITE_LIMIT.as_secs()))
}
