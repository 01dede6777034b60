//! The four layers of the configuration and how they are laid over each other: default < file < environment < flags.
//!
//! Keeps the origin of every value. Judges shapes and names only; contents are judged in `typed`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::problem::{Complaint, Origin, Problem};
use super::settings::{Key, Kind, SETTINGS, Setting, Shape, Value};

/// Names the file when no flag does.
pub const CONFIG_ENV: &str = "GRASP_SYNC_CONFIG";
/// Read when neither flag nor environment names a file, if it is there.
pub const CONFIG_FILE: &str = "grasp-sync.toml";

const ENV_PREFIX: &str = "GRASP_SYNC_";
/// Behind a variable's name: it names a file that holds the value, as secrets are handed to containers.
const FILE_SUFFIX: &str = "_FILE";
/// What every program with OpenTelemetry listens to: weaker than all names of ours, the file's among them.
const STANDARD_OTLP_ENV: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Everything that a configuration is read from, apart from the table's defaults.
#[derive(Clone, Default)]
pub struct Sources {
    /// The file, if one is named or found. [`find_file`] chooses it.
    pub file: Option<PathBuf>,
    /// Variables of the environment; those of others are passed over.
    pub environment: Vec<(String, String)>,
    pub flags: Vec<FlagValue>,
}

impl fmt::Debug for Sources {
    /// Without the texts of the environment, where passwords stand.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, environment, flags } = self;
        let environment: Vec<&str> = environment.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Sources").field("file", file).field("environment", &environment).field("flags", flags).finish()
    }
}

/// A setting given on the command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlagValue {
    pub key: Key,
    /// As typed, for messages: `--home`.
    pub flag: &'static str,
    pub value: Value,
}

/// A value and where it comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sourced {
    pub value: Value,
    pub origin: Origin,
}

/// The layers laid over each other: for each setting the strongest value.
#[derive(Clone, Debug)]
pub struct Effective {
    pub(super) values: BTreeMap<Key, Sourced>,
    /// Found while reading; joined with those found while judging.
    pub(super) problems: Vec<Problem>,
}

/// Chooses the file: the flag's, else the environment's, else [`CONFIG_FILE`] in `directory` if it is there.
pub fn find_file(flag: Option<PathBuf>, environment: &[(String, String)], directory: &Path) -> Option<PathBuf> {
    let named =
        environment.iter().find(|(name, path)| name == CONFIG_ENV && !path.is_empty()).map(|(_, path)| PathBuf::from(path));
    let found = || Some(directory.join(CONFIG_FILE)).filter(|path| path.exists());
    flag.or(named).or_else(found)
}

impl Sourced {
    fn new(value: Value, origin: Origin) -> Self {
        Self { value, origin }
    }
}

impl Effective {
    /// Reads all layers. Problems are kept and told by [`Effective::config`], with those of the contents.
    pub fn gather(sources: Sources) -> Self {
        let mut effective = Self::defaults();
        effective.lay_standard_variable(&sources.environment);
        if let Some(path) = sources.file {
            effective.lay_file(path);
        }
        for (name, text) in &sources.environment {
            effective.lay_variable(name, text, &sources.environment);
        }
        for FlagValue { key, flag, value } in sources.flags {
            effective.lay(key, value, Origin::Flag(flag));
        }
        effective
    }

    /// The value of a setting, unless nothing sets it.
    pub fn get(&self, key: Key) -> Option<&Sourced> {
        self.values.get(&key)
    }

    pub(super) fn defaults() -> Self {
        let given = |setting: &Setting| {
            let value = match (setting.default.clone()?, setting.kind.shape()) {
                // The table cannot hold a list with items: they stand in it as in a variable.
                (Value::Text(text), Shape::List) => shaped_text(setting.kind, &text)?,
                (value, _) => value,
            };
            Some((setting.key, Sourced::new(value, Origin::Default)))
        };
        Self { values: SETTINGS.iter().filter_map(given).collect(), problems: Vec::new() }
    }

    pub(super) fn lay(&mut self, key: Key, value: Value, origin: Origin) {
        self.values.insert(key, Sourced::new(value, origin));
    }

    fn complain(&mut self, name: &str, origin: Origin, complaint: Complaint) {
        self.problems.push(Problem { name: name.to_owned(), origin, complaint });
    }

