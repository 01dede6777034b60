//! How a new link starts (S8, S9): fresh, or what came since the last moment known good.

use model::{Resume, Timestamp};

use crate::rules::SINCE_OVERLAP_SECS;

/// S8, S9: what a link that comes up at `now` does, when everything up to `last_up` is known to be covered.
///
/// `last_up` is the last moment at which the former link lived with nothing left behind; none on first contact.
#[must_use]
pub fn resume(last_up: Option<Timestamp>, now: Timestamp, quick_reconnect_secs: u64) -> Resume {
    match last_up {
        Some(last_up) if now.as_secs().saturating_sub(last_up.as_secs()) <= quick_reconnect_secs => {
            Resume::CatchUp { since: overlapped(last_up.min(now)) }
        }
        Some(_) | None => Resume::Fresh,
    }
}

/// `moment` less the overlap that covers events dated in the past.
#[must_use]
pub fn overlapped(moment: Timestamp) -> Timestamp {
    Timestamp::from_secs(moment.as_secs().saturating_sub(SINCE_OVERLAP_SECS))
}

/// The moment that [`overlapped`] reached back from.
#[must_use]
pub fn unoverlapped(since: Timestamp) -> Timestamp {
    Timestamp::from_secs(since.as_secs().saturating_add(SINCE_OVERLAP_SECS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::QUICK_RECONNECT_SECS;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn s08_first_contact_is_fresh() {
        assert_eq!(resume(None, at(1_000_000), QUICK_RECONNECT_SECS), Resume::Fresh);
    }

    #[test]
    fn s08_an_outage_of_more_than_fifteen_minutes_is_fresh() {
        assert_eq!(resume(Some(at(1_000_000)), at(1_000_901), QUICK_RECONNECT_SECS), Resume::Fresh);
    }

    #[test]
    fn s09_an_outage_of_fifteen_minutes_is_caught_up_from_fifteen_minutes_before_it() {
        let since = at(1_000_000 - 900);
        assert_eq!(resume(Some(at(1_000_000)), at(1_000_900), QUICK_RECONNECT_SECS), Resume::CatchUp { since });
    }

    #[test]
    fn s09_a_clock_that_jumped_back_reaches_further_back_not_less() {
        let since = at(999_000 - 900);
        assert_eq!(resume(Some(at(1_000_000)), at(999_000), QUICK_RECONNECT_SECS), Resume::CatchUp { since });
    }
}
