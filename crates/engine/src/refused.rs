//! Who a relay serves, read from how it refuses us: it wants to know who we are, to be paid, or not to serve us at all.
//!
//! Owns: the words and statuses in use, and how long such a refusal holds. Never: faults and limits, which pass by themselves.

use model::{DownClass, Incomplete};

/// A refusal that no repeated request changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grounds {
    Auth,
    Payment,
    Policy,
}

/// So many refusals in a row may be a passing fault in front of the relay, such as a proxy that is being restarted.
const PASSING: u32 = 2;
/// Policies change by an operator's hand, bans end: a few times a day (seconds).
const POLICY_HOLDS_SECS: u64 = 3 * 3_600;
/// Nobody pays by themselves: twice a day (seconds).
const PAYMENT_HOLDS_SECS: u64 = 12 * 3_600;

const PAYMENT: [&str; 7] = ["payment", "pay ", "paid", "paying", "invoice", "subscribe", "lnbc"];
const POLICY: [&str; 5] = ["not allowed", "banned", "forbidden", "not authorized", "whitelist"];

impl Grounds {
    /// Why a stretch that was refused so is incomplete.
    #[must_use]
    pub fn incomplete(self) -> Incomplete {
        match self {
            Self::Auth => Incomplete::AuthRequired,
            Self::Payment => Incomplete::Payment,
            Self::Policy => Incomplete::Policy,
        }
    }

    fn of_incomplete(why: Incomplete) -> Option<Self> {
        match why {
            Incomplete::AuthRequired => Some(Self::Auth),
            Incomplete::Payment => Some(Self::Payment),
            Incomplete::Policy => Some(Self::Policy),
            Incomplete::Closed
            | Incomplete::Idle
            | Incomplete::DenseSecond
            | Incomplete::Unpageable
            | Incomplete::NotLive
            | Incomplete::RateLimited
            | Incomplete::NotLoaded
            | Incomplete::Unsettled
            | Incomplete::Faulty => None,
        }
    }

    fn of_down(class: DownClass) -> Option<Self> {
        match class {
            DownClass::Auth => Some(Self::Auth),
            DownClass::Payment => Some(Self::Payment),
            DownClass::Policy => Some(Self::Policy),
            DownClass::NotDialable
            | DownClass::Dns
            | DownClass::Refused
            | DownClass::Tls
            | DownClass::HttpStatus
            | DownClass::Timeout
            | DownClass::Closed
            | DownClass::Protocol
            | DownClass::Silent
            | DownClass::Empty
            | DownClass::Released
            | DownClass::Banned => None,
        }
    }

    /// How long (seconds) nothing is tried after so many refusals in a row.
    #[must_use]
    pub fn holds_secs(self, refusals: u32) -> u64 {
        match self {
            _ if refusals <= PASSING => 0,
            // Consent may be given at any time: the hour that the ladder of S17 ends with is enough.
            Self::Auth => 0,
            Self::Payment => PAYMENT_HOLDS_SECS,
            Self::Policy => POLICY_HOLDS_SECS,
        }
    }
}

/// How long (seconds) a link that ended so is not made again, after so many failures in a row.
#[must_use]
pub fn down_holds_secs(class: DownClass, failures: u32) -> u64 {
    Grounds::of_down(class).map_or(0, |grounds| grounds.holds_secs(failures))
}

/// How long (seconds) nothing is asked after so many incomplete batches in a row, the last of them for this.
#[must_use]
pub fn incomplete_holds_secs(why: Incomplete, failures: u32) -> u64 {
    Grounds::of_incomplete(why).map_or(0, |grounds| grounds.holds_secs(failures))
}

/// The class of a link that was answered with this HTTP status instead of a WebSocket.
#[must_use]
pub fn by_status(status: u16) -> DownClass {
    match status {
        401 | 407 => DownClass::Auth,
        402 => DownClass::Payment,
        403 | 451 => DownClass::Policy,
        _ => DownClass::HttpStatus,
    }
}

