//! The planner's view of one upstream, made of rows: the same for every adapter.

use std::collections::BTreeSet;

use engine::consolidation::{self, Crowd};
use engine::room::Room;
use engine::rules::HOME_FIRST_SECS;
use model::{Audit, Covered, Epoch, ItemKind, LinkView, Snapshot, Tail, UpstreamId};

use crate::codec::{self, LinkColumns};
use crate::failure::Failure;
use crate::{Settings, failure};

pub(crate) const KINDS: [ItemKind; 4] = engine::rules::WANTED_ORDER;
/// The kinds of items that have places in chunks, by their numbers.
const PLACED: [ItemKind; 3] = [ItemKind::Repo, ItemKind::Root, ItemKind::Participant];

#[derive(Debug, sqlx::FromRow)]
pub(crate) struct RelayRow {
    url: String,
    role: String,
    epoch: i64,
    #[sqlx(flatten)]
    link: LinkColumns,
    learned: String,
    refresh_at: Option<i64>,
    ask_at: Option<i64>,
    empty_since: Option<i64>,
    layout: i64,
    layout_taken: i64,
    audit_at: Option<i64>,
    audit_part: i64,
}

impl RelayRow {
    /// S9: from which chunk on the confirmed items are to be compared now.
    pub(crate) fn audits_from(&self, now: i64) -> Option<i64> {
        let is_due = self.audit_at.is_some_and(|at| at <= now) && self.audit_part > 0;
        is_due.then_some(self.audit_part - 1)
    }

    /// S9: the part of the audit that is next, with the rows of its chunk.
    fn audit(&self, rows: Vec<ItemRow>) -> Result<Option<Audit>, Failure> {
        let Some(due_at) = self.audit_at.map(codec::timestamp) else { return Ok(None) };
        let items = read(rows)?;
        let chunk = items.first().and_then(|covered| covered.chunk);
        let part = chunk.map_or(codec::small(self.audit_part), |chunk| chunk + 1);
        Ok(Some(Audit { due_at, part, items: items.into_iter().map(|covered| covered.item).collect() }))
    }

    /// The layout that the live filters of the link are to be rebuilt to.
    fn rebuild(&self) -> Option<u64> {
        let is_up = matches!(self.link.view(), LinkView::Up { .. });
        (is_up && self.layout != self.layout_taken).then(|| codec::unsigned(self.layout))
    }
}

/// Items of one upstream of one kind and state.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Sum {
    kind: i64,
    status: i64,
    n: i64,
    placed: i64,
}

/// Of one upstream and kind: the highest chunk in use, and the items of the largest.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Places {
    kind: i64,
    newest: Option<i64>,
    largest: Option<i64>,
}

/// The figures of an upstream, kept as its coverage changes.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    wanted: u64,
    pending: u64,
    confirmed: u64,
    /// Items that have a place, by kind. A wanted item keeps its place, so it counts where it stands.
    members: [u64; 3],
    newest: [Option<u32>; 3],
    /// Items of the largest chunk, by kind.
    largest: [u64; 3],
}

/// Kind, key and chunk of a covered item.
pub(crate) type ItemRow = (i64, String, Option<i64>);

/// What the lists of a snapshot hold.
pub(crate) struct Lists {
    pub(crate) missing: Vec<Covered>,
    pub(crate) tails: Vec<Tail>,
    pub(crate) covered: Option<Vec<Covered>>,
    /// The chunk that an audit is at.
    pub(crate) audited: Vec<ItemRow>,
}

impl Figures {
    pub(crate) fn of(sums: &[Sum], places: &[Places]) -> Self {
        let mut figures = Self::default();
        for Sum { kind, status, n, placed } in sums {
            match *status {
                codec::WANTED => figures.wanted += codec::unsigned(*n),
                codec::PENDING => figures.pending += codec::unsigned(*n),
                _ => figures.confirmed += codec::unsigned(*n),
            }
            // What is only named has no place.
            if let Some(kind) = placed_kind(*kind) {
                figures.members[kind] += codec::unsigned(*placed);
            }
        }
        for Places { kind, newest, largest } in places {
            if let Some(kind) = placed_kind(*kind) {
                figures.newest[kind] = newest.map(codec::small);
                figures.largest[kind] = largest.map_or(0, codec::unsigned);
            }
        }
        figures
    }

