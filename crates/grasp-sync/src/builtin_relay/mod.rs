//! A small Nostr relay in this process: home for one machine, upstreams for demonstrations and tests.
//! It speaks NIP-01, 09, 11, 40, 70 and 77, and keeps its events in memory or in one file.
//! It stands apart: it imports nothing of grasp-sync, and grasp-sync meets it on the wire only.

mod archive;
mod committer;
mod connection;
mod handshake;
mod hub;
mod index;
mod intake;
mod journal;
mod message;
mod negentropy;
mod nip11;
mod outbox;
#[cfg(test)]
mod tests;
mod traffic;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nostr::event::{Event, EventId};
use nostr::filter::Filter;
use nostr::types::Timestamp;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tracing::{debug, warn};

use archive::{Archive, Stored};
use committer::Committer;
use hub::{Caps, Hub};
use journal::Journal;
pub use journal::StoreError;
use outbox::Slack;
use traffic::Counters;
pub use traffic::Traffic;

/// Where the events live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// Gone when the relay stops.
    Memory,
    /// In memory, and there from the first connection on: events that are known to be signed well.
    Filled(Vec<Event>),
    /// One file of JSON lines, created when missing; an `OK` is sent only after the disk has the event.
    File(PathBuf),
}

/// How the relay runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 takes any free port.
    pub listen: SocketAddr,
    /// Where the events live.
    pub store: Store,
    /// Whether NIP-77 is offered; without it every NEG-OPEN is answered by a NOTICE.
    pub negentropy: bool,
    /// Most stored events sent for one filter; a greater `limit` is clamped in silence.
    pub page_cap: usize,
    /// Most open subscriptions on one connection.
    pub max_subscriptions: usize,
    /// Whether ids and signatures of written events are taken for good without a look: for measurements only.
    pub is_trusting: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            store: Store::Memory,
            negentropy: true,
            // As the most common relay software has them.
            page_cap: 500,
            max_subscriptions: 200,
            is_trusting: false,
        }
    }
}

/// Why the relay did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The address could not be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// The durable store could not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The thread of the store could not be started.
    #[error("cannot start the thread of the relay store: {0}")]
    Thread(io::Error),
}

/// A running relay. Dropping it ends it too, without waiting for anything.
#[derive(Debug)]
pub struct BuiltinRelay {
    shared: Arc<Shared>,
    address: SocketAddr,
    signal: watch::Sender<Signal>,
    accepting: JoinHandle<()>,
    committing: thread::JoinHandle<()>,
}

/// What every connection needs.
#[derive(Debug)]
struct Shared {
    hub: Arc<Hub>,
    committer: Committer,
    counters: Counters,
    slack: Slack,
    negentropy: bool,
    is_trusting: bool,
    caps: Caps,
}

/// What the owner wants of all connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    /// Connections accepted under an earlier number are over.
    Serve(u64),
    Stop,
}

impl BuiltinRelay {
    /// Reads the store, listens and serves until [`BuiltinRelay::stop`] or drop.
    ///
    /// # Errors
    /// When the address is taken, or the file of the store is locked, unwritable or damaged.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        Self::start_with(options, Slack::default()).await
    }

    async fn start_with(options: Options, slack: Slack) -> Result<Self, StartError> {
        let unheard = |source| StartError::Listen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).await.map_err(unheard)?;
        let address = listener.local_addr().map_err(unheard)?;
        let (archive, journal) = open_store(&options.store)?;
        let caps = Caps { page: options.page_cap, subscriptions: options.max_subscriptions };
        let hub = Arc::new(Hub::new(archive, caps));
        let (committer, committing) = Committer::start(Arc::clone(&hub), journal).map_err(StartError::Thread)?;
        let counters = Counters::default();
        let Options { negentropy, is_trusting, .. } = options;
        let shared = Arc::new(Shared { hub, committer, counters, slack, negentropy, is_trusting, caps });
        let (signal, watched) = watch::channel(Signal::Serve(0));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared), watched));
        Ok(Self { shared, address, signal, accepting, committing })
    }

    /// The relay's address as clients write it, with the root path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}/", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes events that are known to be signed well, by the same rules as written ones; blocks until done.
    pub fn preload(&self, events: Vec<Event>) {
        let events = events.into_iter().map(Stored::new).collect();
        self.shared.committer.commit_blocking(events);
    }

    /// The ids of all events that are served now.
    #[must_use]
    pub fn event_ids(&self) -> BTreeSet<EventId> {
        self.held().iter().map(|stored| stored.event.id).collect()
    }

    /// All events that are served now, newest first.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.held().iter().map(|stored| stored.event.clone()).collect()
    }

    /// What crossed the wire since the start.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.shared.counters.read()
    }

    /// Ends every connection and goes on listening.
    pub fn disconnect_all(&self) {
        self.signal.send_modify(|signal| match signal {
            Signal::Serve(round) => *round += 1,
            Signal::Stop => {}
        });
    }

    /// Ends the listener and every connection, and returns once all that was taken is on the disk.
    pub async fn stop(self) {
        self.signal.send_replace(Signal::Stop);
        if let Err(cause) = self.accepting.await {
            warn!(%cause, "the relay did not end in order");
        }
        self.shared.committer.stop();
        let committing = self.committing;
        if !matches!(tokio::task::spawn_blocking(move || committing.join()).await, Ok(Ok(()))) {
            warn!("the relay store did not end in order");
        }
    }

    fn held(&self) -> Vec<Arc<Stored>> {
        self.shared.hub.all_matches(&Filter::new(), Timestamp::now().as_secs())
    }
}

fn open_store(store: &Store) -> Result<(Archive, Option<Journal>), StoreError> {
    let mut archive = Archive::default();
    let (journal, events) = match store {
        Store::Memory => return Ok((archive, None)),
        Store::Filled(events) => (None, events.clone()),
        Store::File(path) => {
            let (journal, events) = Journal::open(path)?;
            (Some(journal), events)
        }
    };
    let now = Timestamp::now().as_secs();
    for event in events {
        archive.admit(&Stored::new(event), now);
    }
    Ok((archive, journal))
}

/// A pause after a refused accept (out of descriptors, most often): trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

async fn accept(listener: TcpListener, shared: Arc<Shared>, mut watched: watch::Receiver<Signal>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(welcome(stream, Arc::clone(&shared), watched.clone()));
                }
                Err(cause) => {
                    debug!(%cause, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = is_over(&mut watched, None) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn welcome(stream: TcpStream, shared: Arc<Shared>, mut watched: watch::Receiver<Signal>) {
    let round = *watched.borrow();
    let served = async {
        // Small answers must not wait for large ones to fill a packet.
        if let Err(cause) = stream.set_nodelay(true) {
            debug!(%cause, "a connection keeps its delay");
        }
        let document = nip11::document(shared.caps, shared.negentropy);
        if let Some(websocket) = handshake::accept(stream, &document).await {
            connection::serve(websocket, shared).await;
        }
    };
    tokio::select! {
        () = served => {}
        () = is_over(&mut watched, Some(round)) => {}
    }
}

/// Returns at the stop of the relay, or when connections of this round are over.
async fn is_over(watched: &mut watch::Receiver<Signal>, round: Option<Signal>) {
    let is_end = |signal: &Signal| *signal == Signal::Stop || round.is_some_and(|round| *signal != round);
    // An owner that is gone has dropped the relay.
    let _ = watched.wait_for(is_end).await;
}
