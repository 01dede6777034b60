//! What people are told: of an event, a repo, an upstream; of what is tried next, and of how writes to home go.

use model::{
    Arrangement, BatchOutcome, CoverageState, Explained, HomeWrites, Incomplete, Learned, LeaseRequest, LimitFrom, LimitShown,
    NextWhy, Outcome, RefTag, RelayUrl, Said, Subject, Timestamp, UpstreamStatus, Via, Waiting, kinds,
};
use nostr::prelude::{EventBuilder, FinalizeEvent, Keys, Kind, Tag};

use super::world::{
    START, TTL_MS, World, announced, ended, home, id, naming, progress, relay, repo, repo_item, root, root_item, row, url,
    worker,
};

async fn explained(world: &World, subject: Subject) -> Explained {
    let told = world.store.explain(&subject).await.unwrap();
    assert_eq!(told.now.as_secs(), world.now());
    told.explained
}

async fn event(world: &World, n: usize) -> model::EventExplained {
    match explained(world, Subject::Event(id(n))).await {
        Explained::Event(event) => *event,
        other @ (Explained::Repo(_) | Explained::Upstream(_)) => panic!("{other:?}"),
    }
}

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs)
}

pub(crate) async fn an_event_is_explained_by_who_brought_it_first_and_by_what_became_of_it_last(world: World) {
    world.discover(&[announced(1, 5, &[1, 2])], &[]).await;
    world.pass_home_first();
    let (mut first, mut second) = (world.caught_up(&relay(1)).await, world.caught_up(&relay(2)).await);
    let batch = world.take(&first, &[repo_item(1)], 0).await.unwrap();
    let came = world.now();
    let address = repo(1).to_string();
    let named = naming(row(9, kinds::ISSUE, 50, Outcome::Held), &[(RefTag::Address, &address), (RefTag::Quote, "\0é")]);
    let held = model::LedgerRow {
        reason: Some("purgatory: later".to_owned()),
        upstream: first.upstream,
        batch: Some(batch),
        via: Some(Via::Negentropy),
        ..named
    };
    world.say(&mut first, progress(vec![batch], vec![held.clone()])).await;
    world.live(20).await;
    let stored = model::LedgerRow {
        outcome: Outcome::Stored,
        reason: None,
        upstream: second.upstream,
        batch: None,
        via: Some(Via::Live),
        ..held
    };
    world.say(&mut second, progress(vec![], vec![stored])).await;
    let seen = event(&world, 9).await.seen.unwrap();
    assert_eq!((seen.created_at, seen.kind, seen.outcome, seen.reason), (at(50), kinds::ISSUE, Some(Outcome::Stored), None));
    assert_eq!((seen.first_upstream, seen.via), (Some(relay(1)), Some(Via::Negentropy)));
    assert_eq!((seen.first_at, seen.outcome_at), (Some(at(came)), at(came + 20)));
    let shown = seen.batch.unwrap();
    assert_eq!((shown.batch, shown.items, shown.state.as_str(), shown.ended_at), (batch, 1, "open", None));
    let refs: Vec<(RefTag, &str)> = seen.refs.iter().map(|one| (one.tag, one.value.as_str())).collect();
    assert_eq!(refs, [(RefTag::Address, address.as_str()), (RefTag::Quote, "\0é")]);
}

pub(crate) async fn an_event_that_was_never_seen_is_expected_where_something_is_still_missing(world: World) {
    world.discover(&[announced(1, 5, &[1, 2, 3])], &[]).await;
    world.pass_home_first();
    for n in [1, 2] {
        let mut link = world.caught_up(&relay(n)).await;
        if n == 1 {
            world.confirm(&mut link, &[repo_item(1)], 0).await;
        }
    }
    let unseen = event(&world, 77).await;
    assert!(!unseen.is_known());
    let expected: Vec<RelayUrl> = unseen.expected_at.into_iter().map(|one| one.url).collect();
    assert_eq!(expected, [relay(2), relay(3)], "not where everything was read");
    let mut link = world.link(&relay(1)).await;
    world.say(&mut link, progress(vec![], vec![row(77, kinds::ISSUE, 5, Outcome::Stored)])).await;
    let seen = event(&world, 77).await;
    assert!(seen.is_known() && seen.expected_at.is_empty());
}

