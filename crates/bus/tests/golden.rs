//! The messages as they travel, fixed per version in `golden/v<version>.json`: services of neighbouring releases talk.
//!
//! Held here: today's code writes exactly the JSON of [`MESSAGE_VERSION`], reads it back as the same message, and still
//! reads the files of all versions before it. Every variant of every enum has a sample; a new variant or field does not
//! compile until it has one.
//!
//! Until the first release, version 1 is what today writes. To change a message after it:
//! - An optional field (`#[serde(default)]`, left out by older writers, ignored by older readers): the version stays, and the
//!   samples of the file gain the field.
//! - Anything else (a variant, a field that must be there, a name): `MESSAGE_VERSION` grows by one and a new file joins.
//!   The files before it stay as they are.
//!
//! A test that fails over the newest file leaves what it expects in the target folder, and says where.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod samples;

use std::path::{Path, PathBuf};

use bus::MESSAGE_VERSION;
use model::{Answer, GitWanted, Order, Query, Report, Stored};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn golden(version: u32) -> (PathBuf, Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/v{version}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    (path, serde_json::from_str(&text).unwrap_or_default())
}

fn samples() -> Value {
    json!({
        "report": samples::reports(),
        "order": samples::orders(),
        "query": samples::queries(),
        "answer": samples::answers(),
        "stored": samples::stored(),
        "git_wanted": samples::git_wanted(),
    })
}

/// Each message of a file, read as what it is.
fn read<T: DeserializeOwned>(golden: &Value, kind: &str) -> Vec<T> {
    let messages = golden[kind].as_array().unwrap_or_else(|| panic!("the file has no list of `{kind}`"));
    messages.iter().map(|one| serde_json::from_value(one.clone()).unwrap_or_else(|why| panic!("{why}: {one}"))).collect()
}

fn hold<T: DeserializeOwned + PartialEq + std::fmt::Debug>(golden: &Value, kind: &str, samples: &[T]) {
    assert_eq!(read::<T>(golden, kind), samples, "`{kind}` reads as other messages than it was written from");
}

#[test]
fn todays_messages_are_written_as_the_golden_file_of_their_version_has_them() {
    let (path, golden) = golden(MESSAGE_VERSION);
    let today = samples();
    if golden != today {
        let written = Path::new(env!("CARGO_TARGET_TMPDIR")).join(path.file_name().unwrap());
        std::fs::write(&written, format!("{today:#}\n")).unwrap();
        panic!("{} is not what today's code writes; that is in {}", path.display(), written.display());
    }
}

#[test]
fn todays_messages_read_back_as_they_were() {
    let (_, golden) = golden(MESSAGE_VERSION);
    hold(&golden, "report", &samples::reports());
    hold(&golden, "order", &samples::orders());
    hold(&golden, "query", &samples::queries());
    hold(&golden, "answer", &samples::answers());
    hold(&golden, "stored", &samples::stored());
    hold(&golden, "git_wanted", &samples::git_wanted());
}

#[test]
fn messages_of_every_version_so_far_are_still_read() {
    for version in 1..=MESSAGE_VERSION {
        let (_, golden) = golden(version);
        assert!(!read::<Report>(&golden, "report").is_empty());
        assert!(!read::<Order>(&golden, "order").is_empty());
        assert!(!read::<Query>(&golden, "query").is_empty());
        assert!(!read::<Answer>(&golden, "answer").is_empty());
        assert!(!read::<Stored>(&golden, "stored").is_empty());
        assert!(!read::<GitWanted>(&golden, "git_wanted").is_empty());
    }
}

/// A newer sender of the same version may say more than we know.
#[test]
fn fields_that_nobody_knows_are_passed_over() {
    fn with_more<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(samples: Vec<T>) {
        for sample in samples {
            let mut message = serde_json::to_value(&sample).unwrap();
            add_to_objects(&mut message);
            assert_eq!(serde_json::from_value::<T>(message).unwrap(), sample);
        }
    }
    with_more(samples::reports());
    with_more(samples::orders());
    with_more(samples::stored());
    with_more(samples::git_wanted());
}

/// Where an object stands for an enum with its variant as the only name, or is a filter with names of its own, the new
/// field would be another variant or condition: only the message itself and its link facts are plain objects for sure.
fn add_to_objects(message: &mut Value) {
    if let Some(object) = message.as_object_mut() {
        object.insert("of_tomorrow".to_owned(), json!({ "more": [1, 2] }));
    }
    if let Some(facts) = message.pointer_mut("/said/learned/facts").and_then(Value::as_object_mut) {
        facts.insert("of_tomorrow".to_owned(), json!(7));
    }
}
