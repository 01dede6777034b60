//! A home that is a GRASP server (GRASP-01): it takes what belongs together in its order, holds what waits for git data, and says in
//! its own words what it will not have.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "how long things took is for whoever reads the run")]

mod common;

use std::time::{Duration, Instant};

use common::{Embedded, GraspSync, PATIENCE, Relay, Signed, now};
use grasp_sync::config::Admits;
use model::{Kind, NextWhy, Outcome, RelayUrl, Via};
use nostr::nips::nip19::ToBech32;
use testkit::{GraspHome, GraspTerms, Publisher, wait_for, wait_until};

/// A repository of an owner, who names a maintainer.
struct Village {
    owner: Publisher,
    maintainer: Publisher,
    home: String,
    home_clone: String,
    upstream: String,
    began: u64,
}

const NAME: &str = "village";

impl Village {
    fn between(home: &GraspHome, upstream: &str) -> Self {
        let owner = Publisher::new(&"1".repeat(64));
        let npub = nostr::prelude::PublicKey::from_hex(&owner.public_key()).unwrap().to_bech32().unwrap();
        let home_clone = home.clone_url(&npub, NAME);
        let maintainer = Publisher::new(&"2".repeat(64));
        Self { owner, maintainer, home: home.url(), home_clone, upstream: upstream.to_owned(), began: now() - 30 * 24 * 3600 }
    }

    fn address(&self) -> String {
        format!("30617:{}:{NAME}", self.owner.public_key())
    }

    /// The owner's: it lists home, and names the maintainer.
    fn announcement(&self) -> Signed {
        let relays = ["relays", &self.home, &self.upstream];
        let maintainer = self.maintainer.public_key();
        let tags: [&[&str]; 4] = [&["d", NAME], &["clone", &self.home_clone], &relays, &["maintainers", &maintainer]];
        self.owner.sign(30617, self.began, &tags, "").into()
    }

    /// The maintainer's own: it does not list home.
    fn maintainers_announcement(&self) -> Signed {
        let tags: [&[&str]; 3] = [&["d", NAME], &["clone", "https://replaced.example/orphan.git"], &["relays", &self.upstream]];
        self.maintainer.sign(30617, self.began + 1, &tags, "").into()
    }

    fn maintainers_state(&self) -> Signed {
        let commit = "c".repeat(40);
        self.maintainer.sign(30618, self.began + 2, &[&["d", NAME], &["refs/heads/main", &commit]], "").into()
    }

    fn issue(&self) -> Signed {
        self.maintainer.sign(1621, self.began + 3, &[&["a", &self.address()], &["subject", "it does not start"]], "").into()
    }

    fn comment(&self, root: &Signed, number: u64, kind: u16) -> Signed {
        let root = root.id.to_hex();
        let tags: [&[&str]; 3] = [&["E", &root], &["K", "1621"], &["A", &self.address()]];
        self.maintainer.sign(kind, self.began + 10 + number, &tags, &format!("{number}")).into()
    }
}

fn keeping(home: &GraspHome) -> Embedded {
    Embedded::keeping_url(RelayUrl::parse(&home.url()).unwrap())
}

async fn until_served(home: &GraspHome, event: &Signed) -> Duration {
    let began = Instant::now();
    wait_until("home to serve an event", PATIENCE, || async { home.serves().contains(&event.id.to_hex()) }).await;
    began.elapsed()
}

