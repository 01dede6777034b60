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
/// Pages in a row with nothing but events outside the filter: the relay does not read it, and is not read to its bottom.
const MOST_STRAY_PAGES: u32 = 64;
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
    /// Events asked for per page, where it states how many it serves.
    pub page_limit: Option<usize>,
}

impl Manners {
    /// Events asked for per page.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.page_limit.unwrap_or(PAGE_LIMIT)
    }
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
    /// Events of a part of the second in hand that may be cut, where the relay does not say whether it serves more.
    unasked: Option<usize>,
    /// An empty page has proved that nothing is older.
    is_at_bottom: bool,
    /// Reads what came since; a walk of all there is comes with the next refresh.
    is_of_news: bool,
    /// Events asked for per page.
    limit: usize,
    /// Pages in a row with nothing of what was asked for.
    stray_pages: u32,
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
    /// Everything that came under its id.
    raw: usize,
    frames: usize,
    fresh: usize,
    oldest: Option<u64>,
    at_oldest: BTreeSet<EventId>,
    newer_than_asked: usize,
    /// Known events of the second that the cursor stands at.
    at_boundary: usize,
    /// Frames whose event cannot be read.
    unreadable: usize,
    /// Frames outside the filter, within the time that was asked for, and the oldest of them.
    strays: usize,
    oldest_stray: Option<u64>,
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
            unasked: None,
            is_at_bottom: false,
            is_of_news: false,
            limit: manners.limit(),
            stray_pages: 0,
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
            .limit(self.limit),
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

    /// Counts one EVENT frame of the page in flight, whatever it holds. Answers whether it is one more than was asked for.
    pub fn is_beyond_limit(&mut self) -> bool {
        self.page.raw += 1;
        let asked = match &self.mode {
            Mode::Pages | Mode::Probe => self.limit,
            Mode::Second { limit, .. } => *limit,
            Mode::Calibrate(doubt) => doubt.asked(),
        };
        self.page.raw > asked
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

    /// Counts one EVENT frame of the page in flight whose event cannot be read.
    pub fn unreadable(&mut self) {
        self.page.frames += 1;
        self.page.unreadable += 1;
    }

    /// Counts one EVENT frame of the page in flight that is outside the filter. A relay that reads filters otherwise cuts its
    /// pages by what it serves, not by what we take. What is newer than was asked for comes unasked, and says nothing.
    pub fn stray(&mut self, created_at: Timestamp) {
        let created_at = created_at.as_secs();
        if self.is_calibrating() || self.until.is_some_and(|until| created_at > until) {
            return;
        }
        self.page.strays += 1;
        self.page.oldest_stray = Some(self.page.oldest_stray.map_or(created_at, |oldest| oldest.min(created_at)));
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
                let is_full = is_full || self.unasked.is_some_and(|most| page.frames >= most);
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
            Mode::Probe if page.fresh + page.strays > 0 => self.something_below(&page, manners),
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
        let Some(oldest) = page.oldest else { return self.nothing_of_ours(page, manners) };
        self.stray_pages = 0;
        if page.fresh > 0 {
            return self.go_on_from(oldest, page);
        }
        if was_probe || page.newer_than_asked > 0 {
            // Nothing new, and frames that were not asked for: the relay ignores `until`.
            return Step::Incomplete(Incomplete::Unpageable);
        }
        let frames = page.frames + page.strays;
        self.suspect = dense::is_suspect(frames, manners).then_some((oldest, frames));
        self.mode = Mode::Probe;
        self.below(oldest, manners)
    }

    /// No event of the page is one that was asked for. Nothing at all proves the end; frames that tell no time do so where a
    /// larger page of the relay shows that this one was not cut.
    fn nothing_of_ours(&mut self, page: &Page, manners: &mut Manners) -> Step {
        if let Some(oldest) = page.oldest_stray {
            return self.go_on_below_strays(oldest, page.strays, manners);
        }
        match (page.frames, page.unreadable) {
            (0, _) => self.nothing_below(manners),
            (frames, unreadable) if frames > unreadable => Step::Incomplete(Incomplete::Unpageable),
            (frames, _) if dense::is_suspect(frames, manners) => Step::Incomplete(Incomplete::Faulty),
            _ => self.nothing_below(manners),
        }
    }

    /// A page of strays reaches down to its oldest. A second full of them may hide what was asked for.
    fn go_on_below_strays(&mut self, oldest: u64, strays: usize, manners: &mut Manners) -> Step {
        self.stray_pages += 1;
        if self.stray_pages > MOST_STRAY_PAGES {
            return Step::Incomplete(Incomplete::Unpageable);
        }
        if self.until != Some(oldest) {
            self.until = Some(oldest);
            self.boundary.clear();
            return Step::Page(self.request());
        }
        self.has_gap |= dense::is_full(strays, PAGE_LIMIT, manners);
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
        self.unasked = None;
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
            Some(part) => self.read_part(second, part, parts, self.limit),
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
