//! Which crate may know which: the walls of the architecture, held over `cargo metadata`.
//!
//! It looks at normal and build dependencies (optional and platform ones too); what a crate's tests use is its own business.

#![allow(clippy::unwrap_used)]

use cargo_metadata::{DependencyKind, MetadataCommand};
use std::collections::BTreeSet;

/// A crate, the crates of this workspace that it may know, and why no more.
const DIRECTIONS: [(&str, &[&str], &str); 8] = [
    ("model", &[], "the words come first; whoever speaks them must not be dragged along"),
    ("engine", &["model"], "decisions are pure: what is known comes in as words, what is decided goes out as words"),
    ("bus", &["model"], "it carries messages and does not know who decides on them or keeps them"),
    ("state", &["bus", "engine", "model"], "services meet on the bus only, so that each can run as a process of its own"),
    ("planner", &["bus", "engine", "model"], "services meet on the bus only, so that each can run as a process of its own"),
    ("connector", &["bus", "engine", "model"], "services meet on the bus only, so that each can run as a process of its own"),
    (
        "grasp-sync",
        &["bus", "connector", "engine", "model", "planner", "state"],
        "it wires everything but the fixtures of tests",
    ),
    ("testkit", &[], "fixtures that share code with what they test share its mistakes"),
];

/// A library, the crates that may use it, and why no other.
const LIVES_ONLY_IN: [(&str, &[&str], &str); 14] = [
    // The fixtures read what state has written, to judge it.
    ("sqlx", &["state", "testkit"], "state is the database's only reader and writer"),
    ("async-nats", &["bus"], "NATS is one of two adapters of the bus; nobody else may rely on it"),
    // The binary's built-in relay serves WebSockets and answers negentropy; the fixtures speak to relays as clients.
    ("tokio-tungstenite", &["connector", "grasp-sync", "testkit"], "sockets to relays belong to the connector"),
    ("negentropy", &["connector", "grasp-sync"], "the connector drives negentropy; the engine decides what for"),
    ("rustls", &["connector", "grasp-sync"], "TLS belongs to the connector; the binary chooses its provider, once"),
    ("tokio-rustls", &["connector"], "TLS belongs to the connector"),
    ("hyper", &["connector"], "who asks a stranger over HTTP dials as the connector does"),
    ("tracing-subscriber", &["grasp-sync"], "a library that subscribes takes the choice away from the process"),
    ("opentelemetry_sdk", &["grasp-sync"], "who counts does not choose where the figures go"),
    ("opentelemetry-otlp", &["grasp-sync"], "who counts does not choose where the figures go"),
    ("axum", &["grasp-sync"], "a process answers about itself in one place"),
    ("clap", &["grasp-sync"], "arguments, environment and exit codes belong to the process"),
    ("clap_complete", &["grasp-sync"], "arguments, environment and exit codes belong to the process"),
    ("clap_mangen", &["grasp-sync"], "arguments, environment and exit codes belong to the process"),
];

/// A library, the crates that may never use it, and why.
const NEVER_IN: [(&str, &[&str], &str); 5] = [
    ("tokio", &["model", "engine"], "words and decisions have no time and no IO"),
    ("async-trait", &["model", "engine"], "words and decisions wait for nothing"),
    ("rand", &["model", "engine"], "randomness is an argument"),
    ("tracing", &["model", "engine"], "a decision's reason is a value, not a log line"),
    ("opentelemetry", &["model", "engine"], "a decision's reason is a value; who acts on it counts it"),
];

/// One dependency: who, and whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    from: String,
    to: String,
}

fn edge(from: &str, to: &str) -> Edge {
    Edge { from: from.to_owned(), to: to.to_owned() }
}

/// Every wall that an edge crosses, in words.
fn crossings(edges: &BTreeSet<Edge>) -> Vec<String> {
    edges.iter().flat_map(|edge| [wrong_direction(edge), strayed_library(edge), banned_library(edge)]).flatten().collect()
}

fn wrong_direction(Edge { from, to }: &Edge) -> Option<String> {
    DIRECTIONS.iter().find(|(name, ..)| name == to)?;
    let Some((_, allowed, why)) = DIRECTIONS.iter().find(|(name, ..)| name == from) else {
        return Some(format!("{from} is a new crate: give it a row in DIRECTIONS"));
    };
    (!allowed.contains(&to.as_str())).then(|| format!("{from} must not depend on {to}: {why}"))
}

fn strayed_library(Edge { from, to }: &Edge) -> Option<String> {
    let (_, homes, why) = LIVES_ONLY_IN.iter().find(|(name, ..)| name == to)?;
    (!homes.contains(&from.as_str()))
        .then(|| format!("{from} must not use {to}, which lives only in {}: {why}", homes.join(", ")))
}

fn banned_library(Edge { from, to }: &Edge) -> Option<String> {
    let (_, banned, why) = NEVER_IN.iter().find(|(name, ..)| name == to)?;
    banned.contains(&from.as_str()).then(|| format!("{from} must not use {to}: {why}"))
}

/// A member's package is called `grasp-sync-model`, its directory and everybody `model`.
fn short(package: &str) -> &str {
    package.strip_prefix("grasp-sync-").unwrap_or(package)
}

