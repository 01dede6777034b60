//! How many relays anybody's announcements can make us dial. Anybody can sign an announcement with a thousand relays in it,
//! or a thousand announcements.
//!
//! First come, first served: a relay that was found earlier is never pushed out by one that is found later. What is over a cap
//! is named with its reason, and judged anew when others are gone.

use std::collections::BTreeMap;
use std::fmt;

use model::RelayUrl;
use url::Host;

/// Each is a number of relays, and counts those that are dialed on the word of announcements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// For which one announcement alone vouches.
    pub per_announcement: usize,
    /// For which the announcements of one author alone vouch.
    pub per_author: usize,
    /// Under one registered domain, or on one address.
    pub per_domain: usize,
    pub total: usize,
}

impl Default for Caps {
    /// Twice the longest list that is in use; what a busy author needs; the tenants of a relay host; twice the largest network
    /// that one deployment was planned for.
    fn default() -> Self {
        Self { per_announcement: 32, per_author: 100, per_domain: 100, total: 2_000 }
    }
}

/// A relay, and who lists it.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    pub url: &'a RelayUrl,
    /// Repos, each with its author, in stable order. The names mean nothing here.
    pub listings: Vec<(i64, &'a str)>,
}

/// Which cap a relay is over. Holds the cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    Announcement(usize),
    Author(usize),
    Domain(usize),
    Total(usize),
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Announcement(most) => write!(f, "the announcements that list it name more than {most} relays each"),
            Self::Author(most) => write!(f, "the authors who list it name more than {most} relays each"),
            Self::Domain(most) => write!(f, "more than {most} relays are announced under its domain"),
            Self::Total(most) => write!(f, "more than {most} relays are announced"),
        }
    }
}

/// What was given out so far.
#[derive(Debug, Default)]
struct Given<'a> {
    by_repo: BTreeMap<i64, usize>,
    by_author: BTreeMap<&'a str, usize>,
    by_domain: BTreeMap<String, usize>,
    total: usize,
}

