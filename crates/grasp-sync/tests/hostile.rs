//! Upstreams that misbehave, beside one that does not: each comes to an end that can be seen, and the other one is not disturbed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "the matrix and its times are for whoever reads the run")]

#[path = "hostile/cell.rs"]
mod cell;
mod common;
#[path = "hostile/homes.rs"]
mod homes;
#[path = "hostile/matrix.rs"]
mod matrix;

use std::time::{Duration, Instant};

use cell::{Cell, Look};
use common::{Embedded, Project, Relay, ids, until_home_holds};
use futures_util::future::join_all;
use model::{LinkView, UpstreamStatus};
use testkit::hostile::{Behaviour, Link};
use testkit::{HostileRelay, stretched, wait_until};
use tokio::sync::Mutex;

/// Each test has the machine for itself: they measure time.
static ALONE: Mutex<()> = Mutex::const_new(());

/// A cell's end so far.
struct Seen {
    cell: Cell,
    took: Option<Duration>,
    look: Look,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_behaviour_of_an_upstream_comes_to_an_end_that_can_be_seen() {
    let _alone = ALONE.lock().await;
    let other = HostileRelay::start([]).await;
    beside_a_healthy_one(matrix::cells(&other.url()).await, Duration::from_secs(5)).await;
    assert_eq!(other.connections(), 0, "nobody follows a redirect");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_limit_of_subscriptions_and_every_behaviour_of_home_comes_to_an_end_that_can_be_seen() {
    let _alone = ALONE.lock().await;
    let limits = beside_a_healthy_one(matrix::limits().await, Duration::from_secs(5));
    let (homes, ()) = tokio::join!(join_all(homes::cells()), limits);
    print_homes(&homes);
    let late: Vec<&str> = homes.iter().filter(|ran| ran.took.is_none()).map(|ran| ran.name).collect();
    assert!(late.is_empty(), "not at their end in time: {late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_10_a_hundred_black_holes_do_not_delay_a_healthy_upstream() {
    let _alone = ALONE.lock().await;
    let (home, healthy) = (Relay::counting().await, Relay::counting().await);
    let mut urls = Vec::new();
    let mut holes = Vec::new();
    for number in 0..100 {
        // Before the upgrade, and after it.
        let hole = if number % 2 == 0 { Link::BlackHole } else { Link::Deaf };
        holes.push(HostileRelay::start([Behaviour::Link(hole)]).await);
        urls.push(holes[number].url());
    }
    // The last one in every order that there is.
    urls.push(healthy.url());
    let mut project = Project::named("healthy");
    let history = project.history(&urls, 50);
    healthy.has_held(&history).await;
    let began = Instant::now();
    let system = Embedded::keeping(&home).pulling_from_urls(&urls).started().await;
    wait_until("the first event", common::PATIENCE, || async { !home.held().await.is_empty() }).await;
    let first = began.elapsed();
    until_home_holds(&home, &ids(&history)).await;
    let all = began.elapsed();
    project.in_the_present();
    let live = common::reply_arrives(&mut project, &healthy, &home).await;
    println!("beside 100 black holes: the first event after {first:?}, all after {all:?}, a live one {live:?} after its OK");
    assert!(first < stretched(Duration::from_secs(2)), "{first:?}");
    wait_until("every hole to be dialed", common::PATIENCE, || async { holes.iter().all(|hole| hole.connections() > 0) }).await;
    let is_held = |one: &UpstreamStatus| matches!(one.link, LinkView::Up { .. }) || one.failures > 0;
    system
        .until("every hole to be seen", common::PATIENCE, |status| {
            status.upstreams.len() == 102 && status.upstreams.iter().all(is_held)
        })
        .await;
}

/// Runs the cells beside an upstream that does everything right, whose live events must be at home within a bound.
async fn beside_a_healthy_one(cells: Vec<Cell>, undisturbed: Duration) {
    let (home, healthy) = (Relay::counting().await, Relay::counting().await);
    let mut project = Project::named("healthy");
    let history = project.history(&[healthy.url()], 100);
    healthy.has_held(&history).await;
    home.has_held(cells.iter().flat_map(|cell| &cell.at_home)).await;
    let began = Instant::now();
    let told = cells.iter().filter(|cell| cell.is_told).map(|cell| cell.url.clone());
    let system = Embedded::keeping(&home).pulling_from([&healthy]).telling(told).started().await;
    let expected = ids(&history);
    wait_until("the healthy upstream's history", common::PATIENCE, || async { expected.is_subset(&home.held().await) }).await;
    println!("the healthy upstream's history was at home after {:?}", began.elapsed());
    project.in_the_present();
    let mut seen: Vec<Seen> =
        cells.into_iter().map(|cell| Seen { cell, took: None, look: Look::Underway { open: 0, missing: 0 } }).collect();
    let mut slowest = Duration::ZERO;
    let longest = seen.iter().map(|one| one.cell.bound).max().expect("there are cells");
    while began.elapsed() < stretched(longest) && seen.iter().any(|one| one.took.is_none()) {
        slowest = slowest.max(common::reply_arrives(&mut project, &healthy, &home).await);
        look_at(&mut seen, &system, &home, began).await;
    }
    print_matrix(&seen);
    println!("bounds are stretched by {:.2}, as this machine is slowed down by its other work", testkit::contention());
    println!("the slowest live event of the healthy upstream took {slowest:?}");
    let late: Vec<&str> = seen.iter().filter(|one| !one.is_in_time()).map(|one| one.cell.name).collect();
    assert!(late.is_empty(), "not at their end in time: {late:?}");
    let against_our_word: Vec<&str> =
        seen.iter().filter(|one| !one.cell.is_told && one.cell.times_told() > 0).map(|one| one.cell.name).collect();
    assert!(against_our_word.is_empty(), "told who we are without consent: {against_our_word:?}");
    assert!(slowest < stretched(undisturbed), "{slowest:?}");
}

impl Seen {
    fn is_in_time(&self) -> bool {
        self.took.is_some_and(|took| took <= stretched(self.cell.bound))
    }
}

async fn look_at(seen: &mut [Seen], system: &Embedded, home: &Relay, began: Instant) {
    let (status, held) = (system.status().await, home.held().await);
    for one in seen.iter_mut().filter(|one| one.took.is_none()) {
        one.look = one.cell.look(&status.upstreams, &held);
        one.took = one.cell.ends.is(&one.look).then(|| began.elapsed());
    }
}

fn print_homes(homes: &[homes::Ran]) {
    for homes::Ran { name, bound, took, end } in homes {
        let after = took.map_or_else(|| "-".to_owned(), |took| format!("{:.1}", took.as_secs_f64()));
        println!("{after:>7} {:>6}  {name:<46} {end}", bound.as_secs());
    }
}

fn print_matrix(seen: &[Seen]) {
    println!("{:>7} {:>6}  {:<46} end", "after s", "bound", "behaviour");
    for Seen { cell, took, look } in seen {
        let after = took.map_or_else(|| "-".to_owned(), |took| format!("{:.1}", took.as_secs_f64()));
        println!("{after:>7} {:>6}  {:<46} {look}", cell.bound.as_secs(), cell.name);
    }
}
