//! Missing items become batches: each joins one chunk of live filters, so that chunks stay few, full and stable.

use std::collections::BTreeMap;

use model::{Ask, BatchId, Draft, Filter, Item, ItemKind, LiveFilter, Method, Snapshot};

use super::{Reason, method};
use crate::consolidation;
use crate::filters;
use crate::rules::REFS_PER_FILTER;

/// A batch before it is claimed: what it takes, and the order it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPlan {
    pub draft: Draft,
    pub live: Vec<LiveFilter>,
    /// Live filters without room for a subscription: they are asked for in rotation.
    pub polled: Vec<LiveFilter>,
    pub history: Vec<Filter>,
    /// Of the live filters.
    pub layout: u64,
}

impl BatchPlan {
    pub(super) fn into_ask(self, batch: BatchId) -> Ask {
        let Self { draft, live, polled, history, layout } = self;
        Ask::Fetch { batch, live, polled, history, method: draft.method, layout }
    }
}

/// At most `free` batches of what is missing. Items that have a chunk stay in it; others join the tail until it is
/// full, then start the next chunk.
pub(super) fn draft(look: &Snapshot, free: usize, live_limit: usize) -> Vec<BatchPlan> {
    let mut chunks = Chunks::of(look);
    let mut joined: BTreeMap<(ItemKind, u32), Vec<Item>> = BTreeMap::new();
    for missing in &look.missing {
        let kind = missing.item.kind();
        let chunk = missing.chunk.filter(|_| kind != ItemKind::Named).unwrap_or_else(|| chunks.join(&missing.item));
        if joined.contains_key(&(kind, chunk)) || joined.len() < free {
            joined.entry((kind, chunk)).or_default().push(missing.item.clone());
        } else {
            break;
        }
    }
    joined.into_iter().map(|((kind, chunk), items)| chunks.batch(look, (kind, chunk), items, live_limit)).collect()
}

pub(super) fn reason(look: &Snapshot, batches: usize, items: u64) -> Reason {
    if batches > 0 {
        Reason::Ask { batches, items, left: look.wanted.saturating_sub(items) }
    } else if look.missing.is_empty() && look.wanted > 0 {
        Reason::HomeFirst { waiting: look.wanted }
    } else if look.pending > 0 {
        Reason::InFlight { pending: look.pending, wanted: look.wanted }
    } else {
        Reason::Settled
    }
}

/// The chunks in sight, growing as items join.
struct Chunks {
    members: BTreeMap<(ItemKind, u32), Vec<Item>>,
    /// The number of the next new chunk, of repos or of roots.
    next: u32,
    /// What is read once: batches, not chunks.
    named: u32,
}

impl Chunks {
    fn of(look: &Snapshot) -> Self {
        let kind_of = |items: &[Item]| items.first().map(Item::kind);
        let members: BTreeMap<(ItemKind, u32), Vec<Item>> = look
            .tails
            .iter()
            .filter_map(|chunk| kind_of(&chunk.items).map(|kind| ((kind, chunk.chunk), chunk.items.clone())))
            .collect();
        let shared = members.keys().filter(|(kind, _)| *kind != ItemKind::Participant);
        let above_tails = shared.map(|(_, chunk)| chunk + 1).max().unwrap_or(0);
        Self { members, next: above_tails.max(look.chunks.0).max(look.chunks.1), named: 0 }
    }

    /// The chunk that `item` joins.
    fn join(&mut self, item: &Item) -> u32 {
        let kind = item.kind();
        if kind == ItemKind::Named {
            self.named += 1;
            return (self.named - 1) / REFS_PER_FILTER;
        }
        let last = self.members.range((kind, 0)..=(kind, u32::MAX)).next_back().map(|((_, chunk), members)| (*chunk, members));
        let chunk = match last {
            Some((chunk, members)) if filters::has_room(members) && !filters::stands_alone(item) => chunk,
            // Participants have a row of numbers of their own.
            Some((chunk, _)) if kind == ItemKind::Participant => chunk + 1,
            None if kind == ItemKind::Participant => 0,
            Some(_) | None => self.next,
        };
        if kind != ItemKind::Participant {
            self.next = self.next.max(chunk + 1);
        }
        self.members.entry((kind, chunk)).or_default().push(item.clone());
        chunk
    }

    /// S11: the live filters name every member of the chunk, the history filters only what is fetched now.
    fn batch(&self, look: &Snapshot, place: (ItemKind, u32), items: Vec<Item>, live_limit: usize) -> BatchPlan {
        let (kind, chunk) = place;
        let mut members = self.members.get(&place).cloned().unwrap_or_default();
        members.extend(items.iter().filter(|item| !members.contains(item)).cloned().collect::<Vec<_>>());
        members.sort();
        let (live, polled) = consolidation::parted(filters::live(kind, chunk, &members), live_limit);
        let history = filters::history(kind, &items);
        // Ids are asked for as they are: there is nothing to reconcile.
        let method = if kind == ItemKind::Named { Method::Req } else { method(look) };
        let draft = Draft { items, chunk, method };
        BatchPlan { draft, live, polled, history, layout: look.layout }
    }
}
