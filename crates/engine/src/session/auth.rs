//! Saying who we are on a link (NIP-42): while that is under way nothing new is asked, and what was refused for the lack of
//! it is asked for once more after it.

use model::EventId;

use super::live::{LiveKey, LiveState};
use super::words::{Now, Output, Request};
use super::{Session, SubNo};
use crate::auth::Refused;

impl Session {
    pub(super) fn challenged(&mut self, challenge: String, now: Now) {
        if let Some(challenge) = self.auth.challenged(challenge, now.ms) {
            self.out.push_back(Output::Sign { challenge });
        }
    }

    /// Whether what was refused is to be repeated once the relay has been told who we are.
    pub(super) fn waits_for_auth(&mut self, now: Now) -> bool {
        match self.auth.refused(now.ms) {
            Refused::Final => false,
            Refused::Wait { sign } => {
                self.out.extend(sign.map(|challenge| Output::Sign { challenge }));
                true
            }
        }
    }

    pub(super) fn say_who_we_are(&mut self, id: EventId, json: String) {
        self.auth.signed(id);
        self.send(Request::Auth { json });
    }

    /// An OK: what has waited for it is asked for now.
    pub(super) fn answered(&mut self, id: EventId, now: Now) {
        if self.auth.answered(id, now.ms) {
            self.tick(now);
        }
    }

    /// A live subscription that was refused before it stood: its batches go on waiting. One that replaces another is refused
    /// as by any other word: the former one stands.
    pub(super) fn reopens_after_auth(&mut self, key: LiveKey, sub: SubNo, now: Now) -> bool {
        let opening = self.lives.get(&key).map(|live| &live.state);
        let is_first = matches!(opening, Some(LiveState::Opening { sub: opening, former: None, .. }) if *opening == sub);
        if !is_first || !self.waits_for_auth(now) {
            return false;
        }
        let Some(live) = self.lives.get_mut(&key) else { return false };
        live.state = LiveState::Lost { retry_ms: now.ms, since: live.since };
        if let Some(gap) = live.gap.take() {
            self.drop_unit(gap);
        }
        true
    }
}
