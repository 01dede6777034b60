//! Log lines on stderr: which are written, and how.

use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

use super::TelemetryError;
use crate::config::LogFormat;

/// What `-v` means: the crates of this project speak up, the libraries below them do not.
const VERBOSE: &str = "info,grasp_sync=debug,planner=debug,connector=debug,state=debug,engine=debug,bus=debug";
const VERY_VERBOSE: &str = "info,grasp_sync=trace,planner=trace,connector=trace,state=trace,engine=trace,bus=trace";

/// The layer that writes lines that `filter` passes, in the given format.
pub(super) fn lines<S>(filter: &str, format: LogFormat) -> Result<Box<dyn Layer<S> + Send + Sync>, TelemetryError>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let passed = parsed_filter(filter).map(without_echoes).ok_or_else(|| TelemetryError::Filter(filter.to_owned()))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(wants_colour());
    Ok(match format {
        LogFormat::Text => lines.with_filter(passed).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(passed).boxed(),
    })
}

/// True when `text` is a level or a list of directives that a log filter takes.
pub fn is_filter(text: &str) -> bool {
    parsed_filter(text).is_some()
}

/// The filter that `-v` (`louder`) and `-q` (`quieter`), each counted, ask for; `None` when they cancel out.
pub fn filter_for(louder: u8, quieter: u8) -> Option<&'static str> {
    match i16::from(louder) - i16::from(quieter) {
        ..=-3 => Some("off"),
        -2 => Some("error"),
        -1 => Some("warn"),
        0 => None,
        1 => Some(VERBOSE),
        2.. => Some(VERY_VERBOSE),
    }
}

fn parsed_filter(text: &str) -> Option<EnvFilter> {
    let is_plausible = text.split(',').all(|part| is_directive(part.trim()));
    EnvFilter::try_new(text).ok().filter(|_| is_plausible)
}

/// The bus says itself when its connection is lost or made; its library would say it twice more.
fn without_echoes(filter: EnvFilter) -> EnvFilter {
    let is_told = filter.max_level_hint().is_some_and(|level| level >= LevelFilter::INFO);
    if !is_told || filter.to_string().contains("async_nats") {
        return filter;
    }
    filter.add_directive("async_nats=warn".parse().expect("it is a directive"))
}

/// `EnvFilter` takes any lone word for a target and an empty one for `error`, so a misspelt level would go unnoticed.
fn is_directive(part: &str) -> bool {
    part.contains(['=', '[']) || (!part.is_empty() && part.parse::<LevelFilter>().is_ok())
}

fn wants_colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_level_or_a_list_of_directives_is_a_filter_and_a_misspelt_level_is_not() {
        for text in ["info", "off", "info,connector=debug", "connector[session]=trace"] {
            assert!(is_filter(text), "{text}");
        }
        for text in ["", "inof", "info,", "a=b=c", "connector=loud"] {
            assert!(!is_filter(text), "{text}");
        }
    }

    #[test]
    fn what_the_bus_says_itself_is_not_said_by_its_library_unless_it_is_asked() {
        let after = |text: &str| without_echoes(parsed_filter(text).unwrap()).to_string();
        assert!(after("info").contains("async_nats=warn") && after("info,bus=debug").contains("async_nats=warn"));
        assert_eq!(after("async_nats=trace,info"), parsed_filter("async_nats=trace,info").unwrap().to_string());
        assert_eq!(after("error"), "error");
    }

    #[test]
    fn more_v_is_louder_and_more_q_is_quieter_and_each_is_a_valid_filter() {
        let asked = [(0, 3), (0, 2), (0, 1), (1, 0), (3, 1), (255, 0)];
        let filters = asked.map(|(louder, quieter)| filter_for(louder, quieter));
        let expected = ["off", "error", "warn", VERBOSE, VERY_VERBOSE, VERY_VERBOSE];
        assert_eq!(filters, expected.map(Some));
        assert!(expected.iter().all(|filter| is_filter(filter)));
        assert_eq!(filter_for(2, 2), None);
    }
}
