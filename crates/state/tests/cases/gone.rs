//! What is kept from home for good, what is private, who takes part, and what events name.

use model::{
    Bar, Discovery, EventId, Filter, GateReason, Item, Kind, LedgerScope, Outcome, Participant, PublicKey, RefTag, RepoAddr,
    RepoSeen, Timestamp, Tombstone, kinds, private_key_of,
};

use super::world::{START, World, announced, home, id, naming, progress, relay, repo, repo_item, root, root_item, row};

const NOTE: Kind = Kind::TextNote;

fn author(n: u8) -> PublicKey {
    nostr::prelude::Keys::new(nostr::prelude::SecretKey::from_slice(&[n; 32]).unwrap()).public_key()
}

fn own(repo: &RepoAddr) -> PublicKey {
    repo.pubkey
}

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn participants(authors: &[u8], repos: &[usize]) -> Discovery {
    let repos: Vec<RepoAddr> = repos.iter().copied().map(repo).collect();
    let participants = authors.iter().map(|n| Participant { author: author(*n), repos: repos.clone() }).collect();
    Discovery { participants, ..Discovery::default() }
}

async fn bury(world: &World, tombstones: Vec<Tombstone>) {
    world.window(&Discovery { tombstones, ..Discovery::default() }).await;
}

fn deleted(n: usize, by: PublicKey) -> Tombstone {
    Tombstone::Event { id: id(n), author: by }
}

fn outcome_of(outcomes: &[(String, u64)], outcome: Outcome) -> u64 {
    outcomes.iter().find(|(word, _)| word == outcome.as_str()).map_or(0, |(_, n)| *n)
}

async fn known(world: &World, ids: &[usize]) -> Vec<EventId> {
    let ids: Vec<EventId> = ids.iter().copied().map(id).collect();
    world.store.known(&ids).await.unwrap()
}

pub(crate) async fn participants_are_covered_where_their_repos_are_and_at_home(world: World) {
    world.discover(&[announced(1, 5, &[1, 2]), announced(2, 5, &[2])], &[]).await;
    assert_eq!(world.window(&participants(&[7], &[1])).await, [home(), relay(1), relay(2)]);
    assert_eq!(world.window(&participants(&[7], &[1])).await, [], "known by now");
    let item = Item::Participant(author(7));
    world.pass_home_first();
    assert!(world.missing(&home()).await.contains(&item));
    assert_eq!(world.missing(&relay(1)).await, [item.clone(), repo_item(1)], "what takes events away comes first");
    world.discover(&[announced(1, 6, &[1])], &[]).await;
    assert_eq!(world.missing(&relay(2)).await, [repo_item(2)], "its repo left");
    world.remove(repo(1), 9).await;
    assert!(!world.missing(&relay(1)).await.contains(&item));
    assert!(world.missing(&home()).await.contains(&item), "home is asked for what it deletes as long as it stands");
}

pub(crate) async fn nothing_is_asked_for_before_home_was_read_for_deletions(world: World) {
    world.discover(&[announced(1, 5, &[1])], &[]).await;
    world.window(&participants(&[7], &[1])).await;
    let mut link = world.link(&home()).await;
    world.confirm(&mut link, &[repo_item(1)], 0).await;
    assert_eq!(world.missing(&relay(1)).await, [], "home holds the repo, but its deletions are not known");
    world.confirm(&mut link, &[Item::Participant(author(7))], 1).await;
    assert_eq!(world.missing(&relay(1)).await, [Item::Participant(author(7)), repo_item(1)]);
}

pub(crate) async fn a_set_of_deletions_is_made_of_their_authors_and_kinds(world: World) {
    let mut link = world.link(&home()).await;
    let by = |n: u8| author(n).to_hex();
    let rows = vec![
        naming(row(1, kinds::DELETION, 10, Outcome::Stored), &[(RefTag::Author, &by(7))]),
        naming(row(2, kinds::VANISH, 11, Outcome::Refused), &[(RefTag::Author, &by(7))]),
        naming(row(3, NOTE, 12, Outcome::Stored), &[(RefTag::Author, &by(7))]),
        naming(row(4, kinds::DELETION, 13, Outcome::Stored), &[(RefTag::Author, &by(8))]),
    ];
    world.say(&mut link, progress(vec![], rows)).await;
    let filter = Filter::new().kinds([kinds::DELETION, kinds::VANISH]).authors([author(7), author(9)]);
    let set = async |at_home| {
        let page = world.store.ledger(&LedgerScope { filter: filter.clone(), at_home }, None).await.unwrap();
        page.rows.into_iter().map(|row| row.id).collect::<Vec<EventId>>()
    };
    assert_eq!(set(false).await, [id(1), id(2)]);
    assert_eq!(set(true).await, [id(1)]);
}

