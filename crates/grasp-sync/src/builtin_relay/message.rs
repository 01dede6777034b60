//! The messages a client may send (NIP-01, NIP-77), from their JSON. It never acts on them.

use nostr::filter::Filter;
use serde_json::value::RawValue;

/// The largest message taken, in bytes.
pub(super) const MAX_MESSAGE: usize = 1024 * 1024;
/// The largest event taken, in bytes of JSON.
pub(super) const MAX_EVENT: usize = 128 * 1024;
/// The longest subscription id, in characters (NIP-01).
pub(super) const MAX_SUBSCRIPTION_ID: usize = 64;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum ClientMessage {
    /// The JSON of the event, not looked at yet.
    Event(String),
    Req {
        id: String,
        filters: Vec<Filter>,
    },
    Close {
        id: String,
    },
    NegOpen {
        id: String,
        filter: Filter,
        hex: String,
    },
    NegMsg {
        id: String,
        hex: String,
    },
    NegClose {
        id: String,
    },
}

/// A message that cannot be followed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadMessage {
    /// Answered by a NOTICE.
    Unreadable(String),
    /// A bad filter: answered by a CLOSED of the subscription.
    BadFilter { id: String, reason: String },
    /// A bad filter of an exchange: answered by a NEG-ERR.
    BadExchange { id: String, reason: String },
}

impl ClientMessage {
    pub(super) fn parse(text: &str) -> Result<Self, BadMessage> {
        let parts: Vec<&RawValue> = serde_json::from_str(text).map_err(|cause| unreadable(&cause.to_string()))?;
        match string(&parts, 0, "label")?.as_str() {
            "EVENT" => Ok(Self::Event(part(&parts, 1, "event")?.to_owned())),
            "REQ" => parse_req(&parts),
            "CLOSE" => Ok(Self::Close { id: subscription_id(&parts)? }),
            "NEG-OPEN" => parse_neg_open(&parts),
            "NEG-MSG" => Ok(Self::NegMsg { id: subscription_id(&parts)?, hex: string(&parts, 2, "message")? }),
            "NEG-CLOSE" => Ok(Self::NegClose { id: subscription_id(&parts)? }),
            _ => Err(unreadable("unknown command")),
        }
    }
}

fn parse_req(parts: &[&RawValue]) -> Result<ClientMessage, BadMessage> {
    let id = subscription_id(parts)?;
    let bad = |reason| BadMessage::BadFilter { id: id.clone(), reason };
    if parts.len() < 3 {
        return Err(bad("invalid: a REQ needs a filter".to_owned()));
    }
    let filters = parts[2..].iter().map(|raw| parse_filter(raw.get()).map_err(bad)).collect::<Result<_, _>>()?;
    Ok(ClientMessage::Req { id, filters })
}

fn parse_neg_open(parts: &[&RawValue]) -> Result<ClientMessage, BadMessage> {
    let id = subscription_id(parts)?;
    let filter =
        parse_filter(part(parts, 2, "filter")?).map_err(|reason| BadMessage::BadExchange { id: id.clone(), reason })?;
    let hex = string(parts, 3, "message")?;
    Ok(ClientMessage::NegOpen { id, filter, hex })
}

fn parse_filter(json: &str) -> Result<Filter, String> {
    let filter = Filter::from_json(json).map_err(|cause| format!("invalid: bad filter: {cause}"))?;
    match filter.search {
        Some(_) => Err("unsupported: search is not offered".to_owned()),
        None => Ok(filter),
    }
}

fn subscription_id(parts: &[&RawValue]) -> Result<String, BadMessage> {
    let id = string(parts, 1, "subscription id")?;
    match id.chars().count() {
        1..=MAX_SUBSCRIPTION_ID => Ok(id),
        _ => Err(unreadable("a subscription id has 1 to 64 characters")),
    }
}

fn string(parts: &[&RawValue], at: usize, name: &str) -> Result<String, BadMessage> {
    serde_json::from_str(part(parts, at, name)?).map_err(|_| unreadable(&format!("the {name} is not a string")))
}

fn part<'a>(parts: &[&'a RawValue], at: usize, name: &str) -> Result<&'a str, BadMessage> {
    parts.get(at).map(|raw| raw.get()).ok_or_else(|| unreadable(&format!("the {name} is missing")))
}

fn unreadable(reason: &str) -> BadMessage {
    BadMessage::Unreadable(format!("ERROR: bad msg: {reason}"))
}
