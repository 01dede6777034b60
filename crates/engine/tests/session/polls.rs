//! Live filters without room for a subscription: asked for in rotation.

use super::*;

/// A link that polls the three filters of each of these repos, one chunk each from 1 on; layer 1 and "alpha" are live.
fn polling(names: &[&str]) -> Shell {
    let mut shell = Shell::fresh(ModelRelay::with([]));
    shell.open_fresh(Method::Negentropy);
    shell.fetch(1, &["alpha"], Method::Negentropy);
    for (name, n) in names.iter().zip(1_i32..) {
        let polled = live_repos(u32::try_from(n).unwrap(), &[name]);
        shell.fetch_polled(i64::from(n) + 1, &[name], polled);
    }
    assert!(shell.is_complete(1) && shell.has_caught_up());
    shell
}

fn polled_since(shell: &Shell, name: &str) -> Vec<(u64, u64)> {
    let names = |filter: &model::Filter| {
        let value = common::addr(name).to_string();
        filter.since.is_some()
            && filter.generic_tags.iter().any(|(tag, values)| tag.to_string() == "A" && values.contains(&value))
    };
    let page = shell.reqs(Which::Page).into_iter().filter(|(_, _, filter)| names(filter) && filter.until.is_none());
    page.map(|(ms, _, filter)| (ms, filter.since.unwrap().as_secs())).collect()
}

#[test]
fn i03_a_filter_without_room_is_asked_for_in_rotation_and_news_arrive_within_the_round() {
    let mut shell = polling(&["beta", "gamma"]);
    assert_eq!((shell.session.live_count(), shell.relay.open.len()), (4, 4), "nothing of them is open");
    for n in 0..20 {
        shell.pass(30_000);
        let now = shell.now().wall.as_secs();
        let news = [comment("beta", now, n), comment("gamma", now, n)];
        shell.relay.events.extend(news.clone());
        shell.pass(70_000);
        assert!(news.iter().all(|event| shell.ledger.contains(&event.id)), "round {n}: {:?}", shell.session);
    }
    assert_eq!(shell.relay.open.len(), 4, "every poll is closed");
}

#[test]
fn i03_every_poll_reaches_back_to_its_last_proven_end_and_the_overlap() {
    let mut shell = polling(&["beta"]);
    shell.pass(300_000);
    let polls = polled_since(&shell, "beta");
    assert!((4..=6).contains(&polls.len()), "{polls:?}");
    for pair in polls.windows(2) {
        assert_eq!(pair[1].1, START + pair[0].0 / 1000 - 900, "{polls:?}");
    }
}

