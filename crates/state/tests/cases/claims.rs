//! What a plan takes.

use model::{Draft, Item, Learned, LinkView, Method, Nip77, Resume, Said, StateError, Timestamp};

use super::world::{World, announced, complete, home, placed, relay, repo_item, root, root_item};

fn draft(items: &[Item], chunk: u32) -> Draft {
    Draft { items: items.to_vec(), chunk, method: Method::Req }
}

pub(crate) async fn a_draft_with_an_item_that_is_not_wanted_takes_nothing(world: World) {
    world.discover(&[announced(1, 5, &[]), announced(2, 5, &[])], &[]).await;
    let link = world.link(&home()).await;
    let drafts = vec![draft(&[repo_item(1), repo_item(3)], 0), draft(&[], 0), draft(&[repo_item(2)], 0)];
    let batches = world.claim(&link, |claim| claim.drafts = drafts).await.unwrap();
    assert!(matches!(batches[..], [None, None, Some(_)]), "{batches:?}");
    assert_eq!(world.missing(&home()).await, [repo_item(1)]);
    assert_eq!(world.counts(&home()).await, (1, 1, 0));
}

pub(crate) async fn an_item_is_never_in_two_batches(world: World) {
    world.discover(&[announced(1, 5, &[]), announced(2, 5, &[])], &[]).await;
    let link = world.link(&home()).await;
    let drafts = vec![draft(&[repo_item(1)], 0), draft(&[repo_item(1), repo_item(2)], 0)];
    let batches = world.claim(&link, |claim| claim.drafts = drafts).await.unwrap();
    assert!(matches!(batches[..], [Some(_), None]), "{batches:?}");
    assert_eq!(world.take(&link, &[repo_item(1)], 0).await, None);
}

pub(crate) async fn s15_a_refresh_wants_everything_again(world: World) {
    world.discover(&[announced(1, 5, &[]), announced(2, 5, &[]), announced(3, 5, &[])], &[]).await;
    let mut link = world.caught_up(&home()).await;
    world.confirm(&mut link, &[repo_item(1)], 0).await;
    let batch = world.take(&link, &[repo_item(2)], 0).await.unwrap();
    let next = Timestamp::from_secs(world.now() + 86_400);
    world.claim(&link, |claim| claim.refresh = Some(next)).await.unwrap();
    let snapshot = world.snapshot(&home()).await;
    assert_eq!((snapshot.wanted, snapshot.pending, snapshot.confirmed), (3, 0, 0));
    assert_eq!(snapshot.link, LinkView::Up { resume: Resume::Fresh, opened: false, caught_up: false });
    assert_eq!((snapshot.refresh_at, snapshot.batches_in_flight), (next, 0));
    world.say(&mut link, complete(batch)).await;
    assert_eq!(world.counts(&home()).await, (3, 0, 0), "the batch of before the refresh proves nothing");
}

pub(crate) async fn s12_a_refresh_forgets_that_negentropy_was_refused(world: World) {
    world.discover(&[announced(1, 5, &[])], &[]).await;
    let mut link = world.caught_up(&home()).await;
    let refused = Nip77::Refused { at: Timestamp::from_secs(1), reason: "silent".to_owned() };
    world.say(&mut link, Said::Learned { facts: Learned { nip77: Some(refused.clone()), ..Learned::default() } }).await;
    assert_eq!(world.snapshot(&home()).await.learned.nip77, Some(refused));
    let next = Timestamp::from_secs(world.now() + 86_400);
    world.claim(&link, |claim| claim.refresh = Some(next)).await.unwrap();
    assert_eq!(world.snapshot(&home()).await.learned.nip77, None);
}

