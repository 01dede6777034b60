//! From facts to findings: what is well, what is risky, what keeps the system from working, each with its remedy. Pure.

use std::path::Path;

use connector::Unreachable;
use indicatif::HumanBytes;
use model::{DownClass, RelayUrl};
use serde::Serialize;

use super::facts::{BusFacts, ConfigFacts, Disk, Document, Facts, HomeFacts, Listening, Reading, Schema, StoreFacts};
use crate::config::{Listen, ProcessRole};

/// AUTH (NIP-42) fails on some relays beyond this difference of clocks (seconds).
const CLOCK_RISKY: u64 = 60;
/// A catch-up reaches back this far behind the last moment that was good (seconds): beyond it events may be missed.
const CLOCK_SEVERE: u64 = engine::rules::SINCE_OVERLAP_SECS;
/// Free space (bytes) below which the state has no room to grow, and below which it soon has none.
const DISK_SEVERE: u64 = 64 * 1024 * 1024;
const DISK_RISKY: u64 = 1024 * 1024 * 1024;

/// One thing that was looked at, and how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub area: Area,
    pub severity: Severity,
    pub what: String,
    /// What to do about it; none where it is well.
    pub remedy: Option<String>,
}

/// Where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Area {
    Config,
    Home,
    Bus,
    Store,
    Egress,
}

impl Area {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Home => "home",
            Self::Bus => "bus",
            Self::Store => "store",
            Self::Egress => "egress",
        }
    }
}

/// How bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    Well,
    /// It works, and may not always, or not only for whom it should.
    Risky,
    /// The system cannot do its work like this.
    Severe,
}

impl Severity {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Risky => "risky",
            Self::Severe => "severe",
        }
    }
}

/// What there is to say, area by area.
#[must_use]
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let Facts { role, config, home, bus, store, egress } = facts;
    let mut findings = of_config(config);
    findings.extend(home.iter().flat_map(of_home));
    findings.extend(of_bus(bus));
    findings.extend(of_store(store, *role));
    findings.extend(of_egress(egress, *role));
    findings
}

fn well(area: Area, what: impl Into<String>) -> Finding {
    Finding { area, severity: Severity::Well, what: what.into(), remedy: None }
}

fn risky(area: Area, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { area, severity: Severity::Risky, what: what.into(), remedy: Some(remedy.into()) }
}

fn severe(area: Area, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { area, severity: Severity::Severe, what: what.into(), remedy: Some(remedy.into()) }
}

fn of_config(facts: &ConfigFacts) -> Vec<Finding> {
    let ConfigFacts { allow_non_public, listen, listening, has_http_token, open_files } = facts;
    let mut findings = vec![of_listening(*listen, listening)];
    if !allow_non_public.is_empty() {
        findings.push(risky(
            Area::Config,
            format!("anybody's announcement can make this process dial {}", allow_non_public.join(", ")),
            "leave allow_non_public empty unless upstreams live there",
        ));
    }
    if !listen.address().ip().is_loopback() {
        findings.push(of_open_port(*listen, *has_http_token));
    }
    findings.extend(open_files.iter().map(|path| open_file(path)));
    findings
}

fn of_open_port(listen: Listen, has_http_token: bool) -> Finding {
    let address = listen.address();
    if has_http_token {
        let what = format!("the page on {address} is open to whoever has http_token, which travels unencrypted");
        return risky(Area::Config, what, "listen on a loopback address, and put a web server with TLS before it");
    }
    let what = format!("whoever reaches {address} may read health and figures; the page is off there, for it needs http_token");
    risky(Area::Config, what, "listen on a loopback address, or let nobody but the monitoring reach the port")
}

fn open_file(path: &Path) -> Finding {
    let path = path.display();
    risky(Area::Config, format!("{path} holds a secret, and anybody on this machine may read it"), format!("chmod 600 {path}"))
}

fn of_listening(listen: Listen, listening: &Listening) -> Finding {
    let address = listen.address();
    match (listening, listen) {
        (Listening::Nobody, _) => well(Area::Config, format!("{address} is free for health and metrics")),
        (Listening::Ours(Ok(())), _) => well(Area::Config, format!("a grasp-sync runs at {address}, and is ready")),
        (Listening::Ours(Err(why)), _) => {
            risky(Area::Config, format!("a grasp-sync runs at {address}: {why}"), "look at its log, and at grasp-sync status")
        }
        (Listening::Taken(why), Listen::Preferably(_)) => risky(
            Area::Config,
            format!("{address} cannot be listened on ({why}): health and metrics get another port at each start"),
            "choose an address of your own with --listen",
        ),
        (Listening::Taken(why), Listen::Exactly(_)) => severe(
            Area::Config,
            format!("{address} cannot be listened on: {why}; grasp-sync run does not start like this"),
            "choose another address with --listen, or end what is there",
        ),
    }
}

