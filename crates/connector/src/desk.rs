//! What the sessions of one process know of each other's events: which ids one of them fetches, which are on their way home, which
//! arrived lately.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{Epoch, EventId, Timestamp, UpstreamId};
use tokio::time::Instant;

/// Ids kept after their outcome, at most so many and for so long: longer than any ledger write waits. What the ledger forgets
/// later is not to be remembered here.
const RECENT: usize = 65_536;
const RECENT_AGE: Duration = Duration::from_secs(30);
/// Others wait for what a session has asked its relay for, at most this long: then each asks its own.
const FETCH_AGE: Duration = Duration::from_secs(30);

/// One event offered by several upstreams is verified and written once: the first takes it, the others wait here.
/// Sessions that know an event by its id alone wait here too: an `N` for each.
#[derive(Debug)]
pub(crate) struct Desk<W, N> {
    inner: Mutex<Inner<W, N>>,
}

/// Who waits for an event that somebody else brings home.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Waiting<W, N> {
    pub(crate) offers: Vec<W>,
    pub(crate) named: Vec<N>,
}

#[derive(Debug, Clone, Copy)]
struct Arrived {
    created_at: Timestamp,
    is_at_home: bool,
}

/// What an exchange need not fetch of what it was named.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Spared {
    /// On their way.
    pub(crate) awaited: usize,
    /// Had their outcome a moment ago; the ledger may not show them yet.
    pub(crate) recent: Vec<(EventId, Timestamp)>,
}

/// A session: no two of a process have the same.
pub(crate) type LinkId = (UpstreamId, Epoch);

#[derive(Debug)]
struct OnTheWay<W, N> {
    /// Nobody has read it yet: this session asks its relay for it.
    fetched_by: Option<LinkId>,
    waiting: Waiting<W, N>,
}

#[derive(Debug)]
struct Inner<W, N> {
    on_the_way: HashMap<EventId, OnTheWay<W, N>>,
    /// What was to be fetched, in order. Much of it has come since.
    fetching: VecDeque<(EventId, LinkId, Instant)>,
    recent: HashMap<EventId, Arrived>,
    order: VecDeque<(EventId, Instant)>,
}

/// What to do with an offered event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place<W> {
    /// It is yours to bring home; call [`Desk::finish`].
    First(W),
    /// Somebody else brings it home and hands the waiter back.
    Waiting,
    /// It had its outcome a moment ago.
    Known(W),
}

