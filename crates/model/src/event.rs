//! What grasp-sync reads from an event's tags.

use nostr::prelude::Event;

use crate::item::RepoAddr;
use crate::kinds;
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

/// What the ledger knows an event by: its author, the repo that it is of, and what it names.
#[must_use]
pub fn ledger_refs_of(event: &Event) -> Vec<Ref> {
    let author = Ref { tag: RefTag::Author, value: event.pubkey.to_hex() };
    let own = own_repo(event).map(|addr| Ref { tag: RefTag::Own, value: addr.to_string() });
    std::iter::once(author).chain(own).chain(refs_of(event)).collect()
}

/// The repo that an announcement or a state is of; none where its identifier is too long for an address.
#[must_use]
pub fn own_repo(event: &Event) -> Option<RepoAddr> {
    let is_of_repo = event.kind == kinds::ANNOUNCEMENT || event.kind == kinds::STATE;
    let identifier = first_values(event, "d").next().unwrap_or_default();
    if is_of_repo { RepoAddr::new(event.pubkey, identifier).ok() } else { None }
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

    #[test]
    fn the_ledger_knows_an_event_by_its_author_and_a_state_by_its_repo() {
        let keys = Keys::generate();
        let state = EventBuilder::new(kinds::STATE, "").tag(Tag::parse(["d", "x"]).unwrap()).finalize(&keys).unwrap();
        let tags: Vec<(RefTag, String)> = ledger_refs_of(&state).into_iter().map(|one| (one.tag, one.value)).collect();
        let hex = keys.public_key().to_hex();
        assert_eq!(tags, [(RefTag::Author, hex.clone()), (RefTag::Own, format!("30617:{hex}:x"))]);
    }
}
