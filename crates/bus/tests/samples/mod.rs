//! One message of every kind, and every variant of every enum that one may hold. The lists that build them name each
//! variant in a `match`, and structs name each field: what is forgotten does not compile.

use model::{
    Announced, Answer, Arrangement, Ask, Assignment, Audit, Bar, BatchCounts, BatchId, BatchOutcome, BatchShown, Claim,
    Claimed, CoverageAt, CoverageState, Covered, Discovery, DownClass, Draft, Epoch, EventExplained, EventId, Explained,
    Explanation, Family, Faulty, Filter, GateReason, GitWanted, HangUpReason, HomeWrites, Incomplete, Item, ItemKind, Kind,
    Learned, LeaseRequest, LedgerCursor, LedgerPage, LedgerRow, LedgerScope, LimitFrom, LimitShown, LinkView, LiveBudget,
    LiveFilter, LiveLayout, Method, Next, NextWhy, Nip77, NotStated, Order, Outcome, Participant, Query, Ref, RefTag, RelayUrl,
    Removal, RepoAddr, RepoAt, RepoExplained, RepoSeen, Report, Resume, Role, RootSeen, Said, Seen, Slot, Snapshot, StateError,
    Stated, Status, Stored, Subject, Tail, Timestamp, Tombstone, UpGranted, UpstreamExplained, UpstreamId, UpstreamStatus, Via,
    Waiting, WaitingSince, WorkerId,
};

/// All variants of an enum without fields.
macro_rules! units {
    ($($name:ident: $enum:ident = [$($variant:ident),* $(,)?];)*) => {
        $(fn $name() -> Vec<$enum> {
            let _each_has_a_sample = |value: $enum| match value { $($enum::$variant => ()),* };
            vec![$($enum::$variant),*]
        })*
    };
}

/// A value of each variant of an enum with fields.
macro_rules! variants {
    ($($name:ident: $enum:ident = [$($variant:pat => $value:expr),* $(,)?];)*) => {
        $(fn $name() -> Vec<$enum> {
            let _each_has_a_sample = |value: &$enum| match value { $($variant => ()),* };
            vec![$($value),*]
        })*
    };
}

units! {
    methods: Method = [Negentropy, Req];
    roles: Role = [Home, Bootstrap, Listed];
    item_kinds: ItemKind = [Repo, Root, Participant, Named];
    ref_tags: RefTag = [Address, RootAddress, Event, RootEvent, Quote, Author, Own, Id];
    gate_reasons: GateReason = [
        Ephemeral, Expired, Protected, Future, TooOld, TooLarge, Vanished, Deleted, Private, Blocked,
        Expiring,
    ];
    incompletes: Incomplete =
        [Closed, AuthRequired, Payment, Policy, Idle, DenseSecond, Unpageable, NotLive, RateLimited, NotLoaded, Unsettled, Faulty];
    ways: Via = [Live, Page, Negentropy, Kept];
    reasons_of_next: NextWhy = [Dial, CatchUp, Ask, AskAgain, Deadline, Refresh, HangUp];
    coverage_states: CoverageState = [Wanted, Pending, Confirmed];
    hang_up_reasons: HangUpReason = [Empty];
    limits_shown: LimitShown = [Closed, Notice, Silence];
    down_classes: DownClass = [
        NotDialable, Dns, Refused, Tls, HttpStatus, Auth, Payment, Policy, Timeout, Closed, Protocol, Silent, Empty, Released,
        Banned,
    ];
}

