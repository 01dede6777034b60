//! Connecting to the server, and what is said when that changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use percent_encoding::percent_decode_str;
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::metrics;

/// The oldest server whose streams do what this project relies on.
const OLDEST_SERVER: (u64, u64) = (2, 12);
/// A link that is half open is found after two of these.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const SLOWEST_RECONNECT: Duration = Duration::from_secs(1);

/// How to reach the server, and the limits of what is kept there.
#[derive(Debug, Clone)]
pub struct NatsSettings {
    /// `nats://` or `tls://`, with `user:password@` or `token@` if the server wants them, percent-encoded where they have to be.
    pub url: String,
    /// `state`, `planner`, `connector` or `all`: the prefix of its inboxes, so that its permissions cover no other's.
    pub service: &'static str,
    /// What the stream of reports may hold. Beyond it, sessions wait.
    pub stream_bytes: u64,
    /// A report that is not acknowledged for this long comes again.
    pub ack_wait: Duration,
    /// The newest version of messages that is read; all before it are read too.
    pub reads: u32,
    /// The version that is written.
    pub writes: u32,
}

/// The version of the messages that this release writes.
pub const MESSAGE_VERSION: u32 = 1;

impl NatsSettings {
    /// The defaults: 1 GiB of reports, 15 s to commit one, today's messages.
    #[must_use]
    pub fn new(url: impl Into<String>, service: &'static str) -> Self {
        Self {
            url: url.into(),
            service,
            stream_bytes: 1 << 30,
            ack_wait: Duration::from_secs(15),
            reads: MESSAGE_VERSION,
            writes: MESSAGE_VERSION,
        }
    }
}

/// Why the server cannot be used, as an operator can act on it. None of them shows a password.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the NATS URL cannot be read: write nats://host:4222, or tls:// and user:password@ where the server wants them")]
    BadUrl,
    #[error("the NATS server cannot be reached: check host, port and TLS ({0})")]
    Unreachable(String),
    #[error("the NATS server refuses user, password or token")]
    LoginRefused,
    #[error("the NATS server has version {found}: {}.{} or newer is needed", OLDEST_SERVER.0, OLDEST_SERVER.1)]
    TooOld { found: String },
}

impl ConnectError {
    /// Whether waiting may help: the server may be on its way up.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }
}

/// What the connection counts. Shared with whoever shows it.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Messages lost because a subscription fell too far behind.
    pub(super) slow_consumers: AtomicU64,
}

/// Connects once. From then on, a lost connection is made again for ever.
pub(super) async fn connect(settings: &NatsSettings) -> Result<(Client, watch::Receiver<u64>, Arc<Counts>), ConnectError> {
    let addr: ServerAddr = settings.url.parse().map_err(|_| ConnectError::BadUrl)?;
    let (connections, watched) = watch::channel(0_u64);
    let counts = Arc::<Counts>::default();
    let counted = Arc::clone(&counts);
    let connections = Arc::new(connections);
    let options = introduced(ConnectOptions::new(), &addr)?
        .name(format!("grasp-sync {}", settings.service))
        .custom_inbox_prefix(format!("_INBOX_{}", settings.service))
        .ping_interval(PING_INTERVAL)
        .connection_timeout(CONNECT_TIMEOUT)
        .reconnect_delay_callback(|attempt| {
            (Duration::from_millis(50) * attempt.try_into().unwrap_or(20)).min(SLOWEST_RECONNECT)
        })
        .event_callback(move |event| {
            tell(&event, &connections, &counted);
            std::future::ready(())
        });
    let client = options.connect(addr).await.map_err(|error| refused(&error))?;
    let info = client.server_info();
    if !is_new_enough(&info.version) {
        return Err(ConnectError::TooOld { found: info.version });
    }
    Ok((client, watched, counts))
}

/// With the login that the address holds, which the library leaves to its caller. A name alone is a token.
fn introduced(options: ConnectOptions, addr: &ServerAddr) -> Result<ConnectOptions, ConnectError> {
    let plain = |text: &str| {
        let decoded = percent_decode_str(text).decode_utf8();
        decoded.map(std::borrow::Cow::into_owned).map_err(|_| ConnectError::BadUrl)
    };
    Ok(match (addr.username(), addr.password()) {
        (Some(user), Some(password)) => options.user_and_password(plain(user)?, plain(password)?),
        (Some(token), None) => options.token(plain(token)?),
        (None, _) => options,
    })
}

fn tell(event: &Event, connections: &watch::Sender<u64>, counts: &Counts) {
    match event {
        Event::Connected => {
            connections.send_modify(|count| *count += 1);
            info!("connected to the NATS server");
        }
        Event::Disconnected => {
            metrics::lost("connection");
            warn!("the connection to the NATS server is lost; trying again");
        }
        Event::SlowConsumer(_) => {
            metrics::lost("slow-consumer");
            counts.slow_consumers.fetch_add(1, Ordering::Relaxed);
            error!("this process is too slow for its messages: some wake-ups were lost, and their sweep makes up for them");
        }
        Event::ServerError(why) => error!(%why, "the NATS server complains"),
        Event::ClientError(why) => warn!(%why, "the NATS connection has a problem"),
        Event::LameDuckMode | Event::Draining | Event::Closed => info!(%event, "NATS"),
    }
}

fn refused(error: &async_nats::ConnectError) -> ConnectError {
    match error.kind() {
        ConnectErrorKind::ServerParse => ConnectError::BadUrl,
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => ConnectError::LoginRefused,
        kind @ (ConnectErrorKind::Dns
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::Tls
        | ConnectErrorKind::Io
        | ConnectErrorKind::MaxReconnects) => {
            let source = std::error::Error::source(error).map_or_else(String::new, |source| format!(" ({source})"));
            ConnectError::Unreachable(format!("{kind}{source}"))
        }
    }
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map_while(|number| number.parse::<u64>().ok());
    numbers.next().zip(numbers.next()).is_some_and(|found| found >= OLDEST_SERVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_before_2_12_are_too_old() {
        for (version, is_fine) in
            [("2.9.25", false), ("2.11.9", false), ("2.12.0", true), ("2.15.1", true), ("3.0.0-beta", true), ("", false)]
        {
            assert_eq!(is_new_enough(version), is_fine, "{version}");
        }
    }
}
