//! Whatever a relay holds and however it serves it: everything is fetched, or what is missing is said, and nothing hangs.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::relay::{ModelRelay, Negentropy, Which, is_match};
use common::shell::Shell;
use common::{START, addr, announcement, event, live_repos, repo};
use engine::walk::SMALLEST_CAP;
use model::{BatchId, BatchOutcome, Event, EventId, Filter, Incomplete, Item, ItemKind, Kind, Learned, Method, Resume};
use proptest::prelude::*;

const OLD: u64 = START - 1_000_000;
const REPOS: [&str; 3] = ["r0", "r1", "r2"];
const FAMILIES: [&str; 3] = ["a", "A", "q"];
/// Longer than any ladder of retries takes (milliseconds).
const LONG: u64 = 6 * 3_600_000;

/// An event of a repo: when, on which repo, by which tag, of which kind.
type Seed = (u64, usize, usize, u16);

/// What is wrong with a relay.
#[derive(Debug, Clone)]
struct Faults {
    page_cap: usize,
    ids_cap: usize,
    most_records: usize,
    shape: Shape,
    excludes_until: bool,
    ignores_until: bool,
    refusals: Vec<(Which, usize, &'static str)>,
    is_home_slow: bool,
}

/// The five refusal shapes of NIP-77, and none.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    Says(Negentropy),
    HangsUp,
}

fn seeds() -> impl Strategy<Value = Vec<Seed>> {
    // Clusters from "all in one second" to "hardly any two".
    (1_u64..40, 1_usize..4).prop_flat_map(|(seconds, repos)| {
        let kind = prop_oneof![Just(1111_u16), Just(1621), Just(1630)];
        proptest::collection::vec((0..seconds, 0..repos, 0_usize..3, kind), 0..90)
    })
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        4 => Just(Shape::Says(Negentropy::Works)),
        1 => Just(Shape::Says(Negentropy::NegErr("blocked: no".into()))),
        1 => Just(Shape::Says(Negentropy::NegErr("blocked: too many query results".into()))),
        1 => Just(Shape::Says(Negentropy::NegErr("error: too many concurrent NEG requests".into()))),
        1 => Just(Shape::Says(Negentropy::Closed("auth-required: who are you".into()))),
        1 => Just(Shape::Says(Negentropy::Notice("ERROR: bad msg: negentropy disabled".into()))),
        1 => Just(Shape::Says(Negentropy::Silent)),
        1 => Just(Shape::Says(Negentropy::AnswersOnce)),
        1 => Just(Shape::HangsUp),
    ]
}

fn faults() -> impl Strategy<Value = Faults> {
    let text = prop_oneof![
        Just("rate-limited: slow down"),
        Just("error: database is locked"),
        Just("blocked: too many concurrent requests"),
        Just("auth-required: who are you"),
        Just(""),
    ];
    let sort = prop_oneof![Just(Which::Live), Just(Which::Page), Just(Which::Ids), Just(Which::Question)];
    let cap = || prop_oneof![1_usize..8, 15_usize..40, Just(500)];
    let records = prop_oneof![1_usize..30, Just(usize::MAX)];
    let refusals = proptest::collection::vec((sort, 1_usize..4, text), 0..3);
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.05), any::<bool>());
    (cap(), cap(), records, shape(), refusals, flags).prop_map(
        |(page_cap, ids_cap, most_records, shape, refusals, (excludes_until, ignores_until, is_home_slow))| Faults {
            page_cap,
            ids_cap,
            most_records,
            shape,
            excludes_until,
            ignores_until,
            refusals,
            is_home_slow,
        },
    )
}

fn made(seeds: &[Seed]) -> Vec<Event> {
    let make = |(n, (second, repo, family, kind)): (usize, &Seed)| {
        let tag = [FAMILIES[*family], &addr(REPOS[*repo]).to_string()].map(str::to_owned);
        event(Kind::from_u16(*kind), OLD + second, &[&tag.each_ref().map(String::as_str)], &n.to_string())
    };
    let announced = REPOS.iter().zip(0_u64..).map(|(name, n)| announcement(name, OLD - 1_000 - n, &[]));
    seeds.iter().enumerate().map(make).chain(announced).collect()
}

fn relay(events: Vec<Event>, faults: &Faults) -> ModelRelay {
    let mut relay = ModelRelay::with(events);
    relay.page_cap = faults.page_cap;
    relay.ids_cap = faults.ids_cap;
    relay.most_records = faults.most_records;
    relay.excludes_until = faults.excludes_until;
    relay.ignores_until = faults.ignores_until;
    relay.refusals = faults.refusals.iter().map(|(sort, times, text)| (*sort, *times, (*text).to_owned())).collect();
    relay.negentropy = match &faults.shape {
        Shape::Says(shape) => shape.clone(),
        Shape::HangsUp => Negentropy::Silent,
    };
    relay
}

