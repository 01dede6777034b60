//! The page of messages: subjects, then every type that a message is made of. It is held to the golden messages of the bus.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use super::shapes::{Body, Field, Form, Shapes};
use super::{ROOT, cell};

/// The messages, as the golden file of a version names them and as their types are called.
const MESSAGES: [(&str, &str); 6] = [
    ("order", "Order"),
    ("report", "Report"),
    ("query", "Query"),
    ("answer", "Answer"),
    ("stored", "Stored"),
    ("git_wanted", "GitWanted"),
];

pub(crate) fn page() -> String {
    let shapes = Shapes::read(&Path::new(ROOT).join("crates/model/src"));
    let mut text = format!(
        "# Messages\n\n\
         What the services of a fleet say to each other over NATS, version {} of it. The payload is JSON; the version stands in the header\n\
         `Grasp-Sync-Version`, the trace in `traceparent`, and `Grasp-Sync-Part` (`<message> <index> <count>`) marks the parts of what is larger than one\n\
         message of the server. A field that is not named here is to be passed over. A form in quotes is text as it stands; `{{\"…\": …}}` is an\n\
         object with this one field. Third parties read [`Stored`](#stored) and [`GitWanted`](#gitwanted); how is in [messages.md](../messages.md).\n\n\
         ## Subjects\n\n{}",
        bus::MESSAGE_VERSION,
        subjects()
    );
    for name in shapes.reached_from(&MESSAGES.map(|(_, name)| name)) {
        describe(&name, &shapes, &mut text);
    }
    text
}

/// The table of the module that builds and parses them.
fn subjects() -> String {
    let source = std::fs::read_to_string(Path::new(ROOT).join("crates/model/src/subject.rs")).unwrap();
    let rows = source.lines().filter_map(|line| line.strip_prefix("//! |"));
    let table: String = rows.map(|row| format!("|{row}\n")).collect();
    assert!(table.lines().count() > 8, "the subjects stand in a table");
    table
}

fn describe(name: &str, shapes: &Shapes, text: &mut String) {
    let shape = shapes.of(name);
    // Writing into a string cannot fail.
    let _ = write!(text, "\n## {name}\n\n");
    if !shape.doc.is_empty() {
        let _ = write!(text, "{}\n\n", shape.doc);
    }
    match &shape.form {
        Form::Object(fields) => {
            text.push_str("| field | type | what |\n|---|---|---|\n");
            fields.iter().for_each(|field| row(&format!("`{}`", field.name), field, text));
        }
        Form::OneOf(variants) => {
            text.push_str("| form | type | what |\n|---|---|---|\n");
            for variant in variants {
                let (form, holds) = match &variant.body {
                    Body::Word => (format!("`\"{}\"`", variant.name), String::new()),
                    Body::One(holds) => (format!("`{{\"{}\": …}}`", variant.name), holds.words()),
                    Body::Fields(_) => (format!("`{{\"{}\": {{…}}}}`", variant.name), "object".to_owned()),
                };
                let _ = writeln!(text, "| {form} | {} | {} |", cell(&holds), cell(&variant.doc));
                if let Body::Fields(fields) = &variant.body {
                    fields.iter().for_each(|field| row(&format!("– `{}`", field.name), field, text));
                }
            }
        }
    }
}

fn row(name: &str, field: &Field, text: &mut String) {
    let _ = writeln!(text, "| {name} | {} | {} |", cell(&field.holds.words()), cell(&field.doc));
}

#[test]
fn every_golden_message_has_the_shape_that_the_reference_tells() {
    let shapes = Shapes::read(&Path::new(ROOT).join("crates/model/src"));
    let path = format!("{ROOT}/crates/bus/tests/golden/v{}.json", bus::MESSAGE_VERSION);
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for (list, name) in MESSAGES {
        let messages = golden[list].as_array().unwrap();
        assert!(!messages.is_empty());
        let misfits: Vec<String> = messages.iter().filter_map(|message| shapes.misfit(name, message)).collect();
        assert_eq!(misfits, [""; 0], "{list}");
    }
    let stranger = serde_json::json!({"upstream": 1, "epoch": 2, "sequence": 3, "said": "never"});
    assert!(shapes.misfit("Report", &stranger).is_some());
}
