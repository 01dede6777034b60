//! The paged read of one filter (a *walk*): every REQ that fetches history goes through here.
//!
//! Ends only on proof: an empty page below the cursor, a hint of NIP-67, or the floor of time. Frames are counted raw,
//! before any policy. Relays cap pages silently, so "fewer than the limit" proves nothing.

use std::collections::{BTreeSet, VecDeque};

use model::{EventId, Filter, Incomplete, Timestamp};

/// Events asked for per page where the relay's own limit is not known.
pub const PAGE_LIMIT: usize = 500;
/// A page smaller than this is not suspected of being cut by the relay.
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
    },
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
            excludes_until: manners.excludes_until,
            pages: 0,
        }
    }

    /// The request of the page in flight: to send it, or to send it again after a refusal.
    #[must_use]
    pub fn request(&self) -> Filter {
        match &self.mode {
            Mode::Pages | Mode::Probe => match self.until {
                Some(until) => self.base.clone().until(self.bound(until)),
                None => self.base.clone(),
            },
            Mode::Second { second, part, .. } => {
                Filter::clone(part).since(Timestamp::from_secs(*second)).until(self.bound(*second))
            }
        }
        .limit(PAGE_LIMIT)
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
        let is_full = page.frames >= manners.largest_page.max(SMALLEST_CAP);
        manners.largest_page = page.frames.max(manners.largest_page);
        match std::mem::replace(&mut self.mode, Mode::Pages) {
            Mode::Second { second, part, rest } => self.part_ended(second, &part, rest, is_full),
            Mode::Pages | Mode::Probe if hint == EoseHint::Finish => self.complete(),
            Mode::Pages if self.skipped_its_boundary(&page) => {
                // What was read is read again: a second may have been cut by the page before.
                self.excludes_until = true;
                manners.excludes_until = true;
                Step::Page(self.request())
            }
            mode @ (Mode::Pages | Mode::Probe) => self.plain_page_ended(&page, mode == Mode::Probe, is_full),
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

    fn plain_page_ended(&mut self, page: &Page, was_probe: bool, is_full: bool) -> Step {
        let Some(oldest) = page.oldest else {
            return if page.frames == 0 { self.complete() } else { Step::Incomplete(Incomplete::Unpageable) };
        };
        if page.fresh > 0 {
            return self.go_on_from(oldest, page);
        }
        if was_probe || page.newer_than_asked > 0 {
            // Nothing new, and frames that were not asked for: the relay ignores `until`.
            return Step::Incomplete(Incomplete::Unpageable);
        }
        if is_full {
            return self.read_second(oldest);
        }
        self.probe_below(oldest)
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

    fn probe_below(&mut self, second: u64) -> Step {
        self.mode = Mode::Probe;
        self.below(second)
    }

    fn below(&mut self, second: u64) -> Step {
        let floor = self.base.since.map_or(0, |since| since.as_secs());
        if second <= floor {
            return self.complete();
        }
        self.until = Some(second - 1);
        self.boundary.clear();
        Step::Page(self.request())
    }

    /// As many events in one second as the relay ever served in a page: there may be more of them than a page holds.
    fn read_second(&mut self, second: u64) -> Step {
        match halves(&self.base) {
            Some((one, other)) => self.read_parts(second, VecDeque::from([one, other])),
            None => {
                self.has_gap = true;
                self.below(second)
            }
        }
    }

    fn part_ended(&mut self, second: u64, part: &Filter, rest: VecDeque<Filter>, is_full: bool) -> Step {
        let mut parts = rest;
        if is_full {
            match halves(part) {
                Some((one, other)) => parts.extend([one, other]),
                None => self.has_gap = true,
            }
        }
        self.read_parts(second, parts)
    }

    fn read_parts(&mut self, second: u64, mut parts: VecDeque<Filter>) -> Step {
        match parts.pop_front() {
            Some(part) => {
                self.mode = Mode::Second { second, part: Box::new(part), rest: parts };
                self.until = Some(second);
                self.boundary.clear();
                Step::Page(self.request())
            }
            None => self.below(second),
        }
    }

    fn complete(&mut self) -> Step {
        if self.has_gap { Step::Incomplete(Incomplete::DenseSecond) } else { Step::Complete }
    }
}

/// Two filters that together match what `filter` matches: split by tag values, kinds or authors, whichever has several.
fn halves(filter: &Filter) -> Option<(Filter, Filter)> {
    if let Some((tag, values)) = filter.generic_tags.iter().find(|(_, values)| values.len() > 1) {
        let (one, other) = split(values);
        let with = |values| {
            let mut half = filter.clone();
            half.generic_tags.insert(*tag, values);
            half
        };
        return Some((with(one), with(other)));
    }
    if let Some(kinds) = filter.kinds.as_ref().filter(|kinds| kinds.len() > 1) {
        let (one, other) = split(kinds);
        return Some((Filter { kinds: Some(one), ..filter.clone() }, Filter { kinds: Some(other), ..filter.clone() }));
    }
    let authors = filter.authors.as_ref().filter(|authors| authors.len() > 1)?;
    let (one, other) = split(authors);
    Some((Filter { authors: Some(one), ..filter.clone() }, Filter { authors: Some(other), ..filter.clone() }))
}

fn split<T: Ord + Clone>(values: &BTreeSet<T>) -> (BTreeSet<T>, BTreeSet<T>) {
    let middle = values.len() / 2;
    (values.iter().take(middle).cloned().collect(), values.iter().skip(middle).cloned().collect())
}

#[cfg(test)]
mod tests;
