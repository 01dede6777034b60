//! Relays that allow few subscriptions, from the first link on: what is learned, and how soon every item is live or polled.
#![allow(clippy::print_stdout, reason = "figures for people")]
#![allow(clippy::unwrap_used)]

mod common;

use common::relay::{ModelRelay, OverLimit};
use common::world::World;
use common::{START, announcement, comment};
use engine::book::Status;
use engine::rules::Policy;
use model::{Event, LinkView};

const UPSTREAM: &str = "wss://upstream.example";
const OLD: u64 = START - 1_000_000;

/// Repos whose addresses are so long that each has a chunk of its own.
fn repos(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{}{n:03}", "x".repeat(200))).collect()
}

/// Home lists these repos on one upstream that allows so many subscriptions, and holds a comment on each.
fn world(names: &[String], most_open: usize, over_limit: OverLimit) -> World {
    world_under(Policy::default(), names, most_open, over_limit)
}

fn world_under(policy: Policy, names: &[String], most_open: usize, over_limit: OverLimit) -> World {
    let mut world = World::new(policy);
    let events: Vec<Event> = names.iter().map(|name| comment(name, OLD, 0)).collect();
    *world.relay(UPSTREAM) = ModelRelay { most_open, over_limit, ..ModelRelay::without_negentropy(events) };
    for name in names {
        world.at_home(announcement(name, OLD, &[UPSTREAM]));
    }
    world.pass(6_000);
    world.up(UPSTREAM);
    world
}

fn is_complete(world: &World, names: &[String]) -> bool {
    let number = world.book.number_of(&common::url(UPSTREAM)).unwrap();
    let relay = world.book.relay(number).unwrap();
    let is_confirmed = relay.rows().all(|(_, row)| row.status == Status::Confirmed);
    is_confirmed && relay.rows().count() >= names.len() && matches!(relay.link, LinkView::Up { caught_up: true, .. })
}

fn complete_after(world: &mut World, names: &[String]) -> u64 {
    for second in 0..300 {
        if is_complete(world, names) {
            return second;
        }
        world.pass(1_000);
    }
    panic!("never complete:\n{}", tail(world));
}

fn tail(world: &World) -> String {
    let lines: Vec<&str> = world.log.lines().rev().take(400).collect();
    lines.into_iter().rev().map(|line| line.chars().take(160).collect::<String>() + "\n").collect()
}

#[test]
fn scenario_07_a_limit_is_learned_in_one_round_and_every_item_is_confirmed_within_a_minute() {
    for most_open in [5, 10, 20, 200] {
        for over_limit in [OverLimit::Closed, OverLimit::Notice, OverLimit::Silent] {
            for count in [1, 2, 6, 7, 30] {
                let names = repos(count);
                let mut world = world(&names, most_open, over_limit);
                let took = complete_after(&mut world, &names);
                let peak = world.relay(UPSTREAM).peak;
                println!("{most_open} {over_limit:?}, {count} repos: {took} s, {peak} open at most");
                assert!(took <= 60, "{most_open} {over_limit:?}, {count} repos: {took} s\n{}", tail(&world));
            }
        }
    }
}

fn learned_limit(world: &World) -> Option<usize> {
    let number = world.book.number_of(&common::url(UPSTREAM)).unwrap();
    world.book.relay(number).unwrap().learned.live_limit
}

#[test]
fn scenario_07_a_link_that_is_full_before_any_page_was_answered_learns_from_pages_alone() {
    for most_open in 4..=10 {
        let names = repos(3);
        let mut world = world(&names, most_open, OverLimit::Silent);
        world.down(UPSTREAM);
        // It says nothing to NEG-OPEN either: the history of layer 1 comes when the live filters stand.
        world.relay(UPSTREAM).negentropy = common::relay::Negentropy::Silent;
        world.pass(20 * 60_000);
        world.up(UPSTREAM);
        world.pass(60_000);
        assert!(is_complete(&world, &names), "{most_open}\n{}", tail(&world));
    }
}

