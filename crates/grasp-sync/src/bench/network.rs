//! The process of the relays: upstreams with a crowd's events, and a home that takes what it is offered without a look, so
//! that home is not what is measured. It is asked over its stdin and answers over its stdout, a line of JSON each, and ends
//! when nobody asks any more.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use model::{Event, EventId, RelayUrl, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{interval_at, timeout};

use super::BenchError;
use super::crowd::{self, Crowd, Scene};
use super::line;
use crate::builtin_relay::{BuiltinRelay, Options};
use crate::cli::NetworkPlan;
use crate::client::{Client, ClientError};
use crate::output;

/// Of the live events.
const COMMENT: u16 = 1111;
/// After the last live event was published, the rest have so long.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(30);

/// What the process can be asked.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) enum Ask {
    /// The counters, which cost nothing to read.
    Count,
    /// Whether home holds what it should.
    Check,
    /// The events that were kept back come to the upstreams.
    Deliver,
    /// So many live events, so many a second.
    Stream { events: usize, rate: u32 },
}

/// What it answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Told {
    Ready { home: RelayUrl, upstreams: Vec<RelayUrl>, events: usize },
    Counted(Counts),
    Checked { missing: usize, surplus: usize },
    Delivered { events: usize },
    Streamed { arrivals_us: Vec<u64> },
    Failed { why: String },
}

/// Of the relays since their start. Bytes are those of messages.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Counts {
    /// EVENT messages that home was sent.
    pub(super) offered: u64,
    /// EVENT messages that the upstreams sent.
    pub(super) downloaded: u64,
    /// That the upstreams read and wrote.
    pub(super) bytes_up: u64,
    pub(super) bytes_down: u64,
    /// NEG-OPENs that the upstreams read.
    pub(super) exchanges: u64,
    pub(super) requests: u64,
}

impl Counts {
    pub(super) fn since(self, before: Self) -> Self {
        let Self { offered, downloaded, bytes_up, bytes_down, exchanges, requests } = self;
        Self {
            offered: offered - before.offered,
            downloaded: downloaded - before.downloaded,
            bytes_up: bytes_up - before.bytes_up,
            bytes_down: bytes_down - before.bytes_down,
            exchanges: exchanges - before.exchanges,
            requests: requests - before.requests,
        }
    }
}

/// Serves the plan until stdin ends.
pub(super) async fn serve(plan: NetworkPlan) -> Result<(), BenchError> {
    let mut network = Network::start(plan).await?;
    let upstreams = network.urls.clone();
    tell(&Told::Ready { home: url(&network.home), upstreams, events: network.expected.len() + network.kept_back.len() })?;
    let mut asked = lines_of_stdin();
    while let Some(line) = asked.recv().await {
        let told = match serde_json::from_str(&line) {
            Ok(ask) => network.answer(ask).await,
            Err(why) => Told::Failed { why: why.to_string() },
        };
        tell(&told)?;
    }
    Ok(())
}

