//! The bounds of what is kept until something arrives, and of what is remembered of it.

use engine::nip11::changes_terms;

use crate::codec;
use crate::failure::Failure;

/// Events kept; the one that was kept first gives way, and is forgotten, so that it can be downloaded again.
pub(crate) const MOST_WAITING: usize = 10_000;
/// Events given out at once: about 3 MB at the most.
pub(crate) const RELEASED_AT_ONCE: usize = 50;
/// Who was given an event says in this time (seconds) what became of it, or another one is given it.
pub(crate) const SETTLED_WITHIN_SECS: i64 = 60;
/// Home drops what it holds without serving it after half an hour (GRASP-01). It is offered again a day later at the
/// soonest (seconds): by then what it waits for may have come.
const HELD_SECS: i64 = 24 * 3600;
/// After a change of policy every upstream is refreshed within this time (seconds), not all at once.
pub(crate) const REFRESHED_WITHIN_SECS: i64 = 3600;

/// Whether what home's terms have kept out may come again, and the terms that are to be remembered.
pub(crate) fn follows_home(before: Option<String>, home_learned: Option<String>) -> Result<Option<(bool, String)>, Failure> {
    let Some(learned) = home_learned else { return Ok(None) };
    let Some(terms) = codec::learned(&learned)?.stated.and_then(|stated| stated.terms) else { return Ok(None) };
    if before.as_ref() == Some(&terms) {
        return Ok(None);
    }
    Ok(Some((changes_terms(before.as_deref(), &terms), terms)))
}

/// Ids that events name and nobody has: forgotten after a week (seconds), after a try a day.
pub(crate) const NAMED_KEPT_SECS: i64 = 7 * 24 * 3600;
/// Ids that become items at once.
pub(crate) const NAMED_AT_ONCE: i64 = 500;

/// Ids that home has lost at once, from which on its upstreams are not left to their daily refresh.
const MANY_LOST: u64 = 1_000;

/// Whether home has lost so much of what it was said to hold that it must be another one, or an older one: a tenth, or a
/// thousand. Older versions go every day.
pub(crate) fn is_a_disaster(lost: u64, held: i64) -> bool {
    lost >= MANY_LOST || (lost > 0 && lost.saturating_mul(10) >= u64::try_from(held).unwrap_or(0))
}

/// What home has held since before this moment is forgotten.
pub(crate) fn held_until(now: i64) -> i64 {
    now.saturating_sub(HELD_SECS)
}
