//! Announcements (30617) and states (30618) of the world's repositories.

use nostr::nips::nip19::ToBech32;

use super::draft::Draft;
use super::text;
use super::workshop::Workshop;

/// A repository as the rest of the world speaks of it.
#[derive(Debug, Clone)]
pub(super) struct Repo {
    pub(super) owner: usize,
    pub(super) identifier: String,
    /// `30617:<pubkey>:<identifier>`.
    pub(super) address: String,
    /// Indices of the upstreams that the announcement lists.
    pub(super) relays: Vec<usize>,
    /// When it was announced, in Unix seconds.
    pub(super) since: u64,
    /// Its earliest unique commit.
    pub(super) root_commit: String,
}

const WEEK: u64 = 7 * 24 * 3_600;

pub(super) fn announce_all(workshop: &mut Workshop, count: usize) -> Vec<Repo> {
    (0..count)
        .map(|number| {
            let repo = found(workshop, number);
            let places = places(workshop, &repo, number);
            announce(workshop, &repo, number, &places);
            tell_state(workshop, &repo);
            repo
        })
        .collect()
}

fn found(workshop: &mut Workshop, number: usize) -> Repo {
    let owner = workshop.someone();
    let identifier = text::name(&mut workshop.dice, number);
    let everywhere = workshop.everywhere();
    let relays = if number < everywhere.len() {
        // The first repositories make every upstream known to who reads the bootstrap.
        let mut pair = vec![0, number];
        pair.dedup();
        pair
    } else {
        let count = [1, 2, 2, 3][workshop.dice.index(4)];
        workshop.dice.some_of(&everywhere, count)
    };
    Repo {
        owner,
        address: format!("30617:{}:{identifier}", workshop.pubkey(owner)),
        identifier,
        relays,
        since: workshop.early(),
        root_commit: workshop.dice.hex(40),
    }
}

/// Where the announcement lies: mostly on the bootstrap, for some only on another of its relays.
fn places(workshop: &mut Workshop, repo: &Repo, number: usize) -> Vec<usize> {
    let others: Vec<usize> = repo.relays.iter().copied().filter(|relay| *relay != 0).collect();
    let is_first = number < workshop.everywhere().len();
    if !is_first && !others.is_empty() && workshop.dice.is_within(20) {
        return vec![*workshop.dice.pick(&others)];
    }
    let mut places = vec![0];
    places.extend(others.into_iter().filter(|_| workshop.dice.is_within(50)));
    places
}

fn announce(workshop: &mut Workshop, repo: &Repo, number: usize, places: &[usize]) {
    let newest = describe(workshop, repo, number, repo.since + WEEK);
    workshop.publish(repo.owner, newest, places);
    let elsewhere = workshop.last_upstream();
    if number % 9 == 4 && !places.contains(&elsewhere) {
        // A relay that missed the newest version still serves the one before.
        let older = describe(workshop, repo, number, repo.since);
        workshop.publish(repo.owner, older, &[elsewhere]);
    }
}

/// An announcement of the repository at this second.
pub(super) fn describe(workshop: &mut Workshop, repo: &Repo, number: usize, at: u64) -> Draft {
    let npub = workshop.people[repo.owner].public_key().to_bech32().expect("a public key has a bech32 form");
    let urls: Vec<String> = repo.relays.iter().map(|relay| spell(workshop.url(*relay), number + relay)).collect();
    let maintainer = workshop.someone();
    let draft = Draft::new(30617, at)
        .tag(["d", &repo.identifier])
        .tag(["name", &repo.identifier])
        .tag(["description", &text::prose(&mut workshop.dice, 260)])
        .tag(["clone", &format!("https://git.world.example/{npub}/{}.git", repo.identifier)])
        .tag(["web", &format!("https://git.world.example/{npub}/{}", repo.identifier)])
        .tag(["r", &repo.root_commit, "euc"])
        .when(number.is_multiple_of(2), |draft| draft.list("maintainers", &[workshop.pubkey(maintainer)]));
    match number % 3 {
        0 => draft.list("relays", &urls),
        1 => draft.each("relays", &urls),
        // The same relay may be listed twice under two spellings.
        _ => draft.list("relays", &urls).each("relays", &[spell(workshop.url(repo.relays[0]), number + 1)]),
    }
}

/// One of the ways in which people write the URL of a relay.
fn spell(url: &str, way: usize) -> String {
    let bare = url.trim_end_matches('/');
    match way % 3 {
        0 => bare.to_owned(),
        1 => format!("{bare}/"),
        _ => match bare.split_once("://") {
            Some((scheme, host)) if !host.contains('/') => {
                format!("{scheme}://{}", host.to_uppercase())
            }
            Some(_) | None => bare.to_owned(),
        },
    }
}

fn tell_state(workshop: &mut Workshop, repo: &Repo) {
    let at = workshop.after(repo.since + WEEK, 20 * WEEK);
    let mut draft = Draft::new(30618, at)
        .tag(["d", &repo.identifier])
        .tag(["HEAD", "ref: refs/heads/main"])
        .tag(["refs/heads/main", &workshop.dice.hex(40)]);
    for branch in 0..workshop.dice.index(12) {
        let topic = text::name(&mut workshop.dice, branch);
        draft = draft.tag([&format!("refs/heads/{topic}"), &workshop.dice.hex(40)]);
    }
    workshop.publish(repo.owner, draft, &repo.relays);
}
