//! One behaviour of an upstream, the end that it must come to, and how that end is seen: at home and in `status`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use model::{DownClass, EventId, Faulty, LinkView, RelayUrl, UpstreamStatus};
use testkit::hostile::Behaviour;
use testkit::{HostileRelay, Publisher};

use crate::common::{Project, Relay, Signed, ids};

/// What is on the other side of the URL.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a test has some dozens of them")]
pub(crate) enum Upstream {
    Hostile(HostileRelay),
    /// One that does everything right.
    Fine(Relay),
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
    /// It is never dialed.
    Excluded,
}

/// A repository of its own on an upstream of its own.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) name: &'static str,
    pub(crate) ends: Ends,
    pub(crate) bound: Duration,
    pub(crate) announcement: Signed,
    pub(crate) url: RelayUrl,
    holds: BTreeSet<EventId>,
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
            Upstream::Nobody(url) => url.clone(),
        };
        let history = holds.history(name, &url);
        match &upstream {
            Upstream::Hostile(relay) => relay.has_held(history.iter().map(|event| event.json.as_str())),
            Upstream::Fine(relay) => relay.has_held(&history).await,
            Upstream::Nobody(_) => {}
        }
        Self {
            name,
            ends,
            bound: Duration::from_secs(secs),
            announcement: history[0].clone(),
            url: RelayUrl::parse(&url).unwrap(),
            holds: ids(&history),
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
            Upstream::Fine(_) | Upstream::Nobody(_) => 0,
        }
    }

    /// How it looks, by the status of all upstreams and by what home holds.
    pub(crate) fn look(&self, upstreams: &[UpstreamStatus], home: &BTreeSet<EventId>) -> Look {
        let missing = self.holds.difference(home).count();
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
            Self::Underway { open, missing } => write!(f, "NO END: {open} items open, {missing} events missing"),
        }
    }
}

impl Holds {
    /// The announcement comes first.
    fn history(self, name: &str, url: &str) -> Vec<Signed> {
        let mut project = Project::named(name);
        let relays = [url.to_owned()];
        match self {
            Self::Comments(comments) => project.history(&relays, comments),
            Self::OneSecond(comments) => {
                let second = crate::common::now() - 3600;
                let announcement = project.announcement(&relays);
                [announcement].into_iter().chain(comments_on(&project, comments, second)).collect()
            }
            Self::Future => {
                let announcement = project.announcement(&relays);
                [announcement].into_iter().chain(comments_on(&project, 5, crate::common::now() + 600)).collect()
            }
        }
    }
}

fn comments_on(project: &Project, count: usize, second: u64) -> Vec<Signed> {
    let (author, address) = (Publisher::new(&"6".repeat(64)), project.address());
    let comment = |number| author.sign(1111, second, &[&["A", &address], &["K", "30617"]], &format!("{number}")).into();
    (0..count).map(comment).collect()
}