    fn lay_standard_variable(&mut self, environment: &[(String, String)]) {
        let given = environment.iter().find(|(name, text)| name == STANDARD_OTLP_ENV && !text.trim().is_empty());
        if let Some((name, text)) = given {
            let value = Value::Text(Cow::Owned(text.trim().to_owned()));
            self.lay(Key::OtlpEndpoint, value, Origin::Environment(name.clone()));
        }
    }

    fn lay_file(&mut self, path: PathBuf) {
        match std::fs::read_to_string(&path) {
            Ok(text) => self.lay_toml(&text, &Origin::File(path)),
            Err(error) => {
                self.complain("the file", Origin::File(path), Complaint::Unreadable { reason: error.to_string() });
            }
        }
    }

    /// What stands in a file.
    pub(super) fn lay_toml(&mut self, text: &str, origin: &Origin) {
        match text.parse::<toml::Table>().map_err(|error| syntax(&error, text)) {
            Ok(table) => table.into_iter().for_each(|(section, value)| self.lay_section(&section, value, origin)),
            Err(complaint) => self.complain("the file", origin.clone(), complaint),
        }
    }

    fn lay_section(&mut self, section: &str, value: toml::Value, origin: &Origin) {
        let is_known = SETTINGS.iter().any(|setting| setting.section == section);
        let found = described(&value);
        let complaint = match (is_known, value) {
            (true, toml::Value::Table(keys)) => {
                return keys.into_iter().for_each(|(name, value)| self.lay_key(section, &name, value, origin));
            }
            (true, _) => Complaint::WrongType { found, expected: format!("a table [{section}]") },
            (false, value) if value.is_table() => Complaint::Unknown { suggestion: similar_section(section) },
            (false, _) => Complaint::Unknown { suggestion: similar_key(section) },
        };
        self.complain(section, origin.clone(), complaint);
    }

    fn lay_key(&mut self, section: &str, name: &str, value: toml::Value, origin: &Origin) {
        let is_this = |setting: &&Setting| setting.section == section && setting.name == name;
        let Some(setting) = SETTINGS.iter().find(is_this) else {
            let suggestion = similar_key(name);
            let name = format!("[{section}] {name}");
            return self.complain(&name, origin.clone(), Complaint::Unknown { suggestion });
        };
        match shaped(setting.kind, value) {
            Ok(value) => self.lay(setting.key, value, origin.clone()),
            Err(found) => {
                let expected = setting.kind.expected();
                let complaint = Complaint::WrongType { found, expected };
                self.complain(name, origin.clone(), complaint);
            }
        }
    }

    fn lay_variable(&mut self, name: &str, text: &str, all: &[(String, String)]) {
        let text = text.trim();
        // Compose files pass on an unset variable as an empty one.
        if !name.starts_with(ENV_PREFIX) || name == CONFIG_ENV || text.is_empty() {
            return;
        }
        if let Some(setting) = SETTINGS.iter().find(|setting| setting.env == name) {
            return self.lay_text(setting, text, name);
        }
        match SETTINGS.iter().find(|setting| Some(setting.env) == name.strip_suffix(FILE_SUFFIX)) {
            Some(setting) => match named_file(setting, text, all) {
                Ok(content) => self.lay_text(setting, content.trim(), name),
                Err(complaint) => self.complain(setting.name, Origin::Environment(name.to_owned()), complaint),
            },
            None => self.lay_unknown_variable(name),
        }
    }

    fn lay_text(&mut self, setting: &Setting, text: &str, variable: &str) {
        let origin = Origin::Environment(variable.to_owned());
        match shaped_text(setting.kind, text) {
            Some(value) => self.lay(setting.key, value, origin),
            None => {
                let complaint = Complaint::WrongValue { value: text.to_owned(), expected: setting.kind.expected() };
                self.complain(setting.name, origin, complaint);
            }
        }
    }

    /// Only a near miss is a mistake: orchestrators set variables like `GRASP_SYNC_SERVICE_HOST` unasked.
    fn lay_unknown_variable(&mut self, name: &str) {
        // The prefix is the same for all, and no part of the likeness.
        let known = SETTINGS.iter().map(|setting| &setting.env[ENV_PREFIX.len()..]);
        let (stem, suffix) = name.strip_suffix(FILE_SUFFIX).map_or((name, ""), |stem| (stem, FILE_SUFFIX));
        let suggestion = most_similar(stem.strip_prefix(ENV_PREFIX).unwrap_or(stem), known);
        if let Some(known) = suggestion {
            let suggestion = Some(format!("{ENV_PREFIX}{known}{suffix}"));
            self.complain(name, Origin::Environment(name.to_owned()), Complaint::Unknown { suggestion });
        }
    }
}

