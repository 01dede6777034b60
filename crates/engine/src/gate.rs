//! What is never offered to home, and why: the chain of gates that an event passes once it is known to be what it says.
//!
//! Owns: the order of the gates and their reasons. Never: what home's operator wants (that is `admission`), or anything
//! that home has to be asked for.

use model::{Event, GateReason, Outcome, Stated, Timestamp, first_values};

use crate::tombstones::{Gone, Tombstones};

/// NIP-40: an event that expires within this time (seconds) would be gone before anybody reads it.
const EXPIRES_SOON_SECS: u64 = 60;

/// Tags of an event: more than any relay is known to take (2,000 in strfry's defaults).
const MOST_TAGS: usize = 2_000;

/// What stands around an event in its message, `["EVENT",…]`, in bytes.
const EVENT_FRAME_BYTES: usize = 10;

/// Why one copy of an event goes no further. A fault of the copy: the ledger learns nothing from it, for a true one may
/// follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyFault {
    /// No open subscription asked for it, or not for an event like this.
    NotAskedFor,
    /// It came with the broad filter of a GRASP peer, and is of nothing that we want: no fault of anybody's.
    NotWanted,
    /// It cannot be read as an event.
    Malformed,
    /// Its id is not that of its content.
    WrongId,
    BadSignature,
}

impl CopyFault {
    /// One word, for metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAskedFor => "not-asked-for",
            Self::NotWanted => "not-wanted",
            Self::Malformed => "malformed",
            Self::WrongId => "wrong-id",
            Self::BadSignature => "bad-signature",
        }
    }
}

/// What is wrong with a copy that could be read, if anything is.
#[must_use]
pub fn verify(event: &Event) -> Option<CopyFault> {
    if !event.verify_id() {
        Some(CopyFault::WrongId)
    } else if !event.verify_signature() {
        Some(CopyFault::BadSignature)
    } else {
        None
    }
}

/// What home takes at all, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Length of an event's JSON, in bytes.
    pub event_bytes: usize,
    /// How far `created_at` may lie ahead, in seconds.
    pub ahead_secs: u64,
    /// How far it may lie back, in seconds, where home has a bound.
    pub back_secs: Option<u64>,
    /// Length of its content, in characters, where home has a bound.
    pub content_chars: Option<usize>,
    /// Whether events that expire one day are offered: home honours NIP-40, or does not say what it honours.
    pub takes_expiring: bool,
}

impl Default for Limits {
    /// Four times what most relays take; a claim of time that no honest clock makes; as old as may be.
    fn default() -> Self {
        Self { event_bytes: 256 * 1024, ahead_secs: 24 * 3600, back_secs: None, content_chars: None, takes_expiring: true }
    }
}

impl Limits {
    /// What home's own document (NIP-11) adds to the defaults: it narrows them, and never widens one.
    #[must_use]
    pub fn of(stated: &Stated) -> Self {
        let most = Self::default();
        let of_message = stated.max_message_length.map(|bytes| bytes.saturating_sub(EVENT_FRAME_BYTES));
        Self {
            event_bytes: of_message.map_or(most.event_bytes, |bytes| bytes.min(most.event_bytes)),
            ahead_secs: stated.newest.map_or(most.ahead_secs, |secs| secs.min(most.ahead_secs)),
            back_secs: stated.oldest,
            content_chars: stated.max_content_length,
            takes_expiring: stated.nips.is_empty() || stated.nips.contains(&40),
        }
    }
}

/// An event at the gates, with the length of its JSON in bytes.
#[derive(Debug, Clone, Copy)]
pub struct AtTheGate<'a> {
    pub event: &'a Event,
    pub bytes: usize,
    /// It comes from a relay that the operator shares private repositories with.
    pub from_private_peer: bool,
}

/// What becomes of `offered` without home being asked: nothing, or its outcome. The first gate that is shut decides.
#[must_use]
pub fn gate(offered: AtTheGate<'_>, limits: &Limits, tombstones: &Tombstones, now: Timestamp) -> Option<Outcome> {
    if let Some(reason) = shut(offered, limits, now) {
        return Some(Outcome::Gated(reason));
    }
    match tombstones.judge(offered.event) {
        Some(Gone::Vanished) => Some(Outcome::Gated(GateReason::Vanished)),
        Some(Gone::Deleted) => Some(Outcome::Gated(GateReason::Deleted)),
        Some(Gone::Superseded) => Some(Outcome::Superseded),
        None => (is_private(offered.event) && !offered.from_private_peer).then_some(Outcome::Gated(GateReason::Private)),
    }
}

