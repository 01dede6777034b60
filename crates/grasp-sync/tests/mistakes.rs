//! What a newcomer does wrong first: each mistake ends with its exit code, and the first line on stderr says what and where; what
//! is to be done stands there or on the next one.

#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

struct Mistake<'a> {
    arguments: &'a [&'a str],
    environment: &'a [(&'a str, &'a str)],
    code: i32,
    words: &'a [&'a str],
}

const fn mistake<'a>(arguments: &'a [&'a str], code: i32, words: &'a [&'a str]) -> Mistake<'a> {
    Mistake { arguments, environment: &[], code, words }
}

/// Runs the binary in `folder` with nothing else in its environment; its log is silent, so that stderr is what it says of its end.
fn run(folder: &Path, mistake: &Mistake<'_>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_grasp-sync"))
        .current_dir(folder)
        .args(mistake.arguments)
        .arg("-qqq")
        .env_clear()
        .envs(mistake.environment.iter().copied())
        .output()
        .unwrap()
}

fn told(folder: &Path, mistake: &Mistake<'_>) {
    let ended = run(folder, mistake);
    let stderr = String::from_utf8_lossy(&ended.stderr);
    let what = mistake.arguments;
    assert_eq!((ended.status.code(), ended.stdout.len()), (Some(mistake.code), 0), "{what:?}: {stderr}");
    assert!(stderr.starts_with("error: "), "{what:?}: {stderr}");
    for words in mistake.words {
        assert!(stderr.contains(words), "{what:?} does not say {words:?}: {stderr}");
    }
}

#[test]
fn a_wrong_command_line_or_file_is_told_with_what_would_be_right() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key.toml"), "[relays]\nhom = \"ws://127.0.0.1:1\"").unwrap();
    std::fs::write(folder.path().join("broken.toml"), "relays").unwrap();
    std::fs::write(folder.path().join("empty"), "").unwrap();
    let secret = |file| [("GRASP_SYNC_DATABASE_URL_FILE", file)];
    let (missing, directory, empty) = (secret("gone"), secret("."), secret("empty"));
    let builtin: &[&str] = &["run", "--home", "builtin"];
    let cases = [
        mistake(&["run"], 2, &["home is not set", "expected a relay URL", "--home"]),
        mistake(&["run", "--home", "bultin"], 2, &["\"bultin\"", "a bare word", "or \"builtin\""]),
        mistake(&["run", "--home", "wsss://127.0.0.1:1"], 2, &["the scheme \"wsss\"", "ws, wss"]),
        mistake(&["run", "--home", "ws://"], 2, &["names no host"]),
        mistake(&["run", "--role", "stat"], 2, &["\"stat\"", "all, state, planner, connector"]),
        mistake(&["run", "--home", "builtin", "--listen", "9464"], 2, &["an IP address and a port"]),
        mistake(&["run", "--role", "planner"], 2, &["nats_url is not set, and role planner needs it"]),
        mistake(&["run", "--config", "key.toml"], 2, &["[relays] hom (file key.toml)", "did you mean [relays] home?"]),
        mistake(&["run", "--config", "broken.toml"], 2, &["(file broken.toml) is not TOML"]),
        mistake(&["run", "--config", "gone.toml"], 2, &["(file gone.toml) cannot be read"]),
        Mistake { environment: &missing, ..mistake(builtin, 2, &["GRASP_SYNC_DATABASE_URL_FILE", "gone: No such file"]) },
        Mistake { environment: &directory, ..mistake(builtin, 2, &["GRASP_SYNC_DATABASE_URL_FILE", "Is a directory"]) },
        Mistake { environment: &empty, ..mistake(builtin, 2, &["names empty, which is empty"]) },
        Mistake { environment: &[("GRASP_SYNC_HOEM", "x")], ..mistake(builtin, 2, &["did you mean GRASP_SYNC_HOME?"]) },
    ];
    for case in &cases {
        told(folder.path(), case);
    }
}

#[test]
fn a_home_a_bus_or_a_database_that_is_not_there_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let run_at = |home| ["run", "--home", home, "--listen", "127.0.0.1:0"];
    let nobody: &[&str] = &["home ws://127.0.0.1:1/ cannot be reached", "start home, or check the port", "--home builtin"];
    let web = web_server();
    let no_relay = format!("ws://{web}");
    told(folder.path(), &mistake(&run_at("ws://127.0.0.1:1"), 3, nobody));
    told(folder.path(), &mistake(&run_at("http://127.0.0.1:1"), 3, nobody));
    told(folder.path(), &mistake(&run_at("127.0.0.1:1"), 3, nobody));
    told(folder.path(), &mistake(&run_at(&no_relay), 3, &["404", "a web server answers, and no relay behind it"]));
    told(folder.path(), &mistake(&["verify", "--home", "ws://127.0.0.1:1"], 3, &["start home, or check the port"]));
    let nats = &["status", "--nats-url", "nats://left:hunter2@127.0.0.1:1"];
    told(folder.path(), &mistake(nats, 6, &["left:***@127.0.0.1:1", "cannot be reached: check host, port and TLS"]));
    let postgres = &["migrate", "--database-url", "postgres://left:hunter2@127.0.0.1:1/x"];
    told(folder.path(), &mistake(postgres, 6, &["left:***@127.0.0.1:1/x", "cannot be reached: check host, port and TLS"]));
}

/// Answers every request with 404, for as long as the test process lives.
fn web_server() -> std::net::SocketAddr {
    use std::io::{Read, Write};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _whatever_was_asked = stream.read(&mut [0; 4096]);
            let _nobody_listens = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        }
    });
    address
}

#[test]
fn a_port_that_is_taken_and_a_data_directory_that_cannot_be_used_are_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let run = ["run", "--home", "builtin", "--data-dir", "file", "--listen"];
    let at = |listen| [&run[..], &[listen]].concat();
    told(folder.path(), &mistake(&at(&listen), 1, &[&listen, "cannot be listened on", "another address with --listen"]));
    told(folder.path(), &mistake(&at("127.0.0.1:0"), 4, &["data directory file", "another one with --data-dir"]));
    told(
        folder.path(),
        &mistake(&["status", "--data-dir", "none"], 4, &["no database at none", "has `grasp-sync run` been started"]),
    );
}

#[tokio::test]
async fn a_data_directory_of_a_newer_version_is_left_alone_and_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let migrate = &["migrate", "--data-dir", "data"];
    let made = run(folder.path(), &mistake(migrate, 0, &[]));
    assert!(made.status.success(), "{made:?}");
    let database = folder.path().join("data/grasp-sync.db");
    testkit::written_by_a_newer_version(&database).await;
    let before = std::fs::read(&database).unwrap();
    told(folder.path(), &mistake(migrate, 4, &["newer version of grasp-sync (schema 9999;", "put back the copy"]));
    assert_eq!(std::fs::read(&database).unwrap(), before);
}
