//! What the process answers about itself: `/livez`, `/readyz` and `/metrics`, over plain HTTP on an internal address, and beside
//! them the page of [`crate::page`].
//!
//! Owns: the listener and the three answers. Never: in these, secrets, or words of strangers; whoever reaches the port may read
//! all three.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::config::{Listen, Secret};
use crate::page::{self, Access, Page};
use crate::readiness::Readiness;
use crate::telemetry::Metrics;

/// The address is taken, or not one of this machine.
#[derive(Debug, thiserror::Error)]
#[error(
    "{address} cannot be listened on: {why}\nChoose another address with --listen; the page, /livez, /readyz and /metrics are served there"
)]
pub struct ListenError {
    pub address: SocketAddr,
    pub why: io::Error,
}

/// Answers while it lives.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    page: Page,
    task: JoinHandle<()>,
}

#[derive(Clone, Debug)]
struct Answers {
    readiness: Readiness,
    metrics: Metrics,
}

impl Server {
    /// Answers from now on, on the runtime that it is called on. The page has something to show once it is told whom to ask;
    /// `token` opens it, and `keeps_state` says whether the process is one that shows it.
    ///
    /// # Errors
    /// The address that was chosen cannot be listened on.
    pub async fn start(
        listen: Listen,
        readiness: Readiness,
        metrics: Metrics,
        token: Option<&Secret>,
        keeps_state: bool,
    ) -> Result<Self, ListenError> {
        let listener = bind(listen).await?;
        let address = listener.local_addr().map_err(|why| ListenError { address: listen.address(), why })?;
        info!(%address, "health and metrics: http://{address}/livez, /readyz, /metrics");
        let page = Page::new(address, token, keeps_state);
        say_access(address, page.access());
        let answering = axum::serve(listener, routes(Answers { readiness, metrics }).merge(page::routes(page.clone())));
        let task = tokio::spawn(async move {
            if let Err(error) = answering.await {
                error!(%error, "health and metrics are not served any more");
            }
        });
        Ok(Self { address, page, task })
    }

    /// Where it answers.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it shows to people.
    #[must_use]
    pub fn page(&self) -> &Page {
        &self.page
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.page.close();
        self.task.abort();
    }
}

fn say_access(address: SocketAddr, access: &Access) {
    match access {
        Access::Off(why) => info!(why, "the page is off"),
        Access::Loopback => info!("the page: http://{address}/, for this machine"),
        Access::Token(_) => info!("the page: http://{address}/, with http_token"),
    }
}

async fn bind(listen: Listen) -> Result<TcpListener, ListenError> {
    let address = listen.address();
    match (TcpListener::bind(address).await, listen) {
        (Ok(listener), _) => Ok(listener),
        (Err(why), Listen::Preferably(_)) if why.kind() == io::ErrorKind::AddrInUse => {
            warn!(%address, "the default address is taken: health and metrics move to a free port; set [telemetry] listen");
            let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            TcpListener::bind(anywhere).await.map_err(|why| ListenError { address: anywhere, why })
        }
        (Err(why), Listen::Preferably(_) | Listen::Exactly(_)) => Err(ListenError { address, why }),
    }
}

fn routes(answers: Answers) -> Router {
    Router::new().route("/livez", get(livez)).route("/readyz", get(readyz)).route("/metrics", get(metrics)).with_state(answers)
}

/// That it answers is the answer: the runtime turns. What else may be away is no reason to restart this process.
async fn livez() -> &'static str {
    "ok"
}

async fn readyz(State(answers): State<Answers>) -> Response {
    let report = answers.readiness.report();
    let status = if report.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::to_string(&report).expect("a report holds only texts and booleans, which always serialise");
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

async fn metrics(State(answers): State<Answers>) -> Response {
    match answers.metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use opentelemetry::KeyValue;
    use opentelemetry::metrics::MeterProvider;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::telemetry;

    /// Status line and body.
    async fn get(server: &Server, path: &str) -> (String, String) {
        let mut socket = TcpStream::connect(server.address()).await.unwrap();
        socket.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    #[tokio::test]
    async fn readiness_follows_the_checks_and_names_the_failing_one_while_liveness_asks_nobody() {
        let readiness = Readiness::default();
        let lease = readiness.check("lease");
        lease.set(true, "held");
        let (metrics, _provider) = telemetry::unshared();
        let server = Server::start(Listen::Exactly(loopback(0)), readiness, metrics, None, true).await.unwrap();
        let ready = (r"HTTP/1.0 200 OK".to_owned(), r#"{"ready":true,"checks":{"lease":{"ok":true,"why":"held"}}}"#.to_owned());
        assert_eq!(get(&server, "/readyz").await, ready);

        lease.set(false, "lost");
        let (status, body) = get(&server, "/readyz").await;
        assert_eq!(status, "HTTP/1.0 503 Service Unavailable");
        assert_eq!(body, r#"{"ready":false,"checks":{"lease":{"ok":false,"why":"lost"}}}"#);
        assert_eq!(get(&server, "/livez").await, ("HTTP/1.0 200 OK".to_owned(), "ok".to_owned()));
    }

    #[tokio::test]
    async fn a_counter_that_moves_is_seen_under_its_prometheus_name() {
        let (metrics, provider) = telemetry::unshared();
        let server = Server::start(Listen::Exactly(loopback(0)), Readiness::default(), metrics, None, true).await.unwrap();
        let counter = provider.meter("test").u64_counter("grasp_sync.events").build();
        for moved in 1..=2 {
            counter.add(1, &[KeyValue::new("outcome", "stored")]);
            let (_, text) = get(&server, "/metrics").await;
            let line = format!("grasp_sync_events_total{{outcome=\"stored\"}} {moved}\n");
            assert!(text.contains(&line), "{text}");
        }
        let (_, text) = get(&server, "/metrics").await;
        assert!(text.contains("grasp_sync_role=\"test\"") && text.contains("service_name=\"grasp-sync\""), "{text}");
    }

    #[tokio::test]
    async fn a_taken_address_is_left_only_if_nobody_chose_it() {
        let other = TcpListener::bind(loopback(0)).await.unwrap();
        let taken = other.local_addr().unwrap();
        let (metrics, _provider) = telemetry::unshared();
        let moved = Server::start(Listen::Preferably(taken), Readiness::default(), metrics.clone(), None, true).await.unwrap();
        assert_ne!(moved.address(), taken);
        let refused = Server::start(Listen::Exactly(taken), Readiness::default(), metrics, None, true).await.unwrap_err();
        assert_eq!((refused.address, refused.why.kind()), (taken, io::ErrorKind::AddrInUse));
    }

    #[tokio::test]
    async fn a_server_that_is_dropped_listens_no_more() {
        let (metrics, _provider) = telemetry::unshared();
        let server = Server::start(Listen::Exactly(loopback(0)), Readiness::default(), metrics, None, true).await.unwrap();
        let address = server.address();
        drop(server);
        testkit::wait_for("the port to be free", std::time::Duration::from_secs(20), || async {
            TcpListener::bind(address).await.map(drop)
        })
        .await;
    }
}