/// The gates that need no memory.
fn shut(AtTheGate { event, bytes, .. }: AtTheGate<'_>, limits: &Limits, now: Timestamp) -> Option<GateReason> {
    let (created, now) = (event.created_at.as_secs(), now.as_secs());
    let is_long = limits.content_chars.is_some_and(|most| event.content.len() > most && event.content.chars().count() > most);
    if bytes > limits.event_bytes || is_long || event.tags.len() > MOST_TAGS {
        Some(GateReason::TooLarge)
    } else if event.kind.is_ephemeral() {
        Some(GateReason::Ephemeral)
    } else if event.tags.iter().any(|tag| tag.kind() == "-") {
        Some(GateReason::Protected)
    } else if expires_by(event).is_some_and(|expiry| expiry <= now.saturating_add(EXPIRES_SOON_SECS)) {
        Some(GateReason::Expired)
    } else if !limits.takes_expiring && expires_by(event).is_some() {
        Some(GateReason::Expiring)
    } else if created > now.saturating_add(limits.ahead_secs) {
        Some(GateReason::Future)
    } else if limits.back_secs.is_some_and(|back| created < now.saturating_sub(back)) {
        Some(GateReason::TooOld)
    } else {
        None
    }
}

/// GRASP-08: an announcement of a private repository. Nothing of it is ours to spread.
#[must_use]
pub fn is_private(event: &Event) -> bool {
    event.kind == model::kinds::ANNOUNCEMENT && first_values(event, "private").any(|value| value == "true")
}

