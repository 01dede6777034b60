//! Book, planner, sessions and model relays on one virtual clock, without a bus: what a fleet does, in one thread.
//!
//! Every step of it is written down in words, and the invariants are asked after each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use engine::book::{Book, Status};
use engine::discovery::Window;
use engine::room::Room;
use engine::rules::Policy;
use engine::session::Request;
use engine::{filters, invariants, plan};
use model::{Ask, BatchOutcome, DownClass, Epoch, Event, EventId, Filter, Report, Resume, Said, Timestamp, UpstreamId};

use super::relay::{ModelRelay, is_match};
use super::shell::Shell;
use super::{START, at, url};

/// Overdue batches are looked for this often (milliseconds).
const SWEEP_MS: u64 = 30_000;
/// A session says which batches moved this often (milliseconds).
const PROGRESS_MS: u64 = 10_000;

struct Link {
    shell: Shell,
    epoch: Epoch,
    resume: Resume,
    sequence: u64,
    /// How much of the shell's records is written down.
    said: usize,
    sent: usize,
    landed: usize,
    progress_at: u64,
}

pub(crate) struct World {
    pub(crate) book: Book,
    pub(crate) ms: u64,
    pub(crate) home: BTreeMap<EventId, Event>,
    pub(crate) log: String,
    window: Window,
    /// Relays without a link.
    relays: BTreeMap<String, ModelRelay>,
    links: BTreeMap<UpstreamId, Link>,
    look_again: BTreeMap<UpstreamId, u64>,
    last_plan: BTreeMap<UpstreamId, String>,
    sweep_at: u64,
    /// Rebuild orders that the bus loses.
    pub(crate) lost_rebuilds: usize,
}

