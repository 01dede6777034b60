//! What `fuzz/` feeds with noise: relay URLs and addresses. Each body asserts what holds for whatever it is given.
//!
//! Never part of the program: built for tests and with the feature `fuzzing`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use crate::{MAX_RELAY_URL_BYTES, RelayUrl, Scheme, is_public_address};

/// A normal form is bounded, is its own normal form, and means to others what it means to us; what may be dialed unasked is
/// public, encrypted, and on a port for everybody.
pub fn relay_url(data: &[u8]) {
    let Some(url) = std::str::from_utf8(data).ok().and_then(|text| RelayUrl::parse(text).ok()) else { return };
    assert!(url.as_str().len() <= MAX_RELAY_URL_BYTES);
    assert_eq!(RelayUrl::parse(url.as_str()).as_ref(), Ok(&url), "a normal form is its own");
    let json = serde_json::to_string(&url).expect("a string is JSON");
    assert_eq!(serde_json::from_str::<RelayUrl>(&json).expect("written just now"), url);
    let read = Url::parse(url.as_str()).expect("others read it");
    assert_eq!(read.scheme(), url.scheme().as_str());
    assert_eq!(read.port_or_known_default(), Some(url.port()));
    assert_eq!(read.host(), Some(url.host()), "{url}");
    assert!(read.username().is_empty() && read.password().is_none() && read.fragment().is_none());
    if url.dialable(&[], false).is_ok() {
        assert_eq!(url.scheme(), Scheme::Wss);
        assert!(url.port() == 443 || url.port() >= 1024);
        assert!(is_for_everybody(&url.host()), "{url}");
    }
}

/// An address that the standard library, or an older RFC, calls private is not public to us either.
pub fn address(data: &[u8]) {
    let address = match (<[u8; 4]>::try_from(data), <[u8; 16]>::try_from(data)) {
        (Ok(octets), _) => IpAddr::from(octets),
        (_, Ok(octets)) => IpAddr::from(octets),
        (Err(_), Err(_)) => return,
    };
    assert!(!(is_public_address(address) && is_special(address)), "{address}");
    let mapped = match address {
        IpAddr::V4(v4) => IpAddr::V6(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
    };
    assert_eq!(is_public_address(mapped), is_public_address(address), "{address} and {mapped} are one");
}

fn is_for_everybody(host: &Host<&str>) -> bool {
    let leads_back = ["localhost", "local", "onion", "internal"];
    match *host {
        Host::Ipv4(address) => !is_special(IpAddr::V4(address)),
        Host::Ipv6(address) => !is_special(IpAddr::V6(address)),
        Host::Domain(name) => {
            let last = name.rsplit('.').next().unwrap_or_default();
            let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
            name.contains('.') && !name.ends_with('.') && !is_number && !leads_back.contains(&last)
        }
    }
}

fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_special_v4(v4),
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or_else(|| is_special_v6(v6), is_special_v4),
    }
}

fn is_special_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && b & 0b1100_0000 == 64)
}

fn is_special_v6(address: Ipv6Addr) -> bool {
    let first = address.segments()[0];
    let is_unique_local = first & 0xfe00 == 0xfc00;
    let is_link_local = first & 0xffc0 == 0xfe80;
    is_unique_local || is_link_local || address.is_loopback() || address.is_unspecified() || address.is_multicast()
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;
    use super::*;

    #[test]
    fn whatever_url_is_announced_its_normal_form_is_its_own() {
        replay("relay_url", relay_url);
    }

    #[test]
    fn no_special_address_is_judged_public() {
        replay("address", address);
    }
}
