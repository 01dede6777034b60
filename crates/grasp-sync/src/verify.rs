//! `grasp-sync verify`: what does a relay lack of what the relays hold that its announcements name? For any relay: without a
//! fleet, without a database, without writing anything.
//!
//! The proof is that of the sync: every filter of the three layers at every upstream, read to a proven end, less what home
//! holds, less what it has a reason not to hold.

mod inquiry;
mod judge;
mod progress;
mod questions;
mod render;
mod report;
mod scope;

use std::collections::BTreeSet;
use std::time::Duration;

use engine::admission::{Admission, Mode};
use engine::gate::Limits;
use model::{RelayUrl, RepoAddr, Subject, Timestamp};

use crate::config::{Config, Home};
use crate::doctor::remedy_of;
use crate::exit::Exit;
use crate::explain::{Asked, UnreadableSubject};
use crate::lifecycle::Shutdown;
use crate::output;
use crate::run::builtin_url;
use crate::system::surveyor;
use inquiry::{HomeFailed, Inquiry, Terms};
use judge::Bench;
pub use judge::Reason;
use progress::Progress;
pub use report::{Gap, HomeFacts, Named, Open, RepoFacts, Report, UpstreamFacts, Verdict};
use scope::{Choice, Scope};

/// What is to be verified, and how it is shown.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Repositories, as a person names them; all of home's where there is none.
    pub repos: Vec<String>,
    /// Upstreams, and no others; those that the announcements name where there is none.
    pub upstreams: Vec<String>,
    /// Announcements and states of everybody are expected at home, not only of those that name it.
    pub every_announcement: bool,
    /// What one upstream may take.
    pub patience: Duration,
    pub json: bool,
}

/// Why nothing was verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("{text}: {why}")]
    Unreadable { text: String, why: UnreadableSubject },
    #[error("{0} is no repository; give 30617:<pubkey>:<identifier> or naddr1…")]
    NotARepo(String),
    #[error("{0} is no relay URL")]
    NotARelay(String),
    #[error("home {home} cannot be reached: {why}\nWhat to do: {}", remedy_of(why.class))]
    HomeUnreachable { home: RelayUrl, why: connector::Unreachable },
    #[error("home {home} cannot be judged: {why}")]
    HomeNotRead { home: RelayUrl, why: String },
    #[error("stopped before it was done")]
    Stopped,
    #[error("the report could not be printed: {0}")]
    Output(#[from] std::io::Error),
}

impl VerifyError {
    /// The code that the process ends with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unreadable { .. } | Self::NotARepo(_) | Self::NotARelay(_) => Exit::Usage,
            Self::HomeUnreachable { .. } => Exit::HomeUnreachable,
            Self::HomeNotRead { .. } => Exit::NotJudged,
            Self::Stopped => Exit::Aborted,
            Self::Output(_) => Exit::Failure,
        }
    }
}

/// Compares, and prints what came of it.
///
/// # Errors
/// What is wanted cannot be read, home does not answer, or stdout is gone.
pub async fn verify(config: &Config, wanted: &Wanted, shutdown: Shutdown) -> Result<Exit, VerifyError> {
    let report = tokio::select! {
        biased;
        () = shutdown.soft.cancelled() => return Err(VerifyError::Stopped),
        report = compare(config, wanted) => report?,
    };
    if wanted.json {
        output::print_json(&report)?;
    } else {
        output::print(&render::text(&report))?;
    }
    Ok(report.exit())
}

/// Compares home with its upstreams.
///
/// # Errors
/// What is wanted cannot be read, or home does not answer.
pub async fn compare(config: &Config, wanted: &Wanted) -> Result<Report, VerifyError> {
    let terms = terms(config, wanted)?;
    let scope = Scope::of(repos(&wanted.repos)?);
    let surveyor = surveyor(config);
    let progress = Progress::open(terms.patience);
    let bench = bench(config, wanted, &terms);
    let found = Inquiry::new(&surveyor, &terms, &progress, scope, bench).run().await;
    let found = found.map_err(|failed| home_failed(&terms.home, failed))?;
    Ok(Report::of(&terms.home, &found, Timestamp::now()))
}

fn terms(config: &Config, wanted: &Wanted) -> Result<Terms, VerifyError> {
    let home = match &config.home {
        Some(Home::Relay(url)) => url.clone(),
        Some(Home::Builtin) | None => builtin_url(),
    };
    let only: Result<Vec<RelayUrl>, VerifyError> = wanted.upstreams.iter().map(|text| relay(text)).collect();
    let choice = Choice {
        own: std::iter::once(&home).chain(&config.home_aliases).cloned().collect(),
        only: only?,
        bootstrap: config.bootstrap.clone(),
        private_peers: config.private_peers.clone(),
        allow_non_public: config.allow_non_public.clone(),
        has_onion_proxy: config.onion_proxy.is_some(),
        caps: config.caps,
    };
    Ok(Terms { home, choice, operator_key: config.operator_key, patience: wanted.patience })
}

/// Nothing is known of home yet but what the configuration says. An announcement is home's if it names home: what home would take
/// beside that is its own business, and cannot be known without offering it.
fn bench(config: &Config, wanted: &Wanted, terms: &Terms) -> Bench {
    let own = terms.choice.own.clone();
    let mode = if wanted.every_announcement { Mode::HomeDecides } else { Mode::Listed { services: own.clone() } };
    Bench {
        limits: Limits::default(),
        tombstones: inquiry::unknown(own),
        admission: Admission { mode, blocked: config.block.clone() },
        announced: Vec::new(),
        private: BTreeSet::new(),
    }
}

fn repos(texts: &[String]) -> Result<BTreeSet<RepoAddr>, VerifyError> {
    let read = |text: &String| {
        let asked = Asked::read(text).map_err(|why| VerifyError::Unreadable { text: text.clone(), why })?;
        match asked.subject {
            Subject::Repo(addr) => Ok(addr),
            Subject::Event(_) | Subject::Upstream(_) => Err(VerifyError::NotARepo(text.clone())),
        }
    };
    texts.iter().map(read).collect()
}

fn relay(text: &str) -> Result<RelayUrl, VerifyError> {
    RelayUrl::parse(text).map_err(|_| VerifyError::NotARelay(text.to_owned()))
}

fn home_failed(home: &RelayUrl, failed: HomeFailed) -> VerifyError {
    let home = home.clone();
    match failed {
        HomeFailed::Unreachable(why) => VerifyError::HomeUnreachable { home, why },
        HomeFailed::NotRead(why) => VerifyError::HomeNotRead { home, why },
    }
}
