#![allow(clippy::unwrap_used)]

use model::Stated;

use super::*;

const GIB: u64 = 1024 * 1024 * 1024;

fn url() -> RelayUrl {
    RelayUrl::parse("wss://relay.example").unwrap()
}

fn unreachable(class: DownClass) -> Unreachable {
    Unreachable { class, detail: "it is away".to_owned() }
}

fn preferably() -> Listen {
    Listen::Preferably("127.0.0.1:9464".parse().unwrap())
}

fn home() -> HomeFacts {
    HomeFacts {
        url: url(),
        is_builtin: false,
        link: Ok(()),
        clock_ahead: Some(0),
        document: Ok(Document::default()),
        reading: Some(Reading::ByNegentropy),
        is_told_who_we_are: true,
    }
}

fn config() -> ConfigFacts {
    ConfigFacts {
        allow_non_public: Vec::new(),
        listen: preferably(),
        listening: Listening::Nobody,
        has_http_token: false,
        open_files: Vec::new(),
    }
}

fn facts() -> Facts {
    let disk = Some(Disk { free: 50 * GIB, is_read_only: false });
    Facts {
        role: ProcessRole::All,
        config: config(),
        home: Some(home()),
        bus: BusFacts::None,
        store: StoreFacts::File { path: "data/grasp-sync.db".into(), schema: Schema::Current, disk },
        egress: vec![(url(), Ok(()))],
    }
}

/// What is not well, as one text.
fn told(facts: &Facts) -> Vec<(Severity, Area, String)> {
    let not_well = findings(facts).into_iter().filter(|one| one.severity != Severity::Well);
    not_well
        .map(|one| (one.severity, one.area, format!("{}: {}", one.what, one.remedy.expect("what is not well has a remedy"))))
        .collect()
}

/// That one thing is not well, so bad, there, and that both words stand in it.
fn assert_one(facts: &Facts, severity: Severity, area: Area, words: [&str; 2]) {
    let told = told(facts);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].0, told[0].1), (severity, area), "{told:?}");
    assert!(words.iter().all(|word| told[0].2.contains(word)), "{words:?} in {told:?}");
}

#[test]
fn a_healthy_setup_is_told_area_by_area_and_needs_nothing() {
    let all = findings(&facts());
    assert!(all.iter().all(|one| one.severity == Severity::Well && one.remedy.is_none()), "{all:?}");
    for area in [Area::Config, Area::Home, Area::Store, Area::Egress] {
        assert!(all.iter().any(|one| one.area == area), "{}", area.as_str());
    }
}

#[test]
fn each_risk_of_the_configuration_is_a_finding() {
    use Severity::{Risky, Severe};
    let exactly = Listen::Exactly("127.0.0.1:9464".parse().unwrap());
    let everywhere = Listen::Exactly("0.0.0.0:9464".parse().unwrap());
    let taken = || Listening::Taken("in use".to_owned());
    let cases = [
        (ConfigFacts { allow_non_public: vec!["10.0.0.0/8".into()], ..config() }, Risky, ["10.0.0.0/8", "allow_non_public"]),
        (ConfigFacts { listen: everywhere, ..config() }, Risky, ["the page is off", "loopback"]),
        (ConfigFacts { listen: everywhere, has_http_token: true, ..config() }, Risky, ["unencrypted", "TLS"]),
        (
            ConfigFacts { open_files: vec!["/run/db".into()], ..config() },
            Risky,
            ["/run/db holds a secret", "chmod 600 /run/db"],
        ),
        (ConfigFacts { listening: taken(), ..config() }, Risky, ["another port", "--listen"]),
        (ConfigFacts { listening: taken(), listen: exactly, ..config() }, Severe, ["does not start", "--listen"]),
        (
            ConfigFacts { listening: Listening::Ours(Err("not ready: bus".into())), ..config() },
            Risky,
            ["not ready: bus", "log"],
        ),
    ];
    for (config, severity, words) in cases {
        assert_one(&Facts { config, ..facts() }, severity, Area::Config, words);
    }
    let runs = ConfigFacts { listening: Listening::Ours(Ok(())), ..config() };
    assert_eq!(told(&Facts { config: runs, ..facts() }), [], "our own process has the port");
}

