//! Prints the effective configuration with the origin of every value, as TOML or as one JSON document.
//!
//! The TOML is a valid config file: loaded again, it gives the same configuration, in which every value is chosen (see
//! `Listen`), but for URLs with a password, which it holds as comments with the password hidden. Never prints itself:
//! returns text.

use model::RelayUrl;
use serde_json::{Map, json};

use super::layers::{Effective, Sourced};
use super::secret::without_userinfo;
use super::settings::{Kind, SETTINGS, Setting, Value};

/// The origin that is shown for a setting that nothing sets.
const NOT_SET: &str = "not set";

impl Effective {
    /// A config file with the effective values; each line ends with a comment that names the origin.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        let mut section = "";
        for setting in &SETTINGS {
            if setting.section != section {
                let blank = if section.is_empty() { "" } else { "\n" };
                section = setting.section;
                out.push_str(&format!("{blank}[{section}]\n"));
            }
            out.push_str(&self.toml_line(setting));
        }
        out
    }

    /// `{section: {key: {"value": …, "origin": …, "unit": …}}}`; a setting that nothing sets has the value `null`.
    pub fn to_json(&self) -> serde_json::Value {
        let mut document = Map::new();
        for setting in &SETTINGS {
            let (value, origin) = match self.get(setting.key) {
                Some(sourced) => (json_value(setting.kind, sourced), sourced.origin.to_string()),
                None => (serde_json::Value::Null, NOT_SET.to_owned()),
            };
            let entry = json!({ "value": value, "origin": origin, "unit": setting.unit });
            let section = document.entry(setting.section).or_insert_with(|| json!({}));
            section[setting.name] = entry;
        }
        document.into()
    }

    fn toml_line(&self, setting: &Setting) -> String {
        let name = setting.name;
        let Some(sourced) = self.get(setting.key) else {
            return format!("# {name} =  # {NOT_SET}; {}\n", setting.unit);
        };
        let value = toml_value(setting.kind, &sourced.value);
        let origin = sourced.origin.to_string();
        // A path may hold a line break, which would end the comment.
        let origin = origin.replace(char::is_control, "?");
        match &sourced.value {
            // A masked password that is loaded again would be a wrong one.
            Value::Secret(secret) if secret.hides_something() => {
                format!("# {name} = {value}  # {origin}; not a setting here, for the password is hidden\n")
            }
            Value::Secret(_) | Value::Text(_) | Value::List(_) | Value::Number(_) | Value::Bool(_) => {
                format!("{name} = {value}  # {origin}\n")
            }
        }
    }
}

fn toml_value(kind: Kind, value: &Value) -> toml::Value {
    match value {
        Value::Text(text) => toml::Value::String(normal(kind, text)),
        Value::List(items) => {
            let items = items.iter().map(|item| normal(kind, item));
            toml::Value::Array(items.map(toml::Value::String).collect())
        }
        Value::Number(number) => toml::Value::Integer(*number),
        Value::Bool(is_so) => toml::Value::Boolean(*is_so),
        Value::Secret(secret) => toml::Value::String(secret.to_string()),
    }
}

fn json_value(kind: Kind, sourced: &Sourced) -> serde_json::Value {
    match &sourced.value {
        Value::Text(text) => normal(kind, text).into(),
        Value::List(items) => {
            let items = items.iter().map(|item| normal(kind, item));
            items.collect::<Vec<_>>().into()
        }
        Value::Number(number) => (*number).into(),
        Value::Bool(is_so) => (*is_so).into(),
        Value::Secret(secret) => secret.to_string().into(),
    }
}

/// URLs as they are compared, all else as it was written.
fn normal(kind: Kind, text: &str) -> String {
    match kind {
        Kind::Home | Kind::RelayUrls => RelayUrl::parse(text).map_or_else(|_| without_userinfo(text), |url| url.to_string()),
        Kind::Entries | Kind::Whom | Kind::Endpoint => without_userinfo(text),
        Kind::Path
        | Kind::Networks
        | Kind::NatsUrl
        | Kind::DatabaseUrl
        | Kind::Role
        | Kind::Name
        | Kind::Bool
        | Kind::Duration { .. }
        | Kind::Count { .. }
        | Kind::LogFilter
        | Kind::LogFormat
        | Kind::Admits
        | Kind::Contact
        | Kind::PublicKey
        | Kind::SecretKey
        | Kind::Token
        | Kind::SocketAddress => text.to_owned(),
    }
}
