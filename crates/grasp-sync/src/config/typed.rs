//! From values to the typed configuration: judges every content and gathers all that is wrong.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use model::RelayUrl;
use url::Url;

use super::layers::Effective;
use super::problem::{Complaint, ConfigError, Origin, Problem};
use super::settings::{BUILTIN_HOME, Key, Kind, MAX_DURATION, Value};
use super::{Config, Home, Listen, LogFormat};
use crate::telemetry;

impl Effective {
    /// The typed configuration.
    ///
    /// # Errors
    /// Everything that is wrong in any layer, a home that is not set among it.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let (config, mut problems) = self.judged();
        if self.get(Key::Home).is_none() {
            problems.push(missing_home());
        }
        config.filter(|_| problems.is_empty()).ok_or(ConfigError { problems })
    }

    /// Judges what is set, and does not ask for a home: what `config show` needs.
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

    /// The data directory alone, for commands that need no home.
    ///
    /// # Errors
    /// Everything that is wrong in any layer.
    pub fn data_dir(&self) -> Result<PathBuf, ConfigError> {
        self.check()?;
        Ok(Judge { effective: self, problems: Vec::new() }.data_dir())
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

    /// The configuration if home is set and valid, and what is wrong with the rest.
    fn judged(&self) -> (Option<Config>, Vec<Problem>) {
        let mut judge = Judge { effective: self, problems: self.problems.clone() };
        let home = judge.home();
        let rest = Config {
            home: Home::Builtin,
            home_aliases: judge.relay_urls(Key::HomeAliases),
            bootstrap: judge.relay_urls(Key::Bootstrap),
            allow_non_public: judge.networks(Key::AllowNonPublic),
            data_dir: judge.data_dir(),
            discovery_window: judge.duration(Key::DiscoveryWindow),
            quick_reconnect: judge.duration(Key::QuickReconnect),
            refresh_min: judge.duration(Key::RefreshMin),
            refresh_max: judge.duration(Key::RefreshMax),
            live_limit: judge.count(Key::LiveLimit),
            home_write_window: judge.count(Key::HomeWriteWindow),
            log: judge.log(),
            log_format: judge.log_format(),
            listen: judge.listen(),
            otlp_endpoint: judge.otlp_endpoint(),
        };
        judge.check_refresh(&rest);
        let config = home.map(|home| Config { home, ..rest });
        if let Some(config) = &config {
            judge.check_bootstrap(config);
        }
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
        let complaint = |reason| Complaint::BadUrl { url: text.to_owned(), reason, expected: key.setting().kind.expected() };
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

    fn data_dir(&mut self) -> PathBuf {
        let text = self.text(Key::DataDir);
        if text.trim().is_empty() {
            self.wrong_value(Key::DataDir, text.clone());
        }
        PathBuf::from(text)
    }

    fn duration(&mut self, key: Key) -> Duration {
        let text = self.text(key);
        let Kind::Duration { min } = key.setting().kind else { unreachable!("{key:?} is a duration in the table") };
        let parsed = humantime::parse_duration(&text).ok();
        parsed.filter(|duration| (min..=MAX_DURATION).contains(duration)).unwrap_or_else(|| {
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

    fn otlp_endpoint(&mut self) -> Option<String> {
        self.effective.get(Key::OtlpEndpoint)?;
        let text = self.text(Key::OtlpEndpoint);
        let is_endpoint = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
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
        let expected = key.setting().kind.expected();
        self.complain(key, Complaint::WrongValue { value, expected });
    }

    fn complain(&mut self, key: Key, complaint: Complaint) {
        self.problems.push(Problem { name: key.setting().name.to_owned(), origin: self.origin(key), complaint });
    }
}

fn missing_home() -> Problem {
    let setting = Key::Home.setting();
    Problem {
        name: setting.name.to_owned(),
        origin: Origin::Default,
        complaint: Complaint::Missing {
            expected: setting.kind.expected(),
            flag: setting.flag.unwrap_or_default(),
            env: setting.env,
            section: setting.section,
            key: setting.name,
        },
    }
}
