//! What there is to sync: relays with their manners, events on them, events that are published later, and what home should
//! hold at the end.

use std::collections::BTreeSet;

use model::{Event, EventId, Kind};

use super::chance::Chance;
use super::common::relay::{ModelRelay, Negentropy, Which};
use super::common::{START, addr, announcement, event, issue, reply};

/// History lies in the two weeks before the start (seconds).
const PAST_SECS: u64 = 14 * 24 * 3600;
/// A status of an issue (NIP-34): home of this world refuses it.
pub(crate) const REFUSED_KIND: u16 = 1630;
pub(crate) const HOME: &str = "wss://home.example";
/// Nobody ever answers there.
pub(crate) const DEAD: &str = "wss://dead.example";

/// An event that somebody publishes while the system runs.
pub(crate) struct Live {
    pub(crate) ms: u64,
    pub(crate) relay: usize,
    pub(crate) event: Event,
}

pub(crate) struct Universe {
    /// Addresses of the upstreams; the first one is a bootstrap relay.
    pub(crate) addresses: Vec<String>,
    pub(crate) upstreams: Vec<ModelRelay>,
    pub(crate) home: ModelRelay,
    pub(crate) live: Vec<Live>,
    /// What home holds at the end, at least.
    pub(crate) expected: BTreeSet<EventId>,
    /// What relays that are read at the end hold: home may lose it.
    pub(crate) restorable: BTreeSet<EventId>,
}

struct Repo {
    name: String,
    /// Its newest announcement's date, and the relays that it lists.
    announced_at: u64,
    listed: Vec<usize>,
    roots: Vec<Event>,
    /// What was said: where, and on which root.
    said: Vec<Said>,
}

struct Said {
    event: Event,
    at: Vec<usize>,
    root: Option<EventId>,
}

struct Maker<'a> {
    chance: &'a mut Chance,
    count: u64,
    universe: Universe,
}

/// A world out of chance. Live events come within the first `span_ms`.
pub(crate) fn universe(chance: &mut Chance, span_ms: u64) -> Universe {
    let count = 1 + chance.index(4);
    let upstreams = (0..count).map(|_| relay_of_manners(chance)).collect();
    let home = ModelRelay { page_cap: 500, ..ModelRelay::with([]) };
    let addresses = (0..count).map(|n| format!("wss://r{n}.example")).collect();
    let universe =
        Universe { addresses, upstreams, home, live: Vec::new(), expected: BTreeSet::new(), restorable: BTreeSet::new() };
    let mut maker = Maker { chance, count: 0, universe };
    let repos = 1 + maker.chance.index(5);
    let mut repos: Vec<Repo> = (0..repos).map(|n| maker.repo(n)).collect();
    for repo in &mut repos {
        maker.history(repo);
    }
    let mut moments: Vec<u64> = (0..maker.chance.index(25)).map(|_| maker.chance.between(1_000, span_ms)).collect();
    moments.sort_unstable();
    for ms in moments {
        let which = maker.chance.index(repos.len());
        if maker.chance.once_in(12) {
            maker.moves(&mut repos[which], ms);
        } else {
            maker.live(&mut repos[which], ms);
        }
    }
    for repo in &repos {
        maker.expect(repo);
    }
    maker.universe
}

/// A relay that serves all that it holds to whoever asks well.
fn relay_of_manners(chance: &mut Chance) -> ModelRelay {
    let refusals = [
        Negentropy::NegErr("blocked: no".into()),
        Negentropy::Closed("unsupported: NEG-OPEN".into()),
        Negentropy::Notice("ERROR: bad msg: negentropy disabled".into()),
        Negentropy::Silent,
        Negentropy::AnswersOnce,
    ];
    let mut relay = ModelRelay::with([]);
    if chance.once_in(2) {
        relay.negentropy = chance.pick(&refusals).clone();
    }
    relay.page_cap = *chance.pick(&[20, 50, 500]);
    relay.ids_cap = *chance.pick(&[20, 500]);
    relay.most_records = *chance.pick(&[30, usize::MAX, usize::MAX]);
    relay.most_named = *chance.pick(&[3, usize::MAX, usize::MAX]);
    relay.excludes_until = chance.once_in(6);
    relay.most_open = *chance.pick(&[12, 20, 500, 500]);
    if chance.once_in(4) {
        let text = *chance.pick(&["rate-limited: slow down", "error: busy", ""]);
        relay.refusals = vec![(*chance.pick(&[Which::Live, Which::Page, Which::Ids]), 1 + chance.index(3), text.to_owned())];
    }
    relay
}

