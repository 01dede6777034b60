//! A TCP proxy in front of a relay, NATS or Postgres that breaks the network on demand and counts what crosses it.
//!
//! It forwards bytes and knows nothing of what they mean, so what a test sees is what a bad network does.

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
    /// `host:port`.
    target: String,
    flow: watch::Sender<Flow>,
    cuts: watch::Sender<u64>,
    to_target: AtomicU64,
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
    /// In front of a `ws://host:port` relay, which need not be there yet.
    pub async fn start(relay_url: &str) -> Self {
        Self::to(relay_url.trim_start_matches("ws://").trim_end_matches('/')).await
    }

    /// Listens on a free loopback port and forwards to a `host:port`, which need not be there yet.
    pub async fn to(target: &str) -> Self {
        let line = Arc::new(Line {
            target: target.to_owned(),
            flow: watch::Sender::new(Flow::Pass),
            cuts: watch::Sender::new(0),
            to_target: AtomicU64::new(0),
            to_client: AtomicU64::new(0),
            connections: AtomicU64::new(0),
        });
        let mut proxy = Self { port: crate::free_port(), line, accepting: None };
        proxy.accept().await;
        proxy
    }

    /// Where clients of a relay connect.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}", self.addr())
    }

    /// Where clients connect: `host:port`.
    #[must_use]
    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends every fault: connections are accepted, bytes flow at once.
    pub async fn pass(&mut self) {
        self.line.flow.send_replace(Flow::Pass);
        self.accept().await;
    }

    /// Drops every open connection now, without a farewell; new ones are taken as before.
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

    /// A partition: open connections stay open and new ones are accepted, but nothing crosses in either direction, neither a byte
    /// nor the end of a connection. Nothing is lost, it flows at the end. Ends with [`Self::pass`].
    pub fn hold(&self) {
        self.line.flow.send_replace(Flow::Hold);
    }

    /// Holds each chunk back for `delay`, in both directions; this bounds the throughput too. Ends with [`Self::pass`].
    pub fn delay(&self, delay: Duration) {
        self.line.flow.send_replace(Flow::Delay(delay));
    }

    /// Bytes forwarded from clients to the target.
    #[must_use]
    pub fn bytes_to_target(&self) -> u64 {
        self.line.to_target.load(Ordering::Relaxed)
    }

    /// The same, in the words of a test whose target is a relay.
    #[must_use]
    pub fn bytes_to_relay(&self) -> u64 {
        self.bytes_to_target()
    }

    /// Bytes forwarded from the target to clients.
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
                // Watched from before it is counted: a cut never misses a connection that a test has seen.
                let cuts = line.cuts.subscribe();
                line.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(Arc::clone(&line).carry(client, cuts));
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
    async fn carry(self: Arc<Self>, client: TcpStream, mut cuts: watch::Receiver<u64>) {
        tokio::select! {
            () = self.join(client) => {}
            _ = cuts.changed() => {}
        }
    }

    async fn join(&self, client: TcpStream) {
        self.while_held().await;
        let Ok(target) = TcpStream::connect(&self.target).await else { return };
        let (from_client, to_client) = client.into_split();
        let (from_target, to_target) = target.into_split();
        tokio::select! {
            () = self.pump(from_client, to_target, &self.to_target) => {}
            () = self.pump(from_target, to_client, &self.to_client) => {}
        }
    }

    /// Ends with its source, but never in a partition: the other side cannot know yet.
    async fn pump(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, count: &AtomicU64) {
        let mut chunk = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut chunk).await {
            if let Flow::Delay(delay) = self.while_held().await {
                sleep(delay).await;
            }
            if to.write_all(&chunk[..length]).await.is_err() {
                break;
            }
            count.fetch_add(length as u64, Ordering::Relaxed);
        }
        self.while_held().await;
    }

    /// Waits for the end of a partition, and says what holds then.
    async fn while_held(&self) -> Flow {
        let mut flow = self.flow.subscribe();
        *flow.wait_for(|flow| *flow != Flow::Hold).await.expect("the line holds the sender")
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
        let addr = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = socket.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        addr
    }

    async fn connect(proxy: &ChaosProxy) -> TcpStream {
        TcpStream::connect(proxy.addr()).await.unwrap()
    }

    async fn say(socket: &mut TcpStream, words: &[u8]) -> Vec<u8> {
        socket.write_all(words).await.unwrap();
        let mut heard = vec![0; words.len()];
        socket.read_exact(&mut heard).await.unwrap();
        heard
    }

    #[tokio::test]
    async fn bytes_pass_and_are_counted_both_ways() {
        let proxy = ChaosProxy::to(&echo().await).await;
        let mut socket = connect(&proxy).await;
        assert_eq!(say(&mut socket, b"hello").await, b"hello");
        wait_until("the counters", Duration::from_secs(5), || async {
            (proxy.bytes_to_target(), proxy.bytes_to_client(), proxy.connections()) == (5, 5, 1)
        })
        .await;
    }

    #[tokio::test]
    async fn a_cut_drops_open_connections_and_takes_new_ones() {
        let proxy = ChaosProxy::to(&echo().await).await;
        let mut socket = connect(&proxy).await;
        say(&mut socket, b"a").await;
        proxy.cut();
        assert!(matches!(socket.read(&mut [0; 8]).await, Ok(0) | Err(_)));
        assert_eq!(say(&mut connect(&proxy).await, b"b").await, b"b");
    }

    #[tokio::test]
    async fn refusing_closes_the_port_but_not_open_connections() {
        let mut proxy = ChaosProxy::to(&echo().await).await;
        let mut open = connect(&proxy).await;
        say(&mut open, b"a").await;
        proxy.refuse().await;
        assert!(TcpStream::connect(proxy.addr()).await.is_err());
        assert_eq!(say(&mut open, b"b").await, b"b");
        proxy.pass().await;
        assert_eq!(say(&mut connect(&proxy).await, b"c").await, b"c");
    }

    #[tokio::test]
    async fn held_bytes_are_late_and_not_lost() {
        let mut proxy = ChaosProxy::to(&echo().await).await;
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

    /// Whether nothing comes for a while, not even the end.
    async fn is_silent(socket: &mut TcpStream) -> bool {
        tokio::time::timeout(Duration::from_millis(150), socket.read(&mut [0; 8])).await.is_err()
    }

    #[tokio::test]
    async fn in_a_partition_a_new_connection_is_accepted_and_silent_whether_the_target_lives_or_not() {
        let target = format!("127.0.0.1:{}", crate::free_port());
        let mut proxy = ChaosProxy::to(&target).await;
        proxy.hold();
        let mut socket = connect(&proxy).await;
        socket.write_all(b"early").await.unwrap();
        assert!(is_silent(&mut socket).await);
        // The target is there only now, and has not been called before.
        let listener = TcpListener::bind(&target).await.unwrap();
        proxy.pass().await;
        let (mut called, _) = listener.accept().await.unwrap();
        let mut heard = [0; 5];
        called.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"early");
    }

    #[tokio::test]
    async fn a_target_that_dies_in_a_partition_is_not_missed_before_its_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut proxy = ChaosProxy::to(&listener.local_addr().unwrap().to_string()).await;
        let mut socket = connect(&proxy).await;
        let (called, _) = listener.accept().await.unwrap();
        proxy.hold();
        drop(called);
        assert!(is_silent(&mut socket).await);
        proxy.pass().await;
        assert!(matches!(socket.read(&mut [0; 8]).await, Ok(0) | Err(_)));
    }

    #[tokio::test]
    async fn a_cut_ends_connections_in_a_partition_too() {
        let proxy = ChaosProxy::to(&echo().await).await;
        let mut open = connect(&proxy).await;
        say(&mut open, b"a").await;
        proxy.hold();
        let mut new = connect(&proxy).await;
        wait_until("both to be counted", Duration::from_secs(5), || async { proxy.connections() == 2 }).await;
        assert!(is_silent(&mut new).await);
        proxy.cut();
        for socket in [&mut open, &mut new] {
            assert!(matches!(socket.read(&mut [0; 8]).await, Ok(0) | Err(_)));
        }
    }

    #[tokio::test]
    async fn nats_and_relays_are_reached_through_it() {
        let (nats, relay) = (crate::Nats::start().await, crate::LocalRelay::start().await);
        let in_front = ChaosProxy::to(&nats.addr()).await;
        let mut greeting = [0; 5];
        connect(&in_front).await.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"INFO ");
        let in_front = ChaosProxy::start(&relay.url()).await;
        assert!(crate::Wire::connect(&in_front.url()).await.is_ok());
        assert_eq!(in_front.url(), format!("ws://{}", in_front.addr()));
    }

    #[tokio::test]
    async fn a_delay_is_paid_in_both_directions() {
        let proxy = ChaosProxy::to(&echo().await).await;
        let mut socket = connect(&proxy).await;
        proxy.delay(Duration::from_millis(60));
        let before = Instant::now();
        assert_eq!(say(&mut socket, b"late").await, b"late");
        assert!(before.elapsed() >= Duration::from_millis(120), "{:?}", before.elapsed());
    }
}
