//! Live subscriptions: gaps, replacement, loss, rebuilds.

use super::*;

fn up(names: &[&str]) -> Shell {
    let mut shell = Shell::fresh(ModelRelay::with([]));
    shell.open_fresh(Method::Negentropy);
    shell.fetch(1, names, Method::Negentropy);
    assert!(shell.is_complete(1) && shell.has_caught_up());
    shell
}

fn rebuild(shell: &mut Shell, live: Vec<LiveFilter>, since: u64) {
    let layout = shell.next_layout();
    shell.order(Ask::Rebuild { live, polled: Vec::new(), since: at(since), layout });
}

#[test]
fn s09_the_gap_is_read_to_its_proven_end_before_the_link_is_caught_up() {
    let since = START - 900;
    let gap = comments("alpha", START - 800, 700);
    let mut shell = catch_up(ModelRelay::with(gap.clone()), since);
    open_since(&mut shell, since);
    shell.settles = false;
    shell.order(Ask::CatchUp { live: live_repos(0, &["alpha"]), polled: Vec::new(), since: at(since), layout: 0 });
    assert!(shell.reports().any(|said| *said == Said::Opened));
    assert!(!shell.has_caught_up());
    shell.settle_all();
    assert!(shell.has_caught_up());
    assert_eq!(shell.ledger, Shell::ids_of(&gap));
    assert!(shell.reqs(Which::Page).iter().all(|(_, _, filter)| filter.since == Some(at(since))));
    assert_eq!(shell.neg_opens(), []);
}

#[test]
fn s09_the_events_of_the_gap_arrive_although_the_stored_part_is_capped() {
    let since = START - 900;
    let gap = comments("alpha", START - 800, 90);
    let mut shell = catch_up(ModelRelay { page_cap: 25, ..ModelRelay::with(gap.clone()) }, since);
    open_since(&mut shell, since);
    shell.order(Ask::CatchUp { live: live_repos(0, &["alpha"]), polled: Vec::new(), since: at(since), layout: 0 });
    assert!(shell.has_caught_up());
    assert_eq!(shell.ledger, Shell::ids_of(&gap));
}

#[test]
fn s09_a_gap_that_could_not_be_read_is_read_again_and_the_link_is_not_caught_up_before() {
    let since = START - 900;
    let gap = comments("alpha", START - 800, 3);
    let mut shell = catch_up(ModelRelay::with(gap.clone()), since);
    open_since(&mut shell, since);
    shell.relay.refusals.push((Which::Page, 1, "error: busy".into()));
    shell.order(Ask::CatchUp { live: live_repos(0, &["alpha"]), polled: Vec::new(), since: at(since), layout: 0 });
    assert!(!shell.has_caught_up());
    shell.pass(60_000);
    assert!(shell.has_caught_up(), "{:?}", shell.said);
    assert_eq!(shell.ledger, Shell::ids_of(&gap));
}

#[test]
fn s09_a_batch_that_joins_the_chunk_does_not_lose_the_gap_that_is_being_read() {
    let since = START - 900;
    let gap = comments("alpha", START - 800, 3);
    // Where `limit: 0` is mishandled, the live subscription brings the first page of the gap.
    for (ignores_limit_zero, held) in [(Some(true), Which::Page), (None, Which::Live)] {
        let learned = Learned { ignores_limit_zero, ..Learned::default() };
        let mut shell = Shell::new(Resume::CatchUp { since: at(since) }, learned, ModelRelay::with(gap.clone()));
        open_since(&mut shell, since);
        shell.relay.holds_eose = Some(held);
        shell.relay.breaks_off = (held == Which::Page).then(|| (0, "hm".into()));
        shell.order(Ask::CatchUp { live: live_repos(0, &["alpha"]), polled: Vec::new(), since: at(since), layout: 0 });
        assert!(shell.ledger.is_empty() && shell.session.live_count() == 4);
        shell.relay.holds_eose = None;
        shell.fetch_with(1, &["beta"], live_repos(0, &["alpha", "beta"]), Method::Negentropy);
        shell.pass(5_000);
        assert!(shell.is_complete(1));
        assert_eq!(shell.ledger, Shell::ids_of(&gap));
        assert!(shell.has_caught_up(), "{:?}", shell.said);
    }
}