impl World {
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            book: Book::new(policy),
            ms: 0,
            home: BTreeMap::new(),
            log: String::new(),
            window: Window::default(),
            relays: BTreeMap::new(),
            links: BTreeMap::new(),
            look_again: BTreeMap::new(),
            last_plan: BTreeMap::new(),
            sweep_at: SWEEP_MS,
            lost_rebuilds: 0,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        at(START + self.ms / 1000)
    }

    pub(crate) fn note(&mut self, line: &str) {
        writeln!(self.log, "[{}] {line}", clock(self.now())).expect("a string takes everything");
    }

    // What scripts and properties do.

    /// The relay at `address`, linked or not.
    pub(crate) fn relay(&mut self, address: &str) -> &mut ModelRelay {
        let number = self.book.number_of(&url(address));
        match number.and_then(|number| self.links.get_mut(&number)) {
            Some(link) => &mut link.shell.relay,
            None => self.relays.entry(address.to_owned()).or_insert_with(|| ModelRelay::with([])),
        }
    }

    pub(crate) fn shell(&mut self, address: &str) -> Option<&mut Shell> {
        let number = self.book.number_of(&url(address))?;
        self.links.get_mut(&number).map(|link| &mut link.shell)
    }

    /// Home serves a new event.
    pub(crate) fn at_home(&mut self, event: Event) {
        self.window.gather(&event, self.ms);
        for link in self.links.values_mut() {
            link.shell.ledger.insert(event.id);
        }
        self.home.insert(event.id, event);
    }

    /// A new event at a relay: it goes to whoever is subscribed.
    pub(crate) fn publish(&mut self, address: &str, event: Event) {
        match self.shell(address) {
            Some(shell) => shell.publish(event),
            None => self.relay(address).events.push(event),
        }
    }

    /// The session of this relay says that it learned so.
    pub(crate) fn learns(&mut self, address: &str, facts: model::Learned) {
        let number = self.book.number_of(&url(address)).expect("home knows this upstream");
        let (epoch, sequence) = (self.links[&number].epoch, self.next_sequence(number));
        self.report(number, epoch, sequence, Said::Learned { facts });
    }

    pub(crate) fn up(&mut self, address: &str) {
        let number = self.book.number_of(&url(address)).expect("home knows this upstream");
        let granted = self.book.up(number, self.now(), 0).expect("it is known");
        let learned = self.book.relay(number).expect("it is known").learned.clone();
        let relay = self.relays.remove(address).unwrap_or_else(|| ModelRelay::with([]));
        let mut shell = Shell::new(granted.resume, learned, relay);
        shell.ms = self.ms;
        shell.ledger = self.home.keys().copied().collect();
        let (epoch, resume) = (granted.epoch, granted.resume);
        let link = Link { shell, epoch, resume, sequence: 0, said: 0, sent: 0, landed: 0, progress_at: self.ms };
        assert!(self.links.insert(number, link).is_none(), "I7: two sessions on {address}");
        self.last_plan.remove(&number);
        self.note(&format!("{} is up, epoch {epoch}, {}", short(address), words_of(resume)));
        self.settle();
    }

    pub(crate) fn down(&mut self, address: &str) {
        let number = self.book.number_of(&url(address)).expect("home knows this upstream");
        self.end(number, DownClass::Closed);
        self.settle();
    }

    fn end(&mut self, number: UpstreamId, class: DownClass) {
        let mut link = self.links.remove(&number).expect("its link is up");
        link.shell.relay.open.clear();
        link.sequence += 1;
        self.book.note_behind(number, link.shell.session.behind_since());
        self.report(number, link.epoch, link.sequence, Said::Down { class, detail: String::new() });
        self.look_again.remove(&number);
        self.relays.insert(format!("wss://{}", self.name(number)), link.shell.relay);
    }

    fn hang_up(&mut self, number: UpstreamId) -> bool {
        let class = self.links.get(&number).and_then(|link| link.shell.hung_up);
        if let Some(class) = class {
            self.end(number, class);
        }
        class.is_some()
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.ms + ms;
        self.settle();
        while let Some(next) = self.next_moment().filter(|next| *next <= end) {
            self.advance(next);
        }
        self.advance(end);
    }

    /// Lets everything settle, within `bound` milliseconds. Says whether it did.
    pub(crate) fn run(&mut self, bound: u64) -> bool {
        let end = self.ms + bound;
        self.settle();
        while !self.is_settled() {
            let Some(next) = self.next_moment().filter(|next| *next <= end) else { return false };
            self.advance(next);
        }
        true
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.window.closes_at(0).is_none()
            && self.links.values().all(|link| link.shell.session.is_idle() && link.shell.session.is_standing())
            && invariants::i10_settled_links_are_caught_up(&self.book).is_ok()
            && invariants::i09_every_target_is_confirmed(&self.book).is_ok()
    }

    // How it works.

    fn advance(&mut self, ms: u64) {
        self.ms = ms.max(self.ms);
        for link in self.links.values_mut() {
            let passed = self.ms - link.shell.ms;
            link.shell.pass(passed);
        }
        self.settle();
    }

    fn next_moment(&self) -> Option<u64> {
        let sessions = self.links.values().filter_map(|link| link.shell.session.deadline());
        let window = self.window.closes_at(self.book.policy().discovery_window_ms);
        let progress = self.links.values().filter(|link| !link.shell.session.is_idle()).map(|link| link.progress_at);
        let planned = self.look_again.values().copied();
        sessions.chain(window).chain(progress).chain(planned).chain([self.sweep_at]).map(|at| at.max(self.ms + 1)).min()
    }

    /// Everything that needs no time.
    pub(crate) fn settle(&mut self) {
        for _ in 0..2_000 {
            let numbers: Vec<UpstreamId> = self.links.keys().copied().collect();
            let mut did = self.close_window() | self.sweep();
            for number in &numbers {
                did |= self.listen(*number);
            }
            for number in numbers {
                did |= self.plan(number);
                did |= self.hang_up(number);
            }
            if !did {
                return self.assert_invariants();
            }
        }
        panic!("it never comes to rest:\n{}", self.log.lines().rev().take(30).collect::<Vec<_>>().join("\n"));
    }

    fn close_window(&mut self) -> bool {
        let is_due = self.window.closes_at(self.book.policy().discovery_window_ms).is_some_and(|at| at <= self.ms);
        if is_due {
            // The scripts count repos and roots; the layer of deletions has tests of its own.
            let found = model::Discovery { participants: Vec::new(), ..self.window.take() };
            let (repos, roots) = (found.repos.len(), found.roots.len());
            let dirty = self.book.discover(&found, self.now());
            self.note(&format!("discovered {repos} repos and {roots} roots: {} upstreams to look at", dirty.len()));
        }
        is_due
    }

    fn sweep(&mut self) -> bool {
        if self.ms >= self.sweep_at {
            self.sweep_at = self.ms + SWEEP_MS;
            self.book.sweep(self.now());
        }
        false
    }

    /// Takes in what a session did since.
    fn listen(&mut self, number: UpstreamId) -> bool {
        let Some(link) = self.links.get_mut(&number) else { return false };
        link.shell.quiet();
        let sent: Vec<Request> = link.shell.sent[link.sent..].iter().map(|(_, request)| request.clone()).collect();
        let said: Vec<Said> = link.shell.said[link.said..].iter().map(|(_, said)| said.clone()).collect();
        let landed: Vec<Event> = link.shell.landed[link.landed..].to_vec();
        (link.sent, link.said, link.landed) = (link.shell.sent.len(), link.shell.said.len(), link.shell.landed.len());
        let (epoch, name) = (link.epoch, self.name(number));
        let did = !(sent.is_empty() && said.is_empty() && landed.is_empty());
        for request in sent {
            self.note(&format!("{name} ← {}", short_request(&request)));
        }
        self.take_home(&name, landed);
        for said in said.into_iter().chain(self.progress(number)) {
            let sequence = self.next_sequence(number);
            self.report(number, epoch, sequence, said);
        }
        did
    }

    fn take_home(&mut self, name: &str, landed: Vec<Event>) {
        let new: Vec<Event> = landed.into_iter().filter(|event| !self.home.contains_key(&event.id)).collect();
        if !new.is_empty() {
            let ids: BTreeSet<EventId> = new.iter().map(|event| event.id).collect();
            self.note(&format!("home takes {} from {name}", counted(ids.len(), "event")));
        }
        for event in new {
            self.at_home(event);
        }
    }

    fn progress(&mut self, number: UpstreamId) -> Option<Said> {
        let link = self.links.get_mut(&number).filter(|link| self.ms >= link.progress_at)?;
        link.progress_at = self.ms + PROGRESS_MS;
        let batches = link.shell.session.take_moved();
        (!batches.is_empty()).then(|| Said::Progress { batches, rows: Vec::new(), counts: model::BatchCounts::default() })
    }

    fn next_sequence(&mut self, number: UpstreamId) -> u64 {
        let link = self.links.get_mut(&number).expect("it speaks");
        link.sequence += 1;
        link.sequence
    }

    fn report(&mut self, upstream: UpstreamId, epoch: Epoch, sequence: u64, said: Said) {
        if let Some(words) = words_of_report(&said) {
            let name = self.name(upstream);
            self.note(&format!("{name} {words}"));
        }
        let now = self.now();
        self.book.report(&Report { upstream, epoch, sequence, said }, now, 0).expect("the epoch is current");
    }

    fn plan(&mut self, number: UpstreamId) -> bool {
        let Ok(look) = self.book.snapshot(number, self.now()) else { return false };
        let plan = plan::plan(&look, self.book.policy(), 0);
        let words = plan.report.to_string();
        let did = !plan.asks_for_nothing();
        if self.last_plan.get(&number) != Some(&words) || did {
            let name = self.name(number);
            self.note(&format!("{name} plan: {}", relative(&words)));
            self.last_plan.insert(number, words);
        }
        match plan.look_again.map(|at| (at.as_secs() - START) * 1000).filter(|at| *at > self.ms) {
            Some(at) => self.look_again.insert(number, at),
            None => self.look_again.remove(&number),
        };
        let granted = match plan.claim(&look) {
            Some(claim) => self.book.claim(&claim, self.now()).expect("the epoch is current").batches,
            None => Vec::new(),
        };
        let is_refresh = plan.refresh.is_some();
        let asks = plan.orders(&granted);
        self.give(number, &look, asks, is_refresh);
        did
    }

    fn give(&mut self, number: UpstreamId, look: &model::Snapshot, asks: Vec<Ask>, is_refresh: bool) {
        let link = self.links.get_mut(&number).expect("only living links are planned");
        if is_refresh {
            link.resume = Resume::Fresh;
        }
        let resume = link.resume;
        hold(invariants::i05_fresh_has_no_since(resume, &asks), &self.log);
        hold(invariants::i06_only_listed_upstreams_are_hung_up(look.role, &asks), &self.log);
        for ask in asks {
            if self.lost_rebuilds > 0 && matches!(ask, Ask::Rebuild { .. }) {
                self.lost_rebuilds -= 1;
                self.note("the order is lost");
                continue;
            }
            let link = self.links.get_mut(&number).expect("only living links are planned");
            link.shell.order(ask);
        }
    }

    fn name(&self, number: UpstreamId) -> String {
        self.book.relay(number).map(|relay| short(relay.url.as_str())).unwrap_or_default()
    }

    // What must hold after every step.

    fn assert_invariants(&self) {
        hold(invariants::of_book(&self.book), &self.log);
        hold(invariants::i07_one_session_per_upstream(self.links.keys().copied()), &self.log);
        for (number, link) in &self.links {
            let relay = self.book.relay(*number).expect("it has a link");
            let limit = Room::of(&relay.learned).live.unwrap_or(usize::MAX).min(self.book.policy().live_limit);
            hold(
                invariants::i04_no_filter_names_too_many(link.shell.sent.iter().filter_map(|(_, request)| filter_of(request))),
                &self.log,
            );
            if !link.shell.session.is_idle() {
                continue;
            }
            hold(invariants::i03_live_subscriptions_fit_the_limit(&link.shell.session, limit), &self.log);
            let settled = self.home.keys().copied().collect();
            hold(invariants::i08_confirmed_is_settled(&self.served(*number), &settled), &self.log);
        }
    }

    /// What a relay has sent for its confirmed items.
    fn served(&self, number: UpstreamId) -> BTreeSet<EventId> {
        let (Some(relay), Some(link)) = (self.book.relay(number), self.links.get(&number)) else { return BTreeSet::new() };
        let confirmed = relay.rows().filter(|(_, row)| row.status == Status::Confirmed);
        let asked: Vec<Filter> =
            confirmed.flat_map(|(item, _)| filters::history(item.kind(), std::slice::from_ref(item))).collect();
        let is_asked = |event: &&Event| asked.iter().any(|filter| is_match(filter, event));
        link.shell.delivered.values().filter(is_asked).map(|event| event.id).collect()
    }

    /// Every event of every relay.
    pub(crate) fn everywhere(&self) -> BTreeSet<EventId> {
        let linked = self.links.values().flat_map(|link| &link.shell.relay.events);
        self.relays.values().flat_map(|relay| &relay.events).chain(linked).map(|event| event.id).collect()
    }
}

