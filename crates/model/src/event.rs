//! What grasp-sync reads from an event's tags.

use nostr::prelude::Event;

use crate::ledger::{REFS_PER_EVENT, Ref, RefTag};

/// The first values of every tag named `name`, in order.
pub fn first_values<'a>(event: &'a Event, name: &'a str) -> impl Iterator<Item = &'a str> {
    event.tags.iter().filter(move |tag| tag.kind() == name).filter_map(|tag| tag.content())
}

/// What `event` names by `a`, `A`, `e`, `E` and `q`, without repeats, at most [`REFS_PER_EVENT`].
#[must_use]
pub fn refs_of(event: &Event) -> Vec<Ref> {
    let mut refs: Vec<Ref> = Vec::new();
    for tag in event.tags.iter() {
        let (Some(name), Some(value)) = (RefTag::from_name(tag.kind()), tag.content()) else { continue };
        let found = Ref { tag: name, value: value.to_owned() };
        if !refs.contains(&found) {
            refs.push(found);
        }
        if refs.len() == REFS_PER_EVENT {
            break;
        }
    }
    refs
}
