//! What the planner is shown.

use engine::rules::{HOME_FIRST_SECS, MISSING_PER_LOOK};
use model::{DownClass, Item, Learned, LinkView, Said, Tail};

use super::world::{World, announced, home, placed, relay, repo_item, root, root_item};

fn repos(numbers: std::ops::Range<usize>) -> Vec<Item> {
    numbers.map(repo_item).collect()
}

pub(crate) async fn s04_wanted_pending_and_confirmed_add_up_to_the_target(world: World) {
    let seen: Vec<_> = (0..6).map(|n| announced(n, 5, &[])).collect();
    world.discover(&seen, &[]).await;
    let mut link = world.link(&home()).await;
    world.confirm(&mut link, &repos(0..2), 0).await;
    world.take(&link, &repos(2..5), 1).await.unwrap();
    let snapshot = world.snapshot(&home()).await;
    assert_eq!((snapshot.wanted, snapshot.pending, snapshot.confirmed), (1, 3, 2));
    assert_eq!(snapshot.missing, [placed(repo_item(5), None)]);
    assert_eq!((snapshot.batches_in_flight, snapshot.chunks), (1, (2, 0)));
}

pub(crate) async fn missing_is_cut_and_in_order(world: World) {
    let seen: Vec<_> = (0..MISSING_PER_LOOK + 50).rev().map(|n| announced(n, 5, &[])).collect();
    let roots: Vec<_> = (0..20).rev().map(|n| root(n, &[1])).collect();
    world.discover(&seen[..100], &roots).await;
    let in_order: Vec<Item> =
        repos(MISSING_PER_LOOK - 50..MISSING_PER_LOOK + 50).into_iter().chain((0..20).map(root_item)).collect();
    assert_eq!(world.missing(&home()).await, in_order);
    world.discover(&seen[100..], &[]).await;
    let missing = world.missing(&home()).await;
    assert_eq!(missing.len(), MISSING_PER_LOOK);
    assert!(missing.is_sorted() && matches!(missing.last(), Some(Item::Repo(_))), "repos come before roots");
    assert_eq!(world.snapshot(&home()).await.wanted, (MISSING_PER_LOOK + 50 + 20) as u64);
}

pub(crate) async fn items_wait_for_home_but_not_long(world: World) {
    world.discover(&[announced(1, 5, &[1]), announced(2, 5, &[1])], &[]).await;
    assert_eq!(world.missing(&home()).await, repos(1..3));
    assert_eq!(world.missing(&relay(1)).await, []);
    let mut link = world.link(&home()).await;
    world.confirm(&mut link, &[repo_item(2)], 0).await;
    assert_eq!(world.missing(&relay(1)).await, [repo_item(2)]);
    world.pass(HOME_FIRST_SECS - 1);
    assert_eq!(world.missing(&relay(1)).await, [repo_item(2)]);
    world.pass(1);
    assert_eq!(world.missing(&relay(1)).await, repos(1..3));
    assert_eq!(world.snapshot(&relay(1)).await.wanted, 2);
}

pub(crate) async fn a_new_link_that_catches_up_is_shown_everything_it_covers(world: World) {
    let seen: Vec<_> = (0..3).map(|n| announced(n, 5, &[])).collect();
    world.discover(&seen, &[root(9, &[1])]).await;
    let mut link = world.caught_up(&home()).await;
    world.confirm(&mut link, &[root_item(9)], 4).await;
    world.confirm(&mut link, &repos(0..2), 0).await;
    assert_eq!(world.snapshot(&home()).await.covered, None, "nothing to be done with it");
    world.say(&mut link, Said::Down { class: DownClass::Closed, detail: String::new() }).await;
    assert_eq!(world.snapshot(&home()).await.covered, None);
    let mut link = world.link(&home()).await;
    let covered = [placed(repo_item(0), 0), placed(repo_item(1), 0), placed(root_item(9), 4)];
    assert_eq!(world.snapshot(&home()).await.covered.unwrap(), covered);
    world.say(&mut link, Said::Opened).await;
    assert_eq!(world.snapshot(&home()).await.covered, None);
}

