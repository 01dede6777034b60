//! A repository and the people around it: what they publish, as NIP-34 has it, signed by a client library that we did not write.

use std::collections::BTreeSet;

use model::{Event, EventId};
use testkit::Publisher;

/// How long ago the history lies (seconds): far older than any overlap that the sync reaches back.
const AGO: u64 = 30 * 24 * 3600;
/// Events of the history that share one second, as those of a script do.
const PER_SECOND: u64 = 3;

/// A signed event.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) id: EventId,
    pub(crate) json: String,
}

impl Signed {
    pub(crate) fn event(&self) -> Event {
        serde_json::from_str(&self.json).unwrap()
    }

    fn hex(&self) -> String {
        self.id.to_hex()
    }
}

impl From<String> for Signed {
    fn from(json: String) -> Self {
        let event: Event = serde_json::from_str(&json).unwrap();
        Self { id: event.id, json }
    }
}

/// The ids of these events.
pub(crate) fn ids<'a>(events: impl IntoIterator<Item = &'a Signed>) -> BTreeSet<EventId> {
    events.into_iter().map(|event| event.id).collect()
}

/// One repository. What is published through it is dated long ago, in order, until [`Project::in_the_present`].
#[derive(Debug)]
pub(crate) struct Project {
    owner: Publisher,
    contributor: Publisher,
    identifier: String,
    began: u64,
    said: u64,
    is_present: bool,
    thread: Option<Thread>,
}

/// An issue of the history, and a comment on it.
#[derive(Debug, Clone)]
struct Thread {
    issue: Signed,
    comment: Signed,
}

impl Project {
    pub(crate) fn named(identifier: &str) -> Self {
        Self {
            owner: Publisher::new(&"1".repeat(64)),
            contributor: Publisher::new(&"2".repeat(64)),
            identifier: identifier.to_owned(),
            began: super::now() - AGO,
            said: 0,
            is_present: false,
            thread: None,
        }
    }

    /// From here on everything is dated now.
    pub(crate) fn in_the_present(&mut self) {
        self.is_present = true;
    }

    pub(crate) fn address(&self) -> String {
        format!("30617:{}:{}", self.owner.public_key(), self.identifier)
    }

    pub(crate) fn announcement(&mut self, relays: &[String]) -> Signed {
        let relays: Vec<&str> = std::iter::once("relays").chain(relays.iter().map(String::as_str)).collect();
        let identifier = self.identifier.clone();
        self.owner_says(30617, &[&["d", &identifier], &["name", "a project"], &relays], "")
    }

    pub(crate) fn state(&mut self) -> Signed {
        let (identifier, commit) = (self.identifier.clone(), "c".repeat(40));
        self.owner_says(30618, &[&["d", &identifier], &["refs/heads/main", &commit], &["HEAD", "ref: refs/heads/main"]], "")
    }

    pub(crate) fn issue(&mut self, text: &str) -> Signed {
        let address = self.address();
        self.contributor_says(1621, &[&["a", &address], &["subject", text]], text)
    }

    pub(crate) fn patch(&mut self, text: &str) -> Signed {
        let address = self.address();
        self.contributor_says(1617, &[&["a", &address], &["t", "root"]], text)
    }

    pub(crate) fn pull_request(&mut self, text: &str) -> Signed {
        let address = self.address();
        self.pull_request_to(&[&address], text)
    }

    /// One that names these repositories, in this order.
    pub(crate) fn pull_request_to(&mut self, addresses: &[&str], text: &str) -> Signed {
        let commit = "d".repeat(40);
        let addresses: Vec<[&str; 2]> = addresses.iter().map(|address| ["a", address]).collect();
        let mut tags: Vec<&[&str]> = addresses.iter().map(<[&str; 2]>::as_slice).collect();
        let tip = ["c", &commit];
        tags.push(&tip);
        self.contributor_says(1618, &tags, text)
    }

    /// Without the `a` that it should have.
    pub(crate) fn update_of(&mut self, pull_request: &Signed) -> Signed {
        let commit = "e".repeat(40);
        self.contributor_says(1619, &[&["E", &pull_request.hex()], &["c", &commit]], "")
    }

    /// Without an `a`, which is optional.
    pub(crate) fn status_of(&mut self, root: &Signed) -> Signed {
        self.owner_says(1631, &[&["e", &root.hex(), "", "root"]], "")
    }

    /// NIP-22: both tags name the root.
    pub(crate) fn comment_on(&mut self, root: &Signed, text: &str) -> Signed {
        let root = root.hex();
        self.contributor_says(1111, &[&["E", &root], &["K", "1621"], &["e", &root], &["k", "1621"]], text)
    }

    /// NIP-22, on a comment on the first issue of the history: only the upper-case tag names a root, so it answers exactly one
    /// filter.
    pub(crate) fn reply(&mut self, text: &str) -> Signed {
        let Thread { issue, comment } = self.thread.clone().expect("there is a history");
        self.owner_says(1111, &[&["E", &issue.hex()], &["K", "1621"], &["e", &comment.hex()], &["k", "1111"]], text)
    }

