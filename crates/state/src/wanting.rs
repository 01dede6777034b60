//! Ids that events name: which of them are looked for, and with whom. The decisions, without the rows.

use std::collections::{BTreeMap, BTreeSet};

use engine::rules::NAMED_PER_EVENT;
use model::{EventId, LedgerRow, RefTag, kinds};

use crate::repos::Numbers;

/// What one event at home names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) ids: Vec<EventId>,
    /// Keys of the repos and roots that it belongs to, among other values.
    pub(crate) parents: Vec<String>,
}

impl Names {
    /// What of it is lacking, if anything is.
    pub(crate) fn without(mut self, known: &BTreeSet<EventId>) -> Option<Self> {
        self.ids.retain(|id| !known.contains(id));
        (!self.ids.is_empty()).then_some(self)
    }
}

/// What an event that home holds names; nothing of a deletion: that names what is gone.
pub(crate) fn names_of(row: &LedgerRow) -> Option<Names> {
    if !row.outcome.is_at_home() || row.kind == kinds::DELETION || row.kind == kinds::VANISH {
        return None;
    }
    let names = |tag| matches!(tag, RefTag::Event | RefTag::RootEvent | RefTag::Quote);
    let mut ids: Vec<EventId> = Vec::new();
    for id in row.refs.iter().filter(|one| names(one.tag)).filter_map(|one| EventId::from_hex(&one.value).ok()) {
        if !ids.contains(&id) && id != row.id && ids.len() < NAMED_PER_EVENT {
            ids.push(id);
        }
    }
    let belongs = |tag| matches!(tag, RefTag::Address | RefTag::RootAddress | RefTag::Event | RefTag::RootEvent);
    let parents = row.refs.iter().filter(|one| belongs(one.tag)).map(|one| one.value.clone()).collect();
    (!ids.is_empty()).then_some(Names { ids, parents })
}

/// Which id is looked for with the upstreams of which repo. `repos`: the repos of items, by their numbers.
pub(crate) fn pairs(lacking: &[Names], numbers: &Numbers, repos: &[(i64, i64)]) -> BTreeSet<(EventId, i64)> {
    let mut of_item: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for (item, repo) in repos {
        of_item.entry(*item).or_default().push(*repo);
    }
    let mut pairs = BTreeSet::new();
    for names in lacking {
        let items = names.parents.iter().filter_map(|parent| numbers.get(parent));
        let repos: BTreeSet<i64> = items.filter_map(|item| of_item.get(item)).flatten().copied().collect();
        pairs.extend(names.ids.iter().flat_map(|id| repos.iter().map(move |repo| (*id, *repo))));
    }
    pairs
}
