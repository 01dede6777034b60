//! docs/reference is made of the code: each page is what its table or its types say, or the test that holds it fails.
//!
//! `GRASP_SYNC_WRITE_REFERENCE=1` writes the pages anew instead (`just reference`).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::wildcard_enum_match_arm, reason = "the enums of syn and serde_json are other people's, and grow")]

#[path = "reference/command_line.rs"]
mod command_line;
#[path = "reference/configuration.rs"]
mod configuration;
#[path = "reference/exit_codes.rs"]
mod exit_codes;
#[path = "reference/messages.rs"]
mod messages;
#[path = "reference/shapes.rs"]
mod shapes;

use std::path::Path;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const ANEW: &str = "GRASP_SYNC_WRITE_REFERENCE";

/// Holds a page to what it is made of; `source` is named at its end.
fn hold(page: &str, text: &str, source: &str) {
    let text = format!(
        "{}\n\n---\nMade of {source}; a test says when it is old. `just reference` makes all pages of this folder anew.\n",
        text.trim_end()
    );
    let path = Path::new(ROOT).join("docs/reference").join(page);
    if std::env::var_os(ANEW).is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "docs/reference/{page} is old: run `just reference`, which is {ANEW}=1 with this test");
}

/// Text as a cell of a table holds it.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[test]
fn the_reference_of_figures_is_what_the_catalogue_says() {
    hold("metrics.md", &grasp_sync::telemetry::catalogue::page(), "`telemetry/catalogue.rs`");
}

#[test]
fn the_reference_of_settings_is_what_their_table_says() {
    hold("configuration.md", &configuration::page(), "`config/settings.rs`");
}

#[test]
fn the_reference_of_exit_codes_is_what_their_table_says() {
    hold("exit-codes.md", &exit_codes::page(), "`exit.rs`");
}

#[test]
fn the_reference_of_the_command_line_is_what_the_parser_says() {
    hold("command-line.md", &command_line::page(), "`cli.rs`");
}

#[test]
fn the_reference_of_messages_is_what_their_types_say() {
    hold("messages.md", &messages::page(), "the types of `crates/model`");
}
