//! A relay in memory, with the faults of real ones at hand.

use std::collections::{BTreeMap, BTreeSet};

use engine::session::{Frame, Request};
use engine::walk::EoseHint;
use model::{Event, EventId, Filter};
use nostr::prelude::MatchEventOptions;

/// What it says to NEG-OPEN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Negentropy {
    Works,
    NegErr(String),
    Closed(String),
    Notice(String),
    Silent,
    /// Answers NEG-OPEN, then nothing.
    AnswersOnce,
}

/// How it refuses one subscription more than it allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OverLimit {
    Closed,
    /// A NOTICE that names none.
    Notice,
    Silent,
}

/// What a REQ is for, by its filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// `limit: 0`.
    Live,
    Page,
    Ids,
    /// By many kinds and no tag: what a walk asks to learn about the relay.
    Question,
}

#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Event {
        sub: String,
        event: Box<Event>,
    },
    /// An event that nobody can read.
    Unreadable {
        sub: String,
        frame: u64,
    },
    Frame(Frame),
}

/// What it serves only to those whom it knows (NIP-42), and how it comes to know them.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    pub(crate) reqs: bool,
    pub(crate) exchanges: bool,
    /// A challenge comes behind each refusal.
    pub(crate) challenges: bool,
    /// AUTHs get an OK.
    pub(crate) answers: bool,
    /// The one AUTH that is taken; later ones are refused.
    pub(crate) lets_in: bool,
    /// AUTHs heard.
    pub(crate) heard: usize,
}

impl Guard {
    pub(crate) fn of(reqs: bool, exchanges: bool) -> Self {
        Self { reqs, exchanges, challenges: true, answers: true, lets_in: true, heard: 0 }
    }

    fn is_shut(&self) -> bool {
        self.heard == 0 || !self.lets_in
    }

    fn refusal(&self, refused: Frame) -> Vec<Reply> {
        let challenge = self.challenges.then(|| Reply::Frame(Frame::Auth { challenge: "who are you".into() }));
        [Reply::Frame(refused)].into_iter().chain(challenge).collect()
    }
}

#[derive(Debug, Clone)]
pub(crate) struct ModelRelay {
    pub(crate) events: Vec<Event>,
    pub(crate) page_cap: usize,
    pub(crate) ids_cap: usize,
    pub(crate) negentropy: Negentropy,
    /// An exchange over more than these is refused for its size.
    pub(crate) most_records: usize,
    /// An exchange names no more than these, and says that it is done.
    pub(crate) most_named: usize,
    /// Advertised in exchanges, never served.
    pub(crate) absent: BTreeSet<EventId>,
    /// Its copies of these are forged.
    pub(crate) forges: BTreeSet<EventId>,
    /// Its copies of these cannot be read.
    pub(crate) garbles: BTreeSet<EventId>,
    /// REQs that are answered by CLOSED with this text, this many times.
    pub(crate) refusals: Vec<(Which, usize, String)>,
    /// REQs of this sort get no EOSE.
    pub(crate) holds_eose: Option<Which>,
    /// The next page breaks off after so many events with this NOTICE, and has no EOSE.
    pub(crate) breaks_off: Option<(usize, String)>,
    /// More subscriptions than these are refused.
    pub(crate) most_open: usize,
    pub(crate) over_limit: OverLimit,
    /// A filter that names more values is refused.
    pub(crate) most_values: usize,
    /// Pages reach from now whatever `until` says.
    pub(crate) ignores_until: bool,
    /// Serves whatever is of the time that a filter names, and does not read the rest of it.
    pub(crate) ignores_tags: bool,
    /// `until` leaves out the second that it names.
    pub(crate) excludes_until: bool,
    pub(crate) guard: Option<Guard>,
    /// Answers nothing at all.
    pub(crate) is_silent: bool,
    /// What is open on the wire.
    pub(crate) open: BTreeMap<String, Filter>,
    /// The most that was open at a time.
    pub(crate) peak: usize,
}

