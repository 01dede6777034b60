//! The filters of the three layers (S5, S6, S7). One filter per REQ, always: it is also what NEG-OPEN takes.

use model::{Covered, EventId, Family, Filter, Item, ItemKind, Kind, LiveFilter, PublicKey, RefTag, Role, Slot, kinds};
use nostr::prelude::SingleLetterTag;

use crate::rules::REFS_PER_FILTER;

/// A tag value longer than this (bytes) makes some relays refuse the whole filter; such an item gets filters of its own.
pub const LONG_VALUE_BYTES: usize = 255;

/// S5: layer 1 of an upstream, announcements and states. For home it is S1: announcements, states and roots.
#[must_use]
pub fn layer1(role: Role) -> Filter {
    match role {
        Role::Home => self_subscription(),
        Role::Bootstrap | Role::Listed => Filter::new().kinds([kinds::ANNOUNCEMENT, kinds::STATE]),
    }
}

/// S1: what is watched on home. An empty store and a reconnect walk the same path.
#[must_use]
pub fn self_subscription() -> Filter {
    let watched: [Kind; 2] = [kinds::ANNOUNCEMENT, kinds::STATE];
    Filter::new().kinds(watched.into_iter().chain(kinds::ROOTS))
}

/// S6, S7: events that name any of `items` by the family's tag. No kinds, so that kinds of the future come too. Of
/// participants, what takes events away; of named events, these.
#[must_use]
pub fn by_family<'a>(family: Family, items: impl IntoIterator<Item = &'a Item>) -> Filter {
    let tagged = |letter, items: &mut dyn Iterator<Item = &'a Item>| Filter::new().custom_tags(letter, items.map(Item::key));
    let items = &mut items.into_iter();
    match family.tag {
        RefTag::Address | RefTag::Own => tagged(SingleLetterTag::LOWERCASE_A, items),
        RefTag::RootAddress => tagged(SingleLetterTag::UPPERCASE_A, items),
        RefTag::Event => tagged(SingleLetterTag::LOWERCASE_E, items),
        RefTag::RootEvent => tagged(SingleLetterTag::UPPERCASE_E, items),
        RefTag::Quote => tagged(SingleLetterTag::LOWERCASE_Q, items),
        RefTag::Author => Filter::new().kinds([kinds::DELETION, kinds::VANISH]).authors(items.filter_map(author)),
        RefTag::Id => Filter::new().ids(items.filter_map(named)),
    }
}

/// S6, S7: the history filters of a batch, three for repos and roots. All items are of one kind.
#[must_use]
pub fn history(kind: ItemKind, items: &[Item]) -> Vec<Filter> {
    Family::of(kind).iter().map(|family| by_family(*family, items)).collect()
}

/// The live filters of one chunk: three, one of participants, none of what is read once.
#[must_use]
pub fn live(kind: ItemKind, chunk: u32, items: &[Item]) -> Vec<LiveFilter> {
    let filter = |family| LiveFilter { slot: Slot { family, chunk }, filter: by_family(family, items) };
    Family::of(kind).into_iter().filter(|family| family.items != ItemKind::Named).map(filter).collect()
}

/// The live filters of everything covered, chunk by chunk, in stable order.
#[must_use]
pub fn live_of_all(covered: &[Covered]) -> Vec<LiveFilter> {
    let mut chunks: std::collections::BTreeMap<(ItemKind, u32), Vec<Item>> = std::collections::BTreeMap::new();
    for Covered { item, chunk } in covered {
        chunks.entry((item.kind(), chunk.unwrap_or_default())).or_default().push(item.clone());
    }
    chunks.into_iter().flat_map(|((kind, chunk), items)| live(kind, chunk, &items)).collect()
}

/// Whether `item` must stand alone in its filters.
#[must_use]
pub fn stands_alone(item: &Item) -> bool {
    item.key().len() > LONG_VALUE_BYTES
}

/// Whether a chunk with these members takes one more.
#[must_use]
pub fn has_room(members: &[Item]) -> bool {
    members.len() < REFS_PER_FILTER as usize && !members.iter().any(stands_alone)
}

fn author(item: &Item) -> Option<PublicKey> {
    match item {
        Item::Participant(author) => Some(*author),
        Item::Repo(_) | Item::Root(_) | Item::Named(_) => None,
    }
}

fn named(item: &Item) -> Option<EventId> {
    match item {
        Item::Named(id) => Some(*id),
        Item::Repo(_) | Item::Root(_) | Item::Participant(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{repo, root};

    #[test]
    fn s01_home_is_watched_for_announcements_states_and_all_four_kinds_of_roots() {
        let json = serde_json::to_string(&self_subscription()).expect("a filter serialises");
        assert_eq!(json, r#"{"kinds":[1617,1618,1619,1621,30617,30618]}"#);
    }

    #[test]
    fn s05_layer_1_of_an_upstream_is_announcements_and_states() {
        let json = serde_json::to_string(&layer1(Role::Listed)).expect("a filter serialises");
        assert_eq!(json, r#"{"kinds":[30617,30618]}"#);
    }

    #[test]
    fn s06_layer_2_asks_by_three_tags_without_kinds() {
        let filters = history(ItemKind::Repo, &[repo("x")]);
        let tags: Vec<String> = filters.iter().map(|f| format!("{:?}", f.generic_tags.keys().collect::<Vec<_>>())).collect();
        assert_eq!(filters.len(), 3);
        assert!(filters.iter().all(|filter| filter.kinds.is_none() && filter.since.is_none()), "{tags:?}");
        assert!(serde_json::to_string(&filters[0]).expect("json").contains(r##""#a":["30617:"##));
        assert!(serde_json::to_string(&filters[1]).expect("json").contains(r##""#A":"##));
        assert!(serde_json::to_string(&filters[2]).expect("json").contains(r##""#q":"##));
    }

    #[test]
    fn s07_layer_3_asks_by_three_tags_without_kinds() {
        let filters = history(ItemKind::Root, &[root(1), root(2)]);
        assert!(serde_json::to_string(&filters[0]).expect("json").contains(r##""#e":["##));
        assert!(serde_json::to_string(&filters[1]).expect("json").contains(r##""#E":["##));
        assert!(serde_json::to_string(&filters[2]).expect("json").contains(r##""#q":["##));
    }

    #[test]
    fn participants_are_asked_for_what_takes_events_away_and_named_events_by_their_ids() {
        let participant = Item::Participant(crate::testing::author());
        let filters = history(ItemKind::Participant, std::slice::from_ref(&participant));
        let hex = crate::testing::author().to_hex();
        let json = serde_json::to_string(&filters).expect("json");
        assert_eq!(json, format!(r#"[{{"authors":["{hex}"],"kinds":[5,62]}}]"#));
        assert_eq!(live(ItemKind::Participant, 3, &[participant]).len(), 1);
        let named = Item::Named(crate::testing::id(7));
        let json = serde_json::to_string(&history(ItemKind::Named, std::slice::from_ref(&named))).expect("json");
        assert_eq!(json, format!(r#"[{{"ids":["{}"]}}]"#, crate::testing::id(7)));
        assert_eq!(live(ItemKind::Named, 0, &[named]), [], "read once");
    }

    #[test]
    fn an_over_long_address_stands_alone() {
        assert!(!stands_alone(&repo("short")));
        let long = repo(&"x".repeat(200));
        assert!(stands_alone(&long));
        assert!(!has_room(&[long]));
    }
}
