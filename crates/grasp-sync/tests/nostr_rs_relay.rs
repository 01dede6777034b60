//! The slow suite: what `foreign_relays.rs` and `restarts.rs` ask of other relays, asked of nostr-rs-relay, as upstream and as
//! home. The relay takes minutes to build, once: `scripts/test-nostr-rs-relay`.

mod common;

use common::Relay;
use common::story::{a_long_outage_starts_over, a_short_outage_is_caught_up, comes_home, our_restart_fetches_nothing_twice};

#[tokio::test(flavor = "multi_thread")]
async fn into_nostr_rs_relay_from_a_local_and_a_python_relay() {
    let (near, far) = (Relay::local().await, Relay::python().await);
    comes_home(&Relay::nostr_rs().await, &near, &far).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn into_a_local_relay_from_nostr_rs_relays() {
    let (near, far) = (Relay::nostr_rs().await, Relay::nostr_rs().await);
    comes_home(&Relay::local().await, &near, &far).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_restart_asks_nostr_rs_relay_for_nothing_that_is_confirmed() {
    our_restart_fetches_nothing_twice(&Relay::nostr_rs().await, &[Relay::nostr_rs().await]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_03_nostr_rs_relay_is_away_for_a_moment_and_is_caught_up() {
    a_short_outage_is_caught_up(&Relay::local().await, &mut [Relay::nostr_rs().await]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nostr_rs_relay_is_away_for_longer_than_a_quick_reconnect_and_starts_over() {
    a_long_outage_starts_over(&Relay::local().await, &mut [Relay::nostr_rs().await]).await;
}
