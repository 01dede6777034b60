//! Live subscriptions and their number (S14): how many a link has, when rebuilding them makes fewer.

use model::{Item, ItemKind, LinkView, LiveFilter, Resume};

use crate::filters;
use crate::rules::REFS_PER_FILTER;

/// One above the highest chunk number, and the items that have a place: each by repos, and by roots and participants.
pub type Crowd = ((u32, u32), (u64, u64));

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

/// One above the highest chunk number that `members` (repos, roots) would need without holes.
#[must_use]
pub fn dense_chunks(members: (u64, u64)) -> u32 {
    let chunks = |n: u64| u32::try_from(n.div_ceil(REFS_PER_FILTER.into())).unwrap_or(u32::MAX);
    chunks(members.0).saturating_add(chunks(members.1))
}

/// Items that have a place, as [`dense_chunks`] takes them. Participants begin behind the last full chunk of roots, for the two
/// never share one.
#[must_use]
pub fn members(repos: u64, roots: u64, participants: u64) -> (u64, u64) {
    if participants == 0 { (repos, roots) } else { (repos, roots.next_multiple_of(REFS_PER_FILTER.into()) + participants) }
}

/// S14: whether the link would pass `limit` with one more chunk, and rebuilding gives room.
///
/// Members leave chunks when their repo drops the upstream, so chunks grow holes; without holes a rebuild gains nothing.
#[must_use]
pub fn is_due(chunks: (u32, u32), members: (u64, u64), limit: usize) -> bool {
    live_count(chunks) + 3 > limit && dense_chunks(members) < chunks.0.max(chunks.1)
}

/// Whether a plan needs every covered item: to catch up a new link, or to rebuild its live filters, because chunks changed or
/// because fewer would do.
#[must_use]
pub fn needs_covered(link: &LinkView, rebuild: Option<u64>, (chunks, members): Crowd, limit: usize) -> bool {
    match link {
        LinkView::Down { .. } => false,
        LinkView::Up { opened: false, resume: Resume::CatchUp { .. }, .. } => true,
        LinkView::Up { .. } => rebuild.is_some() || is_due(chunks, members, limit),
    }
}

/// S14: new chunks without holes, in the order of the items: repos, roots, participants, then what stands alone. What is read
/// once has no place.
#[must_use]
pub fn rechunked(covered: impl IntoIterator<Item = Item>) -> Vec<(Item, u32)> {
    let mut items: Vec<Item> = covered.into_iter().filter(|item| item.kind() != ItemKind::Named).collect();
    items.sort_by_cached_key(|item| (filters::stands_alone(item), item.clone()));
    let mut placed: Vec<(Item, u32)> = Vec::with_capacity(items.len());
    let mut members = 0;
    for item in items {
        let chunk = match placed.last() {
            None => 0,
            Some((last, chunk)) => {
                let is_full = members == REFS_PER_FILTER || last.kind() != item.kind() || filters::stands_alone(&item);
                if is_full {
                    members = 0;
                }
                chunk + u32::from(is_full)
            }
        };
        members += 1;
        placed.push((item, chunk));
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{repo, root};

    #[test]
    fn s14_a_link_without_holes_is_not_rebuilt_however_many_subscriptions_it_has() {
        assert!(!is_due((12, 24), (1200, 1200), 70));
        assert!(is_due((12, 24), (1100, 1200), 70));
        assert!(!is_due((1, 2), (2, 2), 70));
    }

    #[test]
    fn s14_participants_fill_chunks_of_their_own() {
        assert_eq!(dense_chunks(members(150, 30, 0)), 3);
        assert_eq!(dense_chunks(members(150, 30, 1)), 4);
        assert_eq!(dense_chunks(members(150, 100, 101)), 5);
        let items = [root(1), Item::Participant(crate::testing::author()), Item::Named(crate::testing::id(1))];
        let chunks: Vec<u32> = rechunked(items).into_iter().map(|(_, chunk)| chunk).collect();
        assert_eq!(chunks, [0, 1], "what is read once has no place");
    }

    #[test]
    fn s14_chunks_of_repos_come_before_chunks_of_roots_and_what_stands_alone_has_its_own() {
        let long = repo(&"x".repeat(200));
        let items = (0..150).map(|n| repo(&format!("r{n:03}"))).chain((0..30).map(root)).chain([long.clone()]);
        let placed = rechunked(items);
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
