#![allow(clippy::unwrap_used)]

use engine::admission::{Lists, Mode};
use model::{Event, RelayUrl};
use nostr::prelude::{EventBuilder, FinalizeEvent, Keys, Kind, Tag};

use super::*;

const NOW: u64 = 1_700_000_000;

fn keys(n: u8) -> Keys {
    Keys::parse(&format!("{n:064x}")).unwrap()
}

fn event(author: u8, kind: u16, tags: &[&[&str]]) -> Event {
    let tags = tags.iter().map(|tag| Tag::parse(tag.iter().copied()).unwrap());
    let unsigned = EventBuilder::new(Kind::from(kind), "").custom_created_at(Timestamp::from_secs(NOW - 5)).tags(tags);
    unsigned.finalize(&keys(author)).unwrap()
}

fn bench() -> Bench {
    let home = RelayUrl::parse("wss://home.example").unwrap();
    Bench {
        limits: Limits { content_chars: Some(10), ..Limits::default() },
        tombstones: Tombstones::new(vec![home.clone()]),
        admission: Admission { mode: Mode::Listed { services: vec![home] }, blocked: Lists::default() },
        announced: Vec::new(),
        private: BTreeSet::new(),
    }
}

fn judged(bench: &Bench, event: Event) -> Reason {
    bench.judge(&Lacking { event, bytes: 500, content_chars: 0 }, Timestamp::from_secs(NOW))
}

#[test]
fn each_reason_has_the_same_word_in_text_and_in_json_and_no_other_has_it() {
    let words: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(words.len(), Reason::ALL.len());
    for reason in Reason::ALL {
        assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
    }
}

#[test]
fn an_announcement_belongs_at_home_if_it_names_home_or_is_by_whom_home_s_announcements_name() {
    let mut bench = bench();
    let plain: &[&[&str]] = &[&["d", "x"], &["relays", "wss://home.example"]];
    assert_eq!(judged(&bench, event(2, 30617, plain)), Reason::NotForHome, "it names no clone URL there");
    let npub = "npub10xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqpkge6d";
    let clone = format!("https://home.example/{npub}/x.git");
    assert_eq!(judged(&bench, event(2, 30617, &[plain[0], plain[1], &["clone", &clone]])), Reason::Missing);
    let addr = RepoAddr::new(keys(1).public_key(), "x").unwrap();
    bench.announced = vec![Announced { addr, maintainers: vec![keys(2).public_key()], clone_urls: Vec::new() }];
    for kind in [30617, 30618] {
        assert_eq!(judged(&bench, event(2, kind, plain)), Reason::Missing, "a maintainer's");
        assert_eq!(judged(&bench, event(1, kind, plain)), Reason::Missing, "the owner's own");
        assert_eq!(judged(&bench, event(3, kind, plain)), Reason::NotForHome, "a stranger's");
    }
    bench.admission.mode = Mode::HomeDecides;
    assert_eq!(judged(&bench, event(3, 30617, plain)), Reason::Missing, "where everything is expected");
}

#[test]
fn the_first_reason_that_holds_is_given() {
    let mut bench = bench();
    let issue = |tags: &[&[&str]]| event(2, 1621, tags);
    let addr = RepoAddr::new(keys(1).public_key(), "x").unwrap();
    let of_x: [&str; 2] = ["a", &addr.to_string()];
    assert_eq!(judged(&bench, issue(&[&of_x])), Reason::Missing);
    let long = Lacking { event: issue(&[&of_x]), bytes: 500, content_chars: 11 };
    assert_eq!(bench.judge(&long, Timestamp::from_secs(NOW)), Reason::TooLarge);
    bench.private.insert(addr);
    assert_eq!(judged(&bench, issue(&[&of_x])), Reason::Private);
    bench.admission.blocked.authors.insert(keys(2).public_key());
    assert_eq!(judged(&bench, issue(&[&of_x])), Reason::Private);
    assert_eq!(judged(&bench, issue(&[])), Reason::Blocked);
    let mine = issue(&[]);
    bench.tombstones.learn(&event(2, 5, &[&["e", &mine.id.to_hex()]]));
    assert_eq!(judged(&bench, mine), Reason::Deleted);
    bench.tombstones.learn(&event(2, 62, &[&["relay", "ALL_RELAYS"]]));
    assert_eq!(judged(&bench, issue(&[])), Reason::Vanished);
}
