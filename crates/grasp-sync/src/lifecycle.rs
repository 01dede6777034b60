//! Signals, and what they ask of the process.
//!
//! The first SIGINT or SIGTERM asks for an orderly end, the second for an end at once. Never ends the process itself:
//! the main function does, when the run is over or `hard` is cancelled.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The two ways to ask for an end. Clones share their tokens.
#[derive(Clone, Default, Debug)]
pub struct Shutdown {
    /// Finish what is under way, start nothing new.
    pub soft: CancellationToken,
    /// Drop everything: the process exits with 130. `soft` is cancelled before.
    pub hard: CancellationToken,
}

impl Shutdown {
    /// Tokens that nothing cancels by itself: for embedding and tests.
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens for SIGINT and SIGTERM from now on, for as long as the runtime lives.
    ///
    /// # Errors
    /// The signal handlers cannot be installed.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn on_signals() -> io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let shutdown = Self::new();
        let escalating = shutdown.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => escalating.escalate(),
                    _ = terminate.recv() => escalating.escalate(),
                }
            }
        });
        Ok(shutdown)
    }

    /// What a signal does: first `soft`, then `hard`.
    pub fn escalate(&self) {
        if self.soft.is_cancelled() {
            tracing::warn!("stopping at once");
            self.hard.cancel();
        } else {
            tracing::info!("stopping; a second signal stops at once");
            self.soft.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_is_soft_and_the_second_hard() {
        let shutdown = Shutdown::new();
        shutdown.escalate();
        assert!(shutdown.soft.is_cancelled() && !shutdown.hard.is_cancelled());
        shutdown.escalate();
        assert!(shutdown.hard.is_cancelled());
    }
}