variants! {
    items: Item = [
        Item::Repo(_) => Item::Repo(addr()),
        Item::Root(_) => Item::Root(id(1)),
        Item::Participant(_) => Item::Participant(addr().pubkey),
        Item::Named(_) => Item::Named(id(2)),
    ];
    tombstones: Tombstone = [
        Tombstone::Event { id: _, author: _ } => Tombstone::Event { id: id(3), author: addr().pubkey },
        Tombstone::Address { kind: _, author: _, identifier: _, until: _ } => Tombstone::Address {
            kind: Kind::Custom(30618),
            author: addr().pubkey,
            identifier: addr().identifier,
            until: at(100),
        },
        Tombstone::Vanished { author: _, until: _ } => Tombstone::Vanished { author: addr().pubkey, until: at(100) },
    ];
    resumes: Resume = [
        Resume::Fresh => Resume::Fresh,
        Resume::CatchUp { since: _ } => Resume::CatchUp { since: at(100) },
    ];
    links: LinkView = [
        LinkView::Down { dial_at: _ } => LinkView::Down { dial_at: at(100) },
        LinkView::Up { resume: _, opened: _, caught_up: _ } =>
            LinkView::Up { resume: Resume::Fresh, opened: true, caught_up: false },
    ];
    nip77s: Nip77 = [
        Nip77::Works { at: _ } => Nip77::Works { at: at(100) },
        Nip77::Refused { at: _, reason: _ } => Nip77::Refused { at: at(100), reason: "blocked: no".to_owned() },
    ];
    own_outcomes: Outcome = [
        Outcome::Stored => Outcome::Stored,
        Outcome::Duplicate => Outcome::Duplicate,
        Outcome::Superseded => Outcome::Superseded,
        Outcome::Held => Outcome::Held,
        Outcome::Refused => Outcome::Refused,
        Outcome::Declined => Outcome::Declined,
        Outcome::NeedsParent => Outcome::NeedsParent,
        Outcome::Gated(_) => Outcome::Gated(GateReason::Expired),
    ];
    complete_or_not: BatchOutcome = [
        BatchOutcome::Complete => BatchOutcome::Complete,
        BatchOutcome::Incomplete { why: _, detail: _ } =>
            BatchOutcome::Incomplete { why: Incomplete::Closed, detail: "error: no".to_owned() },
    ];
    errors: StateError = [
        StateError::Fenced => StateError::Fenced,
        StateError::NoSuchUpstream => StateError::NoSuchUpstream,
        StateError::BeingPlanned => StateError::BeingPlanned,
        StateError::Store(_) => StateError::Store("disk full".to_owned()),
    ];
    plain_said: Said = [
        Said::Opened => Said::Opened,
        Said::Rebuilt { layout: _ } => Said::Rebuilt { layout: 4711 },
        Said::CaughtUp => Said::CaughtUp,
        Said::Down { class: _, detail: _ } => Said::Down { class: DownClass::Dns, detail: "no such name".to_owned() },
        Said::BatchEnded { batch: _, outcome: _, method: _, counts: _ } =>
            Said::BatchEnded { batch: BatchId(8), outcome: BatchOutcome::Complete, method: Method::Req, counts: counts() },
        Said::Progress { batches: _, rows: _, counts: _ } =>
            Said::Progress { batches: vec![BatchId(8)], rows: rows(), counts: counts() },
        Said::Learned { facts: _ } => Said::Learned { facts: learned(nip77s().remove(0)) },
        Said::Lost { ids: _ } => Said::Lost { ids: vec![id(1)] },
        Said::Audited { part: _, outcome: _, found: _ } =>
            Said::Audited { part: 2, outcome: BatchOutcome::Complete, found: 3 },
        Said::RateLimited { seconds: _ } => Said::RateLimited { seconds: 60 },
    ];
    asks: Ask = [
        Ask::OpenAnnouncements { filter: _, since: _, method: _ } =>
            Ask::OpenAnnouncements { filter: filter(), since: Some(at(100)), method: Method::Req },
        Ask::CatchUp { live: _, polled: _, since: _, layout: _ } => {
            Ask::CatchUp { live: live(), polled: live(), since: at(100), layout: 4711 }
        },
        Ask::Fetch { batch: _, live: _, polled: _, history: _, method: _, layout: _ } => {
            let (live, polled) = (live(), live());
            Ask::Fetch { batch: BatchId(8), live, polled, history: vec![filter()], method: Method::Negentropy, layout: 4711 }
        },
        Ask::Rebuild { live: _, polled: _, since: _, layout: _ } =>
            Ask::Rebuild { live: live(), polled: live(), since: at(100), layout: 4711 },
        Ask::Audit { part: _, filters: _ } => Ask::Audit { part: 2, filters: vec![filter()] },
        Ask::HangUp { reason: _ } => Ask::HangUp { reason: HangUpReason::Empty },
    ];
    queries_of_each_kind: Query = [
        Query::Lease(_) => Query::Lease(lease()),
        Query::Discover(_) => Query::Discover(discovery()),
        Query::Up { upstream: _, epoch: _ } => Query::Up { upstream: UPSTREAM, epoch: EPOCH },
        Query::Snapshot { upstream: _, planner: _ } => Query::Snapshot { upstream: UPSTREAM, planner: planner() },
        Query::Claim { claim: _, planner: _ } => Query::Claim { claim: claim(), planner: planner() },
        Query::Planned { upstream: _, planner: _ } => Query::Planned { upstream: UPSTREAM, planner: planner() },
        Query::Due => Query::Due,
        Query::Ledger { scope: _, after: _ } => Query::Ledger { scope: scope(), after: Some(cursor()) },
        Query::Known { ids: _ } => Query::Known { ids: vec![id(1), id(2)] },
        Query::Held { ids: _ } => Query::Held { ids: vec![id(1), id(2)] },
        Query::Announced { identifiers: _ } => Query::Announced { identifiers: vec![addr().identifier] },
        Query::Bars { keys: _ } => Query::Bars { keys: tombstones().iter().map(Tombstone::key).collect() },
        Query::Hold { waiting: _ } => Query::Hold { waiting: vec![waiting()] },
        Query::Released => Query::Released,
        Query::Settle { rows: _ } => Query::Settle { rows: rows() },
        Query::Policy { fingerprint: _ } => Query::Policy { fingerprint: "home-decides".to_owned() },
        Query::Status => Query::Status,
        Query::Explain { subject: _ } => Query::Explain { subject: Subject::Event(id(1)) },
    ];
    subjects: Subject = [
        Subject::Event(_) => Subject::Event(id(1)),
        Subject::Repo(_) => Subject::Repo(addr()),
        Subject::Upstream(_) => Subject::Upstream(url()),
    ];
    arrangements: Arrangement = [
        Arrangement::Tails => Arrangement::Tails,
        Arrangement::Larger { refs: _, limit: _ } => Arrangement::Larger { refs: 300, limit: 17 },
        Arrangement::Broad { first: _, last: _, limit: _ } => Arrangement::Broad { first: 5, last: 8, limit: 16 },
        Arrangement::Polled { first: _, last: _, limit: _ } => Arrangement::Polled { first: 5, last: 8, limit: 17 },
    ];
    limits_from: LimitFrom = [
        LimitFrom::Ours => LimitFrom::Ours,
        LimitFrom::Stated => LimitFrom::Stated,
        LimitFrom::Shown(_) => LimitFrom::Shown(None),
    ];
    explained: Explained = [
        Explained::Event(_) => Explained::Event(Box::new(event_explained())),
        Explained::Repo(_) => Explained::Repo(Some(Box::new(repo_explained()))),
        Explained::Upstream(_) => Explained::Upstream(Some(Box::new(upstream_explained()))),
    ];
    answers_of_each_kind: Answer = [
        Answer::Leases(_) => Answer::Leases(roles().into_iter().map(assignment).collect()),
        Answer::Discovered(_) => Answer::Discovered(vec![UPSTREAM]),
        Answer::Up(_) => Answer::Up(UpGranted { epoch: EPOCH, resume: Resume::CatchUp { since: at(100) } }),
        Answer::Snapshot(_) => Answer::Snapshot(Box::new(snapshot(Resume::Fresh))),
        Answer::Claimed(_) => Answer::Claimed(Claimed { batches: vec![Some(BatchId(8)), None] }),
        Answer::Planned(_) => Answer::Planned(true),
        Answer::Due(_) => Answer::Due(vec![UPSTREAM]),
        Answer::Ledger(_) => Answer::Ledger(LedgerPage { rows: vec![cursor()], is_last: true }),
        Answer::Known(_) => Answer::Known(vec![id(1)]),
        Answer::Announced(_) =>
            Answer::Announced(vec![Announced { addr: addr(), maintainers: vec![addr().pubkey], clone_urls: vec!["https://relay.example/x.git".to_owned()] }]),
        Answer::Bars(_) => Answer::Bars(tombstones().iter().map(bar).collect()),
        Answer::Held(_) => Answer::Held(1),
        Answer::Released(_) => Answer::Released(vec![waiting()]),
        Answer::Settled(_) => Answer::Settled(1),
        Answer::Policy(_) => Answer::Policy(true),
        Answer::Status(_) => Answer::Status(status()),
        Answer::Explanation(_) =>
            Answer::Explanation(Box::new(Explanation { now: at(100), explained: Explained::Repo(None) })),
        Answer::Failed(_) => Answer::Failed(StateError::Fenced),
    ];
}

