//! `grasp-sync healthcheck`: asks the process that runs with the same configuration whether it is ready.
//!
//! For orchestrators and people. Says why not on stderr; looks at nothing but `/readyz`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::Listen;
use crate::exit::Exit;

/// A process that takes longer is not healthy.
const LIMIT: Duration = Duration::from_secs(2);
/// Far more than any answer of ours.
const LONGEST_ANSWER: u64 = 64 * 1024;

/// Why the process is not known to be ready.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    #[error("listen is port 0, any free one, so nobody knows where to ask; set [telemetry] listen to a port")]
    NoPort,
    #[error("{address} does not answer: {why}; is `grasp-sync run` running with this configuration?")]
    NoAnswer { address: SocketAddr, why: io::Error },
    #[error("{address} did not answer within {} s", LIMIT.as_secs())]
    Late { address: SocketAddr },
    #[error("{address} answers, but not as grasp-sync does: {status:?}")]
    Stranger { address: SocketAddr, status: String },
    /// Each check that fails, with its reason.
    #[error("not ready: {0}")]
    NotReady(String),
}

impl HealthError {
    /// The code that the process ends with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::NoPort => Exit::Usage,
            Self::NoAnswer { .. } | Self::Late { .. } | Self::Stranger { .. } | Self::NotReady(_) => Exit::Failure,
        }
    }
}

/// Asks once.
///
/// # Errors
/// Everything but "ready".
pub async fn healthcheck(listen: Listen) -> Result<Exit, HealthError> {
    let address = reachable(listen.address());
    if address.port() == 0 {
        return Err(HealthError::NoPort);
    }
    let answer = timeout(LIMIT, ask(address)).await.map_err(|_| HealthError::Late { address })?;
    judge(address, &answer.map_err(|why| HealthError::NoAnswer { address, why })?).map(|()| Exit::Ok)
}

/// Who listens everywhere is asked here.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// HTTP/1.0, so that the answer ends with the connection and comes in one piece.
async fn ask(address: SocketAddr) -> io::Result<String> {
    let mut socket = TcpStream::connect(address).await?;
    socket.write_all(format!("GET /readyz HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    socket.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn judge(address: SocketAddr, answer: &str) -> Result<(), HealthError> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200") => Ok(()),
        Some("503") => Err(HealthError::NotReady(failing(body))),
        Some(_) | None => Err(HealthError::Stranger { address, status: status.chars().take(80).collect() }),
    }
}

/// `store: the reason; bus: the reason`, or the answer itself when it is of another kind.
fn failing(body: &str) -> String {
    let report: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let checks = report["checks"].as_object().into_iter().flatten();
    let failed = checks.filter(|(_, state)| state["ok"] != true);
    let told: Vec<String> =
        failed.map(|(name, state)| format!("{name}: {}", state["why"].as_str().unwrap_or_default())).collect();
    if told.is_empty() { body.chars().take(200).collect() } else { told.join("; ") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_listens_everywhere_is_asked_on_loopback() {
        assert_eq!(reachable(address("0.0.0.0:9464")), address("127.0.0.1:9464"));
        assert_eq!(reachable(address("[::]:9464")), address("[::1]:9464"));
        assert_eq!(reachable(address("10.0.0.7:9464")), address("10.0.0.7:9464"));
    }

    #[test]
    fn each_failing_check_is_named_with_its_reason() {
        let body = r#"{"ready":false,"checks":{"bus":{"ok":true,"why":""},"lease":{"ok":false,"why":"lost"},"store":{"ok":false,"why":"no answer"}}}"#;
        let answer = format!("HTTP/1.0 503 Service Unavailable\r\ncontent-type: application/json\r\n\r\n{body}");
        let error = judge(address("127.0.0.1:1"), &answer).unwrap_err();
        assert_eq!(error.to_string(), "not ready: lease: lost; store: no answer");
        assert_eq!(error.exit().code(), 1);
    }

    #[test]
    fn an_answer_of_another_kind_of_server_is_not_health() {
        for answer in ["HTTP/1.1 404 Not Found\r\n\r\n", "SSH-2.0-x\r\n", ""] {
            assert!(matches!(judge(address("127.0.0.1:1"), answer), Err(HealthError::Stranger { .. })), "{answer}");
        }
        judge(address("127.0.0.1:1"), "HTTP/1.0 200 OK\r\n\r\n{}").unwrap();
    }

    #[tokio::test]
    async fn any_free_port_is_no_port_to_ask_at() {
        let error = healthcheck(Listen::Exactly(address("127.0.0.1:0"))).await.unwrap_err();
        assert_eq!((error.exit().code(), error.to_string().contains("set [telemetry] listen")), (2, true));
    }
}
