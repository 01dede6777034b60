//! What grasp-sync reads from an event's tags.

use nostr::prelude::Event;

use crate::ledger::{MAX_REF_BYTES, REFS_PER_EVENT, Ref, RefTag};

/// The first values of every tag named `name`, in order.
pub fn first_values<'a>(event: &'a Event, name: &'a str) -> impl Iterator<Item = &'a str> {
    event.tags.iter().filter(move |tag| tag.kind() == name).filter_map(|tag| tag.content())
}

/// What `event` names by `a`, `A`, `e`, `E` and `q`, without repeats, at most [`REFS_PER_EVENT`]. Values longer than
/// [`MAX_REF_BYTES`] are left out.
#[must_use]
pub fn refs_of(event: &Event) -> Vec<Ref> {
    let mut refs: Vec<Ref> = Vec::new();
    for tag in event.tags.iter() {
        let (Some(name), Some(value)) = (RefTag::from_name(tag.kind()), tag.content()) else { continue };
        if value.len() > MAX_REF_BYTES {
            continue;
        }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nostr::prelude::{EventBuilder, FinalizeEvent, Keys, Kind, Tag};

    use super::*;

    fn event(tags: impl IntoIterator<Item = [String; 2]>) -> Event {
        let tags = tags.into_iter().map(|tag| Tag::parse(tag).unwrap());
        EventBuilder::new(Kind::Custom(1), "").tags(tags).finalize(&Keys::generate()).unwrap()
    }

    #[test]
    fn a_value_longer_than_1024_bytes_is_no_reference_and_hides_none() {
        let long = |more: usize| ["q".to_owned(), "é".repeat(MAX_REF_BYTES / 2) + &"x".repeat(more)];
        let refs = refs_of(&event([long(1), long(0), ["e".to_owned(), "short".to_owned()]]));
        let lengths: Vec<usize> = refs.iter().map(|one| one.value.len()).collect();
        assert_eq!(lengths, [MAX_REF_BYTES, 5]);
    }

    #[test]
    fn references_are_kept_once_in_order_and_not_without_end() {
        let refs = refs_of(&event((0..200).map(|n| ["e".to_owned(), format!("{}", n / 2)])));
        let values: Vec<String> = refs.into_iter().map(|one| one.value).collect();
        assert_eq!(values, (0..REFS_PER_EVENT).map(|n| n.to_string()).collect::<Vec<String>>());
    }
}
