//! Who may see the page: whoever has the token; without one, whoever is on this machine and asks for it under a name of this
//! machine, so that a stranger's page in the same browser cannot have its own name point here and read along.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, COOKIE, HOST};
use sha2::{Digest, Sha256};

use crate::config::Secret;

/// The cookie's name. Its value is made of the token, and not the token.
const COOKIE_NAME: &str = "grasp_sync";

/// Who may see the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nobody, and why.
    Off(&'static str),
    /// Whoever is on this machine.
    Loopback,
    Token(Token),
}

/// What is known of the token: enough to recognise it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Hashes are compared: how long that takes says nothing about what was right.
    token: [u8; 32],
    cookie: [u8; 32],
    cookie_value: String,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Welcome,
    /// The token was in the URL: this cookie stands for it from now on.
    Cookie(String),
    /// It needs the token.
    Stranger,
    /// It asks for another host.
    OtherHost,
    /// Another site's page makes the browser ask, not the reader.
    OtherSite,
    Off(&'static str),
}

impl Access {
    /// Of a process that listens at `address`. `keeps_state`: its role is one that answers for the whole system.
    #[must_use]
    pub fn of(address: SocketAddr, token: Option<&Secret>, keeps_state: bool) -> Self {
        match token {
            _ if !keeps_state => {
                Self::Off("this process does not keep the state: the page is served by those in role all or state")
            }
            Some(token) => Self::Token(Token::of(token.expose())),
            None if is_loopback(address.ip()) => Self::Loopback,
            None => Self::Off("listen is no address of loopback: set http_token"),
        }
    }

    pub(super) fn judge(&self, headers: &HeaderMap, query: &str) -> Judgement {
        match self {
            Self::Off(why) => Judgement::Off(why),
            Self::Loopback | Self::Token(_) if is_of_another_site(headers) => Judgement::OtherSite,
            Self::Loopback if names_loopback(headers) => Judgement::Welcome,
            Self::Loopback => Judgement::OtherHost,
            Self::Token(token) => token.judge(headers, query),
        }
    }

    /// The cookie for whoever typed the token.
    pub(super) fn cookie_for(&self, typed: &str) -> Option<String> {
        match self {
            Self::Token(token) if token.is(typed) => Some(token.cookie()),
            Self::Token(_) | Self::Loopback | Self::Off(_) => None,
        }
    }
}

impl Token {
    fn of(token: &str) -> Self {
        let cookie_value = hex(&hash("cookie", token));
        Self { token: hash("token", token), cookie: hash("cookie value", &cookie_value), cookie_value }
    }

    fn is(&self, typed: &str) -> bool {
        hash("token", typed) == self.token
    }

    fn judge(&self, headers: &HeaderMap, query: &str) -> Judgement {
        let bearer =
            headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| value.strip_prefix("Bearer "));
        let is_cookie = |value: &str| hash("cookie value", value) == self.cookie;
        if bearer.is_some_and(|token| self.is(token)) || cookies(headers).any(is_cookie) {
            return Judgement::Welcome;
        }
        let mut typed = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "token");
        if typed.any(|(_, token)| self.is(&token)) { Judgement::Cookie(self.cookie()) } else { Judgement::Stranger }
    }

    /// Scripts do not see it, and no other site's page makes a browser send it. It ends with the browser.
    fn cookie(&self) -> String {
        format!("{COOKIE_NAME}={}; Path=/; HttpOnly; SameSite=Strict", self.cookie_value)
    }
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let pairs = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    pairs.filter_map(|pair| pair.trim().strip_prefix(COOKIE_NAME)?.strip_prefix('='))
}

