//! Drives one session against a model relay on virtual time, as a connector does: it decides nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use engine::conduct::Excess;
use engine::session::{Frame, Input, Now, Output, Request, Session, Settled, Ticket, UnitId, Verdict};
use model::{
    Ask, BatchId, BatchOutcome, DownClass, Event, EventId, Filter, Item, ItemKind, Learned, LiveFilter, Method, Resume, Role,
    Said,
};

use super::relay::{ModelRelay, Negentropy, Reply, Which, closed, is_match, which};
use super::{START, at, live_repos, repo};

pub(crate) struct Shell {
    pub(crate) session: Session,
    pub(crate) relay: ModelRelay,
    pub(crate) ms: u64,
    /// Ids with a final outcome.
    pub(crate) ledger: BTreeSet<EventId>,
    /// Whether every taken event is settled at once.
    pub(crate) settles: bool,
    /// Whether the ledger's sets are loaded at once, or never.
    pub(crate) loads_sets: bool,
    /// Sets of ours that are larger are not loaded.
    pub(crate) most_ids: usize,
    pub(crate) unsettled: VecDeque<(Ticket, Event)>,
    /// Ids that somebody else brings home.
    pub(crate) elsewhere: BTreeSet<EventId>,
    awaited: BTreeMap<EventId, UnitId>,
    /// Every event that the relay sent.
    pub(crate) delivered: BTreeMap<EventId, Event>,
    /// Events settled, in order.
    pub(crate) landed: Vec<Event>,
    pub(crate) said: Vec<(u64, Said)>,
    pub(crate) sent: Vec<(u64, Request)>,
    /// Challenges that were signed.
    pub(crate) signed: Vec<String>,
    pub(crate) breaches: Vec<Excess>,
    pub(crate) hung_up: Option<DownClass>,
    sets: BTreeMap<UnitId, (Filter, BTreeSet<EventId>)>,
    fetched: BTreeMap<UnitId, BTreeSet<EventId>>,
    incoming: VecDeque<Reply>,
}

impl Shell {
    pub(crate) fn fresh(relay: ModelRelay) -> Self {
        Self::new(Resume::Fresh, Learned::default(), relay)
    }

    pub(crate) fn new(resume: Resume, learned: Learned, relay: ModelRelay) -> Self {
        Self {
            session: Session::new(resume, learned),
            relay,
            ms: 0,
            ledger: BTreeSet::new(),
            settles: true,
            loads_sets: true,
            most_ids: usize::MAX,
            unsettled: VecDeque::new(),
            elsewhere: BTreeSet::new(),
            awaited: BTreeMap::new(),
            delivered: BTreeMap::new(),
            landed: Vec::new(),
            said: Vec::new(),
            sent: Vec::new(),
            signed: Vec::new(),
            breaches: Vec::new(),
            hung_up: None,
            sets: BTreeMap::new(),
            fetched: BTreeMap::new(),
            incoming: VecDeque::new(),
        }
    }

    pub(crate) fn now(&self) -> Now {
        Now { ms: self.ms, wall: at(START + self.ms / 1000) }
    }

    pub(crate) fn order(&mut self, ask: Ask) {
        self.session.handle(Input::Order(ask), self.now());
        self.quiet();
    }

    /// A number for a rebuild that differs from those before.
    pub(crate) fn next_layout(&self) -> u64 {
        self.reports().filter(|said| matches!(said, Said::Rebuilt { .. })).count() as u64 + 1
    }

    /// Opens layer 1 of a fresh link.
    pub(crate) fn open_fresh(&mut self, method: Method) {
        self.order(Ask::OpenAnnouncements { filter: engine::filters::layer1(Role::Listed), since: None, method });
    }

    /// A batch of repos in chunk 0, whose live filters name just them.
    pub(crate) fn fetch(&mut self, batch: i64, names: &[&str], method: Method) {
        self.fetch_with(batch, names, live_repos(0, names), method);
    }

    /// A batch whose live filters have no room.
    pub(crate) fn fetch_polled(&mut self, batch: i64, names: &[&str], polled: Vec<LiveFilter>) {
        let items: Vec<Item> = names.iter().map(|name| repo(name)).collect();
        let history = engine::filters::history(ItemKind::Repo, &items);
        let batch = BatchId(batch);
        self.order(Ask::Fetch { batch, live: Vec::new(), polled, history, method: Method::Negentropy, layout: 0 });
    }

    pub(crate) fn fetch_with(&mut self, batch: i64, names: &[&str], live: Vec<LiveFilter>, method: Method) {
        let items: Vec<Item> = names.iter().map(|name| repo(name)).collect();
        let history = engine::filters::history(ItemKind::Repo, &items);
        let layout = self.next_layout() - 1;
        self.order(Ask::Fetch { batch: BatchId(batch), live, polled: Vec::new(), history, method, layout });
    }

