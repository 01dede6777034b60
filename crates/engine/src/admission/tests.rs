use nostr::prelude::ToBech32;

use super::*;
use crate::testing::{addr, event, event_by, keys, url};

fn npub(n: u8) -> String {
    keys(n).public_key().to_bech32().expect("a key has an npub")
}

fn clone_url(service: &str, author: u8) -> String {
    format!("{service}/{}/x.git", npub(author))
}

/// An announcement of `x` by author 1.
fn announcement(clone: &[&str], relays: &[&str]) -> Event {
    let (clone, relays) = ([&["clone"], clone].concat(), [&["relays"], relays].concat());
    event(30617, 5, &[&["d", "x"], &clone, &relays])
}

fn listed_at(services: &[&str]) -> Admission {
    let services = services.iter().map(|service| url(service)).collect();
    Admission { mode: Mode::Listed { services }, blocked: Lists::default() }
}

fn lists(entries: &[&str]) -> Lists {
    Lists::read(entries.iter().copied()).expect("entries")
}

fn archive(entries: &[&str]) -> Admission {
    Admission { mode: Mode::Archive { allowed: lists(entries) }, blocked: Lists::default() }
}

fn blocking(entries: &[&str]) -> Admission {
    Admission { blocked: lists(entries), ..Admission::default() }
}

fn needs_maintainer() -> Verdict {
    Verdict::NeedsMaintainer { identifier: "x".to_owned() }
}

const REFUSED: Verdict = Verdict::Refused(GateReason::Blocked);

#[test]
fn an_announcement_is_listed_by_parsed_host_port_and_path_in_clone_and_relays() {
    let (at_root, in_path) = ("wss://grasp.example", "wss://grasp.example/a/b");
    let clone = |service: &str| clone_url(service, 1);
    let cases = [
        (at_root, clone("https://grasp.example"), "wss://grasp.example", true),
        (at_root, clone("HTTPS://Grasp.Example:443"), "wss://grasp.example/", true),
        (at_root, clone("https://grasp.example"), "wss://other.example", false),
        (at_root, clone("https://other.example"), "wss://grasp.example", false),
        (at_root, clone("https://grasp.example:8443"), "wss://grasp.example", false),
        (at_root, clone("http://grasp.example"), "wss://grasp.example", false),
        (at_root, clone("https://grasp.example.evil.example"), "wss://grasp.example.evil.example", false),
        (at_root, clone("https://evil.example/grasp.example"), "wss://evil.example/grasp.example", false),
        (at_root, clone("https://grasp.example/prs"), "wss://grasp.example", false),
        (at_root, "https://grasp.example/not-an-npub/x.git".to_owned(), "wss://grasp.example", false),
        (at_root, clone("https://grasp.example").replace(".git", ""), "wss://grasp.example", false),
        (at_root, clone("git@grasp.example"), "wss://grasp.example", false),
        (in_path, clone("https://grasp.example/a/b"), "wss://grasp.example/a/b/", true),
        (in_path, clone("https://grasp.example/a"), "wss://grasp.example/a/b", false),
        (in_path, clone("https://grasp.example"), "wss://grasp.example", false),
        ("ws://grasp.example:8080", clone("http://grasp.example:8080"), "ws://grasp.example:8080", true),
    ];
    for (service, clone, relay, is_in) in cases {
        let event = announcement(&["git@elsewhere:x", &clone], &["wss://first.example", relay]);
        let expected = if is_in { Verdict::Admitted } else { needs_maintainer() };
        assert_eq!(listed_at(&[service]).judge(&event, &[]), expected, "{service} {clone} {relay}");
        assert_eq!(listed_at(&["wss://alias.example", service]).judge(&event, &[]), expected, "a second name of ours");
    }
}

#[test]
fn maintainers_are_let_in_under_the_identifier_that_names_them() {
    let (owner, named) = (keys(1).public_key(), keys(2).public_key());
    let known = [Announced { addr: addr("x"), maintainers: vec![named], clone_urls: vec![] }];
    let named_in_turn = Announced {
        addr: RepoAddr { pubkey: named, identifier: "x".to_owned() },
        maintainers: vec![keys(3).public_key(), owner],
        clone_urls: vec![],
    };
    let by = |author: u8, kind: u16, identifier: &str| event_by(author, kind, 5, &[&["d", identifier]]);
    let admission = listed_at(&["wss://grasp.example"]);
    for kind in [30617, 30618] {
        assert_eq!(admission.judge(&by(1, kind, "x"), &known), Verdict::Admitted, "the owner");
        assert_eq!(admission.judge(&by(2, kind, "x"), &known), Verdict::Admitted, "whom the owner names");
        assert_eq!(admission.judge(&by(3, kind, "x"), &known), needs_maintainer(), "nobody names them yet");
        let both = [known[0].clone(), named_in_turn.clone()];
        assert_eq!(admission.judge(&by(3, kind, "x"), &both), Verdict::Admitted, "whom a maintainer names, in a cycle");
        let elsewhere = Verdict::NeedsMaintainer { identifier: "y".to_owned() };
        assert_eq!(admission.judge(&by(2, kind, "y"), &both), elsewhere, "another repository");
    }
    // A `p` tag is no authority (A8).
    let stranger = event_by(4, 30618, 5, &[&["d", "x"], &["p", &owner.to_hex()]]);
    assert_eq!(admission.judge(&stranger, &known), needs_maintainer());
}

