//! The asking: home first, then every upstream, then home again about what it seems to lack. Writes nothing anywhere.
//!
//! Owns: the order of the questions. What is made of the answers is `scope`'s, `judge`'s and `report`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use connector::Unreachable;
use connector::survey::{End, Held, Lacking, Reading, Survey, Surveyed, Surveyor, Tally};
use engine::filters;
use engine::nip11::{OwnKeys, is_ours};
use engine::tombstones::Tombstones;
use futures_util::{StreamExt, stream};
use model::{Event, EventId, Filter, Item, ItemKind, Learned, Method, PublicKey, RelayUrl, Role, Timestamp, kinds};
use tokio::time::Instant;

use super::judge::{Bench, Reason};
use super::progress::Progress;
use super::questions::{Questions, layer1, questions, unproved, versions_of};
use super::scope::{Choice, Scope, Upstream};

/// Upstreams that are read at the same time.
const AT_ONCE: usize = 8;
/// Rounds in which what one upstream shows (a root, a repository) becomes a question to the others.
const MOST_ROUNDS: u32 = 6;
/// Events of one upstream that home lacks, as JSON: more is left there, and the upstream is not judged.
const MOST_BYTES: usize = 256 * 1024 * 1024;
/// Ids of one upstream that are named and not served: whoever claims a million is not to make us ask home about them all.
const MOST_NAMED: usize = 1_000;
/// Values that one question to home names.
const AT_A_TIME: usize = 100;

/// Who is asked, and how long each upstream may take.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) home: RelayUrl,
    pub(super) choice: Choice,
    pub(super) operator_key: Option<PublicKey>,
    /// For one upstream in one round.
    pub(super) patience: Duration,
}

/// An event that home lacks, and who serves it.
#[derive(Debug)]
pub(super) struct Find {
    pub(super) lacking: Lacking,
    pub(super) at: BTreeSet<RelayUrl>,
}

/// What became of one upstream.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) upstream: Upstream,
    learned: Learned,
    /// Why it is not dialed, if it is not.
    pub(super) left_out: Option<String>,
    /// Why not all of it is known: each with what it leaves open, nothing where that is the announcement layer.
    pub(super) open: Vec<(Option<Item>, String)>,
    pub(super) methods: BTreeSet<&'static str>,
    pub(super) events_read: u64,
    pub(super) bytes_read: u64,
    pub(super) took: Duration,
    /// Ids of copies that are not what they say, and of events that are named and not served.
    pub(super) unsound: BTreeMap<EventId, (Option<u16>, Reason)>,
}

/// Everything that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) scope: Scope,
    pub(super) held: Held,
    pub(super) finds: BTreeMap<EventId, Find>,
    pub(super) asked: BTreeMap<RelayUrl, Asked>,
    pub(super) bench: Bench,
    pub(super) home_is_grasp: bool,
    /// What home was not read to the end for.
    pub(super) home_open: Vec<String>,
    /// Ids of which home did not say whether it holds them.
    pub(super) undecided: BTreeSet<EventId>,
    /// Events that home turned out to hold when it was asked by id.
    pub(super) held_after_all: usize,
}

/// Why there is nothing to judge.
#[derive(Debug, thiserror::Error)]
pub(super) enum HomeFailed {
    #[error("{0}")]
    Unreachable(#[from] Unreachable),
    #[error("its announcements could not be read to the end: {0}")]
    NotRead(String),
}

pub(super) struct Inquiry<'a> {
    pub(super) surveyor: &'a Surveyor,
    pub(super) terms: &'a Terms,
    pub(super) progress: &'a Progress,
    held: Arc<Held>,
    found: Found,
    home_says: Learned,
    /// What each upstream was asked about, and when it was let go.
    covered: BTreeMap<RelayUrl, BTreeSet<Item>>,
}

impl<'a> Inquiry<'a> {
    pub(super) fn new(surveyor: &'a Surveyor, terms: &'a Terms, progress: &'a Progress, scope: Scope, bench: Bench) -> Self {
        let found = Found {
            scope,
            held: Held::default(),
            finds: BTreeMap::new(),
            asked: BTreeMap::new(),
            bench,
            home_is_grasp: false,
            home_open: Vec::new(),
            undecided: BTreeSet::new(),
            held_after_all: 0,
        };
        let (held, home_says, covered) = (Arc::default(), Learned::default(), BTreeMap::new());
        Self { surveyor, terms, progress, held, found, home_says, covered }
    }