fn expires_by(event: &Event) -> Option<u64> {
    first_values(event, "expiration").next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{addr, at, event, event_by};

    const NOW: u64 = 1_000_000_000;

    fn gated(event: &Event, held: &[Event]) -> Option<Outcome> {
        let mut tombstones = Tombstones::new(Vec::new());
        held.iter().for_each(|event| tombstones.learn(event));
        let limits = Limits { back_secs: Some(94_608_000), ..Limits::default() };
        gate(AtTheGate { event, bytes: 500, from_private_peer: false }, &limits, &tombstones, at(NOW))
    }

    #[test]
    fn every_gate_has_its_reason() {
        let soon = (NOW + 30).to_string();
        let later = (NOW + 3600).to_string();
        let cases = [
            (event(1621, NOW, &[]), None),
            (event(29846, NOW, &[]), Some(GateReason::Ephemeral)),
            (event(22242, NOW, &[]), Some(GateReason::Ephemeral)),
            (event(1621, NOW, &[&["-"]]), Some(GateReason::Protected)),
            (event(1621, NOW, &[&["expiration", "5"]]), Some(GateReason::Expired)),
            (event(1621, NOW, &[&["expiration", &soon]]), Some(GateReason::Expired)),
            (event(1621, NOW, &[&["expiration", &later]]), None),
            (event(1621, NOW, &[&["expiration", "never"]]), None),
            (event(1621, NOW + 600, &[]), None),
            (event(1621, NOW + 90_000, &[]), Some(GateReason::Future)),
            (event(1621, u64::MAX, &[]), Some(GateReason::Future)),
            (event(1621, NOW - 94_608_000, &[]), None),
            (event(1621, NOW - 94_608_001, &[]), Some(GateReason::TooOld)),
            (event(1621, 0, &[]), Some(GateReason::TooOld)),
            (event(30617, NOW, &[&["d", "x"], &["private", "true"]]), Some(GateReason::Private)),
            (event(30617, NOW, &[&["d", "x"], &["private", "false"]]), None),
            (event(1621, NOW, &[&["private", "true"]]), None),
        ];
        for (event, reason) in cases {
            assert_eq!(gated(&event, &[]), reason.map(Outcome::Gated), "{event:?}");
        }
    }

    #[test]
    fn a_private_repository_comes_from_its_own_peers_only() {
        let event = event(30617, NOW, &[&["d", "x"], &["private", "true"]]);
        for (from_private_peer, outcome) in [(true, None), (false, Some(Outcome::Gated(GateReason::Private)))] {
            let offered = AtTheGate { event: &event, bytes: 500, from_private_peer };
            assert_eq!(gate(offered, &Limits::default(), &Tombstones::new(Vec::new()), at(NOW)), outcome);
        }
    }

    #[test]
    fn what_home_gave_up_is_not_offered_again() {
        let address = addr("x").to_string();
        let version = |created_at| event(30617, created_at, &[&["d", "x"]]);
        let deletion = event(5, NOW, &[&["a", &address]]);
        let vanish = event(62, NOW, &[&["relay", "ALL_RELAYS"]]);
        let gate_of = Outcome::Gated;
        assert_eq!(gated(&version(NOW - 1), std::slice::from_ref(&deletion)), Some(gate_of(GateReason::Deleted)));
        assert_eq!(gated(&version(NOW - 1), &[deletion, vanish]), Some(gate_of(GateReason::Vanished)));
        assert_eq!(gated(&version(NOW - 1), &[version(NOW)]), Some(Outcome::Superseded));
        assert_eq!(gated(&event_by(2, 30617, NOW - 1, &[&["d", "x"]]), &[version(NOW)]), None);
    }

    #[test]
    fn the_length_of_an_event_has_a_bound() {
        let (event, tombstones) = (event(1621, NOW, &[]), Tombstones::new(Vec::new()));
        for (bytes, outcome) in [(256 * 1024, None), (256 * 1024 + 1, Some(Outcome::Gated(GateReason::TooLarge)))] {
            let offered = AtTheGate { event: &event, bytes, from_private_peer: false };
            assert_eq!(gate(offered, &Limits::default(), &tombstones, at(NOW)), outcome);
        }
    }

    #[test]
    fn x5_the_tags_of_an_event_have_a_bound() {
        let tags = |count: usize| event(1621, NOW, &vec![&["t", "x"] as &[&str]; count]);
        assert_eq!(gated(&tags(MOST_TAGS), &[]), None);
        assert_eq!(gated(&tags(MOST_TAGS + 1), &[]), Some(Outcome::Gated(GateReason::TooLarge)));
    }

    #[test]
    fn home_s_own_document_narrows_what_is_offered() {
        let states = |stated: &Stated, event: &Event| {
            shut(AtTheGate { event, bytes: 500, from_private_peer: false }, &Limits::of(stated), at(NOW))
        };
        let base = Stated::default;
        let later = (NOW + 3600).to_string();
        let expiring = event(1621, NOW, &[&["expiration", &later]]);
        let long = crate::testing::event_with_content("é".repeat(200), NOW);
        let cases = [
            (Stated { max_message_length: Some(510), ..base() }, event(1621, NOW, &[]), None),
            (Stated { max_message_length: Some(509), ..base() }, event(1621, NOW, &[]), Some(GateReason::TooLarge)),
            (Stated { max_content_length: Some(200), ..base() }, long.clone(), None),
            (Stated { max_content_length: Some(199), ..base() }, long, Some(GateReason::TooLarge)),
            (Stated { oldest: Some(60), ..base() }, event(1621, NOW - 60, &[]), None),
            (Stated { oldest: Some(60), ..base() }, event(1621, NOW - 61, &[]), Some(GateReason::TooOld)),
            (Stated { newest: Some(60), ..base() }, event(1621, NOW + 61, &[]), Some(GateReason::Future)),
            (Stated { newest: Some(u64::MAX), ..base() }, event(1621, NOW + 90_000, &[]), Some(GateReason::Future)),
            (Stated { nips: vec![1, 40], ..base() }, expiring.clone(), None),
            (Stated { nips: vec![1, 11], ..base() }, expiring.clone(), Some(GateReason::Expiring)),
            (Stated { nips: vec![1, 11], ..base() }, event(1621, NOW, &[]), None),
            (base(), expiring, None),
        ];
        for (stated, event, reason) in cases {
            assert_eq!(states(&stated, &event), reason, "{stated:?}");
        }
        assert_eq!(Limits::of(&base()), Limits::default(), "what is not stated bounds nothing");
    }

    #[test]
    fn a_wrong_id_is_told_from_a_bad_signature() {
        let good = event(1621, NOW, &[]);
        assert_eq!(verify(&good), None);
        let mut other_words = good.clone();
        other_words.content = "other".to_owned();
        assert_eq!(verify(&other_words), Some(CopyFault::WrongId));
        let mut other_signature = good;
        other_signature.sig = event(1621, NOW - 1, &[]).sig;
        assert_eq!(verify(&other_signature), Some(CopyFault::BadSignature));
    }
}
