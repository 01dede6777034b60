//! What single decisions cost, in time and in allocations: a plan, the filters of a batch, an event's check, one round of an exchange.
//! `just bench-micro`; compare counts of allocations where the machine is too busy for times.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use engine::plan::plan;
use engine::room::Room;
use engine::rules::Policy;
use engine::{consolidation, filters, gate};
use model::{
    Covered, Epoch, Event, EventId, Item, ItemKind, Learned, LinkView, PublicKey, Resume, Role, Snapshot, Tail, Timestamp,
    UpstreamId,
};
use negentropy::{Id, Negentropy, NegentropyStorageVector};
use nostr::prelude::{EventBuilder, FinalizeEvent, Keys, SecretKey, Tag};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const NOW: u64 = 1_700_000_000;

fn main() {
    divan::main();
}

fn author() -> PublicKey {
    keys().public_key()
}

fn keys() -> Keys {
    Keys::new(SecretKey::from_hex(&"1".repeat(64)).unwrap())
}

fn repo(n: usize) -> Item {
    Item::Repo(format!("30617:{}:repository-{n}", author().to_hex()).parse().unwrap())
}

fn root(n: usize) -> Item {
    Item::Root(id(n))
}

fn id(n: usize) -> EventId {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    EventId::from_byte_array(bytes)
}

/// A link that is up and has read `confirmed` items.
fn look(confirmed: u64, missing: Vec<Item>) -> Snapshot {
    let tail = Tail { chunk: 0, items: (0..50).map(root).collect() };
    Snapshot {
        upstream: UpstreamId(1),
        url: model::RelayUrl::parse("wss://relay.example").unwrap(),
        role: Role::Listed,
        epoch: Epoch(5),
        link: LinkView::Up { resume: Resume::Fresh, opened: true, caught_up: true },
        learned: Learned::default(),
        now: Timestamp::from_secs(NOW),
        wanted: missing.len() as u64,
        missing: missing.into_iter().map(|item| Covered { item, chunk: None }).collect(),
        pending: 0,
        confirmed,
        batches_in_flight: 0,
        tails: vec![tail],
        chunks: (0, 1),
        largest: (0, 50),
        layout: 0,
        rebuild: None,
        covered: None,
        refresh_at: Timestamp::from_secs(NOW + 10_000),
        ask_at: None,
        empty_since: None,
        audit: None,
    }
}

/// One activation: nothing to do, one new root, a full look.
#[divan::bench(args = [0, 1, 500])]
fn plan_of_missing_roots(bencher: Bencher<'_, '_>, missing: usize) {
    let look = look(1_000_000, (1_000..1_000 + missing).map(root).collect());
    let policy = Policy::default();
    bencher.bench_local(|| plan(black_box(&look), &policy, 0));
}

/// The three filters of a batch, cut to what one message of a relay holds.
#[divan::bench(args = [1, 100, 1_000])]
fn history_filters(bencher: Bencher<'_, '_>, repos: usize) {
    let items: Vec<Item> = (0..repos).map(repo).collect();
    let room = Room::of(&Learned::default());
    bencher.counter(ItemsCount::new(repos)).bench_local(|| filters::history_within(ItemKind::Repo, black_box(&items), &room));
}

/// The bytes of a filter of a hundred ids.
#[divan::bench]
fn a_filter_as_json(bencher: Bencher<'_, '_>) {
    let items: Vec<Item> = (0..100).map(root).collect();
    let filter = filters::history(ItemKind::Root, &items).remove(0);
    bencher.bench_local(|| serde_json::to_string(black_box(&filter)).unwrap());
}

/// S14: everything gets another place.
#[divan::bench(args = [1_000, 10_000])]
fn chunks_made_anew(bencher: Bencher<'_, '_>, items: usize) {
    let all: Vec<Item> = (0..items / 2).map(repo).chain((0..items / 2).map(root)).collect();
    let room = Room::of(&Learned::default());
    bencher
        .counter(ItemsCount::new(items))
        .with_inputs(|| all.clone())
        .bench_local_values(|all| consolidation::rechunked(all, (300, 300), &room));
}

fn comment(bytes: usize) -> Event {
    let tags = ["E", "e"].map(|name| Tag::parse([name, &id(1).to_hex()]).unwrap());
    let draft = EventBuilder::new(model::Kind::from_u16(1111), "x".repeat(bytes)).tags(tags);
    draft.custom_created_at(Timestamp::from_secs(NOW)).finalize(&keys()).unwrap()
}

/// Id and signature, of a short event and of a long one.
#[divan::bench(args = [100, 1_000, 50_000])]
fn an_event_checked(bencher: Bencher<'_, '_>, bytes: usize) {
    let event = comment(bytes);
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| assert!(gate::verify(black_box(&event)).is_none()));
}

fn set(items: usize, without_every: usize) -> NegentropyStorageVector {
    let mut set = NegentropyStorageVector::new();
    for n in (0..items).filter(|n| without_every == 0 || n % without_every != 0) {
        set.insert(NOW - n as u64, Id::from_byte_array(*id(n).as_bytes())).unwrap();
    }
    set.seal().unwrap();
    set
}

/// A whole exchange, both sides of it: of equal sets, and with one of a hundred missing here.
#[divan::bench(args = [(1_000, 0), (10_000, 0), (10_000, 100)], sample_count = 20)]
fn an_exchange(bencher: Bencher<'_, '_>, (items, missing): (usize, usize)) {
    let (ours, theirs) = (set(items, missing), set(items, 0));
    bencher.counter(ItemsCount::new(items)).bench_local(|| {
        let mut here = Negentropy::borrowed(&ours, 60_000).unwrap();
        let mut there = Negentropy::borrowed(&theirs, 60_000).unwrap();
        let (mut have, mut need) = (Vec::new(), Vec::new());
        let mut message = Some(here.initiate().unwrap());
        while let Some(said) = message {
            let answer = there.reconcile(&said).unwrap();
            message = here.reconcile_with_ids(&answer, &mut have, &mut need).unwrap();
        }
        assert_eq!(need.len(), items.checked_div(missing).unwrap_or(0));
    });
}
