//! A real NIP-77 relay in memory: `nostr-relay-builder`'s `LocalRelay`, its limits off, stopped and restarted with its data kept.
//!
//! It never lives in the test's own runtime: stopping it is as abrupt as killing a process. How it behaves (0.44, as tested,
//! buffer and frame sizes as in its source):
//!
//! - REQ: newest first, then by id; `since` and `until` inclusive; a filter without `limit` or `ids` gets the newest 500, one with a
//!   `limit` gets all of it (no cap, unless [`LocalRelay::with_page_cap`]); every filter of a REQ has its own limit.
//! - `limit: 0` is right: no stored event, EOSE, then live events.
//! - After EOSE it says CLOSED with an empty text and drops the subscription when a REQ of `ids` only was answered in full.
//! - One kind, one author and several `#d` values: only the first value is looked at, in REQ and in negentropy.
//! - Live events wait in a channel of 1024: a connection that falls further behind loses events and is not told.
//! - OK: stored `true ""`; duplicate `true "duplicate: already have this event"`; an older version `false "error: unknown"`, and so
//!   are an expired event, an addressable event without `d` and a foreign deletion; a version that was held and then replaced, and
//!   a deleted event, `false "blocked: this event is deleted"`; a protected event `false "auth-required: you must auth"`.
//! - Two versions of the same second: the later arrival wins, whatever its id.
//! - Negentropy: frames up to 60,000 bytes; the default limit does not apply, so the set is whole; an unknown id gets NEG-ERR
//!   `error: subscription not found`; a message that cannot be parsed, of any kind, ends the connection without a word.

use nostr_relay_builder::prelude::{
    Event, Filter, JsonUtil, LocalRelay as BuiltRelay, MemoryDatabase, MemoryDatabaseOptions, NostrDatabase, RateLimit,
    RelayBuilder,
};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// How long the tasks of a stopped relay may take to end; they end at their next await.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// A relay on a loopback port; dropping it stops it.
#[derive(Debug)]
pub struct LocalRelay {
    port: u16,
    page_cap: Option<usize>,
    database: MemoryDatabase,
    running: Option<Running>,
}

/// What exists only while it runs.
#[derive(Debug)]
struct Running {
    runtime: Runtime,
    // The relay shuts itself down when its last handle is dropped.
    _relay: BuiltRelay,
}

impl LocalRelay {
    /// An empty relay on a free port.
    pub async fn start() -> Self {
        Self::start_on(crate::free_port()).await
    }

    /// An empty relay on a port of the test's choice.
    pub async fn start_on(port: u16) -> Self {
        Self::start_as(port, None).await
    }

    /// An empty relay that serves at most `page_cap` events to a REQ, whatever its `limit`.
    pub async fn with_page_cap(page_cap: usize) -> Self {
        Self::start_as(crate::free_port(), Some(page_cap)).await
    }

    async fn start_as(port: u16, page_cap: Option<usize>) -> Self {
        let database = MemoryDatabase::with_opts(MemoryDatabaseOptions { events: true, max_events: None });
        let mut relay = Self { port, page_cap, database, running: None };
        relay.restart().await;
        relay
    }

    /// Where clients connect.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// Drops every connection and closes the port; the data stays. Returns when nothing runs any more.
    pub async fn stop(&mut self) {
        if let Some(Running { runtime, _relay }) = self.running.take() {
            drop(_relay);
            let stopping = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(STOP_LIMIT));
            stopping.await.expect("shutting a runtime down does not panic");
        }
    }

    /// Stops if need be, and starts on the same port with the same data.
    ///
    /// # Panics
    /// When the port is taken.
    pub async fn restart(&mut self) {
        self.stop().await;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a thread can be started");
        let relay = BuiltRelay::new(self.recipe());
        let starting = relay.clone();
        let started = runtime.spawn(async move { starting.run().await }).await.expect("starting a relay does not panic");
        started.expect("the relay's port is free");
        self.running = Some(Running { runtime, _relay: relay });
    }

    /// Puts events (JSON) straight into the store: nobody who listens is told, as if they had always been there.
    ///
    /// # Panics
    /// When one is not an event, or the store refuses it (replaced, deleted, expired).
    pub async fn preload<'a>(&self, events: impl IntoIterator<Item = &'a str>) {
        for json in events {
            let event = Event::from_json(json).expect("an event as JSON");
            let saved = self.database.save_event(&event).await.expect("a store in memory does not fail");
            assert!(saved.is_success(), "the relay's store refused {json}: {saved:?}");
        }
    }

    /// Everything that it holds, read from its store and not over the wire: exact whatever its pages do. Newest first.
    pub async fn held(&self) -> Vec<nostr::prelude::Event> {
        let held = self.database.query(Filter::new()).await.expect("a store in memory does not fail");
        held.into_iter().map(|event| as_our_event(&event)).collect()
    }

    fn recipe(&self) -> RelayBuilder {
        let recipe = RelayBuilder::default()
            .addr(IpAddr::V4(Ipv4Addr::LOCALHOST))
            .port(self.port)
            .database(self.database.clone())
            .rate_limit(RateLimit { max_reqs: usize::MAX, notes_per_minute: u32::MAX });
        match self.page_cap {
            Some(cap) => recipe.max_filter_limit(cap).default_filter_limit(cap),
            None => recipe,
        }
    }
}

impl Drop for LocalRelay {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            // A runtime may not be waited for from async code, where tests drop their relays.
            running.runtime.shutdown_background();
        }
    }
}

fn as_our_event(event: &Event) -> nostr::prelude::Event {
    serde_json::from_str(&event.as_json()).expect("both versions write an event alike")
}
