//! The layers, the validation and `show`, together.

#![allow(clippy::unwrap_used)]

mod fleet;
mod secrets;

use engine::auth::{Policy, Whom};
use model::Role;

use super::*;

/// A configuration in the making: `with("[sync]…").env(…).flag(…)`.
#[derive(Default)]
struct Given {
    file: Option<tempfile::NamedTempFile>,
    sources: Sources,
}

fn file(text: &str) -> Given {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let mut given = Given::default();
    given.sources.file = Some(file.path().to_owned());
    given.file = Some(file);
    given
}

fn env(name: &str, text: &str) -> Given {
    Given::default().env(name, text)
}

fn flag(key: Key, flag: &'static str, text: &str) -> Given {
    Given::default().flag(key, flag, text)
}

impl Given {
    fn env(mut self, name: &str, text: &str) -> Self {
        let variable = (name.to_owned(), text.to_owned());
        self.sources.environment.push(variable);
        self
    }

    fn flag(mut self, key: Key, flag: &'static str, text: &str) -> Self {
        let value = Value::Text(text.to_owned().into());
        self.sources.flags.push(FlagValue { key, flag, value });
        self
    }

    fn effective(&self) -> Effective {
        Effective::gather(self.sources.clone())
    }

    /// The message, with the file's name written FILE.
    fn refusal(&self) -> String {
        let message = self.effective().check().unwrap_err().to_string();
        let Some(file) = &self.file else {
            return message;
        };
        message.replace(&file.path().display().to_string(), "FILE")
    }

    /// What stands after the words that start every message with one problem.
    fn complaint(&self) -> String {
        let message = self.refusal();
        let (start, rest) = message.split_once(": ").unwrap();
        assert_eq!(start, "the configuration cannot be used", "{message}");
        rest.to_owned()
    }
}

fn data_dir(given: &Given) -> (String, String) {
    let effective = given.effective();
    let config = effective.check().map(|()| effective.get(Key::DataDir).unwrap().clone());
    let Sourced { value, origin } = config.unwrap();
    let Value::Text(text) = value else { panic!("{value:?}") };
    (text.into_owned(), origin.to_string())
}

fn url(text: &str) -> RelayUrl {
    RelayUrl::parse(text).unwrap()
}

#[test]
fn each_layer_is_stronger_than_the_one_before_and_the_origin_says_which_won() {
    let given = Given::default();
    let expected = ("./grasp-sync-data".to_owned(), "default".to_owned());
    assert_eq!(data_dir(&given), expected);

    let given = file("[store]\ndata_dir = \"/file\"");
    let path = given.sources.file.clone().unwrap();
    let origin = format!("file {}", path.display());
    assert_eq!(data_dir(&given), ("/file".to_owned(), origin));

    let given = given.env("GRASP_SYNC_DATA_DIR", "/environment");
    let origin = "environment GRASP_SYNC_DATA_DIR".to_owned();
    assert_eq!(data_dir(&given), ("/environment".to_owned(), origin));

    let given = given.flag(Key::DataDir, "--data-dir", "/flag");
    let expected = ("/flag".to_owned(), "flag --data-dir".to_owned());
    assert_eq!(data_dir(&given), expected);
}

#[test]
fn the_defaults_are_those_of_the_rules() {
    let config = Config::with_home(Home::Builtin, "data".into());
    let expected = Config {
        home: Some(Home::Builtin),
        home_aliases: vec![],
        private_peers: vec![],
        bootstrap: vec![],
        allow_non_public: Vec::new(),
        look_up_names: true,
        onion_proxy: None,
        admission: Admits::HomeDecides,
        archive_only: Lists::default(),
        block: Lists::default(),
        contact: None,
        operator_key: None,
        auth_key: None,
        auth: Consent {
            on_demand: Whom { roles: [Role::Home, Role::Bootstrap].into(), ..Whom::default() },
            ..Consent::default()
        },
        caps: Caps::default(),
        roots_per_author: 1_000,
        dials_per_minute: 600,
        data_dir: "data".into(),
        database_url: None,
        nats_url: None,
        role: ProcessRole::All,
        name: None,
        discovery_window: Duration::from_secs(5),
        quick_reconnect: Duration::from_mins(15),
        audit_after: Duration::from_mins(30),
        refresh_min: Duration::from_hours(23),
        refresh_max: Duration::from_hours(25),
        live_limit: 70,
        home_write_window: 256,
        home_write_links: 1,
        lease_ttl: Duration::from_secs(6),
        lease_beat: Duration::from_secs(2),
        session_grace: Duration::ZERO,
        log: "info".to_owned(),
        log_format: LogFormat::Text,
        listen: Listen::Preferably("127.0.0.1:9464".parse().unwrap()),
        http_token: None,
        otlp_endpoint: None,
    };
    assert_eq!(config, expected);
}

