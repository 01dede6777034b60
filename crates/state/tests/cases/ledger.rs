//! The ledger and its sets.

use model::{
    Filter, GateReason, Kind, LedgerCursor, LedgerPage, LedgerRow, LedgerScope, Outcome, RefTag, Timestamp, UpstreamId,
};
use nostr::prelude::SingleLetterTag;

use super::world::{Link, START, World, home, id, naming, progress, row};

const NOTE: Kind = Kind::TextNote;

async fn write(world: &World, link: &mut Link, rows: Vec<LedgerRow>) {
    world.say(link, progress(vec![], rows)).await;
}

fn scope(filter: Filter) -> LedgerScope {
    LedgerScope { filter, at_home: false }
}

/// The numbers of the events of a set.
async fn set(world: &World, scope: &LedgerScope) -> Vec<usize> {
    let LedgerPage { rows, is_last } = world.store.ledger(scope, None).await.unwrap();
    assert!(is_last);
    let number = |row: LedgerCursor| usize::from_be_bytes(row.id.as_bytes()[..8].try_into().unwrap());
    rows.into_iter().map(number).collect()
}

fn tagged(tag: char, values: &[&str]) -> LedgerScope {
    scope(Filter::new().custom_tags(SingleLetterTag::from_char(tag).unwrap(), values.iter().copied()))
}

pub(crate) async fn a_set_of_layer_1_is_made_of_kinds(world: World) {
    let mut link = world.link(&home()).await;
    let announcement = model::kinds::ANNOUNCEMENT;
    let rows = vec![
        row(3, announcement, 10, Outcome::Refused),
        row(2, announcement, 20, Outcome::Stored),
        row(1, model::kinds::STATE, 10, Outcome::Stored),
        row(4, NOTE, 10, Outcome::Stored),
    ];
    write(&world, &mut link, rows).await;
    let filter = Filter::new().kinds([announcement, model::kinds::STATE]);
    assert_eq!(set(&world, &scope(filter)).await, [1, 3, 2], "by time, then id");
    assert!(world.store.ledger(&scope(Filter::new()), None).await.is_err(), "a set without bounds is no set");
}

pub(crate) async fn a_set_of_layers_2_and_3_is_made_of_the_refs_of_one_tag(world: World) {
    let mut link = world.link(&home()).await;
    let rows = vec![
        naming(row(1, NOTE, 10, Outcome::Stored), &[(RefTag::Address, "x"), (RefTag::Quote, "y")]),
        naming(row(2, NOTE, 11, Outcome::Superseded), &[(RefTag::Address, "y"), (RefTag::Address, "x")]),
        naming(row(3, NOTE, 12, Outcome::Stored), &[(RefTag::RootAddress, "x")]),
        naming(row(4, NOTE, 13, Outcome::Stored), &[(RefTag::Address, "z")]),
        row(5, NOTE, 14, Outcome::Stored),
    ];
    write(&world, &mut link, rows).await;
    assert_eq!(set(&world, &tagged('a', &["x", "y", "never seen"])).await, [1, 2]);
    assert_eq!(set(&world, &tagged('A', &["x", "y"])).await, [3]);
    assert_eq!(set(&world, &tagged('q', &["x", "y"])).await, [1]);
    assert_eq!(set(&world, &tagged('q', &["z"])).await, [] as [usize; 0]);
}

pub(crate) async fn a_set_honours_since_and_until_and_home(world: World) {
    let mut link = world.link(&home()).await;
    let outcomes = [Outcome::Stored, Outcome::Held, Outcome::Duplicate, Outcome::Refused, Outcome::NeedsParent];
    let rows = outcomes
        .into_iter()
        .zip(1_usize..)
        .map(|(outcome, n)| naming(row(n, NOTE, n as u64 * 10, outcome), &[(RefTag::Event, "x")]));
    write(&world, &mut link, rows.collect()).await;
    for filter in [Filter::new().kind(NOTE), tagged('e', &["x"]).filter] {
        let between = filter.clone().since(Timestamp::from_secs(20)).until(Timestamp::from_secs(40));
        assert_eq!(set(&world, &scope(between.clone())).await, [2, 3, 4]);
        assert_eq!(set(&world, &LedgerScope { filter: between, at_home: true }).await, [3]);
        assert_eq!(set(&world, &LedgerScope { filter, at_home: true }).await, [1, 3]);
    }
}

