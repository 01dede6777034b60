//! Saying who we are (NIP-42): to whom, when, and what the relay's answer means.
//!
//! An answer links us to what we read, and any relay may ask for one: without consent none is ever given. Never: the key,
//! which is the shell's, or more than one try for what was refused.

use std::collections::BTreeSet;

use model::{EventId, RelayUrl, Role};

/// A relay that wants to know who we are sends its challenge within this time (milliseconds): some do so only after the refusal.
const CHALLENGE_MS: u64 = 5_000;
/// An AUTH without an OK for this long (milliseconds) was not taken.
const ANSWER_MS: u64 = 10_000;
/// A relay that asks again is answered again after this long (milliseconds): what it knew of us may be forgotten.
const AGAIN_MS: u64 = 600_000;
/// Letters of a challenge that is signed; those in use have less than a hundred.
const MOST_LETTERS: usize = 1_024;

/// Whether a relay is told who we are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    #[default]
    Never,
    /// When it has refused something for the lack of it.
    OnDemand,
    /// As soon as it asks.
    Always,
}

/// Relays: all of a role, or each by its URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whom {
    pub roles: BTreeSet<Role>,
    pub urls: BTreeSet<RelayUrl>,
}

/// The operator's word on who is told who we are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Consent {
    pub never: Whom,
    pub on_demand: Whom,
    pub always: Whom,
}

impl Consent {
    /// The policy for one relay: what names its URL is stronger than what names its role, and less is stronger than more.
    #[must_use]
    pub fn policy(&self, role: Role, url: &RelayUrl) -> Policy {
        let Self { never, on_demand, always } = self;
        let whom = [(never, Policy::Never), (on_demand, Policy::OnDemand), (always, Policy::Always)];
        let by_url = whom.iter().find(|(whom, _)| whom.urls.contains(url));
        let by_role = || whom.iter().find(|(whom, _)| whom.roles.contains(&role));
        by_url.or_else(by_role).map_or(Policy::Never, |(_, policy)| *policy)
    }

    /// Whether anybody at all is told: then there is to be a key.
    #[must_use]
    pub fn names_anybody(&self) -> bool {
        let is_named = |whom: &Whom| !whom.roles.is_empty() || !whom.urls.is_empty();
        is_named(&self.on_demand) || is_named(&self.always)
    }
}

/// What a refusal for the lack of authentication leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// It is repeated once this is settled. With a challenge: that is to be signed now.
    Wait { sign: Option<String> },
    /// It stays refused.
    Final,
}

/// How far it has come on one connection.
#[derive(Debug, Clone)]
pub struct Auth {
    policy: Policy,
    /// The newest.
    challenge: Option<String>,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    /// Nothing was said.
    Unsaid,
    /// Something was refused, and there is no challenge yet.
    Unchallenged { until_ms: u64 },
    /// It is being signed, or was sent.
    Said { id: Option<EventId>, until_ms: u64 },
    /// The relay has answered, or has not in time.
    Settled { at_ms: u64 },
}

