//! Which news of links are worth a line of the log: of each relay one a minute of each kind, of one that stays away one an hour, and
//! of all announced relays together no more than a bound. Whoever makes and drops links all day fills no log; `status` tells the
//! rest.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::{RelayUrl, Role};
use tokio::time::Instant;

/// The same is said of the same relay once in this time.
const SAY_AGAIN: Duration = Duration::from_secs(60);
/// That a relay is still away is said once in this time; home's absence stops everything, and is said each minute.
const SAY_STILL: Duration = Duration::from_hours(1);
/// Lines of one kind about all announced relays together, in the same time: 40 MB of log a day at most, for both kinds.
const MOST: usize = 60;
/// Lines remembered; beyond it those whose time is over are forgotten.
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
    of: HashMap<(Line, RelayUrl), Last>,
    announced: HashMap<Line, VecDeque<Instant>>,
}

/// What was said last of a relay.
#[derive(Debug)]
struct Last {
    at: Instant,
    /// Before this moment it is no news.
    until: Instant,
}

impl Lines {
    /// Whether it is time to say this of a relay; it counts as said.
    pub(crate) fn may_say(&self, line: Line, relay: &RelayUrl, role: Role) -> bool {
        // Entries are written whole, so a panic elsewhere cannot have left one half-written.
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if line == Line::Up {
            said.came_up(relay);
        }
        let is_news = said.is_news(line, relay) && (role != Role::Listed || said.has_room(line));
        if is_news {
            let at = Instant::now();
            let wait = if line == Line::Down && role != Role::Home { SAY_STILL } else { SAY_AGAIN };
            said.of.insert((line, relay.clone()), Last { at, until: at + wait });
        }
        is_news
    }
}

impl Said {
    fn is_news(&mut self, line: Line, relay: &RelayUrl) -> bool {
        if self.of.len() >= REMEMBERED {
            let now = Instant::now();
            self.of.retain(|_, last| now < last.until);
        }
        if self.of.len() >= REMEMBERED {
            self.of.retain(|_, last| last.at.elapsed() < SAY_AGAIN);
        }
        self.of.get(&(line, relay.clone())).is_none_or(|last| Instant::now() >= last.until)
    }

    /// Its next end is another one than the last.
    fn came_up(&mut self, relay: &RelayUrl) {
        if let Some(last) = self.of.get_mut(&(Line::Down, relay.clone())) {
            last.until = last.until.min(last.at + SAY_AGAIN);
        }
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
    use engine::health::Health;
    use model::{DownClass, Timestamp};

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

    /// The lines of an hour over so many relays that never answer, hour by hour of a day, and how often they were dialed. They are
    /// dialed as health says (S17).
    async fn a_day_of(dead: usize, role: Role) -> (Vec<usize>, usize) {
        let (lines, began) = (Lines::default(), Timestamp::from_secs(1_700_000_000));
        let mut relays: Vec<(RelayUrl, Health, u64)> =
            (0..dead).map(|n| (url(&format!("dead{n}")), Health::default(), 0)).collect();
        let (mut said, mut dials) = (vec![0; 24], 0);
        for second in 0..24 * 3600 {
            let now = Timestamp::from_secs(began.as_secs() + second);
            for (relay, health, dial_at) in relays.iter_mut().filter(|(.., dial_at)| *dial_at <= second) {
                dials += 1;
                *health = health.after_down(DownClass::Refused, now);
                let roll = second.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(health.failures);
                *dial_at = health.dial_at_after(DownClass::Refused, now, roll).as_secs() - began.as_secs();
                said[usize::try_from(second / 3600).unwrap()] += usize::from(lines.may_say(Line::Down, relay, role));
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        (said, dials)
    }

    #[tokio::test(start_paused = true)]
    async fn o1_a_hundred_dead_upstreams_make_under_two_hundred_lines_an_hour() {
        for role in [Role::Bootstrap, Role::Listed] {
            let (said, dials) = a_day_of(100, role).await;
            assert!(said.iter().all(|lines| *lines < 200), "{role:?}: {said:?}");
            assert!(said.windows(2).all(|two| two.iter().sum::<usize>() > 0), "they are not forgotten: {said:?}");
            assert!(dials > 2_000, "{dials} dials: far more than lines");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn o1_of_a_relay_that_stays_away_the_log_speaks_once_an_hour_and_of_home_once_a_minute() {
        let lines = Lines::default();
        let says = |role| lines.may_say(Line::Down, &url("one"), role);
        assert!(says(Role::Bootstrap));
        tokio::time::advance(SAY_AGAIN * 59).await;
        assert!(!says(Role::Bootstrap));
        assert!(lines.may_say(Line::Up, &url("one"), Role::Bootstrap));
        assert!(says(Role::Bootstrap), "it was up in between");
        tokio::time::advance(SAY_STILL).await;
        assert!(says(Role::Bootstrap));
        assert!(lines.may_say(Line::Down, &url("home"), Role::Home));
        tokio::time::advance(SAY_AGAIN).await;
        assert!(lines.may_say(Line::Down, &url("home"), Role::Home));
    }
}
