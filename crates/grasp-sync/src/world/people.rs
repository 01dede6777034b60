//! Chance without randomness, the keys of the participants, and signatures that repeat.

use nostr::event::{Event, EventId, Kind, Signature, Tag, Tags};
use nostr::key::{Keys, SecretKey};
use nostr::types::Timestamp;

use super::draft::Draft;

/// A stream of numbers that depends on its seed only (SplitMix64).
#[derive(Debug, Clone)]
pub(super) struct Dice {
    state: u64,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 when `end` is 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.roll().checked_rem(end).unwrap_or(0)
    }

    /// An index into something of this length; 0 when it is empty.
    pub(super) fn index(&mut self, length: usize) -> usize {
        let end = u64::try_from(length).expect("a length in memory fits 64 bits");
        usize::try_from(self.below(end)).expect("less than a length in memory")
    }

    pub(super) fn is_within(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.index(of.len())]
    }

    /// `count` different ones of `of`, or all of them when there are fewer; in their order.
    pub(super) fn some_of(&mut self, of: &[usize], count: usize) -> Vec<usize> {
        let mut left = of.to_vec();
        while left.len() > count {
            let out = self.index(left.len());
            left.remove(out);
        }
        left
    }

    pub(super) fn hex(&mut self, digits: usize) -> String {
        let mut text = String::with_capacity(digits + 16);
        while text.len() < digits {
            text.push_str(&format!("{:016x}", self.roll()));
        }
        text.truncate(digits);
        text
    }
}

/// The next key pair of the stream.
pub(super) fn keys(dice: &mut Dice) -> Keys {
    loop {
        // Nearly every 32 bytes are a secret key; the few that are not are passed over.
        if let Ok(secret) = SecretKey::from_hex(&dice.hex(64)) {
            return Keys::new(secret);
        }
    }
}

type Sign = dyn Fn(&Keys, &EventId) -> Signature;

/// Turns drafts into events. Without auxiliary randomness a signature depends on key and id only (BIP-340).
pub(super) struct Pen {
    sign: Box<Sign>,
}

impl Pen {
    pub(super) fn new() -> Self {
        // The only context with a default is the one that can sign and verify: it needs no name here.
        let context = Default::default();
        Self { sign: Box::new(move |keys, id| keys.sign_schnorr_with_aux_rand(&context, id.as_bytes(), &[0; 32])) }
    }

    pub(super) fn write(&self, keys: &Keys, draft: Draft) -> Event {
        let tags = draft.tags.into_iter().map(|tag| Tag::parse(tag).expect("a drafted tag has a name"));
        let tags = Tags::from_list(tags.collect());
        let (at, kind) = (Timestamp::from_secs(draft.at), Kind::from_u16(draft.kind));
        let id = EventId::compute(&keys.public_key(), &at, &kind, &tags, &draft.content);
        let signature = (self.sign)(keys, &id);
        Event::new(id, keys.public_key(), at, kind, tags.to_vec(), draft.content, signature)
    }
}
