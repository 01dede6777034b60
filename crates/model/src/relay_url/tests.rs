//! Spellings found in the wild, and what each becomes.

#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

const TAKEN: &[(&str, &str)] = &[
    // One relay, many spellings.
    ("wss://relay.example", "wss://relay.example/"),
    ("wss://relay.example/", "wss://relay.example/"),
    ("WSS://Relay.Example:443", "wss://relay.example/"),
    ("wss://r:443", "wss://r/"),
    ("wss://R/", "wss://r/"),
    ("wss://relay.example./", "wss://relay.example/"),
    ("ws://relay.example:80", "ws://relay.example/"),
    ("ws://relay.example:443", "ws://relay.example:443/"),
    ("wss://relay.example:80", "wss://relay.example:80/"),
    ("wss://relay.example:0443", "wss://relay.example/"),
    // Without a scheme.
    ("relay.example", "wss://relay.example/"),
    ("//relay.example/", "wss://relay.example/"),
    ("relay.example:7777/x", "wss://relay.example:7777/x"),
    // A bare web host.
    ("https://relay.example/", "wss://relay.example/"),
    ("http://relay.example:8080", "ws://relay.example:8080/"),
    // Paths and queries.
    ("wss://relay.example/inbox", "wss://relay.example/inbox"),
    ("wss://relay.example/inbox/", "wss://relay.example/inbox"),
    ("wss://relay.example/Inbox", "wss://relay.example/Inbox"),
    ("wss://relay.example//", "wss://relay.example/"),
    ("wss://relay.example/?accept=0,1", "wss://relay.example/?accept=0,1"),
    ("wss://relay.example?", "wss://relay.example/"),
    // What is cut off the end is cut off until the end is a normal one.
    ("wss://relay.example/x/%20/%20", "wss://relay.example/x"),
    ("wss://relay.example/x%20#frag", "wss://relay.example/x"),
    ("wss://relay.example/x?y%20#frag", "wss://relay.example/x?y"),
    ("wss://relay.example/?%20#frag", "wss://relay.example/"),
    ("wss://relay.example/#frag", "wss://relay.example/"),
    ("wss://relay.example/a/../b", "wss://relay.example/b"),
    ("wss://relay.example/a/%2e%2E/b", "wss://relay.example/b"),
    ("wss://relay.example/%61%2f%7E", "wss://relay.example/a%2F~"),
    ("wss://relay.example/%2541", "wss://relay.example/%2541"),
    ("wss://relay.example/%zz%é", "wss://relay.example/%zz%%C3%A9"),
    // Dirt around and inside.
    (" wss://relay.example \n", "wss://relay.example/"),
    ("\u{feff}wss://relay.example%20", "wss://relay.example/"),
    ("wss://relay.example%20 %20", "wss://relay.example/"),
    ("wss://relay\u{200b}.exam\u{2060}ple", "wss://relay.example/"),
    // Mended slips.
    ("ww://relay.example", "wss://relay.example/"),
    ("was://relay.example", "wss://relay.example/"),
    ("Wws://relay.example", "wss://relay.example/"),
    // International names and addresses.
    ("wss://münchen.example", "wss://xn--mnchen-3ya.example/"),
    ("wss://[2001:0DB8:0:0:0:0:0:1]:443/", "wss://[2001:db8::1]/"),
    ("wss://127.1", "wss://127.0.0.1/"),
    ("wss://0x7f000001", "wss://127.0.0.1/"),
    ("wss://2130706433", "wss://127.0.0.1/"),
    ("wss://0177.0.0.1", "wss://127.0.0.1/"),
    ("wss://127.0.0.1.", "wss://127.0.0.1/"),
    ("wss://１２７.0.0.1", "wss://127.0.0.1/"),
    // Not public, and a form all the same; without a scheme they are spoken to in the clear.
    ("ws://localhost:7777", "ws://localhost:7777/"),
    ("ws://10.0.0.5", "ws://10.0.0.5/"),
    ("x.onion", "ws://x.onion/"),
    ("x.local", "ws://x.local/"),
    ("localhost:7777", "ws://localhost:7777/"),
    ("[::1]:7777", "ws://[::1]:7777/"),
    ("ws://home_relay_1:7777", "ws://home_relay_1:7777/"),
    // Another host's name in the path, or the head of a longer name.
    ("wss://evil.example/127.0.0.1", "wss://evil.example/127.0.0.1"),
    ("wss://192.168.evil.example", "wss://192.168.evil.example/"),
    ("wss://relay.example.evil.example", "wss://relay.example.evil.example/"),
    ("wss://evil.example/relay.example", "wss://evil.example/relay.example"),
    ("wss://relay.example/@name", "wss://relay.example/@name"),
];

