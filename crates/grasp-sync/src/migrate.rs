//! `grasp-sync migrate`: brings the schema of the configured database up to date, and says what that changed.

use state::Migrated;

use crate::config::Places;
use crate::exit::Exit;
use crate::output;
use crate::system::{self, DATABASE, StartError};

/// Why the schema is not up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error(transparent)]
    Place(#[from] StartError),
    #[error("the schema is up to date, and that could not be printed: {0}")]
    Output(#[from] std::io::Error),
}

impl MigrateError {
    /// The code that the process ends with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Place(why) => why.into(),
            Self::Output(_) => Exit::Failure,
        }
    }
}

/// Migrates the Postgres database, or without one the file in the data directory.
///
/// # Errors
/// The database cannot be reached or used, or another process has the data directory open.
pub async fn migrate(places: &Places) -> Result<Exit, MigrateError> {
    let migrated = system::migrate(places).await?;
    let place = match &places.database_url {
        Some(url) => url.to_string(),
        None => places.data_dir.join(DATABASE).display().to_string(),
    };
    output::print(&format!("{place}: {}\n", said(migrated)))?;
    Ok(Exit::Ok)
}

fn said(Migrated { before, after }: Migrated) -> String {
    match before {
        None => format!("schema made, version {after}"),
        Some(before) if before == after => format!("schema is up to date, version {after}"),
        Some(before) => format!("schema brought from version {before} to version {after}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_said() {
        let cases = [
            (None, "schema made, version 3"),
            (Some(3), "schema is up to date, version 3"),
            (Some(1), "schema brought from version 1 to version 3"),
        ];
        for (before, words) in cases {
            assert_eq!(said(Migrated { before, after: 3 }), words);
        }
    }
}
