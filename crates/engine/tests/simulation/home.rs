//! What leaves a session and comes back: requests to relays, events to home, discoveries to the store.

use engine::discovery::is_discovery;
use engine::session::{Input, Request};
use model::{Event, Kind, Outcome};

use super::common::relay::Reply;
use super::network::SocketNo;
use super::sim::{Happening, Sim};
use super::store::WorkerNo;
use super::universe::REFUSED_KIND;
use super::worker::Landed;

impl Sim {
    pub(crate) fn transmit(&mut self, socket: SocketNo, request: Request) {
        let at = self.arrives(socket, true);
        self.at(at, Happening::Sent { socket, request });
    }

    /// When what is sent now arrives: a socket keeps its order.
    fn arrives(&mut self, socket: SocketNo, to_relay: bool) -> u64 {
        let after = self.chance.between(1, 40);
        let last = self.under_way.entry((socket, to_relay)).or_default();
        *last = (*last).max(self.ms + after);
        *last
    }

    pub(crate) fn sent(&mut self, socket: SocketNo, request: &Request) {
        let Some(relay) = self.sockets.get(&socket).copied() else { return };
        self.note(&format!("{} ← {request:?}", self.addresses[relay]));
        let replies = self.relays[relay].take(socket, request);
        for reply in replies {
            self.answer(socket, reply);
        }
    }

    fn answer(&mut self, socket: SocketNo, reply: Reply) {
        let owner = self.workers.iter().find_map(|worker| {
            let (upstream, _) = worker.links.iter().find(|(_, link)| link.socket == socket)?;
            Some((worker.no, *upstream))
        });
        if let Some((worker, upstream)) = owner {
            let at = self.arrives(socket, false);
            self.at(at, Happening::Heard { worker, upstream, socket, reply });
        }
    }

    pub(crate) fn published(&mut self, relay: usize, event: &Event) {
        let Some(replies) = self.relays[relay].publish(event, self.ms) else { return };
        self.note(&format!("{} gets {} of kind {}", self.addresses[relay], &event.id.to_hex()[..8], event.kind));
        for (socket, reply) in replies {
            self.answer(socket, reply);
        }
    }

    /// The sink's EVENT reaches home, which says OK; an OK may be lost with its connection, and the EVENT is sent again.
    pub(crate) fn home_gets(&mut self, no: WorkerNo, mut landed: Landed) {
        let is_lives = self.workers[no.name].is_alive && self.workers[no.name].no == no;
        if !self.relays[0].is_up {
            if is_lives {
                self.within(1_000, 4_000, Happening::HomeGets { worker: no, landed });
            }
            return;
        }
        landed.outcome = if landed.event.kind == Kind::from_u16(REFUSED_KIND) {
            Outcome::Refused
        } else if self.relays[0].holds(landed.event.id) {
            Outcome::Duplicate
        } else {
            Outcome::Stored
        };
        if landed.outcome == Outcome::Stored {
            self.published(0, &landed.event);
        }
        if !is_lives {
            return;
        }
        if self.is_faulty() && self.chance.once_in(40) {
            self.within(1_000, 4_000, Happening::HomeGets { worker: no, landed });
        } else {
            self.within(1, 60, Happening::HomeSaid { worker: no, landed });
        }
    }

    pub(crate) fn home_said(&mut self, no: WorkerNo, landed: Landed) {
        if !self.is_awake(no, || Happening::HomeSaid { worker: no, landed: landed.clone() }) {
            return;
        }
        if !landed.outcome.is_at_home() || !is_discovery(landed.event.kind) {
            return self.settle(no, &landed, true);
        }
        let (ms, window_ms) = (self.ms, self.policy.discovery_window_ms);
        let worker = &mut self.workers[no.name];
        let was_open = worker.window.closes_at(window_ms).is_some();
        worker.window.gather(&landed.event, ms);
        worker.waiting.push(landed);
        match worker.window.closes_at(window_ms) {
            Some(at) if !was_open => self.at(at, Happening::WindowCloses { worker: no }),
            Some(_) => {}
            None => {
                let waiting = std::mem::take(&mut worker.waiting);
                self.discovered(no, waiting);
            }
        }
    }

    pub(crate) fn window_closes(&mut self, no: WorkerNo) {
        if !self.is_awake(no, || Happening::WindowCloses { worker: no }) {
            return;
        }
        let worker = &mut self.workers[no.name];
        let (found, waiting) = (worker.window.take(), std::mem::take(&mut worker.waiting));
        self.within(1, 50, Happening::Discovers { worker: no, found, waiting });
    }

    pub(crate) fn discovered(&mut self, no: WorkerNo, waiting: Vec<Landed>) {
        if !self.is_awake(no, || Happening::Discovered { worker: no, waiting: waiting.clone() }) {
            return;
        }
        for landed in waiting {
            self.settle(no, &landed, true);
        }
    }

    /// The event has its outcome: the session that waits for it is told, if it is still the same.
    pub(crate) fn settle(&mut self, no: WorkerNo, landed: &Landed, fresh: bool) {
        let skew = self.workers[no.name].skew_secs;
        let is_its = self.workers[no.name].links.get(&landed.upstream).is_some_and(|link| link.socket == landed.socket);
        if !is_its {
            return;
        }
        self.with_link(no, landed.upstream, |sim, link| {
            let Some(up) = link.up.as_mut() else { return };
            up.in_flight -= 1;
            if up.in_flight == 0 {
                up.behind_since = None;
            }
            if fresh {
                up.rows.push(landed.row());
            }
            let now = up.now(sim.ms, skew);
            up.session.handle(Input::Settled { ticket: landed.ticket, fresh }, now);
        });
    }
}
