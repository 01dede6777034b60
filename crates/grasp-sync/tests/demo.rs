//! `grasp-sync demo` as its users meet it: the real binary, its two outputs and its exit code.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

const SMALL: [&str; 6] = ["--repos", "8", "--roots", "30", "--replies", "100"];

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grasp-sync"));
    // The log of whoever runs the tests is not the log of the demonstration.
    command.arg("demo").args(arguments).env_remove("GRASP_SYNC_LOG").env_remove("GRASP_SYNC_LOG_FORMAT");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn ended(child: Child) -> Output {
    child.wait_with_output().unwrap()
}

fn document(output: &Output) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{}\n{stderr}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Figures that another run of the same seed repeats: what the world is and what becomes of it, not how it got there.
fn repeatable(document: &Value) -> Value {
    let upstreams: Vec<_> =
        document["upstreams"].as_array().unwrap().iter().map(|one| one["items_confirmed"].clone()).collect();
    let live: Vec<_> = document["live"].as_array().unwrap().iter().map(|one| one["kind"].clone()).collect();
    let (world, home) = (&document["world"], &document["home"]);
    serde_json::json!([world["seed"], world["events_served"], home["expected"], home["held"], upstreams, live])
}

#[test]
fn a_small_world_comes_home_and_the_same_seed_repeats_it() {
    let arguments = [&SMALL[..], &["--json"]].concat();
    let (first, second) = (demo(&arguments).spawn().unwrap(), demo(&arguments).spawn().unwrap());
    let (first, second) = (document(&ended(first)), document(&ended(second)));

    assert_eq!((&first["complete"], &first["interrupted"]), (&true.into(), &false.into()));
    let home = &first["home"];
    assert_eq!((&home["missing"], &home["surplus"]), (&0.into(), &0.into()));
    assert_eq!(home["held"], home["expected"]);
    assert!(home["held"].as_u64().unwrap() > 200, "{home}");

    let upstreams = first["upstreams"].as_array().unwrap();
    let facts = |name: &str| upstreams.iter().map(|one| one[name].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(facts("found_by"), ["bootstrap", "announcement", "announcement"]);
    assert_eq!(facts("method"), ["negentropy", "negentropy", "REQ"]);
    for upstream in upstreams {
        assert_eq!((&upstream["items_wanted"], &upstream["items_pending"]), (&0.into(), &0.into()), "{upstream}");
        for figure in ["items_confirmed", "events_read", "bytes_read", "bytes_written", "confirmed_after_ms"] {
            assert!(upstream[figure].as_u64().unwrap() > 0, "{figure} of {upstream}");
        }
    }

    let live = first["live"].as_array().unwrap();
    assert!(!live.is_empty() && live.iter().all(|one| one["at_home_after_ms"].is_u64()), "{live:?}");
    let restart = &first["restart"];
    assert_eq!((&restart["complete"], &restart["events_offered_to_home"]), (&true.into(), &0.into()), "{restart}");
    assert!(restart["events_downloaded"].as_u64() < first["home"]["held"].as_u64(), "{restart}");

    assert_eq!(repeatable(&first), repeatable(&second));
}

#[test]
fn a_person_gets_a_table_on_stdout_and_progress_on_stderr() {
    let output = ended(demo(&["--repos", "4", "--roots", "5", "--replies", "10", "--seed", "7"]).spawn().unwrap());
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{stdout}\n{stderr}");
    let rows: Vec<_> = stdout.lines().filter(|line| line.contains("ws://127.0.0.1:")).collect();
    assert_eq!(rows.len(), 3, "{stdout}");
    assert!(rows[0].contains("bootstrap") && rows[2].contains("REQ"), "{stdout}");
    assert!(stdout.lines().last().unwrap().starts_with("complete: home holds exactly the "), "{stdout}");
    assert!(!stdout.contains('\u{1b}'), "colours without a terminal: {stdout:?}");
    assert!(stderr.contains("live: issue on ws://127.0.0.1:"), "{stderr}");
}

#[test]
fn a_signal_ends_it_with_what_there_is() {
    let mut child = demo(&["--repos", "40", "--roots", "400", "--replies", "1000", "--json"]).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("syncing history") {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended before it began");
    }
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    // A pipe that nobody reads would hold it up.
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    let output = ended(child);
    assert_eq!(output.status.code(), Some(5), "{rest}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&document["complete"], &document["interrupted"]), (&false.into(), &true.into()));
    assert!(document["home"]["missing"].as_u64().unwrap() > 0, "{document}");
}

#[test]
fn replies_without_a_repository_are_wrong_usage() {
    let output = ended(demo(&["--repos", "0"]).spawn().unwrap());
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--repos must be at least 1"));
    assert!(output.stdout.is_empty());
}

const ANYWHERE: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// A part of the demonstration in a process of its own.
struct PartProcess(Child);

impl PartProcess {
    /// Returns once it says that it serves, with the URL at which it does.
    fn serve(arguments: &[&str]) -> (Self, String) {
        let mut child = demo(&[&["serve"], arguments].concat()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().rsplit(' ').next().unwrap().to_owned();
        assert!(line.contains(" serves ") && url.starts_with("ws://"), "{line}");
        (Self(child), url)
    }
}

impl Drop for PartProcess {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn relays_in_processes_of_their_own_are_counted_against_each_other() {
    let announced = ["--upstream", "ws://127.0.0.1:7101", "--upstream", "ws://127.0.0.1:7102"];
    let network = [&SMALL[..], &announced, &ANYWHERE].concat();
    let (_home, home) = PartProcess::serve(&[&["--part", "home"], &ANYWHERE[..]].concat());
    let (_first, first) = PartProcess::serve(&[&["--part", "upstream-1"], &network[..]].concat());
    let check = |arguments: &[&str]| ended(demo(&[&["check", "--json"], arguments].concat()).spawn().unwrap());
    let facts = |output: &Output| -> Value { serde_json::from_slice(&output.stdout).unwrap() };

    let missing = check(&["--home", &home, "--upstream", &first]);
    assert_eq!(missing.status.code(), Some(5), "{missing:?}");
    let missing = facts(&missing);
    assert!(missing["expected"].as_u64().unwrap() > 0);
    assert_eq!((&missing["held"], &missing["missing"]), (&0.into(), &missing["expected"]));

    // Two processes with the same words serve the same network, and an upstream holds what it serves itself.
    let (_twin, twin) = PartProcess::serve(&[&["--part", "upstream-1"], &network[..]].concat());
    let surplus = facts(&check(&["--home", &first, "--upstream", &twin]));
    assert_eq!(surplus["missing"], 0, "{surplus}");
    let (_other, other) = PartProcess::serve(&[&["--part", "upstream-2"], &network[..]].concat());
    assert_ne!(facts(&check(&["--home", &other, "--upstream", &twin]))["missing"], 0);
}

#[test]
fn live_events_are_published_where_the_network_has_them_and_a_part_that_is_none_is_refused() {
    // Published where they are announced: the one upstream of the network has to be told its own address.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("ws://127.0.0.1:{port}/");
    let network = [&SMALL[..], &["--upstream", &url]].concat();
    let listen = format!("127.0.0.1:{port}");
    let (_upstream, served) = PartProcess::serve(&[&["--part", "upstream-1", "--listen", &listen], &network[..]].concat());
    assert_eq!(served, url);
    let read = || {
        let checked = ended(demo(&["check", "--json", "--home", &url, "--upstream", &url]).spawn().unwrap());
        serde_json::from_slice::<Value>(&checked.stdout).unwrap()["held"].as_u64().unwrap()
    };
    let before = read();
    let published = ended(demo(&[&["publish"], &network[..]].concat()).spawn().unwrap());
    assert_eq!(published.status.code(), Some(0), "{published:?}");
    assert!(read() > before);

    let refused =
        ended(demo(&["serve", "--listen", "127.0.0.1:0", "--part", "upstream-2", "--upstream", &url]).spawn().unwrap());
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
}
