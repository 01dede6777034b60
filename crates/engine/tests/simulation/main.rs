//! The whole system on virtual time: workers, planners, the state service, relays and home, a bus that loses, delays,
//! repeats and reorders, processes that die and stall past their lease, clocks that are off, relays that cap, refuse and go
//! away. One seed is one story. The invariants are asked after every step; once faults stop, everything comes home.
//!
//! `SIM_SEEDS=20000` runs so many seeds, `SIM_SEED=7` just that one, and shows its log where it fails. `SIM_STOP=1` ends at the
//! first seed that fails.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "how many seeds, and how long they took; the rest is virtual"
)]
#![allow(clippy::print_stdout, clippy::cast_precision_loss, reason = "figures for people")]

#[path = "../common/mod.rs"]
mod common;

mod chance;
mod faults;
mod home;
mod links;
mod network;
mod services;
mod sim;
mod store;
mod universe;
mod worker;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Seeds of a plain test run.
const SEEDS: u64 = 300;

/// A seed that panics has failed like any other, and says which it is.
fn run(seed: u64) -> Result<sim::Ran, String> {
    let ran = catch_unwind(AssertUnwindSafe(|| sim::run(seed)));
    ran.unwrap_or_else(|_| Err(format!("seed {seed}: PANIC is broken: see above\nreplay: just sim --seed {seed}")))
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn whatever_goes_wrong_everything_comes_home_and_nothing_false_is_confirmed() {
    let seeds = match (number("SIM_SEED"), number("SIM_SEEDS")) {
        (Some(seed), _) => seed..=seed,
        (None, count) => 1..=count.unwrap_or(SEEDS),
    };
    let began = Instant::now();
    let (mut failed, mut happened, mut slowest) = (Vec::new(), 0, (0, 0));
    let stops_at_first = number("SIM_STOP").is_some();
    for seed in seeds.clone() {
        if stops_at_first && !failed.is_empty() {
            break;
        }
        match run(seed) {
            Ok(ran) => {
                happened += ran.happened;
                slowest = slowest.max((ran.complete_after, seed));
            }
            Err(failure) => {
                println!("{}", failure.lines().next().unwrap_or_default());
                failed.push((seed, failure));
            }
        }
    }
    let (count, took) = (seeds.count(), began.elapsed());
    println!(
        "{count} seeds, {happened} happenings in {took:?}; the slowest, {}, was complete {} s after the faults",
        slowest.1,
        slowest.0 / 1000
    );
    if let Some((_, first)) = failed.first() {
        let seeds: Vec<u64> = failed.iter().map(|(seed, _)| *seed).collect();
        panic!("{} seeds failed: {seeds:?}\n{first}", failed.len());
    }
}

#[test]
fn i11_the_same_seed_writes_the_same_log() {
    for seed in [1, 2, 3, 44, 75] {
        assert_eq!(sim::run(seed), sim::run(seed));
    }
}
