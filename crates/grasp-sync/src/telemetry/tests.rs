//! Telemetry with a collector that is there, and with one that is not.

#![allow(clippy::unwrap_used)]
