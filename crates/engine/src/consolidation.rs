//! Live subscriptions and their number (S14): how many a link has, when rebuilding them makes fewer.

use model::{Item, ItemKind, LinkView, LiveFilter, Resume, Slot};

use crate::filters;
use crate::rules::REFS_PER_FILTER;

/// One above the highest chunk number, and the items that have a place: each by repos and by roots.
pub type Crowd = ((u32, u32), (u64, u64));

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

/// One above the highest chunk number that `members` (repos, roots) would need without holes.
#[must_use]
pub fn dense_chunks(members: (u64, u64)) -> u32 {
    let chunks = |n: u64| u32::try_from(n.div_ceil(REFS_PER_FILTER.into())).unwrap_or(u32::MAX);
    chunks(members.0).saturating_add(chunks(members.1))
}

/// S14: whether the link would pass `limit` with one more chunk, and rebuilding gives room.
///
/// Members leave chunks when their repo drops the upstream, so chunks grow holes; without holes a rebuild gains nothing.
#[must_use]
pub fn is_due(chunks: (u32, u32), members: (u64, u64), limit: usize) -> bool {
    live_count(chunks) + 3 + for_deletions(limit) > limit && dense_chunks(members) < chunks.0.max(chunks.1)
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

/// S14: new chunks without holes, in the order of the items: repos, then roots, then what stands alone. Participants stay where
/// they are.
#[must_use]
pub fn rechunked(covered: impl IntoIterator<Item = Item>) -> Vec<(Item, u32)> {
    let mut items: Vec<Item> = covered.into_iter().filter(is_packed).collect();
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

fn is_packed(item: &Item) -> bool {
    match item.kind() {
        ItemKind::Repo | ItemKind::Root => true,
        ItemKind::Participant | ItemKind::Named => false,
    }
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
    fn s14_participants_stay_in_the_chunks_that_they_have() {
        let items = [root(1), Item::Participant(crate::testing::author()), Item::Named(crate::testing::id(1))];
        assert_eq!(rechunked(items), [(root(1), 0)]);
    }

    #[test]
    fn s14_chunks_of_repos_come_before_chunks_of_roots_and_what_stands_alone_has_its_own() {
        let long = repo(&"x".repeat(200));
        let items = (0..150).map(|n| repo(&format!("r{n:03}"))).chain((0..30).map(root)).chain([long.clone()]);
        let placed = rechunked(items);
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
