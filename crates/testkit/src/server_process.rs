//! A server as a child process: its directory, its log, its life.
//!
//! It dies with its owner: dropped, or gone with the whole test process where [`watched`] has started it. Where a server program
//! is looked for, and what to say when it is not there, is decided here too.

use crate::{Wire, process};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// From the start of the process to its first answer, on a machine that is busy with other tests.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// How long a server may take to end when it is told to.
const END_LIMIT: Duration = Duration::from_secs(60);

/// Names a directory in which `scripts/install-test-servers` has put the servers.
const SERVERS_VARIABLE: &str = "GRASP_SYNC_TEST_SERVERS";

/// Becomes the program (`$2…`). What it leaves behind reads standard input, a pipe that only the test process holds open: when
/// that ends without a word, the program is killed and its directory (`$1`, if any) removed.
const WATCHED: &str = r#"directory=$1; shift; exec 3<&0 </dev/null
(read -r word <&3; [ -n "$word" ] && exit; kill -KILL $$; sleep 1; [ -z "$directory" ] || rm -rf "$directory") &
exec "$@" 3<&-"#;

/// Ends what [`WATCHED`] leaves behind, and nothing else.
pub(crate) const RELEASED: &[u8] = b"released\n";

/// A running server.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    child: Child,
}

/// A command for a program that must not outlive the test process, however that ends: its arguments and environment are still
/// to be added. Its own process group keeps away what a terminal sends. `directory` is removed in the program's wake.
pub(crate) fn watched(program: &Path, directory: Option<&Path>) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", WATCHED, "sh"]).arg(directory.unwrap_or(Path::new(""))).arg(program);
    command.process_group(0);
    command
}

impl ServerProcess {
    /// Starts a relay: waits until `url` takes a WebSocket, as [`Self::start_when`].
    pub(crate) async fn start(command: Command, log: &Path, url: &str) -> Self {
        Self::start_when(command, log, url, || async { Wire::connect(url).await.is_ok() }).await
    }

    /// Starts `command`, its output going to `log`, and waits until it is ready. Panics speak of it as `the server of {name}`.
    ///
    /// # Panics
    /// When it does not start, ends early or is not ready after a minute; with the end of its log.
    pub(crate) async fn start_when<F, Fut>(mut command: Command, log: &Path, name: &str, is_ready: F) -> Self
    where
        F: Fn() -> Fut,
        Fut: Future<Output = bool>,
    {
        let output = File::options().create(true).append(true).open(log).expect("the log can be written");
        let errors = output.try_clone().expect("a file handle can be doubled");
        command.stdin(Stdio::piped()).stdout(output).stderr(errors).kill_on_drop(true);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let mut server = Self { child };
        server.wait_until_ready(log, name, is_ready).await;
        server
    }

    /// The process's number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("nobody has waited for it")
    }

    /// Sends it a signal on which it ends by itself, and waits for that. What it has written stays.
    ///
    /// # Panics
    /// When it goes on.
    pub(crate) async fn end_by(mut self, signal: &str) -> ExitStatus {
        self.release().await;
        process::signal(signal, &[self.id()]);
        let ended =
            timeout(END_LIMIT, self.child.wait()).await.unwrap_or_else(|_| panic!("a server goes on after SIG{signal}"));
        ended.expect("an own child can be waited for")
    }

    /// Kills it and waits until it is gone, as after a crash. What it has written stays.
    pub(crate) async fn kill(mut self) {
        self.release().await;
        self.child.kill().await.expect("an own child can be killed");
    }

    /// Nobody watches over it any more: it is about to end by our own doing.
    async fn release(&mut self) {
        if let Some(mut pipe) = self.child.stdin.take() {
            // It may be gone already.
            let _ = pipe.write_all(RELEASED).await;
        }
    }

    async fn wait_until_ready<F, Fut>(&mut self, log: &Path, name: &str, is_ready: F)
    where
        F: Fn() -> Fut,
        Fut: Future<Output = bool>,
    {
        let deadline = Instant::now() + READY_LIMIT;
        loop {
            let ready = is_ready().await;
            if let Some(status) = self.child.try_wait().expect("an own child can be asked") {
                panic!("the server of {name} ended at once ({status}):\n{}", end_of(log));
            }
            if ready {
                return;
            }
            assert!(Instant::now() < deadline, "the server of {name} is not ready after {READY_LIMIT:?}:\n{}", end_of(log));
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
    use crate::wait_until;
    use std::os::unix::process::ExitStatusExt;

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

    /// A program that would run for a minute, in a directory of its own.
    fn sleeper(directory: &Path) -> Child {
        let mut command = watched(Path::new("sleep"), Some(directory));
        command.arg("60").stdin(Stdio::piped()).spawn().unwrap()
    }

    #[tokio::test]
    async fn a_watched_program_ends_with_the_pipe_and_leaves_no_files() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("of-the-program");
        std::fs::create_dir(&directory).unwrap();
        let mut child = sleeper(&directory);
        drop(child.stdin.take());
        assert_eq!(child.wait().await.unwrap().signal(), Some(9));
        wait_until("its directory to be gone", Duration::from_secs(20), || async { !directory.exists() }).await;
    }

    #[tokio::test]
    async fn a_killed_server_leaves_its_files() {
        let directory = tempfile::tempdir().unwrap();
        let server = ServerProcess { child: sleeper(directory.path()) };
        // Nothing is left of its process group when the one that watched is gone too.
        let group = server.child.id().unwrap();
        server.kill().await;
        let left =
            async || Command::new("sh").args(["-c", &format!("kill -0 -{group} 2>&-")]).status().await.unwrap().success();
        wait_until("nobody to watch any more", Duration::from_secs(20), || async { !left().await }).await;
        assert!(directory.path().exists());
    }
}
