//! A message as it travels: JSON with its version and trace in headers, in parts where one message cannot hold it.
//!
//! Parts of one message come from one connection on one subject, so they arrive in order, or not at all.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

use std::collections::VecDeque;

use async_nats::header::HeaderMap;
use bytes::Bytes;
use opentelemetry::global;
use opentelemetry::propagation::{Extractor, Injector};

use crate::Origin;

/// The version that the JSON has.
const VERSION: &str = "Grasp-Sync-Version";
/// `<message> <index> <count>` of a message in parts.
const PART: &str = "Grasp-Sync-Part";
/// Instead of an answer: why there is none.
const REFUSED: &str = "Grasp-Sync-Refused";

/// Messages in parts that one listener puts together at a time; the oldest gives way.
const OPEN_MESSAGES: usize = 16;
/// Parts of one message: with parts of 1 MB, more than any snapshot has.
const MOST_PARTS: usize = 256;
/// What headers may take of the server's limit on a message.
const HEADER_ROOM: usize = 4096;

/// Why a message cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("it has the unknown version {0}")]
    Version(u32),
    #[error("{0}")]
    Content(String),
}

/// Headers and payload of each part of one message.
pub(super) fn parts(version: u32, origin: &Origin, payload: Vec<u8>, max_payload: usize) -> Vec<(HeaderMap, Bytes)> {
    let headers = headers(version, origin);
    let room = max_payload.saturating_sub(HEADER_ROOM).max(1024);
    let payload = Bytes::from(payload);
    if payload.len() <= room {
        return vec![(headers, payload)];
    }
    let (message, count) = (nuid::next(), payload.len().div_ceil(room));
    let part = |index: usize| {
        let mut headers = headers.clone();
        headers.insert(PART, format!("{message} {index} {count}"));
        (headers, payload.slice(index * room..payload.len().min((index + 1) * room)))
    };
    (0..count).map(part).collect()
}

/// The headers of a message that one part holds.
pub(super) fn headers(version: u32, origin: &Origin) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(VERSION, version.to_string());
    global::get_text_map_propagator(|propagator| propagator.inject_context(&origin.0, &mut Carrier(&mut headers)));
    headers
}

/// An answer that is none: nobody took the question, or its version is not known here.
pub(super) fn refusal(unknown_version: Option<u32>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(REFUSED, unknown_version.map_or_else(|| "no-answer".to_owned(), |version| version.to_string()));
    headers
}

/// Whether a reply is a [`refusal`], and of which version.
pub(super) fn refused(headers: Option<&HeaderMap>) -> Option<Option<u32>> {
    Some(headers?.get(REFUSED)?.as_str().parse().ok())
}

/// The trace that the headers name.
pub(super) fn origin(headers: Option<&HeaderMap>) -> Origin {
    let Some(headers) = headers else { return Origin::default() };
    Origin(global::get_text_map_propagator(|propagator| propagator.extract(&Reader(headers))))
}

/// Reads the JSON of a whole message.
pub(super) fn read<T: serde::de::DeserializeOwned>(
    headers: Option<&HeaderMap>,
    payload: &[u8],
    newest: u32,
) -> Result<T, Unreadable> {
    let version = headers.and_then(|headers| headers.get(VERSION)).and_then(|version| version.as_str().parse().ok());
    match version {
        Some(version) if (1..=newest).contains(&version) => {
            serde_json::from_slice(payload).map_err(|error| Unreadable::Content(error.to_string()))
        }
        Some(version) => Err(Unreadable::Version(version)),
        None => Err(Unreadable::Content(format!("it has no {VERSION} header"))),
    }
}

struct Carrier<'a>(&'a mut HeaderMap);

impl Injector for Carrier<'_> {
    fn set(&mut self, key: &str, value: String) {
        self.0.insert(key, value);
    }
}

struct Reader<'a>(&'a HeaderMap);

impl Extractor for Reader<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(async_nats::HeaderValue::as_str)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_ref()).collect()
    }
}

