//! What is dialed, and what is not: counted by a resolver and by listeners of the test's own.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;

use super::*;
use crate::document::Documents;
use crate::names::Given;

/// Stands for a public address here; 127.0.0.1 for a private one.
const PUBLIC: &str = "127.0.0.2";
const PRIVATE: &str = "127.0.0.1";

/// A server on one port of both addresses, which counts who comes.
struct Servers {
    port: u16,
    public: Arc<AtomicUsize>,
    private: Arc<AtomicUsize>,
}

impl Servers {
    /// Whoever comes is answered with these bytes, once it has said something.
    async fn answering(answer: &str) -> Self {
        let (public, private, port) = loop {
            let public = TcpListener::bind((PUBLIC, 0)).await.unwrap();
            let port = public.local_addr().unwrap().port();
            if let Ok(private) = TcpListener::bind((PRIVATE, port)).await {
                break (public, private, port);
            }
        };
        let answer = answer.replace("PORT", &port.to_string());
        Self { port, public: counting(public, answer.clone()), private: counting(private, answer) }
    }

    fn came(&self) -> (usize, usize) {
        (self.public.load(Ordering::SeqCst), self.private.load(Ordering::SeqCst))
    }

    fn url(&self) -> RelayUrl {
        RelayUrl::parse(&format!("ws://relay.local:{}", self.port)).unwrap()
    }
}

fn counting(listener: TcpListener, answer: String) -> Arc<AtomicUsize> {
    let came = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&came);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            let _ = client.read(&mut [0; 4096]).await;
            let _ = client.write_all(answer.as_bytes()).await;
        }
    });
    came
}

/// A dialer that may reach the public address alone, and whom it asks for names.
fn rebinding(answers: &[&[&str]], onion_proxy: Option<SocketAddr>) -> (Arc<Dialer>, Given) {
    let given = Given::with(answers);
    let allow_non_public = vec![format!("{PUBLIC}/32").parse().unwrap()];
    let reach = Reach { allow_non_public, names: Names::Given(given.clone()), onion_proxy };
    (Arc::new(Dialer::new(reach, None)), given)
}

#[tokio::test]
async fn scenario_14_a_rebinding_resolver_is_asked_once_a_dial_and_only_what_was_judged_is_connected_to() {
    let servers = Servers::answering("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n").await;
    let (dialer, resolver) = rebinding(&[&[PUBLIC], &[PRIVATE]], None);
    let first = dialer.dial(&servers.url(), Role::Listed).await.unwrap_err();
    assert_eq!((first.class(), servers.came()), (DownClass::HttpStatus, (1, 0)), "{first}");
    assert_eq!(resolver.asked(), ["relay.local"], "a second look-up would have brought it to the private address");
    let second = dialer.dial(&servers.url(), Role::Listed).await.unwrap_err();
    assert_eq!((second.class(), servers.came()), (DownClass::NotDialable, (1, 0)), "judged again at every dial: {second}");
    assert_eq!(resolver.asked().len(), 2);
}

