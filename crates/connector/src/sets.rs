//! The negentropy arithmetic of a session's exchanges: sets from the ledger, reconciled round by round.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

use std::collections::BTreeMap;
use std::sync::Arc;

use bus::{AskError, StateClient};
use engine::room::Room;
use engine::session::{Input, UnitId};
use model::{EventId, Filter, Learned, LedgerScope, Timestamp};
use negentropy::{Id, Negentropy, NegentropyStorageVector};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::warn;

use crate::survey::Held;

/// Our frames where nothing better is known, in bytes; hex doubles it. Fits relays that take 128 KiB of text.
const FRAME_BYTES: u64 = 60_000;
/// From here on the arithmetic leaves the async threads.
const MANY_ITEMS: usize = 20_000;

type Record = (u64, [u8; 32]);

/// A unit's set: what the ledger holds for its filter, and what the unit fetched since.
struct Set {
    records: Vec<Record>,
    exchange: Negentropy<'static, NegentropyStorageVector>,
}

/// What became of one piece of work on a set.
struct Worked {
    unit: UnitId,
    set: Option<Set>,
    input: Input,
    /// What the set holds and the relay does not.
    have: Vec<Id>,
}

impl Worked {
    fn without_set(unit: UnitId, input: Input) -> Self {
        Self { unit, set: None, input, have: Vec::new() }
    }
}

/// Where the sets come from.
#[derive(Clone)]
pub(crate) enum Source {
    /// The ledger. `at_home`: the exchange is with home itself, so only what home holds counts.
    Ledger { state: StateClient, at_home: bool },
    /// A survey of another relay.
    Held(Arc<Held>),
}

pub(crate) struct Sets {
    source: Source,
    /// Our frames, in bytes; hex doubles it.
    frame_bytes: u64,
    sets: BTreeMap<UnitId, Set>,
    /// Events that came while their unit's set was being worked on, or since it was loaded.
    fetched: BTreeMap<UnitId, Vec<Record>>,
    /// Of exchanges with home.
    lost: Vec<EventId>,
    work: JoinSet<Worked>,
    /// Units of which another part of the set was read.
    moved: (mpsc::UnboundedSender<UnitId>, mpsc::UnboundedReceiver<UnitId>),
}

impl Sets {
    pub(crate) fn new(source: Source, learned: &Learned) -> Self {
        Self {
            source,
            frame_bytes: Room::of(learned).exchange_bytes().unwrap_or(FRAME_BYTES),
            sets: BTreeMap::new(),
            fetched: BTreeMap::new(),
            lost: Vec::new(),
            work: JoinSet::new(),
            moved: mpsc::unbounded_channel(),
        }
    }

    /// Loads the set of a unit, unless it has more than `most` ids; with `again`, takes the former one and what the unit fetched since.
    pub(crate) fn load(&mut self, unit: UnitId, filter: Filter, again: bool, most: usize) {
        let former = self.sets.remove(&unit).filter(|_| again).map(|set| set.records);
        let fetched = self.fetched.insert(unit, Vec::new()).unwrap_or_default();
        let source = self.source.clone();
        let (moved, frame_bytes) = (self.moved.0.clone(), self.frame_bytes);
        let say_moved = move || {
            // The session has ended: nobody waits.
            let _ = moved.send(unit);
        };
        self.work.spawn(async move {
            let loaded = match former {
                Some(mut records) => {
                    records.extend(fetched);
                    Ok(Some(records))
                }
                None => source.read(filter, most, say_moved).await,
            };
            let begun = match loaded {
                Ok(None) => return Worked::without_set(unit, Input::SetTooLarge { unit }),
                Ok(Some(records)) => begin(records, frame_bytes).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match begun {
                Ok((set, message)) => Worked { set: Some(set), ..Worked::without_set(unit, Input::SetReady { unit, message }) },
                Err(why) => Worked::without_set(unit, Input::ReconcileFailed { unit, why }),
            }
        });
    }

    /// Takes the relay's message into the unit's exchange.
    pub(crate) fn reconcile(&mut self, unit: UnitId, message: String) {
        let Some(set) = self.sets.remove(&unit) else { return };
        self.work.spawn(async move {
            if set.records.len() < MANY_ITEMS {
                return round(unit, set, &message);
            }
            let worked = tokio::task::spawn_blocking(move || round(unit, set, &message));
            worked.await.expect("reconciling does not panic and is not cancelled")
        });
    }

    /// An event that the unit fetched, or that came home otherwise meanwhile: part of its set in the closing pass.
    pub(crate) fn fetched(&mut self, unit: UnitId, id: EventId, created_at: Timestamp) {
        if let Some(records) = self.fetched.get_mut(&unit) {
            records.push((created_at.as_secs(), id.to_bytes()));
        }
    }

    pub(crate) fn drop_set(&mut self, unit: UnitId) {
        self.sets.remove(&unit);
        self.fetched.remove(&unit);
    }

    /// What home was said to hold and has turned out not to, since this was asked last.
    pub(crate) fn take_lost(&mut self) -> Vec<EventId> {
        std::mem::take(&mut self.lost)
    }

    /// The next finished piece of work; waits for ever when there is none. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Input {
        let worked = tokio::select! {
            biased;
            Some(unit) = self.moved.1.recv() => return Input::SetMoved { unit },
            worked = self.work.join_next() => worked,
        };
        match worked {
            Some(Ok(worked)) => {
                let is_wanted = self.fetched.contains_key(&worked.unit);
                if let Some(set) = worked.set.filter(|_| is_wanted) {
                    self.sets.insert(worked.unit, set);
                }
                if matches!(self.source, Source::Ledger { at_home: true, .. }) {
                    self.lost.extend(worked.have.iter().map(event_id));
                }
                worked.input
            }
            Some(Err(error)) => {
                warn!(%error, "work on a set ended early");
                std::future::pending().await
            }
            None => std::future::pending().await,
        }
    }
}

