//! S2, S3: discoveries become targets.

use std::collections::{BTreeMap, BTreeSet};

use model::{Discovery, Item, PublicKey, RelayUrl, Removal, RepoSeen, RootSeen, Timestamp};

use super::world::{World, announced, home, id, relay, repo, repo_item, root, root_item};

const REPOS: usize = 40;
const RELAYS: usize = 12;
const ROOTS: usize = 120;

/// A small generator: the same seed, the same world.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % below as u64).unwrap()
    }

    fn some_of(&mut self, all: usize, most: usize) -> Vec<usize> {
        let chosen: BTreeSet<usize> = (0..self.roll(most + 1)).map(|_| self.roll(all)).collect();
        chosen.into_iter().collect()
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.roll(at + 1));
        }
    }
}

/// Everything that ever happens to the generated repos: up to three versions each, a few deletions, roots.
pub(crate) fn happenings(dice: &mut Dice) -> History {
    let mut repos = Vec::new();
    let mut removals = Vec::new();
    for n in 0..REPOS {
        for _ in 0..=dice.roll(3) {
            let at = 100 + dice.roll(5) as u64;
            let mut seen = announced(n, at, &dice.some_of(RELAYS, 4));
            seen.event = id(1_000_000 + dice.roll(1_000_000));
            repos.push(seen);
        }
        if dice.roll(6) == 0 {
            removals.push(Removal { addr: repo(n), until: Timestamp::from_secs(99 + dice.roll(6) as u64) });
        }
    }
    // Some tag a repo that is never announced.
    let roots = (0..ROOTS).map(|n| root(n, &dice.some_of(REPOS + 3, 3))).collect();
    (repos, roots, removals)
}

pub(crate) type History = (Vec<RepoSeen>, Vec<RootSeen>, Vec<Removal>);
pub(crate) type Targets = BTreeMap<RelayUrl, BTreeSet<Item>>;

/// The same targets by other means: from the whole history at once, repo by repo.
pub(crate) fn expected((repos, roots, removals): &History) -> Targets {
    let mut targets: Targets = (0..RELAYS).map(|n| (relay(n), BTreeSet::new())).collect();
    let mut all: BTreeSet<Item> = roots.iter().map(|root| Item::Root(root.id)).collect();
    for n in 0..REPOS {
        let addr = repo(n);
        let until = removals.iter().filter(|removal| removal.addr == addr).map(|removal| removal.until).max();
        let versions = repos.iter().filter(|seen| seen.addr == addr && until.is_none_or(|until| seen.created_at > until));
        let Some(current) = versions.min_by_key(|seen| (std::cmp::Reverse(seen.created_at), seen.event)) else { continue };
        all.insert(Item::Repo(addr.clone()));
        for url in &current.relays {
            let target = targets.get_mut(url).unwrap();
            target.insert(Item::Repo(addr.clone()));
            target.extend(roots.iter().filter(|root| root.repos.contains(&addr)).map(|root| Item::Root(root.id)));
        }
    }
    targets.insert(home(), all);
    targets.retain(|_, items| !items.is_empty());
    targets
}

pub(crate) async fn targets(world: &World) -> Targets {
    world.pass_home_first();
    let mut targets = Targets::new();
    for upstream in world.store.status().await.unwrap().upstreams {
        let items: BTreeSet<Item> = world.missing(&upstream.url).await.into_iter().collect();
        assert_eq!(upstream.wanted, items.len() as u64, "{}", upstream.url);
        if !items.is_empty() {
            targets.insert(upstream.url, items);
        }
    }
    targets
}

/// All happenings in random windows and order.
pub(crate) fn windows(history: &History, dice: &mut Dice) -> Vec<Discovery> {
    let (mut repos, mut roots, mut removals) = history.clone();
    dice.shuffle(&mut repos);
    dice.shuffle(&mut roots);
    dice.shuffle(&mut removals);
    let mut windows = Vec::new();
    while !(repos.is_empty() && roots.is_empty() && removals.is_empty()) {
        windows.push(Discovery {
            repos: repos.split_off(repos.len().saturating_sub(dice.roll(12))),
            roots: roots.split_off(roots.len().saturating_sub(dice.roll(20))),
            removals: removals.split_off(removals.len().saturating_sub(dice.roll(3))),
            ..Discovery::default()
        });
    }
    windows
}