#[test]
fn the_tail_filter_is_replaced_by_opening_the_new_one_before_the_old_one_is_closed() {
    let mut shell = up(&["alpha"]);
    let old = live_sub(&shell);
    shell.sent.clear();
    shell.fetch_with(2, &["beta"], live_repos(0, &["alpha", "beta"]), Method::Negentropy);
    let opened = shell.position(|request| matches!(request, Request::Req { filter, .. } if which(filter) == Which::Live));
    let closed = shell.position(|request| *request == Request::Close { sub: old.clone() });
    assert!(opened < closed);
    assert!(shell.is_complete(2));
    assert_eq!(shell.relay.open.len(), 4);
}

#[test]
fn the_old_filter_goes_on_while_the_new_one_is_opening() {
    // Its first one came with history: nothing has shown yet that it answers those for news alone.
    let mut shell = catch_up(ModelRelay::with([]), START);
    open_since(&mut shell, START);
    shell.order(Ask::CatchUp { live: live_repos(0, &["alpha"]), polled: Vec::new(), since: at(START), layout: 0 });
    shell.relay.holds_eose = Some(Which::Live);
    shell.fetch_with(2, &["beta"], live_repos(0, &["alpha", "beta"]), Method::Negentropy);
    let news = comment("alpha", START, 1);
    shell.publish(news.clone());
    assert!(shell.ledger.contains(&news.id));
    assert_eq!(shell.session.strays(), 0);
    shell.pass(8_000);
    assert!(shell.is_complete(2), "the new filter stands once it is asked for by since");
    let more = comment("alpha", START + 40, 2);
    shell.publish(more.clone());
    assert!(shell.ledger.contains(&more.id));
}

#[test]
fn c05_closed_on_one_live_subscription_reaches_nobody_else_and_it_is_opened_again_with_since() {
    let mut shell = up(&["alpha"]);
    let (lost, others) = (live_sub(&shell), shell.relay.open.len() - 1);
    shell.close(&lost, "error: shutting down idle subscriptions");
    assert_eq!((shell.relay.open.len(), shell.session.live_count()), (others, others));
    let missed = comment("alpha", START, 1);
    shell.publish(missed.clone());
    assert!(!shell.ledger.contains(&missed.id));
    shell.pass(5_000);
    assert!(shell.ledger.contains(&missed.id));
    let (_, _, reopened) = shell.reqs(Which::Page).into_iter().next().unwrap();
    assert_eq!(reopened.since, Some(at(START - 900)));
    assert_eq!((shell.relay.open.len(), shell.hung_up), (others + 1, None));
}

#[test]
fn c05_a_lost_live_subscription_that_a_batch_replaces_fills_its_gap_all_the_same() {
    let mut shell = up(&["alpha"]);
    let lost = live_sub(&shell);
    shell.close(&lost, "error: gone");
    let missed = comment("alpha", START, 1);
    shell.publish(missed.clone());
    shell.fetch_with(2, &["beta"], live_repos(0, &["alpha", "beta"]), Method::Negentropy);
    shell.pass(60_000);
    assert!(shell.is_complete(2), "{:?}", shell.said);
    assert!(shell.ledger.contains(&missed.id), "what came while nothing was live is lost");
}

#[test]
fn c05_a_lost_live_subscription_that_a_failed_batch_waited_for_is_opened_again() {
    let mut shell = up(&["alpha"]);
    let lost = live_sub(&shell);
    shell.close(&lost, "error: gone");
    shell.relay.refusals.push((Which::Live, 9, "error: busy".into()));
    shell.relay.refusals.push((Which::Page, 9, "error: busy".into()));
    let missed = comment("alpha", START, 1);
    shell.publish(missed.clone());
    shell.fetch_with(2, &["beta"], live_repos(0, &["alpha", "beta"]), Method::Negentropy);
    shell.pass(60_000);
    assert_eq!(incomplete(&shell, 2), Some(Incomplete::NotLive));
    shell.relay.refusals.clear();
    shell.pass(600_000);
    assert!(shell.ledger.contains(&missed.id), "confirmed items are live no more");
}

