//! The paged read of one filter (a *walk*): every REQ that fetches history goes through here.
//!
//! Ends only on proof: an empty page below the cursor, a hint of NIP-67, or the floor of time. Frames are counted raw,
//! before any policy. Relays cap pages silently, so "fewer than the limit" proves nothing; that a second was read in full
//! is proved by a larger page of the same relay.

mod dense;

use std::collections::{BTreeSet, VecDeque};

use dense::Doubt;
use model::{EventId, Filter, Incomplete, Timestamp};

/// Events asked for per page where the relay's own limit is not known.
pub const PAGE_LIMIT: usize = 500;
/// A smaller page is not taken for cut unless the relay was seen to cut pages that small.
pub const SMALLEST_CAP: usize = 20;

/// A NIP-67 hint on EOSE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EoseHint {
    None,
    /// Every stored match was sent.
    Finish,
    /// There is more.
    More,
}

/// How a relay pages, learned from its pages and true for all its walks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Manners {
    /// Most frames that any page had.
    pub largest_page: usize,
    /// `until` leaves out the second that it names.
    pub excludes_until: bool,
    /// Events of a page that was cut: older ones were left out.
    pub cuts_at: Option<usize>,
    /// No question to this relay could prove that it serves more than this.
    pub unproved: usize,
    /// Times that the relay refused to be asked.
    pub questions_refused: u8,
}

/// What to do after a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Page(Filter),
    Complete,
    Incomplete(Incomplete),
}

#[derive(Debug, Clone)]
pub struct Walk {
    base: Filter,
    /// The page in flight reaches down from here, inclusive; none on the first page, so that events dated in the
    /// future are not lost.
    until: Option<u64>,
    /// Ids read at the second `until`.
    boundary: BTreeSet<EventId>,
    page: Page,
    mode: Mode,
    /// A second could not be read in full.
    has_gap: bool,
    /// A page that reached down to this second had so many events, all of it, as many as any page of the relay.
    suspect: Option<(u64, usize)>,
    /// An empty page has proved that nothing is older.
    is_at_bottom: bool,
    /// Reads what came since; a walk of all there is comes with the next refresh.
    is_of_news: bool,
    /// Asks one second further, because the relay leaves out the one that `until` names.
    excludes_until: bool,
    pub pages: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Mode {
    Pages,
    /// Asks once below the boundary second, to prove that nothing older exists.
    Probe,
    /// Reads one second in parts; the walk goes on below it.
    Second {
        second: u64,
        part: Box<Filter>,
        rest: VecDeque<Filter>,
        limit: usize,
    },
    /// Asks something else, to learn how large this relay's pages may be.
    Calibrate(Box<Doubt>),
}

#[derive(Debug, Clone, Default)]
struct Page {
    frames: usize,
    fresh: usize,
    oldest: Option<u64>,
    at_oldest: BTreeSet<EventId>,
    newer_than_asked: usize,
    /// Known events of the second that the cursor stands at.
    at_boundary: usize,
}

impl Walk {
    /// A walk of `filter`, from its `until` down to its `since` if it has them.
    #[must_use]
    pub fn new(filter: Filter, manners: Manners) -> Self {
        Self {
            until: filter.until.map(|until| until.as_secs()),
            base: filter,
            boundary: BTreeSet::new(),
            page: Page::default(),
            mode: Mode::Pages,
            has_gap: false,
            suspect: None,
            is_at_bottom: false,
            is_of_news: false,
            excludes_until: manners.excludes_until,
            pages: 0,
        }
    }

    /// The same, of what came since a moment: it asks nothing beside what it reads where only a cap that no relay is known
    /// to have would leave something out.
    #[must_use]
    pub fn of_news(filter: Filter, manners: Manners) -> Self {
        Self { is_of_news: true, ..Self::new(filter, manners) }
    }

    /// The request of the page in flight: to send it, or to send it again after a refusal.
    #[must_use]
    pub fn request(&self) -> Filter {
        match &self.mode {
            Mode::Pages | Mode::Probe => match self.until {
                Some(until) => self.base.clone().until(self.bound(until)),
                None => self.base.clone(),
            }
            .limit(PAGE_LIMIT),
            Mode::Second { second, part, limit, .. } => {
                Filter::clone(part).since(Timestamp::from_secs(*second)).until(self.bound(*second)).limit(*limit)
            }
            Mode::Calibrate(doubt) => doubt.question(|second| self.bound(second)),
        }
    }

    /// Whether the page in flight asks for something else than this walk is about: its events are only counted.
    #[must_use]
    pub fn is_calibrating(&self) -> bool {
        matches!(self.mode, Mode::Calibrate(_))
    }

    /// The filter without the walk's own bounds: what every event of it must match.
    #[must_use]
    pub fn filter(&self) -> &Filter {
        &self.base
    }

