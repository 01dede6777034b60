//! Conduct on a link: which messages are an excess, by what is open. How many of them are too many is `crate::conduct`'s to say.

use model::DownClass;

use super::live::LiveState;
use super::unit::{Stage, Unit};
use super::words::{Frame, Now, Output, UnitId, Verdict};
use super::{Owner, Session, SubNo};
use crate::conduct::{Breach, Excess};

/// Length of a message (bytes) while no exchange is open: twice the largest event that home is offered.
const LONGEST: usize = 512 * 1024;
/// Replies of an exchange come as up to 500,000 bytes in hex (NIP-77 in use).
const LONGEST_OF_EXCHANGE: usize = 1_250_000;

impl Session {
    /// Takes an excess that the shell has seen.
    pub fn note(&mut self, excess: Excess, now: Now) {
        let Some(Breach { excess, is_last }) = self.conduct.note(excess, now.ms) else { return };
        self.out.push_back(Output::Breach(excess));
        if is_last {
            self.out.push_back(Output::HangUp(DownClass::Banned));
        }
    }

    /// Whether a message of so many bytes may be an answer to anything that is open.
    #[must_use]
    pub fn takes(&self, bytes: usize) -> bool {
        let is_exchanging = self.conduct.is_trusted() || self.exchanges().any(|(_, exchange)| exchange.is_open());
        bytes <= if is_exchanging { LONGEST_OF_EXCHANGE } else { LONGEST }
    }

    /// What the relay did too much of, for people.
    #[must_use]
    pub fn misconduct(&self) -> String {
        self.conduct.words()
    }

    /// What is too much about an EVENT frame, if it comes more often than is let pass.
    pub(super) fn excess_of(&mut self, sub: &str, verdict: Verdict) -> Option<Excess> {
        let is_stray = verdict == Verdict::Stray;
        let Some((number, owner)) = self.owner(sub) else {
            let was_ours = SubNo::read(sub).is_some_and(|sub| sub.0 <= self.last_number);
            return Some(if was_ours { Excess::Unasked } else { Excess::ForeignId });
        };
        let page = match owner {
            Owner::Page(unit) => Some(unit),
            Owner::Live(key) => self.is_reading(key, number),
            Owner::Ids(_) | Owner::Exchange(_) => None,
        };
        match page.and_then(|unit| self.is_beyond_limit(unit)) {
            Some(is_beyond) => is_beyond.then_some(Excess::BeyondLimit),
            None => is_stray.then_some(Excess::Unasked),
        }
    }

    /// None: the unit reads no page.
    fn is_beyond_limit(&mut self, unit: UnitId) -> Option<bool> {
        match self.units.get_mut(&unit) {
            Some(Unit { stage: Stage::Walk { walk, .. }, .. }) => Some(walk.is_beyond_limit()),
            Some(_) | None => None,
        }
    }

    /// Whether a message ends or answers nothing that is open.
    pub(super) fn is_chatter(&self, frame: &Frame) -> bool {
        match frame {
            Frame::Notice { .. } | Frame::Auth { .. } | Frame::Ok { .. } => true,
            Frame::Eose { sub, .. } => match self.owner(sub) {
                Some((_, Owner::Live(key))) => {
                    self.lives.get(&key).is_some_and(|live| matches!(live.state, LiveState::Standing { .. }))
                }
                Some((_, Owner::Page(_) | Owner::Ids(_))) => false,
                Some((_, Owner::Exchange(_))) | None => true,
            },
            Frame::Closed { sub, .. } => self.owner(sub).is_none(),
            Frame::NegMsg { sub, .. } | Frame::NegErr { sub, .. } => {
                let unit = self.owner(sub).map(|(_, owner)| owner);
                !matches!(unit, Some(Owner::Exchange(unit)) if self.is_exchanging(unit))
            }
        }
    }

    fn is_exchanging(&self, unit: UnitId) -> bool {
        self.exchanges().any(|(id, exchange)| id == unit && exchange.is_open())
    }
}