/// One hash for each use, so that none stands for another.
fn hash(usage: &str, text: &str) -> [u8; 32] {
    Sha256::new().chain_update(b"grasp-sync page ").chain_update(usage).chain_update([0]).chain_update(text).finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `::ffff:127.0.0.1` is loopback too.
fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Whether a page of another site asks behind its reader's back. It could not read the answer, but take the places of viewers.
/// Whoever follows a link asks for himself. Only browsers say this.
fn is_of_another_site(headers: &HeaderMap) -> bool {
    let is = |name: &str, values: &[&str]| headers.get(name).is_some_and(|value| values.iter().any(|one| value == *one));
    is("sec-fetch-site", &["cross-site", "same-site"]) && !is("sec-fetch-mode", &["navigate"])
}

/// Whether the one `Host` is this machine under a name that nobody else can give to an address.
fn names_loopback(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else { return false };
    if host.parse::<SocketAddr>().is_ok_and(|address| is_loopback(address.ip())) {
        return true;
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !name.ends_with(':') && !host.ends_with(']') => (name, port),
        _ => (host, "0"),
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let is_here = name.eq_ignore_ascii_case("localhost") || bare.parse().is_ok_and(is_loopback);
    is_here && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn headers(pairs: &[(axum::http::HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    fn access(address: &str, token: Option<&str>) -> Access {
        let token = token.map(|token| Secret::from(token.to_owned()));
        Access::of(address.parse().unwrap(), token.as_ref(), true)
    }

    #[test]
    fn without_a_token_only_loopback_is_open_and_a_token_is_asked_for_everywhere() {
        assert_eq!(access("127.0.0.1:9464", None), Access::Loopback);
        assert_eq!(access("[::1]:9464", None), Access::Loopback);
        for open in ["0.0.0.0:9464", "[::]:9464", "192.168.1.5:9464"] {
            assert!(matches!(access(open, None), Access::Off(why) if why.contains("http_token")), "{open}");
            assert!(matches!(access(open, Some(TOKEN)), Access::Token(_)), "{open}");
        }
        assert!(matches!(access("127.0.0.1:9464", Some(TOKEN)), Access::Token(_)));
        assert!(matches!(Access::of("127.0.0.1:1".parse().unwrap(), None, false), Access::Off(_)));
    }

    #[test]
    fn on_loopback_only_names_of_this_machine_are_answered() {
        let access = access("127.0.0.1:9464", None);
        let judged = |host: &str| access.judge(&headers(&[(HOST, host)]), "");
        for ours in ["127.0.0.1:9464", "127.0.0.1", "localhost", "LOCALHOST:80", "[::1]:9464", "[::1]", "127.8.9.1:1"] {
            assert_eq!(judged(ours), Judgement::Welcome, "{ours}");
        }
        for other in [
            "evil.example",
            "evil.example:9464",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "192.168.0.1",
            "0.0.0.0:9464",
            "[::]",
            "",
            "localhost:x",
            "127.0.0.1:9464:1",
            "a@localhost",
        ] {
            assert_eq!(judged(other), Judgement::OtherHost, "{other}");
        }
        assert_eq!(access.judge(&HeaderMap::new(), ""), Judgement::OtherHost);
        assert_eq!(access.judge(&headers(&[(HOST, "localhost"), (HOST, "evil.example")]), ""), Judgement::OtherHost);
    }

    #[test]
    fn another_sites_page_gets_nothing_and_a_link_on_it_leads_here() {
        let access = access("127.0.0.1:9464", None);
        let judged = |site: &'static str, mode: &'static str| {
            let name = axum::http::HeaderName::from_static;
            let pairs = [(HOST, "127.0.0.1:9464"), (name("sec-fetch-site"), site), (name("sec-fetch-mode"), mode)];
            access.judge(&headers(&pairs), "")
        };
        for (site, mode) in [("cross-site", "no-cors"), ("cross-site", "cors"), ("same-site", "no-cors")] {
            assert_eq!(judged(site, mode), Judgement::OtherSite, "{site} {mode}");
        }
        for (site, mode) in [("cross-site", "navigate"), ("same-origin", "cors"), ("none", "navigate")] {
            assert_eq!(judged(site, mode), Judgement::Welcome, "{site} {mode}");
        }
    }

    #[test]
    fn the_token_opens_by_header_by_cookie_and_once_by_the_url() {
        let access = access("0.0.0.0:1", Some(TOKEN));
        let judged = |name, value: &str| access.judge(&headers(&[(name, value)]), "");
        assert_eq!(judged(AUTHORIZATION, &format!("Bearer {TOKEN}")), Judgement::Welcome);
        for wrong in ["Bearer 0123456789abcdeg", "Bearer ", "0123456789abcdef", "Basic 0123456789abcdef"] {
            assert_eq!(judged(AUTHORIZATION, wrong), Judgement::Stranger, "{wrong}");
        }
        assert_eq!(access.judge(&HeaderMap::new(), "token=0123456789abcdeg"), Judgement::Stranger);
        let Judgement::Cookie(cookie) = access.judge(&HeaderMap::new(), "what=x&token=0123456789abcdef") else { panic!() };
        assert_eq!(access.cookie_for(TOKEN), Some(cookie.clone()));
        assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict") && !cookie.contains(TOKEN), "{cookie}");
        let pair = cookie.split_once(';').unwrap().0;
        assert_eq!(judged(COOKIE, &format!("other=1; {pair}")), Judgement::Welcome);
        assert_eq!(judged(COOKIE, &format!("grasp_sync={TOKEN}")), Judgement::Stranger, "the token itself is no cookie");
        assert_eq!(judged(COOKIE, "grasp_sync="), Judgement::Stranger);
    }

    #[test]
    fn a_token_is_never_shown() {
        assert!(!format!("{:?}", access("0.0.0.0:1", Some(TOKEN))).contains(TOKEN));
    }
}
