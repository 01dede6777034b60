//! What the operator lets in, before home is asked: everything in the filters (`home-decides`), what names our service
//! (`listed`, GRASP-01), or what an archive is to keep (`archive`, GRASP-05); what is blocked stays out in every mode.
//!
//! Only announcements and states are judged by it beyond the blocks: they come from whole-network filters. Everything else was
//! asked for because it names what home holds, which is GRASP-01's own condition.

mod lists;

use std::collections::BTreeSet;

use model::{Announced, Event, GateReason, PublicKey, RelayUrl, RepoAddr, first_values, kinds};

pub(crate) use lists::npub;
pub use lists::{Lists, UnreadableEntry};

/// What is let in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admission {
    pub mode: Mode,
    /// Over all modes.
    pub blocked: Lists,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Mode {
    /// Everything in the filters is offered; home says.
    #[default]
    HomeDecides,
    /// Announcements that name one of these services in `clone` and `relays`, and those of their maintainers.
    Listed { services: Vec<RelayUrl> },
    /// Announcements on these lists, and those of their maintainers; all where nothing is listed.
    Archive { allowed: Lists },
}

/// What becomes of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Admitted,
    /// As long as these are the operator's words.
    Refused(GateReason),
    /// Not unless home holds an announcement with this identifier that names its author as a maintainer.
    NeedsMaintainer {
        identifier: String,
    },
}

impl Admission {
    /// Whether `event` is let in. `known`: what home holds under the identifier of [`Admission::identifier_in_question`].
    #[must_use]
    pub fn judge(&self, event: &Event, known: &[Announced]) -> Verdict {
        if self.is_blocked(event) {
            return Verdict::Refused(GateReason::Blocked);
        }
        match self.identifier_in_question(event) {
            None => Verdict::Admitted,
            Some(identifier) if is_maintainer(event.pubkey, identifier, known) => Verdict::Admitted,
            Some(identifier) => Verdict::NeedsMaintainer { identifier: identifier.to_owned() },
        }
    }

    /// The identifier under which the author of `event` must be a maintainer, where `event` is not let in for what it says.
    #[must_use]
    pub fn identifier_in_question<'a>(&self, event: &'a Event) -> Option<&'a str> {
        let is_judged = event.kind == kinds::ANNOUNCEMENT || event.kind == kinds::STATE;
        (is_judged && !self.is_let_in_by_itself(event)).then(|| identifier(event))
    }

    /// Whether the operator's block lists keep `event` out: by its author, by the repo that it is or tags, or by a service
    /// that an announcement names.
    #[must_use]
    pub fn is_blocked(&self, event: &Event) -> bool {
        let Lists { authors, repos, services } = &self.blocked;
        let is_of_blocked_repo = || own_repo(event).is_some_and(|addr| repos.contains(&addr)) || tags_only(event, repos);
        authors.contains(&event.pubkey)
            || (!repos.is_empty() && is_of_blocked_repo())
            || (!services.is_empty() && services_of(event).any(|service| services.contains(&service)))
    }

    fn is_let_in_by_itself(&self, event: &Event) -> bool {
        match &self.mode {
            Mode::HomeDecides => true,
            Mode::Listed { services } => services.iter().any(|service| is_listed(event, service)),
            Mode::Archive { allowed } if allowed.is_empty() => true,
            Mode::Archive { allowed: Lists { authors, repos, services } } => {
                authors.contains(&event.pubkey)
                    || own_repo(event).is_some_and(|addr| repos.contains(&addr))
                    || services.iter().any(|service| is_listed(event, service))
            }
        }
    }

    /// A text that changes with every change of what is let in. Home's own word on it is apart (`nip11::changes_terms`): it comes
    /// later, by whoever has read it, and silence is not to change anything.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let Self { mode, blocked } = self;
        let mode = match mode {
            Mode::HomeDecides => "home-decides".to_owned(),
            Mode::Listed { services } => {
                let services: BTreeSet<&str> = services.iter().map(RelayUrl::as_str).collect();
                format!("listed {services:?}")
            }
            Mode::Archive { allowed } => format!("archive {allowed}"),
        };
        format!("{mode}; blocked {blocked}")
    }
}

/// The authors whose announcements and states count for `identifier`: everybody who announced it at home, and, in turn, whom
/// these name. Each of them was taken by home, so each is a beginning; a cycle or a one-way mention changes nothing.
fn is_maintainer(author: PublicKey, identifier: &str, known: &[Announced]) -> bool {
    let same = known.iter().filter(|one| one.addr.identifier == identifier);
    same.into_iter().any(|one| one.addr.pubkey == author || one.maintainers.contains(&author))
}

/// Whether an announcement names `service` in `clone` and in `relays`, by parsed host, port and path (GRASP-01).
#[must_use]
pub fn is_listed(event: &Event, service: &RelayUrl) -> bool {
    let is_service = |url: RelayUrl| url == *service;
    event.kind == kinds::ANNOUNCEMENT
        && values(event, "relays").filter_map(|value| RelayUrl::parse(value).ok()).any(is_service)
        && values(event, "clone").filter_map(service_of_clone).any(is_service)
}

/// The relay of a GRASP clone URL, `http(s)://<service>/<npub>/<name>.git`.
fn service_of_clone(url: &str) -> Option<RelayUrl> {
    let (scheme, rest) = url.trim().split_once("://")?;
    let (rest, name) = rest.trim_end_matches('/').rsplit_once('/')?;
    let (service, npub) = rest.rsplit_once('/')?;
    let is_repo = name.len() > ".git".len() && name.ends_with(".git") && lists::npub(npub).is_some();
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => "ws",
        "https" => "wss",
        _ => return None,
    };
    if is_repo { RelayUrl::parse(&format!("{scheme}://{service}")).ok() } else { None }
}

/// Every service that an announcement names, in whichever tag.
fn services_of(event: &Event) -> impl Iterator<Item = RelayUrl> {
    let of_announcement = |name| values(event, name).filter(|_| event.kind == kinds::ANNOUNCEMENT);
    let relays = of_announcement("relays").filter_map(|value| RelayUrl::parse(value).ok());
    relays.chain(of_announcement("clone").filter_map(service_of_clone))
}

fn values<'a>(event: &'a Event, name: &'a str) -> impl Iterator<Item = &'a str> {
    let tags = event.tags.iter().filter(move |tag| tag.kind() == name);
    tags.flat_map(|tag| tag.as_slice().iter().skip(1)).map(String::as_str)
}

fn identifier(event: &Event) -> &str {
    first_values(event, "d").next().unwrap_or_default()
}

/// The repo that an announcement or a state is of.
fn own_repo(event: &Event) -> Option<RepoAddr> {
    let is_of_repo = event.kind == kinds::ANNOUNCEMENT || event.kind == kinds::STATE;
    if is_of_repo { RepoAddr::new(event.pubkey, identifier(event)).ok() } else { None }
}

/// Whether an event tags repos, and none but these.
fn tags_only(event: &Event, repos: &BTreeSet<RepoAddr>) -> bool {
    let tagged = || first_values(event, "a").chain(first_values(event, "A")).filter_map(|value| value.parse().ok());
    tagged().next().is_some() && tagged().all(|addr| repos.contains(&addr))
}

#[cfg(test)]
mod tests;
