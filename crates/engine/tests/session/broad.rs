//! GRASP peers without room for every chunk: one filter by kinds, gated by what is wanted.

use super::*;
use model::Stated;

fn is_broad(filter: &model::Filter) -> bool {
    filter.kinds.as_ref().is_some_and(|kinds| kinds.contains(&Kind::Custom(1111)) && kinds.contains(&Kind::Custom(5)))
}

fn broad_subs(shell: &Shell) -> Vec<String> {
    shell.relay.open.iter().filter(|(_, filter)| is_broad(filter)).map(|(sub, _)| sub.clone()).collect()
}

/// Layer 1 and "alpha" are live; each of these repos has no room.
fn crowded(grasps: &[&str], names: &[&str], relay: ModelRelay) -> Shell {
    let stated = Stated { grasps: grasps.iter().map(ToString::to_string).collect(), ..Stated::default() };
    let learned = Learned { live_limit: Some(5), stated: Some(stated), ..Learned::default() };
    let mut shell = Shell::new(Resume::Fresh, learned, relay);
    shell.open_fresh(Method::Negentropy);
    shell.fetch(1, &["alpha"], Method::Negentropy);
    for (name, n) in names.iter().zip(1_i32..) {
        shell.fetch_polled(i64::from(n) + 1, &[name], live_repos(u32::try_from(n).unwrap(), &[name]));
    }
    shell
}

const PEER: &[&str] = &["GRASP-01"];

#[test]
fn i03_on_a_grasp_peer_news_of_what_has_no_room_come_at_once_with_one_filter_by_kinds() {
    let mut shell = crowded(PEER, &["beta", "gamma"], ModelRelay::with([]));
    shell.pass(10_000);
    assert_eq!(broad_subs(&shell).len(), 1);
    let now = shell.now().wall.as_secs();
    for (n, name) in ["alpha", "beta", "gamma"].iter().enumerate() {
        let news = comment(name, now, n);
        shell.publish(news.clone());
        assert!(shell.ledger.contains(&news.id), "{name}");
    }
    assert_eq!((shell.session.strays(), shell.session.unwanted()), (0, 0));
}

#[test]
fn a_relay_that_is_no_grasp_peer_is_never_asked_by_kinds() {
    let mut shell = crowded(&[], &["beta"], ModelRelay::with([]));
    shell.pass(120_000);
    assert!(!shell.reqs(Which::Question).iter().any(|(_, _, filter)| filter.limit == Some(0)));
    assert_eq!(broad_subs(&shell), Vec::<String>::new());
}

#[test]
fn what_the_broad_filter_brings_of_others_is_dropped_and_counted_and_is_no_breach() {
    let mut shell = crowded(PEER, &["beta"], ModelRelay::with([]));
    shell.pass(10_000);
    let strangers = comments("omega", shell.now().wall.as_secs(), 50);
    for event in &strangers {
        shell.publish(event.clone());
    }
    assert!(strangers.iter().all(|event| !shell.ledger.contains(&event.id)));
    assert_eq!((shell.session.strays(), shell.session.unwanted(), shell.hung_up), (0, 50, None));
}

#[test]
fn what_confirms_is_history_by_the_items_own_filters() {
    let old = comments("beta", OLD, 40);
    let mut shell = crowded(PEER, &["beta"], ModelRelay::without_negentropy(old.clone()));
    shell.pass(10_000);
    assert!(shell.is_complete(2));
    assert_eq!(shell.ledger, Shell::ids_of(&old));
    let pages = shell.reqs(Which::Page);
    assert!(pages.iter().any(|(_, _, filter)| !filter.generic_tags.is_empty() && filter.since.is_none()), "{pages:?}");
}

#[test]
fn beside_a_broad_filter_polls_are_rare_and_what_kinds_miss_comes_with_them() {
    let mut shell = crowded(PEER, &["beta"], ModelRelay::with([]));
    shell.pass(300_000);
    shell.sent.clear();
    let odd = event(Kind::Custom(12_345), shell.now().wall.as_secs(), &[&["a", &common::addr("beta").to_string()]], "");
    shell.publish(odd.clone());
    shell.pass(3_600_000);
    assert!(shell.ledger.contains(&odd.id));
    assert!(shell.reqs(Which::Page).len() <= 12, "{}", shell.reqs(Which::Page).len());
    assert_eq!(shell.session.behind_since(), None, "what is live is not behind");
}

#[test]
fn a_broad_filter_that_is_lost_comes_back_and_reads_its_gap_by_pages() {
    let mut shell = crowded(PEER, &["beta"], ModelRelay { page_cap: 25, ..ModelRelay::with([]) });
    shell.pass(300_000);
    let lost = broad_subs(&shell).remove(0);
    shell.close(&lost, "error: gone");
    let now = shell.now().wall.as_secs();
    let missed = comments("beta", now, 40);
    let strangers = comments("omega", now, 40);
    for event in missed.iter().chain(&strangers) {
        shell.publish(event.clone());
    }
    shell.pass(30_000);
    assert_eq!(broad_subs(&shell).len(), 1);
    assert!(missed.iter().all(|event| shell.ledger.contains(&event.id)), "{:?}", shell.session);
    assert!(strangers.iter().all(|event| !shell.ledger.contains(&event.id)));
}

#[test]
fn a_peer_that_refuses_the_broad_filter_is_polled() {
    let mut relay = ModelRelay::with([]);
    relay.refusals.push((Which::Live, 0, "blocked: filters must name a tag".into()));
    let mut shell = crowded(PEER, &[], relay);
    shell.relay.refusals[0].1 = 9;
    shell.fetch_polled(2, &["beta"], live_repos(1, &["beta"]));
    shell.pass(300_000);
    assert_eq!(broad_subs(&shell), Vec::<String>::new());
    let asked = shell.relay.refusals[0].1;
    shell.pass(3_600_000);
    assert_eq!(shell.relay.refusals[0].1, asked, "it is asked for a few times and no more");
    let news = comment("beta", shell.now().wall.as_secs(), 1);
    shell.publish(news.clone());
    shell.pass(70_000);
    assert!(shell.ledger.contains(&news.id));
}

#[test]
fn the_broad_filter_is_closed_when_everything_has_room() {
    let mut shell = crowded(PEER, &["beta"], ModelRelay::with([]));
    shell.pass(10_000);
    let live = live_repos(0, &["alpha", "beta"]);
    shell.order(Ask::Rebuild { live, polled: vec![], since: at(START - 900), layout: 1 });
    shell.pass(1_000);
    assert_eq!(broad_subs(&shell), Vec::<String>::new());
    let news = comment("beta", shell.now().wall.as_secs(), 1);
    shell.publish(news.clone());
    assert!(shell.ledger.contains(&news.id));
}
