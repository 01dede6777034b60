//! All roles in one process.

use crate::config::Config;
use crate::exit::Exit;
use crate::lifecycle::Shutdown;

/// Why a run ends before its time.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("not wired yet")]
    NotWired,
}

impl RunError {
    /// The code that the process ends with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::NotWired => Exit::Failure,
        }
    }
}

/// Keeps home complete until `shutdown` asks for an end.
///
/// # Errors
/// What kept it from starting, or ended it.
pub async fn run(_config: Config, _shutdown: Shutdown) -> Result<Exit, RunError> {
    Err(RunError::NotWired)
}
