//! Which git data an event speaks of, and where that may be had (GRASP-02): read from its tags and from home's announcements.

use model::{
    Announced, CLONE_URLS, COMMITS_PER_EVENT, Event, GitWanted, Kind, MAX_CLONE_URL_BYTES, RepoAddr, first_values, kinds,
};

/// Whether events of `kind` name git data that somebody has to fetch: states, pull requests, updates of these.
#[must_use]
pub fn names_git_data(kind: Kind) -> bool {
    kind == kinds::STATE || kind == kinds::PULL_REQUEST || kind == kinds::PULL_REQUEST_UPDATE
}

/// The identifiers whose announcements say where the git data of `event` may be had, without repeats.
#[must_use]
pub fn identifiers(event: &Event) -> Vec<String> {
    let mut identifiers: Vec<String> = own_repos(event).into_iter().map(|addr| addr.identifier).collect();
    identifiers.sort_unstable();
    identifiers.dedup();
    identifiers
}

/// What is to be fetched for `event`. `known`: what home holds under its [`identifiers`].
#[must_use]
pub fn wanted(event: &Event, known: &[Announced], is_held: bool) -> GitWanted {
    let repos = repos(event, known);
    let announced = known.iter().filter(|one| repos.contains(&one.addr)).flat_map(|one| one.clone_urls.iter().cloned());
    let own = if event.kind == kinds::STATE { Vec::new() } else { clone_urls(event) };
    let clone_urls = without_repeats(announced.chain(own), CLONE_URLS);
    GitWanted {
        id: event.id,
        kind: event.kind,
        created_at: event.created_at,
        commits: commits(event),
        repos,
        clone_urls,
        is_held,
    }
}

/// The values of all `clone` tags as they stand there, without repeats, at most [`CLONE_URLS`]. Longer ones than
/// [`MAX_CLONE_URL_BYTES`] are left out.
#[must_use]
pub fn clone_urls(event: &Event) -> Vec<String> {
    let tags = event.tags.iter().filter(|tag| tag.kind() == "clone");
    let values = tags.flat_map(|tag| tag.as_slice().iter().skip(1));
    without_repeats(values.filter(|url| !url.is_empty() && url.len() <= MAX_CLONE_URL_BYTES).cloned(), CLONE_URLS)
}

/// The repositories that an event speaks of by its own words. A pull request update need not tag any.
fn own_repos(event: &Event) -> Vec<RepoAddr> {
    if event.kind == kinds::STATE {
        let identifier = first_values(event, "d").next().unwrap_or_default();
        return RepoAddr::new(event.pubkey, identifier).into_iter().collect();
    }
    let mut repos: Vec<RepoAddr> = Vec::new();
    for addr in first_values(event, "a").filter_map(|value| value.parse().ok()) {
        if !repos.contains(&addr) {
            repos.push(addr);
        }
    }
    repos
}

/// A state speaks for every announcement of its identifier that names its author (GRASP-01: one state, several repositories).
fn repos(event: &Event, known: &[Announced]) -> Vec<RepoAddr> {
    let own = own_repos(event);
    let Some(of_author) = own.first().filter(|_| event.kind == kinds::STATE) else { return own };
    let same = known.iter().filter(|one| one.addr.identifier == of_author.identifier);
    let speaks_for = |one: &&Announced| one.addr.pubkey == event.pubkey || one.maintainers.contains(&event.pubkey);
    let found: Vec<RepoAddr> = same.filter(speaks_for).map(|one| one.addr.clone()).collect();
    if found.is_empty() { own } else { found }
}

/// The values of refs, of `c` and of `merge-base` that are object ids.
fn commits(event: &Event) -> Vec<String> {
    let is_state = event.kind == kinds::STATE;
    let names = |tag: &str| if is_state { tag.starts_with("refs/") } else { tag == "c" || tag == "merge-base" };
    let tags = event.tags.iter().filter(|tag| names(tag.kind()));
    let ids = tags.filter_map(|tag| tag.content()).filter(|value| is_object_id(value));
    without_repeats(ids.map(str::to_owned), COMMITS_PER_EVENT)
}