fn of_home(facts: &HomeFacts) -> Vec<Finding> {
    let HomeFacts { url, is_builtin, link, clock_ahead, document, reading, is_told_who_we_are } = facts;
    if let Err(why) = link {
        return vec![if *is_builtin {
            well(Area::Home, "the built-in home begins with grasp-sync run")
        } else {
            severe(Area::Home, format!("home {url} cannot be reached: {why}"), remedy_of(why.class))
        }];
    }
    let mut findings = vec![well(Area::Home, format!("home {url} answers"))];
    findings.extend(clock_ahead.map(of_clock));
    findings.extend(reading.iter().map(|reading| of_reading(reading, *is_told_who_we_are)));
    match document {
        Ok(document) => findings.extend(of_document(document, *is_told_who_we_are)),
        Err(why) => findings.push(risky(
            Area::Home,
            format!("home says nothing of itself (NIP-11): {why}; what it takes is found out by offering it"),
            "let home answer over HTTP with its information document, if it can",
        )),
    }
    findings
}

/// What to do about a home that cannot be reached.
pub(crate) fn remedy_of(class: DownClass) -> &'static str {
    match class {
        DownClass::Dns => "check the host's name, and that this machine resolves names",
        DownClass::Refused => "start home, or check the port",
        DownClass::Tls => "check home's certificate and its name; plain home is ws://",
        DownClass::HttpStatus => "a web server answers, and no relay behind it: check the path and the proxy",
        DownClass::Auth | DownClass::Payment | DownClass::Policy => {
            "let this machine in: home, or a proxy before it, turns us away"
        }
        DownClass::Timeout | DownClass::Silent => "check firewalls between here and home",
        DownClass::Banned => "home sends what no relay should: check what runs at this URL",
        DownClass::NotDialable | DownClass::Closed | DownClass::Protocol | DownClass::Empty | DownClass::Released => {
            "check that a Nostr relay is at this URL"
        }
    }
}

fn of_clock(ahead: i64) -> Finding {
    let (apart, way) = (ahead.unsigned_abs(), if ahead < 0 { "behind" } else { "ahead of" });
    let what = format!("home's clock is {apart} s {way} ours, by its web server");
    let remedy = "let both machines keep their time (NTP)";
    match apart {
        0..CLOCK_RISKY => well(Area::Home, what),
        CLOCK_RISKY..CLOCK_SEVERE => risky(Area::Home, format!("{what}: it may not believe who we are (NIP-42)"), remedy),
        CLOCK_SEVERE.. => severe(Area::Home, format!("{what}: a reconnect would miss events"), remedy),
    }
}

fn of_reading(reading: &Reading, is_told_who_we_are: bool) -> Finding {
    match reading {
        Reading::ByNegentropy => well(Area::Home, "home speaks NIP-77: what it holds is compared, not read"),
        Reading::ByPages(why) => risky(
            Area::Home,
            format!("home refuses NIP-77 ({why}): it is read page by page, anew with each refresh"),
            "turn negentropy on in home's relay, if it has it",
        ),
        Reading::NeedsAuth(why) if is_told_who_we_are => {
            well(Area::Home, format!("home asks who reads it ({why}), and is told"))
        }
        Reading::NeedsAuth(why) => {
            severe(Area::Home, format!("home asks who reads it ({why}), and is not told"), "name home in auth_on_demand")
        }
        Reading::Refused(why) => {
            severe(Area::Home, format!("home does not answer a plain question: {why}"), "let this machine read from home")
        }
    }
}

fn of_document(document: &Document, is_told_who_we_are: bool) -> Vec<Finding> {
    let Document { stated, auth_required, payment_required, restricted_writes, min_pow_difficulty } = document;
    let mut findings = vec![well(Area::Home, limits(document))];
    if *auth_required && !is_told_who_we_are {
        let what = "home requires that it is told who writes (auth_required), and is not told";
        findings.push(severe(Area::Home, what, "name home in auth_on_demand"));
    }
    if *payment_required {
        findings.push(risky(
            Area::Home,
            "home wants to be paid (payment_required)",
            "let home take events by everybody from us",
        ));
    }
    if *restricted_writes {
        findings.push(risky(
            Area::Home,
            "home restricts who may write (restricted_writes); what that means for us shows only by writing",
            "allow this service's key there, or events by everybody that belong to the repositories",
        ));
    }
    if *min_pow_difficulty > 0 {
        findings.push(risky(
            Area::Home,
            format!("home takes only events with {min_pow_difficulty} bits of work; those of others cannot be given more"),
            "ask for no proof of work at home",
        ));
    }
    if let Some(back) = stated.oldest {
        let days = back / 86_400;
        let what = format!("home refuses what is dated more than {days} days back: older history does not come home");
        findings.push(risky(Area::Home, what, "raise created_at_lower_limit at home, or leave it out"));
    }
    findings
}

