//! What is tried next at an upstream, and when: there is always an answer, or a reason why nobody tries.

use model::{LinkView, Next, NextWhy, Role, Timestamp};

use crate::rules::EMPTY_GRACE_SECS;

/// What the next attempt depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub role: Role,
    pub link: LinkView,
    /// The dial policy refuses its URL.
    pub is_refused: bool,
    pub wanted: u64,
    pub pending: u64,
    pub confirmed: u64,
    pub ask_at: Option<Timestamp>,
    /// The earliest deadline of the batches under way.
    pub deadline: Option<Timestamp>,
    pub refresh_at: Option<Timestamp>,
    pub empty_since: Option<Timestamp>,
}

/// The next attempt, which is never in the past. None: the upstream is refused, or nothing is wanted of it and its link is
/// down; the operator's word or an announcement changes that.
#[must_use]
pub fn next(standing: &Standing, now: Timestamp) -> Option<Next> {
    let at = |moment: Timestamp, why| Some(Next { at: moment.max(now), why });
    let is_empty = standing.wanted + standing.pending + standing.confirmed == 0;
    match standing.link {
        _ if standing.is_refused => None,
        LinkView::Down { .. } if is_empty && standing.role == Role::Listed => None,
        LinkView::Down { dial_at } => at(dial_at, NextWhy::Dial),
        LinkView::Up { opened: false, .. } => at(now, NextWhy::CatchUp),
        LinkView::Up { .. } if standing.wanted > 0 => match standing.ask_at.filter(|moment| *moment > now) {
            Some(moment) => at(moment, NextWhy::AskAgain),
            None => at(now, NextWhy::Ask),
        },
        LinkView::Up { .. } if standing.pending > 0 => at(standing.deadline.unwrap_or(now), NextWhy::Deadline),
        LinkView::Up { caught_up: false, .. } => at(now, NextWhy::CatchUp),
        LinkView::Up { .. } => match standing.empty_since.filter(|_| is_empty && standing.role == Role::Listed) {
            Some(since) => at(Timestamp::from_secs(since.as_secs() + EMPTY_GRACE_SECS), NextWhy::HangUp),
            None => at(standing.refresh_at.unwrap_or(now), NextWhy::Refresh),
        },
    }
}

#[cfg(test)]
mod tests {
    use model::Resume;

    use super::*;
    use crate::testing::at;

    const UP: LinkView = LinkView::Up { resume: Resume::Fresh, opened: true, caught_up: true };

    fn standing(link: LinkView, (wanted, pending, confirmed): (u64, u64, u64)) -> Standing {
        Standing {
            role: Role::Listed,
            link,
            is_refused: false,
            wanted,
            pending,
            confirmed,
            ask_at: None,
            deadline: Some(at(160)),
            refresh_at: Some(at(5_000)),
            empty_since: None,
        }
    }

    fn told(standing: &Standing) -> Option<(u64, NextWhy)> {
        next(standing, at(100)).map(|next| (next.at.as_secs(), next.why))
    }

    #[test]
    fn c1_whatever_is_wanted_has_a_next_attempt_that_is_never_in_the_past() {
        let down = |dial_at| LinkView::Down { dial_at: at(dial_at) };
        let new = LinkView::Up { resume: Resume::Fresh, opened: false, caught_up: false };
        let catching_up = LinkView::Up { resume: Resume::Fresh, opened: true, caught_up: false };
        let cases = [
            (down(130), (1, 0, 0), (130, NextWhy::Dial)),
            (down(7), (0, 0, 9), (100, NextWhy::Dial)),
            (new, (5, 0, 0), (100, NextWhy::CatchUp)),
            (UP, (5, 1, 0), (100, NextWhy::Ask)),
            (UP, (0, 1, 7), (160, NextWhy::Deadline)),
            (catching_up, (0, 0, 7), (100, NextWhy::CatchUp)),
            (UP, (0, 0, 7), (5_000, NextWhy::Refresh)),
        ];
        for (link, items, expected) in cases {
            assert_eq!(told(&standing(link, items)), Some(expected), "{link:?} {items:?}");
        }
    }

    #[test]
    fn a_pause_is_told_until_it_is_over() {
        let paused = Standing { ask_at: Some(at(140)), ..standing(UP, (1, 0, 0)) };
        assert_eq!(told(&paused), Some((140, NextWhy::AskAgain)));
        assert_eq!(told(&Standing { ask_at: Some(at(99)), ..paused }), Some((100, NextWhy::Ask)));
    }

    #[test]
    fn what_nobody_wants_is_hung_up_and_then_left_alone_unless_the_operator_named_it() {
        let empty = Standing { empty_since: Some(at(90)), ..standing(UP, (0, 0, 0)) };
        assert_eq!(told(&empty), Some((150, NextWhy::HangUp)));
        let down = Standing { link: LinkView::Down { dial_at: at(130) }, ..empty };
        assert_eq!(told(&down), None);
        assert_eq!(told(&Standing { role: Role::Bootstrap, ..down }), Some((130, NextWhy::Dial)));
        assert_eq!(told(&Standing { role: Role::Bootstrap, ..empty }), Some((5_000, NextWhy::Refresh)));
        assert_eq!(told(&Standing { is_refused: true, ..standing(down.link, (3, 0, 0)) }), None);
    }
}
