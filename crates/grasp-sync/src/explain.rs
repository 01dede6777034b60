//! `grasp-sync explain`: what the system knows of one event, repository or upstream, and why it stands as it does. Asked of a
//! fleet's state service, or read from the database. A running process is not disturbed.

mod asked;
mod live;
mod render;

use std::path::PathBuf;

use bus::{AskError, StateClient};
use model::{Explanation, Subject};
use serde::Serialize;
use state::{OpenError, PostgresStore, SqliteStore};

use crate::config::Places;
use crate::exit::Exit;
use crate::output;
use crate::system::{DATABASE, StartError, connect_nats};
pub use asked::{Asked, UnreadableSubject};

/// Why nothing is explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    #[error(transparent)]
    Unreadable(#[from] UnreadableSubject),
    #[error("there is no database at {path}; has `grasp-sync run` been started with this --data-dir?")]
    NoDatabase { path: PathBuf },
    #[error("the database cannot be read: {0}")]
    Store(OpenError),
    #[error(transparent)]
    Place(StartError),
    #[error("the state service does not explain it: {0}")]
    Asked(AskError),
    #[error("the explanation could not be printed: {0}")]
    Output(#[from] std::io::Error),
}

impl ExplainError {
    /// The code that the process ends with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unreadable(_) => Exit::Usage,
            Self::NoDatabase { .. } | Self::Store(_) => Exit::DataDirUnusable,
            Self::Place(why) => why.into(),
            Self::Asked(AskError::Bus(_)) => Exit::Unreachable,
            Self::Asked(AskError::State(_) | AskError::WrongAnswer) | Self::Output(_) => Exit::Failure,
        }
    }
}

/// The JSON document.
#[derive(Serialize)]
struct Told<'a> {
    asked: &'a str,
    is_known: bool,
    #[serde(flatten)]
    explanation: &'a Explanation,
}

/// Prints what is known of `text` at these places. What nobody knows has an exit code of its own.
///
/// # Errors
/// The text names nothing that can be explained, nobody answers, there is no database, it cannot be read, or stdout is gone.
pub async fn show(places: &Places, text: &str, json: bool) -> Result<Exit, ExplainError> {
    let asked = Asked::read(text)?;
    let explanation = look(places, &asked.subject).await?;
    let is_known = explanation.is_known();
    if json {
        output::print_json(&Told { asked: text, is_known, explanation: &explanation })?;
    } else {
        output::print(&render::text(&asked, &explanation))?;
    }
    Ok(if is_known { Exit::Ok } else { Exit::NotKnown })
}

/// What is known as a person reads it.
pub(crate) fn words(asked: &Asked, explanation: &Explanation) -> String {
    render::text(asked, explanation)
}

/// A state service is asked where there may be one; else the database is read.
async fn look(places: &Places, subject: &Subject) -> Result<Explanation, ExplainError> {
    if let Some(url) = &places.nats_url {
        let bus = connect_nats(url, places.role.as_str()).await.map_err(ExplainError::Place)?;
        let told = StateClient::new(bus).explain(subject.clone()).await;
        return told.map(|told| *told).map_err(ExplainError::Asked);
    }
    if places.role.needs_others() {
        return Err(ExplainError::Place(StartError::NoBus(places.role)));
    }
    if let Some(url) = &places.database_url {
        let looked = PostgresStore::explain_at(url.expose(), subject, places.live_limit).await;
        return looked.map_err(|why| ExplainError::Place(StartError::Postgres { url: url.clone(), why }));
    }
    let path = places.data_dir.join(DATABASE);
    if !path.exists() {
        return Err(ExplainError::NoDatabase { path });
    }
    SqliteStore::explain_at(&path, subject, places.live_limit).await.map_err(ExplainError::Store)
}
