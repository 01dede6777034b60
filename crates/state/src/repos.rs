//! What a discovery says about repos and roots, and what becomes of them: the decisions, without the rows (S2, S3).

use std::collections::{BTreeMap, BTreeSet};

use engine::parents::any_announcement_of;
use engine::spam::NewRoot;
use model::{Discovery, EventId, Item, PublicKey, RelayUrl, RepoAddr, RepoSeen, RootSeen, Timestamp};

use crate::failure::Failure;
use crate::{Settings, codec};

/// Numbers of items by key.
pub(crate) type Numbers = BTreeMap<String, i64>;

/// By repo: its newest announcement of this discovery, and until when it is removed.
pub(crate) type Seen<'a> = BTreeMap<&'a RepoAddr, (Option<&'a RepoSeen>, Option<Timestamp>)>;

/// What is stored of a repo.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) version: Option<(Timestamp, EventId)>,
    pub(crate) removed_until: Option<Timestamp>,
    /// Whom the version names.
    pub(crate) maintainers: Vec<PublicKey>,
    /// Where it says that git data may be had.
    pub(crate) clone_urls: Vec<String>,
    /// It says of itself that it is private.
    pub(crate) says_private: bool,
}

/// A stored repo, as a row.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct RepoRow {
    pub(crate) item: i64,
    event: Option<Vec<u8>>,
    created_at: Option<i64>,
    removed_until: Option<i64>,
    maintainers: String,
    clone_urls: String,
    says_private: bool,
}

impl RepoRow {
    pub(crate) fn stored(&self) -> Result<Stored, Failure> {
        let version = match (self.created_at, &self.event) {
            (Some(at), Some(event)) => Some((codec::timestamp(at), codec::event_id(event)?)),
            _ => None,
        };
        let maintainers = codec::maintainers(&self.maintainers)?;
        let clone_urls = codec::texts(&self.clone_urls)?;
        let (removed_until, says_private) = (self.removed_until.map(codec::timestamp), self.says_private);
        Ok(Stored { version, removed_until, maintainers, clone_urls, says_private })
    }
}

/// What a discovery says about one repo, and what becomes of it.
pub(crate) struct Change<'a> {
    pub(crate) item: i64,
    /// SHA-256 of the repo's identifier: who else announces it is found by that.
    pub(crate) identifier: [u8; 32],
    addr: &'a RepoAddr,
    before: Stored,
    pub(crate) after: Stored,
    /// The relays that the repo names from now on; none where they stay as they are.
    relays: Option<&'a [RelayUrl]>,
}

impl Change<'_> {
    /// Whether the repo is announced now and was not before, or the other way round.
    pub(crate) fn is_of_announcement(&self) -> bool {
        self.before.version.is_some() != self.after.version.is_some()
    }
}

/// Everything that a discovery names, repeats included.
pub(crate) fn items_of(discovery: &Discovery) -> impl Iterator<Item = Item> {
    let announced = discovery.repos.iter().map(|repo| &repo.addr);
    let removed = discovery.removals.iter().map(|removal| &removal.addr);
    let tagged = discovery.roots.iter().flat_map(|root| &root.repos);
    let of_participants = discovery.participants.iter().flat_map(|one| &one.repos);
    let repos = announced.chain(removed).chain(tagged).chain(of_participants).cloned().map(Item::Repo);
    let authors = discovery.roots.iter().filter_map(|root| root.author);
    let participants = discovery.participants.iter().map(|one| one.author).chain(authors).map(Item::Participant);
    repos.chain(discovery.roots.iter().map(|root| Item::Root(root.id))).chain(participants)
}

/// What a discovery says has landed at home, as events wait for it; what it says again is no news.
pub(crate) fn keys_of_announced(changes: &[Change<'_>]) -> Vec<String> {
    let is_news = |change: &&Change<'_>| change.after.version.is_some() && change.after.version != change.before.version;
    let keys = |change: &Change<'_>| [change.addr.to_string(), any_announcement_of(&change.addr.identifier)];
    changes.iter().filter(is_news).flat_map(keys).collect()
}

pub(crate) fn seen(discovery: &Discovery) -> Seen<'_> {
    let mut seen = Seen::new();
    for removal in &discovery.removals {
        let entry = seen.entry(&removal.addr).or_default();
        entry.1 = entry.1.max(Some(removal.until));
    }
    for repo in &discovery.repos {
        let entry = seen.entry(&repo.addr).or_default();
        if entry.0.is_none_or(|best| is_newer(version(repo), version(best))) {
            entry.0 = Some(repo);
        }
    }
    seen
}

pub(crate) fn numbers_of(seen: &Seen<'_>, numbers: &Numbers) -> Vec<i64> {
    seen.keys().map(|addr| number_of(numbers, addr)).collect()
}

/// The newest version wins, at the same second the lowest id (NIP-01); a deletion takes the versions up to its moment.
pub(crate) fn changes<'a>(seen: Seen<'a>, numbers: &Numbers, stored: &BTreeMap<i64, Stored>) -> Vec<Change<'a>> {
    let change = |(addr, (repo, removed)): (&'a RepoAddr, _)| {
        let item = number_of(numbers, addr);
        let (before, identifier) = (stored.get(&item).cloned().unwrap_or_default(), codec::hash(&addr.identifier));
        let (after, relays) = changed(&before, repo, removed);
        Change { item, identifier, addr, before, after, relays }
    };
    seen.into_iter().map(change).filter(|change| change.before != change.after).collect()
}

fn version(repo: &RepoSeen) -> (Timestamp, EventId) {
    (repo.created_at, repo.event)
}

