//! The result for a person: a table of the upstreams, and sentences. Plain text, without colours.

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use indicatif::{HumanBytes, HumanCount};

use super::record::{HomeFacts, Record, RestartFacts, Unreachable, UpstreamFacts};

const HEADER: [&str; 8] = ["upstream", "found by", "method", "wanted", "confirmed", "events (new)", "bytes read", "time"];
/// S9, and how pages are proved to end.
const RESTART_READS: &str = "
         (a quick reconnect reads the last 15 minutes again, and the live events are that young; one event counts once
         for each filter and each page that it is in)";
/// The columns from here on are figures.
const FIRST_FIGURE: usize = 3;

/// The table, and the sentences below it.
pub(super) fn render(record: &Record) -> String {
    let mut lines = vec![table(&record.upstreams)];
    lines.extend(live(record));
    lines.extend(record.restart.as_ref().map(restart));
    lines.extend(unreachable(&record.unreachable));
    lines.push(format!("the discovery window was {} ms, where 5 s is the default", record.discovery_window_ms));
    lines.push(verdict(record));
    lines.join("\n") + "\n"
}

fn table(upstreams: &[UpstreamFacts]) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(HEADER);
    for upstream in upstreams {
        table.add_row(row(upstream));
    }
    for column in table.column_iter_mut().skip(FIRST_FIGURE) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

fn row(upstream: &UpstreamFacts) -> [String; HEADER.len()] {
    let items = |items: u64| HumanCount(items).to_string();
    [
        upstream.url.clone(),
        upstream.found_by.unwrap_or("not found").to_owned(),
        upstream.method.unwrap_or("not known").to_owned(),
        items(upstream.items_wanted + upstream.items_pending),
        items(upstream.items_confirmed),
        format!("{} ({})", HumanCount(upstream.events_read), HumanCount(upstream.events_new)),
        HumanBytes(upstream.bytes_read).to_string(),
        upstream.confirmed_after_ms.map_or_else(|| "not done".to_owned(), seconds),
    ]
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

fn live(record: &Record) -> Option<String> {
    let times: Vec<u64> = record.live.iter().filter_map(|live| live.at_home_after_ms).collect();
    let longest = times.iter().max()?;
    Some(format!(
        "live: {} of {} events arrived, the slowest {longest} ms after its upstream had taken it",
        times.len(),
        record.live.len()
    ))
}

fn restart(restart: &RestartFacts) -> String {
    let RestartFacts { complete, events_downloaded, events_offered_to_home, settled_after_ms: _ } = restart;
    let state = if *complete { "" } else { ", and it did not settle" };
    let why = if *events_downloaded > 0 { RESTART_READS } else { "" };
    format!(
        "restart: {} events downloaded, {} offered to home{state}{why}",
        HumanCount(*events_downloaded),
        HumanCount(*events_offered_to_home)
    )
}

fn unreachable(unreachable: &[Unreachable]) -> Option<String> {
    let all: usize = unreachable.iter().map(|one| one.relays).sum();
    let reasons: Vec<String> = unreachable.iter().map(|one| format!("{} {}", one.relays, in_words(one.reason))).collect();
    (all > 0).then(|| format!("{all} other announced relays are not reached: {}", reasons.join(", ")))
}

fn in_words(reason: &str) -> String {
    match reason {
        "not-dialable" => "refused by the dial policy",
        "dns" => "with a name, which the demonstration does not look up",
        "refused" => "refused the connection",
        other => return format!("down ({other})"),
    }
    .to_owned()
}

fn verdict(record: &Record) -> String {
    let home = &record.home;
    let events = HumanCount(home.expected as u64);
    if record.complete {
        return format!("complete: home holds exactly the {events} expected events, after {} in all", seconds(record.total_ms));
    }
    let state = if record.interrupted { "interrupted" } else { "incomplete" };
    if home.is_exact() {
        let waiting: u64 = record.upstreams.iter().map(|one| one.items_wanted + one.items_pending).sum();
        return format!(
            "{state}: home holds exactly the {events} expected events, but that is not proved ({waiting} items wait)"
        );
    }
    format!("{state}: {}", difference(home))
}

/// What home lacks, and what it should not hold; of a home that is not exact.
pub(super) fn difference(home: &HomeFacts) -> String {
    let named = |what: &str, count: usize, ids: &[model::EventId]| {
        let ids: Vec<String> = ids.iter().map(model::EventId::to_hex).collect();
        let more = if ids.len() < count { ", …" } else { "" };
        (count > 0).then(|| format!("{} {what} ({}{more})", HumanCount(count as u64), ids.join(", ")))
    };
    let parts =
        [named("missing", home.missing, &home.missing_ids), named("that should not be there", home.surplus, &home.surplus_ids)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("of {} expected events, {}", HumanCount(home.expected as u64), parts.join(" and "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use model::EventId;

    use super::super::record::{HomeFacts, Record};
    use super::*;
    use crate::cli::SizeArgs;

    fn ids(numbers: std::ops::Range<u8>) -> BTreeSet<EventId> {
        numbers.map(|number| EventId::from_byte_array([number; 32])).collect()
    }

    fn record(expected: &BTreeSet<EventId>, held: &BTreeSet<EventId>) -> Record {
        let size = SizeArgs { repos: 1, roots: 2, replies: 3, seed: 4 };
        let home = HomeFacts::of("ws://127.0.0.1:1/".to_owned(), expected, held);
        Record { home, ..Record::of(size, (5, Duration::ZERO)) }
    }

    #[test]
    fn the_verdict_names_what_is_missing_and_what_should_not_be_there() {
        let words = verdict(&record(&ids(0..8), &ids(7..9)));
        assert!(words.starts_with("incomplete: of 8 expected events, 7 missing (0000"), "{words}");
        assert!(words.contains(", …) and 1 that should not be there (0808"), "{words}");
    }

    #[test]
    fn the_expected_events_alone_do_not_make_it_complete() {
        let mut exact = record(&ids(0..3), &ids(0..3));
        assert!(verdict(&exact).starts_with("incomplete: home holds exactly the 3 expected events, but"));
        exact.interrupted = true;
        assert!(verdict(&exact).starts_with("interrupted: "));
        exact.complete = true;
        assert!(verdict(&exact).starts_with("complete: home holds exactly the 3 expected events"));
    }

    #[test]
    fn downloads_after_a_restart_are_explained_and_none_needs_no_word() {
        let facts = |events_downloaded| RestartFacts {
            complete: true,
            events_downloaded,
            events_offered_to_home: 0,
            settled_after_ms: Some(9),
        };
        assert_eq!(restart(&facts(0)), "restart: 0 events downloaded, 0 offered to home");
        assert!(
            restart(&facts(17)).starts_with("restart: 17 events downloaded, 0 offered to home\n         (a quick reconnect")
        );
    }
}
