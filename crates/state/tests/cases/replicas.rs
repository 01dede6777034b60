//! What only Postgres promises: several replicas of the store on one database.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use engine::caps::Caps;
use model::{
    Assignment, BatchOutcome, DownClass, Epoch, Item, Kind, LeaseRequest, LinkView, Outcome, RefTag, RepoSeen, Report, Role,
    Said, StateError, Timestamp, UpstreamId, WorkerId,
};
use state::postgres::Time;
use state::{PostgresStore, Settings, Store};

use super::discovery::{Dice, expected, happenings, targets, windows};
use super::world::{Link, START, TTL_MS, World, announced, complete, home, naming, progress, relay, repo_item, root, row};
use crate::PostgresServer;

async fn world() -> World {
    let mut world = World::new(PostgresServer::default()).await;
    // Its relays are all announced by one author.
    world
        .restart(|settings| settings.policy.caps = Caps { per_announcement: 9_999, per_author: 9_999, ..Caps::default() })
        .await;
    world
}

fn named(name: &str) -> WorkerId {
    WorkerId { name: name.to_owned(), incarnation: "x".to_owned() }
}

async fn beat(store: &Arc<dyn Store>, worker: &WorkerId) -> Vec<Assignment> {
    let request = LeaseRequest {
        worker: worker.clone(),
        ttl_ms: TTL_MS,
        behind: vec![],
        leaving: false,
        writes: model::HomeWrites::default(),
    };
    store.lease(&request).await.unwrap()
}

/// All workers at once, each through a replica of its own.
async fn beat_all(replicas: &[Arc<dyn Store>], workers: &[WorkerId]) -> Vec<(WorkerId, Vec<Assignment>)> {
    let mut beats = tokio::task::JoinSet::new();
    for (store, worker) in replicas.iter().cycle().zip(workers) {
        let (store, worker) = (Arc::clone(store), worker.clone());
        beats.spawn(async move { (worker.clone(), beat(&store, &worker).await) });
    }
    beats.join_all().await
}

/// Every epoch that was ever handed out, and to whom.
#[derive(Default)]
struct Epochs(BTreeMap<UpstreamId, BTreeMap<Epoch, WorkerId>>);

impl Epochs {
    /// Takes in what was assigned at one moment; answers with the upstreams that somebody has.
    fn take(&mut self, beats: &[(WorkerId, Vec<Assignment>)]) -> BTreeSet<UpstreamId> {
        let mut owned = BTreeSet::new();
        for (worker, assignments) in beats {
            for Assignment { upstream, epoch, .. } in assignments {
                assert!(owned.insert(*upstream), "{upstream} is owned by two living workers");
                let epochs = self.0.entry(*upstream).or_default();
                let first = epochs.entry(*epoch).or_insert_with(|| worker.clone());
                assert_eq!(first, worker, "epoch {epoch} of {upstream} was handed out twice");
                assert_eq!(epochs.keys().max(), Some(epoch), "epochs only grow");
            }
        }
        owned
    }
}

