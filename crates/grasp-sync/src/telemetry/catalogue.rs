//! Every figure of `/metrics` and `/metrics/upstreams` with its labels: what docs/reference/metrics.md is made of, and what dashboards
//! and alerts are held to. Counts nothing itself; a test holds it to the instruments of all crates.

mod words;

use std::fmt::Write;

use words::{ASKS, CLASS, DIALS, DIRECTION, ENDINGS, EVENTS, EXCESSES, FAILURES, METHOD, OPERATIONS, QUESTIONS};

/// One figure, under its name at Prometheus.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [Label],
    pub doc: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, and begins anew with the process.
    Counter,
    Gauge,
    /// `_bucket` with the label `le`, `_sum` and `_count`.
    Histogram,
}

/// A label, and all values that it may have.
#[derive(Debug, Clone, Copy)]
pub struct Label {
    pub name: &'static str,
    pub values: &'static [&'static str],
}

const fn counter(name: &'static str, labels: &'static [Label], doc: &'static str) -> Figure {
    Figure { name, kind: Kind::Counter, labels, doc }
}

const fn gauge(name: &'static str, labels: &'static [Label], doc: &'static str) -> Figure {
    Figure { name, kind: Kind::Gauge, labels, doc }
}

const fn histogram(name: &'static str, labels: &'static [Label], doc: &'static str) -> Figure {
    Figure { name, kind: Kind::Histogram, labels, doc }
}