#[test]
fn c05_a_relay_that_closes_what_it_has_just_opened_is_asked_ever_more_seldom() {
    let mut shell = up(&["alpha"]);
    let before = shell.sent.len();
    for _ in 0..720 {
        let open: Vec<String> = shell.relay.open.keys().cloned().collect();
        for sub in open {
            shell.close(&sub, "");
        }
        shell.pass(5_000);
    }
    let asked = shell.sent.len() - before;
    assert!(asked < 200, "{asked} messages in an hour, for four subscriptions");
}

#[test]
fn c05_a_former_filter_that_is_closed_while_the_new_one_opens_is_not_taken_for_standing() {
    let mut shell = up(&["alpha"]);
    let former = live_sub(&shell);
    shell.relay.holds_eose = Some(Which::Live);
    shell.fetch_with(2, &["beta"], live_repos(0, &["alpha", "beta"]), Method::Negentropy);
    let opening = live_sub(&shell);
    shell.relay.refusals.push((Which::Page, 1, "error: busy".into()));
    shell.close(&former, "error: gone");
    shell.close(&opening, "error: gone");
    shell.relay.holds_eose = None;
    let missed = comment("alpha", START, 1);
    shell.publish(missed.clone());
    shell.pass(600_000);
    assert!(shell.ledger.contains(&missed.id), "{:?}", shell.session);
}

#[test]
fn s14_a_rebuild_opens_before_it_closes_and_reads_the_overlap() {
    let mut shell = up(&["alpha"]);
    shell.fetch_with(2, &["beta"], live_repos(1, &["beta"]), Method::Negentropy);
    let old: BTreeSet<String> = shell.relay.open.keys().cloned().collect();
    shell.sent.clear();
    rebuild(&mut shell, live_repos(0, &["alpha", "beta"]), START - 900);
    let is_close = |request: &Request| matches!(request, Request::Close { sub } if old.contains(sub));
    let opened: Vec<usize> = shell
        .sent
        .iter()
        .enumerate()
        .filter(|(_, (_, request))| matches!(request, Request::Req { filter, .. } if which(filter) == Which::Live))
        .map(|(n, _)| n)
        .collect();
    assert_eq!(opened.len(), 3);
    assert!(opened.iter().all(|n| *n < shell.position(is_close)));
    let read = shell.reqs(Which::Page);
    assert!(read.len() == 3 && read.iter().all(|(_, _, filter)| filter.since == Some(at(START - 900))), "{read:?}");
    assert_eq!((shell.relay.open.len(), shell.session.live_count()), (4, 4));
}

/// Subscriptions that name two items.
fn open_with_both(shell: &Shell) -> usize {
    let names_both = |filter: &&model::Filter| filter.generic_tags.values().any(|values| values.len() == 2);
    shell.relay.open.values().filter(names_both).count()
}

#[test]
fn s14_where_a_relay_has_no_room_for_old_and_new_the_old_ones_go_first_and_nothing_is_missed() {
    let mut shell = up(&["alpha"]);
    shell.fetch_with(2, &["beta"], live_repos(1, &["beta"]), Method::Negentropy);
    shell.relay.most_open = shell.relay.open.len() + 1;
    let missed = comment("beta", START - 60, 7);
    shell.relay.events.push(missed.clone());
    rebuild(&mut shell, live_repos(2, &["alpha", "beta"]), START - 900);
    shell.pass(120_000);
    assert!(shell.ledger.contains(&missed.id), "what came while nothing stood is read");
    let news = comment("beta", START + 120, 8);
    shell.publish(news.clone());
    shell.pass(240_000);
    assert!(shell.ledger.contains(&news.id), "it comes live, or by polling");
    assert_eq!(shell.relay.open.len(), 1 + open_with_both(&shell), "nothing old is left: {:?}", shell.relay.open);
}

