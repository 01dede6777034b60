//! The scenarios of the mission as stories: `scripts/*.txt` is what happens, the snapshot beside it what the system does.
//!
//! A script that is run twice writes the same log (I11); the invariants are asked after every step.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::relay::Negentropy;
use common::world::{World, counted, hold};
use common::{START, announcement, at, comment, issue, reply};
use engine::book::Counts;
use engine::invariants;
use engine::rules::Policy;
use model::Event;

/// Longer than this (milliseconds) nothing takes that is to settle.
const SETTLED_BY_MS: u64 = 600_000;

struct Script {
    world: World,
    roots: BTreeMap<String, Event>,
    published: usize,
}

impl Script {
    fn play(text: &str) -> String {
        let live_limit =
            text.lines().find_map(|line| line.strip_prefix("at most ")?.strip_suffix(" live subscriptions a link"));
        let mut policy = Policy::default();
        if let Some(limit) = live_limit {
            policy.live_limit = limit.parse().expect("a number");
        }
        let mut script = Self { world: World::new(policy), roots: BTreeMap::new(), published: 0 };
        for line in text.lines() {
            script.line(line);
        }
        script.world.log
    }

    fn line(&mut self, line: &str) {
        self.world.log.push_str(&if line.is_empty() { "\n".to_owned() } else { format!("> {line}\n") });
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] | ["#", ..] | ["at", "most", ..] => {}
            ["home", "announces", count, "repos", name, "on", urls @ ..] => self.announce(&numbered(name, count), urls),
            ["home", "announces", name, "on", urls @ ..] => self.announce(&[(*name).to_owned()], urls),
            ["home", "takes", "an", "issue", title, "on", name] => {
                let event = self.issue(title, name);
                self.world.at_home(event);
            }
            ["relay", url, "holds", what @ ..] => {
                let events = self.events(what, START - 7_200);
                // Nobody is told: they are older than the link, or came from elsewhere.
                self.world.relay(url).events.extend(events);
            }
            ["relay", url, "serves", "pages", "of", cap] => self.world.relay(url).page_cap = cap.parse().unwrap(),
            ["the", "next", "rebuild", "is", "lost"] => self.world.lost_rebuilds = 1,
            ["relay", url, "answers", "negentropy"] => self.world.relay(url).negentropy = Negentropy::Works,
            ["relay", url, "refuses", "negentropy"] => {
                self.world.relay(url).negentropy = Negentropy::NegErr("blocked: negentropy is disabled".into());
            }
            ["relay", url, "goes", "silent"] => self.world.relay(url).is_silent = true,
            ["relay", url, "speaks", "again"] => self.world.relay(url).is_silent = false,
            ["publish", what @ .., "at", url] => self.publish(what, url),
            ["up", url] => self.world.up(url),
            ["down", url] => self.world.down(url),
            ["after", time] => self.world.pass(millis(time)),
            ["run"] => self.run(),
            ["expect", what @ ..] => self.expect(what, line),
            _ => panic!("no such line: {line}"),
        }
    }

    fn announce(&mut self, names: &[String], urls: &[&str]) {
        let now = self.world.now().as_secs();
        for name in names {
            self.world.at_home(announcement(name, now, urls));
        }
    }

    fn issue(&mut self, title: &str, name: &str) -> Event {
        let event = issue(name, title, self.world.now().as_secs());
        self.roots.insert(title.to_owned(), event.clone());
        event
    }

    /// `3 comments on alpha` · `2 replies to bug`, one a second.
    fn events(&mut self, what: &[&str], from: u64) -> Vec<Event> {
        let [count, sort, _, name] = what else { panic!("no such events: {what:?}") };
        let first = self.published;
        self.published += count.parse::<usize>().unwrap();
        let make = |n: usize| match *sort {
            "comment" | "comments" => comment(name, from + n as u64, n),
            "reply" | "replies" => reply(&self.roots[*name], from + n as u64, n),
            sort => panic!("no such events: {sort}"),
        };
        (first..self.published).map(make).collect()
    }

    fn publish(&mut self, what: &[&str], url: &str) {
        let now = self.world.now().as_secs() - self.published as u64;
        let events = match what {
            ["an", "issue", title, "on", name] => vec![self.issue(title, name)],
            what => self.events(what, now),
        };
        for event in events {
            self.world.publish(url, event);
        }
        self.world.settle();
    }

    fn run(&mut self) {
        assert!(self.world.run(SETTLED_BY_MS), "it does not settle:\n{}", self.world.log);
        self.world.note("settled");
    }

    fn expect(&mut self, what: &[&str], line: &str) {
        let log = self.world.log.clone();
        match what {
            ["home", "complete"] => {
                let home = self.world.home.keys().copied().collect();
                hold(invariants::i09_home_is_complete(&home, &self.world.everywhere()), &log);
            }
            ["home", "lacks", count] => {
                let lacks = self.world.everywhere().iter().filter(|id| !self.world.home.contains_key(*id)).count();
                assert_eq!(counted(lacks, "event"), counted(count.parse().unwrap(), "event"), "{line}\n{log}");
            }
            [count, "live", "at", url] => {
                let live = self.world.shell(url).expect("it is up").session.live_count();
                assert_eq!(live.to_string(), **count, "{line}\n{log}");
            }
            [count, state, "at", url] => {
                let number = self.world.book.number_of(&common::url(url)).expect("it is known");
                let Counts { wanted, pending, confirmed } = self.world.book.relay(number).expect("it is known").counts();
                let found = match *state {
                    "wanted" => wanted,
                    "pending" => pending,
                    "confirmed" => confirmed,
                    state => panic!("no such state: {state}"),
                };
                assert_eq!(found.to_string(), **count, "{line}\n{log}");
            }
            _ => panic!("no such expectation: {line}"),
        }
    }
}

fn numbered(name: &str, range: &str) -> Vec<String> {
    let (first, last) = range.split_once("..").unwrap_or(("0", range));
    (first.parse::<u32>().unwrap()..last.parse().unwrap()).map(|n| format!("{name}{n:03}")).collect()
}

fn millis(time: &str) -> u64 {
    let (number, unit) = time.split_at(time.len() - 1);
    let number: u64 = number.parse().expect("a number of s, m or h");
    number
        * match unit {
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            unit => panic!("no such unit: {unit}"),
        }
}

fn tell(name: &str, text: &str) {
    let log = Script::play(text);
    hold(invariants::i11_same_run_same_log(&log, &Script::play(text)), &log);
    insta::with_settings!({ snapshot_path => "scripts", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, log);
    });
}

#[test]
fn initial_connect() {
    tell("initial_connect", include_str!("scripts/initial_connect.txt"));
}

#[test]
fn quick_reconnect() {
    tell("quick_reconnect", include_str!("scripts/quick_reconnect.txt"));
}

#[test]
fn s09_audit() {
    tell("audit", include_str!("scripts/audit.txt"));
}

#[test]
fn stale_reconnect() {
    tell("stale_reconnect", include_str!("scripts/stale_reconnect.txt"));
}

#[test]
fn consolidation() {
    tell("consolidation", include_str!("scripts/consolidation.txt"));
}

#[test]
fn scenario_13_retired() {
    tell("retired", include_str!("scripts/retired.txt"));
}

#[test]
fn daily_refresh() {
    tell("daily_refresh", include_str!("scripts/daily_refresh.txt"));
}

#[test]
fn moments_are_told_from_the_start_of_the_script() {
    assert_eq!(common::world::clock(at(START + 83_105)), "23:05:05");
    assert_eq!(common::world::clock(at(START - 900)), "-15:00");
}
