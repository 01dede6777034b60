//! How words are written into rows and read back: the same numbers and texts in every adapter.

use engine::sequence::Applied;
use model::{
    Announced, BatchCounts, DownClass, EventId, GateReason, Item, ItemKind, Learned, LedgerScope, LinkView, Outcome, PublicKey,
    Ref, RefTag, RelayUrl, Resume, Role, Timestamp, Via,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::failure::{Failure, unreadable};

/// `coverage.status`. The SQL names these numbers, for the partial index needs a literal.
pub(crate) const WANTED: i64 = 0;
pub(crate) const PENDING: i64 = 1;
pub(crate) const CONFIRMED: i64 = 2;
/// `event.outcome` of what may come again.
pub(crate) const FORGOTTEN: i64 = 99;

/// Unix seconds; what lies beyond the range of the store is its end.
pub(crate) fn secs(at: Timestamp) -> i64 {
    signed(at.as_secs())
}

pub(crate) fn timestamp(secs: i64) -> Timestamp {
    Timestamp::from_secs(unsigned(secs))
}

/// What `relay.last_sequence` and `relay.seen_below` say: -1 before the first report.
pub(crate) fn applied(last_sequence: i64, seen_below: i64) -> Applied {
    Applied { last: u64::try_from(last_sequence).ok(), below: seen_below.cast_unsigned() }
}

/// As [`applied`] reads them.
pub(crate) fn applied_columns(applied: Applied) -> (i64, i64) {
    (applied.last.map_or(-1, signed), applied.below.cast_signed())
}

pub(crate) fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub(crate) fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// A length or a bound, for `LIMIT` and counts.
pub(crate) fn size(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A count of rows.
pub(crate) fn count(n: i64) -> usize {
    usize::try_from(n).unwrap_or(if n < 0 { 0 } else { usize::MAX })
}

pub(crate) fn small(n: i64) -> u32 {
    u32::try_from(n).unwrap_or(if n < 0 { 0 } else { u32::MAX })
}

pub(crate) fn item_kind_code(kind: ItemKind) -> i64 {
    match kind {
        ItemKind::Repo => 0,
        ItemKind::Root => 1,
        ItemKind::Participant => 2,
        ItemKind::Named => 3,
    }
}

/// # Errors
/// No version of ours wrote this key.
pub(crate) fn item(kind: i64, key: &str) -> Result<Item, Failure> {
    let item = Item::read(key).filter(|item| item_kind_code(item.kind()) == kind);
    item.ok_or_else(|| unreadable("an item"))
}

pub(crate) fn event_id(bytes: &[u8]) -> Result<EventId, Failure> {
    EventId::from_slice(bytes).map_err(|_| unreadable("an event id"))
}

pub(crate) fn url(text: &str) -> Result<RelayUrl, Failure> {
    RelayUrl::parse(text).map_err(|_| unreadable("a relay's URL"))
}

pub(crate) fn role(text: &str) -> Result<Role, Failure> {
    let all = [Role::Home, Role::Bootstrap, Role::Listed];
    all.into_iter().find(|role| role.as_str() == text).ok_or_else(|| unreadable("a role"))
}

pub(crate) fn down_class(text: &str) -> Option<DownClass> {
    serde_json::from_value(Value::String(text.to_owned())).ok()
}

pub(crate) fn learned(text: &str) -> Result<Learned, Failure> {
    serde_json::from_str(text).map_err(|_| unreadable("what was learned about an upstream"))
}

pub(crate) fn learned_text(learned: &Learned) -> String {
    serde_json::to_string(learned).expect("learned facts are plain data")
}

/// Keys in hex, as a JSON list.
pub(crate) fn maintainers_text(maintainers: &[PublicKey]) -> String {
    serde_json::to_string(maintainers).expect("keys are plain data")
}

pub(crate) fn maintainers(text: &str) -> Result<Vec<PublicKey>, Failure> {
    serde_json::from_str(text).map_err(|_| unreadable("the maintainers of a repo"))
}

/// Texts as a JSON list.
pub(crate) fn texts_text(texts: &[String]) -> String {
    serde_json::to_string(texts).expect("texts are plain data")
}

pub(crate) fn texts(text: &str) -> Result<Vec<String>, Failure> {
    serde_json::from_str(text).map_err(|_| unreadable("a list of texts"))
}

/// A repo, whom it names and where its git data may be had, from the columns of these.
pub(crate) fn announced(key: &str, maintainers_text: &str, clone_urls: &str) -> Result<Announced, Failure> {
    let addr = key.parse().map_err(|_| unreadable("an item"))?;
    Ok(Announced { addr, maintainers: maintainers(maintainers_text)?, clone_urls: texts(clone_urls)? })
}

/// The columns of a relay that make its link.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct LinkColumns {
    link: String,
    opened: bool,
    caught_up: bool,
    resume_since: Option<i64>,
    dial_at: i64,
}

impl LinkColumns {
    pub(crate) fn view(&self) -> LinkView {
        if self.link != "up" {
            return LinkView::Down { dial_at: timestamp(self.dial_at) };
        }
        let resume = self.resume_since.map_or(Resume::Fresh, |since| Resume::CatchUp { since: timestamp(since) });
        LinkView::Up { resume, opened: self.opened, caught_up: self.caught_up }
    }
}

/// The five sums, as they stand in relays and batches.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct CountColumns {
    events: i64,
    fresh: i64,
    rounds: i64,
    bytes_in: i64,
    bytes_out: i64,
}

