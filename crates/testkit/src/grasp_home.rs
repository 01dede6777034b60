//! A home that behaves like a GRASP-01 server: it takes announcements that name it, refuses what depends on something that it
//! lacks, and holds what names git data in a purgatory until it is told that the data has arrived.
//!
//! Its words are those that such servers send. It verifies nothing, and speaks no NIP-77.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::hostile::{Behaviour, HostileRelay, Judge, Negentropy, Ruling};

/// How the server is set up.
#[derive(Debug, Clone, Copy)]
pub struct GraspTerms {
    /// What is held this long without git data is dropped.
    pub purgatory: Duration,
    /// New announcements are held too.
    pub announcements_wait: bool,
    /// Events taken in this time; more are answered with `rate-limited:`.
    pub writes: Option<(usize, Duration)>,
    /// Its policy takes no events of this kind.
    pub blocks: Option<u64>,
}

impl Default for GraspTerms {
    /// Announcements are served at once; what names git data is held for half an hour.
    fn default() -> Self {
        Self { purgatory: Duration::from_secs(1_800), announcements_wait: false, writes: None, blocks: None }
    }
}

/// The server; dropping it ends every connection.
#[derive(Debug)]
pub struct GraspHome {
    relay: HostileRelay,
    policy: Arc<Policy>,
}

#[derive(Debug)]
struct Policy {
    terms: GraspTerms,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Host and port under which it is named.
    service: String,
    served: Vec<Value>,
    held: BTreeMap<String, (Value, Instant)>,
    /// How often each id was offered.
    offers: BTreeMap<String, usize>,
    /// When events were taken, within the time that they are counted in.
    taken: Vec<Instant>,
}

impl GraspHome {
    pub async fn start(terms: GraspTerms) -> Self {
        let policy = Arc::new(Policy { terms, state: Mutex::default() });
        let document = json!({
            "name": "a GRASP home",
            "supported_nips": [1, 11, 34],
            "supported_grasps": ["GRASP-01"],
            "repo_acceptance_criteria": "announcements that list this service in clone and relays",
        });
        let script = [
            Behaviour::Judges(Judge(Arc::clone(&policy) as Arc<dyn crate::hostile::Judges>)),
            Behaviour::Negentropy(Negentropy::Error("blocked: not here")),
            Behaviour::Describes(document),
        ];
        let relay = HostileRelay::start(script).await;
        let service = relay.url().split_once("://").expect("a URL").1.to_owned();
        policy.lock().service = service;
        Self { relay, policy }
    }

    /// Where clients connect, and what announcements name in `relays`.
    #[must_use]
    pub fn url(&self) -> String {
        self.relay.url()
    }

    /// What the announcements of this author name in `clone`.
    #[must_use]
    pub fn clone_url(&self, npub: &str, name: &str) -> String {
        format!("http://{}/{npub}/{name}.git", self.policy.lock().service)
    }

    /// The ids of what it serves.
    #[must_use]
    pub fn serves(&self) -> BTreeSet<String> {
        self.policy.lock().served.iter().map(id).collect()
    }

    /// The ids in the order in which they were taken to be served.
    #[must_use]
    pub fn served_in_order(&self) -> Vec<String> {
        self.policy.lock().served.iter().map(id).collect()
    }

    /// The ids of what it holds without serving it.
    #[must_use]
    pub fn holds(&self) -> BTreeSet<String> {
        let mut state = self.policy.lock();
        state.drop_expired(self.policy.terms.purgatory);
        state.held.keys().cloned().collect()
    }

    /// How often this event was offered, whatever became of it.
    #[must_use]
    pub fn offers_of(&self, id: &str) -> usize {
        self.policy.lock().offers.get(id).copied().unwrap_or_default()
    }

    /// The git data of a held event has arrived: it is served from now on.
    ///
    /// # Panics
    /// When it is not held.
    pub fn git_data_arrives(&self, id: &str) {
        let (event, _) = self.policy.lock().held.remove(id).expect("it is held");
        self.policy.lock().served.push(event.clone());
        self.relay.publishes(&event.to_string());
    }

    /// Everything that is held has waited too long.
    pub fn purgatory_expires(&self) {
        self.policy.lock().held.clear();
    }

    /// Somebody else publishes this here; answers as the OK does.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn is_sent(&self, event: &str) -> (bool, String) {
        let event: Value = serde_json::from_str(event).expect("an event as JSON");
        let ruling = self.policy.rule(&event);
        if ruling.is_kept {
            self.relay.publishes(&event.to_string());
        }
        (ruling.accepted, ruling.words)
    }
}

impl Policy {
    /// Entries are changed in single steps, so a panic elsewhere cannot have left them half-written.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rule(&self, event: &Value) -> Ruling {
        let mut state = self.lock();
        state.drop_expired(self.terms.purgatory);
        *state.offers.entry(id(event)).or_default() += 1;
        if let Some((most, within)) = self.terms.writes {
            state.taken.retain(|at| at.elapsed() < within);
            if state.taken.len() >= most {
                return refused("rate-limited: slow down");
            }
            state.taken.push(Instant::now());
        }
        if self.terms.blocks.is_some_and(|kind| event["kind"] == kind) {
            return refused("blocked: author is in the event blacklist");
        }
        let ruling = state.judge(event, self.terms.announcements_wait);
        if ruling.is_kept {
            state.served.push(event.clone());
        } else if ruling.words.starts_with("purgatory:") {
            state.held.insert(id(event), (event.clone(), Instant::now()));
        }
        ruling
    }
}

