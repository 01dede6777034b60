//! What must hold at every moment (I1–I12), as functions that say what is wrong.
//!
//! Owns: the statements. Never: when they are asked; simulations and scripts ask after every step, tests break each one
//! on purpose.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use model::{Ask, EventId, Filter, HangUpReason, LinkView, Resume, Role, UpstreamId};

use crate::book::{Book, Relay, Status};
use crate::plan::Plan;
use crate::room::REFS_AT_MOST;
use crate::session::Session;

/// A broken invariant, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{invariant} is broken: {what}")]
pub struct Violation {
    pub invariant: &'static str,
    pub what: String,
}

/// All that can be asked of a book alone: I1, I2, and that no chunk holds more than a filter may name (I4).
///
/// # Errors
/// The first statement that does not hold.
pub fn of_book(book: &Book) -> Result<(), Violation> {
    i01_pending_belongs_to_a_living_link(book)?;
    i02_an_item_has_one_state(book)?;
    i04_no_chunk_holds_more_than_a_filter_names(book)
}

/// I1: nothing is pending unless its epoch is the relay's and the link is up.
///
/// # Errors
/// A pending item or an open batch of a dead link.
pub fn i01_pending_belongs_to_a_living_link(book: &Book) -> Result<(), Violation> {
    for (_, relay) in book.relays() {
        let is_pending = relay.counts().pending > 0 || relay.batches().next().is_some();
        if is_pending && !relay.is_up() {
            return broken("I1", format!("{} is down and has pending items", relay.url));
        }
        if let Some((id, batch)) = relay.batches().find(|(_, batch)| batch.epoch != relay.epoch) {
            let what = format!("batch {id} on {} is of epoch {}, the link of epoch {}", relay.url, batch.epoch, relay.epoch);
            return broken("I1", what);
        }
    }
    Ok(())
}

/// I2: an item has one state; a pending one is in exactly the batch that it names.
///
/// # Errors
/// An item and its batch disagree, or two batches claim one item.
pub fn i02_an_item_has_one_state(book: &Book) -> Result<(), Violation> {
    for (_, relay) in book.relays() {
        let mut batch_of = BTreeMap::new();
        for (id, item) in relay.batches().flat_map(|(id, batch)| batch.items.iter().map(move |item| (id, item))) {
            if let Some(other) = batch_of.insert(item, id) {
                return broken("I2", format!("{item} on {} is in the batches {other} and {id}", relay.url));
            }
        }
        for (item, row) in relay.rows() {
            let named = match row.status {
                Status::Pending(batch) => Some(batch),
                Status::Wanted | Status::Confirmed => None,
            };
            if named != batch_of.get(item).copied() {
                let what = format!("{item} on {} is {:?}, and in batch {:?}", relay.url, row.status, batch_of.get(item));
                return broken("I2", what);
            }
        }
    }
    Ok(())
}

/// I3: live subscriptions ≤ the upstream's limit, after settling.
///
/// # Errors
/// The session has more open or asked for.
pub fn i03_live_subscriptions_fit_the_limit(session: &Session, limit: usize) -> Result<(), Violation> {
    let count = session.live_count();
    holds("I3", count <= limit, || format!("{count} live subscriptions, {limit} are allowed"))
}

/// I4: at most 300 refs a filter (100, where there is room for more filters).
///
/// # Errors
/// The first filter that names more.
pub fn i04_no_filter_names_too_many<'a>(filters: impl IntoIterator<Item = &'a Filter>) -> Result<(), Violation> {
    let most = |filter: &Filter| filter.generic_tags.values().map(BTreeSet::len).max().unwrap_or(0);
    match filters.into_iter().map(most).find(|count| *count > REFS_AT_MOST) {
        Some(count) => broken("I4", format!("a filter names {count} items, {REFS_AT_MOST} are allowed")),
        None => Ok(()),
    }
}

/// I4, before it is a filter: a chunk's live filter names all its members.
///
/// # Errors
/// The first chunk with more members than a filter may name.
pub fn i04_no_chunk_holds_more_than_a_filter_names(book: &Book) -> Result<(), Violation> {
    for (_, relay) in book.relays() {
        let mut members: BTreeMap<_, usize> = BTreeMap::new();
        for (item, row) in relay.rows() {
            if let Some(chunk) = row.chunk {
                *members.entry((item.kind(), chunk)).or_default() += 1;
            }
        }
        if let Some(((kind, chunk), count)) = members.into_iter().find(|(_, count)| *count > REFS_AT_MOST) {
            return broken("I4", format!("chunk {chunk} of {kind:?} on {} has {count} members", relay.url));
        }
    }
    Ok(())
}

/// I5: fresh has no `since`. On a catch-up the opening orders carry one; a batch's history never does.
///
/// # Errors
/// An order of a fresh link, or the history of a batch, is bounded by `since`.
pub fn i05_fresh_has_no_since(resume: Resume, asks: &[Ask]) -> Result<(), Violation> {
    let is_fresh = resume == Resume::Fresh;
    let has_since = |ask: &&Ask| match ask {
        Ask::OpenAnnouncements { since, .. } => is_fresh && since.is_some(),
        Ask::CatchUp { .. } => is_fresh,
        Ask::Fetch { history, .. } => history.iter().any(|filter| filter.since.is_some()),
        // S14: the overlap of a rebuild is no gap in the history, which was read before.
        Ask::Rebuild { .. } | Ask::Audit { .. } | Ask::HangUp { .. } => false,
    };
    match asks.iter().find(has_since) {
        Some(ask) => broken("I5", format!("{ask:?} on a link that resumes {resume:?}")),
        None => Ok(()),
    }
}

