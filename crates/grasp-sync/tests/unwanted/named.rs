//! Events that nothing leads to but their id: named by what home holds, fetched from the upstreams of its repository.

use std::time::Duration;

use testkit::wait_for;

use super::common::{Embedded, Project, Relay, ids};

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_only_another_one_names_is_fetched_by_its_id() {
    let (home, upstream) = (Relay::counting().await, Relay::counting().await);
    let mut project = Project::named("series");
    let first = project.stray_patch("the first of two");
    let second = project.patch_after(&first, "the second of two");
    let announcement = project.announcement(&[upstream.url()]);
    let all = [announcement, first.clone(), second];
    upstream.has_held(&all).await;
    let system = Embedded::keeping(&home).pulling_from([&upstream]).started().await;
    // It may come by itself for a minute.
    wait_for("the first patch to come home", Duration::from_secs(150), || async {
        let held = home.held().await;
        if held == ids(&all) { Ok(()) } else { Err(held.len()) }
    })
    .await;
    system.until_settled().await;
}