/// Puts messages together from their parts.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    open: VecDeque<Open>,
}

#[derive(Debug)]
struct Open {
    message: String,
    count: usize,
    parts: Vec<Bytes>,
}

impl Assembler {
    /// The whole payload, if this was the last part that it lacked. A part out of turn ends its message: it was lost.
    pub(super) fn take(&mut self, headers: Option<&HeaderMap>, payload: Bytes) -> Option<Bytes> {
        let Some(part) = headers.and_then(|headers| headers.get(PART)) else { return Some(payload) };
        let (message, index, count) = read_part(part.as_str())?;
        if index == 0 {
            self.begin(message, count);
        }
        let at = self.open.iter().position(|open| open.message == message)?;
        let open = self.open.get_mut(at)?;
        if open.parts.len() != index || open.count != count {
            self.open.remove(at);
            return None;
        }
        open.parts.push(payload);
        if open.parts.len() < count {
            return None;
        }
        self.open.remove(at).map(|whole| Bytes::from(whole.parts.concat()))
    }

    fn begin(&mut self, message: &str, count: usize) {
        if self.open.len() >= OPEN_MESSAGES {
            self.open.pop_front();
        }
        self.open.push_back(Open { message: message.to_owned(), count, parts: Vec::new() });
    }
}

fn read_part(text: &str) -> Option<(&str, usize, usize)> {
    let mut words = text.split(' ');
    let (message, index, count) = (words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (index < count && count <= MOST_PARTS).then_some((message, index, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(payload: &[u8]) -> Vec<(HeaderMap, Bytes)> {
        parts(1, &Origin::default(), payload.to_vec(), HEADER_ROOM + 1024)
    }

    #[test]
    fn a_small_message_is_one_part_and_a_large_one_comes_together_again() {
        let large: Vec<u8> = (0..10_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        assert_eq!(cut(b"small").len(), 1);
        let parts = cut(&large);
        assert_eq!(parts.len(), 10);
        let mut assembler = Assembler::default();
        let whole: Vec<Bytes> =
            parts.into_iter().filter_map(|(headers, payload)| assembler.take(Some(&headers), payload)).collect();
        assert_eq!(whole, [Bytes::from(large)]);
        assert!(assembler.open.is_empty());
    }

    #[test]
    fn messages_in_parts_may_interleave_and_a_lost_part_loses_only_its_own() {
        let (whole, broken) = (cut(&[1; 3000]), cut(&[2; 3000]));
        let mut assembler = Assembler::default();
        let mut came = Vec::new();
        for index in [0, 1, 2] {
            for (message, lost) in [(&whole, None), (&broken, Some(1))] {
                let (headers, payload) = &message[index];
                if lost != Some(index) {
                    came.extend(assembler.take(Some(headers), payload.clone()));
                }
            }
        }
        assert_eq!(came, [Bytes::from(vec![1; 3000])]);
        assert!(assembler.open.is_empty());
    }

    #[test]
    fn a_listener_keeps_a_bounded_number_of_open_messages() {
        let mut assembler = Assembler::default();
        for _ in 0..100 {
            let (headers, payload) = cut(&[0; 3000]).swap_remove(0);
            assert_eq!(assembler.take(Some(&headers), payload), None);
        }
        assert_eq!(assembler.open.len(), OPEN_MESSAGES);
    }

    #[test]
    fn an_unknown_version_is_told_from_broken_content() {
        let with = |version| headers(version, &Origin::default());
        assert!(matches!(read::<u8>(Some(&with(1)), b"7", 1), Ok(7)));
        assert!(matches!(read::<u8>(Some(&with(1)), b"7", 2), Ok(7)), "a newer reader reads older messages");
        assert!(matches!(read::<u8>(Some(&with(2)), b"7", 1), Err(Unreadable::Version(2))));
        assert!(matches!(read::<u8>(Some(&with(1)), b"{", 1), Err(Unreadable::Content(_))));
        assert!(matches!(read::<u8>(None, b"7", 1), Err(Unreadable::Content(_))));
    }
}
