//! `sqlx::migrate!` reads files that cargo does not know of.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations/sqlite");
}
