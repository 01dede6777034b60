//! The measurements, small: each ends with figures of a run that was complete.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;

use serde_json::Value;

fn measured(words: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grasp-sync"));
    let ended = command.arg("bench").args(words).arg("--json").output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{words:?}: {:?}\n{said}", ended.status);
    serde_json::from_slice(&ended.stdout).unwrap_or_else(|why| panic!("{why}\n{said}"))
}

fn figure(report: &Value, name: &str) -> f64 {
    let mut rows = report["figures"].as_array().unwrap().iter();
    let row = rows.find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name} in {report:#}"));
    row["median"].as_f64().unwrap()
}

#[test]
fn history_is_measured_beside_its_limit() {
    let report = measured(&["history", "--events", "300", "--upstreams", "2", "--runs", "2"]);
    assert_eq!(report["complete"], true);
    assert!(figure(&report, "limit: verification on these cores") > figure(&report, "events at home"));
    assert!(figure(&report, "events at home") > 0.0);
    assert!(figure(&report, "bytes down per event") > 1_000.0, "{report:#}");
    assert_eq!(report["figures"][0]["runs"].as_array().unwrap().len(), 2);
}

#[test]
fn a_resync_downloads_what_is_new_and_nothing_else() {
    let report = measured(&["resync", "--events", "400", "--upstreams", "2", "--missing", "5"]);
    let new = figure(&report, "new at the upstreams");
    assert!(new > 0.0);
    assert_eq!(figure(&report, "offered to home"), new, "{report:#}");
}

#[test]
fn every_live_event_is_timed() {
    let report = measured(&["live", "--upstreams", "2", "--events", "60", "--rate", "60"]);
    assert_eq!(figure(&report, "arrived"), 60.0);
    assert!(figure(&report, "half of them within") <= figure(&report, "the slowest"));
}

#[test]
fn a_line_delays_what_it_carries() {
    let far = measured(&["history", "--events", "100", "--upstreams", "1", "--rtt", "400ms"]);
    // The upgrade, the exchange and the fetch: three round trips, one after the other.
    assert!(figure(&far, "last event at home after") > 1_200.0, "{far:#}");
}
