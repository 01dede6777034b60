//! A real relay in another language: `nostr-relay` from PyPI, as a child process on SQLite, without rate limits, age limits or auth.
//!
//! It has no NIP-77 and it is old: many rules of today are broken by it, which is why it is here. How it behaves (1.14, measured):
//!
//! - NEG-OPEN, like every command it does not know, gets no answer at all: no NOTICE, no CLOSED, the socket stays open.
//! - `limit: 0` counts as no limit: the whole history (up to the cap) comes before EOSE. Live REQs need a `since` instead.
//! - The page cap is `max_limit` (6000 here, or [`PythonRelay::with_page_cap`]), the default limit the same. Pages are newest first;
//!   the order within a second is not fixed. One limit for a whole REQ: the last filter's (not 0), over the union of its filters.
//! - `since` is inclusive, `until` is **exclusive**, for stored and for live events: asking on with `until` = the oldest second
//!   loses the rest of that second.
//! - A filter of times alone is answered; an empty filter `{}`, or one with an empty list, matches nothing and gets EOSE.
//! - OK: stored `true ""`; duplicate **`false`** `"duplicate: exists"`; an invalid event `false "invalid: …"` with an **empty id**, and
//!   from then on every OK of that connection comes 2 s late, then 4 s, doubling with each further invalid event.
//! - An older version that arrives after a newer one is stored beside it, with OK true, and served; so are two versions of one
//!   second. Each arrival drops one older version, if there is one.
//! - Deletion is by `e` only, once: what was deleted can be published again, and `a` deletes nothing.
//! - The id of an event is not checked, only its signature.
//! - The number of subscriptions is not limited here; where it is, the refusal is a NOTICE, not a CLOSED. It never says CLOSED.

use crate::server_process::{ServerProcess, installed};
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::process::Command;

/// The relay's own default for `max_limit`.
const PAGE_CAP: usize = 6_000;

/// The relay, and a thread that ends it when its parent is gone: standard input is a pipe whose other end only the test holds.
const PROGRAM: &str = "
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
from nostr_relay.cli import main
main()
";

/// A relay process; killed when dropped.
#[derive(Debug)]
pub struct PythonRelay {
    port: u16,
    directory: TempDir,
    server: Option<ServerProcess>,
}

impl PythonRelay {
    /// An empty relay on a free port, ready to be connected to.
    ///
    /// # Panics
    /// When it is not installed (the message names the command), or does not come up.
    pub async fn start() -> Self {
        Self::with_page_cap(PAGE_CAP).await
    }

    /// An empty relay that serves at most `page_cap` events to a REQ.
    pub async fn with_page_cap(page_cap: usize) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let mut relay = Self { port: crate::free_port(), directory, server: None };
        std::fs::write(relay.path("config.yaml"), relay.config(page_cap)).expect("a temporary directory can be written");
        relay.restart().await;
        relay
    }

    /// Where clients connect.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// Kills it (no farewell to its clients) and waits until it is gone; the data stays.
    pub async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill().await;
        }
    }

    /// Stops if need be, and starts on the same port with the same data.
    pub async fn restart(&mut self) {
        self.stop().await;
        let mut command = Command::new(installed("venv/bin/python", "scripts/install-test-servers"));
        command.args(["-c", PROGRAM, "-c"]).arg(self.path("config.yaml")).args(["serve", "--use-uvicorn"]);
        self.server = Some(ServerProcess::start(command, &self.path("log"), &self.url()).await);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// One process and one writer. Of the validators only the signature is left: the others refuse old events and long contents.
    fn config(&self, page_cap: usize) -> String {
        let (port, database) = (self.port, self.path("relay.sqlite3"));
        format!(
            "storage:
  sqlalchemy.url: sqlite+aiosqlite:///{}
  num_concurrent_adds: 1
  validators: [nostr_relay.validators.is_signed]
verification: {{nip05_verification: disabled}}
authentication: {{enabled: false}}
gunicorn: {{bind: '127.0.0.1:{port}', loglevel: warning, ws: websockets-sansio, ws_max_size: 67108864}}
subscription_limit: 0
max_limit: {page_cap}
message_timeout: 86400
",
            database.display()
        )
    }
}
