//! What the relay holds, and the rules by which an event is taken, replaced or deleted.
//! It owns NIP-01 replacement, NIP-09 deletion, NIP-40 expiry and the NIP-70 refusal.
//! It never checks a signature, never reads a clock and never does IO.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nostr::event::{Event, EventId};
use nostr::filter::Filter;
use nostr::key::PublicKey;

use super::index::Index;

/// An event as it is kept: parsed for the rules, and as the JSON that is sent.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) event: Event,
    pub(super) json: String,
    /// Unix seconds from which the event is no longer served (NIP-40).
    expires_at: Option<u64>,
}

impl Stored {
    pub(super) fn new(event: Event) -> Arc<Self> {
        let json = event.as_json();
        let expires_at = first_value(&event, "expiration").and_then(|value| value.parse().ok());
        Arc::new(Self { event, json, expires_at })
    }

    pub(super) fn is_expired(&self, now: u64) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// What became of an event that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Stored,
    /// Ephemeral: sent to who listens now, never kept.
    Broadcast,
    Duplicate,
    Replaced,
    Deleted,
    Expired,
    Protected,
    /// The store could not be written; the event may be offered again.
    Unwritable,
}

impl Verdict {
    /// Whether `OK` carries `true`.
    pub(super) fn is_accepted(self) -> bool {
        matches!(self, Self::Stored | Self::Broadcast | Self::Duplicate)
    }

    /// The text of the `OK`, with the machine-readable prefix of NIP-01.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Stored | Self::Broadcast => "",
            Self::Duplicate => "duplicate: already have this event",
            Self::Replaced => "replaced: have a newer version",
            Self::Deleted => "blocked: deleted by its author",
            Self::Expired => "invalid: the event has expired",
            Self::Protected => "blocked: protected events are not taken",
            Self::Unwritable => "error: the store could not be written",
        }
    }
}

/// How long an event of a kind lives (NIP-01).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Regular,
    Replaceable,
    Ephemeral,
    Addressable,
}

impl Class {
    fn of(kind: u16) -> Self {
        match kind {
            0 | 3 | 10_000..=19_999 => Self::Replaceable,
            20_000..=29_999 => Self::Ephemeral,
            30_000..=39_999 => Self::Addressable,
            _ => Self::Regular,
        }
    }
}

type Address = (u16, PublicKey, String);

const DELETION: u16 = 5;

#[derive(Debug, Default)]
pub(super) struct Archive {
    index: Index,
    /// The one version held of each replaceable or addressable event.
    versions: BTreeMap<Address, EventId>,
    deleted_ids: BTreeSet<(EventId, PublicKey)>,
    /// Versions up to this second (inclusive) are deleted.
    deleted_addresses: BTreeMap<Address, u64>,
}

impl Archive {
    /// What `admit` would answer now. `now` is in Unix seconds.
    pub(super) fn judge(&self, stored: &Stored, now: u64) -> Verdict {
        let event = &stored.event;
        if stored.is_expired(now) {
            return Verdict::Expired;
        }
        if event.tags.iter().any(|tag| tag.kind() == "-") {
            return Verdict::Protected;
        }
        if Class::of(event.kind.as_u16()) == Class::Ephemeral {
            return Verdict::Broadcast;
        }
        if self.index.get(&event.id).is_some() {
            return Verdict::Duplicate;
        }
        if self.is_deleted(event) {
            return Verdict::Deleted;
        }
        match self.version_held(event) {
            Some(held) if !supersedes(event, held) => Verdict::Replaced,
            Some(_) | None => Verdict::Stored,
        }
    }

    /// Judges the event and keeps it when the verdict is [`Verdict::Stored`].
    pub(super) fn admit(&mut self, stored: &Arc<Stored>, now: u64) -> Verdict {
        let verdict = self.judge(stored, now);
        if verdict == Verdict::Stored {
            self.keep(Arc::clone(stored));
        }
        verdict
    }

    pub(super) fn holds(&self, id: &EventId) -> bool {
        self.index.get(id).is_some()
    }

