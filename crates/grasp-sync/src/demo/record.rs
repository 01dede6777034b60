//! What the demonstration has shown, as facts: the one source of the table, the sentences and the JSON document.

use std::collections::BTreeSet;
use std::time::Duration;

use model::EventId;
use serde::Serialize;

use super::cast::Traffic;
use super::live::Arrival;
use super::view::{UpstreamView, View};
use super::watch::{ConfirmedAfter, Ended};
use crate::cli::SizeArgs;

/// Ids of missing and surplus events that are named; the rest is counted.
const IDS_NAMED: usize = 5;

/// The result. Names carry their units; times are in milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Record {
    pub(super) complete: bool,
    pub(super) interrupted: bool,
    pub(super) world: World,
    pub(super) discovery_window_ms: u64,
    /// From the start of the system until home was complete with history; nothing if it was not.
    pub(super) history_ms: Option<u64>,
    /// From the start of the demonstration, the making of the world included.
    pub(super) total_ms: u64,
    pub(super) home: HomeFacts,
    pub(super) upstreams: Vec<UpstreamFacts>,
    /// Announced relays that are none of the upstreams, by why they are down.
    pub(super) unreachable: Vec<Unreachable>,
    pub(super) live: Vec<LiveFacts>,
    pub(super) restart: Option<RestartFacts>,
}

/// The size of the world that was made up.
#[derive(Debug, Serialize)]
pub(super) struct World {
    pub(super) repos: usize,
    pub(super) roots: usize,
    pub(super) replies: usize,
    pub(super) seed: u64,
    /// Events that the upstreams serve, each counted once for every upstream; the live ones are not among them.
    pub(super) events_served: usize,
    pub(super) made_ms: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct HomeFacts {
    pub(super) url: String,
    pub(super) expected: usize,
    pub(super) held: usize,
    pub(super) missing: usize,
    pub(super) surplus: usize,
    /// The first few of them.
    pub(super) missing_ids: Vec<EventId>,
    pub(super) surplus_ids: Vec<EventId>,
}

#[derive(Debug, Serialize)]
pub(super) struct UpstreamFacts {
    pub(super) url: String,
    pub(super) found_by: Option<&'static str>,
    pub(super) method: Option<&'static str>,
    pub(super) items_wanted: u64,
    pub(super) items_pending: u64,
    pub(super) items_confirmed: u64,
    /// EVENT frames read, and those among them that were not known before.
    pub(super) events_read: u64,
    pub(super) events_new: u64,
    pub(super) bytes_read: u64,
    pub(super) bytes_written: u64,
    /// From the start of the system until all items of its history were confirmed.
    pub(super) confirmed_after_ms: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Unreachable {
    pub(super) reason: &'static str,
    pub(super) relays: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct LiveFacts {
    pub(super) what: String,
    pub(super) kind: u16,
    pub(super) upstream: String,
    /// From the upstream's OK until home served it; nothing if it did not in time.
    pub(super) at_home_after_ms: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct RestartFacts {
    pub(super) complete: bool,
    /// EVENT messages that the upstreams sent after the restart: of known events, and for each filter and page anew.
    pub(super) events_downloaded: u64,
    /// EVENT messages that home was sent after the restart.
    pub(super) events_offered_to_home: u64,
    pub(super) settled_after_ms: Option<u64>,
}

impl Record {
    /// An empty one: nothing has been shown yet.
    pub(super) fn of(size: SizeArgs, made: (usize, Duration)) -> Self {
        let (events_served, made_in) = made;
        let SizeArgs { repos, roots, replies, seed } = size;
        Self {
            complete: false,
            interrupted: false,
            world: World { repos, roots, replies, seed, events_served, made_ms: ms(made_in) },
            discovery_window_ms: ms(super::cast::DISCOVERY_WINDOW),
            history_ms: None,
            total_ms: 0,
            home: HomeFacts::of(String::new(), &BTreeSet::new(), &BTreeSet::new()),
            upstreams: Vec::new(),
            unreachable: Vec::new(),
            live: Vec::new(),
            restart: None,
        }
    }

    /// How the sync of history ended.
    pub(super) fn keep_history(&mut self, ended: Ended, view: &View, confirmed_after: &ConfirmedAfter) {
        self.history_ms = after(ended);
        self.keep(ended, view);
        for (facts, after) in self.upstreams.iter_mut().zip(confirmed_after) {
            facts.confirmed_after_ms = after.map(ms);
        }
    }

    /// How a stage ended, and the figures of every upstream; the times of history stay.
    pub(super) fn keep(&mut self, ended: Ended, view: &View) {
        self.complete = after(ended).is_some();
        self.interrupted = ended == Ended::Interrupted;
        let times: Vec<Option<u64>> = self.upstreams.iter().map(|facts| facts.confirmed_after_ms).collect();
        self.upstreams = view.upstreams.iter().map(UpstreamFacts::of).collect();
        for (facts, time) in self.upstreams.iter_mut().zip(times) {
            facts.confirmed_after_ms = time;
        }
        let elsewhere = view.elsewhere.iter();
        self.unreachable = elsewhere.map(|(reason, relays)| Unreachable { reason, relays: *relays }).collect();
    }

    pub(super) fn keep_arrival(&mut self, arrival: &Arrival) {
        self.live.push(LiveFacts {
            what: arrival.what.clone(),
            kind: arrival.kind,
            upstream: arrival.upstream.to_string(),
            at_home_after_ms: arrival.after.map(ms),
        });
    }

    pub(super) fn keep_restart(&mut self, ended: Ended, traffic: Traffic) {
        self.complete &= after(ended).is_some();
        self.interrupted = ended == Ended::Interrupted;
        self.restart = Some(RestartFacts {
            complete: after(ended).is_some(),
            events_downloaded: traffic.downloaded,
            events_offered_to_home: traffic.offered,
            settled_after_ms: after(ended),
        });
    }
}

impl HomeFacts {
    pub(super) fn of(url: String, expected: &BTreeSet<EventId>, held: &BTreeSet<EventId>) -> Self {
        let few = |one: &BTreeSet<EventId>, other| one.difference(other).take(IDS_NAMED).copied().collect();
        Self {
            url,
            expected: expected.len(),
            held: held.len(),
            missing: expected.difference(held).count(),
            surplus: held.difference(expected).count(),
            missing_ids: few(expected, held),
            surplus_ids: few(held, expected),
        }
    }

    pub(super) fn is_exact(&self) -> bool {
        self.missing == 0 && self.surplus == 0
    }
}

impl UpstreamFacts {
    fn of(view: &UpstreamView) -> Self {
        let ([items_wanted, items_pending, items_confirmed], counts) = (view.items(), view.counts());
        Self {
            url: view.url.to_string(),
            found_by: view.found_by(),
            method: view.method(),
            items_wanted,
            items_pending,
            items_confirmed,
            events_read: counts.events,
            events_new: counts.fresh,
            bytes_read: counts.bytes_in,
            bytes_written: counts.bytes_out,
            confirmed_after_ms: None,
        }
    }
}

fn after(ended: Ended) -> Option<u64> {
    match ended {
        Ended::Complete(after) => Some(ms(after)),
        Ended::Late | Ended::Interrupted => None,
    }
}

/// Milliseconds; more than 64 bits of them is for ever.
pub(super) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
