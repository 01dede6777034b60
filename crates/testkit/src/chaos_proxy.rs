//! A TCP proxy in front of a relay that breaks the network on demand and counts what crosses it.
//!
//! It forwards bytes and knows nothing of WebSockets, so what a test sees is what a bad network does.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// What happens to bytes on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Pass,
    Hold,
    Delay(Duration),
}

/// Shared by every connection.
#[derive(Debug)]
struct Line {
    relay: String,
    flow: watch::Sender<Flow>,
    cuts: watch::Sender<u64>,
    to_relay: AtomicU64,
    to_client: AtomicU64,
    connections: AtomicU64,
}

/// A proxy; dropping it cuts everything.
#[derive(Debug)]
pub struct ChaosProxy {
    port: u16,
    line: Arc<Line>,
    accepting: Option<JoinHandle<()>>,
}

impl ChaosProxy {
    /// Listens on a free loopback port and forwards to a `ws://host:port` relay, which need not be there yet.
    pub async fn start(relay_url: &str) -> Self {
        let relay = relay_url.trim_start_matches("ws://").trim_end_matches('/').to_owned();
        let line = Arc::new(Line {
            relay,
            flow: watch::Sender::new(Flow::Pass),
            cuts: watch::Sender::new(0),
            to_relay: AtomicU64::new(0),
            to_client: AtomicU64::new(0),
            connections: AtomicU64::new(0),
        });
        let mut proxy = Self { port: crate::free_port(), line, accepting: None };
        proxy.accept().await;
        proxy
    }

    /// Where clients connect.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// Ends every fault: connections are accepted, bytes flow at once.
    pub async fn pass(&mut self) {
        self.line.flow.send_replace(Flow::Pass);
        self.accept().await;
    }

    /// Drops every open connection now, without a WebSocket close; new ones are taken as before.
    pub fn cut(&self) {
        self.line.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Takes no new connection (the port is closed, clients are refused); open ones live on. Ends with [`Self::pass`].
    pub async fn refuse(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            // The listener is gone only once its task is: after this, nobody is accepted any more.
            let _ = accepting.await;
        }
    }

    /// Accepts, but forwards nothing in either direction; nothing is lost, it flows at the end. Ends with [`Self::pass`].
    pub fn hold(&self) {
        self.line.flow.send_replace(Flow::Hold);
    }

    /// Holds each chunk back for `delay`, in both directions; this bounds the throughput too. Ends with [`Self::pass`].
    pub fn delay(&self, delay: Duration) {
        self.line.flow.send_replace(Flow::Delay(delay));
    }

    /// Bytes forwarded from clients to the relay.
    #[must_use]
    pub fn bytes_to_relay(&self) -> u64 {
        self.line.to_relay.load(Ordering::Relaxed)
    }

    /// Bytes forwarded from the relay to clients.
    #[must_use]
    pub fn bytes_to_client(&self) -> u64 {
        self.line.to_client.load(Ordering::Relaxed)
    }

    /// Connections accepted since the start, open or not.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.line.connections.load(Ordering::Relaxed)
    }

    async fn accept(&mut self) {
        if self.accepting.is_some() {
            return;
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await.expect("the proxy's own port is free");
        let line = Arc::clone(&self.line);
        self.accepting = Some(tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                line.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(Arc::clone(&line).carry(client));
            }
        }));
    }
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.cut();
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
        }
    }
}

impl Line {
    /// Carries one connection until either side ends it or it is cut.
    async fn carry(self: Arc<Self>, client: TcpStream) {
        let mut cuts = self.cuts.subscribe();
        let Ok(relay) = TcpStream::connect(&self.relay).await else { return };
        let (from_client, to_client) = client.into_split();
        let (from_relay, to_relay) = relay.into_split();
        tokio::select! {
            () = self.pump(from_client, to_relay, &self.to_relay) => {}
            () = self.pump(from_relay, to_client, &self.to_client) => {}
            _ = cuts.changed() => {}
        }
    }

    async fn pump(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, count: &AtomicU64) {
        let mut chunk = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut chunk).await {
            self.let_through().await;
            if to.write_all(&chunk[..length]).await.is_err() {
                return;
            }
            count.fetch_add(length as u64, Ordering::Relaxed);
        }
    }

    /// Returns when a chunk that has just arrived may go on.
    async fn let_through(&self) {
        let mut flow = self.flow.subscribe();
        let now = *flow.wait_for(|flow| *flow != Flow::Hold).await.expect("the line holds the sender");
        if let Flow::Delay(delay) = now {
            sleep(delay).await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wait_until;
    use tokio::time::Instant;

    /// A server that says back what it hears.
    async fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = socket.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        url
    }

    async fn connect(proxy: &ChaosProxy) -> TcpStream {
        TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap()
    }

    async fn say(socket: &mut TcpStream, words: &[u8]) -> Vec<u8> {
        socket.write_all(words).await.unwrap();
        let mut heard = vec![0; words.len()];
        socket.read_exact(&mut heard).await.unwrap();
        heard
    }

    #[tokio::test]
    async fn bytes_pass_and_are_counted_both_ways() {
        let proxy = ChaosProxy::start(&echo().await).await;
        let mut socket = connect(&proxy).await;
        assert_eq!(say(&mut socket, b"hello").await, b"hello");
        wait_until("the counters", Duration::from_secs(5), || async {
            (proxy.bytes_to_relay(), proxy.bytes_to_client(), proxy.connections()) == (5, 5, 1)
        })
        .await;
    }

    #[tokio::test]
    async fn a_cut_drops_open_connections_and_takes_new_ones() {
        let proxy = ChaosProxy::start(&echo().await).await;
        let mut socket = connect(&proxy).await;
        say(&mut socket, b"a").await;
        proxy.cut();
        assert!(matches!(socket.read(&mut [0; 8]).await, Ok(0) | Err(_)));
        assert_eq!(say(&mut connect(&proxy).await, b"b").await, b"b");
    }

    #[tokio::test]
    async fn refusing_closes_the_port_but_not_open_connections() {
        let mut proxy = ChaosProxy::start(&echo().await).await;
        let mut open = connect(&proxy).await;
        say(&mut open, b"a").await;
        proxy.refuse().await;
        assert!(TcpStream::connect(("127.0.0.1", proxy.port)).await.is_err());
        assert_eq!(say(&mut open, b"b").await, b"b");
        proxy.pass().await;
        assert_eq!(say(&mut connect(&proxy).await, b"c").await, b"c");
    }

    #[tokio::test]
    async fn held_bytes_are_late_and_not_lost() {
        let mut proxy = ChaosProxy::start(&echo().await).await;
        let mut socket = connect(&proxy).await;
        say(&mut socket, b"a").await;
        proxy.hold();
        socket.write_all(b"held").await.unwrap();
        let mut heard = [0; 4];
        assert!(tokio::time::timeout(Duration::from_millis(150), socket.read_exact(&mut heard)).await.is_err());
        proxy.pass().await;
        socket.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"held");
    }

    #[tokio::test]
    async fn a_delay_is_paid_in_both_directions() {
        let proxy = ChaosProxy::start(&echo().await).await;
        let mut socket = connect(&proxy).await;
        proxy.delay(Duration::from_millis(60));
        let before = Instant::now();
        assert_eq!(say(&mut socket, b"late").await, b"late");
        assert!(before.elapsed() >= Duration::from_millis(120), "{:?}", before.elapsed());
    }
}
