//! What the chart is drawn from: one sample a minute of the last hours, in memory only.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::Timestamp;
use tokio::time::sleep;

use super::Page;
use crate::overview::Overview;

/// Samples that are kept: six hours.
pub(super) const SAMPLES: usize = 360;
/// Seconds between two samples.
const SAMPLE: u64 = 60;
/// Nobody has to look for the chart to go on. Twice a minute, so that no minute is missed.
const LOOK: Duration = Duration::from_secs(SAMPLE / 2);

/// The figures of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) at: Timestamp,
    pub(super) confirmed_permille: u64,
    /// None: not every upstream had been read.
    pub(super) behind_secs: Option<u64>,
}

/// The last hours, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct History(VecDeque<Sample>);

impl History {
    /// Notes the figures of this moment. The last ones of a minute stand for it.
    pub(super) fn note(&mut self, at: Timestamp, overview: &Overview) {
        let sample = Sample { at, confirmed_permille: overview.confirmed_permille(), behind_secs: overview.behind_secs };
        if self.0.back().is_some_and(|last| last.at.as_secs() / SAMPLE >= at.as_secs() / SAMPLE) {
            self.0.pop_back();
        }
        self.0.push_back(sample);
        if self.0.len() > SAMPLES {
            self.0.pop_front();
        }
    }

    pub(super) fn samples(&self) -> impl DoubleEndedIterator<Item = Sample> + '_ {
        self.0.iter().copied()
    }

    /// What differs where the chart differs to the eye: its last minute, which is still being written, is not looked at.
    pub(super) fn key(&self) -> String {
        let finished: Vec<u64> = self.samples().rev().skip(1).take(1).map(|sample| sample.at.as_secs()).collect();
        format!("{} {finished:?}", self.0.len())
    }
}

/// Samples until the page is closed.
pub(super) async fn keep(page: Page) {
    loop {
        // What fails is tried again soon; the chart has a gap.
        let _ = page.status().await;
        tokio::select! {
            () = page.shared.stop.cancelled() => return,
            () = sleep(LOOK) => {}
        }
    }
}

/// A history is changed in single steps, so a panic elsewhere cannot have left it half-written.
pub(super) fn lock(history: &Mutex<History>) -> MutexGuard<'_, History> {
    history.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overview::tests::{at, covered, status};

    fn noted(moments: impl IntoIterator<Item = u64>) -> History {
        let overview = Overview::of(&status(vec![covered("wss://one.example")]), at(1_000));
        let mut history = History::default();
        moments.into_iter().for_each(|moment| history.note(at(moment), &overview));
        history
    }

    #[test]
    fn a_minute_has_one_sample_its_last() {
        let moments: Vec<u64> = noted([60, 62, 119, 120, 100]).samples().map(|sample| sample.at.as_secs()).collect();
        assert_eq!(moments, [119, 100], "a clock that was set back starts no second row");
    }

    #[test]
    fn six_hours_are_kept_and_no_more() {
        let history = noted((0..10_000).map(|minute| minute * 60));
        assert_eq!(history.samples().count(), SAMPLES);
        assert_eq!(history.samples().last().map(|sample| sample.at.as_secs()), Some(9_999 * 60));
    }
}