impl From<BatchCounts> for CountColumns {
    fn from(counts: BatchCounts) -> Self {
        let BatchCounts { events, fresh, rounds, bytes_in, bytes_out } = counts;
        Self {
            events: signed(events),
            fresh: signed(fresh),
            rounds: signed(rounds),
            bytes_in: signed(bytes_in),
            bytes_out: signed(bytes_out),
        }
    }
}

impl CountColumns {
    pub(crate) fn counts(&self) -> BatchCounts {
        BatchCounts {
            events: unsigned(self.events),
            fresh: unsigned(self.fresh),
            rounds: unsigned(self.rounds),
            bytes_in: unsigned(self.bytes_in),
            bytes_out: unsigned(self.bytes_out),
        }
    }

    /// In the order in which statements name them.
    pub(crate) fn columns(&self) -> [i64; 5] {
        [self.events, self.fresh, self.rounds, self.bytes_in, self.bytes_out]
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]).map(char::from).collect()
}

/// SHA-256 of a text: a bounded key for any text.
pub(crate) fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// A reference by the number of its tag and the hash of its value: a bounded key for any text.
pub(crate) type RefKey = (i64, [u8; 32]);

pub(crate) fn ref_key(to: &Ref) -> RefKey {
    key_of(to.tag, &to.value)
}

pub(crate) fn key_of(tag: RefTag, value: &str) -> RefKey {
    (tag_code(tag), hash(value))
}

/// What the members of a set name, or are by: one tag, or authors. None where the set is made of kinds.
pub(crate) fn keys_of_scope(scope: &LedgerScope) -> Option<Vec<RefKey>> {
    let tagged = scope.filter.generic_tags.iter().find_map(|(tag, values)| Some((RefTag::from_name(tag.as_str())?, values)));
    if let Some((tag, values)) = tagged {
        return Some(values.iter().map(|value| key_of(tag, value)).collect());
    }
    let authors = scope.filter.authors.as_ref()?;
    Some(authors.iter().map(|author| key_of(RefTag::Author, &author.to_hex())).collect())
}

fn tag_code(tag: RefTag) -> i64 {
    match tag {
        RefTag::Address => 0,
        RefTag::RootAddress => 1,
        RefTag::Event => 2,
        RefTag::RootEvent => 3,
        RefTag::Quote => 4,
        RefTag::Author => 5,
        RefTag::Own => 6,
        RefTag::Id => 7,
    }
}

pub(crate) fn tag(code: i64) -> Result<RefTag, Failure> {
    let all =
        [RefTag::Address, RefTag::RootAddress, RefTag::Event, RefTag::RootEvent, RefTag::Quote, RefTag::Author, RefTag::Own];
    all.into_iter().find(|tag| tag_code(*tag) == code).ok_or_else(|| unreadable("a tag"))
}

pub(crate) fn via_code(via: Via) -> i64 {
    match via {
        Via::Live => 0,
        Via::Page => 1,
        Via::Negentropy => 2,
        Via::Kept => 3,
    }
}

pub(crate) fn via(code: i64) -> Result<Via, Failure> {
    let all = [Via::Live, Via::Page, Via::Negentropy, Via::Kept];
    all.into_iter().find(|via| via_code(*via) == code).ok_or_else(|| unreadable("how an event came"))
}

/// Every outcome; its place is its number in the store. Append only. The SQL of the ledger knows 0, 1, 3, 5, 9 to 13 and 15 to
/// 17, and 99 for what it has forgotten.
const OUTCOMES: [Outcome; 18] = [
    Outcome::Stored,
    Outcome::Duplicate,
    Outcome::Superseded,
    Outcome::Held,
    Outcome::Refused,
    Outcome::NeedsParent,
    Outcome::Gated(GateReason::Ephemeral),
    Outcome::Gated(GateReason::Expired),
    Outcome::Gated(GateReason::Protected),
    Outcome::Gated(GateReason::Future),
    Outcome::Gated(GateReason::TooOld),
    Outcome::Gated(GateReason::TooLarge),
    Outcome::Gated(GateReason::Vanished),
    Outcome::Gated(GateReason::Deleted),
    Outcome::Gated(GateReason::Private),
    Outcome::Gated(GateReason::Blocked),
    Outcome::Declined,
    Outcome::Gated(GateReason::Expiring),
];

pub(crate) fn outcome_code(outcome: Outcome) -> i64 {
    size(OUTCOMES.iter().position(|known| *known == outcome).expect("the table names every outcome"))
}

pub(crate) fn outcome(code: i64) -> Result<Outcome, Failure> {
    let place = usize::try_from(code).ok();
    place.and_then(|at| OUTCOMES.get(at)).copied().ok_or_else(|| unreadable("an outcome"))
}
