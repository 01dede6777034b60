//! Real signals, sent to this test's own process.

#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::time::Duration;

use grasp_sync::lifecycle::Shutdown;
use tokio::time::timeout;

/// Far longer than a signal takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn send(signal: &str) {
    let own = std::process::id().to_string();
    let sent = Command::new("kill").args([signal, &own]).status().unwrap();
    assert!(sent.success());
}

#[tokio::test]
async fn a_first_signal_is_soft_and_a_second_of_either_kind_is_hard() {
    let shutdown = Shutdown::on_signals().unwrap();
    send("-TERM");
    timeout(PATIENCE, shutdown.soft.cancelled()).await.unwrap();
    assert!(!shutdown.hard.is_cancelled());
    send("-INT");
    timeout(PATIENCE, shutdown.hard.cancelled()).await.unwrap();
}
