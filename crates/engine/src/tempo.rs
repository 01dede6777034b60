//! How fast one host is asked (S18), over all links to it and from one link to the next.
//!
//! Owns: the ladders of its refusals, its cooldown, the distance between requests, and a bucket of our own beneath them.
//! Never: which request it is, a clock. Moments are milliseconds of one clock for all links of a process.

use crate::pace::{Pace, READING};

/// Requests that may be sent at once after a rest, and milliseconds for each one more. What a relay says of itself goes down
/// to 100 at once; a stretch of history takes a request for hundreds of events.
const AT_ONCE: u64 = 100;
const EACH_MS: u64 = 50;

/// The state of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tempo {
    pace: Pace,
    /// The next request is not sent before this moment: what refusals have cost.
    apart_until_ms: u64,
    /// The cooldown that is on ends at this moment.
    rests_until_ms: u64,
    /// When the bucket is full again; none where there is no bucket.
    full_at_ms: Option<u64>,
}

/// Where a host stands, for whoever counts hosts. Closed; the first that is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// A cooldown is on.
    Resting,
    /// Fewer requests side by side.
    Narrowed,
    /// Requests come further apart.
    Spaced,
    Full,
}

impl Standing {
    pub const ALL: [Self; 4] = [Self::Resting, Self::Narrowed, Self::Spaced, Self::Full];

    /// A stable word for metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resting => "resting",
            Self::Narrowed => "narrowed",
            Self::Spaced => "spaced",
            Self::Full => "full",
        }
    }
}

impl Default for Tempo {
    fn default() -> Self {
        Self { full_at_ms: Some(0), ..Self::unbounded() }
    }
}

impl Tempo {
    /// Without a bucket of our own: home, which the operator answers for.
    #[must_use]
    pub fn unbounded() -> Self {
        Self { pace: Pace::new(READING), apart_until_ms: 0, rests_until_ms: 0, full_at_ms: None }
    }

    /// When the next request may be sent.
    #[must_use]
    pub fn asks_at(&self) -> u64 {
        let has_one = self.full_at_ms.map_or(0, |full| full.saturating_sub((AT_ONCE - 1) * EACH_MS));
        self.rests_until_ms.max(self.apart_until_ms).max(has_one)
    }

    /// Whether nothing is remembered that would change how it is asked.
    #[must_use]
    pub fn is_calm(&self, now_ms: u64) -> bool {
        let is_past = |moment: u64| moment <= now_ms;
        let moments = [self.rests_until_ms, self.apart_until_ms, self.full_at_ms.unwrap_or(0)];
        !self.pace.is_slowed() && moments.into_iter().all(is_past)
    }

    #[must_use]
    pub fn standing(&self, now_ms: u64) -> Standing {
        if now_ms < self.rests_until_ms {
            Standing::Resting
        } else if self.pace.is_narrowed() {
            Standing::Narrowed
        } else if self.pace.is_slowed() {
            Standing::Spaced
        } else {
            Standing::Full
        }
    }

    /// Requests side by side, on each link.
    pub(crate) fn width(&self) -> usize {
        self.pace.width()
    }

    /// A request is sent.
    pub(crate) fn asked(&mut self, now_ms: u64) {
        let spacing = self.pace.spacing_ms();
        if spacing > 0 {
            self.apart_until_ms = now_ms + spacing;
        }
        self.full_at_ms = self.full_at_ms.map(|full| full.max(now_ms) + EACH_MS);
    }

    /// "Slow down": the cooldown (seconds), rounded up. What several links are told during one of them counts once.
    pub(crate) fn rate_limited(&mut self, now_ms: u64) -> u64 {
        if now_ms >= self.rests_until_ms {
            self.rests_until_ms = now_ms + self.pace.rate_limited(now_ms) * 1000;
        }
        (self.rests_until_ms - now_ms).div_ceil(1000)
    }

    pub(crate) fn too_many(&mut self, now_ms: u64) {
        self.pace.too_many(now_ms);
    }

    pub(crate) fn answered(&mut self, now_ms: u64) {
        self.pace.answered(now_ms);
    }

    pub(crate) fn ended_well(&mut self) {
        self.pace.ended_well();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many requests are sent until `end_ms` by somebody who always has one.
    fn sent(tempo: &mut Tempo, end_ms: u64) -> usize {
        let mut count = 0;
        while tempo.asks_at() <= end_ms {
            tempo.asked(tempo.asks_at());
            count += 1;
        }
        count
    }

    #[test]
    fn a_burst_is_let_through_and_then_so_many_a_second() {
        let mut tempo = Tempo::default();
        assert_eq!(sent(&mut tempo, 0), 100);
        assert_eq!(sent(&mut tempo, 1_000), 20);
        assert!(!tempo.is_calm(1_000) && tempo.is_calm(6_000));
    }

    #[test]
    fn s18_where_a_host_stands_has_a_word() {
        let mut tempo = Tempo::default();
        assert_eq!(tempo.standing(0), Standing::Full);
        tempo.rate_limited(0);
        assert_eq!((tempo.standing(4_999), tempo.standing(5_000)), (Standing::Resting, Standing::Spaced));
        tempo.too_many(5_000);
        assert_eq!(tempo.standing(5_000), Standing::Narrowed);
    }

    #[test]
    fn home_has_no_bucket() {
        let mut tempo = Tempo::unbounded();
        (0..10_000).for_each(|_| tempo.asked(7));
        assert_eq!(tempo.asks_at(), 0);
    }

    #[test]
    fn l08_what_two_links_are_told_in_one_cooldown_counts_once() {
        let mut tempo = Tempo::default();
        assert_eq!(tempo.rate_limited(1_000), 5);
        assert_eq!(tempo.rate_limited(3_500), 3, "what is left of it");
        assert_eq!(tempo.asks_at(), 6_000);
        assert_eq!(tempo.rate_limited(6_000), 10, "one more is the second");
        tempo.asked(16_000);
        assert_eq!(tempo.asks_at(), 16_500, "two steps apart");
    }
}
