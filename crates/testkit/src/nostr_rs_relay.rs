//! A third real relay, `nostr-rs-relay`, as a child process on SQLite, its limits off. Slow to build: for the slow suite only.
//!
//! How it behaves (0.8.12, as tested):
//!
//! - NEG-OPEN, like every command that it does not know, gets NOTICE `could not parse command`.
//! - `limit: 0` gets **no EOSE**, ever; live events come. A REQ that repeats an open one (same id, same filters) is ignored: no EOSE.
//! - No page cap and no default limit. Without a `limit` the events come **oldest first**, with one newest first. `since` and `until`
//!   are inclusive. An empty filter gets everything.
//! - At most 32 subscriptions on a connection (not to be configured); the next gets NOTICE `Subscription error: …`, never a CLOSED.
//! - OK: stored `true ""`; duplicate `true "duplicate: "`, and so are an older version, another version of the same second (the
//!   first one stays) and a deleted event; an expired or invalid one `false "invalid: …"`.
//! - Deletion is by `e` only; `a` deletes nothing.

use crate::server_process::{ServerProcess, installed};
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::process::Command;

/// A relay process; killed when dropped.
#[derive(Debug)]
pub struct NostrRsRelay {
    port: u16,
    directory: TempDir,
    server: Option<ServerProcess>,
}

impl NostrRsRelay {
    /// An empty relay on a free port, ready to be connected to.
    ///
    /// # Panics
    /// When it is not installed (the message names the command), or does not come up.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let mut relay = Self { port: crate::free_port(), directory, server: None };
        std::fs::write(relay.path("config.toml"), relay.config()).expect("a temporary directory can be written");
        relay.restart().await;
        relay
    }

    /// Where clients connect.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// Kills it and waits until it is gone; the data stays.
    pub async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill().await;
        }
    }

    /// Stops if need be, and starts on the same port with the same data.
    pub async fn restart(&mut self) {
        self.stop().await;
        let mut command = Command::new(installed("nostr-rs-relay/bin/nostr-rs-relay", "scripts/test-nostr-rs-relay"));
        command.arg("--db").arg(self.directory.path()).arg("--config").arg(self.path("config.toml"));
        self.server = Some(ServerProcess::start(command, &self.path("log"), &self.url()).await);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn config(&self) -> String {
        let port = self.port;
        format!(
            "[network]
address = '127.0.0.1'
port = {port}
[options]
reject_future_seconds = 315360000
[limits]
messages_per_sec = 0
subscriptions_per_min = 0
max_event_bytes = 16777216
max_ws_message_bytes = 67108864
max_ws_frame_bytes = 67108864
"
        )
    }
}
