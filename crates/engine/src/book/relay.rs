//! One relay of the book: its link, its rows, its batches, and the transitions that keep them in step.

use std::collections::{BTreeMap, BTreeSet};

use model::{BatchId, Epoch, Item, ItemKind, Learned, LinkView, RelayUrl, Role, Timestamp};

use crate::conduct::Strikes;
use crate::health::Health;
use crate::sequence::Applied;

/// Coverage of one item on one relay: exactly one state (I2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub status: Status,
    /// The chunk of live filters that the item belongs to, from its first claim on.
    pub chunk: Option<u32>,
    /// Since when the item waits, for the rule that home comes first.
    pub wanted_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Wanted,
    Pending(BatchId),
    Confirmed,
}

/// A batch that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub epoch: Epoch,
    pub items: BTreeSet<Item>,
    /// Without progress until then, its items are wanted again.
    pub deadline: Timestamp,
}

/// Rows by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub wanted: u64,
    pub pending: u64,
    pub confirmed: u64,
}

#[derive(Debug, Clone)]
pub struct Relay {
    pub url: RelayUrl,
    pub role: Role,
    pub epoch: Epoch,
    pub link: LinkView,
    /// Everything up to this moment was covered by a link that lived.
    pub last_up: Option<Timestamp>,
    /// Since when something may be missed on this link: `last_up` does not pass it.
    pub behind: Option<Timestamp>,
    pub health: Health,
    pub strikes: Strikes,
    pub learned: Learned,
    /// Nothing is asked before this moment.
    pub ask_at: Option<Timestamp>,
    /// Incomplete batches in a row.
    pub ask_failures: u32,
    /// When the link that is up came up.
    pub(super) up_since: Option<Timestamp>,
    /// S9: from when on the part of an audit that is next may be asked for.
    pub audit: Option<(Timestamp, u32)>,
    /// Drawn when the first link comes up; before that nothing can be due.
    pub refresh_at: Option<Timestamp>,
    pub empty_since: Option<Timestamp>,
    pub(super) applied: Applied,
    /// Counts the changes of chunks, and the count that the session has taken.
    pub layout: u64,
    pub layout_taken: u64,
    pub(crate) rows: BTreeMap<Item, Row>,
    pub(crate) batches: BTreeMap<BatchId, Batch>,
}

