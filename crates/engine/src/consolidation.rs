//! Live subscriptions and their number (S14): how many a link has, when rebuilding them makes fewer.

use model::{Item, ItemKind, LinkView, LiveFilter, Resume};

use crate::filters;
use crate::room::Room;
use crate::rules::REFS_PER_FILTER;

/// The chunks of one upstream and what is in them: each pair by repos, and by roots and participants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowd {
    /// One above the highest chunk number in use.
    pub chunks: (u32, u32),
    /// Items that have a place.
    pub members: (u64, u64),
    /// Items of the largest chunk.
    pub largest: (u64, u64),
}

/// Live subscriptions of a link: layer 1, and three for each chunk. All kinds of items share one row of chunk numbers;
/// `chunks` is one above the highest number in use. A chunk of participants opens one subscription and is counted as three:
/// a number says alone what it may take (I3), and a hundred participants are many.
#[must_use]
pub fn live_count(chunks: (u32, u32)) -> usize {
    1 + 3 * chunks.0.max(chunks.1) as usize
}

/// Whether the live subscriptions of this chunk fit under the limit (I3). It depends on the number alone, so that what is
/// open on a link stays within the limit however chunks come and go.
#[must_use]
pub fn is_live(chunk: u32, limit: usize) -> bool {
    let above = 3 * (chunk as usize + 1);
    // Layer 1 takes one of them.
    above < limit
}

/// The filters that are open, and those that are asked for in rotation because there is no room for them (I3).
#[must_use]
pub fn parted(filters: Vec<LiveFilter>, limit: usize) -> (Vec<LiveFilter>, Vec<LiveFilter>) {
    filters.into_iter().partition(|filter| is_live(filter.slot.chunk, limit))
}

/// The lowest chunk that has no room under the limit.
#[must_use]
pub fn first_polled(limit: usize) -> u32 {
    u32::try_from(limit.saturating_sub(1) / 3).unwrap_or(u32::MAX)
}

/// Items that one filter names: of repos, of roots.
pub type Refs = (usize, usize);

/// One above the highest chunk number that `members` (repos, roots) would need without holes.
#[must_use]
pub fn dense_chunks(members: (u64, u64), refs: Refs) -> u32 {
    let chunks = |n: u64, refs: usize| u32::try_from(n.div_ceil(refs.max(1) as u64)).unwrap_or(u32::MAX);
    chunks(members.0, refs.0).saturating_add(chunks(members.1, refs.1))
}

/// Items that have a place, as [`dense_chunks`] takes them. Participants begin behind the last full chunk of roots, for the two
/// never share one.
#[must_use]
pub fn members(repos: u64, roots: u64, participants: u64) -> (u64, u64) {
    if participants == 0 { (repos, roots) } else { (repos, roots.next_multiple_of(REFS_PER_FILTER.into()) + participants) }
}

/// How many items the filters of a rebuilt link name: as few as are easy on the relay (S6, S7), and more only where there is no
/// room for that many filters.
#[must_use]
pub fn refs(members: (u64, u64), room: &Room, limit: usize) -> Refs {
    let few = (room.refs(ItemKind::Repo), room.refs(ItemKind::Root));
    let fits = live_count((dense_chunks(members, few), 0)) + 3 <= limit;
    if fits { few } else { (room.most_refs(ItemKind::Repo), room.most_refs(ItemKind::Root)) }
}

/// Whether a chunk holds more than the relay takes in one filter: it was learned or stated since.
#[must_use]
pub fn is_oversize(largest: (u64, u64), room: &Room) -> bool {
    let beyond = |largest: u64, kind| largest > room.most_refs(kind) as u64;
    beyond(largest.0, ItemKind::Repo) || beyond(largest.1, ItemKind::Root)
}

/// S14: whether the link would pass `limit` with one more chunk and has holes, or has passed it and larger chunks would be fewer;
/// or a chunk is too large.
///
/// Members leave chunks when their repo drops the upstream, so chunks grow holes. Where there are none, and chunks are as large
/// as they may be, a rebuild gains nothing.
#[must_use]
pub fn is_due(crowd: &Crowd, room: &Room, limit: usize) -> bool {
    let Crowd { chunks, members, largest } = *crowd;
    let (live, top) = (live_count(chunks), chunks.0.max(chunks.1));
    let gains = |refs: Refs| dense_chunks(members, refs) < top;
    let has_holes = || gains((room.refs(ItemKind::Repo), room.refs(ItemKind::Root)));
    let may_grow = || gains(refs(members, room, limit));
    is_oversize(largest, room) || (live + 3 > limit && has_holes()) || (live > limit && may_grow())
}

/// Whether a plan needs every covered item: to catch up a new link, or to rebuild its live filters, because chunks changed or
/// because fewer would do.
#[must_use]
pub fn needs_covered(link: &LinkView, rebuild: Option<u64>, crowd: &Crowd, room: &Room, limit: usize) -> bool {
    match link {
        LinkView::Down { .. } => false,
        LinkView::Up { opened: false, resume: Resume::CatchUp { .. }, .. } => true,
        LinkView::Up { .. } => rebuild.is_some() || is_due(crowd, room, limit),
    }
}

