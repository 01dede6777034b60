//! The figures of the bus. Labels are closed sets. In one process only questions are counted: nothing else can be lost there.

use std::sync::LazyLock;
use std::time::Duration;

use model::Answer;
use opentelemetry::metrics::{Counter, Gauge, Histogram};
use opentelemetry::{KeyValue, global};

use crate::BusError;

static LOSSES: LazyLock<Counter<u64>> = LazyLock::new(|| counter("grasp_sync.bus.losses", "what the bus has lost"));
static REDELIVERED: LazyLock<Counter<u64>> =
    LazyLock::new(|| counter("grasp_sync.bus.redelivered", "reports that came again because nobody had acknowledged them"));
static WAITING: LazyLock<Gauge<u64>> = LazyLock::new(|| {
    let meter = global::meter("bus");
    meter.u64_gauge("grasp_sync.bus.waiting").with_description("reports in the stream that nobody has acknowledged yet").build()
});

/// Upper bounds in seconds: from a call inside a process to where a question is given up.
const BOUNDS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];
static QUESTION_TIME: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    let meter = global::meter("bus");
    let histogram = meter.f64_histogram("grasp_sync.question.time").with_unit("s").with_boundaries(BOUNDS.to_vec());
    histogram.with_description("from a question to its answer, as the asker sees it").build()
});

fn counter(name: &'static str, description: &'static str) -> Counter<u64> {
    global::meter("bus").u64_counter(name).with_description(description).build()
}

/// Said once, when a process meets others: nobody sees a step from nothing.
pub(crate) fn begin() {
    for what in ["connection", "slow-consumer", "report"] {
        LOSSES.add(0, &[KeyValue::new("what", what)]);
    }
    REDELIVERED.add(0, &[]);
}

/// Lost: a `connection`, messages of a `slow-consumer`, or a `report` that nobody can read.
pub(crate) fn lost(what: &'static str) {
    LOSSES.add(1, &[KeyValue::new("what", what)]);
}

/// A report was delivered for the so-manieth time.
pub(crate) fn delivered(times: i64) {
    if times > 1 {
        REDELIVERED.add(1, &[]);
    }
}

/// So many reports are in the stream.
pub(crate) fn waiting(reports: u64) {
    WAITING.record(reports, &[]);
}

/// A question has its answer, or none.
pub(crate) fn asked(question: &'static str, answer: &Result<Answer, BusError>, took: Duration) {
    let outcome = match answer {
        Ok(Answer::Failed(_)) => "refused",
        Ok(_) => "answered",
        Err(_) => "unanswered",
    };
    QUESTION_TIME.record(took.as_secs_f64(), &[KeyValue::new("question", question), KeyValue::new("outcome", outcome)]);
}