fn refused() -> Vec<(&'static str, RelayUrlError)> {
    use RelayUrlError::*;
    let scheme = |word: &str| UnknownScheme(word.to_owned());
    let host = |text: &str| BadHost(text.to_owned());
    let port = |text: &str| BadPort(text.to_owned());
    vec![
        ("https://site.example/users/a", WebPage),
        ("https://relay.example/?a=0", WebPage),
        ("https://relay.example/#s", WebPage),
        ("http://relay.example?", WebPage),
        ("wss://a.example wss://b.example", ForbiddenCharacter),
        ("wss://relay.example/a b", ForbiddenCharacter),
        ("wss://relay.exa\nmple", ForbiddenCharacter),
        ("wss:\\\\relay.example", ForbiddenCharacter),
        ("wss://relay.example\\x", ForbiddenCharacter),
        ("wss://relay.example/%00", ForbiddenCharacter),
        ("wss:", MissingHost),
        ("wss:/x", MissingHost),
        ("wss://", MissingHost),
        ("wss:///relay.example", MissingHost),
        ("wss://://x", MissingHost),
        ("wss://#x/", MissingHost),
        ("/x", MissingHost),
        ("wss://https//x", host("https")),
        ("wss://https://x.example", host("https")),
        ("wss://wss://x.example", host("wss")),
        ("wss://relay.example%0A/", host("relay.example%0A")),
        ("wss://relay%2eexample", host("relay%2eexample")),
        ("wss://[fe80::1%eth0]/", host("[fe80::1%eth0]")),
        ("wss://a,example/", host("a,example")),
        ("wss://a..example/", host("a..example")),
        ("wss://[::1", port(":1")),
        ("wss://[::1]x", host("[::1]x")),
        ("wss://1.2.3.256", host("1.2.3.256")),
        ("wss://relay.example／x", host("relay.example／x")),
        ("wss://user@relay.example", UserInfo),
        ("git@host:x", UserInfo),
        ("name@domain.example", UserInfo),
        ("wss://relay.example:0", port("0")),
        ("wss://relay.example:99999", port("99999")),
        ("wss://relay.example:abc", port("abc")),
        ("wss://relay.example:+443", port("+443")),
        ("wss://relay.example:", port("")),
        ("relay.example:abc", port("abc")),
        ("30617:aa11:name", port("aa11:name")),
        ("nostr://relay.example", scheme("nostr")),
        ("nostr:nrelay1qq", scheme("nostr")),
        ("ftp://relay.example", scheme("ftp")),
        ("htree://relay.example", scheme("htree")),
        ("relay", BareWord),
        ("2130706433", BareWord),
        ("", Empty),
        (" \u{feff}%20", Empty),
    ]
}

fn url(text: &str) -> RelayUrl {
    RelayUrl::parse(text).unwrap()
}

#[test]
fn every_spelling_that_is_taken_has_the_normal_form_of_the_table() {
    for (text, normal) in TAKEN {
        let parsed = RelayUrl::parse(text);
        assert_eq!(parsed.as_ref().map(RelayUrl::as_str), Ok(*normal), "{text:?}");
    }
}

#[test]
fn every_spelling_that_is_refused_says_why() {
    for (text, reason) in refused() {
        assert_eq!(RelayUrl::parse(text), Err(reason), "{text:?}");
    }
}

#[test]
fn a_normal_form_is_its_own_normal_form() {
    for (_, normal) in TAKEN {
        assert_eq!(url(normal).as_str(), *normal);
    }
}

#[test]
fn a_url_of_more_than_255_bytes_is_refused_before_and_after_escaping() {
    let fits = format!("wss://r.example/{}", "a".repeat(239));
    assert_eq!(url(&fits).as_str().len(), MAX_RELAY_URL_BYTES);
    let long = [format!("{fits}a"), format!("wss://r.example/{}", "é".repeat(100))];
    for text in long {
        assert_eq!(RelayUrl::parse(&text), Err(RelayUrlError::TooLong));
    }
}

