//! The answer to "is it complete, and how far behind?", made of a status: used by `status` and by the page, which say the same
//! thing in the same words. Never looks anywhere itself.

use indicatif::HumanCount;
use model::{DownClass, Faulty, HomeWrites, LinkView, NextWhy, Nip77, Role, Status, Timestamp, UpstreamStatus};
use serde::Serialize;

use crate::standing::{self, span};

/// Where an upstream stands, for whoever looks at many of them. Closed; each has a word and a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Everything is read to a proven end, and the link is live.
    Covered,
    /// Its history is being read, or its link catches up.
    Reading,
    /// Something is missing, and is asked for again later.
    Waiting,
    /// Its link is down; it is dialed again.
    Down,
    /// It was never dialed.
    New,
    /// The dial policy or a cap keeps us from it.
    Refused,
    /// Nothing at home lists it any more.
    Unlisted,
}

impl State {
    #[must_use]
    pub fn of(upstream: &UpstreamStatus) -> Self {
        match (upstream.link, upstream.next.map(|next| next.why)) {
            (LinkView::Down { .. }, _) if standing::is_refused(upstream) => Self::Refused,
            (_, None | Some(NextWhy::HangUp)) => Self::Unlisted,
            (LinkView::Down { .. }, _) if upstream.last_down.is_none() && upstream.good_to.is_none() => Self::New,
            (LinkView::Down { .. }, _) => Self::Down,
            (LinkView::Up { .. }, _) if upstream.unheld_since.is_some() => Self::Down,
            (LinkView::Up { .. }, Some(NextWhy::AskAgain)) => Self::Waiting,
            (LinkView::Up { .. }, _) if standing::is_complete(upstream) => Self::Covered,
            (LinkView::Up { .. }, _) => Self::Reading,
        }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Covered => "covered",
            Self::Reading => "reading",
            Self::Waiting => "waiting",
            Self::Down => "down",
            Self::New => "new",
            Self::Refused => "refused",
            Self::Unlisted => "unlisted",
        }
    }

    /// One letter that tells the states apart without colour.
    #[must_use]
    pub fn shape(self) -> char {
        match self {
            Self::Covered => '●',
            Self::Reading => '◐',
            Self::Waiting => '◔',
            Self::Down => '○',
            Self::New => '◌',
            Self::Refused => '✕',
            Self::Unlisted => '–',
        }
    }

    /// Whether home is to be complete of what it serves.
    pub(crate) fn counts(self) -> bool {
        !matches!(self, Self::Refused | Self::Unlisted)
    }
}

/// Whether home is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No upstream is known.
    Nothing,
    NotComplete,
    /// Nothing is missing, but not every link is live: what was published since this moment may be.
    CompleteUpTo(Timestamp),
    Complete,
}

/// The figures of all upstreams together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overview {
    pub verdict: Verdict,
    /// Upstreams that are covered, of those that count.
    pub covered: usize,
    pub upstreams: usize,
    /// Items on upstreams; home's own are not among them.
    pub wanted: u64,
    pub pending: u64,
    pub confirmed: u64,
    /// Seconds that the upstream which is furthest behind is behind; none where one has never been read.
    pub behind_secs: Option<u64>,
}

impl Overview {
    #[must_use]
    pub fn of(status: &Status, now: Timestamp) -> Self {
        let all: Vec<&UpstreamStatus> = status.upstreams.iter().filter(|one| State::of(one).counts()).collect();
        let upstreams: Vec<&UpstreamStatus> = all.iter().copied().filter(|one| one.role != Role::Home).collect();
        let sum =
            |count: fn(&UpstreamStatus) -> u64| status.upstreams.iter().filter(|one| one.role != Role::Home).map(count).sum();
        let good_to: Option<Vec<Timestamp>> = all.iter().map(|one| one.good_to).collect();
        Self {
            verdict: verdict(&all, good_to.as_deref()),
            covered: upstreams.iter().filter(|one| State::of(one) == State::Covered).count(),
            upstreams: upstreams.len(),
            wanted: sum(|one| one.wanted),
            pending: sum(|one| one.pending),
            confirmed: sum(|one| one.confirmed),
            behind_secs: good_to.map(|all| all.iter().map(|at| since(*at, now)).max().unwrap_or_default()),
        }
    }

