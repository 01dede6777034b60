//! What `fuzz/` feeds with noise: the config file. Never part of the program: built for tests and with the feature `fuzzing`.

use std::path::PathBuf;

use super::{Config, Effective, Listen, Origin};

/// A file is taken, or all that is wrong with it is told; what `config show` prints of one that is taken is taken again and means
/// the same, but for the passwords that it hides.
pub fn file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (effective, read) = load(text);
    match read {
        Err(told) => assert!(!told.is_empty()),
        Ok(config) => {
            let shown = effective.to_toml();
            match load(&shown).1 {
                Ok(again) => assert_eq!(plain(again), plain(config)),
                // A role that needs what is hidden cannot do without.
                Err(told) => assert!(told.contains("nats_url is not set") && config.nats_url.is_some(), "{told}\n{shown}"),
            }
        }
    }
    let _ = effective.to_json();
}

fn load(text: &str) -> (Effective, Result<Config, String>) {
    let mut effective = Effective::defaults();
    effective.lay_toml(&format!("{text}\n"), &Origin::File(PathBuf::from("grasp-sync.toml")));
    let read = effective.config().map_err(|error| error.to_string());
    (effective, read)
}

/// Without what is not shown: texts that may hold a password, and that nobody chose where we listen.
fn plain(config: Config) -> Config {
    let listen = Listen::Exactly(config.listen.address());
    Config { database_url: None, nats_url: None, auth_key: None, http_token: None, listen, ..config }
}

#[cfg(test)]
#[path = "../../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    #[test]
    fn whatever_stands_in_a_config_file_it_is_taken_or_told() {
        super::replay::replay("config", super::file);
    }
}
