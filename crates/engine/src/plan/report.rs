//! Why a plan is what it is: reasons that a person can read, tests can hold and metrics can count.

use std::fmt;

use model::{Arrangement, Resume, Snapshot, Timestamp, UpstreamId};

/// One upstream's plan, explained.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub upstream: Option<UpstreamId>,
    pub wanted: u64,
    pub pending: u64,
    pub confirmed: u64,
    pub reasons: Vec<Reason>,
}

impl Report {
    pub(super) fn of(look: &Snapshot, reason: Reason) -> Self {
        Self {
            upstream: Some(look.upstream),
            wanted: look.wanted,
            pending: look.pending,
            confirmed: look.confirmed,
            reasons: vec![reason],
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Taken apart so that a new field cannot be forgotten here.
        let Self { upstream: _, wanted, pending, confirmed, reasons } = self;
        let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        write!(f, "{} ({wanted} wanted, {pending} pending, {confirmed} confirmed)", reasons.join("; "))
    }
}

/// A decision with its reason. Closed: each has a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// S4, S17.
    Down { dial_at: Timestamp },
    /// S5, S8, S9.
    Open { resume: Resume },
    /// S18, or the wait after incomplete batches.
    CoolDown { until: Timestamp },
    /// S15.
    Refresh { next: Timestamp },
    /// S16.
    Empty { hang_up_at: Timestamp },
    /// S14.
    Consolidate { from: usize, to: usize },
    /// S3, S14: the chunks changed, the live filters follow.
    Rebuild { filters: usize },
    /// S14: it waits for pending items.
    ConsolidationWaits { pending: u64 },
    /// S4: missing items become batches.
    Ask { batches: usize, items: u64, left: u64 },
    /// All batches that may be in flight are.
    InFlight { pending: u64, wanted: u64 },
    /// Home's own coverage of these items comes first.
    HomeFirst { waiting: u64 },
    /// I3: there is no room for live subscriptions of every chunk of 100.
    Arranged(Arrangement),
    /// S9: what was confirmed is compared again, this part of it now.
    Audit { part: u32, items: usize },
    /// S9: the same, from this moment on.
    AuditDue { at: Timestamp },
    /// S9: there is no audit without NIP-77; the next refresh reads everything.
    NotAudited,
    /// I10: everything is confirmed.
    Settled,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down { dial_at } => write!(f, "down, next dial at {}", dial_at.as_secs()),
            Self::Open { resume: Resume::Fresh } => f.write_str("open the link fresh: everything without since"),
            Self::Open { resume: Resume::CatchUp { since } } => {
                write!(f, "open the link and catch up since {}", since.as_secs())
            }
            Self::CoolDown { until } => write!(f, "nothing is asked before {}", until.as_secs()),
            Self::Refresh { next } => write!(f, "refresh: start over, the next one is due at {}", next.as_secs()),
            Self::Empty { hang_up_at } => write!(f, "nothing to cover, hang up at {}", hang_up_at.as_secs()),
            Self::Consolidate { from, to } => write!(f, "consolidate {from} live subscriptions as {to}"),
            Self::Rebuild { filters } => write!(f, "the live filters become the {filters} of what is covered now"),
            Self::ConsolidationWaits { pending } => write!(f, "a rebuild of live subscriptions waits for {pending} pending"),
            Self::Ask { batches, items, left } => write!(f, "ask for {items} items in {batches} batches, {left} left"),
            Self::InFlight { pending, wanted } => write!(f, "{pending} items are in flight, {wanted} wait"),
            Self::HomeFirst { waiting } => write!(f, "{waiting} items wait for home's own coverage of them"),
            Self::Arranged(arrangement) => arrangement.fmt(f),
            Self::Audit { part: 0, .. } => f.write_str("audit layer 1: events dated before the last gap"),
            Self::Audit { part, items } => write!(f, "audit {items} items of chunk {}", part - 1),
            Self::AuditDue { at } => write!(f, "an audit is due at {}", at.as_secs()),
            Self::NotAudited => f.write_str("no audit: it has no NIP-77, the next refresh reads everything"),
            Self::Settled => f.write_str("settled: nothing is missing"),
        }
    }
}
