#![allow(clippy::unwrap_used)]

use model::Timestamp;
use nostr::prelude::{EventBuilder, FinalizeEvent, Keys, Kind, Tag};

use super::*;

fn keys(n: u8) -> Keys {
    Keys::parse(&format!("{n:064x}")).unwrap()
}

fn event(author: u8, kind: u16, at: u64, tags: &[&[&str]]) -> Event {
    let tags = tags.iter().map(|tag| Tag::parse(tag.iter().copied()).unwrap());
    let unsigned = EventBuilder::new(Kind::from(kind), "").custom_created_at(Timestamp::from_secs(at)).tags(tags);
    unsigned.finalize(&keys(author)).unwrap()
}

fn addr(author: u8, identifier: &str) -> RepoAddr {
    RepoAddr::new(keys(author).public_key(), identifier).unwrap()
}

fn url(text: &str) -> RelayUrl {
    RelayUrl::parse(text).unwrap()
}

fn scope(events: &[Event]) -> Scope {
    let mut scope = Scope::default();
    for event in events {
        scope.take(event);
    }
    scope
}

fn choice() -> Choice {
    Choice { own: vec![url("wss://home.example")], ..Choice::default() }
}

fn of<'a>(upstreams: &'a [Upstream], at: &str) -> &'a Upstream {
    upstreams.iter().find(|one| one.url == url(at)).unwrap()
}

#[test]
fn s03_each_upstream_is_asked_about_the_repos_that_list_it_and_their_roots_and_home_about_nothing() {
    let x = event(1, 30617, 5, &[&["d", "x"], &["relays", "wss://home.example", "wss://a.example", "wss://b.example"]]);
    let y = event(1, 30617, 5, &[&["d", "y"], &["relays", "wss://b.example"]]);
    let older = event(1, 30617, 4, &[&["d", "y"], &["relays", "wss://dropped.example"]]);
    let root = event(2, 1621, 6, &[&["a", &addr(1, "unknown").to_string()], &["a", &addr(1, "x").to_string()]]);
    let scope = scope(&[x, y, older, root.clone()]);
    let upstreams = scope.upstreams(&choice());
    assert_eq!(upstreams.iter().map(|one| one.url.as_str()).collect::<Vec<_>>(), ["wss://a.example/", "wss://b.example/"]);
    let (x, y, root) = (Item::Repo(addr(1, "x")), Item::Repo(addr(1, "y")), Item::Root(root.id));
    assert_eq!(of(&upstreams, "wss://a.example").items, BTreeSet::from([x.clone(), root.clone()]));
    assert_eq!(of(&upstreams, "wss://b.example").items, BTreeSet::from([x, y, root]));
}

#[test]
fn what_announcements_name_is_dialed_by_the_rules_and_what_the_operator_names_is_dialed() {
    let relays = ["relays", "ws://10.0.0.1", "ws://127.0.0.1:7", "ws://plain.example", "wss://good.example"];
    let scope = scope(&[event(1, 30617, 5, &[&["d", "x"], &relays])]);
    let lan = Choice { allow_non_public: vec!["127.0.0.0/8".parse().unwrap()], ..choice() };
    let upstreams = scope.upstreams(&lan);
    let left_out: Vec<bool> = relays[1..].iter().map(|at| of(&upstreams, at).left_out.is_some()).collect();
    assert_eq!(left_out, [true, false, true, false]);
    let named = Choice { only: vec![url("ws://10.0.0.9")], ..lan };
    let upstreams = scope.upstreams(&named);
    assert_eq!((upstreams.len(), &upstreams[0].left_out), (1, &None));
    assert_eq!(upstreams[0].items, BTreeSet::from([Item::Repo(addr(1, "x"))]), "about everything, listed or not");
}

