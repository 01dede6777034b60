//! Restarts and outages of everything: our process, the upstreams, home.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "what things cost is for whoever reads the run")]

mod common;

use std::time::Duration;

use common::story::{a_long_outage_starts_over, a_short_outage_is_caught_up, our_restart_fetches_nothing_twice};
use common::{Crowd, Embedded, GraspSync, Project, Relay, Signed, Totals, ids, recorded, until_home_has, until_home_holds};
use model::{LinkView, RelayUrl, Resume, Status, UpstreamStatus};
use testkit::{ChaosProxy, wait_until};

/// One of each kind: with NIP-77 and without, ours and foreign.
async fn every_kind() -> [Relay; 4] {
    [Relay::counting().await, Relay::counting_req_only().await, Relay::local().await, Relay::python().await]
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_05_our_restart_asks_for_nothing_that_is_confirmed() {
    our_restart_fetches_nothing_twice(&Relay::local().await, &every_kind().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_03_upstreams_that_were_away_for_a_moment_are_caught_up() {
    a_short_outage_is_caught_up(&Relay::local().await, &mut every_kind().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_that_were_away_for_longer_than_a_quick_reconnect_start_over() {
    a_long_outage_starts_over(&Relay::local().await, &mut every_kind().await).await;
}

/// The system stops, and starts when its upstream has something of the present and something that is dated long ago, and the last
/// moment known good lies `secs` further back. Answers the two.
async fn after_a_pause_of(secs: i64, home: &Relay, upstream: &Relay) -> (Embedded, Signed, Signed) {
    let mut project = Project::named("paused");
    let history = project.history(&[upstream.url()], 10);
    upstream.has_held(&history).await;
    let mut system = Embedded::keeping(home).pulling_from([upstream]).started().await;
    until_home_holds(home, &ids(&history)).await;
    system.until_settled().await;
    system.stop().await;
    testkit::age_links(&system.database(), secs).await;
    let late = project.comment_on_repository("written long ago");
    project.in_the_present();
    let news = project.reply("of the present");
    upstream.receives([&late, &news]).await;
    system.start().await;
    (system, late, news)
}

#[tokio::test(flavor = "multi_thread")]
async fn s08_a_pause_of_twenty_minutes_starts_over_and_ends_complete() {
    for upstream in [Relay::counting().await, Relay::counting_req_only().await] {
        let home = Relay::counting().await;
        let (system, late, news) = after_a_pause_of(20 * 60, &home, &upstream).await;
        until_home_has(&home, late.id).await;
        until_home_has(&home, news.id).await;
        system.until_settled().await;
        assert_eq!(system.resume(&upstream).await, Resume::Fresh);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_f21_a_clock_that_was_a_day_ahead_before_the_restart_loses_nothing_of_the_present() {
    let (home, upstream) = (Relay::counting().await, Relay::counting().await);
    let (system, _, news) = after_a_pause_of(-24 * 3600, &home, &upstream).await;
    until_home_has(&home, news.id).await;
    system.until_settled().await;
    let Resume::CatchUp { since } = system.resume(&upstream).await else { panic!("it was up a moment ago, or later") };
    assert!(since.as_secs() <= common::now() - 15 * 60, "never later than the present, less the overlap: {since}");
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_02_upstreams_that_are_down_at_the_start_are_reached_when_they_come_up() {
    let home = Relay::local().await;
    let (mut bootstrap, mut listed) = (Relay::local().await, Relay::counting_req_only().await);
    let mut project = Project::named("late");
    let history = project.history(&[listed.url()], 5);
    home.has_held(&history[..1]).await;
    bootstrap.has_held(&history[1..10]).await;
    listed.has_held(&history[8..]).await;
    bootstrap.goes_down().await;
    listed.goes_down().await;
    let system = Embedded::keeping(&home).pulling_from([&bootstrap]).started().await;
    system
        .until("both to have refused a dial", common::PATIENCE, |status| {
            status.upstreams.iter().filter(|one| one.failures > 0).count() == 2
        })
        .await;
    bootstrap.start_again().await;
    listed.start_again().await;
    // The bootstrap relay is not listed: of what it holds, only announcements and states are ours.
    let from_bootstrap = history[1..10].iter().filter(|event| event.event().kind.as_u16() == 30618);
    let expected = ids(history[..1].iter().chain(from_bootstrap).chain(&history[8..]));
    until_home_holds(&home, &expected).await;
    system.until_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_04_a_dropped_connection_costs_no_event_and_few_bytes() {
    let home = Relay::local().await;
    let upstream = Relay::counting().await;
    let proxy = ChaosProxy::start(&upstream.url()).await;
    let crowd = Crowd::of(150, 4, &[proxy.url()]);
    upstream.has_held(crowd.events()).await;
    let system = Embedded::keeping(&home).pulling_from_urls(&[proxy.url()]).started().await;
    until_home_holds(&home, &crowd.ids()).await;
    system.until_settled().await;
    let (traffic, bytes) = (upstream.traffic(), proxy.bytes_to_relay() + proxy.bytes_to_client());
    proxy.cut();
    wait_until("the link to be made again", common::PATIENCE, || async { proxy.connections() == 2 }).await;
    system.until_settled().await;
    let again = upstream.traffic();
    assert_eq!(again.events_sent, traffic.events_sent, "no event is fetched twice");
    assert_eq!(again.negentropy_opens, traffic.negentropy_opens, "it is a catch-up");
    let filters = again.requests - traffic.requests;
    let cost = proxy.bytes_to_relay() + proxy.bytes_to_client() - bytes;
    println!("the reconnect cost {cost} bytes for {filters} REQs");
    // Two chunks of repositories by three tags, and layer 1. What a REQ names goes over the wire: up to 100 addresses.
    let addresses = 100 * 110;
    assert!(cost <= filters * (addresses + 2_000), "{cost} bytes for {filters} REQs");
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_12_a_killed_process_goes_on_where_it_was() {
    let home = Relay::counting().await;
    let (exchanging, paging) = (Relay::counting().await, Relay::counting_req_only().await);
    let proxies = [ChaosProxy::start(&exchanging.url()).await, ChaosProxy::start(&paging.url()).await];
    let crowds = [Crowd::by_author(4, 1200, 3, &[proxies[0].url()]), Crowd::by_author(5, 1200, 3, &[proxies[1].url()])];
    exchanging.has_held(crowds[0].events()).await;
    paging.has_held(crowds[1].events()).await;
    let expected = ids(crowds.iter().flat_map(Crowd::events));
    proxies.iter().for_each(|proxy| proxy.delay(Duration::from_millis(15)));

    let mut installed = GraspSync::keeping(&home.url()).pulling_from(&[proxies[0].url(), proxies[1].url()]);
    let first = installed.run();
    wait_until("most of it to be at home", common::PATIENCE, || async { home.held().await.len() > expected.len() * 7 / 10 })
        .await;
    first.killed().await;
    let left = recorded(&installed.data_dir()).await;
    let interrupted = Totals::of(&left);
    assert!(interrupted.confirmed > 0 && interrupted.wanted + interrupted.pending > 0, "killed in the middle: {interrupted:?}");
    let sent = [exchanging.traffic().events_sent, paging.traffic().events_sent];

    let second = installed.run();
    until_home_holds(&home, &expected).await;
    second.until_it_says_complete().await;
    let ended = second.terminated().await;
    assert!(ended.status.success(), "{ended:?}");
    let settled = recorded(&installed.data_dir()).await;
    // The repositories, and at each upstream their one author.
    assert_eq!(Totals::of(&settled), Totals { wanted: 0, pending: 0, confirmed: 2402 });
    let again = [exchanging.traffic().events_sent - sent[0], paging.traffic().events_sent - sent[1]];
    println!("{interrupted:?} at the kill; sent again {again:?}");
    let [exchanging, paging] = proxies.map(|proxy| known_of(&left, &proxy.url()));
    // By NIP-77, only what the ledger lacked; some events may have come home in the last moment, without a row.
    assert!(again[0] <= 4800 - exchanging.counts.fresh, "{again:?}, {exchanging:?}");
    // By pages, only what answers the items that were not confirmed; each batch reads its oldest second twice.
    let unconfirmed = paging.wanted + paging.pending;
    assert!(again[1] <= 3 * (unconfirmed + unconfirmed.div_ceil(100)), "{again:?}, {paging:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_was_replaced_by_an_empty_one_is_full_again_after_one_refresh() {
    let mut home = Relay::counting().await;
    let upstreams = [Relay::counting().await, Relay::counting_req_only().await];
    let crowds: Vec<Crowd> =
        (4..).zip(&upstreams).map(|(author, upstream)| Crowd::by_author(author, 20, 5, &[upstream.url()])).collect();
    for (upstream, crowd) in upstreams.iter().zip(&crowds) {
        upstream.has_held(crowd.events()).await;
    }
    let expected = ids(crowds.iter().flat_map(Crowd::events));
    let mut refreshing = Embedded::keeping(&home).pulling_from(&upstreams).with_refresh_every(Duration::from_secs(15));
    refreshing.start().await;
    until_home_holds(&home, &expected).await;
    refreshing.until_settled().await;
    home.is_wiped().await;
    assert!(home.held().await.is_empty());
    until_home_holds(&home, &expected).await;
    refreshing.until_settled().await;
}

fn known_of(status: &Status, url: &str) -> UpstreamStatus {
    let url = RelayUrl::parse(url).unwrap();
    status.upstreams.iter().find(|one| one.url == url).expect("the upstream is known").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_asked_to_end_under_load_ends_well_and_goes_on_later() {
    let home = Relay::local().await;
    let upstream = Relay::counting().await;
    let proxy = ChaosProxy::start(&upstream.url()).await;
    proxy.delay(Duration::from_millis(15));
    let crowd = Crowd::of(700, 3, &[proxy.url()]);
    upstream.has_held(crowd.events()).await;
    let mut installed = GraspSync::keeping(&home.url()).pulling_from(&[proxy.url()]);
    let first = installed.run();
    wait_until("some of it to be at home", common::PATIENCE, || async { home.held().await.len() > 1_000 }).await;
    let ended = first.terminated().await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(ended.took < testkit::stretched(Duration::from_secs(10)), "it took {:?}", ended.took);
    assert!(home.held().await.len() < crowd.ids().len(), "it was under load");
    let second = installed.run();
    until_home_holds(&home, &crowd.ids()).await;
    second.until_it_says_complete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_is_down_at_the_start_is_an_error_of_its_own() {
    let mut home = Relay::local().await;
    home.goes_down().await;
    let ended = GraspSync::keeping(&home.url()).run().ends().await;
    assert_eq!(ended.status.code(), Some(3), "{ended:?}");
    for words in [&*format!("home {}/ cannot be reached", home.url()), "start home, or check the port"] {
        assert!(ended.log.contains(words), "{}", ended.log);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn home_goes_down_during_a_sync_and_nothing_is_lost() {
    let mut home = Relay::local().await;
    let upstreams = [Relay::counting().await, Relay::counting_req_only().await];
    let urls = [upstreams[0].url(), upstreams[1].url()];
    let crowds = [Crowd::by_author(4, 300, 3, &urls[..1]), Crowd::by_author(5, 300, 3, &urls[1..])];
    upstreams[0].has_held(crowds[0].events()).await;
    upstreams[1].has_held(crowds[1].events()).await;
    let system = Embedded::keeping(&home).pulling_from(&upstreams).started().await;
    wait_until("some of it to be at home", common::PATIENCE, || async { home.held().await.len() > 700 }).await;
    home.goes_down().await;
    let expected = ids(crowds.iter().flat_map(Crowd::events));
    assert!(home.held().await.len() < expected.len(), "it went down during the sync");
    system
        .until("home's link to be down", common::PATIENCE, |status| {
            status.upstreams.iter().any(|one| one.url == home.relay_url() && matches!(one.link, LinkView::Down { .. }))
        })
        .await;
    home.start_again().await;
    until_home_holds(&home, &expected).await;
    system.until_settled().await;
}