#[test]
fn s14_what_replaces_a_filter_and_is_refused_is_asked_for_again_instead_of_what_stood_before() {
    let mut shell = up(&["alpha"]);
    shell.fetch_with(2, &["beta"], live_repos(1, &["beta"]), Method::Negentropy);
    shell.relay.refusals = vec![(Which::Live, 2, "error: busy".to_owned())];
    rebuild(&mut shell, live_repos(0, &["alpha", "beta"]), START - 900);
    shell.pass(120_000);
    assert_eq!((open_with_both(&shell), shell.relay.open.len()), (3, 4), "{:?}", shell.relay.open);
}

#[test]
fn s14_layer_1_is_not_rebuilt() {
    let mut shell = up(&["alpha"]);
    shell.sent.clear();
    rebuild(&mut shell, live_repos(0, &["alpha", "beta"]), START - 900);
    assert!(shell.relay.open.contains_key("s1"));
    assert!(!shell.sent.iter().any(|(_, request)| *request == Request::Close { sub: "s1".into() }));
}

#[test]
fn s14_a_batch_that_comes_during_a_rebuild_keeps_its_live_subscriptions() {
    let mut shell = up(&["alpha"]);
    shell.relay.holds_eose = Some(Which::Page);
    rebuild(&mut shell, live_repos(0, &["alpha", "x"]), START - 900);
    let opening: Vec<String> =
        shell.reqs(Which::Page).into_iter().map(|(_, sub, _)| sub).filter(|sub| shell.relay.open.contains_key(sub)).collect();
    assert_eq!(opening.len(), 3);
    shell.fetch_with(2, &["beta"], live_repos(1, &["beta"]), Method::Negentropy);
    shell.relay.holds_eose = None;
    for sub in opening {
        shell.end_of(&sub);
    }
    shell.pass(60_000);
    assert!(shell.is_complete(2), "{:?}", shell.said);
    let news = comment("beta", START + 60, 1);
    shell.publish(news.clone());
    assert!(shell.ledger.contains(&news.id), "the rebuild closed what a later batch had opened");
}

#[test]
fn repeated_orders_change_nothing() {
    let since = START - 900;
    let mut shell = catch_up(ModelRelay::with([]), since);
    let catch_up = Ask::CatchUp { live: live_repos(0, &["alpha"]), polled: Vec::new(), since: at(since), layout: 0 };
    open_since(&mut shell, since);
    shell.order(catch_up.clone());
    shell.relay.holds_eose = Some(Which::Live);
    shell.fetch_with(1, &["beta"], live_repos(1, &["beta"]), Method::Negentropy);
    let sent = shell.sent.len();
    open_since(&mut shell, since);
    shell.order(catch_up);
    shell.fetch_with(1, &["beta"], live_repos(1, &["beta"]), Method::Negentropy);
    assert_eq!(shell.sent.len(), sent, "{:?}", &shell.sent[sent..]);
}

#[test]
fn x03_events_that_nothing_asked_for_are_refused() {
    let mut shell = up(&["alpha"]);
    let live = live_sub(&shell);
    let other = comment("other", START, 1);
    let now = shell.now();
    assert_eq!(shell.session.event(&live, &other, now), engine::session::Verdict::Stray);
    assert_eq!(shell.session.event("s999", &comment("alpha", START, 1), now), engine::session::Verdict::Stray);
    assert_eq!(shell.session.event("nobody", &comment("alpha", START, 1), now), engine::session::Verdict::Stray);
    assert_eq!(shell.session.strays(), 3);
}

#[test]
fn x03_frames_with_ids_that_are_not_ours_change_nothing() {
    let mut shell = up(&["alpha"]);
    let (sent, said) = (shell.sent.len(), shell.said.len());
    for sub in ["s999", "x", ""] {
        shell.hear(Frame::Eose { sub: sub.into(), hint: EoseHint::None });
        shell.hear(Frame::Closed { sub: sub.into(), text: "rate-limited: x".into() });
        shell.hear(Frame::NegErr { sub: sub.into(), text: "blocked: x".into() });
        shell.hear(Frame::NegMsg { sub: sub.into(), message: "61".into() });
    }
    assert_eq!((shell.sent.len(), shell.said.len()), (sent, said));
}

