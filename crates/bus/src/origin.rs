//! The trace that a message belongs to: taken where it is sent, gone on with where it is received.

use opentelemetry::Context;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The span of a sender. Without a tracer it is empty, and costs nothing.
#[derive(Debug, Clone, Default)]
pub struct Origin(pub(crate) Context);

impl Origin {
    /// The span that is current here.
    #[must_use]
    pub fn here() -> Self {
        Self(Span::current().context())
    }

    /// Makes `span`, which has not been entered yet, a child of the sender's.
    #[must_use]
    pub fn begin(&self, span: Span) -> Span {
        // Refused where the span is filtered out: then there is nothing to go on with.
        let _ = span.set_parent(self.0.clone());
        span
    }
}