impl Source {
    /// `moved` is called after each page. None if there are more than `most`.
    async fn read(self, filter: Filter, most: usize, moved: impl Fn()) -> Result<Option<Vec<Record>>, AskError> {
        match self {
            Self::Ledger { state, at_home } => read_ledger(&state, LedgerScope { filter, at_home }, most, moved).await,
            Self::Held(held) => Ok(Some(held.matching(&filter)).filter(|records| records.len() <= most)),
        }
    }
}

async fn read_ledger(
    state: &StateClient,
    scope: LedgerScope,
    most: usize,
    moved: impl Fn(),
) -> Result<Option<Vec<Record>>, AskError> {
    let (mut records, mut after) = (Vec::new(), None);
    loop {
        let page = state.ledger(scope.clone(), after).await?;
        records.extend(page.rows.iter().map(|row| (row.created_at.as_secs(), row.id.to_bytes())));
        after = page.rows.last().copied();
        moved();
        if records.len() > most {
            return Ok(None);
        }
        if page.is_last || after.is_none() {
            return Ok(Some(records));
        }
    }
}

async fn begin(records: Vec<Record>, frame_bytes: u64) -> Result<(Set, String), negentropy::Error> {
    if records.len() < MANY_ITEMS {
        return open(records, frame_bytes);
    }
    tokio::task::spawn_blocking(move || open(records, frame_bytes))
        .await
        .expect("sealing a set does not panic and is not cancelled")
}

fn open(mut records: Vec<Record>, frame_bytes: u64) -> Result<(Set, String), negentropy::Error> {
    records.sort_unstable();
    records.dedup();
    let mut storage = NegentropyStorageVector::with_capacity(records.len());
    for (created_at, id) in &records {
        storage.insert(*created_at, Id::from_byte_array(*id))?;
    }
    storage.seal()?;
    let mut exchange = Negentropy::owned(storage, frame_bytes)?;
    let message = hex(&exchange.initiate()?);
    Ok((Set { records, exchange }, message))
}

fn round(unit: UnitId, mut set: Set, message: &str) -> Worked {
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let reply = unhex(message)
        .ok_or_else(|| "its message is no hex".to_owned())
        .and_then(|bytes| set.exchange.reconcile_with_ids(&bytes, &mut have, &mut need).map_err(|error| error.to_string()));
    let input = match reply {
        Ok(reply) => {
            let need = need.iter().map(event_id).collect();
            Input::Reconciled { unit, need, awaited: 0, reply: reply.map(|bytes| hex(&bytes)) }
        }
        Err(why) => Input::ReconcileFailed { unit, why },
    };
    Worked { unit, set: Some(set), input, have }
}

fn event_id(id: &Id) -> EventId {
    EventId::from_byte_array(*id.as_bytes())
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]).map(char::from).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_comes_back_as_the_bytes_it_was_made_of() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(unhex(&hex(&bytes)), Some(bytes));
        assert_eq!(unhex("6"), None);
        assert_eq!(unhex("zz"), None);
    }

    #[test]
    fn two_sets_are_reconciled_to_what_the_other_side_has_more() {
        let records = |range: std::ops::Range<u8>| range.map(|n| (u64::from(n), [n; 32])).collect::<Vec<Record>>();
        let (ours, message) = open(records(0..50), FRAME_BYTES).expect("a set");
        let mut theirs = NegentropyStorageVector::new();
        for (created_at, id) in records(10..60) {
            theirs.insert(created_at, Id::from_byte_array(id)).expect("a record");
        }
        theirs.seal().expect("sealed once");
        let mut relay = Negentropy::owned(theirs, FRAME_BYTES).expect("a frame limit");
        let answer = relay.reconcile(&unhex(&message).expect("hex")).expect("a reply");
        let worked = round(UnitId(1), ours, &hex(&answer));
        let Input::Reconciled { need, reply: None, .. } = worked.input else { panic!("{:?}", worked.input) };
        assert_eq!(need.len(), 10);
    }
}