pub(crate) fn which(filter: &Filter) -> Which {
    match filter.limit {
        _ if filter.ids.is_some() => Which::Ids,
        Some(0) => Which::Live,
        _ if filter.kinds.as_ref().is_some_and(|kinds| kinds.len() > 2) => Which::Question,
        Some(_) | None => Which::Page,
    }
}

pub(crate) fn is_match(filter: &Filter, event: &Event) -> bool {
    filter.match_event(event, MatchEventOptions::new())
}

impl ModelRelay {
    pub(crate) fn with(events: impl IntoIterator<Item = Event>) -> Self {
        Self {
            events: events.into_iter().collect(),
            page_cap: 500,
            ids_cap: 500,
            negentropy: Negentropy::Works,
            most_records: usize::MAX,
            most_named: usize::MAX,
            absent: BTreeSet::new(),
            forges: BTreeSet::new(),
            garbles: BTreeSet::new(),
            refusals: Vec::new(),
            holds_eose: None,
            breaks_off: None,
            most_open: usize::MAX,
            over_limit: OverLimit::Closed,
            most_values: usize::MAX,
            ignores_until: false,
            ignores_tags: false,
            excludes_until: false,
            guard: None,
            is_silent: false,
            open: BTreeMap::new(),
            peak: 0,
        }
    }

    pub(crate) fn without_negentropy(events: impl IntoIterator<Item = Event>) -> Self {
        Self { negentropy: Negentropy::NegErr("blocked: no negentropy here".into()), ..Self::with(events) }
    }

    pub(crate) fn take(&mut self, request: &Request) -> Vec<Reply> {
        if self.is_silent {
            return Vec::new();
        }
        if let Some(guard) = &self.guard
            && guard.is_shut()
        {
            let text = "auth-required: who are you".to_owned();
            match request {
                Request::Req { sub, .. } if guard.reqs => return guard.refusal(Frame::Closed { sub: sub.clone(), text }),
                Request::NegOpen { sub, .. } if guard.exchanges => {
                    return guard.refusal(Frame::NegErr { sub: sub.clone(), text });
                }
                Request::Req { .. }
                | Request::Close { .. }
                | Request::NegOpen { .. }
                | Request::NegMsg { .. }
                | Request::NegClose { .. }
                | Request::Auth { .. } => {}
            }
        }
        match request {
            Request::Auth { json } => self.auth(json),
            Request::Req { sub, filter } => self.req(sub, filter),
            Request::Close { sub } => {
                self.open.remove(sub);
                Vec::new()
            }
            Request::NegOpen { sub, filter, .. } => self.neg_open(sub, filter),
            Request::NegMsg { .. } | Request::NegClose { .. } => Vec::new(),
        }
    }

    fn auth(&mut self, id: &str) -> Vec<Reply> {
        let Some(guard) = &mut self.guard else { return Vec::new() };
        guard.heard += 1;
        let id = EventId::from_hex(id).expect("the shell writes the id alone");
        if guard.answers { vec![Reply::Frame(Frame::Ok { id })] } else { Vec::new() }
    }

    /// A new event: it goes to every subscription that it matches.
    pub(crate) fn publish(&mut self, event: Event) -> Vec<Reply> {
        let subs: Vec<String> =
            self.open.iter().filter(|(_, filter)| is_match(filter, &event)).map(|(sub, _)| sub.clone()).collect();
        let replies = subs.into_iter().map(|sub| Reply::Event { sub, event: Box::new(event.clone()) }).collect();
        self.events.push(event);
        replies
    }

    /// Ids of everything that `filter` matches, what is not served too.
    pub(crate) fn advertised(&self, filter: &Filter) -> BTreeSet<EventId> {
        self.events.iter().filter(|event| is_match(filter, event)).map(|event| event.id).chain(self.absent.clone()).collect()
    }

