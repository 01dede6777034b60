//! The questions of a comparison, by the filters that the sync itself asks with, and how their reading ended.

use std::collections::BTreeSet;

use connector::survey::End;
use engine::filters;
use engine::room::Room;
use model::{Event, Filter, Item, ItemKind, Role, first_values};
use nostr::prelude::SingleLetterTag;

use super::scope::Scope;

/// Filters, each with what it leaves open when it is not read to the end: items, or the announcement layer.
pub(super) type Questions = Vec<(Filter, Vec<Option<Item>>)>;

/// The announcement layer. Where repositories were asked for by name, what is announced under their identifiers.
pub(super) fn layer1(role: Role, scope: &Scope) -> Filter {
    if scope.wanted.is_empty() {
        return filters::layer1(role);
    }
    let identifiers = scope.wanted.iter().map(|addr| addr.identifier.clone());
    filters::layer1(Role::Listed).custom_tags(SingleLetterTag::LOWERCASE_D, identifiers)
}

/// The repository layer and the root layer of `items`.
pub(super) fn questions(items: &BTreeSet<Item>, room: &Room) -> Questions {
    let mut questions = Vec::new();
    for kind in [ItemKind::Repo, ItemKind::Root] {
        let of_kind: Vec<Item> = items.iter().filter(|item| item.kind() == kind).cloned().collect();
        for part in of_kind.chunks(room.refs(kind)) {
            let opens: Vec<Option<Item>> = part.iter().cloned().map(Some).collect();
            let filters = filters::history_within(kind, part, room);
            questions.extend(filters.into_iter().map(|filter| (filter, opens.clone())));
        }
    }
    questions
}

/// All versions of a replaceable event.
pub(super) fn versions_of(event: &Event) -> Option<Filter> {
    let of_author = Filter::new().kind(event.kind).author(event.pubkey);
    if event.kind.is_addressable() {
        let identifier = first_values(event, "d").next().unwrap_or_default().to_owned();
        Some(of_author.custom_tag(SingleLetterTag::LOWERCASE_D, identifier))
    } else {
        event.kind.is_replaceable().then_some(of_author)
    }
}

/// Why a filter was not read to its proven end, if it was not.
pub(super) fn unproved(end: &End) -> Option<String> {
    match end {
        End::Complete(_) => None,
        End::Incomplete { why, detail } if detail.is_empty() => Some(why.as_str().to_owned()),
        End::Incomplete { why, detail } => Some(format!("{}: {detail}", why.as_str())),
        End::Unread => Some("not read".to_owned()),
    }
}
