//! A plain network to measure with: repositories that every upstream is announced for, and talk about them. Every event is
//! wanted at home, so that what home should hold is known by counting. The same plan gives the same ids.

use nostr::event::{Event, EventId, Kind, Signature, Tag};
use nostr::key::{Keys, SecretKey};
use nostr::types::Timestamp;

/// Of history, in Unix seconds: the events lie a minute apart and end well before any clock of today.
const BEGAN: u64 = 1_600_000_000;
const APART: u64 = 60;
/// What a repository has, about as on the largest public servers.
const EVENTS_PER_REPO: usize = 100;
const ROOTS_PER_REPO: usize = 10;
/// With its tags, an event has 1.3 kB of JSON, as the mean of public patches, issues and comments.
const TEXT: usize = 700;

/// The events of a network.
#[derive(Debug)]
pub(super) struct Crowd {
    /// One for every repository.
    pub(super) announcements: Vec<Event>,
    /// Issues, and comments on them.
    pub(super) talk: Vec<Event>,
}

/// Who signs, and what is talked about.
#[derive(Debug)]
pub(super) struct Scene {
    author: Author,
    addresses: Vec<String>,
}

#[derive(Debug)]
struct Author {
    keys: Keys,
}

impl Scene {
    /// Of a network with so many events, none of which is made yet.
    pub(super) fn of(events: usize) -> Self {
        let secret = SecretKey::from_hex(&"1".repeat(64)).expect("it is a secret key");
        let author = Author { keys: Keys::new(secret) };
        let repos = events.div_ceil(EVENTS_PER_REPO).max(1);
        let addresses = (0..repos).map(|repo| format!("30617:{}:repo-{repo}", author.keys.public_key().to_hex())).collect();
        Self { author, addresses }
    }

    /// `events` events, the announcements among them, each of which lists so many of the upstreams; 0 is all of them.
    pub(super) fn crowd(&self, events: usize, upstreams: &[String], most: usize) -> Crowd {
        let of = |repo: usize| match most {
            0 => upstreams.to_vec(),
            most => (0..most.min(upstreams.len())).map(|nth| upstreams[listed(repo, nth, upstreams.len())].clone()).collect(),
        };
        let announcements: Vec<Event> = (0..self.addresses.len()).map(|repo| self.announcement(repo, &of(repo))).collect();
        let mut roots: Vec<Vec<Event>> = vec![Vec::new(); self.addresses.len()];
        let mut talk = Vec::with_capacity(events);
        for number in 0..events.saturating_sub(announcements.len()) {
            let repo = number % self.addresses.len();
            let event = if roots[repo].len() < ROOTS_PER_REPO {
                let issue = self.issue(repo, number);
                roots[repo].push(issue.clone());
                issue
            } else {
                let root = &roots[repo][number / self.addresses.len() % ROOTS_PER_REPO];
                self.comment(repo, root.id, BEGAN + number as u64 * APART, number)
            };
            talk.push(event);
        }
        Crowd { announcements, talk }
    }

    /// Live comments on repositories, dated now.
    pub(super) fn live(&self, events: usize, now: u64) -> Vec<Event> {
        (0..events)
            .map(|number| {
                let repo = number % self.addresses.len();
                let tags = vec![vec!["a", &self.addresses[repo]], vec!["A", &self.addresses[repo]], vec!["k", "30617"]];
                self.author.sign(1111, now, tags, text(usize::MAX - number))
            })
            .collect()
    }

    fn announcement(&self, repo: usize, upstreams: &[String]) -> Event {
        let name = format!("repo-{repo}");
        let relays = std::iter::once("relays").chain(upstreams.iter().map(String::as_str)).collect();
        let tags = vec![vec!["d", &name], vec!["name", &name], vec!["clone", "https://git.invalid/repo.git"], relays];
        self.author.sign(30617, BEGAN, tags, String::new())
    }

    fn issue(&self, repo: usize, number: usize) -> Event {
        let tags = vec![vec!["a", &self.addresses[repo]], vec!["subject", "something is slow"]];
        self.author.sign(1621, BEGAN + number as u64 * APART, tags, text(number))
    }

    fn comment(&self, repo: usize, root: EventId, at: u64, number: usize) -> Event {
        let root = root.to_hex();
        let tags =
            vec![vec!["A", &self.addresses[repo]], vec!["E", &root], vec!["K", "1621"], vec!["e", &root], vec!["k", "1621"]];
        self.author.sign(1111, at, tags, text(number))
    }
}

impl Author {
    fn sign(&self, kind: u16, at: u64, tags: Vec<Vec<&str>>, content: String) -> Event {
        let tags: Vec<Tag> = tags.into_iter().map(|tag| Tag::parse(tag).expect("a tag has a name")).collect();
        let (at, kind) = (Timestamp::from_secs(at), Kind::from_u16(kind));
        let public_key = self.keys.public_key();
        let id = EventId::compute(&public_key, &at, &kind, &nostr::event::Tags::from_list(tags.clone()), &content);
        let signature: Signature = self.keys.sign_schnorr_with_aux_rand(&Default::default(), id.as_bytes(), &[0; 32]);
        Event::new(id, public_key, at, kind, tags, content, signature)
    }
}

/// The upstream that a repository lists at this place, of so many.
pub(super) fn listed(repo: usize, nth: usize, upstreams: usize) -> usize {
    (repo + nth) % upstreams
}

/// Words that compress about as well as people's do.
fn text(number: usize) -> String {
    const WORDS: [&str; 16] = [
        "branch", "commit", "the", "when", "relay", "patch", "slow", "fetch", "a", "merge", "review", "it", "breaks", "on",
        "rebase", "still",
    ];
    let mut state = number as u64;
    let mut text = format!("#{number}: ");
    while text.len() < TEXT {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(WORDS[(state >> 60) as usize]);
        text.push(' ');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_crowd_has_as_many_events_as_asked_for_all_different_and_all_signed() {
        let crowd = Scene::of(450).crowd(450, &["ws://127.0.0.1:1/".to_owned()], 0);
        let all: Vec<&Event> = crowd.announcements.iter().chain(&crowd.talk).collect();
        assert_eq!(all.iter().map(|event| event.id).collect::<BTreeSet<_>>().len(), 450);
        assert_eq!(crowd.announcements.len(), 5);
        assert!(all.iter().all(|event| event.verify_id() && event.verify_signature()));
        let bytes: usize = all.iter().map(|event| event.as_json().len()).sum();
        assert!((1_000..1_600).contains(&(bytes / all.len())), "{}", bytes / all.len());
    }
}
