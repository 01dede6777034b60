//! How the process ends: every exit code, with its meaning.

use std::process::ExitCode;

use state::postgres::ConnectError;

use crate::system::StartError;

/// The exit codes of `grasp-sync`. Documented in `grasp-sync --help`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    Ok,
    /// Anything that has no code of its own.
    Failure,
    /// The code that the command line parser uses too.
    Usage,
    HomeUnreachable,
    DataDirUnusable,
    Incomplete,
    Unreachable,
    Refused,
    NotKnown,
    NotJudged,
    Unwell,
    /// 128 + SIGINT, as shells report it.
    Aborted,
}

/// With what each command may end, by its words. [`Exit::of`] holds every end to it.
pub const ENDS: [(&str, &[Exit]); 10] = {
    use Exit::{
        Aborted, DataDirUnusable, Failure, HomeUnreachable, Incomplete, NotJudged, NotKnown, Ok, Refused, Unreachable, Unwell,
        Usage,
    };
    [
        ("run", &[Ok, Failure, Usage, HomeUnreachable, DataDirUnusable, Unreachable, Refused, Aborted]),
        ("demo", &[Ok, Failure, Usage, DataDirUnusable, Incomplete, Aborted]),
        ("bench", &[Ok, Failure, Usage, DataDirUnusable, Incomplete, Aborted]),
        ("config show", &[Ok, Failure, Usage]),
        ("status", &[Ok, Failure, Usage, DataDirUnusable, Unreachable, Refused, Aborted]),
        ("explain", &[Ok, Failure, Usage, DataDirUnusable, Unreachable, Refused, NotKnown, Aborted]),
        ("verify", &[Ok, Failure, Usage, HomeUnreachable, Incomplete, NotJudged, Aborted]),
        ("migrate", &[Ok, Failure, Usage, DataDirUnusable, Unreachable, Refused, Aborted]),
        ("doctor", &[Ok, Failure, Usage, Unwell, Aborted]),
        ("healthcheck", &[Ok, Failure, Usage, Aborted]),
    ]
};

impl Exit {
    /// The end of a command. A code that [`ENDS`] does not promise for it is a mistake, which ends a debug build.
    #[must_use]
    pub fn of(self, command: &str) -> Self {
        let promised = ENDS.iter().find(|(name, _)| *name == command).is_some_and(|(_, ends)| ends.contains(&self));
        debug_assert!(promised, "{command} ends with {self:?}, which the table of exit codes does not promise");
        self
    }

    /// All of them, by code.
    pub const ALL: [Self; 12] = [
        Self::Ok,
        Self::Failure,
        Self::Usage,
        Self::HomeUnreachable,
        Self::DataDirUnusable,
        Self::Incomplete,
        Self::Unreachable,
        Self::Refused,
        Self::NotKnown,
        Self::NotJudged,
        Self::Unwell,
        Self::Aborted,
    ];

    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::HomeUnreachable => 3,
            Self::DataDirUnusable => 4,
            Self::Incomplete => 5,
            Self::Unreachable => 6,
            Self::Refused => 7,
            Self::NotKnown => 8,
            Self::NotJudged => 9,
            Self::Unwell => 10,
            Self::Aborted => 130,
        }
    }

    /// One line for the help.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "all went well",
            Self::Failure => "unexpected failure",
            Self::Usage => "wrong usage or configuration",
            Self::HomeUnreachable => "home cannot be reached at start",
            Self::DataDirUnusable => "the data directory is locked or cannot be written",
            Self::Incomplete => "incomplete: something that should be at home is missing",
            Self::Unreachable => "the bus or the database cannot be reached",
            Self::Refused => "the bus or the database cannot be used: login, rights, or a schema of another version",
            Self::NotKnown => "nothing is known of what was to be explained",
            Self::NotJudged => "nothing is known to be missing, and not everything could be read",
            Self::Unwell => "doctor found something without which the system does not work",
            Self::Aborted => "aborted by a second signal",
        }
    }

    /// The table for the help, one code a line.
    pub fn table() -> String {
        let line = |exit: &Self| format!("  {:>3}  {}\n", exit.code(), exit.meaning());
        Self::ALL.iter().map(line).collect()
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl From<&StartError> for Exit {
    fn from(error: &StartError) -> Self {
        match error {
            StartError::DataDir { .. } | StartError::InUse { .. } | StartError::Database(_) => Self::DataDirUnusable,
            StartError::Postgres { why, .. } => why.into(),
            StartError::Bus { is_mistake: true, .. } => Self::Refused,
            StartError::Bus { is_mistake: false, .. } => Self::Unreachable,
            StartError::NoHome(_) | StartError::NoBus(_) => Self::Usage,
            StartError::Store(_) => Self::Failure,
        }
    }
}

impl From<&ConnectError> for Exit {
    fn from(error: &ConnectError) -> Self {
        match error {
            ConnectError::BadUrl(_) => Self::Usage,
            ConnectError::Unreachable(_) => Self::Unreachable,
            ConnectError::LoginRefused(_)
            | ConnectError::NoSuchDatabase(_)
            | ConnectError::NotAllowed(_)
            | ConnectError::ForeignSchema(_)
            | ConnectError::SchemaBehind { .. } => Self::Refused,
            ConnectError::Failed(_) => Self::Failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_the_end_of_some_command_and_usage_that_of_all() {
        let ends: BTreeSet<u8> = ENDS.iter().flat_map(|(_, ends)| ends.iter().map(|exit| exit.code())).collect();
        assert_eq!(ends, Exit::ALL.iter().map(|exit| exit.code()).collect());
        assert!(ENDS.iter().all(|(_, ends)| ends.contains(&Exit::Usage) && ends.contains(&Exit::Ok)));
    }

    #[test]
    #[should_panic(expected = "which the table of exit codes does not promise")]
    fn an_end_that_the_table_does_not_promise_is_a_mistake() {
        let _ = Exit::Unwell.of("run");
    }
}
