//! What every combination of relays must live through.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use model::{EventId, Resume};

use super::{Embedded, PATIENCE, Project, Relay, Signed, ids, noise, now, until_home_has, until_home_holds};

/// Comments in a history: more than a page of any capped relay holds.
const COMMENTS: usize = 90;
/// From the publisher's OK to home: 2 s is what people are promised, the rest is for a machine that is busy.
const LIVE_LIMIT: Duration = Duration::from_secs(10);
/// From the new connection to the last event of the absence.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(30);

/// History, discovery, live events, and nothing else: `near` is known from the start, `far` only through the announcement.
pub(crate) async fn comes_home(home: &Relay, near: &Relay, far: &Relay) {
    let mut project = Project::named("tools");
    let history = project.history(&[near.url(), far.url()], COMMENTS);
    publish_history(&history, near, far).await;
    let system = Embedded::keeping(home).pulling_from([near]).started().await;
    let mut expected = ids(&history);
    until_home_holds(home, &expected).await;
    system.until_confirmed(far).await;
    system.until_settled().await;
    project.in_the_present();
    expected.extend(live_events_arrive(&mut project, home, [near, far]).await);
    system.until_settled().await;
    until_home_holds(home, &expected).await;
}

/// The announcement is on `near` alone; the rest is spread, with an overlap, amid noise.
async fn publish_history(history: &[Signed], near: &Relay, far: &Relay) {
    let (announcement, rest) = history.split_first().expect("a history begins with its announcement");
    let on = |skipped: usize| rest.iter().enumerate().filter(move |(number, _)| number % 3 != skipped).map(|(_, event)| event);
    let noise = noise(now() - 3600);
    near.receives(std::iter::once(announcement).chain(on(0)).chain(&noise)).await;
    far.receives(on(1).chain(&noise)).await;
}

/// A new issue on each upstream, a comment on it, a comment on an old root; noise comes first. Says how long each took.
async fn live_events_arrive(project: &mut Project, home: &Relay, upstreams: [&Relay; 2]) -> BTreeSet<EventId> {
    let old_issue = project.first_issue();
    let mut published = Vec::new();
    for upstream in upstreams {
        upstream.receives(&noise(now())).await;
        let comment = project.comment_on(&old_issue, &format!("still so on {}", upstream.url()));
        let issue = project.issue(&format!("another one on {}", upstream.url()));
        let comment_on_it = project.comment_on(&issue, "me too");
        for (what, event) in [("a comment", comment), ("an issue", issue), ("a comment on the new issue", comment_on_it)] {
            arrives_live(what, &event, upstream, home).await;
            published.push(event);
        }
    }
    ids(&published)
}

async fn arrives_live(what: &str, event: &Signed, upstream: &Relay, home: &Relay) {
    upstream.receives([event]).await;
    let published = Instant::now();
    until_home_has(home, event.id).await;
    let took = published.elapsed();
    println!("{what} from {} was at home after {took:?}", upstream.url());
    assert!(took < testkit::stretched(LIVE_LIMIT), "{what} took {took:?}");
}

/// Our own restart asks for nothing that is confirmed: not one event comes twice.
pub(crate) async fn our_restart_fetches_nothing_twice(home: &Relay, upstreams: &[Relay]) {
    let (mut project, mut system, mut expected) = settled(home, upstreams, Duration::from_mins(15)).await;
    let before = Account::of(&system, upstreams).await;
    system.stop().await;
    system.start().await;
    system.until_settled().await;
    project.in_the_present();
    for upstream in upstreams {
        // It answers one filter, so it is one frame. Once it is here, nothing older is still on its way.
        let quote = project.quote_of_repository(&format!("seen on {}", upstream.url()));
        arrives_live("a quote", &quote, upstream, home).await;
        expected.insert(quote.id);
    }
    let after = testkit::wait_for("every quote to be on the books", PATIENCE, || async {
        let after = Account::of(&system, upstreams).await;
        if after.events_since(&before).contains(&0) { Err(after) } else { Ok(after) }
    })
    .await;
    assert_eq!(after.confirmed, before.confirmed, "what was confirmed stays so");
    assert_eq!(after.events_since(&before), vec![1; upstreams.len()], "the quote, and nothing twice");
    until_home_holds(home, &expected).await;
}

