//! The frames of NIP-77 under noise.

use std::collections::BTreeSet;

use engine::session::{Input, UnitId};
use model::EventId;
use negentropy::{Id, Negentropy, NegentropyStorageVector};

use super::{FRAME_BYTES, Record, Set, hex, open, round, unhex};

/// Rounds within which two small sets are reconciled.
const MOST_ROUNDS: usize = 64;

/// An even first byte: the rest is a relay's message to a set of ours. An odd one: each byte of the rest is a record that one side
/// or both have, and the two are reconciled.
pub fn exchange(data: &[u8]) {
    match data.split_first() {
        Some((first, rest)) if first % 2 == 0 => noise(usize::from(*first), rest),
        Some((_, rest)) => honest(rest),
        None => {}
    }
}

/// Whatever a relay says: it names no more ids than it sent, and our answer fits a frame.
fn noise(count: usize, message: &[u8]) {
    let records: Vec<Record> = (0..count).map(|n| (n as u64 * 7, [n.to_le_bytes()[0]; 32])).collect();
    let text = std::str::from_utf8(message).ok().filter(|text| unhex(text).is_some());
    let text = text.map_or_else(|| hex(message), str::to_owned);
    let (set, _) = open(records.clone(), FRAME_BYTES).expect("a small set");
    let ours: BTreeSet<EventId> = records.iter().map(|(_, id)| EventId::from_byte_array(*id)).collect();
    let worked = round(UnitId(1), set, &text);
    assert!(worked.have.iter().all(|id| ours.contains(&super::event_id(id))), "what we have is ours");
    if matches!(worked.input, Input::ReconcileFailed { .. }) {
        return;
    }
    let Input::Reconciled { need, reply, .. } = worked.input else { panic!("a round ends in {:?}", worked.input) };
    assert!(need.len() <= text.len() / 64, "each id takes its 32 bytes");
    assert!(reply.is_none_or(|reply| reply.len() <= 2 * usize::try_from(FRAME_BYTES).expect("small")));
}

/// Two sound sides find exactly what each has more.
fn honest(bytes: &[u8]) {
    let mut sides: [BTreeSet<Record>; 2] = Default::default();
    for (place, byte) in bytes.iter().enumerate() {
        let record = (u64::from(byte & 0b11_1111), id_of(place as u64));
        let has = match byte >> 6 {
            0 => [true, false],
            1 => [false, true],
            _ => [true, true],
        };
        for (side, _) in sides.iter_mut().zip(has).filter(|(_, has)| *has) {
            side.insert(record);
        }
    }
    let [ours, theirs] = sides;
    let (need, have) = reconciled(&ours, &theirs);
    let ids = |more: &BTreeSet<Record>, than: &BTreeSet<Record>| {
        let known: BTreeSet<_> = than.iter().map(|(_, id)| *id).collect();
        more.iter().map(|(_, id)| *id).filter(|id| !known.contains(id)).collect::<BTreeSet<_>>()
    };
    assert_eq!((need, have), (ids(&theirs, &ours), ids(&ours, &theirs)));
}

/// An id as hashes give them. The protocol compares sums of ids, so ids in even steps would be equal in other company.
fn id_of(number: u64) -> [u8; 32] {
    let mut id = [0; 32];
    let mut mixed = number + 1;
    for part in id.chunks_mut(8) {
        mixed = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        part.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    id
}

type Ids = BTreeSet<[u8; 32]>;

fn reconciled(ours: &BTreeSet<Record>, theirs: &BTreeSet<Record>) -> (Ids, Ids) {
    let mut storage = NegentropyStorageVector::new();
    for (at, id) in theirs {
        storage.insert(*at, Id::from_byte_array(*id)).expect("a record");
    }
    storage.seal().expect("sealed once");
    let mut relay = Negentropy::owned(storage, FRAME_BYTES).expect("a frame limit");
    let (mut set, mut message): (Set, String) = open(ours.iter().copied().collect(), FRAME_BYTES).expect("a small set");
    let (mut need, mut have) = (Ids::new(), Ids::new());
    for _ in 0..MOST_ROUNDS {
        let answer = relay.reconcile(&unhex(&message).expect("hex")).expect("a sound message");
        let worked = round(UnitId(1), set, &hex(&answer));
        have.extend(worked.have.iter().map(|id| *id.as_bytes()));
        let Input::Reconciled { need: more, reply, .. } = worked.input else { panic!("{:?}", worked.input) };
        need.extend(more.iter().map(|id| id.to_bytes()));
        let Some(next) = reply else { return (need, have) };
        (set, message) = (worked.set.expect("a round gives it back"), next);
    }
    panic!("two small sets are reconciled in {MOST_ROUNDS} rounds");
}