pub(crate) async fn scenario_15_what_is_deleted_bars_its_like_for_every_process_and_after_a_restart(mut world: World) {
    let address =
        |until| Tombstone::Address { kind: kinds::STATE, author: author(7), identifier: "x".into(), until: at(until) };
    let vanished = |until| Tombstone::Vanished { author: author(8), until: at(until) };
    bury(&world, vec![deleted(1, author(7)), address(9), vanished(5), vanished(9), address(7)]).await;
    let tombstones = [deleted(1, author(7)), address(0), vanished(0), deleted(1, author(8)), deleted(2, author(7))];
    let keys: Vec<String> = tombstones.iter().map(Tombstone::key).collect();
    let mut expected: Vec<Bar> =
        [None, Some(at(9)), Some(at(9))].into_iter().zip(&keys).map(|(until, key)| Bar { key: key.clone(), until }).collect();
    expected.sort();
    world.crash().await;
    let mut bars = world.store.bars(&keys).await.unwrap();
    bars.sort();
    assert_eq!(bars, expected, "the later moment counts");
}

pub(crate) async fn what_home_gave_up_is_not_asked_for_again_though_it_was_there(world: World) {
    let mut link = world.link(&home()).await;
    let by = |n: u8| author(n).to_hex();
    let state = format!("30617:{}:x", by(7));
    let rows = vec![
        naming(row(1, NOTE, 10, Outcome::Stored), &[(RefTag::Author, &by(7))]),
        naming(row(2, NOTE, 10, Outcome::Stored), &[(RefTag::Author, &by(8))]),
        naming(row(3, kinds::STATE, 10, Outcome::Stored), &[(RefTag::Author, &by(7)), (RefTag::Own, &state)]),
        naming(row(4, kinds::ANNOUNCEMENT, 10, Outcome::Stored), &[(RefTag::Author, &by(7)), (RefTag::Own, &state)]),
        naming(row(5, NOTE, 10, Outcome::Duplicate), &[(RefTag::Author, &by(9))]),
        naming(row(6, kinds::VANISH, 10, Outcome::Stored), &[(RefTag::Author, &by(9))]),
        naming(row(7, NOTE, 11, Outcome::Stored), &[(RefTag::Author, &by(9))]),
    ];
    world.say(&mut link, progress(vec![], rows)).await;
    let address = Tombstone::Address { kind: kinds::STATE, author: author(7), identifier: "x".into(), until: at(10) };
    let vanished = Tombstone::Vanished { author: author(9), until: at(10) };
    bury(&world, vec![deleted(1, author(7)), deleted(2, author(7)), address, vanished]).await;
    let outcomes = world.store.status().await.unwrap().outcomes;
    assert_eq!(outcome_of(&outcomes, Outcome::Gated(GateReason::Deleted)), 2, "1 and 3");
    assert_eq!(outcome_of(&outcomes, Outcome::Gated(GateReason::Vanished)), 1, "5");
    assert_eq!(outcome_of(&outcomes, Outcome::Stored), 4);
    world.say(&mut link, model::Said::Lost { ids: (1..=7).map(id).collect() }).await;
    assert_eq!(known(&world, &[1, 2, 3, 4, 5, 6, 7]).await, [id(1), id(3), id(5)], "the others come back");
}

pub(crate) async fn scenario_13_an_announcement_deleted_by_its_id_or_with_its_author_ends_its_repo(world: World) {
    let repos = [announced(1, 5, &[1]), announced(2, 5, &[1]), announced(3, 5, &[1])];
    world.discover(&repos, &[root(1, &[1])]).await;
    world.pass_home_first();
    bury(&world, vec![Tombstone::Event { id: repos[0].event, author: author(99) }]).await;
    assert_eq!(world.missing(&relay(1)).await.len(), 4, "nobody deletes what is another's");
    bury(&world, vec![Tombstone::Event { id: repos[0].event, author: own(&repos[0].addr) }]).await;
    assert_eq!(world.missing(&relay(1)).await, [repo_item(2), repo_item(3)], "its roots go with it");
    world.discover(&repos[..1], &[]).await;
    assert_eq!(world.missing(&relay(1)).await, [repo_item(2), repo_item(3)], "it does not come back");
    bury(&world, vec![Tombstone::Vanished { author: own(&repos[1].addr), until: at(5) }]).await;
    let left: Vec<Item> =
        repos[2..].iter().filter(|one| own(&one.addr) != own(&repos[1].addr)).map(|one| Item::Repo(one.addr.clone())).collect();
    assert_eq!(world.missing(&relay(1)).await, left);
    world.discover(&[announced(1, 6, &[1])], &[]).await;
    world.pass_home_first();
    assert!(world.missing(&relay(1)).await.contains(&root_item(1)), "a later version is another matter");
}

fn shared(repo: RepoSeen, names: &[PublicKey]) -> RepoSeen {
    RepoSeen { maintainers: names.to_vec(), ..repo }
}