/// What the file holds that a variable names, unless another variable holds the value itself.
fn named_file(setting: &Setting, path: &str, all: &[(String, String)]) -> Result<String, Complaint> {
    if all.iter().any(|(name, text)| name == setting.env && !text.trim().is_empty()) {
        return Err(Complaint::TwoSources { env: setting.env });
    }
    let content = std::fs::read_to_string(path);
    let content = content.map_err(|error| Complaint::Unreadable { reason: format!("{path}: {error}") })?;
    if content.trim().is_empty() {
        return Err(Complaint::EmptyFile { path: PathBuf::from(path) });
    }
    Ok(content)
}

/// What is wrong with a file that is no TOML. A line that may hold a password is not quoted.
fn syntax(error: &toml::de::Error, text: &str) -> Complaint {
    let whole = error.to_string();
    let message = match whole.lines().next() {
        Some(place) if text.contains('@') || text.contains("auth_key") => format!("{place}: {}", error.message()),
        Some(_) | None => whole.trim_end().replace('\n', "\n    "),
    };
    Complaint::Syntax { message }
}

/// The value in the shape of its kind, or what was found instead.
fn shaped(kind: Kind, value: toml::Value) -> Result<Value, String> {
    let wrong = described(&value);
    match (kind.shape(), value) {
        (Shape::List, toml::Value::Array(items)) => texts(items).map(Value::List),
        (Shape::Number, toml::Value::Integer(number)) => Ok(Value::Number(number)),
        (Shape::Bool, toml::Value::Boolean(is_so)) => Ok(Value::Bool(is_so)),
        (Shape::Secret, toml::Value::String(text)) => Ok(Value::Secret(text.into())),
        (Shape::Text, toml::Value::String(text)) => Ok(Value::Text(Cow::Owned(text))),
        (_, _) => Err(wrong),
    }
}

fn texts(items: Vec<toml::Value>) -> Result<Vec<String>, String> {
    let text = |item: toml::Value| {
        let text = item.as_str().map(str::to_owned);
        text.ok_or_else(|| format!("a list that holds {}", described(&item)))
    };
    items.into_iter().map(text).collect()
}

/// A variable's text in the shape of its kind. Blanks and commas separate the items of a list.
fn shaped_text(kind: Kind, text: &str) -> Option<Value> {
    match kind.shape() {
        Shape::List => {
            let items = text.split(|c: char| c == ',' || c.is_whitespace());
            let named = items.filter(|item| !item.is_empty());
            Some(Value::List(named.map(str::to_owned).collect()))
        }
        Shape::Number => text.parse().ok().map(Value::Number),
        Shape::Bool => text.parse().ok().map(Value::Bool),
        Shape::Secret => Some(Value::Secret(text.to_owned().into())),
        Shape::Text => Some(Value::Text(Cow::Owned(text.to_owned()))),
    }
}

fn described(value: &toml::Value) -> String {
    if value.is_table() {
        "a table".to_owned()
    } else if value.is_array() {
        "a list".to_owned()
    } else if value.as_str().is_some_and(|text| text.contains('@')) {
        // It may be a URL with a password, in the wrong place.
        "a string".to_owned()
    } else {
        format!("the {} {value}", value.type_str())
    }
}

fn similar_key(name: &str) -> Option<String> {
    let found = most_similar(name, SETTINGS.iter().map(|setting| setting.name))?;
    let setting = SETTINGS.iter().find(|setting| setting.name == found)?;
    Some(format!("[{}] {}", setting.section, setting.name))
}

fn similar_section(name: &str) -> Option<String> {
    let found = most_similar(name, SETTINGS.iter().map(|setting| setting.section))?;
    Some(format!("[{found}]"))
}

/// The candidate that differs by a slip or two, in at most a third of its letters.
fn most_similar<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |candidate: &&str| strsim::damerau_levenshtein(name, candidate);
    let nearest = candidates.min_by_key(distance)?;
    let slips = distance(&nearest);
    (slips <= 3 && slips * 3 <= nearest.len()).then_some(nearest)
}
