#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use super::*;
use crate::verify::report::HomeFacts;

fn address(identifier: &str) -> RepoAddr {
    format!("30617:{}:{identifier}", "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798").parse().unwrap()
}

fn url(text: &str) -> RelayUrl {
    RelayUrl::parse(text).unwrap()
}

fn upstream(at: &str, left_out: Option<&str>, is_judged: bool) -> UpstreamFacts {
    UpstreamFacts {
        url: url(at),
        is_judged,
        left_out: left_out.map(str::to_owned),
        methods: BTreeSet::new(),
        events_read: 0,
        bytes_read: 0,
        milliseconds: 0,
    }
}

fn repo(identifier: &str) -> RepoFacts {
    RepoFacts { address: address(identifier), upstreams: 2, judged: 1, missing: 5, explained: 1, private: false }
}

fn report() -> Report {
    let events = (0..5).map(|n| Named { id: format!("{n:064x}"), kind: Some(1111) }).collect();
    let gap = |repository, reason, events| Gap { repository, upstream: url("wss://up.example"), reason, events };
    let nameless = vec![Named { id: "f".repeat(64), kind: None }];
    Report {
        verdict: Verdict::Missing,
        missing: 5,
        home: HomeFacts {
            url: "wss://home.example/".to_owned(),
            events: 1234,
            repositories: 1,
            roots: 3,
            may_wait_for_git: 2,
            held_after_all: 1,
            open: Vec::new(),
        },
        repositories: vec![repo("pro\u{1b}[2Jject")],
        upstreams: vec![
            upstream("wss://up.example", None, true),
            upstream("wss://dead.example", None, false),
            upstream("ws://10.0.0.1", Some("it is not public"), false),
        ],
        gaps: vec![gap(Some(address("project")), Reason::Missing, events), gap(None, Reason::NotServed, nameless)],
        open: vec![Open { repository: None, upstream: url("wss://dead.example"), why: "refused: no".to_owned() }],
    }
}

#[test]
fn the_first_line_answers_and_the_rest_says_why() {
    let text = text(&report());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "incomplete: 5 events are missing; wss://home.example/ with 1,234 events in 1 repositories, compared with 1 of 2 upstreams"
    );
    for expected in [
        "project (79be667e…)",
        "1 of 2",
        "at wss://up.example/",
        "  missing            5  nevent1",
        "(kind 1111)\n                        …\n",
        "(kind not known)",
        "beside these repositories",
        "not judged: wss://dead.example/: refused: no",
        "left out: ws://10.0.0.1/: it is not public",
        "2 of the missing events may wait at home for their git data",
        "home holds 1 more events than its filters showed",
    ] {
        let shown = text.replace("pro\u{fffd}[2Jject", "project");
        assert!(shown.contains(expected), "{expected} in\n{shown}");
    }
    let long = Report { repositories: vec![repo(&"x".repeat(200)), repo("")], ..report() };
    let table = super::text(&long);
    assert!(table.contains(&format!("{}… (79be667e…)", "x".repeat(LONGEST - 1))), "{table}");
    assert!(table.contains("(no name) (79be667e…)"), "{table}");
    assert_eq!(text.matches("nevent1").count(), NAMED + 1, "the first few of each");
    assert!(!text.contains('\u{1b}'), "a stranger's text writes nothing over the terminal");
}

#[test]
fn what_was_compared_is_said_of_a_complete_home_and_of_one_that_cannot_be_judged() {
    let complete = Report { verdict: Verdict::Complete, missing: 0, gaps: Vec::new(), open: Vec::new(), ..report() };
    assert!(text(&complete).starts_with("complete: nothing is missing; wss://home.example/ with 1,234 events"));
    let open = Report { verdict: Verdict::NotJudged, missing: 0, gaps: Vec::new(), ..report() };
    assert!(text(&open).starts_with("not judged: nothing is known to be missing, and not everything was read; "));
}
