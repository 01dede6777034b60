//! Which IP addresses belong to the public internet.
//!
//! Owns the ranges that are not public (IPv4, a deny-list) and those that are (IPv6, an allow-list). Never resolves
//! names and never opens a socket: the dialer asks here about every address that a name resolves to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// True when a stranger may make us connect to `address`.
///
/// IPv4-mapped (`::ffff:0:0/96`) and NAT64 (`64:ff9b::/96`) addresses are judged by the IPv4 address inside; 6to4
/// (`2002::/16`) is refused whatever it carries.
pub fn is_public_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => embedded_v4(v6).map_or_else(|| is_public_v6(v6), is_public_v4),
    }
}

/// Special-purpose IPv4 ranges as (network, prefix length in bits).
const NON_PUBLIC_V4: [([u8; 4], u32); 14] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// Global unicast, the only IPv6 space in use. An allow-list, because deny-lists keep missing ranges.
const GLOBAL_V6: (u128, u32) = (0x2000 << 112, 3);

/// Parts of [`GLOBAL_V6`] that are not the public internet, as (network, prefix length in bits).
const NON_PUBLIC_V6: [(u128, u32); 4] =
    [(0x2001 << 112, 23), (0x2001_0db8 << 96, 32), (0x2002 << 112, 16), (0x3fff << 112, 20)];

/// The network part of a NAT64 address: `64:ff9b::/96`.
const NAT64_SEGMENTS: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

fn is_public_v4(address: Ipv4Addr) -> bool {
    let bits = u32::from(address);
    !NON_PUBLIC_V4.iter().any(|&(network, prefix)| (bits ^ u32::from(Ipv4Addr::from(network))) >> (32 - prefix) == 0)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let bits = u128::from(address);
    let is_in = |&(network, prefix): &(u128, u32)| (bits ^ network) >> (128 - prefix) == 0;
    is_in(&GLOBAL_V6) && !NON_PUBLIC_V6.iter().any(is_in)
}

fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let is_nat64 = address.segments().starts_with(&NAT64_SEGMENTS);
    let [.., a, b, c, d] = address.octets();
    address.to_ipv4_mapped().or_else(|| is_nat64.then_some(Ipv4Addr::new(a, b, c, d)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const CASES: [(&str, bool); 58] = [
        ("0.0.0.0", false),
        ("0.255.255.255", false),
        ("1.1.1.1", true),
        ("9.255.255.255", true),
        ("10.0.0.5", false),
        ("11.0.0.0", true),
        ("100.63.255.255", true),
        ("100.64.0.1", false),
        ("100.127.255.255", false),
        ("100.128.0.0", true),
        ("127.0.0.1", false),
        ("128.0.0.1", true),
        ("169.253.255.255", true),
        ("169.254.169.254", false),
        ("172.15.255.255", true),
        ("172.16.0.1", false),
        ("172.31.255.255", false),
        ("172.32.0.0", true),
        ("192.0.0.8", false),
        ("192.0.1.1", true),
        ("192.0.2.1", false),
        ("192.167.255.255", true),
        ("192.168.1.1", false),
        ("192.169.0.0", true),
        ("198.17.255.255", true),
        ("198.18.0.1", false),
        ("198.19.255.255", false),
        ("198.51.100.7", false),
        ("203.0.113.9", false),
        ("203.0.114.0", true),
        ("223.255.255.255", true),
        ("224.0.0.1", false),
        ("240.0.0.1", false),
        ("255.255.255.255", false),
        ("::", false),
        ("::1", false),
        ("::8.8.8.8", false),
        ("100::1", false),
        ("200::1", false),
        ("fc00::1", false),
        ("fd12:3456::1", false),
        ("fe80::1", false),
        ("fec0::1", false),
        ("ff02::1", false),
        ("2001::1", false),
        ("2001:1ff:ffff::1", false),
        ("2001:200::1", true),
        ("2001:db8::1", false),
        ("2002:808:808::1", false),
        ("2606:4700:4700::1111", true),
        ("3fff:fff::1", false),
        ("3fff:1000::1", true),
        ("4000::1", false),
        ("64:ff9b:1::1", false),
        ("64:ff9b::8.8.8.8", true),
        ("64:ff9b::10.0.0.1", false),
        ("::ffff:8.8.8.8", true),
        ("::ffff:169.254.169.254", false),
    ];

    #[test]
    fn every_special_range_is_refused_and_its_neighbours_are_not() {
        for (address, is_public) in CASES {
            let parsed: IpAddr = address.parse().unwrap();
            assert_eq!(is_public_address(parsed), is_public, "{address}");
        }
    }
}
