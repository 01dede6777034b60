//! What an upstream has room for: how many live filters, how much one filter names, and so how its items are kept live.
//!
//! Owns: the limits of one upstream, read from what it states (hints) and what it has shown (facts, which win); the choice
//! between tail filters, larger ones, a broad one and polling. Never: what is open, what is asked for.

use model::{Arrangement, Item, ItemKind, Learned, LimitFrom, LiveBudget};

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

    /// How so many chunks, the largest of `largest` items, are kept live where `limit` live subscriptions fit
    /// ([`Self::live_limit`]).
    #[must_use]
    pub fn arranged(&self, chunks: u32, largest: u64, limit: usize) -> Arrangement {
        let first = crate::consolidation::first_polled(limit);
        match chunks.checked_sub(1).filter(|last| *last >= first) {
            Some(last) if self.is_grasp => Arrangement::Broad { first, last, limit },
            Some(last) => Arrangement::Polled { first, last, limit },
            None if largest > u64::from(REFS_PER_FILTER) => {
                Arrangement::Larger { refs: usize::try_from(largest).unwrap_or(usize::MAX), limit }
            }
            None => Arrangement::Tails,
        }
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

/// The budget of a link to a relay of which this is `learned`, where our own limit is `most`, and what it makes of so many chunks.
#[must_use]
pub fn budget(learned: &Learned, most: usize, chunks: u32, largest: u64) -> LiveBudget {
    let room = Room::of(learned);
    let live = room.live_limit(most);
    let theirs = room.live.filter(|limit| *limit <= most);
    let from = match (theirs, learned.live_limit) {
        (None, _) => LimitFrom::Ours,
        (Some(_), Some(_)) => LimitFrom::Shown(learned.live_limit_by),
        (Some(_), None) => LimitFrom::Stated,
    };
    let reserve = if from == LimitFrom::Ours { 0 } else { IN_RESERVE };
    LiveBudget { live, reserve, from, largest, arranged: room.arranged(chunks, largest, live) }
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
    fn a_budget_says_whose_word_it_is_and_what_it_makes_of_the_chunks() {
        use model::LimitShown::{Closed, Notice, Silence};
        let stated = stating(Stated { max_subscriptions: Some(20), ..Stated::default() });
        let of = |learned: &Learned, most| {
            let LiveBudget { live, reserve, from, .. } = budget(learned, most, 9, 100);
            (live, reserve, from)
        };
        assert_eq!(of(&Learned::default(), 70), (70, 0, LimitFrom::Ours));
        assert_eq!(of(&stated, 70), (17, 3, LimitFrom::Stated));
        assert_eq!(of(&stated, 10), (10, 0, LimitFrom::Ours), "ours is the smaller one");
        for by in [None, Some(Closed), Some(Notice), Some(Silence)] {
            let shown = Learned { live_limit: Some(9), live_limit_by: by, ..stated.clone() };
            assert_eq!(of(&shown, 70), (9, 3, LimitFrom::Shown(by)));
            assert_eq!(budget(&shown, 70, 9, 100).arranged, Arrangement::Polled { first: 2, last: 8, limit: 9 });
        }
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
        assert_eq!(plain.arranged(5, 100, 16), Arrangement::Tails);
        assert_eq!(plain.arranged(5, 300, 16), Arrangement::Larger { refs: 300, limit: 16 });
        assert_eq!(plain.arranged(9, 300, 16), Arrangement::Polled { first: 5, last: 8, limit: 16 });
        assert_eq!(grasp.arranged(9, 300, 16), Arrangement::Broad { first: 5, last: 8, limit: 16 });
        assert_eq!(grasp.arranged(0, 0, 1), Arrangement::Tails);
        assert_eq!(grasp.live_limit(17), 16, "one is left for the broad filter");
    }
}