impl Auth {
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy, challenge: None, state: State::Unsaid }
    }

    /// The relay has sent a challenge, which it may do at any time: whether it is to be signed now.
    pub fn challenged(&mut self, challenge: String, now_ms: u64) -> Option<String> {
        if challenge.chars().count() > MOST_LETTERS {
            return None;
        }
        self.challenge = Some(challenge);
        let is_awaited = match self.state {
            State::Unsaid => self.policy == Policy::Always,
            State::Unchallenged { .. } => true,
            State::Said { .. } => false,
            State::Settled { at_ms } => self.policy == Policy::Always && now_ms >= at_ms + AGAIN_MS,
        };
        if is_awaited { self.say(now_ms) } else { None }
    }

    /// The relay has refused something until it knows who we are.
    pub fn refused(&mut self, now_ms: u64) -> Refused {
        self.tick(now_ms);
        match self.state {
            _ if self.policy == Policy::Never => return Refused::Final,
            State::Settled { at_ms } if now_ms < at_ms + AGAIN_MS => return Refused::Final,
            State::Unchallenged { .. } | State::Said { .. } => return Refused::Wait { sign: None },
            State::Unsaid | State::Settled { .. } => {}
        }
        let sign = self.say(now_ms);
        if sign.is_none() {
            self.state = State::Unchallenged { until_ms: now_ms + CHALLENGE_MS };
        }
        Refused::Wait { sign }
    }

    /// The event that answers the challenge is being sent.
    pub fn signed(&mut self, signed: EventId) {
        if let State::Said { id, .. } = &mut self.state {
            *id = Some(signed);
        }
    }

    /// An OK of the relay: whether it settles this. Then what was refused is repeated, whatever the answer was: once.
    pub fn answered(&mut self, answered: EventId, now_ms: u64) -> bool {
        let is_it = matches!(self.state, State::Said { id: Some(id), .. } if id == answered);
        if is_it {
            self.state = State::Settled { at_ms: now_ms };
        }
        is_it
    }

    /// Until when nothing new is asked (milliseconds), if anything waits for this.
    #[must_use]
    pub fn waits_until(&self) -> Option<u64> {
        match self.state {
            State::Unchallenged { until_ms } | State::Said { until_ms, .. } => Some(until_ms),
            State::Unsaid | State::Settled { .. } => None,
        }
    }

    /// Time has passed: what has not come by now does not come.
    pub fn tick(&mut self, now_ms: u64) {
        if self.waits_until().is_some_and(|until_ms| now_ms >= until_ms) {
            self.state = State::Settled { at_ms: now_ms };
        }
    }

    fn say(&mut self, now_ms: u64) -> Option<String> {
        let challenge = self.challenge.clone()?;
        self.state = State::Said { id: None, until_ms: now_ms + ANSWER_MS };
        Some(challenge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{id, url};

    const WAIT: Refused = Refused::Wait { sign: None };

    fn challenge() -> String {
        "who are you".to_owned()
    }

    fn sign() -> Refused {
        Refused::Wait { sign: Some(challenge()) }
    }

    #[test]
    fn without_consent_nothing_is_ever_signed() {
        let mut auth = Auth::new(Policy::Never);
        for now in 0..5 {
            assert_eq!(auth.challenged(challenge(), now), None);
            assert_eq!(auth.refused(now), Refused::Final);
        }
        assert_eq!(auth.waits_until(), None);
    }

    #[test]
    fn on_demand_nothing_is_signed_before_something_was_refused_and_then_once() {
        let mut auth = Auth::new(Policy::OnDemand);
        assert_eq!(auth.challenged(challenge(), 0), None);
        assert_eq!(auth.refused(1), sign());
        assert_eq!(auth.refused(1), WAIT, "another request of before");
        assert_eq!(auth.challenged(challenge(), 1), None);
        auth.signed(id(1));
        assert!(!auth.answered(id(2), 2), "an OK to something else");
        assert!(auth.answered(id(1), 2));
        assert_eq!((auth.waits_until(), auth.refused(3)), (None, Refused::Final), "one try");
    }

    #[test]
    fn a_challenge_may_come_after_the_refusal_or_not_at_all() {
        let mut auth = Auth::new(Policy::OnDemand);
        assert_eq!(auth.refused(0), WAIT);
        assert_eq!(auth.challenged(challenge(), 10), Some(challenge()));
        let mut auth = Auth::new(Policy::OnDemand);
        assert_eq!(auth.refused(0), WAIT);
        auth.tick(CHALLENGE_MS);
        assert_eq!((auth.waits_until(), auth.refused(CHALLENGE_MS)), (None, Refused::Final));
    }

    #[test]
    fn an_answer_that_does_not_come_is_not_waited_for_longer() {
        let mut auth = Auth::new(Policy::Always);
        assert_eq!(auth.challenged(challenge(), 0), Some(challenge()));
        auth.signed(id(1));
        assert_eq!((auth.waits_until(), auth.refused(1)), (Some(ANSWER_MS), WAIT));
        assert_eq!(auth.refused(ANSWER_MS), Refused::Final);
        assert!(!auth.answered(id(1), ANSWER_MS), "too late");
    }

    #[test]
    fn the_newest_challenge_is_answered() {
        let mut auth = Auth::new(Policy::OnDemand);
        for text in ["first", "second"] {
            assert_eq!(auth.challenged(text.to_owned(), 0), None);
        }
        assert_eq!(auth.challenged("x".repeat(5_000), 0), None);
        assert_eq!(auth.refused(1), Refused::Wait { sign: Some("second".to_owned()) });
    }

    #[test]
    fn a_relay_that_has_forgotten_us_is_answered_again_after_a_while() {
        let mut auth = Auth::new(Policy::OnDemand);
        assert_eq!(auth.challenged(challenge(), 0), None);
        assert_eq!(auth.refused(0), sign());
        auth.signed(id(1));
        assert!(auth.answered(id(1), 0));
        assert_eq!(auth.refused(AGAIN_MS - 1), Refused::Final);
        assert_eq!(auth.refused(AGAIN_MS), sign());
    }

    #[test]
    fn a_url_is_stronger_than_a_role_and_less_is_stronger_than_more() {
        let relay = url("wss://a.example");
        let urls = || Whom { urls: BTreeSet::from([relay.clone()]), ..Whom::default() };
        let roles = |roles: &[Role]| Whom { roles: roles.iter().copied().collect(), ..Whom::default() };
        let consent = Consent { on_demand: roles(&[Role::Home, Role::Bootstrap]), ..Consent::default() };
        assert_eq!(consent.policy(Role::Home, &relay), Policy::OnDemand);
        assert_eq!(consent.policy(Role::Listed, &relay), Policy::Never);
        let named = Consent { always: urls(), never: roles(&[Role::Listed]), ..consent.clone() };
        assert_eq!(named.policy(Role::Listed, &relay), Policy::Always);
        assert_eq!(named.policy(Role::Listed, &url("wss://b.example")), Policy::Never);
        let refused = Consent { never: urls(), ..named };
        assert_eq!(refused.policy(Role::Bootstrap, &relay), Policy::Never);
        assert!(consent.names_anybody() && !Consent { never: urls(), ..Consent::default() }.names_anybody());
    }
}
