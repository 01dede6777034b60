//! Which relays there are, and in which role.

use model::{DownClass, Learned, PublicKey, RelayUrl, Role, Said, Stated};

use super::world::{World, announced, home, id, relay, repo, repo_item, root, root_item, url};

pub(crate) async fn a_bootstrap_relay_that_is_no_longer_named_becomes_listed(world: World) {
    world.store.name_relays(&[(home(), Role::Home), (relay(1), Role::Bootstrap)]).await.unwrap();
    assert_eq!(world.status_of(&relay(1)).await.unwrap().role, Role::Bootstrap);
    world.store.name_relays(&[(home(), Role::Home)]).await.unwrap();
    assert_eq!(world.status_of(&relay(1)).await.unwrap().role, Role::Listed);
}

pub(crate) async fn another_home_takes_the_place_of_the_old_one_and_everything_is_its_target(mut world: World) {
    world.discover(&[announced(1, 5, &[1])], &[root(1, &[1])]).await;
    let old = world.id_of(&home()).await;
    world.restart(|settings| settings.own_urls = vec![url("wss://new.example")]).await;
    world.store.name_relays(&[(url("wss://new.example"), Role::Home)]).await.unwrap();
    assert_eq!(world.status_of(&home()).await, None, "nobody lists the old home");
    assert_eq!(world.missing(&url("wss://new.example")).await, [repo_item(1), root_item(1)]);
    assert_ne!(world.id_of(&url("wss://new.example")).await, old, "ledger rows name the old home by its number");
    assert_eq!(world.counts(&relay(1)).await, (2, 0, 0));
}

pub(crate) async fn an_old_home_that_a_repo_lists_stays_as_an_upstream(mut world: World) {
    world.discover(&[announced(1, 5, &[1]), announced(2, 5, &[2])], &[]).await;
    world.restart(|settings| settings.own_urls = vec![relay(1)]).await;
    world.store.name_relays(&[(relay(1), Role::Home)]).await.unwrap();
    assert_eq!(world.counts(&relay(1)).await, (2, 0, 0), "as home it covers everything");
    world.restart(|settings| settings.own_urls = vec![home()]).await;
    world.store.name_relays(&[(home(), Role::Home)]).await.unwrap();
    let former = world.status_of(&relay(1)).await.unwrap();
    assert_eq!((former.role, former.wanted), (Role::Listed, 1), "as an upstream it covers what lists it");
}

pub(crate) async fn an_alias_of_home_is_never_an_upstream(world: World) {
    let alias = url("wss://alias.example");
    let mut seen = announced(1, 5, &[1]);
    seen.relays.push(alias.clone());
    seen.relays.push(home());
    world.discover(&[seen], &[]).await;
    world.store.name_relays(&[(home(), Role::Home), (alias.clone(), Role::Bootstrap)]).await.unwrap();
    assert_eq!(world.status_of(&alias).await, None);
    assert_eq!(world.counts(&home()).await, (1, 0, 0));
}

pub(crate) async fn a_refused_url_is_shown_and_never_assigned(world: World) {
    let private = url("wss://10.0.0.1");
    let mut seen = announced(1, 5, &[1]);
    seen.relays.push(private.clone());
    let dirty = world.discover(&[seen], &[root(1, &[1])]).await;
    assert_eq!(dirty, [home(), relay(1)]);
    let shown = world.status_of(&private).await.unwrap();
    assert_eq!((shown.wanted, shown.last_down), (0, Some(DownClass::NotDialable)));
    assert_eq!(shown.incomplete.as_deref(), Some("the host is not on the public internet"));
    assert!(world.assignment(&private).await.is_none());
    assert!(world.assignment(&relay(1)).await.is_some());
}

pub(crate) async fn a_refusal_ends_when_the_operator_allows_it(mut world: World) {
    let private = url("wss://10.0.0.1");
    let mut seen = announced(1, 5, &[]);
    seen.relays.push(private.clone());
    world.discover(&[seen], &[]).await;
    world.restart(|settings| settings.allow_non_public = vec!["0.0.0.0/0".parse().unwrap()]).await;
    assert_eq!(world.counts(&private).await, (1, 0, 0));
    assert!(world.assignment(&private).await.is_some());
    world.restart(|settings| settings.allow_non_public.clear()).await;
    assert_eq!(world.counts(&private).await, (0, 0, 0));
    assert!(world.assignment(&private).await.is_none());
    assert_eq!(world.missing(&home()).await, [model::Item::Repo(repo(1))]);
}

fn stating(itself: Option<PublicKey>, operator: Option<PublicKey>) -> Said {
    let stated = Stated { itself, operator, ..Stated::default() };
    Said::Learned { facts: Learned { stated: Some(stated), ..Learned::default() } }
}

fn key(n: usize) -> PublicKey {
    PublicKey::from_byte_array(*id(n).as_bytes())
}

async fn is_excluded(world: &World, url: &RelayUrl) -> bool {
    world.store.sweep().await.unwrap();
    let shown = world.status_of(url).await.unwrap();
    let is_refused = shown.last_down == Some(DownClass::NotDialable);
    assert_eq!(is_refused, shown.incomplete.is_some_and(|why| why.starts_with("this is our own relay")));
    assert_eq!(is_refused, world.assignment(url).await.is_none());
    assert_eq!(is_refused, world.counts(url).await == (0, 0, 0));
    is_refused
}

