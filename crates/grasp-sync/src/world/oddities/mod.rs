//! The odd shapes that real networks hold, each as a fixed, correctly signed event.
//! They do not depend on the size of the world, and each has a name.

mod announcements;
mod conversations;
mod times;

use nostr::event::{Event, EventId};

use super::draft::Draft;
use super::workshop::Workshop;

const DAY: u64 = 24 * 3_600;

/// Adds all of them and says which is which.
pub(super) fn add(workshop: &mut Workshop) -> Vec<(&'static str, EventId)> {
    let mut cabinet = Cabinet { workshop, named: Vec::new() };
    announcements::add(&mut cabinet);
    conversations::add(&mut cabinet);
    times::add(&mut cabinet);
    cabinet.named
}

/// The collection while it grows.
struct Cabinet<'w> {
    workshop: &'w mut Workshop,
    named: Vec<(&'static str, EventId)>,
}

/// Who owns the repository that most oddities speak about, and who else speaks.
const OWNER: usize = 0;
const STRANGER: usize = 1;

impl Cabinet<'_> {
    /// Lays the event on these upstreams and remembers its name.
    fn show(&mut self, name: &'static str, author: usize, draft: Draft, on: &[usize]) -> Event {
        let event = self.workshop.publish(author, draft, on);
        self.named.push((name, event.id));
        event
    }

    /// So many days before now, in Unix seconds.
    fn days_ago(&self, days: u64) -> u64 {
        self.workshop.now.saturating_sub(days * DAY)
    }

    fn urls(&self) -> Vec<String> {
        self.workshop.everywhere().into_iter().map(|upstream| self.workshop.url(upstream).to_owned()).collect()
    }

    fn everywhere(&self) -> Vec<usize> {
        self.workshop.everywhere()
    }

    /// An announcement that lists every upstream.
    fn announcement(&self, identifier: &str, days_ago: u64) -> Draft {
        Draft::new(30617, self.days_ago(days_ago)).tag(["d", identifier]).list("relays", &self.urls())
    }

    fn address(&self, author: usize, identifier: &str) -> String {
        format!("30617:{}:{identifier}", self.workshop.pubkey(author))
    }

    fn issue(&self, address: &str, days_ago: u64) -> Draft {
        Draft::new(1621, self.days_ago(days_ago)).tag(["a", address]).tag(["subject", "an oddity"]).content("odd")
    }

    /// The address of a repository that every upstream is listed for, under which the others gather.
    fn home_base(&self) -> String {
        self.address(OWNER, announcements::BASE)
    }
}
