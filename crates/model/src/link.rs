//! Upstreams, links, epochs, and what is learned about an upstream.

use std::fmt;

use nostr::prelude::{PublicKey, Timestamp};
use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// An upstream's number in the store; it names the upstream on the bus, where a URL would be no legal token.
    UpstreamId
);
number!(
    /// One lifetime of a lease and its link. It only grows; a message of an older epoch changes nothing.
    Epoch
);
number!(
    /// Items asked for together.
    BatchId
);

/// A connector process: its name, and the incarnation that tells a restart from the same process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerId {
    pub name: String,
    /// Drawn at start; compared for equality only.
    pub incarnation: String,
}

/// What a relay is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The relay that is kept complete.
    Home,
    /// Named by the operator; never hung up for being empty.
    Bootstrap,
    /// Named by an announcement that home holds.
    Listed,
}

impl Role {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Bootstrap => "bootstrap",
            Self::Listed => "listed",
        }
    }
}

/// How a new link starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resume {
    /// Everything anew, without `since` (S8).
    Fresh,
    /// What came since this moment (S9); the moment already holds the overlap.
    CatchUp { since: Timestamp },
}

/// How history is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// NIP-77, falling back to pages.
    Negentropy,
    /// REQ pages to a proven end.
    Req,
}

impl Method {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Negentropy => "negentropy",
            Self::Req => "REQ",
        }
    }
}

/// What is known about an upstream's NIP-77, with the date of the last evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nip77 {
    Works {
        at: Timestamp,
    },
    /// Refused or silent; tried again at the next refresh (S12).
    Refused {
        at: Timestamp,
        reason: String,
    },
}

/// What a relay says of itself in its NIP-11 document: hints to start from, which its behaviour may prove wrong. What it does
/// not say, or says in another shape, is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stated {
    /// When it said so.
    pub at: Timestamp,
    /// Live subscriptions that it allows on one connection.
    pub max_subscriptions: Option<usize>,
    /// Events that it serves for one filter.
    pub max_limit: Option<usize>,
    /// Bytes that it takes in one message.
    pub max_message_length: Option<usize>,
    /// Seconds that an event may lie back from now (`created_at_lower_limit`).
    pub oldest: Option<u64>,
    /// Seconds that an event may lie ahead of now (`created_at_upper_limit`).
    pub newest: Option<u64>,
    /// `supported_nips`, in its order.
    pub nips: Vec<u16>,
    /// `supported_grasps`, such as `GRASP-01`, in its order. A relay that names any is a GRASP peer.
    pub grasps: Vec<String>,
    /// `software` and `version`.
    pub software: Option<String>,
    /// Characters of an event's content that it takes.
    pub max_content_length: Option<usize>,
    /// `self`: the key of the relay itself.
    pub itself: Option<PublicKey>,
    /// `pubkey`: the key of whoever runs it.
    pub operator: Option<PublicKey>,
    /// A hash of everything in it by which events are taken or refused: it changes when any of that does.
    pub terms: Option<String>,
}

/// A NIP-11 document that was asked for in vain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotStated {
    pub at: Timestamp,
    /// At most [`MAX_REASON_CHARS`](crate::MAX_REASON_CHARS).
    pub why: String,
}

/// Copies that an upstream serves each time it is read, and that cannot be taken: what they stand for may be missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Faulty {
    /// When they were read last.
    pub at: Timestamp,
    /// With a wrong id or signature.
    pub forged: u64,
    /// No events at all.
    pub unreadable: u64,
    /// Under a subscription id that nobody has opened.
    pub astray: u64,
}

/// How a relay showed that it takes no more subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitShown {
    /// It closed one more.
    Closed,
    /// It said so, of no subscription in particular.
    Notice,
    /// It never answered one more, beside others that it answered.
    Silence,
}

