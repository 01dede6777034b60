//! Reports: what a session says has happened, applied if its epoch is current.
//!
//! Words about the link count once, in whatever order they come. What a batch or an event became names the state that it
//! expects; repeated, it finds nothing to change.

use std::collections::BTreeSet;

use engine::rules::BATCH_DEADLINE_SECS;
use model::{BatchCounts, BatchId, BatchOutcome, DownClass, Learned, LedgerRow, Report, Said, UpstreamId};
use sqlx::PgConnection;

use super::codec::CountColumns;
use super::ledger::Refs;
use super::{Failure, Time, claim, codec, coverage, ledger, link, text};
use crate::Settings;
use crate::reported::{AfterDown, Ended, Relay, audit_due};

statements! {
    RELAY = "SELECT role, last_sequence, seen_below, failures, failing_since, strikes, struck_at,
            up_since, ask_failures, learned FROM relay WHERE id = $1";
    SEEN = "UPDATE relay SET last_sequence = $2, seen_below = $3 WHERE id = $1";
    OPENED = "UPDATE relay SET opened = true WHERE id = $1 AND link = 'up'";
    REBUILT = "UPDATE relay SET layout_taken = greatest(layout_taken, $2) WHERE id = $1";
    CAUGHT_UP = "UPDATE relay SET caught_up = true WHERE id = $1 AND link = 'up'";
    SUCCESS = "UPDATE relay SET failures = 0, failing_since = NULL WHERE id = $1 AND failing_since IS NOT NULL";
    HEALTH = "UPDATE relay SET failures = $2, failing_since = $3 WHERE id = $1";
    // Why a relay is never dialed stays on it.
    DOWN = "
        UPDATE relay SET failures = $2, failing_since = $3, dial_at = $4,
            last_class = CASE WHEN refused THEN last_class ELSE $5 END,
            last_detail = CASE WHEN refused THEN last_detail ELSE $6 END
        WHERE id = $1";
    STRUCK = "UPDATE relay SET strikes = $2, struck_at = $3 WHERE id = $1";
    ADD_COUNTS = "
        UPDATE relay SET events = events + $2, fresh = fresh + $3, rounds = rounds + $4,
            bytes_in = bytes_in + $5, bytes_out = bytes_out + $6
        WHERE id = $1";
    END_BATCH = "
        UPDATE batch SET ended_at = $4, state = $5, outcome = $6, method = $7,
            events = $8, fresh = $9, rounds = $10, bytes_in = $11, bytes_out = $12
        WHERE id = $1 AND relay = $2 AND epoch = $3 AND ended_at IS NULL";
    CONFIRM = "
        UPDATE coverage SET status = 2, method = $2, confirmed_at = $3
        WHERE relay = $4 AND batch = $1 AND status = 1 RETURNING item";
    ASKS_WELL = "UPDATE relay SET ask_failures = 0, incomplete = NULL WHERE id = $1";
    ASKS_BADLY = "UPDATE relay SET ask_failures = $2, ask_at = $3, incomplete = $4 WHERE id = $1";
    WAITING_FOR_HOME = "
        SELECT DISTINCT relay FROM coverage WHERE item = ANY($1) AND status = 0";
    BATCHES_MOVED = "
        UPDATE batch SET deadline = $3
        WHERE relay = $1 AND ended_at IS NULL AND id = ANY($2)";
    AUDITED = "
        UPDATE relay SET audit_part = $2, audit_at = $3 WHERE id = $1 AND audit_at IS NOT NULL AND audit_part < $2";
    END_AUDIT = "UPDATE relay SET audit_at = NULL WHERE id = $1";
    AUDIT_LATER = "UPDATE relay SET audit_at = $2 WHERE id = $1 AND audit_at IS NOT NULL";
    IS_MORE_TO_AUDIT = "SELECT EXISTS (SELECT 1 FROM coverage WHERE relay = $1 AND status = 2 AND chunk >= $2)";
    ASK_LATER = "UPDATE relay SET ask_at = $2 WHERE id = $1";
    BATCHES_WAIT = "UPDATE batch SET deadline = greatest(deadline, $2) WHERE relay = $1 AND ended_at IS NULL";
}

struct Applied<'a> {
    conn: &'a mut PgConnection,
    relay: Relay,
    report: &'a Report,
    refs: &'a Refs,
    is_new: bool,
    now: i64,
}

/// The ledger's rows in a report.
pub(super) fn rows_of(report: &Report) -> &[LedgerRow] {
    if let Said::Progress { rows, .. } = &report.said { rows } else { &[] }
}

