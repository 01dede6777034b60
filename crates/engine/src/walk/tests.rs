use model::{Event, RefTag};
use nostr::prelude::{MatchEventOptions, SingleLetterTag};
use proptest::prelude::*;

use super::*;
use crate::testing::event;

/// An announcement, older than all else: what nearly every relay holds that holds anything of a repo.
fn announcement() -> Event {
    event(30617, 500, &[&["d", "x"]])
}

/// A relay that serves the newest `cap` matches of a filter, ties by lowest id.
struct Relay {
    events: Vec<Event>,
    cap: usize,
    excludes_until: bool,
}

impl Relay {
    fn page(&self, filter: &Filter) -> Vec<&Event> {
        let is_left_out = |event: &Event| self.excludes_until && filter.until == Some(event.created_at);
        let mut matches: Vec<&Event> = self
            .events
            .iter()
            .filter(|event| filter.match_event(event, MatchEventOptions::new()) && !is_left_out(event))
            .collect();
        matches.sort_by_key(|event| (std::cmp::Reverse(event.created_at), event.id));
        matches.truncate(self.cap.min(filter.limit.unwrap_or(usize::MAX)));
        matches
    }
}

/// Walks to the end: what was found, how many pages it took, how it ended.
fn walk(relay: &Relay, filter: Filter) -> (BTreeSet<EventId>, u64, Step) {
    walk_with(relay, filter, &mut Manners::default())
}

fn walk_with(relay: &Relay, filter: Filter, manners: &mut Manners) -> (BTreeSet<EventId>, u64, Step) {
    let mut walk = Walk::new(filter, *manners);
    let mut found = BTreeSet::new();
    for _ in 0..100_000 {
        let is_read = !walk.is_calibrating();
        for event in relay.page(&walk.request()) {
            walk.event(event.id, event.created_at);
            if is_read {
                found.insert(event.id);
            }
        }
        match walk.page_ended(EoseHint::None, manners) {
            Step::Page(_) => {}
            end @ (Step::Complete | Step::Incomplete(_)) => return (found, walk.pages, end),
        }
    }
    panic!("the walk does not end");
}

fn tagged(count: usize, created_at: impl Fn(usize) -> u64, values: usize) -> Vec<Event> {
    (0..count).map(|n| event(1111, created_at(n), &[&["e", &format!("{:064x}", n % values)], &["n", &n.to_string()]])).collect()
}

fn by_values(values: usize) -> Filter {
    assert_eq!(RefTag::Event.name(), "e");
    Filter::new().custom_tags(SingleLetterTag::LOWERCASE_E, (0..values).map(|n| format!("{n:064x}")))
}

fn ids(events: &[Event]) -> BTreeSet<EventId> {
    events.iter().map(|event| event.id).collect()
}

#[test]
fn an_empty_relay_takes_one_page() {
    let relay = Relay { events: vec![], cap: 500, excludes_until: false };
    assert_eq!(walk(&relay, by_values(1)), (BTreeSet::new(), 1, Step::Complete));
}

#[test]
fn a_few_events_take_three_pages_because_a_short_page_proves_nothing() {
    let relay = Relay { events: tagged(5, |n| 100 + n as u64, 1), cap: 500, excludes_until: false };
    let (found, pages, end) = walk(&relay, by_values(1));
    assert_eq!((found.len(), pages, end), (5, 3, Step::Complete));
}

#[test]
fn scenario_06_every_cap_finds_all_events_in_few_pages() {
    let events = tagged(600, |n| 1000 + n as u64, 3);
    for cap in [20, 50, 100, 250, 500] {
        let relay = Relay { events: events.clone(), cap, excludes_until: false };
        let (found, pages, end) = walk(&relay, by_values(3));
        assert_eq!((found, end), (ids(&events), Step::Complete), "cap {cap}");
        // Each page after the first reads the boundary second again: one event less per page, and two pages of proof.
        assert!(pages <= 600_u64.div_ceil(cap as u64 - 1) + 2, "cap {cap}: {pages} pages");
    }
}

#[test]
fn scenario_06_a_second_with_more_events_than_a_page_is_read_in_parts() {
    let events = tagged(600, |_| 1000, 8);
    let relay = Relay { events: events.clone(), cap: 500, excludes_until: false };
    let (found, _, end) = walk(&relay, by_values(8));
    assert_eq!((found, end), (ids(&events), Step::Complete));
}

