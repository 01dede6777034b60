//! What is dated before a gap and comes after it (S9), on real sockets: live once the link stands, by the audit where it came before.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "how long things took is for whoever reads the run")]

mod common;

use std::time::{Duration, Instant};

use common::{Embedded, PATIENCE, Project, Relay, Signed, ids, until_home_has, until_home_holds};
use model::{LinkView, Outcome, RelayUrl, Resume, Status, Via};
use testkit::ChaosProxy;

/// Long enough to see that the catch-up has not found it.
const AUDIT_AFTER: Duration = Duration::from_secs(8);

/// An upstream whose history is at home. It goes away, and comes back with an event that is dated long before.
async fn away_and_back(home: &Relay, upstream: &mut Relay) -> (Embedded, Signed) {
    let mut project = Project::named("audited");
    let history = project.history(&[upstream.url()], 5);
    upstream.has_held(&history).await;
    let system = Embedded::keeping(home).pulling_from([&*upstream]).with_audit_after(AUDIT_AFTER).started().await;
    until_home_holds(home, &ids(&history)).await;
    system.until_settled().await;
    upstream.goes_down().await;
    system.until_down(upstream).await;
    let late = project.comment_on_repository("written long ago, published now");
    upstream.comes_back_with(std::slice::from_ref(&late)).await;
    system.until_up(upstream).await;
    system.until_confirmed(upstream).await;
    assert!(matches!(system.resume(upstream).await, Resume::CatchUp { .. }));
    assert!(!home.held().await.contains(&late.id), "it is dated before the time that a catch-up reads");
    (system, late)
}

#[tokio::test(flavor = "multi_thread")]
async fn s09_what_is_dated_before_a_gap_comes_home_by_the_audit_that_follows() {
    let (home, mut upstream) = (Relay::counting().await, Relay::counting().await);
    let (system, late) = away_and_back(&home, &mut upstream).await;
    let confirmed = system.upstream(&upstream).await.confirmed;
    until_home_has(&home, late.id).await;
    assert_eq!(system.upstream(&upstream).await.confirmed, confirmed, "coverage stays as it was");
    assert!(matches!(system.resume(&upstream).await, Resume::CatchUp { .. }), "on the same link");
}

#[tokio::test(flavor = "multi_thread")]
async fn s09_an_audit_that_was_due_is_made_after_our_restart() {
    let (home, mut upstream) = (Relay::counting().await, Relay::counting().await);
    let (mut system, late) = away_and_back(&home, &mut upstream).await;
    system.stop().await;
    system.start().await;
    until_home_has(&home, late.id).await;
    assert!(matches!(system.resume(&upstream).await, Resume::CatchUp { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn s09_what_is_published_after_a_quick_reconnect_and_dated_long_ago_comes_live() {
    // The one in Python takes `limit: 0` for no limit: its live filters keep a `since` (S11).
    for upstream in [Relay::counting().await, Relay::counting_req_only().await, Relay::local().await] {
        let home = Relay::counting().await;
        let proxy = ChaosProxy::start(&upstream.url()).await;
        let mut project = Project::named("late");
        let history = project.history(&[proxy.url()], 5);
        upstream.has_held(&history).await;
        let system = Embedded::keeping(&home).pulling_from_urls(&[proxy.url()]).started().await;
        let url = RelayUrl::parse(&proxy.url()).unwrap();
        until_home_holds(&home, &ids(&history)).await;
        system.until_settled().await;
        proxy.cut();
        system.until("the link to be made again", PATIENCE, |status| is_caught_up(status, &url)).await;
        let read = system.upstream_at(&url).await.counts.events;
        // Of a month ago, as all that is said here.
        let late = project.comment_on_repository("written long ago, published now");
        upstream.receives([&late]).await;
        let published = Instant::now();
        until_home_has(&home, late.id).await;
        let took = published.elapsed();
        println!("{}: it was at home after {took:?}", upstream.url());
        assert!(took < Duration::from_secs(10), "{took:?}");
        system.until_outcome(late.id, Outcome::Stored).await;
        let seen = system.explained(late.id).await.seen.unwrap();
        assert_eq!((seen.via, seen.batch), (Some(Via::Live), None), "not by the audit, which is half an hour away");
        // It tags by `A` alone, and answers one filter.
        assert!(system.upstream_at(&url).await.counts.events <= read + 1, "no history came with it");
    }
}

/// Whether the link to this upstream caught up after it was lost.
fn is_caught_up(status: &Status, url: &RelayUrl) -> bool {
    let is_it = |link| matches!(link, LinkView::Up { resume: Resume::CatchUp { .. }, caught_up: true, .. });
    status.upstreams.iter().any(|one| one.url == *url && is_it(one.link))
}
