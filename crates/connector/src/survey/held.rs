//! What a relay was found to hold, by what filters ask for: the set that another relay's is compared with.
//!
//! Keeps ids and moments, never content.

use std::collections::{HashMap, HashSet};

use model::{Event, EventId, Filter, Kind, Timestamp, first_values};

/// The tags by which the filters of the sync ask (S5–S7).
const INDEXED: [&str; 6] = ["a", "A", "d", "e", "E", "q"];

/// Of one event: when it is dated, its id, its kind.
type Entry = (u64, [u8; 32], Kind);

/// The events of one relay, without their content.
#[derive(Debug, Clone, Default)]
pub struct Held {
    ids: HashSet<EventId>,
    by_kind: HashMap<Kind, Vec<Entry>>,
    by_tag: HashMap<(&'static str, String), Vec<Entry>>,
}

impl Held {
    /// Takes in an event; the same one twice counts once.
    pub fn add(&mut self, event: &Event) {
        if !self.ids.insert(event.id) {
            return;
        }
        let entry = (event.created_at.as_secs(), event.id.to_bytes(), event.kind);
        self.by_kind.entry(event.kind).or_default().push(entry);
        for name in INDEXED {
            let values: HashSet<&str> = first_values(event, name).collect();
            for value in values {
                self.by_tag.entry((name, value.to_owned())).or_default().push(entry);
            }
        }
    }

    #[must_use]
    pub fn contains(&self, id: &EventId) -> bool {
        self.ids.contains(id)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// What of it answers a filter by kinds, by one tag, or by both; nothing where a filter asks by something else. One that is
    /// left out here costs its download, never an error.
    pub(crate) fn matching(&self, filter: &Filter) -> Vec<(u64, [u8; 32])> {
        let is_in = |(at, _, kind): &&Entry| {
            filter.kinds.as_ref().is_none_or(|kinds| kinds.contains(kind))
                && filter.since.is_none_or(|since| Timestamp::from_secs(*at) >= since)
                && filter.until.is_none_or(|until| Timestamp::from_secs(*at) <= until)
        };
        self.candidates(filter).filter(is_in).map(|(at, id, _)| (*at, *id)).collect()
    }

    fn candidates<'a>(&'a self, filter: &'a Filter) -> Box<dyn Iterator<Item = &'a Entry> + 'a> {
        let tag = filter.generic_tags.iter().next();
        match (tag, &filter.kinds) {
            (Some((letter, values)), _) => {
                let letter = letter.to_string();
                let name = INDEXED.into_iter().find(|name| *name == letter);
                let of = move |value: &'a String| self.by_tag.get(&(name?, value.clone()));
                Box::new(values.iter().filter_map(of).flatten())
            }
            (None, Some(kinds)) => Box::new(kinds.iter().filter_map(|kind| self.by_kind.get(kind)).flatten()),
            (None, None) => Box::new(std::iter::empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use engine::filters;
    use model::{Item, ItemKind, Role};
    use nostr::prelude::{EventBuilder, FinalizeEvent, Keys, Tag};

    use super::*;

    fn event(kind: u16, at: u64, tags: &[[&str; 2]]) -> Event {
        let tags = tags.iter().map(|tag| Tag::parse(*tag).unwrap());
        let unsigned = EventBuilder::new(Kind::from(kind), "").custom_created_at(Timestamp::from_secs(at)).tags(tags);
        unsigned.finalize(&Keys::generate()).unwrap()
    }

    #[test]
    fn what_is_held_is_found_by_every_filter_of_the_three_layers_and_by_no_other() {
        let address = format!("30617:{}:x", "a".repeat(64));
        let root = event(1621, 5, &[["a", &address]]);
        let comment = event(1111, 6, &[["E", &root.id.to_hex()], ["e", &root.id.to_hex()], ["A", &address]]);
        let state = event(30618, 7, &[["d", "x"]]);
        let events = [root.clone(), comment, state, event(1, 8, &[["p", "x"]])];
        let mut held = Held::default();
        events.iter().chain(&events).for_each(|event| held.add(event));
        assert_eq!(held.len(), 4);
        let repo = filters::history(ItemKind::Repo, &[Item::Repo(address.parse().unwrap())]);
        let root = filters::history(ItemKind::Root, &[Item::Root(root.id)]);
        let asked = [vec![filters::layer1(Role::Listed), filters::layer1(Role::Home)], repo, root].concat();
        for filter in &asked {
            let expected = events.iter().filter(|event| filter.match_event(event, Default::default()));
            let expected: HashSet<[u8; 32]> = expected.map(|event| event.id.to_bytes()).collect();
            let found = held.matching(filter);
            assert_eq!(found.len(), expected.len(), "{filter:?}");
            assert!(found.iter().all(|(_, id)| expected.contains(id)), "{filter:?}");
        }
        assert_eq!(asked.iter().map(|filter| held.matching(filter).len()).sum::<usize>(), 1 + 2 + 1 + 1 + 1 + 1);
        let window = filters::layer1(Role::Listed).since(Timestamp::from_secs(8));
        assert_eq!(held.matching(&window), []);
    }
}
