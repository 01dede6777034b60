//! What waits for home, in write order: announcements, the newest first, then states and roots, then the rest, as they came.
//!
//! What depends comes after: no link is given an event of a later rank while another link has one of an earlier rank under
//! way.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::{Event, EventId, Outcome, Timestamp, kinds};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::rate::Rate;

/// Announcements, states and roots, the rest.
const RANKS: usize = 3;

/// Called once, with the outcome and home's own words.
pub(crate) type Done = Box<dyn FnOnce(Outcome, &str) + Send>;

pub(super) struct Offer {
    pub(super) id: EventId,
    pub(super) json: String,
    pub(super) tries: u8,
    pub(super) done: Done,
    pub(super) rank: usize,
    /// Within its rank: the lowest goes first.
    order: (Reverse<Timestamp>, u64),
    _place: OwnedSemaphorePermit,
}

pub(super) struct Queue {
    inner: Mutex<Inner>,
    /// Something came, or landed: links look again.
    news: watch::Sender<()>,
    pub(super) rate: Rate,
}

#[derive(Default)]
struct Inner {
    ranks: [BTreeMap<(Reverse<Timestamp>, u64), Offer>; RANKS],
    /// By link: how many of each rank are under way.
    flying: BTreeMap<usize, [usize; RANKS]>,
    offered: u64,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { inner: Mutex::default(), news: watch::Sender::new(()), rate: Rate::new() }
    }

    /// For one link: changes when there may be something to write.
    pub(super) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    pub(super) fn put(&self, event: &Event, json: String, done: Done, place: OwnedSemaphorePermit) {
        let rank = rank(event);
        let at = if rank == 0 { event.created_at } else { Timestamp::from_secs(0) };
        let mut inner = self.lock();
        inner.offered += 1;
        let order = (Reverse(at), inner.offered);
        inner.ranks[rank].insert(order, Offer { id: event.id, json, tries: 0, done, rank, order, _place: place });
        drop(inner);
        self.news.send_replace(());
    }

    /// The next one for `link`; it is under way until it has [landed](Queue::landed) or is [put back](Queue::put_back).
    pub(super) fn pop(&self, link: usize) -> Option<Offer> {
        let mut inner = self.lock();
        for rank in 0..RANKS {
            if let Some((_, offer)) = inner.ranks[rank].pop_first() {
                inner.flying.entry(link).or_default()[rank] += 1;
                return Some(offer);
            }
            if inner.flying.iter().any(|(other, flying)| *other != link && flying[rank] > 0) {
                return None;
            }
        }
        None
    }

    /// An event of this rank has its outcome.
    pub(super) fn landed(&self, link: usize, rank: usize) {
        self.rate.landed();
        let mut inner = self.lock();
        inner.land(link, rank);
        drop(inner);
        self.news.send_replace(());
    }

    /// To be offered again, in its old place.
    pub(super) fn put_back(&self, link: usize, offer: Offer) {
        let mut inner = self.lock();
        inner.land(link, offer.rank);
        inner.ranks[offer.rank].insert(offer.order, offer);
        drop(inner);
        self.news.send_replace(());
    }

    /// Entries are changed in single steps, so a panic elsewhere cannot have left them half-written.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn land(&mut self, link: usize, rank: usize) {
        if let Some(flying) = self.flying.get_mut(&link) {
            flying[rank] = flying[rank].saturating_sub(1);
        }
    }
}

fn rank(event: &Event) -> usize {
    if event.kind == kinds::ANNOUNCEMENT {
        0
    } else if event.kind == kinds::STATE || kinds::is_root(event.kind) {
        1
    } else {
        2
    }
}