    pub(crate) fn hear(&mut self, frame: Frame) {
        self.incoming.push_back(Reply::Frame(frame));
        self.quiet();
    }

    /// An event that the relay sends under this id.
    pub(crate) fn hear_event(&mut self, sub: &str, event: Event) {
        self.incoming.push_back(Reply::Event { sub: sub.to_owned(), event: Box::new(event) });
        self.quiet();
    }

    pub(crate) fn publish(&mut self, event: Event) {
        let replies = self.relay.publish(event);
        self.incoming.extend(replies);
        self.quiet();
    }

    /// The relay closes this subscription.
    pub(crate) fn close(&mut self, sub: &str, text: &str) {
        self.relay.open.remove(sub);
        self.incoming.push_back(closed(sub, text));
        self.quiet();
    }

    /// The relay ends what it had held back.
    pub(crate) fn end_of(&mut self, sub: &str) {
        self.incoming.push_back(super::relay::eose(sub));
        self.quiet();
    }

    /// Everything taken so far has its outcome.
    pub(crate) fn settle_all(&mut self) {
        while let Some((ticket, event)) = self.unsettled.pop_front() {
            self.settle(ticket, event);
        }
        self.quiet();
    }

    /// What somebody else brought is at home, or was no event at all.
    pub(crate) fn elsewhere_ends(&mut self, id: EventId, is_at_home: bool) {
        self.elsewhere.remove(&id);
        if is_at_home {
            self.ledger.insert(id);
        }
        let ticket = Ticket { unit: self.awaited.remove(&id), ..Ticket::default() };
        let what = if is_at_home { Settled::Known } else { Settled::NotBrought };
        self.session.handle(Input::Settled { ticket, event: id, what }, self.now());
        self.quiet();
    }

    fn settle(&mut self, ticket: Ticket, event: Event) {
        let id = event.id;
        let what = if self.ledger.contains(&id) {
            Settled::Known
        } else if self.relay.forges.contains(&id) {
            Settled::Forged { frame: super::relay::mark_of(id) }
        } else {
            self.ledger.insert(id);
            Settled::Fresh
        };
        if !matches!(what, Settled::Forged { .. }) {
            self.landed.push(event);
        }
        self.session.handle(Input::Settled { ticket, event: id, what }, self.now());
    }

    /// Lets everything happen that needs no time.
    pub(crate) fn quiet(&mut self) {
        for _ in 0..1_000_000 {
            if let Some(output) = self.session.poll_output() {
                self.act(output);
            } else if let Some(reply) = self.incoming.pop_front() {
                self.deliver(reply);
            } else {
                return;
            }
        }
        panic!("the session never comes to rest: {:?}", self.sent.iter().rev().take(6).collect::<Vec<_>>());
    }

