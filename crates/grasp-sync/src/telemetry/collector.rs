//! The way to the collector: OTLP over gRPC, with a bound on everything.
//!
//! Owns: what an export may take, what may wait, and the one word in the log when the collector is away. Never traces
//! itself: only spans of our own crates are taken.

use std::io;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::{ExporterBuildError, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter};
use tokio::runtime::{Builder, Handle, Runtime};
use tracing::{info, warn};
use tracing_subscriber::filter::{LevelFilter, Targets};

pub(super) use opentelemetry_otlp::MetricExporter;

/// The crates whose spans are worth a trace. Those that carry them away (tonic, h2, …) would trace their own work for ever.
const OURS: [&str; 6] = ["grasp_sync", "planner", "connector", "state", "engine", "bus"];
/// One export, from dialing to the collector's answer.
const EXPORT_LIMIT: Duration = Duration::from_secs(2);
/// Spans that may wait; more are dropped, and counted by the SDK (`otel.sdk.processor.span.processed`).
const MOST_SPANS_WAITING: usize = 2048;
/// A collector that comes and goes is told of this often.
const TELL_AGAIN: Duration = Duration::from_secs(60);

static FAILED_EXPORTS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = global::meter("grasp_sync");
    let counter = meter.u64_counter("grasp_sync.telemetry.failed_exports");
    counter.with_description("exports that the collector did not take, by signal; what they held is lost").build()
});

pub(super) struct Exporters {
    pub(super) spans: Bounded<opentelemetry_otlp::SpanExporter>,
    pub(super) metrics: Bounded<MetricExporter>,
}

/// An exporter whose exports end in time. Its failures are told once, not each.
#[derive(Debug)]
pub(super) struct Bounded<E> {
    exporter: E,
    signal: &'static str,
    collector: Arc<Collector>,
    runtime: Handle,
}

/// One thread for all that is said to the collector.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).thread_name("telemetry").enable_all().build()
}

/// Nothing is dialed before there is something to send.
pub(super) fn exporters(endpoint: &str, runtime: &Runtime) -> Result<Exporters, ExporterBuildError> {
    let _gives_the_channels_a_runtime = runtime.enter();
    let spans = opentelemetry_otlp::SpanExporter::builder().with_tonic();
    let spans = spans.with_endpoint(endpoint).with_timeout(EXPORT_LIMIT).build()?;
    let metrics = MetricExporter::builder().with_tonic();
    let metrics = metrics.with_endpoint(endpoint).with_timeout(EXPORT_LIMIT).build()?;
    let (collector, runtime) = (Arc::<Collector>::default(), runtime.handle().clone());
    Ok(Exporters {
        spans: Bounded { exporter: spans, signal: "traces", collector: Arc::clone(&collector), runtime: runtime.clone() },
        metrics: Bounded { exporter: metrics, signal: "metrics", collector, runtime },
    })
}

/// The counts are there from the start: nobody sees a step from nothing.
pub(super) fn begin_counting() {
    for signal in ["traces", "metrics"] {
        FAILED_EXPORTS.add(0, &[KeyValue::new("signal", signal)]);
    }
}

pub(super) fn tracers(resource: Resource, exporter: impl SpanExporter + 'static) -> SdkTracerProvider {
    let queue = BatchConfigBuilder::default().with_max_queue_size(MOST_SPANS_WAITING).build();
    let spans = BatchSpanProcessor::builder(exporter).with_batch_config(queue).build();
    SdkTracerProvider::builder().with_resource(resource).with_span_processor(spans).build()
}

/// What becomes a trace: our own spans, and the log events in them.
pub(super) fn spans_of_ours() -> Targets {
    OURS.into_iter().map(|target| (target, LevelFilter::INFO)).collect()
}

impl<E> Bounded<E> {
    /// The exporter bounds a request, but neither a dial nor its own repeats.
    async fn in_time(&self, export: impl Future<Output = OTelSdkResult>) -> OTelSdkResult {
        let bounded = {
            // Exports are awaited on a thread of the SDK, which has no timers.
            let _gives_the_timer_a_runtime = self.runtime.enter();
            tokio::time::timeout(EXPORT_LIMIT, export)
        };
        let result = bounded.await.unwrap_or(Err(OTelSdkError::Timeout(EXPORT_LIMIT)));
        if result.is_err() {
            FAILED_EXPORTS.add(1, &[KeyValue::new("signal", self.signal)]);
        }
        self.collector.heard(&result);
        result
    }
}

impl<E: SpanExporter> SpanExporter for Bounded<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.in_time(self.exporter.export(batch)).await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Bounded<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.in_time(self.exporter.export(metrics)).await
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

/// Whether the collector takes what it is sent.
#[derive(Debug, Default)]
struct Collector {
    standing: Mutex<Standing>,
}

#[derive(Debug, Default)]
struct Standing {
    /// Whether the log's last word is that it is away.
    is_told_away: bool,
    /// When that was told last.
    told: Option<Instant>,
}

/// What the log says.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    Away,
    Back,
}

impl Collector {
    fn heard(&self, result: &OTelSdkResult) {
        // Changed in one step, so a panic elsewhere cannot have left it half-written.
        let word = self.standing.lock().unwrap_or_else(PoisonError::into_inner).next(result.is_ok(), Instant::now());
        match (word, result) {
            (Some(Word::Away), Err(error)) => {
                warn!(%error, "the collector takes nothing; traces and metrics are lost until it does");
            }
            (Some(Word::Back), _) => info!("the collector takes traces and metrics again"),
            (Some(Word::Away), Ok(())) | (None, _) => {}
        }
    }
}

impl Standing {
    fn next(&mut self, is_taken: bool, now: Instant) -> Option<Word> {
        if is_taken {
            return std::mem::take(&mut self.is_told_away).then_some(Word::Back);
        }
        let may_tell = self.told.is_none_or(|told| now >= told + TELL_AGAIN);
        if self.is_told_away || !may_tell {
            return None;
        }
        *self = Self { is_told_away: true, told: Some(now) };
        Some(Word::Away)
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn our_spans_become_traces_and_those_of_the_crates_that_carry_them_do_not() {
        let filter = spans_of_ours();
        for target in ["grasp_sync::run", "connector::session", "state::sqlite", "bus", "planner"] {
            assert!(filter.would_enable(target, &Level::INFO), "{target}");
            assert!(!filter.would_enable(target, &Level::DEBUG), "{target}");
        }
        for target in ["opentelemetry_sdk", "opentelemetry-otlp", "tonic::transport", "h2::client", "hyper", "tower::buffer"] {
            assert!(!filter.would_enable(target, &Level::ERROR), "{target}");
        }
    }

    #[test]
    fn an_absence_is_told_once_and_one_that_comes_and_goes_once_a_minute() {
        let mut standing = Standing::default();
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let heard =
            [(true, 0), (false, 1), (false, 2), (true, 3), (false, 4), (true, 5), (false, 6), (false, 61), (false, 200)];
        let told = heard.map(|(is_taken, secs)| standing.next(is_taken, at(secs)));
        let (away, back) = (|| Some(Word::Away), || Some(Word::Back));
        assert_eq!(told, [None, away(), None, back(), None, None, None, away(), None]);
    }
}
