//! What a store is told from outside: the rules an operator may change, the time, random numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::rules::Policy;
use ipnet::IpNet;
use model::{PublicKey, RelayUrl, Role};

use crate::Clock;

/// Random numbers; fixed ones in tests.
pub type Rolls = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What every adapter of the store is given when it is opened.
#[derive(Clone)]
pub struct Settings {
    pub policy: Policy,
    pub clock: Clock,
    /// Networks that are not public, in which announced upstreams may be dialed all the same.
    pub allow_non_public: Vec<IpNet>,
    /// Whether onion services can be dialed at all.
    pub has_onion_proxy: bool,
    /// Home and its aliases: never an upstream.
    pub own_urls: Vec<RelayUrl>,
    /// The operator's key: a relay that states it as its operator's is our own.
    pub operator: Option<PublicKey>,
    /// Relays with which private repositories are shared (GRASP-08); nobody else is asked for anything of theirs.
    pub private_peers: Vec<RelayUrl>,
    pub rolls: Rolls,
}

impl Settings {
    /// Why an announced upstream is never dialed, if it is not.
    pub(crate) fn refusal(&self, url: &RelayUrl) -> Option<String> {
        if self.own_urls.contains(url) {
            return Some("this is our own relay".to_owned());
        }
        url.dialable(&self.allow_non_public, self.has_onion_proxy).err().map(|why| why.to_string())
    }

    /// The operator's word by URL. Home's aliases are never an upstream, whoever names them.
    pub(crate) fn roles(&self, named: &[(RelayUrl, Role)]) -> BTreeMap<String, Role> {
        let is_taken = |url: &RelayUrl, role: Role| role == Role::Home || !self.own_urls.contains(url);
        let mut taken: Vec<_> = named.iter().filter(|(url, role)| is_taken(url, *role)).collect();
        taken.sort_by_key(|(_, role)| *role == Role::Home);
        taken.into_iter().map(|(url, role)| (url.as_str().to_owned(), *role)).collect()
    }
}
