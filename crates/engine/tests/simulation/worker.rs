//! A worker process and its sessions, as the connector's shell is: it decides nothing, and forgets all when it dies.

use std::collections::{BTreeMap, BTreeSet};

use engine::discovery::Window;
use engine::session::{Now, Session, Ticket, UnitId};
use model::{Assignment, DownClass, Epoch, Event, EventId, Filter, LedgerRow, Outcome, Timestamp, UpstreamId, refs_of};

use super::network::SocketNo;
use super::store::{WorkerNo, wall};

/// An event that has its outcome, and waits for its discovery to be kept.
#[derive(Debug, Clone)]
pub(crate) struct Landed {
    pub(crate) upstream: UpstreamId,
    pub(crate) socket: SocketNo,
    pub(crate) ticket: Ticket,
    pub(crate) event: Event,
    pub(crate) outcome: Outcome,
}

impl Landed {
    pub(crate) fn row(&self) -> LedgerRow {
        LedgerRow {
            id: self.event.id,
            created_at: self.event.created_at,
            kind: self.event.kind,
            refs: refs_of(&self.event),
            outcome: self.outcome,
            reason: None,
            upstream: self.upstream,
            batch: self.ticket.batch,
            via: self.ticket.via,
        }
    }
}

pub(crate) struct Worker {
    pub(crate) no: WorkerNo,
    pub(crate) is_alive: bool,
    pub(crate) stalled_until: u64,
    /// Sessions may act before this moment.
    pub(crate) fence_ms: u64,
    /// Its wall clock is off by so many seconds.
    pub(crate) skew_secs: i64,
    pub(crate) links: BTreeMap<UpstreamId, Link>,
    /// When upstreams whose session has ended may have the next one.
    pub(crate) resting: BTreeMap<UpstreamId, u64>,
    /// Since when sessions that have ended may have missed something; said until the next one speaks.
    pub(crate) left_behind: BTreeMap<UpstreamId, Timestamp>,
    pub(crate) window: Window,
    pub(crate) waiting: Vec<Landed>,
}

/// What a worker keeps of one upstream that it holds a lease on.
pub(crate) struct Link {
    pub(crate) assignment: Assignment,
    pub(crate) socket: SocketNo,
    /// None until the socket is open and the store has granted an epoch.
    pub(crate) up: Option<Up>,
}

pub(crate) struct Up {
    pub(crate) epoch: Epoch,
    pub(crate) session: Session,
    began_ms: u64,
    pub(crate) sequence: u64,
    pub(crate) rows: Vec<LedgerRow>,
    pub(crate) in_flight: usize,
    pub(crate) behind_since: Option<u64>,
    pub(crate) progress_at: u64,
    pub(crate) sets: BTreeMap<UnitId, (Filter, BTreeSet<EventId>)>,
    pub(crate) fetched: BTreeMap<UnitId, BTreeSet<EventId>>,
    /// The wake-up that is on its way.
    pub(crate) wakes_at: u64,
    /// It has ended for this reason, and waits for outcomes until that moment.
    pub(crate) ended: Option<(DownClass, u64)>,
}

impl Worker {
    pub(crate) fn new(name: usize) -> Self {
        Self {
            no: WorkerNo { name, incarnation: 1 },
            is_alive: true,
            stalled_until: 0,
            fence_ms: 0,
            skew_secs: 0,
            links: BTreeMap::new(),
            resting: BTreeMap::new(),
            left_behind: BTreeMap::new(),
            window: Window::default(),
            waiting: Vec::new(),
        }
    }

    /// kill −9: nothing of it is left but its name.
    pub(crate) fn killed(&mut self) {
        *self = Self { is_alive: false, no: self.no, ..Self::new(self.no.name) };
    }

    pub(crate) fn restarted(&mut self) {
        (self.is_alive, self.no.incarnation) = (true, self.no.incarnation + 1);
    }

    pub(crate) fn has_fallen(&self, ms: u64) -> bool {
        ms >= self.fence_ms
    }

    /// Since when each link may have an event without a final outcome, or a gap.
    pub(crate) fn behind(&self) -> Vec<(UpstreamId, Timestamp)> {
        let since = |(upstream, link): (&UpstreamId, &Link)| Some((*upstream, link.behind_since()?));
        let left = self.left_behind.iter().map(|(upstream, since)| (*upstream, *since));
        self.links.iter().filter_map(since).chain(left).collect()
    }
}

impl Link {
    pub(crate) fn behind_since(&self) -> Option<Timestamp> {
        let up = self.up.as_ref()?;
        up.session.behind_since().into_iter().chain(up.behind_since.map(wall)).min()
    }
}

impl Up {
    pub(crate) fn new(epoch: Epoch, session: Session, ms: u64) -> Self {
        Self {
            epoch,
            session,
            began_ms: ms,
            sequence: 0,
            rows: Vec::new(),
            in_flight: 0,
            behind_since: None,
            progress_at: ms,
            sets: BTreeMap::new(),
            fetched: BTreeMap::new(),
            wakes_at: u64::MAX,
            ended: None,
        }
    }

    pub(crate) fn now(&self, ms: u64, skew_secs: i64) -> Now {
        let wall = wall(ms).as_secs().saturating_add_signed(skew_secs);
        Now { ms: ms - self.began_ms, wall: Timestamp::from_secs(wall) }
    }

    /// When the session wants to be woken, on the simulation's clock.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.session.deadline().map(|ms| self.began_ms + ms)
    }
}