pub(crate) async fn an_event_that_waits_is_explained_by_what_it_waits_for(world: World) {
    let tags = [["a", &repo(1).to_string()], ["e", &id(5).to_hex()]].map(|tag| Tag::parse(tag).unwrap());
    let comment = EventBuilder::new(Kind::Custom(1111), "").tags(tags).finalize(&Keys::generate()).unwrap();
    let parents = vec![repo(1).to_string(), id(5).to_hex()];
    let json = serde_json::to_string(&comment).unwrap();
    world.store.hold(&[Waiting { id: comment.id, parents: parents.clone(), json }]).await.unwrap();
    let told = async || match explained(&world, Subject::Event(comment.id)).await {
        Explained::Event(event) => event.waiting.unwrap(),
        other @ (Explained::Repo(_) | Explained::Upstream(_)) => panic!("{other:?}"),
    };
    let waiting = told().await;
    assert_eq!((waiting.since, waiting.is_released), (at(START), false));
    assert_eq!(waiting.parents, parents);
    world.discover(&[announced(1, 5, &[])], &[]).await;
    assert!(told().await.is_released, "its repository has landed");
}

pub(crate) async fn a_repo_is_explained_by_its_coverage_on_home_and_on_every_upstream_that_it_lists(world: World) {
    let private = url("wss://127.0.0.1");
    let mut version = announced(1, 5, &[1, 2]);
    version.relays.push(private.clone());
    version.clone_urls = vec!["https://relay01.example/x.git".to_owned()];
    world.discover(&[version.clone(), announced(2, 5, &[3])], &[root(9, &[1]), root(10, &[1])]).await;
    world.pass_home_first();
    let mut link = world.caught_up(&relay(1)).await;
    world.confirm(&mut link, &[repo_item(1)], 0).await;
    let confirmed_at = world.now();
    world.live(30).await;
    world.take(&link, &[root_item(9)], 0).await.unwrap();
    let Explained::Repo(Some(told)) = explained(&world, Subject::Repo(repo(1))).await else { panic!("the repo is known") };
    assert_eq!(told.announcement, Some((version.event, at(5))));
    assert_eq!((told.roots, told.waiting, told.clone_urls), (2, 0, version.clone_urls));
    let upstreams: Vec<&RelayUrl> = told.upstreams.iter().map(|one| &one.upstream.url).collect();
    assert_eq!(upstreams, [&home(), &private, &relay(1), &relay(2)]);
    let of = |url: &RelayUrl| told.upstreams.iter().find(|one| one.upstream.url == *url).unwrap();
    let read = of(&relay(1)).repo.clone().unwrap();
    assert_eq!((read.state, read.since, read.method.as_deref()), (CoverageState::Confirmed, at(confirmed_at), Some("REQ")));
    assert_eq!(of(&relay(1)).roots, (1, 1, 0));
    let wanted = of(&relay(2)).repo.clone().unwrap();
    assert_eq!((wanted.state, wanted.since), (CoverageState::Wanted, at(START)));
    assert_eq!(of(&relay(2)).upstream.next.map(|next| next.why), Some(NextWhy::Dial));
    let refused = of(&private);
    assert!(refused.repo.is_none() && refused.upstream.next.is_none(), "{refused:?}");
    assert!(refused.refused.is_some(), "why it is never dialed");
    assert!(matches!(explained(&world, Subject::Repo(repo(7))).await, Explained::Repo(None)));
}

pub(crate) async fn a_root_is_explained_by_where_it_is_covered_and_an_announcement_by_its_repo(world: World) {
    let version = announced(1, 5, &[1]);
    world.discover(std::slice::from_ref(&version), &[root(9, &[1])]).await;
    let told = event(&world, 9).await;
    let covered: Vec<RelayUrl> = told.coverage.into_iter().map(|one| one.upstream).collect();
    assert_eq!(covered, [home(), relay(1)]);
    let Explained::Event(announcement) = explained(&world, Subject::Event(version.event)).await else { panic!() };
    assert_eq!(announcement.announces, Some(repo(1)));
}

