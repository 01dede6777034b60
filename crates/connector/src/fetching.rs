//! What one session fetches for all: the ids that others wait for while it asks its relay for them.
//!
//! Owns: that each of them is read, or given back; when the unit has what it gets, when the link ends, however it ends.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use engine::session::UnitId;
use model::EventId;
use tokio_util::sync::CancellationToken;

use crate::desk::{LinkId, Spared};
use crate::intake::{Awaited, Shared};

/// Ids of one link that others wait for. Beyond it they are read by each.
const MOST: usize = 10_000;
/// How often what takes too long is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(5);

pub(crate) struct Fetching {
    shared: Arc<Shared>,
    link: LinkId,
    units: BTreeMap<UnitId, HashSet<EventId>>,
}

impl Fetching {
    pub(crate) fn begin(shared: &Arc<Shared>, link: LinkId) -> Self {
        Self { shared: Arc::clone(shared), link, units: BTreeMap::new() }
    }

    /// Leaves in `need` what has to be fetched. The rest another session, or another filter of this one, has brought home since
    /// the set was loaded, or is about to.
    pub(crate) fn spare(&mut self, unit: UnitId, need: &mut Vec<EventId>, waiter: impl Fn() -> Awaited) -> Spared {
        let room = MOST.saturating_sub(self.units.values().map(HashSet::len).sum());
        let spared = self.shared.desk.spare(need, (self.link, room), waiter);
        self.units.entry(unit).or_default().extend(need.iter().take(room));
        spared
    }

    /// It was read: whoever brings it home tells those who wait.
    pub(crate) fn read(&mut self, unit: UnitId, id: EventId) {
        if let Some(ids) = self.units.get_mut(&unit) {
            ids.remove(&id);
        }
    }

    /// The unit gets no more of what it asked for.
    pub(crate) fn ended(&mut self, unit: UnitId) {
        let Some(ids) = self.units.remove(&unit) else { return };
        tell_to_ask(self.shared.desk.not_fetched(self.link, ids));
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        let ids = std::mem::take(&mut self.units).into_values().flatten();
        tell_to_ask(self.shared.desk.not_fetched(self.link, ids));
    }
}

fn tell_to_ask(freed: Vec<(EventId, Awaited)>) {
    freed.into_iter().for_each(|(id, one)| one.settle(id, None));
}

/// Nobody waits for a slow relay for long: until `stop`.
pub(crate) async fn hurry(shared: Arc<Shared>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        tell_to_ask(shared.desk.overdue());
    }
}
