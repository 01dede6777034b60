//! The numbers of the sync rules. Each names its rule; operators may change those that a `Policy` carries.

use model::ItemKind;

use crate::caps::Caps;

/// S2: discoveries are gathered this long, counted from the first one (milliseconds).
pub const DISCOVERY_WINDOW_MS: u64 = 5_000;
/// S6, S7: repos or roots named by one filter.
pub const REFS_PER_FILTER: u32 = 100;
/// S8, S9: an outage up to this long (seconds) is caught up; a longer one starts fresh.
pub const QUICK_RECONNECT_SECS: u64 = 15 * 60;
/// S9, S14: how far `since` reaches back (seconds) behind the last moment known good: events are dated by their authors.
pub const SINCE_OVERLAP_SECS: u64 = 15 * 60;
/// S9: what a quick reconnect cannot see, events dated long before the gap, is looked for this long (seconds) after it.
pub const AUDIT_AFTER_SECS: u64 = 30 * 60;
/// S9: a part of an audit of which nothing is heard for this long (seconds) is asked for again.
pub const AUDIT_AGAIN_SECS: u64 = 5 * 60;
/// The order in which kinds of items are asked for: what takes events away before the events, roots after the repos that they
/// belong to, what is only named at last.
pub const WANTED_ORDER: [ItemKind; 4] = [ItemKind::Participant, ItemKind::Repo, ItemKind::Root, ItemKind::Named];

/// Roots of one author on one repo of somebody else's that are asked for by themselves (layer 3): ten chunks. Whole code hosts
/// have a few thousand by all authors together.
pub const ROOTS_PER_AUTHOR: usize = 1_000;

/// Participants of one repo that are asked for deletions: ten filters. Further ones have their deletions only by what these
/// tag.
pub const PARTICIPANTS_PER_REPO: u32 = 1_000;

/// Ids that one event names and that are looked for, and ids of one repo that are looked for at any time.
pub const NAMED_PER_EVENT: usize = 10;
pub const NAMED_PER_REPO: u32 = 1_000;

/// How long (seconds) an event that is named may still come by itself before it is asked for by its id: its own filters bring
/// most of them.
pub const NAMED_AFTER_SECS: u64 = 60;

/// S14: live subscriptions per link, layer 1 included; less where the upstream allows less.
pub const LIVE_LIMIT: usize = 70;
/// S15: the shortest and the longest time between two refreshes of one upstream (seconds).
pub const REFRESH_SECS: (u64, u64) = (23 * 3600, 25 * 3600);
/// S16: an upstream is hung up after it has been empty this long (seconds).
pub const EMPTY_GRACE_SECS: u64 = 60;
/// S17: the first wait after a failure (seconds); it doubles with each further one.
pub const BACKOFF_BASE_SECS: u64 = 5;
/// S17: the longest wait of a degraded upstream (seconds).
pub const BACKOFF_CAP_SECS: u64 = 3600;
/// S17: an upstream that has failed this long (seconds) is dead, and tried once a day.
pub const DEAD_AFTER_SECS: u64 = 24 * 3600;
/// Some relays ban an address for two seconds after each disconnect: no redial is sooner than this (seconds).
pub const REDIAL_SECS: u64 = 3;
/// S18: the first cooldown after "rate-limited" (seconds); it doubles while the upstream repeats it.
pub const COOLDOWN_SECS: (u64, u64) = (5, 300);

/// Batches in flight per upstream: enough to keep a link busy, few enough that a drop gives back little.
pub const BATCHES_IN_FLIGHT: usize = 4;
/// Missing items looked at per activation: the batches that may start, and one more to see that there is more.
pub const MISSING_PER_LOOK: usize = (BATCHES_IN_FLIGHT + 1) * REFS_PER_FILTER as usize;
/// A batch without progress for this long (seconds) goes back to wanted. Sessions report progress every few seconds.
pub const BATCH_DEADLINE_SECS: u64 = 60;
/// A batch whose order nobody has heard goes back sooner (seconds): sessions report progress as soon as they have taken it.
pub const BATCH_START_SECS: u64 = 15;
/// How long an upstream's wanted items wait for home's own coverage of them (seconds), so that what home already
/// holds is known before it is asked for elsewhere.
pub const HOME_FIRST_SECS: u64 = 30;

/// The rules that an operator may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub discovery_window_ms: u64,
    pub quick_reconnect_secs: u64,
    pub audit_after_secs: u64,
    pub live_limit: usize,
    pub refresh_secs: (u64, u64),
    pub caps: Caps,
    pub roots_per_author: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            discovery_window_ms: DISCOVERY_WINDOW_MS,
            quick_reconnect_secs: QUICK_RECONNECT_SECS,
            audit_after_secs: AUDIT_AFTER_SECS,
            live_limit: LIVE_LIMIT,
            refresh_secs: REFRESH_SECS,
            caps: Caps::default(),
            roots_per_author: ROOTS_PER_AUTHOR,
        }
    }
}

/// S15: when the next refresh is due. `roll` is a random number; every upstream gets one of its own.
#[must_use]
pub fn refresh_after(secs: (u64, u64), roll: u64) -> u64 {
    let (shortest, longest) = secs;
    shortest + roll % (longest.saturating_sub(shortest) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s15_a_refresh_is_due_between_23_and_25_hours_after_the_last() {
        assert_eq!(refresh_after(REFRESH_SECS, 0), 23 * 3600);
        assert_eq!(refresh_after(REFRESH_SECS, 7200), 25 * 3600);
        assert!((0..50_000).step_by(997).all(|roll| (82_800..=90_000).contains(&refresh_after(REFRESH_SECS, roll))));
    }

    #[test]
    fn a_refresh_interval_without_width_is_taken_as_it_is() {
        assert_eq!(refresh_after((10, 10), 12345), 10);
    }
}