impl Maker<'_> {
    fn repo(&mut self, n: usize) -> Repo {
        let all: Vec<usize> = (0..self.universe.addresses.len()).collect();
        let listed = self.chance.some_of(&all);
        let name = format!("repo{n}");
        let moment = self.past();
        let made = self.announced(&name, moment, &listed);
        self.universe.expected.insert(made.id);
        if self.chance.once_in(2) {
            self.universe.home.events.push(made.clone());
        } else {
            self.universe.upstreams[0].events.push(made.clone());
            self.universe.restorable.insert(made.id);
        }
        for one in &listed {
            let holds = &mut self.universe.upstreams[*one].events;
            if !holds.contains(&made) && self.chance.once_in(2) {
                holds.push(made.clone());
            }
        }
        Repo { name, announced_at: moment, listed, roots: Vec::new(), said: Vec::new() }
    }

    fn announced(&mut self, name: &str, moment: u64, listed: &[usize]) -> Event {
        let has_dead = self.chance.once_in(4);
        let urls = listed.iter().map(|one| self.universe.addresses[*one].as_str()).chain(has_dead.then_some(DEAD));
        announcement(name, moment, &urls.collect::<Vec<_>>())
    }

    /// A new version of the announcement lists other relays. What was said stays where it was said.
    fn moves(&mut self, repo: &mut Repo, ms: u64) {
        let all: Vec<usize> = (0..self.universe.addresses.len()).collect();
        let listed = self.chance.some_of(&all);
        repo.announced_at = (START + ms / 1000).max(repo.announced_at + 1);
        let made = self.announced(&repo.name, repo.announced_at, &listed);
        self.universe.expected.insert(made.id);
        self.universe.restorable.insert(made.id);
        // The bootstrap relay, and where it is known to live.
        let told: BTreeSet<usize> = repo.listed.iter().copied().chain([0]).collect();
        for relay in told {
            self.universe.live.push(Live { ms, relay, event: made.clone() });
        }
        repo.listed = listed;
    }

    fn past(&mut self) -> u64 {
        START - self.chance.between(3_600, PAST_SECS)
    }

    fn history(&mut self, repo: &mut Repo) {
        for _ in 0..self.chance.index(5) {
            let moment = self.past();
            let root = self.root(repo, moment);
            self.place(repo, root.clone(), None);
            repo.roots.push(root);
        }
        // Some of it lies in one second, as a series of patches does; some repos have more than a page of it.
        let second = self.past();
        let (most, in_second) = *self.chance.pick(&[(12, 2), (12, 2), (60, 5)]);
        for _ in 0..self.chance.index(most) {
            let moment = if self.chance.once_in(in_second) { second } else { self.past() };
            let (event, root) = self.comment(repo, moment);
            self.place(repo, event, root);
        }
    }

    fn root(&mut self, repo: &Repo, moment: u64) -> Event {
        self.count += 1;
        issue(&repo.name, &format!("issue {}", self.count), moment)
    }

    /// Something said on a repo or on one of its roots, and on which.
    fn comment(&mut self, repo: &Repo, moment: u64) -> (Event, Option<EventId>) {
        self.count += 1;
        let said = format!("said {}", self.count);
        if repo.roots.is_empty() || self.chance.once_in(3) {
            let family = *self.chance.pick(&["a", "A", "q"]);
            return (event(Kind::Custom(1111), moment, &[&[family, &addr(&repo.name).to_string()]], &said), None);
        }
        let root = self.chance.pick(&repo.roots).clone();
        if self.chance.once_in(4) {
            return (event(Kind::from_u16(REFUSED_KIND), moment, &[&["e", &root.id.to_hex()]], &said), Some(root.id));
        }
        (reply(&root, moment, usize::try_from(self.count).unwrap()), Some(root.id))
    }

    /// Puts an event of a repo where its readers look for it.
    fn place(&mut self, repo: &mut Repo, event: Event, root: Option<EventId>) {
        if self.chance.once_in(6) {
            self.universe.home.events.push(event.clone());
        }
        let at = self.chance.some_of(&repo.listed);
        for one in &at {
            self.universe.upstreams[*one].events.push(event.clone());
        }
        repo.said.push(Said { event, at, root });
    }

    fn live(&mut self, repo: &mut Repo, ms: u64) {
        // Authors' clocks are off by less than what S9 makes up for.
        let moment = START + ms / 1000 + self.chance.between(0, 600) - 300;
        let (event, root) = if self.chance.once_in(4) { (self.root(repo, moment), None) } else { self.comment(repo, moment) };
        if event.kind == model::kinds::ISSUE {
            repo.roots.push(event.clone());
        }
        let at = self.chance.some_of(&repo.listed);
        for relay in at.iter().copied() {
            self.universe.live.push(Live { ms, relay, event: event.clone() });
        }
        repo.said.push(Said { event, at, root });
    }

    /// Home holds at the end what the relays that a repo lists then hold of it, and what was said there on roots that came home.
    fn expect(&mut self, repo: &Repo) {
        for Said { event, at, root } in &repo.said {
            let is_served = at.iter().any(|one| repo.listed.contains(one));
            let is_known = root.is_none_or(|root| self.universe.expected.contains(&root));
            if is_served && is_known && event.kind != Kind::from_u16(REFUSED_KIND) {
                self.universe.expected.insert(event.id);
                self.universe.restorable.insert(event.id);
            }
        }
    }
}
