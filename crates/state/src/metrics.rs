//! The state service's figures. Labels are closed sets.

use std::sync::LazyLock;
use std::time::Instant;

use model::{Discovery, Query, StateError, UpstreamId};
use opentelemetry::metrics::{Counter, Histogram};
use opentelemetry::{KeyValue, global};

/// Upper bounds in seconds: from a read out of the cache to the limit of a statement.
const BOUNDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

static STORE_TIME: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    let meter = global::meter("state");
    let histogram = meter.f64_histogram("grasp_sync.store.time").with_unit("s").with_boundaries(BOUNDS.to_vec());
    histogram.with_description("what the store takes for an operation, waiting for a connection included").build()
});

static TAKEN: LazyLock<Counter<u64>> =
    LazyLock::new(|| counter("grasp_sync.reports.taken", "reports that came to the store, by what it made of them"));
static DISCOVERED: LazyLock<Counter<u64>> =
    LazyLock::new(|| counter("grasp_sync.discovered", "what discovery windows have put on the books"));

fn counter(name: &'static str, description: &'static str) -> Counter<u64> {
    global::meter("state").u64_counter(name).with_description(description).build()
}

/// Said once, when a state service begins: nobody sees a step from nothing.
pub(crate) fn begin() {
    for outcome in ["applied", "fenced", "failed"] {
        TAKEN.add(0, &[KeyValue::new("outcome", outcome)]);
    }
}

/// The store's word on a report. One that failed is tried again, and counted again.
pub(crate) fn took_in(applied: &Result<Vec<UpstreamId>, StateError>) {
    let outcome = match applied {
        Ok(_) => "applied",
        Err(StateError::Store(_)) => "failed",
        Err(StateError::Fenced | StateError::NoSuchUpstream | StateError::BeingPlanned) => "fenced",
    };
    TAKEN.add(1, &[KeyValue::new("outcome", outcome)]);
}

/// A window is on the books (S2).
pub(crate) fn discovered(discovery: &Discovery) {
    let Discovery { repos, roots, removals, participants, tombstones } = discovery;
    let counts = [
        ("repos", repos.len()),
        ("roots", roots.len()),
        ("removals", removals.len()),
        ("participants", participants.len()),
        ("tombstones", tombstones.len()),
    ];
    for (what, count) in counts {
        DISCOVERED.add(count as u64, &[KeyValue::new("what", what)]);
    }
}

/// An operation of the store, which takes until this is dropped.
#[derive(Debug)]
pub(crate) struct Timed {
    operation: &'static str,
    began: Instant,
}

impl Drop for Timed {
    fn drop(&mut self) {
        STORE_TIME.record(self.began.elapsed().as_secs_f64(), &[KeyValue::new("operation", self.operation)]);
    }
}

/// The time of an answer.
pub(crate) fn answering(query: &Query) -> Timed {
    timed(query.name())
}

/// The time of taking in a report.
pub(crate) fn taking_in() -> Timed {
    timed("report")
}

fn timed(operation: &'static str) -> Timed {
    Timed { operation, began: Instant::now() }
}