#[test]
fn l03_what_is_learned_is_what_the_relay_allows_less_the_reserve_whatever_its_way_of_refusing() {
    for most_open in [5, 10, 20] {
        for over_limit in [OverLimit::Closed, OverLimit::Notice, OverLimit::Silent] {
            let names = repos(30);
            let mut world = world(&names, most_open, over_limit);
            complete_after(&mut world, &names);
            assert_eq!(learned_limit(&world), Some(most_open - 3), "{most_open} {over_limit:?}\n{}", tail(&world));
            world.pass(600_000);
            assert_eq!(learned_limit(&world), Some(most_open - 3), "ten minutes later: {most_open} {over_limit:?}");
        }
    }
}

#[test]
fn i03_where_the_relay_allows_few_subscriptions_news_come_live_or_within_a_round_of_polls() {
    for over_limit in [OverLimit::Closed, OverLimit::Notice, OverLimit::Silent] {
        let names = repos(12);
        let mut world = world(&names, 20, over_limit);
        complete_after(&mut world, &names);
        world.pass(60_000);
        let now = world.now().as_secs();
        let news: Vec<Event> = names.iter().map(|name| comment(name, now, 1)).collect();
        for event in &news {
            world.publish(UPSTREAM, event.clone());
        }
        world.settle();
        let live = news.iter().filter(|event| world.home.contains_key(&event.id)).count();
        assert_eq!(live, 5, "five chunks fit into 17 live subscriptions: {over_limit:?}");
        world.pass(100_000);
        assert!(news.iter().all(|event| world.home.contains_key(&event.id)), "{over_limit:?}\n{}", tail(&world));
        assert!(world.relay(UPSTREAM).peak <= 20);
    }
}

#[test]
fn scenario_07_ids_of_exchanges_stay_within_the_limit_too() {
    for over_limit in [OverLimit::Closed, OverLimit::Notice, OverLimit::Silent] {
        let names = repos(10);
        let mut world = world(&names, 20, over_limit);
        world.down(UPSTREAM);
        let events = names.iter().flat_map(|name| (0..120_usize).map(move |n| comment(name, OLD + n as u64, n)));
        let relay = ModelRelay { most_open: 20, over_limit, ids_cap: 50, ..ModelRelay::with(events.collect::<Vec<_>>()) };
        *world.relay(UPSTREAM) = relay;
        world.pass(20 * 60_000);
        world.up(UPSTREAM);
        let took = complete_after(&mut world, &names);
        assert!(took <= 60, "{over_limit:?}: {took} s\n{}", tail(&world));
        assert_eq!(world.home.len(), 10 + 10 * 120);
    }
}

#[test]
fn s15_more_live_subscriptions_are_tried_with_the_next_refresh() {
    let names = repos(12);
    let policy = Policy { refresh_secs: (300, 300), ..Policy::default() };
    let mut world = world_under(policy, &names, 10, OverLimit::Notice);
    complete_after(&mut world, &names);
    world.relay(UPSTREAM).most_open = usize::MAX;
    world.pass(240_000);
    assert_eq!(learned_limit(&world), Some(7), "nothing is tried before");
    world.pass(90_000);
    assert_eq!(learned_limit(&world), None, "{}", tail(&world));
    assert_eq!(world.shell(UPSTREAM).unwrap().session.live_count(), 1 + 3 * 12);
    // And it falls again to what it is.
    world.relay(UPSTREAM).most_open = 20;
    world.down(UPSTREAM);
    world.pass(20 * 60_000);
    world.up(UPSTREAM);
    world.pass(60_000);
    assert_eq!(learned_limit(&world), Some(17), "{}", tail(&world));
}

#[test]
fn scenario_07_an_eose_that_never_comes_ends_idle_in_30_seconds_and_is_asked_for_again() {
    let names = repos(3);
    let mut world = world(&names, usize::MAX, OverLimit::Closed);
    complete_after(&mut world, &names);
    world.down(UPSTREAM);
    world.relay(UPSTREAM).holds_eose = Some(common::relay::Which::Page);
    world.pass(20 * 60_000);
    world.up(UPSTREAM);
    world.pass(32_000);
    assert!(world.log.contains("is incomplete, idle no frame of the page in time"), "{}", tail(&world));
    assert_eq!(learned_limit(&world), None, "a relay that is slow with pages has room for them");
    world.relay(UPSTREAM).holds_eose = None;
    let took = complete_after(&mut world, &names);
    assert!(took <= 60, "{took}");
}

