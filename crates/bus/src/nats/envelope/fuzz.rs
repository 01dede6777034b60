//! Messages and their envelopes under noise.

use std::fmt::Debug;

use bytes::Bytes;
use model::{Answer, GitWanted, Order, Query, Report, Stored};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::MESSAGE_VERSION;
use super::{Assembler, HEADER_ROOM, Unreadable, headers, parts, read};
use crate::Origin;

/// The first byte says which message it is, the rest is its JSON, of each version. What is read comes back as it was, also in parts;
/// a version of tomorrow is told from what cannot be read.
pub fn message(data: &[u8]) {
    let Some((which, json)) = data.split_first() else { return };
    match which % 6 {
        0 => comes_back::<Report>(json),
        1 => comes_back::<Order>(json),
        2 => comes_back::<Query>(json),
        3 => comes_back::<Answer>(json),
        4 => comes_back::<Stored>(json),
        _ => comes_back::<GitWanted>(json),
    }
}

fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(json: &[u8]) {
    let of = |version| headers(version, &Origin::default());
    for version in 1..=MESSAGE_VERSION {
        let Ok(message) = read::<T>(Some(&of(version)), json, MESSAGE_VERSION) else { continue };
        let written = serde_json::to_vec(&message).expect("it is plain data");
        let mut assembler = Assembler::default();
        let small = parts(version, &Origin::default(), written.clone(), HEADER_ROOM + 1024);
        let mut came = small.into_iter().filter_map(|(headers, part)| assembler.take(Some(&headers), part));
        let whole = came.next().expect("its last part completes it");
        assert!(came.next().is_none());
        assert_eq!(whole, Bytes::from(written));
        let again = read::<T>(Some(&of(version)), &whole, MESSAGE_VERSION).expect("written just now");
        assert_eq!(again, message);
    }
    let tomorrow = read::<T>(Some(&of(MESSAGE_VERSION + 1)), json, MESSAGE_VERSION);
    assert!(matches!(tomorrow, Err(Unreadable::Version(version)) if version == MESSAGE_VERSION + 1));
}
