//! The demonstration with every relay in a process of its own, for a fleet to sync.
//!
//! The processes share nothing but their arguments: the same arguments make the same network everywhere. What home should
//! hold is judged by `world::reference` from what the upstreams serve.

use std::collections::BTreeSet;

use model::{Event, EventId, RelayUrl, Timestamp};
use tokio::task::spawn_blocking;

use super::cast::{CastError, habits};
use super::live::in_words;
use super::record::HomeFacts;
use super::{DemoError, check_size, table};
use crate::builtin_relay::{BuiltinRelay, Options, Store};
use crate::cli::{CheckArgs, NetworkArgs, Part, PublishArgs, Separately, ServeArgs};
use crate::client::{Client, ClientError};
use crate::exit::Exit;
use crate::lifecycle::Shutdown;
use crate::output;
use crate::world::{self, MOST_UPSTREAMS, World, reference};

/// Announcements of relays that are not there. Whether these are dialed is the business of other tests; here everything
/// that is announced can be reached, so that a fleet can say that it is complete.
const LEADING_ELSEWHERE: [&str; 2] = ["private ranges among the relays", "many relays of one host, told apart by path"];

pub(super) async fn take_part(part: Separately, shutdown: &Shutdown) -> Result<Exit, DemoError> {
    match part {
        Separately::Serve(args) => serve(args, shutdown).await,
        Separately::Publish(args) => publish(args).await,
        Separately::Check(args) => check(args).await,
    }
}

async fn serve(args: ServeArgs, shutdown: &Shutdown) -> Result<Exit, DemoError> {
    let ServeArgs { part, listen, store, network } = args;
    let options = match part {
        Part::Home => Options { store: store.map_or(Store::Memory, Store::File), ..Options::default() },
        Part::Upstream(index) => upstream(index, network).await?,
    };
    let relay = BuiltinRelay::start(Options { listen, ..options }).await?;
    output::say(&format!("{part} serves {} events at {}", relay.event_ids().len(), relay.url()));
    shutdown.soft.cancelled().await;
    relay.stop().await;
    Ok(Exit::Ok)
}

/// An upstream with what the network has for it.
async fn upstream(index: usize, network: NetworkArgs) -> Result<Options, DemoError> {
    let count = network.upstreams.len();
    let mut world = make(Part::Upstream(index), network).await?;
    let mine = world.upstreams.swap_remove(index);
    Ok(Options { store: Store::Filled(mine.events), ..habits(index, count) })
}

async fn make(part: Part, network: NetworkArgs) -> Result<World, DemoError> {
    let NetworkArgs { upstreams, size, now } = network;
    check_size(size)?;
    let is_listed = match part {
        Part::Home => true,
        Part::Upstream(index) => index < upstreams.len(),
    };
    if !is_listed || !(1..=MOST_UPSTREAMS).contains(&upstreams.len()) {
        return Err(DemoError::NoSuchUpstream { part, most: MOST_UPSTREAMS });
    }
    let urls: Vec<String> = upstreams.iter().map(RelayUrl::to_string).collect();
    let made = spawn_blocking(move || closed(world::generate(&size.shape(now), &urls))).await;
    Ok(made.map_err(CastError::World)?)
}

/// The world without what leads out of it.
fn closed(mut world: World) -> World {
    let named = world.oddities.iter().filter(|(name, _)| LEADING_ELSEWHERE.contains(name));
    let leading: BTreeSet<EventId> = named.map(|(_, id)| *id).collect();
    for upstream in &mut world.upstreams {
        upstream.events.retain(|event| !leading.contains(&event.id));
    }
    world
}

async fn publish(args: PublishArgs) -> Result<Exit, DemoError> {
    let urls = args.network.upstreams.clone();
    for live in make(Part::Upstream(0), args.network).await?.live {
        let url = &urls[live.upstream];
        at(url, publish_one(url, &live.event).await)?;
        output::say(&format!("{} on {url}", in_words(live.event.kind.as_u16())));
    }
    Ok(Exit::Ok)
}

async fn publish_one(url: &RelayUrl, event: &Event) -> Result<(), ClientError> {
    Client::connect(url).await?.publish(event).await
}

async fn check(args: CheckArgs) -> Result<Exit, DemoError> {
    let held = read(&args.home).await?.into_iter().map(|event| event.id).collect();
    let mut served = Vec::new();
    for url in &args.upstreams {
        served.push((url.to_string(), read(url).await?));
    }
    let expected = spawn_blocking(move || {
        let bootstrap: Vec<String> = served.iter().take(1).map(|(url, _)| url.clone()).collect();
        reference::expected_home(&served, &bootstrap, &[], Timestamp::now().as_secs())
    });
    let expected: BTreeSet<_> = expected.await.map_err(CastError::World)?;
    let home = HomeFacts::of(args.home.to_string(), &expected, &held);
    if args.json { output::print_json(&home) } else { output::print(&verdict(&home)) }?;
    // An empty network proves nothing.
    Ok(if home.is_exact() && !expected.is_empty() { Exit::Ok } else { Exit::Incomplete })
}

async fn read(url: &RelayUrl) -> Result<Vec<Event>, DemoError> {
    at(url, read_one(url).await)
}

async fn read_one(url: &RelayUrl) -> Result<Vec<Event>, ClientError> {
    Ok(Client::connect(url).await?.everything().await?.into_values().collect())
}

fn at<T>(url: &RelayUrl, done: Result<T, ClientError>) -> Result<T, DemoError> {
    done.map_err(|why| DemoError::Client { url: url.clone(), why })
}

fn verdict(home: &HomeFacts) -> String {
    if home.is_exact() {
        format!("home holds exactly the {} expected events\n", home.expected)
    } else {
        format!("incomplete: {}\n", table::difference(home))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::cli::SizeArgs;

    #[test]
    fn a_closed_world_announces_no_relay_but_its_own() {
        let urls = ["ws://172.31.240.11:7447/".to_owned(), "ws://172.31.240.12:7447/".to_owned()];
        let size = SizeArgs { repos: 5, roots: 10, replies: 20, seed: 1 };
        let announced = |world: World| -> BTreeSet<String> {
            let events = world.upstreams.into_iter().flat_map(|upstream| upstream.events);
            let tags = events.filter(|event| event.kind.as_u16() == 30617).flat_map(|event| event.tags.to_vec());
            let values = tags.filter(|tag| tag.kind() == "relays").flat_map(|tag| tag.as_slice()[1..].to_vec());
            values.filter_map(|url| RelayUrl::parse(&url).ok()).map(|url| url.to_string()).collect()
        };
        let world = world::generate(&size.shape(1_700_000_000), &urls);
        assert!(announced(world.clone()).len() > 2);
        assert_eq!(announced(closed(world)), BTreeSet::from(urls));
    }
}
