//! From a URL to an open stream, and to a WebSocket on it. One resolution, every address judged, the judged address connected
//! to, TLS by name, no redirects, a deadline for each step and one over all of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ipnet::IpNet;
use model::{DownClass, RelayUrl, Role, Scheme, is_public_address};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header::USER_AGENT};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async_with_config};
use url::Host;

/// A connection to a judged address, encrypted where the URL says so.
pub(crate) type Stream = MaybeTlsStream<TcpStream>;
pub(crate) type Socket = WebSocketStream<Stream>;

/// DNS, TCP, TLS and upgrade together.
const DIAL_LIMIT: Duration = Duration::from_secs(10);
const DNS_LIMIT: Duration = Duration::from_secs(3);
/// One address; the next one is tried after it.
const CONNECT_LIMIT: Duration = Duration::from_secs(4);
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
    /// Without it, a name is not resolved and its relay stays down; addresses need no look-up.
    pub(crate) look_up_names: bool,
}

/// On whose word a relay is dialed.
#[derive(Debug, Clone, Copy)]
enum Word<'a> {
    /// The operator's: any address.
    Operator,
    /// An announcement's, which anybody can sign: public addresses, and what is within reach.
    Announcement(&'a Reach),
}

impl<'a> Word<'a> {
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

impl Dialer {
    /// `contact`: where whoever runs a relay reaches us.
    pub(crate) fn new(reach: Reach, contact: Option<&str>) -> Self {
        Self { reach, user_agent: user_agent(contact) }
    }

    /// Opens a WebSocket to a relay in this role.
    pub(crate) async fn dial(&self, url: &RelayUrl, role: Role) -> Result<Socket, DialError> {
        timeout(DIAL_LIMIT, self.upgrade(url, role)).await.unwrap_or(Err(DialError::Timeout))
    }

    /// Connects to a relay in this role, for a conversation of the caller's. Has limits for its steps, and none over all.
    pub(crate) async fn connect(&self, url: &RelayUrl, role: Role) -> Result<Stream, DialError> {
        let word = self.word(role);
        if let Word::Announcement(reach) = word {
            url.dialable(&reach.allow_non_public).map_err(|refusal| DialError::NotDialable(refusal.to_string()))?;
        }
        let stream = connect(&resolve(url, word).await?).await?;
        match url.scheme() {
            Scheme::Ws => Ok(MaybeTlsStream::Plain(stream)),
            Scheme::Wss => encrypt(url, stream).await,
        }
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
    if matches!(url.host(), Host::Domain(_)) && !word.may_look_up() {
        return Err(DialError::Dns("names are not looked up".to_owned()));
    }
    let host = host(url);
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
    let mut last = DialError::Timeout;
    for address in addresses {
        match timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Requests are small and wait for answers.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
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

    #[test]
    fn who_calls_is_said_with_a_contact_that_a_header_can_hold() {
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(user_agent(None), format!("grasp-sync/{version}"));
        let contact = "https://sync.example; ops@sync.example";
        assert_eq!(user_agent(Some(contact)), format!("grasp-sync/{version} ({contact})"));
        assert_eq!(user_agent(Some("a\r\nHost: evil.example")), format!("grasp-sync/{version}"));
    }

    #[tokio::test]
    async fn an_address_out_of_reach_is_refused_before_anything_is_dialed() {
        let refused = resolved("wss://10.1.2.3", &reach(false)).await.unwrap_err();
        assert_eq!(refused.class(), DownClass::NotDialable);
    }
}
