//! What happens after the history: new events of every sort that live sync must bring home.

use super::LiveEvent;
use super::conversation::{comment_on, issue, lone_patch, status};
use super::draft::Draft;
use super::repos::{Repo, describe};
use super::text;
use super::workshop::Workshop;

/// Every event is made at `now`, on an upstream that its repository lists.
pub(super) fn make(workshop: &mut Workshop, repos: &[Repo]) -> Vec<LiveEvent> {
    let mut live = Vec::new();
    for (number, repo) in repos.iter().enumerate().take(3) {
        live.extend(talk(workshop, repo));
        // A new version that lists the same relays, on the bootstrap where the announcement is known to lie.
        let again = describe(workshop, repo, number, workshop.now);
        live.push(LiveEvent { upstream: 0, event: workshop.sign(repo.owner, again) });
    }
    if let Some(first) = repos.first() {
        live.extend(newcomer(workshop, first.owner));
    }
    live
}

/// An issue, its comment and its status, and a patch: the replies lie on another relay than their root.
fn talk(workshop: &mut Workshop, repo: &Repo) -> Vec<LiveEvent> {
    let (now, author) = (workshop.now, workshop.someone());
    let (here, there) = (repo.relays[0], repo.relays[repo.relays.len() - 1]);
    let draft = issue(workshop, repo, now);
    let root = workshop.sign(author, draft);
    let words = text::prose(&mut workshop.dice, 200);
    let comment = workshop.sign(repo.owner, comment_on(&root, &root, now).content(words));
    let draft = status(workshop, repo, &root, now);
    let status = workshop.sign(repo.owner, draft);
    let draft = lone_patch(workshop, repo, now);
    let patch = workshop.sign(author, draft);
    vec![
        LiveEvent { upstream: here, event: root },
        LiveEvent { upstream: there, event: comment },
        LiveEvent { upstream: there, event: status },
        LiveEvent { upstream: here, event: patch },
    ]
}

/// A repository that nobody knew, announced on the bootstrap and talked about on the last upstream.
fn newcomer(workshop: &mut Workshop, owner: usize) -> Vec<LiveEvent> {
    let identifier = "newcomer".to_owned();
    let repo = Repo {
        owner,
        address: format!("30617:{}:{identifier}", workshop.pubkey(owner)),
        identifier,
        relays: vec![workshop.last_upstream()],
        since: workshop.now,
        root_commit: workshop.dice.hex(40),
    };
    let announcement = describe(workshop, &repo, 0, workshop.now);
    let said: Draft = issue(workshop, &repo, workshop.now);
    vec![
        LiveEvent { upstream: 0, event: workshop.sign(owner, announcement) },
        LiveEvent { upstream: workshop.last_upstream(), event: workshop.sign(owner, said) },
    ]
}
