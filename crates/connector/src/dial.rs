//! From a URL to an open stream, and to a WebSocket on it. One resolution, every address judged, the judged address connected
//! to, TLS by name, no redirects, a deadline for each step and one over all of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ipnet::IpNet;
use model::{DialRefusal, DownClass, RelayUrl, Role, Scheme, is_public_address};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header::USER_AGENT};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async_with_config};
use url::Host;

use crate::names::Names;
use crate::socks;

/// A connection to a judged address, encrypted where the URL says so.
pub(crate) type Stream = MaybeTlsStream<TcpStream>;
pub(crate) type Socket = WebSocketStream<Stream>;

/// DNS, TCP, TLS and upgrade together.
const DIAL_LIMIT: Duration = Duration::from_secs(10);
/// The same through a proxy, which looks for the service first; Tor may take half a minute for that.
const ONION_LIMIT: Duration = Duration::from_secs(45);
const DNS_LIMIT: Duration = Duration::from_secs(3);
/// One address; the next one is tried after it.
const CONNECT_LIMIT: Duration = Duration::from_secs(4);
/// Replies of an exchange come as up to 500,000 bytes in hex (NIP-77 in use); events are far smaller.
const MESSAGE_BYTES: usize = 1_250_000;
/// The library's default (128 KiB) is most of what an idle link costs.
const READ_BUFFER_BYTES: usize = 8 * 1024;
const WRITE_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// What is written is gathered up to this many bytes; the buffer for it stays with the link for good. Live filters of an upstream
/// come by the hundred kilobytes once; home is written to all the time.
const GATHERED_BYTES: (usize, usize) = (8 * 1024, 64 * 1024);

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
    #[error("no WebSocket in time")]
    Timeout,
    #[error("through the proxy: {0}")]
    Proxy(#[from] socks::NotConnected),
    #[error("no WebSocket: {0}")]
    Upgrade(String),
}

impl DialError {
    pub(crate) fn class(&self) -> DownClass {
        match self {
            Self::NotDialable(_) => DownClass::NotDialable,
            Self::Dns(_) => DownClass::Dns,
            Self::Refused(_) | Self::Proxy(_) => DownClass::Refused,
            Self::Tls(_) => DownClass::Tls,
            Self::Status(status) => engine::refused::by_status(*status),
            Self::Timeout => DownClass::Timeout,
            Self::Upgrade(_) => DownClass::Protocol,
        }
    }
}

/// Dials relays, each on the word that named it, and says who is calling.
#[derive(Debug)]
pub(crate) struct Dialer {
    reach: Reach,
    user_agent: HeaderValue,
}

/// How far the word of an announcement goes.
#[derive(Debug)]
pub(crate) struct Reach {
    /// Networks that are not public and may be dialed all the same.
    pub(crate) allow_non_public: Vec<IpNet>,
    /// Who answers for names in announcements.
    pub(crate) names: Names,
    /// The SOCKS5 proxy through which onion services are dialed, on whosever word. Without one none is.
    pub(crate) onion_proxy: Option<SocketAddr>,
}

/// On whose word a relay is dialed.
#[derive(Debug, Clone, Copy)]
enum Word<'a> {
    /// The operator's: any address.
    Operator,
    /// An announcement's, which anybody can sign: public addresses, and what is within reach.
    Announcement(&'a Reach),
}

impl Word<'_> {
    /// The operator's names are looked up whatever is said of others.
    fn names(&self) -> &Names {
        match self {
            Self::Operator => &Names::System,
            Self::Announcement(reach) => &reach.names,
        }
    }

    fn allows(&self, address: IpAddr) -> bool {
        match self {
            Self::Operator => true,
            Self::Announcement(reach) => {
                is_public_address(address) || reach.allow_non_public.iter().any(|network| network.contains(&address))
            }
        }
    }
}

impl Dialer {
    /// `contact`: where whoever runs a relay reaches us.
    pub(crate) fn new(reach: Reach, contact: Option<&str>) -> Self {
        Self { reach, user_agent: user_agent(contact) }
    }

    /// Opens a WebSocket to a relay in this role.
    pub(crate) async fn dial(&self, url: &RelayUrl, role: Role) -> Result<Socket, DialError> {
        let limit = if url.is_onion() { ONION_LIMIT } else { DIAL_LIMIT };
        timeout(limit, self.upgrade(url, role)).await.unwrap_or(Err(DialError::Timeout))
    }

