//! The real binary, watched: what it answers about itself, and what `healthcheck` makes of it. Nothing leaves loopback.

#![allow(clippy::unwrap_used)]

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testkit::wait_for;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// Far longer than anything here takes, even on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(180);
const TOKEN: &str = "0123456789abcdef";
const ANY_PORT: &str = "127.0.0.1:0";

/// A run; killed when dropped.
struct Running {
    child: Child,
    directory: TempDir,
}

fn grasp_sync(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grasp-sync"));
    command.args(arguments).current_dir(directory).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    command
}

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Running {
    let directory = tempfile::tempdir().unwrap();
    let log = std::fs::File::create(directory.path().join("log")).unwrap();
    let mut command = grasp_sync(directory.path(), &[&["run"], arguments].concat());
    let child = command.envs(environment.iter().copied()).stderr(log).spawn().unwrap();
    Running { child, directory }
}

impl Running {
    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// Where the log says that health is served.
    async fn address(&self) -> SocketAddr {
        wait_for("a log line with the address", PATIENCE, || async {
            let log = self.log();
            let told = log.split_once("health and metrics: http://").and_then(|(_, rest)| rest.split_once("/livez"));
            told.and_then(|(address, _)| address.parse().ok()).ok_or(log)
        })
        .await
    }

    async fn until_ready(&self, address: SocketAddr) {
        wait_for("the process to be ready", PATIENCE, || async {
            let (status, body) = get(address, "/readyz").await;
            if status.contains(" 200 ") { Ok(()) } else { Err((body, self.log())) }
        })
        .await;
    }

    /// SIGTERM; the exit code, how long the end took, and the whole log.
    async fn terminated(mut self) -> (i32, Duration, String) {
        let id = self.child.id().unwrap().to_string();
        let asked = Instant::now();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        (status.code().unwrap(), asked.elapsed(), self.log())
    }
}

/// Status line and body.
async fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