pub(crate) async fn an_upstream_is_explained_by_its_batches_its_chunks_and_what_was_learned(world: World) {
    world.discover(&[announced(1, 5, &[1]), announced(2, 5, &[1])], &[]).await;
    world.pass_home_first();
    let mut link = world.caught_up(&relay(1)).await;
    let facts = Learned { page_cap: Some(250), ..Learned::default() };
    world.say(&mut link, Said::Learned { facts }).await;
    world.confirm(&mut link, &[repo_item(1)], 0).await;
    let cut = world.take(&link, &[repo_item(2)], 1).await.unwrap();
    let outcome = BatchOutcome::Incomplete { why: Incomplete::Idle, detail: "no frame for 30 s".to_owned() };
    world.say(&mut link, ended(cut, outcome)).await;
    let Explained::Upstream(Some(told)) = explained(&world, Subject::Upstream(relay(1))).await else { panic!("it is known") };
    assert_eq!((told.status.learned.page_cap, told.epoch, told.repos), (Some(250), link.epoch, 2));
    assert_eq!(told.owner.as_deref(), Some("connector"));
    assert_eq!((told.live.chunks, told.live.filters), ((2, 0), 7), "layer 1, and three for each chunk");
    let budget = told.live.budget.unwrap();
    assert_eq!((budget.live, budget.from, budget.largest), (70, LimitFrom::Ours, 1));
    assert_eq!(budget.arranged, Arrangement::Tails);
    let facts = Learned { live_limit: Some(6), live_limit_by: Some(LimitShown::Silence), ..Learned::default() };
    world.say(&mut link, Said::Learned { facts }).await;
    let Explained::Upstream(Some(few)) = explained(&world, Subject::Upstream(relay(1))).await else { panic!("it is known") };
    let budget = few.live.budget.unwrap();
    assert_eq!((budget.live, budget.reserve, budget.from), (6, 3, LimitFrom::Shown(Some(LimitShown::Silence))));
    assert_eq!(budget.arranged, Arrangement::Polled { first: 1, last: 1, limit: 6 });
    let batches: Vec<(&str, Option<&str>)> = told.batches.iter().map(|one| (one.state.as_str(), one.why.as_deref())).collect();
    assert_eq!(batches, [("incomplete", Some("idle: no frame for 30 s")), ("complete", None)], "the newest first");
    assert_eq!(told.ask_failures, 1);
    assert_eq!(told.status.next.map(|next| (Some(next.at), next.why)), Some((told.ask_at, NextWhy::AskAgain)));
    assert!(matches!(explained(&world, Subject::Upstream(relay(7))).await, Explained::Upstream(None)));
}

pub(crate) async fn c1_every_upstream_with_something_to_cover_has_a_next_attempt(world: World) {
    world.discover(&[announced(1, 5, &[1])], &[]).await;
    world.pass_home_first();
    let next = async || {
        let UpstreamStatus { next, .. } = world.status_of(&relay(1)).await.unwrap();
        next.map(|next| (next.at.as_secs().saturating_sub(world.now()), next.why))
    };
    assert_eq!(next().await, Some((0, NextWhy::Dial)));
    let mut link = world.link(&relay(1)).await;
    assert_eq!(next().await, Some((0, NextWhy::CatchUp)));
    world.say(&mut link, Said::Opened).await;
    assert_eq!(next().await, Some((0, NextWhy::Ask)));
    world.say(&mut link, Said::CaughtUp).await;
    let batch = world.take(&link, &[repo_item(1)], 0).await.unwrap();
    let (secs, why) = next().await.unwrap();
    assert!(why == NextWhy::Deadline && secs > 0, "{secs}");
    world.say(&mut link, Said::RateLimited { seconds: 40 }).await;
    world.say(&mut link, ended(batch, BatchOutcome::Incomplete { why: Incomplete::RateLimited, detail: String::new() })).await;
    let (secs, why) = next().await.unwrap();
    assert!(why == NextWhy::AskAgain && secs > 0, "{secs}");
    world.live(secs).await;
    world.confirm(&mut link, &[repo_item(1)], 0).await;
    let (secs, why) = next().await.unwrap();
    assert!(why == NextWhy::Refresh && secs > 22 * 3600, "{secs}");
    world.say(&mut link, Said::Down { class: model::DownClass::Closed, detail: String::new() }).await;
    let (secs, why) = next().await.unwrap();
    assert!(why == NextWhy::Dial && secs >= 3, "{secs}");
}

pub(crate) async fn l06_how_writes_to_home_go_is_added_up_over_the_workers_that_live(world: World) {
    let beat = async |name: &str, writes: HomeWrites| {
        let worker = model::WorkerId { name: name.to_owned(), ..worker("one") };
        let request = LeaseRequest { worker, ttl_ms: TTL_MS, behind: vec![], leaving: false, writes };
        world.store.lease(&request).await.unwrap();
    };
    let told = async || world.store.status().await.unwrap().writes;
    assert_eq!(told().await, HomeWrites::default());
    beat("a", HomeWrites { waiting: 100, per_minute: 40, is_limited: false }).await;
    beat("b", HomeWrites { waiting: 20, per_minute: 20, is_limited: true }).await;
    let writes = told().await;
    assert_eq!(writes, HomeWrites { waiting: 120, per_minute: 60, is_limited: true });
    assert_eq!(writes.left_secs(), Some(120));
    world.pass(TTL_MS / 1000 - 1);
    beat("a", HomeWrites::default()).await;
    world.pass(2);
    assert_eq!(told().await, HomeWrites::default(), "who is gone waits for nothing");
}
