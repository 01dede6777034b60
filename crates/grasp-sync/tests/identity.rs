//! What relays say of themselves (NIP-11), and who we are to them (NIP-42), on real sockets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::time::Duration;

use common::{Embedded, PATIENCE, Project, Relay};
use grasp_sync::config::{Config, Home};
use grasp_sync::system::System;
use model::{LinkView, RelayUrl, Status, UpstreamStatus};
use serde_json::{Value, json};
use testkit::hostile::{Behaviour, Link};
use testkit::{HostileRelay, wait_for};

/// A system whose home is `home`, as a newcomer starts it.
async fn keeping(home: &HostileRelay, directory: &tempfile::TempDir, change: impl FnOnce(&mut Config)) -> System {
    let url = RelayUrl::parse(&home.url()).unwrap();
    let mut config = Config {
        allow_non_public: vec!["127.0.0.0/8".parse().unwrap()],
        discovery_window: Duration::from_millis(200),
        ..Config::with_home(Home::Relay(url.clone()), directory.path().to_owned())
    };
    change(&mut config);
    System::start_offline(&config, &url).await.unwrap()
}

async fn until(system: &System, what: &str, looked_for: impl Fn(&Status) -> bool) {
    wait_for(what, PATIENCE, || async {
        let status = system.status().await.unwrap();
        if looked_for(&status) { Ok(()) } else { Err(status) }
    })
    .await;
}

fn is_caught_up(one: &UpstreamStatus) -> bool {
    matches!(one.link, LinkView::Up { caught_up: true, .. })
}

