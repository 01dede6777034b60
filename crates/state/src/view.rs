//! The planner's view of one upstream, made of rows: the same for every adapter.

use std::collections::BTreeSet;

use engine::consolidation;
use engine::rules::HOME_FIRST_SECS;
use model::{Covered, Epoch, ItemKind, LinkView, Snapshot, Tail, UpstreamId};

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
}

impl RelayRow {
    /// The layout that the live filters of the link are to be rebuilt to.
    fn rebuild(&self) -> Option<u64> {
        let is_up = matches!(self.link.view(), LinkView::Up { .. });
        (is_up && self.layout != self.layout_taken).then(|| codec::unsigned(self.layout))
    }
}

/// Rows of one upstream that share state, kind and chunk.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Group {
    status: i64,
    kind: i64,
    chunk: Option<i64>,
    members: i64,
}

/// The figures of an upstream, added up from its groups.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    wanted: u64,
    pending: u64,
    confirmed: u64,
    /// Items that have a place, and the chunks in use in order, by kind.
    members: [u64; 3],
    chunks: [Vec<u32>; 3],
}

/// Kind, key and chunk of a covered item.
pub(crate) type ItemRow = (i64, String, Option<i64>);

/// What the lists of a snapshot hold.
pub(crate) struct Lists {
    pub(crate) missing: Vec<Covered>,
    pub(crate) tails: Vec<Tail>,
    pub(crate) covered: Option<Vec<Covered>>,
}

impl Figures {
    pub(crate) fn of(groups: &[Group]) -> Self {
        let mut figures = Self::default();
        for group in groups {
            let members = codec::unsigned(group.members);
            match group.status {
                codec::WANTED => figures.wanted += members,
                codec::PENDING => figures.pending += members,
                _ => figures.confirmed += members,
            }
            // A wanted item keeps its place, so it counts where it stands. What is only named has none.
            let kind = usize::try_from(group.kind).ok().filter(|kind| *kind < PLACED.len());
            if let (Some(kind), Some(chunk)) = (kind, group.chunk) {
                figures.members[kind] += members;
                figures.chunks[kind].push(codec::small(chunk));
            }
        }
        for chunks in &mut figures.chunks {
            chunks.sort_unstable();
            chunks.dedup();
        }
        figures
    }

    fn chunks(&self) -> (u32, u32) {
        let top = |chunks: &[u32]| chunks.last().map_or(0, |highest| highest + 1);
        (top(&self.chunks[0]), top(&self.chunks[1]))
    }

    /// Whether the plan may need everything that is covered.
    pub(crate) fn needs_covered(&self, relay: &RelayRow, settings: &Settings) -> Result<bool, Failure> {
        let most = settings.policy.live_limit;
        let limit = codec::learned(&relay.learned)?.live_limit.map_or(most, |allowed| allowed.min(most));
        let members = (self.members[0], self.members[1]);
        Ok(consolidation::needs_covered(&relay.link.view(), relay.rebuild(), (self.chunks(), members), limit))
    }

    /// The newest chunk of each kind, and every chunk that a missing item belongs to.
    pub(crate) fn chunks_in_sight(&self, missing: &[Covered]) -> BTreeSet<(ItemKind, u32)> {
        let newest = PLACED.into_iter().zip(&self.chunks).filter_map(|(kind, chunks)| Some((kind, *chunks.last()?)));
        let placed = missing.iter().filter(|covered| PLACED.contains(&covered.item.kind()));
        let touched = placed.filter_map(|covered| Some((covered.item.kind(), covered.chunk?)));
        newest.chain(touched).collect()
    }
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
    let Lists { missing, tails, covered } = lists;
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
        layout: codec::unsigned(relay.layout),
        rebuild: relay.rebuild(),
        tails,
        covered,
        // Drawn when the first link comes up; before that nothing can be due.
        refresh_at: codec::timestamp(relay.refresh_at.unwrap_or(i64::MAX)),
        ask_at: relay.ask_at.map(codec::timestamp),
        empty_since: relay.empty_since.map(codec::timestamp),
    })
}