    /// Counts one EVENT frame of the page in flight. Answers whether the walk sees it for the first time.
    pub fn event(&mut self, id: EventId, created_at: Timestamp) -> bool {
        let created_at = created_at.as_secs();
        let page = &mut self.page;
        page.frames += 1;
        if matches!(self.mode, Mode::Calibrate(_)) {
            page.oldest = Some(page.oldest.map_or(created_at, |oldest| oldest.min(created_at)));
            return false;
        }
        if let Some(until) = self.until.filter(|until| created_at > *until) {
            page.newer_than_asked += usize::from(created_at > until + u64::from(self.excludes_until));
            return false;
        }
        if self.until == Some(created_at) && self.boundary.contains(&id) {
            page.at_boundary += 1;
            page.oldest = Some(page.oldest.map_or(created_at, |oldest| oldest.min(created_at)));
            return false;
        }
        page.fresh += 1;
        if page.oldest.is_none_or(|oldest| created_at < oldest) {
            page.oldest = Some(created_at);
            page.at_oldest.clear();
        }
        if page.oldest == Some(created_at) {
            page.at_oldest.insert(id);
        }
        true
    }

    /// Forgets the page in flight, to ask for it again: its events may come again, the cursor stays.
    pub fn restart_page(&mut self) {
        self.page = Page::default();
    }

    /// The page in flight reached its EOSE.
    pub fn page_ended(&mut self, hint: EoseHint, manners: &mut Manners) -> Step {
        self.pages += 1;
        let page = std::mem::take(&mut self.page);
        let before = *manners;
        manners.largest_page = page.frames.max(manners.largest_page);
        // What seemed to be left out of a smaller page came between two pages.
        manners.cuts_at = manners.cuts_at.filter(|cut| page.frames <= *cut);
        match std::mem::replace(&mut self.mode, Mode::Pages) {
            Mode::Second { second, part, rest, limit } => {
                let is_full = dense::is_full(page.frames, limit, &before);
                self.part_ended(Doubt::of(second, *part, rest, (page.frames, limit)), is_full, manners)
            }
            Mode::Calibrate(doubt) => self.calibrated(*doubt, (page.frames, page.oldest), manners),
            Mode::Pages | Mode::Probe if hint == EoseHint::Finish => self.complete(),
            Mode::Pages if self.skipped_its_boundary(&page) => {
                // What was read is read again: a second may have been cut by the page before.
                self.excludes_until = true;
                manners.excludes_until = true;
                Step::Page(self.request())
            }
            Mode::Probe if page.fresh > 0 => self.something_below(&page, manners),
            mode @ (Mode::Pages | Mode::Probe) => self.plain_page_ended(&page, mode == Mode::Probe, manners),
        }
    }

    /// Events that this relay served a page before, in the second that this page was asked from, are not on it.
    fn skipped_its_boundary(&self, page: &Page) -> bool {
        let is_asked_again = !self.boundary.is_empty() && page.newer_than_asked == 0;
        is_asked_again && page.at_boundary == 0 && !self.excludes_until
    }

    /// The `until` that reaches down from `second`, inclusive.
    fn bound(&self, second: u64) -> Timestamp {
        Timestamp::from_secs(second + u64::from(self.excludes_until))
    }

    fn plain_page_ended(&mut self, page: &Page, was_probe: bool, manners: &mut Manners) -> Step {
        let Some(oldest) = page.oldest else {
            return if page.frames == 0 { self.nothing_below(manners) } else { Step::Incomplete(Incomplete::Unpageable) };
        };
        if page.fresh > 0 {
            return self.go_on_from(oldest, page);
        }
        if was_probe || page.newer_than_asked > 0 {
            // Nothing new, and frames that were not asked for: the relay ignores `until`.
            return Step::Incomplete(Incomplete::Unpageable);
        }
        self.suspect = dense::is_suspect(page.frames, manners).then_some((oldest, page.frames));
        self.mode = Mode::Probe;
        self.below(oldest, manners)
    }

    /// At least one new event: there may be more. The boundary second is read again, inclusive.
    fn go_on_from(&mut self, oldest: u64, page: &Page) -> Step {
        if self.until != Some(oldest) {
            self.boundary.clear();
        }
        self.until = Some(oldest);
        self.boundary.extend(&page.at_oldest);
        Step::Page(self.request())
    }

    fn below(&mut self, second: u64, manners: &mut Manners) -> Step {
        let floor = self.base.since.map_or(0, |since| since.as_secs());
        if second <= floor || self.is_at_bottom {
            return self.nothing_below(manners);
        }
        self.until = Some(second - 1);
        self.boundary.clear();
        Step::Page(self.request())
    }

    fn read_parts(&mut self, second: u64, mut parts: VecDeque<Filter>, manners: &mut Manners) -> Step {
        match parts.pop_front() {
            Some(part) => self.read_part(second, part, parts, PAGE_LIMIT),
            None => self.below(second, manners),
        }
    }

    fn read_part(&mut self, second: u64, part: Filter, rest: VecDeque<Filter>, limit: usize) -> Step {
        self.mode = Mode::Second { second, part: Box::new(part), rest, limit };
        self.until = Some(second);
        self.boundary.clear();
        Step::Page(self.request())
    }

    fn complete(&self) -> Step {
        if self.has_gap { Step::Incomplete(Incomplete::DenseSecond) } else { Step::Complete }
    }
}

#[cfg(test)]
mod tests;
