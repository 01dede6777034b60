//! The planner's figures. Labels are closed sets.

use std::sync::LazyLock;

use bus::AskError;
use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};

static ACTIVATIONS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = global::meter("planner");
    meter.u64_counter("grasp_sync.activations").with_description("looks at an upstream, by how they ended").build()
});

/// A look at an upstream ended.
pub(crate) fn activation<T>(ended: &Result<T, AskError>) {
    let outcome = match ended {
        Ok(_) => "planned",
        Err(error) if error.is_fenced() => "fenced",
        Err(_) => "failed",
    };
    ACTIVATIONS.add(1, &[KeyValue::new("outcome", outcome)]);
}
