//! The looking: each fact by the way that the system itself would take. Writes nothing, at home or anywhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bus::{Nats, NatsSettings};
use connector::survey::{End, Held, Reading as Asking, Surveyor, Tally, Web};
use engine::auth::Policy;
use engine::nip11;
use futures_util::future::join_all;
use model::{Filter, Incomplete, Learned, Method, Nip77, RelayUrl, Role, Timestamp, kinds};
use serde_json::Value;
use state::{PostgresStore, postgres};
use tokio::net::TcpListener;

use super::facts::{BusFacts, ConfigFacts, Disk, Document, Facts, HomeFacts, Listening, Reading, Schema, StoreFacts};
use crate::config::{Config, Effective, Home, Key, Origin};
use crate::healthcheck::{self, HealthError};
use crate::run::builtin_url;
use crate::system::{DATABASE, KEY_FILE};

/// Settings whose values are secrets.
const SECRETS: [Key; 3] = [Key::DatabaseUrl, Key::NatsUrl, Key::AuthKey];

/// Looks at everything that this configuration needs.
pub(super) async fn facts(config: &Config, open_files: Vec<PathBuf>, surveyor: &Surveyor) -> Facts {
    let home = async {
        match &config.home {
            Some(home) => Some(look_at_home(config, home, surveyor).await),
            None => None,
        }
    };
    let egress = async {
        let dials = config.bootstrap.iter().map(|url| async move {
            let opened = surveyor.open(url, Role::Bootstrap, Learned::default()).await;
            (url.clone(), opened.map(drop))
        });
        join_all(dials).await
    };
    let listening = look_at_listen(config);
    let (home, bus, store, egress, listening) =
        tokio::join!(home, look_at_bus(config), look_at_store(config), egress, listening);
    let allow_non_public = config.allow_non_public.iter().map(ToString::to_string).collect();
    let has_http_token = config.http_token.is_some();
    let config_facts = ConfigFacts { allow_non_public, listen: config.listen, listening, has_http_token, open_files };
    Facts { role: config.role, config: config_facts, home, bus, store, egress }
}

async fn look_at_listen(config: &Config) -> Listening {
    let address = config.listen.address();
    let why = match TcpListener::bind(address).await {
        Ok(_) => return Listening::Nobody,
        Err(why) => why,
    };
    match healthcheck::healthcheck(config.listen).await {
        Ok(_) => Listening::Ours(Ok(())),
        Err(error @ HealthError::NotReady(_)) => Listening::Ours(Err(error.to_string())),
        Err(HealthError::NoPort | HealthError::NoAnswer { .. } | HealthError::Late { .. } | HealthError::Stranger { .. }) => {
            Listening::Taken(why.to_string())
        }
    }
}

/// Files that hold a secret and that anybody on this machine may read: the configuration with one in it, what a variable names, our own
/// key.
pub(super) fn open_files(config: &Config, effective: &Effective, environment: &[(String, String)]) -> Vec<PathBuf> {
    let named_for = |key: &Key| {
        let variable = format!("{}_FILE", key.setting().env);
        let named = environment.iter().find(|(name, _)| *name == variable);
        named.map(|(_, path)| PathBuf::from(path))
    };
    let named = SECRETS.iter().filter_map(named_for);
    let own = std::iter::once(config.data_dir.join(KEY_FILE));
    let of_config = SECRETS.iter().filter_map(|key| match &effective.get(*key)?.origin {
        Origin::File(path) => Some(path.clone()),
        Origin::Default | Origin::Environment(_) | Origin::Flag(_) => None,
    });
    let mut files: Vec<PathBuf> = of_config.chain(named).chain(own).filter(|path| is_open(path)).collect();
    files.sort_unstable();
    files.dedup();
    files
}

