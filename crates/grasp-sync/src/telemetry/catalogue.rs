//! Every figure of `/metrics` and `/metrics/upstreams` with its labels: the table that docs/reference/metrics.md is made of.

use std::fmt::Write;

/// One figure, under its name at Prometheus.
struct Figure {
    name: &'static str,
    /// Label and the set that its values are from.
    labels: &'static [(&'static str, &'static str)],
    doc: &'static str,
}

const fn figure(name: &'static str, labels: &'static [(&'static str, &'static str)], doc: &'static str) -> Figure {
    Figure { name, labels, doc }
}

const CLASS: (&str, &str) = ("class", "home, bootstrap, listed");
const METHOD: (&str, &str) = ("method", "negentropy, REQ");

/// In the order of an operator's questions.
const FIGURES: [Figure; 22] = [
    figure("grasp_sync_complete", &[], "1 while home is complete and every link live, else 0"),
    figure("grasp_sync_items", &[("state", "wanted, pending, confirmed")], "items on upstreams"),
    figure(
        "grasp_sync_upstreams",
        &[("state", "covered, reading, waiting, down, new, refused, unlisted")],
        "upstreams, by where they stand",
    ),
    figure("grasp_sync_behind_seconds", &[], "how far the upstream is behind that is furthest, of those that were ever read"),
    figure("grasp_sync_unread", &[], "upstreams that count and that no link has caught up with yet"),
    figure("grasp_sync_methods", &[("method", "negentropy, REQ, not-known")], "upstreams that count, by how history is read"),
    figure("grasp_sync_home_waiting", &[], "events that wait to be written to home"),
    figure("grasp_sync_home_taken", &[], "events that home gave its final word on in the last minute"),
    figure("grasp_sync_home_limited", &[], "1 while home refuses writes for their rate, else 0"),
    figure("grasp_sync_home_write_time_seconds", &[], "histogram: from an EVENT written to home to its OK"),
    figure(
        "grasp_sync_events_total",
        &[("outcome", "an outcome of the ledger, known, a fault of the copy"), CLASS],
        "events that were read and settled; those that were known already were read in vain",
    ),
    figure("grasp_sync_bytes_total", &[("direction", "in, out"), CLASS], "bytes of text over the links to relays"),
    figure("grasp_sync_links", &[CLASS], "links that are up"),
    figure("grasp_sync_leases", &[], "upstreams that this worker holds a lease on, home included, as of its last renewal"),
    figure("grasp_sync_batches_total", &[("outcome", "complete, why it is incomplete"), METHOD], "batches that ended"),
    figure("grasp_sync_rounds_total", &[METHOD], "pages, or rounds of negentropy, of batches that ended"),
    figure("grasp_sync_reports_total", &[("kind", "of the report")], "reports that sessions sent to the state service"),
    figure(
        "grasp_sync_breaches_total",
        &[("excess", "what it did too much of"), CLASS],
        "times that a relay went beyond what it is let",
    ),
    figure("grasp_sync_audit_found_total", &[], "events that only an audit after a quick reconnect has found"),
    figure("grasp_sync_activations_total", &[("outcome", "planned, fenced, failed")], "looks of the planner at an upstream"),
    figure(
        "grasp_sync_store_time_seconds",
        &[("operation", "a question's name, report")],
        "histogram: what the store takes, waiting for a connection included",
    ),
    figure("grasp_sync_telemetry_failed_exports_total", &[("signal", "traces, metrics")], "what the collector did not take"),
];

const HEAD: &str = "# Figures\n\n\
    `/metrics` (Prometheus) is open to whoever reaches the port: no label names a relay, and every label is from a closed set. The same\n\
    figures go to a collector by OTLP, under names with dots. `/metrics/upstreams` names upstreams, and is for whom the page is for\n\
    ([operate.md](../operate.md)); a series ends with its upstream. Figures of the whole system are said by every process that keeps\n\
    the state, twice a minute: of several replicas take the greatest, not the sum.\n\n\
    This page is made of `telemetry/catalogue.rs`; a test says when it is old.\n\n";

/// The page.
fn markdown() -> String {
    let mut text = format!("{HEAD}| `/metrics` | labels | what |\n|---|---|---|\n");
    for Figure { name, labels, doc } in FIGURES {
        let labels: Vec<String> = labels.iter().map(|(label, values)| format!("`{label}`: {values}")).collect();
        // Writing into a string cannot fail.
        let _ = writeln!(text, "| `{name}` | {} | {doc} |", labels.join("; "));
    }
    text.push_str("\n| `/metrics/upstreams`, label `upstream` | what |\n|---|---|\n");
    for (name, _, doc, _) in crate::page::SERIES {
        let _ = writeln!(text, "| `{name}` | {doc} |");
    }
    text
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
        let bare = |name: &str| {
            let name = name.strip_prefix("grasp_sync_").unwrap();
            let name = name.strip_suffix("_total").unwrap_or(name);
            name.strip_suffix("_seconds").unwrap_or(name).to_owned()
        };
        let table: BTreeSet<String> = FIGURES.iter().map(|figure| bare(figure.name)).collect();
        assert_eq!(instruments(), table);
    }

    #[test]
    fn the_reference_is_what_the_table_says() {
        let path = Path::new(ROOT).join("docs/reference/metrics.md");
        if std::env::var_os("GRASP_SYNC_WRITE_REFERENCE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, markdown()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(written, markdown(), "run GRASP_SYNC_WRITE_REFERENCE=1 cargo test -p grasp-sync --lib the_reference");
    }
}
