//! A line to a relay with a round trip and a bandwidth: what goes in comes out later, in order, and not faster than it may.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::cli::LineArgs;

/// Bytes that one read may take.
const CHUNK: usize = 16 * 1024;
/// Chunks under way in one direction: a line is long, but not endless.
const UNDER_WAY: usize = 4_096;

/// Listens on a free port of an address of loopback; each connection is passed on to `relay`. Lives as long as the runtime.
pub(super) async fn lay(at: Ipv4Addr, relay: SocketAddr, line: LineArgs) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((at, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(pass(near, relay, line));
        }
    });
    Ok(address)
}

async fn pass(near: TcpStream, relay: SocketAddr, line: LineArgs) -> io::Result<()> {
    let far = TcpStream::connect(relay).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
    tokio::try_join!(carry(from_near, to_far, line), carry(from_far, to_near, line))?;
    Ok(())
}

/// One direction, half of the round trip long.
async fn carry<R, W>(mut from: R, mut to: W, line: LineArgs) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (entered, mut leaving) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let enter = async move {
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = from.read(&mut chunk).await?;
            let is_over = read == 0 || entered.send((Instant::now() + line.rtt / 2, chunk[..read].to_vec())).await.is_err();
            if is_over {
                return io::Result::Ok(());
            }
        }
    };
    let leave = async move {
        while let Some((due, chunk)) = leaving.recv().await {
            sleep_until(due).await;
            to.write_all(&chunk).await?;
            if let Some(nanos) = (chunk.len() as u64 * 1_000_000_000).checked_div(line.bytes_per_second) {
                sleep(Duration::from_nanos(nanos)).await;
            }
        }
        to.shutdown().await
    };
    tokio::try_join!(enter, leave)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn an_answer_takes_the_round_trip_and_a_stream_its_bandwidth() {
        let relay = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let there = relay.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut socket, _) = relay.accept().await.unwrap();
            let (mut read, mut write) = socket.split();
            tokio::io::copy(&mut read, &mut write).await.unwrap();
        });
        let line = LineArgs { rtt: Duration::from_millis(80), bytes_per_second: 100_000 };
        let mut client = TcpStream::connect(lay(Ipv4Addr::LOCALHOST, there, line).await.unwrap()).await.unwrap();
        let began = Instant::now();
        client.write_all(b"x").await.unwrap();
        client.read_exact(&mut [0]).await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(80));
        let began = Instant::now();
        client.write_all(&[0; 20_000]).await.unwrap();
        client.read_exact(&mut [0; 20_000]).await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
    }
}
