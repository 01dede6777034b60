//! Many small repositories, for tests that need a sync to last: every one has its announcement and some comments.

use std::collections::BTreeSet;

use model::EventId;
use testkit::Publisher;

use super::project::{Signed, ids};

/// The repositories and what is said about them.
#[derive(Debug)]
pub(crate) struct Crowd {
    author: Publisher,
    pub(crate) announcements: Vec<Signed>,
    /// Each names its repository by `a` and by nothing else, so each answers exactly one filter.
    pub(crate) comments: Vec<Signed>,
}

impl Crowd {
    pub(crate) fn of(repositories: usize, comments_each: usize, relays: &[String]) -> Self {
        Self::by_author(4, repositories, comments_each, relays)
    }

    /// Crowds of several authors are different ones. The author is a number from 1.
    pub(crate) fn by_author(author: u32, repositories: usize, comments_each: usize, relays: &[String]) -> Self {
        let author = Publisher::new(&format!("{author:064x}"));
        let began = super::now() - 60 * 24 * 3600;
        let relays: Vec<&str> = std::iter::once("relays").chain(relays.iter().map(String::as_str)).collect();
        let (mut announcements, mut comments) = (Vec::new(), Vec::new());
        for number in 0..repositories {
            let name = format!("repository-{number}");
            let moment = began + number as u64;
            announcements.push(author.sign(30617, moment, &[&["d", &name], &relays], "").into());
            let address = format!("30617:{}:{name}", author.public_key());
            for comment in 0..comments_each {
                comments.push(author.sign(1, moment, &[&["a", &address]], &format!("{name}, {comment}")).into());
            }
        }
        Self { author, announcements, comments }
    }

    /// An issue of now in the first repository: a new root.
    pub(crate) fn issue(&self, text: &str) -> Signed {
        let address = format!("30617:{}:repository-0", self.author.public_key());
        self.author.sign(1621, super::now(), &[&["a", &address]], text).into()
    }

    /// A comment of now on the first repository.
    pub(crate) fn comment(&self, text: &str) -> Signed {
        let address = format!("30617:{}:repository-0", self.author.public_key());
        self.author.sign(1, super::now(), &[&["a", &address]], text).into()
    }

    /// NIP-22, of now: it names the root and nothing else.
    pub(crate) fn comment_on(&self, root: &Signed, text: &str) -> Signed {
        let root = root.id.to_hex();
        self.author.sign(1111, super::now(), &[&["E", &root], &["K", "1621"], &["k", "1621"]], text).into()
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = &Signed> {
        self.announcements.iter().chain(&self.comments)
    }

    pub(crate) fn ids(&self) -> BTreeSet<EventId> {
        ids(self.events())
    }
}
