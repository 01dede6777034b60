//! What people say about repositories: roots (1617, 1618, 1621) and what follows them.

use nostr::event::Event;

use super::draft::Draft;
use super::repos::Repo;
use super::text;
use super::workshop::Workshop;

const DAY: u64 = 24 * 3_600;
/// How long after its announcement a repository is still talked about.
const INTEREST: u64 = 540 * DAY;

pub(super) struct Conversation<'a> {
    repos: &'a [Repo],
    roots: Vec<Root>,
}

/// A root as its replies need it.
struct Root {
    /// Index of the repository.
    repo: usize,
    author: usize,
    event: Event,
    /// The latest comment, which the next one may answer.
    last_comment: Option<Event>,
}

impl<'a> Conversation<'a> {
    pub(super) fn new(repos: &'a [Repo]) -> Self {
        Self { repos, roots: Vec::new() }
    }

    pub(super) fn add_roots(&mut self, workshop: &mut Workshop, count: usize) {
        let end = self.roots.len() + count;
        while self.roots.len() < end {
            let repo = workshop.dice.index(self.repos.len());
            match workshop.dice.below(100) {
                0..50 => self.add_root(workshop, repo, issue),
                50..80 => self.add_root(workshop, repo, pull_request),
                80..92 => self.add_root(workshop, repo, lone_patch),
                _ => self.add_series(workshop, repo, end),
            }
        }
    }

    fn add_root(&mut self, workshop: &mut Workshop, repo: usize, draft: fn(&mut Workshop, &Repo, u64) -> Draft) {
        let about = &self.repos[repo];
        let author = workshop.someone();
        let at = workshop.after(about.since, INTEREST);
        let draft = draft(workshop, about, at);
        let on = workshop.place(&about.relays);
        let event = workshop.publish(author, draft, &on);
        self.roots.push(Root { repo, author, event, last_comment: None });
    }

    /// Two to six patches of one author; only the first is marked as the root.
    fn add_series(&mut self, workshop: &mut Workshop, repo: usize, end: usize) {
        let about = &self.repos[repo];
        let author = workshop.someone();
        let at = workshop.after(about.since, INTEREST);
        let length = (2 + workshop.dice.index(5)).min(end - self.roots.len());
        let mut previous: Option<Event> = None;
        for _ in 0..length {
            let draft = match &previous {
                None => lone_patch(workshop, about, at),
                Some(event) => patch(workshop, about, at).tag(["e", &event.id.to_hex(), "", "reply"]),
            };
            let on = workshop.place(&about.relays);
            let event = workshop.publish(author, draft, &on);
            previous = Some(event.clone());
            self.roots.push(Root { repo, author, event, last_comment: None });
        }
    }

    pub(super) fn add_replies(&mut self, workshop: &mut Workshop, count: usize) {
        for _ in 0..count {
            // Few roots are much talked about, most a little.
            let end = if workshop.dice.is_within(30) { self.roots.len() / 10 + 1 } else { self.roots.len() };
            let number = workshop.dice.index(end);
            match self.roots.get_mut(number) {
                Some(root) => add_reply(workshop, &self.repos[root.repo], root),
                None => add_repo_comment(workshop, &self.repos[number % self.repos.len()]),
            }
        }
    }
}

fn add_reply(workshop: &mut Workshop, repo: &Repo, root: &mut Root) {
    let at = workshop.after(root.event.created_at.as_secs(), 90 * DAY);
    let author = workshop.someone();
    let on = workshop.place(&repo.relays);
    match workshop.dice.below(100) {
        0..52 => {
            let draft = comment(workshop, repo, root, at);
            root.last_comment = Some(workshop.publish(author, draft, &on));
        }
        52..58 => add_repo_comment(workshop, repo),
        58..74 => {
            let draft = status(workshop, repo, &root.event, at);
            workshop.publish(author, draft, &on);
        }
        74..82 => {
            let draft = update(workshop, repo, root, at);
            workshop.publish(root.author, draft, &on);
        }
        82..92 => {
            let draft = ci_run(workshop, repo, root, at);
            workshop.publish(author, draft, &on);
        }
        _ => {
            let draft = mention(workshop, repo, root, at);
            workshop.publish(author, draft, &on);
        }
    }
}

pub(super) fn issue(workshop: &mut Workshop, repo: &Repo, at: u64) -> Draft {
    let bytes = 300 + workshop.dice.index(1_600);
    Draft::new(1621, at)
        .tag(["a", &repo.address])
        .tag(["p", &workshop.pubkey(repo.owner)])
        .tag(["subject", &text::title(&mut workshop.dice)])
        .tag(["t", "bug"])
        .content(text::prose(&mut workshop.dice, bytes))
}

fn pull_request(workshop: &mut Workshop, repo: &Repo, at: u64) -> Draft {
    let bytes = 300 + workshop.dice.index(1_200);
    Draft::new(1618, at)
        .tag(["a", &repo.address])
        .tag(["r", &repo.root_commit])
        .tag(["p", &workshop.pubkey(repo.owner)])
        .tag(["subject", &text::title(&mut workshop.dice)])
        .tag(["c", &workshop.dice.hex(40)])
        .tag(["clone", &format!("https://git.world.example/fork/{}.git", repo.identifier)])
        .tag(["branch-name", "topic"])
        .content(text::prose(&mut workshop.dice, bytes))
}