async fn play(world: &World, history: &History, dice: &mut Dice) {
    for window in windows(history, dice) {
        world.window(&window).await;
    }
}

pub(crate) async fn s03_targets_are_the_inversion_whatever_the_order_of_discoveries(mut world: World) {
    for seed in 1..=4 {
        let mut dice = Dice(seed);
        let history = happenings(&mut dice);
        world.renew().await;
        play(&world, &history, &mut dice).await;
        let expected = expected(&history);
        assert!(expected.len() > RELAYS / 2, "a world worth looking at");
        assert_eq!(targets(&world).await, expected, "seed {seed}");
    }
}

pub(crate) async fn s03_repeating_a_discovery_changes_nothing(world: World) {
    let mut dice = Dice(77);
    let history = happenings(&mut dice);
    play(&world, &history, &mut dice).await;
    let before = targets(&world).await;
    let (repos, roots, removals) = history;
    let again = Discovery { repos, roots, removals, ..Discovery::default() };
    assert_eq!(world.window(&again).await, [], "nothing is dirty");
    assert_eq!(targets(&world).await, before);
}

pub(crate) async fn s03_an_announcement_that_drops_a_relay_shrinks_its_target(world: World) {
    world.discover(&[announced(1, 5, &[1, 2]), announced(2, 5, &[1])], &[root(1, &[1]), root(2, &[1, 2])]).await;
    let dirty = world.discover(&[announced(1, 6, &[2])], &[]).await;
    assert_eq!(dirty, [relay(1)]);
    world.pass_home_first();
    assert_eq!(world.missing(&relay(1)).await, [repo_item(2), root_item(2)], "root 2 stays by its other repo");
    assert_eq!(world.missing(&relay(2)).await, [repo_item(1), root_item(1), root_item(2)]);
}

pub(crate) async fn s03_a_deletion_retires_a_repo_and_its_roots_on_every_upstream(world: World) {
    world.discover(&[announced(1, 5, &[1, 2])], &[root(1, &[1])]).await;
    let dirty = world.remove(repo(1), 5).await;
    assert_eq!(dirty, [home(), relay(1), relay(2)]);
    assert_eq!(world.counts(&relay(1)).await, (0, 0, 0));
    assert_eq!(world.counts(&relay(2)).await, (0, 0, 0));
    assert_eq!(world.missing(&home()).await, [root_item(1)], "home still serves the root");
    assert_eq!(world.store.status().await.unwrap().repos, 0);
}

pub(crate) async fn s03_a_deletion_does_not_touch_a_later_version(world: World) {
    world.discover(&[announced(1, 5, &[1])], &[]).await;
    assert_eq!(world.remove(repo(1), 4).await, []);
    assert_eq!(world.counts(&relay(1)).await, (1, 0, 0));
    world.remove(repo(1), 6).await;
    assert_eq!(world.discover(&[announced(1, 6, &[1])], &[]).await, [], "gone for good");
    assert_eq!(world.discover(&[announced(1, 7, &[2])], &[]).await, [home(), relay(2)]);
}

pub(crate) async fn s03_an_older_version_that_comes_late_changes_nothing(world: World) {
    world.discover(&[announced(1, 5, &[1])], &[]).await;
    assert_eq!(world.discover(&[announced(1, 4, &[2])], &[]).await, []);
    assert_eq!(world.counts(&relay(1)).await, (1, 0, 0));
    assert_eq!(world.status_of(&relay(2)).await, None);
}

pub(crate) async fn s03_of_two_versions_of_one_second_the_lower_id_wins(world: World) {
    let version = |event: usize, on: usize| RepoSeen { event: id(event), ..announced(1, 5, &[on]) };
    world.discover(&[version(20, 1)], &[]).await;
    world.discover(&[version(30, 2)], &[]).await;
    assert_eq!((world.counts(&relay(1)).await.0, world.counts(&relay(2)).await.0), (1, 0));
    world.discover(&[version(10, 3)], &[]).await;
    assert_eq!((world.counts(&relay(1)).await.0, world.counts(&relay(3)).await.0), (0, 1));
}

pub(crate) async fn s03_roots_that_come_before_their_announcement_are_covered_with_it(world: World) {
    assert_eq!(world.discover(&[], &[root(1, &[1])]).await, [home()]);
    assert_eq!(world.discover(&[announced(1, 5, &[1])], &[]).await, [home(), relay(1)]);
    world.pass_home_first();
    assert_eq!(world.missing(&relay(1)).await, [repo_item(1), root_item(1)]);
}

