//! Checkpoints of the write-ahead log, on a connection of their own: SQLite would run them inside a commit, and a slow
//! disk would then hold up every write behind it.

use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tokio::task::JoinHandle;
use tracing::{debug, warn};

/// How often the log is folded into the file. In between it grows by what is written: a busy minute is some megabytes.
const EVERY: Duration = Duration::from_secs(5);

/// Checkpoints until it is dropped.
#[derive(Debug)]
pub(super) struct Checkpoints {
    task: JoinHandle<()>,
}

impl Checkpoints {
    pub(super) fn begin(options: SqliteConnectOptions) -> Self {
        Self { task: tokio::spawn(run(options)) }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(options: SqliteConnectOptions) {
    let mut connection: Option<SqliteConnection> = None;
    loop {
        tokio::time::sleep(EVERY).await;
        let open = match connection.take() {
            Some(open) => Ok(open),
            None => SqliteConnection::connect_with(&options).await,
        };
        connection = match open {
            Ok(open) => checkpoint(open).await,
            Err(error) => {
                warn!(%error, "the write-ahead log could not be folded into the database; trying again");
                None
            }
        };
    }
}

/// PASSIVE waits for nobody: what readers or the writer hold is left for the next time.
async fn checkpoint(mut open: SqliteConnection) -> Option<SqliteConnection> {
    match sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut open).await {
        Ok(_) => Some(open),
        Err(error) => {
            debug!(%error, "a checkpoint failed");
            None
        }
    }
}
