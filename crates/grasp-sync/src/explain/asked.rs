//! What a person may type to name an event, a repository or an upstream (NIP-19, NIP-21, NIP-01 addresses, relay URLs).

use model::{EventId, RelayUrl, RepoAddr, RepoAddrError, Subject, kinds};
use nostr::nips::nip19::{FromBech32, Nip19};

/// What was typed, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub subject: Subject,
    /// Relays that whoever made the name expected it on.
    pub hints: Vec<RelayUrl>,
}

/// Why a text names nothing that can be explained.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableSubject {
    #[error("this is a secret key: it is nobody's business, and nothing to be explained")]
    SecretKey,
    #[error(
        "this names a person; explain takes an upstream's URL, an event (hex, note, nevent) or a repository (address, naddr)"
    )]
    Person,
    #[error("this names something of kind {0}; of addresses, explain takes repositories (30617) and their states (30618)")]
    OtherKind(u16),
    #[error("this is no repository address: {0}")]
    BadAddress(RepoAddrError),
    #[error(
        "this is no upstream, no event and no repository: give a relay URL, 64 hex digits, note1…, nevent1…, naddr1… or 30617:<pubkey>:<identifier>"
    )]
    Nothing,
}

impl Asked {
    /// Reads what was typed.
    ///
    /// # Errors
    /// It names nothing that can be explained.
    pub fn read(text: &str) -> Result<Self, UnreadableSubject> {
        let text = text.trim();
        let text = text.strip_prefix("nostr:").unwrap_or(text);
        if let Ok(named) = Nip19::from_bech32(text) {
            return Self::of(named);
        }
        if text.len() == 64
            && let Ok(id) = EventId::from_hex(text)
        {
            return Ok(Self::about(Subject::Event(id)));
        }
        match text.split_once(':') {
            Some(("30617", _)) => Self::of_address(text),
            Some(("30618", rest)) => Self::of_address(&format!("30617:{rest}")),
            _ => match RelayUrl::parse(text) {
                Ok(url) if text.contains(['.', ':']) => Ok(Self::about(Subject::Upstream(url))),
                Ok(_) | Err(_) => Err(UnreadableSubject::Nothing),
            },
        }
    }

    fn about(subject: Subject) -> Self {
        Self { subject, hints: Vec::new() }
    }

    fn of_address(text: &str) -> Result<Self, UnreadableSubject> {
        text.parse().map(|addr| Self::about(Subject::Repo(addr))).map_err(UnreadableSubject::BadAddress)
    }

    fn of(named: Nip19) -> Result<Self, UnreadableSubject> {
        let hints =
            |urls: &[nostr::prelude::RelayUrl]| urls.iter().filter_map(|url| RelayUrl::parse(url.as_str()).ok()).collect();
        match named {
            Nip19::EventId(id) => Ok(Self::about(Subject::Event(id))),
            Nip19::Event(event) => Ok(Self { subject: Subject::Event(event.event_id), hints: hints(&event.relays) }),
            Nip19::Coordinate(named) => {
                let of = &named.coordinate;
                if of.kind != kinds::ANNOUNCEMENT && of.kind != kinds::STATE {
                    return Err(UnreadableSubject::OtherKind(of.kind.as_u16()));
                }
                let addr = RepoAddr::new(of.public_key, &of.identifier).map_err(UnreadableSubject::BadAddress)?;
                Ok(Self { subject: Subject::Repo(addr), hints: hints(&named.relays) })
            }
            Nip19::Secret(_) => Err(UnreadableSubject::SecretKey),
            Nip19::Pubkey(_) | Nip19::Profile(_) => Err(UnreadableSubject::Person),
            #[allow(
                unreachable_patterns,
                clippy::wildcard_enum_match_arm,
                reason = "an encrypted key, where somebody turns that feature on"
            )]
            _ => Err(UnreadableSubject::SecretKey),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nostr::nips::nip19::{Nip19Coordinate, Nip19Event, ToBech32};
    use nostr::prelude::{Coordinate, Keys, Kind};

    use super::*;

    fn hint() -> nostr::prelude::RelayUrl {
        nostr::prelude::RelayUrl::parse("wss://Relay.example").unwrap()
    }

    #[test]
    fn every_name_of_an_event_leads_to_it() {
        let id = EventId::from_byte_array([7; 32]);
        let mut named = Nip19Event::new(id);
        named.relays = vec![hint()];
        let nevent = named.to_bech32().unwrap();
        for text in [id.to_hex(), id.to_bech32().unwrap(), format!("nostr:{nevent}"), format!(" {nevent}\n")] {
            let asked = Asked::read(&text).unwrap();
            assert_eq!(asked.subject, Subject::Event(id), "{text}");
            let expected = if text.contains("nevent") { vec![RelayUrl::parse("wss://relay.example").unwrap()] } else { vec![] };
            assert_eq!(asked.hints, expected, "{text}");
        }
    }

    #[test]
    fn every_name_of_a_repository_leads_to_it_and_that_of_its_state_too() {
        let author = Keys::generate().public_key();
        let addr = RepoAddr::new(author, "a: b").unwrap();
        let naddr = |kind: u16| {
            let coordinate = Coordinate::new(Kind::Custom(kind), author).identifier("a: b");
            Nip19Coordinate::new(coordinate, [hint()]).to_bech32().unwrap()
        };
        for text in [addr.to_string(), addr.to_string().replacen("30617", "30618", 1), naddr(30617), naddr(30618)] {
            assert_eq!(Asked::read(&text).unwrap().subject, Subject::Repo(addr.clone()), "{text}");
        }
        assert_eq!(Asked::read(&naddr(30023)), Err(UnreadableSubject::OtherKind(30023)));
        assert!(matches!(Asked::read("30617:abc:x"), Err(UnreadableSubject::BadAddress(_))));
    }

    #[test]
    fn an_upstream_is_named_by_any_spelling_and_what_names_nothing_says_so() {
        let url = RelayUrl::parse("wss://relay.example").unwrap();
        for text in ["wss://relay.example", "WSS://Relay.example:443/", "relay.example"] {
            assert_eq!(Asked::read(text).unwrap().subject, Subject::Upstream(url.clone()), "{text}");
        }
        for text in ["", "everything", "abcdef", "ftp://relay.example", "nevent1xyz"] {
            assert_eq!(Asked::read(text), Err(UnreadableSubject::Nothing), "{text}");
        }
        let keys = Keys::generate();
        assert_eq!(Asked::read(&keys.secret_key().to_bech32().unwrap()), Err(UnreadableSubject::SecretKey));
        assert_eq!(Asked::read(&keys.public_key().to_bech32().unwrap()), Err(UnreadableSubject::Person));
    }
}
