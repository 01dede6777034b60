//! Every figure of the catalogue is exported and moves, in runs of the real binary; and nothing is exported that it does not hold.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::deployment::{Deployment, Size};
use common::{GraspSync, PATIENCE, Project, Relay, Running, ids, until_home_has, until_home_holds};
use grasp_sync::telemetry::catalogue::{FIGURES, Figure, Kind, figures_of_upstreams};
use testkit::fleet::{Process, Role};
use testkit::hostile::{Behaviour, Flood, Refusal};
use testkit::{HostileRelay, wait_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

/// What moves between the processes of a fleet only.
const OF_A_FLEET: [&str; 3] = ["grasp_sync_bus_losses_total", "grasp_sync_bus_redelivered_total", "grasp_sync_bus_waiting"];

/// Every figure that was ever read, with the values that its series together had.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>);

impl Seen {
    /// Reads a text of `/metrics`, and holds every series of ours to the catalogue.
    fn read(&self, text: &str) {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in text.lines().filter(|line| line.starts_with("grasp_sync_")) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            values.entry(known(series).name.to_owned()).or_default().push(value.to_owned());
        }
        let mut seen = self.0.lock().unwrap();
        for (figure, values) in values {
            seen.entry(figure).or_default().insert(values.join(" "));
        }
    }

    /// Figures that never showed two different looks: absent and there are two, too.
    fn unmoved(&self, of: impl IntoIterator<Item = Figure>) -> Vec<&'static str> {
        let seen = self.0.lock().unwrap();
        let moved = |figure: &Figure| match seen.get(figure.name) {
            None => false,
            Some(looks) if figure.kind == Kind::Gauge => looks.len() > 1,
            Some(looks) => looks.iter().any(|look| look.split(' ').any(|value| value != "0")),
        };
        of.into_iter().filter(|figure| !moved(figure)).map(|figure| figure.name).collect()
    }

    /// Reads figures of a run until it ends.
    fn watch(&self, address: SocketAddr) -> AbortOnDropHandle<()> {
        let seen = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                // The look at the status makes the figures of the whole system those of this moment.
                for path in ["/status.json", "/metrics", "/metrics/upstreams"] {
                    if let Some(text) = get(address, path).await {
                        seen.read(&text);
                    }
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }))
    }
}

/// The figure that a series is of; its labels and their values are those of the catalogue.
fn known(series: &str) -> Figure {
    let (name, labels) = series.split_once('{').map_or((series, ""), |(name, labels)| (name, labels.trim_end_matches('}')));
    let of_upstream = name.starts_with("grasp_sync_upstream_");
    let all: Vec<Figure> = if of_upstream { figures_of_upstreams() } else { FIGURES.to_vec() };
    let is_it = |figure: &&Figure| {
        let parts: &[&str] = if figure.kind == Kind::Histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
        parts.iter().any(|part| name.strip_suffix(part) == Some(figure.name))
    };
    let figure = *all.iter().find(is_it).unwrap_or_else(|| panic!("{name} is not in the catalogue"));
    // No value of ours holds a comma or a quote.
    for (label, value) in labels.split(',').filter_map(|pair| pair.split_once('=')) {
        let value = value.trim_matches('"');
        let is_free = label == "le" || (of_upstream && label == "upstream");
        let known = figure.labels.iter().find(|known| known.name == label);
        assert!(is_free || known.is_some_and(|known| known.values.contains(&value)), "{series}: {label}");
    }
    figure
}

/// The body of an answer; none while nobody answers.
async fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut socket = TcpStream::connect(address).await.ok()?;
    socket.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).await.ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

/// Where a run says that it is watched.
async fn address(running: &Running) -> SocketAddr {
    wait_for("a log line with the address", PATIENCE, || async {
        let log = running.log();
        let told = log.split_once("health and metrics: http://").and_then(|(_, rest)| rest.split_once("/livez"));
        told.and_then(|(address, _)| address.parse().ok()).ok_or(log)
    })
    .await
}

