//! What is compared: the repositories that home announces, their roots, and which relay is asked about what.
//!
//! The inversion of repo → relays (S3), made from events alone. Never: a look at a relay.

use std::collections::{BTreeMap, BTreeSet};

use engine::caps::{self, Candidate, Caps};
use engine::discovery::{read_announcement, read_root};
use engine::targets::is_newer;
use ipnet::IpNet;
use model::{
    Announced, Event, EventId, Item, RelayUrl, RepoAddr, RepoSeen, Role, RootSeen, first_values, kinds, own_repo, refs_of,
};

/// Repositories and roots, as home and upstreams have shown them.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// The repositories that were asked for; all of home's where it is empty.
    pub(super) wanted: BTreeSet<RepoAddr>,
    announcements: BTreeMap<RepoAddr, RepoSeen>,
    roots: BTreeMap<EventId, RootSeen>,
}

/// Which relays are asked, and which of them on whose word.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// Home, in all its spellings.
    pub(super) own: Vec<RelayUrl>,
    /// These and no others, about everything, on the operator's word.
    pub(super) only: Vec<RelayUrl>,
    /// These too, on the operator's word.
    pub(super) bootstrap: Vec<RelayUrl>,
    pub(super) private_peers: Vec<RelayUrl>,
    pub(super) allow_non_public: Vec<IpNet>,
    /// Whether onion services can be dialed.
    pub(super) has_onion_proxy: bool,
    pub(super) caps: Caps,
}

/// A relay that announcements or the operator name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Upstream {
    pub(super) url: RelayUrl,
    pub(super) role: Role,
    pub(super) items: BTreeSet<Item>,
    /// Why it is not dialed, if it is not.
    pub(super) left_out: Option<String>,
}

impl Scope {
    /// These repositories alone, or all of home's.
    pub(super) fn of(wanted: BTreeSet<RepoAddr>) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// Takes in an announcement or a root; answers whether it is of what is compared, and new.
    pub(super) fn take(&mut self, event: &Event) -> bool {
        if event.kind == kinds::ANNOUNCEMENT {
            read_announcement(event).is_some_and(|seen| self.take_announcement(seen))
        } else if kinds::is_root(event.kind) {
            read_root(event).is_some_and(|root| self.take_root(root))
        } else {
            false
        }
    }

    fn take_announcement(&mut self, seen: RepoSeen) -> bool {
        if !self.wanted.is_empty() && !self.wanted.contains(&seen.addr) {
            return false;
        }
        match self.announcements.get(&seen.addr) {
            Some(known) if !is_newer(&seen, known) => false,
            Some(_) | None => self.announcements.insert(seen.addr.clone(), seen).is_none(),
        }
    }

    fn take_root(&mut self, mut root: RootSeen) -> bool {
        // Any relay may show a root; only what is compared gives it a place.
        root.repos.retain(|addr| self.wanted.is_empty() || self.wanted.contains(addr));
        !root.repos.is_empty() && self.roots.insert(root.id, root).is_none()
    }

    pub(super) fn has(&self, addr: &RepoAddr) -> bool {
        self.announcements.contains_key(addr) || self.wanted.contains(addr)
    }

    /// Every repository that is compared.
    pub(super) fn repos(&self) -> BTreeSet<&RepoAddr> {
        self.announcements.keys().chain(&self.wanted).collect()
    }

    /// Roots of repositories that are compared.
    pub(super) fn roots(&self) -> impl Iterator<Item = &RootSeen> {
        self.roots.values().filter(|root| root.repos.iter().any(|addr| self.has(addr)))
    }

    /// What home is known to announce; what was asked for by name counts as announced.
    pub(super) fn announced(&self) -> Vec<Announced> {
        let seen = self.announcements.values().map(|seen| Announced {
            addr: seen.addr.clone(),
            maintainers: seen.maintainers.clone(),
            clone_urls: Vec::new(),
        });
        let named = |addr: &RepoAddr| Announced { addr: addr.clone(), maintainers: Vec::new(), clone_urls: Vec::new() };
        seen.chain(self.wanted.iter().map(named)).collect()
    }

    /// All items, whoever may be asked about them.
    pub(super) fn items(&self) -> BTreeSet<Item> {
        self.items_of(|_| true)
    }

    fn items_of(&self, is_asked: impl Fn(&RepoAddr) -> bool) -> BTreeSet<Item> {
        let repos: BTreeSet<&RepoAddr> = self.repos().into_iter().filter(|addr| is_asked(addr)).collect();
        let of_these = |root: &&RootSeen| root.repos.iter().any(|addr| repos.contains(addr));
        let roots = self.roots().filter(of_these).map(|root| Item::Root(root.id));
        repos.iter().map(|addr| Item::Repo((*addr).clone())).chain(roots).collect()
    }

