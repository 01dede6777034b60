//! Telemetry with a collector that takes it, one that is away, and one that never answers.

#![allow(clippy::unwrap_used)]

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{MetricsService, MetricsServiceServer};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource as SentResource;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tracing::info_span;

use super::*;

/// The process has one meter provider; tests that begin telemetry take turns.
static TURNS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What an end may take, with a margin for a busy machine.
const END_LIMIT: Duration = Duration::from_secs(10);

/// A collector that keeps what it is sent.
#[derive(Clone, Default)]
struct Collector {
    traces: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    metrics: Arc<Mutex<Vec<ExportMetricsServiceRequest>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.traces.lock().unwrap().push(request.into_inner());
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.metrics.lock().unwrap().push(request.into_inner());
        Ok(Response::new(Default::default()))
    }
}

impl Collector {
    /// Listens, and says where.
    fn start(&self) -> String {
        let incoming = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = incoming.local_addr().unwrap();
        let serving = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(self.clone()))
            .add_service(MetricsServiceServer::new(self.clone()))
            .serve_with_incoming(incoming);
        tokio::spawn(serving);
        format!("http://{address}")
    }

    fn spans(&self) -> Vec<String> {
        let traces = self.traces.lock().unwrap();
        let scopes = traces.iter().flat_map(|request| &request.resource_spans).flat_map(|one| &one.scope_spans);
        scopes.flat_map(|scope| &scope.spans).map(|span| span.name.clone()).collect()
    }

    fn instruments(&self) -> Vec<String> {
        let metrics = self.metrics.lock().unwrap();
        let scopes = metrics.iter().flat_map(|request| &request.resource_metrics).flat_map(|one| &one.scope_metrics);
        scopes.flat_map(|scope| &scope.metrics).map(|metric| metric.name.clone()).collect()
    }

    /// Who the spans and the figures say that they are from.
    fn senders(&self) -> Vec<SentResource> {
        let traces = self.traces.lock().unwrap();
        let metrics = self.metrics.lock().unwrap();
        let of_spans = traces.iter().flat_map(|request| &request.resource_spans).filter_map(|one| one.resource.clone());
        let of_figures = metrics.iter().flat_map(|request| &request.resource_metrics).filter_map(|one| one.resource.clone());
        of_spans.chain(of_figures).collect()
    }
}

fn attribute(resource: &SentResource, key: &str) -> String {
    let found = resource.attributes.iter().find(|one| one.key == key).and_then(|one| one.value.clone());
    match found.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{key} is {other:?}"),
    }
}

/// Runs `work` where its spans become traces.
fn traced(telemetry: &Telemetry, work: impl FnOnce()) {
    tracing::subscriber::with_default(tracing_subscriber::registry().with(telemetry.traces()), work);
}

fn some_work(telemetry: &Telemetry) {
    traced(telemetry, || {
        let _ours = info_span!("a piece of work").entered();
        let _theirs = info_span!(target: "h2::client", "a frame").entered();
    });
    telemetry.meters.meter("test").u64_counter("grasp_sync.pieces").build().add(3, &[]);
}

fn ended(telemetry: Telemetry) -> Duration {
    let began = Instant::now();
    drop(telemetry);
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_our_spans_and_figures_at_the_latest_when_the_process_ends() {
    let _turn = TURNS.lock().await;
    let collector = Collector::default();
    let telemetry = Telemetry::begin(Some(&collector.start()), "a role").unwrap();
    some_work(&telemetry);
    assert!(ended(telemetry) < END_LIMIT);
    assert_eq!(collector.spans(), ["a piece of work"]);
    assert!(collector.instruments().contains(&"grasp_sync.pieces".to_owned()), "{:?}", collector.instruments());
    let senders = collector.senders();
    assert!(senders.len() >= 2, "{senders:?}");
    for sender in &senders {
        assert_eq!(attribute(sender, "service.name"), "grasp-sync");
        assert_eq!(attribute(sender, "service.version"), env!("CARGO_PKG_VERSION"));
        assert_eq!(attribute(sender, "grasp_sync.role"), "a role");
        assert_eq!(attribute(sender, "service.instance.id"), attribute(&senders[0], "service.instance.id"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_holds_up_neither_the_work_nor_the_end() {
    let _turn = TURNS.lock().await;
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let telemetry = Telemetry::begin(Some(&format!("http://{address}")), "test").unwrap();
    some_work(&telemetry);
    let took = ended(telemetry);
    assert!(took < END_LIMIT, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_costs_spans_that_are_counted_and_no_time() {
    let _turn = TURNS.lock().await;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let telemetry = Telemetry::begin(Some(&format!("http://{}", silent.local_addr().unwrap())), "test").unwrap();
    let began = Instant::now();
    traced(&telemetry, || (0..20_000).for_each(|_| drop(info_span!("a piece of work").entered())));
    let worked = began.elapsed();
    // 40 batches at 2 s each would be more than a minute.
    assert!(worked < Duration::from_secs(20), "{worked:?}");
    let figures = telemetry.metrics().text().unwrap();
    let dropped = |line: &&str| line.starts_with("otel_sdk_processor_span_processed_total") && line.contains("queue_full");
    let dropped = figures.lines().find(dropped).and_then(|line| line.rsplit(' ').next()).expect(&figures);
    assert!(dropped.parse::<f64>().unwrap() > 10_000.0, "{dropped}");
    let took = ended(telemetry);
    assert!(took < END_LIMIT, "{took:?}");
}

#[test]
fn what_is_no_url_of_a_collector_is_refused() {
    assert!(matches!(Telemetry::begin(Some("http://"), "test"), Err(TelemetryError::Collector(_))));
}

#[test]
fn work_that_is_not_done_by_the_limit_is_left_behind() {
    let (finish, may_finish) = mpsc::channel::<()>();
    let began = Instant::now();
    let stuck = move || {
        let _ = may_finish.recv();
    };
    run_within(Duration::from_millis(50), vec![Box::new(|| {}), Box::new(stuck)]);
    assert!(began.elapsed() >= Duration::from_millis(50));
    drop(finish);
    let began = Instant::now();
    run_within(Duration::from_secs(3600), vec![Box::new(|| {}), Box::new(|| {})]);
    assert!(began.elapsed() < Duration::from_secs(60));
}
