//! What home's OK means (NIP-01 prefixes, GRASP-01 purgatory).

use model::Outcome;

/// What home's answer to an EVENT means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Final(Outcome),
    /// Slow down, then offer it again.
    RateLimited,
    /// Something went wrong at home: offer it again, a bounded number of times.
    Failed,
}

/// Reads an OK. Tolerant: trimmed, an `ERROR: ` in front dropped, the prefix compared in lower case.
#[must_use]
pub fn read_ok(accepted: bool, text: &str) -> Answer {
    let text = text.trim();
    let text = text.strip_prefix("ERROR: ").unwrap_or(text).to_lowercase();
    let (prefix, rest) = text.split_once(':').map_or(("", text.as_str()), |(prefix, rest)| (prefix.trim(), rest.trim()));
    if accepted {
        return Answer::Final(read_accepted(prefix));
    }
    match prefix {
        "duplicate" => Answer::Final(Outcome::Duplicate),
        "replaced" => Answer::Final(Outcome::Superseded),
        "rate-limited" => Answer::RateLimited,
        "error" | "auth-required" | "unsupported" => Answer::Failed,
        "pow" | "invalid" | "blocked" | "restricted" | "deleted" | "mute" => Answer::Final(read_refused(rest)),
        _ if names_newer_version(&text) => Answer::Final(Outcome::Superseded),
        _ => Answer::Failed,
    }
}

fn read_accepted(prefix: &str) -> Outcome {
    match prefix {
        "duplicate" => Outcome::Duplicate,
        "purgatory" => Outcome::Held,
        "replaced" => Outcome::Superseded,
        "mute" => Outcome::Refused,
        _ => Outcome::Stored,
    }
}

fn read_refused(rest: &str) -> Outcome {
    if names_newer_version(rest) { Outcome::Superseded } else { Outcome::Refused }
}

fn names_newer_version(text: &str) -> bool {
    ["newer", "replaced", "superseded", "older version"].iter().any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_of_an_ok_has_its_meaning() {
        let cases = [
            (true, "", Answer::Final(Outcome::Stored)),
            (true, "duplicate: have it", Answer::Final(Outcome::Duplicate)),
            (true, "purgatory: won't be served until git data arrives", Answer::Final(Outcome::Held)),
            (false, "duplicate: have it", Answer::Final(Outcome::Duplicate)),
            (false, "replaced: have newer event", Answer::Final(Outcome::Superseded)),
            (false, "invalid: a newer version exists", Answer::Final(Outcome::Superseded)),
            (false, "ERROR: blocked: not on the list", Answer::Final(Outcome::Refused)),
            (false, "Invalid: bad tag", Answer::Final(Outcome::Refused)),
            (false, "rate-limited: slow down", Answer::RateLimited),
            (false, "error: disk full", Answer::Failed),
            (false, "nobody knows", Answer::Failed),
        ];
        for (accepted, text, meaning) in cases {
            assert_eq!(read_ok(accepted, text), meaning, "{accepted} {text:?}");
        }
    }
}
