//! The embedded system on a data directory of its own: started, stopped and started again.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use grasp_sync::config::{Admits, Config, Home};
use grasp_sync::system::System;
use model::{
    EventExplained, EventId, Explained, GitWanted, LinkView, Outcome, PublicKey, RelayUrl, Resume, Role, Status, Subject,
    UpstreamExplained, UpstreamStatus,
};
use tempfile::TempDir;
use testkit::wait_for;

use super::PATIENCE;
use super::relay::Relay;

/// The system under test.
pub(crate) struct Embedded {
    config: Config,
    home: RelayUrl,
    running: Option<System>,
    _directory: TempDir,
}

/// Sums over all upstreams but home, for one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) wanted: u64,
    pub(crate) pending: u64,
    pub(crate) confirmed: u64,
}

impl Totals {
    pub(crate) fn of(status: &Status) -> Self {
        let sum =
            |count: fn(&UpstreamStatus) -> u64| status.upstreams.iter().filter(|one| one.role != Role::Home).map(count).sum();
        Self { wanted: sum(|one| one.wanted), pending: sum(|one| one.pending), confirmed: sum(|one| one.confirmed) }
    }
}

impl Embedded {
    /// A system for this home that is not started yet.
    pub(crate) fn keeping(home: &Relay) -> Self {
        Self::keeping_url(home.relay_url())
    }

    /// The same for a home at this URL, whatever is there.
    pub(crate) fn keeping_url(home: RelayUrl) -> Self {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let directory = tempfile::tempdir().unwrap();
        let config = Config {
            allow_non_public: vec!["127.0.0.0/8".parse().unwrap()],
            discovery_window: Duration::from_millis(200),
            ..Config::with_home(Home::Relay(home.clone()), directory.path().to_owned())
        };
        Self { config, home, running: None, _directory: directory }
    }

