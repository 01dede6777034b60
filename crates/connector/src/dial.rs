//! From a URL to an open WebSocket. One resolution, every address judged, the judged address connected to, TLS by name,
//! no redirects, a deadline over all of it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use model::{DownClass, RelayUrl, Role, is_public_address};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header::USER_AGENT};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async_tls_with_config};
use url::Host;

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// DNS, TCP, TLS and upgrade together.
const DIAL_LIMIT: Duration = Duration::from_secs(10);
const DNS_LIMIT: Duration = Duration::from_secs(3);
/// Replies of an exchange come as up to 500,000 bytes in hex (NIP-77 in use); events are far smaller.
const MESSAGE_BYTES: usize = 1_250_000;
/// The library's default (128 KiB) is most of what an idle link costs.
const READ_BUFFER_BYTES: usize = 8 * 1024;
const WRITE_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("not dialed: {0}")]
    NotDialable(String),
    #[error("name not resolved: {0}")]
    Dns(String),
    #[error("connection refused: {0}")]
    Refused(String),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("the relay answered HTTP {0} instead of a WebSocket")]
    Status(u16),
    #[error("no WebSocket within {} s", DIAL_LIMIT.as_secs())]
    Timeout,
    #[error("no WebSocket: {0}")]
    Upgrade(String),
}

impl DialError {
    pub(crate) fn class(&self) -> DownClass {
        match self {
            Self::NotDialable(_) => DownClass::NotDialable,
            Self::Dns(_) => DownClass::Dns,
            Self::Refused(_) => DownClass::Refused,
            Self::Tls(_) => DownClass::Tls,
            Self::Status(_) => DownClass::HttpStatus,
            Self::Timeout => DownClass::Timeout,
            Self::Upgrade(_) => DownClass::Protocol,
        }
    }
}

/// How far the word of an announcement goes.
#[derive(Debug)]
pub(crate) struct Reach {
    /// Networks that are not public and may be dialed all the same.
    pub(crate) allow_non_public: Vec<IpNet>,
    /// Without it, a name is not resolved and its relay stays down; addresses need no look-up.
    pub(crate) look_up_names: bool,
}

/// On whose word a relay is dialed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Word<'a> {
    /// The operator's: any address.
    Operator,
    /// An announcement's, which anybody can sign: public addresses, and what is within reach.
    Announcement(&'a Reach),
}

impl<'a> Word<'a> {
    pub(crate) fn of(role: Role, reach: &'a Reach) -> Self {
        match role {
            Role::Home | Role::Bootstrap => Self::Operator,
            Role::Listed => Self::Announcement(reach),
        }
    }

    fn may_look_up(self) -> bool {
        match self {
            Self::Operator => true,
            Self::Announcement(reach) => reach.look_up_names,
        }
    }

    fn allows(self, address: IpAddr) -> bool {
        match self {
            Self::Operator => true,
            Self::Announcement(reach) => {
                is_public_address(address) || reach.allow_non_public.iter().any(|network| network.contains(&address))
            }
        }
    }
}

/// Opens a WebSocket.
pub(crate) async fn dial(url: &RelayUrl, word: Word<'_>) -> Result<Socket, DialError> {
    if let Word::Announcement(reach) = word {
        url.dialable(&reach.allow_non_public).map_err(|refusal| DialError::NotDialable(refusal.to_string()))?;
    }
    timeout(DIAL_LIMIT, open(url, word)).await.unwrap_or(Err(DialError::Timeout))
}

async fn open(url: &RelayUrl, word: Word<'_>) -> Result<Socket, DialError> {
    let addresses = resolve(url, word).await?;
    let stream = connect(&addresses).await?;
    let mut request = url.as_str().into_client_request().map_err(|error| DialError::Upgrade(error.to_string()))?;
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(concat!("grasp-sync/", env!("CARGO_PKG_VERSION"))));
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(Some(MESSAGE_BYTES))
        .max_frame_size(Some(MESSAGE_BYTES));
    let (socket, _) =
        client_async_tls_with_config(request, stream, Some(config), None).await.map_err(|error| classify(&error))?;
    Ok(socket)
}

/// All addresses of the host. One bad address refuses the whole name: a rebinding resolver mixes them.
async fn resolve(url: &RelayUrl, word: Word<'_>) -> Result<Vec<SocketAddr>, DialError> {
    if matches!(url.host(), Host::Domain(_)) && !word.may_look_up() {
        return Err(DialError::Dns("names are not looked up".to_owned()));
    }
    let host = url.host().to_string();
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let looked_up = timeout(DNS_LIMIT, lookup_host((host.as_str(), url.port()))).await;
    let addresses: Vec<SocketAddr> = match looked_up {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => return Err(DialError::Dns(error.to_string())),
        Err(_) => return Err(DialError::Dns(format!("no answer within {} s", DNS_LIMIT.as_secs()))),
    };
    if addresses.is_empty() {
        return Err(DialError::Dns("the name has no address".to_owned()));
    }
    match addresses.iter().find(|address| !word.allows(address.ip())) {
        Some(address) => Err(DialError::NotDialable(format!("{} is neither public nor in an allowed network", address.ip()))),
        None => Ok(addresses),
    }
}

async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, DialError> {
    let mut last = String::new();
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Requests are small and wait for answers.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = error.to_string(),
        }
    }
    Err(DialError::Refused(last))
}

fn classify(error: &WsError) -> DialError {
    if let WsError::Http(response) = error {
        return DialError::Status(response.status().as_u16());
    }
    // A failed handshake of rustls arrives as an IO error of this kind.
    let is_tls_io = matches!(error, WsError::Io(error) if error.kind() == std::io::ErrorKind::InvalidData);
    if is_tls_io || matches!(error, WsError::Tls(_)) {
        return DialError::Tls(error.to_string());
    }
    DialError::Upgrade(error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn reach(look_up_names: bool) -> Reach {
        Reach { allow_non_public: vec!["127.0.0.0/8".parse().unwrap()], look_up_names }
    }

    async fn resolved(url: &str, reach: &Reach) -> Result<Vec<SocketAddr>, DialError> {
        resolve(&RelayUrl::parse(url).unwrap(), Word::Announcement(reach)).await
    }

    #[tokio::test]
    async fn where_names_are_not_looked_up_an_address_is_dialed_and_a_name_is_not() {
        let offline = reach(false);
        let address = resolved("ws://127.0.0.1:7777", &offline).await.unwrap();
        assert_eq!(address, ["127.0.0.1:7777".parse().unwrap()]);
        // Its own hosts file would answer for this name.
        let refused = resolved("ws://localhost:7777", &offline).await.unwrap_err();
        assert_eq!(
            (refused.class(), refused.to_string().as_str()),
            (DownClass::Dns, "name not resolved: names are not looked up")
        );
        assert!(resolved("ws://localhost:7777", &reach(true)).await.is_ok());
    }

    #[tokio::test]
    async fn an_address_out_of_reach_is_refused_before_anything_is_dialed() {
        let refused = resolved("wss://10.1.2.3", &reach(false)).await.unwrap_err();
        assert_eq!(refused.class(), DownClass::NotDialable);
    }
}
