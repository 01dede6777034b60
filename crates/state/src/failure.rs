//! Why a method of a store stopped: an answer that the port has words for, or the database.

use model::StateError;

/// Why a statement or a method stopped.
#[derive(Debug)]
pub(crate) enum Failure {
    Said(StateError),
    Sql(sqlx::Error),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::Said(error)
    }
}

impl From<Failure> for StateError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Said(error) => error,
            Failure::Sql(error) => Self::Store(error.to_string()),
        }
    }
}

/// What a stored value that no version of ours has written looks like.
pub(crate) fn unreadable(what: &str) -> Failure {
    Failure::Said(StateError::Store(format!("the database holds {what} that cannot be read")))
}
