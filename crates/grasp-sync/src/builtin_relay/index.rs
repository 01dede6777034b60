//! The ordered sets through which a query finds its events without reading the others.
//! It owns the choice of the narrowest set and the match of an event with a filter.
//! It never decides what is kept.

use std::cmp::Reverse;
use std::collections::btree_set::Range;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::sync::Arc;

use nostr::event::{Event, EventId};
use nostr::filter::{Filter, SingleLetterTag};
use nostr::key::PublicKey;

use super::archive::Stored;

/// Newest first; within a second the lowest id first (NIP-01).
type Position = (Reverse<u64>, EventId);
type Positions = BTreeSet<Position>;

#[derive(Debug, Default)]
pub(super) struct Index {
    by_id: HashMap<EventId, Arc<Stored>>,
    all: Positions,
    by_kind: BTreeMap<u16, Positions>,
    by_author: BTreeMap<PublicKey, Positions>,
    by_tag: BTreeMap<SingleLetterTag, BTreeMap<String, Positions>>,
}

impl Index {
    pub(super) fn get(&self, id: &EventId) -> Option<&Arc<Stored>> {
        self.by_id.get(id)
    }

    pub(super) fn insert(&mut self, stored: Arc<Stored>) {
        let event = &stored.event;
        let at = position(event);
        self.all.insert(at);
        self.by_kind.entry(event.kind.as_u16()).or_default().insert(at);
        self.by_author.entry(event.pubkey).or_default().insert(at);
        for (letter, value) in indexed_tags(event) {
            let values = self.by_tag.entry(letter).or_default();
            values.entry(value.to_owned()).or_default().insert(at);
        }
        self.by_id.insert(event.id, stored);
    }

    pub(super) fn remove(&mut self, id: &EventId) -> Option<Arc<Stored>> {
        let stored = self.by_id.remove(id)?;
        let event = &stored.event;
        let at = position(event);
        self.all.remove(&at);
        take_out(&mut self.by_kind, &event.kind.as_u16(), &at);
        take_out(&mut self.by_author, &event.pubkey, &at);
        for (letter, value) in indexed_tags(event) {
            if let Some(values) = self.by_tag.get_mut(&letter) {
                take_out(values, value, &at);
            }
        }
        Some(stored)
    }

    pub(super) fn query(&self, filter: &Filter, limit: usize, now: u64) -> Vec<Arc<Stored>> {
        let wanted = |stored: &&Arc<Stored>| !stored.is_expired(now) && matches(filter, &stored.event);
        if let Some(ids) = &filter.ids {
            let mut found: Vec<_> = ids.iter().filter_map(|id| self.get(id)).filter(wanted).collect();
            found.sort_by_key(|stored| position(&stored.event));
            return found.into_iter().take(limit).cloned().collect();
        }
        let since = filter.since.map_or(0, |at| at.as_secs());
        let until = filter.until.map_or(u64::MAX, |at| at.as_secs());
        if since > until {
            return Vec::new();
        }
        Merge::new(&self.narrowest(filter), since, until)
            .filter_map(|at| self.get(&at.1))
            .filter(wanted)
            .take(limit)
            .cloned()
            .collect()
    }

    /// The sets with the fewest entries that together hold every match.
    fn narrowest(&self, filter: &Filter) -> Vec<&Positions> {
        let mut choices: Vec<Vec<&Positions>> = vec![vec![&self.all]];
        if let Some(kinds) = &filter.kinds {
            choices.push(kinds.iter().filter_map(|kind| self.by_kind.get(&kind.as_u16())).collect());
        }
        if let Some(authors) = &filter.authors {
            choices.push(authors.iter().filter_map(|author| self.by_author.get(author)).collect());
        }
        for (letter, wanted) in &filter.generic_tags {
            let values = self.by_tag.get(letter);
            let sets = values.into_iter().flat_map(|values| wanted.iter().filter_map(|v| values.get(v)));
            choices.push(sets.collect());
        }
        let size = |sets: &Vec<&Positions>| sets.iter().map(|set| set.len()).sum::<usize>();
        choices.into_iter().min_by_key(size).unwrap_or_default()
    }
}

/// Whether the event matches. Unlike `Filter::match_event`, an empty array matches nothing,
/// and nothing is allocated: this runs for every event and every open subscription.
pub(super) fn matches(filter: &Filter, event: &Event) -> bool {
    filter.ids.as_ref().is_none_or(|ids| ids.contains(&event.id))
        && filter.authors.as_ref().is_none_or(|authors| authors.contains(&event.pubkey))
        && filter.kinds.as_ref().is_none_or(|kinds| kinds.contains(&event.kind))
        && filter.since.is_none_or(|since| event.created_at >= since)
        && filter.until.is_none_or(|until| event.created_at <= until)
        && filter
            .generic_tags
            .iter()
            .all(|(letter, wanted)| indexed_tags(event).any(|(name, value)| name == *letter && wanted.contains(value)))
}

fn position(event: &Event) -> Position {
    (Reverse(event.created_at.as_secs()), event.id)
}

/// Only the first value of a single-letter tag can be asked for (NIP-01).
fn indexed_tags(event: &Event) -> impl Iterator<Item = (SingleLetterTag, &str)> {
    event.tags.iter().filter_map(|tag| Some((tag.single_letter_tag()?, tag.content()?)))
}

fn take_out<K, Q>(sets: &mut BTreeMap<K, Positions>, key: &Q, at: &Position)
where
    K: Ord + std::borrow::Borrow<Q>,
    Q: Ord + ?Sized,
{
    if let Some(set) = sets.get_mut(key) {
        set.remove(at);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}

/// Walks several ordered sets as if they were one, naming each position once.
struct Merge<'a> {
    sources: Vec<Range<'a, Position>>,
    heads: BinaryHeap<Reverse<(Position, usize)>>,
    last: Option<Position>,
}

impl<'a> Merge<'a> {
    /// `since` and `until` are Unix seconds, both inclusive, and in order.
    fn new(sets: &[&'a Positions], since: u64, until: u64) -> Self {
        let newest = (Reverse(until), EventId::from_byte_array([0; 32]));
        let oldest = (Reverse(since), EventId::from_byte_array([0xff; 32]));
        let mut merge =
            Self { sources: sets.iter().map(|set| set.range(newest..=oldest)).collect(), heads: BinaryHeap::new(), last: None };
        for source in 0..merge.sources.len() {
            merge.advance(source);
        }
        merge
    }

    fn advance(&mut self, source: usize) {
        if let Some(at) = self.sources[source].next() {
            self.heads.push(Reverse((*at, source)));
        }
    }
}

impl Iterator for Merge<'_> {
    type Item = Position;

    fn next(&mut self) -> Option<Position> {
        loop {
            let Reverse((at, source)) = self.heads.pop()?;
            self.advance(source);
            if self.last != Some(at) {
                self.last = Some(at);
                return Some(at);
            }
        }
    }
}
