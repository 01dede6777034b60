//! What a relay should hold, and what home should hold in the end, said in the plainest way.
//! It judges the sync system, so it shares nothing with it: no type, no rule, no normal form.

use std::collections::{BTreeMap, BTreeSet};

use nostr::event::{Event, EventId};
use nostr::key::PublicKey;

/// Seconds ahead of `now` from which an event is kept from home (it may be a clock gone wrong).
pub const FAR_FUTURE: u64 = 24 * 3_600;

/// What a relay that follows NIP-01, 09, 40 and 70 holds after it was sent these events in any order.
/// `now` is in Unix seconds.
#[must_use]
pub fn held(events: &[Event], now: u64) -> Vec<Event> {
    let deletions: Vec<&Event> = events.iter().filter(|event| kind(event) == 5 && !is_refused(event, now)).collect();
    let deleted = Deleted::by(&deletions);
    let mut regular = BTreeMap::new();
    let mut newest: BTreeMap<String, &Event> = BTreeMap::new();
    for event in events {
        if is_refused(event, now) || deleted.covers(event) {
            continue;
        }
        match address(event) {
            None => drop(regular.insert(event.id, event)),
            Some(address) => {
                let best = newest.entry(address).or_insert(event);
                if wins(event, best) {
                    *best = event;
                }
            }
        }
    }
    regular.extend(newest.into_values().map(|event| (event.id, event)));
    regular.into_values().cloned().collect()
}

/// The ids that home must hold once it is complete: no fewer and no more.
///
/// `upstreams` are the URL and the held events of each, `bootstrap` the URLs known from the start.
/// An upstream is known when it is one of these or is listed by the newest announcement that home
/// holds of some repository. From each known one comes: every 30617 and 30618; what tags (`a`, `A`,
/// `q`) a repository that lists it; what tags (`e`, `E`, `q`) a root of such a repository; every deletion (5) and request to
/// vanish (62) by who takes part in such a repository.
#[must_use]
pub fn expected_home(
    upstreams: &[(String, Vec<Event>)],
    bootstrap: &[String],
    home_held: &[Event],
    now: u64,
) -> BTreeSet<EventId> {
    let mut home = held(home_held, now);
    loop {
        let wanted = Wanted::of(&home);
        let mut offered = home.clone();
        for (url, events) in upstreams {
            let url = plain(url);
            if wanted.relays.contains(&url) || bootstrap.iter().any(|known| plain(known) == url) {
                offered.extend(events.iter().filter(|event| wanted.takes(event, &url)).cloned());
            }
        }
        offered.retain(|event| event.created_at.as_secs() <= now.saturating_add(FAR_FUTURE));
        let next = held(&offered, now);
        if next == home {
            return home.iter().map(|event| event.id).collect();
        }
        home = next;
    }
}

/// What home asks for: which relays list which names.
struct Wanted {
    relays: BTreeSet<String>,
    /// Repository address to the relays of its newest announcement.
    repos: BTreeMap<String, BTreeSet<String>>,
    /// Root id in hex to the relays of all its repositories.
    roots: BTreeMap<String, BTreeSet<String>>,
    /// Who announced a repository, is named by it as a maintainer, or opened a root in it, to its relays.
    participants: BTreeMap<String, BTreeSet<String>>,
}

impl Wanted {
    fn of(home: &[Event]) -> Self {
        let mut repos: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut participants: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for event in home.iter().filter(|event| kind(event) == 30617) {
            let Some(address) = address(event) else {
                continue;
            };
            let lists = event.tags.iter().filter(|tag| tag.kind() == "relays");
            let relays = lists.flat_map(|tag| tag.as_slice()[1..].iter().map(|url| plain(url)));
            let relays: BTreeSet<String> = relays.collect();
            let named = event.tags.iter().filter(|tag| tag.kind() == "maintainers").flat_map(|tag| tag.as_slice()[1..].iter());
            let named = named.filter_map(|key| PublicKey::parse(key).ok()).chain([event.pubkey]);
            for author in named {
                participants.entry(author.to_hex()).or_default().extend(relays.iter().cloned());
            }
            repos.insert(address, relays);
        }
        let mut roots: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for event in home.iter().filter(|event| matches!(kind(event), 1617 | 1618 | 1619 | 1621)) {
            let relays = first_values(event, &["a"]).filter_map(|address| repos.get(address)).flatten();
            let relays: BTreeSet<String> = relays.cloned().collect();
            participants.entry(event.pubkey.to_hex()).or_default().extend(relays.iter().cloned());
            roots.insert(event.id.to_hex(), relays);
        }
        let relays = repos.values().flatten().cloned().collect();
        Self { relays, repos, roots, participants }
    }

