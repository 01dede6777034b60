//! From values to the typed configuration: judges every content and gathers all that is wrong.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use engine::admission::{Lists, UnreadableEntry};
use engine::auth::{Consent, Whom};
use engine::caps::Caps;
use ipnet::IpNet;
use model::{PublicKey, RelayUrl, RelayUrlError, Role};
use url::Url;

use super::layers::Effective;
use super::problem::{Complaint, ConfigError, Origin, Problem};
use super::role::ProcessRole;
use super::secret::{self, Secret};
use super::settings::{BUILTIN_HOME, Key, Kind, MAX_CONTACT, MAX_NAME, Value};
use super::{Admits, Config, Home, Listen, LogFormat, Places};
use crate::telemetry;

impl Effective {
    /// The typed configuration.
    ///
    /// # Errors
    /// Everything that is wrong in any layer, and what the role needs and nothing sets.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let (config, mut problems) = self.judged();
        let is_missed = |key: Key, is_needed: bool| is_needed && self.get(key).is_none();
        if is_missed(Key::Home, config.role.needs_home()) {
            problems.push(missing(Key::Home, config.role));
        }
        if is_missed(Key::NatsUrl, config.role.needs_others()) {
            problems.push(missing(Key::NatsUrl, config.role));
        }
        if problems.is_empty() { Ok(config) } else { Err(ConfigError { problems }) }
    }

    /// Judges what is set, and asks for nothing that is not: what `config show` needs.
    ///
    /// # Errors
    /// Everything that is wrong in any layer.
    pub fn check(&self) -> Result<(), ConfigError> {
        let (_, problems) = self.judged();
        if problems.is_empty() {
            return Ok(());
        }
        Err(ConfigError { problems })
    }

    /// Where the state is, for commands that need no home.
    ///
    /// # Errors
    /// Everything that is wrong in any layer.
    pub fn places(&self) -> Result<Places, ConfigError> {
        let (config, problems) = self.judged();
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        let Config { role, data_dir, database_url, nats_url, live_limit, .. } = config;
        Ok(Places { role, data_dir, database_url, nats_url, live_limit })
    }

    /// Filter and format of the log alone, for commands that need no more.
    ///
    /// # Errors
    /// Everything that is wrong in any layer.
    pub fn log(&self) -> Result<(String, LogFormat), ConfigError> {
        self.check()?;
        let mut judge = Judge { effective: self, problems: Vec::new() };
        Ok((judge.log(), judge.log_format()))
    }

    /// Where the process answers questions about itself, for commands that ask them.
    ///
    /// # Errors
    /// Everything that is wrong in any layer.
    pub fn listen(&self) -> Result<Listen, ConfigError> {
        self.check()?;
        Ok(Judge { effective: self, problems: Vec::new() }.listen())
    }

    /// The configuration, with a stand-in for whatever is wrong, and what is wrong.
    fn judged(&self) -> (Config, Vec<Problem>) {
        let mut judge = Judge { effective: self, problems: self.problems.clone() };
        let config = Config {
            home: judge.home(),
            home_aliases: judge.relay_urls(Key::HomeAliases),
            private_peers: judge.relay_urls(Key::PrivatePeers),
            bootstrap: judge.relay_urls(Key::Bootstrap),
            allow_non_public: judge.networks(Key::AllowNonPublic),
            look_up_names: judge.truth(Key::LookUpNames),
            onion_proxy: judge.onion_proxy(),
            admission: judge.admission(),
            archive_only: judge.lists(Key::ArchiveOnly),
            block: judge.lists(Key::Block),
            contact: judge.contact(),
            operator_key: judge.operator_key(),
            auth_key: judge.url(Key::AuthKey, secret::key),
            auth: judge.auth(),
            caps: Caps {
                per_announcement: judge.count(Key::UpstreamsPerAnnouncement),
                per_author: judge.count(Key::UpstreamsPerAuthor),
                per_domain: judge.count(Key::UpstreamsPerDomain),
                total: judge.count(Key::UpstreamsTotal),
            },
            roots_per_author: judge.count(Key::RootsPerAuthor),
            dials_per_minute: judge.count(Key::DialsPerMinute),
            data_dir: judge.data_dir(),
            database_url: judge.url(Key::DatabaseUrl, secret::database),
            nats_url: judge.url(Key::NatsUrl, secret::nats),
            role: judge.role(),
            name: judge.name(),
            discovery_window: judge.duration(Key::DiscoveryWindow),
            quick_reconnect: judge.duration(Key::QuickReconnect),
            audit_after: judge.duration(Key::AuditAfter),
            refresh_min: judge.duration(Key::RefreshMin),
            refresh_max: judge.duration(Key::RefreshMax),
            live_limit: judge.count(Key::LiveLimit),
            home_write_window: judge.count(Key::HomeWriteWindow),
            home_write_links: judge.count(Key::HomeWriteLinks),
            lease_ttl: judge.duration(Key::LeaseTtl),
            lease_beat: judge.duration(Key::LeaseBeat),
            session_grace: judge.duration(Key::SessionGrace),
            log: judge.log(),
            log_format: judge.log_format(),
            listen: judge.listen(),
            http_token: judge.url(Key::HttpToken, secret::token),
            otlp_endpoint: judge.otlp_endpoint(),
        };
        judge.check_refresh(&config);
        judge.check_lease(&config);
        judge.check_home(&config);
        judge.check_bootstrap(&config);
        (config, judge.problems)
    }
}

