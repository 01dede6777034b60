//! A made-up but correctly signed world of NIP-34 repositories on one to five upstreams, for
//! demonstrations and tests. The same shape gives the same bytes: it knows no clock, no chance and no IO.
//! It copies no real event, and shares no code with what it is used to judge.

mod conversation;
mod draft;
mod live;
mod noise;
mod oddities;
mod people;
pub mod reference;
mod repos;
#[cfg(test)]
mod tests;
mod text;
mod workshop;

use std::collections::BTreeSet;

use nostr::event::{Event, EventId};

use conversation::Conversation;
use workshop::Workshop;

/// A world has one upstream at least and this many at most.
pub const MOST_UPSTREAMS: usize = 5;

/// How large a world is, and which one of that size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Announced repositories.
    pub repos: usize,
    /// Patches (each of a series), pull requests and issues.
    pub roots: usize,
    /// Everything else that is said about repositories and roots.
    pub replies: usize,
    /// Another seed is another world: other keys, other texts, other places.
    pub seed: u64,
    /// Unix seconds; the history lies more than an hour and at most two years before it, oddities aside.
    pub now: u64,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            repos: 200,
            roots: 2_000,
            replies: 7_600,
            seed: 1,
            // Any moment does; a caller with a clock passes its own.
            now: 1_800_000_000,
        }
    }
}

/// What one upstream was sent, in the order of making. What it keeps of that says [`reference::held`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamWorld {
    /// As the caller gave it.
    pub url: String,
    /// Among them events that a relay refuses: expired, protected, ephemeral, deleted, superseded.
    pub events: Vec<Event>,
}

/// An event to be published once the history is at home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveEvent {
    /// Index of the upstream that it is published on.
    pub upstream: usize,
    /// Made at `now`.
    pub event: Event,
}

/// A generated world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    /// In the order of the given URLs; the first is the bootstrap.
    pub upstreams: Vec<UpstreamWorld>,
    /// To be published in this order, after the history.
    pub live: Vec<LiveEvent>,
    /// Events that have nothing to do with any repository and must never reach home.
    pub noise: BTreeSet<EventId>,
    /// The odd events by name, for tests that look for one of them.
    pub oddities: Vec<(&'static str, EventId)>,
}

/// Makes the world of this shape on these upstreams.
///
/// # Panics
/// When there are no upstreams or more than five, or roots or replies but no repository.
#[must_use]
pub fn generate(shape: &Shape, upstream_urls: &[String]) -> World {
    assert!((1..=MOST_UPSTREAMS).contains(&upstream_urls.len()), "a world has one to five upstreams");
    assert!(shape.repos > 0 || shape.roots + shape.replies == 0, "a conversation needs a repository");
    let mut workshop = Workshop::open(shape, upstream_urls);
    let repos = repos::announce_all(&mut workshop, shape.repos);
    let mut conversation = Conversation::new(&repos);
    conversation.add_roots(&mut workshop, shape.roots);
    conversation.add_replies(&mut workshop, shape.replies);
    let oddities = oddities::add(&mut workshop);
    let noise = noise::add(&mut workshop, shape.repos);
    let live = live::make(&mut workshop, &repos);
    World { upstreams: workshop.into_upstreams(), live, noise, oddities }
}
