//! One trace runs through the services of a fleet: from the look of a planner to the commit of what a session reports.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use common::deployment::{Deployment, Size};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use testkit::fleet::{Role, Wiring};
use testkit::wait_for;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// What is kept of a trace: the names of its spans.
type Traces = BTreeMap<Vec<u8>, BTreeSet<String>>;

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Traces>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans = request.into_inner().resource_spans.into_iter().flat_map(|one| one.scope_spans);
        for span in spans.flat_map(|scope| scope.spans) {
            self.0.lock().unwrap().entry(span.trace_id).or_default().insert(span.name);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Listens, and says where.
    fn start(&self) -> String {
        let incoming = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = incoming.local_addr().unwrap();
        let service = TraceServiceServer::new(self.clone());
        tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        format!("http://{address}")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_one_trace_from_the_planner_over_the_session_to_the_store() {
    let collector = Collector::default();
    let endpoint = collector.start();
    let mut deployment = Deployment::of(&Size { upstreams: 2, repositories_each: 10, comments_each: 2 }).await;
    for role in [Role::State, Role::Planner, Role::Connector] {
        let settings = [("GRASP_SYNC_OTLP_ENDPOINT", endpoint.as_str())];
        deployment.fleet.add_with(role, Wiring { settings: &settings, ..Wiring::default() });
    }
    // The planner's look, the store's answer, the session that hears the order, its report, and the commit.
    let whole = [
        "plan",
        "process query.{name}",
        "process order.{upstream}.{epoch}",
        "send report.{upstream}",
        "process report.{upstream}",
    ];
    wait_for("a batch to be one trace", common::PATIENCE, || async {
        let traces = collector.0.lock().unwrap();
        let is_whole = |names: &BTreeSet<String>| whole.iter().all(|name| names.contains(*name));
        if traces.values().any(is_whole) { Ok(()) } else { Err(traces.values().cloned().collect::<BTreeSet<_>>()) }
    })
    .await;
}
