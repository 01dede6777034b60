//! Seconds that hold as many events as the relay serves in a page: whether that is all of them.
//!
//! A relay cuts pages silently. That it did not cut this one is shown by a larger page of any other question, that it did by
//! older events that were left out. Where neither can be had, the second is read in parts, and what has no parts is a gap.

use std::collections::{BTreeSet, VecDeque};

use model::{Filter, Kind, Timestamp};

use super::{Manners, Mode, SMALLEST_CAP, Step, Walk};

/// Events asked for where a page was cut by our own limit and cannot be split.
const LARGEST_LIMIT: usize = 5_000;
/// Events asked for at least, to learn how large pages may be: with them the smallest cap is out of doubt for good.
const CALIBRATION_LIMIT: usize = SMALLEST_CAP + 1;
/// Refusals of such a question on one link, after which it is not asked any more.
const MOST_REFUSED: u8 = 8;
/// What a relay of repositories holds, and what nearly every other relay does.
const WIDELY_HELD: [u16; 14] = [0, 1, 1111, 1617, 1618, 1619, 1621, 1630, 1631, 1632, 1633, 10002, 30617, 30618];

/// A part of a second of which it is not known whether it was read in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Doubt {
    second: u64,
    part: Filter,
    rest: VecDeque<Filter>,
    frames: usize,
    /// How many were asked for.
    limit: usize,
    question: Question,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// Is there any page of more events?
    Larger,
    /// A page had so many: was it cut, so that this second and older ones are not on it?
    Below { second: u64, frames: usize },
}

impl Doubt {
    pub(super) fn of(second: u64, part: Filter, rest: VecDeque<Filter>, (frames, limit): (usize, usize)) -> Self {
        Self { second, part, rest, frames, limit, question: Question::Larger }
    }

    /// Our own limit was reached: whatever the relay serves, there may be more.
    fn is_cut_by_us(&self) -> bool {
        self.frames >= self.limit
    }

    /// Events that the request asks for.
    pub(super) fn asked(&self) -> usize {
        match self.question {
            Question::Larger => CALIBRATION_LIMIT.max(self.frames + 1),
            Question::Below { .. } => 1,
        }
    }

    /// The request that would dispel it. `bound` makes an `until` of a second.
    pub(super) fn question(&self, bound: impl Fn(u64) -> Timestamp) -> Filter {
        let filter = Filter::new().kinds(WIDELY_HELD.map(Kind::from_u16));
        match self.question {
            Question::Larger => filter.limit(self.asked()),
            Question::Below { second, .. } => filter.until(bound(second)).limit(self.asked()),
        }
    }
}

/// Whether a page of one second, of so many events, may hide others of that second.
pub(super) fn is_suspect(frames: usize, manners: &Manners) -> bool {
    let is_cut = manners.cuts_at.is_some_and(|cut| frames >= cut);
    is_cut || frames >= manners.largest_page.min(manners.limit())
}

/// Whether a page of so many events may have been cut.
pub(super) fn is_full(frames: usize, limit: usize, manners: &Manners) -> bool {
    let is_cut = frames >= limit || manners.cuts_at.is_some_and(|cut| frames >= cut);
    is_cut || frames >= manners.largest_page.max(SMALLEST_CAP)
}

/// The relay left out older events.
fn was_cut(frames: usize, manners: &mut Manners) {
    manners.cuts_at = Some(frames.min(manners.cuts_at.unwrap_or(frames)));
}

impl Walk {
    /// The page below a second has events: had the page before not been cut, they would have been on it.
    pub(super) fn something_below(&mut self, page: &super::Page, manners: &mut Manners) -> Step {
        match self.suspect.take() {
            Some((second, frames)) => {
                let whole = Doubt::of(second, self.base.clone(), VecDeque::new(), (frames, self.limit));
                if !whole.is_cut_by_us() {
                    was_cut(frames, manners);
                }
                self.split(whole, manners)
            }
            None => self.plain_page_ended(page, true, manners),
        }
    }

    /// Nothing is older. What is left to doubt is the second above.
    pub(super) fn nothing_below(&mut self, manners: &mut Manners) -> Step {
        self.is_at_bottom = true;
        let Some((second, frames)) = self.suspect.take() else { return self.complete() };
        self.doubt(Doubt::of(second, self.base.clone(), VecDeque::new(), (frames, self.limit)), manners)
    }

