//! Who we are to a relay that is allowed to know (NIP-42): one key for the whole service, used for nothing else.

use engine::auth::{Consent, Policy};
use model::{EventId, RelayUrl, Role};
use nostr::prelude::{EventBuilder, FinalizeEvent, Keys, Kind, Tag};

/// The key, and who may be told of it.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// Without one, nobody is told anything.
    pub key: Option<Keys>,
    pub consent: Consent,
}

/// What one relay may be told.
#[derive(Debug, Clone)]
pub(crate) struct Signer {
    key: Option<Keys>,
    policy: Policy,
    url: RelayUrl,
}

impl Identity {
    pub(crate) fn signer(&self, role: Role, url: &RelayUrl) -> Signer {
        let policy = if self.key.is_some() { self.consent.policy(role, url) } else { Policy::Never };
        let key = self.key.clone().filter(|_| policy != Policy::Never);
        Signer { key, policy, url: url.clone() }
    }
}

impl Signer {
    pub(crate) fn policy(&self) -> Policy {
        self.policy
    }

    /// The answer to a challenge, made anew: its id and its JSON. None for a relay that is told nothing.
    pub(crate) fn sign(&self, challenge: &str) -> Option<(EventId, String)> {
        let key = self.key.as_ref()?;
        let tag = |parts: [&str; 2]| Tag::parse(parts.map(str::to_owned)).expect("a tag with a name");
        let tags = [tag(["relay", self.url.as_str()]), tag(["challenge", challenge])];
        let event = EventBuilder::new(Kind::Authentication, "").tags(tags).finalize(key).expect("a key signs");
        let json = serde_json::to_string(&event).expect("an event is plain data");
        Some((event.id, json))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use engine::auth::Whom;
    use model::{Event, Timestamp, first_values};

    use super::*;

    fn identity(key: Option<Keys>) -> Identity {
        let home = Whom { roles: BTreeSet::from([Role::Home]), ..Whom::default() };
        Identity { key, consent: Consent { on_demand: home, ..Consent::default() } }
    }

    #[test]
    fn an_answer_names_the_relay_and_its_challenge_and_is_signed_now() {
        let (keys, url) = (Keys::generate(), RelayUrl::parse("wss://relay.example").unwrap());
        let (id, json) = identity(Some(keys.clone())).signer(Role::Home, &url).sign("who \"are\" you").unwrap();
        let event: Event = serde_json::from_str(&json).unwrap();
        assert_eq!((event.id, event.kind.as_u16(), event.pubkey), (id, 22_242, keys.public_key()));
        assert!(event.verify_id() && event.verify_signature());
        assert_eq!(first_values(&event, "relay").collect::<Vec<_>>(), ["wss://relay.example/"]);
        assert_eq!(first_values(&event, "challenge").collect::<Vec<_>>(), ["who \"are\" you"]);
        assert!(Timestamp::now().as_secs() - event.created_at.as_secs() < 10);
    }

    #[test]
    fn a_relay_without_consent_has_nobody_who_could_sign() {
        let url = RelayUrl::parse("wss://relay.example").unwrap();
        let signer = identity(Some(Keys::generate())).signer(Role::Listed, &url);
        assert_eq!((signer.policy(), signer.sign("x")), (Policy::Never, None));
        let signer = identity(None).signer(Role::Home, &url);
        assert_eq!((signer.policy(), signer.sign("x")), (Policy::Never, None));
    }
}