const UPSTREAM: UpstreamId = UpstreamId(3);
const EPOCH: Epoch = Epoch(1_700_000_000_000);

pub(crate) fn reports() -> Vec<Report> {
    let downs = down_classes().into_iter().map(|class| Said::Down { class, detail: String::new() });
    let ends = incompletes().into_iter().map(|why| BatchOutcome::Incomplete { why, detail: String::new() });
    let ends = ends.chain(complete_or_not()).zip(methods().into_iter().cycle());
    let ends = ends.map(|(outcome, method)| Said::BatchEnded { batch: BatchId(9), outcome, method, counts: counts() });
    let facts = nip77s().into_iter().map(learned).chain([Learned::default()]).map(|facts| Said::Learned { facts });
    let said = plain_said().into_iter().chain(downs).chain(ends).chain(facts);
    said.zip(1..).map(|(said, sequence)| Report { upstream: UPSTREAM, epoch: EPOCH, sequence, said }).collect()
}

pub(crate) fn orders() -> Vec<Order> {
    let from_the_start = Ask::OpenAnnouncements { filter: filter(), since: None, method: Method::Negentropy };
    let hang_ups = hang_up_reasons().into_iter().map(|reason| Ask::HangUp { reason });
    let asks = asks().into_iter().chain([from_the_start]).chain(hang_ups);
    asks.map(|ask| Order { upstream: UPSTREAM, epoch: EPOCH, ask }).collect()
}

