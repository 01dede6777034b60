//! An audit (S9): exchanges of what was confirmed, one after the other, while nothing else is asked. It clears nothing and
//! reads no pages; a relay that refuses the exchange has none.

use model::{BatchOutcome, Filter, Incomplete, Method, Said};

use super::Session;
use super::unit::{Purpose, Stage, Unit};
use super::words::{Output, UnitId};

/// A part of an audit in hand.
#[derive(Debug, Clone)]
pub(super) struct Auditing {
    part: u32,
    units: usize,
    failed: Option<(Incomplete, String)>,
    found: u64,
}

impl Session {
    /// Ordered twice, it is under way once.
    pub(super) fn audit(&mut self, part: u32, filters: Vec<Filter>) {
        if self.auditing.is_some() {
            return;
        }
        self.auditing = Some(Auditing { part, units: filters.len(), failed: None, found: 0 });
        for filter in filters {
            self.queue_unit(Purpose::Audit, filter, Method::Negentropy);
        }
        self.say_audited();
    }

    /// An audit gives way to everything, to another exchange of its own too.
    pub(super) fn may_audit(&self) -> bool {
        let is_other = |unit: &Unit| match unit.purpose {
            Purpose::Audit => !matches!(unit.stage, Stage::Queued { .. }),
            Purpose::Poll(_) => false,
            Purpose::Announcements | Purpose::Gap(_) | Purpose::Batch(_) => true,
        };
        self.batches.is_empty() && !self.units.values().any(is_other)
    }

    /// An exchange of an audit became two.
    pub(super) fn audit_split(&mut self) {
        if let Some(auditing) = &mut self.auditing {
            auditing.units += 1;
        }
    }

    pub(super) fn audit_found(&mut self, id: UnitId) {
        let is_audit = self.units.get(&id).is_some_and(|unit| unit.purpose == Purpose::Audit);
        if let Some(auditing) = self.auditing.as_mut().filter(|_| is_audit) {
            auditing.found += 1;
        }
    }

    pub(super) fn audit_unit_ended(&mut self, failed: Option<(Incomplete, String)>) {
        let Some(auditing) = &mut self.auditing else { return };
        auditing.units -= 1;
        auditing.failed = auditing.failed.take().or(failed);
        self.say_audited();
    }

    fn say_audited(&mut self) {
        let Some(Auditing { part, failed, found, .. }) = self.auditing.take_if(|auditing| auditing.units == 0) else { return };
        let outcome = match failed {
            None => BatchOutcome::Complete,
            Some((why, detail)) => BatchOutcome::Incomplete { why, detail },
        };
        self.out.push_back(Output::Report(Said::Audited { part, outcome, found }));
    }
}
