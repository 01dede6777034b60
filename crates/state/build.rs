//! `sqlx::migrate!` reads files that cargo does not know of.

#![allow(clippy::print_stdout, reason = "this is how a build script talks to cargo")]

fn main() {
    println!("cargo::rerun-if-changed=../../migrations/sqlite");
}