const fn label(name: &'static str, values: &'static [&'static str]) -> Label {
    Label { name, values }
}

/// In the order of an operator's questions.
pub const FIGURES: [Figure; 46] = [
    gauge("grasp_sync_complete", &[], "1 while home is complete and every link live, else 0"),
    gauge("grasp_sync_items", &[label("state", &["wanted", "pending", "confirmed"])], "items on upstreams"),
    gauge(
        "grasp_sync_upstreams",
        &[label("state", &["covered", "reading", "waiting", "down", "new", "refused", "unlisted"])],
        "upstreams, by where they stand",
    ),
    gauge("grasp_sync_behind_seconds", &[], "how far the upstream is behind that is furthest, of those that were ever read"),
    gauge("grasp_sync_unread", &[], "upstreams that count and that no link has caught up with yet"),
    gauge(
        "grasp_sync_failing",
        &[label("why", FAILURES)],
        "upstreams that count and whose last links failed, by how the last one did (S17)",
    ),
    gauge(
        "grasp_sync_methods",
        &[label("method", &["negentropy", "REQ", "not-known"])],
        "upstreams that count, by how history is read (S12)",
    ),
    gauge("grasp_sync_home_waiting", &[], "events that wait to be written to home"),
    gauge("grasp_sync_home_taken", &[], "events that home gave its final word on in the last minute"),
    gauge("grasp_sync_home_limited", &[], "1 while home refuses writes for their rate, else 0"),
    histogram("grasp_sync_home_write_time_seconds", &[], "from an EVENT written to home to its OK"),
    histogram("grasp_sync_event_delay_seconds", &[CLASS], "from an event's reading to home's word that it has it"),
    counter("grasp_sync_home_lost_total", &[], "events that home does not hold any more although it once did"),
    counter(
        "grasp_sync_events_total",
        &[label("outcome", EVENTS), CLASS],
        "events that were read and settled; those that were known already were read in vain",
    ),
    counter("grasp_sync_bytes_total", &[DIRECTION, CLASS], "bytes of text over the links to relays"),
    counter("grasp_sync_negentropy_bytes_total", &[DIRECTION], "bytes of NIP-77 messages among them"),
    counter(
        "grasp_sync_dials_total",
        &[label("outcome", DIALS), CLASS],
        "dials, by what came of them; not-dialable: the dial policy",
    ),
    gauge("grasp_sync_links", &[CLASS], "links that are up"),
    counter("grasp_sync_links_ended_total", &[label("why", ENDINGS), CLASS], "links that ended"),
    counter(
        "grasp_sync_resumes_total",
        &[label("resume", &["fresh", "catch-up"]), CLASS],
        "links that came up, by how they begin (S8, S9)",
    ),
    gauge("grasp_sync_subscriptions", &[CLASS], "live subscriptions that are open on the links of this process (S14)"),
    gauge(
        "grasp_sync_subscriptions_allowed",
        &[],
        "live subscriptions that upstreams with a link may have, all together (S14)",
    ),
    counter(
        "grasp_sync_refusals_total",
        &[label("what", &["nip77", "reads", "writes"])],
        "times that a relay refused NIP-77 (S12), reads for their rate (S18), or home writes for theirs",
    ),
    gauge(
        "grasp_sync_hosts",
        &[label("pace", &["resting", "narrowed", "spaced", "full"])],
        "hosts that are remembered, by how fast they are asked: in a cooldown, fewer requests side by side, further apart, or as ever (S18)",
    ),
    counter("grasp_sync_breaches_total", &[label("excess", EXCESSES), CLASS], "times that a relay went beyond what it is let"),
    gauge("grasp_sync_events_weight_bytes", &[], "memory of the events that are on their way home"),
    gauge("grasp_sync_leases", &[], "upstreams that this worker holds a lease on, home included, as of its last renewal"),
    counter(
        "grasp_sync_renewals_total",
        &[label("outcome", &["renewed", "unanswered", "lost"])],
        "renewals of the lease; lost: every session of the process ended with it",
    ),
    counter("grasp_sync_batches_total", &[label("outcome", words::BATCHES), METHOD], "batches that ended"),
    counter(
        "grasp_sync_batch_events_total",
        &[label("state", &["new", "known"]), METHOD],
        "events read for batches that ended",
    ),
    counter("grasp_sync_rounds_total", &[METHOD], "pages, or rounds of negentropy, of batches that ended"),
    counter("grasp_sync_reports_total", &[label("kind", words::REPORTS)], "reports that sessions sent to the state service"),
    counter("grasp_sync_audit_found_total", &[], "events that only an audit after a quick reconnect has found (S9)"),
    counter(
        "grasp_sync_discovered_total",
        &[label("what", &["repos", "roots", "removals", "participants", "tombstones"])],
        "what discovery windows have put on the books (S2)",
    ),
    counter(
        "grasp_sync_activations_total",
        &[label("outcome", &["planned", "fenced", "failed"])],
        "looks of the planner at an upstream",
    ),
    histogram("grasp_sync_plan_time_seconds", &[], "what such a look takes, with its questions and orders"),
    gauge("grasp_sync_plan_queue", &[], "upstreams that wait for a look of this planner"),
    counter("grasp_sync_orders_total", &[label("ask", ASKS)], "orders that the planner sent; rebuild: S14, hang-up: S16"),
    counter("grasp_sync_refreshes_total", &[], "upstreams that were due to be read anew (S15)"),
    counter(
        "grasp_sync_reports_taken_total",
        &[label("outcome", &["applied", "fenced", "failed"])],
        "reports that came to the store; fenced: of an older epoch",
    ),
    histogram(
        "grasp_sync_store_time_seconds",
        &[label("operation", OPERATIONS)],
        "what the store takes, waiting for a connection included",
    ),
    histogram(
        "grasp_sync_question_time_seconds",
        &[label("question", QUESTIONS), label("outcome", &["answered", "refused", "unanswered"])],
        "from a question to the state service to its answer, as the asker sees it",
    ),
    counter(
        "grasp_sync_bus_losses_total",
        &[label("what", &["connection", "slow-consumer", "report"])],
        "what the bus lost: its connection, messages that this process was too slow for, reports that nobody can read; a fleet's only",
    ),
    counter(
        "grasp_sync_bus_redelivered_total",
        &[],
        "reports that came again because nobody had acknowledged them; a fleet's only",
    ),
    gauge(
        "grasp_sync_bus_waiting",
        &[],
        "reports in the stream that no replica has acknowledged, as of the last look, every 5 s; a fleet's only",
    ),
    counter(
        "grasp_sync_telemetry_failed_exports_total",
        &[label("signal", &["traces", "metrics"])],
        "what the collector did not take",
    ),
];

/// Figures of one upstream, at `/metrics/upstreams`: all of them have the label `upstream`.
#[must_use]
pub fn figures_of_upstreams() -> Vec<Figure> {
    let figure = |(name, grows, doc, labels, _): &crate::page::Series| Figure {
        name,
        kind: if *grows { Kind::Counter } else { Kind::Gauge },
        labels,
        doc,
    };
    crate::page::SERIES.iter().map(figure).collect()
}

const HEAD: &str = "# Figures\n\n\
    `/metrics` (Prometheus) is open to whoever reaches the port: no label names a relay, and every label is from a closed set. The same\n\
    figures go to a collector by OTLP, under names with dots. `/metrics/upstreams` names upstreams, and is for whom the page is for\n\
    ([operate.md](../operate.md)); a series ends with its upstream. Figures of the whole system, from `grasp_sync_complete` to\n\
    `grasp_sync_home_limited` and `grasp_sync_subscriptions_allowed`, are said by every process that keeps the state, twice a minute: of several\n\
    replicas take the greatest, not the sum. `class` is what the relay is to us: home, named by the operator, or listed by an announcement.\n\
    Dashboards and alerts that use them are in [deploy/observability](../../deploy/observability/README.md).\n\n";

/// The page of the reference.
#[must_use]
pub fn page() -> String {
    let mut text = format!("{HEAD}| `/metrics` | kind | labels | what |\n|---|---|---|---|\n");
    FIGURES.iter().for_each(|figure| row(figure, &mut text));
    text.push_str("\n| `/metrics/upstreams`, label `upstream` | kind | labels | what |\n|---|---|---|---|\n");
    figures_of_upstreams().iter().for_each(|figure| row(figure, &mut text));
    text
}

fn row(Figure { name, kind, labels, doc }: &Figure, text: &mut String) {
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let labels: Vec<String> = labels.iter().map(|label| format!("`{}`: {}", label.name, label.values.join(", "))).collect();
    // Writing into a string cannot fail.
    let _ = writeln!(text, "| `{name}` | {kind} | {} | {doc} |", labels.join("; "));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

    fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }

    /// Names of instruments in the sources of all crates, as they are written: with dots, in quotes.
    fn instruments() -> BTreeSet<String> {
        let mut files = Vec::new();
        for member in std::fs::read_dir(Path::new(ROOT).join("crates")).unwrap() {
            sources(&member.unwrap().path().join("src"), &mut files);
        }
        let mut names = BTreeSet::new();
        for file in files {
            let text = std::fs::read_to_string(file).unwrap();
            let quoted = text.split("\"grasp_sync.").skip(1).filter_map(|rest| rest.split_once('"'));
            names.extend(quoted.map(|(name, _)| name.replace('.', "_")));
        }
        // A part of a name in this test, and what is no figure: an attribute of traces and of the process.
        names.retain(|name| name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'));
        names.retain(|name| !name.is_empty() && name != "role" && name != "pieces");
        names
    }

    #[test]
    fn every_instrument_of_the_sources_is_in_the_table_and_the_table_holds_no_other() {
        let bare = |figure: &Figure| {
            let name = figure.name.strip_prefix("grasp_sync_").unwrap();
            let name = name.strip_suffix("_total").unwrap_or(name);
            let units: &[&str] = if figure.kind == Kind::Counter { &[] } else { &["_seconds", "_bytes"] };
            units.iter().find_map(|unit| name.strip_suffix(unit)).unwrap_or(name).to_owned()
        };
        let table: BTreeSet<String> = FIGURES.iter().map(bare).collect();
        assert_eq!(instruments(), table);
    }

    #[test]
    fn counters_and_only_they_are_called_a_total() {
        for figure in FIGURES.iter().copied().chain(figures_of_upstreams()) {
            assert_eq!(figure.name.ends_with("_total"), figure.kind == Kind::Counter, "{}", figure.name);
        }
    }
}
