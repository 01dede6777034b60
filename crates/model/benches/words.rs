//! What single words cost, in time and in allocations: URLs in their normal form, the references of an event, messages as JSON.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher, black_box};
use model::{
    BatchCounts, BatchId, Event, EventId, Kind, LedgerRow, Outcome, Ref, RefTag, RelayUrl, RepoAddr, Report, Said, Timestamp,
    UpstreamId, Via, ledger_refs_of,
};
use nostr::prelude::{EventBuilder, FinalizeEvent, Keys, SecretKey, Tag};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// As announcements spell them.
#[divan::bench(args = ["wss://relay.example", "WSS://Relay.Example:443//path/?x=1", "relay.example", "wss://[2001:db8::1]:7777/"])]
fn a_relay_url(bencher: Bencher<'_, '_>, spelt: &str) {
    bencher.bench_local(|| RelayUrl::parse(black_box(spelt)).is_ok());
}

#[divan::bench]
fn a_repository_address(bencher: Bencher<'_, '_>) {
    let text = format!("30617:{}:some:repository", "a".repeat(64));
    bencher.bench_local(|| black_box(text.as_str()).parse::<RepoAddr>().unwrap());
}

fn comment() -> Event {
    let keys = Keys::new(SecretKey::from_hex(&"1".repeat(64)).unwrap());
    let hex = "b".repeat(64);
    let tags = [["A", "30617:b:repository"], ["E", &hex], ["K", "1621"], ["e", &hex], ["k", "1621"]];
    let tags = tags.map(|tag| Tag::parse(tag).unwrap());
    let draft = EventBuilder::new(Kind::from_u16(1111), "a comment").tags(tags);
    draft.custom_created_at(Timestamp::from_secs(1)).finalize(&keys).unwrap()
}

/// What the ledger keeps of an event.
#[divan::bench]
fn references_of_an_event(bencher: Bencher<'_, '_>) {
    let event = comment();
    bencher.bench_local(|| ledger_refs_of(black_box(&event)));
}

fn report(rows: u8) -> Report {
    let value = |tag, n: u8| Ref { tag, value: format!("{n:02x}").repeat(32) };
    let row = |n: u8| LedgerRow {
        id: EventId::from_byte_array([n; 32]),
        created_at: Timestamp::from_secs(u64::from(n)),
        kind: Kind::from_u16(1111),
        refs: vec![value(RefTag::Author, n), value(RefTag::RootEvent, n), value(RefTag::Event, n)],
        outcome: Outcome::Stored,
        reason: None,
        upstream: UpstreamId(1),
        batch: Some(BatchId(1)),
        via: Some(Via::Negentropy),
    };
    let said = Said::Progress { batches: vec![BatchId(1)], rows: (0..rows).map(row).collect(), counts: BatchCounts::default() };
    Report { upstream: UpstreamId(1), epoch: model::Epoch(1), sequence: 1, said }
}

/// A report of outcomes, as it crosses the bus of a fleet.
#[divan::bench]
fn a_report_of_a_hundred_outcomes_written(bencher: Bencher<'_, '_>) {
    let report = report(100);
    let bytes = serde_json::to_vec(&report).unwrap().len();
    bencher.counter(BytesCount::new(bytes)).bench_local(|| serde_json::to_vec(black_box(&report)).unwrap());
}

#[divan::bench]
fn a_report_of_a_hundred_outcomes_read(bencher: Bencher<'_, '_>) {
    let text = serde_json::to_vec(&report(100)).unwrap();
    bencher.counter(BytesCount::new(text.len())).bench_local(|| serde_json::from_slice::<Report>(black_box(&text)).unwrap());
}
