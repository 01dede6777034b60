//! `grasp-sync status`: how far the system is, asked of a fleet's state service, or read from the database. A running
//! process is not disturbed.

mod table;

use std::io::{IsTerminal, stdout};
use std::path::PathBuf;
use std::time::Duration;

use bus::{AskError, StateClient};
use model::{Status, Timestamp};
use serde::Serialize;
use state::{OpenError, PostgresStore, SqliteStore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::config::Places;
use crate::exit::Exit;
use crate::output;
use crate::overview::Overview;
use crate::system::{DATABASE, StartError, connect_nats};

/// How often `--watch` looks.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// Back to the first corner; what is left of a former, longer picture goes line by line and at the end.
const TO_CORNER: &str = "\x1b[H";
const REST_OF_LINE: &str = "\x1b[K\n";
const REST_OF_SCREEN: &str = "\x1b[J";
const ALL_OF_SCREEN: &str = "\x1b[2J";

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    #[error("there is no database at {path}; has `grasp-sync run` been started with this --data-dir?")]
    NoDatabase { path: PathBuf },
    #[error("the status cannot be read: {0}")]
    Store(OpenError),
    #[error(transparent)]
    Place(StartError),
    #[error("the state service does not say its status: {0}")]
    Asked(AskError),
    #[error("the status could not be printed: {0}")]
    Output(#[from] std::io::Error),
}

impl StatusError {
    /// The code that the process ends with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::NoDatabase { .. } | Self::Store(_) => Exit::DataDirUnusable,
            Self::Place(why) => why.into(),
            Self::Asked(AskError::Bus(_)) => Exit::Unreachable,
            Self::Asked(AskError::State(_) | AskError::WrongAnswer) | Self::Output(_) => Exit::Failure,
        }
    }
}

/// How the status is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// One JSON document instead of a table.
    pub json: bool,
    /// Again and again, until nobody reads or somebody asks for an end.
    pub watch: bool,
}

/// The JSON document, here and at `/status.json`: the status, with the answers that are made of it. Fields may be added;
/// those that are there keep their order and their meaning.
#[derive(Debug, Serialize)]
pub struct Document<'a> {
    /// Unix seconds.
    pub now: Timestamp,
    pub overview: Overview,
    #[serde(flatten)]
    pub status: &'a Status,
}

impl<'a> Document<'a> {
    #[must_use]
    pub fn of(status: &'a Status, now: Timestamp) -> Self {
        Self { now, overview: Overview::of(status, now), status }
    }
}

/// Prints the figures of the system that is at these places; with `watch`, every two seconds until `stop` or until nobody reads.
///
/// # Errors
/// Nobody answers, there is no database, it cannot be read, or stdout is gone. Once something was shown, `watch` goes on over
/// everything but the last of these.
pub async fn show(places: &Places, manner: Manner, stop: &CancellationToken) -> Result<Exit, StatusError> {
    let first = look(places).await?;
    if !manner.watch {
        output::print(&text(&first, manner.json, true)?)?;
        return Ok(Exit::Ok);
    }
    let mut screen = Screen { is_terminal: stdout().is_terminal() && !manner.json, is_clear: false };
    let mut looked = Ok(first);
    loop {
        let shown = match &looked {
            Ok(status) => text(status, manner.json, false)?,
            Err(why) => screen.trouble(why),
        };
        if !output::print_to_reader(&screen.picture(&shown))? {
            return Ok(Exit::Ok);
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(Exit::Ok),
            () = sleep(WATCH_EVERY) => {}
        }
        looked = look(places).await;
    }
}

fn text(status: &Status, json: bool, indented: bool) -> Result<String, StatusError> {
    let now = Timestamp::now();
    let document = Document::of(status, now);
    let written = match (json, indented) {
        (false, _) => return Ok(table::text(status, now)),
        (true, true) => serde_json::to_string_pretty(&document),
        (true, false) => serde_json::to_string(&document),
    };
    Ok(written.map_err(std::io::Error::from)? + "\n")
}

/// Where a watched status is drawn: over the former one on a terminal, below it elsewhere.
struct Screen {
    is_terminal: bool,
    is_clear: bool,
}

impl Screen {
    fn picture(&mut self, text: &str) -> String {
        if !self.is_terminal {
            return if text.is_empty() || text.starts_with('{') { text.to_owned() } else { format!("{text}\n") };
        }
        let clear = if self.is_clear { "" } else { ALL_OF_SCREEN };
        self.is_clear = true;
        format!("{clear}{TO_CORNER}{}{REST_OF_SCREEN}", text.replace('\n', REST_OF_LINE))
    }

    /// On a terminal the trouble takes the picture's place; elsewhere stdout carries data only.
    fn trouble(&self, why: &StatusError) -> String {
        if self.is_terminal {
            return format!("{why}; looking again every {} s\n", WATCH_EVERY.as_secs());
        }
        output::complain(&why.to_string());
        String::new()
    }
}

/// A state service is asked where there may be one; else the database is read.
async fn look(places: &Places) -> Result<Status, StatusError> {
    if let Some(url) = &places.nats_url {
        let bus = connect_nats(url, places.role.as_str()).await.map_err(StatusError::Place)?;
        return StateClient::new(bus).status().await.map_err(StatusError::Asked);
    }
    if places.role.needs_others() {
        return Err(StatusError::Place(StartError::NoBus(places.role)));
    }
    if let Some(url) = &places.database_url {
        let looked = PostgresStore::look_at(url.expose()).await;
        return looked.map_err(|why| StatusError::Place(StartError::Postgres { url: url.clone(), why }));
    }
    let path = places.data_dir.join(DATABASE);
    if !path.exists() {
        return Err(StatusError::NoDatabase { path });
    }
    SqliteStore::look_at(&path).await.map_err(StatusError::Store)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::overview::tests::{at, covered, down, status};

    #[test]
    fn the_json_document_begins_with_the_answers_and_keeps_its_order() {
        let status = status(vec![covered("wss://one.example"), down("wss://two.example", Some(700))]);
        let written = serde_json::to_string(&Document::of(&status, at(1_000))).unwrap();
        let expected = r#"{"now":1000,"overview":{"verdict":{"complete_up_to":700},"covered":1,"upstreams":2,"wanted":0,"pending":0,"confirmed":20,"behind_secs":300},"repos":2,"roots":3,"at_home":40,"outcomes":[],"upstreams":[{"#;
        assert!(written.starts_with(expected), "{written}");
        let read: Status = serde_json::from_str(&written).unwrap();
        assert_eq!(read, status, "whoever read the status before reads it still");
    }

    #[test]
    fn on_a_terminal_a_picture_covers_the_former_one_and_on_a_pipe_it_follows() {
        let mut screen = Screen { is_terminal: true, is_clear: false };
        assert_eq!(screen.picture("a\nb\n"), "\x1b[2J\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
        assert_eq!(screen.picture("c\n"), "\x1b[Hc\x1b[K\n\x1b[J");
        let mut pipe = Screen { is_terminal: false, is_clear: false };
        assert_eq!((pipe.picture("a\n"), pipe.picture("{}\n")), ("a\n\n".to_owned(), "{}\n".to_owned()));
    }
}
