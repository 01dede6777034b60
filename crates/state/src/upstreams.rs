//! Which relays are no upstreams, and why: the judgement over all of them, without the rows.

use engine::nip11::{OwnKeys, is_ours};
use model::Role;

use crate::failure::Failure;
use crate::{Settings, codec};

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
pub(crate) fn verdicts(settings: &Settings, known: &[Known]) -> Result<Vec<(i64, Option<String>)>, Failure> {
    let own = own_keys(settings, known)?;
    let mut changed = Vec::new();
    for relay in known {
        let by_policy = if relay.is(Role::Listed) { settings.refusal(&codec::url(&relay.url)?) } else { None };
        let refusal = by_policy.or(relay.ours(own)?.map(str::to_owned));
        if refusal.is_some() != relay.refused {
            changed.push((relay.id, refusal));
        }
    }
    Ok(changed)
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