pub(super) fn lone_patch(workshop: &mut Workshop, repo: &Repo, at: u64) -> Draft {
    patch(workshop, repo, at).tag(["t", "root"])
}

fn patch(workshop: &mut Workshop, repo: &Repo, at: u64) -> Draft {
    let bytes = 1_200 + workshop.dice.index(3_600);
    Draft::new(1617, at)
        .tag(["a", &repo.address])
        .tag(["r", &repo.root_commit])
        .tag(["p", &workshop.pubkey(repo.owner)])
        .content(text::patch(&mut workshop.dice, bytes))
}

/// A NIP-22 comment on the root or on its latest comment; half of them also name the repository.
fn comment(workshop: &mut Workshop, repo: &Repo, root: &Root, at: u64) -> Draft {
    let answers = root.last_comment.as_ref().filter(|last| last.created_at.as_secs() <= at);
    let parent = answers.filter(|_| workshop.dice.is_within(40)).unwrap_or(&root.event);
    let names_repo = workshop.dice.is_within(50);
    let bytes = 120 + workshop.dice.index(900);
    comment_on(&root.event, parent, at)
        .when(names_repo, |draft| draft.tag(["A", &repo.address]).tag(["a", &repo.address]))
        .content(text::prose(&mut workshop.dice, bytes))
}

/// The tags of a comment: the root in upper case, the parent in lower case (NIP-22).
pub(super) fn comment_on(root: &Event, parent: &Event, at: u64) -> Draft {
    Draft::new(1111, at)
        .tag(["E", &root.id.to_hex(), "", &root.pubkey.to_hex()])
        .tag(["K", &root.kind.to_string()])
        .tag(["P", &root.pubkey.to_hex()])
        .tag(["e", &parent.id.to_hex(), "", &parent.pubkey.to_hex()])
        .tag(["k", &parent.kind.to_string()])
        .tag(["p", &parent.pubkey.to_hex()])
}

fn add_repo_comment(workshop: &mut Workshop, repo: &Repo) {
    let at = workshop.after(repo.since, INTEREST);
    let author = workshop.someone();
    let on = workshop.place(&repo.relays);
    let owner = workshop.pubkey(repo.owner);
    let bytes = 120 + workshop.dice.index(900);
    let draft = Draft::new(1111, at)
        .tag(["A", &repo.address])
        .tag(["K", "30617"])
        .tag(["P", &owner])
        .tag(["a", &repo.address])
        .tag(["k", "30617"])
        .tag(["p", &owner])
        .content(text::prose(&mut workshop.dice, bytes));
    workshop.publish(author, draft, &on);
}

/// Open, applied, closed or draft; half of them without the optional `a`.
pub(super) fn status(workshop: &mut Workshop, repo: &Repo, root: &Event, at: u64) -> Draft {
    let kind = *workshop.dice.pick(&[1630, 1631, 1632, 1633]);
    let names_repo = workshop.dice.is_within(50);
    Draft::new(kind, at)
        .tag(["e", &root.id.to_hex(), "", "root"])
        .tag(["p", &root.pubkey.to_hex()])
        .tag(["r", &repo.root_commit])
        .when(names_repo, |draft| draft.tag(["a", &repo.address]))
        .content(text::prose(&mut workshop.dice, 40))
}

/// A PR update; `a` is only a SHOULD, and a few lack it.
fn update(workshop: &mut Workshop, repo: &Repo, root: &Root, at: u64) -> Draft {
    let names_repo = workshop.dice.is_within(80);
    Draft::new(1619, at)
        .when(names_repo, |draft| draft.tag(["a", &repo.address]))
        .tag(["r", &repo.root_commit])
        .tag(["E", &root.event.id.to_hex()])
        .tag(["P", &root.event.pubkey.to_hex()])
        .tag(["c", &workshop.dice.hex(40)])
        .tag(["clone", &format!("https://git.world.example/fork/{}.git", repo.identifier)])
        .content(text::prose(&mut workshop.dice, 200))
}

/// A kind met in the wild that no NIP names: only its tags lead to it.
fn ci_run(workshop: &mut Workshop, repo: &Repo, root: &Root, at: u64) -> Draft {
    let log = text::prose(&mut workshop.dice, 1_400);
    Draft::new(9842, at).tag(["a", &repo.address]).tag(["e", &root.event.id.to_hex()]).tag(["status", "success"]).content(log)
}

/// Quotes, labels and old-style replies.
fn mention(workshop: &mut Workshop, repo: &Repo, root: &Root, at: u64) -> Draft {
    let id = root.event.id.to_hex();
    let words = text::prose(&mut workshop.dice, 400);
    match workshop.dice.below(4) {
        0 => Draft::new(1, at).tag(["q", &id, "", &root.event.pubkey.to_hex()]).content(words),
        1 => Draft::new(1, at).tag(["q", &repo.address]).content(words),
        2 => Draft::new(1985, at).tag(["L", "#t"]).tag(["l", "help wanted", "#t"]).tag(["e", &id]),
        _ => Draft::new(1, at).tag(["e", &id, "", "root"]).content(words),
    }
}
