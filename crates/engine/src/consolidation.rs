//! Live subscriptions and their number (S14): how many a link has, when rebuilding them makes fewer.

use model::{Item, ItemKind, LinkView, Resume};

use crate::rules::REFS_PER_FILTER;

/// Live subscriptions of a link: layer 1, and three for each chunk of repos and each chunk of roots.
#[must_use]
pub fn live_count(chunks: (u32, u32)) -> usize {
    1 + 3 * (chunks.0 as usize + chunks.1 as usize)
}

/// Chunks that `members` (repos, roots) would fill without holes.
#[must_use]
pub fn dense_chunks(members: (u64, u64)) -> (u32, u32) {
    let chunks = |n: u64| u32::try_from(n.div_ceil(REFS_PER_FILTER.into())).unwrap_or(u32::MAX);
    (chunks(members.0), chunks(members.1))
}

/// S14: whether the link would pass `limit` with one more chunk, and rebuilding gives room.
///
/// Members leave chunks when their repo drops the upstream, so chunks grow holes; without holes a rebuild gains nothing.
#[must_use]
pub fn is_due(chunks: (u32, u32), members: (u64, u64), limit: usize) -> bool {
    live_count(chunks) + 3 > limit && live_count(dense_chunks(members)) < live_count(chunks)
}

/// Whether a plan needs every covered item: to catch up a new link, or to rebuild its live filters.
#[must_use]
pub fn needs_covered(link: &LinkView, chunks: (u32, u32), members: (u64, u64), limit: usize) -> bool {
    match link {
        LinkView::Down { .. } => false,
        LinkView::Up { opened: false, resume: Resume::CatchUp { .. }, .. } => true,
        LinkView::Up { .. } => is_due(chunks, members, limit),
    }
}

/// S14: new chunks without holes, in the order of the items.
#[must_use]
pub fn rechunked(covered: impl IntoIterator<Item = Item>) -> Vec<(Item, u32)> {
    let mut items: Vec<Item> = covered.into_iter().collect();
    items.sort();
    let mut placed = (0_u32, 0_u32);
    items
        .into_iter()
        .map(|item| {
            let place = match item.kind() {
                ItemKind::Repo => &mut placed.0,
                ItemKind::Root => &mut placed.1,
            };
            let chunk = *place / REFS_PER_FILTER;
            *place += 1;
            (item, chunk)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s14_a_link_without_holes_is_not_rebuilt_however_many_subscriptions_it_has() {
        assert!(!is_due((12, 12), (1200, 1200), 70));
        assert!(is_due((12, 12), (1100, 1200), 70));
        assert!(!is_due((2, 2), (2, 2), 70));
    }
}
