//! The system under measure on a data directory of its own, and when it is at rest.

use std::time::{Duration, Instant};

use engine::caps::Caps;
use engine::rules::QUICK_RECONNECT_SECS;
use model::{LinkView, RelayUrl, Role, Status};
use tempfile::TempDir;
use tokio::time::sleep;

use super::BenchError;
use crate::config::{Config, Home};
use crate::system::System;

/// Short, so that little of what is measured is waiting; said beside the figures.
pub(super) const DISCOVERY_WINDOW: Duration = Duration::from_millis(200);
/// What was at rest that long is taken to stay so.
const CALM: Duration = Duration::from_secs(1);
/// As the slowest machine may need, and a sum for the events.
const LIMIT: Duration = Duration::from_secs(120);
const LIMIT_PER_EVENT: Duration = Duration::from_millis(5);
/// An upstream was away for longer than this: everything is compared again (S10).
pub(super) const QUICK_RECONNECT: Duration = Duration::from_secs(1);

/// Where a system runs, again and again.
#[derive(Debug)]
pub(super) struct Stage {
    home: RelayUrl,
    bootstrap: Vec<RelayUrl>,
    upstreams: usize,
    events: usize,
    quick_reconnect: Duration,
    data_dir: TempDir,
}

impl Stage {
    /// Of a home and the upstreams that its system is to find, with so many events in all.
    pub(super) fn set(home: &RelayUrl, bootstrap: Vec<RelayUrl>, upstreams: usize, events: usize) -> Result<Self, BenchError> {
        let data_dir = tempfile::Builder::new().prefix("grasp-sync-bench-").tempdir()?;
        let quick_reconnect = QUICK_RECONNECT;
        Ok(Self { home: home.clone(), bootstrap, upstreams, events, quick_reconnect, data_dir })
    }

    /// Outages are caught up as in production (S9).
    pub(super) fn with_usual_outages(self) -> Self {
        Self { quick_reconnect: Duration::from_secs(QUICK_RECONNECT_SECS), ..self }
    }

    pub(super) async fn start(&self) -> Result<System, BenchError> {
        const PLENTY: usize = 1_000_000;
        let config = Config {
            bootstrap: self.bootstrap.clone(),
            allow_non_public: vec!["127.0.0.0/8".parse().expect("it is a network")],
            discovery_window: DISCOVERY_WINDOW,
            quick_reconnect: self.quick_reconnect,
            caps: Caps { per_announcement: PLENTY, per_author: PLENTY, per_domain: PLENTY, total: PLENTY },
            dials_per_minute: PLENTY,
            ..Config::with_home(Home::Relay(self.home.clone()), self.data_dir.path().to_owned())
        };
        Ok(System::start_offline(&config, &self.home).await?)
    }

    /// Looks every `pause` until the system has been at rest for a while. Says when it came to rest, from `began` on.
    pub(super) async fn until_at_rest(
        &self,
        system: &System,
        (began, pause): (Instant, Duration),
    ) -> Result<Duration, BenchError> {
        let limit = LIMIT + LIMIT_PER_EVENT * u32::try_from(self.events).unwrap_or(u32::MAX);
        let mut since = None;
        loop {
            let looked = began.elapsed();
            // A store that is busy is asked again.
            let status = system.status().await.ok();
            let is_at_rest = status.as_ref().is_some_and(|status| self.is_at_rest(status));
            since = if is_at_rest { since.or(Some(looked)) } else { None };
            match since {
                Some(at) if looked >= at + CALM => return Ok(at),
                Some(_) | None => {}
            }
            if looked > limit {
                return Err(BenchError::Late { after: limit, seen: status.map_or("no status".to_owned(), words) });
            }
            sleep(pause).await;
        }
    }

    fn is_at_rest(&self, status: &Status) -> bool {
        let read = |one: &&model::UpstreamStatus| {
            let is_caught_up = match one.link {
                LinkView::Up { caught_up, .. } => caught_up,
                LinkView::Down { .. } => false,
            };
            is_caught_up && one.wanted + one.pending == 0 && one.confirmed > 0
        };
        // Home beside the upstreams.
        status.upstreams.iter().filter(read).count() > self.upstreams && status.writes.waiting == 0
    }
}

fn words(status: Status) -> String {
    let items = |one: &model::UpstreamStatus| {
        let role = if one.role == Role::Home { "home, " } else { "" };
        format!("{} ({role}{} wanted, {} pending, {} confirmed)", one.url, one.wanted, one.pending, one.confirmed)
    };
    let upstreams: Vec<String> = status.upstreams.iter().map(items).collect();
    format!("{} events at home, {} writes wait; {}", status.at_home, status.writes.waiting, upstreams.join(", "))
}