#[test]
fn each_trouble_with_home_is_a_finding_with_a_remedy_of_its_own() {
    use Severity::{Risky, Severe};
    let away = |class| HomeFacts { link: Err(unreachable(class)), reading: None, ..home() };
    let reads = |reading| HomeFacts { reading: Some(reading), ..home() };
    let states = |document| HomeFacts { document: Ok(document), ..home() };
    let none = Document::default;
    let untold = |facts| HomeFacts { is_told_who_we_are: false, ..facts };
    let old = Document { stated: Stated { oldest: Some(864_000), ..Stated::default() }, ..none() };
    let cases = [
        (away(DownClass::Refused), Severe, ["cannot be reached", "start home"]),
        (away(DownClass::Dns), Severe, ["cannot be reached", "resolves names"]),
        (away(DownClass::Tls), Severe, ["cannot be reached", "certificate"]),
        (away(DownClass::HttpStatus), Severe, ["cannot be reached", "proxy"]),
        (away(DownClass::Timeout), Severe, ["cannot be reached", "firewalls"]),
        (away(DownClass::Protocol), Severe, ["cannot be reached", "Nostr relay"]),
        (HomeFacts { clock_ahead: Some(60), ..home() }, Risky, ["60 s ahead of ours", "NTP"]),
        (HomeFacts { clock_ahead: Some(-900), ..home() }, Severe, ["900 s behind ours", "NTP"]),
        (HomeFacts { document: Err("HTTP 404".into()), ..home() }, Risky, ["HTTP 404", "information document"]),
        (reads(Reading::ByPages("blocked".into())), Risky, ["refuses NIP-77 (blocked)", "negentropy"]),
        (reads(Reading::Refused("closed".into())), Severe, ["closed", "read from home"]),
        (untold(reads(Reading::NeedsAuth("auth-required: x".into()))), Severe, ["is not told", "auth_on_demand"]),
        (untold(states(Document { auth_required: true, ..none() })), Severe, ["auth_required", "auth_on_demand"]),
        (states(Document { payment_required: true, ..none() }), Risky, ["payment_required", "everybody"]),
        (states(Document { restricted_writes: true, ..none() }), Risky, ["restricted_writes", "this service's key"]),
        (states(Document { min_pow_difficulty: 20, ..none() }), Risky, ["20 bits", "proof of work"]),
        (states(old), Risky, ["10 days back", "created_at_lower_limit"]),
    ];
    for (home, severity, words) in cases {
        assert_one(&Facts { home: Some(home), ..facts() }, severity, Area::Home, words);
    }
    let fine = [
        HomeFacts { clock_ahead: Some(-59), ..home() },
        HomeFacts { clock_ahead: None, ..home() },
        reads(Reading::NeedsAuth("auth-required: x".into())),
        states(Document { auth_required: true, ..none() }),
        HomeFacts { is_builtin: true, ..away(DownClass::Refused) },
    ];
    for home in fine {
        assert_eq!(told(&Facts { home: Some(home), ..facts() }), []);
    }
}

#[test]
fn each_trouble_with_bus_store_and_egress_is_a_finding() {
    use Severity::{Risky, Severe};
    let disk = |free, is_read_only| Some(Disk { free, is_read_only });
    let file = |schema, disk| StoreFacts::File { path: "db".into(), schema, disk };
    let bus = |bus| Facts { bus, ..facts() };
    let store = |role, store| Facts { role, store, ..facts() };
    let connected = |has_jetstream| BusFacts::Connected { version: "2.12.1".into(), has_jetstream };
    let behind = || Schema::Behind { found: 3, needed: 7 };
    let server = |schema| StoreFacts::Server { schema };
    let all = ProcessRole::All;
    let dials = |answers: Vec<Result<(), Unreachable>>| Facts {
        egress: answers.into_iter().map(|answer| (url(), answer)).collect(),
        ..facts()
    };
    let away = || Err(unreachable(DownClass::Refused));
    let cases = [
        (bus(BusFacts::Missing), Severe, Area::Bus, ["alone", "nats_url"]),
        (bus(connected(false)), Severe, Area::Bus, ["without JetStream", "--jetstream"]),
        (bus(BusFacts::Failed("it is away".into())), Severe, Area::Bus, ["it is away", "nats_url"]),
        (store(all, file(behind(), None)), Risky, Area::Store, ["version 3", "backup"]),
        (store(ProcessRole::State, server(behind())), Severe, Area::Store, ["needs 7", "grasp-sync migrate"]),
        (store(ProcessRole::State, server(Schema::None)), Severe, Area::Store, ["no schema", "grasp-sync migrate"]),
        (store(all, server(Schema::Failed("refused".into()))), Severe, Area::Store, ["refused", "correct"]),
        (store(all, file(Schema::Current, disk(GIB - 1, false))), Risky, Area::Store, ["free", "make room"]),
        (store(all, file(Schema::Current, disk(1000, false))), Severe, Area::Store, ["free", "make room"]),
        (store(all, file(Schema::Current, disk(GIB, true))), Severe, Area::Store, ["only be read", "data_dir"]),
        (dials(vec![Ok(()), away()]), Risky, Area::Egress, ["cannot be reached", "take it out"]),
        (dials(vec![away()]), Severe, Area::Egress, ["like all of them", "dial out"]),
    ];
    for (facts, severity, area, words) in cases {
        assert_one(&facts, severity, area, words);
    }
    let fine = [
        bus(connected(true)),
        store(all, file(Schema::None, None)),
        store(ProcessRole::Planner, StoreFacts::NotOurs),
        dials(Vec::new()),
    ];
    for facts in fine {
        assert_eq!(told(&facts), []);
    }
}
