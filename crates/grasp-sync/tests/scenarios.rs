//! Situations that every build must win, on real sockets: those of paging, exchanges, limits and crowds. Those of restarts and
//! outages are in `restarts.rs`, of announcements in `discovery.rs`, of upstreams that misbehave in `hostile.rs`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "figures are for whoever reads the run")]

mod common;

use std::time::{Duration, Instant};

use common::{Crowd, Embedded, Project, Relay, Signed, ids, until_home_has, until_home_holds};
use grasp_sync::builtin_relay::Traffic;
use model::{Arrangement, LimitFrom, LimitShown, Nip77, Resume, Role, UpstreamStatus};
use serde_json::Value;
use testkit::hostile::{Behaviour, Refusal};
use testkit::{HostileRelay, Publisher, wait_for, wait_until};

/// What an upstream needs to hold so that it is asked for everything that there is.
fn hold(relay: &HostileRelay, events: &[Signed]) {
    relay.has_held(events.iter().map(|event| event.json.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_01_a_rate_limit_inside_a_page_pauses_that_upstream_alone() {
    let (home, healthy) = (Relay::counting().await, Relay::counting().await);
    let limiting = HostileRelay::start([Behaviour::NoticesOnceInside(250, "rate-limited: slow down")]).await;
    let mut project = Project::named("healthy");
    let history = project.history(&[healthy.url()], 50);
    healthy.has_held(&history).await;
    let crowd = Crowd::of(1, 700, &[limiting.url()]);
    hold(&limiting, &crowd.events().cloned().collect::<Vec<_>>());
    home.has_held(&crowd.announcements).await;
    let began = Instant::now();
    let system = Embedded::keeping(&home).pulling_from([&healthy]).started().await;
    system.until_confirmed(&healthy).await;
    project.in_the_present();
    let reply = project.reply("meanwhile");
    healthy.receives([&reply]).await;
    let published = Instant::now();
    until_home_has(&home, reply.id).await;
    let live = published.elapsed();
    until_home_holds(&home, &ids(crowd.events().chain(&history).chain([&reply]))).await;
    let all = began.elapsed();
    println!("the other upstream's event took {live:?}, everything of the limiting one {all:?}");
    assert!(live < Duration::from_secs(2), "{live:?}");
    // 8 s until the relay's silence about NIP-77 counts as a refusal, a pause of 5 s, and 10 s.
    assert!(all < Duration::from_secs(8 + 5 + 10), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_05_what_home_may_not_have_is_not_fetched_again_by_a_fresh_start() {
    let (home, upstream) = (Relay::counting().await, Relay::local().await);
    let crowd = Crowd::of(10, 3, &[upstream.url()]);
    let author = Publisher::new(&"8".repeat(64));
    let long_ago = common::now() - 20 * 24 * 3600;
    // Protected (NIP-70): they are named, and never offered to home.
    let announce = |number: u64| author.sign(30617, long_ago + number, &[&["d", &format!("{number}")], &["-"]], "").into();
    let protected: Vec<Signed> = (0..990).map(announce).collect();
    upstream.has_held(crowd.events().chain(&protected)).await;
    let mut system = Embedded::keeping(&home).pulling_from([&upstream]).with_quick_reconnect(Duration::ZERO).started().await;
    system.until_settled().await;
    until_home_holds(&home, &crowd.ids()).await;
    let first = system.upstream(&upstream).await;
    assert!(matches!(first.learned.nip77, Some(Nip77::Works { .. })), "{:?}", first.learned);
    assert_eq!(first.counts.events, 1_030);
    system.stop().await;
    let stopped = common::now();
    wait_until("an outage that is too long to be caught up", common::PATIENCE, || async { common::now() > stopped + 1 }).await;
    system.start().await;
    system.until_up(&upstream).await;
    system.until_settled().await;
    let again = system.upstream(&upstream).await;
    assert_eq!(system.resume(&upstream).await, Resume::Fresh);
    let (events, rounds) = (again.counts.events - first.counts.events, again.counts.rounds - first.counts.rounds);
    println!("the second start: {events} events, {rounds} rounds");
    assert_eq!(events, 0);
    // Layer 1, and the three filters of the repositories.
    assert!((1..=3 * 4).contains(&rounds), "{rounds} rounds");
    assert!(matches!(again.learned.nip77, Some(Nip77::Works { .. })), "{:?}", again.learned);
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_06_the_oldest_of_2000_announcements_are_found_at_every_page_cap() {
    let home = Relay::counting().await;
    let caps = [50, 100, 250, 500];
    let author = Publisher::new(&"8".repeat(64));
    let long_ago = common::now() - 20 * 24 * 3600;
    let sign = |number: u64| author.sign(30617, long_ago + number, &[&["d", &format!("{number}")]], "").into();
    let announcements: Vec<Signed> = (0..2_000).map(sign).collect();
    let mut relays = Vec::new();
    for cap in caps {
        // NIP-77 is refused at once: it is the pages that count here.
        let negentropy = Behaviour::Negentropy(testkit::hostile::Negentropy::Error("blocked: no"));
        relays.push(HostileRelay::start([Behaviour::PageCap(cap), negentropy]).await);
        hold(&relays[relays.len() - 1], &announcements);
    }
    let urls: Vec<String> = relays.iter().map(HostileRelay::url).collect();
    let system = Embedded::keeping(&home).pulling_from_urls(&urls).started().await;
    until_home_holds(&home, &ids(&announcements)).await;
    system
        .until("layer 1 to be confirmed everywhere", common::PATIENCE, |status| {
            status.upstreams.iter().filter(|one| one.role == Role::Bootstrap && is_up(one)).count() == caps.len()
        })
        .await;
    for (cap, relay) in caps.iter().zip(&relays) {
        let pages = relay.heard().iter().filter(|message| is_page_of_announcements(message)).count();
        println!("cap {cap}: {pages} pages");
        // Every page reads the oldest second of the one before again, and here each second has one event.
        assert!(pages <= 2_000_usize.div_ceil(*cap - 1) + 2, "{pages} pages at a cap of {cap}");
    }
}

fn is_page_of_announcements(message: &Value) -> bool {
    message[0] == "REQ" && message[2]["limit"] != 0 && message[2]["kinds"].to_string().contains("30617")
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_06_a_second_that_no_page_holds_is_a_gap_that_status_tells() {
    let home = Relay::counting().await;
    let relay = HostileRelay::start([Behaviour::PageCap(500)]).await;
    let crowd = Crowd::of(1, 600, &[relay.url()]);
    hold(&relay, &crowd.events().cloned().collect::<Vec<_>>());
    home.has_held(&crowd.announcements).await;
    let url = model::RelayUrl::parse(&relay.url()).unwrap();
    let system = Embedded::keeping(&home).started().await;
    let is_told = |one: &UpstreamStatus| {
        one.url == url
            && one.wanted + one.pending > 0
            && one.incomplete.as_ref().is_some_and(|why| why.contains("dense-second"))
    };
    system.until("the gap to be told", common::PATIENCE, |status| status.upstreams.iter().any(is_told)).await;
    assert!(home.held().await.len() >= 500, "what can be had is at home");
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_07_a_limit_of_20_subscriptions_costs_nothing_that_is_published() {
    let home = Relay::counting().await;
    // Refused by a NOTICE, which names no subscription, or not at all: see `hostile.rs`. There a page that was not opened costs
    // its idle limit.
    let refusal = Refusal::Closed("error: too many subscriptions");
    let relay = HostileRelay::start([Behaviour::AtMostSubscriptions(20, refusal)]).await;
    // 5 chunks of repositories and 1 of roots, each with 3 live subscriptions, and layer 1: 19, and pages beside them.
    let crowd = Crowd::by_author(11, 450, 1, &[relay.url()]);
    let issue = crowd.issue("it does not start");
    let events: Vec<Signed> = crowd.events().chain([&issue]).cloned().collect();
    hold(&relay, &events);
    home.has_held(&crowd.announcements).await;
    let system = Embedded::keeping(&home).pulling_from_urls(&[relay.url()]).started().await;
    system.until_settled().await;
    let live = crowd.comment("published");
    relay.publishes(&live.json);
    let published = Instant::now();
    until_home_has(&home, live.id).await;
    println!("the comment took {:?}", published.elapsed());
    until_home_holds(&home, &ids(events.iter().chain([&live]))).await;
    let url = model::RelayUrl::parse(&relay.url()).unwrap();
    wait_for("larger filters, which have room", common::PATIENCE, || async {
        let budget = system.explained_upstream(&url).await.unwrap().live.budget.unwrap();
        let is_larger = matches!(budget.arranged, Arrangement::Larger { refs: 101..=300, .. });
        if is_larger && budget.from == LimitFrom::Shown(Some(LimitShown::Closed)) { Ok(()) } else { Err(budget) }
    })
    .await;
    let live = crowd.comment("published again");
    relay.publishes(&live.json);
    until_home_has(&home, live.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_08_a_relay_that_serves_20_ids_at_a_time_stays_with_nip77() {
    let (home, upstream) = (Relay::counting().await, Relay::counting_with_pages_of(20).await);
    let crowd = Crowd::of(10, 30, &[upstream.url()]);
    upstream.has_held(crowd.events()).await;
    let system = Embedded::keeping(&home).pulling_from([&upstream]).started().await;
    until_home_holds(&home, &crowd.ids()).await;
    system.until_settled().await;
    let known = system.upstream(&upstream).await;
    println!("learned: {:?}; {} events sent for {}", known.learned, upstream.traffic().events_sent, crowd.ids().len());
    assert_eq!(known.learned.ids_per_req, Some(20));
    assert!(matches!(known.learned.nip77, Some(Nip77::Works { .. })), "{:?}", known.learned);
    assert_eq!(upstream.traffic().events_sent, crowd.ids().len() as u64, "each event once");
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_10_a_hundred_and_fifty_upstreams_that_blip_are_all_back_within_a_minute() {
    let home = Relay::counting().await;
    let upstream = Relay::counting().await;
    let mut proxies = Vec::new();
    for _ in 0..150 {
        proxies.push(testkit::ChaosProxy::start(&upstream.url()).await);
    }
    let urls: Vec<String> = proxies.iter().map(testkit::ChaosProxy::url).collect();
    let mut project = Project::named("everywhere");
    let history = project.history(&urls[..1], 10);
    upstream.has_held(&history).await;
    let system = Embedded::keeping(&home).pulling_from_urls(&urls).started().await;
    until_home_holds(&home, &ids(&history)).await;
    let are_up = |status: &model::Status| {
        let up = |one: &&UpstreamStatus| one.role == Role::Bootstrap && is_up(one);
        status.upstreams.iter().filter(up).count() == 150
    };
    system.until("all links to be up", common::PATIENCE, are_up).await;
    proxies.iter().for_each(testkit::ChaosProxy::cut);
    let cut = Instant::now();
    wait_until("all to be dialed again", common::PATIENCE, || async { proxies.iter().all(|proxy| proxy.connections() >= 2) })
        .await;
    system.until("all links to be up again", common::PATIENCE, are_up).await;
    println!("150 links were back after {:?}", cut.elapsed());
    assert!(cut.elapsed() < testkit::stretched(Duration::from_secs(60)), "{:?}", cut.elapsed());
}

fn is_up(one: &UpstreamStatus) -> bool {
    matches!(one.link, model::LinkView::Up { caught_up: true, .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_11_a_new_issue_is_asked_for_only_where_its_repository_is_listed() {
    let home = Relay::counting().await;
    let (mut relays, mut crowds) = (Vec::new(), Vec::new());
    for number in 0..50 {
        let relay = Relay::counting().await;
        let crowd = Crowd::by_author(20 + number, 8, 1, &[relay.url()]);
        relay.has_held(crowd.events()).await;
        relays.push(relay);
        crowds.push(crowd);
    }
    let system = Embedded::keeping(&home).pulling_from(&relays).started().await;
    until_home_holds(&home, &ids(crowds.iter().flat_map(Crowd::events))).await;
    system.until_settled().await;
    let before: Vec<_> = relays.iter().map(Relay::traffic).collect();
    let issue = crowds[0].issue("it does not start");
    relays[0].receives([&issue]).await;
    let comment = crowds[0].comment_on(&issue, "does it?");
    relays[0].receives([&comment]).await;
    let published = Instant::now();
    until_home_has(&home, comment.id).await;
    let took = published.elapsed();
    system.until_settled().await;
    let since = |count: fn(&Traffic) -> u64| -> Vec<u64> {
        relays.iter().zip(&before).map(|(relay, before)| count(&relay.traffic()) - count(before)).collect()
    };
    let (asked, exchanges) = (since(|traffic| traffic.requests), since(|traffic| traffic.negentropy_opens));
    println!("the comment took {took:?}; {} REQs and {} exchanges", asked[0], exchanges[0]);
    assert!(took < testkit::stretched(Duration::from_secs(2)), "{took:?}");
    // Three live filters; the comment, where an exchange named it.
    assert!((1..=6).contains(&asked[0]), "{asked:?}");
    assert!(asked[1..].iter().chain(&exchanges[1..]).all(|count| *count == 0), "{asked:?} {exchanges:?}");
}
