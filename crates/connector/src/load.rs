//! What events on their way home weigh, and how many ids exchanges have named: for each link, and over all links of a process.
//! Many links that are each within their bound are not to be more than the machine has.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of one link.
const OF_A_LINK: usize = 16 * 1024 * 1024;
/// Bytes of all links together; beyond it each may still have a little, so that no link waits for another one.
const OF_ALL: usize = 256 * 1024 * 1024;
const A_LITTLE: usize = 256 * 1024;

/// Ids that relays have named to all links together, about 80 bytes each; beyond it each may still have some.
const IDS_OF_ALL: usize = 1_000_000;
const SOME_IDS: usize = 5_000;

#[derive(Debug, Clone, Default)]
pub(crate) struct Load(Arc<AtomicUsize>);

/// The part of one link; given back with it.
#[derive(Debug)]
pub(crate) struct Share {
    all: Load,
    own: usize,
}

/// Ids that the exchanges of all links keep.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ids(Load);

/// Those of one link; given back with it.
#[derive(Debug)]
pub(crate) struct Named(Share);

impl Ids {
    pub(crate) fn of_a_link(&self) -> Named {
        Named(self.0.share())
    }
}

impl Named {
    /// So many are kept now; whether there is room for them.
    pub(crate) fn are(&mut self, ids: usize) -> bool {
        match ids.checked_sub(self.0.own) {
            Some(more) => self.0.add(more),
            None => self.0.give_back(self.0.own - ids),
        }
        ids <= SOME_IDS || self.0.all.sum() <= IDS_OF_ALL
    }
}

impl Load {
    /// Of all links together.
    pub(crate) fn sum(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn share(&self) -> Share {
        Share { all: self.clone(), own: 0 }
    }
}

impl Share {
    pub(crate) fn has_room(&self) -> bool {
        self.own < A_LITTLE || (self.own < OF_A_LINK && self.all.sum() < OF_ALL)
    }

    pub(crate) fn add(&mut self, bytes: usize) {
        self.own += bytes;
        self.all.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn give_back(&mut self, bytes: usize) {
        self.own -= bytes;
        self.all.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.all.0.fetch_sub(self.own, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that these links take in before none has room, by events of so many bytes.
    fn taken(load: &Load, links: usize, event: usize) -> Vec<usize> {
        let mut shares: Vec<Share> = (0..links).map(|_| load.share()).collect();
        while let Some(share) = shares.iter_mut().filter(|share| share.has_room()).min_by_key(|share| share.own) {
            share.add(event);
        }
        shares.iter().map(|share| share.own).collect()
    }

    #[test]
    fn x5_ids_that_relays_name_have_a_bound_over_all_links_and_each_link_has_some() {
        let ids = Ids::default();
        let (mut one, mut other) = (ids.of_a_link(), ids.of_a_link());
        assert!(one.are(IDS_OF_ALL) && other.are(0));
        assert!(other.are(SOME_IDS), "an honest exchange goes on");
        assert!(!other.are(SOME_IDS + 1) && !one.are(IDS_OF_ALL));
        assert!(one.are(0) && other.are(IDS_OF_ALL));
        drop((one, other));
        assert_eq!(ids.0.sum(), 0, "links that end give back what they had");
    }

    #[test]
    fn x5_a_link_has_its_bound_and_all_together_have_theirs_and_nobody_goes_without() {
        let event = 64 * 1024;
        assert_eq!(taken(&Load::default(), 1, event), [OF_A_LINK]);
        let load = Load::default();
        let two_thousand = taken(&load, 2_000, event);
        assert!(two_thousand.iter().all(|own| *own >= A_LITTLE), "each goes on");
        assert!(two_thousand.iter().sum::<usize>() <= OF_ALL + 2_000 * (A_LITTLE + event));
        assert_eq!(load.0.load(Ordering::Relaxed), 0, "links that end give back what they had");
        let mut greedy = load.share();
        greedy.add(OF_ALL);
        let mut late = load.share();
        assert!(late.has_room() && !greedy.has_room());
        late.add(A_LITTLE);
        assert!(!late.has_room());
        greedy.give_back(OF_ALL);
        assert!(late.has_room() && greedy.has_room());
    }
}
