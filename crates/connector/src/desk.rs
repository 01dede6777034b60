//! What the sessions of one process know of each other's events: which ids are on their way home, which arrived lately.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::EventId;
use tokio::time::Instant;

/// Ids kept after their outcome: longer than any ledger write waits. Not for ever, for home may lose what it held.
const RECENT: usize = 65_536;
const RECENT_FOR: Duration = Duration::from_secs(30);

/// One event offered by several upstreams is verified and written once: the first takes it, the others wait here.
#[derive(Debug)]
pub(crate) struct Desk<W> {
    inner: Mutex<Inner<W>>,
}

#[derive(Debug)]
struct Inner<W> {
    on_the_way: HashMap<EventId, Vec<W>>,
    recent: HashSet<EventId>,
    order: VecDeque<(Instant, EventId)>,
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

impl<W> Desk<W> {
    pub(crate) fn new() -> Self {
        Self { inner: Mutex::new(Inner { on_the_way: HashMap::new(), recent: HashSet::new(), order: VecDeque::new() }) }
    }

    pub(crate) fn take(&self, id: EventId, waiter: W) -> Place<W> {
        let mut inner = self.lock();
        inner.let_go();
        if inner.recent.contains(&id) {
            return Place::Known(waiter);
        }
        match inner.on_the_way.get_mut(&id) {
            Some(waiting) => {
                waiting.push(waiter);
                Place::Waiting
            }
            None => {
                inner.on_the_way.insert(id, Vec::new());
                Place::First(waiter)
            }
        }
    }

    /// The event has its outcome: all who waited for it.
    pub(crate) fn finish(&self, id: EventId) -> Vec<W> {
        let mut inner = self.lock();
        inner.remember(id);
        inner.on_the_way.remove(&id).unwrap_or_default()
    }

    /// The copy was forged: a fault of the copy, not of the id. Those who waited offer their own copies.
    pub(crate) fn give_up(&self, id: EventId) -> Vec<W> {
        self.lock().on_the_way.remove(&id).unwrap_or_default()
    }

    /// Home has lost these: they may come again.
    pub(crate) fn forget(&self, ids: &[EventId]) {
        let mut inner = self.lock();
        for id in ids {
            inner.recent.remove(id);
        }
    }

    /// Leaves out of `ids` those that had their outcome a moment ago: the ledger may not show them yet.
    pub(crate) fn drop_recent(&self, ids: &mut Vec<EventId>) {
        let mut inner = self.lock();
        inner.let_go();
        ids.retain(|id| !inner.recent.contains(id));
    }

    /// Whether `id` is on its way home, or had its outcome a moment ago.
    pub(crate) fn knows(&self, id: EventId) -> bool {
        let mut inner = self.lock();
        inner.let_go();
        inner.on_the_way.contains_key(&id) || inner.recent.contains(&id)
    }

    /// The collections are changed in single steps, so a panic elsewhere cannot have left them half-written.
    fn lock(&self) -> MutexGuard<'_, Inner<W>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W> Inner<W> {
    fn remember(&mut self, id: EventId) {
        if self.recent.insert(id) {
            self.order.push_back((Instant::now(), id));
        }
        self.let_go();
    }

    /// What is no longer recent.
    fn let_go(&mut self) {
        while let Some((since, id)) = self.order.front()
            && (self.order.len() > RECENT || since.elapsed() >= RECENT_FOR)
        {
            self.recent.remove(id);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> EventId {
        EventId::from_byte_array([n; 32])
    }

    #[test]
    fn f23_one_event_of_two_upstreams_is_brought_home_once_and_settles_both() {
        let desk = Desk::new();
        assert_eq!(desk.take(id(1), "a"), Place::First("a"));
        assert_eq!(desk.take(id(1), "b"), Place::Waiting);
        assert_eq!(desk.finish(id(1)), ["b"]);
        assert_eq!(desk.take(id(1), "c"), Place::Known("c"));
    }

    #[test]
    fn what_had_its_outcome_a_moment_ago_is_not_downloaded_again() {
        let desk = Desk::new();
        assert_eq!(desk.take(id(1), ()), Place::First(()));
        assert_eq!(desk.take(id(2), ()), Place::First(()));
        desk.finish(id(1));
        let mut needed = vec![id(1), id(2), id(3)];
        desk.drop_recent(&mut needed);
        assert_eq!(needed, [id(2), id(3)], "what is only on its way may still fail");
    }

    #[test]
    fn f23_a_forged_copy_leaves_no_trace_and_does_not_block_the_true_one() {
        let desk = Desk::new();
        assert_eq!(desk.take(id(1), "forged"), Place::First("forged"));
        assert_eq!(desk.take(id(1), "true"), Place::Waiting);
        assert_eq!(desk.give_up(id(1)), ["true"]);
        assert_eq!(desk.take(id(1), "true"), Place::First("true"));
    }
}
