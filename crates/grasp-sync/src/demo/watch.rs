//! Looks at the system until home is complete, and keeps what was seen.
//!
//! Complete is a state, not a moment: home holds exactly the expected events and no item waits, for longer than a
//! discovery window, because what home holds may still become items.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use model::EventId;
use tokio_util::sync::CancellationToken;

use super::cast::{Cast, DISCOVERY_WINDOW};
use super::screen::Screen;
use super::view::{UpstreamView, View};
use crate::system::System;

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long it has to stay complete: a discovery window, and a while for what the window found.
const CALM: Duration = DISCOVERY_WINDOW.saturating_mul(2);

/// How a stage of the demonstration ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// After so long; the time in which it only had to stay complete is not counted.
    Complete(Duration),
    Late,
    Interrupted,
}

/// What is looked at, and what was seen last.
pub(super) struct Watch<'a> {
    pub(super) cast: &'a Cast,
    pub(super) screen: &'a mut Screen,
    pub(super) stop: &'a CancellationToken,
    pub(super) expected: BTreeSet<EventId>,
    pub(super) view: View,
}

/// Since when each upstream has had all its items confirmed, counted from the start of the stage.
pub(super) type ConfirmedAfter = Vec<Option<Duration>>;

impl Watch<'_> {
    /// Looks until home is complete, `limit` is over, or somebody asks for an end.
    pub(super) async fn until_complete(&mut self, system: &System, limit: Duration) -> (Ended, ConfirmedAfter) {
        let began = Instant::now();
        let mut confirmed_after = vec![None; self.cast.upstreams.len()];
        let mut calm_since = None;
        loop {
            let is_complete = self.look(system).await;
            let now = began.elapsed();
            keep_times(&mut confirmed_after, &self.view.upstreams, now);
            calm_since = if is_complete { calm_since.or(Some(now)) } else { None };
            match calm_since {
                Some(since) if now >= since + CALM => return (Ended::Complete(since), confirmed_after),
                Some(_) | None => {}
            }
            if now >= limit {
                return (Ended::Late, confirmed_after);
            }
            tokio::select! {
                () = self.stop.cancelled() => return (Ended::Interrupted, confirmed_after),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// One look. Says whether home is complete now.
    async fn look(&mut self, system: &System) -> bool {
        let held = self.cast.home.relay.event_ids();
        // A store that is busy is asked again at the next look.
        let Ok(status) = system.status().await else { return false };
        self.view = View::of(self.cast, status, (held.len(), self.expected.len()));
        self.screen.show(&self.view);
        self.view.is_settled() && held == self.expected
    }
}

fn keep_times(confirmed_after: &mut ConfirmedAfter, upstreams: &[UpstreamView], now: Duration) {
    for (after, upstream) in confirmed_after.iter_mut().zip(upstreams) {
        *after = if upstream.is_confirmed() { after.or(Some(now)) } else { None };
    }
}
