//! Figures of the whole system, made of its status: how complete it is, how far behind, what waits. Labels are closed sets; what
//! names an upstream is in [`crate::page`], behind its token.
//!
//! Every process that keeps the state says them: of several replicas, each says the same.

use std::sync::LazyLock;

use engine::room::Room;
use model::{DownClass, LinkView, Nip77, Role, Status, Timestamp, UpstreamStatus};
use opentelemetry::metrics::Gauge;
use opentelemetry::{KeyValue, global};

use crate::overview::{Overview, State, Verdict, since};

static COMPLETE: LazyLock<Gauge<u64>> =
    LazyLock::new(|| gauge("grasp_sync.complete", "1 while home is complete and every link live, else 0"));
static ITEMS: LazyLock<Gauge<u64>> = LazyLock::new(|| gauge("grasp_sync.items", "items on upstreams, by state"));
static UPSTREAMS: LazyLock<Gauge<u64>> = LazyLock::new(|| gauge("grasp_sync.upstreams", "upstreams, by where they stand"));
static METHODS: LazyLock<Gauge<u64>> =
    LazyLock::new(|| gauge("grasp_sync.methods", "upstreams that count, by how their history is read"));
static UNREAD: LazyLock<Gauge<u64>> =
    LazyLock::new(|| gauge("grasp_sync.unread", "upstreams that count and that no link has caught up with yet"));
static FAILING: LazyLock<Gauge<u64>> =
    LazyLock::new(|| gauge("grasp_sync.failing", "upstreams that count and whose last link failed, by how"));
static ALLOWED: LazyLock<Gauge<u64>> = LazyLock::new(|| {
    gauge("grasp_sync.subscriptions.allowed", "live subscriptions that upstreams with a link may have, all together")
});
static BEHIND: LazyLock<Gauge<u64>> = LazyLock::new(|| {
    let meter = global::meter("grasp-sync");
    let built = meter.u64_gauge("grasp_sync.behind").with_unit("s");
    built.with_description("how far the upstream is behind that is furthest, of those that were ever read").build()
});
static WAITING: LazyLock<Gauge<u64>> =
    LazyLock::new(|| gauge("grasp_sync.home.waiting", "events that wait to be written to home"));
static TAKEN: LazyLock<Gauge<u64>> =
    LazyLock::new(|| gauge("grasp_sync.home.taken", "events that home gave its final word on in the last minute"));
static LIMITED: LazyLock<Gauge<u64>> =
    LazyLock::new(|| gauge("grasp_sync.home.limited", "1 while home refuses writes for their rate, else 0"));

const STATES: [State; 7] =
    [State::Covered, State::Reading, State::Waiting, State::Down, State::New, State::Refused, State::Unlisted];
/// Of a label `method`: what [`method`] answers.
const METHOD_WORDS: [&str; 3] = ["negentropy", "REQ", "not-known"];

fn gauge(name: &'static str, description: &'static str) -> Gauge<u64> {
    global::meter("grasp-sync").u64_gauge(name).with_description(description).build()
}

/// Says the figures of this moment; `live_limit` is our own limit of live subscriptions on one upstream (S14).
pub(crate) fn tell(status: &Status, overview: &Overview, (now, live_limit): (Timestamp, usize)) {
    COMPLETE.record((overview.verdict == Verdict::Complete).into(), &[]);
    for (state, count) in [("wanted", overview.wanted), ("pending", overview.pending), ("confirmed", overview.confirmed)] {
        ITEMS.record(count, &[KeyValue::new("state", state)]);
    }
    let upstreams: Vec<&UpstreamStatus> = status.upstreams.iter().filter(|one| one.role != Role::Home).collect();
    for state in STATES {
        let count = upstreams.iter().filter(|one| State::of(one) == state).count();
        UPSTREAMS.record(count as u64, &[KeyValue::new("state", state.as_str())]);
    }
    let counted: Vec<&UpstreamStatus> = upstreams.into_iter().filter(|one| State::of(one).counts()).collect();
    for word in METHOD_WORDS {
        let count = counted.iter().filter(|one| method(one) == word).count();
        METHODS.record(count as u64, &[KeyValue::new("method", word)]);
    }
    UNREAD.record(counted.iter().filter(|one| one.good_to.is_none()).count() as u64, &[]);
    BEHIND.record(counted.iter().filter_map(|one| one.good_to).map(|at| since(at, now)).max().unwrap_or_default(), &[]);
    for class in DownClass::ALL {
        let count = counted.iter().filter(|one| one.failures > 0 && one.last_down == Some(class)).count();
        FAILING.record(count as u64, &[KeyValue::new("why", class.as_str())]);
    }
    let linked = counted.iter().filter(|one| matches!(one.link, LinkView::Up { .. }));
    ALLOWED.record(linked.map(|one| Room::of(&one.learned).live_limit(live_limit) as u64).sum(), &[]);
    WAITING.record(status.writes.waiting, &[]);
    TAKEN.record(status.writes.per_minute, &[]);
    LIMITED.record(status.writes.is_limited.into(), &[]);
}

fn method(upstream: &UpstreamStatus) -> &'static str {
    match upstream.learned.nip77 {
        Some(Nip77::Works { .. }) => METHOD_WORDS[0],
        Some(Nip77::Refused { .. }) => METHOD_WORDS[1],
        None => METHOD_WORDS[2],
    }
}