    fn req(&mut self, sub: &str, filter: &Filter) -> Vec<Reply> {
        let sort = which(filter);
        if let Some((_, times, text)) = self.refusals.iter_mut().find(|(of, times, _)| *of == sort && *times > 0) {
            *times -= 1;
            return vec![closed(sub, text)];
        }
        if self.open.len() >= self.most_open {
            return match self.over_limit {
                OverLimit::Closed => vec![closed(sub, "error: too many subscriptions")],
                OverLimit::Notice => {
                    vec![Reply::Frame(Frame::Notice { text: "ERROR: too many concurrent REQs".into() })]
                }
                OverLimit::Silent => Vec::new(),
            };
        }
        if filter.generic_tags.values().any(|values| values.len() > self.most_values) {
            return vec![closed(sub, "ERROR: bad req: filter is too large")];
        }
        self.open.insert(sub.to_owned(), filter.clone());
        self.peak = self.peak.max(self.open.len());
        let mut replies = self.stored(sub, filter);
        if sort == Which::Page && self.breaks_off.as_ref().is_some_and(|(after, _)| replies.len() > *after) {
            let (after, text) = self.breaks_off.take().expect("seen just now");
            replies.truncate(after);
            replies.push(Reply::Frame(Frame::Notice { text }));
        } else if self.holds_eose != Some(sort) {
            replies.push(eose(sub));
        }
        replies
    }

    /// Newest first, at one second the lowest id first, cut silently.
    fn stored(&self, sub: &str, filter: &Filter) -> Vec<Reply> {
        let filter = &if self.ignores_until { Filter { until: None, ..filter.clone() } } else { filter.clone() };
        let filter =
            &if self.ignores_tags { Filter { generic_tags: BTreeMap::new(), ..filter.clone() } } else { filter.clone() };
        let is_left_out = |event: &Event| self.excludes_until && filter.until == Some(event.created_at);
        let is_served = |event: &&Event| is_match(filter, event) && !is_left_out(event) && !self.absent.contains(&event.id);
        let mut matches: Vec<&Event> = self.events.iter().filter(is_served).collect();
        matches.sort_by_key(|event| (std::cmp::Reverse(event.created_at), event.id));
        let cap = if filter.ids.is_some() { self.ids_cap } else { self.page_cap };
        matches.truncate(cap.min(filter.limit.unwrap_or(usize::MAX)));
        matches.into_iter().map(|event| self.copy(sub, event)).collect()
    }

    fn copy(&self, sub: &str, event: &Event) -> Reply {
        let sub = sub.to_owned();
        if self.garbles.contains(&event.id) {
            return Reply::Unreadable { sub, frame: mark_of(event.id) };
        }
        Reply::Event { sub, event: Box::new(event.clone()) }
    }

    fn neg_open(&mut self, sub: &str, filter: &Filter) -> Vec<Reply> {
        let sub = sub.to_owned();
        let records = self.advertised(filter).len();
        if self.negentropy == Negentropy::Works && records > self.most_records {
            let text = format!("blocked: too many query results ({records} > {})", self.most_records);
            return vec![Reply::Frame(Frame::NegErr { sub, text })];
        }
        match self.negentropy.clone() {
            Negentropy::Works | Negentropy::AnswersOnce => {
                vec![Reply::Frame(Frame::NegMsg { sub, message: "61".into() })]
            }
            Negentropy::NegErr(text) => vec![Reply::Frame(Frame::NegErr { sub, text })],
            Negentropy::Closed(text) => vec![closed(&sub, &text)],
            Negentropy::Notice(text) => vec![Reply::Frame(Frame::Notice { text })],
            Negentropy::Silent => Vec::new(),
        }
    }
}

/// Stands for the relay's copy of an event.
pub(crate) fn mark_of(id: EventId) -> u64 {
    id.as_bytes().iter().take(8).fold(0, |mark, byte| mark << 8 | u64::from(*byte))
}

pub(crate) fn closed(sub: &str, text: &str) -> Reply {
    Reply::Frame(Frame::Closed { sub: sub.to_owned(), text: text.to_owned() })
}

pub(crate) fn eose(sub: &str) -> Reply {
    Reply::Frame(Frame::Eose { sub: sub.to_owned(), hint: EoseHint::None })
}