#[test]
fn what_was_asked_for_by_what_home_holds_is_let_in_in_every_mode() {
    for admission in [Admission::default(), listed_at(&["wss://grasp.example"]), archive(&[]), archive(&[&npub(9)])] {
        for kind in [1617, 1618, 1621, 1111, 1630, 5, 9842] {
            assert_eq!(admission.judge(&event(kind, 5, &[]), &[]), Verdict::Admitted, "{kind}");
        }
    }
}

#[test]
fn home_decides_over_every_announcement_unless_the_operator_does() {
    let event = announcement(&[], &[]);
    let own = format!("{}/x", npub(1));
    let other = format!("{}/y", npub(1));
    let by_service = announcement(&[&clone_url("https://grasp.example", 1)], &["wss://grasp.example"]);
    let cases = [
        (&event, Admission::default(), Verdict::Admitted),
        (&event, archive(&[]), Verdict::Admitted),
        (&event, archive(&[&npub(1)]), Verdict::Admitted),
        (&event, archive(&[&npub(2)]), needs_maintainer()),
        (&event, archive(&[&own]), Verdict::Admitted),
        (&event, archive(&[&other]), needs_maintainer()),
        (&event, archive(&["wss://grasp.example"]), needs_maintainer()),
        (&by_service, archive(&["wss://grasp.example"]), Verdict::Admitted),
        (&by_service, archive(&["grasp.example"]), Verdict::Admitted),
        (&by_service, archive(&["wss://grasp.example/other"]), needs_maintainer()),
        (&event, blocking(&[&npub(1)]), REFUSED),
        (&event, blocking(&[&npub(2)]), Verdict::Admitted),
        (&event, blocking(&[&own]), REFUSED),
        (&event, blocking(&[&other]), Verdict::Admitted),
        (&by_service, blocking(&["wss://grasp.example"]), REFUSED),
        (&event, blocking(&["wss://grasp.example"]), Verdict::Admitted),
    ];
    for (event, admission, expected) in cases {
        assert_eq!(admission.judge(event, &[]), expected, "{admission:?}");
    }
    let blocked_and_listed = Admission { blocked: lists(&[&npub(1)]), ..listed_at(&["wss://grasp.example"]) };
    assert_eq!(blocked_and_listed.judge(&by_service, &[]), REFUSED, "a block is over all modes");
}

#[test]
fn what_tags_only_blocked_repositories_is_blocked() {
    let (blocked, other) = (addr("x").to_string(), addr("y").to_string());
    let admission = blocking(&[&format!("{}/x", npub(1))]);
    let cases: [(&[&[&str]], Verdict); 5] = [
        (&[&["a", &blocked]], REFUSED),
        (&[&["A", &blocked], &["a", &blocked]], REFUSED),
        (&[&["a", &blocked], &["a", &other]], Verdict::Admitted),
        (&[&["q", &blocked]], Verdict::Admitted),
        (&[], Verdict::Admitted),
    ];
    for (tags, expected) in cases {
        assert_eq!(admission.judge(&event_by(2, 1621, 5, tags), &[]), expected, "{tags:?}");
    }
    assert_eq!(admission.judge(&event(30618, 5, &[&["d", "x"]]), &[]), REFUSED, "its state");
}

#[test]
fn lists_are_read_by_what_their_entries_look_like() {
    let read = lists(&[&npub(1), &format!("{}/a b:c", npub(2)), "grasp.example", " wss://Other.example/path "]);
    assert_eq!((read.authors.len(), read.repos.len(), read.services.len()), (1, 1, 2));
    assert_eq!(read.repos.first().expect("one").identifier, "a b:c");
    let cut = &npub(1)[..20];
    for entry in ["npub1x", "npub1x/y", "nsec1x/", "a b", "", cut] {
        assert_eq!(Lists::read([entry]), Err(UnreadableEntry(entry.to_owned())), "{entry}");
    }
}

#[test]
fn the_fingerprint_changes_with_what_is_let_in_and_with_nothing_else() {
    let (one, two) = (npub(1), npub(2));
    assert_eq!(archive(&[&one, &two]).fingerprint(), archive(&[&two, &one, &one]).fingerprint());
    let prints = [
        Admission::default().fingerprint(),
        blocking(&[&one]).fingerprint(),
        blocking(&[&two]).fingerprint(),
        archive(&[]).fingerprint(),
        archive(&[&one]).fingerprint(),
        archive(&[&format!("{one}/x")]).fingerprint(),
        listed_at(&["wss://grasp.example"]).fingerprint(),
        listed_at(&["wss://grasp.example/x"]).fingerprint(),
    ];
    assert_eq!(prints.iter().collect::<BTreeSet<_>>().len(), prints.len());
}
