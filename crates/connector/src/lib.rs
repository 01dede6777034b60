//! The service that owns sockets: leases, sessions, negentropy, verification, and the sink to home.
//!
//! Never: a decision that the planner could make, or the database. Whole events pass through here on their way from an
//! upstream to home and nowhere else.

mod desk;
mod dial;
mod discoveries;
mod document;
mod fence;
mod fetching;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod gates;
mod git_news;
mod home_terms;
mod hosts;
mod identity;
mod intake;
mod late;
mod lines;
mod load;
mod means;
mod metrics;
mod names;
mod releases;
mod session;
mod sets;
mod sink;
mod socks;
pub mod survey;
mod verify;
mod wire;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, StateClient};
use engine::admission::Admission;
use engine::discovery::Window;
use ipnet::IpNet;
use model::{DownClass, RelayUrl, Role};
use tokio_util::sync::CancellationToken;

pub use identity::Identity;
pub use worker::{LeaseSign, LeaseTerms};

/// What a connector needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    pub home: RelayUrl,
    /// Home's other names. Who asks it to forget them may use any of them.
    pub home_aliases: Vec<RelayUrl>,
    pub terms: LeaseTerms,
    /// S2.
    pub discovery_window: Duration,
    /// EVENTs written to home without an OK yet, on each link.
    pub write_window: usize,
    /// Links over which home is written to.
    pub write_links: usize,
    /// What is offered to home at all.
    pub admission: Admission,
    /// Relays with which private repositories are shared (GRASP-08).
    pub private_peers: Vec<RelayUrl>,
    /// Networks that are not public, in which announced upstreams may be dialed all the same.
    pub allow_non_public: Vec<IpNet>,
    /// Whether the names of announced upstreams are looked up. Without it only those named by address are dialed.
    pub look_up_names: bool,
    /// The SOCKS5 proxy through which onion services are dialed; without one none is.
    pub onion_proxy: Option<SocketAddr>,
    /// Who we are to relays that may know.
    pub identity: Identity,
    /// Where whoever runs a relay reaches us: an address or a URL.
    pub contact: Option<String>,
    /// New links that are begun in a minute, by this process; at least 1.
    pub dials_per_minute: usize,
    /// Shows whether the lease is held.
    pub lease: LeaseSign,
}

/// Runs a connector until `stop`; then sessions drain, outcomes are reported, upstreams given back.
pub async fn run(bus: Arc<dyn Bus>, settings: Settings, stop: CancellationToken) {
    install_crypto();
    metrics::begin();
    let state = StateClient::new(Arc::clone(&bus));
    // Discoveries and the sink outlive the sessions that feed them.
    let after_sessions = CancellationToken::new();
    let own_urls: Vec<RelayUrl> = std::iter::once(&settings.home).chain(&settings.home_aliases).cloned().collect();
    let window = Window::new(own_urls.clone());
    let (discoveries, gathering) =
        discoveries::Discoveries::begin(state.clone(), window, settings.discovery_window, after_sessions.clone());
    let sink = sink::Sink::new();
    let gates = Arc::new(gates::Gates::new(settings.admission, own_urls, settings.private_peers));
    let names = if settings.look_up_names { names::Names::System } else { names::Names::Nobody };
    let reach = dial::Reach { allow_non_public: settings.allow_non_public, names, onion_proxy: settings.onion_proxy };
    let dialer = dial::Dialer::new(reach, settings.contact.as_deref());
    let means = Arc::new(means::Means::new(dialer, settings.identity, settings.dials_per_minute));
    let reading = means.home_terms.clone().read(
        Arc::clone(&means.documents),
        settings.home.clone(),
        Arc::clone(&gates),
        after_sessions.clone(),
    );
    let reading = tokio::spawn(reading);
    let write_terms = sink::Terms { links: settings.write_links, window: settings.write_window };
    let written_with = (write_terms, Arc::clone(&means));
    let writing = tokio::spawn(sink.clone().write(settings.home, written_with, after_sessions.clone()));
    let (git_news, telling) =
        git_news::GitNews::begin(state.clone(), Arc::clone(&bus), git_news::Pace::default(), after_sessions.clone());
    let shared = Arc::new(intake::Shared {
        state,
        bus,
        git_news,
        late: Arc::default(),
        desk: desk::Desk::new(),
        verifier: verify::Verifier::new(),
        hosts: hosts::Hosts::new(),
        load: load::Load::default(),
        ids: load::Ids::default(),
        gates,
        sink,
        discoveries,
    });
    let releasing = tokio::spawn(releases::run(Arc::clone(&shared), after_sessions.clone()));
    let hurrying = tokio::spawn(fetching::hurry(Arc::clone(&shared), after_sessions.clone()));
    worker::Worker::new(shared, settings.terms, means, settings.lease).run(stop).await;
    after_sessions.cancel();
    for task in [gathering, writing, releasing, hurrying, reading, telling] {
        // A task that panicked has said so; there is nothing left to end.
        let _ = task.await;
    }
}

/// Why a relay does not answer.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Unreachable {
    pub class: DownClass,
    pub detail: String,
}

/// Dials `url` once, on the operator's word, and hangs up: whether a relay answers there. The others: as in [`Settings`].
///
/// # Errors
/// It does not, and why.
pub async fn knock(url: &RelayUrl, contact: Option<&str>, onion_proxy: Option<SocketAddr>) -> Result<(), Unreachable> {
    install_crypto();
    let reach = dial::Reach { allow_non_public: Vec::new(), names: names::Names::System, onion_proxy };
    match dial::Dialer::new(reach, contact).dial(url, Role::Bootstrap).await {
        Ok(mut socket) => {
            // A close frame is a courtesy.
            let _ = tokio::time::timeout(Duration::from_millis(500), socket.close(None)).await;
            Ok(())
        }
        Err(error) => Err(Unreachable { class: error.class(), detail: error.to_string() }),
    }
}

/// TLS needs a provider chosen once per process; the first `wss://` would panic without it.
fn install_crypto() {
    // Already chosen is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
