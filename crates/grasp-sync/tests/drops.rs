//! A hundred connections are dropped at random while a history comes home and people publish: nothing is lost, and what came
//! once does not come again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "seed and figures are for whoever reads the run")]

mod common;

use std::collections::BTreeSet;
use std::env;
use std::time::{Duration, Instant};

use common::{Crowd, Embedded, Recorder, Relay, Signed, ids};
use futures_util::future::join_all;
use model::{EventId, RelayUrl, Role, Status, UpstreamStatus};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use testkit::hostile::{Behaviour, HostileRelay};
use testkit::{ChaosProxy, wait_for, wait_until};

/// A link is made again a few seconds after a drop at the soonest, and later each time if it has ended no batch in between: so
/// the drops are shared by many.
const UPSTREAMS: u32 = 50;
const DROPS_EACH: u32 = 2;
/// `GRASP_SYNC_TEST_EVENTS` is another size.
const EVENTS: usize = 20_000;
/// Of each repository.
const COMMENTS: usize = 4;

/// From the last drop to the end: a link that was dropped again and again before it ended a batch waits longer each time.
const LIMIT: Duration = Duration::from_secs(180);
/// Events in flight at a drop: a chunk of the proxy, which the client's side of a reset connection may never read.
const IN_FLIGHT: u64 = 16 * 1024 / 400;

/// An upstream whose network breaks, with what it has held all along and what it got meanwhile.
struct Shaky {
    relay: Relay,
    proxy: ChaosProxy,
    recorder: Recorder,
    crowd: Crowd,
    news: Vec<Signed>,
    /// Drops before its history was read.
    in_time: u32,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_drops_during_a_backfill_lose_nothing_and_take_no_history_twice() {
    let events = number("GRASP_SYNC_TEST_EVENTS").map_or(EVENTS, |events| usize::try_from(events).unwrap());
    let seed = number("GRASP_SYNC_TEST_SEED").unwrap_or_else(rand::random);
    println!("GRASP_SYNC_TEST_SEED={seed} GRASP_SYNC_TEST_EVENTS={events}");
    let home = Relay::counting().await;
    let mut upstreams = Vec::new();
    for number in 1..=UPSTREAMS {
        upstreams.push(Shaky::number(number, events).await);
    }
    let urls: Vec<String> = upstreams.iter().map(|upstream| upstream.recorder.url()).collect();
    let began = Instant::now();
    let system = Embedded::keeping(&home).pulling_from_urls(&urls).started().await;
    let mut dice = StdRng::seed_from_u64(seed);
    let upstreams = join_all(upstreams.into_iter().map(|upstream| upstream.with_drops(dice.random()))).await;
    println!("the last drop was after {:?}", began.elapsed());
    let expected = ids(upstreams.iter().flat_map(|upstream| upstream.crowd.events().chain(&upstream.news)));
    wait_for("everything to be at home", LIMIT, || async {
        let held = home.held().await;
        if held == expected { Ok(()) } else { Err(gaps(&upstreams, &held, &system.status().await)) }
    })
    .await;
    system.until_settled().await;
    println!("all {} events were at home after {:?}", expected.len(), began.elapsed());
    let in_time: u32 = upstreams.iter().map(|upstream| upstream.in_time).sum();
    println!("{in_time} of {} drops were during the backfill", UPSTREAMS * DROPS_EACH);
    assert!(in_time >= UPSTREAMS * DROPS_EACH * 8 / 10, "{in_time}");
    let taken: u64 =
        system.status().await.upstreams.iter().filter(|one| one.role != Role::Home).map(|one| one.counts.events).sum();
    println!("the books have {taken} events taken from upstreams");
    let history: u64 = upstreams.iter().map(|upstream| upstream.reads_again(upstream.crowd.events())).sum();
    let news: u64 = upstreams.iter().map(|upstream| upstream.reads_again(&upstream.news)).sum();
    println!("on the wire {history} events of the history came again, and {news} of the present");
    // What the system took from its sockets it took once, and again only what it asks for by time.
    assert!(taken <= expected.len() as u64 + news, "{taken} taken of {}", expected.len());
    assert!(history <= IN_FLIGHT * u64::from(UPSTREAMS * DROPS_EACH), "{history}");
    // Each link asks for the last quarter of an hour by pages (S9), which read their oldest second twice.
    let news_of_all = u64::from(UPSTREAMS * 2 * DROPS_EACH);
    assert!(news <= news_of_all * u64::from(2 + 2 * DROPS_EACH), "{news}");
}

/// What a failed wait says: upstreams with events that home lacks, how many of the history and of the news, and their status.
fn gaps(upstreams: &[Shaky], held: &BTreeSet<EventId>, status: &Status) -> Vec<(usize, usize, Option<UpstreamStatus>)> {
    let lacking = |events: &BTreeSet<EventId>| events.difference(held).count();
    let gap = |upstream: &Shaky| {
        let url = RelayUrl::parse(&upstream.recorder.url()).unwrap();
        let known = status.upstreams.iter().find(|one| one.url == url).cloned();
        (lacking(&upstream.crowd.ids()), lacking(&ids(&upstream.news)), known)
    };
    upstreams.iter().map(gap).filter(|(history, news, _)| history + news > 0).collect()
}

impl Shaky {
    /// Its part of the history, behind a line that is slow enough to be cut in the middle of it.
    async fn number(number: u32, events: usize) -> Self {
        let relay = Relay::counting().await;
        let proxy = ChaosProxy::start(&relay.url()).await;
        proxy.delay(Duration::from_millis(20));
        let recorder = Recorder::in_front_of(proxy.addr()).await;
        let repositories = events / (1 + COMMENTS) / UPSTREAMS as usize;
        let crowd = Crowd::by_author(100 + number, repositories, COMMENTS, &[recorder.url()]);
        relay.has_held(crowd.events()).await;
        Self { relay, proxy, recorder, crowd, news: Vec::new(), in_time: 0 }
    }

