//! How much a machine that is busy with others slows down who works on it: bounds of time judge the code, not the machine's
//! other guests. On a machine that has nothing else to do, a bound is what it says.

use std::fs;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Work long enough to be interrupted, often enough to see a burst, and together a few percent of a core.
const WORK: Duration = Duration::from_millis(10);
const PAUSE: Duration = Duration::from_millis(200);
/// A machine on which everything takes longer than this is not one to measure on.
const MOST: f64 = 4.0;

/// Nanoseconds on a processor, and waiting for one, of the thread that watches.
#[derive(Debug, Default)]
struct Watched {
    ran: AtomicU64,
    waited: AtomicU64,
}

/// `bound`, stretched by as much as work was slowed down in this process since the first call, at most four times.
///
/// # Panics
/// Where `/proc` does not say how long a thread waited for a processor.
#[must_use]
pub fn stretched(bound: Duration) -> Duration {
    bound.mul_f64(factor())
}

/// By how much work was slowed down since the first call of this or of [`stretched`]: 1.0 is not at all.
///
/// # Panics
/// As [`stretched`].
#[must_use]
pub fn factor() -> f64 {
    static WATCHED: OnceLock<&'static Watched> = OnceLock::new();
    let watched = WATCHED.get_or_init(|| {
        let watched: &Watched = Box::leak(Box::default());
        thread::spawn(|| watch(watched));
        watched
    });
    let [ran, waited] = [&watched.ran, &watched.waited].map(|nanos| nanos.load(Ordering::Relaxed) as f64);
    if ran > 0.0 { ((ran + waited) / ran).min(MOST) } else { 1.0 }
}

fn watch(watched: &Watched) {
    loop {
        let [ran, waited] = scheduled();
        let began = Instant::now();
        while began.elapsed() < WORK {
            std::hint::black_box((0..1_000_u64).sum::<u64>());
        }
        let [ran_then, waited_then] = scheduled();
        watched.ran.fetch_add(ran_then - ran, Ordering::Relaxed);
        watched.waited.fetch_add(waited_then - waited, Ordering::Relaxed);
        thread::sleep(PAUSE);
    }
}

/// Of this thread so far, in nanoseconds: on a processor, and waiting for one (proc(5), schedstat).
fn scheduled() -> [u64; 2] {
    let line = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts how threads are scheduled");
    let mut numbers = line.split_whitespace().map_while(|number| number.parse::<u64>().ok());
    [numbers.next(), numbers.next()].map(|number| number.expect("a schedstat has three numbers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn more_work_than_processors_is_seen() {
        assert!(factor() >= 1.0);
        let threads = thread::available_parallelism().map_or(1, usize::from) * 3;
        let end = Instant::now() + Duration::from_secs(5);
        for _ in 0..threads {
            thread::spawn(move || {
                while Instant::now() < end {
                    std::hint::black_box((0..1_000_u64).sum::<u64>());
                }
            });
        }
        crate::wait_until("it to be slowed down", Duration::from_secs(60), || async { factor() > 1.2 }).await;
        assert!(stretched(Duration::from_secs(10)) <= Duration::from_secs(40));
    }
}
