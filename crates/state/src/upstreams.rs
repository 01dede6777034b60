//! Which relays are no upstreams, and why: the judgement over all of them, without the rows.

use std::collections::BTreeMap;

use engine::caps::{self, Candidate};
use engine::nip11::{OwnKeys, is_ours};
use model::{RelayUrl, Role};

use crate::failure::Failure;
use crate::{Settings, codec};

/// A relay, a repo that lists it, and who announced that.
pub(crate) type Listing = (i64, i64, String);

/// A relay, and why it is never dialed from now on, if it is not.
pub(crate) type Verdict = (i64, Option<String>);

/// A relay, as it is judged.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Known {
    pub(crate) id: i64,
    pub(crate) url: String,
    pub(crate) role: String,
    refused: bool,
    learned: String,
}

impl Known {
    fn is(&self, role: Role) -> bool {
        self.role == role.as_str()
    }

    /// Why it is our own relay, by what it states of itself, if it is.
    fn ours(&self, own: OwnKeys) -> Result<Option<&'static str>, Failure> {
        if self.is(Role::Home) {
            return Ok(None);
        }
        Ok(codec::learned(&self.learned)?.stated.and_then(|stated| is_ours(&stated, own)))
    }
}

/// The relays whose verdict is another one from now on, each with why it is never dialed, if it is not. What the operator
/// named is dialed on the operator's word, unless it is our own.
///
/// `listings`: which relay which repo names, in order.
pub(crate) fn verdicts(settings: &Settings, known: &[Known], listings: &[Listing]) -> Result<Vec<Verdict>, Failure> {
    let own = own_keys(settings, known)?;
    let mut urls = Vec::new();
    let mut refusals = Vec::new();
    for relay in known {
        let url = codec::url(&relay.url)?;
        let by_policy = if relay.is(Role::Listed) { settings.refusal(&url) } else { None };
        refusals.push(by_policy.or(relay.ours(own)?.map(str::to_owned)));
        urls.push(url);
    }
    let counted = known.iter().zip(&urls).zip(&mut refusals).filter(|((relay, url), refusal)| {
        // What lies in a network that the operator has allowed is the operator's to bound.
        relay.is(Role::Listed) && refusal.is_none() && !url.is_non_public()
    });
    refuse_surplus(settings, counted.map(|((relay, url), refusal)| (relay.id, url, refusal)).collect(), listings);
    let judged = known.iter().zip(refusals).filter(|(relay, refusal)| refusal.is_some() != relay.refused);
    Ok(judged.map(|(relay, refusal)| (relay.id, refusal)).collect())
}

/// Refuses those that are over a cap.
fn refuse_surplus(settings: &Settings, counted: Vec<(i64, &RelayUrl, &mut Option<String>)>, listings: &[Listing]) {
    let mut by_relay: BTreeMap<i64, Vec<(i64, &str)>> = BTreeMap::new();
    for (relay, repo, author) in listings {
        by_relay.entry(*relay).or_default().push((*repo, author));
    }
    let found: Vec<Candidate<'_>> =
        counted.iter().map(|(id, url, _)| Candidate { url, listings: by_relay.get(id).cloned().unwrap_or_default() }).collect();
    let over = caps::over(&found, settings.policy.caps);
    for ((_, _, refusal), over) in counted.into_iter().zip(over) {
        *refusal = over.map(|over| over.to_string());
    }
}

/// Whether a relay that is dialed has stated one of our keys.
pub(crate) fn has_ours(settings: &Settings, known: &[Known]) -> Result<bool, Failure> {
    let own = own_keys(settings, known)?;
    for relay in known.iter().filter(|relay| !relay.refused) {
        if relay.ours(own)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn own_keys(settings: &Settings, known: &[Known]) -> Result<OwnKeys, Failure> {
    let home = known.iter().find(|relay| relay.is(Role::Home));
    let stated = home.map(|home| codec::learned(&home.learned)).transpose()?.and_then(|learned| learned.stated);
    Ok(OwnKeys { home: stated.and_then(|stated| stated.itself), operator: settings.operator })
}
