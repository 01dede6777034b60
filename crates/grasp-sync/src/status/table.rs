//! A status as a person reads it in ten seconds: the verdict, a row for each upstream, and what stands in the way with what can
//! be done about it.

use comfy_table::{CellAlignment, Table};
use indicatif::{HumanBytes, HumanCount};
use model::{Faulty, Role, Status, Timestamp, UpstreamStatus};

use crate::overview::{self, Overview, State, Verdict};
use crate::plain;
use crate::standing;

const HEADER: [&str; 11] =
    ["upstream", "link", "by", "next", "wanted", "pending", "confirmed", "behind", "events (new)", "read", "health"];
/// Above, below, and under the header: many columns leave no room for lines between them.
const LINES: &str = "  \u{2500}\u{2500} \u{2500}\u{2500}      \u{2500}\u{2500}    ";
/// The columns with figures.
const FIGURES: [usize; 5] = [4, 5, 6, 8, 9];

pub(super) fn text(status: &Status, now: Timestamp) -> String {
    let mut table = Table::new();
    table.load_preset(LINES).set_header(HEADER);
    let upstreams = overview::in_order(status);
    for upstream in &upstreams {
        table.add_row(row(upstream, now));
    }
    for column in FIGURES {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let reasons: String = upstreams.into_iter().flat_map(reasons).collect();
    format!("{}{}\n{reasons}", summary(status, now), table.trim_fmt())
}

/// The lines that answer "is it complete, and how far behind?".
fn summary(status: &Status, now: Timestamp) -> String {
    let overview = Overview::of(status, now);
    let count = HumanCount;
    let Overview { verdict, covered, upstreams, wanted, pending, confirmed, behind_secs } = overview;
    let missing = if wanted + pending == 0 {
        format!("{} items confirmed", count(confirmed))
    } else {
        let share = overview.confirmed_permille() / 10;
        format!("{} items wanted, {} pending, {} confirmed ({share} %)", count(wanted), count(pending), count(confirmed))
    };
    let behind = match (verdict, behind_secs) {
        (Verdict::Nothing, _) => "home holds no announcement that names another relay yet".to_owned(),
        (_, None) => "not every upstream has been read yet".to_owned(),
        (_, Some(0..2)) => "live: nothing is behind".to_owned(),
        (_, Some(secs)) => format!("at most {} behind", standing::span(secs)),
    };
    let home = format!(
        "home: {} events of {} repositories and {} roots",
        count(status.at_home),
        count(status.repos),
        count(status.roots)
    );
    let advice = overview::advice_on_writes(status.writes).map_or(String::new(), |advice| format!("  do: {advice}\n"));
    let writes = standing::writes(status.writes).map_or(String::new(), |line| format!("{line}\n{advice}"));
    format!(
        "{}: {covered} of {upstreams} upstreams covered; {missing}\n{behind}; {home}\n{writes}",
        overview::words(verdict, now)
    )
}

fn row(upstream: &UpstreamStatus, now: Timestamp) -> [String; HEADER.len()] {
    let count = |count: u64| HumanCount(count).to_string();
    let counts = upstream.counts;
    let role = match upstream.role {
        Role::Listed => String::new(),
        role @ (Role::Home | Role::Bootstrap) => format!(" ({})", role.as_str()),
    };
    [
        format!("{}{role}", plain::line(upstream.url.as_str(), plain::SHOWN)),
        format!("{} {}", State::of(upstream).shape(), standing::link(upstream)),
        overview::method(upstream).to_owned(),
        standing::next(upstream, now),
        count(upstream.wanted),
        count(upstream.pending),
        count(upstream.confirmed),
        overview::behind(upstream, now),
        format!("{} ({})", HumanCount(counts.events), HumanCount(counts.fresh)),
        HumanBytes(counts.bytes_in).to_string(),
        overview::health(upstream),
    ]
}

/// For an upstream that is not complete: why, as far as that is known, and what can be done. For one that is confirmed
/// although copies of it cannot be taken: what is the matter with these.
fn reasons(upstream: &UpstreamStatus) -> Vec<String> {
    let url = plain::line(upstream.url.as_str(), plain::SHOWN);
    let is_open = !standing::is_complete(upstream) && State::of(upstream) != State::Unlisted;
    let why = standing::why(upstream).filter(|_| is_open).map(|why| format!("{url}: {}\n", plain::line(&why, plain::SHOWN)));
    let advice = overview::advice(upstream).map(|advice| format!("  do: {advice}\n"));
    let faults = upstream.learned.faulty.map(|Faulty { at: _, forged, unreadable, astray }| {
        let what = format!("{forged} forged, {unreadable} unreadable, {astray} under a foreign id");
        format!("{url}: serves what cannot be taken: {what}\n")
    });
    why.into_iter().chain(advice).chain(faults).collect()
}

#[cfg(test)]
mod tests {
    use model::HomeWrites;

    use super::*;
    use crate::overview::tests::{at, covered, down, status};

    fn lines(status: &Status) -> Vec<String> {
        text(status, at(1_000)).lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_first_line_says_whether_it_is_complete() {
        let whole = lines(&status(vec![covered("wss://one.example"), covered("wss://two.example")]));
        assert_eq!(whole[0], "complete: 2 of 2 upstreams covered; 20 items confirmed");
        assert_eq!(whole[1], "live: nothing is behind; home: 40 events of 2 repositories and 3 roots");
        let reading = UpstreamStatus { wanted: 15, pending: 5, ..covered("wss://two.example") };
        let partly = lines(&status(vec![covered("wss://one.example"), reading]));
        assert_eq!(partly[0], "not complete: 1 of 2 upstreams covered; 15 items wanted, 5 pending, 20 confirmed (50 %)");
        let gone = lines(&status(vec![covered("wss://one.example"), down("wss://two.example", Some(700))]));
        assert_eq!(gone[0], "complete up to 5 min ago: 1 of 2 upstreams covered; 20 items confirmed");
        assert!(gone[1].starts_with("at most 5 min behind; "), "{}", gone[1]);
    }

    #[test]
    fn a_row_says_what_is_tried_next_and_below_stands_what_can_be_done() {
        let told = text(&status(vec![down("wss://two.example", None)]), at(1_000));
        for part in ["○ down (timeout, 3 in a row)", "dial in 60 s", "never read", "timeout, 3 in a row", "not known"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        let end = "wss://two.example/: 3 dials in a row have failed\n  do: nothing: it is dialed again by itself";
        assert!(told.contains(end), "{told}");
    }

    #[test]
    fn slow_writes_come_with_advice_and_a_strangers_words_stay_on_their_line() {
        let mut status = status(vec![covered("wss://one.example")]);
        status.writes = HomeWrites { waiting: 1_200, per_minute: 60, is_limited: true };
        let told = text(&status, at(1_000));
        assert!(told.contains("about 20 min for these\n  do: home limits how fast"), "{told}");
        let hostile = UpstreamStatus {
            incomplete: Some("closed: \u{1b}[2J\u{202e}\nwss://fake: complete".to_owned()),
            wanted: 1,
            next: Some(model::Next { at: at(1_060), why: model::NextWhy::AskAgain }),
            ..covered("wss://one.example")
        };
        let told = text(&overview::tests::status(vec![hostile]), at(1_000));
        assert!(told.contains("the last batch was incomplete: closed: �[2J��wss://fake: complete\n"), "{told}");
    }
}