pub(crate) fn queries() -> Vec<Query> {
    let first_page = Query::Ledger { scope: scope(), after: None };
    let plain = Claim { refresh: None, rechunk: vec![], ..claim() };
    let mut queries = queries_of_each_kind();
    queries.extend(subjects().into_iter().map(|subject| Query::Explain { subject }));
    queries.extend([first_page, Query::Claim { claim: plain, planner: planner() }]);
    queries
}

pub(crate) fn answers() -> Vec<Answer> {
    let snapshots = resumes().into_iter().map(snapshot).map(|one| Answer::Snapshot(Box::new(one)));
    let bare = Snapshot {
        rebuild: None,
        covered: None,
        ask_at: None,
        empty_since: None,
        missing: vec![],
        tails: vec![],
        ..snapshot(Resume::Fresh)
    };
    let failures = errors().into_iter().map(Answer::Failed);
    let explained = explained().into_iter().chain(budgets().into_iter().map(explained_with));
    let explanations = explained.map(|explained| Explanation { now: at(100), explained });
    let explanations = explanations.map(|one| Answer::Explanation(Box::new(one)));
    answers_of_each_kind()
        .into_iter()
        .chain(explanations)
        .chain(snapshots)
        .chain([Answer::Snapshot(Box::new(bare))])
        .chain(failures)
        .collect()
}

