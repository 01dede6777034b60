//! One trace runs through the services of a fleet: from what the home watch has discovered to the commit of what came home for it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use common::deployment::{Deployment, Size};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use testkit::fleet::{Role, Wiring};
use testkit::wait_for;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// What is kept of a trace: its spans by name, each with its attributes as text.
type Traces = BTreeMap<Vec<u8>, BTreeMap<String, BTreeMap<String, String>>>;

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
            let attributes = span.attributes.into_iter().map(|one| (one.key, text(one.value))).collect();
            self.0.lock().unwrap().entry(span.trace_id).or_default().insert(span.name, attributes);
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

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

/// Every step from the home watch over state and planner to a session, its writes to home, and the commit of its report.
const WHOLE: [&str; 8] = [
    "discover",
    "process query.{name}",
    "plan",
    "process order.{upstream}.{epoch}",
    "bring home",
    "send report.{upstream}",
    "process report.{upstream}",
    "report",
];

/// What the semantic conventions ask of spans for messages, databases and connections.
const ATTRIBUTES: [(&str, &str, &str); 9] = [
    ("process order.{upstream}.{epoch}", "messaging.system", "nats"),
    ("process order.{upstream}.{epoch}", "messaging.operation.type", "process"),
    ("process order.{upstream}.{epoch}", "messaging.destination.name", "order.{upstream}.{epoch}"),
    ("send report.{upstream}", "messaging.operation.type", "send"),
    ("report", "db.system.name", "postgresql"),
    ("report", "db.operation.name", "report"),
    ("dial", "network.protocol.name", "ws"),
    ("dial", "server.address", "127."),
    ("dial", "server.port", ""),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_discovery_is_one_trace_from_the_home_watch_over_state_planner_and_session_to_home_and_the_store() {
    let collector = Collector::default();
    let endpoint = collector.start();
    let mut deployment = Deployment::of(&Size { upstreams: 2, repositories_each: 10, comments_each: 2 }).await;
    for role in [Role::State, Role::Planner, Role::Connector] {
        let settings = [("GRASP_SYNC_OTLP_ENDPOINT", endpoint.as_str())];
        deployment.fleet.add_with(role, Wiring { settings: &settings, ..Wiring::default() });
    }
    wait_for("a discovery to be one trace to its end", common::PATIENCE, || async {
        let traces = collector.0.lock().unwrap();
        let is_whole = |spans: &BTreeMap<_, _>| WHOLE.iter().all(|name| spans.contains_key(*name));
        let names = |spans: &BTreeMap<String, _>| spans.keys().cloned().collect::<BTreeSet<_>>();
        if traces.values().any(is_whole) { Ok(()) } else { Err(traces.values().map(names).collect::<BTreeSet<_>>()) }
    })
    .await;
    let traces = collector.0.lock().unwrap();
    let spans: Vec<(&String, &BTreeMap<String, String>)> = traces.values().flatten().collect();
    for (name, attribute, value) in ATTRIBUTES {
        let has_it =
            |attributes: &BTreeMap<String, String>| attributes.get(attribute).is_some_and(|told| told.starts_with(value));
        let of_that_name: Vec<_> = spans.iter().filter(|(span, _)| *span == name).collect();
        assert!(!of_that_name.is_empty(), "{name}");
        assert!(of_that_name.iter().all(|(_, attributes)| has_it(attributes)), "{name}: {attribute}: {:?}", of_that_name[0]);
    }
}