impl Relay {
    pub(super) fn new(url: RelayUrl, now: Timestamp) -> Self {
        Self {
            url,
            role: Role::Listed,
            epoch: Epoch(0),
            link: LinkView::Down { dial_at: now },
            last_up: None,
            behind: None,
            health: Health::default(),
            strikes: Strikes::default(),
            learned: Learned::default(),
            ask_at: None,
            ask_failures: 0,
            up_since: None,
            audit: None,
            refresh_at: None,
            empty_since: Some(now),
            applied: Applied::default(),
            layout: 0,
            layout_taken: 0,
            rows: BTreeMap::new(),
            batches: BTreeMap::new(),
        }
    }

    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.link, LinkView::Up { .. })
    }

    /// The layout that the live filters of this link are to be rebuilt to.
    #[must_use]
    pub fn rebuild(&self) -> Option<u64> {
        (self.is_up() && self.layout != self.layout_taken).then_some(self.layout)
    }

    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        matches!(self.link, LinkView::Up { caught_up: true, .. })
    }

    /// The target of this relay, item by item.
    pub fn rows(&self) -> impl Iterator<Item = (&Item, &Row)> {
        self.rows.iter()
    }

    /// Batches that have not ended.
    pub fn batches(&self) -> impl Iterator<Item = (BatchId, &Batch)> {
        self.batches.iter().map(|(id, batch)| (*id, batch))
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for row in self.rows.values() {
            match row.status {
                Status::Wanted => counts.wanted += 1,
                Status::Pending(_) => counts.pending += 1,
                Status::Confirmed => counts.confirmed += 1,
            }
        }
        counts
    }

    /// S10: the link ends. What was pending is wanted again, and its batches are over.
    pub(super) fn end_link(&mut self, last_up: Option<Timestamp>, now: Timestamp) {
        self.release_all();
        if self.is_up() {
            self.last_up = match self.behind.take() {
                Some(behind) => last_up.map(|last_up| last_up.min(behind)),
                None => last_up,
            };
            self.ask_at = None;
            self.link = LinkView::Down { dial_at: now };
        }
    }

    pub(super) fn release_batch(&mut self, batch: BatchId) {
        self.batches.remove(&batch);
        for row in self.rows.values_mut().filter(|row| row.status == Status::Pending(batch)) {
            row.status = Status::Wanted;
        }
    }

    fn release_all(&mut self) {
        self.batches.clear();
        for row in self.rows.values_mut().filter(|row| matches!(row.status, Status::Pending(_))) {
            row.status = Status::Wanted;
        }
    }

    /// S8, S15: everything anew. Chunks are kept: live filters may still stand on them.
    pub(super) fn want_all(&mut self, now: Timestamp) {
        self.release_all();
        for row in self.rows.values_mut().filter(|row| row.status == Status::Confirmed) {
            row.status = Status::Wanted;
            row.wanted_at = now;
        }
    }

    /// S9: the confirmed items of the first chunk at or above `chunk`, and which it is.
    pub(super) fn confirmed_from(&self, chunk: u32) -> Option<(u32, Vec<Item>)> {
        let is_confirmed = |row: &Row| row.status == Status::Confirmed;
        let places = self.rows.values().filter(|row| is_confirmed(row)).filter_map(|row| row.chunk);
        let first = places.filter(|place| *place >= chunk).min()?;
        let members = self.rows.iter().filter(|(_, row)| is_confirmed(row) && row.chunk == Some(first));
        Some((first, members.map(|(item, _)| item.clone()).collect()))
    }

    /// S14: the named items get new places; all others lose theirs, for it may be another's from now on.
    pub(super) fn rechunk(&mut self, places: &[(Item, u32)]) {
        if places.is_empty() {
            return;
        }
        self.layout += 1;
        for (_, row) in self.rows.iter_mut().filter(|(item, _)| item.kind() != ItemKind::Participant) {
            row.chunk = None;
        }
        for (item, chunk) in places {
            if let Some(row) = self.rows.get_mut(item) {
                row.chunk = Some(*chunk);
            }
        }
    }

    /// Whether the row came or went.
    pub(super) fn set_target(&mut self, item: &Item, is_target: bool, now: Timestamp) -> bool {
        if is_target == self.rows.contains_key(item) {
            return false;
        }
        if is_target {
            self.rows.insert(item.clone(), Row { status: Status::Wanted, chunk: None, wanted_at: now });
        } else {
            let had_place = self.rows.remove(item).is_some_and(|row| row.chunk.is_some());
            self.layout += u64::from(had_place && self.is_up());
            for batch in self.batches.values_mut() {
                batch.items.remove(item);
            }
        }
        self.empty_since = if self.rows.is_empty() { self.empty_since.or(Some(now)) } else { None };
        true
    }

    /// One above the highest chunk number in use: by repos, by roots; they share one row of numbers.
    pub(super) fn chunks(&self) -> (u32, u32) {
        let above = |kind| self.placed(kind).map(|(chunk, _)| chunk + 1).max().unwrap_or(0);
        (above(ItemKind::Repo), above(ItemKind::Root))
    }

    /// Items that have a place.
    pub(super) fn members(&self) -> (u64, u64) {
        let count = |kind| self.placed(kind).count() as u64;
        (count(ItemKind::Repo), count(ItemKind::Root))
    }

    /// Items of the largest chunk, for each kind.
    pub(super) fn largest(&self) -> (u64, u64) {
        let largest = |kind| {
            let mut sizes: BTreeMap<u32, u64> = BTreeMap::new();
            for (chunk, _) in self.placed(kind) {
                *sizes.entry(chunk).or_default() += 1;
            }
            sizes.into_values().max().unwrap_or(0)
        };
        (largest(ItemKind::Repo), largest(ItemKind::Root))
    }

    /// Every item of `kind` that has a place, with its chunk, whatever its state.
    pub(super) fn placed(&self, kind: ItemKind) -> impl Iterator<Item = (u32, &Item)> {
        self.rows
            .iter()
            .filter(move |(item, _)| item.kind() == kind)
            .filter_map(|(item, row)| row.chunk.map(|chunk| (chunk, item)))
    }
}
