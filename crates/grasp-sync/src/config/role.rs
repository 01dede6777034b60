//! The roles of a process: which services of the system run in it.

use std::fmt;

/// What a process does. A fleet has any number of connectors and planners, and at least one process that keeps the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProcessRole {
    All,
    State,
    Planner,
    Connector,
}

impl ProcessRole {
    pub const ALL: [Self; 4] = [Self::All, Self::State, Self::Planner, Self::Connector];

    /// The word of the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::State => "state",
            Self::Planner => "planner",
            Self::Connector => "connector",
        }
    }

    pub(super) fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }

    /// Whether the state service runs in the process.
    #[must_use]
    pub fn keeps_state(self) -> bool {
        match self {
            Self::All | Self::State => true,
            Self::Planner | Self::Connector => false,
        }
    }

    /// Whether the process has to know which relay is home: to write to it, or never to take it for an upstream.
    #[must_use]
    pub fn needs_home(self) -> bool {
        match self {
            Self::All | Self::State | Self::Connector => true,
            Self::Planner => false,
        }
    }

    /// Whether the process is of no use without others, which it meets on NATS.
    #[must_use]
    pub fn needs_others(self) -> bool {
        match self {
            Self::All => false,
            Self::State | Self::Planner | Self::Connector => true,
        }
    }
}

impl fmt::Display for ProcessRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