    pub(crate) fn pulling_from<'a>(self, bootstrap: impl IntoIterator<Item = &'a Relay>) -> Self {
        let urls: Vec<String> = bootstrap.into_iter().map(Relay::url).collect();
        self.pulling_from_urls(&urls)
    }

    pub(crate) fn pulling_from_urls(mut self, bootstrap: &[String]) -> Self {
        self.config.bootstrap = bootstrap.iter().map(|url| RelayUrl::parse(url).unwrap()).collect();
        self
    }

    /// These may know who we are, when they need to.
    pub(crate) fn telling(mut self, urls: impl IntoIterator<Item = RelayUrl>) -> Self {
        self.config.auth.on_demand.urls.extend(urls);
        self
    }

    pub(crate) fn with_quick_reconnect(mut self, longest_outage: Duration) -> Self {
        self.config.quick_reconnect = longest_outage;
        self
    }

    /// S9: what a catch-up cannot see is looked for this much later.
    pub(crate) fn with_audit_after(mut self, wait: Duration) -> Self {
        self.config.audit_after = wait;
        self
    }

    /// Private repositories are shared with these.
    pub(crate) fn sharing_with(mut self, peers: &[String]) -> Self {
        self.config.private_peers = peers.iter().map(|url| RelayUrl::parse(url).unwrap()).collect();
        self
    }

    /// Nothing of these authors (keys in hex) comes home.
    pub(crate) fn blocking(mut self, authors: &[String]) -> Self {
        self.config.block.authors = authors.iter().map(|key| PublicKey::from_hex(key).unwrap()).collect();
        self
    }

    /// S15, far more often than any operator may want it.
    pub(crate) fn with_refresh_every(mut self, period: Duration) -> Self {
        (self.config.refresh_min, self.config.refresh_max) = (period, period + Duration::from_secs(1));
        self
    }

    /// What the operator lets in.
    pub(crate) fn admitting(mut self, admits: Admits) -> Self {
        self.config.admission = admits;
        self
    }

    pub(crate) async fn started(mut self) -> Self {
        self.start().await;
        self
    }

    /// Starts on the data directory as it was left.
    pub(crate) async fn start(&mut self) {
        self.running = Some(System::start_offline(&self.config, &self.home).await.unwrap());
    }

    /// Its store's file.
    pub(crate) fn database(&self) -> PathBuf {
        self.config.data_dir.join("grasp-sync.db")
    }

    /// Stops in order.
    pub(crate) async fn stop(&mut self) {
        self.running.take().expect("the system runs").stop().await;
    }

    pub(crate) async fn status(&self) -> Status {
        self.running.as_ref().expect("the system runs").status().await.unwrap()
    }

    /// What is known of one event.
    pub(crate) async fn explained(&self, event: EventId) -> EventExplained {
        let told = self.running.as_ref().expect("the system runs").explain(Subject::Event(event)).await.unwrap();
        match told.explained {
            Explained::Event(event) => *event,
            Explained::Repo(_) | Explained::Upstream(_) => panic!("it was asked about an event"),
        }
    }

    /// What is known of one upstream, in full, once it is known.
    pub(crate) async fn explained_upstream(&self, url: &RelayUrl) -> Option<UpstreamExplained> {
        let told = self.running.as_ref().expect("the system runs").explain(Subject::Upstream(url.clone())).await.unwrap();
        match told.explained {
            Explained::Upstream(told) => told.map(|told| *told),
            Explained::Repo(_) | Explained::Event(_) => panic!("it was asked about an upstream"),
        }
    }

    /// What became of one event.
    pub(crate) async fn outcome(&self, event: EventId) -> Option<Outcome> {
        self.explained(event).await.seen.and_then(|seen| seen.outcome)
    }

    /// Waits until this became of the event.
    pub(crate) async fn until_outcome(&self, event: EventId, outcome: Outcome) {
        wait_for(&format!("an event to be {}", outcome.as_str()), PATIENCE, || async {
            let known = self.outcome(event).await;
            if known == Some(outcome) { Ok(()) } else { Err(known) }
        })
        .await;
    }

    /// Word of git data that is wanted, from now on.
    pub(crate) fn git_wanted(&self) -> tokio::sync::broadcast::Receiver<GitWanted> {
        self.running.as_ref().and_then(System::git_wanted).expect("the system runs in this process")
    }

    /// What is known of one upstream by this URL.
    pub(crate) async fn upstream(&self, relay: &Relay) -> UpstreamStatus {
        self.upstream_at(&relay.relay_url()).await
    }

    /// The same, by its URL.
    pub(crate) async fn upstream_at(&self, url: &RelayUrl) -> UpstreamStatus {
        self.status().await.upstreams.into_iter().find(|one| one.url == *url).expect("the upstream is known")
    }

    /// Events with this outcome.
    pub(crate) async fn outcomes(&self, outcome: &str) -> u64 {
        self.status().await.outcomes.iter().find(|(word, _)| word == outcome).map_or(0, |(_, n)| *n)
    }

    /// EVENT frames that ever came from this upstream.
    pub(crate) async fn events_read(&self, relay: &Relay) -> u64 {
        self.upstream(relay).await.counts.events
    }

    /// How the link to this upstream began.
    pub(crate) async fn resume(&self, relay: &Relay) -> Resume {
        match self.upstream(relay).await.link {
            LinkView::Up { resume, .. } => resume,
            LinkView::Down { dial_at } => panic!("the link to {} is down until {dial_at}", relay.url()),
        }
    }

    /// Waits until home and every upstream that anything is asked of are caught up, nothing is missing there, and something
    /// is confirmed. Upstreams that may not be dialed are asked for nothing.
    pub(crate) async fn until_settled(&self) {
        self.until("every upstream to be confirmed", PATIENCE, |status| {
            let is_idle = |one: &UpstreamStatus| one.role == Role::Listed && one.wanted + one.pending + one.confirmed == 0;
            let is_settled = |one: &UpstreamStatus| is_caught_up(one) && one.wanted + one.pending == 0;
            status.upstreams.iter().all(|one| is_idle(one) || is_settled(one)) && Totals::of(status).confirmed > 0
        })
        .await;
    }

    /// Waits until this upstream is one, and everything there is confirmed.
    pub(crate) async fn until_confirmed(&self, relay: &Relay) {
        let url = relay.relay_url();
        self.until(&format!("{url} to be confirmed"), PATIENCE, |status| {
            let known = status.upstreams.iter().find(|one| one.url == url);
            known.is_some_and(|one| is_caught_up(one) && one.confirmed > 0 && one.wanted + one.pending == 0)
        })
        .await;
    }

    /// Waits until everything at all of these is confirmed in one look, and nothing has changed for ten discovery windows:
    /// what one of them brought home may be wanted at another.
    pub(crate) async fn until_at_rest(&self, relays: &[Relay]) {
        for relay in relays {
            self.until_confirmed(relay).await;
        }
        let seen: Cell<Option<(Totals, Instant)>> = Cell::new(None);
        self.until("the system to be at rest", PATIENCE, |status| {
            let totals = Totals::of(status);
            let known = |relay: &Relay| status.upstreams.iter().find(|one| one.url == relay.relay_url());
            let is_confirmed = |relay| known(relay).is_some_and(|one| is_caught_up(one) && one.wanted + one.pending == 0);
            let since = seen.get().filter(|(before, _)| *before == totals && relays.iter().all(is_confirmed));
            let since = since.map_or_else(Instant::now, |(_, since)| since);
            seen.set(Some((totals, since)));
            since.elapsed() > self.config.discovery_window * 10
        })
        .await;
    }

    /// Waits until the link to this upstream is up.
    pub(crate) async fn until_up(&self, relay: &Relay) {
        let url = relay.relay_url();
        self.until(&format!("the link to {url} to come up"), PATIENCE, |status| {
            status.upstreams.iter().any(|one| one.url == url && matches!(one.link, LinkView::Up { .. }))
        })
        .await;
    }

    /// Waits until the link to this upstream is down.
    pub(crate) async fn until_down(&self, relay: &Relay) {
        let url = relay.relay_url();
        self.until(&format!("the link to {url} to go down"), PATIENCE, |status| {
            status.upstreams.iter().any(|one| one.url == url && matches!(one.link, LinkView::Down { .. }))
        })
        .await;
    }

    /// Waits until the status is as `looked_for`.
    pub(crate) async fn until(&self, what: &str, limit: Duration, looked_for: impl Fn(&Status) -> bool) {
        wait_for(what, limit, || async {
            let status = self.status().await;
            if looked_for(&status) { Ok(()) } else { Err(status) }
        })
        .await;
    }
}

fn is_caught_up(upstream: &UpstreamStatus) -> bool {
    matches!(upstream.link, LinkView::Up { caught_up: true, .. })
}
