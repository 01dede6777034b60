//! Telemetry of a process: logs to stderr, figures for `/metrics`, and traces and figures to a collector where one is named.
//!
//! Owns: the process-wide subscriber, meter provider and propagator, and their flush at the end. Never: stdout, which
//! carries data only, and never the data path's time: queues to the collector are bounded, and what does not fit is
//! dropped and counted.

pub mod catalogue;
mod collector;
pub(crate) mod figures;
mod log;
mod metrics;

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Runtime;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::LogFormat;
pub use log::{filter_for, is_filter};
pub use metrics::Metrics;

/// How long the end of the process may wait for a collector.
const FLUSH_LIMIT: Duration = Duration::from_millis(1500);

/// Why telemetry cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("{0:?} is not a log filter")]
    Filter(String),
    #[error("logging is set up already")]
    Twice(#[from] TryInitError),
    #[error("the figures cannot be gathered: {0}")]
    Metrics(OTelSdkError),
    #[error("the collector cannot be used: {0}")]
    Collector(#[from] ExporterBuildError),
    #[error("the thread that speaks to the collector does not start: {0}")]
    Runtime(io::Error),
}

/// What a process tells about itself, and where.
#[derive(Clone, Copy, Debug)]
pub struct SetUp<'a> {
    /// What is logged; see [`is_filter`].
    pub filter: &'a str,
    pub format: LogFormat,
    /// The collector: an `http` or `https` URL that takes OTLP over gRPC.
    pub otlp_endpoint: Option<&'a str>,
    /// The role of this process in a fleet, as it appears with every figure and trace.
    pub role: &'a str,
}

/// Telemetry that is set up. When dropped, it flushes, for [`FLUSH_LIMIT`] at most whatever the collector does.
#[derive(Debug)]
pub struct Telemetry {
    metrics: Metrics,
    meters: SdkMeterProvider,
    collecting: Option<Collecting>,
}

/// What there is only with a collector.
#[derive(Debug)]
struct Collecting {
    tracers: SdkTracerProvider,
    /// Its own, so that the flush outlives the process's runtime, and exports never wait behind the data path or before it.
    runtime: Runtime,
}

/// Sets up logs, figures and traces for this process. The data path must not run yet: its instruments are made only once.
///
/// # Errors
/// The filter is none, the collector's URL is none, or logging was set up before.
pub fn init(set_up: SetUp<'_>) -> Result<Telemetry, TelemetryError> {
    let lines = log::lines(set_up.filter, set_up.format)?;
    let telemetry = Telemetry::begin(set_up.otlp_endpoint, set_up.role)?;
    tracing_subscriber::registry().with(telemetry.traces()).with(lines).try_init()?;
    global::set_text_map_propagator(TraceContextPropagator::new());
    Ok(telemetry)
}

/// Sets up logs only: for commands that end by themselves.
///
/// # Errors
/// The filter is none, or logging was set up before.
pub fn init_log(filter: &str, format: LogFormat) -> Result<(), TelemetryError> {
    let lines = log::lines(filter, format)?;
    Ok(tracing_subscriber::registry().with(lines).try_init()?)
}

impl Telemetry {
    /// The figures of this process, for whoever serves them.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// All but the subscriber. The meter provider becomes the process's own first: the span queue counts its drops there.
    fn begin(otlp_endpoint: Option<&str>, role: &str) -> Result<Self, TelemetryError> {
        let resource = resource(role);
        let Some(endpoint) = otlp_endpoint else {
            let (metrics, meters) = metrics::provider(resource, None)?;
            global::set_meter_provider(meters.clone());
            return Ok(Self { metrics, meters, collecting: None });
        };
        let runtime = collector::runtime().map_err(TelemetryError::Runtime)?;
        let exporters = collector::exporters(endpoint, &runtime)?;
        let (metrics, meters) = metrics::provider(resource.clone(), Some(exporters.metrics))?;
        global::set_meter_provider(meters.clone());
        collector::begin_counting();
        let tracers = collector::tracers(resource, exporters.spans);
        global::set_tracer_provider(tracers.clone());
        Ok(Self { metrics, meters, collecting: Some(Collecting { tracers, runtime }) })
    }

    /// The layer that makes spans into traces, if anybody collects them.
    fn traces<S>(&self) -> Option<impl Layer<S> + use<S>>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let Collecting { tracers, .. } = self.collecting.as_ref()?;
        let layer = tracing_opentelemetry::layer().with_tracer(tracers.tracer("grasp-sync"));
        Some(layer.with_filter(collector::spans_of_ours()))
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        let meters = self.meters.clone();
        // An end that fails has told so where it matters: the collector's silence is logged as it begins.
        let end_meters = move || drop(meters.shutdown());
        match self.collecting.take() {
            None => end_meters(),
            Some(Collecting { tracers, runtime }) => {
                let end_tracers = move || drop(tracers.shutdown_with_timeout(FLUSH_LIMIT));
                run_within(FLUSH_LIMIT, vec![Box::new(end_meters), Box::new(end_tracers)]);
                runtime.shutdown_background();
            }
        }
    }
}

/// Runs all of `work` side by side, and leaves behind what is not done by the limit.
fn run_within(limit: Duration, work: Vec<Box<dyn FnOnce() + Send>>) {
    let deadline = Instant::now() + limit;
    let (done, ends) = mpsc::channel::<()>();
    for one in work {
        let done = done.clone();
        thread::spawn(move || {
            one();
            drop(done);
        });
    }
    drop(done);
    // Nobody sends: the wait ends when the last sender is gone, or in time.
    let _ = ends.recv_timeout(deadline.saturating_duration_since(Instant::now()));
}

fn resource(role: &str) -> Resource {
    Resource::builder()
        .with_service_name("grasp-sync")
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", format!("{:032x}", rand::random::<u128>())),
            KeyValue::new("grasp_sync.role", role.to_owned()),
        ])
        .build()
}

/// Figures of a test's own, apart from those of the process.
#[cfg(test)]
pub(crate) fn unshared() -> (Metrics, SdkMeterProvider) {
    metrics::provider(resource("test"), None).expect("a registry of its own takes its one collector")
}

#[cfg(test)]
mod tests;
