//! Under which name and on which terms the worker of this process leases its upstreams.

use std::time::Duration;

use connector::LeaseTerms;
use model::WorkerId;

use crate::config::{Config, MAX_NAME};

/// A process that is alone has no rival for its leases: they outlive a slow disk.
const LEASE: Duration = Duration::from_secs(30);
const BEAT: Duration = Duration::from_secs(1);

/// Its name on a store that no other process opens.
const EMBEDDED: &str = "embedded";
/// Where the kernel tells the host's name.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// The terms of a new incarnation of this process' worker.
pub(super) fn of(config: &Config) -> LeaseTerms {
    let worker = WorkerId { name: name(config), incarnation: format!("{:032x}", rand::random::<u128>()) };
    match &config.nats_url {
        Some(_) => LeaseTerms { worker, ttl: config.lease_ttl, beat: config.lease_beat, grace: config.session_grace },
        None => LeaseTerms { worker, ttl: LEASE, beat: BEAT, grace: Duration::ZERO },
    }
}

fn name(config: &Config) -> String {
    if let Some(name) = &config.name {
        return name.clone();
    }
    if config.nats_url.is_none() && config.database_url.is_none() {
        return EMBEDDED.to_owned();
    }
    host().unwrap_or_else(|| format!("worker-{:08x}", rand::random::<u32>()))
}

fn host() -> Option<String> {
    let told = std::fs::read_to_string(HOST_NAME).ok().or_else(|| std::env::var("HOSTNAME").ok())?;
    Some(word(&told)).filter(|word| !word.is_empty())
}

/// As a name may be written; see `[process] name`.
fn word(text: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    text.trim().chars().take(MAX_NAME).map(letter).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Home;

    fn config() -> Config {
        Config::with_home(Home::Builtin, "data".into())
    }

    fn fleet() -> Config {
        Config { nats_url: Some("nats://bus".to_owned().into()), ..config() }
    }

    #[test]
    fn a_process_that_is_alone_keeps_its_leases_through_a_slow_disk_and_one_of_a_fleet_as_configured() {
        let alone = of(&Config { session_grace: Duration::from_secs(9), ..config() });
        assert_eq!((alone.ttl, alone.beat, alone.grace), (LEASE, BEAT, Duration::ZERO));
        let configured = Config { lease_ttl: Duration::from_secs(8), session_grace: Duration::from_secs(9), ..fleet() };
        let member = of(&configured);
        assert_eq!(
            (member.ttl, member.beat, member.grace),
            (Duration::from_secs(8), Duration::from_secs(2), Duration::from_secs(9))
        );
    }

    #[test]
    fn a_worker_keeps_its_name_from_start_to_start_and_never_its_incarnation() {
        assert_eq!(of(&config()).worker.name, EMBEDDED);
        let (first, second) = (of(&fleet()).worker, of(&fleet()).worker);
        assert_ne!(first.name, EMBEDDED);
        assert_eq!(first.name, second.name);
        assert_ne!(first.incarnation, second.incarnation);
        let named = Config { name: Some("left".to_owned()), ..fleet() };
        assert_eq!(of(&named).worker.name, "left");
    }

    #[test]
    fn a_host_s_name_becomes_a_word() {
        assert_eq!(word("host.example\n"), "host.example");
        assert_eq!(word("a b*ü"), "a-b--");
        assert_eq!(word(&"x".repeat(100)).len(), MAX_NAME);
    }
}
