//! Exchanges over more than a relay, or we, can hold.

use super::*;

fn windows(shell: &Shell) -> Vec<model::Filter> {
    let open = |(_, request): &(u64, Request)| match request {
        Request::NegOpen { filter, .. } => Some(filter.clone()),
        Request::Req { .. }
        | Request::Close { .. }
        | Request::NegMsg { .. }
        | Request::NegClose { .. }
        | Request::Auth { .. } => None,
    };
    let of_comments = |filter: &model::Filter| filter.generic_tags.keys().any(|tag| tag.to_string() == "A");
    shell.sent.iter().filter_map(open).filter(of_comments).collect()
}

#[test]
fn n06_a_size_refusal_is_answered_by_windows_and_everything_is_fetched_without_a_page() {
    let mut shell = Shell::fresh(ModelRelay { most_records: 40, ..ModelRelay::with(history(300)) });
    shell.fetch(1, &["alpha"], Method::Negentropy);
    assert!(shell.is_complete(1), "{:?}", shell.said);
    assert_eq!(shell.ledger, Shell::ids_of(&history(300)));
    assert_eq!((refusals(&shell), shell.reqs(Which::Page).len()), (0, 0));
    let windows = windows(&shell);
    assert!(windows.iter().any(|filter| filter.until.is_none() && filter.since.is_some()), "the newest has an open end");
    assert!(windows.iter().any(|filter| filter.until.is_some() && filter.since.is_none()), "the oldest has an open beginning");
}

#[test]
fn n07_events_dated_in_the_future_survive_a_split() {
    let mut events = history(100);
    events.push(comment("alpha", START + 600, 1));
    let mut shell = Shell::fresh(ModelRelay { most_records: 40, ..ModelRelay::with(events.clone()) });
    shell.fetch(1, &["alpha"], Method::Negentropy);
    assert!(shell.is_complete(1));
    assert_eq!(shell.ledger, Shell::ids_of(&events));
}

#[test]
fn n06_a_quota_in_words_of_size_is_split_twice_at_most_and_then_read_by_pages() {
    let shape = Negentropy::NegErr("blocked: too many records".into());
    let mut shell = Shell::fresh(ModelRelay { negentropy: shape, ..ModelRelay::with(history(30)) });
    shell.fetch(1, &["alpha"], Method::Negentropy);
    assert!(shell.is_complete(1), "{:?}", shell.said);
    assert_eq!(windows(&shell).len(), 3, "the whole, a half, a quarter");
    assert_eq!((shell.ledger.len(), refusals(&shell)), (30, 0));
    assert!(shell.reqs(Which::Page).len() > 3);
}

#[test]
fn n06_too_many_requests_is_never_split_and_says_nothing_against_negentropy() {
    let shape = Negentropy::NegErr("blocked: too many concurrent NEG requests".into());
    let mut shell = Shell::fresh(ModelRelay { negentropy: shape, ..ModelRelay::with(history(30)) });
    shell.fetch(1, &["alpha"], Method::Negentropy);
    assert!(shell.is_complete(1), "{:?}", shell.said);
    assert_eq!((windows(&shell).len(), refusals(&shell)), (1, 0));
}

#[test]
fn n06_a_second_that_still_overflows_is_read_by_pages_and_only_it() {
    let dense: Vec<Event> = (0..60).map(|n| comment("alpha", OLD + 5, 1_000 + n)).collect();
    let events: Vec<Event> = history(100).into_iter().chain(dense).collect();
    let mut shell = Shell::fresh(ModelRelay { most_records: 40, ..ModelRelay::with(events.clone()) });
    shell.fetch(1, &["alpha"], Method::Negentropy);
    assert!(shell.is_complete(1), "{:?}", shell.said);
    assert_eq!(shell.ledger, Shell::ids_of(&events));
    let pages = shell.reqs(Which::Page);
    let is_narrow = |filter: &model::Filter| filter.since.is_some_and(|since| (OLD + 3..=OLD + 6).contains(&since.as_secs()));
    assert!(!pages.is_empty() && pages.iter().all(|(_, _, filter)| is_narrow(filter)), "{pages:?}");
}

#[test]
fn windows_are_read_side_by_side_within_what_may_be_in_flight() {
    let mut shell = Shell::fresh(ModelRelay { most_records: 10, ..ModelRelay::with(history(200)) });
    shell.settles = false;
    shell.fetch(1, &["alpha"], Method::Negentropy);
    let open = shell.sent.iter().fold(BTreeSet::new(), |mut open, (_, request)| {
        match request {
            Request::NegOpen { sub, .. } => _ = open.insert(sub.clone()),
            Request::NegClose { sub } => _ = open.remove(sub),
            Request::Req { .. } | Request::Close { .. } | Request::NegMsg { .. } | Request::Auth { .. } => {}
        }
        open
    });
    assert!(open.len() <= 6, "{}", open.len());
    shell.settles = true;
    shell.settle_all();
    shell.pass(20_000);
    assert!(shell.is_complete(1), "{:?}", shell.said);
    assert_eq!(shell.ledger.len(), 200);
}

#[test]
fn layer_1_is_split_too_and_is_caught_up_when_all_its_windows_are() {
    let announced: Vec<Event> = (0..120).map(|n| announcement(&format!("r{n}"), OLD + n * 1_000, &[])).collect();
    let mut shell = Shell::fresh(ModelRelay { most_records: 50, ..ModelRelay::with(announced.clone()) });
    shell.open_fresh(Method::Negentropy);
    assert!(shell.has_caught_up());
    assert_eq!(shell.ledger, Shell::ids_of(&announced));
    assert_eq!(shell.reqs(Which::Page), []);
}

#[test]
fn a_set_of_ours_that_is_too_large_is_split_like_one_of_the_relays() {
    let mut shell = Shell::fresh(ModelRelay::with(history(300)));
    shell.fetch(1, &["alpha"], Method::Negentropy);
    shell.most_ids = 100;
    shell.sent.clear();
    shell.fetch(2, &["alpha"], Method::Negentropy);
    assert!(shell.is_complete(2), "{:?}", shell.said);
    assert!(windows(&shell).len() >= 4, "{:?}", windows(&shell));
    assert_eq!(shell.reqs(Which::Page), []);
}

#[test]
fn a_window_that_is_walked_on_a_relay_that_ignores_until_proves_nothing() {
    let dense: Vec<Event> = (0..60).map(|n| comment("alpha", OLD, n)).collect();
    let mut relay = ModelRelay { most_records: 40, ..ModelRelay::with(dense.into_iter().chain(comments("alpha", START, 30))) };
    relay.ignores_until = true;
    relay.page_cap = 20;
    let mut shell = Shell::fresh(relay);
    shell.fetch(1, &["alpha"], Method::Negentropy);
    shell.pass(60_000);
    assert_eq!(incomplete(&shell, 1), Some(Incomplete::Unpageable), "{:?}", shell.said);
}

#[test]
fn p07_a_batch_that_is_dropped_while_it_is_split_leaves_nothing_behind() {
    let mut shell = Shell::fresh(ModelRelay { most_records: 40, ..ModelRelay::with(history(300)) });
    shell.settles = false;
    shell.fetch(1, &["alpha"], Method::Negentropy);
    // Those that wait for home hold the places of the others.
    shell.pass(10 * 900_000);
    assert_eq!(incomplete(&shell, 1), Some(Incomplete::Unsettled));
    shell.settle_all();
    shell.pass(1_000);
    assert!(shell.session.is_idle(), "{:?}", shell.session);
    assert_eq!(shell.ends().len(), 1);
}
