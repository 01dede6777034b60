//! What a relay states of itself (NIP-11): read tolerantly, asked for seldom, and what follows from it about whose relay it is.
//!
//! Never: IO, or any trust in what is read. These are hints; a field that is missing, or of another shape, is absent.

use model::{Learned, NotStated, PublicKey, Role, Stated, Timestamp};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The longest document that is read, in bytes. Those in use have less than a tenth of it.
pub const MOST_DOCUMENT_BYTES: usize = 64 * 1024;
/// An upstream's document is asked for again after this long (seconds), when a link comes up: as often as it is refreshed.
const ASK_AGAIN_SECS: u64 = 23 * 3600;
/// One that did not come is asked for again after this long (seconds), when a link comes up: links may come and go.
const TRY_AGAIN_SECS: u64 = 600;
/// Entries of a list that are kept, and letters of one text.
const MOST_ENTRIES: usize = 256;
const MOST_LETTERS: usize = 120;

/// The fields by which a relay takes events or refuses them.
const TERMS: [&str; 4] = ["supported_nips", "supported_grasps", "repo_acceptance_criteria", "curation"];
/// The same within `limitation`.
const LIMITS: [&str; 10] = [
    "max_message_length",
    "max_event_tags",
    "max_content_length",
    "min_pow_difficulty",
    "auth_required",
    "payment_required",
    "restricted_writes",
    "created_at_lower_limit",
    "created_at_upper_limit",
    "max_event_size",
];

/// What was served is no information document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no JSON object")]
pub struct NotADocument;

/// Reads a document that was served at `at`.
///
/// # Errors
/// It is no JSON object.
pub fn read(document: &[u8], at: Timestamp) -> Result<Stated, NotADocument> {
    let Ok(Value::Object(said)) = serde_json::from_slice(document) else { return Err(NotADocument) };
    let nothing = Map::new();
    let limits = said.get("limitation").and_then(Value::as_object).unwrap_or(&nothing);
    let size = |name| number(limits, name).and_then(|number| usize::try_from(number).ok());
    Ok(Stated {
        at,
        max_subscriptions: size("max_subscriptions"),
        max_limit: size("max_limit"),
        max_message_length: size("max_message_length"),
        max_content_length: size("max_content_length"),
        oldest: number(limits, "created_at_lower_limit"),
        newest: number(limits, "created_at_upper_limit"),
        nips: entries(&said, "supported_nips").filter_map(nip).collect(),
        grasps: entries(&said, "supported_grasps").filter_map(Value::as_str).map(few_words).collect(),
        software: software(&said),
        itself: key(&said, "self"),
        operator: key(&said, "pubkey"),
        terms: Some(terms(&said, limits)),
    })
}

/// Whether a link that has just come up asks for the document of its relay.
#[must_use]
pub fn is_due(role: Role, learned: &Learned, now: Timestamp) -> bool {
    let is_past = |at: Timestamp, wait: u64| now.as_secs() >= at.as_secs().saturating_add(wait);
    let is_old = learned.stated.as_ref().is_none_or(|stated| is_past(stated.at, ASK_AGAIN_SECS));
    let may_try = learned.not_stated.as_ref().is_none_or(|note| is_past(note.at, TRY_AGAIN_SECS));
    match role {
        // Home's is read apart: it decides what is offered.
        Role::Home => false,
        Role::Bootstrap | Role::Listed => is_old && may_try,
    }
}

/// Facts to report: the document, or that it did not come, and why.
#[must_use]
pub fn learned(read: Result<Stated, String>, now: Timestamp) -> Learned {
    match read {
        Ok(stated) => Learned { stated: Some(stated), ..Learned::default() },
        Err(why) => Learned { not_stated: Some(NotStated { at: now, why: few_words(&why) }), ..Learned::default() },
    }
}

/// Whether home's terms ([`Stated::terms`]) are others than before. The first ones that are read are no change: what was refused
/// until then was refused by them.
#[must_use]
pub fn changes_terms(before: Option<&str>, after: &str) -> bool {
    before.is_some_and(|before| before != after)
}

/// By which keys a relay is known to be ours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwnKeys {
    /// `self` of home's document.
    pub home: Option<PublicKey>,
    /// The operator's, where it is configured.
    pub operator: Option<PublicKey>,
}