    #[must_use]
    pub fn items(&self) -> u64 {
        self.wanted + self.pending + self.confirmed
    }

    /// Of 1,000 items, how many are confirmed; rounded down, so that only what is whole looks whole.
    #[must_use]
    pub fn confirmed_permille(&self) -> u64 {
        (self.confirmed * 1000).checked_div(self.items()).unwrap_or_default()
    }
}

/// As they are shown: home, then what is to be covered, then what is set aside.
pub(crate) fn in_order(status: &Status) -> Vec<&UpstreamStatus> {
    let mut all: Vec<&UpstreamStatus> = status.upstreams.iter().collect();
    all.sort_by_key(|one| (one.role != Role::Home, !State::of(one).counts()));
    all
}

fn verdict(all: &[&UpstreamStatus], good_to: Option<&[Timestamp]>) -> Verdict {
    let is_missing = all.iter().any(|one| one.wanted + one.pending > 0);
    let is_live = all.iter().all(|one| State::of(one) == State::Covered);
    match good_to.and_then(|all| all.iter().min()) {
        _ if all.iter().all(|one| one.role == Role::Home) => Verdict::Nothing,
        None => Verdict::NotComplete,
        Some(_) if is_missing => Verdict::NotComplete,
        Some(_) if is_live => Verdict::Complete,
        Some(moment) => Verdict::CompleteUpTo(*moment),
    }
}

/// Seconds since a moment that may lie a little ahead, where clocks differ.
pub(crate) fn since(moment: Timestamp, now: Timestamp) -> u64 {
    now.as_secs().saturating_sub(moment.as_secs())
}

/// The verdict in words: first what an operator asks first.
pub(crate) fn words(verdict: Verdict, now: Timestamp) -> String {
    match verdict {
        Verdict::Nothing => "nothing to cover".to_owned(),
        Verdict::NotComplete => "not complete".to_owned(),
        Verdict::CompleteUpTo(at) => format!("complete up to {} ago", span(since(at, now))),
        Verdict::Complete => "complete".to_owned(),
    }
}

/// What is said of an upstream that is not behind.
pub(crate) const LIVE: &str = "live";

/// How far an upstream is behind: what it published before that is at home, where it is confirmed.
pub(crate) fn behind(upstream: &UpstreamStatus, now: Timestamp) -> String {
    match (State::of(upstream), upstream.good_to) {
        (State::Refused | State::Unlisted, _) => String::new(),
        (_, None) => "never read".to_owned(),
        (_, Some(at)) if since(at, now) < 2 => LIVE.to_owned(),
        (_, Some(at)) => span(since(at, now)),
    }
}

/// How its history is read.
pub(crate) fn method(upstream: &UpstreamStatus) -> &'static str {
    match upstream.learned.nip77 {
        Some(Nip77::Works { .. }) => "NIP-77",
        Some(Nip77::Refused { .. }) => "REQ",
        None => "not known",
    }
}

/// The failures that keep it from being read, and what cannot be taken of what it serves.
pub(crate) fn health(upstream: &UpstreamStatus) -> String {
    let failing = match (upstream.failures, upstream.last_down) {
        (0, _) | (_, None) => None,
        (failures, Some(class)) => Some(format!("{}, {} in a row", class.as_str(), HumanCount(failures.into()))),
    };
    let faulty = upstream.learned.faulty.map(|Faulty { at: _, forged, unreadable, astray }| {
        format!("{} faulty copies", HumanCount(forged + unreadable + astray))
    });
    match (failing, faulty) {
        (None, None) => "ok".to_owned(),
        (failing, faulty) => failing.into_iter().chain(faulty).collect::<Vec<_>>().join("; "),
    }
}