pub(crate) async fn tails_hold_the_newest_chunk_with_the_wanted_items_that_keep_their_place(world: World) {
    let seen: Vec<_> = (0..5).map(|n| announced(n, 5, &[])).collect();
    world.discover(&seen, &[root(9, &[1])]).await;
    let mut link = world.link(&home()).await;
    assert_eq!(world.snapshot(&home()).await.tails, []);
    world.confirm(&mut link, &[repo_item(0)], 3).await;
    world.confirm(&mut link, &[repo_item(1)], 7).await;
    let batch = world.take(&link, &[repo_item(2)], 7).await.unwrap();
    world.take(&link, &[root_item(9)], 0).await.unwrap();
    let incomplete = model::BatchOutcome::Incomplete { why: model::Incomplete::Idle, detail: String::new() };
    world.say(&mut link, super::world::ended(batch, incomplete)).await;
    let tails = [Tail { chunk: 7, items: repos(1..3) }, Tail { chunk: 0, items: vec![root_item(9)] }];
    let snapshot = world.snapshot(&home()).await;
    assert_eq!(snapshot.tails, tails);
    assert_eq!(snapshot.chunks, (8, 1));
    assert_eq!(snapshot.missing[0], placed(repo_item(2), 7), "what has a place comes first");
}

pub(crate) async fn s14_a_consolidation_is_shown_everything_when_chunks_have_holes(world: World) {
    let seen: Vec<_> = (0..4).map(|n| announced(n, 5, &[])).collect();
    world.discover(&seen, &[]).await;
    let mut link = world.caught_up(&home()).await;
    for n in 0..3 {
        world.confirm(&mut link, &[repo_item(n)], u32::try_from(n).unwrap()).await;
    }
    assert_eq!(world.snapshot(&home()).await.covered, None, "10 subscriptions of 70");
    let facts = Learned { live_limit: Some(12), ..Learned::default() };
    assert_eq!(world.say(&mut link, Said::Learned { facts }).await, [link.upstream]);
    let snapshot = world.snapshot(&home()).await;
    assert!(matches!(snapshot.link, LinkView::Up { caught_up: true, .. }));
    assert_eq!(snapshot.covered.unwrap().len(), 3, "one more chunk would pass 12");
}

pub(crate) async fn scenario_13_an_item_that_leaves_its_chunk_makes_a_rebuild_due_until_it_is_taken(world: World) {
    world.discover(&[announced(1, 5, &[1]), announced(2, 5, &[1]), announced(3, 5, &[1])], &[]).await;
    let mut at_home = world.caught_up(&home()).await;
    world.confirm(&mut at_home, &repos(1..4), 0).await;
    let mut link = world.caught_up(&relay(1)).await;
    world.confirm(&mut link, &repos(1..3), 0).await;
    world.discover(&[announced(3, 6, &[])], &[]).await;
    assert_eq!(world.snapshot(&relay(1)).await.rebuild, None, "it was never live there");
    world.discover(&[announced(2, 6, &[])], &[]).await;
    let look = world.snapshot(&relay(1)).await;
    let layout = look.rebuild.expect("a live filter names what is gone");
    assert_eq!(look.covered.unwrap(), [placed(repo_item(1), 0)]);
    assert_eq!(world.snapshot(&home()).await.rebuild, None);
    assert!(world.store.sweep().await.unwrap().contains(&link.upstream), "a lost order is repeated");
    let dirty = world.say(&mut link, Said::Rebuilt { layout }).await;
    assert_eq!(world.urls(&dirty).await, [relay(1)]);
    assert_eq!(world.snapshot(&relay(1)).await.rebuild, None);
    assert!(!world.store.sweep().await.unwrap().contains(&link.upstream));
}

pub(crate) async fn a_rebuild_is_due_on_a_link_that_is_up_and_a_new_link_needs_none(world: World) {
    world.discover(&[announced(1, 5, &[1]), announced(2, 5, &[1])], &[]).await;
    let mut at_home = world.caught_up(&home()).await;
    world.confirm(&mut at_home, &repos(1..3), 0).await;
    let mut link = world.caught_up(&relay(1)).await;
    world.confirm(&mut link, &repos(1..3), 0).await;
    world.discover(&[announced(2, 6, &[])], &[]).await;
    assert!(world.snapshot(&relay(1)).await.rebuild.is_some());
    world.say(&mut link, Said::Down { class: DownClass::Closed, detail: String::new() }).await;
    assert_eq!(world.snapshot(&relay(1)).await.rebuild, None);
    world.link(&relay(1)).await;
    assert_eq!(world.snapshot(&relay(1)).await.rebuild, None, "it opens what is covered now");
}
