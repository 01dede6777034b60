//! How long each store takes for large windows, large ledgers and large upstreams. Run it with `--release`.
//!
//! The SQLite file lies in the temporary directory. Postgres is the database of the URL that is given as the argument, which
//! should be empty, or else a throw-away one that keeps nothing safe.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement prints its figures, and stops when it cannot go on"
)]

use std::sync::Arc;
use std::time::Instant;

use model::{
    BatchCounts, Claim, Discovery, Draft, Epoch, EventId, Filter, Item, Kind, LeaseRequest, LedgerRow, LedgerScope, Method,
    Outcome, Ref, RefTag, RelayUrl, RepoAddr, RepoSeen, Report, Role, RootSeen, Said, Timestamp, UpstreamId, WorkerId,
};
use sha2::{Digest, Sha256};
use state::postgres::Time;
use state::{PostgresStore, Settings, SqliteStore, Store};

const REPOS: usize = 300;
const ROOTS: usize = 30_000;
const RELAYS: usize = 5;
const NOW: u64 = 1_700_000_000;

#[tokio::main(flavor = "multi_thread")]
async fn main() {
    let dir = tempfile::tempdir().unwrap();
    println!("SQLite");
    measure(&SqliteStore::open(&dir.path().join("state.db"), settings()).await.unwrap()).await;
    println!("Postgres");
    let url = std::env::args().nth(1).unwrap_or_else(testkit::postgres::database);
    measure(&PostgresStore::connect(&url, settings(), Time::Given(settings().clock)).await.unwrap()).await;
}

async fn measure(store: &dyn Store) {
    let home = RelayUrl::parse("wss://home.example").unwrap();
    store.name_relays(&[(home, Role::Home)]).await.unwrap();
    discoveries(store).await;
    let (upstream, epoch) = link(store).await;
    snapshots(store, upstream, epoch).await;
    ledger(store, upstream, epoch).await;
    time("status", store.status()).await.unwrap();
}

fn settings() -> Settings {
    Settings {
        policy: engine::rules::Policy::default(),
        clock: Arc::new(|| Timestamp::from_secs(NOW)),
        allow_non_public: Vec::new(),
        has_onion_proxy: false,
        own_urls: Vec::new(),
        operator: None,
        private_peers: Vec::new(),
        rolls: Arc::new(|| 0),
    }
}

async fn time<T>(what: &str, work: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let done = work.await;
    println!("  {what}: {:.1} ms", start.elapsed().as_secs_f64() * 1000.0);
    done
}

fn id(n: usize) -> EventId {
    EventId::from_byte_array(Sha256::digest(n.to_be_bytes()).into())
}

fn repo(n: usize) -> RepoAddr {
    format!("30617:aa4fc8665f5696e33db7e1a572e3b0f5b3d615837b0f362dcb1c8068b098c7b4:{n}").parse().unwrap()
}

async fn discoveries(store: &dyn Store) {
    let relays: Vec<RelayUrl> = (0..RELAYS).map(|n| RelayUrl::parse(&format!("wss://relay{n}.example")).unwrap()).collect();
    let created_at = Timestamp::from_secs(NOW);
    let repos = |n| RepoSeen {
        addr: repo(n),
        event: id(n),
        created_at,
        relays: relays.clone(),
        maintainers: vec![],
        clone_urls: vec![],
        private: false,
    };
    let window = Discovery { repos: (0..REPOS).map(repos).collect(), ..Discovery::default() };
    time("discover 300 repos on 5 upstreams", store.discover(&window)).await.unwrap();
    let roots = |n| RootSeen { id: id(n), kind: Kind::Custom(1621), created_at, repos: vec![repo(n % REPOS)], author: None };
    for part in 0..3 {
        let some = part * ROOTS / 3..(part + 1) * ROOTS / 3;
        let window = Discovery { roots: some.map(roots).collect(), ..Discovery::default() };
        time("discover 10,000 roots on home and 5 upstreams", store.discover(&window)).await.unwrap();
        time("the same again", store.discover(&window)).await.unwrap();
    }
}