#[tokio::test]
async fn scenario_14_one_bad_address_refuses_the_whole_name_and_no_packet_goes_to_any_of_them() {
    let servers = Servers::answering("").await;
    let bad = [
        PRIVATE,
        "10.0.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "100.64.0.1",
        "0.0.0.0",
        "::1",
        "::",
        "fd00::1",
        "fe80::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ];
    for address in bad {
        for answer in [&[address] as &[&str], &[PUBLIC, address], &[address, PUBLIC]] {
            let (dialer, _) = rebinding(&[answer], None);
            let refused = dialer.dial(&servers.url(), Role::Listed).await.unwrap_err();
            assert_eq!(refused.class(), DownClass::NotDialable, "{answer:?}");
        }
    }
    let written = ["ws://127.0.0.1:PORT", "ws://[::1]:PORT", "ws://2130706433:PORT", "ws://0x7f.1:PORT", "ws://127.1:PORT"];
    let (dialer, resolver) = rebinding(&[&[PUBLIC]], None);
    for text in written {
        let url = RelayUrl::parse(&text.replace("PORT", &servers.port.to_string())).unwrap();
        assert_eq!(dialer.dial(&url, Role::Listed).await.unwrap_err().class(), DownClass::NotDialable, "{text}");
    }
    assert_eq!((servers.came(), resolver.asked().len()), ((0, 0), 0));
}

#[tokio::test]
async fn scenario_14_a_document_is_asked_for_on_the_same_terms_and_no_redirect_is_followed() {
    let to_private = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:PORT/\r\nContent-Length: 0\r\n\r\n";
    let servers = Servers::answering(to_private).await;
    let (dialer, resolver) = rebinding(&[&[PUBLIC], &[PUBLIC], &[PRIVATE]], None);
    let redirected = dialer.dial(&servers.url(), Role::Listed).await.unwrap_err();
    assert_eq!(redirected.class(), DownClass::HttpStatus);
    let documents = Documents::new(dialer);
    let why = |learned: model::Learned| learned.not_stated.unwrap().why;
    let redirected = why(documents.look(&servers.url(), Role::Listed).await);
    assert!(redirected.contains("HTTP 302"), "{redirected}");
    let rebound = why(documents.look(&servers.url(), Role::Listed).await);
    assert!(rebound.contains("not dialed"), "{rebound}");
    assert_eq!((servers.came(), resolver.asked().len()), ((2, 0), 3));
}

/// A SOCKS5 proxy with a relay behind it: what it was asked for, one at a time.
async fn proxy(reply: u8) -> (SocketAddr, Arc<std::sync::Mutex<Vec<(String, u16)>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::<std::sync::Mutex<Vec<(String, u16)>>>::default();
    let heard = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut greeting = [0; 3];
            client.read_exact(&mut greeting).await.unwrap();
            assert_eq!(greeting, [5, 1, 0]);
            client.write_all(&[5, 0]).await.unwrap();
            let mut head = [0; 5];
            client.read_exact(&mut head).await.unwrap();
            assert_eq!(head[..4], [5, 1, 0, 3], "a name, not an address");
            let mut name = vec![0; usize::from(head[4])];
            client.read_exact(&mut name).await.unwrap();
            let port = client.read_u16().await.unwrap();
            heard.lock().unwrap().push((String::from_utf8(name).unwrap(), port));
            client.write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
            if reply == 0 {
                tokio::spawn(async move { while let Some(Ok(_)) = accept_async(&mut client).await.unwrap().next().await {} });
            }
        }
    });
    (address, asked)
}

#[tokio::test]
async fn an_onion_service_is_dialed_through_the_proxy_by_its_name_and_no_resolver_hears_of_it() {
    let (address, asked) = proxy(0).await;
    let (dialer, resolver) = rebinding(&[&[PUBLIC]], Some(address));
    for (text, role) in [("ws://abcdef.onion:7777/inbox", Role::Listed), ("ws://abcdef.onion", Role::Bootstrap)] {
        dialer.dial(&RelayUrl::parse(text).unwrap(), role).await.unwrap();
    }
    let expected = [("abcdef.onion".to_owned(), 7777), ("abcdef.onion".to_owned(), 80)];
    assert_eq!((asked.lock().unwrap().as_slice(), resolver.asked().len()), (expected.as_slice(), 0));
}

#[tokio::test]
async fn without_a_proxy_no_onion_service_is_dialed_and_no_resolver_hears_of_it() {
    let (dialer, resolver) = rebinding(&[&[PUBLIC]], None);
    for role in [Role::Home, Role::Bootstrap, Role::Listed] {
        let refused = dialer.dial(&RelayUrl::parse("ws://abcdef.onion").unwrap(), role).await.unwrap_err();
        assert_eq!(refused.class(), DownClass::NotDialable);
        assert!(refused.to_string().contains("no onion_proxy is set"), "{refused}");
    }
    assert_eq!(resolver.asked().len(), 0);
}

#[tokio::test]
async fn what_the_proxy_refuses_is_said_in_its_words_and_what_is_no_proxy_is_told_apart() {
    let onion = RelayUrl::parse("ws://abcdef.onion").unwrap();
    let (address, _) = proxy(5).await;
    let refused = rebinding(&[], Some(address)).0.dial(&onion, Role::Listed).await.unwrap_err();
    assert_eq!((refused.class(), refused.to_string().as_str()), (DownClass::Refused, "through the proxy: connection refused"));
    let servers = Servers::answering("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let no_proxy = format!("{PRIVATE}:{}", servers.port).parse().unwrap();
    let refused = rebinding(&[], Some(no_proxy)).0.dial(&onion, Role::Listed).await.unwrap_err();
    assert_eq!(refused.class(), DownClass::Refused);
    assert!(refused.to_string().contains("does not speak SOCKS5"), "{refused}");
}

fn reach(look_up_names: bool) -> Reach {
    let names = if look_up_names { Names::System } else { Names::Nobody };
    Reach { allow_non_public: vec!["127.0.0.0/8".parse().unwrap()], names, onion_proxy: None }
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
    assert_eq!((refused.class(), refused.to_string().as_str()), (DownClass::Dns, "name not resolved: names are not looked up"));
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