/// I6: bootstrap upstreams, and home, are never hung up for being empty.
///
/// # Errors
/// The orders hang up such a relay.
pub fn i06_only_listed_upstreams_are_hung_up(role: Role, asks: &[Ask]) -> Result<(), Violation> {
    let is_hung_up = asks.contains(&Ask::HangUp { reason: HangUpReason::Empty });
    holds("I6", role == Role::Listed || !is_hung_up, || format!("a {} relay is hung up for being empty", role.as_str()))
}

/// I7: one live session per upstream. `sessions`: the upstreams of all sessions whose lease holds.
///
/// # Errors
/// An upstream occurs twice.
pub fn i07_one_session_per_upstream(sessions: impl IntoIterator<Item = UpstreamId>) -> Result<(), Violation> {
    let mut seen = BTreeSet::new();
    match sessions.into_iter().find(|upstream| !seen.insert(*upstream)) {
        Some(upstream) => broken("I7", format!("two sessions on upstream {upstream}")),
        None => Ok(()),
    }
}

/// I8: confirmed ⇒ every event that the upstream served for the item has a final outcome. `served`: what an upstream holds
/// for its confirmed items; `settled`: every event with a final outcome.
///
/// # Errors
/// An event was served and has no outcome.
pub fn i08_confirmed_is_settled(served: &BTreeSet<EventId>, settled: &BTreeSet<EventId>) -> Result<(), Violation> {
    let open: Vec<&EventId> = served.difference(settled).collect();
    holds("I8", open.is_empty(), || format!("{} events of confirmed items have no outcome: {}", open.len(), Few(&open)))
}

/// I9: home holds the union of what its upstreams serve and home accepts.
///
/// # Errors
/// Events that home should hold and does not.
pub fn i09_home_is_complete(home: &BTreeSet<EventId>, expected: &BTreeSet<EventId>) -> Result<(), Violation> {
    let missing: Vec<&EventId> = expected.difference(home).collect();
    holds("I9", missing.is_empty(), || format!("home lacks {} events: {}", missing.len(), Few(&missing)))
}

/// I9: once faults stop, every target of a relay that is up is confirmed.
///
/// # Errors
/// The first relay with items that are not.
pub fn i09_every_target_is_confirmed(book: &Book) -> Result<(), Violation> {
    let is_open = |relay: &&Relay| relay.is_up() && relay.counts().wanted + relay.counts().pending > 0;
    match book.relays().map(|(_, relay)| relay).find(is_open) {
        Some(relay) => {
            let counts = relay.counts();
            broken("I9", format!("{} has {} wanted and {} pending", relay.url, counts.wanted, counts.pending))
        }
        None => Ok(()),
    }
}

/// I10: a settled system asks for nothing.
///
/// # Errors
/// The plan asks for something.
pub fn i10_settled_asks_for_nothing(plan: &Plan) -> Result<(), Violation> {
    holds("I10", plan.asks_for_nothing(), || format!("a settled system plans: {}", plan.report))
}

/// I10: nothing of a settled book waits for anything but time: every link that is up is opened and caught up.
///
/// # Errors
/// The first link that is up and not caught up.
pub fn i10_settled_links_are_caught_up(book: &Book) -> Result<(), Violation> {
    let is_caught_up =
        |link: &LinkView| !matches!(link, LinkView::Up { opened: false, .. } | LinkView::Up { caught_up: false, .. });
    match book.relays().find(|(_, relay)| !is_caught_up(&relay.link)) {
        Some((_, relay)) => broken("I10", format!("{} is up and did not catch up", relay.url)),
        None => Ok(()),
    }
}

/// I11: same seed, same log.
///
/// # Errors
/// The first line at which two logs of one run differ.
pub fn i11_same_run_same_log(one: &str, other: &str) -> Result<(), Violation> {
    if one == other {
        return Ok(());
    }
    let differing = one.lines().zip(other.lines()).enumerate().find(|(_, (one, other))| one != other);
    broken(
        "I11",
        match differing {
            Some((line, (one, other))) => format!("line {} is {one:?} and {other:?}", line + 1),
            None => format!("one log has {} lines, the other {}", one.lines().count(), other.lines().count()),
        },
    )
}

/// I12: what a catch-up does not read again is settled (S9). `skipped`: what the upstream holds for its confirmed items and for
/// layer 1, dated before the catch-up's `since`; `settled`: every event with a final outcome.
///
/// # Errors
/// An event is passed over and has no outcome.
pub fn i12_a_catch_up_skips_nothing(skipped: &BTreeSet<EventId>, settled: &BTreeSet<EventId>) -> Result<(), Violation> {
    let open: Vec<&EventId> = skipped.difference(settled).collect();
    holds("I12", open.is_empty(), || format!("a catch-up passes over {} events without an outcome: {}", open.len(), Few(&open)))
}

fn holds(invariant: &'static str, is_true: bool, what: impl FnOnce() -> String) -> Result<(), Violation> {
    if is_true { Ok(()) } else { broken(invariant, what()) }
}

fn broken(invariant: &'static str, what: String) -> Result<(), Violation> {
    Err(Violation { invariant, what })
}

/// The first few ids of many.
struct Few<'a>(&'a [&'a EventId]);

impl fmt::Display for Few<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<String> = self.0.iter().take(3).map(|id| id.to_hex().chars().take(8).collect()).collect();
        f.write_str(&ids.join(", "))
    }
}

#[cfg(test)]
mod tests;
