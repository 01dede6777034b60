//! Figures for Prometheus that name their upstream, and die with it: they are written from the status of the moment. They say what
//! the page says, so they are for whom the page is for.

use std::fmt::Write;

use model::{Status, Timestamp, UpstreamStatus};

use crate::overview::{State, since};
use crate::telemetry::catalogue::Label;

/// A series: its name, whether it only grows, what it counts, and its labels beside `upstream`: what it says is the figure for each
/// value of that label, or one figure.
pub(crate) type Series = (&'static str, bool, &'static str, &'static [Label], fn(&UpstreamStatus, Timestamp) -> Vec<u64>);

const COVERAGE: &[Label] = &[Label { name: "state", values: &["wanted", "pending", "confirmed"] }];
const NEWS: &[Label] = &[Label { name: "state", values: &["new", "known"] }];
const DIRECTION: &[Label] = &[Label { name: "direction", values: &["in", "out"] }];

pub(crate) const SERIES: [Series; 7] = [
    ("grasp_sync_upstream_covered", false, "1 while it is covered, else 0", &[], |one, _| {
        vec![(State::of(one) == State::Covered).into()]
    }),
    ("grasp_sync_upstream_items", false, "its items", COVERAGE, |one, _| vec![one.wanted, one.pending, one.confirmed]),
    ("grasp_sync_upstream_behind_seconds", false, "how far it is behind; absent until it was read", &[], |one, now| {
        one.good_to.map(|at| since(at, now)).into_iter().collect()
    }),
    ("grasp_sync_upstream_failures", false, "failures in a row", &[], |one, _| vec![one.failures.into()]),
    ("grasp_sync_upstream_events_total", true, "EVENT frames read; those that were known were read in vain", NEWS, |one, _| {
        vec![one.counts.fresh, one.counts.events.saturating_sub(one.counts.fresh)]
    }),
    ("grasp_sync_upstream_bytes_total", true, "bytes of text", DIRECTION, |one, _| {
        vec![one.counts.bytes_in, one.counts.bytes_out]
    }),
    ("grasp_sync_upstream_rounds_total", true, "pages, or rounds of negentropy", &[], |one, _| vec![one.counts.rounds]),
];

/// In Prometheus' text format.
pub(super) fn text(status: &Status, now: Timestamp) -> String {
    let mut text = String::new();
    for (name, grows, doc, labels, figures) in SERIES {
        let kind = if grows { "counter" } else { "gauge" };
        // Writing into a string cannot fail.
        let _ = writeln!(text, "# HELP {name} {doc}\n# TYPE {name} {kind}");
        for one in &status.upstreams {
            let url = escaped(one.url.as_str());
            let own: Vec<String> = labels
                .iter()
                .flat_map(|label| label.values.iter().map(|value| format!(",{}=\"{value}\"", label.name)))
                .collect();
            for (at, figure) in figures(one, now).into_iter().enumerate() {
                let own = own.get(at).map_or("", String::as_str);
                let _ = writeln!(text, "{name}{{upstream=\"{url}\"{own}}} {figure}");
            }
        }
    }
    text
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overview::tests::{at, covered, down, status};

    #[test]
    fn a_series_lives_as_long_as_its_upstream() {
        let both = status(vec![covered("wss://one.example"), down("wss://two.example", Some(700))]);
        let told = text(&both, at(1_000));
        for line in [
            "grasp_sync_upstream_covered{upstream=\"wss://one.example/\"} 1",
            "grasp_sync_upstream_covered{upstream=\"wss://two.example/\"} 0",
            "grasp_sync_upstream_behind_seconds{upstream=\"wss://two.example/\"} 300",
            "grasp_sync_upstream_items{upstream=\"wss://one.example/\",state=\"confirmed\"} 10",
        ] {
            assert!(told.lines().any(|told| told == line), "{line}: {told}");
        }
        let one = status(vec![covered("wss://one.example")]);
        assert!(!text(&one, at(1_000)).contains("two.example"));
        let unread = status(vec![down("wss://two.example", None)]);
        assert!(!text(&unread, at(1_000)).contains("behind_seconds{"), "no figure is no zero");
    }

    #[test]
    fn a_label_ends_where_it_should() {
        assert_eq!(escaped("a\"} 1\n\\"), "a\\\"} 1\\n\\\\");
    }
}
