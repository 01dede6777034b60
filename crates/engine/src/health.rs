//! The health of an upstream (S17): what a failure costs, and when it is tried again.

use model::{DownClass, Incomplete, Timestamp};

use crate::refused;
use crate::rules::{BACKOFF_BASE_SECS, BACKOFF_CAP_SECS, DEAD_AFTER_SECS, REDIAL_SECS};

/// A link that lived this long (seconds) and brought something is as good as any, whatever ends it.
const STEADY_LINK_SECS: u64 = 30;
/// So many new outcomes at a time are worth a dial.
const GOOD_HARVEST: usize = 20;
/// For so long (seconds) whatever a link brings clears, so that a history is read even in links that never last.
const LENIENT_SECS: u64 = 600;
/// After that these failures are left: the next wait is 10 s after something new, 80 s after what was known. An upstream that
/// ends each link after one event is not dialed every few seconds for ever.
const LEFT_BY_NEWS: u32 = 1;
const LEFT_BY_FRAMES: u32 = 4;
/// An upstream that brings something is not dead: its failures are never older than this (seconds).
const ALIVE_SECS: u64 = 3600;

/// Failures in a row, since when, and the class of the last. Durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    pub failures: u32,
    pub failing_since: Option<Timestamp>,
}

/// How a person reads [`Health`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Healthy,
    Degraded,
    /// Failing for a day or more: tried once a day.
    Dead,
}

impl Health {
    #[must_use]
    pub fn verdict(self, now: Timestamp) -> Verdict {
        match self.failing_since {
            None => Verdict::Healthy,
            Some(since) if now.as_secs().saturating_sub(since.as_secs()) >= DEAD_AFTER_SECS => Verdict::Dead,
            Some(_) => Verdict::Degraded,
        }
    }

    /// S17: one more failure at `now`. A hang-up of ours is none.
    #[must_use]
    pub fn after_down(self, class: DownClass, now: Timestamp) -> Self {
        if !class.is_failure() {
            return self;
        }
        Self { failures: self.failures.saturating_add(1), failing_since: self.failing_since.or(Some(now)) }
    }

    /// S17: success clears. Success is a first useful answer, not an open socket.
    #[must_use]
    pub fn after_success(self) -> Self {
        Self::default()
    }

    /// S17: a link that came up `lived_secs` ago brought frames, and with them so many `outcomes` of events that had none.
    #[must_use]
    pub fn after_progress(self, lived_secs: u64, outcomes: usize, now: Timestamp) -> Self {
        if lived_secs >= STEADY_LINK_SECS || outcomes >= GOOD_HARVEST {
            return self.after_success();
        }
        let Some(since) = self.failing_since else { return self };
        let left = match now.as_secs().saturating_sub(since.as_secs()) {
            0..LENIENT_SECS => 0,
            _ if outcomes > 0 => LEFT_BY_NEWS,
            _ => LEFT_BY_FRAMES,
        };
        let since = since.max(Timestamp::from_secs(now.as_secs().saturating_sub(ALIVE_SECS)));
        Self { failures: self.failures.min(left), failing_since: Some(since) }
    }

    /// S17: when to dial next, after the link went down at `now` for `class`. `roll` is a random number that spreads the dials.
    #[must_use]
    pub fn dial_at_after(self, class: DownClass, now: Timestamp, roll: u64) -> Timestamp {
        let held = jittered(refused::down_holds_secs(class, self.failures), roll);
        self.dial_at(now, roll).max(Timestamp::from_secs(now.as_secs() + held))
    }

    fn dial_at(self, now: Timestamp, roll: u64) -> Timestamp {
        let wait = match self.verdict(now) {
            Verdict::Healthy => REDIAL_SECS,
            Verdict::Degraded => jittered(ladder(self.failures), roll).max(REDIAL_SECS),
            Verdict::Dead => DEAD_AFTER_SECS + roll % BACKOFF_CAP_SECS,
        };
        Timestamp::from_secs(now.as_secs() + wait)
    }
}

/// When an upstream is asked again after `failures` incomplete batches in a row, the last of them at `now` for `why`.
#[must_use]
pub fn ask_again_at(failures: u32, why: Incomplete, now: Timestamp) -> Timestamp {
    let wait = ladder(failures).max(refused::incomplete_holds_secs(why, failures));
    Timestamp::from_secs(now.as_secs().saturating_add(wait))
}

/// 5 s, 10 s, 20 s … 1 h.
fn ladder(failures: u32) -> u64 {
    let doublings = failures.saturating_sub(1).min(20);
    (BACKOFF_BASE_SECS << doublings).min(BACKOFF_CAP_SECS)
}

