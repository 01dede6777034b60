//! Three full cycles over upstreams that serve a thousand events of every kind that home may not have.

use std::collections::BTreeMap;
use std::time::Duration;

use model::RelayUrl;
use testkit::hostile::{Behaviour, Negentropy};
use testkit::{HostileRelay, LocalRelay, Publisher, wait_until};

use super::common::{Embedded, PATIENCE, Signed, now};
use super::{another_cycle, hold, url};

/// Events of each kind.
const EACH: u64 = 84;

fn who(n: u8) -> Publisher {
    Publisher::new(&format!("{n:064x}"))
}

/// A public repository, and what is said about it that home may not have.
struct Unwanted {
    owner: Publisher,
    vanished: Publisher,
    blocked: Publisher,
    address: String,
    began: u64,
    /// By outcome.
    events: BTreeMap<&'static str, Vec<Signed>>,
    /// What home holds before anything begins.
    at_home: Vec<Signed>,
}

impl Unwanted {
    fn on(relays: &[String]) -> Self {
        let (owner, vanished, blocked, began) = (who(21), who(22), who(23), now() - 30 * 24 * 3600);
        let address = format!("30617:{}:repository", owner.public_key());
        let (events, at_home) = (BTreeMap::new(), Vec::new());
        let mut unwanted = Self { owner, vanished, blocked, address, began, events, at_home };
        let relays: Vec<&str> = std::iter::once("relays").chain(relays.iter().map(String::as_str)).collect();
        let maintainers = ["maintainers", &unwanted.vanished.public_key()];
        let tags: [&[&str]; 3] = [&["d", "repository"], &relays, &maintainers];
        unwanted.at_home.push(unwanted.owner.sign(30617, unwanted.began, &tags, "").into());
        unwanted.gated();
        unwanted.given_up();
        unwanted.refused();
        unwanted
    }

    fn said(&self, by: &Publisher, at: u64, tag: &[&str], text: &str) -> Vec<Signed> {
        let note = |n: u64| by.sign(1, at + n, &[&["a", &self.address], tag], &format!("{text} {n}")).into();
        (0..EACH).map(note).collect()
    }

    fn gated(&mut self) {
        let (soon, tomorrow) = ((now() + 55).to_string(), now() + 2 * 24 * 3600);
        self.events.insert("gated-protected", self.said(&self.owner, self.began, &["-"], "protected"));
        self.events.insert("gated-expired", self.said(&self.owner, self.began, &["expiration", &soon], "expired"));
        self.events.insert("gated-future", self.said(&self.owner, tomorrow, &["t", "x"], "future"));
        self.events.insert("gated-blocked", self.said(&self.blocked, self.began, &["t", "x"], "blocked"));
        let hidden = |n: u64| {
            let tags: [&[&str]; 2] = [&["d", &format!("private-{n}")], &["private", "true"]];
            self.owner.sign(30617, self.began + n, &tags, "").into()
        };
        let hidden = (0..EACH).map(hidden).collect();
        self.events.insert("gated-private", hidden);
        let large = self.owner.sign(1, self.began, &[&["a", &self.address]], &"x".repeat(300_000)).into();
        self.events.insert("gated-too-large", vec![large]);
    }

    /// What home had once.
    fn given_up(&mut self) {
        let vanished = self.said(&self.vanished, self.began, &["t", "x"], "vanished");
        self.at_home.push(self.vanished.sign(62, now() - 3600, &[&["relay", "ALL_RELAYS"]], "").into());
        self.events.insert("gated-vanished", vanished);
        let deleted = self.said(&self.owner, self.began, &["t", "x"], "deleted");
        let ids: Vec<[String; 2]> = deleted.iter().map(|event| ["e".to_owned(), event.id.to_hex()]).collect();
        let tags: Vec<Vec<&str>> = ids.iter().map(|tag| tag.iter().map(String::as_str).collect()).collect();
        let tags: Vec<&[&str]> = tags.iter().map(Vec::as_slice).collect();
        self.at_home.push(self.owner.sign(5, now() - 3600, &tags, "").into());
        self.events.insert("gated-deleted", deleted);
    }

    /// What home says no to.
    fn refused(&mut self) {
        for outcome in ["superseded", "held", "refused", "declined", "needs-parent"] {
            self.events.insert(outcome, self.said(&self.owner, self.began, &["t", "x"], &format!("to be {outcome}")));
        }
    }

    fn all(&self) -> impl Iterator<Item = &Signed> {
        self.events.values().flatten()
    }

    fn count(&self) -> usize {
        self.all().count()
    }
}