/// SHA-1 or SHA-256, in lower-case hex.
fn is_object_id(value: &str) -> bool {
    matches!(value.len(), 40 | 64) && value.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn without_repeats(values: impl Iterator<Item = String>, most: usize) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for value in values {
        if found.len() == most {
            break;
        }
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use nostr::prelude::PublicKey;

    use super::*;
    use crate::testing::{addr, event, event_by};

    const COMMIT: &str = "cccccccccccccccccccccccccccccccccccccccc";

    fn announced(addr: RepoAddr, maintainers: &[PublicKey], clone: &str) -> Announced {
        Announced {
            addr,
            maintainers: maintainers.to_vec(),
            clone_urls: vec![clone.to_owned(), "https://same.example/x".to_owned()],
        }
    }

    #[test]
    fn a_state_speaks_for_every_announcement_that_names_its_author_and_for_no_other() {
        let state = event_by(
            2,
            30618,
            1,
            &[&["d", "x"], &["refs/heads/main", COMMIT], &["refs/tags/v1^{}", COMMIT], &["HEAD", "ref: refs/heads/main"]],
        );
        let of_owner = addr("x");
        assert_ne!(of_owner.pubkey, state.pubkey, "the author is a maintainer of somebody else's repository");
        let stranger = RepoAddr { pubkey: PublicKey::from_byte_array([9; 32]), ..of_owner.clone() };
        let known = [
            announced(of_owner.clone(), &[state.pubkey], "https://one.example/x.git"),
            announced(stranger, &[], "https://stranger.example/x.git"),
        ];
        let wanted = wanted(&state, &known, true);
        assert_eq!(wanted.repos, [of_owner]);
        assert_eq!(wanted.clone_urls, ["https://one.example/x.git", "https://same.example/x"]);
        assert_eq!(wanted.commits, [COMMIT]);
        assert!(wanted.is_held);
        let own = RepoAddr::new(state.pubkey, "x").ok();
        assert_eq!(super::wanted(&state, &[], false).repos, Vec::from_iter(own), "nobody is known to have announced it");
    }

    #[test]
    fn a_pull_request_adds_its_own_clone_urls_to_those_of_every_repository_that_it_tags() {
        let (one, other) = (addr("x"), addr("y"));
        let (a, b) = (one.to_string(), other.to_string());
        let tip = "d".repeat(40);
        let request = event(
            1618,
            1,
            &[
                &["a", &a],
                &["a", &b],
                &["a", &a],
                &["c", &tip],
                &["merge-base", COMMIT],
                &["c", "HEAD"],
                &["clone", "https://fork.example/x.git", "https://same.example/x"],
            ],
        );
        assert_eq!(identifiers(&request), ["x", "y"]);
        let known = [announced(one.clone(), &[], "https://one.example/x.git"), announced(addr("z"), &[], "https://z.example")];
        let wanted = wanted(&request, &known, false);
        assert_eq!(wanted.repos, [one, other]);
        assert_eq!(wanted.clone_urls, ["https://one.example/x.git", "https://same.example/x", "https://fork.example/x.git"]);
        assert_eq!(wanted.commits, [tip.as_str(), COMMIT]);
    }

    #[test]
    fn a_value_that_is_too_long_is_no_clone_url_and_there_is_no_end_to_them_but_the_bound() {
        let long = format!("https://{}", "x".repeat(MAX_CLONE_URL_BYTES));
        let many: Vec<String> = (0..100).map(|n| format!("https://{n}.example")).collect();
        let mut tag = vec!["clone", &long];
        tag.extend(many.iter().map(String::as_str));
        assert_eq!(clone_urls(&event(30617, 1, &[&tag])), many[..CLONE_URLS]);
    }
}