pub(crate) async fn s03_a_confirmed_item_stays_confirmed_while_its_repo_stays_listed(world: World) {
    world.discover(&[announced(1, 5, &[1])], &[]).await;
    let mut link = world.link(&relay(1)).await;
    world.confirm(&mut link, &[repo_item(1)], 0).await;
    assert_eq!(world.discover(&[announced(1, 6, &[1, 2])], &[]).await, [relay(2)]);
    assert_eq!(world.counts(&relay(1)).await, (0, 0, 1));
}

pub(crate) async fn s02_a_discovery_names_the_upstreams_whose_coverage_changed(world: World) {
    assert_eq!(world.discover(&[announced(1, 5, &[1, 2])], &[]).await, [home(), relay(1), relay(2)]);
    assert_eq!(world.discover(&[announced(1, 6, &[1, 2])], &[]).await, [], "a new version, the same relays");
    assert_eq!(world.discover(&[announced(2, 5, &[2])], &[]).await, [home(), relay(2)]);
    assert_eq!(world.discover(&[], &[root(1, &[1])]).await, [home(), relay(1), relay(2)]);
    assert_eq!(world.discover(&[], &[root(1, &[1])]).await, []);
}

pub(crate) async fn s16_an_upstream_is_empty_from_the_moment_its_last_item_goes(world: World) {
    world.discover(&[announced(1, 5, &[1])], &[]).await;
    assert_eq!(world.snapshot(&relay(1)).await.empty_since, None);
    world.pass(100);
    let gone_at = Timestamp::from_secs(world.now());
    world.discover(&[announced(1, 6, &[2])], &[]).await;
    world.pass(10);
    assert_eq!(world.snapshot(&relay(1)).await.empty_since, Some(gone_at));
    world.discover(&[announced(1, 7, &[1])], &[]).await;
    assert_eq!(world.snapshot(&relay(1)).await.empty_since, None);
}

pub(crate) async fn who_speaks_for_a_repo_is_told_by_its_identifier(world: World) {
    let key = |n: u8| nostr::prelude::Keys::new(nostr::prelude::SecretKey::from_slice(&[n; 32]).unwrap()).public_key();
    let named = |n: usize, at: u64, maintainers: &[u8]| RepoSeen {
        maintainers: maintainers.iter().copied().map(key).collect(),
        ..announced(n, at, &[])
    };
    let told = async |n: usize| world.store.announced(&[repo(n).identifier]).await.unwrap();
    let announced = |n: usize, maintainers: &[u8]| model::Announced {
        addr: repo(n),
        maintainers: maintainers.iter().copied().map(key).collect(),
        clone_urls: vec![],
    };
    world.discover(&[named(1, 5, &[2, 3]), named(2, 5, &[])], &[root(9, &[3])]).await;
    assert_eq!(told(1).await, [announced(1, &[2, 3])]);
    assert_eq!(told(3).await, [], "tagged, but not announced");
    world.discover(&[named(1, 4, &[4]), named(1, 6, &[5])], &[]).await;
    assert_eq!(told(1).await, [announced(1, &[5])], "the newest version counts");
    let of_another = model::RepoAddr { pubkey: key(7), ..repo(1) };
    world.discover(&[RepoSeen { addr: of_another.clone(), ..named(1, 6, &[6]) }], &[]).await;
    let both = world.store.announced(&[repo(1).identifier, repo(2).identifier]).await.unwrap();
    assert_eq!(both.len(), 3);
    assert!(both.contains(&model::Announced { addr: of_another, maintainers: vec![key(6)], clone_urls: vec![] }));
    world.remove(repo(1), 6).await;
    assert_eq!(told(1).await.len(), 1, "what is deleted names nobody");
    assert_eq!(world.store.announced(&[]).await.unwrap(), []);
}