async fn until_held(home: &GraspHome, event: &Signed) -> Duration {
    let began = Instant::now();
    wait_until("home to hold an event", PATIENCE, || async { home.holds().contains(&event.id.to_hex()) }).await;
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_16_a_maintainers_state_comes_home_within_5_seconds_of_the_owners_release() {
    let home = GraspHome::start(GraspTerms { announcements_wait: true, ..GraspTerms::default() }).await;
    let upstream = Relay::counting().await;
    let village = Village::between(&home, &upstream.url());
    let (announcement, state) = (village.announcement(), village.maintainers_state());
    upstream.has_held([&state]).await;
    let system = keeping(&home).pulling_from([&upstream]).started().await;
    system.until_outcome(state.id, Outcome::NeedsParent).await;
    let told = system.explained(state.id).await;
    assert_eq!(told.waiting.unwrap().parents, [format!("30617::{NAME}")]);
    assert_eq!(told.seen.unwrap().reason.as_deref(), Some("invalid: no announcement exists for this repository"));
    // The owner publishes to home alone, and pushes: none of it passes us.
    assert_eq!(home.is_sent(&announcement.json).1, "purgatory: won't be served until git data arrives");
    let mut heard = system.git_wanted();
    home.git_data_arrives(&announcement.id.to_hex());
    let took = until_held(&home, &state).await;
    println!("the state was at home {took:?} after the release");
    assert!(took < testkit::stretched(Duration::from_secs(5)), "{took:?}");
    system.until_outcome(state.id, Outcome::Held).await;
    let wanted = heard.recv().await.unwrap();
    assert_eq!((wanted.id, wanted.is_held, wanted.commits), (state.id, true, vec!["c".repeat(40)]));
    assert_eq!((wanted.repos[0].to_string(), wanted.clone_urls), (village.address(), vec![village.home_clone.clone()]));
    home.git_data_arrives(&state.id.to_hex());
    system.until_outcome(state.id, Outcome::Stored).await;
    let served = heard.recv().await.unwrap();
    assert_eq!((served.id, served.is_held), (state.id, false));
    let seen = system.explained(state.id).await.seen.unwrap();
    let first = (seen.first_upstream, seen.via);
    assert_eq!(first, (Some(upstream.relay_url()), Some(Via::Negentropy)), "who brought it first is not forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_its_parent_waits_through_a_restart_and_is_offered_when_the_parent_comes_by_homes_own_feed() {
    let home = GraspHome::start(GraspTerms::default()).await;
    let upstream = Relay::counting().await;
    // Dated long before the restart: a link that catches up is live for everything.
    let village = Village::between(&home, &upstream.url());
    let (announcement, state) = (village.announcement(), village.maintainers_state());
    upstream.has_held([&state]).await;
    let mut system = keeping(&home).pulling_from([&upstream]).started().await;
    system.until_outcome(state.id, Outcome::NeedsParent).await;
    assert_eq!(home.offers_of(&state.id.to_hex()), 1);
    system.stop().await;
    system.start().await;
    let is_caught_up = |one: &model::UpstreamStatus| matches!(one.link, model::LinkView::Up { caught_up: true, .. });
    system.until("both links to stand", PATIENCE, |status| status.upstreams.iter().all(is_caught_up)).await;
    assert!(system.explained(state.id).await.waiting.is_some());
    assert!(home.is_sent(&announcement.json).0);
    let took = until_held(&home, &state).await;
    println!("the state was at home {took:?} after its announcement");
    assert_eq!(home.offers_of(&state.id.to_hex()), 2, "once before the restart, once after the announcement");
    system.until_outcome(state.id, Outcome::Held).await;
    assert!(system.explained(state.id).await.waiting.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_what_is_held_and_expires_is_offered_once_for_each_day() {
    let home = GraspHome::start(GraspTerms::default()).await;
    let upstream = Relay::counting().await;
    let village = Village::between(&home, &upstream.url());
    let (announcement, state) = (village.announcement(), village.maintainers_state());
    assert!(home.is_sent(&announcement.json).0);
    upstream.has_held([&announcement, &state]).await;
    let id = state.id.to_hex();
    let mut system = keeping(&home).pulling_from([&upstream]).with_refresh_every(Duration::from_secs(2)).started().await;
    system.until_outcome(state.id, Outcome::Held).await;
    home.purgatory_expires();
    for day in 1..=2 {
        let rounds = system.upstream(&upstream).await.counts.rounds;
        // Exchanges of two refreshes: the first may have begun before the outcome was on the books.
        system
            .until("two more refreshes", PATIENCE, |status| {
                status.upstreams.iter().any(|one| one.url == upstream.relay_url() && one.counts.rounds > rounds + 8)
            })
            .await;
        assert_eq!(home.offers_of(&id), day, "a refresh offers nothing that was held within the day");
        system.stop().await;
        testkit::age_outcomes(&system.database(), 24 * 3600).await;
        system.start().await;
        wait_until("it to be offered again", PATIENCE, || async { home.offers_of(&id) == day + 1 }).await;
        system.until_outcome(state.id, Outcome::Held).await;
        home.purgatory_expires();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listed_admission_offers_what_names_home_and_what_its_maintainers_announce_and_nothing_else() {
    let home = GraspHome::start(GraspTerms::default()).await;
    let upstream = Relay::counting().await;
    let village = Village::between(&home, &upstream.url());
    let (announcement, by_maintainer) = (village.announcement(), village.maintainers_announcement());
    let stranger = Publisher::new(&"9".repeat(64));
    let elsewhere: [&[&str]; 3] =
        [&["d", "elsewhere"], &["clone", "https://other.example/x.git"], &["relays", "wss://other.example"]];
    let unlisted: Signed = stranger.sign(30617, village.began, &elsewhere, "").into();
    upstream.has_held([&by_maintainer, &unlisted, &announcement]).await;
    let system = keeping(&home).admitting(Admits::Listed).pulling_from([&upstream]).started().await;
    until_served(&home, &announcement).await;
    let took = until_served(&home, &by_maintainer).await;
    println!("the maintainer's announcement followed after {took:?}");
    system.until_outcome(unlisted.id, Outcome::NeedsParent).await;
    assert_eq!(home.offers_of(&unlisted.id.to_hex()), 0, "home is not even asked");
    assert_eq!(home.offers_of(&by_maintainer.id.to_hex()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_that_home_refuses_for_not_listing_it_is_taken_once_the_owner_names_its_author() {
    let home = GraspHome::start(GraspTerms::default()).await;
    let upstream = Relay::counting().await;
    let village = Village::between(&home, &upstream.url());
    let (announcement, by_maintainer) = (village.announcement(), village.maintainers_announcement());
    upstream.has_held([&by_maintainer]).await;
    let system = keeping(&home).pulling_from([&upstream]).started().await;
    system.until_outcome(by_maintainer.id, Outcome::NeedsParent).await;
    assert!(home.is_sent(&announcement.json).0);
    until_served(&home, &by_maintainer).await;
    system.until_outcome(by_maintainer.id, Outcome::Stored).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_20_comments_that_home_refuses_are_downloaded_once_and_the_index_stays_as_it_is() {
    const COMMENTS: u64 = 10_000;
    let home = GraspHome::start(GraspTerms { blocks: Some(1111), ..GraspTerms::default() }).await;
    let upstream = Relay::counting().await;
    let village = Village::between(&home, &upstream.url());
    let (announcement, issue) = (village.announcement(), village.issue());
    let comments: Vec<Signed> = (0..COMMENTS).map(|number| village.comment(&issue, number, 1111)).collect();
    assert!(home.is_sent(&announcement.json).0);
    upstream.has_held([&announcement, &issue].into_iter().chain(&comments)).await;
    let system = keeping(&home).with_refresh_every(Duration::from_secs(5)).started().await;
    let declined = |status: &model::Status| status.outcomes.iter().find(|(word, _)| word == "declined").map(|(_, n)| *n);
    system.until("every comment to be refused", PATIENCE * 5, |status| declined(status) == Some(COMMENTS)).await;
    system.until_settled().await;
    let (first, of_first) = (system.upstream(&upstream).await.counts, upstream.traffic());
    for _ in 0..2 {
        let rounds = system.upstream(&upstream).await.counts.rounds;
        system
            .until("another cycle", PATIENCE, |status| {
                let known = status.upstreams.iter().find(|one| one.url == upstream.relay_url());
                known.is_some_and(|one| one.counts.rounds >= rounds + 7 && one.wanted + one.pending == 0)
            })
            .await;
    }
    let (last, of_last) = (system.upstream(&upstream).await.counts, upstream.traffic());
    println!("the first cycle read {} events, all later ones {}", first.events, last.events - first.events);
    assert_eq!((last.events - first.events, of_last.events_sent - of_first.events_sent), (0, 0));
    assert_eq!(declined(&system.status().await), Some(COMMENTS));
    assert!(comments.iter().all(|one| home.offers_of(&one.id.to_hex()) == 1), "home was asked once for each");
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_15_an_older_version_and_what_was_deleted_are_not_written_and_not_fetched_in_the_next_cycle() {
    let home = GraspHome::start(GraspTerms::default()).await;
    let upstream = Relay::counting().await;
    let village = Village::between(&home, &upstream.url());
    let (announcement, issue) = (village.announcement(), village.issue());
    let relays = ["relays", &village.home, &village.upstream];
    let older_tags: [&[&str]; 3] = [&["d", NAME], &["clone", &village.home_clone], &relays];
    let older: Signed = village.owner.sign(30617, village.began - 100, &older_tags, "").into();
    let comment = village.comment(&issue, 1, 1111);
    let tags: [&[&str]; 3] = [&["e", &comment.id.to_hex()], &["a", &village.address()], &["k", "1111"]];
    let deletion: Signed = village.maintainer.sign(5, village.began + 500, &tags, "").into();
    for known in [&announcement, &issue, &deletion] {
        assert!(home.is_sent(&known.json).0);
    }
    upstream.has_held([&issue]).await;
    let system = keeping(&home).pulling_from([&upstream]).with_refresh_every(Duration::from_secs(3)).started().await;
    system.until_settled().await;
    upstream.receives([&older, &comment]).await;
    system.until_outcome(older.id, Outcome::Superseded).await;
    system.until_outcome(comment.id, Outcome::Gated(model::GateReason::Deleted)).await;
    let before = system.upstream(&upstream).await.counts;
    system
        .until("the next cycle, and a part of the one after it", PATIENCE * 2, |status| {
            let known = status.upstreams.iter().find(|one| one.url == upstream.relay_url());
            known.is_some_and(|one| one.counts.rounds >= before.rounds + 7 && one.wanted + one.pending == 0)
        })
        .await;
    assert_eq!(system.events_read(&upstream).await, before.events, "nothing of it is fetched again");
    for id in [&older, &comment] {
        assert_eq!(home.offers_of(&id.id.to_hex()), 0, "nothing of it is written");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l06_a_home_that_takes_60_writes_a_minute_loses_nothing_and_status_says_how_long_it_takes() {
    // Its minute lasts a second and a half.
    let home = GraspHome::start(GraspTerms { writes: Some((60, Duration::from_millis(1_500))), ..GraspTerms::default() }).await;
    let upstream = Relay::counting().await;
    let village = Village::between(&home, &upstream.url());
    let announce = |number: u64| -> Signed {
        let (name, relays) = (format!("house-{number}"), ["relays", &village.home, &village.upstream]);
        let tags: [&[&str]; 3] = [&["d", &name], &["clone", &village.home_clone], &relays];
        village.owner.sign(30617, village.began + number, &tags, "").into()
    };
    let announcements: Vec<Signed> = (0..300).map(announce).collect();
    let address = format!("30617:{}:house-0", village.owner.public_key());
    let notes: Vec<Signed> = (0..100)
        .map(|number| village.maintainer.sign(1, village.began + number, &[&["a", &address]], &format!("{number}")).into())
        .collect();
    upstream.has_held(announcements.iter().chain(&notes)).await;
    let system = keeping(&home).pulling_from([&upstream]).started().await;
    let estimate = wait_for("an estimate that says it all", PATIENCE, || async {
        let writes = system.status().await.writes;
        let is_whole = writes.waiting > 0 && writes.is_limited && writes.left_secs().is_some();
        if is_whole { Ok(writes) } else { Err(writes) }
    })
    .await;
    println!("{estimate:?}, {:?} s left", estimate.left_secs());
    assert!(estimate.waiting <= 400 && estimate.per_minute <= 400, "{estimate:?}");
    wait_for("home to serve everything", PATIENCE, || async {
        let served = home.serves().len();
        if served == 400 { Ok(()) } else { Err(served) }
    })
    .await;
    system.until("nothing to wait", PATIENCE, |status| status.writes.waiting == 0).await;
    let order = home.served_in_order();
    let place = |event: &Signed| order.iter().position(|id| *id == event.id.to_hex()).unwrap();
    // What was in flight before all of them were known came as it came.
    let places: Vec<usize> = announcements.iter().rev().map(place).filter(|place| *place >= 120).collect();
    assert!(places.len() >= 150 && places.is_sorted(), "the newest first: {places:?}");
}

/// How many lines of a log say something of home, other than that it works.
fn complaints(log: &str, home: &str) -> Vec<String> {
    let is_well = |line: &str| ["link up", "writing to home", "keeping home complete"].iter().any(|word| line.contains(word));
    let is_complaint = |line: &&str| line.contains(home.trim_start_matches("ws://")) && !is_well(line);
    log.lines().filter(is_complaint).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_goes_away_is_a_line_a_minute_and_nothing_is_lost() {
    let mut relay = Relay::counting().await;
    let proxy = testkit::ChaosProxy::start(&relay.url()).await;
    let upstream = Relay::counting().await;
    let mut project = common::Project::named("steady");
    let history = project.history(&[upstream.url()], 10);
    upstream.has_held(&history).await;
    let mut system = GraspSync::keeping(&proxy.url()).pulling_from(&[upstream.url()]);
    let running = system.run();
    common::until_home_holds(&relay, &common::ids(&history)).await;
    running.until_it_says_complete().await;
    relay.goes_down().await;
    project.in_the_present();
    let meanwhile: Vec<Signed> = (0..5).map(|number| project.reply(&format!("meanwhile {number}"))).collect();
    upstream.receives(&meanwhile).await;
    let down = Instant::now();
    wait_until("home to have been dialed for half a minute", PATIENCE, || async { down.elapsed() > Duration::from_secs(32) })
        .await;
    let said = complaints(&running.log(), &proxy.url());
    println!("{} lines: {said:#?}", said.len());
    assert_eq!(said.len(), 1, "whether it is read or written: {said:#?}");
    assert!(proxy.connections() < 60, "no spin: {} dials", proxy.connections());
    relay.start_again().await;
    common::until_home_holds(&relay, &common::ids(history.iter().chain(&meanwhile))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_tells_a_person_what_became_of_an_event_a_repository_and_an_upstream() {
    let home = GraspHome::start(GraspTerms::default()).await;
    let upstream = Relay::counting().await;
    let village = Village::between(&home, &upstream.url());
    let (announcement, state, issue) = (village.announcement(), village.maintainers_state(), village.issue());
    upstream.has_held([&announcement, &state, &issue]).await;
    let mut system = GraspSync::keeping(&home.url()).pulling_from(&[upstream.url()]);
    let running = system.run();
    until_held(&home, &state).await;
    until_served(&home, &issue).await;
    running.until_it_says_complete().await;
    let told = system.says(&["explain", &state.id.to_bech32().unwrap()]).await;
    assert_eq!(told.code, 0, "{}", told.stderr);
    for part in
        ["30618 (state)", "held, since", "reason         purgatory: won't be served", &upstream.url(), "named by negentropy"]
    {
        assert!(told.stdout.contains(part), "{part}: {}", told.stdout);
    }
    let told = system.says(&["explain", &village.address()]).await;
    assert_eq!(told.code, 0, "{}", told.stderr);
    for part in [&announcement.id.to_hex(), &village.home_clone, "confirmed since", "1 confirmed", "refresh in"] {
        assert!(told.stdout.contains(part), "{part}: {}", told.stdout);
    }
    let told = system.says(&["explain", "--json", &upstream.url()]).await;
    let document: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!((told.code, &document["is_known"]), (0, &serde_json::json!(true)));
    let status = &document["explained"]["upstream"]["status"];
    assert_eq!((&status["role"], &status["next"]["why"]), (&"bootstrap".into(), &serde_json::json!(NextWhy::Refresh)));
    let unseen = system.says(&["explain", &"7".repeat(64)]).await;
    assert_eq!(unseen.code, 8, "{}", unseen.stdout);
    assert!(
        unseen.stdout.contains("never seen") && unseen.stdout.contains("Every upstream is read to the end"),
        "{}",
        unseen.stdout
    );
    assert_eq!(system.says(&["explain", "30617:abc:x"]).await.code, 2);
    let status = system.says(&["status"]).await;
    assert!(status.stdout.contains("refresh in"), "{}", status.stdout);
    assert_eq!(Kind::Custom(30618), state.event().kind);
    assert_eq!(running.terminated().await.status.code(), Some(0));
}
