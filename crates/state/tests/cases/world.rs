//! The world of a case: a store, a clock that is turned by hand, one worker, and words to build with.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use model::{
    Assignment, BatchCounts, BatchId, BatchOutcome, Claim, Covered, Discovery, Draft, Epoch, EventId, Item, Kind, LeaseRequest,
    LedgerRow, Method, Outcome, Ref, RelayUrl, Removal, RepoAddr, RepoSeen, Report, Resume, Role, RootSeen, Said, Snapshot,
    StateError, Timestamp, UpstreamId, UpstreamStatus, WorkerId,
};
use state::{Settings, Store};

/// An adapter under test. A database of one name, opened again, holds what it held.
#[async_trait]
pub(crate) trait Backend: Send + Sync + 'static {
    async fn open(&self, database: &str, settings: Settings) -> Arc<dyn Store>;

    /// Whether leases and links stand when the process that opened the store dies: others may use the database.
    fn outlives_its_process(&self) -> bool {
        false
    }
}

pub(crate) const START: u64 = 1_700_000_000;
pub(crate) const TTL_MS: u64 = 6_000;

pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) settings: Settings,
    backend: Box<dyn Backend>,
    databases: usize,
    clock: Arc<AtomicU64>,
}

/// A link of the world's worker, as its session knows it.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) upstream: UpstreamId,
    pub(crate) epoch: Epoch,
    pub(crate) resume: Resume,
    pub(crate) sequence: u64,
}

impl World {
    /// Home is named; nothing is known.
    pub(crate) async fn new(backend: impl Backend) -> Self {
        let clock = Arc::new(AtomicU64::new(START));
        let time = Arc::clone(&clock);
        let settings = Settings {
            policy: engine::rules::Policy::default(),
            clock: Arc::new(move || Timestamp::from_secs(time.load(Ordering::SeqCst))),
            allow_non_public: Vec::new(),
            has_onion_proxy: false,
            own_urls: vec![home(), url("wss://alias.example")],
            operator: None,
            private_peers: Vec::new(),
            rolls: Arc::new(|| 0),
        };
        let store = backend.open("0", settings.clone()).await;
        store.name_relays(&[(home(), Role::Home)]).await.unwrap();
        Self { store, settings, backend: Box::new(backend), databases: 1, clock }
    }

    /// The same, with another empty database.
    pub(crate) async fn renew(&mut self) {
        self.databases += 1;
        self.restart(|_| {}).await;
        self.store.name_relays(&[(home(), Role::Home)]).await.unwrap();
    }

    /// Opens the store again with `change`d settings, as a new process does.
    pub(crate) async fn restart(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        self.store = self.backend.open(&(self.databases - 1).to_string(), self.settings.clone()).await;
    }

    /// The same database, opened once more.
    pub(crate) async fn another_replica(&self) -> Arc<dyn Store> {
        self.backend.open(&(self.databases - 1).to_string(), self.settings.clone()).await
    }