#[cfg(unix)]
fn is_open(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn is_open(_: &Path) -> bool {
    false
}

async fn look_at_home(config: &Config, home: &Home, surveyor: &Surveyor) -> HomeFacts {
    let (url, is_builtin) = match home {
        Home::Builtin => (builtin_url(), true),
        Home::Relay(url) => (url.clone(), false),
    };
    let is_told_who_we_are = config.auth.policy(Role::Home, &url) != Policy::Never;
    let (reading, web) = tokio::join!(read(&url, surveyor), surveyor.web(&url, Role::Home));
    let (link, reading) = match reading {
        Ok(reading) => (Ok(()), Some(reading)),
        Err(why) => (Err(why), None),
    };
    let (clock_ahead, document) = match web {
        Ok(web) => (clock_ahead(&web), web.document.and_then(|bytes| read_document(&bytes))),
        Err(why) => (None, Err(why)),
    };
    HomeFacts { url, is_builtin, link, clock_ahead, document, reading, is_told_who_we_are }
}

/// A small question, by NIP-77 if it works: what was announced in the last minute.
async fn read(url: &RelayUrl, surveyor: &Surveyor) -> Result<Reading, connector::Unreachable> {
    let mut survey = surveyor.open(url, Role::Home, Learned::default()).await?;
    let since = Timestamp::from_secs(Timestamp::now().as_secs().saturating_sub(60));
    let asking = Asking {
        filters: vec![Filter::new().kind(kinds::ANNOUNCEMENT).since(since)],
        method: Method::Negentropy,
        held: Arc::new(Held::default()),
        until: None,
        most_bytes: usize::MAX,
        tally: Arc::new(Tally::default()),
    };
    let surveyed = survey.read(&asking).await;
    if let Some(broken) = surveyed.broken {
        return Err(broken);
    }
    let refused = match &survey.learned().nip77 {
        Some(Nip77::Refused { reason, .. }) => reason.clone(),
        Some(Nip77::Works { .. }) | None => "without a word".to_owned(),
    };
    Ok(match surveyed.ends.into_iter().next() {
        Some(End::Complete(Method::Negentropy)) => Reading::ByNegentropy,
        Some(End::Complete(Method::Req)) => Reading::ByPages(refused),
        Some(End::Incomplete { why: Incomplete::AuthRequired, detail }) => Reading::NeedsAuth(detail),
        Some(End::Incomplete { why, detail }) => Reading::Refused(format!("{}: {detail}", why.as_str())),
        Some(End::Unread) | None => Reading::Refused("nothing was read".to_owned()),
    })
}

/// By the second that the server names; the way takes part of one.
fn clock_ahead(web: &Web) -> Option<i64> {
    let theirs = httpdate::parse_http_date(web.date.as_deref()?).ok()?;
    let ours = SystemTime::now();
    let secs = |time: std::time::Duration| i64::try_from(time.as_secs()).ok();
    match theirs.duration_since(ours) {
        Ok(ahead) => secs(ahead),
        Err(behind) => secs(behind.duration()).map(|behind| -behind),
    }
}

fn read_document(bytes: &[u8]) -> Result<Document, String> {
    let stated = nip11::read(bytes, Timestamp::now()).map_err(|why| why.to_string())?;
    let whole: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let limits = &whole["limitation"];
    let is_set = |name: &str| limits[name].as_bool().unwrap_or_default();
    Ok(Document {
        stated,
        auth_required: is_set("auth_required"),
        payment_required: is_set("payment_required"),
        restricted_writes: is_set("restricted_writes"),
        min_pow_difficulty: limits["min_pow_difficulty"].as_u64().unwrap_or_default(),
    })
}

async fn look_at_bus(config: &Config) -> BusFacts {
    match &config.nats_url {
        None if config.role.needs_others() => BusFacts::Missing,
        None => BusFacts::None,
        Some(url) => match Nats::connect(NatsSettings::new(url.expose(), config.role.as_str())).await {
            Ok(nats) => {
                let (version, has_jetstream) = nats.server();
                BusFacts::Connected { version, has_jetstream }
            }
            Err(why) => BusFacts::Failed(format!("{url}: {why}")),
        },
    }
}

async fn look_at_store(config: &Config) -> StoreFacts {
    if !config.role.keeps_state() {
        return StoreFacts::NotOurs;
    }
    if let Some(url) = &config.database_url {
        let schema = match PostgresStore::look_at(url.expose()).await {
            Ok(_) => Schema::Current,
            Err(postgres::ConnectError::SchemaBehind { found: None, .. }) => Schema::None,
            Err(postgres::ConnectError::SchemaBehind { found: Some(found), needed }) => Schema::Behind { found, needed },
            Err(why) => Schema::Failed(format!("{url}: {why}")),
        };
        return StoreFacts::Server { schema };
    }
    let path = config.data_dir.join(DATABASE);
    let disk = disk_under(&config.data_dir);
    if !path.exists() {
        return StoreFacts::File { path, schema: Schema::None, disk };
    }
    let schema = match state::sqlite::schema_at(&path).await {
        Ok((None, _)) => Schema::None,
        Ok((Some(found), needed)) if found < needed => Schema::Behind { found, needed },
        Ok((Some(_), _)) => Schema::Current,
        Err(why) => Schema::Failed(why.to_string()),
    };
    StoreFacts::File { path, schema, disk }
}

/// Of the directory, or of the nearest one above that is there.
fn disk_under(directory: &Path) -> Option<Disk> {
    let whole = std::path::absolute(directory).ok()?;
    let there = whole.ancestors().find(|path| path.exists())?;
    let told = rustix::fs::statvfs(there).ok()?;
    let is_read_only = told.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
    Some(Disk { free: told.f_bavail.saturating_mul(told.f_frsize), is_read_only })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_clock_of_a_web_server_is_read_from_its_date_either_way() {
        let at = |date: Option<String>| clock_ahead(&Web { date, document: Err(String::new()) });
        let stamp = |time| Some(httpdate::fmt_http_date(time));
        let hour = Duration::from_hours(1);
        // It names a second, and this test may be slow.
        let ahead = at(stamp(SystemTime::now() + hour)).unwrap();
        assert!((3_500..=3_600).contains(&ahead), "{ahead}");
        let behind = at(stamp(SystemTime::now() - hour)).unwrap();
        assert!((-3_700..=-3_600).contains(&behind), "{behind}");
        assert_eq!((at(None), at(Some("yesterday".to_owned()))), (None, None));
    }

    #[test]
    fn what_a_document_says_of_writing_is_read_and_absence_says_nothing() {
        let whole =
            br#"{"limitation":{"auth_required":true,"payment_required":true,"restricted_writes":true,"min_pow_difficulty":7}}"#;
        let document = read_document(whole).unwrap();
        assert!(document.auth_required && document.payment_required && document.restricted_writes);
        assert_eq!(document.min_pow_difficulty, 7);
        let document = read_document(br#"{"limitation":{"auth_required":"yes"}}"#).unwrap();
        assert!(!document.auth_required && !document.restricted_writes);
        assert!(read_document(b"<html>").is_err());
    }

    #[test]
    fn the_disk_of_a_directory_that_is_not_there_yet_is_that_of_the_nearest_one_above() {
        let directory = tempfile::tempdir().unwrap();
        let below = disk_under(&directory.path().join("not/there/yet")).unwrap();
        assert!(below.free > 0 && !below.is_read_only);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_only_its_owner_and_their_group_read_is_not_open() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, expected) in [(0o600, false), (0o640, false), (0o604, true), (0o644, true), (0o400, false)] {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_open(file.path()), expected, "{mode:o}");
        }
        assert!(!is_open(Path::new("/not/there")));
    }
}