pub(crate) async fn a_private_repo_is_covered_by_its_peers_only_and_barred_elsewhere(mut world: World) {
    world.restart(|settings| settings.private_peers = vec![relay(2)]).await;
    let private = |n, at, private| RepoSeen { private, ..announced(n, at, &[1, 2]) };
    world.discover(&[private(1, 5, true), announced(2, 5, &[1, 2])], &[root(1, &[1, 2]), root(2, &[2])]).await;
    world.window(&participants(&[7], &[1])).await;
    world.pass_home_first();
    assert_eq!(world.missing(&relay(1)).await, [repo_item(2), root_item(2)], "nor a root that tags a public repo too");
    let all = [Item::Participant(author(7)), repo_item(1), repo_item(2), root_item(1), root_item(2)];
    assert_eq!(world.missing(&relay(2)).await, all);
    let keys = [private_key_of(&repo(1)), private_key_of(&repo(2))];
    assert_eq!(world.store.bars(&keys).await.unwrap(), [Bar { key: keys[0].clone(), until: None }]);
    assert!(world.discover(&[private(1, 6, false)], &[]).await.contains(&relay(1)));
    world.pass_home_first();
    assert_eq!(world.missing(&relay(1)).await, all, "it is public from now on");
    assert!(world.discover(&[private(1, 7, true)], &[]).await.contains(&relay(1)));
    assert_eq!(world.missing(&relay(1)).await, [repo_item(2), root_item(2)], "and private again");
}

pub(crate) async fn a_repo_is_private_by_the_word_of_whom_it_names(world: World) {
    let mut named = announced(2, 5, &[1]);
    named.addr = RepoAddr::new(author(9), &repo(1).identifier).unwrap();
    world.discover(&[shared(announced(1, 5, &[1]), &[author(9)]), named.clone()], &[]).await;
    world.pass_home_first();
    assert_eq!(world.missing(&relay(1)).await.len(), 2);
    world.discover(&[RepoSeen { private: true, created_at: at(6), ..named }], &[]).await;
    assert_eq!(world.missing(&relay(1)).await, []);
}

pub(crate) async fn the_ids_of_what_is_private_are_in_no_set_for_an_upstream(world: World) {
    world.discover(&[RepoSeen { private: true, ..announced(1, 5, &[1]) }], &[]).await;
    let mut link = world.link(&home()).await;
    let rows = vec![
        naming(row(1, kinds::ANNOUNCEMENT, 10, Outcome::Stored), &[(RefTag::Own, &repo(1).to_string())]),
        naming(row(2, kinds::STATE, 10, Outcome::Stored), &[(RefTag::Own, &repo(1).to_string())]),
        naming(row(3, kinds::STATE, 10, Outcome::Stored), &[(RefTag::Own, &repo(2).to_string())]),
    ];
    world.say(&mut link, progress(vec![], rows)).await;
    for (at_home, expected) in [(false, 1), (true, 3)] {
        let filter = Filter::new().kinds([kinds::ANNOUNCEMENT, kinds::STATE]);
        assert_eq!(world.store.ledger(&LedgerScope { filter, at_home }, None).await.unwrap().rows.len(), expected);
    }
}

pub(crate) async fn what_an_event_names_and_home_lacks_is_looked_for_once_it_did_not_come_by_itself(world: World) {
    world.discover(&[announced(1, 5, &[1, 2]), announced(2, 5, &[2])], &[root(9, &[1])]).await;
    world.pass_home_first();
    let mut link = world.link(&home()).await;
    let (first, second, address, nine) = (id(1).to_hex(), id(2).to_hex(), repo(2).to_string(), id(9).to_hex());
    let rows = vec![
        row(9, kinds::ISSUE, 10, Outcome::Stored),
        naming(row(5, NOTE, 10, Outcome::Stored), &[(RefTag::RootEvent, &nine), (RefTag::Event, &first)]),
        naming(row(6, NOTE, 10, Outcome::Stored), &[(RefTag::Address, &address), (RefTag::Quote, &second)]),
        naming(row(7, kinds::DELETION, 10, Outcome::Stored), &[(RefTag::Address, &address), (RefTag::Event, &id(3).to_hex())]),
        naming(row(8, NOTE, 10, Outcome::Refused), &[(RefTag::Address, &address), (RefTag::Event, &id(4).to_hex())]),
    ];
    world.say(&mut link, progress(vec![], rows)).await;
    world.store.sweep().await.unwrap();
    let is_named = |item: &Item| matches!(item, Item::Named(_));
    let named = async |url| world.missing(&url).await.into_iter().filter(is_named).collect::<Vec<Item>>();
    assert_eq!(named(relay(1)).await, [], "it may come by itself");
    world.pass(engine::rules::NAMED_AFTER_SECS);
    world.store.sweep().await.unwrap();
    world.pass_home_first();
    assert_eq!(named(relay(1)).await, [Item::Named(id(1))], "one that is the root's is looked for with the root's repo");
    assert_eq!(named(relay(2)).await, [Item::Named(id(1)), Item::Named(id(2))]);
    world.say(&mut link, progress(vec![], vec![row(1, NOTE, 9, Outcome::Stored)])).await;
    world.store.sweep().await.unwrap();
    assert_eq!(named(relay(2)).await, [Item::Named(id(2))], "it has come");
    assert_eq!(world.now(), START + 30 + 60 + 30);
    world.pass(7 * 24 * 3600);
    world.store.sweep().await.unwrap();
    assert_eq!(named(relay(2)).await, [], "nobody has it");
}
