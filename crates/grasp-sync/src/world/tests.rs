//! The world repeats, verifies, has its shape, and is judged right by the reference.

#![allow(clippy::unwrap_used)]

mod judged;

use std::collections::{BTreeMap, BTreeSet};

use nostr::event::{Event, EventId};

use super::reference::{expected_home, held};
use super::{Shape, World, generate};

const NOW: u64 = 1_750_000_000;
const HOUR: u64 = 3_600;

fn small() -> Shape {
    Shape { repos: 24, roots: 120, replies: 400, seed: 7, now: NOW }
}

fn urls(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("ws://relay{number}.test:7777/")).collect()
}

fn union(world: &World) -> BTreeMap<EventId, &Event> {
    world.upstreams.iter().flat_map(|upstream| &upstream.events).map(|event| (event.id, event)).collect()
}

/// What each upstream holds, as the reference takes it.
fn upstreams_held(world: &World) -> Vec<(String, Vec<Event>)> {
    world.upstreams.iter().map(|upstream| (upstream.url.clone(), held(&upstream.events, NOW))).collect()
}

fn home_of(world: &World) -> BTreeSet<EventId> {
    expected_home(&upstreams_held(world), &[world.upstreams[0].url.clone()], &[], NOW)
}

#[test]
fn the_same_shape_gives_the_same_bytes() {
    assert_eq!(generate(&small(), &urls(3)), generate(&small(), &urls(3)));
}

#[test]
fn another_seed_gives_other_events() {
    let other = Shape { seed: 8, ..small() };
    let (one, two) = (generate(&small(), &urls(3)), generate(&other, &urls(3)));
    assert!(union(&one).keys().all(|id| !union(&two).contains_key(id)));
}

#[test]
fn every_event_is_signed_by_its_author() {
    let world = generate(&small(), &urls(3));
    for event in union(&world).into_values().chain(world.live.iter().map(|live| &live.event)) {
        event.verify().unwrap();
    }
}

#[test]
fn the_default_world_has_its_counts_and_more_than_ten_thousand_events() {
    let shape = Shape { now: NOW, ..Shape::default() };
    let world = generate(&shape, &urls(3));
    let odd: BTreeSet<EventId> = world.oddities.iter().map(|(_, id)| *id).collect();
    let mut counts: BTreeMap<u16, usize> = BTreeMap::new();
    let mut bytes = 0;
    let all = union(&world);
    for event in all.values() {
        bytes += event.as_json().len();
        if !odd.contains(&event.id) && !world.noise.contains(&event.id) {
            *counts.entry(event.kind.as_u16()).or_default() += 1;
        }
    }
    let of = |kinds: &[u16]| kinds.iter().filter_map(|kind| counts.get(kind)).sum::<usize>();
    // The odd identifiers have an issue each, which is no named oddity.
    assert_eq!(of(&[1617, 1618, 1621]), 2_000 + 9);
    assert_eq!(of(&[1111, 1619, 1630, 1631, 1632, 1633, 9842, 1, 1985]), 7_600);
    assert_eq!(of(&[30618]), 200);
    assert!(of(&[30617]) >= 200, "{counts:?}");
    assert!(all.len() >= 10_000, "{}", all.len());
    let average = bytes / all.len();
    assert!((1_000..=1_500).contains(&average), "{average} bytes on average");
}

#[test]
fn history_lies_in_the_two_years_that_end_an_hour_ago() {
    let world = generate(&small(), &urls(3));
    let odd: BTreeSet<EventId> = world.oddities.iter().map(|(_, id)| *id).collect();
    for event in union(&world).into_values().filter(|event| !odd.contains(&event.id)) {
        let at = event.created_at.as_secs();
        assert!(at < NOW - HOUR, "{at}");
        assert!(at >= NOW - 2 * 365 * 24 * HOUR, "{at}");
    }
    assert!(world.live.iter().all(|live| live.event.created_at.as_secs() == NOW));
}

#[test]
fn every_upstream_has_a_good_share_of_its_own_and_a_third_lies_on_several() {
    let world = generate(&Shape { roots: 600, replies: 2_000, ..small() }, &urls(3));
    let mut copies: BTreeMap<EventId, Vec<usize>> = BTreeMap::new();
    for (number, upstream) in world.upstreams.iter().enumerate() {
        for event in &upstream.events {
            copies.entry(event.id).or_default().push(number);
        }
    }
    for number in 0..3 {
        let own = copies.values().filter(|on| **on == [number]).count();
        assert!(own * 100 > copies.len() * 12, "upstream {number} has {own} of {} for itself", copies.len());
    }
    let several = copies.values().filter(|on| on.len() > 1).count() * 100 / copies.len();
    assert!((22..=38).contains(&several), "{several} % lie on several");
}