/// What the operator can do about an upstream that is not covered.
pub(crate) fn advice(upstream: &UpstreamStatus) -> Option<&'static str> {
    let is_home = upstream.role == Role::Home;
    match (State::of(upstream), upstream.last_down) {
        (State::Covered | State::Reading | State::New | State::Unlisted, _) => None,
        (State::Refused, _) => Some("if you trust it, name it in bootstrap, or its network in allow_non_public; else nothing"),
        (State::Waiting, _) => Some("nothing: it is asked again by itself; explain shows what it answered"),
        (State::Down, _) if upstream.unheld_since.is_some() => {
            Some("start grasp-sync, or the connectors of the fleet: nobody is at work")
        }
        (State::Down, _) if is_home => Some("start home, or make it reachable: everything waits for it"),
        (State::Down, None) => Some("nothing: it is dialed again by itself"),
        (State::Down, Some(class)) => Some(advice_of(class)),
    }
}

fn advice_of(class: DownClass) -> &'static str {
    match class {
        DownClass::Dns => "its name leads nowhere: check the resolver; a relay that is gone for good costs one dial a day",
        DownClass::Tls => "its certificate is not accepted: its operator has to mend it",
        DownClass::HttpStatus => "it answers, but takes no WebSocket from us: its operator knows why",
        DownClass::Protocol => "it breaks the protocol or a bound of ours: explain shows its words",
        DownClass::NotDialable => "if you trust it, name it in bootstrap, or its network in allow_non_public; else nothing",
        DownClass::Auth => "it wants to know who we are: name it in auth if it may, and ask its operator to let that key in",
        DownClass::Payment => "it wants to be paid: pay for the key of auth_key, or do without it; it is asked again in hours",
        DownClass::Policy => "it does not serve us: its operator knows why; it is asked again in hours",
        DownClass::Banned => "it sent what no relay should, and is left alone for a while: explain shows what it was",
        DownClass::Refused | DownClass::Timeout | DownClass::Closed | DownClass::Silent => {
            "nothing: it is dialed again by itself; if it lasts, its operator may know"
        }
        DownClass::Empty | DownClass::Released => "nothing: the end of the link was ours",
    }
}

