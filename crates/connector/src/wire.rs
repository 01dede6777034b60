//! The text frames of NIP-01 and NIP-77: what a relay says, what we say.

use std::hash::{DefaultHasher, Hash, Hasher};

use engine::session::{Frame, Request};
use engine::walk::EoseHint;
use model::{Event, EventId, Filter};
use serde_json::value::RawValue;

/// A relay's message.
#[derive(Debug)]
pub(crate) enum Incoming {
    Event {
        sub: String,
        event: Box<Event>,
        json: String,
    },
    Frame(Frame),
    Ok {
        id: EventId,
        accepted: bool,
        text: String,
    },
    /// An EVENT whose event cannot be read.
    UnreadableEvent {
        sub: String,
        /// Stands for its text.
        frame: u64,
    },
    /// Labels that nobody has to know.
    Unknown,
}

/// The text is no message of the protocol.
#[derive(Debug, thiserror::Error)]
#[error("not a relay message: {0}")]
pub(crate) struct BadFrame(String);

pub(crate) fn read(text: &str) -> Result<Incoming, BadFrame> {
    let parts: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| BadFrame(error.to_string()))?;
    let label = string(&parts, 0)?;
    Ok(match label.as_str() {
        "EVENT" => read_event(&parts)?,
        "EOSE" => Incoming::Frame(Frame::Eose { sub: string(&parts, 1)?, hint: hint(&parts) }),
        "CLOSED" => Incoming::Frame(Frame::Closed { sub: string(&parts, 1)?, text: string(&parts, 2).unwrap_or_default() }),
        "NOTICE" => Incoming::Frame(Frame::Notice { text: string(&parts, 1)? }),
        "NEG-MSG" => Incoming::Frame(Frame::NegMsg { sub: string(&parts, 1)?, message: string(&parts, 2)? }),
        "NEG-ERR" => Incoming::Frame(Frame::NegErr { sub: string(&parts, 1)?, text: string(&parts, 2).unwrap_or_default() }),
        "OK" => read_ok(&parts)?,
        "AUTH" => Incoming::Frame(Frame::Auth { challenge: string(&parts, 1)? }),
        _ => Incoming::Unknown,
    })
}

fn read_event(parts: &[&RawValue]) -> Result<Incoming, BadFrame> {
    let sub = string(parts, 1)?;
    let json = parts.get(2).ok_or_else(|| BadFrame("EVENT without an event".to_owned()))?.get();
    Ok(match serde_json::from_str::<Event>(json) {
        Ok(event) => Incoming::Event { sub, event: Box::new(event), json: json.to_owned() },
        Err(_) => Incoming::UnreadableEvent { sub, frame: fingerprint(json) },
    })
}

/// The same for the same text, in this process.
pub(crate) fn fingerprint(text: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

fn read_ok(parts: &[&RawValue]) -> Result<Incoming, BadFrame> {
    let id = EventId::from_hex(&string(parts, 1)?).map_err(|_| BadFrame("OK without an event id".to_owned()))?;
    let accepted = parts.get(2).is_some_and(|part| part.get() == "true");
    Ok(Incoming::Ok { id, accepted, text: string(parts, 3).unwrap_or_default() })
}

/// NIP-67: `["EOSE", sub, ["finish"]]` or `"more"`; unknown words say nothing.
fn hint(parts: &[&RawValue]) -> EoseHint {
    let words = parts.get(2).map_or("", |part| part.get());
    if words.contains("\"finish\"") {
        EoseHint::Finish
    } else if words.contains("\"more\"") {
        EoseHint::More
    } else {
        EoseHint::None
    }
}

fn string(parts: &[&RawValue], place: usize) -> Result<String, BadFrame> {
    let part = parts.get(place).ok_or_else(|| BadFrame(format!("it has no part {place}")))?;
    serde_json::from_str(part.get()).map_err(|_| BadFrame(format!("part {place} is no string")))
}

/// The text of a request.
pub(crate) fn write(request: &Request) -> String {
    match request {
        Request::Req { sub, filter } => format!(r#"["REQ","{sub}",{}]"#, filter_json(filter)),
        Request::Close { sub } => format!(r#"["CLOSE","{sub}"]"#),
        Request::NegOpen { sub, filter, message } => format!(r#"["NEG-OPEN","{sub}",{},"{message}"]"#, filter_json(filter)),
        Request::NegMsg { sub, message } => format!(r#"["NEG-MSG","{sub}","{message}"]"#),
        Request::NegClose { sub } => format!(r#"["NEG-CLOSE","{sub}"]"#),
        Request::Auth { json } => write_auth(json),
    }
}

/// The text that says who we are: a signed event as JSON.
pub(crate) fn write_auth(json: &str) -> String {
    format!(r#"["AUTH",{json}]"#)
}

/// The text that offers an event, given as it came over the wire.
pub(crate) fn write_event(json: &str) -> String {
    format!(r#"["EVENT",{json}]"#)
}

fn filter_json(filter: &Filter) -> String {
    serde_json::to_string(filter).expect("a filter holds only strings and numbers, which always serialise")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn messages_are_read_by_their_label_and_extra_parts_are_ignored() {
        let closed = read(r#"["CLOSED","s1","error: x",{"more":1}]"#).unwrap();
        assert!(matches!(closed, Incoming::Frame(Frame::Closed { sub, text }) if sub == "s1" && text == "error: x"));
        assert!(matches!(read(r#"["LIMITS",{}]"#).unwrap(), Incoming::Unknown));
        let asked = read(r#"["AUTH","who are you"]"#).unwrap();
        assert!(matches!(asked, Incoming::Frame(Frame::Auth { challenge }) if challenge == "who are you"));
        assert!(matches!(read(r#"["CLOSED","s1"]"#).unwrap(), Incoming::Frame(Frame::Closed { .. })));
    }

    #[test]
    fn eose_hints_are_read_and_unknown_words_say_nothing() {
        let hint_of = |text: &str| {
            let Incoming::Frame(Frame::Eose { hint, .. }) = read(text).unwrap() else { panic!("{text} is an EOSE") };
            hint
        };
        assert_eq!(hint_of(r#"["EOSE","s1"]"#), EoseHint::None);
        assert_eq!(hint_of(r#"["EOSE","s1",["finish"]]"#), EoseHint::Finish);
        assert_eq!(hint_of(r#"["EOSE","s1","more"]"#), EoseHint::More);
        assert_eq!(hint_of(r#"["EOSE","s1",["finished"]]"#), EoseHint::None);
    }

    #[test]
    fn what_is_no_message_is_an_error_and_what_is_no_event_is_said() {
        assert!(read("{}").is_err());
        assert!(read("[]").is_err());
        assert!(read(r#"["EOSE",7]"#).is_err());
        assert!(matches!(read(r#"["EVENT","s1",{"id":"x"}]"#).unwrap(), Incoming::UnreadableEvent { .. }));
    }

    #[test]
    fn requests_are_written_as_the_protocol_wants_them() {
        let filter = Filter::new().limit(0);
        assert_eq!(write(&Request::Req { sub: "s1".into(), filter }), r#"["REQ","s1",{"limit":0}]"#);
        assert_eq!(write(&Request::NegMsg { sub: "s2".into(), message: "61".into() }), r#"["NEG-MSG","s2","61"]"#);
    }
}
