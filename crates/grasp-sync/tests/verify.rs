//! `grasp-sync verify`: it finds exactly what a home lacks, and says why, whatever software the home and its upstreams are.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;
#[path = "verify/stage.rs"]
mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::{Project, Relay, Signed, ids, noise, now};
use grasp_sync::exit::Exit;
use grasp_sync::verify::{Reason, Verdict};
use grasp_sync::world::{self, Shape, reference};
use model::{Event, EventId};
use stage::{Outsider, jsons, wanted};
use testkit::hostile::{Behaviour, Link, Negentropy, Refusal};
use testkit::{GraspHome, GraspTerms, HostileRelay, LocalRelay, Publisher, wait_until};

/// Where nobody listens.
async fn nowhere() -> String {
    format!("ws://127.0.0.1:{}", testkit::free_port())
}

fn refuses_nip_77() -> Behaviour {
    Behaviour::Negentropy(Negentropy::Error("blocked: negentropy is off"))
}

/// What is taken from home: an issue with all that hangs on it, and one event of each of the other layers.
fn removed_from(history: &[Signed], issue: &Signed) -> BTreeSet<EventId> {
    let names_issue = |one: &&Signed| one.json.contains(&issue.id.to_hex());
    let state = history.iter().find(|one| one.event().kind.as_u16() == 30618).unwrap();
    let update = history.iter().find(|one| one.event().kind.as_u16() == 1619).unwrap();
    let on_repo = history.iter().find(|one| one.json.contains("how is it installed")).unwrap();
    let quote = history.iter().find(|one| one.json.contains("look at that")).unwrap();
    ids(history.iter().filter(names_issue).chain([state, update, on_repo, quote]))
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_what_was_removed_from_a_home_is_found_at_upstreams_with_and_without_nip_77_and_with_page_caps() {
    let (home, local, capped) = (LocalRelay::start().await, Relay::local().await, Relay::local_with_pages_of(7).await);
    let hostile = HostileRelay::start([refuses_nip_77(), Behaviour::PageCap(5)]).await;
    let req_only = Relay::counting_req_only().await;
    let upstreams = [local.url(), capped.url(), req_only.url(), hostile.url()];
    let mut project = Project::named("verified");
    let history = project.history(&upstreams, 40);
    let strangers = noise(now() - 1000);
    for relay in [&local, &capped, &req_only] {
        relay.has_held(history.iter().chain(&strangers)).await;
    }
    hostile.has_held(jsons(&history).chain(jsons(&strangers)));
    let removed = removed_from(&history, &project.first_issue());
    home.preload(jsons(&history).filter(|json| !removed.iter().any(|id| json.contains(&format!("\"id\":\"{id}\""))))).await;

    let report = Outsider::looking_at(&home.url()).compare().await;
    assert_eq!(report.missing(), removed, "{:#?}", report.gaps);
    assert_eq!((report.verdict, report.exit()), (Verdict::Missing, Exit::Incomplete));
    for url in &upstreams {
        assert_eq!(report.missing_at(url), removed, "{url}");
        assert!(report.upstream(url).is_judged, "{url}");
    }
    assert!(report.gaps.iter().all(|gap| gap.reason == Reason::Missing), "nothing else is lacking: {:#?}", report.gaps);
    assert!(report.upstream(&local.url()).methods.contains("negentropy"));
    assert!(report.upstream(&hostile.url()).methods.contains("REQ"));
    let repo = &report.repositories[0];
    assert_eq!((repo.upstreams, repo.judged, repo.missing, repo.explained), (4, 4, removed.len(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_home_is_said_to_be_complete_with_what_was_compared_and_nothing_is_downloaded_for_it() {
    let (home, counting, req_only) = (Relay::local().await, Relay::counting().await, Relay::counting_req_only().await);
    let mut project = Project::named("complete");
    let history = project.history(&[home.url(), counting.url(), req_only.url()], 30);
    for relay in [&home, &counting, &req_only] {
        relay.has_held(&history).await;
    }
    let said = Outsider::looking_at(&home.url()).says(&[]).await;
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    let events = history.len();
    let expected = format!(
        "complete: nothing is missing; {}/ with {events} events in 1 repositories, compared with 2 of 2 upstreams",
        home.url()
    );
    assert!(said.stdout.starts_with(&expected), "{}", said.stdout);
    assert!(said.stdout.contains("complete (") && said.stdout.contains("2 of 2"), "{}", said.stdout);
    assert!(said.stderr.contains("filters read"), "{}", said.stderr);
    assert_eq!(counting.traffic().events_sent, 0, "its sets are equal");
    assert!(req_only.traffic().events_sent > 0);
    for relay in [&home, &counting, &req_only] {
        assert_eq!(relay.held().await, ids(&history), "nothing was written anywhere");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_does_not_answer_or_refuses_is_named_with_its_class_and_has_an_exit_code_of_its_own() {
    let (home, good) = (LocalRelay::start().await, Relay::local().await);
    let refusing = HostileRelay::start([Behaviour::Refuses(Refusal::Closed("auth-required: who are you?"))]).await;
    let forbidding = HostileRelay::start([Behaviour::Link(Link::Status(403))]).await;
    let nobody = nowhere().await;
    let mut project = Project::named("alone");
    let history = project.history(&[good.url(), refusing.url(), forbidding.url(), nobody.clone(), "ws://10.1.2.3".into()], 3);
    home.preload(jsons(&history)).await;
    good.has_held(&history).await;

    let outsider = Outsider::looking_at(&home.url());
    let report = outsider.compare().await;
    assert_eq!((report.verdict, report.exit()), (Verdict::NotJudged, Exit::NotJudged));
    for (url, why) in [(&nobody, "refused: "), (&refusing.url(), "auth-required"), (&forbidding.url(), "policy: ")] {
        assert!(report.why_open(url).contains(why), "{url}: {}", report.why_open(url));
    }
    assert!(report.upstream(&good.url()).is_judged);
    assert!(report.upstream("ws://10.1.2.3").left_out.is_some(), "a rule forbids it: that is no failure of an upstream");
    assert_eq!((report.repositories[0].upstreams, report.repositories[0].judged), (4, 1));

    let said = outsider.says(&[]).await;
    assert_eq!(said.code, 9, "{}", said.stdout);
    assert!(said.stdout.starts_with("not judged: nothing is known to be missing"), "{}", said.stdout);
    assert!(said.stdout.contains(&format!("not judged: {nobody}/: refused: ")), "{}", said.stdout);
    assert!(said.stdout.contains("left out: ws://10.1.2.3/: "), "{}", said.stdout);

    // What is missing is the stronger word.
    good.has_held(&[project.comment_on(&project.first_issue(), "one more")]).await;
    let said = outsider.says(&["--json"]).await;
    let document: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((said.code, &document["verdict"], &document["missing"]), (5, &"missing".into(), &1.into()));
    assert!(document["open"].as_array().unwrap().iter().any(|one| one["upstream"] == format!("{nobody}/")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_home_lacks_for_a_reason_is_put_under_it_and_is_not_missing() {
    let home = LocalRelay::start().await;
    let upstream = HostileRelay::start([refuses_nip_77()]).await;
    let mut project = Project::named("reasons");
    let old = project.announcement(&[upstream.url()]);
    // A later second.
    for _ in 0..3 {
        project.state();
    }
    let history = project.history(&[upstream.url()], 3);
    let issue = project.first_issue();
    let deleted = project.comment_on(&issue, "I take that back");
    let deletion = project.deletion_of(&deleted);
    let stranger = Publisher::new(&"4".repeat(64));
    let root = issue.id.to_hex();
    let odd = |kind: u16, at: u64, tag: &[&str]| Signed::from(stranger.sign(kind, at, &[&["E", &root], tag], "odd"));
    let expired = odd(1111, now() - 50, &["expiration", "1000000000"]);
    let protected = odd(1111, now() - 51, &["-"]);
    let ahead = odd(1111, now() + 10 * 24 * 3600, &["k", "1621"]);
    let ephemeral = odd(20_001, now() - 52, &["k", "1621"]);
    let foreign = Signed::from(stranger.sign(30617, now() - 53, &[&["d", "foreign"], &["relays", "wss://a.example"]], ""));
    let forged = odd(1111, now() - 54, &["k", "1621"]);
    let other_words = forged.json.replace("\"odd\"", "\"even\"");
    // Home has a newer version, which names the repository no more.
    let address = project.address();
    let note = |at: u64, tag: &[&str]| Signed::from(stranger.sign(30_023, at, &[&["d", "note"], tag], "note"));
    let (older, newer) = (note(now() - 60, &["a", &address]), note(now() - 55, &["t", "news"]));
    home.preload(jsons(&history).chain([deletion.json.as_str(), newer.json.as_str()])).await;
    let odd_ones = [&old, &older, &deleted, &expired, &protected, &ahead, &ephemeral, &foreign];
    upstream.has_held(jsons(&history).chain(odd_ones.iter().map(|one| one.json.as_str())).chain([other_words.as_str()]));

    let report = Outsider::looking_at(&home.url()).compare().await;
    let expected = [
        (Reason::Deleted, &deleted),
        (Reason::Expired, &expired),
        (Reason::Ephemeral, &ephemeral),
        (Reason::Protected, &protected),
        (Reason::Future, &ahead),
        (Reason::NotForHome, &foreign),
        (Reason::Forged, &forged),
    ];
    for (reason, event) in expected {
        assert_eq!(report.lacking_for(reason), ids([event]), "{reason:?}");
    }
    assert_eq!(report.lacking_for(Reason::Superseded), ids([&old, &older]));
    assert_eq!(report.gaps.len(), expected.len() + 1, "{:#?}", report.gaps);
    assert_eq!((report.verdict, report.exit()), (Verdict::Complete, Exit::Ok));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_of_other_software_is_judged_by_what_names_it() {
    let (home, upstream) = (GraspHome::start(GraspTerms::default()).await, Relay::local().await);
    let owner = Publisher::new(&"1".repeat(64));
    let stranger = Publisher::new(&"4".repeat(64));
    let npub = |author: &Publisher| {
        use nostr::nips::nip19::ToBech32;
        nostr::prelude::PublicKey::from_hex(&author.public_key()).unwrap().to_bech32().unwrap()
    };
    let announced = |author: &Publisher, name: &str| {
        let (clone, relays) = (home.clone_url(&npub(author), name), [home.url(), upstream.url()]);
        let tags: [&[&str]; 3] = [&["d", name], &["clone", &clone], &["relays", &relays[0], &relays[1]]];
        Signed::from(author.sign(30617, now() - 9_000, &tags, ""))
    };
    let known = announced(&owner, "known");
    let address = format!("30617:{}:known", owner.public_key());
    let issue = Signed::from(owner.sign(1621, now() - 8_000, &[&["a", &address]], "it does not start"));
    let comment = |n: u64| {
        let root = issue.id.to_hex();
        Signed::from(stranger.sign(1111, now() - 7_000 + n, &[&["E", &root], &["A", &address]], &n.to_string()))
    };
    let comments: Vec<Signed> = (0..6).map(comment).collect();
    // Home has never heard of this one, although it names home; and its issue.
    let unheard = announced(&stranger, "unheard");
    let of_unheard = format!("30617:{}:unheard", stranger.public_key());
    let unheard_issue = Signed::from(stranger.sign(1621, now() - 6_000, &[&["a", &of_unheard]], "here too"));
    for event in [&known, &issue].into_iter().chain(&comments[..4]) {
        assert!(home.is_sent(&event.json).0);
    }
    upstream.has_held([&known, &issue, &unheard, &unheard_issue].into_iter().chain(&comments)).await;
    upstream.has_held(&noise(now() - 1000)).await;

    let outsider = Outsider::looking_at(&home.url());
    let expected = ids([&unheard, &unheard_issue].into_iter().chain(&comments[4..]));
    assert_eq!(outsider.compare().await.missing(), expected);
    // Of one repository alone.
    let mut one = wanted();
    one.repos = vec![address.clone()];
    let report = outsider.compare_as(&one).await;
    assert_eq!(report.missing(), ids(&comments[4..]));
    assert_eq!(report.repositories.iter().map(|repo| repo.address.to_string()).collect::<Vec<_>>(), [address]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_and_an_upstream_with_habits_of_their_own_are_compared_exactly_too() {
    let (home, local, python) = (Relay::python().await, Relay::local().await, Relay::python_with_pages_of(10).await);
    let mut project = Project::named("habits");
    let history = project.history(&[local.url(), python.url()], 25);
    let removed = removed_from(&history, &project.first_issue());
    let kept: Vec<&Signed> = history.iter().filter(|one| !removed.contains(&one.id)).collect();
    home.has_held(kept).await;
    local.has_held(&history).await;
    python.has_held(&history).await;
    let report = Outsider::looking_at(&home.url()).compare().await;
    for url in [local.url(), python.url()] {
        assert!(report.upstream(&url).is_judged, "{url}: {:?}", report.open);
        assert_eq!(report.missing_at(&url), removed, "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reaches_home_while_it_is_verified_is_not_missing() {
    let home = Relay::local().await;
    let slow = HostileRelay::start([refuses_nip_77(), Behaviour::LateEose(Duration::from_millis(300))]).await;
    let mut project = Project::named("moving");
    let history = project.history(&[slow.url()], 2);
    let late = project.comment_on(&project.first_issue(), "late");
    home.has_held(&history).await;
    slow.has_held(jsons(&history).chain([late.json.as_str()]));
    let outsider = Outsider::looking_at(&home.url());
    let verifying = outsider.compare();
    let arriving = async {
        // Home was read before anybody else is dialed.
        wait_until("the upstream to be asked", common::PATIENCE, || async { slow.heard().len() > 3 }).await;
        home.receives([&late]).await;
    };
    let (report, ()) = tokio::join!(verifying, arriving);
    assert_eq!((report.verdict, report.home.held_after_all), (Verdict::Complete, 1), "{:#?}", report.gaps);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_is_compared_with_any_other_that_the_operator_names_and_with_that_alone() {
    let (home, listed, named) = (LocalRelay::start().await, nowhere().await, Relay::counting_with_pages_of(3).await);
    let mut project = Project::named("named");
    let history = project.history(&[listed], 12);
    home.preload(jsons(&history[..5])).await;
    named.has_held(&history).await;
    let mut one = wanted();
    one.upstreams = vec![named.url()];
    let report = Outsider::looking_at(&home.url()).compare_as(&one).await;
    assert_eq!(report.missing(), ids(&history[5..]));
    assert_eq!(report.upstreams.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_that_answer_nip_77_badly_are_read_by_pages_and_what_they_name_and_withhold_is_said() {
    let home = LocalRelay::start().await;
    let scripts = [
        Negentropy::Error("blocked: no"),
        Negentropy::Refused(Refusal::Notice("ERROR: bad msg: unknown cmd NEG-OPEN")),
        Negentropy::Refused(Refusal::HangUp),
        Negentropy::OldVersion,
    ];
    let mut upstreams = Vec::new();
    for script in scripts {
        upstreams.push(HostileRelay::start([Behaviour::Negentropy(script), Behaviour::PageCap(4)]).await);
    }
    let liar = HostileRelay::start([Behaviour::Negentropy(Negentropy::FakeIds(100))]).await;
    let urls: Vec<String> = upstreams.iter().map(HostileRelay::url).collect();
    let mut project = Project::named("difficult");
    let history = project.history(&[urls.clone(), vec![liar.url()]].concat(), 6);
    home.preload(jsons(&history[..8])).await;
    upstreams.iter().for_each(|one| one.has_held(jsons(&history)));
    let report = Outsider::looking_at(&home.url()).compare().await;
    for url in &urls {
        assert_eq!(report.missing_at(url), ids(&history[8..]), "{url}");
        assert!(report.upstream(url).is_judged, "{url}: {:?}", report.open);
    }
    assert_eq!(report.lacking_for(Reason::NotServed).len(), 100, "they are said, and are no events");
    assert_eq!(report.missing(), ids(&history[8..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_is_away_or_does_not_show_its_announcements_is_no_home_that_is_complete() {
    let said = Outsider::looking_at(&nowhere().await).says(&[]).await;
    assert_eq!(said.code, 3, "{}", said.stderr);
    assert_eq!(said.stdout, "");
    let silent = HostileRelay::start([Behaviour::Refuses(Refusal::Closed("restricted: members only"))]).await;
    let said = Outsider::looking_at(&silent.url()).says(&[]).await;
    assert_eq!(said.code, 9, "{}", said.stderr);
    assert!(said.stderr.contains("members only"), "{}", said.stderr);
    let said = Outsider::looking_at(&silent.url()).says(&["--repo", "nonsense"]).await;
    assert_eq!(said.code, 2, "{}", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_what_is_missing_an_older_version_and_what_is_deleted_by_it_are_lacking_for_a_reason() {
    let home = LocalRelay::start().await;
    let upstream = HostileRelay::start([refuses_nip_77()]).await;
    let mut project = Project::named("versions");
    let history = project.history(&[upstream.url()], 1);
    let (address, root) = (project.address(), project.first_issue().id.to_hex());
    let author = Publisher::new(&"4".repeat(64));
    let version = |at: u64| Signed::from(author.sign(30_023, at, &[&["d", "note"], &["a", &address]], ""));
    let (older, newer) = (version(now() - 60), version(now() - 55));
    let comment = Signed::from(author.sign(1111, now() - 50, &[&["E", &root]], "I take that back"));
    let deletion = author.sign(5, now() - 40, &[&["e", &comment.id.to_hex()], &["A", &address]], "");
    let deletion = Signed::from(deletion);
    home.preload(jsons(&history)).await;
    upstream.has_held(jsons(&history).chain([&older, &newer, &comment, &deletion].map(|one| one.json.as_str())));
    let report = Outsider::looking_at(&home.url()).compare().await;
    assert_eq!(report.missing(), ids([&newer, &deletion]));
    assert_eq!(report.lacking_for(Reason::Superseded), ids([&older]));
    assert_eq!(report.lacking_for(Reason::Deleted), ids([&comment]));
}

/// A world with everything odd in it, and a plain reading of the rules that shares nothing with the code under test.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_generated_world_a_home_that_is_complete_lacks_nothing_and_one_that_lost_a_part_lacks_that_part() {
    let now = now();
    let upstreams = [Relay::counting().await, Relay::counting_with_pages_of(20).await, Relay::counting_req_only().await];
    let urls: Vec<String> = upstreams.iter().map(Relay::url).collect();
    let world = world::generate(&Shape { repos: 20, roots: 60, replies: 240, seed: 3, now }, &urls);
    for (relay, content) in upstreams.iter().zip(world.upstreams) {
        relay.is_given(content.events);
    }
    let held: Vec<(String, Vec<Event>)> = upstreams.iter().map(|relay| (relay.url(), relay.events())).collect();
    let expected = reference::expected_home(&held, &urls[..1], &[], now);
    let all: BTreeMap<EventId, Event> =
        held.into_iter().flat_map(|(_, events)| events).map(|event| (event.id, event)).collect();
    let whole: Vec<Event> = expected.iter().map(|id| all[id].clone()).collect();
    let mut everything = wanted();
    everything.every_announcement = true;

    let complete = Relay::counting().await;
    complete.is_given(whole.clone());
    let report = Outsider::looking_at(&complete.url()).compare_as(&everything).await;
    assert_eq!(report.missing(), BTreeSet::new(), "{:#?}", report.gaps);
    // Deletions are no part of the three layers where they name nothing but an id.
    let is_kept = |(number, event): &(usize, Event)| number % 7 != 0 || matches!(event.kind.as_u16(), 5 | 62);
    let (kept, lost): (Vec<_>, Vec<_>) = whole.into_iter().enumerate().partition(is_kept);
    let poor = Relay::counting().await;
    poor.is_given(kept.into_iter().map(|(_, event)| event).collect());
    let report = Outsider::looking_at(&poor.url()).compare_as(&everything).await;
    let lost: BTreeSet<EventId> = lost.into_iter().map(|(_, event)| event.id).collect();
    assert!(lost.len() > 30);
    assert_eq!(report.missing(), lost);
    // The world names relays that nobody can reach.
    assert!(urls.iter().all(|url| report.upstream(url).is_judged), "{:?}", report.open);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_has_its_time_and_what_it_left_unread_is_not_judged() {
    let home = LocalRelay::start().await;
    let endless = HostileRelay::start([refuses_nip_77(), Behaviour::NoEose]).await;
    let mut project = Project::named("endless");
    let history = project.history(&[endless.url()], 2);
    home.preload(jsons(&history)).await;
    endless.has_held(jsons(&history));
    let mut one = wanted();
    one.patience = Duration::from_secs(2);
    let report = Outsider::looking_at(&home.url()).compare_as(&one).await;
    assert_eq!((report.verdict, report.repositories[0].judged), (Verdict::NotJudged, 0));
    assert!(report.why_open(&endless.url()).contains("timeout: "), "{}", report.why_open(&endless.url()));
}