fn is_newer(this: (Timestamp, EventId), that: (Timestamp, EventId)) -> bool {
    this.0 > that.0 || (this.0 == that.0 && this.1 < that.1)
}

fn number_of(numbers: &Numbers, addr: &RepoAddr) -> i64 {
    numbers[&addr.to_string()]
}

/// What is stored of the repo from now on, and the relays that it names, where these may be others.
fn changed<'a>(before: &Stored, seen: Option<&'a RepoSeen>, removed: Option<Timestamp>) -> (Stored, Option<&'a [RelayUrl]>) {
    let removed_until = before.removed_until.max(removed);
    let is_gone = |at: Timestamp| removed_until.is_some_and(|until| at <= until);
    let kept = before.version.filter(|(at, _)| !is_gone(*at));
    let newer = seen.filter(|repo| !is_gone(repo.created_at) && kept.is_none_or(|kept| is_newer(version(repo), kept)));
    let (maintainers, clone_urls, says_private) = match (newer, kept) {
        (Some(repo), _) => (repo.maintainers.clone(), repo.clone_urls.clone(), repo.private),
        (None, Some(_)) => (before.maintainers.clone(), before.clone_urls.clone(), before.says_private),
        (None, None) => (Vec::new(), Vec::new(), false),
    };
    let after = Stored { version: newer.map(version).or(kept), removed_until, maintainers, clone_urls, says_private };
    let relays = match (newer, after.version) {
        (Some(repo), _) => Some(repo.relays.as_slice()),
        (None, None) => Some([].as_slice()),
        (None, Some(_)) => None,
    };
    (after, relays)
}

/// The repos whose relays may be others than before, each with all that it names now. Our own relay is no upstream.
pub(crate) fn listings<'a>(settings: &Settings, changes: &[Change<'a>]) -> BTreeMap<i64, Vec<&'a RelayUrl>> {
    let is_upstream = |url: &&RelayUrl| !settings.own_urls.contains(url);
    let named = changes.iter().filter_map(|change| Some((change.item, change.relays?)));
    named.map(|(item, relays)| (item, relays.iter().filter(is_upstream).collect())).collect()
}

/// The relays that pairs of repo and relay name more than before; none if they name any less.
pub(crate) fn only_listed(before: &BTreeSet<(i64, i64)>, after: &BTreeSet<(i64, i64)>) -> Option<Vec<i64>> {
    if !before.is_subset(after) {
        return None;
    }
    let listed: BTreeSet<i64> = after.difference(before).map(|(_, relay)| *relay).collect();
    Some(listed.into_iter().collect())
}

/// The same as pairs of repo and relay.
pub(crate) fn listed_pairs(listings: &BTreeMap<i64, Vec<&RelayUrl>>, relays: &BTreeMap<String, i64>) -> BTreeSet<(i64, i64)> {
    let pairs = |(repo, urls): (&i64, &Vec<&RelayUrl>)| -> Vec<(i64, i64)> {
        urls.iter().map(|url| (*repo, relays[url.as_str()])).collect()
    };
    listings.iter().flat_map(pairs).collect()
}

/// Who takes part in which repo.
pub(crate) fn taking_part(discovery: &Discovery, numbers: &Numbers) -> BTreeSet<(i64, i64)> {
    let pairs = discovery.participants.iter().flat_map(|one| {
        let item = numbers[&Item::Participant(one.author).key()];
        one.repos.iter().map(move |addr| (item, number_of(numbers, addr)))
    });
    pairs.collect()
}

/// The roots of a discovery by their numbers.
pub(crate) fn roots_by_number<'a>(roots: &'a [RootSeen], numbers: &Numbers) -> BTreeMap<i64, &'a RootSeen> {
    roots.iter().map(|root| (numbers[&root.id.to_hex()], root)).collect()
}

/// Which root tags which repo.
pub(crate) fn tagged_pairs(roots: &[RootSeen], numbers: &Numbers) -> BTreeSet<(i64, i64)> {
    let tags = roots.iter().flat_map(|root| {
        let item = numbers[&root.id.to_hex()];
        root.repos.iter().map(move |addr| (item, number_of(numbers, addr)))
    });
    tags.collect()
}

/// For whose budget these pairs of root and repo count. `stored`: the repos, as far as they are announced.
pub(crate) fn counted_for(
    pairs: &[(i64, i64)],
    roots: &[RootSeen],
    numbers: &Numbers,
    stored: &BTreeMap<i64, Stored>,
) -> Vec<NewRoot> {
    let authors: BTreeMap<i64, Option<PublicKey>> =
        roots.iter().map(|root| (numbers[&root.id.to_hex()], root.author)).collect();
    let owners: BTreeMap<i64, PublicKey> =
        roots.iter().flat_map(|root| &root.repos).map(|addr| (number_of(numbers, addr), addr.pubkey)).collect();
    let is_theirs = |repo: i64, author: &PublicKey| {
        owners.get(&repo) == Some(author) || stored.get(&repo).is_some_and(|stored| stored.maintainers.contains(author))
    };
    let counted = |(root, repo): &(i64, i64)| {
        let author = authors.get(root).copied().flatten().filter(|author| !is_theirs(*repo, author));
        NewRoot { repo: *repo, author: author.map(|author| numbers[&Item::Participant(author).key()]) }
    };
    pairs.iter().map(counted).collect()
}

/// The repos that these changes are of, each with the key of everybody whom it names from now on: there is no budget for them.
pub(crate) fn maintained(changes: &[Change<'_>]) -> Vec<(i64, String)> {
    let named = |change: &Change<'_>| -> Vec<(i64, String)> {
        change.after.maintainers.iter().map(|author| (change.item, Item::Participant(*author).key())).collect()
    };
    changes.iter().flat_map(named).collect()
}
