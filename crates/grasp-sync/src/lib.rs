//! .

pub mod builtin_relay;
pub mod world;
