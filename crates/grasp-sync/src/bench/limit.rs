//! The limit that no history sync can pass: id and signature of every event have to be checked.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::crowd::Scene;
use super::process;

/// Enough for the work to leave the caches of one event.
const EVENTS: usize = 2_000;
const LONG_ENOUGH: Duration = Duration::from_millis(700);

/// Events a second that one core, and all cores together, can check.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verification {
    pub(super) all_cores: f64,
    /// Processor time of one event.
    pub(super) each: Duration,
}

/// Checks events of the shape that is measured, on as many threads as there are cores. Blocks for about a second.
///
/// # Errors
/// The processor time of this process cannot be read.
pub(super) fn verification() -> io::Result<Verification> {
    let crowd = Scene::of(EVENTS).crowd(EVENTS, &["ws://127.0.0.1:1/".to_owned()], 0);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let check = || {
        let began = Instant::now();
        let mut checked = 0_u32;
        while began.elapsed() < LONG_ENOUGH {
            for event in crowd.talk.iter().take(200) {
                assert!(engine::gate::verify(event).is_none(), "a crowd signs its events");
                checked += 1;
            }
        }
        (f64::from(checked), began.elapsed().as_secs_f64())
    };
    let before = process::processor_time()?;
    let checked: Vec<(f64, f64)> = thread::scope(|scope| {
        let running: Vec<_> = (0..cores).map(|_| scope.spawn(check)).collect();
        running.into_iter().map(|thread| thread.join().expect("checking does not panic")).collect()
    });
    let used = process::processor_time()? - before;
    let all_cores = checked.iter().map(|(events, seconds)| events / seconds).sum();
    let events: f64 = checked.iter().map(|(events, _)| events).sum();
    Ok(Verification { all_cores, each: used.div_f64(events) })
}
