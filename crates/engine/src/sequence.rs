//! Which reports of an epoch have been applied. State replicas share the reports of an upstream, so they come out of order,
//! and what was not acknowledged in time comes twice.

/// How far out of order a report may come: a session has a few under way at a time, and replicas hold 64 each.
const WINDOW: u64 = 64;

/// The highest number so far, and which of those right below it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    /// None before the first.
    pub last: Option<u64>,
    /// Bit n: the report `last - 1 - n` was applied.
    pub below: u64,
}

impl Applied {
    /// Whether `sequence` is applied for the first time. One that comes later than [`WINDOW`] others counts as applied.
    pub fn take(&mut self, sequence: u64) -> bool {
        let Some(last) = self.last else {
            *self = Self { last: Some(sequence), below: 0 };
            return true;
        };
        if sequence > last {
            let ahead = sequence - last;
            let shifted = if ahead < WINDOW { self.below << ahead } else { 0 };
            let old_last = if ahead <= WINDOW { 1 << (ahead - 1) } else { 0 };
            *self = Self { last: Some(sequence), below: shifted | old_last };
            return true;
        }
        let behind = last - sequence;
        if behind == 0 || behind > WINDOW {
            return false;
        }
        let bit = 1 << (behind - 1);
        let is_first = self.below & bit == 0;
        self.below |= bit;
        is_first
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_that_comes_after_a_later_one_is_applied_once() {
        let mut applied = Applied::default();
        let firsts = [1, 3, 2, 2, 3, 1, 4].map(|sequence| applied.take(sequence));
        assert_eq!(firsts, [true, true, true, false, false, false, true]);
    }

    #[test]
    fn one_that_comes_far_too_late_is_not_applied() {
        let mut applied = Applied::default();
        assert!(applied.take(1) && applied.take(66));
        assert!(!applied.take(1), "it may have been");
        assert!(applied.take(2), "65 - 1 below the last");
        assert!(applied.take(u64::MAX) && !applied.take(66));
    }

    proptest! {
        #[test]
        fn within_the_window_each_is_applied_exactly_once(jitter in prop::collection::vec(0..60_u64, 1..200)) {
            let mut order: Vec<(u64, u64)> = (0_u64..).zip(&jitter).map(|(number, late)| (number + late, number)).collect();
            order.extend(order.clone());
            order.sort_unstable();
            let mut applied = Applied::default();
            let mut seen = BTreeSet::new();
            for (_, sequence) in order {
                prop_assert_eq!(applied.take(sequence), seen.insert(sequence));
            }
        }
    }
}