#[test]
fn i03_many_filters_make_a_longer_round_and_none_is_left_out() {
    let names: Vec<String> = (0..40).map(|n| format!("r{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut shell = polling(&names);
    shell.sent.clear();
    shell.pass(600_000);
    let rounds: Vec<usize> = names.iter().map(|name| polled_since(&shell, name).len()).collect();
    assert!(rounds.iter().all(|visits| (3..=6).contains(visits)), "120 filters, one a second: {rounds:?}");
    let reqs = shell.reqs(Which::Page).len();
    assert!(reqs <= 601, "{reqs} requests in ten minutes");
}

#[test]
fn a_poll_that_fails_reaches_back_as_far_the_next_time_and_comes_later() {
    let mut shell = polling(&["beta"]);
    shell.pass(120_000);
    let missed = comment("beta", shell.now().wall.as_secs(), 1);
    shell.relay.events.push(missed.clone());
    shell.relay.refusals.push((Which::Page, 30, "error: busy".into()));
    shell.pass(3_600_000);
    assert!(!shell.ledger.contains(&missed.id));
    let stuck = shell.session.behind_since().expect("it is behind");
    assert!(stuck.as_secs() < START + 200, "{stuck}");
    shell.relay.refusals.clear();
    shell.pass(3_900_000);
    assert!(shell.ledger.contains(&missed.id), "{:?}", shell.session);
}

#[test]
fn s09_a_link_is_caught_up_when_what_is_polled_was_read_once() {
    let since = START - 900;
    let gap = comments("beta", START - 800, 40);
    let mut shell = catch_up(ModelRelay { page_cap: 25, ..ModelRelay::with(gap.clone()) }, since);
    open_since(&mut shell, since);
    shell.relay.refusals.push((Which::Page, 1, "error: busy".into()));
    shell.order(Ask::CatchUp { live: vec![], polled: live_repos(30, &["beta"]), since: at(since), layout: 0 });
    assert!(!shell.has_caught_up());
    shell.pass(60_000);
    assert!(shell.has_caught_up(), "{:?}", shell.session);
    assert_eq!(shell.ledger, Shell::ids_of(&gap));
}

#[test]
fn scenario_07_what_the_relay_has_no_room_for_is_polled_and_nothing_is_lost() {
    let mut shell = Shell::fresh(ModelRelay::without_negentropy([]));
    shell.relay.most_open = 20;
    shell.open_fresh(Method::Req);
    for batch in 0..12 {
        let name = format!("r{batch}");
        shell.fetch_with(i64::from(batch) + 1, &[&name], live_repos(batch, &[&name]), Method::Req);
        shell.pass(20_000);
    }
    // Batches that were refused their subscriptions are asked for again.
    for batch in 0..12 {
        let name = format!("r{batch}");
        shell.fetch_with(i64::from(batch) + 101, &[&name], live_repos(batch, &[&name]), Method::Req);
    }
    shell.pass(60_000);
    assert!((101..113).all(|batch| shell.is_complete(batch)), "{:?}", shell.ends());
    let news: Vec<Event> = (0..12).map(|n| comment(&format!("r{n}"), shell.now().wall.as_secs(), n)).collect();
    for event in &news {
        shell.publish(event.clone());
    }
    shell.pass(120_000);
    assert!(news.iter().all(|event| shell.ledger.contains(&event.id)), "live or polled, one of them");
    assert!(shell.relay.peak <= 20);
}

#[test]
fn a_filter_that_finds_room_again_is_opened_from_where_it_was_read() {
    let mut shell = polling(&["beta"]);
    shell.pass(90_000);
    let read_until = shell.session.behind_since().unwrap();
    let missed = comment("beta", shell.now().wall.as_secs(), 1);
    shell.relay.events.push(missed.clone());
    let since = START + 90 - 900;
    shell.order(Ask::Rebuild { live: live_repos(0, &["alpha", "beta"]), polled: vec![], since: at(since), layout: 1 });
    assert!(shell.ledger.contains(&missed.id));
    assert!(shell.reqs(Which::Page).iter().any(|(_, _, filter)| filter.since == Some(at(read_until.as_secs() - 900))));
    shell.sent.clear();
    shell.pass(600_000);
    assert_eq!(shell.reqs(Which::Page), [], "nothing is polled any more");
}

#[test]
fn behind_since_is_the_moment_of_the_loss_until_its_gap_is_read() {
    let mut shell = polling(&[]);
    assert_eq!(shell.session.behind_since(), None);
    shell.pass(40_000);
    let lost = live_sub(&shell);
    shell.relay.refusals.push((Which::Page, 2, "error: busy".into()));
    shell.close(&lost, "error: gone");
    shell.pass(3_000);
    assert_eq!(shell.session.behind_since(), Some(at(START + 40)));
    shell.settles = false;
    shell.relay.events.push(comment("alpha", START + 41, 1));
    shell.pass(110_000);
    assert_eq!(shell.unsettled.len(), 1, "it is open again, and what came is on its way home");
    assert_eq!(shell.session.behind_since(), Some(at(START + 40)));
    shell.settle_all();
    assert_eq!(shell.session.behind_since(), None);
}

#[test]
fn behind_since_never_passes_what_was_polled() {
    let mut shell = polling(&["beta"]);
    let mut before = at(0);
    for _ in 0..10 {
        shell.pass(45_000);
        let since = shell.session.behind_since().expect("a poll is always behind");
        assert!(since >= before && since.as_secs() + 130 > shell.now().wall.as_secs(), "{since}");
        before = since;
    }
}

#[test]
fn c05_a_batch_that_takes_the_place_of_a_subscription_that_is_reopened_does_not_lose_it() {
    let mut shell = polling(&[]);
    let lost = live_sub(&shell);
    shell.close(&lost, "error: gone");
    shell.relay.holds_eose = Some(Which::Page);
    shell.pass(5_000);
    // It is being asked for again when a batch joins its chunk, and is refused.
    shell.relay.refusals.push((Which::Live, 9, "error: busy".into()));
    shell.relay.refusals.push((Which::Page, 9, "error: busy".into()));
    shell.fetch_with(2, &["beta"], live_repos(0, &["alpha", "beta"]), Method::Negentropy);
    let missed = comment("alpha", START + 6, 1);
    shell.publish(missed.clone());
    shell.relay.refusals.clear();
    shell.relay.holds_eose = None;
    shell.pass(600_000);
    assert!(shell.ledger.contains(&missed.id), "{:?}", shell.session);
    let news = comment("alpha", shell.now().wall.as_secs(), 2);
    shell.publish(news.clone());
    assert!(shell.ledger.contains(&news.id), "what is confirmed is live no more");
}
