//! Reports: what a session says has happened. Those of another epoch change nothing.
//!
//! Words about the link count once, in order. What became of a batch also counts late, for it names the state that it
//! expects; repeated, it finds nothing to change.

use std::collections::BTreeSet;

use model::{BatchId, BatchOutcome, DownClass, LinkView, Report, Role, Said, StateError, Timestamp, UpstreamId};

use super::{Book, Relay, Status};
use crate::health;
use crate::room::Room;
use crate::rules::BATCH_DEADLINE_SECS;

impl Book {
    /// Applies `report`. Answers with the upstreams that the planner should look at.
    ///
    /// # Errors
    /// The relay is unknown, or the epoch is not its own.
    pub fn report(&mut self, report: &Report, now: Timestamp, roll: u64) -> Result<Vec<UpstreamId>, StateError> {
        let relay = self.relays.get_mut(&report.upstream).ok_or(StateError::NoSuchUpstream)?;
        if relay.epoch != report.epoch {
            return Err(StateError::Fenced);
        }
        let is_new = relay.applied.take(report.sequence);
        match &report.said {
            Said::BatchEnded { batch, outcome, .. } => return Ok(self.batch_ended(report.upstream, *batch, outcome, now)),
            Said::Progress { batches, rows, counts } => {
                relay.moved(batches, now);
                if is_new && (!rows.is_empty() || counts.events > 0) {
                    let lived = relay.up_since.map_or(0, |since| now.as_secs().saturating_sub(since.as_secs()));
                    relay.health = relay.health.after_progress(lived, rows.len(), now);
                }
                return Ok(Vec::new());
            }
            Said::Opened
            | Said::Rebuilt { .. }
            | Said::CaughtUp
            | Said::Down { .. }
            | Said::Learned { .. }
            | Said::Audited { .. }
            | Said::Lost { .. }
            | Said::RateLimited { .. } => {}
        }
        let is_dirty = is_new && relay.take_word(&report.said, self.policy.audit_after_secs, now, roll);
        Ok(if is_dirty { vec![report.upstream] } else { Vec::new() })
    }

    /// S13: only a complete batch confirms, and only what is still pending in it. What home has confirmed is free to be
    /// asked for elsewhere.
    fn batch_ended(&mut self, number: UpstreamId, batch: BatchId, outcome: &BatchOutcome, now: Timestamp) -> Vec<UpstreamId> {
        let Some(relay) = self.relays.get_mut(&number) else { return Vec::new() };
        if relay.batches.remove(&batch).is_none() {
            return Vec::new();
        }
        let items: BTreeSet<_> =
            relay.rows.iter().filter(|(_, row)| row.status == Status::Pending(batch)).map(|(item, _)| item.clone()).collect();
        let is_complete = *outcome == BatchOutcome::Complete;
        for item in &items {
            if let Some(row) = relay.rows.get_mut(item) {
                row.status = if is_complete { Status::Confirmed } else { Status::Wanted };
            }
        }
        relay.asked(outcome, now);
        let is_home = relay.role == Role::Home;
        let waits =
            |relay: &Relay| items.iter().any(|item| relay.rows.get(item).is_some_and(|row| row.status == Status::Wanted));
        let is_dirty = |(id, relay): &(&UpstreamId, &Relay)| **id == number || (is_home && is_complete && waits(relay));
        self.relays.iter().filter(is_dirty).map(|(id, _)| *id).collect()
    }
}

impl Relay {
    /// What a session says about its link; whether the planner should look.
    fn take_word(&mut self, said: &Said, audit_after_secs: u64, now: Timestamp, roll: u64) -> bool {
        match said {
            Said::Opened => self.mark(|opened, _| *opened = true),
            Said::Rebuilt { layout } => {
                self.layout_taken = self.layout_taken.max(*layout);
                true
            }
            Said::CaughtUp => {
                self.health = self.health.after_success();
                self.mark(|_, caught_up| *caught_up = true)
            }
            Said::Down { class, .. } => {
                self.down(*class, now, roll);
                false
            }
            Said::Learned { facts } => {
                let before = Room::of(&self.learned);
                self.learned.absorb(facts.clone());
                self.audit = self.audit.filter(|_| !self.learned.refuses_nip77());
                Room::of(&self.learned) != before
            }
            Said::Audited { part, outcome, .. } => self.audited(*part, outcome, audit_after_secs, now),
            Said::RateLimited { seconds } => {
                self.wait_until(Timestamp::from_secs(now.as_secs() + seconds));
                false
            }
            Said::BatchEnded { .. } | Said::Progress { .. } | Said::Lost { .. } => false,
        }
    }

    fn mark(&mut self, set: impl FnOnce(&mut bool, &mut bool)) -> bool {
        let LinkView::Up { opened, caught_up, .. } = &mut self.link else { return false };
        set(opened, caught_up);
        true
    }

    /// S9: the next part, until there is none; what could not be compared is tried again later.
    fn audited(&mut self, part: u32, outcome: &BatchOutcome, audit_after_secs: u64, now: Timestamp) -> bool {
        let Some((_, next)) = self.audit else { return false };
        if *outcome != BatchOutcome::Complete {
            self.audit = Some((Timestamp::from_secs(now.as_secs() + audit_after_secs), next));
            return false;
        }
        let next = next.max(part + 1);
        self.audit = self.confirmed_from(next - 1).map(|_| (now, next));
        true
    }

    /// S10, S17. A link that never caught up proves nothing: the next one reaches back as far as this one had to.
    fn down(&mut self, class: DownClass, now: Timestamp, roll: u64) {
        let last_up = if self.is_caught_up() { Some(now) } else { self.last_up };
        self.end_link(last_up, now);
        self.health = self.health.after_down(class, now);
        let mut dial_at = self.health.dial_at_after(class, now, roll);
        if class == DownClass::Banned {
            self.strikes = self.strikes.after_another(now);
            dial_at = self.strikes.banned_until(roll).map_or(dial_at, |until| until.max(dial_at));
        }
        self.link = LinkView::Down { dial_at };
    }

    /// S18: orders wait, nothing is lost; what is in flight waits with them.
    fn wait_until(&mut self, ask_at: Timestamp) {
        self.ask_at = Some(ask_at);
        let deadline = Timestamp::from_secs(ask_at.as_secs() + BATCH_DEADLINE_SECS);
        for batch in self.batches.values_mut() {
            batch.deadline = batch.deadline.max(deadline);
        }
    }

    fn moved(&mut self, batches: &[BatchId], now: Timestamp) {
        for id in batches {
            if let Some(batch) = self.batches.get_mut(id) {
                batch.deadline = Timestamp::from_secs(now.as_secs() + BATCH_DEADLINE_SECS);
            }
        }
    }

    /// After incomplete batches the next ask waits, ever longer.
    fn asked(&mut self, outcome: &BatchOutcome, now: Timestamp) {
        match outcome {
            BatchOutcome::Complete => {
                self.ask_failures = 0;
                self.health = self.health.after_success();
            }
            BatchOutcome::Incomplete { why, .. } => {
                self.ask_failures = self.ask_failures.saturating_add(1);
                self.ask_at = Some(health::ask_again_at(self.ask_failures, *why, now));
            }
        }
    }
}
