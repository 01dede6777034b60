//! The page that an operator reads: how complete home is, how far behind, and why, live, for whoever may see it.
//!
//! Owns: who may look, what is rendered, and who is told of news. Never: a way to change anything. Words of strangers reach the
//! page through [`html::Html`] only, which escapes them.

mod access;
mod chart;
mod detail;
mod history;
mod html;
mod looks;
mod overview;
mod routes;
mod series;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};

use bus::{AskError, StateClient};
use model::{RelayUrl, Status, Timestamp};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::Secret;
use crate::explain::Asked;
use crate::overview::Overview;
use crate::telemetry::figures;
pub use access::Access;
use history::History;
use looks::{Look, Looks};
pub(crate) use routes::routes;
pub(crate) use series::{SERIES, Series};

/// Viewers that are told of news at the same time; the page itself may be loaded by more.
const VIEWERS: usize = 32;
/// Questions of viewers that the state service is asked at the same time.
const QUESTIONS: usize = 4;

/// Where the figures come from. A process has it once its services have started.
#[derive(Clone)]
struct Source {
    state: StateClient,
    home: Option<RelayUrl>,
    /// Our own limit of live subscriptions on one upstream (S14).
    live_limit: usize,
}

/// The page of a process. Clones share it.
#[derive(Clone)]
pub struct Page {
    shared: Arc<Shared>,
}

struct Shared {
    access: Access,
    keeps_state: bool,
    source: OnceLock<Source>,
    history: Mutex<History>,
    looks: Looks,
    viewers: Arc<Semaphore>,
    questions: Semaphore,
    stop: CancellationToken,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("access", &self.shared.access).finish_non_exhaustive()
    }
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the process is starting, or waits for what it needs; /readyz says what for")]
    Starting,
    #[error("the state service does not answer: {0}")]
    Asked(#[from] AskError),
}

impl Page {
    /// The page of a process that listens at `address`. `keeps_state`: its role is one that answers for the whole system.
    #[must_use]
    pub fn new(address: SocketAddr, token: Option<&Secret>, keeps_state: bool) -> Self {
        let shared = Shared {
            access: Access::of(address, token, keeps_state),
            keeps_state,
            source: OnceLock::new(),
            history: Mutex::new(History::default()),
            looks: Looks::default(),
            viewers: Arc::new(Semaphore::new(VIEWERS)),
            questions: Semaphore::new(QUESTIONS),
            stop: CancellationToken::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Who may look.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.shared.access
    }

    /// Asks this state service from now on, for viewers and for figures; `live_limit` is our own, for one upstream. The first word counts.
    pub fn show(&self, state: StateClient, home: Option<RelayUrl>, live_limit: usize) {
        if self.shared.keeps_state && self.shared.source.set(Source { state, home, live_limit }).is_ok() {
            tokio::spawn(history::keep(self.clone()));
        }
    }

    /// Ends what runs for viewers.
    pub fn close(&self) {
        self.shared.stop.cancel();
    }

    fn source(&self) -> Result<&Source, Trouble> {
        self.shared.source.get().ok_or(Trouble::Starting)
    }

    /// The figures of now; they are noted for the chart, and told to telemetry.
    async fn status(&self) -> Result<(Status, Timestamp), Trouble> {
        let source = self.source()?;
        // Never closed.
        let _turn = self.shared.questions.acquire().await;
        let status = source.state.status().await?;
        let now = Timestamp::now();
        let overview = Overview::of(&status, now);
        figures::tell(&status, &overview, (now, source.live_limit));
        history::lock(&self.shared.history).note(now, &overview);
        Ok((status, now))
    }

    /// What a look sees now.
    async fn see(&self, look: &Look) -> Result<Seen, Trouble> {
        match look {
            Look::Overview => {
                let (status, now) = self.status().await?;
                let history = history::lock(&self.shared.history).clone();
                let html = overview::render(&status, self.source()?.home.as_ref(), &history, now);
                Ok(Seen { key: overview::key(&status, &history, now), html, is_known: true })
            }
            Look::Explain(text) => {
                let Ok(asked) = Asked::read(text) else { return Ok(Seen::unreadable(text)) };
                let source = self.source()?;
                let _turn = self.shared.questions.acquire().await;
                let explanation = *source.state.explain(asked.subject.clone()).await?;
                let html = detail::render(text, &asked, &explanation);
                Ok(Seen { key: html.clone(), html, is_known: explanation.is_known() })
            }
        }
    }
}

/// What a look sees.
#[derive(Debug, Clone)]
struct Seen {
    html: String,
    /// What differs where there is something new to see; time that passes is nothing new.
    key: String,
    is_known: bool,
}

impl Seen {
    fn unreadable(text: &str) -> Self {
        let html = detail::unreadable(text);
        Self { key: html.clone(), html, is_known: false }
    }
}