/// Between three quarters and five quarters of `secs`.
fn jittered(secs: u64, roll: u64) -> u64 {
    let width = secs / 2;
    secs - secs / 4 + if width == 0 { 0 } else { roll % (width + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn failed(times: u32, now: u64) -> Health {
        (0..times).fold(Health::default(), |health, _| health.after_down(DownClass::Refused, at(now)))
    }

    /// A roll that leaves `secs` as it is.
    fn no_jitter(secs: u64) -> u64 {
        secs / 4
    }

    #[test]
    fn s17_the_wait_doubles_from_5_seconds_to_an_hour() {
        let waits: Vec<u64> = (1..=12)
            .map(|n| {
                let base = ladder(n);
                failed(n, 1000).dial_at(at(1000), no_jitter(base)).as_secs() - 1000
            })
            .collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
    }

    #[test]
    fn an_upstream_whose_batches_stay_incomplete_is_asked_ever_more_seldom() {
        let waits: Vec<u64> =
            [1, 2, 3, 10, 11, u32::MAX].map(|n| ask_again_at(n, Incomplete::Idle, at(1000)).as_secs() - 1000).into();
        assert_eq!(waits, [5, 10, 20, 2560, 3600, 3600]);
    }

    #[test]
    fn s17_after_a_day_of_failures_an_upstream_is_dead_and_tried_once_a_day() {
        let health = failed(40, 1000);
        let a_day_later = at(1000 + DEAD_AFTER_SECS);
        assert_eq!(health.verdict(a_day_later), Verdict::Dead);
        let wait = health.dial_at(a_day_later, 17).as_secs() - a_day_later.as_secs();
        assert!((86_400..90_000).contains(&wait), "waited {wait} s");
    }

    #[test]
    fn c10_whoever_wants_to_be_paid_is_dialed_a_few_times_a_day_and_at_once_after_a_success() {
        let waits = |class: DownClass, times| {
            let health = (0..times).fold(Health::default(), |health, _| health.after_down(class, at(1000)));
            health.dial_at_after(class, at(1000), 0).as_secs() - 1000
        };
        for class in [DownClass::Payment, DownClass::Policy] {
            assert!(waits(class, 1) < 10 && waits(class, 2) < 20);
            assert!((2 * 3600..24 * 3600).contains(&waits(class, 3)), "{}", waits(class, 3));
        }
        assert!(waits(DownClass::HttpStatus, 3) < 60);
        let mended = failed(9, 1000).after_success().after_down(DownClass::Policy, at(2000));
        assert!(mended.dial_at_after(DownClass::Policy, at(2000), 0) < at(2010));
    }

    #[test]
    fn s17_success_clears_and_our_own_hang_up_is_no_failure() {
        assert_eq!(failed(9, 1000).after_success(), Health::default());
        assert_eq!(Health::default().after_down(DownClass::Released, at(5)), Health::default());
        assert_eq!(Health::default().after_down(DownClass::Empty, at(5)).dial_at(at(5), 0), at(5 + REDIAL_SECS));
    }

    #[test]
    fn s17_a_link_that_brought_something_and_lasted_or_brought_much_clears() {
        assert_eq!(failed(9, 1000).after_progress(STEADY_LINK_SECS, 1, at(2000)), Health::default());
        assert_eq!(failed(9, 1000).after_progress(1, GOOD_HARVEST, at(2000)), Health::default());
    }

    #[test]
    fn s17_an_upstream_that_ends_each_link_after_one_event_is_dialed_ever_more_seldom_but_never_given_up() {
        for (outcomes, longest) in [(0, 80), (1, 10)] {
            let (mut health, mut now, mut waits) = (Health::default(), 1000, Vec::new());
            for _ in 0..20_000 {
                health = health.after_progress(0, outcomes, at(now)).after_down(DownClass::Closed, at(now));
                assert_eq!(health.verdict(at(now)), Verdict::Degraded);
                let wait = health.dial_at(at(now), no_jitter(ladder(health.failures))).as_secs() - now;
                waits.push(wait);
                now += wait;
            }
            assert_eq!((waits[0], waits[1], waits.iter().max()), (5, 5, Some(&longest)));
            let lenient = waits.iter().take_while(|wait| **wait == 5).sum::<u64>();
            assert!((600..620).contains(&lenient), "{lenient} s");
            assert!(waits[130..].iter().all(|wait| *wait == longest), "never sooner than that");
        }
    }

    #[test]
    fn s17_progress_brings_back_an_upstream_from_an_hour_to_little_more_than_a_minute() {
        let health = failed(20, 1000).after_progress(1, 0, at(2000)).after_down(DownClass::Closed, at(2000));
        assert_eq!(health.dial_at(at(2000), no_jitter(80)), at(2080));
        let health = failed(20, 1000).after_progress(1, 0, at(1500)).after_down(DownClass::Closed, at(1500));
        assert_eq!(health.dial_at(at(1500), no_jitter(5)), at(1505));
    }

    #[test]
    fn s17_jitter_spreads_the_dials_and_never_comes_sooner_than_the_redial_floor() {
        let waits: std::collections::BTreeSet<u64> =
            (0..1000).map(|roll| failed(4, 0).dial_at(at(0), roll).as_secs()).collect();
        assert!(waits.len() > 10, "{waits:?}");
        assert!((0..1000).all(|roll| failed(1, 0).dial_at(at(0), roll).as_secs() >= REDIAL_SECS));
    }
}
