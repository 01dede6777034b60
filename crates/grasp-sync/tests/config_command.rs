//! The real binary: what it prints where, and its exit codes.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

/// Runs the binary in `directory` with nothing in its environment.
fn grasp_sync(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_grasp-sync"))
        .current_dir(directory)
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn config_show_prints_a_file_that_the_next_start_finds_and_reads() {
    let directory = tempfile::tempdir().unwrap();
    let first =
        grasp_sync(directory.path(), &["config", "show", "--home", "WSS://Home.example"], &[("GRASP_SYNC_LIVE_LIMIT", "12")]);
    assert_eq!((code(&first), stderr(&first)), (0, ""));
    assert!(stdout(&first).contains("home = \"wss://home.example/\"  # flag --home\n"));
    assert!(stdout(&first).contains("live_limit = 12  # environment GRASP_SYNC_LIVE_LIMIT\n"));

    std::fs::write(directory.path().join("grasp-sync.toml"), stdout(&first)).unwrap();
    let second = grasp_sync(directory.path(), &["config", "show"], &[]);
    assert_eq!(code(&second), 0, "{}", stderr(&second));
    let line = "live_limit = 12  # file ./grasp-sync.toml\n";
    assert!(stdout(&second).contains(line), "{}", stdout(&second));
}

#[test]
fn config_show_prints_one_json_document() {
    let directory = tempfile::tempdir().unwrap();
    let shown = grasp_sync(directory.path(), &["config", "show", "--json", "-v"], &[]);
    let document: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(document["telemetry"]["log"]["origin"], "flag -v");
    assert_eq!(code(&shown), 0);
}

#[test]
fn a_bad_url_ends_with_2_and_says_what_is_wrong_on_stderr_only() {
    let directory = tempfile::tempdir().unwrap();
    let ended = grasp_sync(directory.path(), &["run", "--home", "wss://user@home.example"], &[]);
    assert_eq!((code(&ended), stdout(&ended)), (2, ""));
    let message = "error: the configuration cannot be used: home (flag --home) holds \
                   \"wss://***@home.example\": the URL names a user";
    assert!(stderr(&ended).starts_with(message), "{}", stderr(&ended));
}

#[test]
fn an_unknown_key_ends_with_2_and_names_the_one_that_was_meant() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("my.toml"), "[sync]\nlive_limt = 3").unwrap();
    let ended = grasp_sync(directory.path(), &["config", "show", "--config", "my.toml"], &[]);
    assert_eq!((code(&ended), stdout(&ended)), (2, ""));
    let message = "[sync] live_limt (file my.toml) is not a setting; did you mean [sync] live_limit?";
    assert!(stderr(&ended).contains(message), "{}", stderr(&ended));
}

#[test]
fn a_run_without_home_and_a_named_file_that_is_missing_end_with_2() {
    let directory = tempfile::tempdir().unwrap();
    let ended = grasp_sync(directory.path(), &["run"], &[]);
    assert_eq!(code(&ended), 2);
    assert!(stderr(&ended).contains("home is not set"), "{}", stderr(&ended));
    let ended = grasp_sync(directory.path(), &["config", "show"], &[("GRASP_SYNC_CONFIG", "gone.toml")]);
    assert_eq!(code(&ended), 2);
    assert!(stderr(&ended).contains("(file gone.toml) cannot be read"), "{}", stderr(&ended));
}

#[test]
fn a_role_that_misses_what_it_needs_ends_with_2_and_says_all_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let ended = grasp_sync(directory.path(), &["run", "--role", "connector"], &[]);
    assert_eq!((code(&ended), stdout(&ended)), (2, ""));
    for part in ["home is not set, and role connector needs it", "nats_url is not set, and role connector needs it"] {
        assert!(stderr(&ended).contains(part), "{}", stderr(&ended));
    }
    let status = grasp_sync(directory.path(), &["status"], &[("GRASP_SYNC_ROLE", "planner")]);
    assert_eq!(code(&status), 2, "{}", stderr(&status));
}

#[test]
fn a_password_from_a_file_is_shown_neither_as_toml_nor_as_json() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("nats"), "nats://left:hunter2@bus:4222\n").unwrap();
    for arguments in [&["config", "show"][..], &["config", "show", "--json"]] {
        let shown = grasp_sync(directory.path(), arguments, &[("GRASP_SYNC_NATS_URL_FILE", "nats")]);
        assert_eq!(code(&shown), 0, "{}", stderr(&shown));
        assert!(stdout(&shown).contains("nats://left:***@bus:4222"), "{}", stdout(&shown));
        assert!(!stdout(&shown).contains("hunter2"), "{}", stdout(&shown));
    }
}

#[test]
fn wrong_usage_ends_with_2_and_help_and_version_with_0() {
    let directory = tempfile::tempdir().unwrap();
    let wrong = grasp_sync(directory.path(), &["run", "--hoem", "x"], &[]);
    assert_eq!(code(&wrong), 2);
    let help = grasp_sync(directory.path(), &["--help"], &[]);
    assert_eq!(code(&help), 0);
    for part in ["Exit codes:", "130  aborted by a second signal", "Examples:", "run", "demo", "config", "status", "migrate"] {
        assert!(stdout(&help).contains(part), "{part}");
    }
    let version = grasp_sync(directory.path(), &["-V"], &[]);
    let expected = format!("grasp-sync {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((code(&version), stdout(&version)), (0, expected.as_str()));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let directory = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = Command::new(env!("CARGO_BIN_EXE_grasp-sync"))
        .current_dir(directory.path())
        .args(["config", "show"])
        .env_clear()
        .stdout(writer)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
}
