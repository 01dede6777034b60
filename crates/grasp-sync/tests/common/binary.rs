//! The real binary as a child process: started on a data directory, killed or asked to end.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Status, Timestamp};
use state::{SqliteStore, Store};
use tempfile::TempDir;
use testkit::wait_for;
use tokio::process::{Child, Command};

use super::PATIENCE;

/// An installation: a data directory and its settings, run any number of times.
#[derive(Debug)]
pub(crate) struct GraspSync {
    directory: TempDir,
    arguments: Vec<String>,
    runs: u32,
}

/// A run; killed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) took: Duration,
    pub(crate) log: String,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl GraspSync {
    pub(crate) fn keeping(home: &str) -> Self {
        let arguments = ["run", "--home", home, "--allow-non-public", "127.0.0.0/8", "--listen", "127.0.0.1:0"];
        let arguments = arguments.map(str::to_owned).to_vec();
        Self { directory: tempfile::tempdir().unwrap(), arguments, runs: 0 }
    }

    pub(crate) fn pulling_from(mut self, bootstrap: &[String]) -> Self {
        self.arguments.extend(bootstrap.iter().flat_map(|url| ["--bootstrap".to_owned(), url.clone()]));
        self
    }

    /// Its state is in this database, not in the data directory.
    pub(crate) fn keeping_its_state_in(mut self, database_url: &str) -> Self {
        self.arguments.extend(["--database-url".to_owned(), database_url.to_owned()]);
        self
    }

    /// Runs another command on the data directory, beside whatever runs there.
    pub(crate) async fn says(&self, arguments: &[&str]) -> Said {
        let ended = Command::new(env!("CARGO_BIN_EXE_grasp-sync"))
            .args(arguments)
            .arg("--data-dir")
            .arg(self.data_dir())
            .current_dir(self.directory.path())
            .env_clear()
            .output()
            .await
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { code: ended.status.code().unwrap(), stdout: text(ended.stdout), stderr: text(ended.stderr) }
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Runs on the data directory as it was left.
    pub(crate) fn run(&mut self) -> Running {
        self.run_with(&[])
    }

    /// The same, with these variables.
    pub(crate) fn run_with(&mut self, variables: &[(&str, &str)]) -> Running {
        self.runs += 1;
        let log = self.directory.path().join(format!("run-{}.log", self.runs));
        let child = Command::new(env!("CARGO_BIN_EXE_grasp-sync"))
            .args(&self.arguments)
            .arg("--data-dir")
            .arg(self.data_dir())
            .current_dir(self.directory.path())
            .env_clear()
            .env("GRASP_SYNC_DISCOVERY_WINDOW", "200ms")
            .env("GRASP_SYNC_LOOK_UP_NAMES", "false")
            .env("GRASP_SYNC_LISTEN", "127.0.0.1:0")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Running { child, log }
    }
}

impl Running {
    /// kill −9.
    pub(crate) async fn killed(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM, and what came of it.
    pub(crate) async fn terminated(self) -> Ended {
        let id = self.child.id().expect("the process runs").to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
        self.ends().await
    }

    /// Waits until it ends.
    pub(crate) async fn ends(mut self) -> Ended {
        let asked = Instant::now();
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends").unwrap();
        Ended { status, took: asked.elapsed(), log: self.log() }
    }

    /// Waits until it says that every item is confirmed.
    pub(crate) async fn until_it_says_complete(&self) {
        wait_for("a log line that says complete", PATIENCE, || async {
            let log = self.log();
            if log.contains("complete: ") { Ok(()) } else { Err(log) }
        })
        .await;
    }

    /// Its memory that is in use (bytes).
    pub(crate) fn resident_bytes(&self) -> u64 {
        let id = self.child.id().expect("the process runs");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Everything that it has said so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

/// What a run left in its data directory. Nobody may run on it meanwhile.
pub(crate) async fn recorded(data_dir: &Path) -> Status {
    let settings = state::Settings {
        policy: engine::rules::Policy::default(),
        clock: Arc::new(Timestamp::now),
        allow_non_public: Vec::new(),
        has_onion_proxy: false,
        own_urls: Vec::new(),
        operator: None,
        private_peers: Vec::new(),
        rolls: Arc::new(|| 0),
    };
    let store = SqliteStore::open(&data_dir.join("grasp-sync.db"), settings).await.unwrap();
    let status = store.status().await.unwrap();
    store.close().await;
    status
}
