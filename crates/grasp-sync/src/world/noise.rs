//! Events that a shared relay also holds and that have nothing to do with any repository.

use std::collections::BTreeSet;

use nostr::event::EventId;

use super::draft::Draft;
use super::text;
use super::workshop::Workshop;

/// Adds at least `count` such events, some of which look almost like ours.
pub(super) fn add(workshop: &mut Workshop, count: usize) -> BTreeSet<EventId> {
    let mut noise = BTreeSet::new();
    let everywhere = workshop.everywhere();
    for number in 0..count.max(8) {
        let author = workshop.someone();
        let draft = draft(workshop, author, number);
        let on = workshop.dice.some_of(&everywhere, 1 + number % 2);
        noise.insert(workshop.publish(author, draft, &on).id);
    }
    noise
}

fn draft(workshop: &mut Workshop, author: usize, number: usize) -> Draft {
    let at = workshop.early();
    let words = text::prose(&mut workshop.dice, 200);
    let unknown = format!("30617:{}:never-announced-{number}", workshop.pubkey(author));
    match number % 8 {
        0 | 1 => Draft::new(1, at).content(words),
        2 => Draft::new(0, at).content(format!("{{\"name\":\"person {author}\"}}")),
        3 => Draft::new(10_002, at).tag(["r", workshop.url(0)]),
        4 => Draft::new(1, at).tag(["e", &workshop.dice.hex(64), "", "root"]).content(words),
        5 => Draft::new(1621, at).tag(["a", &unknown]).tag(["subject", "elsewhere"]).content(words),
        6 => Draft::new(7, at).tag(["e", &workshop.dice.hex(64)]).content("+"),
        // The name of a ref of ours as the value of a tag that no filter asks for.
        _ => Draft::new(1, at).tag(["t", "bug"]).tag(["p", &workshop.pubkey(author)]).content(words),
    }
}
