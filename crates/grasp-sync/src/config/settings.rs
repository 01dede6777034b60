//! The table of settings: the single source for names, defaults, units and one-line docs.
//!
//! Every layer, the validation, `config show` and the reference read this table. It never reads a source itself.

use std::borrow::Cow;
use std::time::Duration;

use super::role::ProcessRole;
use super::secret::Secret;

/// Names a setting in code. The discriminant is its row in [`SETTINGS`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Key {
    Home,
    HomeAliases,
    PrivatePeers,
    Bootstrap,
    AllowNonPublic,
    LookUpNames,
    OnionProxy,
    Admission,
    ArchiveOnly,
    Block,
    Contact,
    OperatorKey,
    AuthKey,
    AuthNever,
    AuthOnDemand,
    AuthAlways,
    UpstreamsPerAnnouncement,
    UpstreamsPerAuthor,
    UpstreamsPerDomain,
    UpstreamsTotal,
    RootsPerAuthor,
    DialsPerMinute,
    DataDir,
    DatabaseUrl,
    NatsUrl,
    Role,
    Name,
    DiscoveryWindow,
    QuickReconnect,
    AuditAfter,
    RefreshMin,
    RefreshMax,
    LiveLimit,
    HomeWriteWindow,
    HomeWriteLinks,
    LeaseTtl,
    LeaseBeat,
    SessionGrace,
    Log,
    LogFormat,
    Listen,
    HttpToken,
    OtlpEndpoint,
}

/// One row of the table.
#[derive(Debug)]
pub struct Setting {
    pub key: Key,
    /// The key in the TOML file, and the name in messages.
    pub name: &'static str,
    /// The TOML table that holds the key.
    pub section: &'static str,
    /// The environment variable. With `_FILE` behind it, one that names a file with the value.
    pub env: &'static str,
    /// The flag of the command line, where there is one.
    pub flag: Option<&'static str>,
    /// The value when no layer names one; `None` where the operator has to choose, or nothing is a choice.
    pub default: Option<Value>,
    /// What a number or a text of this setting counts or names.
    pub unit: &'static str,
    /// One line for the reference.
    pub doc: &'static str,
    pub kind: Kind,
}

/// What a setting holds, which decides its shape in each layer and what is valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A relay URL or `builtin`.
    Home,
    /// A list of relay URLs.
    RelayUrls,
    Path,
    /// A list of networks in CIDR notation.
    Networks,
    /// `nats://` or `tls://`; may hold a password.
    NatsUrl,
    /// `postgres://`; may hold a password.
    DatabaseUrl,
    /// One of [`ProcessRole`].
    Role,
    /// A word of at most [`MAX_NAME`] letters.
    Name,
    Bool,
    Duration {
        min: Duration,
        max: Duration,
    },
    /// From 1 to `max`.
    Count {
        max: u16,
    },
    LogFilter,
    LogFormat,
    /// One of [`Admits`](super::Admits).
    Admits,
    /// A list of authors, repositories and services.
    Entries,
    /// What a header can hold, at most [`MAX_CONTACT`] letters.
    Contact,
    PublicKey,
    SecretKey,
    /// From [`MIN_TOKEN`] to [`MAX_TOKEN`] letters that a header, a cookie and a URL can hold.
    Token,
    /// A list of relay URLs, and of `home`, `bootstrap` and `listed`, which mean all of these.
    Whom,
    /// An IP address and a port.
    SocketAddress,
    /// The URL of an OTLP collector.
    Endpoint,
}

/// A value as a layer gives it: the right shape, its content not judged yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    Text(Cow<'static, str>),
    List(Vec<String>),
    Number(i64),
    Bool(bool),
    Secret(Secret),
}

/// No setting waits longer than a month; a bound keeps sums with the clock from overflowing.
pub const MAX_DURATION: Duration = Duration::from_hours(30 * 24);

/// Letters in the name of a worker.
pub const MAX_NAME: usize = 64;

/// Letters in a contact.
pub const MAX_CONTACT: usize = 200;

/// Letters of a token: fewer could be guessed.
pub const MIN_TOKEN: usize = 16;
pub const MAX_TOKEN: usize = 256;

/// A worker that misses one renewal must not lose its lease.
const MIN_LEASE_TTL: Duration = Duration::from_secs(3);
/// What a worker that died leaves waits as long as this.
const MAX_LEASE_TTL: Duration = Duration::from_mins(10);
/// Each worker costs the store one transaction a beat.
const MIN_LEASE_BEAT: Duration = Duration::from_millis(100);
/// While it lasts, an upstream may have two sessions.
const MAX_SESSION_GRACE: Duration = Duration::from_secs(60);

