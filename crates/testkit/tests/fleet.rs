//! The fleet harness, on a stand-in for the binary: a script that writes down how it was started and does what signals tell it.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use testkit::fleet::{Fleet, Process, Role, Wiring};
use testkit::{ChaosProxy, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(60);

/// Says its command and environment on stderr; runs until SIGTERM, on which it ends with 3.
const STAND_IN: &str = r#"#!/bin/sh
echo "command: $*" >&2
/usr/bin/env >&2
[ "$1" = migrate ] && exit 0
trap 'echo "2026-01-01T00:00:00Z ERROR stand_in: told to end" >&2; exit 3' TERM
echo "started" >&2
while :; do /bin/sleep 0.02; done
"#;

/// A script in a directory of its own.
fn script(text: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stand-in");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    (directory, path)
}

async fn fleet() -> (TempDir, Fleet) {
    let (directory, stand_in) = script(STAND_IN);
    let blueprint = Fleet::of(&stand_in).keeping("ws://127.0.0.1:1").pulling_from(&["ws://127.0.0.1:2".to_owned()]);
    (directory, blueprint.with("GRASP_SYNC_LEASE_TTL", "3s").started().await)
}

/// The stand-in has come so far that it hears signals.
async fn until_started(process: &Process) {
    wait_until("the stand-in to have started", PATIENCE, || async { process.log().contains("started") }).await;
}

/// What it was started with.
fn setting(process: &Process, name: &str) -> Option<String> {
    process.log().lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
}

#[tokio::test]
async fn each_role_is_told_what_it_needs_and_no_more() {
    let (_script, mut fleet) = fleet().await;
    let [state, planner, connector] = [Role::State, Role::Planner, Role::Connector].map(|role| fleet.add(role));
    for (process, role) in [(&state, "state"), (&planner, "planner"), (&connector, "connector")] {
        until_started(process).await;
        let told = |name: &str| setting(process, &format!("GRASP_SYNC_{name}"));
        assert!(process.log().starts_with("command: run\n"));
        assert_eq!(told("ROLE").as_deref(), Some(role));
        assert_eq!(told("NAME").as_deref(), Some(process.name()));
        assert_eq!(told("LISTEN").as_deref(), Some(process.addr()));
        assert_eq!(told("NATS_URL"), Some(fleet.nats.url()));
        assert_eq!(told("ALLOW_NON_PUBLIC").as_deref(), Some("127.0.0.0/8"));
        assert_eq!(told("LOOK_UP_NAMES").as_deref(), Some("false"));
        assert_eq!([told("LEASE_TTL"), told("LEASE_BEAT")], [Some("3s".to_owned()), Some("2s".to_owned())]);
        assert_eq!(told("DATABASE_URL"), (role == "state").then(|| fleet.postgres.url()));
        assert_eq!(told("BOOTSTRAP"), (role == "state").then(|| "ws://127.0.0.1:2".to_owned()));
        assert_eq!(told("HOME"), (role != "planner").then(|| "ws://127.0.0.1:1".to_owned()));
        assert_eq!(setting(process, "CARGO_MANIFEST_DIR"), None, "nothing of the test's own environment");
    }
    let names: Vec<&str> = fleet.processes().iter().map(Process::name).collect();
    assert_eq!(names, ["state-1", "planner-2", "connector-3"]);
}

#[tokio::test]
async fn a_process_may_be_wired_through_proxies_and_told_something_else() {
    let (_script, mut fleet) = fleet().await;
    let (nats, postgres) = (ChaosProxy::to(&fleet.nats.addr()).await, ChaosProxy::to(&fleet.postgres.addr()).await);
    let settings = [("GRASP_SYNC_HOME", "ws://127.0.0.1:9"), ("EXTRA", "yes")];
    let state = fleet.add_with(Role::State, Wiring { nats: Some(&nats), postgres: Some(&postgres), settings: &settings });
    until_started(&state).await;
    assert_eq!(setting(&state, "GRASP_SYNC_NATS_URL"), Some(format!("nats://{}", nats.addr())));
    assert_eq!(setting(&state, "GRASP_SYNC_DATABASE_URL"), Some(fleet.postgres.url_at(&postgres.addr())));
    assert_eq!(setting(&state, "GRASP_SYNC_HOME").as_deref(), Some("ws://127.0.0.1:9"));
    assert_eq!(setting(&state, "EXTRA").as_deref(), Some("yes"));
}

#[tokio::test]
async fn a_process_ends_by_itself_or_is_killed_and_may_start_again() {
    let (_script, mut fleet) = fleet().await;
    let process = fleet.add(Role::Connector);
    until_started(&process).await;
    assert!(process.is_running() && process.error_lines().is_empty());
    let ended = process.terminate().await;
    assert_eq!(ended.code(), Some(3));
    assert!(ended.took < PATIENCE && !process.is_running());
    assert_eq!(process.error_lines(), ["2026-01-01T00:00:00Z ERROR stand_in: told to end"]);
    let again = fleet.start_again(&process);
    until_started(&again).await;
    assert_eq!((again.name(), again.addr()), (process.name(), process.addr()));
    assert_ne!(again.pid(), process.pid());
    assert_eq!(again.kill().await.code(), None);
    assert_eq!(again.error_lines(), [""; 0], "killed, it has no last words");
}

#[tokio::test]
async fn a_suspended_process_stands_still_and_goes_on() {
    let (_script, mut fleet) = fleet().await;
    let process = fleet.add(Role::Connector);
    until_started(&process).await;
    assert!(process.rss_kb() > 100);
    wait_until("some processor time", PATIENCE, || async { process.cpu_seconds() > 0.0 }).await;
    process.suspend().await;
    assert!(process.is_running(), "a stopped process has not ended");
    process.resume().await;
    assert_eq!(process.terminate().await.code(), Some(3));
    let other = fleet.add(Role::Connector);
    other.suspend().await;
    assert_eq!(other.kill().await.code(), None, "it can be killed where it stands");
}

#[tokio::test]
async fn readiness_is_what_the_process_answers_over_http() {
    let (_script, mut fleet) = fleet().await;
    let process = fleet.add(Role::Planner);
    assert!(!process.is_ready().await, "nobody answers");
    let listener = TcpListener::bind(process.addr()).await.unwrap();
    let answering = tokio::spawn(async move {
        for answer in ["503 Service Unavailable", "200 OK"] {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let length = socket.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /readyz HTTP/1.0\r\n"));
            socket.write_all(format!("HTTP/1.0 {answer}\r\nX: y\r\n\r\nbody").as_bytes()).await.unwrap();
        }
    });
    let reply = process.get("/readyz").await.unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (503, "body"));
    process.until_ready().await;
    answering.await.unwrap();
}