    fn takes(&self, event: &Event, url: &str) -> bool {
        let lists =
            |names: &BTreeMap<String, BTreeSet<String>>, name: &str| names.get(name).is_some_and(|relays| relays.contains(url));
        matches!(kind(event), 30617 | 30618)
            || (matches!(kind(event), 5 | 62) && lists(&self.participants, &event.pubkey.to_hex()))
            || first_values(event, &["a", "A", "q"]).any(|address| lists(&self.repos, address))
            || first_values(event, &["e", "E", "q"]).any(|id| lists(&self.roots, id))
    }
}

/// What authors took back.
#[derive(Default)]
struct Deleted {
    /// Event id and author, both in hex.
    ids: BTreeSet<(String, String)>,
    /// Address to the last second that is deleted.
    addresses: BTreeMap<String, u64>,
}

impl Deleted {
    fn by(deletions: &[&Event]) -> Self {
        let mut deleted = Self::default();
        for deletion in deletions {
            let author = deletion.pubkey.to_hex();
            let ids = first_values(deletion, &["e"]).map(|id| (id.to_owned(), author.clone()));
            deleted.ids.extend(ids);
            for address in first_values(deletion, &["a"]) {
                if address.split(':').nth(1) == Some(author.as_str()) {
                    let until = deleted.addresses.entry(address.to_owned()).or_default();
                    *until = deletion.created_at.as_secs().max(*until);
                }
            }
        }
        deleted
    }

    fn covers(&self, event: &Event) -> bool {
        let by_id = self.ids.contains(&(event.id.to_hex(), event.pubkey.to_hex()));
        let until = address(event).and_then(|address| self.addresses.get(&address));
        kind(event) != 5 && (by_id || until.is_some_and(|until| event.created_at.as_secs() <= *until))
    }
}

/// Ephemeral, protected or expired.
fn is_refused(event: &Event, now: u64) -> bool {
    let expires = first_values(event, &["expiration"]).next().and_then(|value| value.parse::<u64>().ok());
    (20_000..30_000).contains(&kind(event))
        || event.tags.iter().any(|tag| tag.kind() == "-")
        || expires.is_some_and(|at| at <= now)
}

/// `kind:pubkey:identifier` of what is replaced by newer versions.
fn address(event: &Event) -> Option<String> {
    let author = event.pubkey.to_hex();
    match kind(event) {
        kind @ (0 | 3 | 10_000..=19_999) => Some(format!("{kind}:{author}:")),
        kind @ 30_000..=39_999 => {
            let identifier = event.tags.iter().find(|tag| tag.kind() == "d").and_then(|tag| tag.content());
            Some(format!("{kind}:{author}:{}", identifier.unwrap_or_default()))
        }
        _ => None,
    }
}

/// Newer, or of the same second and with the lower id.
fn wins(event: &Event, other: &Event) -> bool {
    let (one, two) = (event.created_at, other.created_at);
    one > two || (one == two && event.id < other.id)
}

/// The URL without what people spell differently: blanks around it, the case of scheme and host, a last slash.
fn plain(url: &str) -> String {
    let url = url.trim().trim_end_matches('/');
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    format!("{}://{}{path}", scheme.to_lowercase(), host.to_lowercase())
}

fn kind(event: &Event) -> u16 {
    event.kind.as_u16()
}

fn first_values<'a>(event: &'a Event, names: &'a [&str]) -> impl Iterator<Item = &'a str> {
    event.tags.iter().filter(|tag| names.contains(&tag.kind())).filter_map(|tag| tag.content())
}
