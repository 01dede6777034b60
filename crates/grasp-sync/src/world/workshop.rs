//! Where the world is made: chance, people, time, and what lies on each upstream so far.

use nostr::event::Event;
use nostr::key::Keys;

use super::draft::Draft;
use super::people::{Dice, Pen, keys};
use super::{Shape, UpstreamWorld};

/// Participants; about as many as a mid-sized GRASP server has active in a month.
const PEOPLE: usize = 50;
const HOUR: u64 = 3_600;
const TWO_YEARS: u64 = 2 * 365 * 24 * HOUR;

pub(super) struct Workshop {
    pub(super) dice: Dice,
    pub(super) people: Vec<Keys>,
    pub(super) now: u64,
    pen: Pen,
    upstreams: Vec<UpstreamWorld>,
}

impl Workshop {
    pub(super) fn open(shape: &Shape, urls: &[String]) -> Self {
        let mut dice = Dice::new(shape.seed);
        let people = (0..PEOPLE).map(|_| keys(&mut dice)).collect();
        let upstreams = urls.iter().map(|url| UpstreamWorld { url: url.clone(), events: Vec::new() }).collect();
        Self { dice, people, now: shape.now, pen: Pen::new(), upstreams }
    }

    pub(super) fn url(&self, upstream: usize) -> &str {
        &self.upstreams[upstream].url
    }

    /// Indices of all upstreams.
    pub(super) fn everywhere(&self) -> Vec<usize> {
        (0..self.upstreams.len()).collect()
    }

    pub(super) fn last_upstream(&self) -> usize {
        self.upstreams.len() - 1
    }

    pub(super) fn sign(&self, author: usize, draft: Draft) -> Event {
        self.pen.write(&self.people[author], draft)
    }

    /// Signs the draft and lays the event on these upstreams.
    pub(super) fn publish(&mut self, author: usize, draft: Draft, on: &[usize]) -> Event {
        let event = self.sign(author, draft);
        for upstream in on {
            self.upstreams[*upstream].events.push(event.clone());
        }
        event
    }

    pub(super) fn someone(&mut self) -> usize {
        self.dice.index(self.people.len())
    }

    pub(super) fn pubkey(&self, person: usize) -> String {
        self.people[person].public_key().to_hex()
    }

    /// A second of the first year of the history.
    pub(super) fn early(&mut self) -> u64 {
        self.now.saturating_sub(TWO_YEARS) + self.dice.below(TWO_YEARS / 2)
    }

    /// A second after `at`, at most `span` seconds later and well before now.
    pub(super) fn after(&mut self, at: u64, span: u64) -> u64 {
        let end = self.now.saturating_sub(HOUR + 1);
        let room = end.saturating_sub(at).min(span);
        at + self.dice.below(room)
    }

    /// Where a talk about something that lives on these upstreams is published.
    pub(super) fn place(&mut self, relays: &[usize]) -> Vec<usize> {
        match self.dice.below(100) {
            // Published on a relay that the repository does not list: nobody can find it by the rules.
            0..2 => vec![self.dice.index(self.upstreams.len())],
            2..45 => {
                let count = 2 + self.dice.index(2);
                self.dice.some_of(relays, count)
            }
            _ => vec![*self.dice.pick(relays)],
        }
    }

    pub(super) fn into_upstreams(self) -> Vec<UpstreamWorld> {
        self.upstreams
    }
}