    /// At most `limit` matches, newest first, the lowest id first within a second.
    pub(super) fn query(&self, filter: &Filter, limit: usize, now: u64) -> Vec<Arc<Stored>> {
        self.index.query(filter, limit, now)
    }

    fn is_deleted(&self, event: &Event) -> bool {
        if event.kind.as_u16() == DELETION {
            return false;
        }
        let by_address = address(event).and_then(|address| self.deleted_addresses.get(&address));
        self.deleted_ids.contains(&(event.id, event.pubkey))
            || by_address.is_some_and(|until| event.created_at.as_secs() <= *until)
    }

    fn version_held(&self, event: &Event) -> Option<&Event> {
        let id = self.versions.get(&address(event)?)?;
        self.index.get(id).map(|stored| &stored.event)
    }

    fn keep(&mut self, stored: Arc<Stored>) {
        if let Some(address) = address(&stored.event)
            && let Some(older) = self.versions.insert(address, stored.event.id)
        {
            self.index.remove(&older);
        }
        if stored.event.kind.as_u16() == DELETION {
            self.delete_named_by(&stored.event);
        }
        self.index.insert(stored);
    }

    fn delete_named_by(&mut self, deletion: &Event) {
        for tag in deletion.tags.iter() {
            match (tag.kind(), tag.content()) {
                ("e", Some(value)) => self.delete_id(value, deletion.pubkey),
                ("a", Some(value)) => self.delete_address(value, deletion),
                (_, _) => {}
            }
        }
    }

    fn delete_id(&mut self, value: &str, author: PublicKey) {
        let Ok(id) = EventId::from_hex(value) else {
            return;
        };
        self.deleted_ids.insert((id, author));
        let is_theirs =
            self.index.get(&id).is_some_and(|held| held.event.pubkey == author && held.event.kind.as_u16() != DELETION);
        if is_theirs {
            self.forget(&id);
        }
    }

    fn delete_address(&mut self, value: &str, deletion: &Event) {
        let Some(address) = parse_address(value) else {
            return;
        };
        if address.1 != deletion.pubkey {
            return;
        }
        let until = deletion.created_at.as_secs();
        if let Some(id) = self.versions.get(&address).copied()
            && self.index.get(&id).is_some_and(|held| held.event.created_at.as_secs() <= until)
        {
            self.forget(&id);
        }
        let known = self.deleted_addresses.entry(address).or_insert(until);
        *known = until.max(*known);
    }

    fn forget(&mut self, id: &EventId) {
        if let Some(removed) = self.index.remove(id)
            && let Some(address) = address(&removed.event)
        {
            self.versions.remove(&address);
        }
    }
}

/// The newer one wins; of two of one second, the one with the lower id (NIP-01).
fn supersedes(event: &Event, held: &Event) -> bool {
    let (new, old) = (event.created_at, held.created_at);
    new > old || (new == old && event.id < held.id)
}

fn address(event: &Event) -> Option<Address> {
    let kind = event.kind.as_u16();
    match Class::of(kind) {
        Class::Regular | Class::Ephemeral => None,
        Class::Replaceable => Some((kind, event.pubkey, String::new())),
        Class::Addressable => {
            let identifier = first_value(event, "d").unwrap_or_default();
            Some((kind, event.pubkey, identifier.to_owned()))
        }
    }
}

/// `kind:pubkey:identifier`; the identifier may hold `:`.
fn parse_address(value: &str) -> Option<Address> {
    let mut parts = value.splitn(3, ':');
    let kind = parts.next()?.parse().ok()?;
    let author = PublicKey::from_hex(parts.next()?).ok()?;
    let identifier = parts.next().unwrap_or_default();
    match Class::of(kind) {
        Class::Regular | Class::Ephemeral => None,
        Class::Replaceable => Some((kind, author, String::new())),
        Class::Addressable => Some((kind, author, identifier.to_owned())),
    }
}

fn first_value<'a>(event: &'a Event, name: &str) -> Option<&'a str> {
    event.tags.iter().find(|tag| tag.kind() == name).and_then(|tag| tag.content())
}
