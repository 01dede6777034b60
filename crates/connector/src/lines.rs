//! Which news of links are worth a line of the log: of each relay one a minute of each kind, and of all announced relays
//! together no more than a bound. Whoever makes and drops links all day fills no log; `status` tells the rest.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::{RelayUrl, Role};
use tokio::time::Instant;

/// The same is said of the same relay once in this time.
const SAY_AGAIN: Duration = Duration::from_secs(60);
/// Lines of one kind about all announced relays together, in the same time: 40 MB of log a day at most, for both kinds.
const MOST: usize = 60;
/// Relays remembered; beyond it those whose time is over are forgotten.
const REMEMBERED: usize = 4_096;

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Line {
    Up,
    Down,
}

/// What was said last, over all links of a process, those over which home is written to among them.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    of: HashMap<(Line, RelayUrl), Instant>,
    announced: HashMap<Line, VecDeque<Instant>>,
}

impl Lines {
    /// Whether it is time to say this of a relay; it counts as said.
    pub(crate) fn may_say(&self, line: Line, relay: &RelayUrl, role: Role) -> bool {
        // Entries are written whole, so a panic elsewhere cannot have left one half-written.
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = said.is_news(line, relay) && (role != Role::Listed || said.has_room(line));
        if is_news {
            said.of.insert((line, relay.clone()), Instant::now());
        }
        is_news
    }
}

impl Said {
    fn is_news(&mut self, line: Line, relay: &RelayUrl) -> bool {
        if self.of.len() >= REMEMBERED {
            self.of.retain(|_, at| at.elapsed() < SAY_AGAIN);
        }
        self.of.get(&(line, relay.clone())).is_none_or(|at| at.elapsed() >= SAY_AGAIN)
    }

    fn has_room(&mut self, line: Line) -> bool {
        let moments = self.announced.entry(line).or_default();
        while moments.front().is_some_and(|at| at.elapsed() >= SAY_AGAIN) {
            moments.pop_front();
        }
        let has_room = moments.len() < MOST;
        if has_room {
            moments.push_back(Instant::now());
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn url(name: &str) -> RelayUrl {
        RelayUrl::parse(&format!("wss://{name}.example")).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn o1_what_becomes_of_the_links_of_a_relay_is_said_once_a_minute() {
        let lines = Lines::default();
        let says = |line, name| lines.may_say(line, &url(name), Role::Listed);
        assert!(says(Line::Down, "one"));
        assert!(!says(Line::Down, "one"));
        assert!(says(Line::Down, "other") && says(Line::Up, "one"));
        tokio::time::advance(SAY_AGAIN).await;
        assert!(says(Line::Down, "one"));
        assert!(!says(Line::Down, "one"));
    }

    #[tokio::test(start_paused = true)]
    async fn o1_ten_thousand_announced_relays_that_come_and_go_have_sixty_lines_a_minute_and_home_has_its_own() {
        let lines = Lines::default();
        for minute in 1..=3 {
            let said = (0..10_000).filter(|n| lines.may_say(Line::Down, &url(&format!("r{n}")), Role::Listed)).count();
            assert_eq!(said, MOST, "in minute {minute}");
            assert!(lines.may_say(Line::Down, &url("home"), Role::Home));
            tokio::time::advance(SAY_AGAIN).await;
        }
    }
}