#[test]
fn a_world_fits_one_to_five_upstreams_and_all_become_known() {
    for count in 1..=5 {
        let world = generate(&small(), &urls(count));
        let home = home_of(&world);
        for (number, upstream) in world.upstreams.iter().enumerate() {
            let others: BTreeSet<EventId> = world
                .upstreams
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != number)
                .flat_map(|(_, upstream)| upstream.events.iter().map(|event| event.id))
                .collect();
            let found = upstream.events.iter().filter(|event| home.contains(&event.id) && !others.contains(&event.id));
            assert!(found.count() > 20, "upstream {number} of {count} gives home too little of its own");
        }
    }
}

#[test]
fn some_announcements_lie_only_on_a_relay_that_others_led_to() {
    let world = generate(&small(), &urls(3));
    let on_bootstrap: BTreeSet<EventId> = world.upstreams[0].events.iter().map(|event| event.id).collect();
    let home = home_of(&world);
    let led_to = union(&world).into_values().filter(|event| event.kind.as_u16() == 30617);
    assert!(led_to.filter(|event| home.contains(&event.id) && !on_bootstrap.contains(&event.id)).count() > 1);
}

#[test]
fn noise_never_belongs_at_home() {
    let world = generate(&small(), &urls(3));
    let home = home_of(&world);
    assert!(world.noise.len() >= 20);
    assert!(world.noise.is_disjoint(&home));
}

#[test]
fn most_of_the_world_belongs_at_home() {
    let world = generate(&small(), &urls(3));
    assert!(home_of(&world).len() * 100 > union(&world).len() * 85);
}

#[test]
fn each_oddity_ends_as_it_should() {
    let world = generate(&small(), &urls(3));
    let home = home_of(&world);
    let is_home = |name: &str| {
        let mut ids = world.oddities.iter().filter(|(other, _)| *other == name).map(|(_, id)| id).peekable();
        assert!(ids.peek().is_some(), "no oddity is named {name:?}");
        ids.all(|id| home.contains(id))
    };
    for away in [
        "address in upper-case hex",
        "made in the far future",
        "expired",
        "protected",
        "ephemeral",
        "superseded version",
        "superseded state",
        "deleted issue",
        "deleted announcement",
        "deleted comment",
    ] {
        assert!(!is_home(away), "{away:?} is at home");
    }
    for there in [
        "several addresses, the first unknown",
        "status without an address",
        "PR update without an address",
        "comment with E only",
        "comment with e and k only",
        "identifier with colons",
        "identifier with emoji",
        "garbage among the relays",
        "state by a stranger",
        "made in second 0",
        "expires in a year",
        "newest version",
        "issue that a stranger would delete",
        "deletion of the announcement, on one upstream",
        "series of 40 patches in one second",
        "first patch near 60 kB",
    ] {
        assert!(is_home(there), "{there:?} is not at home");
    }
    let twins = ["one of two versions of one second", "other of two versions of one second"];
    assert_eq!(twins.into_iter().filter(|name| is_home(name)).count(), 1);
}

#[test]
fn every_live_event_belongs_at_home_once_published() {
    for count in [1, 3] {
        let mut world = generate(&small(), &urls(count));
        let before = home_of(&world);
        for live in std::mem::take(&mut world.live) {
            assert!(!before.contains(&live.event.id));
            world.upstreams[live.upstream].events.push(live.event);
        }
        let home = home_of(&world);
        let again = generate(&small(), &urls(count));
        assert!(again.live.len() > 10);
        for live in again.live {
            assert!(home.contains(&live.event.id), "{:?} is not at home", live.event);
        }
    }
}

#[tokio::test]
async fn the_built_in_relay_holds_what_the_reference_says_in_any_order() {
    use crate::builtin_relay::{BuiltinRelay, Options};
    let now = nostr::types::Timestamp::now().as_secs();
    let world = generate(&Shape { now, ..small() }, &urls(3));
    for upstream in &world.upstreams {
        let expected: BTreeSet<EventId> = held(&upstream.events, now).iter().map(|event| event.id).collect();
        assert!(expected.len() < upstream.events.len());
        let backwards: Vec<Event> = upstream.events.iter().rev().cloned().collect();
        for order in [upstream.events.clone(), backwards] {
            let relay = BuiltinRelay::start(Options::default()).await.unwrap();
            relay.preload(order);
            assert_eq!(relay.event_ids(), expected);
        }
    }
}
