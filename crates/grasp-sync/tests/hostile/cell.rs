//! One behaviour of an upstream, the end that it must come to, and how that end is seen: at home and in `status`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use model::{DownClass, EventId, Faulty, LinkView, RelayUrl, UpstreamStatus};
use testkit::hostile::Behaviour;
use testkit::{HostileRelay, Publisher};
use tokio::task::JoinHandle;

use crate::common::{Project, Relay, Signed, ids};

/// What is on the other side of the URL.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a test has some dozens of them")]
pub(crate) enum Upstream {
    Hostile(HostileRelay),
    /// One that does everything right.
    Fine(Relay),
    /// One that does everything right, behind a network that breaks.
    Behind {
        relay: Relay,
        url: String,
        _network: JoinHandle<()>,
    },
    /// No relay.
    Nobody(String),
}

/// What a repository's upstream holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Holds {
    /// A history with this many comments, three in a second.
    Comments(usize),
    /// This many comments in one second.
    OneSecond(usize),
    /// A few comments that are dated ten minutes ahead.
    Future,
    /// A few comments of this second.
    At(u64),
    /// So many repositories, each of which needs live filters of its own, with a comment each.
    Repositories(usize),
    /// An announcement and a comment; home holds a newer version of the one, and a deletion of the other.
    Outdated,
}

/// The end that a cell must come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// Home holds everything that the upstream holds, and all of it is confirmed.
    Complete,
    /// The upstream says, in words that count, that there is no more than it serves: confirmed, whatever it holds.
    ByItsWord,
    /// What it serves cannot be taken, each time that it is read: confirmed, and the fault is in the status.
    Faulty,
    /// Something is wanted, and this is in the reason.
    Incomplete(&'static str),
    /// The link is down for this reason, and is to be made again.
    Down(DownClass),
    /// It is left alone for its flood, or what it floods with answers nothing in time, whichever comes first.
    Flooded,
    /// It is never dialed.
    Excluded,
}

/// A repository of its own on an upstream of its own.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) name: &'static str,
    pub(crate) ends: Ends,
    pub(crate) bound: Duration,
    /// What home holds all along.
    pub(crate) at_home: Vec<Signed>,
    pub(crate) url: RelayUrl,
    holds: BTreeSet<EventId>,
    /// What home must not take.
    stale: BTreeSet<EventId>,
    /// Whether it may know who we are.
    pub(crate) is_told: bool,
    /// Kept: it serves as long as it lives.
    upstream: Upstream,
}

/// How a cell looks at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Look {
    Complete,
    ByItsWord {
        missing: usize,
    },
    Faulty {
        missing: usize,
        faulty: Faulty,
    },
    Incomplete {
        why: String,
    },
    Down {
        class: DownClass,
        failures: u32,
        in_secs: u64,
    },
    Excluded {
        why: String,
    },
    /// Home took what it must not.
    Stale {
        taken: usize,
    },
    /// Nothing is said of it yet.
    Underway {
        open: u64,
        missing: usize,
    },
}

impl Cell {
    /// A hostile relay that behaves like this.
    pub(crate) async fn of(name: &'static str, script: Vec<Behaviour>, holds: Holds, ends: Ends, secs: u64) -> Self {
        let relay = HostileRelay::start(script).await;
        Self::on(name, Upstream::Hostile(relay), holds, ends, secs).await
    }

    pub(crate) async fn on(name: &'static str, upstream: Upstream, holds: Holds, ends: Ends, secs: u64) -> Self {
        let url = match &upstream {
            Upstream::Hostile(relay) => relay.url(),
            Upstream::Fine(relay) => relay.url(),
            Upstream::Behind { url, .. } => url.clone(),
            Upstream::Nobody(url) => url.clone(),
        };
        let History { held: history, at_home, stale } = holds.history(name, &url);
        match &upstream {
            Upstream::Hostile(relay) => relay.has_held(history.iter().map(|event| event.json.as_str())),
            Upstream::Fine(relay) | Upstream::Behind { relay, .. } => relay.has_held(&history).await,
            Upstream::Nobody(_) => {}
        }
        Self {
            name,
            ends,
            bound: Duration::from_secs(secs),
            at_home,
            url: RelayUrl::parse(&url).unwrap(),
            holds: ids(&history).difference(&stale).copied().collect(),
            stale,
            is_told: false,
            upstream,
        }
    }

    /// The same, and it may know who we are.
    pub(crate) fn told(self) -> Self {
        Self { is_told: true, ..self }
    }

    /// How often it was told who we are.
    pub(crate) fn times_told(&self) -> usize {
        match &self.upstream {
            Upstream::Hostile(relay) => relay.heard().iter().filter(|message| message[0] == "AUTH").count(),
            Upstream::Fine(_) | Upstream::Behind { .. } | Upstream::Nobody(_) => 0,
        }
    }

