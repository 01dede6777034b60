//! What survives a restart.

use model::{DownClass, Kind, LinkView, Outcome, Resume, Said, Timestamp};

use super::world::{START, World, announced, home, id, progress, relay, repo_item, root, root_item, row};

pub(crate) async fn s10_a_restart_gives_back_what_was_pending_and_keeps_the_rest(mut world: World) {
    world.discover(&[announced(1, 5, &[1]), announced(2, 5, &[1])], &[root(1, &[1])]).await;
    let mut link = world.caught_up(&relay(1)).await;
    world.confirm(&mut link, &[repo_item(1)], 0).await;
    world.take(&link, &[repo_item(2)], 0).await.unwrap();
    world.say(&mut link, progress(vec![], vec![row(1, Kind::TextNote, 5, Outcome::Stored)])).await;
    let before = world.status_of(&relay(1)).await.unwrap();
    assert_eq!((before.wanted, before.pending, before.confirmed), (1, 1, 1));
    world.crash().await;
    let after = world.status_of(&relay(1)).await.unwrap();
    assert_eq!((after.wanted, after.pending, after.confirmed), (2, 0, 1));
    assert_eq!((after.upstream, after.counts), (before.upstream, before.counts));
    assert!(matches!(after.link, LinkView::Down { .. }));
    assert_eq!(world.snapshot(&relay(1)).await.batches_in_flight, 0);
    assert_eq!(world.store.known(&[id(1)]).await.unwrap(), [id(1)]);
    assert_eq!(world.missing(&home()).await, [repo_item(1), repo_item(2), root_item(1)]);
    assert_eq!(world.discover(&[announced(1, 5, &[1])], &[root(1, &[1])]).await, [], "known already");
    assert_eq!(world.try_say(&link, Said::Opened).await, Ok(vec![]), "its epoch is current until it is claimed");
    assert!(matches!(world.status_of(&relay(1)).await.unwrap().link, LinkView::Down { .. }), "but a word revives no link");
    assert!(world.assignment(&relay(1)).await.unwrap().epoch > link.epoch);
}

pub(crate) async fn s09_a_restart_within_fifteen_minutes_is_a_quick_reconnect(mut world: World) {
    world.caught_up(&home()).await;
    world.live(50).await;
    world.pass(850);
    world.restart(|_| {}).await;
    world.pass(50);
    let link = world.link(&home()).await;
    assert_eq!(link.resume, Resume::CatchUp { since: Timestamp::from_secs(START + 50 - 900) });
}

pub(crate) async fn s17_failures_survive_a_restart(mut world: World) {
    let mut link = world.caught_up(&home()).await;
    for _ in 0..5 {
        world.say(&mut link, Said::Down { class: DownClass::Dns, detail: "no such name".to_owned() }).await;
    }
    let before = world.status_of(&home()).await.unwrap();
    world.restart(|_| {}).await;
    assert_eq!(world.status_of(&home()).await.unwrap(), before);
    assert_eq!(before.failures, 5);
}
