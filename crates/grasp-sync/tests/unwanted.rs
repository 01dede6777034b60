//! What home gave up, refuses or may not have: it is not written, not named to others, and not downloaded again and again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "figures are for whoever reads the run")]

mod common;
#[path = "unwanted/cycles.rs"]
mod cycles;
#[path = "unwanted/deletions.rs"]
mod deletions;
#[path = "unwanted/named.rs"]
mod named;
#[path = "unwanted/private.rs"]
mod private;

use model::RelayUrl;
use testkit::HostileRelay;

use common::{Embedded, Signed};

fn url(relay: &HostileRelay) -> RelayUrl {
    RelayUrl::parse(&relay.url()).unwrap()
}

fn hold<'a>(relay: &HostileRelay, events: impl IntoIterator<Item = &'a Signed>) {
    relay.has_held(events.into_iter().map(|event| event.json.as_str()));
}

/// Starts the system again, so that every link begins fresh, and waits until it is settled: one whole cycle.
async fn another_cycle(system: &mut Embedded) {
    system.stop().await;
    let stopped = common::now();
    let what = "an outage that is too long to be caught up";
    testkit::wait_until(what, common::PATIENCE, || async { common::now() > stopped + 1 }).await;
    system.start().await;
    system.until_settled().await;
}
