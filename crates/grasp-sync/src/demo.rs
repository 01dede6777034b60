//! A whole network in one process, to see the sync at work: history, live events, a restart, and the count of it all.
//!
//! It needs no network: relays, home and system meet on loopback, and no announced name is looked up. Whether home ends
//! right is judged by `world::reference`, which shares nothing with the system.

mod cast;
mod live;
mod record;
mod screen;
mod separate;
mod table;
mod view;
mod watch;

use std::time::{Duration, Instant};

use model::{RelayUrl, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::builtin_relay;
use crate::cli::{DemoArgs, Part, SizeArgs};
pub use crate::client::ClientError;
use crate::exit::Exit;
use crate::lifecycle::Shutdown;
use crate::output;
use crate::system::{StartError, System};
use cast::Cast;
pub use cast::CastError;
use record::{HomeFacts, Record, ms};
use screen::Screen;
use view::View;
use watch::Watch;

/// History has this long, and longer where there is much of it.
const HISTORY_LIMIT: Duration = Duration::from_secs(120);
const HISTORY_LIMIT_PER_EVENT: Duration = Duration::from_millis(10);
const LIVE_LIMIT: Duration = Duration::from_secs(30);
const RESTART_LIMIT: Duration = Duration::from_secs(60);

/// Why a demonstration ends before its time.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("--roots and --replies speak about repositories: --repos must be at least 1")]
    NoRepository,
    #[error("{part} needs a URL to be announced under: give the --upstream of every upstream, one to {most} of them")]
    NoSuchUpstream { part: Part, most: usize },
    #[error("the relay does not start: {0}")]
    Relay(#[from] builtin_relay::StartError),
    #[error("{url}: {why}")]
    Client { url: RelayUrl, why: ClientError },
    #[error(transparent)]
    Cast(#[from] CastError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("a live event was not published: {0}")]
    Live(#[from] ClientError),
    #[error("the result cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

impl DemoError {
    /// The code that the process ends with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::NoRepository | Self::NoSuchUpstream { .. } => Exit::Usage,
            Self::Cast(CastError::DataDir(_)) => Exit::DataDirUnusable,
            Self::Start(why) => why.into(),
            Self::Relay(builtin_relay::StartError::Store(_)) => Exit::DataDirUnusable,
            Self::Relay(_)
            | Self::Client { .. }
            | Self::Cast(CastError::Relay(_) | CastError::World(_))
            | Self::Live(_)
            | Self::Output(_) => Exit::Failure,
        }
    }
}

/// Makes up a small network, syncs it and counts what arrived; or does one part of that. The first signal ends it with
/// what there is.
///
/// # Errors
/// What kept it from being shown.
pub async fn demo(args: DemoArgs, shutdown: Shutdown) -> Result<Exit, DemoError> {
    match args.separately {
        Some(part) => separate::take_part(part, &shutdown).await,
        None => show_all(args.size, args.json, &shutdown).await,
    }
}

/// Talk needs something to be about.
fn check_size(size: SizeArgs) -> Result<(), DemoError> {
    if size.repos == 0 && size.roots + size.replies > 0 { Err(DemoError::NoRepository) } else { Ok(()) }
}

async fn show_all(size: SizeArgs, json: bool, shutdown: &Shutdown) -> Result<Exit, DemoError> {
    check_size(size)?;
    let began = Instant::now();
    let mut screen = Screen::open();
    let gathered = tokio::select! {
        () = shutdown.soft.cancelled() => return Ok(Exit::Incomplete),
        gathered = gather(size, &screen) => gathered?,
    };
    let mut record = Record::of(size, (gathered.events_served(), began.elapsed()));
    let played = play(&gathered, &mut screen, &shutdown.soft, &mut record).await;
    gathered.leave().await;
    played?;
    drop(screen);
    record.total_ms = ms(began.elapsed());
    if json { output::print_json(&record) } else { output::print(&table::render(&record)) }?;
    Ok(if record.complete { Exit::Ok } else { Exit::Incomplete })
}

async fn gather(size: SizeArgs, screen: &Screen) -> Result<Cast, CastError> {
    let SizeArgs { repos, roots, replies, seed: _ } = size;
    let _turning = screen.spin(&format!("making up a world: {repos} repositories, {roots} roots, {replies} replies"));
    Cast::gather(size.shape(Timestamp::now().as_secs())).await
}

/// History, live events, and a restart; each only if the one before was complete.
async fn play(cast: &Cast, screen: &mut Screen, stop: &CancellationToken, record: &mut Record) -> Result<(), DemoError> {
    let expected = cast.expected().await?;
    let mut watch = Watch { cast, screen, stop, expected, view: View::default() };
    let system = System::start_offline(&cast.config(), &cast.home.url).await?;
    let shown = show(&mut watch, &system, record).await;
    system.stop().await;
    if shown.is_ok() && record.complete {
        restart(&mut watch, record).await?;
    }
    record.home = HomeFacts::of(cast.home.url.to_string(), &watch.expected, &cast.home.relay.event_ids());
    record.complete &= record.home.is_exact();
    shown
}

async fn show(watch: &mut Watch<'_>, system: &System, record: &mut Record) -> Result<(), DemoError> {
    let events = u32::try_from(watch.expected.len()).unwrap_or(u32::MAX);
    let limit = HISTORY_LIMIT.max(HISTORY_LIMIT_PER_EVENT * events);
    watch.screen.say("syncing history into an empty home, with one upstream known");
    let (ended, confirmed_after) = watch.until_complete(system, limit).await;
    record.keep_history(ended, &watch.view, &confirmed_after);
    if record.complete {
        publish_live(watch, record).await?;
        watch.expected = watch.cast.expected().await?;
        let (ended, _) = watch.until_complete(system, LIVE_LIMIT).await;
        record.keep(ended, &watch.view);
    }
    Ok(())
}

async fn publish_live(watch: &mut Watch<'_>, record: &mut Record) -> Result<(), ClientError> {
    watch.screen.say("publishing live events");
    for live in &watch.cast.live {
        let arrival = tokio::select! {
            () = watch.stop.cancelled() => return Ok(()),
            arrival = live::publish(watch.cast, live) => arrival?,
        };
        let after = arrival.after.map_or("not at home in time".to_owned(), |after| format!("at home after {} ms", ms(after)));
        watch.screen.say(&format!("live: {} on {}: {after}", arrival.what, arrival.upstream));
        record.keep_arrival(&arrival);
    }
    Ok(())
}

/// The same data directory, the same home, a new system: there should be nothing left to download.
async fn restart(watch: &mut Watch<'_>, record: &mut Record) -> Result<(), DemoError> {
    watch.screen.say("restarting the system on its data directory");
    let before = watch.cast.traffic();
    let system = System::start_offline(&watch.cast.config(), &watch.cast.home.url).await?;
    let (ended, _) = watch.until_complete(&system, RESTART_LIMIT).await;
    record.keep_restart(ended, watch.cast.traffic().since(before));
    system.stop().await;
    Ok(())
}
