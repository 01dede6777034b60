//! The relay information document (NIP-11): what the relay says about itself over HTTP.

use serde_json::{Value, json};

use super::hub::Caps;
use super::message::{MAX_MESSAGE, MAX_SUBSCRIPTION_ID};

pub(super) fn document(caps: Caps, negentropy: bool) -> Value {
    let mut nips = vec![1, 9, 11, 40, 70];
    if negentropy {
        nips.push(77);
    }
    json!({
        "name": "grasp-sync built-in relay",
        "description": "A small relay for one machine: demonstrations, tests and embedding.",
        "software": env!("CARGO_PKG_REPOSITORY"),
        "version": env!("CARGO_PKG_VERSION"),
        "supported_nips": nips,
        "limitation": {
            "max_message_length": MAX_MESSAGE,
            "max_subscriptions": caps.subscriptions,
            "max_limit": caps.page,
            "default_limit": caps.page,
            "max_subid_length": MAX_SUBSCRIPTION_ID,
            "auth_required": false,
            "payment_required": false,
        },
    })
}