    /// How it looks, by the status of all upstreams and by what home holds.
    pub(crate) fn look(&self, upstreams: &[UpstreamStatus], home: &BTreeSet<EventId>) -> Look {
        let missing = self.holds.difference(home).count();
        let taken = self.stale.intersection(home).count();
        if taken > 0 {
            return Look::Stale { taken };
        }
        let Some(known) = upstreams.iter().find(|one| one.url == self.url) else { return Look::Underway { open: 0, missing } };
        let open = known.wanted + known.pending;
        if open == 0 && known.confirmed > 0 {
            return match known.learned.faulty {
                Some(faulty) => Look::Faulty { missing, faulty },
                None if missing == 0 => Look::Complete,
                None => Look::ByItsWord { missing },
            };
        }
        match (known.link, known.last_down, &known.incomplete) {
            (LinkView::Down { .. }, Some(DownClass::NotDialable), why) => {
                Look::Excluded { why: why.clone().unwrap_or_else(|| DownClass::NotDialable.as_str().to_owned()) }
            }
            (LinkView::Down { dial_at }, Some(class), _) if known.failures > 0 => {
                let in_secs = dial_at.as_secs().saturating_sub(crate::common::now());
                Look::Down { class, failures: known.failures, in_secs }
            }
            (_, _, Some(why)) if open > 0 => Look::Incomplete { why: why.clone() },
            (LinkView::Down { .. } | LinkView::Up { .. }, _, _) => Look::Underway { open, missing },
        }
    }
}

impl Ends {
    pub(crate) fn is(self, look: &Look) -> bool {
        match (self, look) {
            (Self::Complete, Look::Complete)
            | (Self::ByItsWord, Look::ByItsWord { .. })
            | (Self::Faulty, Look::Faulty { .. })
            | (Self::Excluded, Look::Excluded { .. }) => true,
            (Self::Incomplete(words), Look::Incomplete { why }) => why.contains(words),
            (Self::Down(class), Look::Down { class: seen, .. }) => class == *seen,
            (Self::Flooded, Look::Down { class, .. }) => *class == DownClass::Banned,
            (Self::Flooded, Look::Incomplete { why }) => why.contains("idle"),
            _ => false,
        }
    }
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("complete"),
            Self::ByItsWord { missing } => write!(f, "complete by its own word; it serves {missing} less than it holds"),
            Self::Faulty { missing, faulty: Faulty { at: _, forged, unreadable, astray } } => {
                write!(f, "confirmed, {missing} missing: {forged} forged, {unreadable} unreadable, {astray} under a foreign id")
            }
            Self::Incomplete { why } => write!(f, "incomplete: {why}; wanted again"),
            Self::Down { class, failures, in_secs } => {
                write!(f, "incomplete: {} ({failures} in a row); dialed again in {in_secs} s", class.as_str())
            }
            Self::Excluded { why } => write!(f, "excluded: {why}"),
            Self::Stale { taken } => write!(f, "WRONG: {taken} events that home must not take"),
            Self::Underway { open, missing } => write!(f, "NO END: {open} items open, {missing} events missing"),
        }
    }
}

/// What an upstream holds, what home holds before, and what of the former home must not take.
struct History {
    held: Vec<Signed>,
    at_home: Vec<Signed>,
    stale: BTreeSet<EventId>,
}

impl From<Vec<Signed>> for History {
    /// The announcement comes first, and is at home.
    fn from(held: Vec<Signed>) -> Self {
        Self { at_home: held[..1].to_vec(), held, stale: BTreeSet::new() }
    }
}

impl Holds {
    fn history(self, name: &str, url: &str) -> History {
        let mut project = Project::named(name);
        let relays = [url.to_owned()];
        let mut dated = |second, count| {
            let announcement = project.announcement(&relays);
            let history: Vec<Signed> = [announcement].into_iter().chain(comments_on(&project, count, second)).collect();
            History::from(history)
        };
        match self {
            Self::Comments(comments) => project.history(&relays, comments).into(),
            Self::OneSecond(comments) => dated(crate::common::now() - 3600, comments),
            Self::Future => dated(crate::common::now() + 600, 5),
            Self::At(second) => dated(second, 5),
            Self::Repositories(count) => repositories(name, &relays, count),
            Self::Outdated => outdated(project, &relays),
        }
    }
}

/// Identifiers so long that no two of them share a filter.
fn repositories(name: &str, relays: &[String], count: usize) -> History {
    let mut history = History { held: Vec::new(), at_home: Vec::new(), stale: BTreeSet::new() };
    for number in 0..count {
        let mut project = Project::named(&format!("{name} {number} {}", "x".repeat(200)));
        let announcement = project.announcement(relays);
        history.at_home.push(announcement.clone());
        history.held.extend([announcement, project.comment_on_repository("how is it installed?")]);
    }
    history
}

fn outdated(mut project: Project, relays: &[String]) -> History {
    let former = project.announcement(relays);
    let comment = project.comment_on_repository("never mind");
    let kept = project.comment_on_repository("how is it installed?");
    project.in_the_present();
    let announcement = project.announcement(relays);
    let deletion = project.deletion_of(&comment);
    let stale = ids([&former, &comment]);
    History { held: vec![former, comment, kept], at_home: vec![announcement, deletion], stale }
}

fn comments_on(project: &Project, count: usize, second: u64) -> Vec<Signed> {
    let (author, address) = (Publisher::new(&"6".repeat(64)), project.address());
    let comment = |number| author.sign(1111, second, &[&["A", &address], &["K", "30617"]], &format!("{number}")).into();
    (0..count).map(comment).collect()
}