    /// GRASP-08: what says of itself that it is private, or is said to be by whom it names as a maintainer, and so on.
    pub(super) fn private(&self) -> BTreeSet<RepoAddr> {
        let mut private: BTreeSet<RepoAddr> =
            self.announcements.values().filter(|seen| seen.private).map(|seen| seen.addr.clone()).collect();
        loop {
            let is_named = |seen: &RepoSeen, addr: &RepoAddr| {
                addr.identifier == seen.addr.identifier && seen.maintainers.contains(&addr.pubkey)
            };
            let more: Vec<RepoAddr> = self
                .announcements
                .values()
                .filter(|seen| !private.contains(&seen.addr) && private.iter().any(|addr| is_named(seen, addr)))
                .map(|seen| seen.addr.clone())
                .collect();
            if more.is_empty() {
                return private;
            }
            private.extend(more);
        }
    }

    /// Who is asked about what, in stable order.
    pub(super) fn upstreams(&self, choice: &Choice) -> Vec<Upstream> {
        let private = self.private();
        let may_ask = |url: &RelayUrl, addr: &RepoAddr| !private.contains(addr) || choice.private_peers.contains(url);
        if !choice.only.is_empty() {
            let all = |url: &RelayUrl| Upstream {
                url: url.clone(),
                role: Role::Bootstrap,
                items: self.items_of(|addr| may_ask(url, addr)),
                left_out: None,
            };
            return choice.only.iter().map(all).collect();
        }
        let listed = self.announcements.values().flat_map(|seen| &seen.relays);
        let urls: BTreeSet<&RelayUrl> = listed.chain(&choice.bootstrap).filter(|url| !choice.own.contains(url)).collect();
        let lists =
            |addr: &RepoAddr, url: &RelayUrl| self.announcements.get(addr).is_some_and(|seen| seen.relays.contains(url));
        let mut upstreams: Vec<Upstream> = urls
            .into_iter()
            .map(|url| Upstream {
                url: url.clone(),
                role: if choice.bootstrap.contains(url) { Role::Bootstrap } else { Role::Listed },
                items: self.items_of(|addr| lists(addr, url) && may_ask(url, addr)),
                left_out: None,
            })
            .collect();
        upstreams.iter_mut().filter(|one| one.role == Role::Listed).for_each(|one| {
            one.left_out =
                one.url.dialable(&choice.allow_non_public, choice.has_onion_proxy).err().map(|refusal| refusal.to_string());
        });
        self.leave_out_surplus(&mut upstreams, choice.caps);
        upstreams
    }

    /// What is over a cap is named with its reason. What lies in a network that the operator has allowed is not counted.
    fn leave_out_surplus(&self, upstreams: &mut [Upstream], caps: Caps) {
        let authors: Vec<(String, &RepoSeen)> =
            self.announcements.values().map(|seen| (seen.addr.pubkey.to_hex(), seen)).collect();
        let is_counted = |one: &&mut Upstream| one.role == Role::Listed && one.left_out.is_none() && !one.url.is_non_public();
        let mut counted: Vec<&mut Upstream> = upstreams.iter_mut().filter(is_counted).collect();
        let listings = |url: &RelayUrl| {
            let repos = (0_i64..).zip(&authors).filter(|(_, (_, seen))| seen.relays.contains(url));
            repos.map(|(repo, (author, _))| (repo, author.as_str())).collect()
        };
        let urls: Vec<RelayUrl> = counted.iter().map(|one| one.url.clone()).collect();
        let found: Vec<Candidate<'_>> = urls.iter().map(|url| Candidate { url, listings: listings(url) }).collect();
        for (upstream, over) in counted.iter_mut().zip(caps::over(&found, caps)) {
            upstream.left_out = over.map(|over| over.to_string());
        }
    }

    /// The repositories that `event` belongs to, those first choice that `is_listed` there.
    pub(super) fn repos_of(&self, event: &Event, is_listed: impl Fn(&RepoAddr) -> bool) -> BTreeSet<RepoAddr> {
        let own = own_repo(event).into_iter().flat_map(|own| self.same_project(&own));
        let refs = refs_of(event);
        let tagged = refs.iter().filter_map(|one| one.value.parse::<RepoAddr>().ok());
        let roots = refs.iter().filter_map(|one| self.roots.get(&EventId::from_hex(&one.value).ok()?));
        let all: BTreeSet<RepoAddr> =
            own.chain(tagged).chain(roots.flat_map(|root| root.repos.clone())).filter(|addr| self.has(addr)).collect();
        let listed: BTreeSet<RepoAddr> = all.iter().filter(|addr| is_listed(addr)).cloned().collect();
        if listed.is_empty() { all } else { listed }
    }

    /// An address that is compared, or else those of its identifier whose maintainer its author is.
    fn same_project(&self, own: &RepoAddr) -> Vec<RepoAddr> {
        if self.has(own) {
            return vec![own.clone()];
        }
        let is_maintained = |seen: &&RepoSeen| seen.addr.identifier == own.identifier && seen.maintainers.contains(&own.pubkey);
        self.announcements.values().filter(is_maintained).map(|seen| seen.addr.clone()).collect()
    }
}

/// Whether an event is of a private repository, or tags one.
pub(super) fn is_of_private(event: &Event, private: &BTreeSet<RepoAddr>) -> bool {
    let tagged = first_values(event, "a").chain(first_values(event, "A")).filter_map(|value| value.parse().ok());
    own_repo(event).into_iter().chain(tagged).any(|addr| private.contains(&addr))
}

#[cfg(test)]
mod tests;
