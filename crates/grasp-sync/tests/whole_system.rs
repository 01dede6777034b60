//! The embedded system against relays on loopback: history, live events, restarts.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use grasp_sync::builtin_relay::{BuiltinRelay, Options};
use grasp_sync::config::{Config, Home};
use grasp_sync::system::System;
use grasp_sync::world::{self, Shape, reference};
use model::{EventId, RelayUrl, Timestamp};

fn url(relay: &BuiltinRelay) -> RelayUrl {
    RelayUrl::parse(&relay.url()).unwrap()
}

async fn relay(negentropy: bool) -> BuiltinRelay {
    BuiltinRelay::start(Options { negentropy, ..Options::default() }).await.unwrap()
}

async fn until_equal(home: &BuiltinRelay, expected: &BTreeSet<EventId>, limit: Duration) {
    let began = Instant::now();
    while home.event_ids() != *expected {
        if began.elapsed() > limit {
            let held = home.event_ids();
            let missing: Vec<_> = expected.difference(&held).take(5).collect();
            let surplus: Vec<_> = held.difference(expected).take(5).collect();
            panic!(
                "home holds {} of {} expected after {limit:?}; missing {missing:?}, surplus {surplus:?}",
                held.len(),
                expected.len()
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_world_comes_home_exactly() {
    let _ = tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).try_init();
    let now = Timestamp::now().as_secs();
    let upstreams = [relay(true).await, relay(true).await, relay(false).await];
    let urls: Vec<String> = upstreams.iter().map(BuiltinRelay::url).collect();
    let shape = Shape { repos: 20, roots: 100, replies: 400, seed: 1, now };
    let world = world::generate(&shape, &urls);
    for (relay, content) in upstreams.iter().zip(&world.upstreams) {
        relay.preload(content.events.clone());
    }
    let held: Vec<_> = upstreams.iter().map(|relay| (relay.url(), relay.events())).collect();
    let expected = reference::expected_home(&held, &urls[..1], &[], now);

    let home = relay(true).await;
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        bootstrap: vec![url(&upstreams[0])],
        allow_non_public: vec!["127.0.0.0/8".parse().unwrap()],
        discovery_window: Duration::from_millis(200),
        ..Config::with_home(Home::Relay(url(&home)), dir.path().to_owned())
    };
    let system = System::start_offline(&config, &url(&home)).await.unwrap();
    until_equal(&home, &expected, Duration::from_secs(30)).await;
    println!("{:#?}", system.status().await);
    system.stop().await;
}
