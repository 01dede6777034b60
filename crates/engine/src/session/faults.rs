//! Frames that cannot be taken: forged copies, events that nobody can read, answers under an id that was never opened. They
//! may stand for a true event, so what brought them does not end complete, until they came the same again and again.
//!
//! The fault is then the relay's, and reading it once more brings nothing: the stretch ends, and the fault is said to whoever
//! looks at the relay. Staying incomplete for ever would hold back all else that is wanted there, and prove no more.

use std::collections::{BTreeMap, BTreeSet};

use model::{Event, EventId, Faulty, Learned};

use super::unit::{Stage, Unit};
use super::words::{Now, UnitId};
use super::{Owner, Session, SubNo};
use crate::conduct::Excess;

/// Readings of a stretch with the same faulty frames, after which it ends with the fault in sight.
const MOST_READINGS: u32 = 3;
/// What is read by several filters of a batch is one reading; the next comes later than this (milliseconds).
const READING_MS: u64 = 4_000;
/// Faulty frames that are told apart, per stretch and per link; of more, nothing is excused.
const MOST_FAULTS: usize = 1_000;

/// What is wrong with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// Wrong id or signature.
    Forged,
    Unreadable,
    /// Sent under a subscription id that this link has never used.
    Astray,
}

/// The faulty frames of one stretch, by fingerprint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Faults {
    frames: BTreeMap<u64, (Fault, Option<EventId>)>,
    has_more: bool,
}

/// How often a faulty frame was read on this link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    fault: Fault,
    readings: u32,
    last_ms: u64,
}

impl Faults {
    fn note(&mut self, frame: u64, fault: Fault, event: Option<EventId>) {
        if self.frames.len() < MOST_FAULTS || self.frames.contains_key(&frame) {
            self.frames.insert(frame, (fault, event));
        } else {
            self.has_more = true;
        }
    }

    fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// "2 forged, 1 unreadable".
    pub(super) fn words(&self) -> String {
        let count = |wanted: Fault| self.frames.values().filter(|(fault, _)| *fault == wanted).count();
        let sorts = [(Fault::Forged, "forged"), (Fault::Unreadable, "unreadable"), (Fault::Astray, "under a foreign id")];
        let words = sorts.iter().map(|(fault, word)| (count(*fault), word)).filter(|(count, _)| *count > 0);
        let words: Vec<String> = words.map(|(count, word)| format!("{count} {word}")).collect();
        words.join(", ")
    }
}

impl Session {
    /// Takes an EVENT frame whose event cannot be read. `frame` stands for its text: the same again for the same text.
    pub fn unreadable(&mut self, sub: &str, frame: u64, now: Now) {
        self.note(Excess::Unreadable, now);
        let Some((sub, owner)) = self.owner(sub) else { return };
        let unit = match owner {
            Owner::Page(unit) | Owner::Ids(unit) => Some(unit),
            Owner::Live(key) => self.is_reading(key, sub),
            Owner::Exchange(_) => None,
        };
        let Some(unit) = unit.and_then(|id| self.units.get_mut(&id)) else { return };
        unit.moved_ms = now.ms;
        if let Stage::Walk { walk, .. } = &mut unit.stage {
            if walk.is_calibrating() {
                return;
            }
            walk.unreadable();
        }
        unit.faults.note(frame, Fault::Unreadable, None);
    }

    /// A copy of `event` that this unit brought is forged.
    pub(super) fn forged(&mut self, id: UnitId, event: EventId, frame: u64) {
        if let Some(unit) = self.units.get_mut(&id) {
            unit.faults.note(frame, Fault::Forged, Some(event));
        }
    }

    /// A true copy of `event` has its outcome, wherever it came from: the forged ones are of no account.
    pub(super) fn is_true(&mut self, event: EventId) {
        for unit in self.units.values_mut().filter(|unit| !unit.faults.is_empty()) {
            unit.faults.frames.retain(|_, (_, of)| *of != Some(event));
        }
    }

    /// An event under an id that this link has never used: it may be what any request in flight has asked for.
    pub(super) fn astray(&mut self, sub: &str, event: &Event) {
        if SubNo::read(sub).is_some_and(|sub| sub.0 <= self.last_number) {
            return;
        }
        let frame = event.id.as_bytes().iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        self.note_for_all_who_ask(frame, Fault::Astray);
    }

    /// A message that nobody can read, or that is longer than any that was asked for: it may hold what any request in flight
    /// has asked for. `frame` stands for its text.
    pub fn garbage(&mut self, excess: Excess, frame: u64, now: Now) {
        self.note(excess, now);
        self.note_for_all_who_ask(frame, Fault::Unreadable);
    }

    fn note_for_all_who_ask(&mut self, frame: u64, fault: Fault) {
        let is_asking = |unit: &&mut Unit| match &unit.stage {
            Stage::Walk { page, .. } => page.is_some(),
            Stage::Exchange(exchange) => !exchange.in_flight.is_empty(),
            Stage::Queued { .. } | Stage::Settling => false,
        };
        for unit in self.units.values_mut().filter(is_asking) {
            unit.faults.note(frame, fault, None);
        }
    }

    /// Why a unit that was read to its end, and whose events are settled, is not complete all the same.
    pub(super) fn fault_of(&mut self, id: UnitId, now: Now) -> Option<String> {
        let faults = self.units.get(&id).map(|unit| unit.faults.clone()).filter(|faults| !faults.is_empty())?;
        let known: BTreeSet<u64> = faults.frames.keys().copied().filter(|frame| self.was_read(*frame, &faults, now)).collect();
        if faults.has_more || known.len() < faults.frames.len() {
            return Some(faults.words());
        }
        self.say_faulty(now);
        None
    }

    /// Counts this reading of a faulty frame; whether there were enough of them.
    fn was_read(&mut self, frame: u64, faults: &Faults, now: Now) -> bool {
        let Some((fault, _)) = faults.frames.get(&frame) else { return false };
        if self.faulty.len() >= MOST_FAULTS && !self.faulty.contains_key(&frame) {
            return false;
        }
        let seen = self.faulty.entry(frame).or_insert(Seen { fault: *fault, readings: 0, last_ms: 0 });
        if seen.readings == 0 || now.ms >= seen.last_ms + READING_MS {
            seen.readings += 1;
            seen.last_ms = now.ms;
        }
        seen.readings >= MOST_READINGS
    }

    /// What is excused is said: it stays in sight for whoever looks at this relay.
    fn say_faulty(&mut self, now: Now) {
        let count = |fault: Fault| {
            self.faulty.values().filter(|seen| seen.fault == fault && seen.readings >= MOST_READINGS).count() as u64
        };
        let (forged, unreadable, astray) = (count(Fault::Forged), count(Fault::Unreadable), count(Fault::Astray));
        let faulty = Faulty { at: now.wall, forged, unreadable, astray };
        let is_said = self.learned.faulty.is_some_and(|said| Faulty { at: said.at, ..faulty } == said);
        if !is_said {
            self.learn(Learned { faulty: Some(faulty), ..Learned::default() });
        }
    }
}
