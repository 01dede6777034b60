//! What home's OK means (NIP-01 prefixes, GRASP-01 purgatory), read tolerantly: relays agree on prefixes at most.

use model::Outcome;

/// What home's answer to an EVENT means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Final(Outcome),
    /// Slow down, then offer it again.
    RateLimited,
    /// Home wants to know who we are (NIP-42).
    AuthRequired,
    /// Something went wrong at home: offer it again, a bounded number of times.
    Failed,
}

/// Reads an OK: trimmed, an `ERROR: ` in front dropped, the prefix compared in lower case.
#[must_use]
pub fn read_ok(accepted: bool, text: &str) -> Answer {
    let text = text.trim().to_lowercase();
    let text = text.strip_prefix("error: ").filter(|rest| has_prefix(rest)).unwrap_or(&text);
    // Some say the word alone, without what makes it a prefix.
    let alone = if text.contains(' ') { ("", text) } else { (text, "") };
    let (prefix, rest) = text.split_once(':').map_or(alone, |(prefix, rest)| (prefix.trim(), rest.trim()));
    if matches!(prefix, "purgatory" | "duplicate" | "invalid") && is_of_purgatory(prefix, rest) {
        return Answer::Final(Outcome::Held);
    }
    if accepted {
        return Answer::Final(read_accepted(prefix));
    }
    match prefix {
        "duplicate" => Answer::Final(Outcome::Duplicate),
        "replaced" => Answer::Final(Outcome::Superseded),
        "rate-limited" => Answer::RateLimited,
        "auth-required" => Answer::AuthRequired,
        "invalid" | "deleted" => Answer::Final(read_words(rest).unwrap_or(Outcome::Refused)),
        "blocked" | "restricted" | "pow" | "mute" => Answer::Final(read_words(rest).unwrap_or(Outcome::Declined)),
        _ => read_words(text).map_or(Answer::Failed, Answer::Final),
    }
}

/// Whether what follows an `ERROR: ` has a prefix of its own.
fn has_prefix(rest: &str) -> bool {
    rest.split_once(':').is_some_and(|(prefix, _)| !prefix.contains(' '))
}

fn read_accepted(prefix: &str) -> Outcome {
    match prefix {
        "duplicate" => Outcome::Duplicate,
        "replaced" => Outcome::Superseded,
        "mute" => Outcome::Declined,
        _ => Outcome::Stored,
    }
}

/// Whether home holds the event without serving it, or has dropped it for the lack of git data: `duplicate: in purgatory` says
/// that it was offered before, not that anybody can read it.
fn is_of_purgatory(prefix: &str, rest: &str) -> bool {
    prefix == "purgatory" || rest.contains("in purgatory") || rest.contains("expired from purgatory")
}

/// What the words after a prefix say more than the prefix does.
fn read_words(words: &str) -> Option<Outcome> {
    let has = |one_of: &[&str]| one_of.iter().any(|part| words.contains(part));
    // First, for it goes on with the announcement's own URLs, which may hold any word.
    if has(&["must list service"]) {
        Some(Outcome::NeedsParent)
    } else if has(&["have newer", "newer version", "newer event", "replaced", "superseded", "older version"]) {
        Some(Outcome::Superseded)
    } else if has(&["is deleted", "been deleted", "requested deletion"]) {
        Some(Outcome::Refused)
    } else if has(PARENT_MISSING) {
        Some(Outcome::NeedsParent)
    } else if has(&["whitelist", "blacklist"]) {
        Some(Outcome::Declined)
    } else {
        None
    }
}

/// How relays say that something which the event depends on is not there yet. An announcement that does not list the service
/// belongs here too: it is taken as soon as another one names its author as a maintainer.
const PARENT_MISSING: &[&str] = &[
    "no announcement",
    "announcement not found",
    "not an accepted",
    "accepted repo",
    "accepted event",
    "repository not found",
    "unknown repository",
    "repo not found",
    "parent event",
    "parent not",
    "missing parent",
    "orphan",
    "root event not found",
    "missing dependency",
    "not a maintainer",
    "not authorized for this repository",
    "does not relate to a stored",
];

#[cfg(test)]
mod tests {
    use super::*;

    const STORED: Answer = Answer::Final(Outcome::Stored);
    const DUPLICATE: Answer = Answer::Final(Outcome::Duplicate);
    const SUPERSEDED: Answer = Answer::Final(Outcome::Superseded);
    const HELD: Answer = Answer::Final(Outcome::Held);
    const REFUSED: Answer = Answer::Final(Outcome::Refused);
    const DECLINED: Answer = Answer::Final(Outcome::Declined);
    const NEEDS_PARENT: Answer = Answer::Final(Outcome::NeedsParent);

