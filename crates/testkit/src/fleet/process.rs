//! One process of the real binary: started with an environment and nothing else, watched, and broken.

use crate::process::{cpu_seconds, is_stopped, rss_kb, signal};
use crate::server_process::{RELEASED, watched};
use crate::{wait_for, wait_until};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a process may take to do what it is told, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(180);

/// How long an answer over HTTP may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// What a failed test shows of each log, in lines.
const LAST_WORDS: usize = 40;

/// What it takes to start a process, once or again.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    pub(super) name: String,
    /// Where it answers HTTP.
    pub(super) addr: String,
    /// Its whole environment.
    pub(super) settings: BTreeMap<String, String>,
}

/// A process, running or ended. Clones are handles on the same one; it is its fleet that ends it.
#[derive(Debug, Clone)]
pub struct Process {
    run: Arc<Run>,
}

#[derive(Debug)]
struct Run {
    recipe: Recipe,
    log: PathBuf,
    id: u32,
    child: Mutex<Child>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// Its exit code, or the signal that killed it.
    pub status: ExitStatus,
    /// From the moment it was asked, or waited for.
    pub took: Duration,
}

/// An answer over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// 200, 503, …
    pub status: u16,
    /// What follows the headers.
    pub body: String,
}

impl Process {
    pub(super) fn start(binary: &Path, recipe: Recipe, log: PathBuf) -> Self {
        Self::start_command(binary, "run", recipe, log)
    }

    pub(super) fn start_command(binary: &Path, command: &str, recipe: Recipe, log: PathBuf) -> Self {
        let output = File::create(&log).expect("the fleet's directory can be written");
        let directory = log.parent().expect("a log lies in a directory");
        let mut shell = watched(binary, None).into_std();
        shell.arg(command).current_dir(directory).env_clear().envs(&recipe.settings);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(output);
        let child = shell.spawn().expect("a shell can be started");
        Self { run: Arc::new(Run { recipe, log, id: child.id(), child: Mutex::new(child) }) }
    }

    pub(super) fn recipe(&self) -> &Recipe {
        &self.run.recipe
    }

