//! What the process answers about itself: `/livez`, `/readyz` and `/metrics`, over plain HTTP on an internal address.
//!
//! Owns: the listener and the three answers. Never: secrets, or words of strangers; whoever reaches the port may read all.

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

use crate::config::Listen;
use crate::readiness::Readiness;
use crate::telemetry::Metrics;

/// The address is taken, or not one of this machine.
#[derive(Debug, thiserror::Error)]
#[error(
    "{address} cannot be listened on: {why}\nChoose another address with --listen; /livez, /readyz and /metrics are served there"
)]
pub struct ListenError {
    pub address: SocketAddr,
    pub why: io::Error,
}

/// Answers while it lives.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

#[derive(Clone, Debug)]
struct Answers {
    readiness: Readiness,
    metrics: Metrics,
}

impl Server {
    /// Answers from now on, on the runtime that it is called on.
    ///
    /// # Errors
    /// The address that was chosen cannot be listened on.
    pub async fn start(listen: Listen, readiness: Readiness, metrics: Metrics) -> Result<Self, ListenError> {
        let listener = bind(listen).await?;
        let address = listener.local_addr().map_err(|why| ListenError { address: listen.address(), why })?;
        info!(%address, "health and metrics: http://{address}/livez, /readyz, /metrics");
        let answering = axum::serve(listener, routes(Answers { readiness, metrics }));
        let task = tokio::spawn(async move {
            if let Err(error) = answering.await {
                error!(%error, "health and metrics are not served any more");
            }
        });
        Ok(Self { address, task })
    }

    /// Where it answers.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
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
