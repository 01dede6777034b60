//! Tells the program what it was built from: commit, compiler, target. A debug build names no commit, or every commit would
//! build all tests anew.
#![allow(clippy::print_stdout, reason = "cargo listens there")]

mod checkout;

use std::env;
use std::path::Path;
use std::process::Command;

/// What a build of unpacked sources names as its commit, where its packager knows it.
const GIVEN: &str = "GRASP_SYNC_BUILT_FROM";

fn main() {
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-env-changed={GIVEN}");
    println!("cargo::rustc-env=GRASP_SYNC_COMMIT={}", commit().unwrap_or_else(|| "none".to_owned()));
    println!("cargo::rustc-env=GRASP_SYNC_RUSTC={}", compiler().unwrap_or_else(|| "unknown".to_owned()));
    println!("cargo::rustc-env=GRASP_SYNC_TARGET={}", variable("TARGET").unwrap_or_else(|| "unknown".to_owned()));
}

fn commit() -> Option<String> {
    if let Some(given) = variable(GIVEN) {
        return Some(given);
    }
    if variable("PROFILE")? == "debug" {
        return None;
    }
    let checkout = checkout::of(Path::new(&variable("CARGO_MANIFEST_DIR")?))?;
    for file in &checkout.changes_with {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    Some(checkout.commit)
}

fn compiler() -> Option<String> {
    let told = Command::new(variable("RUSTC")?).arg("--version").output().ok()?;
    let line = String::from_utf8(told.stdout).ok()?;
    Some(line.trim().trim_start_matches("rustc ").to_owned())
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
