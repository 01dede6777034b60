//! What to ask an upstream for, from one look at it (S4). Planning is a value: it can be read before it is done.
//!
//! Owns: the order of decisions, batches, the reasons. Never: an effect; the planner service claims and sends.

mod audit;
mod drafts;
mod report;

use model::{
    Arrangement, Ask, BatchId, Claim, Covered, HangUpReason, ItemKind, LinkView, Method, Nip77, Resume, Role, Snapshot,
    Timestamp,
};

pub use drafts::BatchPlan;
pub use report::{Reason, Report};

use crate::consolidation::Crowd;
use crate::filters;
use crate::room::Room;
use crate::rules::{BATCHES_IN_FLIGHT, EMPTY_GRACE_SECS, Policy, refresh_after};
use crate::{consolidation, resume};

/// What one activation does about one upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// S15: start over; the next refresh is due at this moment.
    pub refresh: Option<Timestamp>,
    /// S14: new chunks.
    pub rechunk: Vec<(model::Item, u32)>,
    /// Orders that need no batch.
    pub asks: Vec<Ask>,
    /// Items to claim, with the order that each claimed batch becomes.
    pub batches: Vec<BatchPlan>,
    /// S9: a part of an audit is among the orders; without word of it, it is ordered again at this moment.
    pub audit: Option<Timestamp>,
    /// When to look again although nothing happens.
    pub look_again: Option<Timestamp>,
    pub report: Report,
}

impl Plan {
    /// I10: a settled system asks for nothing.
    #[must_use]
    pub fn asks_for_nothing(&self) -> bool {
        // An audit is among the orders.
        let Self { refresh, rechunk, asks, batches, audit: _, look_again: _, report: _ } = self;
        refresh.is_none() && rechunk.is_empty() && asks.is_empty() && batches.is_empty()
    }

    /// What the store must grant before the orders go out; none if the plan takes nothing.
    #[must_use]
    pub fn claim(&self, snapshot: &Snapshot) -> Option<Claim> {
        let takes_items = !self.rechunk.is_empty() || !self.batches.is_empty();
        let is_needed = takes_items || self.refresh.is_some() || self.audit.is_some();
        is_needed.then(|| Claim {
            upstream: snapshot.upstream,
            epoch: snapshot.epoch,
            refresh: self.refresh,
            rechunk: self.rechunk.clone(),
            drafts: self.batches.iter().map(|batch| batch.draft.clone()).collect(),
            audit: self.audit,
        })
    }

    /// The orders of this plan, given the batches that were granted (one answer per planned batch).
    #[must_use]
    pub fn orders(self, granted: &[Option<BatchId>]) -> Vec<Ask> {
        let fetches = self.batches.into_iter().zip(granted).filter_map(|(batch, id)| id.map(|id| batch.into_ask(id)));
        self.asks.into_iter().chain(fetches).collect()
    }
}

/// The decision about one upstream. Each step either settles the matter or leaves it to the next.
#[must_use]
pub fn plan(look: &Snapshot, policy: &Policy, roll: u64) -> Plan {
    let LinkView::Up { resume, opened, .. } = look.link else { return passed_over(look) };
    if let Some(plan) = refresh(look, policy, roll) {
        return plan;
    }
    let empty = hang_up(look);
    // What it still has open of an upstream that became empty is closed before it is hung up.
    let rebuild = || rebuild(look, policy).filter(|_| opened);
    if let Some(plan) = empty.clone().filter(|plan| !plan.asks.is_empty()).or_else(rebuild).or(empty) {
        return plan;
    }
    if !opened {
        return open(look, resume, policy);
    }
    let mut plan = cool_down(look).or_else(|| consolidate(look, policy)).unwrap_or_else(|| fetch(look, policy));
    plan.report.reasons.extend(arrangement(look, policy));
    audit::beside(plan, look)
}

/// I3: how news of the items come, where that is not by filters of each chunk.
fn arrangement(look: &Snapshot, policy: &Policy) -> Option<Reason> {
    let (room, limit) = (Room::of(&look.learned), live_limit(look, policy));
    let arranged = room.arranged(look.chunks.0.max(look.chunks.1), look.largest.0.max(look.largest.1), limit);
    (arranged != Arrangement::Tails).then_some(Reason::Arranged(arranged))
}

/// S4: an upstream that is not up is passed over; it is asked when it comes up.
fn passed_over(look: &Snapshot) -> Plan {
    let reason = match look.link {
        LinkView::Down { dial_at } => Reason::Down { dial_at },
        LinkView::Up { .. } => Reason::Settled,
    };
    Plan { report: Report::of(look, reason), ..Plan::default() }
}

/// S15: release pending, clear confirmed, fresh. The link and its live subscriptions stay.
fn refresh(look: &Snapshot, policy: &Policy, roll: u64) -> Option<Plan> {
    let next = Timestamp::from_secs(look.now.as_secs() + refresh_after(policy.refresh_secs, roll));
    (look.now >= look.refresh_at).then(|| Plan {
        refresh: Some(next),
        look_again: Some(look.now),
        report: Report::of(look, Reason::Refresh { next }),
        ..Plan::default()
    })
}