    /// A part of a second was read.
    pub(super) fn part_ended(&mut self, doubt: Doubt, is_full: bool, manners: &mut Manners) -> Step {
        if !is_full {
            self.read_parts(doubt.second, doubt.rest, manners)
        } else if halves(&doubt.part).is_some() {
            self.split(doubt, manners)
        } else {
            self.doubt(doubt, manners)
        }
    }

    /// Asks what would dispel a doubt, unless that was in vain before.
    fn doubt(&mut self, doubt: Doubt, manners: &mut Manners) -> Step {
        let is_cut = manners.cuts_at.is_some_and(|cut| doubt.frames >= cut);
        if doubt.is_cut_by_us() {
            return self.split(doubt, manners);
        }
        let is_not_worth_it = self.is_of_news && doubt.frames < SMALLEST_CAP;
        if is_cut || is_not_worth_it || doubt.frames <= manners.unproved {
            return self.left_unproved(doubt, manners);
        }
        if manners.largest_page > doubt.frames {
            return self.read_parts(doubt.second, doubt.rest, manners);
        }
        if manners.questions_refused >= MOST_REFUSED {
            return self.left_unasked(doubt, manners);
        }
        self.mode = Mode::Calibrate(Box::new(doubt));
        Step::Page(self.request())
    }

    /// The answer to a doubt: so many events, down to this second.
    pub(super) fn calibrated(&mut self, mut doubt: Doubt, answer: (usize, Option<u64>), manners: &mut Manners) -> Step {
        match (doubt.question, answer) {
            (Question::Larger, (frames, _)) if frames > doubt.frames => self.read_parts(doubt.second, doubt.rest, manners),
            (Question::Larger, (frames, Some(oldest))) if oldest > 0 => {
                doubt.question = Question::Below { second: oldest - 1, frames };
                self.mode = Mode::Calibrate(Box::new(doubt));
                Step::Page(self.request())
            }
            (Question::Below { frames, .. }, (1.., _)) => {
                was_cut(frames, manners);
                self.unproved(doubt, manners)
            }
            (Question::Larger | Question::Below { .. }, _) => self.unproved(doubt, manners),
        }
    }

    /// The relay does not answer a question that would dispel a doubt.
    pub fn calibration_refused(&mut self, manners: &mut Manners) -> Option<Step> {
        match std::mem::replace(&mut self.mode, Mode::Pages) {
            Mode::Calibrate(doubt) => {
                self.restart_page();
                manners.questions_refused = manners.questions_refused.saturating_add(1);
                Some(self.left_unasked(*doubt, manners))
            }
            mode @ (Mode::Pages | Mode::Probe | Mode::Second { .. }) => {
                self.mode = mode;
                None
            }
        }
    }

    /// Nothing larger is to be had. No relay cuts pages as small as the smallest cap without having been seen to do so.
    fn unproved(&mut self, doubt: Doubt, manners: &mut Manners) -> Step {
        // A relay that holds little holds little: one question is enough.
        manners.unproved = manners.unproved.max(doubt.frames).max(SMALLEST_CAP - 1);
        self.left_unproved(doubt, manners)
    }

    fn left_unproved(&mut self, doubt: Doubt, manners: &mut Manners) -> Step {
        let is_cut = manners.cuts_at.is_some_and(|cut| doubt.frames >= cut);
        if is_cut || doubt.frames >= SMALLEST_CAP {
            self.split(doubt, manners)
        } else {
            self.read_parts(doubt.second, doubt.rest, manners)
        }
    }

    /// The relay does not say whether it serves more. It does serve as many as these, so a part of fewer is all there is of
    /// that part; what has as many and no parts is a gap, however few they are.
    fn left_unasked(&mut self, doubt: Doubt, manners: &mut Manners) -> Step {
        if self.is_of_news && doubt.frames < SMALLEST_CAP {
            return self.left_unproved(doubt, manners);
        }
        self.unasked.get_or_insert(doubt.frames);
        self.split(doubt, manners)
    }

    fn split(&mut self, mut doubt: Doubt, manners: &mut Manners) -> Step {
        match halves(&doubt.part) {
            Some((one, other)) => doubt.rest.extend([one, other]),
            None if doubt.is_cut_by_us() && doubt.limit < LARGEST_LIMIT => {
                return self.read_part(doubt.second, doubt.part, doubt.rest, LARGEST_LIMIT);
            }
            None => self.has_gap = true,
        }
        self.read_parts(doubt.second, doubt.rest, manners)
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