fn auths(relay: &HostileRelay) -> Vec<Value> {
    relay.heard().into_iter().filter(|message| message[0] == "AUTH").map(|message| message[1].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_serves_only_those_whom_it_knows_is_told_who_we_are_and_the_same_after_a_restart() {
    let home = HostileRelay::start([Behaviour::ReqNeedsAuth, Behaviour::OneKeyOnly]).await;
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let system = keeping(&home, &directory, |_| {}).await;
        until(&system, "home to be caught up", |status| status.upstreams.iter().any(is_caught_up)).await;
        system.stop().await;
    }
    let auths = auths(&home);
    assert_eq!(auths.len(), 2, "one on each link: {auths:?}");
    assert_eq!(auths[0]["pubkey"], auths[1]["pubkey"]);
    assert_eq!(auths[0]["tags"][0], json!(["relay", format!("{}/", home.url())]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_may_not_know_who_we_are_is_not_told() {
    let home = HostileRelay::start([Behaviour::Challenges, Behaviour::ReqNeedsAuth]).await;
    let directory = tempfile::tempdir().unwrap();
    let system = keeping(&home, &directory, |config| config.auth = engine::auth::Consent::default()).await;
    let asked = |message: &Value| message[0] == "REQ";
    testkit::wait_until("home to have refused twice", PATIENCE, || async {
        home.heard().iter().filter(|message| asked(message)).count() >= 2
    })
    .await;
    assert_eq!(auths(&home), [] as [Value; 0]);
    assert!(!system.status().await.unwrap().upstreams.iter().any(is_caught_up));
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_relays_state_of_themselves_is_read_and_kept_and_home_under_another_url_is_no_upstream() {
    let key = "4f355bdcb7cc0af728ef3cceb9615d90684bb5b2ca5f859ab0f0b704075871aa";
    let document = json!({
        "self": key, "supported_nips": [1, 11, 40], "software": "https://relay.example", "version": "7",
        "limitation": { "max_limit": 300, "max_subscriptions": 20 },
    });
    let home = HostileRelay::start([Behaviour::Describes(document.clone())]).await;
    let again = HostileRelay::start([Behaviour::Describes(document)]).await;
    let silent = HostileRelay::start([]).await;
    let hole = HostileRelay::start([Behaviour::Link(Link::BlackHole)]).await;
    let mut project = Project::named("one");
    let announcement = project.announcement(&[again.url(), silent.url(), hole.url()]);
    home.has_held([announcement.json.as_str()]);
    let directory = tempfile::tempdir().unwrap();
    let system = keeping(&home, &directory, |_| {}).await;
    let of = |status: &Status, relay: &HostileRelay| {
        status.upstreams.iter().find(|one| one.url.as_str() == format!("{}/", relay.url())).cloned()
    };
    until(&system, "both documents, and a note", |status| {
        let stated = |relay| of(status, relay).and_then(|one| one.learned.stated);
        let note = of(status, &silent).and_then(|one| one.learned.not_stated);
        stated(&home).is_some_and(|stated| stated.max_limit == Some(300) && stated.nips == [1, 11, 40])
            && stated(&again).is_some_and(|stated| stated.software.as_deref() == Some("https://relay.example 7"))
            && note.is_some_and(|note| note.why == "HTTP 404 Not Found" && note.at.as_secs() > 0)
    })
    .await;
    until(&system, "the other URL to be excluded", |status| {
        of(status, &again).and_then(|one| one.incomplete).is_some_and(|why| why.starts_with("this is our own relay"))
    })
    .await;
    let status = system.status().await.unwrap();
    assert!(of(&status, &silent).is_some_and(|one| one.incomplete.is_none()), "the others are not");
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_home_says_that_it_does_not_take_is_not_offered() {
    let document = json!({ "supported_nips": [1, 11], "limitation": { "created_at_lower_limit": 1_000_000 } });
    let home = HostileRelay::start([Behaviour::Describes(document)]).await;
    let upstream = Relay::counting().await;
    let mut project = Project::named("old");
    let history = project.history(&[upstream.url()], 3);
    upstream.has_held(&history).await;
    home.has_held([history[0].json.as_str()]);
    let directory = tempfile::tempdir().unwrap();
    let first = keeping(&home, &directory, |_| {}).await;
    let stated = |status: &Status| status.upstreams.iter().any(|one| one.learned.stated.is_some());
    until(&first, "home's document", stated).await;
    first.stop().await;
    let author = testkit::Publisher::new(&"6".repeat(64));
    let (address, later) = (project.address(), (common::now() + 5_000).to_string());
    let comment = |at: u64, more: &[&str]| {
        let (about, kind) = (["A", address.as_str()], ["K", "30617"]);
        let tags: Vec<&[&str]> = [&about[..], &kind[..]].into_iter().chain((!more.is_empty()).then_some(more)).collect();
        common::Signed::from(author.sign(1111, at, &tags, ""))
    };
    let fine = comment(common::now() - 500, &[]);
    let old = comment(common::now() - 1_000_500, &[]);
    let expiring = comment(common::now() - 400, &["expiration", &later]);
    upstream.receives([&fine, &old, &expiring]).await;
    let system = keeping(&home, &directory, |_| {}).await;
    until(&system, "two to be gated", |status| {
        let count = |name: &str| status.outcomes.iter().find(|(outcome, _)| outcome == name).map_or(0, |(_, count)| *count);
        count("gated-too-old") >= 1 && count("gated-expiring") == 1
    })
    .await;
    let offered = |id: &str| home.heard().iter().any(|message| message[0] == "EVENT" && message[1]["id"] == id);
    wait_for("the third to be offered", PATIENCE, || async {
        if offered(&fine.id.to_hex()) { Ok(()) } else { Err(home.heard().len()) }
    })
    .await;
    assert!(!offered(&old.id.to_hex()) && !offered(&expiring.id.to_hex()));
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_system_tells_nobody_who_we_are_unless_it_must() {
    let (home, upstream) = (Relay::counting().await, Relay::counting().await);
    let asking = HostileRelay::start([Behaviour::Challenges]).await;
    let mut project = Project::named("quiet");
    let history = project.history(&[upstream.url(), asking.url()], 5);
    upstream.has_held(&history).await;
    asking.has_held(history.iter().map(|event| event.json.as_str()));
    let system = Embedded::keeping(&home).pulling_from_urls(&[upstream.url(), asking.url()]).started().await;
    system
        .until("the asking one to be confirmed", PATIENCE, |status| {
            let known = status.upstreams.iter().find(|one| one.url.as_str() == format!("{}/", asking.url()));
            known.is_some_and(|one| one.confirmed > 0 && one.wanted + one.pending == 0)
        })
        .await;
    assert_eq!(auths(&asking), [] as [Value; 0], "a challenge alone is no demand");
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_the_key_nor_a_password_is_in_the_loudest_log_of_a_service_that_says_who_it_is() {
    let secret = "5".repeat(64);
    let nsec = nostr::nips::nip19::ToBech32::to_bech32(&nostr::prelude::SecretKey::from_hex(&secret).unwrap()).unwrap();
    let home = Relay::counting().await;
    let asking = HostileRelay::start([Behaviour::Challenges, Behaviour::ReqNeedsAuth]).await;
    // Announced with a password that is no relay's: it is read, and taken for nothing.
    let mut project = Project::named("secrets");
    let history = project.history(&[asking.url(), "ws://left:hunter2@127.0.0.1:1".to_owned()], 3);
    home.has_held(&history).await;
    let mut installed = common::GraspSync::keeping(&home.url()).pulling_from(&[asking.url()]);
    let running = installed.run_with(&[("GRASP_SYNC_AUTH_KEY", &secret), ("GRASP_SYNC_LOG", "trace")]);
    wait_for("the relay to be told who we are", PATIENCE, || async {
        let heard = auths(&asking);
        if heard.is_empty() { Err(running.log().len()) } else { Ok(()) }
    })
    .await;
    let ended = running.terminated().await;
    assert!(ended.log.contains("link up"), "it is a log");
    for hidden in [secret.as_str(), nsec.as_str()] {
        assert!(!ended.log.contains(hidden), "the key is in the log");
    }
    let lines: Vec<&str> = ended.log.lines().filter(|line| line.contains("hunter2") && !line.contains("tungstenite")).collect();
    assert!(lines.is_empty(), "a password is in the log: {lines:?}");
}
