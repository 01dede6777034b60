//! The live events: published one by one as any client would, and watched for at home.

use std::time::{Duration, Instant};

use model::RelayUrl;
use tokio::time::timeout;

use super::cast::Cast;
use crate::client::{Client, ClientError};
use crate::world::LiveEvent;

/// Far longer than a discovery window and the batch that follows it.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(15);

/// What became of one live event.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    /// In words.
    pub(super) what: String,
    pub(super) kind: u16,
    pub(super) upstream: RelayUrl,
    /// From the upstream's OK until home served it; nothing if it did not in time.
    pub(super) after: Option<Duration>,
}

/// Publishes one event and waits for it at home.
pub(super) async fn publish(cast: &Cast, live: &LiveEvent) -> Result<Arrival, ClientError> {
    let upstream = &cast.upstreams[live.upstream].url;
    let mut home = Client::connect(&cast.home.url).await?;
    home.watch_for(live.event.id).await?;
    let mut client = Client::connect(upstream).await?;
    client.publish(&live.event).await?;
    let taken = Instant::now();
    let after = match timeout(ARRIVAL_LIMIT, home.arrival(live.event.id)).await {
        Ok(arrived) => arrived.map(|()| Some(taken.elapsed()))?,
        Err(_) => None,
    };
    let kind = live.event.kind.as_u16();
    Ok(Arrival { what: in_words(kind), kind, upstream: upstream.clone(), after })
}

/// The sort of an event.
pub(super) fn in_words(kind: u16) -> String {
    let known = match kind {
        1 => "note",
        5 => "deletion",
        7 => "reaction",
        1111 => "comment",
        1617 => "patch",
        1618 => "pull request",
        1619 => "pull request update",
        1621 => "issue",
        1630 => "status open",
        1631 => "status applied",
        1632 => "status closed",
        1633 => "status draft",
        30617 => "repository announcement",
        30618 => "repository state",
        other => return format!("event of kind {other}"),
    };
    known.to_owned()
}
