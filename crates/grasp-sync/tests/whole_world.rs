//! A generated world, with everything odd that was ever seen in one, comes home exactly as a plain reading of the rules says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{Embedded, Relay, now, until_home_holds};
use grasp_sync::world::{self, Shape, reference};

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_world_comes_home_exactly_and_its_live_events_too() {
    let now = now();
    let upstreams = [Relay::counting().await, Relay::counting().await, Relay::counting_req_only().await];
    let urls: Vec<String> = upstreams.iter().map(Relay::url).collect();
    let shape = Shape { repos: 20, roots: 100, replies: 400, seed: 1, now };
    let world = world::generate(&shape, &urls);
    for (relay, content) in upstreams.iter().zip(world.upstreams) {
        relay.is_given(content.events);
    }
    let expected = |upstreams: &[Relay]| {
        let held: Vec<_> = upstreams.iter().map(|relay| (relay.url(), relay.events())).collect();
        reference::expected_home(&held, &urls[..1], &[], now)
    };
    let home = Relay::counting().await;
    let system = Embedded::keeping(&home).pulling_from([&upstreams[0]]).started().await;
    until_home_holds(&home, &expected(&upstreams)).await;
    for live in world.live {
        upstreams[live.upstream].is_given(vec![live.event]);
    }
    let whole = expected(&upstreams);
    until_home_holds(&home, &whole).await;
    // The world names other relays too, which nobody can reach.
    system.until_at_rest(&upstreams).await;
    until_home_holds(&home, &whole).await;
    assert!(world.noise.is_disjoint(&whole));
}
