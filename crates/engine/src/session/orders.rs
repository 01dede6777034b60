//! What the planner tells a session to do. Doing one twice changes nothing.

use model::{Ask, BatchCounts, BatchId, DownClass, Filter, HangUpReason, LiveFilter, Method, Resume, Said, Timestamp};

use super::Session;
use super::live::{Live, LiveKey};
use super::unit::{Batch, Purpose};
use super::words::{Now, Output};
use crate::resume::unoverlapped;
use crate::rules::REFRESH_SECS;

impl Session {
    pub(super) fn order(&mut self, ask: Ask, now: Now) {
        match ask {
            Ask::OpenAnnouncements { filter, since, method } => self.open_announcements(filter, since, method, now),
            Ask::CatchUp { live, polled, since, layout } => {
                if !self.is_outdated(layout) {
                    self.layout = Some(layout);
                    for LiveFilter { slot, filter } in live {
                        self.join_live(slot, filter, Some(since), now);
                    }
                    for filter in polled {
                        self.join_poll(filter, unoverlapped(since), false);
                    }
                }
                self.taken.catch_up = true;
                self.say_opened();
            }
            Ask::Fetch { batch, live, polled, history, method, layout } => {
                let standing = if self.is_outdated(layout) { (Vec::new(), Vec::new()) } else { (live, polled) };
                self.fetch(batch, standing, history, method, now);
            }
            Ask::Rebuild { live, polled, since, layout } => {
                let is_taken = self.layout == Some(layout);
                if !is_taken && !self.is_outdated(layout) {
                    self.layout = Some(layout);
                    self.rebuild(live, polled, since, now);
                }
                self.out.push_back(Output::Report(Said::Rebuilt { layout }));
            }
            Ask::Audit { part, filters } => self.audit(part, filters),
            Ask::HangUp { reason: HangUpReason::Empty } => self.out.push_back(Output::HangUp(DownClass::Empty)),
        }
    }

    /// Live filters of an older layout: those of the layout that stands hold their items, and fewer of others. An order may
    /// come late, and twice.
    fn is_outdated(&self, layout: u64) -> bool {
        self.layout.is_some_and(|taken| layout < taken)
    }

    /// S5, S11: live first; then all of its history, or with `since` what came since.
    fn open_announcements(&mut self, filter: Filter, since: Option<Timestamp>, method: Method, now: Now) {
        let is_under_way = self.units.values().any(|unit| unit.purpose == Purpose::Announcements);
        self.open_live(LiveKey::Announcements, filter.clone(), since, now);
        if since.is_none() && !is_under_way {
            self.start_over(method, now);
            self.queue_unit(Purpose::Announcements, filter, method);
        }
        self.taken.announcements = true;
        self.say_opened();
    }

    /// S15: from now on the link is a fresh one, whatever it began as. What was refused before the last refresh is tried again:
    /// NIP-77 as ordered (S12), more live subscriptions (I3).
    fn start_over(&mut self, method: Method, now: Now) {
        let is_old = |at: Timestamp| now.wall.as_secs() >= at.as_secs() + REFRESH_SECS.0;
        if self.taken.announcements || self.learned.live_limit_at.is_some_and(is_old) {
            self.forget_limits();
        }
        self.resume = Resume::Fresh;
        self.taken.said_caught_up = false;
        self.learned.faulty = None;
        self.faulty.clear();
        if method == Method::Negentropy && self.refuses_negentropy() {
            self.learned.nip77 = None;
        }
    }

    fn say_opened(&mut self) {
        let is_complete = self.taken.announcements && (self.taken.catch_up || self.resume == Resume::Fresh);
        if is_complete {
            self.out.push_back(Output::Report(Said::Opened));
        }
    }

    /// S11: the live filters of the batch, then its history.
    fn fetch(
        &mut self,
        batch: BatchId,
        (live, polled): (Vec<LiveFilter>, Vec<LiveFilter>),
        history: Vec<Filter>,
        method: Method,
        now: Now,
    ) {
        if self.batches.contains_key(&batch) {
            return;
        }
        // The order may be older than what the link has learned since.
        let (live, surplus): (Vec<LiveFilter>, Vec<LiveFilter>) =
            live.into_iter().partition(|live| self.allows_live(LiveKey::Slot(live.slot)));
        for filter in polled.into_iter().chain(surplus) {
            // Its history is read now: what comes is to be read from now on.
            self.join_poll(filter, now.wall, true);
        }
        let keys: Vec<LiveKey> = live.iter().map(|live| LiveKey::Slot(live.slot)).collect();
        for LiveFilter { slot, filter } in live {
            self.join_live(slot, filter, None, now);
        }
        if let Some(staying) = &mut self.rebuilding {
            staying.extend(keys.iter().copied());
        }
        let stands = |key: &LiveKey| self.lives.get(key).is_some_and(Live::is_standing);
        let waits_for = keys.into_iter().filter(|key| !stands(key)).collect();
        let counts = BatchCounts::default();
        self.batches.insert(batch, Batch { waits_for, units: history.len(), failed: None, method, counts });
        // Heard.
        self.moved.insert(batch);
        for filter in history {
            self.queue_unit(Purpose::Batch(batch), filter, method);
        }
    }
}
