//! .
pub mod cli;
pub mod config;
pub mod demo;
pub mod exit;
pub mod lifecycle;
pub mod output;
pub mod run;
pub mod telemetry;