fn filter_of(request: &Request) -> Option<&Filter> {
    match request {
        Request::Req { filter, .. } | Request::NegOpen { filter, .. } => Some(filter),
        Request::Close { .. } | Request::NegMsg { .. } | Request::NegClose { .. } | Request::Auth { .. } => None,
    }
}

pub(crate) fn hold(result: Result<(), invariants::Violation>, log: &str) {
    if let Err(violation) = result {
        panic!(
            "{violation}\nafter:\n{}",
            log.lines().rev().take(40).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
        );
    }
}

/// Time since the start of the script.
pub(crate) fn clock(moment: Timestamp) -> String {
    let (sign, secs) = match moment.as_secs().checked_sub(START) {
        Some(secs) => ("", secs),
        None => ("-", START - moment.as_secs()),
    };
    match secs / 3600 {
        0 => format!("{sign}{:02}:{:02}", secs / 60, secs % 60),
        hours => format!("{sign}{hours}:{:02}:{:02}", secs / 60 % 60, secs % 60),
    }
}

pub(crate) fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn short(address: &str) -> String {
    address.trim_start_matches("wss://").trim_end_matches('/').to_owned()
}

/// Moments in a reason, as time since the start.
fn relative(words: &str) -> String {
    let moment =
        |word: &str| word.parse().ok().filter(|secs| (START / 2..START * 2).contains(secs)).map(|secs| clock(at(secs)));
    let words: Vec<String> = words.split(' ').map(|word| moment(word).unwrap_or_else(|| word.to_owned())).collect();
    words.join(" ")
}

