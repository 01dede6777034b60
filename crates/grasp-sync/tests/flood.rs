//! Upstreams that flood, each in a way of its own, beside one that does everything right: they are left alone for a while, the
//! other one is not disturbed, and neither memory nor the log grows.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "the figures are for whoever reads the run")]

mod common;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use common::{Embedded, GraspSync, Project, Relay, Running, ids};
use model::{DownClass, NextWhy, RelayUrl};
use testkit::hostile::{Behaviour, Flood, Link, Negentropy};
use testkit::{HostileRelay, wait_for, wait_until};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Mutex;

/// Each test has the machine for itself: they measure time.
static ALONE: Mutex<()> = Mutex::const_new(());

/// A round of attacks lasts this long. More of them: `GRASP_SYNC_FLOOD_ROUNDS=15`, for five minutes.
const ROUND: Duration = Duration::from_secs(20);
/// What a round may add to the memory in use, whatever comes: a part of what each of so many links may hold (16 MiB).
const MEMORY: u64 = 256 * 1024 * 1024;
/// What the log of a round may hold: a few lines for each link.
const LOG_BYTES: usize = 64 * 1024;
/// A live event of the other upstream, from its OK there until home has it. Undisturbed it is well under a second.
const LATENCY: Duration = Duration::from_secs(10);

/// Everything that can be sent, and a link that does nothing but come and go.
fn attacks() -> Vec<Vec<Behaviour>> {
    let floods = [
        Flood::Strangers,
        Flood::Matching,
        Flood::Foreign,
        Flood::Repeats,
        Flood::Forged,
        Flood::ManyTags(10_000),
        Flood::Notices,
        Flood::Ends,
        Flood::LongMessages(1_000_000),
        Flood::NoJson(1_000_000),
        Flood::NoMessage(1_000_000),
        Flood::DeepJson(100_000),
        Flood::Binary(1_000_000),
        Flood::Pings(1_000_000),
        Flood::Header(1 << 40),
        Flood::HugeMessage(2_000_000),
    ];
    let others = [
        Behaviour::Negentropy(Negentropy::FakeIds(1_000_000)),
        Behaviour::Negentropy(Negentropy::Oversize(2_000_000)),
        Behaviour::Link(Link::DropsAfter(Duration::from_millis(300))),
    ];
    floods.map(Behaviour::Floods).into_iter().chain(others).map(|one| vec![one]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn x5_a_relay_that_floods_is_left_alone_for_a_while_and_the_other_one_comes_home_meanwhile() {
    let _alone = ALONE.lock().await;
    let (home, healthy) = (Relay::counting().await, Relay::counting().await);
    let flooding = HostileRelay::start([Behaviour::Floods(Flood::Notices)]).await;
    let mut project = Project::named("healthy");
    let history = project.history(&[healthy.url(), flooding.url()], 100);
    healthy.has_held(&history).await;
    let system = Embedded::keeping(&home).pulling_from([&healthy]).started().await;
    let url = RelayUrl::parse(&flooding.url()).unwrap();
    let banned = wait_for("the flood to be banned", common::PATIENCE, || async {
        let known = system.explained_upstream(&url).await.filter(|known| known.strikes > 0);
        known.ok_or("no strike yet")
    })
    .await;
    assert_eq!((banned.strikes, banned.status.last_down), (1, Some(DownClass::Banned)));
    assert!(banned.last_detail.as_ref().is_some_and(|why| why.contains("chatter, more than")), "{:?}", banned.last_detail);
    let before = flooding.connections();
    let next = banned.status.next.expect("it is tried again");
    let wait = next.at.as_secs().saturating_sub(common::now());
    assert!(next.why == NextWhy::Dial && (500..=660).contains(&wait), "{next:?}, in {wait} s");
    let expected = ids(&history);
    wait_until("the healthy upstream's history", common::PATIENCE, || async { expected.is_subset(&home.held().await) }).await;
    project.in_the_present();
    common::reply_arrives(&mut project, &healthy, &home).await;
    assert_eq!(flooding.connections(), before, "it is left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn x5_all_attacks_at_once_cost_neither_memory_nor_log_nor_the_time_of_another_upstream() {
    let _alone = ALONE.lock().await;
    let (home, healthy) = (Relay::counting().await, Relay::counting().await);
    let mut project = Project::named("healthy");
    let history = project.history(&[healthy.url()], 100);
    healthy.has_held(&history).await;
    let mut installed = GraspSync::keeping(&home.url()).pulling_from(&[healthy.url()]);
    let running = installed.run();
    let expected = ids(&history);
    wait_until("the healthy upstream's history", common::PATIENCE, || async { expected.is_subset(&home.held().await) }).await;
    project.in_the_present();
    let mut undisturbed = Duration::ZERO;
    for _ in 0..5 {
        undisturbed = undisturbed.max(common::reply_arrives(&mut project, &healthy, &home).await);
    }
    let before = running.resident_bytes();
    let rounds: u32 = std::env::var("GRASP_SYNC_FLOOD_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap());
    println!("undisturbed: {undisturbed:?}, {} MiB", before / 1024 / 1024);
    for round in 0..rounds {
        let seen = one_round(round, (&mut project, &healthy, &home), &running).await;
        println!(
            "round {round}: the slowest live event {:?}, at most {} MiB, {} bytes of log",
            seen.slowest,
            seen.most / 1024 / 1024,
            seen.log
        );
        assert!(seen.slowest < LATENCY, "{:?}", seen.slowest);
        assert!(seen.most < before + MEMORY, "{} bytes, {before} before", seen.most);
        assert!(seen.log < LOG_BYTES, "{} bytes of log:\n{}", seen.log, running.log());
    }
    let ended = running.terminated().await;
    assert!(ended.status.success(), "{}", ended.log);
}

/// What was seen in a round.
struct Seen {
    slowest: Duration,
    most: u64,
    log: usize,
}

/// Attackers of a new announcement, for a while.
async fn one_round(round: u32, (project, healthy, home): (&mut Project, &Relay, &Relay), running: &Running) -> Seen {
    let logged = running.log().len();
    let attackers = aside(async {
        let mut attackers = Vec::new();
        for script in attacks() {
            attackers.push(HostileRelay::start(script).await);
        }
        attackers
    })
    .await;
    let urls: Vec<String> = attackers.iter().map(HostileRelay::url).collect();
    let attacked = Project::named(&format!("attacked {round}")).history(&urls, 5);
    home.receives(&attacked).await;
    let began = Instant::now();
    let mut seen = Seen { slowest: Duration::ZERO, most: 0, log: 0 };
    while began.elapsed() < ROUND {
        seen.slowest = seen.slowest.max(common::reply_arrives(project, healthy, home).await);
        seen.most = seen.most.max(running.resident_bytes());
    }
    let idle = attackers.iter().filter(|attacker| attacker.connections() == 0).count();
    assert_eq!(idle, 0, "attackers that were never dialed");
    seen.log = running.log().len() - logged;
    seen
}

/// Runs on a thread of its own: attackers that never rest are not to slow the relays that do everything right.
async fn aside<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    static ASIDE: OnceLock<Runtime> = OnceLock::new();
    let runtime = ASIDE.get_or_init(|| Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());
    runtime.spawn(work).await.unwrap()
}
