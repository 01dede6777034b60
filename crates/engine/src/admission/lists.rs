//! Lists that an operator writes: authors, repositories, services.

use std::collections::BTreeSet;
use std::fmt;

use model::{PublicKey, RelayUrl, RepoAddr};
use nostr::prelude::FromBech32;

/// Whom and what a list names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lists {
    pub authors: BTreeSet<PublicKey>,
    pub repos: BTreeSet<RepoAddr>,
    /// GRASP services by the URL of their relay.
    pub services: BTreeSet<RelayUrl>,
}

/// An entry that is none of the three.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no list entry: write npub1…, npub1…/identifier, or the URL of a service's relay")]
pub struct UnreadableEntry(pub String);

impl Lists {
    /// Reads `npub1…` (an author), `npub1…/identifier` (a repo), and anything else as the relay of a service.
    ///
    /// # Errors
    /// The first entry that is none of them.
    pub fn read<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, UnreadableEntry> {
        let mut lists = Self::default();
        for entry in entries {
            lists.add(entry.trim()).ok_or_else(|| UnreadableEntry(entry.to_owned()))?;
        }
        Ok(lists)
    }

    fn add(&mut self, entry: &str) -> Option<()> {
        if !entry.starts_with("npub1") {
            self.services.insert(RelayUrl::parse(entry).ok()?);
        } else if let Some((author, identifier)) = entry.split_once('/') {
            self.repos.insert(RepoAddr::new(npub(author)?, identifier).ok()?);
        } else {
            self.authors.insert(npub(entry)?);
        }
        Some(())
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { authors, repos, services } = self;
        authors.is_empty() && repos.is_empty() && services.is_empty()
    }
}

/// Sorted, one form for one meaning.
impl fmt::Display for Lists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { authors, repos, services } = self;
        let authors: Vec<String> = authors.iter().map(PublicKey::to_hex).collect();
        let repos: Vec<String> = repos.iter().map(ToString::to_string).collect();
        let services: Vec<&str> = services.iter().map(RelayUrl::as_str).collect();
        write!(f, "{authors:?} {repos:?} {services:?}")
    }
}

/// The key of an `npub1…`.
pub(crate) fn npub(text: &str) -> Option<PublicKey> {
    PublicKey::from_bech32(text).ok().filter(|_| text.starts_with("npub1"))
}