/// Why an upstream is our own relay under another URL, by what it states of itself, if it is. Whoever claims our key falsely
/// is not pulled from, and nothing else.
#[must_use]
pub fn is_ours(stated: &Stated, own: OwnKeys) -> Option<&'static str> {
    let is_same = |one: Option<PublicKey>, other: Option<PublicKey>| one.is_some() && one == other;
    if is_same(stated.itself, own.home) {
        Some("this is our own relay: it states home's key as its own")
    } else if is_same(stated.operator, own.operator) {
        Some("this is our own relay: it states our key as its operator's")
    } else {
        None
    }
}

/// A positive number. Zero is how some say that they have no limit.
fn number(object: &Map<String, Value>, name: &str) -> Option<u64> {
    object.get(name).and_then(Value::as_u64).filter(|number| *number > 0)
}

fn entries<'a>(object: &'a Map<String, Value>, name: &str) -> impl Iterator<Item = &'a Value> {
    object.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default().iter().take(MOST_ENTRIES)
}

/// Some write numbers as texts.
fn nip(entry: &Value) -> Option<u16> {
    let number = entry.as_u64().or_else(|| entry.as_str()?.parse().ok())?;
    u16::try_from(number).ok()
}

fn key(object: &Map<String, Value>, name: &str) -> Option<PublicKey> {
    PublicKey::from_hex(object.get(name)?.as_str()?).ok()
}

