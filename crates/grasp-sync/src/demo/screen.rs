//! Progress for a person, on stderr: bars on a terminal, a plain line a second elsewhere. Never writes to stdout.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::view::{UpstreamView, View};
use crate::output;

/// A plain line at most this often.
const LINE_EVERY: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(100);

/// Where progress is shown.
#[derive(Debug)]
pub(super) enum Screen {
    Bars(Bars),
    Lines(Lines),
}

/// One bar per upstream, and one for home.
#[derive(Debug)]
pub(super) struct Bars {
    all: MultiProgress,
    /// The upstreams in order, then home; none until the first look.
    bars: Vec<ProgressBar>,
}

/// The last line, and when it was written.
#[derive(Debug, Default)]
pub(super) struct Lines {
    last: Option<(Instant, String)>,
}

impl Screen {
    /// A log that talks would tear the bars apart, so it gets lines for company.
    pub(super) fn open() -> Self {
        if stderr().is_terminal() && !tracing::enabled!(tracing::Level::INFO) {
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
            Self::Bars(Bars { all, bars: Vec::new() })
        } else {
            Self::Lines(Lines::default())
        }
    }

    /// Says something that stays.
    pub(super) fn say(&self, text: &str) {
        match self {
            // A terminal that is gone leaves nobody to tell.
            Self::Bars(bars) => drop(bars.all.println(text)),
            Self::Lines(_) => output::say(text),
        }
    }

    /// Says what is being done, until the answer is dropped.
    pub(super) fn spin(&self, text: &str) -> Spinner {
        match self {
            Self::Bars(bars) => {
                let spinner = bars.all.add(ProgressBar::new_spinner()).with_message(text.to_owned());
                spinner.enable_steady_tick(TICK);
                Spinner(Some(spinner))
            }
            Self::Lines(_) => {
                output::say(text);
                Spinner(None)
            }
        }
    }

    /// Shows how far everything is.
    pub(super) fn show(&mut self, view: &View) {
        match self {
            Self::Bars(bars) => bars.show(view),
            Self::Lines(lines) => lines.show(view),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        match self {
            Self::Bars(bars) => bars.bars.iter().for_each(ProgressBar::abandon),
            Self::Lines(_) => {}
        }
    }
}

/// Turns until it is dropped.
#[derive(Debug)]
pub(super) struct Spinner(Option<ProgressBar>);

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some(spinner) = &self.0 {
            spinner.finish_and_clear();
        }
    }
}

impl Bars {
    fn show(&mut self, view: &View) {
        if self.bars.is_empty() {
            self.bars = (0..=view.upstreams.len()).map(|_| self.all.add(ProgressBar::new(0).with_style(style()))).collect();
        }
        for (bar, upstream) in self.bars.iter().zip(&view.upstreams) {
            let [wanted, pending, confirmed] = upstream.items();
            bar.set_prefix(upstream.url.to_string());
            set(bar, confirmed, wanted + pending + confirmed);
            bar.set_message(in_words(upstream));
        }
        if let Some(home) = self.bars.last() {
            home.set_prefix("home");
            set(home, view.held as u64, view.expected as u64);
            home.set_message("events held / expected");
        }
    }
}

impl Lines {
    fn show(&mut self, view: &View) {
        let is_early = self.last.as_ref().is_some_and(|(at, _)| at.elapsed() < LINE_EVERY);
        let line = line(view);
        if is_early || self.last.as_ref().is_some_and(|(_, last)| *last == line) {
            return;
        }
        output::say(&line);
        self.last = Some((Instant::now(), line));
    }
}

fn set(bar: &ProgressBar, position: u64, length: u64) {
    bar.set_length(length);
    bar.set_position(position);
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix:<22} {bar:12} {human_pos:>6}/{human_len:<6} {msg}").expect("the template is valid")
}

fn in_words(upstream: &UpstreamView) -> String {
    let Some(found_by) = upstream.found_by() else { return "not found yet".to_owned() };
    let method = upstream.method().unwrap_or("method not known yet");
    format!("items, {found_by}, {method}, {} events", HumanCount(upstream.counts().events))
}

fn line(view: &View) -> String {
    let mut parts = vec![format!("home {}/{} events", HumanCount(view.held as u64), HumanCount(view.expected as u64))];
    for upstream in &view.upstreams {
        let [wanted, pending, confirmed] = upstream.items();
        let (done, all) = (HumanCount(confirmed), HumanCount(wanted + pending + confirmed));
        parts.push(format!("{} {done}/{all} {}", upstream.url, in_words(upstream)));
    }
    parts.join("; ")
}