/// Facts learned about an upstream by its behaviour, and what it states of itself. They survive restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Learned {
    pub nip77: Option<Nip77>,
    /// When it ended a link over the first exchange that it was ever asked for, or the network did. The second time is a refusal.
    pub hung_up: Option<Timestamp>,
    /// Largest page that was followed by older events (events per page).
    pub page_cap: Option<usize>,
    /// Ids that the relay answers in one REQ.
    pub ids_per_req: Option<usize>,
    /// Live subscriptions that the relay allows.
    pub live_limit: Option<usize>,
    /// When it showed that.
    pub live_limit_at: Option<Timestamp>,
    /// How it showed that.
    pub live_limit_by: Option<LimitShown>,
    /// It refused a filter that named more items than these.
    pub refs_per_filter: Option<usize>,
    /// Its `until` leaves out the second that it names, against NIP-01.
    pub excludes_until: Option<bool>,
    /// It answers `limit: 0` with stored events, or never with EOSE, against NIP-01.
    pub ignores_limit_zero: Option<bool>,
    /// Its NIP-11 document, as it was read last.
    pub stated: Option<Stated>,
    /// What it serves again and again and nobody can take.
    pub faulty: Option<Faulty>,
    /// That document was asked for later, and did not come. Says nothing against what it said before.
    pub not_stated: Option<NotStated>,
}

impl Learned {
    /// Whether its NIP-77 was refused, and not tried since.
    #[must_use]
    pub fn refuses_nip77(&self) -> bool {
        matches!(self.nip77, Some(Nip77::Refused { .. }))
    }

    /// What a refresh goes by: what was refused is tried again (NIP-77, S12; more live subscriptions and larger filters, I3), what
    /// was faulty is looked at anew.
    #[must_use]
    pub fn for_a_refresh(self) -> Self {
        let nip77 = self.nip77.filter(|nip77| matches!(nip77, Nip77::Works { .. }));
        Self {
            nip77,
            hung_up: None,
            live_limit: None,
            live_limit_at: None,
            live_limit_by: None,
            refs_per_filter: None,
            faulty: None,
            ..self
        }
    }

    /// Takes over every fact that `newer` states.
    pub fn absorb(&mut self, newer: Self) {
        let Self {
            nip77,
            hung_up,
            page_cap,
            ids_per_req,
            live_limit,
            live_limit_at,
            live_limit_by,
            refs_per_filter,
            excludes_until,
            ignores_limit_zero,
            stated,
            not_stated,
            faulty,
        } = newer;
        self.hung_up = hung_up.or(self.hung_up).filter(|_| nip77.is_none());
        self.nip77 = nip77.or(self.nip77.take());
        self.page_cap = page_cap.or(self.page_cap);
        self.ids_per_req = ids_per_req.or(self.ids_per_req);
        self.live_limit = live_limit.or(self.live_limit);
        self.live_limit_at = live_limit_at.or(self.live_limit_at);
        self.live_limit_by = live_limit_by.or(self.live_limit_by);
        self.refs_per_filter = refs_per_filter.or(self.refs_per_filter);
        self.excludes_until = excludes_until.or(self.excludes_until);
        self.ignores_limit_zero = ignores_limit_zero.or(self.ignores_limit_zero);
        let is_read = stated.is_some();
        self.stated = stated.or(self.stated.take());
        self.faulty = faulty.or(self.faulty);
        self.not_stated = not_stated.or(self.not_stated.take().filter(|_| !is_read));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_did_not_come_is_noted_beside_the_last_one_and_the_next_one_clears_the_note() {
        let at = Timestamp::from_secs;
        let read = |secs| Learned { stated: Some(Stated { at: at(secs), ..Stated::default() }), ..Learned::default() };
        let note = Some(NotStated { at: at(2), why: "HTTP 404".to_owned() });
        let mut learned = read(1);
        learned.absorb(Learned { not_stated: note.clone(), ..Learned::default() });
        assert_eq!((learned.stated.as_ref().map(|stated| stated.at), &learned.not_stated), (Some(at(1)), &note));
        learned.absorb(Learned { page_cap: Some(500), ..Learned::default() });
        assert_eq!(learned.not_stated, note);
        learned.absorb(read(3));
        assert_eq!((learned.stated.map(|stated| stated.at), learned.not_stated), (Some(at(3)), None));
    }
}
