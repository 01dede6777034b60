//! The audit after a quick reconnect (S9), on real sockets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::time::Duration;

use common::{Embedded, Project, Relay, Signed, ids, until_home_has, until_home_holds};
use model::Resume;

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