#[test]
fn a_second_that_cannot_be_split_is_a_gap_and_never_complete() {
    let mut events = tagged(600, |_| 1000, 1);
    events.extend(tagged(10, |n| 10 + n as u64, 1));
    let relay = Relay { events, cap: 500, excludes_until: false };
    let (found, _, end) = walk(&relay, by_values(1));
    assert_eq!(end, Step::Incomplete(Incomplete::DenseSecond));
    assert_eq!(found.len(), 510, "what lies below the gap is read all the same");
}

#[test]
fn events_dated_in_the_future_are_on_the_first_page() {
    assert_eq!(Walk::new(by_values(1), Manners::default()).request().until, None);
}

#[test]
fn a_relay_that_ignores_until_proves_nothing_and_ends_in_three_pages() {
    let events = tagged(30, |n| 1000 + n as u64, 1);
    let mut walk = Walk::new(by_values(1), Manners::default());
    let mut manners = Manners::default();
    let end = loop {
        for event in &events {
            walk.event(event.id, event.created_at);
        }
        match walk.page_ended(EoseHint::None, &mut manners) {
            Step::Page(_) => assert!(walk.pages < 3),
            end @ (Step::Complete | Step::Incomplete(_)) => break end,
        }
    };
    assert_eq!(end, Step::Incomplete(Incomplete::Unpageable));
}

#[test]
fn a_relay_whose_until_leaves_out_its_second_is_found_out_and_read_in_full() {
    let events = tagged(100, |n| 1000 + n as u64 / 30, 4);
    let relay = Relay { events: events.clone(), cap: 20, excludes_until: true };
    let (found, _, end) = walk(&relay, by_values(4));
    assert_eq!((found, end), (ids(&events), Step::Complete));
}

#[test]
fn a_finish_hint_ends_the_walk_and_a_more_hint_does_not() {
    let events = tagged(3, |n| 1000 + n as u64, 1);
    let mut walk = Walk::new(by_values(1), Manners::default());
    for event in &events {
        walk.event(event.id, event.created_at);
    }
    assert!(matches!(walk.clone().page_ended(EoseHint::More, &mut Manners::default()), Step::Page(_)));
    assert_eq!(walk.page_ended(EoseHint::Finish, &mut Manners::default()), Step::Complete);
}

#[test]
fn a_page_that_is_asked_for_again_counts_from_zero() {
    let events = tagged(3, |n| 1000 + n as u64, 1);
    let mut walk = Walk::new(by_values(1), Manners::default());
    let first = walk.request();
    walk.event(events[0].id, events[0].created_at);
    walk.restart_page();
    assert_eq!(walk.request(), first);
    assert_eq!(walk.page_ended(EoseHint::None, &mut Manners::default()), Step::Complete);
}

#[test]
fn the_walk_stops_at_its_since() {
    let relay = Relay { events: tagged(50, |n| 1000 + n as u64, 1), cap: 10, excludes_until: false };
    let (found, _, end) = walk(&relay, by_values(1).since(Timestamp::from_secs(1040)));
    assert_eq!((found.len(), end), (10, Step::Complete));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any cap from the smallest that is reckoned with, any clustering of timestamps: everything is found, or a gap is said.
    #[test]
    fn a_walk_finds_every_event_or_says_that_it_did_not(
        cap in 1_usize..60,
        excludes_until: bool,
        seconds in proptest::collection::vec(0_u64..9, 0..240),
        values in 1_usize..12,
    ) {
        let events = tagged(seconds.len(), |n| 1000 + seconds[n], values);
        let relay = Relay { events: events.iter().cloned().chain([announcement()]).collect(), cap, excludes_until };
        let (found, _, end) = walk(&relay, by_values(values));
        match end {
            Step::Complete => prop_assert_eq!(found, ids(&events)),
            Step::Incomplete(why) => prop_assert_eq!(why, Incomplete::DenseSecond),
            Step::Page(_) => unreachable!("the loop goes on"),
        }
    }
}

#[test]
fn forty_events_in_one_second_of_one_tag_value_are_proved_by_a_larger_page_of_something_else() {
    let events = tagged(40, |_| 1000, 1);
    let relay = Relay { events: events.iter().cloned().chain([announcement()]).collect(), cap: 500, excludes_until: false };
    let mut manners = Manners::default();
    let (found, pages, end) = walk_with(&relay, by_values(1), &mut manners);
    assert_eq!((found, pages, end), (ids(&events), 4, Step::Complete), "a page, its boundary, below it, one question");
    let (_, pages, end) = walk_with(&relay, by_values(1), &mut manners);
    assert_eq!((pages, end), (3, Step::Complete), "what is known of a relay is not asked again");
}