impl crate::hostile::Judges for Policy {
    fn rule(&self, event: &Value) -> Ruling {
        self.rule(event)
    }
}

impl State {
    fn drop_expired(&mut self, after: Duration) {
        self.held.retain(|_, (_, since)| since.elapsed() < after);
    }

    fn judge(&self, event: &Value, announcements_wait: bool) -> Ruling {
        if self.held.contains_key(&id(event)) {
            return without_keeping("duplicate: in purgatory");
        }
        if self.served.iter().any(|one| one["id"] == event["id"]) {
            return without_keeping("duplicate");
        }
        match event["kind"].as_u64() {
            Some(30617) => self.judge_announcement(event, announcements_wait),
            Some(30618) => self.judge_state(event),
            Some(1618 | 1619) if self.is_related(event) => {
                let commit = values(event, "c").next().unwrap_or("unknown").to_owned();
                without_keeping(&format!("purgatory: PR event stored, waiting for git push with commit {commit}"))
            }
            Some(1618 | 1619) => refused("blocked: PR event must reference an accepted repository or accepted event"),
            Some(5 | 10317) => kept(),
            _ if self.is_related(event) => kept(),
            _ => refused("blocked: Event event must reference an accepted repository or accepted event"),
        }
    }

    fn judge_announcement(&self, event: &Value, announcements_wait: bool) -> Ruling {
        let is_here = |url: &str| url.split_once("://").is_some_and(|(_, rest)| rest.trim_end_matches('/') == self.service);
        let is_clone_here = |url: &str| {
            let rest = url.split_once("://").map(|(_, rest)| rest);
            rest.and_then(|rest| rest.rsplitn(3, '/').nth(2)).is_some_and(|host| host == self.service)
        };
        let lists_us = all_values(event, "relays").any(is_here) && all_values(event, "clone").any(is_clone_here);
        if !lists_us {
            let (clone, relays): (Vec<&str>, Vec<&str>) =
                (all_values(event, "clone").collect(), all_values(event, "relays").collect());
            let words = format!(
                "blocked: Announcement must list service in both 'clone' and 'relays' tags. Found clone URLs: {clone:?}, relays: {relays:?}"
            );
            return if self.is_authorized(event) { kept() } else { refused(&words) };
        }
        let is_new = !self.served.iter().any(|one| one["kind"] == 30617 && address(one) == address(event));
        if announcements_wait && is_new { without_keeping("purgatory: won't be served until git data arrives") } else { kept() }
    }

    fn judge_state(&self, event: &Value) -> Ruling {
        if self.announcements(event).next().is_none() {
            refused("invalid: no announcement exists for this repository")
        } else if self.is_authorized(event) {
            without_keeping("purgatory: won't be served until git data arrives")
        } else {
            refused("invalid: author not authorized for this repository")
        }
    }

    /// Announcements of the same identifier, held ones too.
    fn announcements<'a>(&'a self, event: &'a Value) -> impl Iterator<Item = &'a Value> {
        let known = self.served.iter().chain(self.held.values().map(|(event, _)| event));
        known.filter(|one| one["kind"] == 30617 && values(one, "d").next() == values(event, "d").next())
    }

    fn is_authorized(&self, event: &Value) -> bool {
        let author = event["pubkey"].as_str().unwrap_or_default();
        self.announcements(event).any(|one| one["pubkey"] == author || all_values(one, "maintainers").any(|key| key == author))
    }

    /// It names something that is served, or something that is served names it.
    fn is_related(&self, event: &Value) -> bool {
        let names = |this: &Value, that: &Value| {
            let (own, addr) = (id(that), address(that));
            ["a", "A", "q", "e", "E"].iter().any(|tag| values(this, tag).any(|value| value == own || value == addr))
        };
        self.served.iter().any(|one| names(event, one) || names(one, event))
    }
}

fn kept() -> Ruling {
    Ruling { accepted: true, words: String::new(), is_kept: true }
}

fn without_keeping(words: &str) -> Ruling {
    Ruling { accepted: true, words: words.to_owned(), is_kept: false }
}

fn refused(words: &str) -> Ruling {
    Ruling { accepted: false, words: words.to_owned(), is_kept: false }
}

fn id(event: &Value) -> String {
    event["id"].as_str().unwrap_or_default().to_owned()
}

fn address(event: &Value) -> String {
    let (kind, author) = (event["kind"].as_u64().unwrap_or_default(), event["pubkey"].as_str().unwrap_or_default());
    format!("{kind}:{author}:{}", values(event, "d").next().unwrap_or_default())
}

fn tags<'a>(event: &'a Value, name: &'a str) -> impl Iterator<Item = &'a Vec<Value>> {
    event["tags"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_array)
        .filter(move |tag| tag.first().is_some_and(|one| one == name))
}

/// The first values of the tags of this name.
fn values<'a>(event: &'a Value, name: &'a str) -> impl Iterator<Item = &'a str> {
    tags(event, name).filter_map(|tag| tag.get(1)?.as_str())
}

/// All values of the tags of this name.
fn all_values<'a>(event: &'a Value, name: &'a str) -> impl Iterator<Item = &'a str> {
    tags(event, name).flat_map(|tag| tag.iter().skip(1)).filter_map(Value::as_str)
}
