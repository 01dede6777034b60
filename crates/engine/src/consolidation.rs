//! Live subscriptions and their number (S14): how many a link has, when rebuilding them makes fewer.

use model::{Item, ItemKind, LinkView, LiveFilter, Resume, Slot};

use crate::filters;
use crate::room::Room;

/// The chunks of one upstream and what is in them: each pair by repos and by roots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowd {
    /// One above the highest chunk number in use.
    pub chunks: (u32, u32),
    /// Items that have a place.
    pub members: (u64, u64),
    /// Items of the largest chunk.
    pub largest: (u64, u64),
}

/// Live subscriptions of a link: layer 1, and three for each chunk. Repos and roots share one row of chunk numbers;
/// `chunks` is one above the highest number in use by each. Participants have a row of their own ([`for_deletions`]).
#[must_use]
pub fn live_count(chunks: (u32, u32)) -> usize {
    1 + 3 * chunks.0.max(chunks.1) as usize
}

/// Live subscriptions that are kept for deletions: one for each hundred participants, so two are the people of any project. A
/// relay that allows few has none to spare: there deletions are asked for in rotation, and what people say stays live.
#[must_use]
pub fn for_deletions(limit: usize) -> usize {
    limit / 35
}

/// Whether the live subscriptions of this chunk fit under the limit (I3). It depends on the number alone, so that what is
/// open on a link stays within the limit however chunks come and go.
#[must_use]
pub fn is_live(slot: Slot, limit: usize) -> bool {
    let chunk = slot.chunk as usize;
    if slot.family.items == ItemKind::Participant {
        return chunk < for_deletions(limit);
    }
    // Layer 1 takes one of them.
    3 * (chunk + 1) + for_deletions(limit) < limit
}

/// The filters that are open, and those that are asked for in rotation because there is no room for them (I3).
#[must_use]
pub fn parted(filters: Vec<LiveFilter>, limit: usize) -> (Vec<LiveFilter>, Vec<LiveFilter>) {
    filters.into_iter().partition(|filter| is_live(filter.slot, limit))
}

/// The lowest chunk that has no room under the limit.
#[must_use]
pub fn first_polled(limit: usize) -> u32 {
    u32::try_from(limit.saturating_sub(1 + for_deletions(limit)) / 3).unwrap_or(u32::MAX)
}

/// Items that one filter names: of repos, of roots.
pub type Refs = (usize, usize);

/// One above the highest chunk number that `members` (repos, roots) would need without holes.
#[must_use]
pub fn dense_chunks(members: (u64, u64), refs: Refs) -> u32 {
    let chunks = |n: u64, refs: usize| u32::try_from(n.div_ceil(refs.max(1) as u64)).unwrap_or(u32::MAX);
    chunks(members.0, refs.0).saturating_add(chunks(members.1, refs.1))
}

/// How many items the filters of a rebuilt link name: as few as are easy on the relay (S6, S7), and more only where there is no
/// room for that many filters.
#[must_use]
pub fn refs(members: (u64, u64), room: &Room, limit: usize) -> Refs {
    let few = (room.refs(ItemKind::Repo), room.refs(ItemKind::Root));
    let fits = live_count((dense_chunks(members, few), 0)) + for_deletions(limit) + 3 <= limit;
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
    let (live, top) = (live_count(chunks) + for_deletions(limit), chunks.0.max(chunks.1));
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

/// S14: new chunks without holes, in the order of the items: repos, then roots, then what stands alone. Participants stay where
/// they are.
#[must_use]
pub fn rechunked(covered: impl IntoIterator<Item = Item>, refs: Refs, room: &Room) -> Vec<(Item, u32)> {
    let mut items: Vec<Item> = covered.into_iter().filter(is_packed).collect();
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

fn is_packed(item: &Item) -> bool {
    match item.kind() {
        ItemKind::Repo | ItemKind::Root => true,
        ItemKind::Participant | ItemKind::Named => false,
    }
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
    fn s14_participants_stay_in_the_chunks_that_they_have() {
        let items = [root(1), Item::Participant(crate::testing::author()), Item::Named(crate::testing::id(1))];
        assert_eq!(rechunked(items, (100, 100), &Room::of(&Learned::default())), [(root(1), 0)]);
    }

    #[test]
    fn s14_chunks_of_repos_come_before_chunks_of_roots_and_what_stands_alone_has_its_own() {
        let long = repo(&"x".repeat(200));
        let items = (0..150).map(|n| repo(&format!("r{n:03}"))).chain((0..30).map(root)).chain([long.clone()]);
        let placed = rechunked(items, (100, 100), &Room::of(&Learned::default()));
        let sizes: Vec<usize> = (0..4).map(|chunk| placed.iter().filter(|(_, place)| *place == chunk).count()).collect();
        assert_eq!((sizes, placed.last()), (vec![100, 50, 30, 1], Some(&(long, 3))));
    }

    fn slot(items: ItemKind, chunk: u32) -> Slot {
        Slot { family: model::Family::of(items)[0], chunk }
    }

    #[test]
    fn i03_as_many_chunks_are_live_as_fit_beside_layer_1_and_deletions() {
        let live = |items, limit| (0..100).filter(|chunk| is_live(slot(items, *chunk), limit)).count();
        assert_eq!((live(ItemKind::Repo, 70), live(ItemKind::Participant, 70)), (22, 2));
        assert_eq!((live(ItemKind::Root, 20), live(ItemKind::Participant, 20)), (6, 0));
        assert_eq!((live(ItemKind::Root, 3), live(ItemKind::Participant, 3)), (0, 0));
        for limit in 1..80 {
            let open = 1 + 3 * live(ItemKind::Root, limit) + live(ItemKind::Participant, limit);
            assert!(open <= limit, "{open} of {limit}");
            assert_eq!(live(ItemKind::Root, limit), first_polled(limit) as usize, "{limit}");
        }
    }
}