pub(crate) fn stored() -> Vec<Stored> {
    vec![Stored { id: id(1), kind: Kind::Custom(1621), created_at: at(100), refs: refs(), upstream: UPSTREAM }]
}

pub(crate) fn git_wanted() -> Vec<GitWanted> {
    let clone_urls = vec!["https://relay.example/x.git".to_owned()];
    let commits = vec!["c".repeat(40)];
    let of = |is_held| GitWanted {
        id: id(1),
        kind: Kind::Custom(1618),
        created_at: at(100),
        repos: vec![addr()],
        clone_urls: clone_urls.clone(),
        commits: commits.clone(),
        is_held,
    };
    vec![of(true), of(false)]
}

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn id(n: u8) -> EventId {
    EventId::from_byte_array([n; 32])
}

fn url() -> RelayUrl {
    RelayUrl::parse("wss://relay.example/path").unwrap()
}

fn addr() -> RepoAddr {
    "30617:aa4fc8665f5696e33db7e1a572e3b0f5b3d615837b0f362dcb1c8068b098c7b4:a repo: \"it\"".parse().unwrap()
}

fn planner() -> String {
    "planner-1".to_owned()
}

fn counts() -> BatchCounts {
    BatchCounts { events: 10, fresh: 2, rounds: 3, bytes_in: 1000, bytes_out: 100 }
}

fn learned(nip77: Nip77) -> Learned {
    Learned {
        nip77: Some(nip77),
        hung_up: Some(at(4)),
        page_cap: Some(500),
        ids_per_req: Some(100),
        live_limit: Some(20),
        live_limit_at: Some(Timestamp::from_secs(2)),
        live_limit_by: Some(LimitShown::Notice),
        refs_per_filter: Some(100),
        excludes_until: Some(true),
        ignores_limit_zero: Some(false),
        stated: Some(stated()),
        faulty: Some(Faulty { at: at(1_700_000_000), forged: 2, unreadable: 1, astray: 0 }),
        not_stated: Some(NotStated { at: Timestamp::from_secs(2), why: "HTTP 404".into() }),
    }
}

fn stated() -> Stated {
    Stated {
        at: Timestamp::from_secs(1),
        max_subscriptions: Some(20),
        max_limit: Some(500),
        max_message_length: Some(131_072),
        oldest: Some(94_608_000),
        newest: Some(900),
        nips: vec![1, 77],
        grasps: vec!["GRASP-01".into()],
        software: Some("https://relay.example/software 1.0".into()),
        max_content_length: Some(65_536),
        itself: Some(addr().pubkey),
        operator: Some(addr().pubkey),
        terms: Some("77".repeat(32)),
    }
}

fn filter() -> Filter {
    let addresses = [addr().to_string()];
    let filter = serde_json::json!({ "kinds": [30617], "#a": addresses, "since": 1, "until": 2, "limit": 500 });
    serde_json::from_value(filter).unwrap()
}

fn live() -> Vec<LiveFilter> {
    let families = item_kinds().into_iter().flat_map(Family::of);
    families.map(|family| LiveFilter { slot: Slot { family, chunk: 7 }, filter: filter() }).collect()
}

fn refs() -> Vec<Ref> {
    ref_tags().into_iter().map(|tag| Ref { tag, value: "a \"value\"".to_owned() }).collect()
}

/// One for each outcome.
fn rows() -> Vec<LedgerRow> {
    let outcomes = own_outcomes().into_iter().chain(gate_reasons().into_iter().map(Outcome::Gated));
    let row = |(outcome, n): (Outcome, u8)| LedgerRow {
        id: id(n),
        created_at: at(100),
        kind: Kind::Custom(1621),
        refs: if n == 0 { refs() } else { vec![] },
        outcome,
        reason: (!outcome.is_at_home()).then(|| "blocked: no".to_owned()),
        upstream: UPSTREAM,
        batch: outcome.is_at_home().then_some(BatchId(8)),
        via: ways().get(usize::from(n)).copied(),
    };
    outcomes.zip(0..).map(row).collect()
}