    /// Lets time pass; the session is woken at its deadlines and at no other moment.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.ms + ms;
        let mut wakes_at_once = 0;
        self.quiet();
        while let Some(deadline) = self.session.deadline().filter(|deadline| *deadline <= end) {
            wakes_at_once = if deadline <= self.ms { wakes_at_once + 1 } else { 0 };
            assert!(wakes_at_once < 100, "the session wants to be woken at once, for ever: {:?}", self.session);
            self.ms = deadline.max(self.ms);
            self.session.handle(Input::Tick, self.now());
            self.quiet();
        }
        self.ms = end;
    }

    fn act(&mut self, output: Output) {
        match output {
            Output::Send(request) => {
                self.sent.push((self.ms, request.clone()));
                self.incoming.extend(self.relay.take(&request));
            }
            Output::LoadSet { unit, filter, again, most } => {
                let mut ids = self.ledger.clone();
                if again {
                    ids.extend(self.fetched.get(&unit).into_iter().flatten());
                }
                let count = self.landed.iter().filter(|event| is_match(&filter, event)).count();
                if count > most.min(self.most_ids) && !again {
                    self.session.handle(Input::SetTooLarge { unit }, self.now());
                    return;
                }
                self.sets.insert(unit, (filter, ids));
                if !self.loads_sets {
                    return;
                }
                self.session.handle(Input::SetReady { unit, message: "61".into() }, self.now());
            }
            Output::Reconcile { unit, .. } => self.reconcile(unit),
            Output::Fetched { .. } => {}
            Output::DropSet { unit } => {
                self.sets.remove(&unit);
                self.fetched.remove(&unit);
            }
            Output::Sign { challenge } => {
                self.signed.push(challenge);
                let id = EventId::from_byte_array([u8::try_from(self.signed.len()).expect("a few"); 32]);
                self.session.handle(Input::Signed { id, json: id.to_hex() }, self.now());
            }
            Output::Report(said) => self.said.push((self.ms, said)),
            Output::Breach(excess) => self.breaches.push(excess),
            Output::HangUp(class) => self.hung_up = Some(class),
        }
    }

    /// The difference of the two sets, in one round.
    fn reconcile(&mut self, unit: UnitId) {
        let (filter, ours) = self.sets.get(&unit).expect("a set is loaded before it is reconciled");
        let never_ends = self.relay.negentropy == Negentropy::AnswersOnce;
        let missing = if never_ends { BTreeSet::new() } else { &self.relay.advertised(filter) - ours };
        let reply = never_ends.then(|| "61".to_owned());
        let awaited = missing.intersection(&self.elsewhere).count();
        self.awaited.extend(missing.intersection(&self.elsewhere).map(|id| (*id, unit)));
        let need = missing.difference(&self.elsewhere).copied().collect();
        self.session.handle(Input::Reconciled { unit, need, awaited, reply }, self.now());
    }

    fn deliver(&mut self, reply: Reply) {
        match reply {
            Reply::Unreadable { sub, frame } => self.session.unreadable(&sub, frame, self.now()),
            Reply::Frame(frame) => self.session.handle(Input::Frame(frame), self.now()),
            Reply::Event { sub, event } => {
                self.delivered.insert(event.id, Event::clone(&event));
                let Verdict::Take(ticket) = self.session.event(&sub, &event, self.now()) else { return };
                if let Some(unit) = ticket.unit {
                    self.fetched.entry(unit).or_default().insert(event.id);
                }
                self.unsettled.push_back((ticket, *event));
                if self.settles {
                    let (ticket, event) = self.unsettled.pop_back().expect("pushed just now");
                    self.settle(ticket, event);
                }
            }
        }
    }

    // What tests look at.

    /// Units whose set is asked for.
    pub(crate) fn loading(&self) -> Vec<UnitId> {
        self.sets.keys().copied().collect()
    }

    pub(crate) fn reports(&self) -> impl Iterator<Item = &Said> {
        self.said.iter().map(|(_, said)| said)
    }

    /// How each batch ended, in order.
    pub(crate) fn ends(&self) -> Vec<(BatchId, BatchOutcome)> {
        let ended = |said: &Said| match said {
            Said::BatchEnded { batch, outcome, .. } => Some((*batch, outcome.clone())),
            Said::Opened
            | Said::Rebuilt { .. }
            | Said::CaughtUp
            | Said::Down { .. }
            | Said::Progress { .. }
            | Said::Learned { .. }
            | Said::Audited { .. }
            | Said::Lost { .. }
            | Said::RateLimited { .. } => None,
        };
        self.reports().filter_map(ended).collect()
    }

    /// All that the session says it has learned.
    pub(crate) fn learned(&self) -> Learned {
        let mut all = Learned::default();
        for said in self.reports() {
            if let Said::Learned { facts } = said {
                all.absorb(facts.clone());
            }
        }
        all
    }

    pub(crate) fn is_complete(&self, batch: i64) -> bool {
        self.ends().contains(&(BatchId(batch), BatchOutcome::Complete))
    }

    pub(crate) fn has_caught_up(&self) -> bool {
        self.reports().any(|said| *said == Said::CaughtUp)
    }

    /// The REQs of one sort that were sent, with their moments.
    pub(crate) fn reqs(&self, sort: Which) -> Vec<(u64, String, Filter)> {
        let req = |(ms, request): &(u64, Request)| match request {
            Request::Req { sub, filter } if which(filter) == sort => Some((*ms, sub.clone(), filter.clone())),
            Request::Req { .. }
            | Request::Close { .. }
            | Request::NegOpen { .. }
            | Request::NegMsg { .. }
            | Request::NegClose { .. }
            | Request::Auth { .. } => None,
        };
        self.sent.iter().filter_map(req).collect()
    }

    pub(crate) fn neg_opens(&self) -> Vec<(u64, String)> {
        let open = |(ms, request): &(u64, Request)| match request {
            Request::NegOpen { sub, .. } => Some((*ms, sub.clone())),
            Request::Req { .. }
            | Request::Close { .. }
            | Request::NegMsg { .. }
            | Request::NegClose { .. }
            | Request::Auth { .. } => None,
        };
        self.sent.iter().filter_map(open).collect()
    }

    /// Where in the log of requests the first one is that `is_it`.
    pub(crate) fn position(&self, is_it: impl Fn(&Request) -> bool) -> usize {
        self.sent.iter().position(|(_, request)| is_it(request)).expect("it was sent")
    }

    pub(crate) fn ids_of(events: &[Event]) -> BTreeSet<EventId> {
        events.iter().map(|event| event.id).collect()
    }
}
