//! What comes late: orders that are older than what stands, and relays that have not answered yet.

use model::{Ask, Filter, LiveFilter, Method};

use super::common::relay::{ModelRelay, Which};
use super::common::shell::Shell;
use super::common::{START, at, comment, live_repos};

fn catch_up(live: Vec<LiveFilter>, layout: u64) -> Ask {
    Ask::CatchUp { live, polled: Vec::new(), since: at(START - 900), layout }
}

/// A link that was caught up, and then fetched a repo that joined its chunk.
fn grown() -> Shell {
    let mut shell =
        Shell::new(model::Resume::CatchUp { since: at(START - 900) }, model::Learned::default(), ModelRelay::with([]));
    super::open_since(&mut shell, START - 900);
    shell.order(catch_up(live_repos(0, &["alpha"]), 0));
    shell.fetch_with(1, &["beta"], live_repos(0, &["alpha", "beta"]), Method::Negentropy);
    assert!(shell.is_complete(1));
    shell
}

fn is_live(shell: &mut Shell, name: &str) -> bool {
    let news = comment(name, START + 60, 1);
    shell.publish(news.clone());
    shell.ledger.contains(&news.id)
}

#[test]
fn s09_an_opening_order_that_comes_twice_and_late_takes_nothing_away() {
    let mut shell = grown();
    shell.order(catch_up(live_repos(0, &["alpha"]), 0));
    assert!(is_live(&mut shell, "beta"), "a repo that joined since is no longer live");
    assert!(is_live(&mut shell, "alpha"));
}

#[test]
fn s04_a_fetch_that_is_overtaken_takes_nothing_away() {
    let mut shell = grown();
    shell.fetch_with(2, &["gamma"], live_repos(0, &["alpha", "gamma"]), Method::Negentropy);
    assert!(is_live(&mut shell, "beta") && is_live(&mut shell, "gamma"));
}

#[test]
fn s14_orders_of_a_former_layout_open_nothing() {
    let mut shell = grown();
    let live = live_repos(7, &["alpha", "beta"]);
    shell.order(Ask::Rebuild { live, polled: Vec::new(), since: at(START - 900), layout: 3 });
    let open = shell.session.live_count();
    shell.order(catch_up(live_repos(0, &["alpha"]), 2));
    shell.order(Ask::Rebuild { live: live_repos(1, &["alpha"]), polled: Vec::new(), since: at(START - 900), layout: 2 });
    assert_eq!(shell.session.live_count(), open);
    assert!(is_live(&mut shell, "beta"));
}

#[test]
fn s11_a_link_that_is_dead_teaches_nothing_about_its_relay() {
    let mut shell = Shell::fresh(ModelRelay::with([]));
    shell.open_fresh(Method::Negentropy);
    shell.relay.is_silent = true;
    shell.fetch_with(1, &["alpha"], live_repos(0, &["alpha"]), Method::Negentropy);
    shell.pass(60_000);
    assert_eq!(shell.learned().ignores_limit_zero, None);
}

#[test]
fn s11_news_that_is_dated_ten_minutes_ago_comes_from_a_relay_without_limit_zero_too() {
    let mut relay = ModelRelay::with([]);
    relay.holds_eose = Some(Which::Live);
    let mut shell = Shell::fresh(relay);
    shell.open_fresh(Method::Negentropy);
    shell.fetch_with(1, &["alpha"], live_repos(0, &["alpha"]), Method::Negentropy);
    shell.pass(60_000);
    assert!(shell.is_complete(1));
    assert_eq!(shell.learned().ignores_limit_zero, Some(true));
    let news = comment("alpha", START - 600, 1);
    shell.publish(news.clone());
    assert!(shell.ledger.contains(&news.id), "{:?}", shell.relay.open.values().collect::<Vec<&Filter>>());
}