fn waiting() -> Waiting {
    Waiting { id: id(1), parents: vec![addr().to_string()], json: r#"{"kind":1}"#.to_owned() }
}

fn lease() -> LeaseRequest {
    let worker = WorkerId { name: "connector-1".to_owned(), incarnation: "x7".to_owned() };
    LeaseRequest { worker, ttl_ms: 6000, behind: vec![(UPSTREAM, at(100))], leaving: false, writes: writes() }
}

fn assignment(role: Role) -> Assignment {
    let learned = learned(nip77s().remove(0));
    Assignment { upstream: UPSTREAM, url: url(), role, epoch: EPOCH, dial_at: at(100), learned }
}

fn discovery() -> Discovery {
    Discovery {
        repos: vec![RepoSeen {
            addr: addr(),
            event: id(1),
            created_at: at(100),
            relays: vec![url()],
            maintainers: vec![addr().pubkey],
            clone_urls: vec!["https://relay.example/x.git".to_owned()],
            private: true,
        }],
        roots: vec![RootSeen {
            id: id(2),
            kind: Kind::Custom(1621),
            created_at: at(100),
            repos: vec![addr()],
            author: Some(addr().pubkey),
        }],
        removals: vec![Removal { addr: addr(), until: at(100) }],
        participants: vec![Participant { author: addr().pubkey, repos: vec![addr()] }],
        tombstones: tombstones(),
    }
}

fn bar(tombstone: &Tombstone) -> Bar {
    Bar { key: tombstone.key(), until: tombstone.until() }
}

fn claim() -> Claim {
    Claim {
        upstream: UPSTREAM,
        epoch: EPOCH,
        refresh: Some(at(100)),
        rechunk: items().into_iter().map(|item| (item, 7)).collect(),
        drafts: methods().into_iter().map(|method| Draft { items: items(), chunk: 7, method }).collect(),
        audit: Some(at(400)),
    }
}

fn scope() -> LedgerScope {
    LedgerScope { filter: filter(), at_home: true }
}

fn cursor() -> LedgerCursor {
    LedgerCursor { created_at: at(100), id: id(1) }
}

fn snapshot(resume: Resume) -> Snapshot {
    let covered: Vec<Covered> = items().into_iter().map(|item| Covered { item, chunk: Some(7) }).collect();
    Snapshot {
        upstream: UPSTREAM,
        url: url(),
        role: Role::Listed,
        epoch: EPOCH,
        link: LinkView::Up { resume, opened: true, caught_up: true },
        learned: learned(nip77s().remove(1)),
        now: at(100),
        missing: vec![Covered { item: Item::Repo(addr()), chunk: None }],
        wanted: 3,
        pending: 2,
        confirmed: 1,
        batches_in_flight: 1,
        tails: vec![Tail { chunk: 7, items: items() }],
        largest: (100, 42),
        chunks: (8, 9),
        layout: 4711,
        rebuild: Some(4711),
        covered: Some(covered),
        refresh_at: at(200),
        ask_at: Some(at(150)),
        empty_since: Some(at(50)),
        audit: Some(Audit { due_at: at(160), part: 2, items: items() }),
    }
}

fn writes() -> HomeWrites {
    HomeWrites { waiting: 7, per_minute: 60, is_limited: true }
}

fn upstream_status(link: LinkView) -> UpstreamStatus {
    UpstreamStatus {
        upstream: UPSTREAM,
        url: url(),
        role: Role::Bootstrap,
        link,
        wanted: 3,
        pending: 2,
        confirmed: 1,
        learned: Learned::default(),
        failures: 4,
        last_down: Some(DownClass::Tls),
        incomplete: Some("idle".to_owned()),
        counts: counts(),
        next: Some(Next { at: at(160), why: NextWhy::Dial }),
        good_to: Some(at(90)),
        unheld_since: Some(at(95)),
    }
}

fn status() -> Status {
    let outcomes = rows().iter().map(|row| (row.outcome.as_str().to_owned(), 5)).collect();
    let links = links().into_iter().map(upstream_status);
    let nexts = reasons_of_next().into_iter().map(|why| Some(Next { at: at(160), why })).chain([None]);
    let nexts = nexts.map(|next| UpstreamStatus { next, ..upstream_status(links_one()) });
    Status { repos: 1, roots: 2, at_home: 3, outcomes, upstreams: links.chain(nexts).collect(), writes: writes() }
}

fn links_one() -> LinkView {
    links().remove(0)
}

fn coverage(state: CoverageState) -> CoverageAt {
    let method = Some(Method::Negentropy.as_str().to_owned());
    CoverageAt { upstream: url(), role: Role::Home, state, since: at(100), method, batch: Some(BatchId(8)) }
}

fn batch() -> BatchShown {
    BatchShown {
        batch: BatchId(8),
        method: "REQ".to_owned(),
        items: 3,
        state: "incomplete".to_owned(),
        why: Some("idle".to_owned()),
        started_at: at(100),
        ended_at: Some(at(130)),
        deadline: at(160),
        counts: counts(),
    }
}

fn event_explained() -> EventExplained {
    EventExplained {
        id: id(1),
        seen: Some(Seen {
            created_at: at(100),
            kind: Kind::Custom(1621),
            outcome: Some(Outcome::Refused),
            reason: Some("blocked: no".to_owned()),
            first_upstream: Some(url()),
            via: Some(Via::Live),
            batch: Some(batch()),
            first_at: Some(at(101)),
            outcome_at: at(102),
            refs: refs(),
        }),
        waiting: Some(WaitingSince { since: at(100), parents: vec![addr().to_string()], is_released: false }),
        announces: Some(addr()),
        coverage: coverage_states().into_iter().map(coverage).collect(),
        expected_at: vec![upstream_status(links_one())],
    }
}

fn repo_explained() -> RepoExplained {
    RepoExplained {
        addr: addr(),
        announcement: Some((id(1), at(100))),
        removed_until: Some(at(90)),
        maintainers: vec![addr().pubkey],
        also_announced_by: vec![addr().pubkey],
        clone_urls: vec!["https://relay.example/x.git".to_owned()],
        roots_beyond: 1,
        roots: 4,
        waiting: 5,
        upstreams: vec![RepoAt {
            refused: Some("not public".to_owned()),
            repo: Some(coverage(CoverageState::Wanted)),
            roots: (1, 2, 3),
            upstream: upstream_status(links_one()),
        }],
    }
}

/// Each arrangement, and each word about the limit.
fn budgets() -> Vec<LiveBudget> {
    let budget = LiveBudget { live: 17, reserve: 3, from: LimitFrom::Ours, largest: 100, arranged: Arrangement::Tails };
    let shown = limits_shown().into_iter().map(|by| LimitFrom::Shown(Some(by)));
    let from = limits_from().into_iter().chain(shown).map(|from| LiveBudget { from, ..budget });
    from.chain(arrangements().into_iter().map(|arranged| LiveBudget { arranged, ..budget })).collect()
}

fn explained_with(budget: LiveBudget) -> Explained {
    let told = upstream_explained();
    let live = LiveLayout { budget: Some(budget), ..told.live };
    Explained::Upstream(Some(Box::new(UpstreamExplained { live, ..told })))
}

fn upstream_explained() -> UpstreamExplained {
    UpstreamExplained {
        status: upstream_status(links_one()),
        epoch: EPOCH,
        owner: Some("connector-1".to_owned()),
        up_since: Some(at(10)),
        last_up: Some(at(20)),
        behind: Some(at(30)),
        last_detail: Some("reset".to_owned()),
        failing_since: Some(at(40)),
        strikes: 1,
        ask_failures: 2,
        ask_at: Some(at(50)),
        refresh_at: Some(at(60)),
        empty_since: Some(at(70)),
        repos: 3,
        live: LiveLayout { chunks: (1, 2), filters: 7, layout: 8, layout_taken: 9, budget: None },
        batches: vec![batch()],
    }
}
