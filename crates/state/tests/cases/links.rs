//! S8, S9, S10: how links begin and what their ends leave.

use model::{DownClass, LinkView, Resume, Said, StateError, Timestamp};

use super::world::{Link, START, World, announced, home, relay, repo_item, worker};

fn down() -> Said {
    Said::Down { class: DownClass::Closed, detail: "the peer closed".to_owned() }
}

fn catch_up(since: u64) -> Resume {
    Resume::CatchUp { since: Timestamp::from_secs(since) }
}

/// Home's link stood, ended `after` its last renewal, and comes up `outage` seconds later.
async fn again(world: &World, mut link: Link, outage: u64) -> Link {
    world.say(&mut link, down()).await;
    world.pass(outage);
    world.link(&home()).await
}

pub(crate) async fn s08_first_contact_is_fresh(world: World) {
    let link = world.link(&home()).await;
    assert_eq!(link.resume, Resume::Fresh);
    let view = world.snapshot(&home()).await.link;
    assert_eq!(view, LinkView::Up { resume: Resume::Fresh, opened: false, caught_up: false });
}

pub(crate) async fn s09_a_short_outage_is_caught_up_from_before_the_last_renewal(world: World) {
    let link = world.caught_up(&home()).await;
    world.live(100).await;
    world.pass(3);
    let link = again(&world, link, 897).await;
    assert_eq!(link.resume, catch_up(START + 100 - 900), "900 s after the last renewal");
    let view = world.snapshot(&home()).await.link;
    assert_eq!(view, LinkView::Up { resume: link.resume, opened: false, caught_up: false });
}

pub(crate) async fn s08_a_long_outage_is_fresh_and_everything_is_wanted_again(world: World) {
    world.discover(&[announced(1, 5, &[]), announced(2, 5, &[])], &[]).await;
    let mut link = world.caught_up(&home()).await;
    world.confirm(&mut link, &[repo_item(1)], 0).await;
    assert_eq!(world.counts(&home()).await, (1, 0, 1));
    let link = again(&world, link, 901).await;
    assert_eq!(link.resume, Resume::Fresh);
    assert_eq!(world.counts(&home()).await, (2, 0, 0));
    assert_eq!(world.snapshot(&home()).await.missing[0].chunk, Some(0), "the chunk is kept");
}

pub(crate) async fn s09_confirmed_stays_on_a_catch_up(world: World) {
    world.discover(&[announced(1, 5, &[]), announced(2, 5, &[])], &[]).await;
    let mut link = world.caught_up(&home()).await;
    world.confirm(&mut link, &[repo_item(1)], 0).await;
    again(&world, link, 900).await;
    assert_eq!(world.counts(&home()).await, (1, 0, 1));
}

pub(crate) async fn s09_a_link_that_never_caught_up_does_not_advance_last_up(world: World) {
    let link = world.caught_up(&home()).await;
    world.live(20).await;
    let mut second = again(&world, link, 300).await;
    assert_eq!(second.resume, catch_up(START + 20 - 900));
    world.say(&mut second, Said::Opened).await;
    world.live(60).await;
    let third = again(&world, second, 300).await;
    assert_eq!(third.resume, catch_up(START + 20 - 900), "the gap of the first outage was never filled");
    let fourth = again(&world, third, 300).await;
    assert_eq!(fourth.resume, Resume::Fresh, "by now it is too long");
}

/// Up to when home has everything of itself, as status says it.
async fn good_to(world: &World) -> Option<u64> {
    world.status_of(&home()).await.unwrap().good_to.map(|at| at.as_secs())
}

