//! The closed sets that labels take their values from: the words of the enums that they stand for, held to them by tests.

use super::{Label, label};

pub(super) const CLASS: Label = label("class", &["home", "bootstrap", "listed"]);
pub(super) const METHOD: Label = label("method", &["negentropy", "REQ"]);
pub(super) const DIRECTION: Label = label("direction", &["in", "out"]);

/// Outcomes of the ledger, `known`, and faults of a copy.
pub(super) const EVENTS: &[&str] = &[
    "stored",
    "duplicate",
    "superseded",
    "held",
    "refused",
    "declined",
    "needs-parent",
    "gated-ephemeral",
    "gated-expired",
    "gated-protected",
    "gated-future",
    "gated-too-old",
    "gated-too-large",
    "gated-vanished",
    "gated-deleted",
    "gated-private",
    "gated-blocked",
    "gated-expiring",
    "known",
    "not-asked-for",
    "not-wanted",
    "malformed",
    "wrong-id",
    "bad-signature",
];

/// Why links end.
pub(super) const ENDINGS: &[&str] = &[
    "not-dialable",
    "dns",
    "refused",
    "tls",
    "http-status",
    "auth",
    "payment",
    "policy",
    "timeout",
    "closed",
    "protocol",
    "silent",
    "empty",
    "released",
    "banned",
];
pub(super) const FAILURES: &[&str] = ENDINGS;

/// What comes of a dial: a link, none although there is a socket, or why there is no socket.
pub(super) const DIALS: &[&str] = &[
    "up",
    "not-granted",
    "not-dialable",
    "dns",
    "refused",
    "tls",
    "http-status",
    "auth",
    "payment",
    "policy",
    "timeout",
    "protocol",
];

/// `complete`, and why a batch is incomplete.
pub(super) const BATCHES: &[&str] = &[
    "complete",
    "closed",
    "auth-required",
    "payment",
    "policy",
    "idle",
    "dense-second",
    "unpageable",
    "not-live",
    "rate-limited",
    "not-loaded",
    "unsettled",
    "faulty",
];

pub(super) const REPORTS: &[&str] =
    &["opened", "caught-up", "rebuilt", "down", "batch-ended", "progress", "learned", "lost", "audited", "rate-limited"];

pub(super) const ASKS: &[&str] = &["open-announcements", "catch-up", "fetch", "rebuild", "audit", "hang-up"];

pub(super) const EXCESSES: &[&str] = &[
    "unasked",
    "beyond-limit",
    "foreign-id",
    "repeats",
    "chatter",
    "garbage",
    "unreadable",
    "forged",
    "too-long",
    "claims",
    "pings",
];

pub(super) const QUESTIONS: &[&str] = match OPERATIONS.split_last() {
    Some((_report, questions)) => questions,
    None => OPERATIONS,
};

/// Questions, and reports at the end.
pub(super) const OPERATIONS: &[&str] = &[
    "lease",
    "discover",
    "up",
    "snapshot",
    "claim",
    "planned",
    "due",
    "ledger",
    "known",
    "held",
    "announced",
    "bars",
    "hold",
    "released",
    "settle",
    "policy",
    "status",
    "explain",
    "report",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use model::DownClass;

    use super::*;

    /// The words of the `as_str` or `name` of an enum, as its source has them: `=> "word"`.
    fn words_of(file: &str, begins: &str) -> BTreeSet<String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
        let source = std::fs::read_to_string(path).expect("the source is there");
        let (_, body) = source.split_once(begins).expect("the words begin so");
        let (body, _) = body.split_once("\n    }\n").or(body.split_once("\n    };\n")).expect("a function ends");
        body.split("=> \"").skip(1).filter_map(|rest| rest.split_once('"')).map(|(word, _)| word.to_owned()).collect()
    }

    fn set(words: &[&str]) -> BTreeSet<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn without(words: &[&str], more: &[&str]) -> BTreeSet<String> {
        set(words).difference(&set(more)).cloned().collect()
    }

    #[test]
    fn the_words_are_those_of_the_enums() {
        assert_eq!(set(ENDINGS), words_of("crates/model/src/message.rs", "pub enum DownClass {"));
        assert_eq!(set(ENDINGS), DownClass::ALL.iter().map(|one| one.as_str().to_owned()).collect());
        assert_eq!(without(BATCHES, &["complete"]), words_of("crates/model/src/message.rs", "pub enum Incomplete {"));
        assert_eq!(set(EXCESSES), words_of("crates/engine/src/conduct.rs", "pub enum Excess {"));
        let faults = words_of("crates/engine/src/gate.rs", "pub enum CopyFault {");
        let outcomes = words_of("crates/model/src/ledger.rs", "    /// A stable word for stores, metrics and people.");
        let events: BTreeSet<String> = faults.union(&outcomes).cloned().chain(["known".to_owned()]).collect();
        assert_eq!(set(EVENTS), events);
        let questions = words_of("crates/model/src/query.rs", "    /// One word, as it stands in subjects, logs and metrics.");
        assert_eq!(set(QUESTIONS), questions);
        assert_eq!(without(OPERATIONS, &["report"]), questions);
        assert_eq!(set(ASKS), words_of("crates/planner/src/metrics.rs", "pub(crate) fn ordered("));
    }
}
