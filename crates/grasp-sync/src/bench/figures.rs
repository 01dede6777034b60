//! What was measured, over all runs: the one source of the table and the JSON document.

use std::borrow::Cow;

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use serde::Serialize;

/// One figure of one run.
#[derive(Debug, Clone)]
pub(super) struct Figure {
    pub(super) name: Cow<'static, str>,
    pub(super) unit: &'static str,
    pub(super) value: f64,
}

/// All figures of one run, in the order of the table.
pub(super) type Run = Vec<Figure>;

pub(super) fn figure(name: impl Into<Cow<'static, str>>, unit: &'static str, value: f64) -> Figure {
    Figure { name: name.into(), unit, value }
}

/// The result of a measurement.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The subcommand.
    pub(super) work: &'static str,
    /// What was synced, in words.
    pub(super) of: String,
    pub(super) cores: usize,
    /// Whether home ended with exactly what it should hold, or the store found what was written, in every run.
    pub(super) complete: bool,
    pub(super) figures: Vec<Row>,
}

/// One figure over all runs.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    name: Cow<'static, str>,
    unit: &'static str,
    median: f64,
    /// In the order of the runs.
    runs: Vec<f64>,
}

impl Report {
    pub(super) fn of(work: &'static str, of: String, runs: &[Run], complete: bool) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let rows = runs.first().map(Vec::len).unwrap_or_default();
        let figures = (0..rows).map(|row| Row::of(runs.iter().filter_map(|run| run.get(row)))).collect();
        Self { work, of, cores, complete, figures }
    }

    /// For a person.
    pub(super) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(UTF8_FULL_CONDENSED).set_header(["figure", "median", "least", "most", "unit"]);
        for Row { name, unit, median, runs } in &self.figures {
            let (least, most) = (runs.iter().copied().fold(f64::MAX, f64::min), runs.iter().copied().fold(f64::MIN, f64::max));
            table.add_row([name.to_string(), short(*median), short(least), short(most), (*unit).to_owned()]);
        }
        for column in table.column_iter_mut().skip(1).take(3) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let runs = self.figures.first().map_or(0, |row| row.runs.len());
        let verdict = match (self.work, self.complete) {
            ("ledger" | "planner", true) => "everything was found that was written",
            ("ledger" | "planner", false) => "INCOMPLETE: not everything was found that was written",
            (_, true) => "home held exactly what it should",
            (_, false) => "INCOMPLETE: home ended wrong",
        };
        let times = if runs == 1 { "one run".to_owned() } else { format!("{runs} runs") };
        format!("{}: {}; {times} on {} cores\n{}\n{verdict}\n", self.work, self.of, self.cores, table.trim_fmt())
    }
}

impl Row {
    fn of<'a>(figures: impl Iterator<Item = &'a Figure> + Clone) -> Self {
        let first = figures.clone().next().cloned().unwrap_or(figure("", "", 0.0));
        let runs: Vec<f64> = figures.map(|figure| figure.value).collect();
        Self { name: first.name, unit: first.unit, median: median(&runs), runs }
    }
}

/// The middle one; of an even number the mean of the two in the middle; of none, 0.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => 0.0,
        (length, middle) if length % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        (_, middle) => sorted[middle],
    }
}

/// Of sorted values, the one that `percent` of all are not above; of none, 0.
pub(super) fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let nth = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(nth - 1).copied().unwrap_or_default()
}

/// Three digits that matter.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size > 0.0 => format!("{value:.2}"),
        _ => "0".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_the_median_between_the_extremes() {
        let runs = [3.0, 100.0, 2.0].map(|value| vec![figure("rate", "events/s", value)]);
        let report = Report::of("history", "3 events".to_owned(), &runs, true);
        assert_eq!(report.figures[0].median, 3.0);
        let table = report.table();
        let row = table.lines().find(|line| line.contains("rate")).unwrap_or_default();
        let cells: Vec<&str> = row.split('┆').map(|cell| cell.trim_matches(['│', ' '])).collect();
        assert_eq!(cells, ["rate", "3.00", "2.00", "100", "events/s"]);
        assert!(table.contains("3 runs"), "{table}");
    }

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let values: Vec<u64> = (1..=200).collect();
        assert_eq!([50, 99, 100].map(|percent| percentile(&values, percent)), [100, 198, 200]);
        assert_eq!((percentile(&[], 50), percentile(&[7], 1)), (0, 7));
        assert_eq!((median(&[]), median(&[1.0, 2.0])), (0.0, 1.5));
    }
}
