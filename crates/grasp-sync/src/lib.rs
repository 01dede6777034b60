//! The binary and the embedding library: configuration, wiring, commands.
//!
//! Owns: which services run in this process and how they begin and end, stdout, exit codes, signals, telemetry. Kept
//! apart in modules of their own: the small relay behind `--home builtin` and the demo, and the world that the demo makes.

pub mod bench;
pub mod builtin_relay;
pub mod cli;
mod client;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod exit;
pub mod explain;
pub mod healthcheck;
pub mod http;
pub mod lifecycle;
pub mod manual;
pub mod migrate;
pub mod output;
pub mod overview;
pub mod page;
mod plain;
pub mod readiness;
pub mod run;
mod standing;
pub mod status;
pub mod system;
pub mod telemetry;
pub mod verify;
pub mod world;
