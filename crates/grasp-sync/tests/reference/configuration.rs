//! The page of settings: one table a section, in the order of the file.

use std::fmt::Write;

use grasp_sync::config::{CONFIG_ENV, CONFIG_FILE, Kind, SETTINGS, Setting, Value};

use super::cell;

pub(crate) fn page() -> String {
    let mut text = format!(
        "# Settings\n\n\
         A flag is stronger than the environment, which is stronger than the file, which is stronger than the default. The file is\n\
         `{CONFIG_FILE}` where the process starts, or what `{CONFIG_ENV}` or `--config` names: TOML, with the tables below. In the environment a list is\n\
         separated by blanks or commas, and a variable with `_FILE` behind its name holds the path of a file with the value.\n\
         `grasp-sync config show` prints what is in force, and where each value comes from; a setting or a value that is not known\n\
         ends the process with exit code 2 and says what would be right.\n"
    );
    let mut section = "";
    for setting in &SETTINGS {
        if setting.section != section {
            section = setting.section;
            let head = "| in the file | in the environment | default | what it holds | what it does |\n|---|---|---|---|---|";
            // Writing into a string cannot fail.
            let _ = write!(text, "\n## `[{section}]`\n\n{head}\n");
        }
        text.push_str(&row(setting));
    }
    text
}

fn row(setting: &Setting) -> String {
    let Setting { name, env, unit, doc, kind, default, flag, .. } = setting;
    let flag = flag.map(|flag| format!(", `{flag}`")).unwrap_or_default();
    let default = default.as_ref().map_or_else(|| "unset".to_owned(), shown);
    let holds = bounds(*kind).map_or_else(|| (*unit).to_owned(), |bounds| format!("{unit}, {bounds}"));
    format!("| `{name}` | `{env}`{flag} | {} | {} | {} |\n", cell(&default), cell(&holds), cell(doc))
}

fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("`{text}`"),
        Value::List(items) if items.is_empty() => "empty".to_owned(),
        Value::List(items) => format!("`{}`", items.join("`, `")),
        Value::Number(number) => format!("`{number}`"),
        Value::Bool(is_so) => format!("`{is_so}`"),
        Value::Secret(secret) => format!("`{secret}`"),
    }
}

/// What a number or a duration may be; the words of the others say it already.
fn bounds(kind: Kind) -> Option<String> {
    if let Kind::Count { max } = kind {
        return Some(format!("1 to {max}"));
    }
    let is_duration = matches!(kind, Kind::Duration { .. });
    kind.expected().rsplit_once("from ").filter(|_| is_duration).map(|(_, bounds)| bounds.to_owned())
}
