//! Whether the process can do its work: named checks, each set by the one who knows.
//!
//! Never asks anybody itself: what a check says is what its owner said last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// All checks of a process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    checks: Arc<Mutex<BTreeMap<&'static str, State>>>,
}

/// One of the checks, for its owner. Clones share it.
#[derive(Clone, Debug)]
pub struct Check {
    name: &'static str,
    readiness: Readiness,
}

/// What a check says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct State {
    ok: bool,
    why: String,
}

/// All checks at one moment; as JSON, the answer of `/readyz`: `{"ready": …, "checks": {name: {"ok": …, "why": …}}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    ready: bool,
    checks: BTreeMap<&'static str, State>,
}

impl Readiness {
    /// Adds a check, which fails until its owner says otherwise. The same name is the same check.
    #[must_use]
    pub fn check(&self, name: &'static str) -> Check {
        self.lock().entry(name).or_insert_with(|| State { ok: false, why: "starting".to_owned() });
        Check { name, readiness: self.clone() }
    }

    /// All checks now. Ready is who has checks that all pass.
    #[must_use]
    pub fn report(&self) -> Report {
        let checks = self.lock().clone();
        Report { ready: !checks.is_empty() && checks.values().all(|state| state.ok), checks }
    }

    /// The map is changed in single steps, so a panic elsewhere cannot have left it half-written.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, State>> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Check {
    /// What the check says from now on. `why` is for whoever looks: words of ours, never those of an upstream.
    pub fn set(&self, ok: bool, why: &str) {
        self.readiness.lock().insert(self.name, State { ok, why: why.to_owned() });
    }
}

impl Report {
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_process_is_ready_when_it_has_checks_and_all_of_them_pass() {
        let readiness = Readiness::default();
        assert!(!readiness.report().is_ready(), "nobody has looked yet");
        let (bus, store) = (readiness.check("bus"), readiness.check("store"));
        bus.set(true, "connected");
        assert!(!readiness.report().is_ready(), "the store is not known yet");
        store.set(true, "answers");
        assert!(readiness.report().is_ready());
        bus.set(false, "no answer");
        assert!(!readiness.report().is_ready());
    }

    #[test]
    fn the_report_names_each_check_with_its_state() {
        let readiness = Readiness::default();
        readiness.check("store").set(true, "answers");
        let _ = readiness.check("bus");
        let expected = r#"{"ready":false,"checks":{"bus":{"ok":false,"why":"starting"},"store":{"ok":true,"why":"answers"}}}"#;
        assert_eq!(serde_json::to_string(&readiness.report()).unwrap(), expected);
    }
}
