//! What the tests of the other crates stand on: relays and a client that we did not write, servers and fleets, faults on the wire.
//!
//! Everything here is met over a socket on the loopback and knows nothing of the crates under test; it is never a normal dependency.
//! A fixture that cannot start panics and says what to install: a test never passes because something was missing.

mod chaos_proxy;
mod contention;
pub mod fleet;
mod grasp_home;
pub mod hostile;
mod local_relay;
mod nats;
mod nostr_rs_relay;
mod past;
mod ports;
pub mod postgres;
mod process;
mod publisher;
mod python_relay;
mod reader;
mod server_process;
mod wait;
mod wire;

pub use chaos_proxy::ChaosProxy;
pub use contention::{factor as contention, stretched};
pub use grasp_home::{GraspHome, GraspTerms};
pub use hostile::HostileRelay;
pub use local_relay::LocalRelay;
pub use nats::Nats;
pub use nostr_rs_relay::NostrRsRelay;
pub use past::{age_links, age_outcomes, written_by_a_newer_version};
pub use ports::free_port;
pub use postgres::PostgresServer;
pub use publisher::{Offer, Publisher};
pub use python_relay::PythonRelay;
pub use reader::fetch_all;
pub use wait::{wait_for, wait_until};
pub use wire::Wire;