/// `refs`: the numbers of what the report's rows name.
pub(super) async fn apply(
    conn: &mut PgConnection,
    settings: &Settings,
    time: &Time,
    (report, refs): (&Report, &Refs),
) -> Result<Vec<UpstreamId>, Failure> {
    link::fence(conn, report.upstream, report.epoch).await?;
    let now = time.now(conn).await?;
    let relay: Relay = sqlx::query_as(RELAY).bind(report.upstream.0).fetch_one(&mut *conn).await?;
    let mut seen = codec::applied(relay.last_sequence, relay.seen_below);
    let is_new = seen.take(report.sequence);
    if is_new {
        let (last, below) = codec::applied_columns(seen);
        sqlx::query(SEEN).bind(report.upstream.0).bind(last).bind(below).execute(&mut *conn).await?;
    }
    let mut applied = Applied { conn, relay, report, refs, is_new, now };
    match &report.said {
        Said::BatchEnded { batch, outcome, method, counts } => {
            applied.batch_ended(&Ended { batch: *batch, outcome, method: *method, counts: *counts }).await
        }
        Said::Progress { batches, rows, counts } => applied.progress(batches, rows, *counts).await,
        _ if !is_new => Ok(Vec::new()),
        Said::Opened => applied.opened().await,
        Said::Rebuilt { layout } => applied.rebuilt(*layout).await,
        Said::CaughtUp => applied.caught_up().await,
        Said::Down { class, detail } => applied.down(*class, detail, (settings.rolls)()).await,
        Said::Lost { ids } => ledger::lost(applied.conn, ids, applied.now).await.map(|()| Vec::new()),
        Said::Learned { facts } => applied.learned(facts).await,
        Said::Audited { part, outcome, .. } => applied.audited(*part, outcome, audit_due(settings, now)).await,
        Said::RateLimited { seconds } => applied.rate_limited(*seconds).await,
    }
}

