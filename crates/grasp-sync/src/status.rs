//! `grasp-sync status`: how far the system is, asked of a fleet's state service, or read from the database. A running
//! process is not disturbed.

use std::path::PathBuf;

use bus::{AskError, StateClient};
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use indicatif::{HumanBytes, HumanCount};
use model::{Faulty, LinkView, Nip77, Role, Status, Timestamp, UpstreamStatus};
use state::{OpenError, PostgresStore, SqliteStore};

use crate::config::Places;
use crate::exit::Exit;
use crate::output;
use crate::standing;
use crate::system::{DATABASE, StartError, connect_nats};

const HEADER: [&str; 10] =
    ["upstream", "role", "link", "wanted", "pending", "confirmed", "next", "NIP-77", "events (new)", "bytes read"];
/// The columns with figures.
const FIGURES: [usize; 5] = [3, 4, 5, 8, 9];

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

/// Prints the figures of the system that is at these places.
///
/// # Errors
/// Nobody answers, there is no database, it cannot be read, or stdout is gone.
pub async fn show(places: &Places, json: bool) -> Result<Exit, StatusError> {
    let status = look(places).await?;
    if json {
        output::print_json(&status)?;
    } else {
        output::print(&render(&status, Timestamp::now()))?;
    }
    Ok(Exit::Ok)
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

fn render(status: &Status, now: Timestamp) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(HEADER);
    for upstream in &status.upstreams {
        table.add_row(row(upstream, now));
    }
    for column in FIGURES {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let writes = standing::writes(status.writes).map_or(String::new(), |line| format!("{line}\n"));
    format!("{}\n{writes}{}\n{}{}", summary(status), table.trim_fmt(), reasons(status), faults(status))
}

/// A line for each upstream that is not complete: why, as far as that is known.
fn reasons(status: &Status) -> String {
    let is_open = |one: &&UpstreamStatus| !standing::is_complete(one) && (one.next.is_some() || standing::is_refused(one));
    let line = |one: &UpstreamStatus| standing::why(one).map(|why| format!("{}: {why}\n", one.url));
    status.upstreams.iter().filter(is_open).filter_map(line).collect()
}

/// A line for each upstream that is confirmed although copies of it cannot be taken.
fn faults(status: &Status) -> String {
    let line = |upstream: &UpstreamStatus| {
        let Faulty { at: _, forged, unreadable, astray } = upstream.learned.faulty?;
        let url = &upstream.url;
        let what = format!("{forged} forged, {unreadable} unreadable, {astray} under a foreign id");
        Some(format!("{url}: serves what cannot be taken: {what}\n"))
    };
    status.upstreams.iter().filter_map(line).collect()
}

/// The line that answers "is it complete?".
fn summary(status: &Status) -> String {
    let upstreams: Vec<&UpstreamStatus> = status.upstreams.iter().filter(|one| one.role != Role::Home).collect();
    let confirmed: u64 = upstreams.iter().map(|one| one.confirmed).sum();
    let items: u64 = upstreams.iter().map(|one| one.wanted + one.pending + one.confirmed).sum();
    let up = upstreams.iter().filter(|one| matches!(one.link, LinkView::Up { .. })).count();
    let verdict = if confirmed == items { "complete" } else { "not complete" };
    format!(
        "{verdict}: {} of {} items confirmed, {up} of {} upstreams up; {} repositories, {} roots, {} events at home",
        HumanCount(confirmed),
        HumanCount(items),
        upstreams.len(),
        HumanCount(status.repos),
        HumanCount(status.roots),
        HumanCount(status.at_home)
    )
}

fn row(upstream: &UpstreamStatus, now: Timestamp) -> [String; HEADER.len()] {
    let count = |count: u64| HumanCount(count).to_string();
    let counts = upstream.counts;
    [
        upstream.url.to_string(),
        upstream.role.as_str().to_owned(),
        standing::link(upstream),
        count(upstream.wanted),
        count(upstream.pending),
        count(upstream.confirmed),
        standing::next(upstream, now),
        nip77(upstream).to_owned(),
        format!("{} ({})", HumanCount(counts.events), HumanCount(counts.fresh)),
        HumanBytes(counts.bytes_in).to_string(),
    ]
}

fn nip77(upstream: &UpstreamStatus) -> &'static str {
    match upstream.learned.nip77 {
        Some(Nip77::Works { .. }) => "works",
        Some(Nip77::Refused { .. }) => "refused",
        None => "not known",
    }
}
