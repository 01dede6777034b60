//! The embedded system between relays that we did not write, with a client that we did not write as the people who publish.
//!
//! Every combination lives the same life: the history comes home whole, the second upstream is found through the announcement
//! alone, what is published later arrives, and nothing else does. Restarts of such relays are in `restarts.rs`.

mod common;

use common::Relay;
use common::story::comes_home;

#[tokio::test(flavor = "multi_thread")]
async fn into_a_local_relay_from_a_local_relay_that_lists_a_python_relay() {
    let near = Relay::local_with_pages_of(25).await;
    let far = Relay::python_with_pages_of(25).await;
    comes_home(&Relay::local().await, &near, &far).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn into_a_local_relay_from_a_python_relay_that_lists_a_local_relay() {
    let near = Relay::python_with_pages_of(25).await;
    let far = Relay::local_with_pages_of(25).await;
    comes_home(&Relay::local().await, &near, &far).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn into_a_python_relay_from_local_relays() {
    let (near, far) = (Relay::local().await, Relay::local().await);
    comes_home(&Relay::python().await, &near, &far).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn into_the_builtin_relay_from_python_relays() {
    let (near, far) = (Relay::python().await, Relay::python_with_pages_of(25).await);
    comes_home(&Relay::counting().await, &near, &far).await;
}