async fn until_moved(seen: &Seen, what: &str, of: &[&str]) {
    let of: Vec<Figure> = FIGURES.into_iter().filter(|figure| of.contains(&figure.name)).collect();
    wait_for(what, PATIENCE, || async {
        let left = seen.unmoved(of.clone());
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
}

/// A relay that comes and goes with something that only an audit finds, and one that knows no NIP-77.
async fn a_run_with_an_outage(seen: &Seen) {
    let (home, mut one, other) = (Relay::counting().await, Relay::counting().await, Relay::counting_req_only().await);
    let mut project = Project::named("watched");
    let history = project.history(&[one.url(), other.url()], 60);
    one.has_held(&history).await;
    other.has_held(&history).await;
    let mut installed = GraspSync::keeping(&home.url()).pulling_from(&[one.url(), other.url()]);
    let running = installed.run_with(&[("GRASP_SYNC_AUDIT_AFTER", "1s")]);
    let _watching = seen.watch(address(&running).await);
    until_home_holds(&home, &ids(&history)).await;
    until_moved(seen, "home to be complete", &["grasp_sync_complete"]).await;
    one.goes_down().await;
    until_moved(seen, "the link to be down", &["grasp_sync_behind_seconds", "grasp_sync_links_ended_total"]).await;
    let late = project.comment_on_repository("written long ago, published now");
    one.comes_back_with(std::slice::from_ref(&late)).await;
    until_home_has(&home, late.id).await;
    until_moved(seen, "the audit to be reported", &["grasp_sync_audit_found_total"]).await;
    running.terminated().await;
}

/// Everything is read anew every few seconds, and home loses what it held; beside it a flood and a closed port.
async fn a_run_with_refreshes(seen: &Seen) {
    let (mut home, one) = (Relay::counting().await, Relay::counting().await);
    let flooding = HostileRelay::start([Behaviour::Floods(Flood::Notices)]).await;
    let closed = format!("ws://127.0.0.1:{}", testkit::free_port());
    let history = Project::named("refreshed").history(&[one.url()], 20);
    one.has_held(&history).await;
    let mut installed = GraspSync::keeping(&home.url()).pulling_from(&[one.url(), flooding.url(), closed]);
    let running = installed.run_with(&[("GRASP_SYNC_REFRESH_MIN", "2s"), ("GRASP_SYNC_REFRESH_MAX", "3s")]);
    let _watching = seen.watch(address(&running).await);
    until_home_holds(&home, &ids(&history)).await;
    home.is_wiped().await;
    let late = ["grasp_sync_home_lost_total", "grasp_sync_refreshes_total", "grasp_sync_breaches_total", "grasp_sync_failing"];
    until_moved(seen, "what refreshes and bad upstreams move", &late).await;
    running.terminated().await;
}

/// A home that takes an event now and then, an upstream that limits how often it is asked, and no collector.
async fn a_run_with_a_slow_home(seen: &Seen) {
    let home = HostileRelay::start([Behaviour::WritesPerMinute(30)]).await;
    let limits = Refusal::Closed("rate-limited: slow down");
    let (upstream, refusing) = (Relay::counting().await, HostileRelay::start([Behaviour::Refuses(limits)]).await);
    let history = Project::named("slow").history(&[upstream.url()], 60);
    upstream.has_held(&history).await;
    let collector = format!("http://127.0.0.1:{}", testkit::free_port());
    let mut installed = GraspSync::keeping(&home.url()).pulling_from(&[upstream.url(), refusing.url()]);
    let running = installed.run_with(&[("GRASP_SYNC_OTLP_ENDPOINT", &collector)]);
    let _watching = seen.watch(address(&running).await);
    let slow = [
        "grasp_sync_home_limited",
        "grasp_sync_home_waiting",
        "grasp_sync_events_weight_bytes",
        "grasp_sync_refusals_total",
        "grasp_sync_hosts",
        "grasp_sync_telemetry_failed_exports_total",
    ];
    until_moved(seen, "what a slow home and a slow upstream move", &slow).await;
    running.killed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s19_every_figure_is_exported_and_moves_and_no_other_is_exported() {
    let seen = Seen::default();
    tokio::join!(a_run_with_an_outage(&seen), a_run_with_refreshes(&seen), a_run_with_a_slow_home(&seen));
    let own = FIGURES.into_iter().filter(|figure| !OF_A_FLEET.contains(&figure.name));
    assert_eq!(seen.unmoved(own.chain(figures_of_upstreams())), [""; 0]);
}

async fn read_all(seen: &Seen, processes: &[Process]) {
    for process in processes {
        if let Some(reply) = process.get("/metrics").await {
            seen.read(&reply.body);
        }
    }
}

async fn until_counted(seen: &Seen, what: &str, deployment: &Deployment, figures: &[&str]) {
    wait_for(what, PATIENCE, || async {
        read_all(seen, deployment.fleet.processes()).await;
        let left = seen.unmoved(FIGURES.into_iter().filter(|figure| figures.contains(&figure.name)));
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s19_what_the_bus_loses_and_brings_again_is_counted() {
    let seen = Seen::default();
    let mut deployment = Deployment::of(&Size { upstreams: 2, repositories_each: 40, comments_each: 20 }).await;
    let (state, _) = (deployment.fleet.add(Role::State), deployment.fleet.add(Role::Planner));
    deployment.fleet.add(Role::Connector);
    deployment.until_some_is_home().await;
    // Without its database it takes reports and commits none; what it held when it is killed comes again.
    deployment.fleet.postgres.stop().await;
    until_counted(&seen, "reports to wait", &deployment, &["grasp_sync_bus_waiting"]).await;
    state.kill().await;
    deployment.fleet.postgres.start_again().await;
    deployment.fleet.start_again(&state);
    until_counted(&seen, "reports to come again", &deployment, &["grasp_sync_bus_redelivered_total"]).await;
    deployment.fleet.nats.kill().await;
    deployment.fleet.nats.start_again().await;
    until_counted(&seen, "the lost connection to be counted", &deployment, &OF_A_FLEET).await;
    deployment.until_complete(PATIENCE).await;
}