pub(crate) async fn an_upstream_that_states_home_s_key_is_our_own_relay(mut world: World) {
    world.discover(&[announced(1, 5, &[1, 2, 3])], &[]).await;
    world.store.name_relays(&[(home(), Role::Home), (relay(3), Role::Bootstrap)]).await.unwrap();
    for (n, itself) in [(1, key(7)), (2, key(8)), (3, key(7))] {
        let mut link = world.caught_up(&relay(n)).await;
        world.say(&mut link, stating(Some(itself), Some(key(9)))).await;
    }
    assert!(!is_excluded(&world, &relay(1)).await, "home has not said which key is its own");
    let mut link = world.caught_up(&home()).await;
    world.say(&mut link, stating(Some(key(7)), None)).await;
    assert!(is_excluded(&world, &relay(1)).await);
    assert!(!is_excluded(&world, &relay(2)).await, "it has another key");
    assert!(is_excluded(&world, &relay(3)).await, "whoever names it");
    assert_eq!(world.counts(&home()).await, (1, 0, 0), "and home is home");
    world.restart(|settings| settings.operator = Some(key(9))).await;
    assert!(is_excluded(&world, &relay(2)).await, "the operator's own word on a key");
    assert!(is_excluded(&world, &relay(1)).await, "and it stays so after a restart");
}

pub(crate) async fn why_an_upstream_is_none_outlives_the_end_of_its_link(world: World) {
    world.discover(&[announced(1, 5, &[1])], &[]).await;
    let mut at_home = world.caught_up(&home()).await;
    world.say(&mut at_home, stating(Some(key(7)), None)).await;
    let mut link = world.caught_up(&relay(1)).await;
    world.say(&mut link, stating(Some(key(7)), None)).await;
    assert!(is_excluded(&world, &relay(1)).await);
    world.say(&mut link, Said::Down { class: DownClass::Released, detail: "the lease is gone".to_owned() }).await;
    assert!(is_excluded(&world, &relay(1)).await);
}

pub(crate) async fn scenario_14_of_a_thousand_relays_in_one_announcement_few_are_dialed_and_the_rest_are_shown(world: World) {
    let many: Vec<RelayUrl> = (0..1_000).map(|n| url(&format!("wss://relay.host{n:04}.example"))).collect();
    world.discover(&[announced(1, 5, &[1])], &[]).await;
    let mut spam = announced(2, 5, &[1]);
    spam.relays.extend(many.iter().cloned());
    let dirty = world.discover(&[spam], &[root(1, &[2])]).await;
    assert_eq!(dirty.len(), 34, "home, the relay of before, and as many as one announcement may name");
    let status = world.store.status().await.unwrap();
    let refused: Vec<_> = status.upstreams.iter().filter(|row| row.last_down == Some(DownClass::NotDialable)).collect();
    assert_eq!(refused.len(), 1_000 - 32);
    let reason = "the announcements that list it name more than 32 relays each";
    assert!(refused.iter().all(|row| row.incomplete.as_deref() == Some(reason) && row.wanted == 0));
    assert_eq!(world.beat().await.len(), 34);
    assert_eq!(world.counts(&relay(1)).await, (3, 0, 0), "what was found before is not pushed out");
    let other = refused.last().unwrap().url.clone();
    let mut modest = announced(3, 5, &[]);
    modest.relays.push(other.clone());
    assert_eq!(world.discover(&[modest], &[]).await, [home(), other.clone()]);
    assert_eq!(world.counts(&other).await, (3, 0, 0), "on the word of another announcement, for both");
    world.remove(repo(2), 10).await;
    assert_eq!(world.counts(&other).await, (1, 0, 0));
    assert_eq!(world.beat().await.len(), 3, "and nothing is asked of those that nobody lists");
}

pub(crate) async fn caps_are_those_of_today_and_bound_nothing_that_the_operator_allows(mut world: World) {
    world.discover(&[announced(1, 5, &[1, 2, 3, 4])], &[]).await;
    assert_eq!(world.beat().await.len(), 5);
    world.restart(|settings| settings.policy.caps.per_announcement = 2).await;
    world.store.name_relays(&[(home(), Role::Home), (relay(4), Role::Bootstrap)]).await.unwrap();
    let dialed: Vec<RelayUrl> = world.beat().await.into_iter().map(|one| one.url).collect();
    assert_eq!(dialed, [home(), relay(1), relay(2), relay(4)]);
    world.restart(|settings| settings.policy.caps.per_announcement = 3).await;
    assert_eq!(world.counts(&relay(3)).await, (1, 0, 0));
    world.restart(|settings| settings.allow_non_public = vec!["10.0.0.0/8".parse().unwrap()]).await;
    let mut lan = announced(2, 5, &[]);
    lan.relays.extend((0..9).map(|n| url(&format!("ws://10.0.0.{n}"))));
    world.discover(&[lan], &[]).await;
    assert_eq!(world.beat().await.len(), 5 + 9);
}
