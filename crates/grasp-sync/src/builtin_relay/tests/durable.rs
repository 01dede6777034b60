//! The file store: what survives a stop, a kill and a torn line, and what it refuses.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::StoreError;
use super::*;

async fn open(path: &Path) -> Result<BuiltinRelay, StartError> {
    BuiltinRelay::start(Options { store: Store::File(path.to_owned()), ..Options::default() }).await
}

fn file(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("events.jsonl")
}

#[tokio::test]
async fn events_and_deletions_survive_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let relay = open(&file(&folder)).await.unwrap();
    let mut client = Client::connect(&relay).await;
    let (kept, gone) = (event(1, 1, 10, &[]), event(1, 1, 20, &[]));
    let (old, new) = (event(1, 30_617, 10, &[&["d", "x"]]), event(1, 30_617, 20, &[&["d", "x"]]));
    let deletion = event(1, 5, 30, &[&["e", &gone.id.to_hex()]]);
    for event in [&kept, &gone, &old, &new, &deletion, &event(1, 20_001, 10, &[])] {
        client.accepts(event).await;
    }
    let held = relay.event_ids();
    relay.stop().await;
    let again = open(&file(&folder)).await.unwrap();
    assert_eq!(again.event_ids(), held);
    let mut client = Client::connect(&again).await;
    client.refuses(&gone, "blocked:").await;
    client.refuses(&old, "replaced:").await;
}

#[tokio::test]
async fn what_got_an_ok_is_on_the_disk_though_the_relay_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let relay = open(&file(&folder)).await.unwrap();
    let mut client = Client::connect(&relay).await;
    for note in notes(100) {
        client.accepts(&note).await;
    }
    // A copy taken while the relay runs is all that a killed process leaves.
    let left = folder.path().join("left.jsonl");
    fs::copy(file(&folder), &left).unwrap();
    assert_eq!(open(&left).await.unwrap().event_ids(), relay.event_ids());
    assert_eq!(relay.event_ids().len(), 100);
}

#[tokio::test]
async fn a_torn_last_line_is_cut_off_and_the_file_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (first, torn, next) = (event(1, 1, 10, &[]), event(1, 1, 20, &[]), event(1, 1, 30, &[]));
    let line = |event: &Event| format!("{}\n", event.as_json());
    for cut in [1, 40, line(&torn).len() - 1] {
        fs::write(file(&folder), format!("{}{}", line(&first), &line(&torn)[..cut])).unwrap();
        let relay = open(&file(&folder)).await.unwrap();
        assert_eq!(relay.events(), vec![first.clone()]);
        Client::connect(&relay).await.accepts(&next).await;
        relay.stop().await;
        assert_eq!(fs::read_to_string(file(&folder)).unwrap(), line(&first) + &line(&next));
    }
}

#[tokio::test]
async fn a_damaged_line_in_the_middle_is_an_error_and_nothing_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let line = event(1, 1, 10, &[]).as_json();
    let text = format!("{line}\nnot an event\n{line}\n");
    fs::write(file(&folder), &text).unwrap();
    let refused = open(&file(&folder)).await;
    assert!(matches!(refused, Err(StartError::Store(StoreError::Damaged { line: 2, .. }))));
    assert_eq!(fs::read_to_string(file(&folder)).unwrap(), text);
}

#[tokio::test]
async fn a_file_in_use_or_out_of_reach_is_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let relay = open(&file(&folder)).await.unwrap();
    let refused = open(&file(&folder)).await;
    assert!(matches!(refused, Err(StartError::Store(StoreError::Locked { .. }))));
    relay.stop().await;
    open(&file(&folder)).await.unwrap();
    let missing = folder.path().join("no folder").join("events.jsonl");
    assert!(matches!(open(&missing).await, Err(StartError::Store(StoreError::Open { .. }))));
}

#[tokio::test]
async fn preloaded_events_are_durable_too() {
    let folder = tempfile::tempdir().unwrap();
    let relay = open(&file(&folder)).await.unwrap();
    relay.preload(notes(50));
    let held = relay.event_ids();
    assert_eq!(held.len(), 50);
    relay.stop().await;
    assert_eq!(open(&file(&folder)).await.unwrap().event_ids(), held);
}
