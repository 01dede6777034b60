//! `grasp-sync doctor`: the real binary looks at real setups, well and unwell, and leaves them as they are.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::os::unix::fs::PermissionsExt;

use common::{GraspSync, PATIENCE, Relay};
use serde_json::{Value, json};
use testkit::hostile::{Behaviour, Negentropy};
use testkit::{HostileRelay, wait_until};

/// What the doctor says of a setup.
struct Diagnosis {
    code: i32,
    document: Value,
}

impl Diagnosis {
    async fn of(installed: &GraspSync, home: &str, more: &[&str]) -> Self {
        let arguments = ["doctor", "--json", "--home", home, "--listen", "127.0.0.1:0"];
        let said = installed.says(&[&arguments, more].concat()).await;
        let document = serde_json::from_str(&said.stdout).unwrap_or_else(|why| panic!("{why}: {}{}", said.stdout, said.stderr));
        Self { code: said.code, document }
    }

    /// The severities of the findings that hold this text.
    fn of_text(&self, text: &str) -> Vec<&str> {
        let findings = self.document["findings"].as_array().unwrap();
        let holding = findings.iter().filter(|one| one["what"].as_str().unwrap().contains(text));
        holding.map(|one| one["severity"].as_str().unwrap()).collect()
    }
}

async fn nowhere() -> String {
    format!("ws://127.0.0.1:{}", testkit::free_port())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_setup_is_well_before_its_first_start_and_while_it_runs() {
    let (home, upstream) = (Relay::counting().await, Relay::local().await);
    let mut installed = GraspSync::keeping(&home.url()).pulling_from(&[upstream.url()]);
    let bootstrap = upstream.url();
    let before = Diagnosis::of(&installed, &home.url(), &["--bootstrap", &bootstrap]).await;
    assert_eq!((before.code, &before.document["severity"]), (0, &json!("well")), "{:#}", before.document);
    assert_eq!(before.of_text("the first start makes it"), ["well"]);
    assert!(!installed.data_dir().exists(), "it was only looked at");

    let running = installed.run();
    let is_up = || async { running.log().contains("role=\"home\"") };
    wait_until("the system to have its links", PATIENCE, is_up).await;
    let during = Diagnosis::of(&installed, &home.url(), &["--bootstrap", &bootstrap]).await;
    assert_eq!((during.code, &during.document["severity"]), (0, &json!("well")), "{:#}", during.document);
    for text in ["schema up to date", "NIP-77", "bootstrap relay", "are free on the disk"] {
        assert_eq!(during.of_text(text), ["well"], "{text}: {:#}", during.document);
    }
    assert_eq!(running.terminated().await.status.code(), Some(0));
    assert_eq!(home.traffic().events_written, 0, "nothing was written to try it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_is_down_and_a_port_that_is_taken_are_severe_and_each_says_what_to_do() {
    let (home, other) = (nowhere().await, Relay::local().await);
    let installed = GraspSync::keeping(&home);
    let taken = other.url().replace("ws://", "");
    let said = installed.says(&["doctor", "--home", &home, "--listen", &taken]).await;
    assert_eq!(said.code, 10, "{}", said.stdout);
    assert!(said.stdout.starts_with("it does not work like this\n"), "{}", said.stdout);
    for text in [&format!("home {home}/ cannot be reached"), "start home", "cannot be listened on", "choose another address"] {
        assert!(said.stdout.contains(text), "{text} in {}", said.stdout);
    }
    let unset = installed.says(&["doctor"]).await;
    assert_eq!(unset.code, 2, "{}", unset.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_home_refuses_and_states_is_said() {
    let document = json!({
        "software": "a relay",
        "limitation": {"restricted_writes": true, "auth_required": true, "max_subscriptions": 20, "created_at_lower_limit": 864_000},
    });
    let script = [Behaviour::Describes(document), Behaviour::Negentropy(Negentropy::Error("blocked: no"))];
    let home = HostileRelay::start(script).await;
    let installed = GraspSync::keeping(&home.url());
    let told = Diagnosis::of(&installed, &home.url(), &["--allow-non-public", "127.0.0.0/8"]).await;
    assert_eq!((told.code, &told.document["severity"]), (0, &json!("risky")), "{:#}", told.document);
    for text in ["refuses NIP-77 (blocked: no)", "restricted_writes", "10 days back", "make this process dial 127.0.0.0/8"] {
        assert_eq!(told.of_text(text), ["risky"], "{text}: {:#}", told.document);
    }
    assert_eq!(told.of_text("home is a relay; it states subscriptions 20"), ["well"], "{:#}", told.document);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_not_migrated_and_a_bus_that_is_away_are_severe_for_a_replica() {
    let home = Relay::counting().await;
    let installed = GraspSync::keeping(&home.url());
    let database = testkit::postgres::database();
    let bus = format!("nats://127.0.0.1:{}", testkit::free_port());

    let alone = ["--database-url", &database];
    let told = Diagnosis::of(&installed, &home.url(), &alone).await;
    assert_eq!(told.of_text("the first start makes it"), ["well"], "{:#}", told.document);
    let fleet = ["--database-url", &database, "--role", "state", "--nats-url", &bus];
    let told = Diagnosis::of(&installed, &home.url(), &fleet).await;
    assert_eq!(told.code, 10);
    assert_eq!(told.of_text("no schema yet"), ["severe"], "{:#}", told.document);
    assert_eq!(told.of_text("the NATS server cannot be reached: check host, port and TLS"), ["severe"], "{:#}", told.document);

    assert_eq!(installed.says(&["migrate", "--database-url", &database]).await.code, 0);
    let told = Diagnosis::of(&installed, &home.url(), &fleet).await;
    assert_eq!(told.of_text("schema up to date"), ["well"], "{:#}", told.document);

    let config = installed.data_dir().with_file_name("fleet.toml");
    std::fs::write(&config, format!("[store]\ndatabase_url = \"{database}\"\n")).unwrap();
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o644)).unwrap();
    let named = ["--config", config.to_str().unwrap()];
    let told = Diagnosis::of(&installed, &home.url(), &named).await;
    assert_eq!(told.of_text("holds a secret"), ["risky"], "{:#}", told.document);
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o600)).unwrap();
    let told = Diagnosis::of(&installed, &home.url(), &named).await;
    assert!(told.of_text("holds a secret").is_empty(), "{:#}", told.document);
}
