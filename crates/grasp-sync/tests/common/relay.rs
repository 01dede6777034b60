//! One word for the relays of the stage, so that a test is a matter of who is home and who is upstream.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use grasp_sync::builtin_relay::{BuiltinRelay, Options, Traffic};
use model::{Event, EventId, RelayUrl};
use serde_json::json;
use testkit::{LocalRelay, NostrRsRelay, Publisher, PythonRelay, fetch_all};

use super::project::Signed;

/// A relay on loopback; dropping it stops it.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a test has a handful of them")]
pub(crate) enum Relay {
    /// `nostr-relay-builder`: NIP-77.
    Local(LocalRelay),
    /// `nostr-relay` in Python: REQ only, with habits of its own.
    Python(PythonRelay),
    /// `nostr-rs-relay`: REQ only.
    NostrRs(NostrRsRelay),
    /// Ours: it counts what crosses the wire.
    Builtin(Builtin),
}

/// The built-in relay, and what it takes to start it again on the same port with the same data.
#[derive(Debug)]
pub(crate) struct Builtin {
    options: Options,
    running: Option<BuiltinRelay>,
    kept: Vec<Event>,
}

impl Relay {
    pub(crate) async fn local() -> Self {
        Self::Local(LocalRelay::start().await)
    }

    /// Its page cap bounds REQ only; NIP-77 names everything.
    pub(crate) async fn local_with_pages_of(events: usize) -> Self {
        Self::Local(LocalRelay::with_page_cap(events).await)
    }

    pub(crate) async fn python() -> Self {
        Self::Python(PythonRelay::start().await)
    }

    pub(crate) async fn python_with_pages_of(events: usize) -> Self {
        Self::Python(PythonRelay::with_page_cap(events).await)
    }

    pub(crate) async fn nostr_rs() -> Self {
        Self::NostrRs(NostrRsRelay::start().await)
    }

    /// Ours, with NIP-77.
    pub(crate) async fn counting() -> Self {
        Self::builtin(true).await
    }

    /// Ours, without NIP-77.
    pub(crate) async fn counting_req_only() -> Self {
        Self::builtin(false).await
    }

