//! The last hours as two small drawings: how much is confirmed, and how far behind the furthest upstream is.

use super::history::{History, Sample};
use super::html::Html;
use crate::standing::span;

/// The drawing's own measure; the page scales it.
const WIDTH: u64 = 360;
const HEIGHT: u64 = 72;
/// Room above the highest line.
const TOP: u64 = 6;
/// Spans of time that a drawing covers (seconds): the smallest that holds all samples.
const WINDOWS: [u64; 4] = [900, 3_600, 3 * 3_600, 6 * 3_600];
/// A minute behind fills the height where nothing is worse.
const LEAST_BEHIND: u64 = 60;

/// Both drawings.
pub(super) fn charts(history: &History) -> Html {
    let samples: Vec<Sample> = history.samples().collect();
    let mut html = Html::new();
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return html };
    let reach = last.at.as_secs().saturating_sub(first.at.as_secs());
    let window = WINDOWS.into_iter().find(|window| reach <= *window).unwrap_or(WINDOWS[3]);
    let x = |sample: &Sample| WIDTH - (last.at.as_secs().saturating_sub(sample.at.as_secs()) * WIDTH / window).min(WIDTH);
    let coverage = samples.iter().map(|sample| Some((x(sample), sample.confirmed_permille))).collect();
    html.add(drawing(&Drawing {
        name: "Confirmed",
        top: "100 %".to_owned(),
        now: format!("{} % now", permille(last.confirmed_permille)),
        window,
        points: coverage,
        most: 1_000,
    }));
    let worst = samples.iter().filter_map(|sample| sample.behind_secs).max().unwrap_or_default().max(LEAST_BEHIND);
    let behind = samples.iter().map(|sample| sample.behind_secs.map(|secs| (x(sample), secs))).collect();
    html.add(drawing(&Drawing {
        name: "Behind",
        top: span(worst),
        now: said(samples.iter().filter_map(|sample| sample.behind_secs).max()),
        window,
        points: behind,
        most: worst,
    }));
    html
}

/// The worst of all samples: the figure of now is on the page already, and counts on.
fn said(worst: Option<u64>) -> String {
    match worst {
        None => "not every upstream was read".to_owned(),
        Some(0..2) => "never".to_owned(),
        Some(secs) => format!("at most {}", span(secs)),
    }
}

struct Drawing {
    name: &'static str,
    /// What the upper edge means.
    top: String,
    now: String,
    window: u64,
    /// None: a gap.
    points: Vec<Option<(u64, u64)>>,
    most: u64,
}

fn drawing(of: &Drawing) -> Html {
    let Drawing { name, top, now, window, points, most } = of;
    let (line, area) = paths(points, *most);
    let mut html = Html::new();
    html.raw("<figure><figcaption>").raw(name).raw(" <span class=\"now\">").text(now).raw("</span></figcaption>");
    html.raw("<div class=\"plot\"><svg viewBox=\"0 0 360 72\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"");
    html.raw(name).text(&format!(" over the last {}: {now}", span(*window))).raw("\">");
    html.raw("<path class=\"area\" d=\"").escaped(&area).raw("\"/><path class=\"line\" d=\"").escaped(&line).raw("\"/></svg>");
    html.raw("<span class=\"top\">").text(top).raw("</span></div><div class=\"axis\"><span>");
    html.text(&format!("{} ago", span(*window))).raw("</span><span>now</span></div></figure>");
    html
}

/// The line through the points, and the area below it; a gap ends one and begins another.
fn paths(points: &[Option<(u64, u64)>], most: u64) -> (String, String) {
    let (mut line, mut area) = (String::new(), String::new());
    for run in points.split(|point| point.is_none()) {
        let run: Vec<(u64, u64)> = run.iter().flatten().map(|(x, value)| (*x, y(*value, most))).collect();
        let (Some((from, level)), Some((to, _))) = (run.first(), run.last()) else { continue };
        // One point alone is a short line, which is seen.
        let from = if run.len() == 1 { &from.saturating_sub(2) } else { from };
        let through: String = run.iter().map(|(x, y)| format!("L{x} {y}")).collect();
        line += &format!("M{from} {level}{through}");
        area += &format!("M{from} {HEIGHT}L{from} {level}{through}L{to} {HEIGHT}Z");
    }
    (line, area)
}

fn y(value: u64, most: u64) -> u64 {
    HEIGHT - 1 - (value.min(most) * (HEIGHT - TOP - 1)).checked_div(most).unwrap_or_default()
}

/// As percent with one digit behind the point, where that says anything.
pub(super) fn permille(value: u64) -> String {
    match value % 10 {
        0 => (value / 10).to_string(),
        tenth => format!("{}.{tenth}", value / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_no_line_and_a_single_sample_is_seen() {
        let points = [Some((0, 0)), Some((10, 50)), None, Some((30, 100))];
        let (line, area) = paths(&points, 100);
        assert_eq!(line, "M0 71L0 71L10 39M28 6L30 6");
        assert_eq!(area, "M0 72L0 71L0 71L10 39L10 72ZM28 72L28 6L30 6L30 72Z");
    }

    #[test]
    fn what_is_almost_whole_does_not_look_whole() {
        assert_eq!((permille(999), permille(1_000), permille(5)), ("99.9".to_owned(), "100".to_owned(), "0.5".to_owned()));
    }
}