#[test]
fn scheme_host_and_port_are_those_of_the_normal_form() {
    let named = url("relay.example:7777/x:1");
    assert_eq!(named.scheme(), Scheme::Wss);
    assert_eq!(named.host(), Host::Domain("relay.example"));
    assert_eq!(named.port(), 7777);
    assert_eq!(url("ws://relay.example").port(), 80);
    assert_eq!(url("wss://relay.example").port(), 443);
    assert_eq!(url("ws://127.1:1").host(), Host::<&str>::Ipv4(Ipv4Addr::LOCALHOST));
    let v6 = url("ws://[::1]:7777/?a=[x]:1");
    assert_eq!(v6.host(), Host::<&str>::Ipv6(Ipv6Addr::LOCALHOST));
    assert_eq!((v6.scheme(), v6.port()), (Scheme::Ws, 7777));
}

#[test]
fn only_the_parsed_host_decides_whether_a_relay_is_public() {
    let non_public = [
        "ws://localhost:7777",
        "wss://LOCALHOST./",
        "wss://a.localhost",
        "wss://x.local",
        "wss://x.onion/",
        "wss://metadata.google.internal",
        "wss://nas.home.arpa",
        "wss://relay",
        "wss://10.0.0.5",
        "wss://2130706433",
        "wss://[::1]",
        "wss://[::ffff:10.0.0.1]",
        "wss://[2001:db8::1]",
        "wss://100.64.0.1",
    ];
    let public = [
        "wss://relay.example",
        "wss://evil.example/127.0.0.1",
        "wss://192.168.evil.example",
        "wss://local.example",
        "wss://notlocal.example",
        "wss://8.8.8.8",
        "wss://[2606:4700:4700::1111]",
        "wss://evil.example/?x=.onion",
    ];
    for text in non_public {
        assert!(url(text).is_non_public(), "{text}");
    }
    for text in public {
        assert!(!url(text).is_non_public(), "{text}");
    }
}

#[test]
fn an_announced_relay_is_dialed_by_wss_on_443_or_a_high_port_unless_the_operator_allows_more() {
    let cases = [
        ("wss://relay.example", Ok(())),
        ("wss://relay.example:1024", Ok(())),
        ("wss://relay.example:65535", Ok(())),
        ("wss://relay.example:22", Err(DialRefusal::ReservedPort { port: 22 })),
        ("wss://relay.example:1023", Err(DialRefusal::ReservedPort { port: 1023 })),
        ("ws://relay.example:7777", Err(DialRefusal::NotEncrypted)),
        ("ws://localhost:7777", Err(DialRefusal::NonPublicHost)),
        ("wss://10.0.0.5", Err(DialRefusal::NonPublicHost)),
    ];
    for (text, verdict) in cases {
        assert_eq!(url(text).dialable(&[], false), verdict, "{text}");
    }
}

#[test]
fn a_url_travels_as_a_string_and_is_parsed_again_on_arrival() {
    let read: RelayUrl = serde_json::from_str(r#""WSS://Relay.Example:443""#).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), r#""wss://relay.example/""#);
    let refused = serde_json::from_str::<RelayUrl>(r#""ftp://x.example""#).unwrap_err();
    assert!(refused.to_string().contains("has the scheme \"ftp\""), "{refused}");
}

#[test]
fn an_allowed_network_opens_its_own_addresses_and_nothing_else() {
    let loopback: Vec<IpNet> = vec!["127.0.0.0/8".parse().unwrap()];
    assert_eq!(url("ws://127.0.0.1:7777").dialable(&loopback, false), Ok(()));
    assert_eq!(url("ws://localhost:7777").dialable(&loopback, false), Ok(()), "judged by its addresses, at the dial");
    for elsewhere in ["ws://10.0.0.1", "wss://169.254.169.254", "ws://[::1]:7777"] {
        assert_eq!(url(elsewhere).dialable(&loopback, false), Err(DialRefusal::NonPublicHost), "{elsewhere}");
    }
    assert_eq!(url("ws://relay.example").dialable(&loopback, false), Err(DialRefusal::NotEncrypted));
}

#[test]
fn an_onion_service_is_dialed_through_a_proxy_or_not_at_all_whatever_networks_are_allowed() {
    let everywhere: Vec<IpNet> = vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
    for text in ["ws://abcdef.onion", "wss://relay.abcdef.ONION:7777", "ws://abcdef.onion:80/inbox"] {
        assert!(url(text).is_onion(), "{text}");
        assert_eq!(url(text).dialable(&everywhere, false), Err(DialRefusal::OnionWithoutProxy), "{text}");
        assert_eq!(url(text).dialable(&[], true), Ok(()), "{text}");
    }
    for text in ["wss://onion.example", "wss://notonion", "wss://relay.example/x.onion"] {
        assert!(!url(text).is_onion(), "{text}");
    }
}
