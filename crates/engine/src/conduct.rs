//! How a peer may behave on a link, and what it costs to go beyond that.
//!
//! Owns: how much of each kind of excess is let pass, when a link is ended for it, how long a peer is then left alone. Never: a
//! clock, a socket, what the excess is worth to the protocol; that is the session's to say.
//!
//! No honest relay comes near an allowance: each is several times what the oddest known one does. What is over an allowance is a
//! *breach*; one may be an accident, three within ten minutes are not.

mod strikes;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

pub use strikes::{SHORTEST_BAN_SECS, Strikes};

/// Breaches within [`BREACH_MS`] that end a link.
const MOST_BREACHES: usize = 3;
const BREACH_MS: u64 = 600_000;

/// What a peer may do a little of. Closed, so that metrics and people agree on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Excess {
    /// Events that no open subscription matches, beyond what a page may hold: relays that read a filter otherwise send as many
    /// as were asked for, and what was under way when a subscription was closed comes after it.
    Unasked,
    /// Events of one page beyond its `limit`: some relays know no limit and send all that they have of a filter.
    BeyondLimit,
    /// Events under a subscription id that was never opened on the link.
    ForeignId,
    /// Live events that are known: every upstream of a repository brings what the others have brought.
    Repeats,
    /// NOTICE, AUTH, OK, unknown words, and ends of what is not open. Some relays greet every message.
    Chatter,
    /// Messages that nobody can read.
    Garbage,
    /// EVENT messages whose event nobody can read.
    Unreadable,
    /// Events with a wrong id or signature: an archive may hold some that nobody has ever checked.
    Forged,
    /// Messages that are longer than anything that was asked for.
    TooLong,
    /// Exchanges (NIP-77) that name more ids than one may hold.
    Claims,
    Pings,
}

/// So many at once, and so many more in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Allowance {
    at_once: u64,
    per_minute: u64,
}

impl Excess {
    /// A stable word for metrics and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unasked => "unasked",
            Self::BeyondLimit => "beyond-limit",
            Self::ForeignId => "foreign-id",
            Self::Repeats => "repeats",
            Self::Chatter => "chatter",
            Self::Garbage => "garbage",
            Self::Unreadable => "unreadable",
            Self::Forged => "forged",
            Self::TooLong => "too-long",
            Self::Claims => "claims",
            Self::Pings => "pings",
        }
    }

    fn allowance(self) -> Allowance {
        let (at_once, per_minute) = match self {
            // Ten pages under way; a relay that passes on all that is new, on every subscription, has some tens a second.
            Self::Unasked => (5_000, 6_000),
            // The announcements and states of the whole network, several times over.
            Self::BeyondLimit => (20_000, 6_000),
            // An honest relay has none; one that mixes up two clients' answers has a page of them.
            Self::ForeignId => (1_000, 600),
            // Four times the largest burst that is planned for (5,000), and a relay into which another one's history is copied.
            Self::Repeats => (20_000, 60_000),
            // We say at most 100 things at once and 20 a second, each of which may be answered by a NOTICE and a challenge.
            Self::Chatter => (1_000, 3_000),
            Self::Garbage => (20, 6),
            // Ten pages of nothing else.
            Self::Unreadable => (5_000, 600),
            // They cost a verification each: a tenth of a second for all of these.
            Self::Forged => (1_000, 60),
            // What is too large for home comes once with every reading.
            Self::TooLong => (10, 6),
            Self::Claims => (3, 1),
            // Keep-alives come every ten seconds at most.
            Self::Pings => (100, 60),
        };
        Allowance { at_once, per_minute }
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Allowance { at_once, per_minute } = self.allowance();
        write!(f, "{}, more than {at_once} at once and {per_minute} a minute", self.as_str())
    }
}

/// Something was done more often than is let pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breach {
    pub excess: Excess,
    /// One too many: the link is to be ended, and the peer left alone for a while.
    pub is_last: bool,
}

/// What a peer has done on one link.
#[derive(Debug, Clone, Default)]
pub struct Conduct {
    /// For each excess: when all of its allowance is back (microseconds).
    full_at_us: BTreeMap<Excess, u64>,
    /// When the last breaches were (milliseconds), and of what.
    breaches: VecDeque<(u64, Excess)>,
    is_trusted: bool,
}

