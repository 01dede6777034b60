//! The steps from any spelling to the normal form: clean → scheme → authority → host → path.
//!
//! Splits scheme, authority and port itself, because a WHATWG parser mends what has to be refused here (extra slashes,
//! line breaks, escapes in hosts). Leaves hosts, dot segments and escaping to that parser.

use url::{Host, Url};

use super::{MAX_RELAY_URL_BYTES, RelayUrlError, Scheme, is_non_public_host, split_port};

/// RFC 1035: the longest label and the longest name, in bytes.
const MAX_LABEL_BYTES: usize = 63;
const MAX_NAME_BYTES: usize = 253;

/// What stands before `://`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SchemeWord {
    Socket(Scheme),
    /// `http` or `https`: a relay only as a bare host.
    Web(Scheme),
    Absent,
}

/// The normal form of `text`, or the first reason why it has none.
pub(super) fn normal_form(text: &str) -> Result<String, RelayUrlError> {
    let cleaned = cleaned(text)?;
    let (word, rest) = split_scheme(&cleaned)?;
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if matches!(word, SchemeWord::Web(_)) && !matches!(tail, "" | "/") {
        return Err(RelayUrlError::WebPage);
    }
    let (written_host, port) = checked_authority(authority)?;
    if word == SchemeWord::Absent && is_bare_word(written_host) {
        return Err(RelayUrlError::BareWord);
    }
    let bad_host = || RelayUrlError::BadHost(written_host.to_owned());
    let url = Url::parse(&format!("wss://{written_host}{tail}")).map_err(|_| bad_host())?;
    let host = url.host().and_then(checked_host).ok_or_else(bad_host)?;
    let normal = assembled(word.scheme_for(&host), &host, port, &url);
    within_limit(&normal).map(|()| normal)
}

impl SchemeWord {
    /// The scheme meant for `host`: without a word, `ws` where nobody can get a certificate.
    fn scheme_for(self, host: &Host<&str>) -> Scheme {
        match self {
            Self::Socket(scheme) | Self::Web(scheme) => scheme,
            Self::Absent if is_non_public_host(host) => Scheme::Ws,
            Self::Absent => Scheme::Wss,
        }
    }
}

fn cleaned(text: &str) -> Result<String, RelayUrlError> {
    let visible: String = text.chars().filter(|c| !is_zero_width(*c)).collect();
    let mut trimmed = visible.trim();
    while let Some(shorter) = trimmed.strip_suffix("%20") {
        trimmed = shorter.trim_end();
    }
    if trimmed.is_empty() {
        return Err(RelayUrlError::Empty);
    }
    within_limit(trimmed)?;
    let is_forbidden = |c: char| c.is_whitespace() || c.is_control() || c == '\\';
    if trimmed.contains(is_forbidden) || trimmed.contains("%00") {
        return Err(RelayUrlError::ForbiddenCharacter);
    }
    Ok(trimmed.to_owned())
}

fn within_limit(text: &str) -> Result<(), RelayUrlError> {
    if text.len() > MAX_RELAY_URL_BYTES {
        return Err(RelayUrlError::TooLong);
    }
    Ok(())
}