fn words_of(resume: Resume) -> String {
    match resume {
        Resume::Fresh => "fresh".to_owned(),
        Resume::CatchUp { since } => format!("to catch up since {}", clock(since)),
    }
}

fn words_of_report(said: &Said) -> Option<String> {
    Some(match said {
        Said::Opened => "says: opened".to_owned(),
        Said::Rebuilt { layout } => format!("says: took layout {layout}"),
        Said::CaughtUp => "says: caught up".to_owned(),
        Said::Down { class, .. } => format!("is down: {}", class.as_str()),
        Said::BatchEnded { batch, outcome: BatchOutcome::Complete, method, .. } => {
            format!("says: batch {batch} is complete by {}", method.as_str())
        }
        Said::BatchEnded { batch, outcome: BatchOutcome::Incomplete { why, detail }, .. } => {
            format!("says: batch {batch} is incomplete, {} {detail}", why.as_str())
        }
        Said::Progress { .. } => return None,
        Said::Learned { facts } => format!("is learned: {}", words_of_facts(facts)),
        Said::Lost { ids } => format!("lost {} events", ids.len()),
        Said::Audited { part, outcome: BatchOutcome::Complete, found } => {
            format!("says: part {part} of the audit is complete, {found} found")
        }
        Said::Audited { part, outcome: BatchOutcome::Incomplete { why, detail }, .. } => {
            format!("says: part {part} of the audit is incomplete, {} {detail}", why.as_str())
        }
        Said::RateLimited { seconds } => format!("wants us to wait {seconds} s"),
    })
}

