//! What goes wrong, and when: drawn once, before anything happens.

use super::chance::Chance;

/// Longer than a quick reconnect reaches back (milliseconds): once in a while home is away for so long, and an upstream is lost
/// before it is back.
const LONG_MS: u64 = 960_000;

#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Every connection to this relay breaks; `is_silent`: nobody is told.
    Cut {
        relay: usize,
        is_silent: bool,
    },
    /// The relay refuses connections for a while (milliseconds).
    Away {
        relay: usize,
        ms: u64,
    },
    /// A process does nothing for a while, and does not know it.
    Stall {
        worker: usize,
        ms: u64,
    },
    /// kill −9; started again after a while.
    Kill {
        worker: usize,
        ms: u64,
    },
    KillPlanner {
        planner: usize,
        ms: u64,
    },
    /// Messages get lost or wait; questions have no answer.
    BusAway {
        ms: u64,
    },
    /// The wall clock of a worker jumps to be off by so many seconds.
    Skew {
        worker: usize,
        secs: i64,
    },
    /// The relay refuses negentropy from now on, or answers it again.
    Moody {
        relay: usize,
    },
    /// Home loses a few events, as one does that is restored from a backup.
    HomeLoses {
        count: usize,
    },
}

/// How many there are of what may fail. Relay 0 is home.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) relays: usize,
    pub(crate) workers: usize,
    pub(crate) planners: usize,
}

/// Faults with their moments, within `span_ms`. `may_lose`: home may lose what it held, for refreshes come soon.
pub(crate) fn faults(chance: &mut Chance, span_ms: u64, size: Size, may_lose: bool) -> Vec<(u64, Fault)> {
    let count = chance.index(9);
    let mut drawn: Vec<(u64, Fault)> =
        (0..count).map(|_| (chance.between(2_000, span_ms), fault(chance, size, may_lose))).collect();
    if span_ms > LONG_MS + 120_000 && chance.once_in(3) {
        let from = chance.between(2_000, span_ms - LONG_MS - 100_000);
        let relay = 1 + chance.index(size.relays - 1);
        drawn.push((from, Fault::Away { relay: 0, ms: LONG_MS + 200_000 }));
        drawn.push((from + LONG_MS + chance.between(0, 90_000), Fault::Cut { relay, is_silent: false }));
    }
    drawn
}

fn fault(chance: &mut Chance, Size { relays, workers, planners }: Size, may_lose: bool) -> Fault {
    let (relay, worker) = (chance.index(relays), chance.index(workers));
    match chance.index(10) {
        0 | 1 => Fault::Cut { relay, is_silent: chance.once_in(4) },
        2 => Fault::Away { relay, ms: chance.between(1_000, 1_500_000) },
        3 => Fault::Stall { worker, ms: chance.between(1_000, 60_000) },
        4 => Fault::Kill { worker, ms: chance.between(500, 40_000) },
        5 => Fault::KillPlanner { planner: chance.index(planners), ms: chance.between(500, 60_000) },
        6 => Fault::BusAway { ms: chance.between(500, 60_000) },
        7 => Fault::Skew { worker, secs: i64::try_from(chance.between(0, 240)).unwrap() - 120 },
        8 if may_lose => Fault::HomeLoses { count: 1 + chance.index(4) },
        _ => Fault::Moody { relay: relay.max(1) },
    }
}
