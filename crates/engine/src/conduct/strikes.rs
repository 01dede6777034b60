//! How long a peer is left alone whose link was ended for its conduct: longer each time, and forgotten when it behaves.

use model::Timestamp;

/// No ban is shorter (seconds).
pub const SHORTEST_BAN_SECS: u64 = 600;
/// How long (seconds) after the first, the second and every further time. The first is over before anybody misses much; a day
/// is what a dead upstream waits.
const BANS_SECS: [u64; 3] = [SHORTEST_BAN_SECS, 3_600, 86_400];
/// A time without another for this long (seconds), from the end of the ban on, is forgotten.
const HEALS_SECS: u64 = 86_400;

/// How often a peer was left alone lately. Durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Strikes {
    pub count: u32,
    /// When the last one was.
    pub at: Option<Timestamp>,
}

impl Strikes {
    /// One more at `now`.
    #[must_use]
    pub fn after_another(self, now: Timestamp) -> Self {
        Self { count: self.healed(now).saturating_add(1), at: Some(now) }
    }

    /// Until when it is left alone. `roll` is a random number that spreads the dials.
    #[must_use]
    pub fn banned_until(self, roll: u64) -> Option<Timestamp> {
        let ban = self.ban_secs()?;
        self.at.map(|at| Timestamp::from_secs(at.as_secs() + ban + roll % (ban / 10)))
    }

    /// How many of them still count at `now`.
    #[must_use]
    pub fn healed(self, now: Timestamp) -> u32 {
        let (Some(at), Some(ban)) = (self.at, self.ban_secs()) else { return 0 };
        let behaved = now.as_secs().saturating_sub(at.as_secs() + ban);
        self.count.saturating_sub(u32::try_from(behaved / HEALS_SECS).unwrap_or(u32::MAX))
    }

    fn ban_secs(self) -> Option<u64> {
        let nth = usize::try_from(self.count).unwrap_or(usize::MAX).min(BANS_SECS.len());
        nth.checked_sub(1).map(|place| BANS_SECS[place])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn x5_a_peer_that_floods_again_and_again_is_left_alone_for_ten_minutes_an_hour_and_then_a_day_each() {
        let (mut strikes, mut now, mut waits) = (Strikes::default(), 1_000, Vec::new());
        for _ in 0..5 {
            strikes = strikes.after_another(at(now));
            let until = strikes.banned_until(0).map_or(0, |until| until.as_secs());
            waits.push(until - now);
            now = until + 5;
        }
        assert_eq!(waits, [600, 3_600, 86_400, 86_400, 86_400]);
    }

    #[test]
    fn each_day_of_good_conduct_takes_one_back() {
        let struck = Strikes { count: 3, at: Some(at(1_000)) };
        let day = |n: u64| at(1_000 + 86_400 * (n + 1));
        assert_eq!([0, 1, 2, 3, 9].map(|n| struck.healed(day(n))), [3, 2, 1, 0, 0]);
        assert_eq!(struck.after_another(day(3)), Strikes { count: 1, at: Some(day(3)) });
        assert_eq!(Strikes::default().banned_until(7), None);
    }

    #[test]
    fn bans_end_at_different_moments_and_never_early() {
        let struck = Strikes::default().after_another(at(0));
        let ends: Vec<u64> = (0..100).filter_map(|roll| struck.banned_until(roll)).map(|until| until.as_secs()).collect();
        assert!(ends.iter().all(|end| (600..660).contains(end)) && ends.iter().any(|end| *end != ends[0]));
    }
}
