//! What an upstream has room for: how many live filters, how much one filter names, and so how its items are kept live.
//!
//! Owns: the limits of one upstream, read from what it states (hints) and what it has shown (facts, which win); the choice
//! between tail filters, larger ones, a broad one and polling. Never: what is open, what is asked for.

use std::fmt;

use model::{Item, ItemKind, Learned};

use crate::rules::REFS_PER_FILTER;

/// Where the relay limits subscriptions, this many are kept for history (L3).
pub const IN_RESERVE: usize = 3;
/// Bytes of one message that every relay known takes (protocol: limits seen).
const MESSAGE_BYTES: usize = 60_000;
/// A relay that states less than this (bytes) takes no filter of any use: a mistake.
const LEAST_MESSAGE_BYTES: usize = 1_000;
/// What a REQ holds beside the values that it names (bytes).
const ENVELOPE_BYTES: usize = 200;
/// What one value of a filter takes (bytes), quotes and comma included: an address with a short identifier, an id.
const ADDRESS_BYTES: usize = 105;
const ID_BYTES: usize = 67;
/// The negentropy library's least frame (bytes).
const LEAST_EXCHANGE_BYTES: u64 = 4_096;
/// The page that relays are asked for at most, whatever they state: one that they and we can take at once.
const LARGEST_PAGE: usize = 1_000;

/// The limits of one upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Live subscriptions that it allows, our reserve taken off; none where it neither states nor showed a limit.
    pub live: Option<usize>,
    /// Values that one filter may name at most.
    refs: usize,
    /// Bytes of one message.
    pub bytes: usize,
    stated_bytes: Option<usize>,
    /// GRASP peers hold NIP-34 material and little else, so that a filter by kinds is no burden to either side.
    pub is_grasp: bool,
}

impl Room {
    /// What `learned` says. What is missing, or absurd, is as if it had not been said.
    #[must_use]
    pub fn of(learned: &Learned) -> Self {
        let stated = learned.stated.as_ref();
        let hinted = stated.and_then(|stated| stated.max_subscriptions).filter(|most| *most > IN_RESERVE);
        let bytes = stated.and_then(|stated| stated.max_message_length).filter(|most| *most >= LEAST_MESSAGE_BYTES);
        Self {
            live: learned.live_limit.or(hinted.map(|most| most - IN_RESERVE)),
            refs: learned.refs_per_filter.unwrap_or(REFS_AT_MOST),
            bytes: bytes.map_or(MESSAGE_BYTES, |most| (most - most / 10).min(MESSAGE_BYTES)),
            stated_bytes: bytes,
            is_grasp: stated.is_some_and(|stated| !stated.grasps.is_empty()),
        }
    }

    /// Live subscriptions by items and layer 1, where our own limit is `most`. On a GRASP peer one is left for the broad filter.
    #[must_use]
    pub fn live_limit(&self, most: usize) -> usize {
        let limit = self.live.unwrap_or(usize::MAX).min(most);
        if self.is_grasp { limit.saturating_sub(1).max(1) } else { limit }
    }

    /// Items of `kind` that one filter names while there is room for many filters (S6, S7).
    #[must_use]
    pub fn refs(&self, kind: ItemKind) -> usize {
        self.most_refs(kind).min(REFS_PER_FILTER as usize)
    }

    /// The same where filters are to be few.
    #[must_use]
    pub fn most_refs(&self, kind: ItemKind) -> usize {
        let each = match kind {
            ItemKind::Repo => ADDRESS_BYTES,
            ItemKind::Root | ItemKind::Participant | ItemKind::Named => ID_BYTES,
        };
        self.refs.min(self.value_bytes() / each).max(1)
    }

    /// Ids that one request may name.
    #[must_use]
    pub fn ids(&self) -> usize {
        (self.value_bytes() / ID_BYTES).max(1)
    }

