//! A relay that misbehaves by script, on a real socket: what a stranger's relay may do to us, one named behaviour each.
//!
//! What the script does not name is done as NIP-01 says. It never speaks NIP-77 well (`LocalRelay` does), and it verifies nothing:
//! what it holds may be as false as a test likes.

/// What the first behaviour of a kind says: `scripted!(script, Behaviour::PageCap(cap) => *cap)`.
macro_rules! scripted {
    ($script:expr, $behaviour:pat => $value:expr) => {
        $script.iter().find_map(|behaviour| if let $behaviour = behaviour { Some($value) } else { None })
    };
}

mod behaviour;
mod conversation;
mod filter;
mod negentropy;
mod socket;

pub use behaviour::{Behaviour, Corruption, Flood, Judge, Judges, Link, Negentropy, Refusal, Ruling};

use crate::Publisher;
use serde_json::Value;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// The key of an author whom no test knows.
const STRANGER: &str = "00000000000000000000000000000000000000000000000000000000f100d000";

/// A relay on a loopback port; dropping it ends every connection.
#[derive(Debug)]
pub struct HostileRelay {
    port: u16,
    world: Arc<World>,
    accepting: JoinHandle<()>,
}

/// What its connections share.
#[derive(Debug)]
struct World {
    script: Mutex<Vec<Behaviour>>,
    events: Mutex<Vec<Value>>,
    /// Everything that was ever published while it ran.
    live: watch::Sender<Vec<Value>>,
    heard: Mutex<Vec<Value>>,
    connections: AtomicU64,
    served: AtomicU64,
}

impl HostileRelay {
    /// A relay that holds nothing and behaves as scripted.
    pub async fn start(script: impl IntoIterator<Item = Behaviour>) -> Self {
        let world = Arc::new(World {
            script: Mutex::new(script.into_iter().collect()),
            events: Mutex::default(),
            live: watch::Sender::default(),
            heard: Mutex::default(),
            connections: AtomicU64::new(0),
            served: AtomicU64::new(0),
        });
        let port = crate::free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the relay's own port is free");
        let accepting = tokio::spawn(Arc::clone(&world).accept(listener));
        Self { port, world, accepting }
    }

    /// Where clients connect.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// Behaves like this from now on, to new connections; open ones go on as they were.
    pub fn behaves(&self, script: impl IntoIterator<Item = Behaviour>) {
        *held(&self.world.script) = script.into_iter().collect();
    }

    /// Has held these events (JSON, valid or not) all along.
    ///
    /// # Panics
    /// When one is not JSON.
    pub fn has_held<'a>(&self, events: impl IntoIterator<Item = &'a str>) {
        held(&self.world.events).extend(events.into_iter().map(read));
    }

    /// Gets an event now: holds it, and tells whoever listens.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn publishes(&self, event: &str) {
        self.world.keep(read(event));
    }

    /// The ids of what it holds.
    #[must_use]
    pub fn held_ids(&self) -> Vec<String> {
        held(&self.world.events).iter().filter_map(|event| Some(event["id"].as_str()?.to_owned())).collect()
    }

    /// Every message that clients have sent, in the order in which they were read.
    #[must_use]
    pub fn heard(&self) -> Vec<Value> {
        held(&self.world.heard).clone()
    }

    /// Connections accepted since the start, open or not.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.world.connections.load(Ordering::Relaxed)
    }

    /// Text messages sent since the start, as they were to be read.
    #[must_use]
    pub fn messages_sent(&self) -> u64 {
        self.world.served.load(Ordering::Relaxed)
    }
}

impl Drop for HostileRelay {
    fn drop(&mut self) {
        // The connections are owned by this task.
        self.accepting.abort();
    }
}

impl World {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            self.connections.fetch_add(1, Ordering::Relaxed);
            connections.spawn(socket::serve(client, Arc::clone(&self)));
            while connections.try_join_next().is_some() {}
        }
    }

    fn keep(&self, event: Value) {
        // One lock over both: a page holds what was published before it, and what came later is told.
        let mut events = held(&self.events);
        events.push(event.clone());
        self.live.send_modify(|live| live.push(event));
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stranger() -> Publisher {
    Publisher::new(STRANGER)
}

fn read(event: &str) -> Value {
    serde_json::from_str(event).expect("an event as JSON")
}
