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
fn a_restart_downloads_nothing_again() {
    let report = measured(&["restart", "--events", "600", "--upstreams", "3", "--listed", "2"]);
    assert_eq!(report["complete"], true);
    assert!(figure(&report, "downloaded, cold") >= 600.0, "{report:#}");
    assert_eq!(figure(&report, "downloaded, warm"), 0.0, "{report:#}");
    assert!(figure(&report, "warm, of the cold one's bytes") < 50.0, "{report:#}");
}

#[test]
fn the_ledger_is_measured_beside_the_limit_of_its_database() {
    let report = measured(&["ledger", "--events", "10000"]);
    assert_eq!(report["complete"], true);
    let limit = figure(&report, "limit: the same rows without an index, one writer");
    assert!(limit > figure(&report, "written up to 10000"), "{report:#}");
    assert!(figure(&report, "set of 100 roots, 900 events, of 10000") > 0.0);
}

#[test]
fn a_new_root_is_timed_until_it_is_ordered_and_a_database_is_filled_once() {
    let url = testkit::postgres::database();
    let words = ["planner", "--repositories", "40", "--upstreams", "30", "--roots", "3"];
    let in_postgres = [&words[..], &["--store", &url]].concat();
    for words in [&words[..], &in_postgres] {
        let report = measured(words);
        assert!(figure(&report, "new root to home's order, half, out of 4") > 0.0, "{report:#}");
        assert!(figure(&report, "home's answer to an upstream's order, half, out of 40") > 0.0, "{report:#}");
    }
    let again = Command::new(env!("CARGO_BIN_EXE_grasp-sync")).arg("bench").args(in_postgres).output().unwrap();
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(!again.status.success() && said.contains("the database of --store is not empty"), "{said}");
}

#[test]
fn a_line_delays_what_it_carries() {
    let far = measured(&["history", "--events", "100", "--upstreams", "1", "--rtt", "400ms"]);
    // The upgrade, the exchange and the fetch: three round trips, one after the other.
    assert!(figure(&far, "last event at home after") > 1_200.0, "{far:#}");
}
