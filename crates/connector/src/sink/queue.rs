//! What waits for home, in write order: announcements, the newest first, then states and roots, then the rest, as they came;
//! of the latter two each upstream has its turn, so that one with thousands of events holds up none with a single one.
//!
//! What depends comes after: no link is given an event of a later rank while another link has one of an earlier rank under
//! way.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::{Event, EventId, Outcome, Timestamp, UpstreamId, kinds};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::rate::Rate;

/// Announcements, states and roots, the rest.
const RANKS: usize = 3;

/// Upstreams whose last turn is remembered; beyond it those are forgotten whose turn is over.
const REMEMBERED: usize = 4_096;

/// Announcements by their time, the newest first; the others by turns; what is left, as it came.
type Order = (Reverse<Timestamp>, u64, u64);

/// Called once, with the outcome and home's own words.
pub(crate) type Done = Box<dyn FnOnce(Outcome, &str) + Send>;

pub(super) struct Offer {
    pub(super) id: EventId,
    pub(super) json: String,
    pub(super) tries: u8,
    pub(super) done: Done,
    pub(super) rank: usize,
    /// Within its rank: the lowest goes first.
    order: Order,
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
    ranks: [BTreeMap<Order, Offer>; RANKS],
    /// By link: how many of each rank are under way.
    flying: BTreeMap<usize, [usize; RANKS]>,
    offered: u64,
    /// The last turn that was written, and the last that each upstream has taken.
    turn: u64,
    turns: HashMap<UpstreamId, u64>,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { inner: Mutex::default(), news: watch::Sender::new(()), rate: Rate::new() }
    }

    /// For one link: changes when there may be something to write.
    pub(super) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    pub(super) fn put(&self, from: UpstreamId, event: &Event, (json, done): (String, Done), place: OwnedSemaphorePermit) {
        let rank = rank(event);
        let at = if rank == 0 { event.created_at } else { Timestamp::from_secs(0) };
        let mut inner = self.lock();
        inner.offered += 1;
        let turn = if rank == 0 { 0 } else { inner.next_turn(from) };
        let order = (Reverse(at), turn, inner.offered);
        // Where others of its rank wait, every link with room knows of them, or is not to have them yet.
        let is_news = inner.ranks[rank].is_empty();
        inner.ranks[rank].insert(order, Offer { id: event.id, json, tries: 0, done, rank, order, _place: place });
        drop(inner);
        if is_news {
            self.news.send_replace(());
        }
    }

    /// The next one for `link`; it is under way until it has [landed](Queue::landed) or is [put back](Queue::put_back).
    pub(super) fn pop(&self, link: usize) -> Option<Offer> {
        let mut inner = self.lock();
        for rank in 0..RANKS {
            if let Some((_, offer)) = inner.ranks[rank].pop_first() {
                inner.flying.entry(link).or_default()[rank] += 1;
                inner.turn = inner.turn.max(offer.order.1);
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
        let is_news = inner.frees_others(link, rank);
        drop(inner);
        if is_news {
            self.news.send_replace(());
        }
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
    /// One after its last, and none before what is written now.
    fn next_turn(&mut self, from: UpstreamId) -> u64 {
        let now = self.turn;
        if self.turns.len() >= REMEMBERED {
            self.turns.retain(|_, turn| *turn > now);
        }
        let turn = self.turns.entry(from).or_default();
        *turn = now.max(*turn + 1);
        *turn
    }

    /// Whether other links waited for the last one of this rank on `link`.
    fn frees_others(&self, link: usize, rank: usize) -> bool {
        let is_under_way = self.flying.get(&link).is_some_and(|flying| flying[rank] > 0);
        !is_under_way && self.ranks[rank + 1..].iter().any(|waiting| !waiting.is_empty())
    }

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use nostr::prelude::{EventBuilder, FinalizeEvent, Keys, Kind};
    use tokio::sync::Semaphore;

    use super::*;

    fn put(queue: &Queue, places: &Arc<Semaphore>, from: i64, kind: u16, at: u64) -> EventId {
        let event = EventBuilder::new(Kind::Custom(kind), "").custom_created_at(Timestamp::from_secs(at));
        let event = event.finalize(&Keys::generate()).unwrap();
        let place = Arc::clone(places).try_acquire_owned().unwrap();
        queue.put(UpstreamId(from), &event, (String::new(), Box::new(|_, _| {})), place);
        event.id
    }

    fn written(queue: &Queue) -> Vec<EventId> {
        std::iter::from_fn(|| {
            let offer = queue.pop(0)?;
            queue.landed(0, offer.rank);
            Some(offer.id)
        })
        .collect()
    }

    #[test]
    fn x5_an_upstream_with_thousands_of_events_holds_up_none_with_a_single_one() {
        let (queue, places) = (Queue::new(), Arc::new(Semaphore::new(10_000)));
        let flood: Vec<EventId> = (0..2_000).map(|n| put(&queue, &places, 1, 1111, n)).collect();
        let single = put(&queue, &places, 2, 1111, 0);
        let few: Vec<EventId> = (0..3).map(|n| put(&queue, &places, 3, 1111, n)).collect();
        let order = written(&queue);
        let place = |id: &EventId| order.iter().position(|one| one == id).unwrap();
        assert!(place(&single) < 5, "{}", place(&single));
        assert!(place(&few[2]) < 10, "{}", place(&few[2]));
        let of_flood: Vec<EventId> = order.iter().copied().filter(|id| flood.contains(id)).collect();
        assert_eq!(of_flood, flood, "each upstream's own come as they came");
        // Who was silent meanwhile has saved nothing up, and who flooded is not punished for it.
        let late = put(&queue, &places, 1, 1111, 0);
        let others: Vec<EventId> = (0..3).map(|n| put(&queue, &places, 2, 1111, n)).collect();
        assert!(written(&queue)[..2].contains(&late), "{others:?}");
    }
}