impl Applied<'_> {
    fn upstream(&self) -> i64 {
        self.report.upstream.0
    }

    fn this(&self) -> Vec<UpstreamId> {
        vec![self.report.upstream]
    }

    async fn opened(&mut self) -> Result<Vec<UpstreamId>, Failure> {
        sqlx::query(OPENED).bind(self.upstream()).execute(&mut *self.conn).await?;
        Ok(self.this())
    }

    async fn rebuilt(&mut self, layout: u64) -> Result<Vec<UpstreamId>, Failure> {
        sqlx::query(REBUILT).bind(self.upstream()).bind(codec::signed(layout)).execute(&mut *self.conn).await?;
        Ok(self.this())
    }

    async fn caught_up(&mut self) -> Result<Vec<UpstreamId>, Failure> {
        sqlx::query(CAUGHT_UP).bind(self.upstream()).execute(&mut *self.conn).await?;
        self.succeeded().await?;
        Ok(self.this())
    }

    /// S17: a useful answer clears what failures have cost.
    async fn succeeded(&mut self) -> Result<(), Failure> {
        sqlx::query(SUCCESS).bind(self.upstream()).execute(&mut *self.conn).await?;
        Ok(())
    }

    /// S10, S17: what was pending is wanted; the next dial waits as long as the failures say.
    async fn down(&mut self, class: DownClass, detail: &str, roll: u64) -> Result<Vec<UpstreamId>, Failure> {
        link::end(self.conn, &[self.upstream()], self.now).await?;
        let now = codec::timestamp(self.now);
        let AfterDown { health, strikes, dial_at } = self.relay.after_down(class, now, roll);
        if class == DownClass::Banned {
            let struck = sqlx::query(STRUCK).bind(self.upstream()).bind(i64::from(strikes.count));
            struck.bind(strikes.at.map(codec::secs)).execute(&mut *self.conn).await?;
        }
        let update = sqlx::query(DOWN).bind(self.upstream()).bind(i64::from(health.failures));
        let update = update.bind(health.failing_since.map(codec::secs)).bind(codec::secs(dial_at));
        update.bind(class.as_str()).bind(text(detail)).execute(&mut *self.conn).await?;
        Ok(Vec::new())
    }

    async fn batch_ended(&mut self, ended: &Ended<'_>) -> Result<Vec<UpstreamId>, Failure> {
        if !self.end_batch(ended).await? {
            return Ok(Vec::new());
        }
        if self.is_new {
            // Frames and bytes came with the progress of the link; only the rounds are the batch's to tell.
            self.count(BatchCounts { rounds: ended.counts.rounds, ..BatchCounts::default() }).await?;
        }
        match ended.words().1 {
            None => self.confirm(ended).await,
            Some(words) => self.give_back(ended, &words).await,
        }
    }

    /// Says whether the batch was open: one that was given back, or has ended before, finds nothing to confirm.
    async fn end_batch(&mut self, ended: &Ended<'_>) -> Result<bool, Failure> {
        let (state, why) = ended.words();
        let end = sqlx::query(END_BATCH).bind(ended.batch.0).bind(self.upstream()).bind(self.report.epoch.0);
        let end = end.bind(self.now).bind(state).bind(why.as_deref().map(text)).bind(ended.method.as_str());
        let end = CountColumns::from(ended.counts).columns().into_iter().fold(end, |end, count| end.bind(count));
        Ok(end.execute(&mut *self.conn).await?.rows_affected() > 0)
    }

    /// S13. What home has confirmed is free to be asked for elsewhere.
    async fn confirm(&mut self, ended: &Ended<'_>) -> Result<Vec<UpstreamId>, Failure> {
        let confirm =
            sqlx::query_scalar(CONFIRM).bind(ended.batch.0).bind(ended.method.as_str()).bind(self.now).bind(self.upstream());
        let confirmed: Vec<i64> = confirm.fetch_all(&mut *self.conn).await?;
        sqlx::query(ASKS_WELL).bind(self.upstream()).execute(&mut *self.conn).await?;
        self.succeeded().await?;
        let mut dirty = BTreeSet::from([self.upstream()]);
        if self.relay.is_home() {
            let waiting = sqlx::query_scalar(WAITING_FOR_HOME).bind(&confirmed);
            let waiting: Vec<i64> = waiting.fetch_all(&mut *self.conn).await?;
            dirty.extend(waiting);
        }
        Ok(dirty.into_iter().map(UpstreamId).collect())
    }

    async fn give_back(&mut self, ended: &Ended<'_>, words: &str) -> Result<Vec<UpstreamId>, Failure> {
        coverage::release_batches(self.conn, &[ended.batch.0]).await?;
        let (failures, ask_at) = self.relay.asks_badly(ended.why(), codec::timestamp(self.now));
        let update = sqlx::query(ASKS_BADLY).bind(self.upstream()).bind(i64::from(failures));
        update.bind(codec::secs(ask_at)).bind(text(words)).execute(&mut *self.conn).await?;
        Ok(self.this())
    }

    async fn progress(
        &mut self,
        batches: &[BatchId],
        rows: &[LedgerRow],
        counts: BatchCounts,
    ) -> Result<Vec<UpstreamId>, Failure> {
        ledger::write(self.conn, rows, self.refs, self.now).await?;
        if !self.is_new {
            return Ok(Vec::new());
        }
        let moved: Vec<i64> = batches.iter().map(|batch| batch.0).collect();
        let deadline = self.now.saturating_add(codec::signed(BATCH_DEADLINE_SECS));
        let update = sqlx::query(BATCHES_MOVED).bind(self.upstream()).bind(&moved).bind(deadline);
        update.execute(&mut *self.conn).await?;
        self.count(counts).await?;
        if !rows.is_empty() || counts.events > 0 {
            self.progressed(rows.len()).await?;
        }
        Ok(Vec::new())
    }

    /// S17: what was read before a link ends counts, even if no batch of it ends.
    async fn progressed(&mut self, outcomes: usize) -> Result<(), Failure> {
        let Some(health) = self.relay.health_after_progress(outcomes, codec::timestamp(self.now)) else { return Ok(()) };
        let update = sqlx::query(HEALTH).bind(self.upstream()).bind(i64::from(health.failures));
        update.bind(health.failing_since.map(codec::secs)).execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn count(&mut self, counts: BatchCounts) -> Result<(), Failure> {
        if counts == BatchCounts::default() {
            return Ok(());
        }
        let add = sqlx::query(ADD_COUNTS).bind(self.upstream());
        let add = CountColumns::from(counts).columns().into_iter().fold(add, |add, count| add.bind(count));
        add.execute(&mut *self.conn).await?;
        Ok(())
    }

    /// A lower limit of live subscriptions may make a consolidation due (S14).
    async fn learned(&mut self, facts: &Learned) -> Result<Vec<UpstreamId>, Failure> {
        let (after, is_due) = self.relay.learns(facts)?;
        claim::learn(self.conn, self.upstream(), &after).await?;
        if after.refuses_nip77() {
            sqlx::query(END_AUDIT).bind(self.upstream()).execute(&mut *self.conn).await?;
        }
        Ok(if is_due { self.this() } else { Vec::new() })
    }

    /// S9: the next part, until there is none; what could not be compared is tried again later.
    async fn audited(&mut self, part: u32, outcome: &BatchOutcome, later: i64) -> Result<Vec<UpstreamId>, Failure> {
        if *outcome != BatchOutcome::Complete {
            sqlx::query(AUDIT_LATER).bind(self.upstream()).bind(later).execute(&mut *self.conn).await?;
            return Ok(Vec::new());
        }
        // The part above is the chunk of this number.
        let next = sqlx::query_scalar(IS_MORE_TO_AUDIT).bind(self.upstream()).bind(i64::from(part));
        let is_more: bool = next.fetch_one(&mut *self.conn).await?;
        if is_more {
            let update = sqlx::query(AUDITED).bind(self.upstream()).bind(i64::from(part) + 1).bind(self.now);
            update.execute(&mut *self.conn).await?;
        } else {
            sqlx::query(END_AUDIT).bind(self.upstream()).execute(&mut *self.conn).await?;
        }
        Ok(self.this())
    }

    /// S18: orders wait, nothing is lost; what is in flight waits with them.
    async fn rate_limited(&mut self, seconds: u64) -> Result<Vec<UpstreamId>, Failure> {
        let ask_at = self.now.saturating_add(codec::signed(seconds));
        let deadline = ask_at.saturating_add(codec::signed(BATCH_DEADLINE_SECS));
        sqlx::query(ASK_LATER).bind(self.upstream()).bind(ask_at).execute(&mut *self.conn).await?;
        sqlx::query(BATCHES_WAIT).bind(self.upstream()).bind(deadline).execute(&mut *self.conn).await?;
        Ok(Vec::new())
    }
}
