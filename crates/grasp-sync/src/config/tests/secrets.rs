//! Passwords: read from files, and shown nowhere.

use super::*;

const PASSWORD: &str = "hunter2";

fn holding(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn named(file: &tempfile::NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

/// Everything that a person may be shown of a configuration.
fn shown(given: &Given) -> String {
    let effective = given.effective();
    let judged = effective.config().map_err(|error| error.to_string());
    let (toml, json) = (effective.to_toml(), effective.to_json());
    format!("{toml}\n{json}\n{judged:?}\n{:?}\n{:?}\n{effective:?}\n{:?}", effective.places(), given.sources, effective.check())
}

#[test]
fn a_password_of_a_sound_url_is_masked_wherever_it_is_shown() {
    let given = env("GRASP_SYNC_NATS_URL", "nats://left:hunter2@bus:4222")
        .env("GRASP_SYNC_DATABASE_URL", "postgres://sync:hunter2@db/sync")
        .env("GRASP_SYNC_HOME", "builtin");
    let shown = shown(&given);
    assert!(!shown.contains(PASSWORD), "{shown}");
    assert!(shown.contains("nats://left:***@bus:4222") && shown.contains("postgres://sync:***@db/sync"), "{shown}");
    let config = given.effective().config().unwrap();
    assert_eq!(config.nats_url.unwrap().expose(), "nats://left:hunter2@bus:4222");
}

#[test]
fn a_slip_in_a_url_does_not_show_its_password() {
    let slips = [
        "natz://left:hunter2@bus",
        "nats:/left:hunter2@bus",
        "nats//left:hunter2@bus",
        "left:hunter2@bus",
        "nats://left:hunter2@bus:port",
        "nats://left:1/hunter2@bus",
        "nats://left:hunter2@bus/path",
        "postgres://left:hunter2@",
        "postgres://db/sync?user=left&password=hunter2&sslmod=disable",
        "hunter2",
    ];
    for slip in slips {
        for setting in ["NATS_URL", "DATABASE_URL"] {
            let shown = shown(&env(&format!("GRASP_SYNC_{setting}"), slip).env("GRASP_SYNC_HOME", "builtin"));
            assert!(!shown.contains(PASSWORD), "{slip}: {shown}");
        }
        let files = [
            format!("[bus]\nnats_url = \"{slip}\""),
            format!("[bus]\nnats_urk = \"{slip}\""),
            format!("nats_url = \"{slip}\""),
        ];
        for text in files {
            let shown = shown(&file(&text));
            assert!(!shown.contains(PASSWORD), "{text}: {shown}");
        }
    }
}

#[test]
fn a_slip_in_a_file_does_not_show_the_password_that_it_holds() {
    let slips = [
        "[bus]\nnats_url = \"nats://left:hunter2@bus",
        "[bus]\nnats_url = nats://left:hunter2@bus",
        "[bus]\nnats_url = [\"nats://left:hunter2@bus\"]",
        "bus = \"nats://left:hunter2@bus\"",
    ];
    for slip in slips {
        let given = file(slip);
        assert!(given.effective().check().is_err(), "{slip}");
        assert!(!shown(&given).contains(PASSWORD), "{slip}: {}", shown(&given));
    }
    let message = file(slips[0]).complaint();
    assert!(message.starts_with("the file (file FILE) is not TOML: TOML parse error at line 2, column"), "{message}");
}

#[test]
fn a_url_is_refused_with_the_reason() {
    let nats = "; expected a URL like nats://user:password@host:4222, or tls://";
    let database = "; expected a URL like postgres://user:password@host:5432/database";
    let cases = [
        ("nats_url", "http://a:b@bus", format!("http://a:***@bus/: its scheme is none of nats, tls{nats}")),
        ("nats_url", "nats://bus/path", format!("nats://bus/path: it goes on behind the host and the port{nats}")),
        ("nats_url", "nats://", format!("nats://: it names no host{nats}")),
        (
            "database_url",
            "mysql://a:b@db/x",
            format!("mysql://a:***@db/x: its scheme is none of postgres, postgresql{database}"),
        ),
        (
            "database_url",
            "postgres://db/x?sslmod=disable",
            format!(
                "postgres://db/x?sslmod=disable: it has a parameter that is none of \
                 host, port, dbname, user, password, sslmode, sslrootcert, sslcert, sslkey{database}"
            ),
        ),
    ];
    for (name, text, rest) in cases {
        let variable = format!("GRASP_SYNC_{}", name.to_uppercase());
        assert_eq!(env(&variable, text).complaint(), format!("{name} (environment {variable}) holds {rest}"));
    }
    let hidden = env("GRASP_SYNC_NATS_URL", "nats:a:b@bus").complaint();
    assert!(hidden.contains("holds ***: it cannot be read as a URL, and is not shown for the password"), "{hidden}");
}

#[test]
fn the_shown_file_loads_again_but_for_a_url_with_a_password() {
    let given = env("GRASP_SYNC_NATS_URL", "tls://a:hunter2@bus").env("GRASP_SYNC_DATABASE_URL", "postgres:///sync");
    let shown = given.effective().to_toml();
    let line =
        "# nats_url = \"tls://a:***@bus\"  # environment GRASP_SYNC_NATS_URL; not a setting here, for the password is hidden\n";
    assert!(shown.contains(line), "{shown}");
    let again = file(&shown).effective().places().unwrap();
    assert_eq!((again.nats_url, again.database_url), (None, Some("postgres:///sync".to_owned().into())));
}

#[test]
fn any_setting_may_be_the_content_of_a_file() {
    let url = holding("nats://left:hunter2@bus\n");
    let limit = holding("12\n");
    let given = env("GRASP_SYNC_NATS_URL_FILE", named(&url)).env("GRASP_SYNC_LIVE_LIMIT_FILE", named(&limit));
    assert_eq!(given.effective().places().unwrap().nats_url.unwrap().expose(), "nats://left:hunter2@bus");
    let effective = given.effective();
    let sourced = effective.get(Key::LiveLimit).unwrap();
    assert_eq!(sourced.value, Value::Number(12));
    assert_eq!(sourced.origin.to_string(), "environment GRASP_SYNC_LIVE_LIMIT_FILE");
    let flagged = given.flag(Key::Role, "--role", "planner").effective().config().unwrap();
    assert_eq!((flagged.role, flagged.live_limit), (ProcessRole::Planner, 12));
}

#[test]
fn a_value_and_a_file_with_it_do_not_go_together_in_either_order() {
    let url = holding("nats://left:hunter2@bus");
    let (value, file) = (("GRASP_SYNC_NATS_URL", "nats://bus"), ("GRASP_SYNC_NATS_URL_FILE", named(&url)));
    for (first, second) in [(value, file), (file, value)] {
        assert_eq!(
            env(first.0, first.1).env(second.0, second.1).complaint(),
            "nats_url (environment GRASP_SYNC_NATS_URL_FILE) names a file, and GRASP_SYNC_NATS_URL is set too; set one of the two"
        );
    }
}

#[test]
fn a_file_that_is_not_there_or_empty_is_told_by_its_name() {
    let gone = env("GRASP_SYNC_DATABASE_URL_FILE", "/no/such/secret").complaint();
    let start = "database_url (environment GRASP_SYNC_DATABASE_URL_FILE) cannot be read: /no/such/secret: ";
    assert!(gone.starts_with(start), "{gone}");
    let empty = holding("\n");
    assert_eq!(
        env("GRASP_SYNC_DATABASE_URL_FILE", named(&empty)).complaint(),
        format!("database_url (environment GRASP_SYNC_DATABASE_URL_FILE) names {}, which is empty", named(&empty))
    );
}

/// What a command prints of a configuration, sound or not.
fn printed(given: &Given) -> String {
    let effective = given.effective();
    let refused = effective.config().unwrap_err();
    assert!(effective.check().is_err(), "a relay has no users");
    format!("{}\n{}\n{refused}\n{refused:?}", effective.to_toml(), effective.to_json())
}

#[test]
fn a_user_and_a_password_in_the_url_of_a_relay_or_a_collector_are_refused_and_shown_nowhere() {
    let urls = ["wss://left:hunter2@relay.example", "https://left:hunter2@relay.example/x", "left:hunter2@relay.example"];
    let settings =
        ["HOME", "HOME_ALIASES", "PRIVATE_PEERS", "BOOTSTRAP", "AUTH_ALWAYS", "AUTH_NEVER", "BLOCK", "OTLP_ENDPOINT"];
    for (setting, url) in settings.iter().flat_map(|setting| urls.map(|url| (setting, url))) {
        let mut given = env(&format!("GRASP_SYNC_{setting}"), url);
        if *setting != "HOME" {
            given = given.env("GRASP_SYNC_HOME", "builtin");
        }
        let printed = printed(&given);
        assert!(!printed.contains(PASSWORD), "{setting}={url}: {printed}");
    }
    let listed = file("[relays]\nbootstrap = [\"wss://left:hunter2@relay.example\"]").env("GRASP_SYNC_HOME", "builtin");
    assert!(!printed(&listed).contains(PASSWORD));
}