    const LISTS_NO_SERVICE: &str = "blocked: Announcement must list service in both 'clone' and 'relays' tags, or match archive \
        whitelist. Found clone URLs: [\"https://replaced.example/x.git\"], relays: [\"wss://orphan.example\"]";

    #[test]
    fn the_words_of_every_relay_have_their_meaning() {
        let cases = [
            // strfry
            (true, "", STORED),
            (true, "duplicate: have this event", DUPLICATE),
            (false, "replaced: have newer event", SUPERSEDED),
            (false, "deleted: user requested deletion", REFUSED),
            (false, "invalid: created_at too early", REFUSED),
            (false, "invalid: event too large: 70000", REFUSED),
            (false, "blocked: event marked as protected", DECLINED),
            (false, "error: internal error", Answer::Failed),
            (false, "rate-limited: slow down there chief", Answer::RateLimited),
            // ngit-grasp: states
            (true, "purgatory: won't be served until git data arrives", HELD),
            (true, "duplicate: in purgatory", HELD),
            (true, "duplicate", DUPLICATE),
            (false, "invalid: no announcement exists for this repository", NEEDS_PARENT),
            (false, "invalid: author not authorized for this repository", NEEDS_PARENT),
            (false, "invalid: previously expired from purgatory without git data", HELD),
            // ngit-grasp: pull requests
            (true, "purgatory: PR event stored, waiting for git push with commit dddddddd", HELD),
            (false, "invalid: accepted deletion request for this event", REFUSED),
            (false, "error: internal error: no such table", Answer::Failed),
            // ngit-grasp: what its policy refuses comes with `blocked:` or bare, by the version of the library beneath it
            (false, "blocked: Event event must reference an accepted repository or accepted event", NEEDS_PARENT),
            (false, "PR event must reference an accepted repository or accepted event", NEEDS_PARENT),
            (false, LISTS_NO_SERVICE, NEEDS_PARENT),
            (false, &LISTS_NO_SERVICE["blocked: ".len()..], NEEDS_PARENT),
            (false, "blocked: Archive read-only mode: announcement must match archive whitelist.", DECLINED),
            (false, "Archive read-only mode: announcement must match archive whitelist.", DECLINED),
            (false, "blocked: author is in the event blacklist", DECLINED),
            // ngit-relay
            (false, "blocked: event does not relate to a stored repository", NEEDS_PARENT),
            (false, "blocked: repository announcement doesn't list ngit-relay in tags: clones and relays", DECLINED),
            // khatru
            (false, "duplicate: already have this event", DUPLICATE),
            (false, "blocked: too many indexable tags", DECLINED),
            (false, "restricted: members only", DECLINED),
            (false, "auth-required: this relay is private", Answer::AuthRequired),
            (false, "error: failed to save: disk full", Answer::Failed),
            (false, "mute: no one was listening for this", DECLINED),
            (true, "mute: no one was listening for this", DECLINED),
            // nostr-rs-relay
            (false, "blocked: pubkey is not allowed to publish to this relay", DECLINED),
            (false, "invalid: event kind is blocked by relay", REFUSED),
            (false, "pow: difficulty 12 is less than 20", DECLINED),
            (false, "error: could not connect to the database", Answer::Failed),
            (true, "duplicate:", DUPLICATE),
            // LocalRelay
            (true, "duplicate: already have this event", DUPLICATE),
            (false, "blocked: this event is deleted", REFUSED),
            (false, "blocked: event not related to owner of this relay", DECLINED),
            (false, "rate-limited: slow down", Answer::RateLimited),
            (false, "error: unknown", Answer::Failed),
            // whoever
            (false, " ERROR: blocked: not on the list ", DECLINED),
            (false, "Error: rate-limited: wait", Answer::RateLimited),
            (false, "Invalid: bad tag", REFUSED),
            (false, "invalid: a newer version exists", SUPERSEDED),
            (false, "have newer event", SUPERSEDED),
            (false, "orphan", NEEDS_PARENT),
            (false, "blocked: transparently", DECLINED),
            (false, "nobody knows", Answer::Failed),
            (false, "", Answer::Failed),
            (false, "error: at 10:30 something happened", Answer::Failed),
        ];
        for (accepted, text, meaning) in cases {
            assert_eq!(read_ok(accepted, text), meaning, "{accepted} {text:?}");
        }
    }
}