    /// Dropped again and again, each time after a part of the history has passed; somebody publishes just before, and while
    /// the line is down.
    async fn with_drops(mut self, seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let bytes: usize = self.crowd.events().map(|event| event.json.len()).sum();
        let part = bytes as u64 / (2 * u64::from(DROPS_EACH));
        for drop in 0..DROPS_EACH {
            let next = self.proxy.bytes_to_client() + dice.random_range(1..part);
            wait_until("the next part of the history", LIMIT, || async { self.proxy.bytes_to_client() >= next }).await;
            self.gets_news(&format!("before drop {drop}")).await;
            self.in_time += u32::from(self.history_read() < self.crowd.ids().len());
            self.proxy.cut();
            self.gets_news(&format!("after drop {drop}")).await;
        }
        self
    }

    async fn gets_news(&mut self, text: &str) {
        let comment = self.crowd.comment(text);
        self.relay.receives([&comment]).await;
        self.news.push(comment);
    }

    fn history_read(&self) -> usize {
        let seen = self.recorder.seen();
        self.crowd.events().filter(|event| seen.contains_key(&event.id.to_hex())).count()
    }

    /// How often any of these events, each of which was read, was read once more.
    fn reads_again<'a>(&self, events: impl IntoIterator<Item = &'a Signed>) -> u64 {
        let seen = self.recorder.seen();
        events.into_iter().map(|event| seen[&event.id.to_hex()] as u64 - 1).sum()
    }
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_home_has_no_answer_for_when_a_link_drops_is_awaited_and_not_read_again() {
    let home = HostileRelay::start([Behaviour::LateOk(Duration::from_millis(400))]).await;
    let relay = Relay::counting().await;
    let proxy = ChaosProxy::start(&relay.url()).await;
    let recorder = Recorder::in_front_of(proxy.addr()).await;
    let crowd = Crowd::of(2, 30, &[recorder.url()]);
    relay.has_held(crowd.events()).await;
    let all = crowd.ids().len();
    let system =
        Embedded::keeping_url(RelayUrl::parse(&home.url()).unwrap()).pulling_from_urls(&[recorder.url()]).started().await;
    wait_until("everything to be read", LIMIT, || async { recorder.seen().len() == all }).await;
    let before = proxy.connections();
    proxy.cut();
    wait_until("the next link", LIMIT, || async { proxy.connections() > before }).await;
    let held = home.held_ids().len();
    assert!(held < all - 10, "home was too fast for this test: {held}");
    system.until_settled().await;
    assert_eq!(home.held_ids().len(), all);
    let twice: Vec<(String, usize)> = recorder.seen().into_iter().filter(|(_, times)| *times > 1).collect();
    assert_eq!(twice, [], "read again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_five_upstreams_have_alike_is_read_from_one_of_them() {
    let home = Relay::counting().await;
    let (mut relays, mut recorders) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let relay = Relay::counting().await;
        let addr = relay.url().trim_start_matches("ws://").trim_end_matches('/').to_owned();
        recorders.push(Recorder::in_front_of(addr).await);
        relays.push(relay);
    }
    let urls: Vec<String> = recorders.iter().map(Recorder::url).collect();
    let crowd = Crowd::of(30, 30, &urls);
    for relay in &relays {
        relay.has_held(crowd.events()).await;
    }
    let system = Embedded::keeping(&home).pulling_from_urls(&urls).started().await;
    system.until_settled().await;
    assert_eq!(home.held().await, crowd.ids());
    let read: usize = recorders.iter().map(|recorder| recorder.seen().values().sum::<usize>()).sum();
    println!("{read} events were read for {}", crowd.ids().len());
    assert!(read <= crowd.ids().len() * 21 / 20, "{read}");
}
