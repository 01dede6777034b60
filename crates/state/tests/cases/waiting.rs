//! What home refuses until something arrives, what it holds without serving it, and what a change of policy opens again.

use engine::parents::any_announcement_of;
use model::{EventId, GateReason, Kind, Learned, Outcome, Said, Stated, Timestamp, Waiting};

use super::world::{World, announced, home, id, progress, relay, repo, row};

const NOTE: Kind = Kind::TextNote;

fn waiting(n: usize, parents: &[String]) -> Waiting {
    Waiting { id: id(n), parents: parents.to_vec(), json: format!(r#"{{"n":{n}}}"#) }
}

async fn hold(world: &World, waiting: &[Waiting]) -> u64 {
    world.store.hold(waiting).await.unwrap()
}

async fn released(world: &World) -> Vec<EventId> {
    world.store.released().await.unwrap().into_iter().map(|one| one.id).collect()
}

async fn settle(world: &World, n: usize, outcome: Outcome) -> u64 {
    world.store.settle(&[row(n, NOTE, 5, outcome)]).await.unwrap()
}

pub(crate) async fn scenario_16_what_waits_is_released_when_its_parent_lands_by_any_path(world: World) {
    let mut link = world.caught_up(&home()).await;
    let by_name = any_announcement_of(&repo(1).identifier);
    let kept = [
        waiting(1, &[id(90).to_hex(), id(91).to_hex()]),
        waiting(2, &[repo(1).to_string()]),
        waiting(3, &[by_name]),
        waiting(4, &[id(92).to_hex()]),
    ];
    assert_eq!(hold(&world, &kept).await, 4);
    assert_eq!(hold(&world, &kept).await, 0, "kept already");
    assert_eq!(released(&world).await, [], "nothing has arrived");
    let arrivals = vec![row(91, NOTE, 5, Outcome::Stored), row(92, NOTE, 5, Outcome::Refused)];
    world.say(&mut link, progress(vec![], arrivals)).await;
    let given = world.store.released().await.unwrap();
    assert_eq!(given, [Waiting { parents: vec![], ..kept[0].clone() }], "as it was kept");
    assert_eq!(released(&world).await, [], "somebody has it");
    world.discover(&[announced(1, 5, &[])], &[]).await;
    assert_eq!(released(&world).await, [id(2), id(3)], "by its address, and by its name");
}

pub(crate) async fn what_was_released_waits_on_until_it_is_settled(world: World) {
    let mut link = world.caught_up(&home()).await;
    let arrive = async |link: &mut super::world::Link, n: usize| {
        world.say(link, progress(vec![], vec![row(n, NOTE, 5, Outcome::Stored)])).await;
    };
    hold(&world, &[waiting(1, &[id(90).to_hex(), id(91).to_hex()])]).await;
    arrive(&mut link, 90).await;
    assert_eq!(released(&world).await, [id(1)]);
    assert_eq!(settle(&world, 1, Outcome::NeedsParent).await, 0);
    assert_eq!(released(&world).await, [], "refused again: nothing more has arrived");
    world.pass(100);
    assert_eq!(released(&world).await, []);
    arrive(&mut link, 91).await;
    assert_eq!(released(&world).await, [id(1)]);
    world.pass(59);
    assert_eq!(released(&world).await, []);
    world.pass(1);
    assert_eq!(released(&world).await, [id(1)], "who had it has died");
    assert_eq!(settle(&world, 1, Outcome::Stored).await, 1);
    world.pass(100);
    assert_eq!(released(&world).await, []);
    assert_eq!(world.store.status().await.unwrap().at_home, 3);
}

pub(crate) async fn what_arrives_while_an_event_is_offered_is_not_missed(world: World) {
    let mut link = world.caught_up(&home()).await;
    world.say(&mut link, progress(vec![], vec![row(90, NOTE, 5, Outcome::Stored)])).await;
    hold(&world, &[waiting(1, &[id(90).to_hex(), id(91).to_hex()])]).await;
    assert_eq!(released(&world).await, [id(1)], "it arrived before the event was kept");
    world.say(&mut link, progress(vec![], vec![row(91, NOTE, 5, Outcome::Stored)])).await;
    settle(&world, 1, Outcome::NeedsParent).await;
    assert_eq!(released(&world).await, [id(1)]);
}

pub(crate) async fn what_waits_survives_a_restart(mut world: World) {
    hold(&world, &[waiting(1, &[repo(1).to_string()])]).await;
    world.crash().await;
    world.discover(&[announced(1, 5, &[])], &[]).await;
    assert_eq!(released(&world).await, [id(1)]);
}

pub(crate) async fn what_waits_is_bounded_and_the_oldest_is_forgotten(world: World) {
    let mut link = world.caught_up(&home()).await;
    let rows = (0..5).map(|n| row(n, NOTE, 5, Outcome::NeedsParent)).collect();
    world.say(&mut link, progress(vec![], rows)).await;
    let parent = [id(90_000).to_hex()];
    let all: Vec<Waiting> = (0..10_003).map(|n| waiting(n, &parent)).collect();
    for chunk in all.chunks(2_501) {
        hold(&world, chunk).await;
        world.pass(1);
    }
    let known = world.store.known(&[id(0), id(1), id(2), id(3), id(4)]).await.unwrap();
    assert_eq!(known, [id(3), id(4)], "what is not kept may be downloaded again");
    let too_long = Waiting { json: "x".repeat(model::MAX_WAITING_BYTES + 1), ..waiting(20_000, &parent) };
    assert_eq!(hold(&world, &[too_long]).await, 0);
}

pub(crate) async fn what_home_held_without_serving_it_is_offered_once_a_day(world: World) {
    let mut link = world.caught_up(&home()).await;
    let held = async |link: &mut super::world::Link| {
        world.say(link, progress(vec![], vec![row(1, NOTE, 5, Outcome::Held), row(2, NOTE, 5, Outcome::Held)])).await;
    };
    let known = async || world.store.known(&[id(1), id(2)]).await.unwrap();
    held(&mut link).await;
    world.say(&mut link, progress(vec![], vec![row(2, NOTE, 5, Outcome::Stored)])).await;
    world.pass(23 * 3600);
    world.store.sweep().await.unwrap();
    assert_eq!(known().await, [id(1), id(2)], "not downloaded again");
    world.pass(3600);
    world.store.sweep().await.unwrap();
    assert_eq!(known().await, [id(2)], "what home serves stays known");
    let mut link = world.caught_up(&home()).await;
    held(&mut link).await;
    world.store.sweep().await.unwrap();
    assert_eq!(known().await, [id(1), id(2)], "held anew, for another day");
    let outcomes = world.store.status().await.unwrap().outcomes;
    assert_eq!(outcomes, [("stored".to_owned(), 1), ("held".to_owned(), 1)]);
}

pub(crate) async fn a_change_of_policy_opens_exactly_what_policy_refused(world: World) {
    world.discover(&[announced(1, 5, &[1])], &[]).await;
    let mut link = world.caught_up(&relay(1)).await;
    let outcomes = [
        Outcome::Declined,
        Outcome::Gated(GateReason::Blocked),
        Outcome::Stored,
        Outcome::Refused,
        Outcome::Superseded,
        Outcome::Gated(GateReason::Expired),
        Outcome::Held,
    ];
    let rows = outcomes.into_iter().zip(1..).map(|(outcome, n)| row(n, NOTE, 5, outcome)).collect();
    world.say(&mut link, progress(vec![], rows)).await;
    hold(&world, &[waiting(8, &[id(90).to_hex()])]).await;
    let all: Vec<EventId> = (1..=7).map(id).collect();
    let known = async || world.store.known(&all).await.unwrap();
    let say = async |policy: &str| world.store.policy(policy).await.unwrap();
    assert!(!say("listed").await && !say("listed").await, "the first word opens nothing");
    assert_eq!(known().await, all);
    assert!(world.snapshot(&relay(1)).await.refresh_at > Timestamp::from_secs(world.now() + 7200));
    assert!(say("archive").await);
    assert_eq!(known().await, all[2..]);
    let scope = model::LedgerScope { filter: model::Filter::new().kind(NOTE), at_home: false };
    assert_eq!(world.store.ledger(&scope, None).await.unwrap().rows.len(), 5, "nor are they in a set");
    assert_eq!(released(&world).await, [id(8)]);
    assert!(world.snapshot(&relay(1)).await.refresh_at < Timestamp::from_secs(world.now() + 3600), "soon asked for again");
    world.say(&mut link, progress(vec![], vec![row(1, NOTE, 5, Outcome::Declined)])).await;
    assert_eq!(known().await.len(), 6, "and refused by the new policy");
    assert!(!say("archive").await);
    assert_eq!(known().await.len(), 6);
}

fn stating(terms: Option<&str>) -> Said {
    let stated = Stated { terms: terms.map(str::to_owned), ..Stated::default() };
    Said::Learned { facts: Learned { stated: Some(stated), ..Learned::default() } }
}

pub(crate) async fn another_document_of_home_opens_exactly_what_its_terms_kept_out(world: World) {
    world.discover(&[announced(1, 5, &[1])], &[]).await;
    let mut at_home = world.caught_up(&home()).await;
    let mut link = world.caught_up(&relay(1)).await;
    let gated = [GateReason::Future, GateReason::TooOld, GateReason::TooLarge, GateReason::Expiring];
    let others = [
        Outcome::Gated(GateReason::Blocked),
        Outcome::Stored,
        Outcome::Refused,
        Outcome::Superseded,
        Outcome::Gated(GateReason::Expired),
        Outcome::Held,
    ];
    let outcomes = gated.into_iter().map(Outcome::Gated).chain([Outcome::Declined]).chain(others);
    let ahead = world.now() + 100_000;
    let rows = outcomes.zip(1..).map(|(outcome, n)| row(n, NOTE, ahead, outcome)).collect();
    world.say(&mut link, progress(vec![], rows)).await;
    hold(&world, &[waiting(90, &[id(91).to_hex()])]).await;
    world.store.policy("anything").await.unwrap();
    let all: Vec<EventId> = (1..=11).map(id).collect();
    let known = async || {
        world.store.sweep().await.unwrap();
        world.store.known(&all).await.unwrap()
    };
    world.say(&mut at_home, stating(Some("first"))).await;
    assert_eq!(known().await, all, "what is there was refused by them");
    world.say(&mut link, stating(Some("an upstream's"))).await;
    world.say(&mut at_home, stating(None)).await;
    assert_eq!(known().await, all, "silence changes nothing");
    world.say(&mut at_home, stating(Some("first"))).await;
    assert_eq!(known().await, all);
    world.say(&mut at_home, stating(Some("second"))).await;
    assert_eq!(known().await, all[5..]);
    assert_eq!(released(&world).await, [id(90)]);
    assert!(world.snapshot(&relay(1)).await.refresh_at < Timestamp::from_secs(world.now() + 3600), "soon asked for again");
    world.say(&mut link, progress(vec![], vec![row(1, NOTE, ahead, Outcome::Declined)])).await;
    assert_eq!(known().await.len(), 7, "and refused by the new terms");
}

pub(crate) async fn what_lay_ahead_may_come_again_when_its_moment_has_come(world: World) {
    let mut link = world.caught_up(&home()).await;
    let ahead = world.now() + 60;
    let rows = [(1, Outcome::Gated(GateReason::Future)), (2, Outcome::Declined)];
    let rows = rows.into_iter().map(|(n, outcome)| row(n, NOTE, ahead, outcome)).collect();
    world.say(&mut link, progress(vec![], rows)).await;
    let known = async || {
        world.store.sweep().await.unwrap();
        world.store.known(&[id(1), id(2)]).await.unwrap()
    };
    assert_eq!(known().await, [id(1), id(2)]);
    world.live(60).await;
    assert_eq!(known().await, [id(2)]);
}
