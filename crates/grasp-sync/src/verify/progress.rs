//! How far the reading is, for a person, on stderr: a line for each relay that is being read on a terminal, a plain line for
//! each that was read elsewhere. Never writes to stdout.

use std::future::Future;
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use connector::survey::Tally;
use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::interval;

use crate::output;

const TICK: Duration = Duration::from_millis(200);

/// Where progress is shown.
#[derive(Debug)]
pub(super) struct Progress {
    bars: Option<MultiProgress>,
    /// What a relay may take.
    patience: Duration,
}

impl Progress {
    pub(super) fn open(patience: Duration) -> Self {
        let bars = stderr().is_terminal().then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        Self { bars, patience }
    }

    /// Shows how far `reading` is until it ends.
    pub(super) async fn while_reading<T>(&self, name: &str, tally: &Tally, reading: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let bar = self.bars.as_ref().map(|bars| bars.add(ProgressBar::new(0).with_style(style()).with_prefix(name.to_owned())));
        let looking = async {
            let mut ticks = interval(TICK);
            loop {
                ticks.tick().await;
                if let Some(bar) = &bar {
                    self.show(bar, name, tally, began);
                }
            }
        };
        let read = tokio::select! {
            read = reading => read,
            never = looking => never,
        };
        match bar {
            Some(bar) => bar.finish_and_clear(),
            None => output::say(&line(name, tally, began)),
        }
        read
    }

    fn show(&self, bar: &ProgressBar, name: &str, tally: &Tally, began: Instant) {
        let [events, read, filters] = tally.figures();
        bar.set_length(filters);
        bar.set_position(read);
        let limit = if name == "home" { String::new() } else { format!(" of {} s", self.patience.as_secs()) };
        bar.set_message(format!("{} events, {} s{limit}", HumanCount(events), began.elapsed().as_secs()));
    }
}

fn line(name: &str, tally: &Tally, began: Instant) -> String {
    let [events, read, filters] = tally.figures();
    format!("{name}: {read} of {filters} filters read, {} events, {:.1} s", HumanCount(events), began.elapsed().as_secs_f64())
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix:<40} {bar:12} {human_pos:>4}/{human_len:<4} {msg}").expect("the template is valid")
}