/// Byte order mark, zero-width blanks and joiners, direction marks: pasted along, seen by nobody.
fn is_zero_width(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

/// The scheme's word, and what follows `//`.
fn split_scheme(text: &str) -> Result<(SchemeWord, &str), RelayUrlError> {
    let (head, rest) = text.split_at(text.find(['/', '?', '#']).unwrap_or(text.len()));
    if let (Some(word), Some(rest)) = (head.strip_suffix(':'), rest.strip_prefix("//")) {
        let known = known_scheme(word);
        return known.map_or_else(|| Err(RelayUrlError::UnknownScheme(word.to_owned())), |known| Ok((known, rest)));
    }
    if let ("", Some(rest)) = (head, rest.strip_prefix("//")) {
        return Ok((SchemeWord::Absent, rest));
    }
    refuse_opaque(head)?;
    Ok((SchemeWord::Absent, text))
}

/// Refuses `nostr:nrelay1…` and `wss:`, which have a scheme but no `//`; `host:7777` and `[::1]` are authorities.
fn refuse_opaque(head: &str) -> Result<(), RelayUrlError> {
    let Some((word, after)) = head.split_once(':') else {
        return Ok(());
    };
    if known_scheme(word).is_some() {
        return Err(RelayUrlError::MissingHost);
    }
    let is_word = word.starts_with(|c: char| c.is_ascii_alphabetic()) && word.chars().all(|c| c.is_ascii_alphanumeric());
    if is_word && !is_digits(after) {
        return Err(RelayUrlError::UnknownScheme(word.to_owned()));
    }
    Ok(())
}

fn known_scheme(word: &str) -> Option<SchemeWord> {
    match word.to_ascii_lowercase().as_str() {
        // The slips of the keyboard that are found in announcements.
        "wss" | "ww" | "was" | "wws" => Some(SchemeWord::Socket(Scheme::Wss)),
        "ws" => Some(SchemeWord::Socket(Scheme::Ws)),
        "https" => Some(SchemeWord::Web(Scheme::Wss)),
        "http" => Some(SchemeWord::Web(Scheme::Ws)),
        _ => None,
    }
}

/// Host as written and port, with nothing in the authority that a parser would decode or skip.
fn checked_authority(authority: &str) -> Result<(&str, Option<u16>), RelayUrlError> {
    if authority.contains('@') {
        return Err(RelayUrlError::UserInfo);
    }
    let (host, port) = split_port(authority);
    if host.is_empty() {
        return Err(RelayUrlError::MissingHost);
    }
    // A scheme's name as host is a scheme written twice (`wss://https://…`).
    if host.contains('%') || known_scheme(host).is_some() {
        return Err(RelayUrlError::BadHost(host.to_owned()));
    }
    port.map(checked_port).transpose().map(|port| (host, port))
}

fn checked_port(digits: &str) -> Result<u16, RelayUrlError> {
    let number = digits.parse().ok().filter(|port| *port != 0);
    number.filter(|_| is_digits(digits)).ok_or_else(|| RelayUrlError::BadPort(digits.to_owned()))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A word that nothing marks as a host: no scheme, no dot, no brackets.
fn is_bare_word(host: &str) -> bool {
    !host.contains(['.', '[']) && !host.eq_ignore_ascii_case("localhost")
}

/// The host without its trailing dot, if names may look like this.
fn checked_host(host: Host<&str>) -> Option<Host<&str>> {
    let Host::Domain(name) = host else {
        return Some(host);
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_known = known_scheme(name).is_some();
    let is_valid = name.len() <= MAX_NAME_BYTES && name.split('.').all(is_label);
    (is_valid && !is_known).then_some(Host::Domain(name))
}

/// Letters, digits, hyphens, and the underscore that container names bring.
fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL_BYTES).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn assembled(scheme: Scheme, host: &Host<&str>, port: Option<u16>, url: &Url) -> String {
    let port = port.filter(|port| *port != scheme.default_port()).map_or_else(String::new, |port| format!(":{port}"));
    let path = without_tail(unescaped(url.path()), &["/", "%20"]);
    let path = if path.is_empty() { "/" } else { &path };
    let query = without_tail(url.query().map(unescaped).unwrap_or_default(), &["%20"]);
    let query = if query.is_empty() { query } else { format!("?{query}") };
    format!("{scheme}://{host}{port}{path}{query}")
}

/// What is cut off the end of a text would be cut off a normal form that ended with it.
fn without_tail(mut text: String, tails: &[&str]) -> String {
    while let Some(shorter) = tails.iter().find_map(|tail| text.strip_suffix(tail)) {
        text.truncate(shorter.len());
    }
    text
}

/// Decodes escapes of unreserved characters and writes the others in capitals (RFC 3986 §6.2.2): one path, one spelling.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match escaped_byte(part) {
            Some(byte) if is_unreserved(byte) => out.push(char::from(byte)),
            Some(byte) => out.push_str(&format!("%{byte:02X}")),
            None => {
                out.push('%');
                out.push_str(part);
                continue;
            }
        }
        out.push_str(&part[2..]);
    }
    out
}

fn escaped_byte(part: &str) -> Option<u8> {
    let digits = part.get(..2)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}