    /// Connects to a relay in this role, for a conversation of the caller's. Has limits for its steps, and none over all.
    pub(crate) async fn connect(&self, url: &RelayUrl, role: Role) -> Result<Stream, DialError> {
        let word = self.word(role);
        if let Word::Announcement(reach) = word {
            let refused = url.dialable(&reach.allow_non_public, reach.onion_proxy.is_some());
            refused.map_err(|refusal| DialError::NotDialable(refusal.to_string()))?;
        }
        let stream = if url.is_onion() { self.through_proxy(url).await? } else { connect(&resolve(url, word).await?).await? };
        match url.scheme() {
            Scheme::Ws => Ok(MaybeTlsStream::Plain(stream)),
            Scheme::Wss => encrypt(url, stream).await,
        }
    }

    /// The name of an onion service is the proxy's to find: nobody else is ever asked for it.
    async fn through_proxy(&self, url: &RelayUrl) -> Result<TcpStream, DialError> {
        let proxy = self.reach.onion_proxy.ok_or_else(|| DialError::NotDialable(DialRefusal::OnionWithoutProxy.to_string()))?;
        let stream = connect(&[proxy]).await?;
        let asked = timeout(ONION_LIMIT, socks::connect(stream, &host(url), url.port())).await;
        Ok(asked.map_err(|_| DialError::Timeout)??)
    }

    pub(crate) fn user_agent(&self) -> &HeaderValue {
        &self.user_agent
    }

    /// On whose word a relay in this role is dialed.
    fn word(&self, role: Role) -> Word<'_> {
        match role {
            Role::Home | Role::Bootstrap => Word::Operator,
            Role::Listed => Word::Announcement(&self.reach),
        }
    }

    async fn upgrade(&self, url: &RelayUrl, role: Role) -> Result<Socket, DialError> {
        let stream = self.connect(url, role).await?;
        let mut request = url.as_str().into_client_request().map_err(|error| DialError::Upgrade(error.to_string()))?;
        request.headers_mut().insert(USER_AGENT, self.user_agent.clone());
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(if role == Role::Home { GATHERED_BYTES.1 } else { GATHERED_BYTES.0 })
            .max_write_buffer_size(WRITE_BUFFER_BYTES)
            .max_message_size(Some(MESSAGE_BYTES))
            .max_frame_size(Some(MESSAGE_BYTES));
        let (socket, _) = client_async_with_config(request, stream, Some(config)).await.map_err(|error| classify(&error))?;
        Ok(socket)
    }
}

/// Name, version and, where it is known, who may be asked about us.
fn user_agent(contact: Option<&str>) -> HeaderValue {
    const NAME: &str = concat!("grasp-sync/", env!("CARGO_PKG_VERSION"));
    let whole = contact.and_then(|contact| HeaderValue::from_str(&format!("{NAME} ({contact})")).ok());
    whole.unwrap_or(HeaderValue::from_static(NAME))
}

/// TLS by the name in the URL, with the roots of the web.
async fn encrypt(url: &RelayUrl, stream: TcpStream) -> Result<Stream, DialError> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
    });
    let name = ServerName::try_from(host(url)).map_err(|error| DialError::Tls(error.to_string()))?;
    let encrypted = TlsConnector::from(Arc::clone(config)).connect(name, stream).await;
    Ok(MaybeTlsStream::Rustls(encrypted.map_err(|error| DialError::Tls(error.to_string()))?))
}

/// The host as resolvers and certificates know it: an IPv6 address without its brackets.
fn host(url: &RelayUrl) -> String {
    url.host().to_string().trim_start_matches('[').trim_end_matches(']').to_owned()
}

/// All addresses of the host. One bad address refuses the whole name: a rebinding resolver mixes them.
async fn resolve(url: &RelayUrl, word: Word<'_>) -> Result<Vec<SocketAddr>, DialError> {
    let addresses = match url.host() {
        Host::Ipv4(address) => vec![SocketAddr::from((address, url.port()))],
        Host::Ipv6(address) => vec![SocketAddr::from((address, url.port()))],
        Host::Domain(name) => match timeout(DNS_LIMIT, word.names().addresses(name, url.port())).await {
            Ok(answer) => answer.map_err(|error| DialError::Dns(error.to_string()))?,
            Err(_) => return Err(DialError::Dns(format!("no answer within {} s", DNS_LIMIT.as_secs()))),
        },
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
    let mut last = DialError::Timeout;
    for address in addresses {
        match timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
            // It is where the judged address is, and nowhere else.
            Ok(Ok(stream)) if stream.peer_addr().is_ok_and(|peer| peer.ip() == address.ip()) => {
                // Requests are small and wait for answers.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Ok(_)) => last = DialError::NotDialable("it answered from another address".to_owned()),
            Ok(Err(error)) => last = DialError::Refused(error.to_string()),
            Err(_) => {}
        }
    }
    Err(last)
}

fn classify(error: &WsError) -> DialError {
    if let WsError::Http(response) = error {
        return DialError::Status(response.status().as_u16());
    }
    DialError::Upgrade(error.to_string())
}

#[cfg(test)]
mod tests;
