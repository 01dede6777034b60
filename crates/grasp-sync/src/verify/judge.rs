//! Why home lacks an event: the gates that the sync itself has, then the operator's word, then nothing: it is missing.
//!
//! Owns: the reasons and their words. Never: a look at a relay.

use std::collections::BTreeSet;

use connector::survey::Lacking;
use engine::admission::{Admission, Verdict};
use engine::gate::{AtTheGate, Limits, gate};
use engine::tombstones::Tombstones;
use model::{Announced, GateReason, Outcome, RepoAddr, Timestamp};
use serde::Serialize;

use super::scope::is_of_private;

/// Why home lacks an event that an upstream serves, or names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Nothing speaks against it: home should hold it.
    Missing,
    /// Home holds a newer version.
    Superseded,
    /// Its author deleted it (NIP-09), and home holds the deletion.
    Deleted,
    /// Its author asked home to forget them (NIP-62).
    Vanished,
    /// NIP-40: expired, or about to.
    Expired,
    /// NIP-40: it expires one day, and home does not say that it honours that.
    Expiring,
    /// NIP-01: kinds that are not stored.
    Ephemeral,
    /// NIP-70: only its author may publish it.
    Protected,
    /// It belongs to a private repository (GRASP-08).
    Private,
    /// Dated further ahead than home takes.
    Future,
    /// Dated further back than home takes.
    TooOld,
    /// Longer than home takes.
    TooLarge,
    /// The block lists of the configuration name it.
    Blocked,
    /// An announcement or a state that does not name home, by nobody whom home's announcements name.
    NotForHome,
    /// Its id or signature is not that of its content, and no sound copy was seen.
    Forged,
    /// The upstream names its id and does not serve it.
    NotServed,
}

impl Reason {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 16] = [
        Self::Missing,
        Self::Superseded,
        Self::Deleted,
        Self::Vanished,
        Self::Expired,
        Self::Expiring,
        Self::Ephemeral,
        Self::Protected,
        Self::Private,
        Self::Future,
        Self::TooOld,
        Self::TooLarge,
        Self::Blocked,
        Self::NotForHome,
        Self::Forged,
        Self::NotServed,
    ];

    /// One word, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Superseded => "superseded",
            Self::Deleted => "deleted",
            Self::Vanished => "vanished",
            Self::Expired => "expired",
            Self::Expiring => "expiring",
            Self::Ephemeral => "ephemeral",
            Self::Protected => "protected",
            Self::Private => "private",
            Self::Future => "future",
            Self::TooOld => "too-old",
            Self::TooLarge => "too-large",
            Self::Blocked => "blocked",
            Self::NotForHome => "not-for-home",
            Self::Forged => "forged",
            Self::NotServed => "not-served",
        }
    }

    fn of_gate(reason: GateReason) -> Self {
        match reason {
            GateReason::Ephemeral => Self::Ephemeral,
            GateReason::Expired => Self::Expired,
            GateReason::Protected => Self::Protected,
            GateReason::Future => Self::Future,
            GateReason::TooOld => Self::TooOld,
            GateReason::TooLarge => Self::TooLarge,
            GateReason::Vanished => Self::Vanished,
            GateReason::Deleted => Self::Deleted,
            GateReason::Private => Self::Private,
            GateReason::Blocked => Self::Blocked,
            GateReason::Expiring => Self::Expiring,
        }
    }
}

/// What is known of home, to judge by.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) limits: Limits,
    pub(super) tombstones: Tombstones,
    pub(super) admission: Admission,
    /// What home announces.
    pub(super) announced: Vec<Announced>,
    pub(super) private: BTreeSet<RepoAddr>,
}

impl Bench {
    /// Why home lacks a sound event.
    pub(super) fn judge(&self, lacking: &Lacking, now: Timestamp) -> Reason {
        let Lacking { event, bytes, content_chars } = lacking;
        let offered = AtTheGate { event, bytes: *bytes, from_private_peer: false };
        if let Some(outcome) = gate(offered, &self.limits, &self.tombstones, now) {
            return gated(outcome);
        }
        if self.limits.content_chars.is_some_and(|most| *content_chars > most) {
            return Reason::TooLarge;
        }
        if is_of_private(event, &self.private) {
            return Reason::Private;
        }
        match self.admission.judge(event, &self.announced) {
            Verdict::Admitted => Reason::Missing,
            Verdict::Refused(reason) => Reason::of_gate(reason),
            Verdict::NeedsMaintainer { .. } => Reason::NotForHome,
        }
    }
}

/// A gate's outcome is one of two; the others are home's to give.
fn gated(outcome: Outcome) -> Reason {
    match outcome {
        Outcome::Gated(reason) => Reason::of_gate(reason),
        Outcome::Superseded => Reason::Superseded,
        Outcome::Stored | Outcome::Duplicate | Outcome::Held | Outcome::Refused | Outcome::Declined | Outcome::NeedsParent => {
            Reason::Missing
        }
    }
}

#[cfg(test)]
mod tests;
