//! Throw-away Postgres: one server for all tests of a process with a database for each, or a server for a test that breaks it.
//!
//! It listens on a loopback port, keeps nothing safe from a lost machine (fsync is off), and is gone with the process that started
//! it, however that ends: a shell waits for the end of a pipe that only this process holds open, then stops the server and removes
//! its files. Postgres refuses to run as root; root's tests run it as `nobody`.

mod installation;
mod server;

pub use server::PostgresServer;

use installation::Installation;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// From the start of the process to the first answer, on a machine that is busy with other tests.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Runs the server (`$2…`) until standard input ends, then stops it at once and removes its directory (`$1`).
const LIFE: &str =
    r#"directory=$1; shift; "$@" & server=$!; cat >/dev/null; kill -QUIT "$server"; wait "$server"; rm -rf "$directory""#;

static SERVER: OnceLock<Shared> = OnceLock::new();
static DATABASES: AtomicUsize = AtomicUsize::new(0);

/// The server that all tests share. Nobody drops it: the end of the process closes the pipe.
#[derive(Debug)]
struct Shared {
    installation: Installation,
    port: u16,
    _life: Child,
}

/// Makes an empty database on the server of this process, which the first call starts; answers with its URL.
///
/// # Panics
/// When Postgres is not installed (the message names the command), or does not come up.
#[must_use]
pub fn database() -> String {
    let server = SERVER.get_or_init(start);
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    server.run(&format!("CREATE DATABASE {name}")).unwrap_or_else(|said| panic!("cannot make a database: {said}"));
    installation::url(&format!("127.0.0.1:{}", server.port), &name)
}

fn start() -> Shared {
    let installation = Installation::find();
    let port = crate::free_port();
    let directory = installation.new_cluster(port);
    let mut command = installation.server(&directory, port);
    // Nobody kills it: what is committed may be written later.
    command.args(["-c", "synchronous_commit=off"]);
    let log = directory.join("log");
    let life = live(&command, &directory, &log);
    let mut server = Shared { installation, port, _life: life };
    server.wait_until_ready(&log);
    server
}

/// Starts the shell that keeps the server alive, in a process group of its own: what a terminal sends is not meant for it.
fn live(server: &Command, directory: &Path, log: &Path) -> Child {
    let output = File::create(log).expect("the log can be written");
    let errors = output.try_clone().expect("a file handle can be doubled");
    let mut shell = Command::new("sh");
    shell.args(["-c", LIFE, "sh"]).arg(directory).arg(server.get_program()).args(server.get_args());
    shell.stdin(Stdio::piped()).stdout(output).stderr(errors).process_group(0);
    shell.spawn().expect("a shell can be started")
}

impl Shared {
    fn wait_until_ready(&mut self, log: &Path) {
        let deadline = Instant::now() + READY_LIMIT;
        while let Err(said) = self.run("SELECT 1") {
            let words = || std::fs::read_to_string(log).unwrap_or_default();
            assert!(Instant::now() < deadline, "Postgres is not ready after {READY_LIMIT:?}: {said}\n{}", words());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn run(&self, sql: &str) -> Result<(), String> {
        self.installation.run(self.port, sql)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_database_is_another_one_on_the_same_server() {
        let (one, other) = (database(), database());
        assert_ne!(one, other);
        let server = |url: &str| url.rsplit_once('/').unwrap().0.to_owned();
        assert_eq!(server(&one), server(&other));
        let server = SERVER.get().unwrap();
        assert!(server.run("SELECT 1 FROM no_such_table").unwrap_err().contains("no_such_table"), "it answers");
    }

    #[test]
    fn a_server_ends_with_the_pipe_and_leaves_no_files() {
        let directory = tempfile::tempdir().unwrap();
        let of_the_server = directory.path().join("server");
        std::fs::create_dir(&of_the_server).unwrap();
        // A shell's background child ignores SIGQUIT until it sets a handler, as Postgres does.
        let mut sleeper = Command::new("env");
        sleeper.args(["--default-signal=QUIT", "sleep", "60"]);
        let mut life = live(&sleeper, &of_the_server, &directory.path().join("log"));
        drop(life.stdin.take());
        let ended = life.wait().unwrap();
        assert!(ended.success() && !of_the_server.exists(), "{ended}");
    }
}
