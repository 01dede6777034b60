//! What can be wrong with a configuration, in words that say where it stands and what would be right.

use std::fmt;
use std::path::PathBuf;

use model::RelayUrlError;

use super::role::ProcessRole;

/// Where a value comes from, from weak to strong: a later layer wins.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Origin {
    Default,
    File(PathBuf),
    /// The name of the variable.
    Environment(String),
    /// The flag as it is typed.
    Flag(&'static str),
}

/// A configuration that cannot be used, with everything that is wrong with it.
#[derive(PartialEq, Eq, Debug, thiserror::Error)]
pub struct ConfigError {
    /// Never empty; in the order of the layers.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The setting, or the name that is none.
    pub name: String,
    pub origin: Origin,
    pub complaint: Complaint,
}

/// What is wrong. Each completes the sentence "the setting …".
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Complaint {
    #[error("cannot be read: {reason}")]
    Unreadable { reason: String },
    #[error("is not TOML: {message}")]
    Syntax { message: String },
    #[error("is not a setting{}", hint(suggestion.as_deref()))]
    Unknown {
        /// A name that is nearly the same, and where it belongs.
        suggestion: Option<String>,
    },
    #[error("is {found}; expected {expected}")]
    WrongType { found: String, expected: String },
    #[error("is {value:?}; expected {expected}")]
    WrongValue { value: String, expected: String },
    #[error("holds {url:?}: the URL {reason}; expected {expected}")]
    BadUrl { url: String, reason: RelayUrlError, expected: String },
    #[error("is {min:?}, more than refresh_max = {max:?} ({max_origin}); it has to be the smaller one")]
    RefreshOrder { min: String, max: String, max_origin: Origin },
    #[error("holds {url:?}, which is home itself; name other relays only")]
    BootstrapIsHome { url: String },
    /// `role` is the one that cannot do without, unless every role can.
    #[error("is not set{}; expected {expected}, by {flag}, {env} or the file's [{section}] {key}", need(*role))]
    Missing {
        role: Option<ProcessRole>,
        expected: String,
        flag: &'static str,
        env: &'static str,
        section: &'static str,
        key: &'static str,
    },
    #[error("holds {shown}: {why}; expected {expected}")]
    BadSecret {
        /// The URL without its password.
        shown: String,
        why: String,
        expected: String,
    },
    #[error("names a file, and {env} is set too; set one of the two")]
    TwoSources { env: &'static str },
    #[error("names {}, which is empty", path.display())]
    EmptyFile { path: PathBuf },
    #[error("is {beat:?}, which is not less than half of lease_ttl = {ttl:?} ({ttl_origin})")]
    LeaseOrder { beat: String, ttl: String, ttl_origin: Origin },
    #[error("is \"builtin\", a relay inside the process: that goes with role all only, not with role {role}")]
    BuiltinElsewhere { role: ProcessRole },
}

fn need(role: Option<ProcessRole>) -> String {
    role.map_or_else(String::new, |role| format!(", and role {role} needs it"))
}

fn hint(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, origin, complaint } = self;
        match origin {
            Origin::Default => write!(f, "{name} {complaint}"),
            Origin::File(_) | Origin::Environment(_) | Origin::Flag(_) => {
                write!(f, "{name} ({origin}) {complaint}")
            }
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { problems } = self;
        match problems.as_slice() {
            [only] => write!(f, "the configuration cannot be used: {only}"),
            many => {
                write!(f, "the configuration has {} problems:", many.len())?;
                many.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
            }
        }
    }
}
