//! The audit after a quick reconnect (S9): what was confirmed is compared again, a chunk at a time, while nothing else is asked.
//!
//! A catch-up reads what is dated after the gap began. What was published in the gap and is dated before it is seen by an
//! exchange without `since`, which costs next to nothing where both sides are equal.

use model::{Ask, Item, LinkView, Resume, Snapshot, Timestamp};

use super::{Plan, Reason};
use crate::filters;
use crate::rules::AUDIT_AGAIN_SECS;

/// The plan, with the next part of an audit if it asks for nothing else.
pub(super) fn beside(mut plan: Plan, look: &Snapshot) -> Plan {
    let is_catch_up = matches!(look.link, LinkView::Up { resume: Resume::CatchUp { .. }, .. });
    if is_catch_up && look.learned.refuses_nip77() {
        plan.report.reasons.push(Reason::NotAudited);
        return plan;
    }
    let Some(audit) = &look.audit else { return plan };
    if look.now < audit.due_at {
        plan.look_again = Some(plan.look_again.map_or(audit.due_at, |at| at.min(audit.due_at)));
        plan.report.reasons.push(Reason::AuditDue { at: audit.due_at });
        return plan;
    }
    if plan.asks_for_nothing() && is_at_rest(look) {
        plan.audit = Some(Timestamp::from_secs(look.now.as_secs() + AUDIT_AGAIN_SECS));
        plan.asks.push(Ask::Audit { part: audit.part, filters: filters_of(look, audit.part, &audit.items) });
        plan.report.reasons.push(Reason::Audit { part: audit.part, items: audit.items.len() });
    }
    plan
}

fn is_at_rest(look: &Snapshot) -> bool {
    let is_caught_up = matches!(look.link, LinkView::Up { caught_up: true, .. });
    let may_ask = look.ask_at.is_none_or(|at| at <= look.now);
    is_caught_up && may_ask && look.batches_in_flight == 0 && look.missing.is_empty()
}

/// A chunk holds items of one kind. One whose items have left meanwhile has no filters, and is over at once.
fn filters_of(look: &Snapshot, part: u32, items: &[Item]) -> Vec<model::Filter> {
    match (part, items.first()) {
        (0, _) => vec![filters::layer1(look.role)],
        (_, Some(item)) => filters::history(item.kind(), items),
        (_, None) => Vec::new(),
    }
}
