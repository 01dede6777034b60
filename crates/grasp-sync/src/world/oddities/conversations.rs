//! Odd roots and replies (oddities 8 to 10).

use super::{Cabinet, OWNER, STRANGER};
use crate::world::draft::Draft;
use crate::world::text;

pub(super) fn add(cabinet: &mut Cabinet<'_>) {
    add_addresses(cabinet);
    add_bare_replies(cabinet);
    add_bulk(cabinet);
}

fn add_addresses(cabinet: &mut Cabinet<'_>) {
    let base = cabinet.home_base();
    let unknown = cabinet.address(STRANGER, "never-announced");
    let hint = cabinet.workshop.url(0).to_owned();
    let marked = Draft::new(1621, cabinet.days_ago(230)).tag(["a", &base, &hint, "root"]).content("odd");
    cabinet.show("address with hint and marker", STRANGER, marked, &[0]);
    let second = Draft::new(1621, cabinet.days_ago(230)).tag(["a", &unknown]).tag(["a", &base]).content("odd");
    cabinet.show("several addresses, the first unknown", STRANGER, second, &[0]);
    let (_, rest) = base.split_once(':').expect("an address has colons");
    let (key, identifier) = rest.split_once(':').expect("an address has two colons");
    let upper = format!("30617:{}:{identifier}", key.to_uppercase());
    let upper = Draft::new(1621, cabinet.days_ago(230)).tag(["a", &upper]).content("odd");
    cabinet.show("address in upper-case hex", STRANGER, upper, &[0]);
}

/// Replies that only the root's id leads to, each on another upstream than the root where there is one.
fn add_bare_replies(cabinet: &mut Cabinet<'_>) {
    let base = cabinet.home_base();
    let last = cabinet.workshop.last_upstream();
    let pull = Draft::new(1618, cabinet.days_ago(220)).tag(["a", &base]).tag(["c", &"1".repeat(40)]).content("odd");
    let pull = cabinet.show("pull request of the bare replies", STRANGER, pull, &[0]);
    let (id, author) = (pull.id.to_hex(), pull.pubkey.to_hex());
    let at = cabinet.days_ago(219);
    let status = Draft::new(1631, at).tag(["e", &id, "", "root"]);
    cabinet.show("status without an address", OWNER, status, &[last]);
    let stranger = Draft::new(1632, at).tag(["e", &id, "", "root"]).tag(["r", "wss://relay.world.invalid/"]);
    cabinet.show("status by a stranger, with a relay as r", STRANGER + 2, stranger, &[last]);
    let update = Draft::new(1619, at).tag(["E", &id]).tag(["P", &author]).tag(["c", &"2".repeat(40)]);
    cabinet.show("PR update without an address", STRANGER, update, &[last]);
    let upper = Draft::new(1111, at).tag(["E", &id]).tag(["K", "1618"]).content("odd");
    cabinet.show("comment with E only", STRANGER, upper, &[last]);
    let lower = Draft::new(1111, at).tag(["e", &id]).tag(["k", "1618"]).content("odd");
    cabinet.show("comment with e and k only", STRANGER, lower, &[last]);
    let old = Draft::new(1622, at).tag(["e", &id, "", "root"]).content("odd");
    cabinet.show("old-style comment", STRANGER, old, &[last]);
    let note = Draft::new(1, at).tag(["e", &id, "", "root"]).content("odd");
    cabinet.show("note as a reply", STRANGER, note, &[last]);
    let quote = Draft::new(1, at).tag(["q", &base]).content("odd");
    cabinet.show("quote of a repository", STRANGER, quote, &[last]);
}

fn add_bulk(cabinet: &mut Cabinet<'_>) {
    let base = cabinet.home_base();
    let last = cabinet.workshop.last_upstream();
    for name in ["first patch near 60 kB", "second patch near 60 kB", "third patch near 60 kB"] {
        let content = text::patch(&mut cabinet.workshop.dice, 58_000);
        let patch = Draft::new(1617, cabinet.days_ago(210)).tag(["a", &base]).content(content);
        cabinet.show(name, STRANGER, patch, &[last]);
    }
    add_series(cabinet, &base, last);
    for run in 0..30 {
        let burst = Draft::new(9842, cabinet.days_ago(208)).tag(["a", &base]).tag(["run", &run.to_string()]);
        cabinet.show("CI burst in one second", STRANGER, burst, &[last]);
    }
}

/// Forty patches of one second; only the first says that it is a root.
fn add_series(cabinet: &mut Cabinet<'_>, base: &str, on: usize) {
    let mut previous: Option<String> = None;
    for _ in 0..40 {
        let content = text::patch(&mut cabinet.workshop.dice, 900);
        let patch = Draft::new(1617, cabinet.days_ago(209)).tag(["a", base]).content(content);
        let patch = match &previous {
            None => patch.tag(["t", "root"]),
            Some(id) => patch.tag(["e", id, "", "reply"]),
        };
        previous = Some(cabinet.show("series of 40 patches in one second", STRANGER, patch, &[on]).id.to_hex());
    }
}