    /// The first issue of the history.
    pub(crate) fn first_issue(&self) -> Signed {
        self.thread.clone().expect("there is a history").issue
    }

    pub(crate) fn comment_on_repository(&mut self, text: &str) -> Signed {
        let address = self.address();
        self.contributor_says(1111, &[&["A", &address], &["K", "30617"]], text)
    }

    pub(crate) fn quote_of(&mut self, root: &Signed) -> Signed {
        self.contributor_says(1, &[&["q", &root.hex()]], "look at this")
    }

    pub(crate) fn quote_of_repository(&mut self, text: &str) -> Signed {
        let address = self.address();
        self.contributor_says(1, &[&["q", &address]], text)
    }

    /// NIP-09, by address.
    pub(crate) fn deletion(&mut self) -> Signed {
        let address = self.address();
        self.owner_says(5, &[&["a", &address], &["k", "30617"]], "")
    }

    /// NIP-09, by id and by nothing else, of what the contributor said.
    pub(crate) fn deletion_of(&mut self, event: &Signed) -> Signed {
        self.contributor_says(5, &[&["e", &event.hex()], &["k", "1111"]], "")
    }

    /// The same of what the owner said.
    pub(crate) fn deletion_by_owner(&mut self, event: &Signed) -> Signed {
        self.owner_says(5, &[&["e", &event.hex()]], "")
    }

    /// The announcement of a private repository (GRASP-08).
    pub(crate) fn private_announcement(&mut self, relays: &[String]) -> Signed {
        let relays: Vec<&str> = std::iter::once("relays").chain(relays.iter().map(String::as_str)).collect();
        let identifier = self.identifier.clone();
        self.owner_says(30617, &[&["d", &identifier], &["private", "true"], &relays], "")
    }

    /// A patch that goes on from another one, which it names and nothing else does.
    pub(crate) fn patch_after(&mut self, before: &Signed, text: &str) -> Signed {
        let address = self.address();
        self.contributor_says(1617, &[&["a", &address], &["e", &before.hex(), "", "reply"]], text)
    }

    /// One without any tag that names the repository: only its id leads to it.
    pub(crate) fn stray_patch(&mut self, text: &str) -> Signed {
        self.contributor_says(1617, &[&["t", "root"]], text)
    }

    /// A history that uses every way in which events hang together, with this many comments.
    pub(crate) fn history(&mut self, relays: &[String], comments: usize) -> Vec<Signed> {
        let mut history = vec![self.announcement(relays), self.state()];
        let issue = self.issue("it does not start");
        let patch = self.patch("a small fix");
        let pull_request = self.pull_request("a large fix");
        history.push(self.update_of(&pull_request));
        history.push(self.comment_on_repository("how is it installed?"));
        history.push(self.quote_of_repository("look at that"));
        for root in [&issue, &patch, &pull_request] {
            history.push(self.status_of(root));
            history.push(self.quote_of(root));
        }
        for number in 0..comments {
            let comment = self.comment_on([&issue, &patch, &pull_request][number % 3], &format!("comment {number}"));
            history.push(comment);
        }
        let comment = self.comment_on(&issue, "does it?");
        self.thread = Some(Thread { issue: issue.clone(), comment: comment.clone() });
        history.push(self.reply("it does"));
        history.extend([issue, patch, pull_request, comment]);
        history
    }

    fn owner_says(&mut self, kind: u16, tags: &[&[&str]], content: &str) -> Signed {
        let created_at = self.next_moment();
        self.owner.sign(kind, created_at, tags, content).into()
    }

    fn contributor_says(&mut self, kind: u16, tags: &[&[&str]], content: &str) -> Signed {
        let created_at = self.next_moment();
        self.contributor.sign(kind, created_at, tags, content).into()
    }

    fn next_moment(&mut self) -> u64 {
        self.said += 1;
        if self.is_present { super::now() } else { self.began + self.said / PER_SECOND }
    }
}

/// What relays hold beside repositories: nothing of it may come home.
pub(crate) fn noise(created_at: u64) -> Vec<Signed> {
    let stranger = Publisher::new(&"3".repeat(64));
    let unannounced = format!("30617:{}:unannounced", stranger.public_key());
    let issue = Signed::from(stranger.sign(1621, created_at, &[&["a", &unannounced]], "an issue of nobody's repository"));
    let comment = stranger.sign(1111, created_at, &[&["E", &issue.hex()], &["e", &issue.hex()]], "a comment on it");
    let note = stranger.sign(1, created_at, &[&["t", "nostr"]], "good morning");
    let profile = stranger.sign(0, created_at, &[], "{}");
    vec![issue, comment.into(), note.into(), profile.into()]
}
