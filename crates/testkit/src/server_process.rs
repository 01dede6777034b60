//! A server as a child process: its directory, its log, its life.
//!
//! It dies with its owner. Where a server program is looked for, and what to say when it is not there, is decided here too.

use crate::Wire;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// From the start of the process to the first WebSocket, on a machine that is busy with other tests.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Names a directory in which `scripts/install-test-servers` has put the servers.
const SERVERS_VARIABLE: &str = "GRASP_SYNC_TEST_SERVERS";

/// A running server that speaks WebSocket on `url`.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    child: Child,
}

impl ServerProcess {
    /// Starts `command`, its output going to `log`, and waits until `url` takes a WebSocket.
    ///
    /// # Panics
    /// When it does not start, ends early or is not ready after a minute; with the end of its log.
    pub(crate) async fn start(mut command: Command, log: &Path, url: &str) -> Self {
        let output = File::options().create(true).append(true).open(log).expect("the log can be written");
        let errors = output.try_clone().expect("a file handle can be doubled");
        command.stdin(Stdio::piped()).stdout(output).stderr(errors).kill_on_drop(true);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let mut server = Self { child };
        server.wait_until_ready(log, url).await;
        server
    }

    /// Kills it and waits until it is gone, as after a crash.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("an own child can be killed");
    }

    async fn wait_until_ready(&mut self, log: &Path, url: &str) {
        let deadline = Instant::now() + READY_LIMIT;
        loop {
            let connected = Wire::connect(url).await.is_ok();
            if let Some(status) = self.child.try_wait().expect("an own child can be asked") {
                panic!("the server of {url} ended at once ({status}):\n{}", end_of(log));
            }
            if connected {
                return;
            }
            assert!(Instant::now() < deadline, "the server of {url} is not ready after {READY_LIMIT:?}:\n{}", end_of(log));
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The path of an installed server program.
///
/// # Panics
/// When it is missing, with the command that installs it.
pub(crate) fn installed(program: &str, installed_by: &str) -> PathBuf {
    let path = servers_directory().join(program);
    assert!(
        path.exists(),
        "{} is missing: run {installed_by} from the top of the repository, or name another directory in {SERVERS_VARIABLE}",
        path.display()
    );
    path
}

/// A relative directory is one of the workspace, as the scripts see it.
pub(crate) fn servers_directory() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    workspace.join(std::env::var_os(SERVERS_VARIABLE).unwrap_or_else(|| "target/test-servers".into()))
}

fn end_of(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_missing_server_is_a_failure_that_names_the_cure() {
        let panic = std::panic::catch_unwind(|| installed("no-such-server", "scripts/install-no-such-server")).unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.contains("scripts/install-no-such-server") && message.contains(SERVERS_VARIABLE), "{message}");
    }

    #[tokio::test]
    async fn a_server_that_ends_at_once_is_reported_with_its_last_words() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such option >&2; exit 3"]);
        let starting = tokio::spawn(async move { drop(ServerProcess::start(command, &log, "ws://127.0.0.1:1").await) });
        let panic = starting.await.unwrap_err().into_panic();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.contains("no such option") && message.contains("exit status: 3"), "{message}");
    }
}