#[test]
fn relays_over_a_cap_are_left_out_with_the_cap() {
    let many: Vec<String> = (0..40).map(|n| format!("wss://relay{n}.example")).collect();
    let relays: Vec<&str> = std::iter::once("relays").chain(many.iter().map(String::as_str)).collect();
    let scope = scope(&[event(1, 30617, 5, &[&["d", "x"], &relays])]);
    let upstreams = scope.upstreams(&choice());
    let left_out: Vec<&Upstream> = upstreams.iter().filter(|one| one.left_out.is_some()).collect();
    assert_eq!(left_out.len(), 40 - Caps::default().per_announcement);
    assert!(left_out[0].left_out.as_ref().unwrap().contains("more than 32 relays"));
}

#[test]
fn of_a_private_repository_private_peers_alone_are_asked() {
    let both = ["relays", "wss://a.example", "wss://peer.example"];
    let maintainer = keys(2).public_key().to_hex();
    let open = event(1, 30617, 5, &[&["d", "x"], &both, &["maintainers", &maintainer]]);
    let private = event(2, 30617, 5, &[&["d", "x"], &both, &["private", "true"]]);
    let root = event(3, 1621, 6, &[&["a", &addr(1, "x").to_string()]]);
    let scope = scope(&[open, private, root.clone()]);
    assert_eq!(scope.private(), BTreeSet::from([addr(1, "x"), addr(2, "x")]), "it says so, or its maintainer does");
    let upstreams = scope.upstreams(&Choice { private_peers: vec![url("wss://peer.example")], ..choice() });
    assert!(of(&upstreams, "wss://a.example").items.is_empty());
    assert_eq!(of(&upstreams, "wss://peer.example").items.len(), 3);
    assert!(is_of_private(&root, &scope.private()));
}

#[test]
fn an_event_is_shown_under_the_repositories_that_it_belongs_to() {
    let maintainer = keys(2).public_key().to_hex();
    let x = event(1, 30617, 5, &[&["d", "x"], &["maintainers", &maintainer]]);
    let y = event(1, 30617, 5, &[&["d", "y"]]);
    let (to_x, to_y) = (addr(1, "x").to_string(), addr(1, "y").to_string());
    let root = event(3, 1618, 6, &[&["a", &to_x], &["a", &to_y]]);
    let scope = scope(&[x, y, root.clone()]);
    let both = BTreeSet::from([addr(1, "x"), addr(1, "y")]);
    let comment = event(3, 1111, 7, &[&["E", &root.id.to_hex()]]);
    assert_eq!(scope.repos_of(&comment, |_| true), both, "by its root");
    assert_eq!(scope.repos_of(&comment, |one| one.identifier == "x"), BTreeSet::from([addr(1, "x")]), "as listed there");
    assert_eq!(scope.repos_of(&comment, |_| false), both, "or wherever");
    assert_eq!(scope.repos_of(&event(3, 1, 7, &[&["q", &to_y]]), |_| true), BTreeSet::from([addr(1, "y")]));
    let state = event(2, 30618, 7, &[&["d", "x"]]);
    assert_eq!(scope.repos_of(&state, |_| true), BTreeSet::from([addr(1, "x")]), "a maintainer's state");
    assert_eq!(scope.repos_of(&event(4, 30618, 7, &[&["d", "x"]]), |_| true), BTreeSet::new(), "a stranger's");
}

#[test]
fn what_is_asked_for_by_name_is_compared_alone_announced_or_not() {
    let mut scope = Scope::of(BTreeSet::from([addr(1, "x")]));
    assert!(!scope.take(&event(1, 30617, 5, &[&["d", "y"]])));
    let elsewhere = event(3, 1621, 6, &[&["a", &addr(1, "y").to_string()]]);
    let here = event(3, 1621, 6, &[&["a", &addr(1, "y").to_string()], &["a", &addr(1, "x").to_string()]]);
    assert!(!scope.take(&elsewhere));
    assert!(scope.take(&here));
    assert_eq!(scope.items(), BTreeSet::from([Item::Repo(addr(1, "x")), Item::Root(here.id)]));
    assert_eq!(scope.announced()[0].addr, addr(1, "x"));
}
