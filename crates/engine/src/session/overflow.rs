//! What is too much for one exchange is split by time: halves, side by side, each proved for itself. Never splits a quota:
//! a relay that refuses every window alike does not mean its size.

use std::collections::BTreeMap;

use model::{Filter, Method, Timestamp};

use super::Session;
use super::unit::{Purpose, Stage, Unit};
use super::words::{Now, UnitId};

/// Halvings of one stretch; what overflows beyond them is read by pages.
const MOST_SPLITS: u32 = 64;
/// Two halvings that did not change the answer are no matter of size (protocol: NIP-77 refusals).
const SPLITS_BEFORE_QUOTA: u32 = 2;
/// Hardly anything is dated before Nostr began (2020-01-01): where to halve what has no beginning.
const NOSTR_BEGAN: u64 = 1_577_836_800;

/// The part of a filter's time that a unit reads: from a second on, up to another one; open where there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Window {
    from: Option<u64>,
    to: Option<u64>,
    /// The unit that was split.
    origin: Option<UnitId>,
}

/// What is known about the size of a stretch that was split.
#[derive(Debug, Clone, Default)]
pub(super) struct Overflow {
    splits: u32,
    /// One of its windows was answered, or counted by ourselves: size is what is refused.
    is_size: bool,
}

impl Window {
    /// `filter` within this window. The second that a window ends before is asked for too: a relay whose `until` leaves out
    /// the second that it names would leave a hole otherwise.
    pub(super) fn of(self, filter: &Filter) -> Filter {
        let mut filter = filter.clone();
        filter.since = filter.since.max(self.from.map(Timestamp::from_secs));
        filter.until = self.to.map(Timestamp::from_secs).or(filter.until);
        filter
    }

    /// The older half and the newer one, which keeps an open end: events dated in the future lie there. None for a second.
    fn halves(self, origin: UnitId, now: Timestamp) -> Option<(Self, Self)> {
        let low = self.from.unwrap_or(NOSTR_BEGAN);
        let high = self.to.unwrap_or(now.as_secs() + 1);
        let middle = (high > low + 1).then(|| low + (high - low) / 2)?;
        let origin = Some(origin);
        Some((Self { from: self.from, to: Some(middle), origin }, Self { from: Some(middle), to: self.to, origin }))
    }
}

impl Session {
    /// More than an exchange holds: two units take the place of one; a second that still overflows is read by pages.
    pub(super) fn overflowed(&mut self, id: UnitId, now: Now) {
        let Some(unit) = self.units.get(&id) else { return };
        let origin = unit.window.origin.unwrap_or(id);
        let Unit { window, purpose, method, .. } = *unit;
        let known = self.overflows.entry(origin).or_default();
        let is_quota = known.splits >= SPLITS_BEFORE_QUOTA && !known.is_size;
        let halves = window.halves(origin, now.wall).filter(|_| !is_quota && known.splits < MOST_SPLITS);
        let Some((older, newer)) = halves else {
            if is_quota {
                self.walk_all_of(origin);
            }
            return self.walk_instead(id, "it is too much for an exchange", false, now);
        };
        known.splits += 1;
        let filter = unit.filter.clone();
        for window in [older, newer] {
            let part = self.queue_unit(purpose, filter.clone(), method);
            if let Some(unit) = self.units.get_mut(&part) {
                unit.window = window;
            }
        }
        match purpose {
            Purpose::Batch(batch) => self.batches.get_mut(&batch).into_iter().for_each(|batch| batch.units += 1),
            Purpose::Audit => self.audit_split(),
            Purpose::Announcements | Purpose::Gap(_) | Purpose::Poll(_) => {}
        }
        self.drop_unit(id);
    }

    /// The other windows of this stretch would be refused as well.
    fn walk_all_of(&mut self, origin: UnitId) {
        for unit in self.units.values_mut().filter(|unit| unit.window.origin == Some(origin)) {
            unit.method = Method::Req;
        }
    }

    /// A window is answered: what was refused before was its size.
    pub(super) fn window_answered(&mut self, id: UnitId) {
        let origin = self.units.get(&id).and_then(|unit| unit.window.origin);
        if let Some(known) = origin.and_then(|origin| self.overflows.get_mut(&origin)) {
            known.is_size = true;
        }
    }

    pub(super) fn know_to_be_size(&mut self, id: UnitId) {
        let origin = self.units.get(&id).and_then(|unit| unit.window.origin).unwrap_or(id);
        self.overflows.entry(origin).or_default().is_size = true;
    }

    /// Until one of its windows is answered, only one of a stretch is open: the answers tell size from quota.
    pub(super) fn window_must_wait(&self, id: UnitId) -> bool {
        let Some(origin) = self.units.get(&id).and_then(|unit| unit.window.origin) else { return false };
        let is_size = self.overflows.get(&origin).is_some_and(|known| known.is_size);
        let is_open = |unit: &Unit| unit.window.origin == Some(origin) && matches!(unit.stage, Stage::Exchange(_));
        !is_size && self.units.values().any(is_open)
    }

    /// Forgets what was learned about stretches of which nothing is left.
    pub(super) fn forget_overflows(&mut self) {
        let units: &BTreeMap<UnitId, Unit> = &self.units;
        let is_left =
            |origin: &UnitId| units.contains_key(origin) || units.values().any(|unit| unit.window.origin == Some(*origin));
        self.overflows.retain(|origin, _| is_left(origin));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    #[test]
    fn the_newer_half_keeps_its_open_end_and_the_older_one_its_open_beginning() {
        let (older, newer) = Window::default().halves(UnitId(1), NOW).unwrap();
        assert_eq!((older.from, newer.to), (None, None));
        assert_eq!(older.to, newer.from);
        assert_eq!(newer.of(&Filter::new()).until, None);
    }

    #[test]
    fn halves_end_at_a_second() {
        let mut window = Window::default();
        let mut halvings = 0;
        while let Some((_, newer)) = window.halves(UnitId(1), NOW) {
            window = newer;
            halvings += 1;
        }
        assert!(halvings < 32, "{halvings}");
        assert_eq!(window.from, Some(NOW.as_secs()));
    }

    #[test]
    fn a_window_within_a_filter_never_widens_it() {
        let since = Filter::new().since(Timestamp::from_secs(50));
        let window = Window { from: Some(10), to: Some(90), origin: None };
        assert_eq!(window.of(&since).since, Some(Timestamp::from_secs(50)));
    }
}