#[test]
fn scenario_15_a_root_found_live_is_an_item_like_any_other() {
    let bug = common::issue("alpha", "bug", OLD);
    let replies = [reply(&bug, OLD + 1, 1)];
    let mut shell = Shell::fresh(ModelRelay::with(replies.clone()));
    let items = [model::Item::Root(bug.id)];
    let live = engine::filters::live(ItemKind::Root, 0, &items);
    let history = engine::filters::history(ItemKind::Root, &items);
    shell.order(Ask::Fetch { batch: BatchId(1), live, polled: Vec::new(), history, method: Method::Negentropy, layout: 0 });
    assert!(shell.is_complete(1));
    assert_eq!(shell.ledger, Shell::ids_of(&replies));
}

/// Twelve chunks of one repo each: 36 live subscriptions, and history beside them.
fn many_batches(shell: &mut Shell) {
    for batch in 0..12 {
        let name = format!("r{batch}");
        shell.fetch_with(i64::from(batch) + 1, &[&name], live_repos(batch, &[&name]), Method::Req);
    }
}

#[test]
fn scenario_07_a_subscription_limit_said_by_closed_is_learned_in_one_round() {
    let mut shell = Shell::fresh(ModelRelay::without_negentropy([]));
    shell.relay.most_open = 20;
    many_batches(&mut shell);
    shell.pass(60_000);
    let learned = shell.learned().live_limit;
    assert!(learned.is_some_and(|limit| (14..=17).contains(&limit)), "three are kept in reserve: {learned:?}");
    assert!(shell.session.is_idle(), "every batch has ended");
    assert!(shell.session.live_count() <= 20);
    assert!(shell.is_complete(1), "what was opened before the limit is complete");
}

#[test]
fn scenario_07_a_subscription_limit_said_by_a_notice_refuses_the_newest_and_is_no_pause() {
    let mut shell = Shell::fresh(ModelRelay::with([]));
    shell.open_fresh(Method::Negentropy);
    shell.fetch_with(1, &["alpha"], live_repos(0, &["alpha"]), Method::Negentropy);
    shell.relay.holds_eose = Some(Which::Live);
    shell.fetch_with(2, &["beta"], live_repos(1, &["beta"]), Method::Negentropy);
    shell.hear(Frame::Notice { text: "ERROR: too many concurrent REQs".to_owned() });
    shell.pass(3_000);
    assert_eq!(shell.learned().live_limit, Some(1), "four stood, and nothing answered for those after them");
    assert!(shell.is_complete(2), "what is polled is read all the same: {:?}", shell.ends());
    assert!(!shell.reports().any(|said| matches!(said, Said::RateLimited { .. })));
    assert_eq!(shell.session.live_count(), 1, "with six at most, all but layer 1 is kept for history");
}

#[test]
fn c10_a_relay_that_wants_to_be_paid_is_asked_a_few_times_a_day_and_at_once_when_it_serves() {
    let mut shell = Shell::fresh(ModelRelay::with([]));
    for sort in [Which::Live, Which::Page] {
        shell.relay.refusals.push((sort, usize::MAX, "restricted: pay to read here".into()));
    }
    shell.open_fresh(Method::Req);
    shell.fetch(1, &["alpha"], Method::Req);
    assert_eq!(incomplete(&shell, 1), Some(Incomplete::Payment));
    shell.pass(60_000);
    let before = shell.sent.len();
    shell.pass(24 * 3_600_000);
    let asked = shell.sent.len() - before;
    assert!((1..=8).contains(&asked), "{asked} messages in a day");
    shell.relay.refusals.clear();
    shell.pass(13 * 3_600_000);
    assert!(shell.session.is_standing() && shell.session.live_count() > 0, "{:?}", shell.session);
}