    /// Asks everybody.
    pub(super) async fn run(mut self) -> Result<Found, HomeFailed> {
        let mut home = self.surveyor.open(&self.terms.home, Role::Bootstrap, Learned::default()).await?;
        self.home_says = home.learned().clone();
        if let Some(stated) = &self.home_says.stated {
            self.found.bench.limits = engine::gate::Limits::of(stated);
            self.found.home_is_grasp = !stated.grasps.is_empty();
        }
        self.read_home(&mut home).await?;
        for _ in 0..MOST_ROUNDS {
            self.found.bench.announced = self.found.scope.announced();
            self.found.bench.private = self.found.scope.private();
            if !self.ask_upstreams().await {
                break;
            }
        }
        self.found.bench.announced = self.found.scope.announced();
        self.learn_what_home_gave_up(&mut home).await;
        self.ask_home_by_id(&mut home).await;
        self.learn_what_home_will_give_up();
        self.found.held = Arc::unwrap_or_clone(self.held);
        Ok(self.found)
    }

    /// The three layers of home: what it announces, and all that names it.
    async fn read_home(&mut self, home: &mut Survey<'_>) -> Result<(), HomeFailed> {
        let layer1 = layer1(Role::Home, &self.found.scope);
        let surveyed = self.ask_home(home, vec![layer1], Method::Negentropy).await;
        let broken = surveyed.broken.as_ref().map(ToString::to_string);
        if let Some(why) = broken.or_else(|| surveyed.ends.iter().find_map(unproved)) {
            return Err(HomeFailed::NotRead(why));
        }
        self.hold(surveyed);
        let mut read = BTreeSet::new();
        loop {
            let items: BTreeSet<Item> = self.found.scope.items().difference(&read).cloned().collect();
            if items.is_empty() {
                return Ok(());
            }
            let filters = questions(&items, &home.room()).into_iter().map(|(filter, _)| filter).collect();
            let surveyed = self.ask_home(home, filters, Method::Negentropy).await;
            self.found.home_open.extend(surveyed.broken.as_ref().map(ToString::to_string));
            self.found.home_open.extend(surveyed.ends.iter().filter_map(unproved));
            self.hold(surveyed);
            read.extend(items);
        }
    }

    async fn ask_home(&self, home: &mut Survey<'_>, filters: Vec<Filter>, method: Method) -> Surveyed {
        let (tally, held) = (Arc::new(Tally::default()), Arc::clone(&self.held));
        let reading = Reading { filters, method, held, until: None, most_bytes: usize::MAX, tally: Arc::clone(&tally) };
        self.progress.while_reading("home", &tally, home.read(&reading)).await
    }

    fn hold(&mut self, surveyed: Surveyed) {
        let held = Arc::make_mut(&mut self.held);
        for Lacking { event, .. } in &surveyed.lacking {
            held.add(event);
            self.found.bench.tombstones.learn(event);
            self.found.scope.take(event);
        }
    }

    /// Asks every upstream what it was not asked yet. Answers whether anything was to be asked.
    async fn ask_upstreams(&mut self) -> bool {
        let upstreams = self.found.scope.upstreams(&self.terms.choice);
        let fresh: Vec<(Upstream, bool)> = upstreams.into_iter().filter_map(|upstream| self.unasked(upstream)).collect();
        if fresh.is_empty() {
            return false;
        }
        let asking = fresh.into_iter().map(|(upstream, is_first)| self.ask(upstream, is_first));
        let answers: Vec<(Upstream, Answer)> = stream::iter(asking).buffer_unordered(AT_ONCE).collect().await;
        for (upstream, answer) in answers {
            self.take_answer(upstream, answer);
        }
        true
    }

    /// The upstream with what it is to be asked about now, and whether it is asked for the first time.
    fn unasked(&self, upstream: Upstream) -> Option<(Upstream, bool)> {
        let covered = self.covered.get(&upstream.url);
        let items: BTreeSet<Item> = match covered {
            Some(covered) => upstream.items.difference(covered).cloned().collect(),
            None => upstream.items.clone(),
        };
        let is_first = covered.is_none();
        // Whom the first round could not judge is not asked for more.
        let is_closed = self.found.asked.get(&upstream.url).is_some_and(Asked::is_closed);
        (is_first || (!items.is_empty() && !is_closed)).then_some((Upstream { items, ..upstream }, is_first))
    }