/// S14: new chunks without holes, in the order of the items: repos, roots, participants, then what stands alone. What is read
/// once has no place.
#[must_use]
pub fn rechunked(covered: impl IntoIterator<Item = Item>, refs: Refs, room: &Room) -> Vec<(Item, u32)> {
    let mut items: Vec<Item> = covered.into_iter().filter(|item| item.kind() != ItemKind::Named).collect();
    items.sort_by_cached_key(|item| (filters::stands_alone(item), item.clone()));
    let mut placed: Vec<(Item, u32)> = Vec::with_capacity(items.len());
    let mut members: Vec<Item> = Vec::new();
    let mut chunk = 0;
    for item in items {
        let most = if item.kind() == ItemKind::Repo { refs.0 } else { refs.1 };
        let is_other =
            |first: &Item| first.kind() != item.kind() || filters::stands_alone(&item) || filters::stands_alone(first);
        if members.first().is_some_and(is_other) || !room.takes(&members, &item, most) {
            chunk += 1;
            members.clear();
        }
        members.push(item.clone());
        placed.push((item, chunk));
    }
    placed
}

#[cfg(test)]
mod tests {
    use model::Learned;

    use super::*;
    use crate::testing::{repo, root};

    #[test]
    fn s14_a_link_without_holes_is_not_rebuilt_however_many_subscriptions_it_has() {
        let room = Room::of(&Learned { refs_per_filter: Some(100), ..Learned::default() });
        let is_due = |chunks, members| is_due(&Crowd { chunks, members, largest: (100, 100) }, &room, 70);
        assert!(!is_due((12, 24), (1200, 1200)));
        assert!(is_due((12, 24), (1100, 1200)));
        assert!(!is_due((1, 2), (2, 2)));
    }

    #[test]
    fn s14_where_full_chunks_leave_no_room_larger_ones_are_made() {
        let room = Room::of(&Learned::default());
        let full = |chunks, members, largest| Crowd { chunks, members, largest };
        assert!(is_due(&full((12, 24), (1200, 1200), (100, 100)), &room, 70));
        assert_eq!(refs((1200, 1200), &room, 70), (300, 300));
        assert_eq!(refs((1100, 1000), &room, 70), (100, 100), "22 chunks have room");
        assert!(!is_due(&full((12, 23), (3600, 3300), (300, 300)), &room, 70), "they are as large as they may be");
    }

    #[test]
    fn a_chunk_of_more_than_the_relay_takes_is_made_anew_once() {
        let refuses = Room::of(&Learned { refs_per_filter: Some(100), ..Learned::default() });
        let stated = model::Stated { max_message_length: Some(10_000), ..model::Stated::default() };
        let small = Room::of(&Learned { stated: Some(stated), ..Learned::default() });
        for room in [refuses, small] {
            let is_due = |largest| is_due(&Crowd { chunks: (1, 0), members: (270, 0), largest: (largest, 0) }, &room, 70);
            assert!(is_due(270));
            let placed =
                rechunked((0..270).map(|n| repo(&format!("some-repository-{n:03}"))), refs((270, 0), &room, 70), &room);
            let largest = (0..10).map(|chunk| placed.iter().filter(|(_, place)| *place == chunk).count()).max();
            assert!(!is_due(largest.expect("there are some") as u64), "{largest:?}");
        }
    }

    #[test]
    fn s14_participants_fill_chunks_of_their_own() {
        assert_eq!(dense_chunks(members(150, 30, 0), (100, 100)), 3);
        assert_eq!(dense_chunks(members(150, 30, 1), (100, 100)), 4);
        assert_eq!(dense_chunks(members(150, 100, 101), (100, 100)), 5);
        let items = [root(1), Item::Participant(crate::testing::author()), Item::Named(crate::testing::id(1))];
        let chunks: Vec<u32> =
            rechunked(items, (100, 100), &Room::of(&Learned::default())).into_iter().map(|(_, chunk)| chunk).collect();
        assert_eq!(chunks, [0, 1], "what is read once has no place");
    }

    #[test]
    fn s14_chunks_of_repos_come_before_chunks_of_roots_and_what_stands_alone_has_its_own() {
        let long = repo(&"x".repeat(200));
        let items = (0..150).map(|n| repo(&format!("r{n:03}"))).chain((0..30).map(root)).chain([long.clone()]);
        let placed = rechunked(items, (100, 100), &Room::of(&Learned::default()));
        let sizes: Vec<usize> = (0..4).map(|chunk| placed.iter().filter(|(_, place)| *place == chunk).count()).collect();
        assert_eq!((sizes, placed.last()), (vec![100, 50, 30, 1], Some(&(long, 3))));
    }

    #[test]
    fn i03_as_many_chunks_are_live_as_fit_beside_layer_1() {
        assert_eq!((0..100).filter(|chunk| is_live(*chunk, 70)).count(), 23);
        assert_eq!((0..100).filter(|chunk| is_live(*chunk, 3)).count(), 0);
        for limit in 0..80 {
            assert_eq!((0..100).find(|chunk| !is_live(*chunk, limit)), Some(first_polled(limit)), "{limit}");
        }
    }
}
