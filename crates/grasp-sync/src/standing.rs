//! Where an upstream stands, in words that a person reads: what its link does, what is tried next and why. Used by `status` and
//! by `explain`, which say the same thing in the same words.

use indicatif::HumanCount;
use model::{HomeWrites, LinkView, NextWhy, Role, Timestamp, UpstreamStatus};

/// The state of the link.
pub(crate) fn link(upstream: &UpstreamStatus) -> String {
    match (upstream.link, upstream.last_down) {
        (LinkView::Up { .. }, _) if upstream.unheld_since.is_some() => "nobody is at work".to_owned(),
        (LinkView::Up { caught_up: true, .. }, _) => "up".to_owned(),
        (LinkView::Up { .. }, _) => "up, catching up".to_owned(),
        (LinkView::Down { .. }, _) if is_refused(upstream) => "refused".to_owned(),
        (LinkView::Down { .. }, Some(class)) if upstream.failures > 0 => {
            format!("down ({}, {} in a row)", class.as_str(), upstream.failures)
        }
        (LinkView::Down { .. }, Some(class)) => format!("down ({})", class.as_str()),
        (LinkView::Down { .. }, None) => "not dialed yet".to_owned(),
    }
}

/// What is tried next, in a few words.
pub(crate) fn next(upstream: &UpstreamStatus, now: Timestamp) -> String {
    match upstream.next {
        None if is_refused(upstream) => "never".to_owned(),
        None => "when it is listed".to_owned(),
        Some(next) if next.at <= now => format!("{} now", next.why.as_str()),
        Some(next) => format!("{} in {}", next.why.as_str(), span(next.at.as_secs() - now.as_secs())),
    }
}

/// Why nothing more is there yet, where something is missing, or why it is tried when it is.
pub(crate) fn why(upstream: &UpstreamStatus) -> Option<String> {
    let last = upstream.incomplete.as_ref().filter(|words| !words.is_empty());
    if upstream.unheld_since.is_some() {
        return Some("its link was left up by a process that does not renew its lease any more".to_owned());
    }
    let Some(next) = upstream.next else {
        return Some(last.map_or("nothing at home lists it any more".to_owned(), |why| format!("never dialed: {why}")));
    };
    match next.why {
        NextWhy::Dial if upstream.failures == 1 => Some("its last link has failed".to_owned()),
        NextWhy::Dial if upstream.failures > 0 => Some(format!("{} dials in a row have failed", upstream.failures)),
        NextWhy::Dial => Some("its link is down".to_owned()),
        NextWhy::CatchUp => Some("its link is new: what was confirmed is opened again first".to_owned()),
        NextWhy::Ask => Some("the planner asks for it when it looks next, or when home's own coverage is known".to_owned()),
        NextWhy::AskAgain => {
            Some(last.map_or("it asked us to slow down".to_owned(), |why| format!("the last batch was incomplete: {why}")))
        }
        NextWhy::Deadline => Some("a batch is under way; without progress it is asked for again then".to_owned()),
        NextWhy::HangUp => Some("nothing at home lists it any more".to_owned()),
        NextWhy::Refresh => None,
    }
}

/// Whether the dial policy keeps us from it.
pub(crate) fn is_refused(upstream: &UpstreamStatus) -> bool {
    upstream.next.is_none() && upstream.incomplete.is_some() && matches!(upstream.link, LinkView::Down { .. })
}

/// Whether everything that it should cover is read to a proven end.
pub(crate) fn is_complete(upstream: &UpstreamStatus) -> bool {
    let is_live = matches!(upstream.link, LinkView::Up { caught_up: true, .. }) && upstream.unheld_since.is_none();
    is_live && upstream.wanted + upstream.pending == 0
}

/// How far writes to home are, where that says anything. What the upstreams still hold back is not counted: nobody knows it.
pub(crate) fn writes(writes: HomeWrites) -> Option<String> {
    if writes.waiting == 0 && !writes.is_limited {
        return None;
    }
    let limited = if writes.is_limited { ", its own limit" } else { "" };
    let left = match writes.left_secs() {
        _ if writes.waiting == 0 => "nothing is left".to_owned(),
        Some(secs) => format!("about {} for these", span(secs)),
        None => "nothing has moved for a minute".to_owned(),
    };
    let (waiting, rate) = (HumanCount(writes.waiting), HumanCount(writes.per_minute));
    Some(format!("writes to home: at least {waiting} events wait; {rate} in the last minute{limited}; {left}"))
}

/// A time in its largest unit, rounded down.
pub(crate) fn span(secs: u64) -> String {
    match secs {
        0..120 => format!("{secs} s"),
        120..7_200 => format!("{} min", secs / 60),
        7_200..172_800 => format!("{} h", secs / 3600),
        _ => format!("{} d", secs / 86_400),
    }
}

/// `home`, `bootstrap`, `listed`.
pub(crate) fn role(role: Role) -> &'static str {
    role.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l06_the_estimate_says_what_waits_at_which_rate_and_how_long_that_takes() {
        let told = |waiting, per_minute, is_limited| writes(HomeWrites { waiting, per_minute, is_limited });
        assert_eq!(told(0, 500, false), None);
        let limited =
            "writes to home: at least 1,200 events wait; 60 in the last minute, its own limit; about 20 min for these";
        assert_eq!(told(1_200, 60, true).as_deref(), Some(limited));
        let stuck = "writes to home: at least 7 events wait; 0 in the last minute; nothing has moved for a minute";
        assert_eq!(told(7, 0, false).as_deref(), Some(stuck));
    }
}
