//! Items: the units whose coverage is tracked per upstream (repos, roots, participants, ids that events name).

use std::fmt;
use std::str::FromStr;

use nostr::prelude::{EventId, PublicKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest identifier of a repo, in bytes: an item is named in orders, snapshots and filters by the hundred. The
/// longest that is known in the wild has 190.
pub const MAX_IDENTIFIER_BYTES: usize = 512;

/// A repository address, `30617:<pubkey>:<identifier>` (NIP-34, NIP-01 `a` tags).
///
/// The identifier may hold `:` and anything else, or be empty; it is case-sensitive. One that is longer than
/// [`MAX_IDENTIFIER_BYTES`] makes no address, and so never an item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoAddr {
    pub pubkey: PublicKey,
    pub identifier: String,
}

/// Why a text is no repository address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RepoAddrError {
    #[error("a repository address begins with `30617:`")]
    NotARepo,
    #[error("the author of a repository address is 64 lower-case hex digits")]
    BadAuthor,
    #[error("a repository address has three parts: kind, author, identifier")]
    TooShort,
    #[error("the identifier of a repository is longer than {MAX_IDENTIFIER_BYTES} bytes")]
    TooLong,
}

impl RepoAddr {
    /// # Errors
    /// The identifier is too long.
    pub fn new(pubkey: PublicKey, identifier: &str) -> Result<Self, RepoAddrError> {
        if identifier.len() > MAX_IDENTIFIER_BYTES {
            return Err(RepoAddrError::TooLong);
        }
        Ok(Self { pubkey, identifier: identifier.to_owned() })
    }
}

impl FromStr for RepoAddr {
    type Err = RepoAddrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, ':');
        let (Some(kind), Some(author), Some(identifier)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(RepoAddrError::TooShort);
        };
        if kind != "30617" {
            return Err(RepoAddrError::NotARepo);
        }
        let is_lower_hex = author.len() == 64 && author.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !is_lower_hex {
            return Err(RepoAddrError::BadAuthor);
        }
        let pubkey = PublicKey::from_hex(author).map_err(|_| RepoAddrError::BadAuthor)?;
        Self::new(pubkey, identifier)
    }
}

impl fmt::Display for RepoAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "30617:{}:{}", self.pubkey.to_hex(), self.identifier)
    }
}

impl Serialize for RepoAddr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RepoAddr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

const PARTICIPANT: &str = "author:";
const NAMED: &str = "id:";

/// What is covered, per upstream: a repo, a root that tags a wanted repo, who takes part in these, or an event that one of
/// theirs names. Repos sort before roots, and so on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    Repo(RepoAddr),
    Root(EventId),
    /// Whose deletions and requests to vanish concern a wanted repo.
    Participant(PublicKey),
    /// An event that home lacks and that one which it holds names. It is read once, never watched.
    Named(EventId),
}

/// The kinds of items; each has filter families of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemKind {
    Repo,
    Root,
    Participant,
    Named,
}

impl Item {
    #[must_use]
    pub fn kind(&self) -> ItemKind {
        match self {
            Self::Repo(_) => ItemKind::Repo,
            Self::Root(_) => ItemKind::Root,
            Self::Participant(_) => ItemKind::Participant,
            Self::Named(_) => ItemKind::Named,
        }
    }

    /// One text for each item. Of repos and roots it is the tag value by which events name them: an address, or an event id in
    /// hex.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Repo(addr) => addr.to_string(),
            Self::Root(id) => id.to_hex(),
            Self::Participant(author) => format!("{PARTICIPANT}{}", author.to_hex()),
            Self::Named(id) => format!("{NAMED}{}", id.to_hex()),
        }
    }

    /// Reads what [`Item::key`] writes.
    #[must_use]
    pub fn read(key: &str) -> Option<Self> {
        if let Some(author) = key.strip_prefix(PARTICIPANT) {
            return PublicKey::from_hex(author).ok().map(Self::Participant);
        }
        if let Some(id) = key.strip_prefix(NAMED) {
            return EventId::from_hex(id).ok().map(Self::Named);
        }
        key.parse().ok().map(Self::Repo).or_else(|| EventId::from_hex(key).ok().map(Self::Root))
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HEX: &str = "aa4fc8665f5696e33db7e1a572e3b0f5b3d615837b0f362dcb1c8068b098c7b4";

    #[test]
    fn an_identifier_keeps_its_colons_blanks_and_case() {
        let text = format!("30617:{HEX}:A b:c/d");
        let addr: RepoAddr = text.parse().unwrap();
        assert_eq!(addr.identifier, "A b:c/d");
        assert_eq!(addr.to_string(), text);
    }

    #[test]
    fn an_empty_identifier_is_an_identifier() {
        assert_eq!(format!("30617:{HEX}:").parse::<RepoAddr>().unwrap().identifier, "");
    }

    #[test]
    fn an_identifier_longer_than_512_bytes_makes_no_address() {
        let of = |identifier: &str| format!("30617:{HEX}:{identifier}").parse::<RepoAddr>();
        assert!(of(&"é".repeat(MAX_IDENTIFIER_BYTES / 2)).is_ok());
        assert_eq!(of(&format!("{}x", "é".repeat(MAX_IDENTIFIER_BYTES / 2))), Err(RepoAddrError::TooLong));
    }

    #[test]
    fn other_kinds_bad_authors_and_short_texts_are_refused_with_their_reason() {
        assert_eq!(format!("30618:{HEX}:x").parse::<RepoAddr>(), Err(RepoAddrError::NotARepo));
        assert_eq!(format!("30617:{}:x", HEX.to_uppercase()).parse::<RepoAddr>(), Err(RepoAddrError::BadAuthor));
        assert_eq!("30617:ab:x".parse::<RepoAddr>(), Err(RepoAddrError::BadAuthor));
        assert_eq!(format!("30617:{HEX}").parse::<RepoAddr>(), Err(RepoAddrError::TooShort));
    }

    #[test]
    fn every_item_is_read_back_from_its_key() {
        let (author, id) = (PublicKey::from_hex(HEX).unwrap(), EventId::from_hex(HEX).unwrap());
        let repo = Item::Repo(RepoAddr::new(author, "a:b").unwrap());
        for item in [repo, Item::Root(id), Item::Participant(author), Item::Named(id)] {
            assert_eq!(Item::read(&item.key()), Some(item));
        }
        assert_eq!(Item::read("id:x"), None);
    }
}