    async fn ask(&self, upstream: Upstream, is_first: bool) -> (Upstream, Answer) {
        if let Some(why) = &upstream.left_out {
            let why = why.clone();
            return (upstream, Answer::LeftOut(why));
        }
        let began = Instant::now();
        let learned = self.found.asked.get(&upstream.url).map(|asked| asked.learned.clone()).unwrap_or_default();
        let mut survey = match self.surveyor.open(&upstream.url, upstream.role, learned).await {
            Ok(survey) => survey,
            Err(why) => return (upstream, Answer::NoLink(why)),
        };
        if let Some(ours) = self.is_ours(survey.learned()) {
            return (upstream, Answer::LeftOut(ours.to_owned()));
        }
        let first = is_first.then(|| (layer1(Role::Listed, &self.found.scope), vec![None]));
        let asked: Questions = first.into_iter().chain(questions(&upstream.items, &survey.room())).collect();
        let (filters, opens) = asked.into_iter().unzip();
        let (tally, held) = (Arc::new(Tally::default()), Arc::clone(&self.held));
        let until = Some(began + self.terms.patience);
        let reading =
            Reading { filters, method: Method::Negentropy, held, until, most_bytes: MOST_BYTES, tally: Arc::clone(&tally) };
        let surveyed = self.progress.while_reading(upstream.url.as_str(), &tally, survey.read(&reading)).await;
        let learned = Box::new(survey.learned().clone());
        (upstream, Answer::Read { surveyed: Box::new(surveyed), learned, opens, took: began.elapsed() })
    }

    fn is_ours(&self, learned: &Learned) -> Option<&'static str> {
        let home = self.home_says.stated.as_ref().and_then(|stated| stated.itself);
        is_ours(learned.stated.as_ref()?, OwnKeys { home, operator: self.terms.operator_key })
    }

    fn take_answer(&mut self, upstream: Upstream, answer: Answer) {
        let url = upstream.url.clone();
        self.covered.entry(url.clone()).or_default().extend(upstream.items.iter().cloned());
        let asked = self.found.asked.entry(url.clone()).or_insert_with(|| Asked::of(upstream.clone()));
        asked.upstream.items.extend(upstream.items);
        match answer {
            Answer::LeftOut(why) => asked.left_out = Some(why),
            Answer::NoLink(why) => asked.open.push((None, format!("{}: {}", why.class.as_str(), why.detail))),
            Answer::Read { surveyed, learned, opens, took } => {
                asked.took += took;
                asked.learned = *learned;
                asked.take(&surveyed, opens);
                asked.note_unsound(&surveyed, &self.held);
                surveyed.lacking.into_iter().for_each(|lacking| self.take_find(&url, lacking));
            }
        }
    }

    fn take_find(&mut self, url: &RelayUrl, lacking: Lacking) {
        let event = &lacking.event;
        let is_new_repo = || model::own_repo(event).is_some_and(|addr| !self.found.scope.has(&addr));
        let widens = kinds::is_root(event.kind) || (event.kind == kinds::ANNOUNCEMENT && is_new_repo());
        if widens && self.found.bench.judge(&lacking, Timestamp::now()) == Reason::Missing {
            self.found.scope.take(event);
        }
        let find = self.found.finds.entry(event.id).or_insert_with(|| Find { lacking, at: BTreeSet::new() });
        find.at.insert(url.clone());
    }

    /// What speaks against what home lacks, and lies outside of its three layers: deletions by the authors of it, and newer
    /// versions that name nothing of ours any more.
    async fn learn_what_home_gave_up(&mut self, home: &mut Survey<'_>) {
        let now = Timestamp::now();
        let open: Vec<&Event> = self
            .found
            .finds
            .values()
            .filter(|find| self.found.bench.judge(&find.lacking, now) == Reason::Missing)
            .map(|find| &find.lacking.event)
            .collect();
        let authors: BTreeSet<Item> = open.iter().map(|event| Item::Participant(event.pubkey)).collect();
        let authors: Vec<Item> = authors.into_iter().collect();
        let by_author = authors.chunks(AT_A_TIME).flat_map(|some| filters::history(ItemKind::Participant, some));
        let filters: Vec<Filter> = by_author.chain(open.iter().filter_map(|event| versions_of(event))).collect();
        let surveyed = self.ask_home(home, filters, Method::Req).await;
        self.found.home_open.extend(surveyed.ends.iter().filter_map(unproved));
        for Lacking { event, .. } in &surveyed.lacking {
            self.found.bench.tombstones.learn(event);
        }
    }

    /// Of what is missing, one may be a newer version of another, or its deletion: once home holds that, it lacks the other for a
    /// reason.
    fn learn_what_home_will_give_up(&mut self) {
        let now = Timestamp::now();
        let is_missing = |find: &&Find| self.found.bench.judge(&find.lacking, now) == Reason::Missing;
        let missing: Vec<Event> = self.found.finds.values().filter(is_missing).map(|find| find.lacking.event.clone()).collect();
        missing.iter().for_each(|event| self.found.bench.tombstones.learn(event));
    }

    /// Home may hold what its filters do not show, or by now: only what it does not have by its id is lacking.
    async fn ask_home_by_id(&mut self, home: &mut Survey<'_>) {
        let unsound = self.found.asked.values().flat_map(|asked| asked.unsound.keys());
        let ids: BTreeSet<EventId> = self.found.finds.keys().chain(unsound).copied().collect();
        let ids: Vec<EventId> = ids.into_iter().collect();
        let parts: Vec<&[EventId]> = ids.chunks(AT_A_TIME).collect();
        let filters = parts.iter().map(|part| Filter::new().ids(part.iter().copied())).collect();
        let surveyed = self.ask_home(home, filters, Method::Req).await;
        for (part, end) in parts.iter().zip(&surveyed.ends) {
            if unproved(end).is_some() {
                self.found.undecided.extend(part.iter());
            }
        }
        for Lacking { event, .. } in &surveyed.lacking {
            self.found.undecided.remove(&event.id);
            self.found.held_after_all += usize::from(self.found.finds.remove(&event.id).is_some());
            for asked in self.found.asked.values_mut() {
                asked.unsound.remove(&event.id);
            }
        }
    }
}

