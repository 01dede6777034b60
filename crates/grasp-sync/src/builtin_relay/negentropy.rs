//! The answering side of NIP-77. It owns the open exchanges of one connection, each with a copy of
//! the ids as they were when it was opened. It never sends events.

use std::collections::BTreeMap;

use negentropy::{Error, Id, Negentropy, NegentropyStorageVector};
use nostr::filter::Filter;
use serde_json::json;

use super::hub::Hub;

/// Bytes of one answer before hex; doubled by it, the frame still fits what common clients take.
const FRAME_LIMIT: u64 = 60_000;
/// Open exchanges on one connection: each holds about 40 bytes for every id of its set.
const MAX_EXCHANGES: usize = 32;

#[derive(Default)]
pub(super) struct Exchanges {
    open: BTreeMap<String, Negentropy<'static, NegentropyStorageVector>>,
}

impl Exchanges {
    /// The answer to a NEG-OPEN. An id that is open is opened anew.
    pub(super) fn open(&mut self, id: &str, filter: &Filter, hex: &str, hub: (&Hub, u64)) -> String {
        if !self.open.contains_key(id) && self.open.len() >= MAX_EXCHANGES {
            return refusal(id, "blocked: too many open exchanges");
        }
        match exchange_over(filter, hub) {
            Ok(exchange) => {
                self.open.insert(id.to_owned(), exchange);
                self.step(id, hex)
            }
            Err(cause) => refusal(id, &format!("error: {cause}")),
        }
    }

    /// The answer to a NEG-MSG; an exchange that cannot follow is closed.
    pub(super) fn step(&mut self, id: &str, hex: &str) -> String {
        let Some(exchange) = self.open.get_mut(id) else {
            return refusal(id, "closed: unknown subscription handle");
        };
        let Some(query) = from_hex(hex) else {
            self.open.remove(id);
            return refusal(id, "error: the message is not hex");
        };
        match exchange.reconcile(&query) {
            Ok(answer) => json!(["NEG-MSG", id, to_hex(&answer)]).to_string(),
            Err(cause) => {
                self.open.remove(id);
                refusal(id, &format!("error: {cause}"))
            }
        }
    }

    pub(super) fn close(&mut self, id: &str) {
        self.open.remove(id);
    }
}

/// `limit` is left out: NIP-77 gives it no meaning.
fn exchange_over(filter: &Filter, (hub, now): (&Hub, u64)) -> Result<Negentropy<'static, NegentropyStorageVector>, Error> {
    let held = hub.all_matches(filter, now);
    let mut set = NegentropyStorageVector::with_capacity(held.len());
    for stored in held {
        let id = Id::from_byte_array(stored.event.id.to_bytes());
        set.insert(stored.event.created_at.as_secs(), id)?;
    }
    set.seal()?;
    Negentropy::owned(set, FRAME_LIMIT)
}

pub(super) fn refusal(id: &str, reason: &str) -> String {
    json!(["NEG-ERR", id, reason]).to_string()
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]).map(char::from).collect()
}

pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok())).collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    pairs.remainder().is_empty().then(|| pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}
