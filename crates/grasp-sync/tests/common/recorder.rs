//! A TCP proxy that reads along: how often each event reached the client.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How the relays of the stage begin an event.
const BEFORE_ID: &[u8] = b"{\"id\":\"";
const ID_LENGTH: usize = 64;

/// In front of a relay, or of a proxy that breaks the network: then only what passed it is counted.
#[derive(Debug)]
pub(crate) struct Recorder {
    port: u16,
    seen: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Recorder {
    pub(crate) async fn in_front_of(addr: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
        let counts = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, addr.clone(), Arc::clone(&counts)));
            }
        });
        Self { port, seen }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// How often each event (its id in hex) was passed on in full, on all connections.
    pub(crate) fn seen(&self) -> BTreeMap<String, usize> {
        self.seen.lock().unwrap().clone()
    }
}

async fn carry(client: TcpStream, addr: String, seen: Arc<Mutex<BTreeMap<String, usize>>>) {
    let Ok(server) = TcpStream::connect(addr).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let reading_along = async {
        let (mut chunk, mut unread) = (vec![0; 16 * 1024], Vec::new());
        while let Ok(length @ 1..) = from_server.read(&mut chunk).await {
            if to_client.write_all(&chunk[..length]).await.is_err() {
                return;
            }
            unread.extend_from_slice(&chunk[..length]);
            take_ids(&mut unread, &mut seen.lock().unwrap());
        }
    };
    tokio::select! {
        () = reading_along => {}
        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
    }
}

/// Counts the ids of events, and keeps what may be the beginning of one.
fn take_ids(unread: &mut Vec<u8>, seen: &mut BTreeMap<String, usize>) {
    let whole = BEFORE_ID.len() + ID_LENGTH;
    let mut at = 0;
    while at + whole <= unread.len() {
        if unread[at..].starts_with(BEFORE_ID) {
            let id = String::from_utf8_lossy(&unread[at + BEFORE_ID.len()..at + whole]).into_owned();
            *seen.entry(id).or_default() += 1;
            at += whole;
        } else {
            at += 1;
        }
    }
    unread.drain(..at);
}