#[tokio::test]
async fn a_dropped_fleet_leaves_no_process() {
    let (_script, mut fleet) = fleet().await;
    let (running, stopped) = (fleet.add(Role::State), fleet.add(Role::Connector));
    until_started(&running).await;
    stopped.suspend().await;
    let alive = |process: &Process| Path::new(&format!("/proc/{}", process.pid())).exists();
    assert!(alive(&running) && alive(&stopped));
    drop(fleet);
    assert!(!alive(&running) && !alive(&stopped) && !running.is_running() && !stopped.is_running());
}

#[tokio::test]
async fn sql_is_answered_in_text() {
    let (_script, mut fleet) = fleet().await;
    assert_eq!(
        fleet.sql("SELECT 1, 'x', NULL::int, '\\x0aff'::bytea, true UNION ALL SELECT 2, '', 3, '', false ORDER BY 1").await,
        [r"1|x|NULL|\x0aff|t", r"2||3|\x|f"]
    );
    fleet.sql("CREATE TABLE kept AS SELECT 7 AS n").await;
    fleet.postgres.kill().await;
    fleet.postgres.start_again().await;
    assert_eq!(fleet.sql("SELECT n FROM kept").await, ["7"]);
}

#[tokio::test]
async fn a_migration_that_fails_is_told_with_its_words() {
    let (_script, stand_in) = script("#!/bin/sh\necho \"$1: no such schema\" >&2; exit 1\n");
    let starting = tokio::spawn(Fleet::of(&stand_in).started());
    let panic = starting.await.unwrap_err().into_panic();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("migrate: no such schema") && message.contains("exit status: 1"), "{message}");
}