async fn link(store: &dyn Store) -> (UpstreamId, Epoch) {
    let worker = WorkerId { name: "connector".to_owned(), incarnation: "one".to_owned() };
    let request =
        LeaseRequest { worker, ttl_ms: 6_000, behind: Vec::new(), leaving: false, writes: model::HomeWrites::default() };
    let assigned = time("lease: claim 6 upstreams", store.lease(&request)).await.unwrap();
    time("lease: renew", store.lease(&request)).await.unwrap();
    let home = assigned.iter().find(|assignment| assignment.role == Role::Home).unwrap();
    let granted = time("up", store.up(home.upstream, home.epoch)).await.unwrap();
    (home.upstream, granted.epoch)
}

async fn snapshots(store: &dyn Store, upstream: UpstreamId, epoch: Epoch) {
    let snapshot = time("snapshot, 30,000 rows wanted", store.snapshot(upstream)).await.unwrap();
    assert_eq!(snapshot.wanted, (REPOS + ROOTS) as u64);
    time("snapshot, 30,000 rows that wait for home", store.snapshot(UpstreamId(upstream.0 + 1))).await.unwrap();
    time("sweep", store.sweep()).await.unwrap();
    let (mut sequence, mut chunk) = (0, 0);
    let start = Instant::now();
    loop {
        let missing = store.snapshot(upstream).await.unwrap().missing;
        if missing.is_empty() {
            break;
        }
        for items in missing.chunks(100) {
            let items: Vec<Item> = items.iter().map(|covered| covered.item.clone()).collect();
            let drafts = vec![Draft { items, chunk, method: Method::Req }];
            chunk += 1;
            let claim = Claim { upstream, epoch, refresh: None, rechunk: Vec::new(), drafts, audit: None };
            let batch = store.claim(&claim).await.unwrap().batches[0].unwrap();
            let (outcome, method, counts) = (model::BatchOutcome::Complete, Method::Req, BatchCounts::default());
            sequence += 1;
            let said = Said::BatchEnded { batch, outcome, method, counts };
            store.report(&Report { upstream, epoch, sequence, said }).await.unwrap();
        }
    }
    println!("  {chunk} batches claimed and confirmed: {:.1} ms", start.elapsed().as_secs_f64() * 1000.0);
    time("snapshot, 30,000 rows confirmed", store.snapshot(upstream)).await.unwrap();
}

async fn ledger(store: &dyn Store, upstream: UpstreamId, epoch: Epoch) {
    let start = Instant::now();
    for part in 0..10 {
        let row = |n: usize| {
            let value = |tag, of: usize| Ref { tag, value: id(of).to_hex() };
            LedgerRow {
                id: id(1_000_000 + n),
                created_at: Timestamp::from_secs(NOW - n as u64),
                kind: Kind::Custom(1111),
                refs: vec![value(RefTag::Event, n % 1000), value(RefTag::RootEvent, n % 100)],
                outcome: Outcome::Stored,
                reason: None,
                upstream,
                batch: None,
                via: None,
            }
        };
        let rows = (part * 1000..(part + 1) * 1000).map(row).collect();
        let said = Said::Progress { batches: Vec::new(), rows, counts: BatchCounts::default() };
        store.report(&Report { upstream, epoch, sequence: 10_000 + part as u64, said }).await.unwrap();
    }
    println!("  10,000 ledger rows in reports of 1,000: {:.1} ms", start.elapsed().as_secs_f64() * 1000.0);
    let tag = nostr::prelude::SingleLetterTag::from_char('E').unwrap();
    let filter = Filter::new().custom_tags(tag, (0..100).map(|n| id(n).to_hex()));
    let scope = LedgerScope { filter, at_home: false };
    time("first page (5,000 rows) of a set of 10,000", store.ledger(&scope, None)).await.unwrap();
    let ids: Vec<EventId> = (0..1000).map(|n| id(1_000_000 + n * 20)).collect();
    time("known: 1,000 ids", store.known(&ids)).await.unwrap();
}
