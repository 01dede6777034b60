//! How fast a relay is asked (S18): what "slow down" and "too many" cost, and how that heals.
//!
//! Owns: the cooldown and two ladders, how many requests run side by side and how far apart they are. Never: what a refusal
//! means, what is held back, a clock.

/// Between two requests (milliseconds), step by step.
pub const SPACING_MS: [u64; 5] = [0, 250, 500, 1_000, 2_000];
/// A step of a ladder is taken back after this long (milliseconds) without a refusal: full speed comes back within minutes.
pub const HEAL_AFTER_MS: u64 = 60_000;

/// The figures of one kind of peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The first cooldown and the longest (seconds).
    pub cooldown_secs: (u64, u64),
    /// Requests side by side, step by step, the widest first.
    pub widths: &'static [usize],
}

/// A relay that we read from.
pub const READING: Terms = Terms { cooldown_secs: crate::rules::COOLDOWN_SECS, widths: &[6, 3, 2, 1] };
/// Home, as we write to it: events without an OK.
pub const WRITING: Terms = Terms { cooldown_secs: (1, 30), widths: &[usize::MAX, 32, 8, 2] };

/// What the refusals of one connection have cost so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    terms: Terms,
    cooldown_secs: u64,
    spacing: usize,
    width: usize,
    /// When a ladder moved last (milliseconds).
    moved_ms: u64,
}

impl Pace {
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        Self { terms, cooldown_secs: terms.cooldown_secs.0, spacing: 0, width: 0, moved_ms: 0 }
    }

    /// "Slow down": requests come further apart, and fewer side by side where that was not enough. Answers with the
    /// cooldown (seconds) before the next one; the one after it is twice as long.
    pub fn rate_limited(&mut self, now_ms: u64) -> u64 {
        let seconds = self.cooldown_secs;
        self.cooldown_secs = (seconds * 2).min(self.terms.cooldown_secs.1);
        if self.spacing + 1 < SPACING_MS.len() {
            self.spacing += 1;
            self.moved_ms = now_ms;
        } else {
            self.too_many(now_ms);
        }
        seconds
    }

    /// "Too many at once": fewer side by side.
    pub fn too_many(&mut self, now_ms: u64) {
        self.width = (self.width + 1).min(self.terms.widths.len() - 1);
        self.moved_ms = now_ms;
    }

    /// An answer that was no refusal: each ladder is a step up again for every while that went without one.
    pub fn answered(&mut self, now_ms: u64) {
        let whiles = now_ms.saturating_sub(self.moved_ms) / HEAL_AFTER_MS;
        if self.is_slowed() && whiles > 0 {
            let steps = usize::try_from(whiles).unwrap_or(usize::MAX);
            self.spacing = self.spacing.saturating_sub(steps);
            self.width = self.width.saturating_sub(steps);
            self.moved_ms = now_ms;
        }
    }

    /// A stretch of work ended well: the next cooldown is half as long.
    pub fn ended_well(&mut self) {
        self.cooldown_secs = (self.cooldown_secs / 2).max(self.terms.cooldown_secs.0);
    }

    /// Milliseconds between two requests.
    #[must_use]
    pub fn spacing_ms(&self) -> u64 {
        SPACING_MS[self.spacing]
    }

    /// Requests side by side.
    #[must_use]
    pub fn width(&self) -> usize {
        self.terms.widths[self.width]
    }

    /// Whether fewer requests run side by side than could.
    #[must_use]
    pub fn is_narrowed(&self) -> bool {
        self.width > 0
    }

    /// Whether a refusal still costs something beside its cooldown.
    #[must_use]
    pub fn is_slowed(&self) -> bool {
        self.spacing > 0 || self.width > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    enum Said {
        SlowDown,
        TooMany,
        Answer,
    }
    use Said::{Answer, SlowDown, TooMany};

    /// What was said at which second; then the spacing and the width.
    type Case<'a> = (&'a [(u64, Said)], (u64, usize));

    fn after(told: &[(u64, Said)]) -> (u64, usize) {
        let mut pace = Pace::new(READING);
        for (secs, said) in told {
            match said {
                SlowDown => _ = pace.rate_limited(secs * 1000),
                TooMany => pace.too_many(secs * 1000),
                Answer => pace.answered(secs * 1000),
            }
        }
        (pace.spacing_ms(), pace.width())
    }

    #[test]
    fn l08_what_a_relay_says_moves_the_ladders_step_by_step() {
        let table: &[Case] = &[
            (&[], (0, 6)),
            (&[(0, SlowDown)], (250, 6)),
            (&[(0, SlowDown), (9, SlowDown)], (500, 6)),
            (&[(0, SlowDown), (1, SlowDown), (2, SlowDown), (3, SlowDown)], (2_000, 6)),
            (&[(0, SlowDown), (1, SlowDown), (2, SlowDown), (3, SlowDown), (4, SlowDown)], (2_000, 3)),
            (&[(0, TooMany)], (0, 3)),
            (&[(0, TooMany), (1, TooMany)], (0, 2)),
            (&[(0, TooMany), (1, TooMany), (2, TooMany), (3, TooMany)], (0, 1)),
            (&[(0, SlowDown), (59, Answer)], (250, 6)),
            (&[(0, SlowDown), (60, Answer)], (0, 6)),
            (&[(0, SlowDown), (1, TooMany), (61, Answer)], (0, 6)),
            (&[(0, SlowDown), (0, SlowDown), (60, Answer), (61, Answer), (119, Answer)], (250, 6)),
            (&[(0, SlowDown), (0, SlowDown), (60, Answer), (61, Answer), (120, Answer)], (0, 6)),
            (&[(0, SlowDown), (0, SlowDown), (0, SlowDown), (120, Answer)], (250, 6)),
            (&[(0, SlowDown), (50, SlowDown), (70, Answer)], (500, 6)),
            (&[(70, Answer), (71, SlowDown), (80, Answer)], (250, 6)),
        ];
        for (told, expected) in table {
            assert_eq!(after(told), *expected, "{told:?}");
        }
    }

    #[test]
    fn l01_a_limit_that_lifts_is_forgotten_within_minutes() {
        let mut pace = Pace::new(READING);
        for secs in 0..20 {
            pace.rate_limited(secs * 1000);
        }
        assert_eq!((pace.spacing_ms(), pace.width()), (2_000, 1));
        let mut secs = 20;
        while pace.is_slowed() {
            secs += 1;
            pace.answered(secs * 1000);
        }
        assert!(secs < 6 * 60, "{secs} s");
    }

    #[test]
    fn s18_the_cooldown_doubles_up_to_its_longest_and_halves_down_to_its_first() {
        let mut pace = Pace::new(READING);
        let grown: Vec<u64> = (0..9).map(|_| pace.rate_limited(0)).collect();
        assert_eq!(grown, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        for _ in 0..3 {
            pace.ended_well();
        }
        assert_eq!(pace.rate_limited(0), 37);
        for _ in 0..9 {
            pace.ended_well();
        }
        assert_eq!(pace.rate_limited(0), 5);
    }
}
