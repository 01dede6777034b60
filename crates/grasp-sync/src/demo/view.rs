//! One look at the system: every upstream of the cast, home, and the relays that nobody plays.

use std::collections::BTreeMap;

use model::{BatchCounts, DownClass, LinkView, Method, Nip77, RelayUrl, Role, Status, UpstreamStatus};

use super::cast::Cast;

/// What is known of all relays at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    /// In the order of the cast.
    pub(super) upstreams: Vec<UpstreamView>,
    home_is_read: bool,
    /// Events that home holds, and that it should hold.
    pub(super) held: usize,
    pub(super) expected: usize,
    /// Announced relays that nobody plays, by why they are down.
    pub(super) elsewhere: BTreeMap<&'static str, usize>,
}

/// What is known of one upstream.
#[derive(Debug, Clone)]
pub(super) struct UpstreamView {
    pub(super) url: RelayUrl,
    /// Nothing until the upstream is found.
    status: Option<UpstreamStatus>,
}

impl View {
    pub(super) fn of(cast: &Cast, status: Status, (held, expected): (usize, usize)) -> Self {
        let mut view = Self { held, expected, ..Self::default() };
        let mut found: BTreeMap<RelayUrl, UpstreamStatus> = BTreeMap::new();
        for relay in status.upstreams {
            if relay.role == Role::Home {
                view.home_is_read = is_caught_up(&relay);
            } else if cast.upstreams.iter().any(|player| player.url == relay.url) {
                found.insert(relay.url.clone(), relay);
            } else {
                *view.elsewhere.entry(relay.last_down.map_or("not-dialed-yet", DownClass::as_str)).or_default() += 1;
            }
        }
        let urls = cast.upstreams.iter().map(|player| player.url.clone());
        view.upstreams = urls.map(|url| UpstreamView { status: found.remove(&url), url }).collect();
        view
    }

    /// Home is read to its end, every upstream is found and read to its end, and no item waits.
    pub(super) fn is_settled(&self) -> bool {
        self.home_is_read && self.upstreams.iter().all(UpstreamView::is_settled)
    }
}

impl UpstreamView {
    /// "bootstrap" or "announcement", once it is found.
    pub(super) fn found_by(&self) -> Option<&'static str> {
        match self.status.as_ref()?.role {
            Role::Bootstrap => Some("bootstrap"),
            Role::Listed => Some("announcement"),
            Role::Home => None,
        }
    }

    /// How history is fetched, once the upstream has shown what it speaks.
    pub(super) fn method(&self) -> Option<&'static str> {
        match self.status.as_ref()?.learned.nip77.as_ref()? {
            Nip77::Works { .. } => Some(Method::Negentropy.as_str()),
            Nip77::Refused { .. } => Some(Method::Req.as_str()),
        }
    }

    /// Items by state: wanted, pending, confirmed.
    pub(super) fn items(&self) -> [u64; 3] {
        self.status.as_ref().map_or([0; 3], |status| [status.wanted, status.pending, status.confirmed])
    }

    pub(super) fn counts(&self) -> BatchCounts {
        self.status.as_ref().map_or_else(BatchCounts::default, |status| status.counts)
    }

    /// Something is confirmed, and nothing waits.
    pub(super) fn is_confirmed(&self) -> bool {
        let [wanted, pending, confirmed] = self.items();
        confirmed > 0 && wanted + pending == 0
    }

    fn is_settled(&self) -> bool {
        let [wanted, pending, _] = self.items();
        self.status.as_ref().is_some_and(is_caught_up) && wanted + pending == 0
    }
}

fn is_caught_up(relay: &UpstreamStatus) -> bool {
    match relay.link {
        LinkView::Up { caught_up, .. } => caught_up,
        LinkView::Down { .. } => false,
    }
}
