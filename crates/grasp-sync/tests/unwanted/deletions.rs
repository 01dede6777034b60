//! What its author deleted: it goes at home, and does not come back from where it is still served.

use std::time::Duration;

use testkit::{HostileRelay, LocalRelay, wait_until};

use super::another_cycle;
use super::common::{Embedded, PATIENCE, Project, Relay, Signed, ids, until_home_has, until_home_holds};

/// A project with a comment on two upstreams: one hears of deletions, one does not.
struct Deleted {
    home: Relay,
    hearing: Relay,
    deaf: LocalRelay,
    project: Project,
    history: Vec<Signed>,
    comment: Signed,
    system: Embedded,
}

impl Deleted {
    async fn at_home() -> Self {
        Self::refreshed_every(Duration::from_hours(24)).await
    }

    async fn refreshed_every(period: Duration) -> Self {
        let (home, hearing, deaf) = (Relay::counting().await, Relay::counting().await, LocalRelay::start().await);
        let mut project = Project::named("deleting");
        let history = project.history(&[hearing.url(), deaf.url()], 5);
        let comment = project.comment_on(&project.first_issue(), "I take that back");
        hearing.has_held(history.iter().chain([&comment])).await;
        deaf.preload(history.iter().chain([&comment]).map(|event| event.json.as_str())).await;
        let system = Embedded::keeping(&home).pulling_from([&hearing]).with_quick_reconnect(Duration::ZERO);
        let system = system.with_refresh_every(period).started().await;
        until_home_holds(&home, &ids(history.iter().chain([&comment]))).await;
        system.until_settled().await;
        project.in_the_present();
        Self { home, hearing, deaf, project, history, comment, system }
    }

    /// The comment's author deletes it where it is heard; the event names the comment and nothing else.
    async fn by_its_author(&mut self) -> Signed {
        let deletion = self.project.deletion_of(&self.comment);
        self.hearing.receives([&deletion]).await;
        until_home_has(&self.home, deletion.id).await;
        deletion
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_15_a_comment_deleted_by_its_id_alone_goes_at_home_and_is_not_fetched_again() {
    let mut world = Deleted::at_home().await;
    let deletion = world.by_its_author().await;
    let expected = ids(world.history.iter().chain([&deletion]));
    until_home_holds(&world.home, &expected).await;
    let deaf = model::RelayUrl::parse(&world.deaf.url()).unwrap();
    let read = world.system.upstream_at(&deaf).await.counts.events;
    for cycle in 2..=3 {
        another_cycle(&mut world.system).await;
        assert_eq!(world.home.held().await, expected, "cycle {cycle}");
        assert_eq!(world.system.upstream_at(&deaf).await.counts.events, read, "cycle {cycle} downloads nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_15_a_home_that_was_replaced_by_an_empty_one_is_not_written_what_was_deleted() {
    let mut world = Deleted::refreshed_every(Duration::from_secs(15)).await;
    let deletion = world.by_its_author().await;
    let expected = ids(world.history.iter().chain([&deletion]));
    until_home_holds(&world.home, &expected).await;
    world.system.stop().await;
    world.home.is_wiped().await;
    world.system.start().await;
    until_home_holds(&world.home, &expected).await;
    world.system.until_settled().await;
    assert_eq!(world.home.held().await, expected, "by tombstones that outlive the process");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_restored_from_an_older_backup_is_made_what_it_was_within_one_refresh() {
    let mut world = Deleted::at_home().await;
    let backup: Vec<model::Event> = world.home.events().into_iter().filter(|event| event.id != world.history[8].id).collect();
    assert!(backup.iter().any(|event| event.id == world.comment.id), "the backup is older than the deletion");
    let deletion = world.by_its_author().await;
    let later = world.project.comment_on(&world.project.first_issue(), "after the backup");
    world.hearing.receives([&later]).await;
    let expected = ids(world.history.iter().chain([&deletion, &later]));
    until_home_holds(&world.home, &expected).await;
    world.system.stop().await;
    world.home.is_restored_with(backup).await;
    world.system.start().await;
    until_home_holds(&world.home, &expected).await;
    world.system.until_settled().await;
    assert_eq!(world.home.held().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_13_an_announcement_deleted_by_its_id_alone_retires_its_repository() {
    let mut world = Deleted::at_home().await;
    let deletion = world.project.deletion_by_owner(&world.history[0]);
    world.hearing.receives([&deletion]).await;
    until_home_has(&world.home, deletion.id).await;
    let retired = |status: &model::Status| {
        let listed = status.upstreams.iter().filter(|one| one.role != model::Role::Home);
        status.repos == 0 && listed.into_iter().all(|one| one.wanted + one.pending + one.confirmed == 0)
    };
    world.system.until("the repository to be retired", Duration::from_secs(10), retired).await;
    another_cycle_without_coverage(&mut world.system).await;
    assert!(!world.home.held().await.contains(&world.history[0].id), "it does not come back");
}

/// Nothing is covered any more, so nothing is confirmed: the bootstrap relay's announcements are read again all the same.
async fn another_cycle_without_coverage(system: &mut Embedded) {
    system.stop().await;
    system.start().await;
    let is_up = |one: &model::UpstreamStatus| matches!(one.link, model::LinkView::Up { caught_up: true, .. });
    let bootstrap = |one: &&model::UpstreamStatus| one.role == model::Role::Bootstrap;
    system
        .until("the bootstrap relay to be read", PATIENCE, |status| status.upstreams.iter().filter(bootstrap).all(is_up))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_are_watched_by_one_subscription_of_a_hundred_authors() {
    let home = Relay::counting().await;
    let upstream = HostileRelay::start([]).await;
    let mut project = Project::named("watched");
    let history = project.history(&[upstream.url()], 2);
    super::hold(&upstream, &history);
    home.has_held(&history[..1]).await;
    let system = Embedded::keeping(&home).started().await;
    until_home_holds(&home, &ids(&history)).await;
    system.until_settled().await;
    let live =
        |message: &serde_json::Value| message[0] == "REQ" && message[2]["authors"].is_array() && message[2]["limit"] == 0;
    wait_until("a live subscription to deletions", PATIENCE, || async { upstream.heard().iter().any(live) }).await;
    let last = upstream.heard().into_iter().rfind(live).unwrap();
    assert_eq!(last[2]["kinds"], serde_json::json!([5, 62]));
    assert_eq!(last[2]["authors"].as_array().unwrap().len(), 2, "the owner, and who opened the issue");
}
