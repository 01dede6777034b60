//! Whose turn it is to plan an upstream, where one process holds the store: in memory, for a turn does not outlive it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use model::UpstreamId;
use tokio::time::Instant;

use crate::PLAN_HOLD;

#[derive(Debug, Default)]
pub(crate) struct Turns {
    taken: Mutex<HashMap<UpstreamId, Turn>>,
}

#[derive(Debug)]
struct Turn {
    planner: String,
    until: Instant,
}

impl Turns {
    pub(crate) fn begin(&self, upstream: UpstreamId, planner: &str) -> bool {
        let now = Instant::now();
        self.look(|taken| {
            let is_free = taken.get(&upstream).is_none_or(|turn| turn.planner == planner || turn.until <= now);
            if is_free {
                taken.insert(upstream, Turn { planner: planner.to_owned(), until: now + PLAN_HOLD });
            }
            is_free
        })
    }

    pub(crate) fn holds(&self, upstream: UpstreamId, planner: &str) -> bool {
        self.look(|taken| taken.get(&upstream).is_some_and(|turn| turn.planner == planner))
    }

    pub(crate) fn end(&self, upstream: UpstreamId, planner: &str) -> bool {
        self.look(|taken| {
            let is_own = taken.get(&upstream).is_some_and(|turn| turn.planner == planner);
            if is_own {
                taken.remove(&upstream);
            }
            is_own
        })
    }

    fn look<T>(&self, look: impl FnOnce(&mut HashMap<UpstreamId, Turn>) -> T) -> T {
        // One look or one change at a time: a panic elsewhere cannot have left it half-written.
        look(&mut self.taken.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPSTREAM: UpstreamId = UpstreamId(1);

    #[tokio::test(start_paused = true)]
    async fn the_turn_of_a_planner_that_died_runs_out_and_its_plan_is_void() {
        let turns = Turns::default();
        assert!(turns.begin(UPSTREAM, "a"));
        tokio::time::advance(PLAN_HOLD / 2).await;
        assert!(!turns.begin(UPSTREAM, "b"));
        tokio::time::advance(PLAN_HOLD / 2).await;
        assert!(turns.holds(UPSTREAM, "a"), "late, but nobody else has planned");
        assert!(turns.begin(UPSTREAM, "b") && turns.end(UPSTREAM, "b"));
        assert!(!turns.holds(UPSTREAM, "a"), "somebody else has");
    }
}