/// Reads one setting after the other; where one is wrong, it keeps the problem and goes on with a stand-in.
struct Judge<'a> {
    effective: &'a Effective,
    problems: Vec<Problem>,
}

impl Judge<'_> {
    fn home(&mut self) -> Option<Home> {
        self.effective.get(Key::Home)?;
        let text = self.text(Key::Home);
        if text == BUILTIN_HOME {
            return Some(Home::Builtin);
        }
        self.relay_url(Key::Home, &text).map(Home::Relay)
    }

    fn relay_urls(&mut self, key: Key) -> Vec<RelayUrl> {
        let Some(Value::List(items)) = self.value(key) else { unreachable!("every layer gives {key:?} as a list") };
        let mut urls = Vec::new();
        for item in items {
            let url = self.relay_url(key, &item);
            urls.extend(url.filter(|url| !urls.contains(url)));
        }
        urls
    }

    fn relay_url(&mut self, key: Key, text: &str) -> Option<RelayUrl> {
        let url = secret::without_userinfo(text);
        let complaint = |reason| Complaint::BadUrl {
            // A part of the password may have been taken for something else.
            reason: if url == text { reason } else { RelayUrlError::UserInfo },
            url: url.clone(),
            expected: key.setting().kind.expected(),
        };
        RelayUrl::parse(text).map_err(|reason| self.complain(key, complaint(reason))).ok()
    }

    fn networks(&mut self, key: Key) -> Vec<IpNet> {
        let Some(Value::List(items)) = self.value(key) else { unreachable!("every layer gives {key:?} as a list") };
        let mut networks = Vec::new();
        for item in items {
            match item.parse::<IpNet>() {
                Ok(network) => networks.push(network.trunc()),
                Err(_) => self.wrong_value(key, item),
            }
        }
        networks
    }

    fn admission(&mut self) -> Admits {
        let text = self.text(Key::Admission);
        match text.as_str() {
            "home-decides" => Admits::HomeDecides,
            "listed" => Admits::Listed,
            "archive" => Admits::Archive,
            _ => {
                self.wrong_value(Key::Admission, text);
                Admits::HomeDecides
            }
        }
    }

    fn lists(&mut self, key: Key) -> Lists {
        let Some(Value::List(items)) = self.value(key) else { unreachable!("every layer gives {key:?} as a list") };
        Lists::read(items.iter().map(String::as_str)).unwrap_or_else(|UnreadableEntry(entry)| {
            self.wrong_value(key, entry);
            Lists::default()
        })
    }

    fn contact(&mut self) -> Option<String> {
        self.effective.get(Key::Contact)?;
        let text = self.text(Key::Contact);
        let is_letter = |c: char| c.is_ascii_graphic() || c == ' ';
        if !(1..=MAX_CONTACT).contains(&text.len()) || !text.chars().all(is_letter) {
            self.wrong_value(Key::Contact, text.clone());
        }
        Some(text)
    }

    fn operator_key(&mut self) -> Option<PublicKey> {
        self.effective.get(Key::OperatorKey)?;
        let text = self.text(Key::OperatorKey);
        let read = PublicKey::parse(&text).ok();
        if read.is_none() {
            // It may be the other half of the pair.
            let shown = if text.starts_with("nsec") { "nsec…".to_owned() } else { text };
            self.wrong_value(Key::OperatorKey, shown);
        }
        read
    }

    fn auth(&mut self) -> Consent {
        let [never, on_demand, always] = [Key::AuthNever, Key::AuthOnDemand, Key::AuthAlways].map(|key| self.whom(key));
        Consent { never, on_demand, always }
    }

    fn whom(&mut self, key: Key) -> Whom {
        let Some(Value::List(items)) = self.value(key) else { unreachable!("every layer gives {key:?} as a list") };
        let mut whom = Whom::default();
        for item in items {
            match [Role::Home, Role::Bootstrap, Role::Listed].into_iter().find(|role| role.as_str() == item) {
                Some(role) => _ = whom.roles.insert(role),
                None => whom.urls.extend(self.relay_url(key, &item)),
            }
        }
        whom
    }

    fn truth(&self, key: Key) -> bool {
        let Some(Value::Bool(is_so)) = self.value(key) else { unreachable!("every layer gives {key:?} as true or false") };
        is_so
    }

    fn url(&mut self, key: Key, judged: fn(&Secret) -> Result<(), String>) -> Option<Secret> {
        let Some(Value::Secret(secret)) = self.value(key) else { return None };
        if let Err(why) = judged(&secret) {
            let expected = key.setting().kind.expected();
            self.complain(key, Complaint::BadSecret { shown: secret.to_string(), why, expected });
            return None;
        }
        Some(secret)
    }

    fn role(&mut self) -> ProcessRole {
        let text = self.text(Key::Role);
        ProcessRole::named(&text).unwrap_or_else(|| {
            self.wrong_value(Key::Role, text);
            ProcessRole::All
        })
    }

    fn name(&mut self) -> Option<String> {
        self.effective.get(Key::Name)?;
        let text = self.text(Key::Name);
        if !is_name(&text) {
            self.wrong_value(Key::Name, text.clone());
        }
        Some(text)
    }

    fn data_dir(&mut self) -> PathBuf {
        let text = self.text(Key::DataDir);
        if text.trim().is_empty() {
            self.wrong_value(Key::DataDir, text.clone());
        }
        PathBuf::from(text)
    }

    fn duration(&mut self, key: Key) -> Duration {
        let text = self.text(key);
        let Kind::Duration { min, max } = key.setting().kind else { unreachable!("{key:?} is a duration in the table") };
        let parsed = humantime::parse_duration(&text).ok();
        parsed.filter(|duration| (min..=max).contains(duration)).unwrap_or_else(|| {
            self.wrong_value(key, text);
            Duration::ZERO
        })
    }

    fn count(&mut self, key: Key) -> usize {
        let (Some(Value::Number(number)), Kind::Count { max }) = (self.value(key), key.setting().kind) else {
            unreachable!("every layer gives {key:?} as a number")
        };
        let valid = u16::try_from(number).ok();
        let Some(count) = valid.filter(|count| (1..=max).contains(count)) else {
            self.wrong_value(key, number.to_string());
            return 1;
        };
        usize::from(count)
    }

    fn log(&mut self) -> String {
        let text = self.text(Key::Log);
        if !telemetry::is_filter(&text) {
            self.wrong_value(Key::Log, text.clone());
        }
        text
    }

    fn log_format(&mut self) -> LogFormat {
        let text = self.text(Key::LogFormat);
        match text.as_str() {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            _ => {
                self.wrong_value(Key::LogFormat, text);
                LogFormat::Text
            }
        }
    }

    fn listen(&mut self) -> Listen {
        let text = self.text(Key::Listen);
        let address = text.parse().unwrap_or_else(|_| {
            self.wrong_value(Key::Listen, text);
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
        });
        match self.origin(Key::Listen) {
            Origin::Default => Listen::Preferably(address),
            Origin::File(_) | Origin::Environment(_) | Origin::Flag(_) => Listen::Exactly(address),
        }
    }

    fn onion_proxy(&mut self) -> Option<SocketAddr> {
        self.effective.get(Key::OnionProxy)?;
        let text = self.text(Key::OnionProxy);
        text.parse().map_err(|_| self.wrong_value(Key::OnionProxy, text)).ok()
    }

    fn otlp_endpoint(&mut self) -> Option<String> {
        self.effective.get(Key::OtlpEndpoint)?;
        let text = self.text(Key::OtlpEndpoint);
        let is_endpoint = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host() && !has_userinfo(url);
        if !Url::parse(&text).is_ok_and(|url| is_endpoint(&url)) {
            self.wrong_value(Key::OtlpEndpoint, text.clone());
        }
        Some(text)
    }

    fn check_refresh(&mut self, config: &Config) {
        // A maximum of zero stands for one that is reported already.
        let is_known = !config.refresh_max.is_zero();
        if is_known && config.refresh_min > config.refresh_max {
            let complaint = Complaint::RefreshOrder {
                min: self.text(Key::RefreshMin),
                max: self.text(Key::RefreshMax),
                max_origin: self.origin(Key::RefreshMax),
            };
            self.complain(Key::RefreshMin, complaint);
        }
    }

    fn check_lease(&mut self, config: &Config) {
        // Zero stands for one that is reported already.
        let is_known = !config.lease_ttl.is_zero() && !config.lease_beat.is_zero();
        if is_known && config.lease_beat * 2 >= config.lease_ttl {
            let complaint = Complaint::LeaseOrder {
                beat: self.text(Key::LeaseBeat),
                ttl: self.text(Key::LeaseTtl),
                ttl_origin: self.origin(Key::LeaseTtl),
            };
            self.complain(Key::LeaseBeat, complaint);
        }
    }

    /// The processes of a fleet have to reach the same home; one inside a process is on that host's loopback.
    fn check_home(&mut self, config: &Config) {
        if config.home == Some(Home::Builtin) && config.role != ProcessRole::All {
            self.complain(Key::Home, Complaint::BuiltinElsewhere { role: config.role });
        }
    }

    /// Home pulled from itself would look complete whatever is missing.
    fn check_bootstrap(&mut self, config: &Config) {
        for url in config.bootstrap.iter().filter(|url| config.is_home(url)) {
            let url = url.to_string();
            self.complain(Key::Bootstrap, Complaint::BootstrapIsHome { url });
        }
    }

    fn value(&self, key: Key) -> Option<Value> {
        let sourced = self.effective.get(key)?;
        Some(sourced.value.clone())
    }

    fn text(&self, key: Key) -> String {
        let Some(Value::Text(text)) = self.value(key) else { unreachable!("every layer gives {key:?} as a text") };
        text.into_owned()
    }

    fn origin(&self, key: Key) -> Origin {
        let sourced = self.effective.get(key);
        sourced.map_or(Origin::Default, |sourced| sourced.origin.clone())
    }

    fn wrong_value(&mut self, key: Key, value: String) {
        let value = if key.setting().kind.is_of_urls() { secret::without_userinfo(&value) } else { value };
        let expected = key.setting().kind.expected();
        self.complain(key, Complaint::WrongValue { value, expected });
    }

    fn complain(&mut self, key: Key, complaint: Complaint) {
        self.problems.push(Problem { name: key.setting().name.to_owned(), origin: self.origin(key), complaint });
    }
}

/// What would be shown with the URL, and is told to nobody.
fn has_userinfo(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// A word that is the same in every log, document and database.
fn is_name(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=MAX_NAME).contains(&text.len()) && text.chars().all(is_letter)
}

fn missing(key: Key, role: ProcessRole) -> Problem {
    let setting = key.setting();
    Problem {
        name: setting.name.to_owned(),
        origin: Origin::Default,
        complaint: Complaint::Missing {
            role: Some(role).filter(|role| *role != ProcessRole::All),
            expected: setting.kind.expected(),
            flag: setting.flag.unwrap_or_default(),
            env: setting.env,
            section: setting.section,
            key: setting.name,
        },
    }
}