/// Upstreams that were away for less than a quick reconnect are asked for the time of their absence only.
pub(crate) async fn a_short_outage_is_caught_up(home: &Relay, upstreams: &mut [Relay]) {
    let (project, system, expected) = settled(home, upstreams, Duration::from_mins(15)).await;
    let before = Account::of(&system, upstreams).await;
    let history = expected.len() as u64;
    let gap = an_outage(project, &system, expected, home, upstreams).await;
    for upstream in upstreams.iter() {
        let resume = system.resume(upstream).await;
        assert!(matches!(resume, Resume::CatchUp { .. }), "{}: {resume:?}", upstream.url());
    }
    let after = Account::of(&system, upstreams).await;
    // An event of the gap may come live, from the store, and once more where its second is read again; where it tags a new
    // root, the same three ways by that root's own filters. The history, which is larger than that, does not come.
    let most = 6 * gap;
    assert!(history > most, "the history of {history} is larger than the bound");
    assert!(after.events_since(&before).iter().all(|events| *events <= most), "{before:?} {after:?}, a gap of {gap}");
}

/// Upstreams that were away for longer start over: complete, and by NIP-77 nothing known is downloaded again.
pub(crate) async fn a_long_outage_starts_over(home: &Relay, upstreams: &mut [Relay]) {
    let (project, system, expected) = settled(home, upstreams, Duration::from_secs(1)).await;
    let before = Account::of(&system, upstreams).await;
    let gap = an_outage(project, &system, expected, home, upstreams).await;
    let after = Account::of(&system, upstreams).await;
    for (upstream, events) in upstreams.iter().zip(after.events_since(&before)) {
        assert_eq!(system.resume(upstream).await, Resume::Fresh, "{}", upstream.url());
        if upstream.speaks_negentropy() {
            assert_eq!(events, gap, "{}: the events of the gap, each once", upstream.url());
        }
    }
}

/// A system whose upstreams all hold one history, which is at home.
async fn settled(home: &Relay, upstreams: &[Relay], quick_reconnect: Duration) -> (Project, Embedded, BTreeSet<EventId>) {
    let mut project = Project::named("tools");
    let urls: Vec<String> = upstreams.iter().map(Relay::url).collect();
    let history = project.history(&urls, COMMENTS);
    for upstream in upstreams {
        upstream.has_held(&history).await;
    }
    let system = Embedded::keeping(home).pulling_from(upstreams).with_quick_reconnect(quick_reconnect).started().await;
    let expected = ids(&history);
    until_home_holds(home, &expected).await;
    system.until_settled().await;
    (project, system, expected)
}

/// Every upstream goes down and comes back with events that nobody else has, which come home in time. Answers how many
/// each upstream had.
async fn an_outage(
    mut project: Project,
    system: &Embedded,
    mut expected: BTreeSet<EventId>,
    home: &Relay,
    upstreams: &mut [Relay],
) -> u64 {
    project.in_the_present();
    for upstream in upstreams.iter_mut() {
        upstream.goes_down().await;
        system.until_down(upstream).await;
        let mut meanwhile: Vec<Signed> =
            (0..3).map(|number| project.patch(&format!("{number} on {}", upstream.url()))).collect();
        meanwhile.extend((0..10).map(|number| project.reply(&format!("{number} on {}", upstream.url()))));
        expected.extend(ids(&meanwhile));
        upstream.comes_back_with(&meanwhile).await;
    }
    for upstream in upstreams.iter() {
        system.until_up(upstream).await;
    }
    let reconnected = Instant::now();
    until_home_holds(home, &expected).await;
    let took = reconnected.elapsed();
    println!("the events of the outage were at home {took:?} after the last upstream was connected again");
    assert!(took < testkit::stretched(CATCH_UP_LIMIT), "{took:?}");
    system.until_settled().await;
    13
}

/// What is on the books of a system, per upstream.
#[derive(Debug)]
struct Account {
    confirmed: Vec<u64>,
    /// EVENT frames read, ever.
    events: Vec<u64>,
}

impl Account {
    async fn of(system: &Embedded, upstreams: &[Relay]) -> Self {
        let mut account = Self { confirmed: Vec::new(), events: Vec::new() };
        for upstream in upstreams {
            let known = system.upstream(upstream).await;
            account.confirmed.push(known.confirmed);
            account.events.push(known.counts.events);
        }
        account
    }

    fn events_since(&self, earlier: &Self) -> Vec<u64> {
        self.events.iter().zip(&earlier.events).map(|(later, earlier)| later - earlier).collect()
    }
}
