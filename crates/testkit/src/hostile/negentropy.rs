//! NIP-77 messages that lead nowhere, written byte by byte: no library of ours, nor of the client, is asked for them.

use super::behaviour::Negentropy;
use std::fmt::Write;

/// V1, and the only version before it.
const VERSION: u8 = 0x61;
const OLD_VERSION: u8 = 0x60;

/// Modes of a range.
const FINGERPRINT: u8 = 1;
const ID_LIST: u8 = 2;

/// Ids in one message: 64 kB in hex, as in the messages of real relays.
const IDS_A_MESSAGE: usize = 1_000;

/// The answer to the message of a round (0: NEG-OPEN), in hex; `None` is silence.
pub(super) fn answer(how: Negentropy, round: usize) -> Option<String> {
    match how {
        Negentropy::SilentAfterFirst => (round == 0).then(|| hex(&differs(0))),
        Negentropy::OldVersion => Some(hex(&[OLD_VERSION])),
        Negentropy::Garbage => Some("6z".to_owned()),
        Negentropy::FakeIds(count) => Some(hex(&fake_ids(count, round))),
        Negentropy::NeverConverges { repeats } => Some(hex(&differs(if repeats { 0 } else { round }))),
        Negentropy::Oversize(bytes) => Some(hex(&oversize(bytes))),
        Negentropy::Error(_) | Negentropy::ErrorWithLimit(..) | Negentropy::Refused(_) => None,
    }
}

/// One range over everything, with a fingerprint that no set has.
fn differs(seed: usize) -> Vec<u8> {
    let mut message = vec![VERSION];
    push_difference(&mut message, seed);
    message
}

/// The ids of this round in a range of one second of their own, and a difference beyond it while there are more to come.
fn fake_ids(count: usize, round: usize) -> Vec<u8> {
    let first = round * IDS_A_MESSAGE;
    let here = count.saturating_sub(first).min(IDS_A_MESSAGE);
    let is_last = first + here >= count;
    let mut message = vec![VERSION];
    // A bound is its second plus one, 0 being infinity, and the length of an id's beginning: none.
    let bound = if is_last { 0 } else { round + 2 };
    message.extend(varint(bound).into_iter().chain([0, ID_LIST]).chain(varint(here)));
    for number in first..first + here {
        message.extend(fake_id(number));
    }
    if !is_last {
        push_difference(&mut message, round);
    }
    message
}

/// A list of ids over everything, cut at a length.
fn oversize(bytes: usize) -> Vec<u8> {
    let ids = bytes / 32;
    let mut message = vec![VERSION, 0, 0, ID_LIST];
    message.extend(varint(ids));
    (0..ids).for_each(|number| message.extend(fake_id(number)));
    message.resize(bytes, 0);
    message
}

fn push_difference(message: &mut Vec<u8>, seed: usize) {
    message.extend([0, 0, FINGERPRINT]);
    message.extend(&fake_id(seed)[16..]);
}

/// An id that no event has: a number, at its end.
fn fake_id(number: usize) -> [u8; 32] {
    let mut id = [0xfa; 32];
    id[24..].copy_from_slice(&(number as u64).to_be_bytes());
    id
}

/// Base 128, the highest digit first, the highest bit of every byte but the last set.
fn varint(mut number: usize) -> Vec<u8> {
    let digit = |number: usize| u8::try_from(number % 128).expect("it is less than 128");
    let mut digits = vec![digit(number)];
    while number >= 128 {
        number /= 128;
        digits.push(digit(number) | 0x80);
    }
    digits.reverse();
    digits
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a text takes what is written to it");
        text
    })
}