/// What came of asking one upstream.
enum Answer {
    LeftOut(String),
    NoLink(Unreachable),
    Read { surveyed: Box<Surveyed>, learned: Box<Learned>, opens: Vec<Vec<Option<Item>>>, took: Duration },
}

impl Asked {
    fn of(upstream: Upstream) -> Self {
        Self {
            upstream,
            learned: Learned::default(),
            left_out: None,
            open: Vec::new(),
            methods: BTreeSet::new(),
            events_read: 0,
            bytes_read: 0,
            took: Duration::ZERO,
            unsound: BTreeMap::new(),
        }
    }

    /// Whether nothing more comes from there.
    fn is_closed(&self) -> bool {
        self.left_out.is_some() || self.open.iter().any(|(item, _)| item.is_none())
    }

    fn take(&mut self, surveyed: &Surveyed, opens: Vec<Vec<Option<Item>>>) {
        self.events_read += surveyed.counts.events;
        self.bytes_read += surveyed.counts.bytes_in;
        let broken = surveyed.broken.as_ref().map(|why| format!("{}: {}", why.class.as_str(), why.detail));
        for (end, open) in surveyed.ends.iter().zip(opens) {
            let why = match end {
                End::Complete(method) => {
                    self.methods.insert(method.as_str());
                    continue;
                }
                End::Incomplete { .. } => unproved(end).unwrap_or_default(),
                End::Unread => broken.clone().unwrap_or_else(|| "not read".to_owned()),
            };
            self.open.extend(open.into_iter().map(|item| (item, why.clone())));
        }
    }

    fn note_unsound(&mut self, surveyed: &Surveyed, held: &Held) {
        let forged = surveyed.faulty.iter().map(|(id, (kind, _))| (*id, (Some(kind.as_u16()), Reason::Forged)));
        let not_served = surveyed.not_served.iter().take(MOST_NAMED).map(|id| (*id, (None, Reason::NotServed)));
        self.unsound.extend(forged.chain(not_served).filter(|(id, _)| !held.contains(id)));
    }
}

/// Nothing is known of deletions before home was read.
pub(super) fn unknown(own: Vec<RelayUrl>) -> Tombstones {
    Tombstones::new(own)
}
