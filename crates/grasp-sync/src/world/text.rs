//! Words for titles, prose and patches. None of them means anything.

use super::people::Dice;

const WORDS: [&str; 56] = [
    "branch", "merge", "relay", "commit", "parser", "buffer", "cache", "index", "fetch", "remote", "worker", "token", "schema",
    "queue", "socket", "header", "layout", "button", "theme", "locale", "build", "release", "binary", "symbol", "filter",
    "client", "server", "signal", "thread", "timer", "limit", "retry", "socket", "stream", "should", "must", "could", "fails",
    "returns", "keeps", "drops", "needs", "because", "when", "after", "before", "without", "under", "the", "a", "every",
    "some", "wrong", "slow", "empty", "last",
];

const NAMES: [&str; 24] = [
    "heron", "lantern", "quarry", "willow", "copper", "marble", "otter", "saddle", "tundra", "velvet", "walnut", "zephyr",
    "anchor", "basalt", "cinder", "drift", "ember", "fjord", "garnet", "harbor", "indigo", "juniper", "kestrel", "linden",
];

/// A name that no other number gets.
pub(super) fn name(dice: &mut Dice, number: usize) -> String {
    format!("{}-{}-{number}", dice.pick(&NAMES), dice.pick(&NAMES))
}

pub(super) fn title(dice: &mut Dice) -> String {
    let words: Vec<&str> = (0..6).map(|_| *dice.pick(&WORDS)).collect();
    words.join(" ")
}

/// Prose of about this many bytes.
pub(super) fn prose(dice: &mut Dice, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 16);
    while text.len() < bytes {
        text.push_str(dice.pick::<&str>(&WORDS));
        text.push(if dice.is_within(8) { '\n' } else { ' ' });
    }
    text
}

/// A patch of about this many bytes, in the shape that `git format-patch` gives it.
pub(super) fn patch(dice: &mut Dice, bytes: usize) -> String {
    let subject = title(dice);
    let file = dice.pick(&NAMES);
    let mut text = format!(
        "From {} Mon Sep 17 00:00:00 2001\nSubject: [PATCH] {subject}\n\n---\n src/{file}.rs | 4 ++--\n\n\
         diff --git a/src/{file}.rs b/src/{file}.rs\n@@ -1,4 +1,4 @@\n",
        dice.hex(40)
    );
    while text.len() < bytes {
        let sign = *dice.pick(&[" ", "-", "+"]);
        text.push_str(&format!("{sign}    {};\n", title(dice).replace(' ', "_")));
    }
    text.push_str("-- \n2.43.0\n");
    text
}
