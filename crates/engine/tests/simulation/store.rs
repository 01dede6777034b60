//! The state service as one replica of it would answer: the book, the ledger, leases and planners' turns.

use std::collections::{BTreeMap, BTreeSet};

use engine::book::{Book, Relay};
use engine::placement::place;
use engine::rules::Policy;
use model::{
    Assignment, Claim, Claimed, Epoch, Event, EventId, Filter, LedgerRow, LinkView, Outcome, RelayUrl, Report, Role, Said,
    Snapshot, StateError, Timestamp, UpGranted, UpstreamId,
};

use super::common::relay::is_match;
use super::common::{START, at, url};

/// A lease lasts this long without a renewal (milliseconds).
pub(crate) const LEASE_MS: u64 = 15_000;
/// A planner's turn (milliseconds).
const TURN_MS: u64 = 5_000;

/// A worker process: its name, and which start of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WorkerNo {
    pub(crate) name: usize,
    pub(crate) incarnation: u64,
}

struct Lease {
    until: u64,
    renewed: u64,
}

pub(crate) struct Store {
    pub(crate) book: Book,
    /// Every event with a final outcome, as the ledger knows it.
    pub(crate) ledger: BTreeMap<EventId, Outcome>,
    leases: BTreeMap<WorkerNo, Lease>,
    owners: BTreeMap<UpstreamId, WorkerNo>,
    /// Since when an upstream is to be given up.
    moving: BTreeMap<UpstreamId, u64>,
    turns: BTreeMap<UpstreamId, (usize, u64)>,
}

pub(crate) fn wall(ms: u64) -> Timestamp {
    at(START + ms / 1000)
}

impl Store {
    pub(crate) fn new(policy: Policy, named: &[(RelayUrl, Role)]) -> Self {
        let mut book = Book::new(policy);
        book.name_relays(named, wall(0));
        let (ledger, leases, owners) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { book, ledger, leases, owners, moving: BTreeMap::new(), turns: BTreeMap::new() }
    }

    pub(crate) fn url_of(&self, upstream: UpstreamId) -> String {
        self.book.relay(upstream).map(|relay| relay.url.to_string()).unwrap_or_default()
    }

    // Leases.

    /// Renews a lease, and says which upstreams are the worker's.
    pub(crate) fn renew(&mut self, worker: WorkerNo, behind: &[(UpstreamId, Timestamp)], ms: u64) -> Vec<Assignment> {
        let behind: BTreeMap<UpstreamId, Timestamp> = behind.iter().copied().collect();
        for upstream in self.owned_by(worker) {
            self.book.note_behind(upstream, behind.get(&upstream).copied());
        }
        let is_over = |(other, lease): &(&WorkerNo, &Lease)| {
            lease.until <= ms || (other.name == worker.name && other.incarnation != worker.incarnation)
        };
        let over: Vec<WorkerNo> = self.leases.iter().filter(is_over).map(|(worker, _)| *worker).collect();
        over.into_iter().for_each(|dead| self.bury(dead, ms));
        self.leases.insert(worker, Lease { until: ms + LEASE_MS, renewed: ms });
        self.release_empty(worker);
        self.give_up_and_take(worker, ms);
        self.owned_by(worker).into_iter().filter(|one| !self.moving.contains_key(one)).map(|one| self.assignment(one)).collect()
    }

    /// Ends every worker whose lease ran out.
    pub(crate) fn bury_expired(&mut self, ms: u64) {
        let over: Vec<WorkerNo> =
            self.leases.iter().filter(|(_, lease)| lease.until <= ms).map(|(worker, _)| *worker).collect();
        over.into_iter().for_each(|dead| self.bury(dead, ms));
    }

    fn bury(&mut self, worker: WorkerNo, ms: u64) {
        let Some(lease) = self.leases.remove(&worker) else { return };
        for upstream in self.owned_by(worker) {
            self.book.lapse(upstream, wall(lease.renewed), wall(ms));
            self.disown(upstream);
        }
    }

    fn disown(&mut self, upstream: UpstreamId) {
        self.owners.remove(&upstream);
        self.moving.remove(&upstream);
    }

    /// What nobody lists any more, and was hung up, is nobody's.
    fn release_empty(&mut self, worker: WorkerNo) {
        let is_empty = |relay: &Relay| relay.role == Role::Listed && !relay.is_up() && relay.rows().next().is_none();
        for upstream in self.owned_by(worker) {
            if self.book.relay(upstream).is_some_and(is_empty) {
                self.disown(upstream);
            }
        }
    }

    fn owned_by(&self, worker: WorkerNo) -> Vec<UpstreamId> {
        self.owners.iter().filter(|(_, owner)| **owner == worker).map(|(upstream, _)| *upstream).collect()
    }