#[test]
fn the_operator_may_name_home_and_bootstrap_relays_on_any_host_and_port() {
    let given = env("GRASP_SYNC_HOME", "ws://localhost:22")
        .env("GRASP_SYNC_BOOTSTRAP", "ws://10.0.0.5:80, wss://R.example wss://r.example/")
        .env("GRASP_SYNC_HOME_ALIASES", "wss://home.example");
    let config = given.effective().config().unwrap();
    assert_eq!(config.home, Some(Home::Relay(url("ws://localhost:22"))));
    let bootstrap = [url("ws://10.0.0.5"), url("wss://r.example")];
    assert_eq!(config.bootstrap, bootstrap);
    assert!(config.is_home(&url("wss://home.example")) && !config.is_home(&bootstrap[0]));
}

#[test]
fn each_shape_is_read_from_the_environment_and_an_empty_variable_is_none() {
    let given = env("GRASP_SYNC_HOME", "builtin")
        .env("GRASP_SYNC_ALLOW_NON_PUBLIC", "127.0.0.0/8, fd00::/8")
        .env("GRASP_SYNC_LIVE_LIMIT", " 20 ")
        .env("GRASP_SYNC_REFRESH_MAX", "30h")
        .env("GRASP_SYNC_LOG_FORMAT", "json")
        .env("GRASP_SYNC_LOOK_UP_NAMES", "false")
        .env("GRASP_SYNC_ROLE", "all")
        .env("GRASP_SYNC_NAME", "left-1")
        .env("GRASP_SYNC_NATS_URL", "nats://user:pw@bus:4222")
        .env("GRASP_SYNC_DATABASE_URL_FILE", "")
        .env("GRASP_SYNC_DATA_DIR", "");
    let config = given.effective().config().unwrap();
    assert_eq!(config.allow_non_public, ["127.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
    assert_eq!(config.live_limit, 20);
    assert_eq!(config.refresh_max, Duration::from_hours(30));
    assert_eq!(config.log_format, LogFormat::Json);
    assert!(!config.look_up_names);
    assert_eq!((config.role, config.name.as_deref()), (ProcessRole::All, Some("left-1")));
    assert_eq!(config.nats_url.unwrap().expose(), "nats://user:pw@bus:4222");
    assert_eq!(config.database_url, None);
    assert_eq!(config.data_dir, PathBuf::from("./grasp-sync-data"));
}

#[test]
fn variables_of_an_orchestrator_are_passed_over_and_a_near_miss_is_not() {
    let given =
        env("GRASP_SYNC_SERVICE_HOST", "10.0.0.1").env("GRASP_SYNC_PORT", "tcp://10.0.0.1:80").env("GRASP_SYNC_CONFIG", "x");
    assert_eq!(given.effective().check(), Ok(()));
    assert_eq!(
        env("GRASP_SYNC_BOOTSRAP", "x").complaint(),
        "GRASP_SYNC_BOOTSRAP (environment GRASP_SYNC_BOOTSRAP) is not a setting; \
         did you mean GRASP_SYNC_BOOTSTRAP?"
    );
    assert_eq!(
        env("GRASP_SYNC_NATS_ULR_FILE", "x").complaint(),
        "GRASP_SYNC_NATS_ULR_FILE (environment GRASP_SYNC_NATS_ULR_FILE) is not a setting; \
         did you mean GRASP_SYNC_NATS_URL_FILE?"
    );
}

#[test]
fn an_unknown_name_in_the_file_is_refused_with_the_name_that_was_meant() {
    let cases = [
        ("[sync]\nrefresh_mim = \"1h\"", "[sync] refresh_mim (file FILE) is not a setting; did you mean [sync] refresh_min?"),
        ("[sync]\nhome = \"builtin\"", "[sync] home (file FILE) is not a setting; did you mean [relays] home?"),
        ("home = \"builtin\"", "home (file FILE) is not a setting; did you mean [relays] home?"),
        ("[relay]\nhome = \"builtin\"", "relay (file FILE) is not a setting; did you mean [relays]?"),
        ("[sync]\nweather = 1", "[sync] weather (file FILE) is not a setting"),
    ];
    for (text, message) in cases {
        assert_eq!(file(text).complaint(), message);
    }
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_what_would_be_right() {
    let cases = [
        (
            "[sync]\ndiscovery_window = 5",
            r#"discovery_window (file FILE) is the integer 5; expected a duration like "5s", "15m" or "23h", from 0s to 30days"#,
        ),
        (
            "[sync]\nlive_limit = \"70\"",
            r#"live_limit (file FILE) is the string "70"; expected a whole number from 1 to 10000"#,
        ),
        (
            "[relays]\nbootstrap = \"wss://a.example\"",
            r#"bootstrap (file FILE) is the string "wss://a.example"; expected a list of relay URLs like ["wss://relay.example"]"#,
        ),
        (
            "[relays]\nbootstrap = [1]",
            r#"bootstrap (file FILE) is a list that holds the integer 1; expected a list of relay URLs like ["wss://relay.example"]"#,
        ),
        (
            "[relays]\nhome = [\"builtin\"]",
            r#"home (file FILE) is a list; expected a relay URL like "wss://relay.example", or "builtin""#,
        ),
        (
            "[relays]\nallow_non_public = 1",
            "allow_non_public (file FILE) is the integer 1; expected a list of networks such as 192.168.0.0/16 or fd00::/8",
        ),
        ("sync = 5", "sync (file FILE) is the integer 5; expected a table [sync]"),
    ];
    for (text, message) in cases {
        assert_eq!(file(text).complaint(), message);
    }
}

#[test]
fn a_text_that_its_setting_cannot_hold_is_refused_with_what_would_be_right() {
    let duration = r#"expected a duration like "5s", "15m" or "23h", from"#;
    let cases = [
        ("ALLOW_NON_PUBLIC", "maybe", r#""maybe"; expected a list of networks such as 192.168.0.0/16 or fd00::/8"#.to_owned()),
        ("LIVE_LIMIT", "many", r#""many"; expected a whole number from 1 to 10000"#.to_owned()),
        ("LIVE_LIMIT", "0", r#""0"; expected a whole number from 1 to 10000"#.to_owned()),
        ("LIVE_LIMIT", "-1", r#""-1"; expected a whole number from 1 to 10000"#.to_owned()),
        ("HOME_WRITE_WINDOW", "10001", r#""10001"; expected a whole number from 1 to 10000"#.to_owned()),
        ("QUICK_RECONNECT", "15", format!(r#""15"; {duration} 0s to 30days"#)),
        ("DISCOVERY_WINDOW", "31days", format!(r#""31days"; {duration} 0s to 30days"#)),
        ("REFRESH_MIN", "0s", format!(r#""0s"; {duration} 1s to 30days"#)),
        ("REFRESH_MAX", "0s", format!(r#""0s"; {duration} 1s to 30days"#)),
        (
            "LOG",
            "inof",
            r#""inof"; expected a level (off, error, warn, info, debug, trace) or a list like "info,connector=debug""#
                .to_owned(),
        ),
        ("LOG_FORMAT", "xml", r#""xml"; expected "text" or "json""#.to_owned()),
        ("LOOK_UP_NAMES", "yes", r#""yes"; expected true or false"#.to_owned()),
        ("ROLE", "boss", r#""boss"; expected one of all, state, planner, connector"#.to_owned()),
        ("NAME", "a b", r#""a b"; expected 1 to 64 of the letters a-z, A-Z, 0-9, -, _ and ."#.to_owned()),
        ("LEASE_TTL", "2s", format!(r#""2s"; {duration} 3s to 10m"#)),
        ("LEASE_BEAT", "0s", format!(r#""0s"; {duration} 100ms to 10m"#)),
        ("SESSION_GRACE", "61s", format!(r#""61s"; {duration} 0s to 1m"#)),
        ("LISTEN", "9464", r#""9464"; expected an IP address and a port like "127.0.0.1:9464""#.to_owned()),
        ("OTLP_ENDPOINT", "localhost:4317", r#""localhost:4317"; expected a URL like "http://localhost:4317""#.to_owned()),
    ];
    for (name, text, rest) in cases {
        let variable = format!("GRASP_SYNC_{name}");
        let message = format!("{} (environment {variable}) is {rest}", name.to_lowercase());
        assert_eq!(env(&variable, text).complaint(), message);
    }
}

#[test]
fn an_empty_data_dir_is_refused() {
    assert_eq!(
        flag(Key::DataDir, "--data-dir", " ").complaint(),
        r#"data_dir (flag --data-dir) is " "; expected the path of a directory"#
    );
}

#[test]
fn a_bad_url_is_refused_with_the_reason_of_the_normal_form() {
    assert_eq!(
        flag(Key::Home, "--home", "ftp://relay.example").complaint(),
        r#"home (flag --home) holds "ftp://relay.example": the URL has the scheme "ftp", which is none of ws, wss, http, https; expected a relay URL like "wss://relay.example", or "builtin""#
    );
    assert_eq!(
        env("GRASP_SYNC_HOME_ALIASES", "wss://a.example builtni").complaint(),
        r#"home_aliases (environment GRASP_SYNC_HOME_ALIASES) holds "builtni": the URL is a bare word; write it with ws:// or wss:// if it is a host; expected a list of relay URLs like ["wss://relay.example"]"#
    );
}

#[test]
fn a_shortest_refresh_above_the_longest_names_both_origins() {
    assert_eq!(
        env("GRASP_SYNC_REFRESH_MIN", "26h").complaint(),
        r#"refresh_min (environment GRASP_SYNC_REFRESH_MIN) is "26h", more than refresh_max = "25h" (default); it has to be the smaller one"#
    );
}

#[test]
fn home_under_any_of_its_names_is_no_bootstrap_relay() {
    let given = env("GRASP_SYNC_BOOTSTRAP", "wss://home.example:443/ wss://alias.example")
        .env("GRASP_SYNC_HOME_ALIASES", "alias.example")
        .flag(Key::Home, "--home", "wss://Home.example");
    let problems = given.effective().config().unwrap_err().problems;
    let complaint = |url: &str| Complaint::BootstrapIsHome { url: url.to_owned() };
    let complaints: Vec<_> = problems.into_iter().map(|problem| problem.complaint).collect();
    assert_eq!(complaints, [complaint("wss://home.example/"), complaint("wss://alias.example/")]);
}

#[test]
fn a_home_that_nothing_names_is_missed_by_a_run_only() {
    let effective = Given::default().effective();
    assert_eq!(effective.check(), Ok(()));
    assert_eq!(
        effective.config().unwrap_err().to_string(),
        r#"the configuration cannot be used: home is not set; expected a relay URL like "wss://relay.example", or "builtin", by --home, GRASP_SYNC_HOME or the file's [relays] home"#
    );
}

#[test]
fn all_problems_of_all_layers_are_told_at_once() {
    let given = file("[sync]\nlive_limit = 0\nlive_limt = 1\nrefresh_min = true").env("GRASP_SYNC_LOG_FORMAT", "xml").flag(
        Key::Home,
        "--home",
        "relay",
    );
    let message = given.refusal();
    let lines: Vec<_> = message.lines().collect();
    assert_eq!(lines[0], "the configuration has 5 problems:");
    let starts = [
        "  - [sync] live_limt (file FILE) is not",
        "  - refresh_min (file FILE) is the boolean true",
        "  - home (flag --home) holds \"relay\"",
        "  - live_limit (file FILE) is \"0\"",
        "  - log_format (environment GRASP_SYNC_LOG_FORMAT) is \"xml\"",
    ];
    assert_eq!(lines.len(), 1 + starts.len(), "{message}");
    for (line, start) in lines[1..].iter().zip(starts) {
        assert!(line.starts_with(start), "{line}\n{start}");
    }
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_told_by_its_name() {
    let mut given = Given::default();
    given.sources.file = Some("/no/such/file.toml".into());
    let message = given.complaint();
    assert!(message.starts_with("the file (file /no/such/file.toml) cannot be read: "), "{message}");
    let message = file("[sync\n").complaint();
    assert!(message.starts_with("the file (file FILE) is not TOML: TOML parse error at line 1"), "{message}");
}

#[test]
fn the_file_is_the_flags_then_the_environments_then_the_one_in_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let none = find_file(None, &[], directory.path());
    assert_eq!(none, None);
    let found = directory.path().join(CONFIG_FILE);
    std::fs::write(&found, "").unwrap();
    assert_eq!(find_file(None, &[], directory.path()), Some(found));
    let variables = [(CONFIG_ENV.to_owned(), "named".to_owned())];
    let named = find_file(None, &variables, directory.path());
    assert_eq!(named, Some("named".into()));
    let flag = find_file(Some("flag".into()), &variables, directory.path());
    assert_eq!(flag, Some("flag".into()));
}

#[test]
fn the_shown_file_loads_to_the_same_configuration() {
    let given = file("[sync]\nrefresh_min = \"1h 30m\"\nlive_limit = 12\n[telemetry]\nlog_format = \"json\"")
        .env("GRASP_SYNC_BOOTSTRAP", "Wss://A.example b.example:7777")
        .env("GRASP_SYNC_ALLOW_NON_PUBLIC", "127.0.0.0/8")
        .flag(Key::Home, "--home", "ws://localhost:7777")
        .flag(Key::DataDir, "--data-dir", "/data \"quoted\"\n")
        .flag(Key::Listen, "--listen", "127.0.0.1:9465");
    let effective = given.effective();
    let again = file(&effective.to_toml()).effective();
    assert_eq!(again.config().unwrap(), effective.config().unwrap());
}

#[test]
fn the_shown_file_names_the_origin_on_every_line() {
    let given = env("GRASP_SYNC_BOOTSTRAP", "WSS://A.example").flag(Key::Log, "-v", "debug");
    let shown = given.effective().to_toml();
    let expected = "\
[relays]
# home =  # not set; relay URL, or builtin
home_aliases = []  # default
private_peers = []  # default
bootstrap = [\"wss://a.example/\"]  # environment GRASP_SYNC_BOOTSTRAP
allow_non_public = []  # default
look_up_names = true  # default
# onion_proxy =  # not set; address:port

[admission]
admission = \"home-decides\"  # default
archive_only = []  # default
block = []  # default

[identity]
# contact =  # not set; address or URL
# operator_key =  # not set; npub or hex
# auth_key =  # not set; nsec or hex
auth_never = []  # default
auth_on_demand = [\"home\", \"bootstrap\"]  # default
auth_always = []  # default

[caps]
upstreams_per_announcement = 32  # default
upstreams_per_author = 100  # default
upstreams_per_domain = 100  # default
upstreams_total = 2000  # default
roots_per_author = 1000  # default
dials_per_minute = 600  # default

[store]
data_dir = \"./grasp-sync-data\"  # default
# database_url =  # not set; postgres URL

[bus]
# nats_url =  # not set; nats or tls URL

[process]
role = \"all\"  # default
# name =  # not set; word

[sync]
discovery_window = \"5s\"  # default
quick_reconnect = \"15m\"  # default
audit_after = \"30m\"  # default
refresh_min = \"23h\"  # default
refresh_max = \"25h\"  # default
live_limit = 70  # default
home_write_window = 256  # default
home_write_links = 1  # default
lease_ttl = \"6s\"  # default
lease_beat = \"2s\"  # default
session_grace = \"0s\"  # default

[telemetry]
log = \"debug\"  # flag -v
log_format = \"text\"  # default
listen = \"127.0.0.1:9464\"  # default
# http_token =  # not set; word
# otlp_endpoint =  # not set; http or https URL
";
    assert_eq!(shown, expected);
}

#[test]
fn an_address_that_anybody_chose_is_exact_and_only_the_default_gives_way() {
    let given = env("GRASP_SYNC_HOME", "builtin");
    assert!(matches!(given.effective().config().unwrap().listen, Listen::Preferably(_)));
    let given = given.env("GRASP_SYNC_LISTEN", "127.0.0.1:9464");
    assert!(matches!(given.effective().config().unwrap().listen, Listen::Exactly(_)));
    let given = flag(Key::Listen, "--listen", "[::1]:0");
    assert_eq!(given.effective().listen().unwrap(), Listen::Exactly("[::1]:0".parse().unwrap()));
}

#[test]
fn the_standard_name_of_a_collector_is_weaker_than_every_name_of_ours() {
    let endpoint = |given: &Given| given.effective().config().unwrap().otlp_endpoint;
    let standard = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://standard:4317");
    let given = env("GRASP_SYNC_HOME", "builtin").env(standard.0, " ");
    assert_eq!(endpoint(&given), None);
    let given = env("GRASP_SYNC_HOME", "builtin").env(standard.0, standard.1);
    assert_eq!(endpoint(&given).unwrap(), standard.1);
    let shown = given.effective().to_toml();
    assert!(shown.contains("otlp_endpoint = \"http://standard:4317\"  # environment OTEL_EXPORTER_OTLP_ENDPOINT\n"), "{shown}");
    let given =
        file("[telemetry]\notlp_endpoint = \"https://file\"").env("GRASP_SYNC_HOME", "builtin").env(standard.0, standard.1);
    assert_eq!(endpoint(&given).unwrap(), "https://file");
    let given = env("GRASP_SYNC_OTLP_ENDPOINT", "http://ours").env("GRASP_SYNC_HOME", "builtin").env(standard.0, standard.1);
    assert_eq!(endpoint(&given).unwrap(), "http://ours");
}

#[test]
fn a_line_break_in_a_path_does_not_end_the_comment() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a\nb.toml");
    std::fs::write(&path, "[sync]\nlive_limit = 3").unwrap();
    let mut given = Given::default();
    given.sources.file = Some(path);
    let shown = file(&given.effective().to_toml());
    assert_eq!(shown.effective().check(), Ok(()));
}

#[test]
fn the_json_document_holds_every_setting_with_its_origin() {
    let document = env("GRASP_SYNC_LIVE_LIMIT", "12").effective().to_json();
    for setting in &SETTINGS {
        assert!(document[setting.section][setting.name]["origin"].is_string());
    }
    let limit = &document["sync"]["live_limit"];
    assert_eq!(limit["value"], 12);
    assert_eq!(limit["origin"], "environment GRASP_SYNC_LIVE_LIMIT");
    assert!(document["relays"]["home"]["value"].is_null());
}

#[test]
fn admission_is_read_with_its_lists_and_a_bad_entry_is_named() {
    let npub = "npub1xtscya34g58tk0z605fvr788k263gsu6cy9x0mhnm87echrgufzsevkk5s";
    let given = env("GRASP_SYNC_ADMISSION", "archive").env("GRASP_SYNC_ARCHIVE_ONLY", &format!("{npub}/x, grasp.example"));
    let config = given.flag(Key::Home, "--home", "builtin").effective().config().unwrap();
    assert_eq!(config.admission, Admits::Archive);
    assert_eq!((config.archive_only.repos.len(), config.archive_only.services.len()), (1, 1));
    let wrong = env("GRASP_SYNC_BLOCK", "npub1x").env("GRASP_SYNC_ADMISSION", "all").effective().check().unwrap_err();
    assert_eq!(wrong.problems.len(), 2, "{wrong}");
    assert!(wrong.to_string().contains("npub1x") && wrong.to_string().contains("home-decides"), "{wrong}");
}

/// The example of NIP-19.
const NSEC: &str = "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5";

#[test]
fn who_is_told_who_we_are_is_read_and_the_key_is_never_shown() {
    let given = env("GRASP_SYNC_AUTH_KEY", NSEC)
        .env("GRASP_SYNC_AUTH_ALWAYS", "listed wss://A.example")
        .env("GRASP_SYNC_CONTACT", "mailto:ops@sync.example")
        .flag(Key::Home, "--home", "builtin");
    let effective = given.effective();
    let config = effective.config().unwrap();
    assert_eq!(config.contact.as_deref(), Some("mailto:ops@sync.example"));
    assert_eq!(config.auth_key.as_ref().map(Secret::expose), Some(NSEC));
    let policy = |role, url: &str| config.auth.policy(role, &RelayUrl::parse(url).unwrap());
    assert_eq!(policy(Role::Home, "wss://home.example"), Policy::OnDemand);
    assert_eq!(policy(Role::Bootstrap, "wss://a.example"), Policy::Always);
    for shown in [effective.to_toml(), effective.to_json().to_string(), format!("{config:?} {:?}", given.sources)] {
        assert!(!shown.contains(&NSEC[5..]), "{shown}");
    }
    let broken = file(&format!("[identity]\nauth_key = {NSEC}")).effective().check().unwrap_err().to_string();
    assert!(broken.contains("is not TOML") && !broken.contains(&NSEC[5..]), "{broken}");
}

#[test]
fn what_is_wrong_with_an_identity_is_said_without_its_key() {
    let cases = [
        ("AUTH_KEY", &NSEC[..60], "holds ***: it is no secret key, and is not shown; expected a secret key"),
        ("OPERATOR_KEY", NSEC, "is \"nsec…\"; expected a public key"),
        ("CONTACT", "öps", "is \"öps\"; expected 1 to 200 letters of ASCII"),
        ("AUTH_ON_DEMAND", "everybody", "holds \"everybody\": the URL is a bare word"),
    ];
    for (name, text, words) in cases {
        let complaint = env(&format!("GRASP_SYNC_{name}"), text).complaint();
        assert!(complaint.contains(words) && !complaint.contains(&NSEC[5..60]), "{complaint}");
    }
}

#[test]
fn a_token_comes_from_a_file_of_its_own_and_a_bad_one_is_refused_unseen() {
    let given = Given::default();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "0123456789abcdef\n").unwrap();
    let given = given.env("GRASP_SYNC_HTTP_TOKEN_FILE", file.path().to_str().unwrap()).env("GRASP_SYNC_HOME", "builtin");
    assert_eq!(given.effective().config().unwrap().http_token.unwrap().expose(), "0123456789abcdef");
    let complaint = env("GRASP_SYNC_HTTP_TOKEN", "too-short").complaint();
    assert!(complaint.contains("expected 16 to 256 of the letters") && !complaint.contains("too-short"), "{complaint}");
}

#[test]
fn onion_services_are_reached_through_a_proxy_that_is_named_by_address_and_port() {
    let proxy = |given: &Given| given.effective().config().map(|config| config.onion_proxy);
    let given = file("[relays]\nhome = \"builtin\"\nonion_proxy = \"127.0.0.1:9050\"");
    assert_eq!(proxy(&given).unwrap(), Some("127.0.0.1:9050".parse().unwrap()));
    let wrong = env("GRASP_SYNC_ONION_PROXY", "tor").env("GRASP_SYNC_HOME", "builtin");
    assert!(proxy(&wrong).unwrap_err().to_string().contains("GRASP_SYNC_ONION_PROXY"), "it is not resolved either");
}