pub(crate) async fn s14_new_chunks_replace_old_ones(world: World) {
    let seen: Vec<_> = (1..=3).map(|n| announced(n, 5, &[])).collect();
    world.discover(&seen, &[root(9, &[1])]).await;
    let mut link = world.caught_up(&home()).await;
    world.confirm(&mut link, &[repo_item(1)], 4).await;
    world.confirm(&mut link, &[root_item(9)], 6).await;
    let batch = world.take(&link, &[repo_item(2)], 5).await.unwrap();
    let why = model::Incomplete::Closed;
    let incomplete = model::BatchOutcome::Incomplete { why, detail: String::new() };
    world.say(&mut link, super::world::ended(batch, incomplete)).await;
    let places = vec![(repo_item(1), 0), (root_item(9), 0)];
    world.claim(&link, |claim| claim.rechunk = places).await.unwrap();
    let snapshot = world.snapshot(&home()).await;
    assert_eq!(snapshot.chunks, (1, 1));
    assert_eq!(snapshot.tails.iter().map(|tail| tail.chunk).collect::<Vec<_>>(), [0, 0]);
    let unplaced = [placed(repo_item(2), None), placed(repo_item(3), None)];
    assert_eq!(snapshot.missing, unplaced, "an old place may be another chunk's by now");
}

pub(crate) async fn a_claim_of_an_old_epoch_or_a_link_that_is_down_is_fenced(world: World) {
    world.discover(&[announced(1, 5, &[])], &[]).await;
    let old = world.link(&home()).await;
    let mut new = world.link(&home()).await;
    let drafts = || vec![draft(&[repo_item(1)], 0)];
    assert_eq!(world.claim(&old, |claim| claim.drafts = drafts()).await, Err(StateError::Fenced));
    world.say(&mut new, Said::Down { class: model::DownClass::Closed, detail: String::new() }).await;
    assert_eq!(world.claim(&new, |claim| claim.drafts = drafts()).await, Err(StateError::Fenced));
    assert_eq!(world.counts(&home()).await, (1, 0, 0));
}

pub(crate) async fn an_upstream_is_planned_by_one_planner_at_a_time(world: World) {
    world.discover(&[announced(1, 5, &[1])], &[]).await;
    let (one, other) = (world.id_of(&home()).await, world.id_of(&relay(1)).await);
    assert_eq!(world.store.begin_plan(one, "a").await, Ok(true));
    assert_eq!(world.store.begin_plan(one, "a").await, Ok(true), "its own turn goes on");
    assert_eq!(world.store.begin_plan(one, "b").await, Ok(false));
    assert_eq!(world.store.begin_plan(other, "b").await, Ok(true), "another upstream is free");
    assert_eq!(world.store.holds_plan(one, "b").await, Ok(false));
    assert_eq!(world.store.end_plan(one, "b").await, Ok(false), "it is not its turn");
    assert_eq!(world.store.holds_plan(one, "a").await, Ok(true));
    assert_eq!(world.store.end_plan(one, "a").await, Ok(true));
    assert_eq!(world.store.holds_plan(one, "a").await, Ok(false));
    assert_eq!(world.store.begin_plan(one, "b").await, Ok(true));
}

pub(crate) async fn s14_new_chunks_make_a_rebuild_due_and_a_report_of_an_older_layout_does_not_settle_it(world: World) {
    world.discover(&[announced(1, 5, &[]), announced(2, 5, &[])], &[]).await;
    let mut link = world.caught_up(&home()).await;
    world.confirm(&mut link, &[repo_item(1)], 3).await;
    assert_eq!(world.snapshot(&home()).await.rebuild, None, "a batch brings its live filters itself");
    world.claim(&link, |claim| claim.rechunk = vec![(repo_item(1), 1)]).await.unwrap();
    let first = world.snapshot(&home()).await.rebuild.expect("due");
    world.claim(&link, |claim| claim.rechunk = vec![(repo_item(1), 0)]).await.unwrap();
    let second = world.snapshot(&home()).await.rebuild.expect("due");
    assert!(second > first);
    world.say(&mut link, Said::Rebuilt { layout: first }).await;
    assert_eq!(world.snapshot(&home()).await.rebuild, Some(second));
    world.say(&mut link, Said::Rebuilt { layout: second }).await;
    world.say(&mut link, Said::Rebuilt { layout: first }).await;
    assert_eq!(world.snapshot(&home()).await.rebuild, None);
}
