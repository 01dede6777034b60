//! Waiting for a state, the only way in which a test may let time pass.
//!
//! It looks, says what it saw last when the state never came, and never sleeps longer than one look.

use std::fmt::Debug;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// The pause between two looks: far below what a person notices, far above what a look costs.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits until `look` answers true.
///
/// # Panics
/// After `limit`, naming `what` was waited for.
pub async fn wait_until<F, Fut>(what: &str, limit: Duration, mut look: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    wait_for(what, limit, || {
        let seen = look();
        async { if seen.await { Ok(()) } else { Err("still false") } }
    })
    .await;
}

/// Waits until `look` answers `Ok` and returns that; an `Err` is what was seen instead.
///
/// # Panics
/// After `limit`, naming `what` was waited for and what was seen last. A look that hangs counts against the limit too.
pub async fn wait_for<T, S, F, Fut>(what: &str, limit: Duration, mut look: F) -> T
where
    S: Debug,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, S>>,
{
    // Bounds that are measured later are stretched by what is seen from here on.
    let _ = crate::contention();
    let deadline = Instant::now() + limit;
    let mut last_seen = None;
    loop {
        match timeout(deadline.saturating_duration_since(Instant::now()), look()).await {
            Ok(Ok(reached)) => return reached,
            Ok(Err(seen)) => last_seen = Some(seen),
            Err(_) => {
                panic!("waited {limit:?} for {what}; the last look never came back; last seen: {}", words(last_seen.as_ref()))
            }
        }
        assert!(Instant::now() < deadline, "waited {limit:?} for {what}; last seen: {}", words(last_seen.as_ref()));
        sleep(PAUSE).await;
    }
}

fn words<S: Debug>(last_seen: Option<&S>) -> String {
    last_seen.map_or_else(|| "nothing".to_owned(), |seen| format!("{seen:?}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    async fn message_of(waiting: impl Future<Output = ()> + Send + 'static) -> String {
        let panic = tokio::spawn(waiting).await.unwrap_err().into_panic();
        panic.downcast_ref::<String>().unwrap().clone()
    }

    #[tokio::test]
    async fn a_state_that_comes_late_is_waited_for_and_handed_over() {
        let looks = AtomicU32::new(0);
        let reached = wait_for("the third look", Duration::from_secs(5), || async {
            let look = looks.fetch_add(1, Ordering::Relaxed) + 1;
            if look == 3 { Ok("here") } else { Err(look) }
        })
        .await;
        assert_eq!((reached, looks.load(Ordering::Relaxed)), ("here", 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_state_that_never_comes_is_named_with_what_was_seen_last() {
        let message = message_of(wait_for("forty events", Duration::from_secs(3), || async { Err::<(), _>(39) })).await;
        assert_eq!(message, "waited 3s for forty events; last seen: 39");
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_hangs_does_not_hang_the_test() {
        let message = message_of(wait_until("an answer", Duration::from_secs(2), std::future::pending)).await;
        assert_eq!(message, "waited 2s for an answer; the last look never came back; last seen: nothing");
    }
}