pub(crate) async fn s09_last_up_never_passes_an_event_without_an_outcome(world: World) {
    let link = world.caught_up(&home()).await;
    world.live(100).await;
    assert_eq!(good_to(&world).await, Some(world.now()), "nothing waits");
    world.beat_as(&worker("one"), &[(link.upstream, START + 40)]).await;
    assert_eq!(good_to(&world).await, Some(START + 40));
    let mut second = again(&world, link, 10).await;
    assert_eq!(good_to(&world).await, Some(START + 40), "a new link has brought nothing yet");
    assert_eq!(second.resume, catch_up(START + 40 - 900));
    world.say(&mut second, Said::CaughtUp).await;
    world.beat_as(&worker("one"), &[(second.upstream, START + 40)]).await;
    world.live(15).await;
    let third = again(&world, second, 10).await;
    assert_eq!(third.resume, catch_up(START + 125 - 900), "a beat that does not name the link ends its delay");
}

pub(crate) async fn a_link_that_a_killed_worker_left_up_is_good_to_its_last_renewal_and_said_to_be_unheld(world: World) {
    world.caught_up(&home()).await;
    world.live(20).await;
    let of_home = || async { world.status_of(&home()).await.unwrap() };
    assert_eq!((of_home().await.unheld_since, good_to(&world).await), (None, Some(START + 20)));
    world.pass(600);
    let left = of_home().await;
    assert!(matches!(left.link, LinkView::Up { .. }), "nobody has looked yet");
    assert_eq!(left.unheld_since.map(|at| at.as_secs()), Some(START + 20));
    assert_eq!(good_to(&world).await, Some(START + 20));
}

pub(crate) async fn s15_a_link_that_comes_up_when_its_refresh_is_due_starts_fresh(mut world: World) {
    world.restart(|settings| settings.policy.refresh_secs = (600, 700)).await;
    let link = world.caught_up(&home()).await;
    assert_eq!(world.snapshot(&home()).await.refresh_at, Timestamp::from_secs(START + 600), "drawn at the first link");
    world.live(500).await;
    let mut second = again(&world, link, 99).await;
    assert!(matches!(second.resume, Resume::CatchUp { .. }));
    world.say(&mut second, Said::CaughtUp).await;
    world.beat().await;
    let third = again(&world, second, 1).await;
    assert_eq!(third.resume, Resume::Fresh);
    let next_due = world.snapshot(&home()).await.refresh_at;
    assert_eq!(next_due, Timestamp::from_secs(world.now() + 600));
}

pub(crate) async fn a_second_up_of_an_old_epoch_is_fenced(world: World) {
    let assigned = world.assignment(&home()).await.unwrap();
    let granted = world.store.up(assigned.upstream, assigned.epoch).await.unwrap();
    assert!(granted.epoch > assigned.epoch);
    assert_eq!(world.store.up(assigned.upstream, assigned.epoch).await, Err(StateError::Fenced));
    assert_eq!(world.assignment(&home()).await.unwrap().epoch, granted.epoch);
    let unknown = model::UpstreamId(4711);
    assert_eq!(world.store.up(unknown, granted.epoch).await, Err(StateError::NoSuchUpstream));
}

pub(crate) async fn s10_a_new_link_gives_back_what_the_unreported_end_of_the_old_one_left(world: World) {
    world.discover(&[announced(1, 5, &[1])], &[]).await;
    let link = world.caught_up(&relay(1)).await;
    world.take(&link, &[repo_item(1)], 0).await.unwrap();
    let again = world.link(&relay(1)).await;
    assert!(again.epoch > link.epoch);
    assert_eq!(again.resume, catch_up(START - 900));
    assert_eq!(world.counts(&relay(1)).await, (1, 0, 0));
    assert_eq!(world.snapshot(&relay(1)).await.batches_in_flight, 0);
}

pub(crate) async fn s04_those_whose_link_is_up_are_told_from_the_others(world: World) {
    world.discover(&[announced(1, 5, &[1, 2])], &[]).await;
    let [home_id, one, other] = [world.id_of(&home()).await, world.id_of(&relay(1)).await, world.id_of(&relay(2)).await];
    assert_eq!(world.store.linked(&[home_id, one, other]).await.unwrap(), []);
    world.link(&relay(2)).await;
    world.link(&home()).await;
    assert_eq!(world.store.linked(&[one, other, home_id]).await.unwrap(), [home_id, other]);
    assert_eq!(world.store.linked(&[one]).await.unwrap(), []);
}