/// What a text of CLOSED says beyond a fault or a limit (NIP-01 prefixes, and the words in use).
#[must_use]
pub fn by_words(text: &str) -> Option<Grounds> {
    let text = text.trim().to_lowercase();
    let is_error = text.starts_with("error: ");
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let (prefix, rest) = text.split_once(':').map_or(("", text), |(prefix, rest)| (prefix.trim(), rest));
    let has = |words: &[&str]| words.iter().any(|word| rest.contains(word));
    let is_about_payment = has(&PAYMENT) || rest.ends_with(" pay");
    match prefix {
        "payment-required" | "payment required" => Some(Grounds::Payment),
        "auth-required" => Some(Grounds::Auth),
        "blocked" | "restricted" if is_about_payment => Some(Grounds::Payment),
        "blocked" | "restricted" => Some(Grounds::Policy),
        "" if is_error => None,
        "" if rest.contains("payment required") => Some(Grounds::Payment),
        "" if has(&POLICY) => Some(Grounds::Policy),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c10_every_word_of_a_refusal_has_its_class() {
        use Grounds::{Auth, Payment, Policy};
        let all = [
            ("auth-required: we can't serve DMs to unauthenticated users", Some(Auth)),
            ("ERROR: auth-required: who are you", Some(Auth)),
            ("restricted: pay to read here", Some(Payment)),
            ("restricted: this relay is for those who pay", Some(Payment)),
            ("blocked: paid members only", Some(Payment)),
            ("payment required", Some(Payment)),
            ("payment-required: 1000 sats", Some(Payment)),
            ("restricted: members only", Some(Policy)),
            ("blocked: not you", Some(Policy)),
            ("ERROR: blocked: IP address is banned", Some(Policy)),
            ("blocked: filters must specify at least one kind", Some(Policy)),
            ("you are banned", Some(Policy)),
            ("pubkey not on the whitelist", Some(Policy)),
            ("Restricted: NOT YOU", Some(Policy)),
            ("rate-limited: slow down, or pay for more", None),
            ("error: database is not allowed to be so slow", None),
            ("invalid: bad filter", None),
            ("pow: 25 bits are too few", None),
            ("mute: nobody listens", None),
            ("unsupported: filter", None),
            ("ERROR: bad req: filter item too small", None),
            ("error: shutting down", None),
            ("", None),
        ];
        for (text, grounds) in all {
            assert_eq!(by_words(text), grounds, "{text}");
        }
    }

    #[test]
    fn c10_every_status_has_its_class() {
        let all = [
            (401, DownClass::Auth),
            (407, DownClass::Auth),
            (402, DownClass::Payment),
            (403, DownClass::Policy),
            (451, DownClass::Policy),
            (400, DownClass::HttpStatus),
            (404, DownClass::HttpStatus),
            (429, DownClass::HttpStatus),
            (302, DownClass::HttpStatus),
            (502, DownClass::HttpStatus),
        ];
        for (status, class) in all {
            assert_eq!(by_status(status), class, "{status}");
        }
    }

    #[test]
    fn c10_payment_and_policy_hold_for_hours_and_what_may_pass_by_itself_does_not() {
        for class in [DownClass::Payment, DownClass::Policy] {
            assert_eq!((down_holds_secs(class, 1), down_holds_secs(class, 2)), (0, 0), "it may be a proxy in front of it");
            assert!(down_holds_secs(class, 3) >= 3 * 3600);
        }
        for class in [DownClass::Refused, DownClass::HttpStatus, DownClass::Closed, DownClass::Timeout, DownClass::Dns] {
            assert_eq!(down_holds_secs(class, 100), 0, "{}", class.as_str());
        }
        assert!(incomplete_holds_secs(Incomplete::Policy, 3) >= 3 * 3600);
        assert!(incomplete_holds_secs(Incomplete::Payment, 3) > incomplete_holds_secs(Incomplete::Policy, 3));
        assert_eq!(incomplete_holds_secs(Incomplete::Idle, 100), 0);
    }
}
