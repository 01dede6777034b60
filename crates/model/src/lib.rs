//! .
mod public_address;
mod relay_url;

pub use public_address::is_public_address;
pub use relay_url::{DialRefusal, MAX_RELAY_URL_BYTES, RelayUrl, RelayUrlError, Scheme};