    fn give_up_and_take(&mut self, worker: WorkerNo, ms: u64) {
        let names: Vec<String> = self.leases.keys().map(|worker| worker.name.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let is_wanted = |relay: &Relay| relay.role != Role::Listed || relay.rows().next().is_some();
        let hosts: Vec<(UpstreamId, String)> = self
            .book
            .relays()
            .filter(|(_, relay)| is_wanted(relay))
            .map(|(number, relay)| (number, relay.url.to_string()))
            .collect();
        let hosts: Vec<(UpstreamId, &str)> = hosts.iter().map(|(number, host)| (*number, host.as_str())).collect();
        let placed = place(&hosts, &names);
        let mine = worker.name.to_string();
        for (upstream, name) in placed {
            match (name == mine, self.owners.get(&upstream) == Some(&worker)) {
                (true, true) => drop(self.moving.remove(&upstream)),
                (true, false) if !self.owners.contains_key(&upstream) => self.take(upstream, worker, ms),
                (false, true) => self.move_away(upstream, ms),
                (true | false, _) => {}
            }
        }
    }

    fn take(&mut self, upstream: UpstreamId, worker: WorkerNo, ms: u64) {
        self.book.lease(upstream, wall(ms), wall(ms)).expect("it was placed");
        self.owners.insert(upstream, worker);
    }

    fn move_away(&mut self, upstream: UpstreamId, ms: u64) {
        let since = *self.moving.entry(upstream).or_insert(ms);
        let is_down = self.book.relay(upstream).is_some_and(|relay| !relay.is_up());
        if is_down || since + LEASE_MS <= ms {
            self.book.lapse(upstream, wall(since), wall(ms));
            self.disown(upstream);
        }
    }

    fn assignment(&self, upstream: UpstreamId) -> Assignment {
        let relay = self.book.relay(upstream).expect("it is owned");
        let dial_at = match relay.link {
            LinkView::Down { dial_at } => dial_at,
            LinkView::Up { .. } => Timestamp::zero(),
        };
        let (url, role, epoch, learned) = (relay.url.clone(), relay.role, relay.epoch, relay.learned.clone());
        Assignment { upstream, url, role, epoch, dial_at, learned }
    }

    // Links.

    pub(crate) fn up(&mut self, upstream: UpstreamId, epoch: Epoch, ms: u64, roll: u64) -> Result<UpGranted, StateError> {
        let owner = self.owners.get(&upstream).and_then(|owner| self.leases.get(owner));
        let is_held = owner.is_some_and(|lease| lease.until > ms);
        match self.book.relay(upstream) {
            Some(relay) if relay.epoch == epoch && is_held => self.book.up(upstream, wall(ms), roll),
            Some(_) => Err(StateError::Fenced),
            None => Err(StateError::NoSuchUpstream),
        }
    }

    /// Applies a report, its rows first. Answers with the upstreams to look at.
    pub(crate) fn report(&mut self, report: &Report, ms: u64, roll: u64) -> Vec<UpstreamId> {
        let Ok(dirty) = self.book.report(report, wall(ms), roll) else { return Vec::new() };
        match &report.said {
            Said::Progress { rows, .. } => self.settle(rows),
            Said::Lost { ids } => self.ledger.retain(|id, _| !ids.contains(id)),
            Said::Opened
            | Said::Rebuilt { .. }
            | Said::CaughtUp
            | Said::Down { .. }
            | Said::BatchEnded { .. }
            | Said::Learned { .. }
            | Said::Audited { .. }
            | Said::RateLimited { .. } => {}
        }
        dirty
    }

    fn settle(&mut self, rows: &[LedgerRow]) {
        self.ledger.extend(rows.iter().map(|row| (row.id, row.outcome)));
    }

    /// The ids of the ledger that an exchange is run against.
    pub(crate) fn set<'e>(&self, filter: &Filter, at_home: bool, events: impl Iterator<Item = &'e Event>) -> BTreeSet<EventId> {
        let counts = |outcome: &Outcome| !at_home || outcome.is_at_home();
        let is_in = |event: &&Event| self.ledger.get(&event.id).is_some_and(counts) && is_match(filter, event);
        events.filter(is_in).map(|event| event.id).collect()
    }

    // Planning.

    pub(crate) fn snapshot(&mut self, upstream: UpstreamId, planner: usize, ms: u64) -> Result<Snapshot, StateError> {
        if self.turns.get(&upstream).is_some_and(|(other, until)| *other != planner && *until > ms) {
            return Err(StateError::BeingPlanned);
        }
        self.turns.insert(upstream, (planner, ms + TURN_MS));
        self.book.snapshot(upstream, wall(ms))
    }

    pub(crate) fn claim(&mut self, claim: &Claim, planner: usize, ms: u64) -> Result<Claimed, StateError> {
        if !self.turns.get(&claim.upstream).is_some_and(|(other, until)| *other == planner && *until > ms) {
            return Err(StateError::BeingPlanned);
        }
        self.book.claim(claim, wall(ms))
    }

    pub(crate) fn planned(&mut self, upstream: UpstreamId, planner: usize) {
        if self.turns.get(&upstream).is_some_and(|(other, _)| *other == planner) {
            self.turns.remove(&upstream);
        }
    }

    pub(crate) fn number_of(&self, address: &str) -> Option<UpstreamId> {
        self.book.number_of(&url(address))
    }
}
