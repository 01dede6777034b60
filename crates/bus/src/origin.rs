//! The trace that a message belongs to: taken where it is sent, gone on with where it is received.

use std::sync::OnceLock;

use opentelemetry::Context;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// What this process sends its messages over, in the words of the semantic conventions; unset, they stay inside it.
static SYSTEM: OnceLock<&'static str> = OnceLock::new();

/// The span of a sender. Without a tracer it is empty, and costs nothing.
#[derive(Debug, Clone, Default)]
pub struct Origin(pub(crate) Context);

impl Origin {
    /// The span that is current here.
    #[must_use]
    pub fn here() -> Self {
        Self(Span::current().context())
    }

    /// Makes `span`, which has not been entered yet, a child of the sender's. One that is named after what is done with a
    /// message, `<operation> <destination>`, gets the attributes of the semantic conventions for messaging.
    #[must_use]
    pub fn begin(&self, span: Span) -> Span {
        // Refused where the span is filtered out: then there is nothing to go on with.
        let _ = span.set_parent(self.0.clone());
        let name = span.metadata().map_or("", |metadata| metadata.name());
        if let Some((operation @ ("send" | "process"), destination)) = name.split_once(' ') {
            span.set_attribute("messaging.operation.type", operation);
            span.set_attribute("messaging.destination.name", destination);
            span.set_attribute("messaging.system", SYSTEM.get().copied().unwrap_or("in_process"));
        }
        span
    }
}

/// From now on messages of this process travel so.
pub(crate) fn travels_on(system: &'static str) {
    let _ = SYSTEM.set(system);
}
