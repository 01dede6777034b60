//! Leases: one owner for each upstream, epochs that only grow.

use model::{Assignment, Epoch, RelayUrl, Role, StateError};

use super::world::{START, World, announced, home, relay, repo_item, url, worker};

fn urls(assignments: &[Assignment]) -> Vec<RelayUrl> {
    assignments.iter().map(|assignment| assignment.url.clone()).collect()
}

fn epochs(assignments: &[Assignment]) -> Vec<Epoch> {
    assignments.iter().map(|assignment| assignment.epoch).collect()
}

pub(crate) async fn a_worker_is_given_every_upstream_with_something_to_cover(world: World) {
    world.store.name_relays(&[(home(), Role::Home), (relay(9), Role::Bootstrap)]).await.unwrap();
    world.discover(&[announced(1, 5, &[1, 2])], &[]).await;
    world.discover(&[announced(1, 6, &[2])], &[]).await;
    let mut given = urls(&world.beat().await);
    given.sort();
    assert_eq!(given, [home(), relay(2), relay(9)], "relay 1 has nothing to cover any more");
}

pub(crate) async fn a_renewal_keeps_epochs_and_a_new_incarnation_raises_them(world: World) {
    let first = world.beat_as(&worker("one"), &[]).await;
    world.pass(2);
    assert_eq!(world.beat_as(&worker("one"), &[]).await, first);
    let second = world.beat_as(&worker("two"), &[]).await;
    assert!(second[0].epoch > first[0].epoch);
    assert_eq!(world.store.up(first[0].upstream, first[0].epoch).await, Err(StateError::Fenced));
}

pub(crate) async fn a_lease_that_ran_out_is_not_revived(world: World) {
    let link = world.caught_up(&home()).await;
    world.pass(6);
    let again = world.assignment(&home()).await.unwrap();
    assert!(again.epoch > link.epoch, "the session of the old epoch ends");
}

pub(crate) async fn epochs_are_never_below_the_clock(world: World) {
    let epoch = world.assignment(&home()).await.unwrap().epoch;
    assert_eq!(epoch, Epoch(i64::try_from(START * 1000).unwrap()));
}

pub(crate) async fn a_worker_that_leaves_frees_its_upstreams_at_once(world: World) {
    let before = world.beat().await;
    world.leave(&worker("one")).await;
    assert_eq!(world.store.up(before[0].upstream, before[0].epoch).await, Err(StateError::Fenced), "owned by nobody");
    let other = model::WorkerId { name: "another".to_owned(), incarnation: "x".to_owned() };
    let after = world.beat_as(&other, &[]).await;
    assert_eq!(urls(&after), urls(&before));
    assert!(epochs(&after) > epochs(&before));
}

pub(crate) async fn an_empty_listed_upstream_is_let_go_when_its_link_is_down(world: World) {
    world.store.name_relays(&[(home(), Role::Home), (relay(9), Role::Bootstrap)]).await.unwrap();
    world.discover(&[announced(1, 5, &[1, 2])], &[]).await;
    let mut link = world.caught_up(&relay(1)).await;
    world.discover(&[announced(1, 6, &[])], &[]).await;
    assert_eq!(urls(&world.beat().await), [home(), relay(9), relay(1)], "relay 1 is still up, relay 2 never was");
    let down = model::Said::Down { class: model::DownClass::Empty, detail: String::new() };
    world.say(&mut link, down).await;
    assert_eq!(urls(&world.beat().await), [home(), relay(9)], "a bootstrap relay stays");
}

pub(crate) async fn an_upstream_of_a_living_worker_is_nobody_elses(world: World) {
    world.discover(&[announced(1, 5, &[1])], &[]).await;
    world.beat().await;
    let other = model::WorkerId { name: "another".to_owned(), incarnation: "x".to_owned() };
    assert_eq!(world.beat_as(&other, &[]).await, []);
    world.discover(&[announced(2, 5, &[2])], &[]).await;
    // An adapter may move upstreams to the new worker: what it gives to one it tells the other to hang up before.
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        theirs = urls(&world.beat_as(&other, &[]).await);
        ours = urls(&world.beat().await);
        assert!(!theirs.iter().any(|url| ours.contains(url)), "{theirs:?} and {ours:?}");
    }
    let mut all = [theirs, ours].concat();
    all.sort();
    assert_eq!(all, [home(), relay(1), relay(2)]);
    world.pass(5);
    world.beat_as(&other, &[]).await;
    world.pass(1);
    assert_eq!(urls(&world.beat_as(&other, &[]).await), [home(), relay(1), relay(2)], "the first lease ran out");
    assert_eq!(world.missing(&home()).await, [repo_item(1), repo_item(2)]);
    assert_eq!(world.status_of(&url("wss://nobody.example")).await, None);
}
