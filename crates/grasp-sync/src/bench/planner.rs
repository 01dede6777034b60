//! State and planner among many repositories: how long one new root takes from the question that puts it on the books to the order on
//! the bus, for home and then for an upstream. They run as in production; sessions are puppets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::{Bus, InProcess, StateClient};
use model::{
    Discovery, EventId, Kind, Participant, PublicKey, RelayUrl, RepoAddr, RepoSeen, Role, RootSeen, Timestamp, UpstreamId,
};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{sleep, timeout};

use super::figures::{Figure, figure, percentile};
use super::filled::{self, Filled, Held};
use super::puppet::{self, Heard, Puppet};
use super::{BenchError, Measured};
use crate::cli::PlannerArgs;
use crate::system::Inside;

/// Upstreams that a repository lists.
const LISTED: usize = 3;
/// Repositories by one author.
const BY_ONE: usize = 10;
/// Of one discovery: what a full window of a busy home holds.
const WINDOW: usize = 1_000;
/// Upstreams whose links are up, beside home; the others have never been dialed.
const LINKED: usize = 20;
/// Roots that are not timed: statements are prepared, caches filled.
const WARM_UP: usize = 10;
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Between two orders at the most.
const PATIENCE: Duration = Duration::from_secs(60);
const AT: u64 = 1_600_000_000;

pub(super) fn of(args: &PlannerArgs) -> String {
    let store = filled::words(args.store.as_ref());
    format!("up to {} repositories on {} upstreams in {store}; {} new roots", args.repositories, args.upstreams, args.roots)
}

pub(super) async fn once(args: &PlannerArgs) -> Result<Measured, BenchError> {
    let filled = Filled::open(args.store.as_ref(), &[]).await?;
    let bus: Arc<dyn Bus> = Arc::new(InProcess::default());
    let inside = Inside::begin(&filled.config, &bus, Arc::clone(&filled.store));
    let (told, heard) = unbounded_channel();
    let mut scene = Scene {
        filled,
        state: StateClient::new(Arc::clone(&bus)),
        bus,
        args: args.clone(),
        told,
        heard,
        crew: Vec::new(),
        linked: Vec::new(),
    };
    let (mut run, mut medians, mut repositories) = (Vec::new(), Vec::new(), 0);
    let most = usize::try_from(args.repositories).unwrap_or(usize::MAX);
    for size in sizes(most) {
        let filled_in = scene.fill(repositories..size).await?;
        run.push(figure(
            format!("settled up to {size}"),
            "repositories/s",
            (size - repositories) as f64 / filled_in.as_secs_f64(),
        ));
        repositories = size;
        let (figures, median) = scene.measure(size).await?;
        run.extend(figures);
        medians.push(median);
    }
    if let (Some(few), Some(many)) = (medians.first(), medians.last()) {
        run.push(figure("most repositories, compared with fewest", "times", many / few));
    }
    drop(scene);
    inside.end().await;
    Ok(Measured { run, is_exact: true })
}

/// Each ten times the one before: the last, one before it, and those before that which are no fewer than 10,000.
fn sizes(repositories: usize) -> Vec<usize> {
    let mut sizes = vec![repositories, repositories / 10];
    while sizes.last().is_some_and(|least| *least >= 100_000) {
        sizes.extend(sizes.last().map(|least| least / 10));
    }
    sizes.retain(|size| *size > 0);
    sizes.reverse();
    sizes
}

struct Scene {
    filled: Filled,
    bus: Arc<dyn Bus>,
    state: StateClient,
    args: PlannerArgs,
    told: UnboundedSender<Heard>,
    heard: UnboundedReceiver<Heard>,
    crew: Vec<Puppet>,
    /// Home first.
    linked: Vec<UpstreamId>,
}

impl Scene {
    /// Repositories come to home and are read everywhere where a link is up.
    async fn fill(&mut self, repositories: std::ops::Range<usize>) -> Result<Duration, BenchError> {
        let began = Instant::now();
        for from in repositories.clone().step_by(WINDOW) {
            let window = from..(from + WINDOW).min(repositories.end);
            self.state.discover(self.announced(window)).await?;
            if self.linked.len() <= LINKED {
                self.link().await?;
            }
        }
        self.until_settled().await?;
        while self.heard.try_recv().is_ok() {}
        Ok(began.elapsed())
    }

    /// Home, and the upstreams that the first repositories list.
    async fn link(&mut self) -> Result<(), BenchError> {
        let held = self.filled.hold_all().await?;
        let is_linked = |one: &&Held| (0..LINKED).any(|number| one.url == upstream(number));
        let home = held.iter().filter(|one| one.role == Role::Home);
        let all = home.chain(held.iter().filter(is_linked));
        for held in all.filter(|one| !self.linked.contains(&one.upstream)).collect::<Vec<_>>() {
            self.crew.push(puppet::begin(&self.bus, held, self.told.clone()).await?);
            self.linked.push(held.upstream);
        }
        Ok(())
    }

