//! What the processes of a fleet need, by role, and what does not go together.

use super::*;

const NATS: (&str, &str) = ("GRASP_SYNC_NATS_URL", "nats://bus");
const POSTGRES: (&str, &str) = ("GRASP_SYNC_DATABASE_URL", "postgres://sync@db/sync");
const HOME: (&str, &str) = ("GRASP_SYNC_HOME", "wss://home.example");

fn role(role: &str, variables: &[(&str, &str)]) -> Given {
    variables.iter().fold(env("GRASP_SYNC_ROLE", role), |given, (name, text)| given.env(name, text))
}

fn missed(given: &Given) -> Vec<String> {
    let error = given.effective().config().unwrap_err();
    error.problems.into_iter().map(|problem| problem.to_string()).collect()
}

#[test]
fn every_combination_that_makes_sense_is_taken() {
    let combinations: [(&str, &[(&str, &str)]); 9] = [
        ("all", &[HOME]),
        ("all", &[HOME, POSTGRES]),
        ("all", &[HOME, NATS, POSTGRES]),
        ("all", &[HOME, NATS]),
        ("state", &[HOME, NATS, POSTGRES]),
        ("state", &[HOME, NATS]),
        ("planner", &[NATS]),
        ("connector", &[HOME, NATS]),
        // A shared configuration names the database for all; the start warns.
        ("connector", &[HOME, NATS, POSTGRES]),
    ];
    for (name, variables) in combinations {
        let config = role(name, variables).effective().config();
        assert_eq!(config.map(|config| config.role.as_str()).as_deref(), Ok(name), "{variables:?}");
    }
}

#[test]
fn what_a_role_misses_is_told_at_once() {
    let nats = |role: &str| {
        format!(
            "nats_url is not set, and role {role} needs it; expected a URL like nats://user:password@host:4222, or tls://, \
             by --nats-url, GRASP_SYNC_NATS_URL or the file's [bus] nats_url"
        )
    };
    let home = |role: &str| {
        format!(
            "home is not set, and role {role} needs it; expected a relay URL like \"wss://relay.example\", or \"builtin\", \
             by --home, GRASP_SYNC_HOME or the file's [relays] home"
        )
    };
    assert_eq!(missed(&role("planner", &[])), [nats("planner")]);
    assert_eq!(missed(&role("connector", &[])), [home("connector"), nats("connector")]);
    assert_eq!(missed(&role("state", &[POSTGRES])), [home("state"), nats("state")]);
    for name in ["planner", "connector", "state"] {
        assert_eq!(role(name, &[]).effective().check(), Ok(()), "it can be shown");
    }
}

#[test]
fn a_home_inside_the_process_goes_with_role_all_only() {
    let builtin = ("GRASP_SYNC_HOME", "builtin");
    assert!(role("all", &[builtin, NATS]).effective().config().is_ok());
    assert_eq!(
        role("connector", &[builtin, NATS]).complaint(),
        "home (environment GRASP_SYNC_HOME) is \"builtin\", a relay inside the process: that goes with role all only, \
         not with role connector"
    );
}

#[test]
fn a_worker_renews_at_least_twice_in_the_life_of_a_lease() {
    assert_eq!(
        env("GRASP_SYNC_LEASE_BEAT", "3s").complaint(),
        "lease_beat (environment GRASP_SYNC_LEASE_BEAT) is \"3s\", which is not less than half of lease_ttl = \"6s\" (default)"
    );
    assert_eq!(env("GRASP_SYNC_LEASE_BEAT", "3s").env("GRASP_SYNC_LEASE_TTL", "7s").effective().check(), Ok(()));
    assert_eq!(env("GRASP_SYNC_LEASE_TTL", "1s").refusal().lines().count(), 1, "a wrong value is told once");
}

#[test]
fn a_database_is_migrated_and_a_status_looked_at_without_a_home() {
    let places = role("planner", &[NATS, POSTGRES]).effective().places().unwrap();
    assert_eq!(places.role, ProcessRole::Planner);
    assert_eq!(places.database_url.unwrap().expose(), POSTGRES.1);
    assert_eq!(places.nats_url.unwrap().expose(), NATS.1);
    assert!(env("GRASP_SYNC_DATABASE_URL", "mysql://db").effective().places().is_err());
}
