//! .

pub mod builtin_relay;