/// S16: nothing wanted, pending or confirmed for a minute. Bootstrap upstreams and home never (I6).
fn hang_up(look: &Snapshot) -> Option<Plan> {
    let since = look.empty_since.filter(|_| look.role == Role::Listed)?;
    let hang_up_at = Timestamp::from_secs(since.as_secs() + EMPTY_GRACE_SECS);
    let is_due = look.now >= hang_up_at;
    Some(Plan {
        asks: if is_due { vec![Ask::HangUp { reason: HangUpReason::Empty }] } else { Vec::new() },
        look_again: (!is_due).then_some(hang_up_at),
        report: Report::of(look, Reason::Empty { hang_up_at }),
        ..Plan::default()
    })
}

/// S5, S8, S9: the orders that begin a link. Repeated until the session says that it took them.
fn open(look: &Snapshot, resume: Resume, policy: &Policy) -> Plan {
    let filter = filters::layer1(look.role);
    let asks = match resume {
        Resume::Fresh => vec![Ask::OpenAnnouncements { filter, since: None, method: method(look) }],
        Resume::CatchUp { since } => vec![
            Ask::OpenAnnouncements { filter, since: Some(since), method: Method::Req },
            catch_up(look, since, live_limit(look, policy)),
        ],
    };
    Plan { asks, report: Report::of(look, Reason::Open { resume }), ..Plan::default() }
}

fn catch_up(look: &Snapshot, since: Timestamp, limit: usize) -> Ask {
    let (live, polled) = consolidation::parted(filters::live_of_all(covered(look)), limit);
    Ask::CatchUp { live, polled, since, layout: look.layout }
}

/// S18, and the wait after incomplete batches.
fn cool_down(look: &Snapshot) -> Option<Plan> {
    let until = look.ask_at.filter(|at| *at > look.now && look.wanted > 0)?;
    Some(Plan { look_again: Some(until), report: Report::of(look, Reason::CoolDown { until }), ..Plan::default() })
}

/// The live filters are not those of the chunks: items left, or a consolidation was claimed. Ordered until the session says
/// that it took them, so that no order can be lost.
fn rebuild(look: &Snapshot, policy: &Policy) -> Option<Plan> {
    let layout = look.rebuild?;
    if let Some(plan) = consolidate(look, policy).filter(|plan| !plan.rechunk.is_empty()) {
        return Some(plan);
    }
    let (live, polled) = consolidation::parted(filters::live_of_all(covered(look)), live_limit(look, policy));
    let report = Report::of(look, Reason::Rebuild { filters: live.len() + polled.len() });
    let since = resume::overlapped(look.now);
    Some(Plan { asks: vec![Ask::Rebuild { live, polled, since, layout }], report, ..Plan::default() })
}

/// S14: rebuild the live filters without holes, once nothing is pending. The claim makes the rebuild due.
fn consolidate(look: &Snapshot, policy: &Policy) -> Option<Plan> {
    let (room, limit) = (Room::of(&look.learned), live_limit(look, policy));
    let crowd = Crowd { chunks: look.chunks, members: members(look), largest: look.largest };
    if !consolidation::is_due(&crowd, &room, limit) || covered(look).is_empty() {
        return None;
    }
    if look.pending > 0 {
        let report = Report::of(look, Reason::ConsolidationWaits { pending: look.pending });
        return Some(Plan { report, ..Plan::default() });
    }
    let refs = consolidation::refs(crowd.members, &room, limit);
    let rechunk = consolidation::rechunked(covered(look).iter().map(|covered| covered.item.clone()), refs, &room);
    let top = rechunk.last().map_or(0, |(_, chunk)| chunk + 1);
    let gains_nothing = top >= look.chunks.0.max(look.chunks.1) && !consolidation::is_oversize(look.largest, &room);
    if rechunk.is_empty() || gains_nothing {
        // What stands alone in its filters fills no chunk: a rebuild would gain nothing, again and again.
        return None;
    }
    let from = consolidation::live_count(look.chunks);
    let to = consolidation::live_count((top, 0));
    Some(Plan {
        rechunk,
        look_again: Some(look.now),
        report: Report::of(look, Reason::Consolidate { from, to }),
        ..Plan::default()
    })
}

/// S4: what is missing becomes batches, as many as may be in flight.
fn fetch(look: &Snapshot, policy: &Policy) -> Plan {
    let free = BATCHES_IN_FLIGHT.saturating_sub(look.batches_in_flight);
    let batches = drafts::draft(look, free, live_limit(look, policy));
    let items = batches.iter().map(|batch| batch.draft.items.len() as u64).sum();
    let report = Report::of(look, drafts::reason(look, batches.len(), items));
    Plan { batches, report, ..Plan::default() }
}

/// S12: negentropy is tried, unless it was refused since the last refresh.
fn method(look: &Snapshot) -> Method {
    match look.learned.nip77 {
        Some(Nip77::Refused { .. }) => Method::Req,
        Some(Nip77::Works { .. }) | None => Method::Negentropy,
    }
}

fn live_limit(look: &Snapshot, policy: &Policy) -> usize {
    Room::of(&look.learned).live_limit(policy.live_limit)
}

fn covered(look: &Snapshot) -> &[Covered] {
    look.covered.as_deref().unwrap_or_default()
}

/// Repos and roots among the covered items; where they are not listed, as many as fill their chunks.
fn members(look: &Snapshot) -> (u64, u64) {
    let full = |chunks: u32| u64::from(chunks) * u64::from(crate::rules::REFS_PER_FILTER);
    let Some(covered) = &look.covered else { return (full(look.chunks.0), full(look.chunks.1)) };
    let count = |kind| covered.iter().filter(|covered| covered.item.kind() == kind).count() as u64;
    (count(ItemKind::Repo), count(ItemKind::Root))
}

#[cfg(test)]
mod tests;
