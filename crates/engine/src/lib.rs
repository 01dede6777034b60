//! Every decision of grasp-sync: plain functions and sans-IO state machines.
//!
//! Owns: targets, missing, plans, filters, resume, sessions, health, discovery, invariants. Never: IO, async, a clock,
//! randomness, hash order; time and random numbers are arguments (held by this crate's `clippy.toml`).

pub mod admission;
pub mod auth;
pub mod book;
pub mod caps;
pub mod conduct;
pub mod consolidation;
pub mod discovery;
pub mod filters;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
pub mod gate;
pub mod git;
pub mod health;
pub mod invariants;
pub mod next;
pub mod nip11;
pub mod outcome;
pub mod pace;
pub mod parents;
pub mod placement;
pub mod plan;
pub mod refused;
pub mod resume;
pub mod room;
pub mod rules;
pub mod sequence;
pub mod session;
pub mod spam;
pub mod targets;
pub mod tempo;
pub mod tombstones;
pub mod walk;

#[cfg(test)]
mod testing;