/// What home says it takes, in one line.
fn limits(document: &Document) -> String {
    let stated = &document.stated;
    let number = |name: &str, value: Option<usize>| value.map(|value| format!("{name} {value}"));
    let software = stated.software.clone().unwrap_or_else(|| "software that it does not name".to_owned());
    let grasps = (!stated.grasps.is_empty()).then(|| stated.grasps.join(", "));
    let said = [
        grasps,
        number("message bytes", stated.max_message_length),
        number("subscriptions", stated.max_subscriptions),
        number("events a page", stated.max_limit),
    ];
    let said: Vec<String> = said.into_iter().flatten().collect();
    let said = if said.is_empty() { "no limits".to_owned() } else { said.join(", ") };
    let line = format!("home is {software}; it states {said}");
    line.chars().filter(|sign| !sign.is_control()).collect()
}

fn of_bus(facts: &BusFacts) -> Option<Finding> {
    Some(match facts {
        BusFacts::None => return None,
        BusFacts::Missing => severe(Area::Bus, "this role is of no use alone, and nats_url is not set", "set nats_url"),
        BusFacts::Connected { version, has_jetstream: true } => {
            well(Area::Bus, format!("NATS {version} answers, with JetStream"))
        }
        BusFacts::Connected { version, has_jetstream: false } => severe(
            Area::Bus,
            format!("NATS {version} answers, without JetStream: reports are not kept"),
            "start it with --jetstream",
        ),
        BusFacts::Failed(why) => severe(Area::Bus, why.clone(), "start the NATS server, or correct nats_url"),
    })
}

fn of_store(facts: &StoreFacts, role: ProcessRole) -> Vec<Finding> {
    match facts {
        StoreFacts::NotOurs => Vec::new(),
        StoreFacts::Server { schema } => vec![of_schema(schema, "the database", role)],
        StoreFacts::File { path, schema, disk } => {
            let path = path.display().to_string();
            std::iter::once(of_schema(schema, &path, role)).chain(disk.map(|disk| of_disk(disk, &path))).collect()
        }
    }
}

/// A process in role all brings its schema up to date itself; replicas wait for `grasp-sync migrate`.
fn of_schema(schema: &Schema, place: &str, role: ProcessRole) -> Finding {
    let (by_itself, migrate) = (role == ProcessRole::All, "run grasp-sync migrate with this configuration");
    match schema {
        Schema::Current => well(Area::Store, format!("{place} is there, its schema up to date")),
        Schema::None if by_itself => well(Area::Store, format!("{place} has no schema yet; the first start makes it")),
        Schema::None => severe(Area::Store, format!("{place} has no schema yet"), migrate),
        Schema::Behind { found, needed } => {
            let what = format!("{place} has schema version {found}, and this program needs {needed}");
            if by_itself {
                risky(
                    Area::Store,
                    format!("{what}: the next start changes it"),
                    "take a backup before, if an older version is to run again",
                )
            } else {
                severe(Area::Store, what, migrate)
            }
        }
        Schema::Failed(why) => severe(Area::Store, why.clone(), "correct that, and ask again"),
    }
}

fn of_disk(disk: Disk, place: &str) -> Finding {
    let Disk { free, is_read_only } = disk;
    if is_read_only {
        return severe(Area::Store, format!("the disk of {place} can only be read"), "choose another data_dir");
    }
    let what = format!("{} are free on the disk of {place}", HumanBytes(free));
    let remedy = "make room, or choose another data_dir";
    match free {
        0..DISK_SEVERE => severe(Area::Store, what, remedy),
        DISK_SEVERE..DISK_RISKY => risky(Area::Store, what, remedy),
        DISK_RISKY.. => well(Area::Store, what),
    }
}

fn of_egress(dialed: &[(RelayUrl, Result<(), Unreachable>)], role: ProcessRole) -> Vec<Finding> {
    let is_asked = matches!(role, ProcessRole::All | ProcessRole::Connector);
    if dialed.is_empty() && is_asked {
        return vec![well(Area::Egress, "no bootstrap relay is configured: upstreams come from what home announces")];
    }
    let all_fail = !dialed.is_empty() && dialed.iter().all(|(_, answer)| answer.is_err());
    let finding = |(url, answer): &(RelayUrl, Result<(), Unreachable>)| match answer {
        Ok(()) => well(Area::Egress, format!("bootstrap relay {url} answers")),
        Err(why) if all_fail => {
            let what = format!("bootstrap relay {url} cannot be reached, like all of them: {why}");
            severe(Area::Egress, what, "check that this machine may dial out, and resolves names")
        }
        Err(why) => {
            let what = format!("bootstrap relay {url} cannot be reached: {why}");
            risky(Area::Egress, what, "take it out of bootstrap if it stays away")
        }
    };
    dialed.iter().map(finding).collect()
}

#[cfg(test)]
mod tests;