    /// Every process dies and the store's comes back; where leases outlive it, they run out and are swept.
    pub(crate) async fn crash(&mut self) {
        self.restart(|_| {}).await;
        if self.backend.outlives_its_process() {
            self.pass(TTL_MS / 1000);
            self.store.sweep().await.unwrap();
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }

    pub(crate) fn pass(&self, secs: u64) {
        self.clock.fetch_add(secs, Ordering::SeqCst);
    }

    /// Until nothing waits for home any more.
    pub(crate) fn pass_home_first(&self) {
        self.pass(engine::rules::HOME_FIRST_SECS);
    }

    /// One discovery window; answers with the URLs of the upstreams that it changed, sorted.
    pub(crate) async fn discover(&self, repos: &[RepoSeen], roots: &[RootSeen]) -> Vec<RelayUrl> {
        self.window(&Discovery { repos: repos.to_vec(), roots: roots.to_vec(), ..Discovery::default() }).await
    }

    pub(crate) async fn remove(&self, addr: RepoAddr, until: u64) -> Vec<RelayUrl> {
        let removals = vec![Removal { addr, until: Timestamp::from_secs(until) }];
        self.window(&Discovery { removals, ..Discovery::default() }).await
    }

    pub(crate) async fn window(&self, discovery: &Discovery) -> Vec<RelayUrl> {
        let dirty = self.store.discover(discovery).await.unwrap();
        self.urls(&dirty).await
    }

    pub(crate) async fn urls(&self, upstreams: &[UpstreamId]) -> Vec<RelayUrl> {
        let status = self.store.status().await.unwrap();
        let mut urls: Vec<RelayUrl> =
            status.upstreams.into_iter().filter(|row| upstreams.contains(&row.upstream)).map(|row| row.url).collect();
        urls.sort();
        urls
    }

    pub(crate) async fn status_of(&self, url: &RelayUrl) -> Option<UpstreamStatus> {
        self.store.status().await.unwrap().upstreams.into_iter().find(|row| row.url == *url)
    }

    pub(crate) async fn id_of(&self, url: &RelayUrl) -> UpstreamId {
        self.status_of(url).await.unwrap().upstream
    }

    pub(crate) async fn snapshot(&self, url: &RelayUrl) -> Snapshot {
        self.store.snapshot(self.id_of(url).await).await.unwrap()
    }

    /// What may be asked for on an upstream, in order.
    pub(crate) async fn missing(&self, url: &RelayUrl) -> Vec<Item> {
        self.snapshot(url).await.missing.into_iter().map(|covered| covered.item).collect()
    }

    /// Wanted, pending, confirmed.
    pub(crate) async fn counts(&self, url: &RelayUrl) -> (u64, u64, u64) {
        self.status_of(url).await.map_or((0, 0, 0), |row| (row.wanted, row.pending, row.confirmed))
    }

    pub(crate) async fn beat(&self) -> Vec<Assignment> {
        self.beat_as(&worker("one"), &[]).await
    }

    pub(crate) async fn beat_as(&self, worker: &WorkerId, behind: &[(UpstreamId, u64)]) -> Vec<Assignment> {
        let behind = behind.iter().map(|(upstream, at)| (*upstream, Timestamp::from_secs(*at))).collect();
        let request = LeaseRequest {
            worker: worker.clone(),
            ttl_ms: TTL_MS,
            behind,
            leaving: false,
            writes: model::HomeWrites::default(),
        };
        self.store.lease(&request).await.unwrap()
    }

    pub(crate) async fn leave(&self, worker: &WorkerId) {
        let request = LeaseRequest {
            worker: worker.clone(),
            ttl_ms: TTL_MS,
            behind: vec![],
            leaving: true,
            writes: model::HomeWrites::default(),
        };
        assert_eq!(self.store.lease(&request).await.unwrap(), []);
    }

    pub(crate) async fn assignment(&self, url: &RelayUrl) -> Option<Assignment> {
        self.beat().await.into_iter().find(|assignment| assignment.url == *url)
    }

    /// Time passes, and the worker lives.
    pub(crate) async fn live(&self, secs: u64) {
        for _ in 0..secs / 5 {
            self.pass(5);
            self.beat().await;
        }
        self.pass(secs % 5);
        self.beat().await;
    }

    /// The worker leases the upstream and its socket opens.
    pub(crate) async fn link(&self, url: &RelayUrl) -> Link {
        let Assignment { upstream, epoch, .. } = self.assignment(url).await.unwrap();
        let granted = self.store.up(upstream, epoch).await.unwrap();
        Link { upstream, epoch: granted.epoch, resume: granted.resume, sequence: 0 }
    }

    /// A link that stands, with its gap filled.
    pub(crate) async fn caught_up(&self, url: &RelayUrl) -> Link {
        let mut link = self.link(url).await;
        self.say(&mut link, Said::Opened).await;
        self.say(&mut link, Said::CaughtUp).await;
        link
    }

    pub(crate) async fn say(&self, link: &mut Link, said: Said) -> Vec<UpstreamId> {
        link.sequence += 1;
        self.try_say(link, said).await.unwrap()
    }

    pub(crate) async fn try_say(&self, link: &Link, said: Said) -> Result<Vec<UpstreamId>, StateError> {
        let Link { upstream, epoch, sequence, .. } = *link;
        self.store.report(&Report { upstream, epoch, sequence, said }).await
    }

    pub(crate) async fn take(&self, link: &Link, items: &[Item], chunk: u32) -> Option<BatchId> {
        let draft = Draft { items: items.to_vec(), chunk, method: Method::Negentropy };
        self.claim(link, |claim| claim.drafts = vec![draft]).await.unwrap()[0]
    }

    pub(crate) async fn claim(&self, link: &Link, fill: impl FnOnce(&mut Claim)) -> Result<Vec<Option<BatchId>>, StateError> {
        let mut claim =
            Claim { upstream: link.upstream, epoch: link.epoch, refresh: None, rechunk: vec![], drafts: vec![], audit: None };
        fill(&mut claim);
        self.store.claim(&claim).await.map(|claimed| claimed.batches)
    }

    /// Takes `items` and confirms them.
    pub(crate) async fn confirm(&self, link: &mut Link, items: &[Item], chunk: u32) -> Vec<UpstreamId> {
        let batch = self.take(link, items, chunk).await.unwrap();
        self.say(link, complete(batch)).await
    }
}

pub(crate) fn complete(batch: BatchId) -> Said {
    ended(batch, BatchOutcome::Complete)
}

pub(crate) fn ended(batch: BatchId, outcome: BatchOutcome) -> Said {
    let counts = BatchCounts { events: 10, fresh: 2, rounds: 3, bytes_in: 1000, bytes_out: 100 };
    Said::BatchEnded { batch, outcome, method: Method::Req, counts }
}

pub(crate) fn progress(batches: Vec<BatchId>, rows: Vec<LedgerRow>) -> Said {
    Said::Progress { batches, rows, counts: BatchCounts { events: 1, ..BatchCounts::default() } }
}

pub(crate) fn worker(incarnation: &str) -> WorkerId {
    WorkerId { name: "connector".to_owned(), incarnation: incarnation.to_owned() }
}

pub(crate) fn url(text: &str) -> RelayUrl {
    RelayUrl::parse(text).unwrap()
}

pub(crate) fn home() -> RelayUrl {
    url("wss://home.example")
}

pub(crate) fn relay(n: usize) -> RelayUrl {
    url(&format!("wss://relay{n:02}.example"))
}

pub(crate) fn repo(n: usize) -> RepoAddr {
    format!("30617:aa4fc8665f5696e33db7e1a572e3b0f5b3d615837b0f362dcb1c8068b098c7b4:repo {n:03}").parse().unwrap()
}

pub(crate) fn repo_item(n: usize) -> Item {
    Item::Repo(repo(n))
}

/// Ids differ in their first bytes, so that their order is that of the numbers.
pub(crate) fn id(n: usize) -> EventId {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
    EventId::from_byte_array(bytes)
}

pub(crate) fn root_item(n: usize) -> Item {
    Item::Root(id(n))
}

/// Version `at` of a repo on these relays.
pub(crate) fn announced(n: usize, at: u64, relays: &[usize]) -> RepoSeen {
    let event = id(1_000_000 + n * 1000 + usize::try_from(at % 1000).unwrap());
    RepoSeen {
        addr: repo(n),
        event,
        created_at: Timestamp::from_secs(at),
        relays: relays.iter().copied().map(relay).collect(),
        maintainers: vec![],
        clone_urls: vec![],
        private: false,
    }
}

pub(crate) fn root(n: usize, repos: &[usize]) -> RootSeen {
    RootSeen {
        id: id(n),
        kind: model::kinds::ISSUE,
        created_at: Timestamp::from_secs(START),
        repos: repos.iter().copied().map(repo).collect(),
        author: None,
    }
}

pub(crate) fn placed(item: Item, chunk: impl Into<Option<u32>>) -> Covered {
    Covered { item, chunk: chunk.into() }
}

pub(crate) fn row(n: usize, kind: Kind, at: u64, outcome: Outcome) -> LedgerRow {
    LedgerRow {
        id: id(n),
        created_at: Timestamp::from_secs(at),
        kind,
        refs: vec![],
        outcome,
        reason: None,
        upstream: UpstreamId(1),
        batch: None,
        via: None,
    }
}

pub(crate) fn naming(mut row: LedgerRow, refs: &[(model::RefTag, &str)]) -> LedgerRow {
    row.refs = refs.iter().map(|(tag, value)| Ref { tag: *tag, value: (*value).to_owned() }).collect();
    row
}
