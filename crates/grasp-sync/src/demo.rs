//! A whole network in one process, to see the sync at work.

use crate::cli::DemoArgs;
use crate::exit::Exit;
use crate::lifecycle::Shutdown;

/// Why a demonstration ends before its time.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("not wired yet")]
    NotWired,
}

impl DemoError {
    /// The code that the process ends with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::NotWired => Exit::Failure,
        }
    }
}

/// Builds a small network, syncs it and counts what arrived.
///
/// # Errors
/// What kept it from being shown.
pub async fn demo(_args: DemoArgs, _shutdown: Shutdown) -> Result<Exit, DemoError> {
    Err(DemoError::NotWired)
}