    /// Bytes of one message of NIP-77, which are twice as many in hex. None where it takes too few for an exchange.
    #[must_use]
    pub fn exchange_bytes(&self) -> Option<u64> {
        let bytes = self.stated_bytes.map_or(MESSAGE_BYTES, |most| (most.saturating_sub(512) / 2).min(MESSAGE_BYTES));
        u64::try_from(bytes).ok().filter(|bytes| *bytes >= LEAST_EXCHANGE_BYTES)
    }

    /// Whether a filter that names `members` may name `one` as well, of at most `refs` in all.
    #[must_use]
    pub fn takes(&self, members: &[Item], one: &Item, refs: usize) -> bool {
        let bytes: usize = members.iter().chain([one]).map(value_bytes).sum();
        members.is_empty() || (members.len() < refs && bytes <= self.value_bytes())
    }

    fn value_bytes(&self) -> usize {
        self.bytes.saturating_sub(ENVELOPE_BYTES)
    }
}

/// Values that a filter names at most where there is no room for more filters (protocol: filter families).
pub const REFS_AT_MOST: usize = 300;

/// The value as JSON, its quotes and a comma.
fn value_bytes(item: &Item) -> usize {
    match item {
        Item::Root(_) | Item::Participant(_) | Item::Named(_) => ID_BYTES,
        Item::Repo(addr) => {
            let value = addr.to_string();
            let escape = |sign: char| if sign.is_control() { 5 } else { usize::from("\"\\".contains(sign)) };
            value.len() + value.chars().map(escape).sum::<usize>() + 3
        }
    }
}

/// Events of the pages that a relay is asked for, if it states how many it serves.
#[must_use]
pub fn page_limit(learned: &Learned) -> Option<usize> {
    let stated = learned.stated.as_ref().and_then(|stated| stated.max_limit).filter(|most| *most > 0);
    stated.map(|most| most.min(LARGEST_PAGE))
}

/// How the items of an upstream are kept live, in the order in which it is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrangement {
    /// Each chunk has filters of its own, at most 100 items each.
    Tails,
    /// The same with fewer, larger filters: with chunks of 100 there would be no room.
    Larger { refs: usize, limit: usize },
    /// The chunks from `first` on come with one filter by kinds, of which only what they name is kept.
    Broad { first: u32, last: u32, limit: usize },
    /// The chunks from `first` on are asked for in rotation.
    Polled { first: u32, last: u32, limit: usize },
}

impl Arrangement {
    /// Of so many chunks, the largest of `largest` items, where `limit` live subscriptions fit ([`Room::live_limit`]).
    #[must_use]
    pub fn of(chunks: u32, largest: u64, room: &Room, limit: usize) -> Self {
        let first = crate::consolidation::first_polled(limit);
        match chunks.checked_sub(1).filter(|last| *last >= first) {
            Some(last) if room.is_grasp => Self::Broad { first, last, limit },
            Some(last) => Self::Polled { first, last, limit },
            None if largest > u64::from(REFS_PER_FILTER) => {
                Self::Larger { refs: usize::try_from(largest).unwrap_or(usize::MAX), limit }
            }
            None => Self::Tails,
        }
    }
}

