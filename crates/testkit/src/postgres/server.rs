//! A Postgres server that one test owns alone, to be restarted and killed.

use super::installation::{self, Installation};
use crate::process::{children_of, has_ended, signal};
use crate::server_process::{ServerProcess, watched};
use crate::wait_until;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::task::spawn_blocking;

/// How long the processes of a killed server may take to be gone.
const GONE_LIMIT: Duration = Duration::from_secs(20);

/// A server with one empty database, on a port of its own; stopped when dropped, and its files removed.
///
/// A commit that was answered survives a kill of the server, as in production; only the loss of the machine is not provided for.
#[derive(Debug)]
pub struct PostgresServer {
    installation: Installation,
    port: u16,
    directory: PathBuf,
    server: Option<ServerProcess>,
}

impl PostgresServer {
    /// A new server, ready to be connected to.
    ///
    /// # Panics
    /// When Postgres is not installed (the message names the command), or does not come up.
    pub async fn start() -> Self {
        let port = crate::free_port();
        let making = spawn_blocking(move || {
            let installation = Installation::find();
            let directory = installation.new_cluster(port);
            (installation, directory)
        });
        let (installation, directory) = making.await.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()));
        let mut server = Self { installation, port, directory, server: None };
        server.start_again().await;
        server
    }

    /// Where its database is.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at(&self.addr())
    }

    /// The same, through a proxy that listens at a `host:port`.
    #[must_use]
    pub fn url_at(&self, addr: &str) -> String {
        installation::url(addr, "postgres")
    }

    /// Where clients and proxies connect: `host:port`.
    #[must_use]
    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Stops it as its operator does, "fast": transactions are rolled back, clients are told, everything is written.
    ///
    /// # Panics
    /// When it does not end within a minute.
    pub async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            let ended = server.end_by("INT").await;
            assert!(ended.success(), "Postgres ended with {ended}");
        }
    }

    /// Kills the server and every process of it (SIGKILL), and waits until they are gone. What was committed stays.
    pub async fn kill(&mut self) {
        let Some(server) = self.server.take() else { return };
        // Stopped, it starts nobody whom we do not see.
        signal("STOP", &[server.id()]);
        let children = children_of(server.id());
        signal("KILL", &children);
        server.kill().await;
        wait_until("the processes of Postgres to be gone", GONE_LIMIT, || async {
            children.iter().all(|child| has_ended(*child))
        })
        .await;
    }

    /// Starts it on the same port with the same data, which it first recovers after a kill. It must not run.
    ///
    /// # Panics
    /// When it runs, when the port is taken, or when it is not ready within a minute.
    pub async fn start_again(&mut self) {
        assert!(self.server.is_none(), "Postgres runs already");
        let server = self.installation.server(&self.directory, self.port);
        let mut command = watched(Path::new(server.get_program()), Some(&self.directory));
        command.args(server.get_args());
        self.server = Some(self.started(command).await);
    }

    /// Stops it fast and starts it again at once.
    ///
    /// # Panics
    /// As [`Self::stop`] and [`Self::start_again`].
    pub async fn restart_fast(&mut self) {
        self.stop().await;
        self.start_again().await;
    }

    /// Keeps a copy of everything that was committed. It must be stopped.
    ///
    /// # Panics
    /// While it runs, or when its files cannot be copied.
    pub async fn back_up(&self) {
        self.copy_files(&self.directory, &self.backup()).await;
    }

    /// Puts the copy of [`Self::back_up`] in the place of what it has now. It must be stopped.
    ///
    /// # Panics
    /// While it runs, or when there is no copy.
    pub async fn restore(&self) {
        self.copy_files(&self.backup(), &self.directory).await;
    }

    fn backup(&self) -> PathBuf {
        self.directory.with_extension("backup")
    }

    async fn copy_files(&self, from: &Path, to: &Path) {
        assert!(self.server.is_none(), "stop Postgres before its files are copied");
        // Ownership matters: the server does not run as root.
        let script = r#"rm -rf "$1" && cp -a "$0" "$1""#;
        let copied = Command::new("sh").arg("-c").arg(script).arg(from).arg(to).status().await;
        assert!(copied.is_ok_and(|status| status.success()), "the files of Postgres can be copied");
    }

    async fn started(&self, command: Command) -> ServerProcess {
        let (log, port) = (self.directory.join("log"), self.port);
        ServerProcess::start_when(command, &log, &self.url(), || {
            let installation = self.installation.clone();
            async move { spawn_blocking(move || installation.run(port, "SELECT 1").is_ok()).await.unwrap_or(false) }
        })
        .await
    }
}

impl Drop for PostgresServer {
    /// Killed, it would leave a piece of shared memory behind, of which a machine has only so many: so it is told to end at once.
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            let (id, deadline) = (server.id(), Instant::now() + GONE_LIMIT);
            signal("QUIT", &[id]);
            while !has_ended(id) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        // Whoever watches over the server removes what is left.
        let _ = std::fs::remove_dir_all(&self.directory);
        let _ = std::fs::remove_dir_all(self.backup());
    }
}
