//! The figures of the process: gathered once, read by whoever asks for `/metrics`, and sent to the collector if there is one.

use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use prometheus::{Registry, TextEncoder};

use super::TelemetryError;
use super::collector::{Bounded, MetricExporter};

/// How often the collector gets the figures.
const EXPORT_EVERY: Duration = Duration::from_secs(15);

/// The figures as Prometheus reads them. Clones read the same ones.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// All figures of this moment, in Prometheus' text format.
    ///
    /// # Errors
    /// Two instruments share a name.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// One provider with both readers.
pub(super) fn provider(
    resource: Resource,
    exporter: Option<Bounded<MetricExporter>>,
) -> Result<(Metrics, SdkMeterProvider), TelemetryError> {
    let registry = Registry::new();
    // The scope of an instrument is the crate that it lives in: of no use to whoever reads figures.
    let scrapes = opentelemetry_prometheus::exporter().with_registry(registry.clone()).scope_info_enabled(false);
    let builder =
        SdkMeterProvider::builder().with_resource(resource).with_reader(scrapes.build().map_err(TelemetryError::Metrics)?);
    let builder = match exporter {
        Some(exporter) => builder.with_reader(PeriodicReader::builder(exporter).with_interval(EXPORT_EVERY).build()),
        None => builder,
    };
    Ok((Metrics { registry }, builder.build()))
}