pub(crate) async fn a_set_is_read_in_pages_without_gaps_or_repeats(world: World) {
    let mut link = world.link(&home()).await;
    // Dense seconds, and events that name two members of the set: both lie across the border of a page.
    let rows: Vec<LedgerRow> = (0..7_003)
        .map(|n| naming(row(n, NOTE, START + n as u64 / 4_000, Outcome::Stored), &[(RefTag::Event, "x"), (RefTag::Event, "y")]))
        .collect();
    for chunk in rows.chunks(1000) {
        write(&world, &mut link, chunk.to_vec()).await;
    }
    let expected: Vec<LedgerCursor> = rows.iter().map(|row| LedgerCursor { created_at: row.created_at, id: row.id }).collect();
    for filter in [Filter::new().kind(NOTE), tagged('e', &["x", "y"]).filter] {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = world.store.ledger(&scope(filter.clone()), after).await.unwrap();
            assert!(page.rows.len() <= 5_000);
            after = page.rows.last().copied();
            all.extend(page.rows);
            if page.is_last {
                break;
            }
        }
        assert!(all == expected, "{} rows of {}", all.len(), expected.len());
    }
}

pub(crate) async fn stored_wins_and_what_was_held_gives_way(world: World) {
    let mut link = world.link(&home()).await;
    let last_of = [
        (vec![Outcome::Refused, Outcome::Stored, Outcome::Superseded], "stored"),
        (vec![Outcome::Held, Outcome::Refused, Outcome::Held], "refused"),
        (vec![Outcome::NeedsParent, Outcome::Superseded], "superseded"),
        (vec![Outcome::Duplicate, Outcome::Refused], "duplicate"),
    ];
    for (n, (outcomes, last)) in last_of.into_iter().enumerate() {
        let before = world.store.status().await.unwrap().outcomes;
        for outcome in outcomes {
            write(&world, &mut link, vec![row(n, NOTE, 5, outcome)]).await;
        }
        let after = world.store.status().await.unwrap().outcomes;
        let grown: Vec<&str> =
            after.iter().filter(|pair| !before.contains(pair)).map(|(outcome, _)| outcome.as_str()).collect();
        assert_eq!(grown, [last], "event {n}");
    }
}

pub(crate) async fn an_id_is_known_whatever_became_of_it(world: World) {
    let mut link = world.link(&home()).await;
    let outcomes = [Outcome::Stored, Outcome::Held, Outcome::Refused, Outcome::Gated(GateReason::Expired)];
    let rows: Vec<LedgerRow> = outcomes.into_iter().zip(1..).map(|(outcome, n)| row(n, NOTE, 5, outcome)).collect();
    write(&world, &mut link, rows).await;
    let known = world.store.known(&[id(4), id(9), id(1), id(3), id(2)]).await.unwrap();
    assert_eq!(known, [id(4), id(1), id(3), id(2)]);
    assert_eq!(world.store.known(&[]).await.unwrap(), []);
    assert_eq!(world.store.held(&[id(4), id(9), id(1), id(2)]).await.unwrap(), [id(2)], "what home has without serving it");
}

pub(crate) async fn status_counts_what_became_of_events(world: World) {
    let mut link = world.link(&home()).await;
    let outcomes = [Outcome::Stored, Outcome::Stored, Outcome::Duplicate, Outcome::Gated(GateReason::Future)];
    let rows =
        outcomes.into_iter().enumerate().map(|(n, outcome)| LedgerRow { upstream: UpstreamId(7), ..row(n, NOTE, 5, outcome) });
    write(&world, &mut link, rows.collect()).await;
    let status = world.store.status().await.unwrap();
    assert_eq!(status.at_home, 3);
    let counted: Vec<(&str, u64)> = status.outcomes.iter().map(|(outcome, n)| (outcome.as_str(), *n)).collect();
    assert_eq!(counted, [("stored", 2), ("duplicate", 1), ("gated-future", 1)]);
}

/// Home restored from an older backup: what it lacks is known no more, so that it is fetched again.
pub(crate) async fn what_home_has_lost_is_forgotten_and_what_it_refused_is_not(world: World) {
    let mut link = world.link(&home()).await;
    let outcomes = [(1, Outcome::Stored), (2, Outcome::Refused), (3, Outcome::Stored)];
    let rows = outcomes.map(|(n, outcome)| naming(row(n, NOTE, 10, outcome), &[(RefTag::Address, "x")]));
    write(&world, &mut link, rows.into()).await;
    world.say(&mut link, model::Said::Lost { ids: vec![id(1), id(2), id(9)] }).await;
    assert_eq!(world.store.known(&[id(1), id(2), id(3)]).await.unwrap(), [id(2), id(3)]);
    assert_eq!(set(&world, &tagged('a', &["x"])).await, [2, 3]);
    assert_eq!(world.store.status().await.unwrap().at_home, 1, "and counted no more");
    write(&world, &mut link, vec![naming(row(1, NOTE, 10, Outcome::Stored), &[(RefTag::Address, "x")])]).await;
    assert_eq!(set(&world, &tagged('a', &["x"])).await, [1, 2, 3], "it came back");
}
