//! What a report makes of the row of its upstream: the same for every adapter.

use engine::conduct::Strikes;
use engine::health::{self, Health};
use engine::room::Room;
use model::{BatchCounts, BatchId, BatchOutcome, DownClass, Incomplete, Learned, Method, Role, Timestamp};

use crate::Settings;
use crate::codec;
use crate::failure::Failure;

/// What a report is judged by.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Relay {
    role: String,
    pub(crate) last_sequence: i64,
    pub(crate) seen_below: i64,
    failures: i64,
    failing_since: Option<i64>,
    strikes: i64,
    struck_at: Option<i64>,
    up_since: Option<i64>,
    ask_failures: i64,
    learned: String,
}

impl Relay {
    pub(crate) fn is_home(&self) -> bool {
        self.role == Role::Home.as_str()
    }

    fn health(&self) -> Health {
        let failing_since = self.failing_since.map(codec::timestamp);
        Health { failures: codec::small(self.failures), failing_since }
    }

    /// S17: what the end of its link makes of the upstream.
    pub(crate) fn after_down(&self, class: DownClass, now: Timestamp, roll: u64) -> AfterDown {
        let health = self.health().after_down(class, now);
        let mut strikes = self.strikes();
        let mut dial_at = health.dial_at_after(class, now, roll);
        if class == DownClass::Banned {
            strikes = strikes.after_another(now);
            dial_at = strikes.banned_until(roll).map_or(dial_at, |until| until.max(dial_at));
        }
        AfterDown { health, strikes, dial_at }
    }

    fn strikes(&self) -> Strikes {
        Strikes { count: codec::small(self.strikes), at: self.struck_at.map(codec::timestamp) }
    }

    /// S17: what frames, and so many outcomes that are new, make of the upstream's health; none if it was good.
    pub(crate) fn health_after_progress(&self, outcomes: usize, now: Timestamp) -> Option<Health> {
        let lived = self.up_since.map_or(0, |since| codec::secs(now).saturating_sub(since));
        self.failing_since.is_some().then(|| self.health().after_progress(codec::unsigned(lived), outcomes, now))
    }

    /// Incomplete batches in a row, one more than before, and when to ask again.
    pub(crate) fn asks_badly(&self, why: Incomplete, now: Timestamp) -> (u32, Timestamp) {
        let failures = codec::small(self.ask_failures).saturating_add(1);
        (failures, health::ask_again_at(failures, why, now))
    }

    /// Everything learned, and whether other limits may make a consolidation due (S14).
    pub(crate) fn learns(&self, facts: &Learned) -> Result<(Learned, bool), Failure> {
        let before = codec::learned(&self.learned)?;
        let mut after = before.clone();
        after.absorb(facts.clone());
        let is_due = Room::of(&after) != Room::of(&before);
        Ok((after, is_due))
    }
}

/// An upstream whose link has ended.
pub(crate) struct AfterDown {
    pub(crate) health: Health,
    pub(crate) strikes: Strikes,
    pub(crate) dial_at: Timestamp,
}

/// When an audit that follows a quick reconnect, or that could not be made, is due (S9).
pub(crate) fn audit_due(settings: &Settings, now: i64) -> i64 {
    now.saturating_add(codec::signed(settings.policy.audit_after_secs))
}

/// A batch's end, as it is reported.
pub(crate) struct Ended<'a> {
    pub(crate) batch: BatchId,
    pub(crate) outcome: &'a BatchOutcome,
    pub(crate) method: Method,
    pub(crate) counts: BatchCounts,
}

impl Ended<'_> {
    /// Why it is incomplete, if it is.
    pub(crate) fn why(&self) -> Incomplete {
        match self.outcome {
            BatchOutcome::Incomplete { why, .. } => *why,
            BatchOutcome::Complete => Incomplete::Closed,
        }
    }

    /// Its state, and why it is incomplete if it is.
    pub(crate) fn words(&self) -> (&'static str, Option<String>) {
        match self.outcome {
            BatchOutcome::Complete => ("complete", None),
            BatchOutcome::Incomplete { why, detail } if detail.is_empty() => ("incomplete", Some(why.as_str().to_owned())),
            BatchOutcome::Incomplete { why, detail } => ("incomplete", Some(format!("{}: {detail}", why.as_str()))),
        }
    }
}