    /// Ours, with NIP-77, and with this page cap, which holds for requests by ids too.
    pub(crate) async fn counting_with_pages_of(events: usize) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], testkit::free_port()));
        let options = Options { listen, page_cap: events, ..Options::default() };
        let mut relay = Self::Builtin(Builtin { options, running: None, kept: Vec::new() });
        relay.start_again().await;
        relay
    }

    async fn builtin(negentropy: bool) -> Self {
        Self::on_host(1, negentropy).await
    }

    /// Ours, on a loopback address of its own.
    pub(crate) async fn on_host(host: u16, negentropy: bool) -> Self {
        let [high, low] = host.to_be_bytes();
        // A port of its own, so that it can come back there.
        let listen = SocketAddr::from(([127, 0, high, low], testkit::free_port()));
        let options = Options { listen, negentropy, ..Options::default() };
        let mut relay = Self::Builtin(Builtin { options, running: None, kept: Vec::new() });
        relay.start_again().await;
        relay
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Local(relay) => relay.url(),
            Self::Python(relay) => relay.url(),
            Self::NostrRs(relay) => relay.url(),
            Self::Builtin(relay) => format!("ws://{}", relay.options.listen),
        }
    }

    /// The URL in normal form.
    pub(crate) fn relay_url(&self) -> RelayUrl {
        RelayUrl::parse(&self.url()).unwrap()
    }

    /// The ids of everything that it holds.
    pub(crate) async fn held(&self) -> BTreeSet<EventId> {
        let events = match self {
            Self::Local(relay) => relay.held().await,
            Self::Builtin(relay) => return relay.running().event_ids(),
            // An empty filter means nothing to one of them.
            Self::Python(_) | Self::NostrRs(_) => fetch_all(&self.url(), &json!({"since": 1})).await,
        };
        events.iter().map(|event| event.id).collect()
    }

    /// Somebody publishes these events here, with `nostr-sdk`; each is accepted.
    pub(crate) async fn receives<'a>(&self, events: impl IntoIterator<Item = &'a Signed>) {
        let courier = Publisher::new(&"7".repeat(64));
        let offers = courier.publish_all(&self.url(), events.into_iter().map(|event| event.json.as_str())).await;
        assert!(offers.iter().all(testkit::Offer::is_accepted), "{}: {offers:?}", self.url());
    }

    /// It has held these events all along, and (the built-in one apart) tells nobody.
    pub(crate) async fn has_held<'a>(&self, events: impl IntoIterator<Item = &'a Signed>) {
        match self {
            Self::Local(relay) => relay.preload(events.into_iter().map(|event| event.json.as_str())).await,
            Self::Builtin(relay) => relay.running().preload(events.into_iter().map(Signed::event).collect()),
            Self::Python(_) | Self::NostrRs(_) => self.receives(events).await,
        }
    }

    /// Ours: events of a generated world, all at once.
    pub(crate) fn is_given(&self, events: Vec<Event>) {
        self.counter().preload(events);
    }

    /// Ours: everything that it holds.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.counter().events()
    }

    /// Ends every connection and closes the port; the data stays.
    pub(crate) async fn goes_down(&mut self) {
        match self {
            Self::Local(relay) => relay.stop().await,
            Self::Python(relay) => relay.stop().await,
            Self::NostrRs(relay) => relay.stop().await,
            Self::Builtin(relay) => relay.stop().await,
        }
    }

    /// Comes back on the same port, with what it held.
    pub(crate) async fn start_again(&mut self) {
        self.comes_back_with(&[]).await;
    }

    /// Comes back on the same port, with what it held and with events that reached it meanwhile.
    pub(crate) async fn comes_back_with(&mut self, meanwhile: &[Signed]) {
        match self {
            Self::Local(relay) => {
                relay.preload(meanwhile.iter().map(|event| event.json.as_str())).await;
                relay.restart().await;
            }
            Self::Builtin(relay) => relay.start(meanwhile).await,
            Self::Python(relay) => {
                relay.restart().await;
                self.receives(meanwhile).await;
            }
            Self::NostrRs(relay) => {
                relay.restart().await;
                self.receives(meanwhile).await;
            }
        }
    }

    /// Ours: loses everything that it holds, and comes back on the same port.
    pub(crate) async fn is_wiped(&mut self) {
        self.goes_down().await;
        if let Self::Builtin(relay) = self {
            relay.kept.clear();
        }
        self.start_again().await;
    }

    /// Ours: comes back on the same port with these events and no others, as from a backup.
    pub(crate) async fn is_restored_with(&mut self, backup: Vec<Event>) {
        self.goes_down().await;
        if let Self::Builtin(relay) = self {
            relay.kept = backup;
        }
        self.start_again().await;
    }

    pub(crate) fn speaks_negentropy(&self) -> bool {
        match self {
            Self::Local(_) => true,
            Self::Python(_) | Self::NostrRs(_) => false,
            Self::Builtin(relay) => relay.options.negentropy,
        }
    }

    /// Ours: what crossed the wire since its last start.
    pub(crate) fn traffic(&self) -> Traffic {
        self.counter().traffic()
    }

    fn counter(&self) -> &BuiltinRelay {
        match self {
            Self::Builtin(relay) => relay.running(),
            Self::Local(_) | Self::Python(_) | Self::NostrRs(_) => panic!("only the built-in relay can do that"),
        }
    }
}

impl Builtin {
    fn running(&self) -> &BuiltinRelay {
        self.running.as_ref().expect("the relay runs")
    }

    async fn start(&mut self, meanwhile: &[Signed]) {
        self.stop().await;
        self.kept.extend(meanwhile.iter().map(Signed::event));
        let relay = BuiltinRelay::start(self.options.clone()).await.unwrap();
        relay.preload(std::mem::take(&mut self.kept));
        self.running = Some(relay);
    }

    async fn stop(&mut self) {
        if let Some(relay) = self.running.take() {
            self.kept = relay.events();
            relay.stop().await;
        }
    }
}