#[test]
fn a_relay_that_holds_nothing_but_one_dense_second_proves_nothing() {
    let events = tagged(40, |_| 1000, 1);
    let relay = Relay { events: events.clone(), cap: 500, excludes_until: false };
    let (found, _, end) = walk(&relay, by_values(1));
    assert_eq!((found, end), (ids(&events), Step::Incomplete(Incomplete::DenseSecond)));
}

#[test]
fn a_cap_below_20_is_found_out_by_what_it_leaves_out() {
    let events = tagged(8, |_| 1000, 1);
    let relay = Relay { events: events.iter().cloned().chain([announcement()]).collect(), cap: 5, excludes_until: false };
    let (_, _, end) = walk(&relay, by_values(1));
    assert_eq!(end, Step::Incomplete(Incomplete::DenseSecond));
}

#[test]
fn an_event_that_comes_between_two_pages_is_no_cut_for_good() {
    let events = tagged(2, |n| 1000 - n as u64 * 100, 1);
    let (mut manners, mut walk) = (Manners::default(), Walk::new(by_values(1), Manners::default()));
    let mut ends = Vec::new();
    for n in 0.. {
        // The older one is stored after the first two pages.
        let held = if n < 2 { &events[..1] } else { &events[..] };
        let relay = Relay { events: held.to_vec(), cap: 500, excludes_until: false };
        for event in relay.page(&walk.request()) {
            walk.event(event.id, event.created_at);
        }
        match walk.page_ended(EoseHint::None, &mut manners) {
            Step::Page(_) => assert!(n < 50, "it never ends"),
            end @ (Step::Complete | Step::Incomplete(_)) => {
                ends.push(end);
                walk = Walk::new(by_values(1), manners);
            }
        }
        if ends.len() == 2 {
            break;
        }
    }
    assert_eq!(ends[1], Step::Complete, "the first ended {:?}", ends[0]);
}

#[test]
fn a_relay_with_a_single_event_ends_complete() {
    for events in [tagged(1, |_| 1000, 1), tagged(7, |_| 1000, 1)] {
        let relay = Relay { events: events.clone(), cap: 500, excludes_until: false };
        let (found, _, end) = walk(&relay, by_values(1));
        assert_eq!((found, end), (ids(&events), Step::Complete));
    }
}

#[test]
fn a_second_of_700_events_is_read_whole_where_the_relay_serves_that_much() {
    let events = tagged(700, |_| 1000, 1);
    let relay = Relay { events: events.iter().cloned().chain([announcement()]).collect(), cap: 1000, excludes_until: false };
    let (found, _, end) = walk(&relay, by_values(1));
    assert_eq!((found, end), (ids(&events), Step::Complete), "500 were our own limit");
}

#[test]
fn our_own_limit_is_never_taken_for_all_there_is() {
    // A larger page was seen, so the relay is known to serve more than we ask for.
    let mut manners = Manners { largest_page: 5_000, ..Manners::default() };
    let events = tagged(600, |_| 1000, 1);
    let relay = Relay { events: events.iter().cloned().chain([announcement()]).collect(), cap: 5_000, excludes_until: false };
    let (found, _, end) = walk_with(&relay, by_values(1), &mut manners);
    assert_eq!((found, end), (ids(&events), Step::Complete));
}

#[test]
fn a_refused_question_leaves_the_doubt() {
    let events = tagged(40, |_| 1000, 1);
    let relay = Relay { events, cap: 500, excludes_until: false };
    let mut manners = Manners::default();
    let mut walk = Walk::new(by_values(1), manners);
    while !walk.is_calibrating() {
        for event in relay.page(&walk.request()) {
            walk.event(event.id, event.created_at);
        }
        assert!(matches!(walk.page_ended(EoseHint::None, &mut manners), Step::Page(_)));
    }
    assert_eq!(walk.calibration_refused(&mut manners), Some(Step::Incomplete(Incomplete::DenseSecond)));
    assert_eq!(walk.calibration_refused(&mut manners), None);
}