/// Many repos with short addresses, and nothing about them.
fn crowd(policy: Policy, count: usize, relay: ModelRelay) -> (World, Vec<String>) {
    let names: Vec<String> = (0..count).map(|n| format!("r{n:03}")).collect();
    let mut world = World::new(policy);
    *world.relay(UPSTREAM) = relay;
    for name in &names {
        world.at_home(announcement(name, OLD, &[UPSTREAM]));
    }
    world.pass(6_000);
    world.up(UPSTREAM);
    (world, names)
}

fn open_values(world: &mut World) -> Vec<usize> {
    let open = &world.relay(UPSTREAM).open;
    open.values().filter_map(|filter| filter.generic_tags.values().next().map(std::collections::BTreeSet::len)).collect()
}

#[test]
fn s14_where_chunks_of_100_have_no_room_chunks_of_300_are_live() {
    let (mut world, names) = crowd(Policy { live_limit: 10, ..Policy::default() }, 520, ModelRelay::with([]));
    complete_after(&mut world, &names);
    assert!(world.run(120_000), "{}", tail(&world));
    world.pass(60_000);
    let mut open = open_values(&mut world);
    open.sort_unstable();
    assert_eq!(open.iter().sum::<usize>(), 3 * 520, "all are live: {open:?}\n{}", tail(&world));
    assert!(open.iter().all(|values| *values <= 300) && open.len() <= 9, "{open:?}");
    assert!(world.log.contains("live filters name up to 300 items") || world.log.contains("consolidate"), "{}", tail(&world));
}

#[test]
fn s14_a_relay_that_refuses_filters_of_300_is_asked_by_100_and_the_rest_is_polled() {
    let relay = ModelRelay { most_values: 100, ..ModelRelay::with([]) };
    let (mut world, names) = crowd(Policy { live_limit: 10, ..Policy::default() }, 520, relay);
    world.pass(240_000);
    complete_after(&mut world, &names);
    let mut open = open_values(&mut world);
    open.sort_unstable();
    assert!(open.len() == 9 && open.iter().all(|values| *values <= 100), "{open:?}\n{}", tail(&world));
    assert!(world.log.contains("are polled: 10 live subscriptions are allowed"));
}

#[test]
fn a_relay_that_states_10_000_bytes_is_sent_no_larger_message() {
    let (mut world, _) = crowd(Policy::default(), 1, ModelRelay::with([]));
    let stated = model::Stated { max_message_length: Some(10_000), ..model::Stated::default() };
    let learned = model::Learned { stated: Some(stated), ..model::Learned::default() };
    world.learns(UPSTREAM, learned);
    world.down(UPSTREAM);
    let names: Vec<String> = (0..250).map(|n| format!("a-repository-{n:03}")).collect();
    for name in &names {
        world.at_home(announcement(name, OLD, &[UPSTREAM]));
    }
    world.pass(20 * 60_000);
    world.up(UPSTREAM);
    assert!(world.run(120_000), "{}", tail(&world));
    let sent = &world.shell(UPSTREAM).unwrap().sent;
    let longest = sent.iter().filter_map(|(_, request)| match request {
        engine::session::Request::Req { filter, .. } | engine::session::Request::NegOpen { filter, .. } => {
            Some(serde_json::to_string(filter).unwrap().len())
        }
        engine::session::Request::Close { .. }
        | engine::session::Request::Auth { .. }
        | engine::session::Request::NegMsg { .. }
        | engine::session::Request::NegClose { .. } => None,
    });
    let longest = longest.max().unwrap();
    assert!((5_000..9_000).contains(&longest), "{longest}");
}

#[test]
fn silence_of_a_dead_link_teaches_nothing_about_the_relay() {
    let names = repos(6);
    let mut world = world(&names, usize::MAX, OverLimit::Closed);
    complete_after(&mut world, &names);
    world.down(UPSTREAM);
    world.pass(20 * 60_000);
    world.up(UPSTREAM);
    for name in repos(9) {
        world.at_home(announcement(&name, OLD, &[UPSTREAM]));
    }
    world.relay(UPSTREAM).is_silent = true;
    world.pass(88_000);
    assert_eq!(learned_limit(&world), None, "{}", tail(&world));
}