/// A home that has words for everything.
async fn home(unwanted: &Unwanted) -> HostileRelay {
    let home = HostileRelay::start([
        Behaviour::Negentropy(Negentropy::Error("blocked: no")),
        Behaviour::AnswersOffersOf("to be superseded", false, "replaced: have newer event"),
        Behaviour::AnswersOffersOf("to be held", true, "purgatory: won't be served until git data arrives"),
        Behaviour::AnswersOffersOf("to be refused", false, "invalid: no"),
        Behaviour::AnswersOffersOf("to be declined", false, "blocked: not in the web of trust"),
        Behaviour::AnswersOffersOf("to be needs-parent", false, "blocked: parent event not found"),
    ])
    .await;
    hold(&home, &unwanted.at_home);
    home
}

fn writes(home: &HostileRelay) -> usize {
    home.heard().iter().filter(|message| message[0] == "EVENT").count()
}

async fn keeping(home: &HostileRelay, upstream: &str, unwanted: &Unwanted) -> Embedded {
    let system = Embedded::keeping_url(url(home)).pulling_from_urls(&[upstream.to_owned()]);
    let system = system.blocking(&[unwanted.blocked.public_key()]).with_quick_reconnect(Duration::ZERO).started().await;
    system.until_settled().await;
    system
}

/// What waits for a parent names the repository too, which is at home, so each of these is offered once more; then it waits.
async fn until_all_is_written(home: &HostileRelay) -> usize {
    let expected = 6 * usize::try_from(EACH).unwrap();
    let what = "what home says no to itself to be offered, and what waits once more";
    wait_until(what, PATIENCE, || async { writes(home) == expected }).await;
    expected
}

async fn each_has_its_outcome(system: &Embedded, unwanted: &Unwanted) {
    for (outcome, events) in &unwanted.events {
        assert_eq!(system.outcomes(outcome).await, events.len() as u64, "{outcome}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_20_the_second_and_the_third_cycle_download_nothing_unwanted_over_nip_77() {
    let upstream = LocalRelay::start().await;
    let unwanted = Unwanted::on(&[upstream.url()]);
    upstream.preload(unwanted.all().map(|event| event.json.as_str())).await;
    let home = home(&unwanted).await;
    let mut system = keeping(&home, &upstream.url(), &unwanted).await;
    each_has_its_outcome(&system, &unwanted).await;
    let upstream = RelayUrl::parse(&upstream.url()).unwrap();
    let written = until_all_is_written(&home).await;
    let first = system.upstream_at(&upstream).await.counts;
    println!("the first cycle read {} events and wrote {written}, {} are unwanted", first.events, unwanted.count());
    assert!(unwanted.count() > 1_000 && first.events >= unwanted.count() as u64, "{first:?}");
    for cycle in 2..=3 {
        another_cycle(&mut system).await;
        assert_eq!(system.upstream_at(&upstream).await.counts.events, first.events, "cycle {cycle} downloads nothing");
        assert_eq!(writes(&home), written, "cycle {cycle} writes nothing");
    }
    each_has_its_outcome(&system, &unwanted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_20_over_req_what_is_unwanted_is_read_again_but_neither_verified_nor_written() {
    let copies = who(24);
    let ephemeral: Vec<Signed> = (0..EACH).map(|n| copies.sign(29_846, now(), &[], &format!("{n}")).into()).collect();
    let upstream = HostileRelay::start([Behaviour::Negentropy(Negentropy::Error("blocked: no"))]).await;
    let mut unwanted = Unwanted::on(&[upstream.url()]);
    let tag: [&[&str]; 1] = [&["a", &unwanted.address]];
    let ephemeral = ephemeral.iter().map(|one| copies.sign(29_846, now(), &tag, &one.event().content).into()).collect();
    unwanted.events.insert("gated-ephemeral", ephemeral);
    hold(&upstream, unwanted.all());
    let home = home(&unwanted).await;
    let mut system = keeping(&home, &upstream.url(), &unwanted).await;
    each_has_its_outcome(&system, &unwanted).await;
    let written = until_all_is_written(&home).await;
    let first = system.upstream_at(&url(&upstream)).await.counts;
    let mut before = first;
    for cycle in 2..=3 {
        another_cycle(&mut system).await;
        let counts = system.upstream_at(&url(&upstream)).await.counts;
        println!("cycle {cycle}: {} events read again", counts.events - before.events);
        // What is known is dropped before it is verified; only what is not counts as fresh.
        assert_eq!(counts.fresh, first.fresh, "cycle {cycle} verifies nothing");
        assert_eq!(writes(&home), written, "cycle {cycle} writes nothing");
        // The bound of REQ: each event once for each filter that it answers, and the oldest second of each page again.
        assert!(counts.events - before.events <= first.events, "cycle {cycle}: {counts:?} after {before:?}");
        before = counts;
    }
}