fn words_of_facts(facts: &model::Learned) -> String {
    let model::Learned {
        nip77,
        hung_up,
        page_cap,
        ids_per_req,
        live_limit,
        live_limit_at: _,
        live_limit_by: _,
        refs_per_filter,
        excludes_until,
        ignores_limit_zero,
        stated,
        not_stated,
        faulty,
    } = facts;
    let nip77 = nip77.as_ref().map(|nip77| match nip77 {
        model::Nip77::Works { .. } => "negentropy works".to_owned(),
        model::Nip77::Refused { reason, .. } => format!("negentropy is refused ({reason})"),
    });
    let counted = |count: Option<usize>, what: &str| count.map(|count| format!("{count} {what}"));
    let found = |fact: Option<bool>, what: &str| fact.filter(|fact| *fact).map(|_| what.to_owned());
    let facts = [
        nip77,
        hung_up.map(|_| "hung up over its first exchange".to_owned()),
        counted(*page_cap, "events a page"),
        counted(*ids_per_req, "ids a request"),
        counted(*live_limit, "live"),
        counted(*refs_per_filter, "items a filter"),
        found(*excludes_until, "until leaves out its second"),
        found(*ignores_limit_zero, "limit 0 is ignored"),
        stated.as_ref().and_then(|stated| stated.software.clone()),
        faulty.map(|faulty| format!("{} forged, {} unreadable", faulty.forged, faulty.unreadable)),
        not_stated.as_ref().map(|note| format!("no document ({})", note.why)),
    ];
    facts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn short_request(request: &Request) -> String {
    match request {
        Request::Req { sub, filter } => format!("REQ {sub} {}", short_filter(filter)),
        Request::Close { sub } => format!("CLOSE {sub}"),
        Request::NegOpen { sub, filter, .. } => format!("NEG-OPEN {sub} {}", short_filter(filter)),
        Request::NegMsg { sub, .. } => format!("NEG-MSG {sub}"),
        Request::NegClose { sub } => format!("NEG-CLOSE {sub}"),
        Request::Auth { .. } => "AUTH".to_owned(),
    }
}

fn short_filter(filter: &Filter) -> String {
    let kinds = filter.kinds.as_ref().map(|kinds| {
        let kinds: Vec<String> = kinds.iter().map(|kind| kind.as_u16().to_string()).collect();
        format!("kinds {}", kinds.join(","))
    });
    let ids = filter.ids.as_ref().map(|ids| format!("ids×{}", ids.len()));
    let tags = filter.generic_tags.iter().map(|(tag, values)| format!("#{tag}×{}", values.len()));
    let since = filter.since.map(|since| format!("since {}", clock(since)));
    let until = filter.until.map(|until| format!("until {}", clock(until)));
    let limit = filter.limit.map(|limit| format!("limit {limit}"));
    kinds.into_iter().chain(ids).chain(tags).chain(since).chain(until).chain(limit).collect::<Vec<_>>().join(" ")
}
