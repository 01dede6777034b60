//! A throw-away NATS server with JetStream: one process, a port and a store of its own, killed and started again at will.
//!
//! It syncs its files as it does by default, so a kill loses what a killed server loses, and a lost machine is not played.
//! There is no authorisation, unless a test brings one: who may say what is the deployment's business.

use crate::server_process::{ServerProcess, installed, watched};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long one look at a starting server may take.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// A server process; killed when dropped, and its store removed.
#[derive(Debug)]
pub struct Nats {
    port: u16,
    directory: TempDir,
    server: Option<ServerProcess>,
}

impl Nats {
    /// An empty server on a free port, ready to be connected to.
    ///
    /// # Panics
    /// When it is not installed (the message names the command), or does not come up.
    pub async fn start() -> Self {
        Self::configured("").await
    }

    /// An empty server that takes no message larger than `bytes`.
    pub async fn with_max_payload(bytes: usize) -> Self {
        Self::configured(&format!("max_payload: {bytes}")).await
    }

    /// An empty server that lets in whom this part of a configuration names: `authorization { … }`.
    pub async fn with_authorization(authorization: &str) -> Self {
        Self::configured(authorization).await
    }

    async fn configured(more: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let mut nats = Self { port: crate::free_port(), directory, server: None };
        std::fs::write(nats.path("nats.conf"), nats.config(more)).expect("a temporary directory can be written");
        nats.start_again().await;
        nats
    }

    /// Where clients connect, with a scheme.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.addr())
    }

    /// Where clients and proxies connect: `host:port`.
    #[must_use]
    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills it (SIGKILL) and waits until it is gone; what JetStream has written stays.
    pub async fn kill(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill().await;
        }
    }

    /// Kills it if need be, and starts on the same port with the same store.
    ///
    /// # Panics
    /// When the port is taken, or it does not come up.
    pub async fn start_again(&mut self) {
        self.kill().await;
        let mut command =
            watched(&installed("nats/bin/nats-server", "scripts/install-test-servers"), Some(self.directory.path()));
        command.arg("--config").arg(self.path("nats.conf"));
        let server = ServerProcess::start_when(command, &self.path("log"), &self.url(), || self.answers()).await;
        self.server = Some(server);
    }

    /// Deletes every stream, consumer and message, as if the disk were lost. It must be killed before.
    ///
    /// # Panics
    /// While it runs.
    pub async fn wipe(&mut self) {
        assert!(self.server.is_none(), "kill the server before its store is wiped");
        tokio::fs::remove_dir_all(self.path("store")).await.expect("what the server has written can be removed");
    }

    /// Whether it greets a client and offers JetStream.
    async fn answers(&self) -> bool {
        let greeting = async {
            let mut lines = BufReader::new(TcpStream::connect(self.addr()).await.ok()?).lines();
            lines.next_line().await.ok()?
        };
        let greeting = timeout(LOOK_LIMIT, greeting).await.ok().flatten().unwrap_or_default();
        greeting.starts_with("INFO ") && greeting.contains(r#""jetstream":true"#)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn config(&self, more: &str) -> String {
        let (addr, store) = (self.addr(), self.path("store"));
        format!(
            "listen: \"{addr}\"
{more}
jetstream {{
  store_dir: \"{}\"
  max_memory_store: 256MB
  max_file_store: 2GB
}}
",
            store.display()
        )
    }
}