fn software(said: &Map<String, Value>) -> Option<String> {
    let text = |name| said.get(name).and_then(Value::as_str).map(few_words).filter(|text| !text.is_empty());
    let words: Vec<String> = [text("software"), text("version")].into_iter().flatten().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

fn few_words(text: &str) -> String {
    text.trim().chars().filter(|letter| !letter.is_control()).take(MOST_LETTERS).collect()
}

/// A hash of everything by which events are taken or refused, whatever its order and its other fields.
fn terms(said: &Map<String, Value>, limits: &Map<String, Value>) -> String {
    let mut hash = Sha256::new();
    for (object, names) in [(said, &TERMS[..]), (limits, &LIMITS[..])] {
        for name in names {
            let mut value = object.get(*name).cloned().unwrap_or_default();
            if let Value::Array(entries) = &mut value {
                entries.sort_by_key(Value::to_string);
            }
            hash.update(format!("{name}={value}\n"));
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{at, keys};

    fn stated(document: &Value) -> Stated {
        read(document.to_string().as_bytes(), at(7)).expect("an object")
    }

    fn without_terms(document: &Value) -> Stated {
        Stated { terms: None, ..stated(document) }
    }

    #[test]
    fn a_whole_document_is_read() {
        let (relay, operator) = (keys(1).public_key(), keys(2).public_key());
        let document = json!({
            "name": "a relay", "self": relay.to_hex(), "pubkey": operator.to_hex(),
            "supported_nips": [1, 11, 40, 77], "supported_grasps": ["GRASP-01", "GRASP-02"],
            "software": "git+https://relay.example/software", "version": "1.2.3",
            "limitation": {
                "max_message_length": 131_072, "max_subscriptions": 20, "max_limit": 500, "max_content_length": 65_536,
                "created_at_lower_limit": 94_608_000, "created_at_upper_limit": 900,
            },
        });
        let expected = Stated {
            at: at(7),
            max_subscriptions: Some(20),
            max_limit: Some(500),
            max_message_length: Some(131_072),
            oldest: Some(94_608_000),
            newest: Some(900),
            nips: vec![1, 11, 40, 77],
            grasps: vec!["GRASP-01".to_owned(), "GRASP-02".to_owned()],
            software: Some("git+https://relay.example/software 1.2.3".to_owned()),
            max_content_length: Some(65_536),
            itself: Some(relay),
            operator: Some(operator),
            terms: None,
        };
        assert_eq!(without_terms(&document), expected);
    }

    #[test]
    fn what_is_missing_or_of_another_shape_is_absent() {
        let nothing = Stated { at: at(7), ..Stated::default() };
        let nips = |nips: &[u16]| Stated { nips: nips.to_vec(), ..nothing.clone() };
        let limited = |limitation: Value| json!({ "limitation": limitation });
        let cases = [
            (json!({}), nothing.clone()),
            (json!({ "limitation": null, "supported_nips": null }), nothing.clone()),
            (json!({ "limitation": [1], "supported_nips": { "1": true }, "software": 5 }), nothing.clone()),
            (json!({ "supported_nips": [1, "77", -5, "EE", 70_000, 1.5, null] }), nips(&[1, 77])),
            (json!({ "supported_grasps": ["GRASP-01", 2] }), Stated { grasps: vec!["GRASP-01".into()], ..nothing.clone() }),
            (json!({ "pubkey": "npub1x", "self": "" }), nothing.clone()),
            (json!({ "version": "\u{1b}[31m1\n" }), Stated { software: Some("[31m1".into()), ..nothing.clone() }),
            (limited(json!({ "max_limit": -1, "max_subscriptions": "20", "max_message_length": 1.5 })), nothing.clone()),
            (limited(json!({ "created_at_lower_limit": 0, "created_at_upper_limit": null })), nothing.clone()),
            // The size of an event under the name of a message's, nulls for limits, and subscriptions counted per address.
            (
                limited(json!({ "max_message_length": 10_000, "max_limit": null, "max_subscriptions": 2_000 })),
                Stated { max_message_length: Some(10_000), max_subscriptions: Some(2_000), ..nothing.clone() },
            ),
        ];
        for (document, expected) in cases {
            assert_eq!(without_terms(&document), expected, "{document}");
        }
    }

    #[test]
    fn what_is_no_object_is_no_document_and_what_is_long_is_kept_short() {
        for text in ["", "<!doctype html>", "[]", "null", "7", "{\"name\":", "{}{}"] {
            assert_eq!(read(text.as_bytes(), at(7)), Err(NotADocument), "{text}");
        }
        let long = stated(&json!({ "software": "x".repeat(5_000), "supported_nips": vec![1; 5_000] }));
        assert_eq!((long.software.map(|text| text.len()), long.nips.len()), (Some(MOST_LETTERS), MOST_ENTRIES));
    }

    #[test]
    fn the_terms_change_with_what_decides_acceptance_and_with_nothing_else() {
        let of = |document: Value| stated(&document).terms.expect("a document has terms");
        let base = || json!({ "name": "x", "supported_nips": [1, 40], "limitation": { "auth_required": false } });
        let changed = |change: fn(&mut Value)| {
            let mut document = base();
            change(&mut document);
            changes_terms(Some(&of(base())), &of(document))
        };
        assert!(!changed(|document| document["name"] = json!("y")));
        assert!(!changed(|document| document["supported_nips"] = json!([40, 1])));
        assert!(!changed(|document| document["limitation"]["max_subscriptions"] = json!(7)));
        assert!(changed(|document| document["supported_nips"] = json!([1])));
        assert!(changed(|document| document["limitation"]["auth_required"] = json!(true)));
        assert!(changed(|document| document["limitation"]["created_at_lower_limit"] = json!(5)));
        assert!(changed(|document| document["repo_acceptance_criteria"] = json!("friends only")));
        assert!(!changes_terms(None, &of(base())));
    }

    #[test]
    fn an_upstream_is_asked_once_in_a_refresh_and_after_silence_not_on_every_link() {
        let asked = |secs| Learned { stated: Some(Stated { at: at(secs), ..Stated::default() }), ..Learned::default() };
        let silent = |secs, before: Learned| Learned {
            not_stated: Some(NotStated { at: at(secs), why: "HTTP 404".to_owned() }),
            ..before
        };
        let now = 1_000_000;
        let cases = [
            (Learned::default(), true),
            (asked(now - 60), false),
            (asked(now - 24 * 3600), true),
            (silent(now - 60, Learned::default()), false),
            (silent(now - 60, asked(now - 24 * 3600)), false),
            (silent(now - 601, Learned::default()), true),
            (silent(now - 601, asked(now - 3600)), false),
        ];
        for (learned, expected) in cases {
            assert_eq!(is_due(Role::Listed, &learned, at(now)), expected, "{learned:?}");
        }
        assert!(!is_due(Role::Home, &Learned::default(), at(now)));
    }

    #[test]
    fn an_upstream_that_states_our_key_is_our_own_relay() {
        let (home, operator, other) = (keys(1).public_key(), keys(2).public_key(), keys(3).public_key());
        let states = |itself, operator| Stated { itself, operator, ..Stated::default() };
        let own = OwnKeys { home: Some(home), operator: Some(operator) };
        assert!(is_ours(&states(Some(home), None), own).is_some());
        assert!(is_ours(&states(None, Some(operator)), own).is_some());
        assert_eq!(is_ours(&states(Some(other), Some(other)), own), None);
        assert_eq!(is_ours(&states(Some(operator), Some(home)), own), None, "each key in its own place");
        assert_eq!(is_ours(&states(None, None), OwnKeys::default()), None, "nothing is not the same as nothing");
    }
}