impl<W, N> Desk<W, N> {
    pub(crate) fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                on_the_way: HashMap::new(),
                fetching: VecDeque::new(),
                recent: HashMap::new(),
                order: VecDeque::new(),
            }),
        }
    }

    pub(crate) fn take(&self, id: EventId, waiter: W) -> Place<W> {
        let mut inner = self.lock();
        inner.let_go();
        if inner.recent.contains_key(&id) {
            return Place::Known(waiter);
        }
        match inner.on_the_way.get_mut(&id) {
            Some(way) => {
                if way.fetched_by.take().is_some() {
                    return Place::First(waiter);
                }
                way.waiting.offers.push(waiter);
                Place::Waiting
            }
            None => {
                inner.on_the_way.insert(id, OnTheWay { fetched_by: None, waiting: Waiting::nobody() });
                Place::First(waiter)
            }
        }
    }

    /// The event has its outcome: all who waited for it.
    pub(crate) fn finish(&self, id: EventId, created_at: Timestamp, is_at_home: bool) -> Waiting<W, N> {
        let mut inner = self.lock();
        inner.remember(id, Arrived { created_at, is_at_home });
        inner.leaves(id)
    }

    /// The copy was forged: a fault of the copy, not of the id. Those who waited offer their own copies.
    pub(crate) fn give_up(&self, id: EventId) -> Waiting<W, N> {
        self.lock().leaves(id)
    }

    /// Home has lost these: they may come again.
    pub(crate) fn forget(&self, ids: &[EventId]) {
        let mut inner = self.lock();
        for id in ids {
            inner.recent.remove(id);
        }
    }

    /// Leaves in `ids` those that `link` has to fetch: others wait for the first `most` of them from now on. For those that are on
    /// their way `waiter` waits.
    pub(crate) fn spare(&self, ids: &mut Vec<EventId>, (link, most): (LinkId, usize), waiter: impl Fn() -> N) -> Spared {
        let mut guard = self.lock();
        guard.let_go();
        let Inner { on_the_way, fetching, recent, .. } = &mut *guard;
        let (mut spared, now, mut left) = (Spared { awaited: 0, recent: Vec::new() }, Instant::now(), most);
        ids.retain(|id| {
            if let Some(way) = on_the_way.get_mut(id) {
                way.waiting.named.push(waiter());
                spared.awaited += 1;
                return false;
            }
            let arrived = recent.get(id);
            spared.recent.extend(arrived.map(|arrived| (*id, arrived.created_at)));
            if arrived.is_none() && left > 0 {
                left -= 1;
                on_the_way.insert(*id, OnTheWay { fetched_by: Some(link), waiting: Waiting::nobody() });
                fetching.push_back((*id, link, now));
            }
            arrived.is_none()
        });
        spared
    }

    /// The relay of `link` has not served these: who waits for them asks elsewhere.
    pub(crate) fn not_fetched(&self, link: LinkId, ids: impl IntoIterator<Item = EventId>) -> Vec<(EventId, N)> {
        let mut inner = self.lock();
        ids.into_iter().flat_map(|id| inner.give_back(id, link)).collect()
    }

    /// What has been fetched for too long: who waits for it asks elsewhere.
    pub(crate) fn overdue(&self) -> Vec<(EventId, N)> {
        let mut inner = self.lock();
        let mut freed = Vec::new();
        while let Some((id, link, _)) = inner.fetching.pop_front_if(|(_, _, since)| since.elapsed() > FETCH_AGE) {
            freed.extend(inner.give_back(id, link));
        }
        freed
    }

    /// The ledger knew it when it was read: who waits for it knows it now.
    pub(crate) fn was_known(&self, id: EventId) -> Vec<N> {
        let mut inner = self.lock();
        let is_fetched = inner.on_the_way.get(&id).is_some_and(|way| way.fetched_by.is_some());
        if is_fetched { inner.leaves(id).named } else { Vec::new() }
    }

    /// Whether `id` is on its way home, or came there a moment ago. What home serves although it held or refused it is news.
    pub(crate) fn is_at_home_or_on_its_way(&self, id: EventId) -> bool {
        let inner = self.lock();
        let is_read = inner.on_the_way.get(&id).is_some_and(|way| way.fetched_by.is_none());
        is_read || inner.recent.get(&id).is_some_and(|arrived| arrived.is_at_home)
    }

    /// The collections are changed in single steps, so a panic elsewhere cannot have left them half-written.
    fn lock(&self) -> MutexGuard<'_, Inner<W, N>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W, N> Waiting<W, N> {
    fn nobody() -> Self {
        Self { offers: Vec::new(), named: Vec::new() }
    }
}

impl<W, N> Inner<W, N> {
    fn leaves(&mut self, id: EventId) -> Waiting<W, N> {
        self.on_the_way.remove(&id).map_or_else(Waiting::nobody, |way| way.waiting)
    }

    /// `link` does not fetch it any more, if it did.
    fn give_back(&mut self, id: EventId, link: LinkId) -> Vec<(EventId, N)> {
        let is_its = self.on_the_way.get(&id).is_some_and(|way| way.fetched_by == Some(link));
        let named = if is_its { self.leaves(id).named } else { Vec::new() };
        named.into_iter().map(|one| (id, one)).collect()
    }

    fn remember(&mut self, id: EventId, arrived: Arrived) {
        if self.recent.insert(id, arrived).is_none() {
            self.order.push_back((id, Instant::now()));
        }
        self.let_go();
    }

