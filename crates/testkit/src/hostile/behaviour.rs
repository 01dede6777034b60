//! What a relay may do wrong, by name. A script is a list of these; what it does not name is done well.

use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// One way to misbehave, or to be merely different.
#[derive(Debug, Clone, PartialEq)]
pub enum Behaviour {
    /// No REQ gets more events than this, whatever its `limit`.
    PageCap(usize),
    /// A REQ with a `limit` gets this many more than it asked for.
    MoreThanAsked(usize),
    /// The events of a page come oldest first.
    Backwards,
    /// `until` is as good as absent: every page is the newest one.
    IgnoresUntil,
    /// EOSE carries NIP-67's word and tells the truth: `finish`, or `more` after a page that was cut.
    HintsHonestly,
    /// EOSE carries this word, true or not.
    EoseSays(&'static str),
    /// EOSE never comes; live events do.
    NoEose,
    /// EOSE comes twice.
    EoseTwice,
    /// EOSE comes this much later than the last event of the page.
    LateEose(Duration),
    /// For this long after EOSE, what is published is missing from the subscription, for ever.
    LateLive(Duration),
    /// A connection may have this many subscriptions; one more is refused in this way.
    AtMostSubscriptions(usize, Refusal),
    /// A REQ of `ids` gets at most this many.
    IdsCap(usize),
    /// Nobody gets the event with this id; negentropy may name it all the same.
    Withholds(String),
    /// A REQ of `ids` that was answered in full gets CLOSED with an empty text after EOSE.
    ClosesAnsweredIds,
    /// Every REQ is refused in this way.
    Refuses(Refusal),
    /// Every page breaks off with this CLOSED after so many events.
    BreaksOffAfter(usize, &'static str),
    /// The first page of a connection that holds more events than this has a NOTICE after so many of them, and goes on.
    NoticesOnceInside(usize, &'static str),
    /// A NOTICE after every message of the client.
    NoticesAlways(&'static str),
    /// An AUTH challenge greets every client; nothing depends on it.
    Challenges,
    /// A REQ needs AUTH: challenge, and CLOSED `auth-required:`.
    ReqNeedsAuth,
    /// A NEG-OPEN needs AUTH: challenge, and NEG-ERR `auth-required:`.
    NegentropyNeedsAuth,
    /// AUTH, well made or not, is answered with OK false `restricted:`.
    RefusesAuth,
    /// One AUTH a connection: a second one gets OK false, in the words of strfry.
    OneKeyOnly,
    /// An event that is offered gets OK with this verdict and text, and is not kept.
    AnswersOffers(bool, &'static str),
    /// What becomes of an event that is offered is decided elsewhere.
    Judges(Judge),
    /// The same, for events whose content holds the first text; of several of these, the first counts.
    AnswersOffersOf(&'static str, bool, &'static str),
    /// An event that is offered gets its OK this much later; the next is read only then.
    LateOk(Duration),
    /// An event that is offered gets no OK, and is not kept.
    NoOk,
    /// So many events are taken in a minute, one after the other; sooner, and beyond the first few, OK false `rate-limited:`.
    WritesPerMinute(u32),
    /// An event that names another one (`e`, `E`) is refused until that is held.
    WantsParents,
    /// An event that lies back further than this (seconds) is refused.
    RefusesOlderThan(u64),
    /// How NIP-77 is spoken; without this, not at all: a NOTICE.
    Negentropy(Negentropy),
    /// What it says of itself over HTTP (NIP-11); without this, 404.
    Describes(Value),
    /// How the connection is treated.
    Link(Link),
    /// These events (JSON) come with every page, whatever was asked for.
    AlsoServes(Vec<String>),
    /// Every event comes under a subscription id that nobody has opened.
    ForeignSubscription,
    /// Every event is changed on its way.
    Corrupts(Corruption),
    /// Every REQ is answered with this instead.
    Floods(Flood),
}

/// Who decides what becomes of an offered event.
pub trait Judges: std::fmt::Debug + Send + Sync {
    /// Called once for each EVENT.
    fn rule(&self, event: &Value) -> Ruling;
}

/// A shared [`Judges`]; equal to itself only.
#[derive(Debug, Clone)]
pub struct Judge(pub Arc<dyn Judges>);

impl PartialEq for Judge {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// What becomes of an offered event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// The verdict and the text of OK.
    pub accepted: bool,
    pub words: String,
    /// It is served from now on.
    pub is_kept: bool,
}

/// How a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// CLOSED, with this text.
    Closed(&'static str),
    /// A NOTICE with this text, which names no subscription.
    Notice(&'static str),
    /// No word.
    Silence,
    /// The connection is dropped.
    HangUp,
}

/// How NIP-77 is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Negentropy {
    /// NEG-OPEN gets NEG-ERR with this text.
    Error(&'static str),
    /// The same, with the fourth element: how many records would be processed.
    ErrorWithLimit(&'static str, u64),
    /// NEG-OPEN is refused in this way, CLOSED naming the id of the exchange.
    Refused(Refusal),
    /// NEG-OPEN is answered well, and nothing after it.
    SilentAfterFirst,
    /// One byte: the only version spoken is an older one.
    OldVersion,
    /// A message that is not hex.
    Garbage,
    /// So many ids are claimed that nobody has, 1,000 a message.
    FakeIds(usize),
    /// Every message says: your set differs from mine, in the same place as before. Each time with another fingerprint, or
    /// the same message again.
    NeverConverges {
        /// Whether it is the same message each time.
        repeats: bool,
    },
    /// A message of this many bytes before they are written in hex.
    Oversize(usize),
}

/// How the connection is treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// The upgrade is answered with this status.
    Status(u16),
    /// The upgrade, and the question of NIP-11, are sent on to another URL (302).
    Redirects(String),
    /// The connection is accepted, and nothing is ever said or read.
    BlackHole,
    /// After the upgrade nothing is read any more: what the client writes fills the buffers between.
    Deaf,
    /// The connection is dropped this long after it was made.
    DropsAfter(Duration),
    /// One byte is sent in this time, the answer to the upgrade and everything after it.
    DripsUpgrade(Duration),
    /// One byte is sent in this time, after an upgrade at full speed.
    Drips(Duration),
    /// Every byte of a message is a frame of its own.
    OneByteFrames,
}

/// What is done to an event on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Corruption {
    /// Another id, which the content does not have.
    WrongId,
    /// The right id, and a signature that is none.
    WrongSignature,
    /// Another author, under the same id and signature.
    SwappedAuthor,
    /// Another content, under the same id and signature.
    OtherContent,
    /// This `created_at`, under the same id and signature; it may not fit any integer.
    Second(&'static str),
}

/// What floods a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// Well-made events of a stranger that match nothing, without end.
    Strangers,
    /// Well-made events that match the REQ's first filter (its kind and its first tag), without end.
    Matching,
    /// One well-made event of a stranger under a subscription id that nobody has opened, without end.
    Foreign,
    /// One well-made event that matches the REQ's first filter, over and over, without end.
    Repeats,
    /// Events that match the REQ's first filter, with a signature that is none, without end.
    Forged,
    /// Well-made events that match the REQ's first filter, each with so many tags, without end.
    ManyTags(usize),
    /// NOTICEs, without end.
    Notices,
    /// Ends of subscriptions that nobody has opened, without end.
    Ends,
    /// NOTICEs of so many bytes each, without end.
    LongMessages(usize),
    /// Text that is no JSON, this often.
    NoJson(usize),
    /// JSON that is no message of a relay, this often.
    NoMessage(usize),
    /// An array in an array in an array…, so deep.
    DeepJson(usize),
    /// A text message that is not UTF-8.
    BadUtf8,
    /// A binary message of so many bytes.
    Binary(usize),
    /// So many pings.
    Pings(usize),
    /// The header of a text message that is to be so many bytes long, and nothing more.
    Header(u64),
    /// A NOTICE of so many bytes.
    HugeMessage(usize),
}
