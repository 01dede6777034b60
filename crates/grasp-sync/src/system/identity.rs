//! The key by which relays know this service (NIP-42): the configured one, or one of its own, made once and kept in the data
//! directory. Never shown; only its public half is said.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use connector::Identity;
use nostr::prelude::{Keys, ToBech32};
use tracing::{info, warn};

use crate::config::Config;

/// The file of a key that nobody configured.
pub(crate) const KEY_FILE: &str = "auth.key";

/// Who this service is, and to whom. Without consent there is no key.
pub(super) fn of(config: &Config) -> Identity {
    let consent = config.auth.clone();
    if !consent.names_anybody() {
        return Identity { key: None, consent };
    }
    let configured = config.auth_key.as_ref().and_then(|secret| Keys::parse(secret.expose()).ok());
    let key = configured.unwrap_or_else(|| kept(&config.data_dir));
    let Ok(npub) = key.public_key().to_bech32();
    info!(npub, "relays that want to know who reads them, and may, are told this key");
    Identity { key: Some(key), consent }
}

/// The key of the data directory. One that cannot be kept lasts as long as the process.
fn kept(data_dir: &Path) -> Keys {
    let path = data_dir.join(KEY_FILE);
    read_or_make(&path).unwrap_or_else(|why| {
        warn!(path = %path.display(), %why, "the key cannot be kept there: another one is made at every start; set auth_key");
        Keys::generate()
    })
}

fn read_or_make(path: &Path) -> io::Result<Keys> {
    match File::open(path) {
        Ok(mut file) => {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Keys::parse(text.trim()).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it holds no secret key"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path),
        Err(error) => Err(error),
    }
}

/// Readable by its owner alone.
fn make(path: &Path) -> io::Result<Keys> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let keys = Keys::generate();
    let mut file = options.open(path)?;
    writeln!(file, "{}", keys.secret_key().to_secret_hex())?;
    file.sync_all()?;
    Ok(keys)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use engine::auth::Consent;

    use super::*;
    use crate::config::Home;

    #[test]
    fn a_key_that_nobody_configured_is_made_once_and_only_where_somebody_may_be_told() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::with_home(Home::Builtin, directory.path().join("data"));
        let nobody = of(&Config { auth: Consent::default(), ..config.clone() });
        assert!(nobody.key.is_none() && !config.data_dir.exists());
        let first = of(&config).key.unwrap();
        assert_eq!(of(&config).key.unwrap(), first, "the same after a restart");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(config.data_dir.join(KEY_FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let secret = Keys::generate().secret_key().to_secret_hex();
        let configured = of(&Config { auth_key: Some(secret.clone().into()), ..config.clone() }).key.unwrap();
        assert_eq!(configured.secret_key().to_secret_hex(), secret, "the operator's word is stronger");
        std::fs::write(config.data_dir.join(KEY_FILE), "no key").unwrap();
        assert_ne!(of(&config).key.unwrap(), first, "and one that cannot be read keeps nobody from working");
    }
}