    async fn until_settled(&mut self) -> Result<(), BenchError> {
        let (mut left, mut moved) = (u64::MAX, Instant::now());
        loop {
            let mut now_left = 0;
            for upstream in &self.linked {
                let look = self.filled.store.snapshot(*upstream).await?;
                now_left += look.wanted + look.pending;
            }
            if now_left == 0 {
                return Ok(());
            }
            if now_left < left {
                (left, moved) = (now_left, Instant::now());
            } else if moved.elapsed() > PATIENCE {
                let seen = format!("{left} items are not read, and none has been for a minute");
                return Err(BenchError::Late { after: PATIENCE, seen });
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn measure(&mut self, size: usize) -> Result<(Vec<Figure>, f64), BenchError> {
        let (mut to_home, mut to_upstream) = (Vec::new(), Vec::new());
        for nth in 0..WARM_UP + self.args.roots {
            let (home, upstream) = self.new_root(size, nth).await?;
            if nth >= WARM_UP {
                to_home.push(micros(home));
                to_upstream.push(micros(upstream));
            }
        }
        to_home.sort_unstable();
        to_upstream.sort_unstable();
        let at = |sorted: &[u64], percent| percentile(sorted, percent) as f64 / 1e3;
        let named = |what: &str| format!("{what} of {size}");
        let half = at(&to_home, 50);
        let figures = vec![
            figure(named("new root to home's order, half, out"), "ms", half),
            figure(named("new root to home's order, 99 %, out"), "ms", at(&to_home, 99)),
            figure(named("home's answer to an upstream's order, half, out"), "ms", at(&to_upstream, 50)),
            figure(named("home's answer to an upstream's order, 99 %, out"), "ms", at(&to_upstream, 99)),
        ];
        Ok((figures, half))
    }

    /// From the question to home's order, and from home's answer to the first order of an upstream whose link is up.
    async fn new_root(&mut self, size: usize, nth: usize) -> Result<(Duration, Duration), BenchError> {
        // One that the linked upstreams list.
        let repo = nth % (LINKED / LISTED).min(size);
        let root = RootSeen {
            id: id(&format!("root {size} {nth}")),
            kind: Kind::from_u16(1621),
            created_at: Timestamp::from_secs(AT + nth as u64),
            repos: vec![address(repo)],
            author: Some(author(repo)),
        };
        let began = Instant::now();
        self.state.discover(Discovery { roots: vec![root], ..Discovery::default() }).await?;
        let home = self.next(|one, home| one.upstream == home).await?;
        let upstream = self.next(|one, home| one.upstream != home).await?;
        self.until_settled().await?;
        while self.heard.try_recv().is_ok() {}
        Ok((home.at - began, upstream.at.saturating_duration_since(home.answered)))
    }

    async fn next(&mut self, is_it: impl Fn(&Heard, UpstreamId) -> bool) -> Result<Heard, BenchError> {
        let home = self.linked[0];
        let waiting = async {
            loop {
                match self.heard.recv().await {
                    Some(heard) if is_it(&heard, home) => return Some(heard),
                    Some(_) => {}
                    None => return None,
                }
            }
        };
        let late = || BenchError::Late { after: PATIENCE, seen: "no order came".to_owned() };
        timeout(PATIENCE, waiting).await.ok().flatten().ok_or_else(late)
    }

    fn announced(&self, repositories: std::ops::Range<usize>) -> Discovery {
        let upstreams = self.args.upstreams.max(LISTED);
        let relays = |repo: usize| (0..LISTED).map(|nth| upstream((repo * LISTED + nth) % upstreams)).collect();
        let seen = |repo: usize| RepoSeen {
            addr: address(repo),
            event: id(&format!("announcement {repo}")),
            created_at: Timestamp::from_secs(AT),
            relays: relays(repo),
            maintainers: Vec::new(),
            clone_urls: Vec::new(),
            private: false,
        };
        let participants = repositories.clone().map(|repo| Participant { author: author(repo), repos: vec![address(repo)] });
        Discovery { participants: participants.collect(), repos: repositories.map(seen).collect(), ..Discovery::default() }
    }
}

fn upstream(number: usize) -> RelayUrl {
    filled::relay(&format!("upstream{number}"))
}

fn author(repo: usize) -> PublicKey {
    PublicKey::from_byte_array(digest(&format!("author {}", repo / BY_ONE)))
}

fn address(repo: usize) -> RepoAddr {
    format!("30617:{}:repo-{repo}", author(repo).to_hex()).parse().expect("it is an address")
}

fn id(of: &str) -> EventId {
    EventId::from_byte_array(digest(of))
}

fn digest(of: &str) -> [u8; 32] {
    Sha256::digest(of).into()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_ten_times_each_other_and_begin_with_ten_thousand_where_there_are_many() {
        assert_eq!(sizes(1_000_000), [10_000, 100_000, 1_000_000]);
        assert_eq!(sizes(100_000), [10_000, 100_000]);
        assert_eq!((sizes(100), sizes(1)), (vec![10, 100], vec![1]));
    }
}
