//! What this process knows of the hosts that it asks: one tempo for each, shared by all links to it, kept from one to the next.

use std::collections::HashMap;
use std::mem::swap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::session::{Now, Session};
use engine::tempo::{Standing, Tempo};
use model::{RelayUrl, Role, Timestamp, is_public_address};
use tokio::time::{Duration, Instant};
use url::Host;

/// With more hosts than these, those of which nothing has to be remembered are forgotten.
const MANY_HOSTS: usize = 1_000;

#[derive(Debug)]
pub(crate) struct Hosts {
    /// The clock that all sessions are told: durations by the monotonic one.
    began: Instant,
    tempos: Mutex<HashMap<String, Arc<Mutex<Tempo>>>>,
}

/// One host, as a session asks it.
#[derive(Debug, Clone)]
pub(crate) struct HostShare(Arc<Mutex<Tempo>>);

impl Hosts {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), tempos: Mutex::default() }
    }

    pub(crate) fn now(&self) -> Now {
        Now { ms: self.now_ms(), wall: Timestamp::now() }
    }

    /// The moment that a session calls so.
    pub(crate) fn moment(&self, ms: u64) -> Instant {
        self.began + Duration::from_millis(ms)
    }

    pub(crate) fn share(&self, url: &RelayUrl, role: Role) -> HostShare {
        let now_ms = self.now_ms();
        let mut tempos = locked(&self.tempos);
        if tempos.len() >= MANY_HOSTS {
            tempos.retain(|_, tempo| Arc::strong_count(tempo) > 1 || !locked(tempo).is_calm(now_ms));
        }
        let first = || match role {
            Role::Home => Tempo::unbounded(),
            Role::Bootstrap | Role::Listed => Tempo::default(),
        };
        HostShare(Arc::clone(tempos.entry(name_of(url)).or_insert_with(|| Arc::new(Mutex::new(first())))))
    }

    /// How many hosts stand so, of those that are remembered.
    pub(crate) fn standings(&self) -> [(Standing, usize); 4] {
        let now_ms = self.now_ms();
        let standings: Vec<Standing> = locked(&self.tempos).values().map(|tempo| locked(tempo).standing(now_ms)).collect();
        Standing::ALL.map(|standing| (standing, standings.iter().filter(|one| **one == standing).count()))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl HostShare {
    /// Lends the host's tempo to a session for one call.
    pub(crate) fn lent_to<T>(&self, session: &mut Session, call: impl FnOnce(&mut Session) -> T) -> T {
        let mut tempo = locked(&self.0);
        swap(&mut *tempo, session.tempo_mut());
        let answer = call(session);
        swap(&mut *tempo, session.tempo_mut());
        answer
    }
}

/// Upstreams of one host share what it allows, whatever their schemes, ports and paths. An address that is not public is
/// somebody's own machine: there each port is a relay of its own.
fn name_of(url: &RelayUrl) -> String {
    let host = url.host();
    let is_own = match &host {
        Host::Domain(name) => !name.contains('.'),
        Host::Ipv4(address) => !is_public_address((*address).into()),
        Host::Ipv6(address) => !is_public_address((*address).into()),
    };
    if is_own { format!("{host}:{}", url.port()) } else { host.to_string() }
}

/// A tempo is changed by a session's calls alone, which leave it whole or panic with their session.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use engine::session::{Frame, Input};
    use model::{Learned, Resume};

    use super::*;

    fn url(text: &str) -> RelayUrl {
        RelayUrl::parse(text).unwrap()
    }

    fn session() -> Session {
        Session::new(Resume::Fresh, Learned::default())
    }

    fn told_to_slow_down(hosts: &Hosts, address: &str) {
        let notice = Frame::Notice { text: "rate-limited: slow down".to_owned() };
        let share = hosts.share(&url(address), Role::Listed);
        share.lent_to(&mut session(), |session| session.handle(Input::Frame(notice), hosts.now()));
    }

    fn asks_at(hosts: &Hosts, address: &str) -> u64 {
        hosts.share(&url(address), Role::Listed).lent_to(&mut session(), |session| session.tempo_mut().asks_at())
    }

    #[tokio::test(start_paused = true)]
    async fn s18_what_one_link_is_told_holds_for_the_next_and_for_all_links_to_the_host() {
        let hosts = Hosts::new();
        told_to_slow_down(&hosts, "wss://relay.example/inbox");
        for address in ["wss://relay.example/inbox", "wss://relay.example/", "ws://relay.example:8080/"] {
            assert_eq!(asks_at(&hosts, address), 5_000, "{address}");
        }
        assert_eq!(asks_at(&hosts, "wss://another.example/"), 0);
        tokio::time::advance(Duration::from_secs(6)).await;
        told_to_slow_down(&hosts, "wss://relay.example/");
        assert_eq!(asks_at(&hosts, "wss://relay.example/"), 16_000, "the ladder was not left behind with the link");
    }

    #[test]
    fn on_a_machine_of_one_s_own_each_port_is_a_relay_of_its_own() {
        assert_ne!(name_of(&url("ws://127.0.0.1:7001")), name_of(&url("ws://127.0.0.1:7002")));
        assert_eq!(name_of(&url("wss://9.9.9.9:7001")), name_of(&url("wss://9.9.9.9:7002")));
    }

    #[tokio::test(start_paused = true)]
    async fn hosts_without_a_memory_worth_keeping_are_forgotten() {
        let hosts = Hosts::new();
        told_to_slow_down(&hosts, "wss://slow.example/");
        for n in 0..MANY_HOSTS * 2 {
            asks_at(&hosts, &format!("wss://relay{n}.example/"));
        }
        assert!(locked(&hosts.tempos).len() <= MANY_HOSTS + 1);
        assert_eq!(asks_at(&hosts, "wss://slow.example/"), 5_000);
    }
}
