//! Texts that may hold a password: whole for whoever dials, without it for everybody else.
//!
//! Shown and debugged they are masked; a text that is no sound URL is not shown at all, for the password may stand anywhere
//! in it.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use nostr::prelude::Keys;
use url::Url;

use super::settings::{MAX_TOKEN, MIN_TOKEN};

/// What stands in place of what is hidden.
const MASK: &str = "***";
/// The schemes of a database; there a user without a password is no secret. A lone user of a NATS URL is a token.
const DATABASE_SCHEMES: [&str; 2] = ["postgres", "postgresql"];
const DATABASE_PARAMETERS: [&str; 9] =
    ["host", "port", "dbname", "user", "password", "sslmode", "sslrootcert", "sslcert", "sslkey"];

/// The URL of a bus or a database, or a key, as it was written.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The whole text: for whoever dials, and nobody else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether what is shown is less than the whole.
    #[must_use]
    pub fn hides_something(&self) -> bool {
        self.url().is_none_or(|url| self.to_string() != url.to_string())
    }

    /// The URL, unless an `@` behind its host says that a part of the password may have been taken for something else.
    pub(super) fn url(&self) -> Option<Url> {
        let url = Url::parse(&self.0).ok()?;
        let behind_host = [Some(url.path()), url.query(), url.fragment()];
        let is_sound = url.has_authority() && !behind_host.into_iter().flatten().any(|part| part.contains('@'));
        is_sound.then_some(url)
    }

    fn masked(&self) -> Option<String> {
        let mut url = self.url()?;
        let is_harmless = DATABASE_SCHEMES.contains(&url.scheme());
        if url.password().is_some() {
            url.set_password(Some(MASK)).ok()?;
        } else if !url.username().is_empty() && !is_harmless {
            url.set_username(MASK).ok()?;
        }
        if url.query().is_some_and(|query| !is_harmless_query(query)) {
            url.set_query(Some(MASK));
        }
        Some(url.to_string())
    }
}

/// A text that is to be the URL of a relay or a collector, without the user and the password that somebody may have put in it.
/// Neither takes any, so this is a mistake to be told, not a secret to be kept.
pub(super) fn without_userinfo(text: &str) -> String {
    match (text.find("//"), text.rfind('@')) {
        (Some(slashes), Some(at)) if slashes < at => format!("{}//{MASK}{}", &text[..slashes], &text[at..]),
        (None, Some(at)) if text[..at].contains(':') => format!("{MASK}{}", &text[at..]),
        _ => text.to_owned(),
    }
}

/// Whether it is the URL of a NATS server; if not, why.
pub(super) fn nats(secret: &Secret) -> Result<(), String> {
    let url = of_schemes(secret, &["nats", "tls"])?;
    let is_bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    match url.host_str() {
        None | Some("") => Err("it names no host".to_owned()),
        Some(_) if !is_bare => Err("it goes on behind the host and the port".to_owned()),
        Some(_) => Ok(()),
    }
}

/// Whether it is the URL of a Postgres database; if not, why.
pub(super) fn database(secret: &Secret) -> Result<(), String> {
    let url = of_schemes(secret, &DATABASE_SCHEMES)?;
    // The driver would log what it does not know, value and all.
    match url.query_pairs().find(|(name, _)| !DATABASE_PARAMETERS.contains(&name.as_ref())) {
        Some(_) => Err(format!("it has a parameter that is none of {}", DATABASE_PARAMETERS.join(", "))),
        None => Ok(()),
    }
}

/// Whether it is a secret key; if not, why.
pub(super) fn key(secret: &Secret) -> Result<(), String> {
    Keys::parse(secret.expose()).map(drop).map_err(|_| "it is no secret key, and is not shown".to_owned())
}

/// Whether it can be a token; if not, why.
pub(super) fn token(secret: &Secret) -> Result<(), String> {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~');
    match secret.expose() {
        text if !text.chars().all(is_letter) => Err("it holds other letters, and is not shown".to_owned()),
        text if !(MIN_TOKEN..=MAX_TOKEN).contains(&text.len()) => Err("it is too short or too long".to_owned()),
        _ => Ok(()),
    }
}

fn of_schemes(secret: &Secret, schemes: &[&str]) -> Result<Url, String> {
    let url = secret.url().ok_or(
        "it cannot be read as a URL, and is not shown for the password that it may hold; \
         in a user or a password, write @ as %40, : as %3A, / as %2F, ? as %3F and # as %23",
    )?;
    if schemes.contains(&url.scheme()) {
        return Ok(url);
    }
    Err(format!("its scheme is none of {}", schemes.join(", ")))
}

/// A database's URL may hold its password there too, and a letter may be written as `%70`.
fn is_harmless_query(query: &str) -> bool {
    !query.contains('%') && !query.to_lowercase().contains("pass")
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.masked().as_deref().unwrap_or(MASK))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let secret = Secret(text.to_owned());
        assert_eq!(format!("{secret:?}"), format!("{:?}", secret.to_string()));
        secret.to_string()
    }

    #[test]
    fn a_password_is_masked_and_the_rest_is_shown() {
        let cases = [
            ("nats://user:pw@bus:4222", "nats://user:***@bus:4222"),
            ("tls://user:p%40w@bus.example", "tls://user:***@bus.example"),
            ("nats://pw@bus:4222", "nats://***@bus:4222"),
            ("nats://bus:4222", "nats://bus:4222"),
            ("postgres://sync:pw@db:5432/sync?sslmode=disable", "postgres://sync:***@db:5432/sync?sslmode=disable"),
            ("postgres://sync@db/sync", "postgres://sync@db/sync"),
            ("postgres:///sync?host=/run/postgresql", "postgres:///sync?host=/run/postgresql"),
            ("postgres://db/sync?user=sync&password=pw", "postgres://db/sync?***"),
            ("postgres://db/sync?user=sync&%70assword=pw", "postgres://db/sync?***"),
            ("postgers://sync:pw@db/sync", "postgers://sync:***@db/sync"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected);
            assert_eq!(Secret(text.to_owned()).hides_something(), expected.contains(MASK), "{text}");
        }
    }

    #[test]
    fn of_a_text_that_is_no_sound_url_nothing_is_shown() {
        let cases = [
            "nats:/user:pw@bus",
            "nats:user:pw@bus",
            "nats//user:pw@bus",
            "user:pw@bus:4222",
            "pw",
            "postgres://sync:p/w@db/sync",
            "postgres://sync:1/pw@db/sync",
            "postgres://sync:1#pw@db/sync",
            "postgres://sync:1?pw@db/sync",
            "postgres://sync:p@w/pw@db/sync",
            "postgres://sync:pw@db:port/sync",
            "nats://user:pw@b us",
        ];
        for text in cases {
            assert_eq!(shown(text), MASK, "{text}");
        }
    }

    #[test]
    fn a_token_is_long_enough_not_to_be_guessed_and_is_never_shown() {
        let judged = |text: &str| token(&Secret(text.to_owned())).is_ok();
        assert!(judged("0123456789abcdef") && judged(&"a-_.~Z9x".repeat(32)));
        for text in ["", "0123456789abcde", "0123456789abcde ", "0123456789abcde;", "0123456789abcdeä", &"a".repeat(257)] {
            assert!(!judged(text), "{text}");
        }
        assert_eq!(shown("0123456789abcdef"), MASK);
    }

    #[test]
    fn an_at_sign_in_a_password_hides_all_of_it() {
        assert_eq!(shown("postgres://sync:p@w@db/sync"), "postgres://sync:***@db/sync");
    }
}