pub(crate) async fn scenario_13_a_new_version_adds_and_retires_upstreams_with_all_their_roots(world: World) {
    world.discover(&[announced(1, 5, &[1, 2])], &[root(9, &[1])]).await;
    let mut kept = world.caught_up(&relay(2)).await;
    world.pass_home_first();
    world.confirm(&mut kept, &[repo_item(1)], 0).await;
    let dirty = world.discover(&[announced(1, 6, &[2, 3])], &[]).await;
    assert_eq!(dirty, [relay(1), relay(3)], "nothing changes where it stays listed");
    world.pass_home_first();
    assert_eq!(world.counts(&relay(1)).await, (0, 0, 0));
    assert_eq!(world.counts(&relay(2)).await, (1, 0, 1));
    assert_eq!(world.missing(&relay(3)).await, [repo_item(1), root_item(9)]);
}

pub(crate) async fn scenario_17_a_root_is_covered_under_each_of_its_repos_and_under_those_announced_later(world: World) {
    world.discover(&[announced(2, 5, &[2])], &[root(9, &[1, 2, 3])]).await;
    world.pass_home_first();
    assert_eq!(world.missing(&relay(2)).await, [repo_item(2), root_item(9)], "its first repo is unknown");
    world.discover(&[announced(1, 5, &[1]), announced(3, 5, &[1, 3])], &[]).await;
    world.pass_home_first();
    assert_eq!(world.missing(&relay(1)).await, [repo_item(1), repo_item(3), root_item(9)]);
    assert_eq!(world.missing(&relay(3)).await, [repo_item(3), root_item(9)]);
    world.remove(repo(3), 5).await;
    assert_eq!(world.missing(&relay(1)).await, [repo_item(1), root_item(9)], "another of its repos is there");
    assert_eq!(world.missing(&relay(3)).await, []);
    assert!(world.missing(&home()).await.contains(&root_item(9)), "home holds it whatever became of its repos");
}

pub(crate) async fn x6_what_an_author_opens_beyond_a_budget_is_asked_for_nowhere_and_a_maintainer_has_none(mut world: World) {
    const MOST: usize = 50;
    world.restart(|settings| settings.policy.roots_per_author = MOST).await;
    let [spammer, other] = [1, 2].map(|n| PublicKey::from_byte_array([n; 32]));
    let by = |author, n, repos: &[usize]| RootSeen { author: Some(author), ..root(n, repos) };
    world.discover(&[announced(1, 100, &[1]), announced(2, 100, &[1])], &[]).await;
    // Windows of a flood, the last one beside what others open, and a root that tags a second repo too.
    for window in 0..4 {
        let flood: Vec<RootSeen> = (0..50).map(|n| by(spammer, window * 50 + n, &[1])).collect();
        world.discover(&[], &flood).await;
    }
    let others = [by(other, 1_000, &[1]), by(repo(1).pubkey, 1_001, &[1]), by(spammer, 1_002, &[1, 2])];
    world.discover(&[], &others).await;
    let roots = |targets: &Targets, url: &RelayUrl| -> Vec<Item> {
        targets[url].iter().filter(|item| matches!(item, Item::Root(_))).cloned().collect()
    };
    let now = targets(&world).await;
    let within: Vec<Item> = (0..MOST).chain(1_000..1_003).map(root_item).collect();
    assert_eq!(roots(&now, &relay(1)), within, "the first ones");
    assert_eq!(roots(&now, &home()), within);
    assert_eq!(beyond(&world).await, (203, 151));
    // Said again, nothing is counted twice.
    let again: Vec<RootSeen> = (0..50).map(|n| by(spammer, n, &[1])).collect();
    world.discover(&[], &again).await;
    assert_eq!(beyond(&world).await, (203, 151));
    let named = RepoSeen { maintainers: vec![spammer], ..announced(1, 200, &[1]) };
    world.discover(&[named], &[by(spammer, 2_000, &[1])]).await;
    let all: Vec<Item> = (0..200).chain(1_000..1_003).chain([2_000]).map(root_item).collect();
    let now = targets(&world).await;
    assert_eq!((roots(&now, &relay(1)), roots(&now, &home())), (all.clone(), all), "now a maintainer");
    assert_eq!(beyond(&world).await, (204, 0));
}

/// Roots of the first repo, and those of them that are over a budget.
async fn beyond(world: &World) -> (u64, u64) {
    match world.store.explain(&model::Subject::Repo(repo(1))).await.unwrap().explained {
        model::Explained::Repo(repo) => {
            let repo = repo.unwrap();
            (repo.roots, repo.roots_beyond)
        }
        other @ (model::Explained::Event(_) | model::Explained::Upstream(_)) => panic!("{other:?}"),
    }
}
