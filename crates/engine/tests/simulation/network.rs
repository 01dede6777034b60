//! Relays on a network that delays, cuts and holds: each connection has subscriptions of its own, and loses nothing but its end.

use std::collections::BTreeMap;

use engine::session::Request;
use model::{Event, EventId};

use super::common::relay::{ModelRelay, Reply};

/// One socket, from its opening to its end; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SocketNo(pub(crate) u64);

/// A relay, and its side of every socket.
pub(crate) struct Served {
    /// Its manners and all that it holds.
    relay: ModelRelay,
    pub(crate) is_up: bool,
    sockets: BTreeMap<SocketNo, ModelRelay>,
    /// When each event came (milliseconds); history came at 0.
    came: BTreeMap<EventId, u64>,
}

impl Served {
    pub(crate) fn new(relay: ModelRelay) -> Self {
        let came = relay.events.iter().map(|event| (event.id, 0)).collect();
        Self { relay, is_up: true, sockets: BTreeMap::new(), came }
    }

    pub(crate) fn connect(&mut self, socket: SocketNo) {
        self.sockets.insert(socket, ModelRelay { open: BTreeMap::new(), peak: 0, ..self.relay.clone() });
    }

    pub(crate) fn is_connected(&self, socket: SocketNo) -> bool {
        self.sockets.contains_key(&socket)
    }

    pub(crate) fn cut(&mut self, socket: SocketNo) {
        self.sockets.remove(&socket);
    }

    pub(crate) fn take(&mut self, socket: SocketNo, request: &Request) -> Vec<Reply> {
        self.sockets.get_mut(&socket).map(|side| side.take(request)).unwrap_or_default()
    }

    /// Ids of what an exchange on this socket would name.
    pub(crate) fn side(&self, socket: SocketNo) -> Option<&ModelRelay> {
        self.sockets.get(&socket)
    }

    /// Whether the event is new here; with what every socket gets to hear of it.
    pub(crate) fn publish(&mut self, event: &Event, ms: u64) -> Option<Vec<(SocketNo, Reply)>> {
        if self.holds(event.id) {
            return None;
        }
        self.came.insert(event.id, ms);
        self.relay.events.push(event.clone());
        let sides = self.sockets.iter_mut();
        Some(sides.flat_map(|(socket, side)| side.publish(event.clone()).into_iter().map(|reply| (*socket, reply))).collect())
    }

    pub(crate) fn holds(&self, id: EventId) -> bool {
        self.came.contains_key(&id)
    }

    /// What it held at that moment.
    pub(crate) fn held_at(&self, ms: u64) -> impl Iterator<Item = &Event> {
        self.relay.events.iter().filter(move |event| self.came.get(&event.id).is_some_and(|came| *came <= ms))
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = &Event> {
        self.relay.events.iter()
    }

    /// It has lost these, and does not know that it ever had them.
    pub(crate) fn lose(&mut self, ids: &[EventId]) {
        self.came.retain(|id, _| !ids.contains(id));
        self.change(|side| side.events.retain(|event| !ids.contains(&event.id)));
    }

    /// Its manners change: it now refuses what it granted, or the reverse.
    pub(crate) fn change(&mut self, change: impl Fn(&mut ModelRelay)) {
        change(&mut self.relay);
        self.sockets.values_mut().for_each(change);
    }
}