/// `grasp-sync healthcheck`: exit code and stderr.
async fn healthcheck(listen: &str) -> (i32, String) {
    let directory = tempfile::tempdir().unwrap();
    let mut command = grasp_sync(directory.path(), &["healthcheck", "--listen", listen]);
    let Output { status, stderr, .. } = command.stderr(Stdio::piped()).output().await.unwrap();
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

#[tokio::test]
async fn a_run_is_alive_ready_and_measured_until_it_ends() {
    let running = run(&["--home", "builtin", "--listen", ANY_PORT], &[]);
    let address = running.address().await;
    assert_eq!(get(address, "/livez").await.1, "ok");
    running.until_ready(address).await;
    assert_eq!(healthcheck(&address.to_string()).await, (0, String::new()));

    wait_for("figures of every service", PATIENCE, || async {
        let (_, figures) = get(address, "/metrics").await;
        let expected = [
            "grasp_sync_activations_total{outcome=\"planned\"}",
            "grasp_sync_links{class=\"home\"} 1",
            "grasp_sync_reports_total{kind=\"opened\"}",
            "grasp_sync_bytes_total{class=\"home\",direction=\"in\"}",
            "grasp_sync_store_time_seconds_count{operation=\"lease\"}",
            "grasp_sync_role=\"all\"",
            "grasp_sync_complete 0",
            "grasp_sync_upstreams{state=\"covered\"} 0",
            "grasp_sync_items{state=\"wanted\"} 0",
            "grasp_sync_home_waiting 0",
        ];
        let is_missing = |part: &&&str| !figures.contains(**part);
        let missing: Vec<&&str> = expected.iter().filter(is_missing).collect();
        if missing.is_empty() { Ok(()) } else { Err((format!("{missing:?}"), figures)) }
    })
    .await;

    let (code, _, log) = running.terminated().await;
    assert_eq!(code, 0, "{log}");
    let (code, told) = healthcheck(&address.to_string()).await;
    assert!(code == 1 && told.contains("does not answer"), "{code}: {told}");
}

/// As a program asks that has the token.
async fn get_with_token(address: SocketAddr, path: &str) -> (String, String) {
    get(address, &format!("{path} HTTP/1.0\r\nAuthorization: Bearer {TOKEN}\r\nX-Rest:")).await
}

#[tokio::test]
async fn the_page_of_a_run_and_the_command_say_the_same_and_only_to_whom_it_is_for() {
    let secrets = tempfile::tempdir().unwrap();
    let file = secrets.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let environment = [("GRASP_SYNC_HTTP_TOKEN_FILE", file.to_str().unwrap())];
    let running = run(&["--home", "builtin", "--listen", ANY_PORT, "--bootstrap", "ws://127.0.0.1:1"], &environment);
    let address = running.address().await;
    running.until_ready(address).await;
    assert!(get(address, "/").await.0.contains(" 401 "));
    let (_, page) = get_with_token(address, "/").await;
    assert!(page.contains("0 of 1 upstreams covered") && page.contains("ws://127.0.0.1:1/"), "{page}");
    assert!(!running.log().contains(TOKEN));

    let (_, json) = get_with_token(address, "/status.json").await;
    let mut watching =
        grasp_sync(running.directory.path(), &["status", "--watch", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
        let (said, shown): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(&line).unwrap(), serde_json::from_str(&json).unwrap());
        let parts = |document: &serde_json::Value| (document["overview"].clone(), document["upstreams"][0]["url"].clone());
        assert_eq!(parts(&said), parts(&shown));
        assert_eq!(said["upstreams"][0]["url"], "ws://127.0.0.1:1/");
    }
    drop(lines);
    let ended = tokio::time::timeout(PATIENCE, watching.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(0), "nobody reads any more");
}

#[tokio::test]
async fn a_run_that_still_starts_is_alive_but_not_ready_and_healthcheck_says_why() {
    // Home takes the connection and says nothing.
    let silent = TcpListener::bind(ANY_PORT).unwrap();
    let home = format!("ws://{}", silent.local_addr().unwrap());
    let running = run(&["--home", &home, "--listen", ANY_PORT], &[]);
    let address = running.address().await;
    assert_eq!(get(address, "/livez").await.1, "ok");
    assert_eq!(healthcheck(&address.to_string()).await, (1, "error: not ready: start: starting\n".to_owned()));
}

#[tokio::test]
async fn a_taken_address_ends_a_run_that_was_told_to_use_it() {
    let other = TcpListener::bind(ANY_PORT).unwrap();
    let taken = other.local_addr().unwrap().to_string();
    let mut running = run(&["--home", "builtin", "--listen", &taken], &[]);
    let status = tokio::time::timeout(PATIENCE, running.child.wait()).await.unwrap().unwrap();
    let log = running.log();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains(&format!("error: {taken} cannot be listened on")) && log.contains("--listen"), "{log}");
}

#[tokio::test]
async fn a_run_leaves_the_default_address_to_whoever_has_it() {
    // If this fails, somebody else has it, which is as good.
    let _other = TcpListener::bind("127.0.0.1:9464");
    let running = run(&["--home", "builtin"], &[]);
    let address = running.address().await;
    assert_ne!(address.port(), 9464);
    running.until_ready(address).await;
    assert!(running.log().contains("the default address is taken"), "{}", running.log());
}

#[tokio::test]
async fn any_free_port_cannot_be_asked_by_another_process() {
    let (code, told) = healthcheck(ANY_PORT).await;
    assert!(code == 2 && told.contains("listen is port 0"), "{code}: {told}");
}

#[tokio::test]
async fn a_collector_that_is_away_is_told_once_and_keeps_no_run_from_its_end() {
    let closed = TcpListener::bind(ANY_PORT).unwrap().local_addr().unwrap();
    let endpoint = format!("http://{closed}");
    let running = run(&["--home", "builtin", "--listen", ANY_PORT], &[("GRASP_SYNC_OTLP_ENDPOINT", &endpoint)]);
    let address = running.address().await;
    running.until_ready(address).await;
    wait_for("the span of the start to be lost", PATIENCE, || async {
        let (_, figures) = get(address, "/metrics").await;
        let lost = "grasp_sync_telemetry_failed_exports_total{signal=\"traces\"}";
        if figures.contains(lost) { Ok(()) } else { Err(running.log()) }
    })
    .await;
    let (code, took, log) = running.terminated().await;
    assert_eq!(code, 0, "{log}");
    assert_eq!(log.matches("the collector takes nothing").count(), 1, "{log}");
    assert!(took < testkit::stretched(Duration::from_secs(20)), "{took:?}\n{log}");
}