/// Which of these relays are over a cap, in their order; `found` first to last.
#[must_use]
pub fn over(found: &[Candidate<'_>], caps: Caps) -> Vec<Option<Over>> {
    let mut given = Given::default();
    found.iter().map(|candidate| given.take(candidate, caps).err()).collect()
}

impl<'a> Given<'a> {
    /// One of those who list it vouches for it: the first who may.
    fn take(&mut self, candidate: &Candidate<'a>, caps: Caps) -> Result<(), Over> {
        if self.total >= caps.total {
            return Err(Over::Total(caps.total));
        }
        let domain = domain_of(candidate.url);
        if self.by_domain.get(&domain).is_some_and(|count| *count >= caps.per_domain) {
            return Err(Over::Domain(caps.per_domain));
        }
        let mut over = Over::Announcement(caps.per_announcement);
        for (repo, author) in &candidate.listings {
            let has_room = |count: Option<&usize>, most: usize| count.is_none_or(|count| *count < most);
            if !has_room(self.by_author.get(author), caps.per_author) {
                over = Over::Author(caps.per_author);
            } else if has_room(self.by_repo.get(repo), caps.per_announcement) {
                *self.by_repo.entry(*repo).or_default() += 1;
                *self.by_author.entry(author).or_default() += 1;
                *self.by_domain.entry(domain).or_default() += 1;
                self.total += 1;
                return Ok(());
            }
        }
        // Nobody lists it any more: nothing is asked of it.
        if candidate.listings.is_empty() { Ok(()) } else { Err(over) }
    }
}

/// Second-level names under which the registries of countries let register.
const SECOND_LEVELS: [&str; 12] = ["ac", "co", "com", "edu", "gob", "gov", "gv", "ne", "net", "or", "org", "go"];
/// Hosts whose customers each have a name of their own.
const SHARED: [&str; 14] = [
    "cloudfront.net",
    "duckdns.org",
    "fly.dev",
    "github.io",
    "herokuapp.com",
    "netlify.app",
    "ngrok-free.app",
    "ngrok.io",
    "nostr1.com",
    "onrender.com",
    "railway.app",
    "ts.net",
    "vercel.app",
    "workers.dev",
];

/// Whom a relay's host belongs to, by its name: the registered domain, nearly as the public suffix list has it, or the
/// address (of IPv6 the network that one customer has).
#[must_use]
pub fn domain_of(url: &RelayUrl) -> String {
    let name = match url.host() {
        Host::Ipv4(address) => return address.to_string(),
        Host::Ipv6(address) => {
            let [a, b, c, d, ..] = address.segments();
            return format!("{a:x}:{b:x}:{c:x}:{d:x}::/64");
        }
        Host::Domain(name) => name,
    };
    let labels: Vec<&str> = name.rsplit('.').collect();
    let is_of_country = matches!(labels.as_slice(), [top, second, ..] if top.len() == 2 && SECOND_LEVELS.contains(second));
    let is_shared = SHARED.iter().any(|host| name.strip_suffix(host).is_some_and(|rest| rest.ends_with('.')));
    let count = if is_of_country || is_shared { 3 } else { 2 };
    labels.into_iter().take(count).rev().collect::<Vec<_>>().join(".")
}

/// How many new dials may begin in a minute, spread over it.
#[derive(Debug, Clone)]
pub struct Dials {
    per_minute: usize,
    /// In thousandths of a dial: a beat is shorter than what one takes.
    left: u64,
    at_ms: u64,
}

impl Dials {
    /// A sixth of a minute's dials may begin at once.
    #[must_use]
    pub fn new(per_minute: usize, now_ms: u64) -> Self {
        let mut dials = Self { per_minute, left: 0, at_ms: now_ms };
        dials.left = dials.most();
        dials
    }

    /// How many of `wanted` may begin now.
    pub fn take(&mut self, wanted: usize, now_ms: u64) -> usize {
        let passed = now_ms.saturating_sub(self.at_ms).min(60_000);
        self.at_ms = now_ms;
        // A thousandth of a dial for each sixtieth of a millisecond and dial.
        self.left = (self.left + passed * self.per_minute as u64 / 60).min(self.most());
        let taken = wanted.min(usize::try_from(self.left / 1_000).unwrap_or(usize::MAX));
        self.left -= taken as u64 * 1_000;
        taken
    }

    fn most(&self) -> u64 {
        (self.per_minute as u64 * 1_000 / 6).max(1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::url;

    const FEW: Caps = Caps { per_announcement: 3, per_author: 5, per_domain: 4, total: 8 };

    fn urls(count: usize) -> Vec<RelayUrl> {
        (0..count).map(|n| url(&format!("wss://relay.host{n}.example"))).collect()
    }

    fn listed<'a>(urls: &'a [RelayUrl], listings: &[(i64, &'a str)]) -> Vec<Candidate<'a>> {
        urls.iter().map(|url| Candidate { url, listings: listings.to_vec() }).collect()
    }

    fn dialed(over: &[Option<Over>]) -> usize {
        over.iter().filter(|over| over.is_none()).count()
    }

    #[test]
    fn scenario_14_of_an_announcement_with_a_thousand_relays_few_are_dialed_and_each_of_the_rest_has_its_reason() {
        let urls = urls(1_000);
        let judged = over(&listed(&urls, &[(1, "a")]), Caps::default());
        assert_eq!(dialed(&judged), 32);
        assert!(judged[..32].iter().all(Option::is_none), "those that were found first");
        let reason = judged[999].map(|over| over.to_string());
        assert_eq!(reason.as_deref(), Some("the announcements that list it name more than 32 relays each"));
    }

    #[test]
    fn a_thousand_announcements_of_one_author_are_no_way_around_it() {
        let urls = urls(1_000);
        let each: Vec<Candidate<'_>> =
            urls.iter().zip(0..).map(|(url, n)| Candidate { url, listings: vec![(n, "a")] }).collect();
        let judged = over(&each, Caps::default());
        assert_eq!((dialed(&judged), judged[100]), (100, Some(Over::Author(100))));
    }

    #[test]
    fn a_relay_that_others_list_too_is_dialed_on_their_word() {
        let urls = urls(4);
        let mut candidates = listed(&urls, &[(1, "a")]);
        assert_eq!(over(&candidates, FEW)[3], Some(Over::Announcement(3)));
        candidates[3].listings.push((2, "b"));
        assert_eq!(over(&candidates, FEW)[3], None);
        candidates[3].listings.clear();
        assert_eq!(over(&candidates, FEW)[3], None, "nobody lists it");
    }

    #[test]
    fn a_domain_and_all_together_have_their_caps() {
        let tenants: Vec<RelayUrl> = (0..6).map(|n| url(&format!("wss://r{n}.one.example/{n}"))).collect();
        let many: Vec<(i64, String)> = (0..20).map(|n| (n, format!("author {n}"))).collect();
        let by_all: Vec<(i64, &str)> = many.iter().map(|(repo, author)| (*repo, author.as_str())).collect();
        assert_eq!(over(&listed(&tenants, &by_all), FEW)[4], Some(Over::Domain(4)));
        let judged = over(&listed(&urls(20), &by_all), FEW);
        assert_eq!((dialed(&judged), judged[8]), (8, Some(Over::Total(8))));
    }

    #[test]
    fn later_ones_never_push_out_earlier_ones() {
        let urls = urls(50);
        let all = listed(&urls, &[(1, "a"), (2, "b")]);
        for count in 1..all.len() {
            let (before, after) = (over(&all[..count], FEW), over(&all[..=count], FEW));
            assert_eq!(before, after[..count]);
        }
    }

    #[test]
    fn a_host_belongs_to_its_registered_domain() {
        let cases = [
            ("wss://relay.example", "relay.example"),
            ("wss://a.b.c.relay.example:4848/x", "relay.example"),
            ("wss://relay.co.uk", "relay.co.uk"),
            ("wss://a.relay.co.uk", "relay.co.uk"),
            ("wss://a.relay.com.br", "relay.com.br"),
            ("wss://co.example", "co.example"),
            ("wss://mine.fly.dev", "mine.fly.dev"),
            ("wss://a.mine.fly.dev", "mine.fly.dev"),
            ("wss://fly.dev", "fly.dev"),
            ("wss://notfly.dev", "notfly.dev"),
            ("wss://1.2.3.4", "1.2.3.4"),
            ("wss://[2001:4860:1:2:3::4]", "2001:4860:1:2::/64"),
        ];
        for (relay, domain) in cases {
            assert_eq!(domain_of(&url(relay)), domain, "{relay}");
        }
    }

    #[test]
    fn dials_are_spread_over_the_minute() {
        let mut dials = Dials::new(60, 0);
        assert_eq!((dials.take(100, 0), dials.take(1, 500)), (10, 0));
        assert_eq!((dials.take(5, 1_000), dials.take(5, 3_000)), (1, 2));
        assert_eq!(dials.take(100, 600_000), 10, "what was not used is not saved up");
        let in_a_minute: usize = (0..60).map(|second| dials.take(100, 700_000 + second * 1_000)).sum();
        assert!((60..=70).contains(&in_a_minute), "{in_a_minute}");
        assert_eq!(Dials::new(1, 0).take(3, 0), 1);
    }
}