impl Conduct {
    /// Of a relay that the operator answers for: home. Nothing it does is too much.
    #[must_use]
    pub fn trusted() -> Self {
        Self { is_trusted: true, ..Self::default() }
    }

    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.is_trusted
    }

    /// Takes one excess at `now_ms`, on a clock that only grows. After a breach half of the allowance is given back.
    pub fn note(&mut self, excess: Excess, now_ms: u64) -> Option<Breach> {
        if self.is_trusted {
            return None;
        }
        let Allowance { at_once, per_minute } = excess.allowance();
        let (now_us, each_us) = (now_ms.saturating_mul(1000), 60_000_000 / per_minute);
        let full_at = self.full_at_us.entry(excess).or_default();
        *full_at = (*full_at).max(now_us) + each_us;
        if *full_at <= now_us + at_once * each_us {
            return None;
        }
        *full_at = now_us + at_once * each_us / 2;
        Some(self.breached(excess, now_ms))
    }

    fn breached(&mut self, excess: Excess, now_ms: u64) -> Breach {
        self.breaches.retain(|(at, _)| now_ms.saturating_sub(*at) < BREACH_MS);
        if self.breaches.len() == MOST_BREACHES {
            self.breaches.pop_front();
        }
        self.breaches.push_back((now_ms, excess));
        Breach { excess, is_last: self.breaches.len() == MOST_BREACHES }
    }

    /// What the last breaches were, for people.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words: Vec<String> = Vec::new();
        for (_, excess) in &self.breaches {
            let said = excess.to_string();
            if !words.contains(&said) {
                words.push(said);
            }
        }
        format!("{} breaches within minutes: {}", self.breaches.len(), words.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Excess; 11] = [
        Excess::Unasked,
        Excess::BeyondLimit,
        Excess::ForeignId,
        Excess::Repeats,
        Excess::Chatter,
        Excess::Garbage,
        Excess::Unreadable,
        Excess::Forged,
        Excess::TooLong,
        Excess::Claims,
        Excess::Pings,
    ];

    /// How often `excess` may be done at `per_minute` before the link ends; none: for ever (a day of it, at least).
    fn lasts(excess: Excess, per_minute: u64) -> Option<u64> {
        let mut conduct = Conduct::default();
        let step_us = 60_000_000 / per_minute;
        let is_last = |n: &u64| conduct.note(excess, n * step_us / 1000).is_some_and(|breach| breach.is_last);
        (0..per_minute * 60 * 24).find(is_last)
    }

    #[test]
    fn x5_what_is_within_its_allowance_goes_on_for_ever_and_a_flood_ends_at_twice_what_is_let_pass_at_once() {
        for excess in ALL {
            let Allowance { at_once, per_minute } = excess.allowance();
            if per_minute <= 600 {
                assert_eq!(lasts(excess, per_minute), None, "{excess:?}");
            }
            let mut conduct = Conduct::default();
            let until = (0..10 * at_once + 20).position(|_| conduct.note(excess, 7).is_some_and(|breach| breach.is_last));
            let until = until.map(|n| n as u64).expect("a flood ends a link");
            assert!((at_once..=2 * at_once + 6).contains(&until), "{excess:?}: {until}");
        }
    }

    #[test]
    fn a_single_burst_is_an_accident() {
        let mut conduct = Conduct::default();
        let burst = Excess::Chatter.allowance().at_once + 1;
        let breaches: Vec<Breach> = (0..burst).filter_map(|_| conduct.note(Excess::Chatter, 0)).collect();
        assert_eq!(breaches, [Breach { excess: Excess::Chatter, is_last: false }]);
        for hour in 1..10 {
            let noted = (0..burst).filter_map(|_| conduct.note(Excess::Chatter, hour * 3_600_000)).collect::<Vec<_>>();
            assert!(noted.iter().all(|breach| !breach.is_last), "one an hour is no habit that harms");
        }
    }

    #[test]
    fn breaches_of_different_kinds_add_up_and_are_named_once_each() {
        let mut conduct = Conduct::default();
        let mut last = None;
        for excess in [Excess::Pings, Excess::Garbage, Excess::Pings] {
            last = (0..1_000).find_map(|_| conduct.note(excess, 5));
        }
        assert_eq!(last, Some(Breach { excess: Excess::Pings, is_last: true }));
        let words = conduct.words();
        assert_eq!((words.matches("pings").count(), words.matches("garbage").count()), (1, 1), "{words}");
    }

    #[test]
    fn nothing_that_home_does_is_too_much() {
        let mut conduct = Conduct::trusted();
        assert!((0..1_000_000).all(|_| conduct.note(Excess::Garbage, 0).is_none()));
    }
}
