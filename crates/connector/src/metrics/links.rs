//! Figures of dials, links and leases. Labels are closed sets.

use std::sync::LazyLock;
use std::time::Duration;

use engine::tempo::Standing;
use model::{BatchCounts, DownClass, Method, Outcome, Resume, Role};
use opentelemetry::metrics::{Counter, Gauge, Histogram, UpDownCounter};
use opentelemetry::{KeyValue, global};

use super::{class_label, counter};

static DIALS: LazyLock<Counter<u64>> = LazyLock::new(|| counter("grasp_sync.dials", "dials, by what came of them"));
static ENDED: LazyLock<Counter<u64>> = LazyLock::new(|| counter("grasp_sync.links.ended", "links that ended, by why"));
static RESUMES: LazyLock<Counter<u64>> =
    LazyLock::new(|| counter("grasp_sync.resumes", "links that came up, by how they begin"));
static REFUSALS: LazyLock<Counter<u64>> = LazyLock::new(|| counter("grasp_sync.refusals", "times that a relay refused us"));
static NEGENTROPY_BYTES: LazyLock<Counter<u64>> =
    LazyLock::new(|| counter("grasp_sync.negentropy.bytes", "bytes of NIP-77 messages, by direction"));
static BATCH_EVENTS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter("grasp_sync.batch.events", "events read for batches that ended, by method, and whether they were known")
});
static LOST: LazyLock<Counter<u64>> =
    LazyLock::new(|| counter("grasp_sync.home.lost", "events that home does not hold any more although it once did"));
static RENEWALS: LazyLock<Counter<u64>> =
    LazyLock::new(|| counter("grasp_sync.renewals", "renewals of the lease, by what came of them"));
static SUBSCRIPTIONS: LazyLock<UpDownCounter<i64>> = LazyLock::new(|| {
    let meter = global::meter("connector");
    meter.i64_up_down_counter("grasp_sync.subscriptions").with_description("live subscriptions that are open").build()
});
static HOSTS: LazyLock<Gauge<u64>> =
    LazyLock::new(|| gauge("grasp_sync.hosts", "", "hosts that are remembered, by how fast they are asked"));
static WEIGHT: LazyLock<Gauge<u64>> =
    LazyLock::new(|| gauge("grasp_sync.events.weight", "By", "memory of the events that are on their way home"));

/// Upper bounds in seconds: from a live event on this machine to one that a slow home holds up.
const DELAY_BOUNDS: [f64; 11] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0];
static DELAY: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    let meter = global::meter("connector");
    let histogram = meter.f64_histogram("grasp_sync.event.delay").with_unit("s").with_boundaries(DELAY_BOUNDS.to_vec());
    histogram.with_description("from an event's reading to home's word that it has it").build()
});

fn gauge(name: &'static str, unit: &'static str, description: &'static str) -> Gauge<u64> {
    global::meter("connector").u64_gauge(name).with_unit(unit).with_description(description).build()
}

/// Counts whose first step is worth a word are there from the start: nobody sees a step from nothing.
pub(super) fn begin() {
    LOST.add(0, &[]);
    for outcome in ["renewed", "unanswered", "lost"] {
        RENEWALS.add(0, &[KeyValue::new("outcome", outcome)]);
    }
    for what in ["nip77", "reads", "writes"] {
        REFUSALS.add(0, &[KeyValue::new("what", what)]);
    }
}

/// A dial ended: `up`, `not-granted`, or the class of its failure.
pub(crate) fn dialed(class: Role, outcome: &'static str) {
    DIALS.add(1, &[KeyValue::new("outcome", outcome), class_label(class)]);
}

pub(crate) fn link_ended(class: Role, why: DownClass) {
    ENDED.add(1, &[KeyValue::new("why", why.as_str()), class_label(class)]);
}

/// A link came up, and begins so (S8, S9).
pub(crate) fn resumed(class: Role, resume: Resume) {
    let word = match resume {
        Resume::Fresh => "fresh",
        Resume::CatchUp { .. } => "catch-up",
    };
    RESUMES.add(1, &[KeyValue::new("resume", word), class_label(class)]);
}

pub(super) fn refused(what: &'static str) {
    REFUSALS.add(1, &[KeyValue::new("what", what)]);
}

/// Home has refused a write for its rate.
pub(crate) fn write_refused() {
    refused("writes");
}

pub(super) fn batch_read(method: Method, counts: &BatchCounts) {
    for (state, events) in [("new", counts.fresh), ("known", counts.events.saturating_sub(counts.fresh))] {
        BATCH_EVENTS.add(events, &[KeyValue::new("state", state), KeyValue::new("method", method.as_str())]);
    }
}

/// A message of an exchange came (`in`) or left (`out`).
pub(crate) fn exchanged(direction: &'static str, bytes: usize) {
    NEGENTROPY_BYTES.add(bytes as u64, &[KeyValue::new("direction", direction)]);
}

pub(super) fn lost(events: usize) {
    LOST.add(events as u64, &[]);
}

/// What an upstream brought is at home.
pub(crate) fn came_home(class: Role, outcome: Outcome, took: Duration) {
    if class != Role::Home && outcome.is_at_home() {
        DELAY.record(took.as_secs_f64(), &[class_label(class)]);
    }
}

/// The lease was `renewed`, the renewal `unanswered`, or with it the lease `lost`.
pub(crate) fn renewal(outcome: &'static str) {
    RENEWALS.add(1, &[KeyValue::new("outcome", outcome)]);
}

/// How hosts stand, and what is on its way.
pub(crate) fn load(standings: [(Standing, usize); 4], weight: usize) {
    for (standing, count) in standings {
        HOSTS.record(count as u64, &[KeyValue::new("pace", standing.as_str())]);
    }
    WEIGHT.record(weight as u64, &[]);
}

/// The live subscriptions of a link; they count for as long as it lives.
#[derive(Debug)]
pub(crate) struct Live {
    class: Role,
    count: i64,
}

impl Live {
    pub(crate) fn of(class: Role) -> Self {
        Self { class, count: 0 }
    }

    pub(crate) fn are(&mut self, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        if count != self.count {
            SUBSCRIPTIONS.add(count - self.count, &[class_label(self.class)]);
            self.count = count;
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.are(0);
    }
}
