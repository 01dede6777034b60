//! What announcements and roots make of the network: upstreams that come, go, and are the same under many names.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::time::Duration;

use common::{Embedded, Project, Relay, ids, until_home_has, until_home_holds};
use model::Status;

/// How long a change of an announcement may take to show on the wire.
const CHANGE_LIMIT: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn scenario_13_a_new_version_that_drops_a_relay_retires_its_coverage_there_alone() {
    let (home, [kept, dropped]) = (Relay::counting().await, [Relay::counting().await, Relay::counting().await]);
    let (mut project, system) = listed_on(&home, &kept, &dropped).await;
    kept.receives([&project.announcement(&[kept.url()])]).await;
    system
        .until("the coverage to be retired", testkit::stretched(CHANGE_LIMIT), |status| covered(status, &dropped) == Some(0))
        .await;
    assert!(covered(&system.status().await, &kept) > Some(0));
    let quote = project.quote_of_repository("listed all along");
    kept.receives([&quote]).await;
    until_home_has(&home, quote.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_13_a_deletion_of_a_repository_comes_home_and_retires_it_everywhere() {
    let (home, [bootstrap, listed]) = (Relay::counting().await, [Relay::counting().await, Relay::counting().await]);
    let (mut project, system) = listed_on(&home, &bootstrap, &listed).await;
    let deletion = project.deletion();
    bootstrap.receives([&deletion]).await;
    until_home_has(&home, deletion.id).await;
    let announced = home.events().into_iter().any(|event| event.kind.as_u16() == 30617);
    assert!(!announced, "the announcement is gone from home");
    system
        .until("the repository to be retired", testkit::stretched(CHANGE_LIMIT), |status| {
            status.repos == 0 && [&bootstrap, &listed].iter().all(|upstream| covered(status, upstream) == Some(0))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_17_a_pull_request_to_an_unknown_and_to_a_known_repository_with_colons_is_followed() {
    let home = Relay::local().await;
    let upstream = Relay::counting_req_only().await;
    let mut project = Project::named("group:sub:tools");
    let mut other = Project::named("group");
    let mut history = vec![project.announcement(&[upstream.url()]), project.state()];
    let (unknown, address) = (other.address(), project.address());
    let pull_request = project.pull_request_to(&[&unknown, &address], "for both");
    history.push(project.comment_on(&pull_request, "nice"));
    history.push(project.update_of(&pull_request));
    history.push(pull_request.clone());
    upstream.has_held(&history).await;
    // The identifier is exact: what belongs to a namesake up to a colon stays away.
    upstream.has_held([&other.issue("of an unannounced repository")]).await;
    let system = Embedded::keeping(&home).pulling_from([&upstream]).started().await;
    let mut expected = ids(&history);
    until_home_holds(&home, &expected).await;
    system.until_settled().await;
    project.in_the_present();
    let comment = project.comment_on(&pull_request, "merged");
    upstream.receives([&comment]).await;
    expected.insert(comment.id);
    until_home_has(&home, comment.id).await;
    until_home_holds(&home, &expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_19_one_upstream_under_many_spellings_is_one_connection() {
    let home = Relay::local().await;
    let upstream = Relay::counting().await;
    let port = upstream.url().rsplit_once(':').unwrap().1.to_owned();
    let spellings = ["ws://127.0.0.1:", "WS://127.0.0.1.:", "ws://127.1:", "http://127.0.0.1:", "ws://2130706433:"]
        .map(|start| [format!("{start}{port}"), format!("{start}{port}/"), format!("{start}{port}//#relay")])
        .concat();
    let mut project = Project::named("many-names");
    let history = project.history(&spellings, 5);
    upstream.has_held(&history).await;
    let system = Embedded::keeping(&home).pulling_from_urls(&spellings[..2]).started().await;
    until_home_holds(&home, &ids(&history)).await;
    system.until_settled().await;
    assert_eq!(system.status().await.upstreams.len(), 2, "home and one upstream");
    assert_eq!(upstream.traffic().connections, 1);
}

/// A project on both upstreams, the second of which is known through its announcement only; at home, and in the present.
async fn listed_on(home: &Relay, bootstrap: &Relay, listed: &Relay) -> (Project, Embedded) {
    let mut project = Project::named("changing");
    let history = project.history(&[bootstrap.url(), listed.url()], 5);
    bootstrap.has_held(&history).await;
    listed.has_held(&history).await;
    let system = Embedded::keeping(home).pulling_from([bootstrap]).started().await;
    system.until_confirmed(listed).await;
    system.until_settled().await;
    project.in_the_present();
    let quote = project.quote_of_repository("listed");
    listed.receives([&quote]).await;
    until_home_has(home, quote.id).await;
    (project, system)
}

/// Items that are known of `relay` in any state; none when it is no upstream any more.
fn covered(status: &Status, relay: &Relay) -> Option<u64> {
    let url = relay.relay_url();
    let upstream = status.upstreams.iter().find(|one| one.url == url);
    upstream.map(|one| one.wanted + one.pending + one.confirmed)
}