fn asked() -> Vec<Filter> {
    let items: Vec<Item> = REPOS.iter().map(|name| repo(name)).collect();
    engine::filters::history(ItemKind::Repo, &items)
}

/// What a relay holds for the batch.
fn of_batch(relay: &ModelRelay) -> BTreeSet<EventId> {
    let filters = asked();
    let is_asked = |event: &&Event| filters.iter().any(|filter| is_match(filter, event));
    relay.events.iter().filter(is_asked).map(|event| event.id).collect()
}

/// As many events of one second and one tag value as a page holds: nothing can prove that there are no more.
fn is_dense(seeds: &[Seed], cap: usize) -> bool {
    let mut counts: BTreeMap<(u64, usize, usize), usize> = BTreeMap::new();
    for (second, repo, family, _) in seeds {
        *counts.entry((*second, *repo, *family)).or_default() += 1;
    }
    // A page of one event says nothing about its second, not even for announcements.
    cap == 1 || counts.values().any(|count| *count >= cap)
}

/// Reads layer 1 and the repos on one link; the next link, if the relay hangs up over an exchange.
fn read(batch: i64, mut shell: Shell, faults: &Faults) -> Shell {
    shell.settles = !faults.is_home_slow;
    shell.open_fresh(Method::Negentropy);
    if faults.shape == Shape::HangsUp && !shell.neg_opens().is_empty() {
        let now = shell.now();
        shell.session.link_lost(now);
        shell.quiet();
        let learned: Learned = shell.learned();
        shell.relay.open.clear();
        shell = Shell::new(Resume::Fresh, learned, shell.relay);
        shell.open_fresh(Method::Req);
    }
    shell.fetch_with(batch, &REPOS, live_repos(0, &REPOS), Method::Negentropy);
    for _ in 0..LONG / 60_000 {
        shell.pass(60_000);
        shell.settle_all();
    }
    shell
}

fn outcome(shell: &Shell, batch: i64) -> Vec<BatchOutcome> {
    shell.ends().into_iter().filter(|(id, _)| *id == BatchId(batch)).map(|(_, outcome)| outcome).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, max_shrink_iters: 300, ..ProptestConfig::default() })]

    /// Every batch ends once; what is complete was fetched in full; what is not says why, and the reason is true. Once faults
    /// stop, only what can never be proved stays incomplete.
    #[test]
    fn whatever_a_relay_holds_is_fetched_or_what_is_missing_is_said(seeds in seeds(), faults in faults()) {
        let mut shell = read(1, Shell::fresh(relay(made(&seeds), &faults)), &faults);
        let first = outcome(&shell, 1);
        prop_assert_eq!(first.len(), 1, "it ends once: {:?}", shell.session);
        prop_assert!(shell.session.is_idle() || shell.session.next_deadline().is_some(), "{:?}", shell.session);
        let held = of_batch(&shell.relay);
        let may_be_dense = is_dense(&seeds, faults.page_cap.min(500)) || is_dense(&seeds, 500);
        match &first[0] {
            // A relay that cuts pages below the smallest cap and refuses to be asked about it shows nothing of it.
            BatchOutcome::Complete if faults.page_cap < SMALLEST_CAP && refuses_questions(&faults) => {}
            BatchOutcome::Complete => prop_assert!(held.is_subset(&shell.ledger), "complete, and {} are missing", held.difference(&shell.ledger).count()),
            BatchOutcome::Incomplete { why: Incomplete::DenseSecond, .. } => prop_assert!(may_be_dense || refuses_questions(&faults)),
            BatchOutcome::Incomplete { why: Incomplete::Unpageable, .. } => prop_assert!(faults.ignores_until),
            BatchOutcome::Incomplete { why, .. } => prop_assert!(!faults.refusals.is_empty(), "{why:?} out of nothing"),
        }
        shell.relay.refusals.clear();
        shell.fetch_with(2, &REPOS, live_repos(0, &REPOS), Method::Negentropy);
        for _ in 0..LONG / 60_000 {
            shell.pass(60_000);
            shell.settle_all();
        }
        let second = outcome(&shell, 2);
        prop_assert_eq!(second.len(), 1);
        let is_unknown = faults.page_cap < SMALLEST_CAP && refuses_questions(&faults);
        if faults.ignores_until || may_be_dense || is_unknown {
            return Ok(());
        }
        prop_assert_eq!(&second[0], &BatchOutcome::Complete, "{:?}", shell.said);
        prop_assert!(held.is_subset(&shell.ledger));
        prop_assert!(shell.has_caught_up(), "layer 1 is never caught up: {:?}", shell.session);
    }
}

fn refuses_questions(faults: &Faults) -> bool {
    faults.refusals.iter().any(|(sort, _, _)| *sort == Which::Question)
}