async fn relays(world: &World, count: usize) {
    let all: Vec<usize> = (0..count).collect();
    world.discover(&[announced(1, 5, &all)], &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_that_race_for_the_same_upstreams_give_each_to_one_worker() {
    let world = world().await;
    relays(&world, 40).await;
    let replicas = [Arc::clone(&world.store), world.another_replica().await, world.another_replica().await];
    let workers: Vec<WorkerId> = ["a", "b", "c", "d"].into_iter().map(named).collect();
    let mut epochs = Epochs::default();
    for living in [&workers[..2], &workers[..], &workers[1..], &workers[3..], &workers[..]] {
        // Long enough for those who beat no more to be dead.
        for _ in 0..4 {
            world.pass(2);
            epochs.take(&beat_all(&replicas, living).await);
        }
        // Nothing moves any more: everybody beats once, and all is owned.
        let settled = beat_all(&replicas, living).await;
        assert_eq!(epochs.take(&settled).len(), 41, "{} workers", living.len());
        let most = settled.iter().map(|(_, own)| own.len()).max().unwrap();
        assert!(most <= 45_usize.div_ceil(living.len()) + 1, "{most} of 41 on one of {}", living.len());
    }
}

#[tokio::test]
async fn fault_f02_what_a_stopped_worker_says_is_refused_once_its_upstreams_are_anothers() {
    let world = world().await;
    relays(&world, 1).await;
    let mut zombie = world.caught_up(&relay(0)).await;
    let batch = world.take(&zombie, &[repo_item(1)], 0).await.unwrap();
    world.pass(TTL_MS / 1000);
    let other = world.another_replica().await;
    let given = beat(&other, &named("another")).await;
    assert!(given.iter().any(|one| one.upstream == zombie.upstream && one.epoch > zombie.epoch));
    zombie.sequence += 1;
    for said in [complete(batch), Said::Opened, Said::Down { class: DownClass::Closed, detail: String::new() }] {
        assert_eq!(world.try_say(&zombie, said).await, Err(StateError::Fenced));
    }
    assert_eq!(world.store.up(zombie.upstream, zombie.epoch).await, Err(StateError::Fenced));
    assert_eq!(world.claim(&zombie, |_| {}).await, Err(StateError::Fenced));
    assert_eq!(world.counts(&relay(0)).await, (1, 0, 0));
}

#[tokio::test]
async fn fault_f02_no_link_comes_up_under_a_lease_that_ran_out() {
    let world = world().await;
    let assigned = world.assignment(&home()).await.unwrap();
    world.pass(TTL_MS / 1000 - 1);
    let granted = world.store.up(assigned.upstream, assigned.epoch).await.unwrap();
    world.pass(1);
    assert_eq!(world.store.up(assigned.upstream, granted.epoch).await, Err(StateError::Fenced), "nobody has claimed it yet");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s10_a_claim_ends_the_old_link_and_gives_back_what_was_pending_in_one_step() {
    let world = world().await;
    relays(&world, 1).await;
    for turn in 0..5 {
        let link = world.link(&relay(0)).await;
        world.take(&link, &[repo_item(1)], 0).await.unwrap();
        world.pass(TTL_MS / 1000);
        let watched = world.another_replica().await;
        let watching = tokio::spawn(async move {
            loop {
                let seen = watched.snapshot(link.upstream).await.unwrap();
                let is_old = seen.epoch == link.epoch && matches!(seen.link, LinkView::Up { .. });
                let whole = if is_old { (1, 1) } else { (0, 0) };
                assert_eq!((seen.pending, seen.batches_in_flight), (whole.0, whole.1), "{:?}", seen.link);
                if !is_old {
                    return seen.epoch > link.epoch;
                }
            }
        });
        beat(&world.store, &named(&format!("successor {turn}"))).await;
        assert!(watching.await.unwrap(), "the epoch grew with it");
        world.leave(&named(&format!("successor {turn}"))).await;
    }
}

#[tokio::test]
async fn another_replica_ends_no_link_and_forgets_no_worker() {
    let world = world().await;
    relays(&world, 1).await;
    let mut link = world.caught_up(&relay(0)).await;
    let batch = world.take(&link, &[repo_item(1)], 0).await.unwrap();
    let before = world.beat().await;
    let other = world.another_replica().await;
    assert_eq!(world.counts(&relay(0)).await, (0, 1, 0));
    link.sequence += 1;
    let report = Report { upstream: link.upstream, epoch: link.epoch, sequence: link.sequence, said: complete(batch) };
    assert_eq!(other.report(&report).await.unwrap(), [link.upstream]);
    assert_eq!(world.counts(&relay(0)).await, (0, 0, 1));
    assert_eq!(beat(&other, &super::world::worker("one")).await, before);
}

#[tokio::test]
async fn what_is_placed_elsewhere_is_hung_up_before_it_is_given_away() {
    let world = world().await;
    relays(&world, 12).await;
    let (old, new) = (named("old"), named("new"));
    let mut links = BTreeMap::new();
    for Assignment { upstream, epoch, .. } in beat(&world.store, &old).await {
        let granted = world.store.up(upstream, epoch).await.unwrap();
        links.insert(upstream, Link { upstream, epoch: granted.epoch, resume: granted.resume, sequence: 0 });
    }
    assert_eq!(beat(&world.store, &new).await, [], "everything has a living owner");
    let kept: BTreeSet<UpstreamId> = beat(&world.store, &old).await.iter().map(|one| one.upstream).collect();
    let moved: Vec<UpstreamId> = links.keys().filter(|upstream| !kept.contains(upstream)).copied().collect();
    assert!(moved.len() >= 3 && !kept.is_empty(), "{} of {} move", moved.len(), links.len());
    assert_eq!(beat(&world.store, &new).await, [], "the links still stand");
    // All but the last say that they have hung up.
    for upstream in &moved[1..] {
        let link = links.get_mut(upstream).unwrap();
        world.say(link, Said::Down { class: DownClass::Released, detail: String::new() }).await;
    }
    beat(&world.store, &old).await;
    let given = |given: Vec<Assignment>| given.into_iter().map(|one| one.upstream).collect::<Vec<UpstreamId>>();
    assert_eq!(given(beat(&world.store, &new).await), moved[1..]);
    for _ in 0..TTL_MS / 2000 {
        assert_eq!(given(beat(&world.store, &new).await), moved[1..]);
        world.pass(2);
        beat(&world.store, &old).await;
    }
    assert_eq!(given(beat(&world.store, &new).await), moved, "a whole lease after it was told, nothing of it can be left");
    assert_eq!(world.try_say(&links[&moved[0]], Said::Opened).await, Err(StateError::Fenced));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn discoveries_that_come_at_once_to_two_replicas_converge() {
    let mut world = world().await;
    for seed in 1..=3 {
        world.renew().await;
        let mut dice = Dice(seed);
        let history = happenings(&mut dice);
        let replicas = [Arc::clone(&world.store), world.another_replica().await];
        let mut playing = tokio::task::JoinSet::new();
        for (n, window) in windows(&history, &mut dice).into_iter().enumerate() {
            let store = Arc::clone(&replicas[n % 2]);
            playing.spawn(async move { store.discover(&window).await.unwrap() });
        }
        assert!(playing.join_all().await.len() > 10, "a history worth racing over");
        assert_eq!(targets(&world).await, expected(&history), "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reports_discoveries_leases_and_sweeps_at_once_lose_nothing() {
    const UPSTREAMS: usize = 4;
    const TURNS: usize = 15;
    let world = world().await;
    relays(&world, UPSTREAMS).await;
    let replicas = [Arc::clone(&world.store), world.another_replica().await];
    let mut links = Vec::new();
    for n in 0..UPSTREAMS {
        links.push(world.caught_up(&relay(n)).await);
    }
    let mut busy = tokio::task::JoinSet::new();
    for (n, mut link) in links.into_iter().enumerate() {
        let store = Arc::clone(&replicas[n % 2]);
        busy.spawn(async move {
            for turn in 0..TURNS {
                // Every upstream serves the same events, which name the same things, in another order.
                let event = |at: usize| {
                    naming(
                        row(turn * 20 + (at * (2 * n + 1)) % 20, Kind::TextNote, 5, Outcome::Stored),
                        &[(RefTag::Event, &format!("{at}")), (RefTag::Quote, "x")],
                    )
                };
                link.sequence += 1;
                let said = progress(vec![], (0..20).map(event).collect());
                store
                    .report(&Report { upstream: link.upstream, epoch: link.epoch, sequence: link.sequence, said })
                    .await
                    .unwrap();
            }
        });
    }
    for (n, store) in replicas.iter().cloned().enumerate() {
        busy.spawn(async move {
            for turn in 0..TURNS {
                let all: Vec<usize> = (0..UPSTREAMS).collect();
                let (repos, roots) = (vec![announced(2 + n, turn as u64 + 1, &all[turn % 4..])], vec![root(turn, &[2 + n])]);
                store.discover(&model::Discovery { repos, roots, ..model::Discovery::default() }).await.unwrap();
                store.sweep().await.unwrap();
                beat(&store, &super::world::worker("one")).await;
            }
        });
    }
    busy.join_all().await;
    let status = world.store.status().await.unwrap();
    assert_eq!(status.outcomes, [("stored".to_owned(), (TURNS * 20) as u64)], "each event is counted once");
    let events: u64 = status.upstreams.iter().map(|upstream| upstream.counts.events).sum();
    assert_eq!(events, (UPSTREAMS * TURNS) as u64);
    assert_eq!((status.repos, status.roots), (3, TURNS as u64));
}

#[tokio::test]
async fn an_older_database_that_was_restored_gives_higher_epochs_all_the_same() {
    let url = testkit::postgres::database();
    let clock = Arc::new(std::sync::atomic::AtomicU64::new(START));
    let time = Arc::clone(&clock);
    let clock_of_store: state::Clock = Arc::new(move || Timestamp::from_secs(time.load(std::sync::atomic::Ordering::SeqCst)));
    let store = connect(&url, Time::Given(clock_of_store)).await;
    store.name_relays(&[(home(), Role::Home)]).await.unwrap();
    let before = beat(&store, &named("a")).await[0].clone();
    let epoch = store.up(before.upstream, before.epoch).await.unwrap().epoch;
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    sqlx::query("UPDATE relay SET epoch = 7, owner = NULL, owner_inc = NULL, link = 'down'").execute(&pool).await.unwrap();
    sqlx::query("DELETE FROM worker").execute(&pool).await.unwrap();
    clock.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    let after = beat(&store, &named("b")).await[0].clone();
    assert!(after.epoch > epoch, "{} after {epoch}", after.epoch);
}

async fn connect(url: &str, time: Time) -> Arc<dyn Store> {
    let settings = Settings {
        policy: engine::rules::Policy::default(),
        // Long ago: nobody may look at it who was told another one.
        clock: Arc::new(|| Timestamp::from_secs(1_000_000_000)),
        allow_non_public: vec![],
        has_onion_proxy: false,
        own_urls: vec![home()],
        operator: None,
        private_peers: Vec::new(),
        rolls: Arc::new(|| 0),
    };
    Arc::new(PostgresStore::connect(url, settings, time).await.unwrap())
}

#[tokio::test]
async fn the_clock_of_the_database_decides() {
    let store = connect(&testkit::postgres::database(), Time::Database).await;
    store.name_relays(&[(home(), Role::Home)]).await.unwrap();
    let request = |name: &str, ttl_ms| LeaseRequest {
        worker: named(name),
        ttl_ms,
        behind: vec![],
        leaving: false,
        writes: model::HomeWrites::default(),
    };
    let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let first = store.lease(&request("a", 60_000)).await.unwrap();
    assert!(u128::try_from(first[0].epoch.0).unwrap().abs_diff(began) < 60_000, "{} at {began}", first[0].epoch);
    assert_eq!(store.lease(&request("b", 60_000)).await.unwrap(), [], "it lives for a minute");
    let left = LeaseRequest { leaving: true, ..request("b", 0) };
    store.lease(&left).await.unwrap();
    let renewed = store.lease(&request("a", 300)).await.unwrap();
    assert_eq!(renewed.len(), 1);
    let taken = testkit::wait_for("the lease of 300 ms to run out", Duration::from_secs(20), || async {
        store.lease(&request("b", 60_000)).await.unwrap().pop().ok_or("nothing yet")
    });
    let taken = taken.await;
    assert!(taken.epoch.0 >= renewed[0].epoch.0 + 300, "not before its end");
    assert_eq!(store.up(taken.upstream, renewed[0].epoch).await, Err(StateError::Fenced));
}

#[tokio::test]
async fn words_of_strangers_are_kept_whatever_they_are_made_of() {
    let world = world().await;
    let identifier = format!("\0{}", "é".repeat(250));
    let base = announced(1, 5, &[1]);
    let addr = model::RepoAddr { identifier, ..base.addr.clone() };
    world.discover(&[RepoSeen { addr: addr.clone(), ..base }], &[]).await;
    world.pass_home_first();
    assert_eq!(world.missing(&relay(1)).await, [Item::Repo(addr.clone())]);
    let mut link = world.caught_up(&relay(1)).await;
    let batch = world.take(&link, &[Item::Repo(addr)], 0).await.unwrap();
    let nip77 = Some(model::Nip77::Refused { at: Timestamp::from_secs(START), reason: "no\0".to_owned() });
    world.say(&mut link, Said::Learned { facts: model::Learned { nip77: nip77.clone(), ..Default::default() } }).await;
    let why = BatchOutcome::Incomplete { why: model::Incomplete::Closed, detail: "blocked:\0".to_owned() };
    world.say(&mut link, super::world::ended(batch, why)).await;
    let reason = Some("invalid:\0".to_owned());
    let refused = model::LedgerRow { reason, ..naming(row(1, Kind::TextNote, 5, Outcome::Refused), &[(RefTag::Quote, "\0")]) };
    world.say(&mut link, progress(vec![], vec![refused])).await;
    world.say(&mut link, Said::Down { class: DownClass::Closed, detail: "bye\0".to_owned() }).await;
    let shown = world.status_of(&relay(1)).await.unwrap();
    assert_eq!(shown.learned.nip77, nip77);
    assert_eq!(shown.incomplete.as_deref(), Some("closed: blocked:\u{fffd}"));
}
