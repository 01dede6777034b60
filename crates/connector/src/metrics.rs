//! The connector's figures, counted where things happen. Labels are closed sets: never a URL, an id or a relay's words.

mod links;

use std::sync::LazyLock;
use std::time::Duration;

use engine::conduct::Excess;
use engine::gate::CopyFault;
use model::{BatchCounts, BatchOutcome, Role, Said};
use opentelemetry::metrics::{Counter, Gauge, Histogram, UpDownCounter};
use opentelemetry::{KeyValue, global};

use crate::intake::What;
pub(crate) use links::{Live, came_home, dialed, exchanged, link_ended, load, renewal, resumed, write_refused};

static EVENTS: LazyLock<Counter<u64>> = LazyLock::new(|| counter("grasp_sync.events", "events settled, by outcome"));
static REPORTS: LazyLock<Counter<u64>> = LazyLock::new(|| counter("grasp_sync.reports", "reports sent to state, by kind"));
static BATCHES: LazyLock<Counter<u64>> =
    LazyLock::new(|| counter("grasp_sync.batches", "batches ended, by outcome and method"));
static ROUNDS: LazyLock<Counter<u64>> =
    LazyLock::new(|| counter("grasp_sync.rounds", "pages, or rounds of negentropy, of batches that ended, by method"));
static BYTES: LazyLock<Counter<u64>> =
    LazyLock::new(|| counter("grasp_sync.bytes", "bytes of text over the links to relays, by direction"));
static BREACHES: LazyLock<Counter<u64>> =
    LazyLock::new(|| counter("grasp_sync.breaches", "times that a relay went beyond what it is let, by what it did"));
static AUDIT_FOUND: LazyLock<Counter<u64>> =
    LazyLock::new(|| counter("grasp_sync.audit_found", "events that only an audit after a quick reconnect has found"));
static LINKS: LazyLock<UpDownCounter<i64>> = LazyLock::new(|| {
    let meter = global::meter("connector");
    meter.i64_up_down_counter("grasp_sync.links").with_description("links that are up").build()
});

static LEASES: LazyLock<Gauge<u64>> = LazyLock::new(|| {
    let meter = global::meter("connector");
    meter.u64_gauge("grasp_sync.leases").with_description("upstreams that this worker holds a lease on, home included").build()
});

/// Upper bounds in seconds: from a home on this machine to where no answer ends the link.
const WRITE_BOUNDS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 30.0];
static WRITE_TIME: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    let meter = global::meter("connector");
    let histogram = meter.f64_histogram("grasp_sync.home.write.time").with_unit("s");
    histogram.with_boundaries(WRITE_BOUNDS.to_vec()).with_description("from an EVENT written to home to its OK").build()
});

fn counter(name: &'static str, description: &'static str) -> Counter<u64> {
    global::meter("connector").u64_counter(name).with_description(description).build()
}

/// Said once, when a connector begins.
pub(crate) fn begin() {
    AUDIT_FOUND.add(0, &[]);
    links::begin();
}

/// An event of a link of this class has its outcome.
pub(crate) fn event(class: Role, what: &What) {
    let outcome = match what {
        What::Fresh(row) => row.outcome.as_str(),
        What::Known | What::Elsewhere { .. } => "known",
        What::Faulty { fault, .. } => fault.as_str(),
    };
    EVENTS.add(1, &[KeyValue::new("outcome", outcome), class_label(class)]);
}

/// A copy went no further.
pub(crate) fn dropped(class: Role, fault: CopyFault) {
    EVENTS.add(1, &[KeyValue::new("outcome", fault.as_str()), class_label(class)]);
}

/// A relay of this class went beyond what it is let.
pub(crate) fn breach(class: Role, excess: Excess) {
    BREACHES.add(1, &[KeyValue::new("excess", excess.as_str()), class_label(class)]);
}

/// A report left, and with it perhaps the end of a batch.
pub(crate) fn report(said: &Said) {
    let kind = match said {
        Said::Opened => "opened",
        Said::CaughtUp => "caught-up",
        Said::Rebuilt { .. } => "rebuilt",
        Said::Down { .. } => "down",
        Said::BatchEnded { outcome, method: of, counts, batch: _ } => {
            let outcome = match outcome {
                BatchOutcome::Complete => "complete",
                BatchOutcome::Incomplete { why, .. } => why.as_str(),
            };
            let method = KeyValue::new("method", of.as_str());
            BATCHES.add(1, &[KeyValue::new("outcome", outcome), method.clone()]);
            ROUNDS.add(counts.rounds, &[method]);
            links::batch_read(*of, counts);
            "batch-ended"
        }
        Said::Progress { .. } => "progress",
        Said::Learned { facts } => {
            if facts.refuses_nip77() {
                links::refused("nip77");
            }
            "learned"
        }
        Said::Lost { ids } => {
            links::lost(ids.len());
            "lost"
        }
        Said::Audited { found, .. } => {
            AUDIT_FOUND.add(*found, &[]);
            "audited"
        }
        Said::RateLimited { .. } => {
            links::refused("reads");
            "rate-limited"
        }
    };
    REPORTS.add(1, &[KeyValue::new("kind", kind)]);
}

/// What a link of this class read and wrote since it was asked last.
pub(crate) fn traffic(class: Role, counts: &BatchCounts) {
    bytes("in", class, counts.bytes_in);
    bytes("out", class, counts.bytes_out);
}

/// An event was written to home.
pub(crate) fn sent_home(length: usize) {
    bytes("out", Role::Home, length as u64);
}

/// Home has answered an event, so long after it was written.
pub(crate) fn answered_by_home(took: Duration) {
    WRITE_TIME.record(took.as_secs_f64(), &[]);
}

/// The lease was renewed, for so many upstreams.
pub(crate) fn leases(held: usize) {
    LEASES.record(held as u64, &[]);
}

/// A link is up for as long as this lives.
#[derive(Debug)]
pub(crate) struct LinkUp(Role);

pub(crate) fn link_up(class: Role) -> LinkUp {
    LINKS.add(1, &[class_label(class)]);
    LinkUp(class)
}

impl Drop for LinkUp {
    fn drop(&mut self) {
        LINKS.add(-1, &[class_label(self.0)]);
    }
}

fn bytes(direction: &'static str, class: Role, count: u64) {
    if count > 0 {
        BYTES.add(count, &[KeyValue::new("direction", direction), class_label(class)]);
    }
}

fn class_label(class: Role) -> KeyValue {
    KeyValue::new("class", class.as_str())
}