    fn chunks(&self) -> (u32, u32) {
        let top = |newest: Option<u32>| newest.map_or(0, |highest| highest + 1);
        (top(self.newest[0]), top(self.newest[1]))
    }

    fn crowd(&self) -> Crowd {
        let (members, largest) = ((self.members[0], self.members[1]), (self.largest[0], self.largest[1]));
        Crowd { chunks: self.chunks(), members, largest }
    }

    /// Whether the plan may need everything that is covered.
    pub(crate) fn needs_covered(&self, relay: &RelayRow, settings: &Settings) -> Result<bool, Failure> {
        let room = Room::of(&codec::learned(&relay.learned)?);
        let limit = room.live_limit(settings.policy.live_limit);
        Ok(consolidation::needs_covered(&relay.link.view(), relay.rebuild(), &self.crowd(), &room, limit))
    }

    /// The newest chunk of each kind, and every chunk that a missing item belongs to.
    pub(crate) fn chunks_in_sight(&self, missing: &[Covered]) -> BTreeSet<(ItemKind, u32)> {
        let newest = PLACED.into_iter().zip(self.newest).filter_map(|(kind, newest)| Some((kind, newest?)));
        let placed = missing.iter().filter(|covered| PLACED.contains(&covered.item.kind()));
        let touched = placed.filter_map(|covered| Some((covered.item.kind(), covered.chunk?)));
        newest.chain(touched).collect()
    }
}

fn placed_kind(kind: i64) -> Option<usize> {
    usize::try_from(kind).ok().filter(|kind| *kind < PLACED.len())
}

pub(crate) fn read(rows: Vec<ItemRow>) -> Result<Vec<Covered>, Failure> {
    let covered = |(kind, key, chunk): ItemRow| Ok(Covered { item: codec::item(kind, &key)?, chunk: chunk.map(codec::small) });
    rows.into_iter().map(covered).collect()
}

/// What may be asked for of one kind: items that have a place before those that need one, then in the order of keys.
pub(crate) fn missing_in_order(rows: Vec<ItemRow>) -> Result<Vec<Covered>, Failure> {
    let mut missing = read(rows)?;
    missing.sort_by(|this, that| place(this).cmp(&place(that)).then_with(|| this.item.cmp(&that.item)));
    Ok(missing)
}

fn place(covered: &Covered) -> (bool, Option<u32>) {
    (covered.chunk.is_none(), covered.chunk)
}

/// A chunk with all its members.
pub(crate) fn tail(chunk: u32, members: Vec<ItemRow>) -> Result<Tail, Failure> {
    if members.is_empty() {
        return Err(failure::unreadable("an empty chunk"));
    }
    Ok(Tail { chunk, items: read(members)?.into_iter().map(|covered| covered.item).collect() })
}

/// Items wanted since this moment or longer wait for home no more.
pub(crate) fn waited_since(now: i64) -> i64 {
    now.saturating_sub(codec::signed(HOME_FIRST_SECS))
}

pub(crate) fn snapshot(
    upstream: UpstreamId,
    relay: &RelayRow,
    figures: &Figures,
    in_flight: i64,
    (lists, now): (Lists, i64),
) -> Result<Snapshot, Failure> {
    let Lists { missing, tails, covered, audited } = lists;
    Ok(Snapshot {
        upstream,
        url: codec::url(&relay.url)?,
        role: codec::role(&relay.role)?,
        epoch: Epoch(relay.epoch),
        link: relay.link.view(),
        learned: codec::learned(&relay.learned)?,
        now: codec::timestamp(now),
        missing,
        wanted: figures.wanted,
        pending: figures.pending,
        confirmed: figures.confirmed,
        batches_in_flight: usize::try_from(in_flight).unwrap_or(0),
        chunks: figures.chunks(),
        largest: figures.crowd().largest,
        layout: codec::unsigned(relay.layout),
        rebuild: relay.rebuild(),
        tails,
        covered,
        // Drawn when the first link comes up; before that nothing can be due.
        refresh_at: codec::timestamp(relay.refresh_at.unwrap_or(i64::MAX)),
        ask_at: relay.ask_at.map(codec::timestamp),
        empty_since: relay.empty_since.map(codec::timestamp),
        audit: relay.audit(audited)?,
    })
}
