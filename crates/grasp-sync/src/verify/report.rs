//! What was found, put together: per repository, per upstream, and per pair of them what home lacks and why. It is the JSON
//! document of `verify --json` as it stands here.

use std::collections::{BTreeMap, BTreeSet};

use model::{Item, Kind, RelayUrl, RepoAddr, Timestamp, kinds};
use serde::Serialize;

use super::inquiry::{Asked, Found};
use super::judge::Reason;
use crate::exit::Exit;

/// The document.
#[derive(Debug, Serialize)]
pub struct Report {
    pub verdict: Verdict,
    /// Events that home should hold and does not, each once.
    pub missing: usize,
    pub home: HomeFacts,
    pub repositories: Vec<RepoFacts>,
    pub upstreams: Vec<UpstreamFacts>,
    /// What home lacks, per repository and upstream, by reason.
    pub gaps: Vec<Gap>,
    /// What could not be judged.
    pub open: Vec<Open>,
}

/// The answer in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every upstream was read to a proven end, and home lacks nothing that it should hold.
    Complete,
    /// Home lacks something that it should hold.
    Missing,
    /// Nothing is known to be missing; not every upstream could be read to its end.
    NotJudged,
}

/// What home showed.
#[derive(Debug, Serialize)]
pub struct HomeFacts {
    pub url: String,
    /// Events of the three layers that it serves.
    pub events: usize,
    pub repositories: usize,
    pub roots: usize,
    /// Missing events of kinds that a GRASP server holds back until their git data has come: whether home does, nobody can see.
    pub may_wait_for_git: usize,
    /// Events that it turned out to hold when it was asked for them by id: they came meanwhile, or lie outside of its filters.
    pub held_after_all: usize,
    /// What was not read to its end. It was asked for by id instead.
    pub open: Vec<String>,
}

/// A repository.
#[derive(Debug, Serialize)]
pub struct RepoFacts {
    pub address: RepoAddr,
    /// Upstreams that list it, or that the operator named for it, as far as they are dialed.
    pub upstreams: usize,
    /// Of these, those that were read to a proven end for it.
    pub judged: usize,
    /// Events, each once.
    pub missing: usize,
    /// Events that home lacks for a good reason, each once.
    pub explained: usize,
    pub private: bool,
}

/// An upstream.
#[derive(Debug, Serialize)]
pub struct UpstreamFacts {
    pub url: RelayUrl,
    /// Every filter was read to its proven end.
    pub is_judged: bool,
    /// Why it was not asked: a rule forbids it, or it is home itself.
    pub left_out: Option<String>,
    /// `negentropy`, `REQ`, or both.
    pub methods: BTreeSet<&'static str>,
    /// EVENT frames; with NIP-77 these are what home lacks.
    pub events_read: u64,
    pub bytes_read: u64,
    pub milliseconds: u64,
}

/// What home lacks of one upstream for one repository, for one reason.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// None for announcements and states of others, and where what it is of cannot be known.
    pub repository: Option<RepoAddr>,
    pub upstream: RelayUrl,
    pub reason: Reason,
    pub events: Vec<Named>,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Named {
    pub id: String,
    /// None where it was named and never served.
    pub kind: Option<u16>,
}

/// What could not be judged.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Open {
    /// None for the announcement layer, and where nothing of the upstream was read.
    pub repository: Option<RepoAddr>,
    pub upstream: RelayUrl,
    pub why: String,
}

impl Report {
    /// Puts together what was found at `home`.
    pub(super) fn of(home: &RelayUrl, found: &Found, now: Timestamp) -> Self {
        let judged = judgements(found, now);
        let open = open(found);
        let gaps = gaps(found, &judged);
        let missing = judged.values().filter(|reason| **reason == Reason::Missing).count();
        let repositories = repositories(found, &gaps, &open);
        let verdict = match (missing, open.is_empty() && found.undecided.is_empty()) {
            (0, true) => Verdict::Complete,
            (0, false) => Verdict::NotJudged,
            (_, _) => Verdict::Missing,
        };
        let waits = |id: &&model::EventId| found.finds.get(*id).is_some_and(|find| waits_for_git(find.lacking.event.kind));
        let missing_ids = judged.iter().filter(|(_, reason)| **reason == Reason::Missing).map(|(id, _)| id);
        let facts = HomeFacts {
            may_wait_for_git: if found.home_is_grasp { missing_ids.filter(waits).count() } else { 0 },
            url: home.to_string(),
            events: found.held.len(),
            repositories: found.scope.repos().len(),
            roots: found.scope.roots().count(),
            held_after_all: found.held_after_all,
            open: found.home_open.clone(),
        };
        let upstreams = found.asked.values().map(upstream).collect();
        Self { verdict, missing, home: facts, repositories, upstreams, gaps, open }
    }

    /// The code that the process ends with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self.verdict {
            Verdict::Complete => Exit::Ok,
            Verdict::Missing => Exit::Incomplete,
            Verdict::NotJudged => Exit::NotJudged,
        }
    }
}

/// GRASP-01: what names git data is served when that is there.
fn waits_for_git(kind: Kind) -> bool {
    [kinds::ANNOUNCEMENT, kinds::STATE, kinds::PULL_REQUEST, kinds::PULL_REQUEST_UPDATE].contains(&kind)
}

