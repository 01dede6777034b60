//! What `fuzz/` feeds with noise: a relay's messages, read and taken by a session, and the frames of NIP-77.
//!
//! Never part of the program: built for tests and with the feature `fuzzing`.

use engine::filters;
use engine::session::{Frame, Input, Now, Output, Session, Settled, Verdict};
use model::{Ask, BatchId, Item, ItemKind, Learned, Method, PublicKey, RepoAddr, Resume, Role, Said, Timestamp};

pub use crate::sets::fuzz::exchange;
use crate::wire::{self, Incoming};

/// Messages of one connection that are read.
const MOST_MESSAGES: usize = 64;
/// Requests and words that one message may cause.
const MOST_CAUSED: usize = 1_000;
/// The generator of the curve: a key that everybody knows.
const AUTHOR: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

/// Each line is a message of a relay to a session that has just asked for announcements and for one repo. What is read comes back as
/// it was from what it is written as; the session takes it all, and says only sound requests.
pub fn conversation(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut talk = Talk::begin();
    for line in text.lines().take(MOST_MESSAGES) {
        let Ok(incoming) = wire::read(line) else { continue };
        comes_back(line, &incoming);
        talk.hear(line, incoming);
    }
    // Whatever was said, what waits has a deadline, and none of them stops the clock.
    for _ in 0..MOST_MESSAGES {
        let Some(deadline) = talk.session.deadline() else { return };
        talk.ms = talk.ms.max(deadline) + 1;
        talk.take(Input::Tick);
    }
}

fn comes_back(line: &str, incoming: &Incoming) {
    match incoming {
        Incoming::Event { sub, event, json } => {
            assert!(line.contains(json.as_str()) && sub.len() <= line.len());
            let offered = wire::write_event(json).replacen(r#"["EVENT""#, r#"["EVENT","s1""#, 1);
            let again = wire::read(&offered).expect("it was an event");
            assert!(matches!(again, Incoming::Event { event: same, .. } if same == *event));
        }
        Incoming::Frame(frame) => {
            let parts = match frame {
                Frame::Closed { sub, text } => ["CLOSED", sub, text],
                Frame::NegMsg { sub, message } => ["NEG-MSG", sub, message],
                Frame::NegErr { sub, text } => ["NEG-ERR", sub, text],
                Frame::Notice { text } => ["NOTICE", text, ""],
                Frame::Auth { challenge } => ["AUTH", challenge, ""],
                Frame::Eose { .. } | Frame::Ok { .. } => return,
            };
            assert!(parts.iter().all(|part| part.len() <= line.len().max(7)), "nothing grows by being read");
            let written = serde_json::to_string(&parts).expect("texts are JSON");
            let again = wire::read(&written).expect("written just now");
            assert!(matches!(again, Incoming::Frame(same) if same == *frame));
        }
        Incoming::Ok { text, .. } => assert!(text.len() <= line.len()),
        Incoming::UnreadableEvent { sub, frame } => {
            assert!(sub.len() <= line.len());
            assert!(
                matches!(wire::read(line), Ok(Incoming::UnreadableEvent { frame: same, .. }) if same == *frame),
                "the same text has the same fingerprint"
            );
        }
        Incoming::Unknown => {}
    }
}

/// A session and what its shell would do, without anything that waits.
struct Talk {
    session: Session,
    ms: u64,
}

impl Talk {
    fn begin() -> Self {
        let mut talk = Self { session: Session::new(Resume::Fresh, Learned::default()), ms: 0 };
        let (filter, method) = (filters::layer1(Role::Listed), Method::Negentropy);
        talk.take(Input::Order(Ask::OpenAnnouncements { filter, since: None, method }));
        let pubkey = PublicKey::from_hex(AUTHOR).expect("a key");
        let items = [Item::Repo(RepoAddr { pubkey, identifier: "x".to_owned() })];
        let (live, history) = (filters::live(ItemKind::Repo, 0, &items), filters::history(ItemKind::Repo, &items));
        let (batch, polled) = (BatchId(1), Vec::new());
        talk.take(Input::Order(Ask::Fetch { batch, live, polled, history, method, layout: 0 }));
        talk
    }

    fn now(&self) -> Now {
        Now { ms: self.ms, wall: Timestamp::from_secs(1_700_000_000 + self.ms / 1000) }
    }

    fn hear(&mut self, line: &str, incoming: Incoming) {
        self.ms += 100;
        match incoming {
            Incoming::Frame(frame) => self.take(Input::Frame(frame)),
            Incoming::Event { sub, event, .. } => {
                let verdict = self.session.event(&sub, &event, self.now());
                if let Verdict::Take(ticket) = verdict {
                    let frame = wire::fingerprint(line);
                    let what = if event.verify().is_ok() { Settled::Fresh } else { Settled::Forged { frame } };
                    self.take(Input::Settled { ticket, event: event.id, what });
                }
            }
            Incoming::UnreadableEvent { sub, frame } => self.session.unreadable(&sub, frame, self.now()),
            Incoming::Ok { .. } | Incoming::Unknown => {}
        }
        assert!(self.session.live_count() <= 20, "a relay cannot make us subscribe");
    }

    fn take(&mut self, input: Input) {
        let now = self.now();
        self.session.handle(input, now);
        for _ in 0..MOST_CAUSED {
            let Some(output) = self.session.poll_output() else { return };
            self.act(output);
        }
        panic!("one message causes {MOST_CAUSED} others");
    }

    fn act(&mut self, output: Output) {
        let now = self.now();
        match output {
            Output::Send(request) => {
                let text = wire::write(&request);
                let parts: Vec<serde_json::Value> = serde_json::from_str(&text).expect("a request is JSON");
                assert!(parts.len() >= 2 && text.len() < 128 * 1024);
            }
            Output::LoadSet { unit, .. } => {
                self.session.handle(Input::SetReady { unit, message: "6100000200".to_owned() }, now);
            }
            Output::Reconcile { unit, message } => {
                let named: Vec<_> = message.as_bytes().chunks_exact(64).take(50).collect();
                let need = named.into_iter().filter_map(|hex| model::EventId::from_hex(std::str::from_utf8(hex).ok()?).ok());
                self.session.handle(Input::Reconciled { unit, need: need.collect(), awaited: 0, reply: None }, now);
            }
            Output::Report(said) => assert!(!matches!(said, Said::Lost { .. }), "a session loses nothing by what a relay says"),
            Output::Sign { .. } => panic!("nobody allowed to say who we are"),
            Output::Fetched { .. } | Output::DropSet { .. } | Output::Breach(_) | Output::HangUp(_) => {}
        }
    }
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;
    use super::*;

    #[test]
    fn whatever_a_relay_says_a_session_takes_it() {
        replay("conversation", conversation);
    }

    #[test]
    fn whatever_a_relay_says_in_an_exchange_it_names_no_more_than_it_sent() {
        replay("exchange", exchange);
    }
}