/// Ends with stdin. Reading it blocks, so it has a thread; the process does not wait for that.
fn lines_of_stdin() -> mpsc::Receiver<String> {
    let (heard, lines) = mpsc::channel(1);
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if heard.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn tell(told: &Told) -> io::Result<()> {
    output::print(&format!("{}\n", serde_json::to_string(told)?))
}

struct Network {
    home: BuiltinRelay,
    upstreams: Vec<BuiltinRelay>,
    /// As the announcements name them.
    urls: Vec<RelayUrl>,
    scene: Scene,
    /// What home should hold.
    expected: BTreeSet<EventId>,
    /// By upstream.
    kept_back: Vec<(usize, Event)>,
    is_everywhere: bool,
}

impl Network {
    async fn start(plan: NetworkPlan) -> Result<Self, BenchError> {
        let home = BuiltinRelay::start(Options { is_trusting: true, ..Options::default() }).await?;
        let mut upstreams = Vec::new();
        for _ in 0..if plan.one_relay { 1 } else { plan.upstreams } {
            upstreams.push(BuiltinRelay::start(Options::default()).await?);
        }
        let urls = name(&upstreams, plan).await?;
        let scene = Scene::of(plan.events);
        let (scene, crowd) = {
            let names: Vec<String> = urls.iter().map(RelayUrl::to_string).collect();
            spawn_blocking(move || {
                let crowd = scene.crowd(plan.events, &names, plan.listed);
                (scene, crowd)
            })
            .await?
        };
        let mut network = Self {
            home,
            upstreams,
            urls,
            scene,
            expected: BTreeSet::new(),
            kept_back: Vec::new(),
            is_everywhere: plan.everywhere || plan.one_relay,
        };
        network.fill(crowd, plan);
        Ok(network)
    }

    /// Lays the announcements on every upstream, and each word of the talk on one that its repository lists, or on all.
    fn fill(&mut self, crowd: Crowd, plan: NetworkPlan) {
        let (percent_kept_back, repos) = (plan.kept_back, crowd.announcements.len().max(1));
        let mut talk: Vec<Vec<Event>> = vec![crowd.announcements; self.upstreams.len()];
        for (number, event) in crowd.talk.into_iter().enumerate() {
            let upstream = match plan.listed {
                0 => number % talk.len(),
                listed => crowd::listed(number % repos, number / repos % listed, talk.len()),
            };
            // Scattered: 37 and 100 have no factor in common.
            if number * 37 % 100 < usize::from(percent_kept_back) {
                self.kept_back.push((upstream, event));
            } else if self.is_everywhere {
                talk.iter_mut().for_each(|held| held.push(event.clone()));
            } else {
                talk[upstream].push(event);
            }
        }
        for (upstream, held) in self.upstreams.iter().zip(talk) {
            self.expected.extend(held.iter().map(|event| event.id));
            upstream.preload(held);
        }
    }

    async fn answer(&mut self, ask: Ask) -> Told {
        match ask {
            Ask::Count => Told::Counted(self.counts()),
            Ask::Check => self.check(),
            Ask::Deliver => self.deliver(),
            Ask::Stream { events, rate } => match self.stream(events, rate).await {
                Ok(arrivals_us) => Told::Streamed { arrivals_us },
                Err(why) => Told::Failed { why: why.to_string() },
            },
        }
    }

    fn counts(&self) -> Counts {
        let offered = self.home.traffic().events_written;
        let mut counts = Counts { offered, ..Counts::default() };
        for traffic in self.upstreams.iter().map(BuiltinRelay::traffic) {
            counts.downloaded += traffic.events_sent;
            counts.bytes_up += traffic.bytes_in;
            counts.bytes_down += traffic.bytes_out;
            counts.exchanges += traffic.negentropy_opens;
            counts.requests += traffic.requests;
        }
        counts
    }

    fn check(&self) -> Told {
        let held = self.home.event_ids();
        let missing = self.expected.difference(&held).count();
        Told::Checked { missing, surplus: held.difference(&self.expected).count() }
    }

    fn deliver(&mut self) -> Told {
        let kept_back = std::mem::take(&mut self.kept_back);
        let events = kept_back.len();
        for (upstream, event) in kept_back {
            self.expected.insert(event.id);
            self.upstreams[upstream].preload(vec![event]);
        }
        Told::Delivered { events }
    }

    /// Publishes a steady stream on all upstreams in turn. Says how long each event took, from its upstream's OK until home
    /// served it to a subscriber, in microseconds; one that did not come in time is left out.
    async fn stream(&mut self, events: usize, rate: u32) -> Result<Vec<u64>, ClientError> {
        let live = self.scene.live(events, Timestamp::now().as_secs());
        self.expected.extend(live.iter().map(|event| event.id));
        let mut home = Client::connect(&url(&self.home)).await?;
        home.watch_kind(COMMENT).await?;
        let arriving = tokio::spawn(arrivals(home, events));
        let mut shares: Vec<Vec<Event>> = vec![Vec::new(); self.upstreams.len()];
        live.into_iter().enumerate().for_each(|(number, event)| shares[number % self.upstreams.len()].push(event));
        let apart = Duration::from_secs(1) * u32::try_from(self.upstreams.len()).unwrap_or(u32::MAX) / rate;
        let mut publishing = JoinSet::new();
        let of_all = u32::try_from(self.upstreams.len()).unwrap_or(u32::MAX);
        for (number, (upstream, share)) in (0..).zip(self.upstreams.iter().zip(shares)) {
            publishing.spawn(publish(url(upstream), share, (apart * number / of_all, apart)));
        }
        let mut published = HashMap::new();
        while let Some(done) = publishing.join_next().await {
            published.extend(done.map_err(|_| ClientError::Closed)??);
        }
        let arrived = arriving.await.map_err(|_| ClientError::Closed)?;
        let took = |(id, at): (EventId, Instant)| published.get(&id).map(|ok| at.saturating_duration_since(*ok));
        Ok(arrived.into_iter().filter_map(took).map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX)).collect())
    }
}

/// When home served each of so many events; ends early when none comes for long.
async fn arrivals(mut home: Client, events: usize) -> Vec<(EventId, Instant)> {
    let mut arrived = Vec::with_capacity(events);
    while arrived.len() < events
        && let Ok(Ok(next)) = timeout(ARRIVAL_LIMIT, home.next_arrival()).await
    {
        arrived.extend(next.map(|id| (id, Instant::now())));
    }
    arrived
}

/// When the upstream said OK to each. The first comes after a while of its own: upstreams do not speak in chorus.
async fn publish(
    upstream: RelayUrl,
    events: Vec<Event>,
    (first, apart): (Duration, Duration),
) -> Result<Vec<(EventId, Instant)>, ClientError> {
    let began = tokio::time::Instant::now();
    let mut client = Client::connect(&upstream).await?;
    let mut beat = interval_at(began + first, apart);
    let mut published = Vec::with_capacity(events.len());
    for event in events {
        beat.tick().await;
        client.publish(&event).await?;
        published.push((event.id, Instant::now()));
    }
    Ok(published)
}

/// What the upstreams are called: by their own addresses, those of the lines to them, or one by many addresses of loopback.
async fn name(upstreams: &[BuiltinRelay], plan: NetworkPlan) -> Result<Vec<RelayUrl>, BenchError> {
    let mut urls = Vec::new();
    if plan.one_relay {
        for number in 0..plan.upstreams {
            urls.push(behind(line::lay(loopback(number), upstreams[0].address(), plan.line).await?));
        }
        return Ok(urls);
    }
    let is_far = !plan.line.rtt.is_zero() || plan.line.bytes_per_second > 0;
    for upstream in upstreams {
        let own = url(upstream);
        urls.push(if is_far { behind(line::lay(Ipv4Addr::LOCALHOST, upstream.address(), plan.line).await?) } else { own });
    }
    Ok(urls)
}

/// Hosts of their own, as far as the system can tell: a host has limits.
fn loopback(number: usize) -> Ipv4Addr {
    let [.., high, low] = number.to_be_bytes();
    Ipv4Addr::new(127, 1, high, low)
}

fn behind(address: SocketAddr) -> RelayUrl {
    parse(&format!("ws://{address}/"))
}

fn url(relay: &BuiltinRelay) -> RelayUrl {
    parse(&relay.url())
}

fn parse(url: &str) -> RelayUrl {
    RelayUrl::parse(url).expect("an address of this machine is a relay URL")
}