/// The members of the workspace, and what each depends on.
fn workspace() -> (BTreeSet<String>, BTreeSet<Edge>) {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let members = metadata.workspace_packages();
    let names = members.iter().map(|member| short(&member.name).to_owned()).collect();
    let edges = members.iter().flat_map(|member| {
        let dependencies = member.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
        dependencies.map(|dependency| edge(short(&member.name), short(&dependency.name)))
    });
    (names, edges.collect())
}

#[test]
fn no_crate_crosses_a_wall() {
    let (_, edges) = workspace();
    let crossings = crossings(&edges);
    assert!(crossings.is_empty(), "the architecture's walls are crossed:\n  {}", crossings.join("\n  "));
}

#[test]
fn every_crate_of_the_workspace_has_its_row() {
    let (members, _) = workspace();
    let rows: BTreeSet<String> = DIRECTIONS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(members, rows, "the crates of the workspace, and the rows of DIRECTIONS");
}

#[test]
fn a_wall_stands_around_something() {
    let (_, edges) = workspace();
    for (library, homes, _) in LIVES_ONLY_IN {
        // NATS comes with the fleet.
        let used = library == "async-nats" || edges.iter().any(|edge| edge.to == library);
        assert!(used, "nobody uses {library} any more: drop its row");
        assert!(
            homes.iter().all(|home| DIRECTIONS.iter().any(|(name, ..)| name == home)),
            "{library} lives in an unknown crate"
        );
    }
}

#[test]
fn a_crossing_is_told_with_its_reason() {
    let told = |from, to| crossings(&BTreeSet::from([edge(from, to)]));
    assert_eq!(
        told("planner", "state"),
        ["planner must not depend on state: services meet on the bus only, so that each can run as a process of its own"]
    );
    assert_eq!(
        told("grasp-sync", "testkit"),
        ["grasp-sync must not depend on testkit: it wires everything but the fixtures of tests"]
    );
    assert_eq!(
        told("planner", "sqlx"),
        ["planner must not use sqlx, which lives only in state, testkit: state is the database's only reader and writer"]
    );
    assert_eq!(told("engine", "tokio"), ["engine must not use tokio: words and decisions have no time and no IO"]);
    assert_eq!(told("newcomer", "model"), ["newcomer is a new crate: give it a row in DIRECTIONS"]);
    assert_eq!(told("state", "engine"), [""; 0]);
    assert_eq!(told("state", "sqlx"), [""; 0]);
}

/// Every word in back-ticks that is a test's name: a sentence in small letters.
fn named_tests(text: &str) -> BTreeSet<String> {
    let is_sentence = |word: &&str| {
        let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        word.chars().all(is_letter) && word.matches('_').count() >= 4
    };
    text.split('`').skip(1).step_by(2).filter(is_sentence).map(str::to_owned).collect()
}

/// The names of all functions in the Rust files of a folder.
fn functions_in(folder: &std::path::Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            functions_in(&entry, found);
        } else if entry.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(&entry).unwrap();
            let names = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            found.extend(names.map(str::to_owned));
        }
    }
}

#[test]
fn security_md_names_tests_that_exist() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let named = named_tests(&std::fs::read_to_string(root.join("SECURITY.md")).unwrap());
    assert!(named.len() > 30, "{named:?}");
    let mut functions = BTreeSet::new();
    functions_in(&root.join("crates"), &mut functions);
    let gone: Vec<&String> = named.difference(&functions).collect();
    assert_eq!(gone, [""; 0], "SECURITY.md names tests that are gone");
    assert_eq!(named_tests("run `cargo test` of `a_test_that_is_named_here`, not `this one`").len(), 1);
}

/// The last word of every path (`a::b::c`) in back-ticks.
fn named_paths(text: &str) -> BTreeSet<String> {
    let paths = text.split('`').skip(1).step_by(2).filter(|word| word.contains("::") && !word.contains(char::is_whitespace));
    paths.filter_map(|path| path.rsplit("::").next()).map(str::to_owned).collect()
}

/// Every word of the Rust files of a folder.
fn words_in(folder: &std::path::Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            words_in(&entry, found);
        } else if entry.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(&entry).unwrap();
            found.extend(text.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned));
        }
    }
}

#[test]
fn the_map_and_the_decisions_name_code_that_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut words = BTreeSet::new();
    words_in(&root.join("crates"), &mut words);
    let decisions = std::fs::read_dir(root.join("docs/decisions")).unwrap().map(|entry| entry.unwrap().path());
    let pages = [root.join("ARCHITECTURE.md"), root.join("docs/rules.md")].into_iter().chain(decisions);
    let named: BTreeSet<String> = pages.flat_map(|page| named_paths(&std::fs::read_to_string(page).unwrap())).collect();
    assert!(named.len() > 50, "{named:?}");
    let gone: Vec<&String> = named.difference(&words).collect();
    assert_eq!(gone, [""; 0], "a page names what is gone");
    assert_eq!(named_paths("`a::b_c` and `d`, `e:: f`"), BTreeSet::from(["b_c".to_owned()]));
}