/// The same of a relay that answers no question beside the walk.
fn walk_unanswered(relay: &Relay, filter: Filter) -> (BTreeSet<EventId>, Step) {
    let (mut manners, mut found) = (Manners::default(), BTreeSet::new());
    let mut walk = Walk::new(filter, manners);
    for _ in 0..10_000 {
        let step = walk.calibration_refused(&mut manners).unwrap_or_else(|| {
            for event in relay.page(&walk.request()) {
                walk.event(event.id, event.created_at);
                found.insert(event.id);
            }
            walk.page_ended(EoseHint::None, &mut manners)
        });
        if !matches!(step, Step::Page(_)) {
            return (found, step);
        }
    }
    panic!("the walk does not end");
}

#[test]
fn a_few_events_of_one_second_are_no_proof_where_the_question_is_refused() {
    for few in [1, 5, 19] {
        let relay = Relay { events: tagged(few, |_| 1000, 1), cap: 500, excludes_until: false };
        assert_eq!(walk_unanswered(&relay, by_values(1)).1, Step::Incomplete(Incomplete::DenseSecond), "{few}");
    }
}

#[test]
fn a_few_events_of_one_second_are_proved_by_their_parts_where_the_question_is_refused() {
    let events = tagged(8, |_| 1000, 4);
    for cap in [8, 500] {
        let relay = Relay { events: events.clone(), cap, excludes_until: false };
        let (found, end) = walk_unanswered(&relay, by_values(4));
        assert_eq!((found, end), (ids(&events), Step::Complete), "no part has as many as the whole: cap {cap}");
    }
}

#[test]
fn a_small_cap_is_read_around_where_the_question_is_refused() {
    let events = tagged(12, |_| 1000, 4);
    let relay = Relay { events: events.clone(), cap: 5, excludes_until: false };
    let (found, end) = walk_unanswered(&relay, by_values(4));
    assert_eq!((found, end), (ids(&events), Step::Complete));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_walk_without_answers_finds_every_event_or_says_that_it_did_not(
        cap in 1_usize..60,
        excludes_until: bool,
        seconds in proptest::collection::vec(0_u64..4, 0..120),
        values in 1_usize..12,
    ) {
        let events = tagged(seconds.len(), |n| 1000 + seconds[n], values);
        let relay = Relay { events: events.clone(), cap, excludes_until };
        let (found, end) = walk_unanswered(&relay, by_values(values));
        match end {
            Step::Complete => prop_assert_eq!(found, ids(&events)),
            Step::Incomplete(why) => prop_assert_eq!(why, Incomplete::DenseSecond),
            Step::Page(_) => unreachable!("the loop goes on"),
        }
    }
}

#[test]
fn unreadable_frames_are_frames_and_prove_an_end_only_beside_a_larger_page() {
    let page = |largest_page: usize| {
        let mut manners = Manners { largest_page, ..Manners::default() };
        let mut walk = Walk::new(by_values(1), manners);
        (0..5).for_each(|_| walk.unreadable());
        walk.page_ended(EoseHint::None, &mut manners)
    };
    assert_eq!(page(0), Step::Incomplete(Incomplete::Faulty));
    assert_eq!(page(5), Step::Incomplete(Incomplete::Faulty));
    assert_eq!(page(6), Step::Complete);
}

#[test]
fn strays_without_end_are_not_followed_to_the_bottom_of_a_relay() {
    let (mut manners, mut pages) = (Manners::default(), 0);
    let mut walk = Walk::new(by_values(1), manners);
    let end = loop {
        walk.stray(Timestamp::from_secs(1_000_000 - pages));
        match walk.page_ended(EoseHint::None, &mut manners) {
            Step::Page(_) => pages += 1,
            end @ (Step::Complete | Step::Incomplete(_)) => break end,
        }
    };
    assert_eq!((pages, end), (u64::from(MOST_STRAY_PAGES), Step::Incomplete(Incomplete::Unpageable)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// A relay that cuts nothing, and holds one thing more than what is asked for: whatever the seconds, the end is proved.
    #[test]
    fn a_relay_that_cuts_nothing_is_read_to_a_proven_end(
        excludes_until: bool,
        seconds in proptest::collection::vec(0_u64..3, 0..70),
        values in 1_usize..4,
    ) {
        let events = tagged(seconds.len(), |n| 1000 + seconds[n], values);
        let relay = Relay { events: events.iter().cloned().chain([announcement()]).collect(), cap: 500, excludes_until };
        let (found, _, end) = walk(&relay, by_values(values));
        prop_assert_eq!((found, end), (ids(&events), Step::Complete));
    }
}
