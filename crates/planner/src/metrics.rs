//! The planner's figures. Labels are closed sets.

use std::sync::LazyLock;
use std::time::Duration;

use bus::AskError;
use model::{Ask, Claim};
use opentelemetry::metrics::{Counter, Gauge, Histogram};
use opentelemetry::{KeyValue, global};

static ACTIVATIONS: LazyLock<Counter<u64>> =
    LazyLock::new(|| counter("grasp_sync.activations", "looks at an upstream, by how they ended"));
static ORDERS: LazyLock<Counter<u64>> =
    LazyLock::new(|| counter("grasp_sync.orders", "orders sent to sessions, by what they ask"));
static REFRESHES: LazyLock<Counter<u64>> =
    LazyLock::new(|| counter("grasp_sync.refreshes", "upstreams that were due to be read anew (S15)"));
static WAITING: LazyLock<Gauge<u64>> = LazyLock::new(|| {
    let meter = global::meter("planner");
    meter.u64_gauge("grasp_sync.plan.queue").with_description("upstreams that wait for a look").build()
});

/// Upper bounds in seconds: from a look that finds nothing to a question that is asked again.
const BOUNDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];
static PLAN_TIME: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    let meter = global::meter("planner");
    let histogram = meter.f64_histogram("grasp_sync.plan.time").with_unit("s").with_boundaries(BOUNDS.to_vec());
    histogram.with_description("what a look at an upstream takes, with its questions and orders").build()
});

fn counter(name: &'static str, description: &'static str) -> Counter<u64> {
    global::meter("planner").u64_counter(name).with_description(description).build()
}

/// Said once, when a planner begins: nobody sees a step from nothing.
pub(crate) fn begin() {
    REFRESHES.add(0, &[]);
    WAITING.record(0, &[]);
}

/// A look at an upstream ended, after so long.
pub(crate) fn activation<T>(ended: &Result<T, AskError>, took: Duration) {
    let outcome = match ended {
        Ok(_) => "planned",
        Err(error) if error.is_fenced() => "fenced",
        Err(_) => "failed",
    };
    ACTIVATIONS.add(1, &[KeyValue::new("outcome", outcome)]);
    PLAN_TIME.record(took.as_secs_f64(), &[]);
}

/// So many upstreams wait for a look.
pub(crate) fn waiting(upstreams: usize) {
    WAITING.record(upstreams as u64, &[]);
}

/// A plan takes what it asks for.
pub(crate) fn claimed(claim: &Claim) {
    if claim.refresh.is_some() {
        REFRESHES.add(1, &[]);
    }
}

pub(crate) fn ordered(ask: &Ask) {
    let word = match ask {
        Ask::OpenAnnouncements { .. } => "open-announcements",
        Ask::CatchUp { .. } => "catch-up",
        Ask::Fetch { .. } => "fetch",
        Ask::Rebuild { .. } => "rebuild",
        Ask::Audit { .. } => "audit",
        Ask::HangUp { .. } => "hang-up",
    };
    ORDERS.add(1, &[KeyValue::new("ask", word)]);
}