    /// `GRASP_SYNC_NAME`: unique in its fleet, and kept when it is started again.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.run.recipe.name
    }

    /// `GRASP_SYNC_LISTEN`: where it answers HTTP.
    #[must_use]
    pub fn addr(&self) -> &str {
        &self.run.recipe.addr
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.run.id
    }

    /// Whether it has not ended. A stopped one runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.status().is_none()
    }

    /// kill −9, if it runs; returns when it is gone.
    pub async fn kill(&self) -> Ended {
        self.end_by("KILL").await
    }

    /// Asks it to end (SIGTERM), if it runs, and waits until it has.
    ///
    /// # Panics
    /// When it has not ended within a minute; with the end of its log.
    pub async fn terminate(&self) -> Ended {
        self.end_by("TERM").await
    }

    /// Waits until it ends.
    ///
    /// # Panics
    /// When it has not ended within a minute; with the end of its log.
    pub async fn ends(&self) -> Ended {
        self.ended_since(Instant::now()).await
    }

    /// Stops it where it is (SIGSTOP): its sockets stay open, its clock goes on. Returns when it stands still.
    ///
    /// # Panics
    /// When it has ended.
    pub async fn suspend(&self) {
        self.signal("STOP");
        wait_until("a process to stand still", PATIENCE, || async { is_stopped(self.run.id) }).await;
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Panics
    /// When it has ended.
    pub async fn resume(&self) {
        self.signal("CONT");
        wait_until("a process to go on", PATIENCE, || async { !is_stopped(self.run.id) }).await;
    }

    /// What it has written to stderr so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.run.log).unwrap_or_default()).into_owned()
    }

    /// The lines of its log at level ERROR, the complaint with which it ended, and panics.
    #[must_use]
    pub fn error_lines(&self) -> Vec<String> {
        self.log().lines().filter(|line| is_error(line)).map(str::to_owned).collect()
    }

    /// Its answer to `GET path`; `None` when there is none within 2 s.
    pub async fn get(&self, path: &str) -> Option<Reply> {
        timeout(ANSWER_LIMIT, self.ask(path)).await.ok()?
    }

    /// Whether `/readyz` answers with 200.
    pub async fn is_ready(&self) -> bool {
        self.get("/readyz").await.is_some_and(|reply| reply.status == 200)
    }

    /// Waits until it is ready.
    ///
    /// # Panics
    /// When it ends, or is not ready within a minute; with the end of its log.
    pub async fn until_ready(&self) {
        wait_for(&format!("{} to be ready", self.name()), PATIENCE, || async {
            assert!(self.is_running(), "{} has ended:\n{}", self.name(), self.last_words());
            if self.is_ready().await { Ok(()) } else { Err(self.last_words()) }
        })
        .await;
    }

    /// Its resident memory, in KiB.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn rss_kb(&self) -> u64 {
        rss_kb(self.run.id).unwrap_or_else(|| panic!("{} has ended", self.name()))
    }

    /// The processor time that it has used since its start, in seconds, to 1/100 s.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds(self.run.id).unwrap_or_else(|| panic!("{} has ended", self.name()))
    }

    /// As [`Self::kill`], for those who cannot wait for anything else meanwhile.
    pub(super) fn kill_at_once(&self) {
        if self.is_running() {
            signal("KILL", &[self.run.id]);
            let _ = self.child().wait();
            self.status();
        }
    }

    /// Shows the end of its log beside the words of a failed test.
    #[expect(clippy::print_stderr, reason = "a test's own output, which its runner captures")]
    pub(super) fn tell_last_words(&self) {
        eprintln!("---- {} ({:?})\n{}", self.name(), self.status(), self.last_words());
    }

    async fn end_by(&self, name: &str) -> Ended {
        let asked = Instant::now();
        if self.is_running() {
            signal(name, &[self.run.id]);
        }
        self.ended_since(asked).await
    }

    async fn ended_since(&self, asked: Instant) -> Ended {
        let what = format!("{} to end", self.name());
        let status = wait_for(&what, PATIENCE, || async { self.status().ok_or_else(|| self.last_words()) }).await;
        Ended { status, took: asked.elapsed() }
    }

    fn signal(&self, name: &str) {
        assert!(self.is_running(), "{} has ended:\n{}", self.name(), self.last_words());
        signal(name, &[self.run.id]);
    }

    /// How it ended, if it has. Whoever watches over it is told: from now on its number may be another's.
    fn status(&self) -> Option<ExitStatus> {
        let mut child = self.child();
        let status = child.try_wait().expect("an own child can be asked");
        if status.is_some()
            && let Some(mut pipe) = child.stdin.take()
        {
            let _ = pipe.write_all(RELEASED);
        }
        status
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.run.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n")
    }

    async fn ask(&self, path: &str) -> Option<Reply> {
        let mut socket = TcpStream::connect(self.addr()).await.ok()?;
        // 1.0: the answer ends with the connection, and comes in one piece.
        socket.write_all(format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.addr()).as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.ok()?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some(Reply { status: head.split(' ').nth(1)?.parse().ok()?, body: body.to_owned() })
    }
}

impl Ended {
    /// Its exit code; `None` when a signal killed it.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

/// `<time> ERROR …` or its JSON, what a command complains with at its end, or a panic.
fn is_error(line: &str) -> bool {
    let level = line.split_whitespace().nth(1);
    level == Some("ERROR")
        || line.contains(r#""level":"ERROR""#)
        || line.starts_with("error: ")
        || line.contains(" panicked at ")
}

#[cfg(test)]
mod tests {
    use super::is_error;

    #[test]
    fn errors_complaints_and_panics_are_told_from_words_about_errors() {
        for line in [
            "2026-01-01T00:00:00.000000Z ERROR connector::session: the sink is gone",
            r#"{"timestamp":"2026-01-01T00:00:00Z","level":"ERROR","message":"the sink is gone"}"#,
            "error: the configuration cannot be used",
            "thread 'main' panicked at crates/x.rs:1:1:",
        ] {
            assert!(is_error(line), "{line}");
        }
        for line in ["", "2026-01-01T00:00:00.000000Z  WARN connector: home says ERROR: no", "2026 INFO state: 3 ERROR lines"] {
            assert!(!is_error(line), "{line}");
        }
    }
}
