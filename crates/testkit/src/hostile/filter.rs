//! Filters over events as they are written, valid or not: what a relay finds, in which order, and where it cuts.

use super::behaviour::Behaviour;
use serde_json::Value;
use std::collections::BTreeMap;

/// What a REQ without a `limit` gets at most.
const DEFAULT_LIMIT: usize = 500;

/// What is served for a REQ.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) events: Vec<Value>,
    /// Whether there was more.
    pub(super) is_cut: bool,
}

/// Whether an event matches a filter; `limit` does not count.
pub(super) fn matches(filter: &Value, event: &Value) -> bool {
    let Some(fields) = filter.as_object() else { return false };
    fields.iter().all(|(name, wanted)| match name.as_str() {
        "ids" => has(wanted, &event["id"]),
        "authors" => has(wanted, &event["pubkey"]),
        "kinds" => has(wanted, &event["kind"]),
        "since" => second(event) >= number(wanted),
        "until" => second(event) <= number(wanted),
        "limit" => true,
        tag => tag.strip_prefix('#').is_some_and(|letter| values(event, letter).any(|value| has(wanted, value))),
    })
}

/// The newest first, and of one second the lowest id first; then what the script makes of it.
pub(super) fn page(script: &[Behaviour], events: &[Value], filters: &[Value]) -> Page {
    let mut found = BTreeMap::new();
    let mut is_cut = false;
    for filter in filters {
        let mut matching: Vec<&Value> = events.iter().filter(|event| serves(script, filter, event)).collect();
        matching.sort_by_key(|event| (-second(event), event["id"].to_string()));
        let size = size(script, filter);
        is_cut |= matching.len() > size;
        matching.truncate(size);
        found.extend(matching.into_iter().map(|event| ((-second(event), event["id"].to_string()), event.clone())));
    }
    let mut events: Vec<Value> = found.into_values().collect();
    if script.contains(&Behaviour::Backwards) {
        events.reverse();
    }
    Page { events, is_cut }
}

fn serves(script: &[Behaviour], filter: &Value, event: &Value) -> bool {
    let is_withheld = |behaviour: &Behaviour| matches!(behaviour, Behaviour::Withholds(id) if event["id"] == id.as_str());
    if script.iter().any(is_withheld) {
        return false;
    }
    let mut filter = filter.clone();
    if script.contains(&Behaviour::IgnoresUntil)
        && let Some(fields) = filter.as_object_mut()
    {
        fields.remove("until");
    }
    matches(&filter, event)
}

fn size(script: &[Behaviour], filter: &Value) -> usize {
    let limit = filter["limit"].as_u64().and_then(|limit| usize::try_from(limit).ok());
    let more = scripted!(script, Behaviour::MoreThanAsked(more) => *more).unwrap_or(0);
    let page_cap = scripted!(script, Behaviour::PageCap(cap) => *cap);
    let ids_cap = scripted!(script, Behaviour::IdsCap(cap) => *cap).filter(|_| filter["ids"].is_array());
    let size = match limit {
        None => DEFAULT_LIMIT,
        Some(0) => 0,
        Some(limit) => limit.saturating_add(more),
    };
    page_cap.into_iter().chain(ids_cap).fold(size, usize::min)
}

/// What may be any number, in seconds.
pub(super) fn second(event: &Value) -> i128 {
    number(&event["created_at"])
}

fn number(value: &Value) -> i128 {
    value.as_i64().map(i128::from).or(value.as_u64().map(i128::from)).unwrap_or(0)
}

fn has(wanted: &Value, value: &Value) -> bool {
    wanted.as_array().is_some_and(|wanted| wanted.contains(value))
}

fn values<'a>(event: &'a Value, letter: &'a str) -> impl Iterator<Item = &'a Value> {
    let tags = event["tags"].as_array().into_iter().flatten();
    tags.filter(move |tag| tag[0] == letter).filter_map(|tag| tag.get(1))
}
