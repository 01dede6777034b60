//! The sweep: what is overdue ends, and what there is to plan is named.

use engine::rules::{BATCH_DEADLINE_SECS, BATCH_START_SECS};
use model::{LinkView, Said, Timestamp};

use super::world::{World, announced, home, progress, relay, repo_item};

async fn swept(world: &World) -> Vec<model::RelayUrl> {
    let due = world.store.sweep().await.unwrap();
    world.urls(&due).await
}

pub(crate) async fn a_batch_without_progress_goes_back_to_wanted(world: World) {
    world.discover(&[announced(1, 5, &[])], &[]).await;
    let mut link = world.caught_up(&home()).await;
    let batch = world.take(&link, &[repo_item(1)], 0).await.unwrap();
    world.live(BATCH_START_SECS - 1).await;
    assert_eq!(swept(&world).await, []);
    assert_eq!(world.counts(&home()).await, (0, 1, 0));
    world.live(1).await;
    assert_eq!(swept(&world).await, [home()]);
    assert_eq!(world.counts(&home()).await, (1, 0, 0));
    world.say(&mut link, super::world::complete(batch)).await;
    assert_eq!(world.counts(&home()).await, (1, 0, 0), "it comes too late");
}

pub(crate) async fn progress_moves_the_deadline_of_its_batch(world: World) {
    world.discover(&[announced(1, 5, &[]), announced(2, 5, &[])], &[]).await;
    let mut link = world.caught_up(&home()).await;
    let moving = world.take(&link, &[repo_item(1)], 0).await.unwrap();
    world.take(&link, &[repo_item(2)], 0).await.unwrap();
    world.live(BATCH_START_SECS - 1).await;
    world.say(&mut link, progress(vec![moving], vec![])).await;
    world.live(1).await;
    swept(&world).await;
    assert_eq!(world.counts(&home()).await, (1, 1, 0), "an order that nobody heard is given up soon");
    world.live(BATCH_DEADLINE_SECS - 2).await;
    swept(&world).await;
    assert_eq!(world.counts(&home()).await, (1, 1, 0));
    assert_eq!(world.missing(&home()).await, [repo_item(2)]);
}

pub(crate) async fn an_expired_worker_ends_its_links(world: World) {
    world.discover(&[announced(1, 5, &[])], &[]).await;
    let link = world.caught_up(&home()).await;
    world.take(&link, &[repo_item(1)], 0).await.unwrap();
    world.pass(6);
    assert_eq!(swept(&world).await, []);
    assert!(matches!(world.snapshot(&home()).await.link, LinkView::Down { .. }));
    assert_eq!(world.counts(&home()).await, (1, 0, 0));
    let late = world.store.up(link.upstream, link.epoch).await;
    assert_eq!(late, Err(model::StateError::Fenced), "the zombie has lost it");
}

pub(crate) async fn the_sweep_names_what_there_is_to_plan_and_nothing_else(world: World) {
    world.discover(&[announced(1, 5, &[1])], &[]).await;
    assert_eq!(swept(&world).await, [], "no link is up");
    let mut at_home = world.link(&home()).await;
    assert_eq!(swept(&world).await, [home()], "not opened");
    world.say(&mut at_home, Said::Opened).await;
    let batch = world.take(&at_home, &[repo_item(1)], 0).await.unwrap();
    world.say(&mut at_home, progress(vec![batch], vec![])).await;
    let mut link = world.caught_up(&relay(1)).await;
    assert_eq!(swept(&world).await, [], "relay 1 waits for home");
    world.live(30).await;
    assert_eq!(swept(&world).await, [relay(1)], "long enough");
    world.say(&mut link, Said::RateLimited { seconds: 20 }).await;
    assert_eq!(swept(&world).await, []);
    world.live(20).await;
    assert_eq!(swept(&world).await, [relay(1)]);
    world.discover(&[announced(1, 6, &[])], &[]).await;
    assert_eq!(swept(&world).await, [relay(1)], "empty");
}

pub(crate) async fn i10_a_settled_upstream_is_not_named(world: World) {
    world.discover(&[announced(1, 5, &[])], &[]).await;
    let mut link = world.caught_up(&home()).await;
    world.confirm(&mut link, &[repo_item(1)], 0).await;
    assert_eq!(swept(&world).await, []);
    let due = Timestamp::from_secs(world.now() + 50);
    world.claim(&link, |claim| claim.refresh = Some(due)).await.unwrap();
    world.say(&mut link, Said::Opened).await;
    world.confirm(&mut link, &[repo_item(1)], 0).await;
    world.live(49).await;
    assert_eq!(swept(&world).await, []);
    world.live(1).await;
    assert_eq!(swept(&world).await, [home()], "a refresh is due");
}
