//! The one spelling of a relay's address.
//!
//! Owns the normal form of relay URLs, and the port and host policy for announced upstreams.
//! Never resolves a name: what a public name resolves to is judged by the dialer with
//! [`is_public_address`](crate::is_public_address), at every dial.

mod parse;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use url::Host;

use crate::public_address::is_public_address;

/// The longest URL that is taken, in bytes, cleaned or normal.
pub const MAX_RELAY_URL_BYTES: usize = 255;

/// The lowest port beside 443 on which an announced upstream is dialed.
const LOWEST_OPEN_PORT: u16 = 1024;

/// A relay's address in normal form: `scheme://host[:port]/path[?query]`.
///
/// Two spellings of one relay are equal. Serialised as a string; a string read back is parsed again, so that no value
/// of this type is ever anything but normal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct RelayUrl(String);

/// How a relay is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scheme {
    /// In the clear.
    Ws,
    /// Over TLS.
    Wss,
}

/// Why a text is not a relay's address. Each reason completes the sentence "the URL …".
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RelayUrlError {
    #[error("is empty")]
    Empty,
    #[error("is longer than {MAX_RELAY_URL_BYTES} bytes")]
    TooLong,
    #[error("holds a blank, a control character, a back-slash or %00")]
    ForbiddenCharacter,
    #[error("has the scheme {0:?}, which is none of ws, wss, http, https")]
    UnknownScheme(String),
    #[error("is a web page: http(s) is taken for a relay only as a bare host")]
    WebPage,
    #[error("names no host")]
    MissingHost,
    #[error("names a user; a relay is a host without one")]
    UserInfo,
    #[error("has the host {0:?}, which is no valid name or address")]
    BadHost(String),
    #[error("has the port {0:?}, which is no number from 1 to 65535")]
    BadPort(String),
    #[error("is a bare word; write it with ws:// or wss:// if it is a host")]
    BareWord,
}

/// Why an announced upstream is not dialed unless the operator allows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, thiserror::Error)]
pub enum DialRefusal {
    #[error("the host is not on the public internet")]
    NonPublicHost,
    #[error("the host is an onion service, and no onion_proxy is set")]
    OnionWithoutProxy,
    #[error("the scheme is ws; announced relays are dialed over TLS only")]
    NotEncrypted,
    #[error("the port {port} is neither 443 nor in 1024–65535")]
    ReservedPort {
        /// The effective port.
        port: u16,
    },
}

impl RelayUrl {
    /// Reads any spelling found in the wild and brings it to normal form.
    ///
    /// # Errors
    /// The first reason why `text` is no relay's address.
    pub fn parse(text: &str) -> Result<Self, RelayUrlError> {
        parse::normal_form(text).map(Self)
    }

    /// The normal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `ws` or `wss`; `http` and `https` have become these.
    pub fn scheme(&self) -> Scheme {
        if self.0.starts_with("wss:") { Scheme::Wss } else { Scheme::Ws }
    }

    /// The host as parsed: numeric spellings of an IPv4 address are an address, not a name.
    pub fn host(&self) -> Host<&str> {
        let (host, _) = split_port(self.authority());
        if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return Host::Ipv6(inner.parse().expect("brackets in a normal form hold an IPv6 address"));
        }
        host.parse::<Ipv4Addr>().map_or(Host::Domain(host), Host::Ipv4)
    }

    /// The effective port: the one written, or the default of the scheme (80 or 443).
    pub fn port(&self) -> u16 {
        let (_, port) = split_port(self.authority());
        port.map_or(self.scheme().default_port(), |digits| digits.parse().expect("the port of a normal form is 1 to 65535"))
    }

    /// True when the host, by its own text, is not on the public internet: an address of a special range, or a name
    /// that public DNS does not serve. Path and query say nothing here. A public name may still resolve to a private
    /// address, which the dialer judges.
    pub fn is_non_public(&self) -> bool {
        is_non_public_host(&self.host())
    }

    /// Whether the host is an onion service: its name is nothing to ask DNS for.
    pub fn is_onion(&self) -> bool {
        matches!(self.host(), Host::Domain(name) if name == "onion" || name.ends_with(".onion"))
    }

    /// Whether the relay may be dialed on the word of an announcement: public host, `wss`, port 443 or 1024–65535.
    /// An onion service is dialed by any scheme and port, and only through a proxy, which finds it without DNS.
    /// Hosts in the `allowed` networks may be dialed by any scheme on any port; names that public DNS does not serve
    /// pass here if any network is allowed, and are judged by the addresses they resolve to.
    ///
    /// # Errors
    /// The first rule that the address breaks.
    pub fn dialable(&self, allowed: &[IpNet], has_onion_proxy: bool) -> Result<(), DialRefusal> {
        let port = self.port();
        if self.is_onion() {
            if has_onion_proxy { Ok(()) } else { Err(DialRefusal::OnionWithoutProxy) }
        } else if self.is_non_public() {
            let is_allowed = match self.host() {
                Host::Ipv4(address) => is_in(IpAddr::V4(address), allowed),
                Host::Ipv6(address) => is_in(IpAddr::V6(address), allowed),
                Host::Domain(_) => !allowed.is_empty(),
            };
            if is_allowed { Ok(()) } else { Err(DialRefusal::NonPublicHost) }
        } else if self.scheme() == Scheme::Ws {
            Err(DialRefusal::NotEncrypted)
        } else if port != Scheme::Wss.default_port() && port < LOWEST_OPEN_PORT {
            Err(DialRefusal::ReservedPort { port })
        } else {
            Ok(())
        }
    }

    fn authority(&self) -> &str {
        let (_, rest) = self.0.split_once("://").expect("a normal form has a scheme");
        rest.split_once('/').expect("a normal form has a path").0
    }
}

impl Scheme {
    /// The port that is meant when none is written.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }

    /// The scheme as it stands in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }
}

impl fmt::Display for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl AsRef<str> for RelayUrl {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for RelayUrl {
    type Err = RelayUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for RelayUrl {
    type Error = RelayUrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

/// Splits `host[:port]`; the colons inside the brackets of an IPv6 address belong to the host.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let host_end = authority.find(']').map_or(0, |at| at + 1);
    match authority[host_end..].find(':') {
        Some(at) => (&authority[..host_end + at], Some(&authority[host_end + at + 1..])),
        None => (authority, None),
    }
}

/// Names that public DNS does not serve, or that lead back into the own network.
const NON_PUBLIC_SUFFIXES: [&str; 5] = [".localhost", ".local", ".onion", ".internal", ".home.arpa"];

fn is_in(address: IpAddr, networks: &[IpNet]) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

fn is_non_public_host(host: &Host<&str>) -> bool {
    match *host {
        Host::Ipv4(address) => !is_public_address(IpAddr::V4(address)),
        Host::Ipv6(address) => !is_public_address(IpAddr::V6(address)),
        Host::Domain(name) => {
            let is_single_label = !name.contains('.');
            is_single_label || name == "home.arpa" || NON_PUBLIC_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
        }
    }
}

#[cfg(test)]
mod tests;