/// A refresh more often than once a second would be the only thing that is ever done.
const MIN_REFRESH: Duration = Duration::from_secs(1);

/// The word that asks for the relay inside this process instead of one elsewhere.
pub const BUILTIN_HOME: &str = "builtin";

/// All settings, in the order in which they are shown.
pub static SETTINGS: [Setting; 43] = [
    Setting {
        key: Key::Home,
        name: "home",
        section: "relays",
        env: "GRASP_SYNC_HOME",
        flag: Some("--home"),
        default: None,
        unit: "relay URL, or builtin",
        doc: "the relay to keep complete; builtin is a relay inside this process",
        kind: Kind::Home,
    },
    Setting {
        key: Key::HomeAliases,
        name: "home_aliases",
        section: "relays",
        env: "GRASP_SYNC_HOME_ALIASES",
        flag: None,
        default: Some(Value::List(Vec::new())),
        unit: "relay URLs",
        doc: "other URLs of home; never dialed as an upstream",
        kind: Kind::RelayUrls,
    },
    Setting {
        key: Key::PrivatePeers,
        name: "private_peers",
        section: "relays",
        env: "GRASP_SYNC_PRIVATE_PEERS",
        flag: None,
        default: Some(Value::List(Vec::new())),
        unit: "relay URLs",
        doc: "relays with which private repositories are shared; no other is asked for anything of theirs (GRASP-08)",
        kind: Kind::RelayUrls,
    },
    Setting {
        key: Key::Bootstrap,
        name: "bootstrap",
        section: "relays",
        env: "GRASP_SYNC_BOOTSTRAP",
        flag: Some("--bootstrap"),
        default: Some(Value::List(Vec::new())),
        unit: "relay URLs",
        doc: "upstreams to pull from whatever the announcements say; any port and host",
        kind: Kind::RelayUrls,
    },
    Setting {
        key: Key::AllowNonPublic,
        name: "allow_non_public",
        section: "relays",
        env: "GRASP_SYNC_ALLOW_NON_PUBLIC",
        flag: Some("--allow-non-public"),
        default: Some(Value::List(Vec::new())),
        unit: "networks (CIDR)",
        doc: "networks that are not public, in which announced upstreams are dialed all the same, by any scheme and port",
        kind: Kind::Networks,
    },
    Setting {
        key: Key::LookUpNames,
        name: "look_up_names",
        section: "relays",
        env: "GRASP_SYNC_LOOK_UP_NAMES",
        flag: None,
        default: Some(Value::Bool(true)),
        unit: "true or false",
        doc: "whether names in announcements are looked up; without it only announced addresses are dialed",
        kind: Kind::Bool,
    },
    Setting {
        key: Key::OnionProxy,
        name: "onion_proxy",
        section: "relays",
        env: "GRASP_SYNC_ONION_PROXY",
        flag: None,
        default: None,
        unit: "address:port",
        doc: "the SOCKS5 proxy (Tor's, say) through which .onion relays are dialed; unset, none of them is, and DNS is never asked",
        kind: Kind::SocketAddress,
    },
    Setting {
        key: Key::Admission,
        name: "admission",
        section: "admission",
        env: "GRASP_SYNC_ADMISSION",
        flag: None,
        default: Some(Value::Text(Cow::Borrowed("home-decides"))),
        unit: "home-decides, listed or archive",
        doc: "which announcements are offered to home: all, those that name it in clone and relays, or what an archive keeps",
        kind: Kind::Admits,
    },
    Setting {
        key: Key::ArchiveOnly,
        name: "archive_only",
        section: "admission",
        env: "GRASP_SYNC_ARCHIVE_ONLY",
        flag: None,
        default: Some(Value::List(Vec::new())),
        unit: "npubs, npub/identifier, relay URLs of services",
        doc: "what an archive keeps, with all that its maintainers publish; everything where the list is empty",
        kind: Kind::Entries,
    },
    Setting {
        key: Key::Block,
        name: "block",
        section: "admission",
        env: "GRASP_SYNC_BLOCK",
        flag: None,
        default: Some(Value::List(Vec::new())),
        unit: "npubs, npub/identifier, relay URLs of services",
        doc: "what is never offered to home, whatever else lets it in",
        kind: Kind::Entries,
    },
    Setting {
        key: Key::Contact,
        name: "contact",
        section: "identity",
        env: "GRASP_SYNC_CONTACT",
        flag: None,
        default: None,
        unit: "address or URL",
        doc: "where those who run the relays that are pulled from reach you; told to each of them behind our name and version",
        kind: Kind::Contact,
    },
    Setting {
        key: Key::OperatorKey,
        name: "operator_key",
        section: "identity",
        env: "GRASP_SYNC_OPERATOR_KEY",
        flag: None,
        default: None,
        unit: "npub or hex",
        doc: "your own key: a relay that states it as its operator's (NIP-11) is taken for home under another URL, and not pulled from",
        kind: Kind::PublicKey,
    },
    Setting {
        key: Key::AuthKey,
        name: "auth_key",
        section: "identity",
        env: "GRASP_SYNC_AUTH_KEY",
        flag: None,
        default: None,
        unit: "nsec or hex",
        doc: "the secret key by which relays know this service (NIP-42), used for nothing else; unset, one is made and kept in data_dir",
        kind: Kind::SecretKey,
    },
    Setting {
        key: Key::AuthNever,
        name: "auth_never",
        section: "identity",
        env: "GRASP_SYNC_AUTH_NEVER",
        flag: None,
        default: Some(Value::List(Vec::new())),
        unit: "home, bootstrap, listed, relay URLs",
        doc: "who is never told who we are, whatever it asks; stronger than the two below, as a URL is than a word",
        kind: Kind::Whom,
    },
    Setting {
        key: Key::AuthOnDemand,
        name: "auth_on_demand",
        section: "identity",
        env: "GRASP_SYNC_AUTH_ON_DEMAND",
        flag: None,
        default: Some(Value::Text(Cow::Borrowed("home bootstrap"))),
        unit: "home, bootstrap, listed, relay URLs",
        doc: "who is told who we are when it refuses something for the lack of it; whoever is in no list is never told",
        kind: Kind::Whom,
    },
    Setting {
        key: Key::AuthAlways,
        name: "auth_always",
        section: "identity",
        env: "GRASP_SYNC_AUTH_ALWAYS",
        flag: None,
        default: Some(Value::List(Vec::new())),
        unit: "home, bootstrap, listed, relay URLs",
        doc: "who is told who we are as soon as it asks",
        kind: Kind::Whom,
    },
    Setting {
        key: Key::UpstreamsPerAnnouncement,
        name: "upstreams_per_announcement",
        section: "caps",
        env: "GRASP_SYNC_UPSTREAMS_PER_ANNOUNCEMENT",
        flag: None,
        default: Some(Value::Number(32)),
        unit: "relays",
        doc: "upstreams for which one announcement alone vouches; the others that it names are shown and not dialed",
        kind: Kind::Count { max: 50_000 },
    },
    Setting {
        key: Key::UpstreamsPerAuthor,
        name: "upstreams_per_author",
        section: "caps",
        env: "GRASP_SYNC_UPSTREAMS_PER_AUTHOR",
        flag: None,
        default: Some(Value::Number(100)),
        unit: "relays",
        doc: "upstreams for which the announcements of one author alone vouch",
        kind: Kind::Count { max: 50_000 },
    },
    Setting {
        key: Key::UpstreamsPerDomain,
        name: "upstreams_per_domain",
        section: "caps",
        env: "GRASP_SYNC_UPSTREAMS_PER_DOMAIN",
        flag: None,
        default: Some(Value::Number(100)),
        unit: "relays",
        doc: "announced upstreams under one registered domain, or on one address",
        kind: Kind::Count { max: 50_000 },
    },
    Setting {
        key: Key::UpstreamsTotal,
        name: "upstreams_total",
        section: "caps",
        env: "GRASP_SYNC_UPSTREAMS_TOTAL",
        flag: None,
        default: Some(Value::Number(2_000)),
        unit: "relays",
        doc: "announced upstreams altogether; bootstrap relays and those in allow_non_public count for none of these four",
        kind: Kind::Count { max: 50_000 },
    },
    Setting {
        key: Key::RootsPerAuthor,
        name: "roots_per_author",
        section: "caps",
        env: "GRASP_SYNC_ROOTS_PER_AUTHOR",
        flag: None,
        default: Some(Value::Number(1_000)),
        unit: "issues, patches, pull requests",
        doc: "of one author on one repository of somebody else's, whose replies are asked for by themselves (S7); it counts from now on",
        kind: Kind::Count { max: 50_000 },
    },
    Setting {
        key: Key::DialsPerMinute,
        name: "dials_per_minute",
        section: "caps",
        env: "GRASP_SYNC_DIALS_PER_MINUTE",
        flag: None,
        default: Some(Value::Number(600)),
        unit: "links",
        doc: "links that a process begins in a minute",
        kind: Kind::Count { max: 50_000 },
    },
    Setting {
        key: Key::DataDir,
        name: "data_dir",
        section: "store",
        env: "GRASP_SYNC_DATA_DIR",
        flag: Some("--data-dir"),
        default: Some(Value::Text(Cow::Borrowed("./grasp-sync-data"))),
        unit: "path",
        doc: "the directory of everything that survives a restart; relative to the working directory",
        kind: Kind::Path,
    },
    Setting {
        key: Key::DatabaseUrl,
        name: "database_url",
        section: "store",
        env: "GRASP_SYNC_DATABASE_URL",
        flag: Some("--database-url"),
        default: None,
        unit: "postgres URL",
        doc: "the Postgres database that holds the state; unset, it is a SQLite file in data_dir",
        kind: Kind::DatabaseUrl,
    },
    Setting {
        key: Key::NatsUrl,
        name: "nats_url",
        section: "bus",
        env: "GRASP_SYNC_NATS_URL",
        flag: Some("--nats-url"),
        default: None,
        unit: "nats or tls URL",
        doc: "the NATS server on which the processes of a fleet meet; unset, this process is alone",
        kind: Kind::NatsUrl,
    },
    Setting {
        key: Key::Role,
        name: "role",
        section: "process",
        env: "GRASP_SYNC_ROLE",
        flag: Some("--role"),
        default: Some(Value::Text(Cow::Borrowed("all"))),
        unit: "all, state, planner or connector",
        doc: "which services run in this process",
        kind: Kind::Role,
    },
    Setting {
        key: Key::Name,
        name: "name",
        section: "process",
        env: "GRASP_SYNC_NAME",
        flag: None,
        default: None,
        unit: "word",
        doc: "the worker's name, its own in the fleet and the same after a restart; unset, the host's name",
        kind: Kind::Name,
    },
    Setting {
        key: Key::DiscoveryWindow,
        name: "discovery_window",
        section: "sync",
        env: "GRASP_SYNC_DISCOVERY_WINDOW",
        flag: None,
        default: Some(Value::Text(Cow::Borrowed("5s"))),
        unit: "duration",
        doc: "how long discoveries are gathered before they are acted on (S2)",
        kind: Kind::Duration { min: Duration::ZERO, max: MAX_DURATION },
    },
    Setting {
        key: Key::QuickReconnect,
        name: "quick_reconnect",
        section: "sync",
        env: "GRASP_SYNC_QUICK_RECONNECT",
        flag: None,
        default: Some(Value::Text(Cow::Borrowed("15m"))),
        unit: "duration",
        doc: "the longest outage after which a link catches up instead of starting fresh (S8, S9)",
        kind: Kind::Duration { min: Duration::ZERO, max: MAX_DURATION },
    },
    Setting {
        key: Key::AuditAfter,
        name: "audit_after",
        section: "sync",
        env: "GRASP_SYNC_AUDIT_AFTER",
        flag: None,
        default: Some(Value::Text(Cow::Borrowed("30m"))),
        unit: "duration",
        doc: "how long after a quick reconnect events that are dated before the outage are looked for (S9)",
        kind: Kind::Duration { min: Duration::ZERO, max: MAX_DURATION },
    },
    Setting {
        key: Key::RefreshMin,
        name: "refresh_min",
        section: "sync",
        env: "GRASP_SYNC_REFRESH_MIN",
        flag: None,
        default: Some(Value::Text(Cow::Borrowed("23h"))),
        unit: "duration",
        doc: "the shortest time between two refreshes of one upstream (S15)",
        kind: Kind::Duration { min: MIN_REFRESH, max: MAX_DURATION },
    },
    Setting {
        key: Key::RefreshMax,
        name: "refresh_max",
        section: "sync",
        env: "GRASP_SYNC_REFRESH_MAX",
        flag: None,
        default: Some(Value::Text(Cow::Borrowed("25h"))),
        unit: "duration",
        doc: "the longest time between two refreshes of one upstream (S15)",
        kind: Kind::Duration { min: MIN_REFRESH, max: MAX_DURATION },
    },
    Setting {
        key: Key::LiveLimit,
        name: "live_limit",
        section: "sync",
        env: "GRASP_SYNC_LIVE_LIMIT",
        flag: None,
        default: Some(Value::Number(70)),
        unit: "subscriptions per upstream",
        doc: "live subscriptions on one upstream before they are consolidated (S14)",
        kind: Kind::Count { max: 10_000 },
    },
    Setting {
        key: Key::HomeWriteWindow,
        name: "home_write_window",
        section: "sync",
        env: "GRASP_SYNC_HOME_WRITE_WINDOW",
        flag: None,
        default: Some(Value::Number(256)),
        unit: "events",
        doc: "events offered to home that may wait for its answer at one time",
        kind: Kind::Count { max: 10_000 },
    },
    Setting {
        key: Key::HomeWriteLinks,
        name: "home_write_links",
        section: "sync",
        env: "GRASP_SYNC_HOME_WRITE_LINKS",
        flag: None,
        default: Some(Value::Number(1)),
        unit: "connections",
        doc: "connections over which events are offered to home; more than one only where home's limits are yours to set",
        kind: Kind::Count { max: 16 },
    },
    Setting {
        key: Key::LeaseTtl,
        name: "lease_ttl",
        section: "sync",
        env: "GRASP_SYNC_LEASE_TTL",
        flag: None,
        default: Some(Value::Text(Cow::Borrowed("6s"))),
        unit: "duration",
        doc: "how long a worker of a fleet holds its upstreams without a renewal; without nats_url it is 30s, whatever is set here",
        kind: Kind::Duration { min: MIN_LEASE_TTL, max: MAX_LEASE_TTL },
    },
    Setting {
        key: Key::LeaseBeat,
        name: "lease_beat",
        section: "sync",
        env: "GRASP_SYNC_LEASE_BEAT",
        flag: None,
        default: Some(Value::Text(Cow::Borrowed("2s"))),
        unit: "duration",
        doc: "how often a worker of a fleet renews, less than half of lease_ttl; without nats_url it is 1s, whatever is set here",
        kind: Kind::Duration { min: MIN_LEASE_BEAT, max: MAX_LEASE_TTL },
    },
    Setting {
        key: Key::SessionGrace,
        name: "session_grace",
        section: "sync",
        env: "GRASP_SYNC_SESSION_GRACE",
        flag: None,
        default: Some(Value::Text(Cow::Borrowed("0s"))),
        unit: "duration",
        doc: "how long sessions go on, starting nothing new, when nobody answers a renewal any more; a fleet only",
        kind: Kind::Duration { min: Duration::ZERO, max: MAX_SESSION_GRACE },
    },
    Setting {
        key: Key::Log,
        name: "log",
        section: "telemetry",
        env: "GRASP_SYNC_LOG",
        flag: Some("-v"),
        default: Some(Value::Text(Cow::Borrowed("info"))),
        unit: "level, or target=level list",
        doc: "what is logged, to stderr; -v and -q set it too",
        kind: Kind::LogFilter,
    },
    Setting {
        key: Key::LogFormat,
        name: "log_format",
        section: "telemetry",
        env: "GRASP_SYNC_LOG_FORMAT",
        flag: None,
        default: Some(Value::Text(Cow::Borrowed("text"))),
        unit: "text or json",
        doc: "how log lines are written",
        kind: Kind::LogFormat,
    },
    Setting {
        key: Key::Listen,
        name: "listen",
        section: "telemetry",
        env: "GRASP_SYNC_LISTEN",
        flag: Some("--listen"),
        default: Some(Value::Text(Cow::Borrowed("127.0.0.1:9464"))),
        unit: "address:port",
        doc: "where the page is served, and /livez, /readyz and /metrics, these to whoever asks; port 0 is any free one",
        kind: Kind::SocketAddress,
    },
    Setting {
        key: Key::HttpToken,
        name: "http_token",
        section: "telemetry",
        env: "GRASP_SYNC_HTTP_TOKEN",
        flag: None,
        default: None,
        unit: "word",
        doc: "what opens the page and /status.json; unset, they are open on loopback, and off on any other address",
        kind: Kind::Token,
    },
    Setting {
        key: Key::OtlpEndpoint,
        name: "otlp_endpoint",
        section: "telemetry",
        env: "GRASP_SYNC_OTLP_ENDPOINT",
        flag: None,
        default: None,
        unit: "http or https URL",
        doc: "the collector that gets traces and metrics, by OTLP over gRPC; OTEL_EXPORTER_OTLP_ENDPOINT is a weaker name for it",
        kind: Kind::Endpoint,
    },
];

