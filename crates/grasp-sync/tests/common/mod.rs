//! The stage of the end-to-end tests: relays on loopback, a project that people publish, and the system that keeps home complete.
//!
//! Tests meet everything here over sockets or through the embedding library; what the fixtures know of Nostr they do not
//! have from the code under test.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, unused_imports, reason = "each file of tests uses a part of the stage")]
#![allow(clippy::print_stdout, reason = "how long things took is for whoever reads the run")]

mod binary;
mod crowd;
pub(crate) mod deployment;
mod embedded;
mod project;
mod recorder;
mod relay;
pub(crate) mod story;

pub(crate) use binary::{Ended, GraspSync, Running, Said, recorded};
pub(crate) use crowd::Crowd;
pub(crate) use embedded::{Embedded, Totals};
pub(crate) use project::{Project, Signed, ids, noise};
pub(crate) use recorder::Recorder;
pub(crate) use relay::Relay;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use model::EventId;
use testkit::wait_for;

/// Far longer than anything here takes, even on a machine that is busy with something else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// Waits until `home` holds these events, and nothing else.
pub(crate) async fn until_home_holds(home: &Relay, expected: &BTreeSet<EventId>) {
    wait_for("home to hold exactly what it should", PATIENCE, || async {
        let held = home.held().await;
        if held == *expected { Ok(()) } else { Err(Difference::between(expected, &held)) }
    })
    .await;
}

/// Waits until `home` holds this event.
pub(crate) async fn until_home_has(home: &Relay, event: EventId) {
    wait_for("one event to come home", PATIENCE, || async {
        let held = home.held().await;
        if held.contains(&event) { Ok(()) } else { Err(held.len()) }
    })
    .await;
}

/// What a failed wait says.
#[derive(Debug)]
struct Difference {
    held: usize,
    expected: usize,
    missing: Vec<EventId>,
    surplus: Vec<EventId>,
}

impl Difference {
    fn between(expected: &BTreeSet<EventId>, held: &BTreeSet<EventId>) -> Self {
        Self {
            held: held.len(),
            expected: expected.len(),
            missing: expected.difference(held).take(5).copied().collect(),
            surplus: held.difference(expected).take(5).copied().collect(),
        }
    }
}

/// The present, in Unix seconds.
pub(crate) fn now() -> u64 {
    model::Timestamp::now().as_secs()
}

/// A comment on a project that lives on the upstream comes home, live. Says how long after the upstream had it.
pub(crate) async fn reply_arrives(project: &mut Project, upstream: &Relay, home: &Relay) -> Duration {
    let reply = project.reply(&format!("{:?}", Instant::now()));
    upstream.receives([&reply]).await;
    let published = Instant::now();
    until_home_has(home, reply.id).await;
    published.elapsed()
}
