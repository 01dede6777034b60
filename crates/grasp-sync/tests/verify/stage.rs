//! Somebody who looks at relays from outside, by the library or by the binary, and what they are told.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::time::Duration;

use grasp_sync::config::{Config, Home};
use grasp_sync::verify::{self, Named, Reason, Report, UpstreamFacts, Wanted};
use model::{EventId, RelayUrl};

use super::common::{GraspSync, Said, Signed};

pub(crate) fn jsons(events: &[Signed]) -> impl Iterator<Item = &str> {
    events.iter().map(|event| event.json.as_str())
}

pub(crate) fn wanted() -> Wanted {
    Wanted {
        repos: Vec::new(),
        upstreams: Vec::new(),
        every_announcement: false,
        patience: Duration::from_secs(120),
        json: false,
    }
}

fn config(home: &str) -> Config {
    let home = Home::Relay(RelayUrl::parse(home).unwrap());
    let allow_non_public = vec!["127.0.0.0/8".parse().unwrap()];
    Config { allow_non_public, look_up_names: false, ..Config::with_home(home, "not-used".into()) }
}

pub(crate) struct Outsider {
    home: String,
}

/// A report, with questions to it.
#[derive(Debug)]
pub(crate) struct Told(Report);

impl Outsider {
    pub(crate) fn looking_at(home: &str) -> Self {
        Self { home: home.to_owned() }
    }

    pub(crate) async fn compare(&self) -> Told {
        self.compare_as(&wanted()).await
    }

    pub(crate) async fn compare_as(&self, wanted: &Wanted) -> Told {
        Told(verify::compare(&config(&self.home), wanted).await.unwrap())
    }

    /// The binary, in a directory where there is nothing.
    pub(crate) async fn says(&self, more: &[&str]) -> Said {
        let arguments = ["verify", "--home", &self.home, "--allow-non-public", "127.0.0.0/8"];
        GraspSync::keeping(&self.home).says(&[&arguments, more].concat()).await
    }
}

impl Deref for Told {
    type Target = Report;

    fn deref(&self) -> &Report {
        &self.0
    }
}

impl Told {
    pub(crate) fn missing(&self) -> BTreeSet<EventId> {
        self.lacking_for(Reason::Missing)
    }

    pub(crate) fn lacking_for(&self, reason: Reason) -> BTreeSet<EventId> {
        let gaps = self.0.gaps.iter().filter(|gap| gap.reason == reason);
        gaps.flat_map(|gap| &gap.events).map(id).collect()
    }

    pub(crate) fn missing_at(&self, url: &str) -> BTreeSet<EventId> {
        let url = RelayUrl::parse(url).unwrap();
        let gaps = self.0.gaps.iter().filter(|gap| gap.reason == Reason::Missing && gap.upstream == url);
        gaps.flat_map(|gap| &gap.events).map(id).collect()
    }

    pub(crate) fn upstream(&self, url: &str) -> &UpstreamFacts {
        let url = RelayUrl::parse(url).unwrap();
        self.0.upstreams.iter().find(|one| one.url == url).unwrap()
    }

    /// Why something of this upstream is not known.
    pub(crate) fn why_open(&self, url: &str) -> String {
        let url = RelayUrl::parse(url).unwrap();
        let whys = self.0.open.iter().filter(|one| one.upstream == url).map(|one| one.why.clone());
        whys.collect::<Vec<_>>().join("; ")
    }
}

fn id(named: &Named) -> EventId {
    EventId::from_hex(&named.id).unwrap()
}
