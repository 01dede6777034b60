//! What a relay means when it refuses: the texts of CLOSED, NOTICE and NEG-ERR, read tolerantly.

/// What to do about a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// S18: slow down, then go on from the cursor.
    RateLimited,
    /// Until it knows who we are. `restricted:` is no such word: that says that it knows.
    AuthRequired,
    /// The link has as many subscriptions as the relay allows.
    TooManySubscriptions,
    /// NIP-77: more records than the relay reconciles at once. Says nothing against its NIP-77.
    TooLarge,
    /// As many requests as the relay allows, whatever their size. Says nothing against its NIP-77 either.
    Quota,
    /// The relay ended an exchange that it had answered; another one may work.
    TimedOut,
    /// Everything else: policy, faults, words that nobody agreed on.
    Other,
}

/// Reads the machine-readable prefix of a CLOSED or NEG-ERR text (NIP-01), and the words in use for the rest.
#[must_use]
pub(super) fn read(text: &str) -> Refusal {
    let text = text.trim();
    let text = text.strip_prefix("ERROR: ").unwrap_or(text).to_lowercase();
    let prefix = text.split_once(':').map_or("", |(prefix, _)| prefix);
    match prefix.trim() {
        _ if names_subscriptions(&text) => Refusal::TooManySubscriptions,
        "rate-limited" => Refusal::RateLimited,
        "auth-required" => Refusal::AuthRequired,
        "closed" => Refusal::TimedOut,
        _ if names_size(&text) => Refusal::TooLarge,
        _ if names_quota(&text) => Refusal::Quota,
        _ => Refusal::Other,
    }
}

/// Whether a text says that the link has too many subscriptions: as CLOSED, or as a NOTICE that names none of them.
pub(super) fn names_subscriptions(text: &str) -> bool {
    let text = text.to_lowercase();
    let is_too_many = ["too many", "max", "limit", "exceeded"].iter().any(|words| text.contains(words));
    is_too_many && ["subscription", "concurrent reqs", "open reqs"].iter().any(|words| text.contains(words))
}

/// Whether a NOTICE asks us to slow down. A subscription limit ("too many concurrent REQs") does not.
#[must_use]
pub(super) fn is_rate_limit_notice(text: &str) -> bool {
    let text = text.to_lowercase();
    ["rate-limit", "rate limit", "slow down", "too fast"].iter().any(|words| text.contains(words))
}

/// Whether a NOTICE refuses NIP-77: it carries no id, so only words tell. Meant for a link on which an exchange was
/// opened and not yet answered.
#[must_use]
pub(super) fn is_negentropy_notice(text: &str) -> bool {
    let text = text.to_lowercase();
    let words = [
        "negentropy",
        "neg-open",
        "neg-",
        "neg requests",
        "unknown envelope",
        "unknown message",
        "unknown command",
        "could not parse",
        "failed to parse",
        "invalid message",
        "unrecognized",
        "not supported",
        "unsupported",
    ];
    words.iter().any(|words| text.contains(words))
}

fn names_size(text: &str) -> bool {
    ["too many records", "too many results", "too many query results", "result set too large", "max_sync_events", "too big"]
        .iter()
        .any(|words| text.contains(words))
}

/// Words about how many requests there are, not about what they ask for.
fn names_quota(text: &str) -> bool {
    ["too many", "too much", "concurrent", "quota"].iter().any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_read_with_and_without_the_error_word_in_front() {
        assert_eq!(read("rate-limited: slow down"), Refusal::RateLimited);
        assert_eq!(read("ERROR: rate-limited: slow down"), Refusal::RateLimited);
        assert_eq!(read("ERROR: auth-required: who are you"), Refusal::AuthRequired);
        assert_eq!(read("restricted: members only"), Refusal::Other);
        assert_eq!(read("closed: unknown subscription handle"), Refusal::TimedOut);
        assert_eq!(read("ERROR: bad req: filter item too small"), Refusal::Other);
        assert_eq!(read(""), Refusal::Other);
    }

    #[test]
    fn n06_too_many_requests_is_no_overflow_and_too_many_records_is() {
        assert_eq!(read("blocked: too many records (2988225 > 1000000)"), Refusal::TooLarge);
        assert_eq!(read("blocked: too many query results"), Refusal::TooLarge);
        assert_eq!(read("blocked: too many concurrent requests"), Refusal::Quota);
        assert_eq!(read("error: quota exceeded"), Refusal::Quota);
        assert_eq!(read("too many results"), Refusal::TooLarge);
    }

    #[test]
    fn l03_a_subscription_limit_is_known_by_its_words() {
        for text in [
            "ERROR: too many concurrent REQs",
            "error: too many subscriptions",
            "blocked: Maximum concurrent subscription count reached",
            "rate-limited: subscription limit of 20 exceeded",
        ] {
            assert_eq!(read(text), Refusal::TooManySubscriptions, "{text}");
        }
        assert_eq!(read("error: subscription not found"), Refusal::Other);
        assert_eq!(read("blocked: too many concurrent requests"), Refusal::Quota);
    }

    #[test]
    fn l02_a_subscription_limit_is_no_rate_limit() {
        assert!(is_rate_limit_notice("rate-limited: wait"));
        assert!(!is_rate_limit_notice("ERROR: too many concurrent REQs"));
    }

    #[test]
    fn n05_the_known_notices_against_negentropy_are_known() {
        for text in [
            "ERROR: bad msg: negentropy disabled",
            "failed to parse envelope: unknown envelope label",
            "Unknown message type: NEG-OPEN",
            "could not parse command",
            "ERROR: too many concurrent NEG requests",
        ] {
            assert!(is_negentropy_notice(text), "{text}");
        }
        assert!(!is_negentropy_notice("welcome to this relay"));
    }
}