impl Key {
    /// The row of this setting.
    pub fn setting(self) -> &'static Setting {
        &SETTINGS[self as usize]
    }
}

/// The shapes that values come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    Text,
    Secret,
    List,
    Number,
    Bool,
}

impl Kind {
    /// The shape of its value in every layer.
    pub(super) fn shape(self) -> Shape {
        match self {
            Self::RelayUrls | Self::Networks | Self::Entries | Self::Whom => Shape::List,
            Self::Count { .. } => Shape::Number,
            Self::Bool => Shape::Bool,
            Self::NatsUrl | Self::DatabaseUrl | Self::SecretKey | Self::Token => Shape::Secret,
            Self::Home
            | Self::Path
            | Self::Role
            | Self::Name
            | Self::Duration { .. }
            | Self::LogFilter
            | Self::LogFormat
            | Self::Admits
            | Self::Contact
            | Self::PublicKey
            | Self::SocketAddress
            | Self::Endpoint => Shape::Text,
        }
    }

    /// Whether its texts are URLs in which somebody may have put a password.
    pub(super) fn is_of_urls(self) -> bool {
        matches!(self, Self::Home | Self::RelayUrls | Self::Whom | Self::Entries | Self::Endpoint)
    }

    /// What would be right, as the object of "expected …".
    pub fn expected(self) -> String {
        match self {
            Self::Home => {
                format!(r#"a relay URL like "wss://relay.example", or "{BUILTIN_HOME}""#)
            }
            Self::RelayUrls => r#"a list of relay URLs like ["wss://relay.example"]"#.to_owned(),
            Self::Path => "the path of a directory".to_owned(),
            Self::Networks => "a list of networks such as 192.168.0.0/16 or fd00::/8".to_owned(),
            Self::NatsUrl => "a URL like nats://user:password@host:4222, or tls://".to_owned(),
            Self::DatabaseUrl => "a URL like postgres://user:password@host:5432/database".to_owned(),
            Self::Role => format!("one of {}", ProcessRole::ALL.map(ProcessRole::as_str).join(", ")),
            Self::Name => format!("1 to {MAX_NAME} of the letters a-z, A-Z, 0-9, -, _ and ."),
            Self::Bool => "true or false".to_owned(),
            Self::Duration { min, max } => format!(
                r#"a duration like "5s", "15m" or "23h", from {} to {}"#,
                humantime::format_duration(min),
                humantime::format_duration(max),
            ),
            Self::Count { max } => format!("a whole number from 1 to {max}"),
            Self::LogFilter => {
                r#"a level (off, error, warn, info, debug, trace) or a list like "info,connector=debug""#.to_owned()
            }
            Self::LogFormat => r#""text" or "json""#.to_owned(),
            Self::Admits => r#""home-decides", "listed" or "archive""#.to_owned(),
            Self::Entries => r#"a list of npub1…, npub1…/identifier and relay URLs of services"#.to_owned(),
            Self::Contact => format!("1 to {MAX_CONTACT} letters of ASCII such as mailto:ops@sync.example"),
            Self::PublicKey => "a public key, npub1… or 64 letters of hex".to_owned(),
            Self::SecretKey => "a secret key, nsec1… or 64 letters of hex".to_owned(),
            Self::Token => format!("{MIN_TOKEN} to {MAX_TOKEN} of the letters a-z, A-Z, 0-9, -, _, . and ~"),
            Self::Whom => {
                r#"a list of home, bootstrap, listed, and relay URLs like ["home", "wss://relay.example"]"#.to_owned()
            }
            Self::SocketAddress => r#"an IP address and a port like "127.0.0.1:9464""#.to_owned(),
            Self::Endpoint => r#"a URL like "http://localhost:4317""#.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_key_finds_its_own_row() {
        for setting in &SETTINGS {
            assert_eq!(setting.key.setting().name, setting.name);
        }
    }

    #[test]
    fn names_are_unique_and_the_environment_repeats_them() {
        let names: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.name).collect();
        assert_eq!(names.len(), SETTINGS.len());
        for setting in &SETTINGS {
            assert_eq!(setting.env, format!("GRASP_SYNC_{}", setting.name.to_uppercase()));
        }
    }
}
