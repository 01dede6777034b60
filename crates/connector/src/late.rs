//! Where an event's outcome goes: to the session that read the event, or, when that has ended, to the books all the same.
//!
//! Owns: rows whose session has ended, until a report of any session of the process takes them along. A row that is lost here
//! would be an event that the next link reads again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{LedgerRow, Role};
use tokio::sync::mpsc;

use crate::intake::{Settled, What};
use crate::metrics;

/// Rows that wait for a report, some 300 bytes each. What is beyond is read again, and home says that it has it.
const MOST: usize = 65_536;

#[derive(Debug, Default)]
pub(crate) struct Late(Mutex<Vec<LedgerRow>>);

impl Late {
    pub(crate) fn keep(&self, rows: impl IntoIterator<Item = LedgerRow>) {
        let mut kept = self.lock();
        let room = MOST - kept.len();
        kept.extend(rows.into_iter().take(room));
    }

    /// Some of the rows, for a report of somebody else's.
    pub(crate) fn take(&self, most: usize) -> Vec<LedgerRow> {
        let mut kept = self.lock();
        let left = kept.len().saturating_sub(most);
        kept.split_off(left)
    }

    /// Rows are added and taken in single steps, so a panic elsewhere cannot have left them half-written.
    fn lock(&self) -> MutexGuard<'_, Vec<LedgerRow>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the outcomes of one session's events. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Outcomes(Arc<Way>);

#[derive(Debug)]
struct Way {
    role: Role,
    to: mpsc::UnboundedSender<Settled>,
    late: Arc<Late>,
}

impl Outcomes {
    pub(crate) fn of_session(role: Role, late: &Arc<Late>) -> (Self, mpsc::UnboundedReceiver<Settled>) {
        let (to, settled) = mpsc::unbounded_channel();
        (Self(Arc::new(Way { role, to, late: Arc::clone(late) })), settled)
    }

    /// It took so long from an event's reading to this.
    pub(crate) fn took(&self, what: &What, took: Duration) {
        if let What::Fresh(row) = what {
            metrics::came_home(self.0.role, row.outcome, took);
        }
    }

    pub(crate) fn tell(&self, settled: Settled) {
        if let Err(mpsc::error::SendError(settled)) = self.0.to.send(settled) {
            self.keep(settled);
        }
    }

    /// The session has ended: what was new goes to the books without it.
    pub(crate) fn keep(&self, Settled { what, .. }: Settled) {
        metrics::event(self.0.role, &what);
        if let What::Fresh(row) = what {
            self.0.late.keep([*row]);
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::session::Ticket;
    use model::{EventId, Kind, Outcome, Timestamp, UpstreamId};

    use super::*;

    fn settled(n: u8) -> Settled {
        let (id, created_at, kind) = (EventId::from_byte_array([n; 32]), Timestamp::from_secs(1), Kind::from_u16(1621));
        let (refs, upstream, ticket) = (Vec::new(), UpstreamId(1), Ticket::default());
        let row = LedgerRow {
            id,
            created_at,
            kind,
            refs,
            outcome: Outcome::Stored,
            reason: None,
            upstream,
            batch: ticket.batch,
            via: ticket.via,
        };
        Settled { ticket, event: id, weight: 0, what: What::Fresh(Box::new(row)) }
    }

    #[test]
    fn an_outcome_that_comes_after_the_end_of_its_session_is_kept_for_the_books() {
        let late = Arc::<Late>::default();
        let (outcomes, mut session) = Outcomes::of_session(Role::Listed, &late);
        outcomes.tell(settled(1));
        assert_eq!(session.try_recv().map(|settled| settled.event).ok(), Some(settled(1).event));
        assert_eq!(late.take(10), [], "its session reports it");
        drop(session);
        outcomes.tell(settled(2));
        outcomes.tell(settled(3));
        assert_eq!((late.take(1).len(), late.take(10).len(), late.take(10).len()), (1, 1, 0), "each once");
    }

    #[test]
    fn rows_that_nobody_reports_do_not_pile_up_without_end() {
        let late = Late::default();
        let What::Fresh(row) = settled(1).what else { panic!("it is new") };
        late.keep(std::iter::repeat_n(*row, MOST + 5));
        late.keep([]);
        assert_eq!(late.take(usize::MAX).len(), MOST);
    }
}