/// Why home lacks each sound event; those of which home did not say whether it has them are left out.
fn judgements(found: &Found, now: Timestamp) -> BTreeMap<model::EventId, Reason> {
    let decided = found.finds.iter().filter(|(id, _)| !found.undecided.contains(*id));
    decided.map(|(id, find)| (*id, found.bench.judge(&find.lacking, now))).collect()
}

fn gaps(found: &Found, judged: &BTreeMap<model::EventId, Reason>) -> Vec<Gap> {
    let mut gaps: BTreeMap<(Option<RepoAddr>, RelayUrl, Reason), BTreeSet<Named>> = BTreeMap::new();
    for (id, reason) in judged {
        let Some(find) = found.finds.get(id) else { continue };
        let event = &find.lacking.event;
        let named = Named { id: id.to_hex(), kind: Some(event.kind.as_u16()) };
        for url in &find.at {
            let asked = found.asked.get(url).map(|asked| &asked.upstream.items);
            let is_listed = |addr: &RepoAddr| asked.is_some_and(|items| items.contains(&Item::Repo(addr.clone())));
            for repo in placed(found.scope.repos_of(event, is_listed)) {
                gaps.entry((repo, url.clone(), *reason)).or_default().insert(named.clone());
            }
        }
    }
    for (url, asked) in &found.asked {
        let unsound = asked.unsound.iter().filter(|(id, _)| !judged.contains_key(*id));
        for (id, (kind, reason)) in unsound {
            gaps.entry((None, url.clone(), *reason)).or_default().insert(Named { id: id.to_hex(), kind: *kind });
        }
    }
    let gap = |((repository, upstream, reason), events): (_, BTreeSet<Named>)| Gap {
        repository,
        upstream,
        reason,
        events: events.into_iter().collect(),
    };
    gaps.into_iter().map(gap).collect()
}

/// Where an event is shown: under each of its repositories, or under none.
fn placed(repos: BTreeSet<RepoAddr>) -> Vec<Option<RepoAddr>> {
    if repos.is_empty() { vec![None] } else { repos.into_iter().map(Some).collect() }
}

fn open(found: &Found) -> Vec<Open> {
    let mut open = BTreeSet::new();
    for (url, asked) in &found.asked {
        for (item, why) in &asked.open {
            let repositories: BTreeSet<RepoAddr> = match item {
                None => BTreeSet::new(),
                Some(Item::Repo(addr)) => BTreeSet::from([addr.clone()]),
                Some(Item::Root(id)) => {
                    let of_root = found.scope.roots().filter(|root| root.id == *id).flat_map(|root| root.repos.clone());
                    of_root.filter(|addr| asked.upstream.items.contains(&Item::Repo(addr.clone()))).collect()
                }
                Some(Item::Participant(_) | Item::Named(_)) => BTreeSet::new(),
            };
            let of = |repository| Open { repository, upstream: url.clone(), why: why.clone() };
            open.extend(placed(repositories).into_iter().map(of));
        }
    }
    for find in found.finds.values().filter(|find| found.undecided.contains(&find.lacking.event.id)) {
        let why = "home did not say whether it holds what is served there".to_owned();
        open.extend(find.at.iter().map(|url| Open { repository: None, upstream: url.clone(), why: why.clone() }));
    }
    open.into_iter().collect()
}

fn repositories(found: &Found, gaps: &[Gap], open: &[Open]) -> Vec<RepoFacts> {
    let private = found.scope.private();
    let facts = |address: &RepoAddr| {
        let item = Item::Repo(address.clone());
        let asked: Vec<&Asked> =
            found.asked.values().filter(|one| one.left_out.is_none() && one.upstream.items.contains(&item)).collect();
        let is_open = |url: &RelayUrl| {
            let concerns = |one: &&Open| one.repository.as_ref().is_none_or(|addr| addr == address);
            open.iter().filter(concerns).any(|one| one.upstream == *url)
        };
        let lacking = |is_wanted: fn(Reason) -> bool| {
            let of = gaps.iter().filter(|gap| gap.repository.as_ref() == Some(address) && is_wanted(gap.reason));
            of.flat_map(|gap| &gap.events).collect::<BTreeSet<&Named>>().len()
        };
        RepoFacts {
            address: address.clone(),
            upstreams: asked.len(),
            judged: asked.iter().filter(|one| !is_open(&one.upstream.url)).count(),
            missing: lacking(|reason| reason == Reason::Missing),
            explained: lacking(|reason| reason != Reason::Missing),
            private: private.contains(address),
        }
    };
    found.scope.repos().into_iter().map(facts).collect()
}

fn upstream(asked: &Asked) -> UpstreamFacts {
    UpstreamFacts {
        url: asked.upstream.url.clone(),
        is_judged: asked.left_out.is_none() && asked.open.is_empty(),
        left_out: asked.left_out.clone(),
        methods: asked.methods.clone(),
        events_read: asked.events_read,
        bytes_read: asked.bytes_read,
        milliseconds: u64::try_from(asked.took.as_millis()).unwrap_or(u64::MAX),
    }
}
