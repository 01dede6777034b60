//! Upstreams with fewer live subscriptions than their chunks call for, on real sockets: what has no room comes with one broad filter on a
//! GRASP peer, and in rotation elsewhere. Larger filters are in `scenarios.rs`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "how long things took is for whoever reads the run")]

mod common;

use std::time::{Duration, Instant};

use common::{Embedded, Project, Relay, Signed, ids, until_home_holds};
use model::{Arrangement, LimitFrom, LiveBudget, RelayUrl};
use serde_json::{Value, json};
use testkit::hostile::{Behaviour, Refusal};
use testkit::{HostileRelay, wait_until};

/// Subscriptions that the upstream takes: five are live, three are kept for history.
const ALLOWED: usize = 8;
/// Each calls for three live filters of its own.
const REPOSITORIES: usize = 5;

/// An upstream that states its limit and keeps to it, with everything that it holds at home, and its last repository.
struct Narrow {
    home: Relay,
    upstream: HostileRelay,
    url: RelayUrl,
    system: Embedded,
    last: Project,
}

impl Narrow {
    async fn stating(grasps: &[&str]) -> Self {
        let home = Relay::counting().await;
        let document = json!({"limitation": {"max_subscriptions": ALLOWED}, "supported_grasps": grasps});
        let refusal = Refusal::Notice("ERROR: too many concurrent REQs");
        let upstream =
            HostileRelay::start([Behaviour::Describes(document), Behaviour::AtMostSubscriptions(ALLOWED, refusal)]).await;
        let url = RelayUrl::parse(&upstream.url()).unwrap();
        let mut all: Vec<Signed> = Vec::new();
        let mut projects: Vec<Project> = Vec::new();
        for number in 0..REPOSITORIES {
            // So long that no two of them share a filter.
            let mut project = Project::named(&format!("{number}{}", "x".repeat(200)));
            all.extend([project.announcement(&[upstream.url()]), project.comment_on_repository("how is it installed?")]);
            project.in_the_present();
            projects.push(project);
        }
        upstream.has_held(all.iter().map(|event| event.json.as_str()));
        let announcements: Vec<&Signed> = all.iter().step_by(2).collect();
        home.has_held(announcements).await;
        let system = Embedded::keeping(&home).started().await;
        until_home_holds(&home, &ids(&all)).await;
        system.until_settled().await;
        let last = projects.pop().unwrap();
        Self { home, upstream, url, system, last }
    }

    async fn budget(&self) -> LiveBudget {
        self.system.explained_upstream(&self.url).await.unwrap().live.budget.unwrap()
    }

    /// Somebody says something about the last repository; how long it takes to come home.
    async fn hears(&mut self, limit: Duration) -> Duration {
        let comment = self.last.comment_on_repository("published");
        self.upstream.publishes(&comment.json);
        let published = Instant::now();
        wait_until("a comment to come home", limit, || async { self.home.held().await.contains(&comment.id) }).await;
        published.elapsed()
    }

    /// Whether a REQ was sent that names many kinds and no tag, for news alone.
    fn is_asked_broadly(&self) -> bool {
        let is_broad = |message: &Value| {
            let kinds = message[2]["kinds"].as_array().map_or(0, Vec::len);
            message[0] == "REQ" && kinds > 10 && message[2]["limit"] == 0
        };
        self.upstream.heard().iter().any(is_broad)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i03_on_a_grasp_peer_what_has_no_room_comes_live_with_one_broad_filter() {
    let mut narrow = Narrow::stating(&["GRASP-01"]).await;
    wait_until("the broad filter", common::PATIENCE, || async { narrow.is_asked_broadly() }).await;
    let took = narrow.hears(common::PATIENCE).await;
    println!("it was at home after {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    let budget = narrow.budget().await;
    assert_eq!((budget.live, budget.reserve, budget.from), (4, 3, LimitFrom::Stated), "one is left for the broad filter");
    assert_eq!(budget.arranged, Arrangement::Broad { first: 1, last: 4, limit: 4 });
}

#[tokio::test(flavor = "multi_thread")]
async fn i03_elsewhere_what_has_no_room_comes_in_rotation_within_two_rounds() {
    let mut narrow = Narrow::stating(&[]).await;
    // A round is a minute.
    let took = narrow.hears(Duration::from_secs(150)).await;
    println!("it was at home after {took:?}");
    assert!(!narrow.is_asked_broadly());
    let budget = narrow.budget().await;
    assert_eq!((budget.live, budget.reserve, budget.from), (5, 3, LimitFrom::Stated));
    assert_eq!(budget.arranged, Arrangement::Polled { first: 1, last: 4, limit: 5 });
    let heard = narrow.upstream.heard();
    assert!(heard.iter().any(|message| message[0] == "REQ" && message[2]["since"].is_u64()), "by pages since a moment");
}