/// What the operator can do about slow writes to home.
pub(crate) fn advice_on_writes(writes: HomeWrites) -> Option<&'static str> {
    match (writes.waiting, writes.is_limited, writes.per_minute) {
        (0, ..) => None,
        (_, true, _) => Some("home limits how fast it takes events: raise its limit for this service, or wait"),
        (_, false, 0) => Some("home answers no write: look at its log"),
        (_, false, _) => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use model::{BatchCounts, Learned, Next, RelayUrl, Resume, UpstreamId};

    use super::*;

    pub(crate) fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    /// An upstream that is covered at 1,000.
    pub(crate) fn covered(url: &str) -> UpstreamStatus {
        UpstreamStatus {
            upstream: UpstreamId(1),
            url: RelayUrl::parse(url).unwrap(),
            role: Role::Listed,
            link: LinkView::Up { resume: Resume::Fresh, opened: true, caught_up: true },
            wanted: 0,
            pending: 0,
            confirmed: 10,
            learned: Learned::default(),
            failures: 0,
            last_down: None,
            incomplete: None,
            counts: BatchCounts::default(),
            next: Some(Next { at: at(90_000), why: NextWhy::Refresh }),
            good_to: Some(at(1_000)),
            unheld_since: None,
        }
    }

    pub(crate) fn down(url: &str, good_to: Option<u64>) -> UpstreamStatus {
        UpstreamStatus {
            link: LinkView::Down { dial_at: at(1_060) },
            failures: 3,
            last_down: Some(DownClass::Timeout),
            next: Some(Next { at: at(1_060), why: NextWhy::Dial }),
            good_to: good_to.map(at),
            ..covered(url)
        }
    }

    pub(crate) fn status(upstreams: Vec<UpstreamStatus>) -> Status {
        let writes = HomeWrites::default();
        Status { repos: 2, roots: 3, at_home: 40, outcomes: Vec::new(), upstreams, writes }
    }

    fn verdict_of(upstreams: Vec<UpstreamStatus>) -> Verdict {
        Overview::of(&status(upstreams), at(1_000)).verdict
    }

    #[test]
    fn complete_is_said_only_where_nothing_is_missing_and_every_link_is_live() {
        let (one, two) = (covered("wss://one.example"), covered("wss://two.example"));
        assert_eq!(verdict_of(vec![one.clone(), two.clone()]), Verdict::Complete);
        let reading = UpstreamStatus { wanted: 1, ..two };
        assert_eq!(verdict_of(vec![one.clone(), reading]), Verdict::NotComplete);
        let gone = down("wss://two.example", Some(700));
        assert_eq!(verdict_of(vec![one.clone(), gone]), Verdict::CompleteUpTo(at(700)));
        let unread = down("wss://two.example", None);
        assert_eq!(verdict_of(vec![one.clone(), unread]), Verdict::NotComplete);
        let left = UpstreamStatus { unheld_since: Some(at(600)), good_to: Some(at(600)), ..covered("wss://two.example") };
        assert_eq!(verdict_of(vec![one.clone(), left.clone()]), Verdict::CompleteUpTo(at(600)), "nobody is at work");
        assert!(advice(&left).unwrap().starts_with("start grasp-sync"));
        let home = UpstreamStatus { role: Role::Home, ..covered("wss://home.example") };
        assert_eq!(verdict_of(vec![home.clone()]), Verdict::Nothing);
        let blind = UpstreamStatus { pending: 1, ..home };
        assert_eq!(verdict_of(vec![blind, one.clone()]), Verdict::NotComplete, "home's own coverage counts");
        let refused = UpstreamStatus { incomplete: Some("loopback".to_owned()), next: None, ..down("ws://10.0.0.1", None) };
        assert_eq!(State::of(&refused), State::Refused);
        assert_eq!(verdict_of(vec![refused, one]), Verdict::Complete, "what is refused is not to be covered");
    }

    #[test]
    fn home_is_shown_first_and_what_is_set_aside_last() {
        let refused = UpstreamStatus { incomplete: Some("loopback".to_owned()), next: None, ..down("ws://10.0.0.1", None) };
        let home = UpstreamStatus { role: Role::Home, ..covered("wss://home.example") };
        let all = status(vec![refused, covered("wss://two.example"), covered("wss://one.example"), home]);
        let shown: Vec<&str> = in_order(&all).into_iter().map(|one| one.url.as_str()).collect();
        assert_eq!(shown, ["wss://home.example/", "wss://two.example/", "wss://one.example/", "ws://10.0.0.1/"]);
    }

    #[test]
    fn the_one_furthest_behind_says_how_far_all_are() {
        let all = status(vec![covered("wss://one.example"), down("wss://two.example", Some(700))]);
        let overview = Overview::of(&all, at(1_000));
        assert_eq!((overview.covered, overview.upstreams, overview.behind_secs), (1, 2, Some(300)));
        let unread = status(vec![covered("wss://one.example"), down("wss://two.example", None)]);
        assert_eq!(Overview::of(&unread, at(1_000)).behind_secs, None);
        assert_eq!(behind(&covered("wss://one.example"), at(1_001)), "live");
        assert_eq!(behind(&down("wss://one.example", Some(700)), at(1_000)), "5 min");
    }

    #[test]
    fn whatever_is_down_or_refused_comes_with_what_can_be_done() {
        let gone = down("wss://two.example", Some(700));
        assert!(advice(&gone).unwrap().starts_with("nothing: it is dialed again"));
        let home = UpstreamStatus { role: Role::Home, ..gone };
        assert!(advice(&home).unwrap().starts_with("start home"));
        assert_eq!(advice(&covered("wss://one.example")), None);
    }
}
