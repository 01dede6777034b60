//! What a relay really holds for a filter, read to the end: the yardstick of end-to-end tests.
//!
//! It shares no code with the walker under test; where it cannot prove that it saw everything, it panics.

use crate::Wire;
use nostr::prelude::Event;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What is asked for at once, in events. A relay may serve fewer.
const PAGE: usize = 500;

/// Everything that a relay serves for one filter (which must hold neither `limit` nor `until`), over pages; newest first, every
/// event verified.
///
/// It asks again for the oldest second of each page, so it is exact whether the relay takes `until` to be inclusive or not, and
/// whatever its page cap.
///
/// # Panics
/// When the relay cannot be reached or says CLOSED, when an event is invalid, and when a page may have been cut inside a second
/// that fills it alone: no reader can see past that. (A store that is one such second cannot be told from one that ends there.)
pub async fn fetch_all(relay_url: &str, filter: &Value) -> Vec<Event> {
    let mut wire = Wire::connect(relay_url).await.expect("the relay can be reached");
    let mut reading = Reading::default();
    for number in 0.. {
        // A subscription of its own for every page: what a relay still says about the one before cannot be mistaken.
        let page = fetch_page(&mut wire, &format!("page-{number}"), filter, reading.until).await;
        if !reading.take(page) {
            break;
        }
    }
    let mut events: Vec<Event> = reading.found.into_values().collect();
    events.sort_by(|a, b| b.created_at.cmp(&a.created_at).then(a.id.cmp(&b.id)));
    events
}

async fn fetch_page(wire: &mut Wire, subscription: &str, filter: &Value, until: Option<u64>) -> Vec<Event> {
    let mut filter = filter.clone();
    filter["limit"] = json!(PAGE);
    if let Some(until) = until {
        filter["until"] = json!(until);
    }
    let stored = wire.stored(subscription, &filter).await.expect("the relay answers a plain filter");
    wire.send(json!(["CLOSE", subscription])).await;
    stored.iter().map(|event| verified(&event.to_string())).collect()
}

fn verified(json: &str) -> Event {
    let event: Event = serde_json::from_str(json).expect("a relay serves events");
    event.verify().expect("a relay serves valid events");
    event
}

/// How far the reader has come.
#[derive(Debug, Default)]
struct Reading {
    found: BTreeMap<String, Event>,
    /// What is asked for next.
    until: Option<u64>,
    /// The second in which the last page ended without a new event: whether there is more in it is not known yet.
    unproven: Option<u64>,
}

impl Reading {
    /// Takes a page in; false when it was the last.
    fn take(&mut self, page: Vec<Event>) -> bool {
        let seconds = || page.iter().map(|event| event.created_at.as_secs());
        let (Some(newest), Some(oldest)) = (seconds().max(), seconds().min()) else { return false };
        self.prove(newest, oldest);
        let known = self.found.len();
        self.found.extend(page.into_iter().map(|event| (event.id.to_hex(), event)));
        let asked = self.until.unwrap_or(u64::MAX);
        if self.found.len() > known || oldest + 1 < asked {
            self.until = Some(asked.min(oldest + 1));
            return true;
        }
        self.unproven = Some(oldest);
        self.until = asked.checked_sub(1);
        self.until.is_some()
    }

    /// A page that holds the unproven second and an older one shows that second whole. One that holds only older ones shows that
    /// the page before was cut, inside that second or exactly at its end.
    fn prove(&mut self, newest: u64, oldest: u64) {
        let Some(second) = self.unproven else { return };
        assert!(newest >= second, "second {second} fills a page of this relay: nobody can prove that it was read whole");
        if oldest < second {
            self.unproven = None;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Publisher;

    const SECRET: &str = "0000000000000000000000000000000000000000000000000000000000000003";

    /// A relay as a function: its events (newest first), its page cap, and whether its `until` is inclusive.
    struct Model {
        events: Vec<Event>,
        cap: usize,
        inclusive: bool,
    }

    impl Model {
        fn with(seconds: &[u64], cap: usize, inclusive: bool) -> Self {
            let author = Publisher::new(SECRET);
            let sign = |(number, second): (usize, &u64)| verified(&author.sign(1, *second, &[], &number.to_string()));
            let mut events: Vec<Event> = seconds.iter().enumerate().map(sign).collect();
            events.sort_by_key(|event| std::cmp::Reverse(event.created_at));
            Self { events, cap, inclusive }
        }

        fn page(&self, until: Option<u64>) -> Vec<Event> {
            let last = until.map_or(u64::MAX, |until| if self.inclusive { until } else { until.saturating_sub(1) });
            self.events.iter().filter(|event| event.created_at.as_secs() <= last).take(self.cap).cloned().collect()
        }

        fn read(&self) -> usize {
            let mut reading = Reading::default();
            while reading.take(self.page(reading.until)) {}
            reading.found.len()
        }
    }

    #[test]
    fn everything_is_read_whatever_until_means_and_whatever_the_cap() {
        let seconds = [100, 100, 100, 99, 98, 98, 98, 90, 89, 89, 50, 49, 48, 47, 47, 47, 3];
        for inclusive in [true, false] {
            for cap in 4..20 {
                assert_eq!(Model::with(&seconds, cap, inclusive).read(), seconds.len(), "cap {cap}, inclusive {inclusive}");
            }
        }
    }

    #[test]
    fn a_store_of_one_second_and_an_empty_one_are_read() {
        assert_eq!(Model::with(&[7; 5], 500, true).read(), 5);
        assert_eq!(Model::with(&[7; 5], 500, false).read(), 5);
        assert_eq!(Model::with(&[0], 500, true).read(), 1);
        assert_eq!(Model::with(&[], 500, true).read(), 0);
    }

    #[test]
    fn a_second_that_fills_a_page_is_not_taken_for_the_end() {
        for inclusive in [true, false] {
            let dense = Model::with(&[9, 8, 8, 8, 8, 7], 3, inclusive);
            assert!(std::panic::catch_unwind(|| dense.read()).is_err(), "inclusive {inclusive}");
        }
    }
}
