//! Who plays: three upstreams with a made-up world, an empty home, and a data directory that is gone afterwards.
//!
//! Owns: the relays, and what home should hold by the word of `world::reference`. Never: the system that is shown.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use model::{Event, EventId, RelayUrl};
use tempfile::TempDir;
use tokio::task::{JoinError, spawn_blocking};

use crate::builtin_relay::{self, BuiltinRelay, Options};
use crate::config::{Config, Home};
use crate::world::{self, LiveEvent, Shape, reference};

/// Shorter than the default (5 s), so that a demonstration is quick.
pub(super) const DISCOVERY_WINDOW: Duration = Duration::from_millis(500);
/// Everything that the demonstration dials is here.
const LOOPBACK: &str = "127.0.0.0/8";
const UPSTREAMS: usize = 3;
/// The last upstream has no NIP-77, and smaller pages than the common ones.
const LAST_PAGE: usize = 250;

/// Why the stage cannot be set.
#[derive(Debug, thiserror::Error)]
pub enum CastError {
    #[error("a relay of the demonstration does not start: {0}")]
    Relay(#[from] builtin_relay::StartError),
    #[error("there is no temporary directory: {0}")]
    DataDir(#[source] io::Error),
    #[error("the world was not made: {0}")]
    World(#[from] JoinError),
}

/// A relay of the demonstration.
#[derive(Debug)]
pub(super) struct Player {
    pub(super) relay: BuiltinRelay,
    pub(super) url: RelayUrl,
}

/// EVENT messages; one that answers several filters counts for each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traffic {
    pub(super) downloaded: u64,
    pub(super) offered: u64,
}

impl Traffic {
    pub(super) fn since(self, before: Self) -> Self {
        Self { downloaded: self.downloaded - before.downloaded, offered: self.offered - before.offered }
    }
}

/// All relays, and what is still to be published.
#[derive(Debug)]
pub(super) struct Cast {
    /// The first is the bootstrap.
    pub(super) upstreams: Vec<Player>,
    pub(super) home: Player,
    pub(super) live: Vec<LiveEvent>,
    /// Unix seconds of the world.
    now: u64,
    data_dir: TempDir,
}

impl Cast {
    /// Starts the relays and fills the upstreams.
    pub(super) async fn gather(shape: Shape) -> Result<Self, CastError> {
        let data_dir = tempfile::Builder::new().prefix("grasp-sync-demo-").tempdir().map_err(CastError::DataDir)?;
        let mut upstreams = Vec::new();
        for index in 0..UPSTREAMS {
            upstreams.push(Player::start(habits(index, UPSTREAMS)).await?);
        }
        let home = Player::start(Options::default()).await?;
        let now = shape.now;
        let (upstreams, live) = spawn_blocking(move || fill(upstreams, &shape)).await?;
        Ok(Self { upstreams, home, live, now, data_dir })
    }

    /// The configuration of the system that is shown.
    pub(super) fn config(&self) -> Config {
        Config {
            bootstrap: vec![self.upstreams[0].url.clone()],
            allow_non_public: vec![LOOPBACK.parse().expect("it is a network")],
            discovery_window: DISCOVERY_WINDOW,
            ..Config::with_home(Home::Relay(self.home.url.clone()), self.data_dir.path().to_owned())
        }
    }

    /// What home should hold once it has everything that the upstreams serve now.
    pub(super) async fn expected(&self) -> Result<BTreeSet<EventId>, CastError> {
        let held: Vec<(String, Vec<Event>)> = self.upstreams.iter().map(|one| (one.relay.url(), one.relay.events())).collect();
        let now = self.now;
        let judge = move || {
            let bootstrap = [held[0].0.clone()];
            reference::expected_home(&held, &bootstrap, &[], now)
        };
        Ok(spawn_blocking(judge).await?)
    }

    /// Events that the upstreams have sent so far, and that home was offered so far. Both by the relays' own counters.
    pub(super) fn traffic(&self) -> Traffic {
        Traffic {
            downloaded: self.upstreams.iter().map(|one| one.relay.traffic().events_sent).sum(),
            offered: self.home.relay.traffic().events_written,
        }
    }

    /// Events that the upstreams serve, each counted once for every upstream.
    pub(super) fn events_served(&self) -> usize {
        self.upstreams.iter().map(|one| one.relay.event_ids().len()).sum()
    }

    /// Ends the relays.
    pub(super) async fn leave(self) {
        for player in self.upstreams.into_iter().chain([self.home]) {
            player.relay.stop().await;
        }
    }
}

impl Player {
    async fn start(options: Options) -> Result<Self, CastError> {
        let relay = BuiltinRelay::start(options).await?;
        let url = RelayUrl::parse(&relay.url()).expect("the built-in relay listens on an address, which is a relay URL");
        Ok(Self { relay, url })
    }
}

/// How one of so many upstreams serves; the first is the bootstrap.
pub(super) fn habits(index: usize, of: usize) -> Options {
    let common = Options::default();
    if index > 0 && index + 1 == of { Options { negentropy: false, page_cap: LAST_PAGE, ..common } } else { common }
}

fn fill(upstreams: Vec<Player>, shape: &Shape) -> (Vec<Player>, Vec<LiveEvent>) {
    let urls: Vec<String> = upstreams.iter().map(|one| one.relay.url()).collect();
    let world = world::generate(shape, &urls);
    for (player, content) in upstreams.iter().zip(world.upstreams) {
        player.relay.preload(content.events);
    }
    (upstreams, world.live)
}