    /// What is no longer recent.
    fn let_go(&mut self) {
        while let Some((id, since)) = self.order.front()
            && (self.order.len() > RECENT || since.elapsed() > RECENT_AGE)
        {
            self.recent.remove(id);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_secs(7);
    const LINKS: (LinkId, LinkId) = ((UpstreamId(1), Epoch(1)), (UpstreamId(2), Epoch(1)));

    fn desk<W>() -> Desk<W, &'static str> {
        Desk::new()
    }

    fn id(n: u8) -> EventId {
        EventId::from_byte_array([n; 32])
    }

    #[test]
    fn f23_one_event_of_two_upstreams_is_brought_home_once_and_settles_both() {
        let desk = desk();
        assert_eq!(desk.take(id(1), "a"), Place::First("a"));
        assert_eq!(desk.take(id(1), "b"), Place::Waiting);
        assert_eq!(desk.finish(id(1), AT, true).offers, ["b"]);
        assert_eq!(desk.take(id(1), "c"), Place::Known("c"));
    }

    #[test]
    fn what_had_its_outcome_or_is_to_have_it_soon_is_not_downloaded_again() {
        let desk = desk();
        assert_eq!(desk.take(id(1), ()), Place::First(()));
        assert_eq!(desk.take(id(2), ()), Place::First(()));
        desk.finish(id(1), AT, true);
        let mut needed = vec![id(1), id(2), id(3)];
        let (one, other) = LINKS;
        let spared = desk.spare(&mut needed, (one, 10), || "the exchange");
        assert_eq!(spared, Spared { awaited: 1, recent: vec![(id(1), AT)] });
        assert_eq!(needed, [id(3)]);
        assert_eq!(desk.finish(id(2), AT, true).named, ["the exchange"], "it has its outcome when it has it");
        let mut needed = vec![id(3)];
        assert_eq!((desk.spare(&mut needed, (other, 10), || "another").awaited, needed), (1, vec![]), "one of them fetches it");
        assert_eq!(desk.take(id(3), ()), Place::First(()), "whoever has it brings it home");
        assert_eq!(desk.finish(id(3), AT, true).named, ["another"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_relay_does_not_serve_or_not_in_time_is_asked_for_elsewhere() {
        let desk = desk::<()>();
        let (one, other) = LINKS;
        let ids = || vec![id(1), id(2), id(3)];
        desk.spare(&mut ids(), (one, 2), || "nobody");
        let mut needed = ids();
        assert_eq!(desk.spare(&mut needed, (other, 0), || "it").awaited, 2);
        assert_eq!(needed, [id(3)], "beyond the bound nobody waits");
        assert_eq!(desk.not_fetched(other, ids()), [], "it is not theirs to give back");
        assert_eq!(desk.not_fetched(one, [id(1)]), [(id(1), "it")]);
        assert_eq!(desk.overdue(), []);
        tokio::time::advance(FETCH_AGE + Duration::from_secs(1)).await;
        assert_eq!(desk.overdue(), [(id(2), "it")]);
        desk.spare(&mut vec![id(1)], (one, 1), || "nobody");
        assert!(!desk.is_at_home_or_on_its_way(id(1)), "nobody has read it yet");
        desk.spare(&mut vec![id(1)], (other, 1), || "it");
        assert_eq!(desk.was_known(id(1)), ["it"]);
    }

    #[test]
    fn what_home_serves_although_it_only_held_it_is_news() {
        let desk = desk();
        for (n, is_at_home) in [(1, true), (2, false)] {
            assert_eq!(desk.take(id(n), ()), Place::First(()));
            assert!(desk.is_at_home_or_on_its_way(id(n)), "its outcome is told by who writes it");
            desk.finish(id(n), AT, is_at_home);
            assert_eq!(desk.is_at_home_or_on_its_way(id(n)), is_at_home);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_had_its_outcome_a_while_ago_is_the_ledgers_to_know() {
        let desk = desk();
        assert_eq!(desk.take(id(1), ()), Place::First(()));
        desk.finish(id(1), AT, false);
        tokio::time::advance(RECENT_AGE).await;
        assert_eq!(desk.take(id(1), ()), Place::Known(()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(desk.take(id(1), ()), Place::First(()));
    }

    #[test]
    fn f23_a_forged_copy_leaves_no_trace_and_does_not_block_the_true_one() {
        let desk = desk();
        assert_eq!(desk.take(id(1), "forged"), Place::First("forged"));
        assert_eq!(desk.take(id(1), "true"), Place::Waiting);
        assert_eq!(desk.give_up(id(1)).offers, ["true"]);
        assert_eq!(desk.take(id(1), "true"), Place::First("true"));
    }
}