impl fmt::Display for Arrangement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tails => f.write_str("each chunk has live filters of its own"),
            Self::Larger { refs, limit } => {
                write!(f, "live filters name up to {refs} items: {limit} live subscriptions are allowed")
            }
            Self::Broad { first, last, limit } => {
                write!(f, "chunks {first} to {last} come with one filter by kinds: {limit} live subscriptions are allowed")
            }
            Self::Polled { first, last, limit } => {
                write!(f, "chunks {first} to {last} are polled: {limit} live subscriptions are allowed")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::Stated;

    use super::*;
    use crate::testing::{repo, root};

    fn stating(stated: Stated) -> Learned {
        Learned { stated: Some(stated), ..Learned::default() }
    }

    #[test]
    fn what_a_relay_states_is_where_we_start_and_what_it_showed_wins() {
        let hinted = stating(Stated { max_subscriptions: Some(20), ..Stated::default() });
        assert_eq!(Room::of(&hinted).live_limit(70), 17);
        assert_eq!(Room::of(&Learned { live_limit: Some(9), ..hinted.clone() }).live_limit(70), 9);
        assert_eq!(Room::of(&hinted).live_limit(10), 10);
        assert_eq!(Room::of(&Learned::default()).live_limit(70), 70);
    }

    #[test]
    fn what_is_absurd_is_as_if_it_had_not_been_said() {
        for most in [0, 1, 3] {
            let learned =
                stating(Stated { max_subscriptions: Some(most), max_message_length: Some(most), ..Stated::default() });
            assert_eq!(Room::of(&learned), Room::of(&Learned::default()), "{most}");
            let limited = stating(Stated { max_limit: Some(0), ..Stated::default() });
            assert_eq!((page_limit(&limited), page_limit(&learned)), (None, None));
        }
        let huge = stating(Stated {
            max_subscriptions: Some(usize::MAX),
            max_message_length: Some(usize::MAX),
            max_limit: Some(usize::MAX),
            ..Stated::default()
        });
        let room = Room::of(&huge);
        assert_eq!((room.live_limit(70), room.bytes, page_limit(&huge)), (70, MESSAGE_BYTES, Some(LARGEST_PAGE)));
    }

    #[test]
    fn a_relay_that_takes_10_000_bytes_is_sent_less_than_9_000_of_values_of_any_kind() {
        let room = Room::of(&stating(Stated { max_message_length: Some(10_000), ..Stated::default() }));
        for kind in [ItemKind::Repo, ItemKind::Root] {
            let item = |n: usize| match kind {
                ItemKind::Repo => repo(&format!("some-repository-{n}")),
                ItemKind::Root | ItemKind::Participant | ItemKind::Named => root(u32::try_from(n).expect("small")),
            };
            let mut members = Vec::new();
            while room.takes(&members, &item(members.len()), room.most_refs(kind)) {
                members.push(item(members.len()));
            }
            let filter = crate::filters::by_family(model::Family::of(kind)[0], &members);
            let bytes = serde_json::to_string(&("REQ", "s1234", filter)).expect("JSON").len();
            assert!(members.len() > 70 && bytes < 9_000, "{} {kind:?}, {bytes} bytes", members.len());
        }
    }

    #[test]
    fn long_identifiers_fill_a_filter_by_their_bytes() {
        let room = Room::of(&Learned::default());
        let long = |n: usize| repo(&format!("{}{n:03}", "\"".repeat(170)));
        let mut members = Vec::new();
        while room.takes(&members, &long(members.len()), REFS_AT_MOST) {
            members.push(long(members.len()));
        }
        let filter = crate::filters::by_family(model::Family::of(ItemKind::Repo)[0], &members);
        let bytes = serde_json::to_string(&("REQ", "s1234", filter)).expect("JSON").len();
        assert!(members.len() > 100 && members.len() < REFS_AT_MOST && bytes < MESSAGE_BYTES, "{} {bytes}", members.len());
    }

    #[test]
    fn what_has_no_room_comes_with_a_broad_filter_on_a_grasp_peer_and_is_polled_elsewhere() {
        let (plain, grasp) = (
            Room::of(&Learned::default()),
            Room::of(&stating(Stated { grasps: vec!["GRASP-01".into()], ..Stated::default() })),
        );
        assert_eq!(Arrangement::of(5, 100, &plain, 16), Arrangement::Tails);
        assert_eq!(Arrangement::of(5, 300, &plain, 16), Arrangement::Larger { refs: 300, limit: 16 });
        assert_eq!(Arrangement::of(9, 300, &plain, 16), Arrangement::Polled { first: 5, last: 8, limit: 16 });
        assert_eq!(Arrangement::of(9, 300, &grasp, 16), Arrangement::Broad { first: 5, last: 8, limit: 16 });
        assert_eq!(Arrangement::of(0, 0, &grasp, 1), Arrangement::Tails);
        assert_eq!(grasp.live_limit(17), 16, "one is left for the broad filter");
    }
}
