//! The cells: behaviours of upstreams, the end of each, and its bound in seconds from the system's start.
//!
//! Bounds hold the session's own limits (30 s for a page without a frame, 8 s for the first word of an exchange and 20 s for
//! the next, 10 s for a dial) and the time that so many upstreams take side by side on a small machine.

use std::time::Duration;

use model::DownClass;
use serde_json::json;
use testkit::hostile::Behaviour::*;
use testkit::hostile::{Behaviour, Corruption, Flood, Link as L, Negentropy as N, Refusal as R};

use super::cell::{Cell, Ends, Holds, Upstream};
use crate::common::Relay;
use testkit::{ChaosProxy, wait_until};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use Ends::{ByItsWord, Complete, Down, Excluded, Faulty, Flooded, Incomplete};
use Holds::Comments;

/// What answers at once.
const PROMPT: u64 = 30;
/// What waits for one limit of the session.
const PATIENT: u64 = 60;
/// What waits for several, or is dialed again and again.
const SLOW: u64 = 80;
/// What says nothing for two limits of the session, one after the other: a dead link looks like a full one at first.
const DEAD: u64 = 95;

type Row = (&'static str, Vec<Behaviour>, Holds, Ends, u64);

/// Every cell, each with its relay running. `other` is a URL that nobody may be sent to.
pub(crate) async fn cells(other: &str) -> Vec<Cell> {
    let mut cells =
        running([negentropy(), pages(), eose(), refusals(), auth(), links(other), content(), floods()].concat()).await;
    for cell in running(auth_with_consent()).await {
        cells.push(cell.told());
    }
    cells.extend(fine_and_absent().await);
    cells.extend(broken_links().await);
    cells
}

/// Relays that allow few subscriptions.
pub(crate) async fn limits() -> Vec<Cell> {
    running(subscriptions()).await
}

/// What keeps a machine busy.
fn floods() -> Vec<Row> {
    let row = |name, behaviour, ends| (name, vec![behaviour], Holds::OneSecond(5), ends, SLOW);
    vec![
        row("NIP-77: a million ids that nobody has", Negentropy(N::FakeIds(1_000_000)), Complete),
        row("a flood of events that match nothing", Floods(Flood::Strangers), Flooded),
        row("a flood of events that match", Floods(Flood::Matching), Flooded),
    ]
}

async fn running(rows: Vec<Row>) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (name, script, holds, ends, secs) in rows {
        cells.push(Cell::of(name, script, holds, ends, secs).await);
    }
    cells
}

fn negentropy() -> Vec<Row> {
    let row = |name, how, ends, secs| (name, vec![Negentropy(how)], Comments(10), ends, secs);
    vec![
        row("NIP-77: size error with the fourth element", N::ErrorWithLimit("blocked: too many results", 5), Complete, PROMPT),
        row("NIP-77: size error with a number in the text", N::Error("blocked: too many records (29 > 1)"), Complete, PROMPT),
        row("NIP-77: size error without a number", N::Error("blocked: this query is too big"), Complete, PROMPT),
        row("NIP-77: quota error", N::Error("blocked: too many concurrent requests"), Complete, PROMPT),
        ("NIP-77: rate-limited", vec![Negentropy(N::Error("rate-limited: slow down"))], Holds::OneSecond(5), Complete, SLOW),
        row("NIP-77: protocol error", N::Error("PROTOCOL-ERROR"), Complete, PROMPT),
        row("NIP-77: refused by NOTICE", N::Refused(R::Notice("ERROR: bad msg: negentropy disabled")), Complete, PROMPT),
        row("NIP-77: refused by CLOSED", N::Refused(R::Closed("unsupported: NEG-OPEN")), Complete, PROMPT),
        row("NIP-77: silence", N::Refused(R::Silence), Complete, PATIENT),
        row("NIP-77: silence after the first message", N::SilentAfterFirst, Complete, SLOW),
        row("NIP-77: disconnect", N::Refused(R::HangUp), Complete, PATIENT),
        row("NIP-77: an older version", N::OldVersion, Complete, PATIENT),
        row("NIP-77: no hex", N::Garbage, Complete, PATIENT),
        row("NIP-77: never converges", N::NeverConverges { repeats: false }, Complete, SLOW),
        row("NIP-77: never converges, in the same words", N::NeverConverges { repeats: true }, Complete, SLOW),
        row("NIP-77: a message beyond any bound", N::Oversize(2_000_000), Complete, PATIENT),
        (
            "NIP-77: claimed by NIP-11 and lacking",
            vec![Describes(json!({"supported_nips": [1, 11, 77]}))],
            Comments(10),
            Complete,
            PATIENT,
        ),
    ]
}

fn pages() -> Vec<Row> {
    let capped = |more: Behaviour| vec![PageCap(20), more];
    vec![
        ("page cap 20", vec![PageCap(20)], Comments(70), Complete, PATIENT),
        ("page cap 20, exactly so many", vec![PageCap(20)], Holds::OneSecond(20), Incomplete("dense-second"), PATIENT),
        ("page cap 20, 60 in one second", vec![PageCap(20)], Holds::OneSecond(60), Incomplete("dense-second"), PATIENT),
        ("100 in one second, uncapped", vec![], Holds::OneSecond(100), Complete, PROMPT),
        ("more than asked for", vec![MoreThanAsked(50)], Comments(20), Complete, PROMPT),
        ("unordered pages", capped(Backwards), Comments(70), Complete, PATIENT),
        ("until is ignored", capped(IgnoresUntil), Comments(70), Incomplete("unpageable"), PATIENT),
        ("dated ten minutes ahead", vec![], Holds::Future, Complete, PROMPT),
        ("dated two days ahead", vec![], Holds::At(crate::common::now() + 2 * 86_400), ByItsWord, PROMPT),
        ("dated in the first second of 1970", vec![], Holds::At(0), Complete, PATIENT),
        ("dated four years back", vec![], Holds::At(crate::common::now() - 4 * 365 * 86_400), Complete, PROMPT),
        ("older versions and what was deleted", vec![], Holds::Outdated, Complete, PROMPT),
        ("500 events about one repository", vec![], Comments(500), Complete, SLOW),
    ]
}

fn eose() -> Vec<Row> {
    let row = |name, script, ends, secs| (name, script, Comments(70), ends, secs);
    vec![
        row("EOSE with honest hints", vec![PageCap(20), HintsHonestly], Complete, PATIENT),
        row("EOSE says finish, falsely", vec![PageCap(20), EoseSays("finish")], ByItsWord, PATIENT),
        row("EOSE says more, always", vec![PageCap(20), EoseSays("more")], Complete, PATIENT),
        row("EOSE says an unknown word", vec![PageCap(20), EoseSays("banana")], Complete, PATIENT),
        row("EOSE never", vec![NoEose], Incomplete("idle"), SLOW),
        row("EOSE twice", vec![PageCap(20), EoseTwice], Complete, PATIENT),
        row("EOSE late", vec![LateEose(Duration::from_millis(500))], Complete, PATIENT),
        row("EOSE before live", vec![LateLive(Duration::from_secs(2))], Complete, PATIENT),
        row("a NOTICE after every message", vec![NoticesAlways("welcome to this relay")], Complete, PATIENT),
    ]
}

/// Repositories that need 25 live filters, where fewer are allowed.
fn subscriptions() -> Vec<Row> {
    let too_many = (R::Closed("error: too many subscriptions"), R::Notice("ERROR: too many concurrent REQs"), R::Silence);
    let row = |name, most, how| (name, vec![AtMostSubscriptions(most, how)], Holds::Repositories(8), Complete, PATIENT);
    vec![
        row("5 subscriptions, one more refused by CLOSED", 5, too_many.0),
        row("5 subscriptions, one more refused by NOTICE", 5, too_many.1),
        row("5 subscriptions, one more met with silence", 5, too_many.2),
        row("10 subscriptions, one more refused by CLOSED", 10, too_many.0),
        row("10 subscriptions, one more refused by NOTICE", 10, too_many.1),
        row("10 subscriptions, one more met with silence", 10, too_many.2),
        row("20 subscriptions, one more refused by CLOSED", 20, too_many.0),
        row("20 subscriptions, one more refused by NOTICE", 20, too_many.1),
        row("20 subscriptions, one more met with silence", 20, too_many.2),
        row("200 subscriptions, one more refused by CLOSED", 200, too_many.0),
        row("200 subscriptions, one more refused by NOTICE", 200, too_many.1),
        row("200 subscriptions, one more met with silence", 200, too_many.2),
        ("5 subscriptions for one repository", vec![AtMostSubscriptions(5, too_many.1)], Comments(10), Complete, PATIENT),
    ]
}

fn refusals() -> Vec<Row> {
    let closed = |name, text, ends, secs| (name, vec![Refuses(R::Closed(text))], Comments(10), ends, secs);
    vec![
        closed("CLOSED pow", "pow: 25 bits are too few", Incomplete("pow"), PROMPT),
        closed("CLOSED invalid", "invalid: bad filter", Incomplete("invalid"), PROMPT),
        closed("CLOSED blocked", "blocked: not you", Incomplete("policy: "), PROMPT),
        closed("CLOSED restricted", "restricted: members only", Incomplete("policy: "), PROMPT),
        closed("CLOSED, paying members only", "restricted: pay to read here", Incomplete("payment: "), PROMPT),
        closed("CLOSED auth-required", "auth-required: who are you", Incomplete("auth-required"), PROMPT),
        closed("CLOSED auth-required behind ERROR:", "ERROR: auth-required: who?", Incomplete("auth-required"), PROMPT),
        closed("CLOSED rate-limited", "rate-limited: slow down", Incomplete("rate-limited"), SLOW),
        closed("CLOSED mute", "mute: ", Incomplete("mute"), PROMPT),
        closed("CLOSED unsupported", "unsupported: filter", Incomplete("unsupported"), PROMPT),
        closed("CLOSED duplicate", "duplicate: subscription", Incomplete("duplicate"), PROMPT),
        closed("CLOSED error", "error: database", Incomplete("error"), PROMPT),
        closed("CLOSED behind ERROR:", "ERROR: bad req: unknown", Incomplete("bad req"), PROMPT),
        closed("CLOSED without a prefix", "no", Incomplete("no"), PROMPT),
        closed("CLOSED without a word", "", Incomplete("closed"), PROMPT),
        ("refused by NOTICE", vec![Refuses(R::Notice("ERROR: bad req"))], Comments(10), Incomplete("idle"), SLOW),
        ("refused by silence", vec![Refuses(R::Silence)], Comments(10), Incomplete("idle"), SLOW),
        ("refused by hanging up", vec![Refuses(R::HangUp)], Comments(10), Down(DownClass::Closed), PROMPT),
        (
            "every page breaks off: error",
            vec![BreaksOffAfter(5, "error: shutting down")],
            Comments(70),
            Incomplete("shutting down"),
            PROMPT,
        ),
        (
            "every page breaks off: rate-limited",
            vec![BreaksOffAfter(5, "rate-limited: slow down")],
            Comments(70),
            Incomplete("rate-limited"),
            SLOW,
        ),
    ]
}

fn auth() -> Vec<Row> {
    let row = |name, script, ends| (name, script, Comments(10), ends, PROMPT);
    vec![
        row("AUTH asked for at connect", vec![Challenges], Complete),
        row("AUTH needed for REQ", vec![ReqNeedsAuth], Incomplete("auth-required")),
        row("AUTH needed for NEG-OPEN", vec![NegentropyNeedsAuth], Complete),
        row("AUTH refused", vec![Challenges, ReqNeedsAuth, RefusesAuth], Incomplete("auth-required")),
        row("AUTH with one key only", vec![Challenges, ReqNeedsAuth, OneKeyOnly], Incomplete("auth-required")),
    ]
}

/// The same, of relays that may know who we are.
fn auth_with_consent() -> Vec<Row> {
    let row = |name, script, ends| (name, script, Comments(10), ends, PATIENT);
    vec![
        row("AUTH asked for at connect, allowed", vec![Challenges], Complete),
        row("AUTH needed for REQ, allowed", vec![ReqNeedsAuth], Complete),
        row("AUTH needed for NEG-OPEN, allowed", vec![NegentropyNeedsAuth], Complete),
        row("AUTH refused, allowed", vec![Challenges, ReqNeedsAuth, RefusesAuth], Incomplete("auth-required")),
        row("AUTH with one key only, allowed", vec![Challenges, ReqNeedsAuth, NegentropyNeedsAuth, OneKeyOnly], Complete),
    ]
}

fn links(other: &str) -> Vec<Row> {
    let row = |name, link, ends, secs| (name, vec![Link(link)], Comments(10), ends, secs);
    vec![
        row("HTTP 401", L::Status(401), Down(DownClass::Auth), PROMPT),
        row("HTTP 402", L::Status(402), Down(DownClass::Payment), PROMPT),
        row("HTTP 403", L::Status(403), Down(DownClass::Policy), PROMPT),
        row("HTTP 429", L::Status(429), Down(DownClass::HttpStatus), PROMPT),
        row("redirected", L::Redirects(other.to_owned()), Down(DownClass::HttpStatus), PROMPT),
        row("black hole", L::BlackHole, Down(DownClass::Timeout), PROMPT),
        row("nothing is read after the upgrade", L::Deaf, Incomplete("idle"), SLOW),
        row("dropped after half a second", L::DropsAfter(Duration::from_millis(500)), Complete, SLOW),
        row("dropped at once", L::DropsAfter(Duration::ZERO), Down(DownClass::Closed), PROMPT),
        row("the upgrade drips", L::DripsUpgrade(Duration::from_millis(500)), Down(DownClass::Timeout), PROMPT),
        row("frames drip, a byte in 200 ms", L::Drips(Duration::from_millis(200)), Incomplete("idle"), DEAD),
        row("frames of one byte", L::OneByteFrames, Complete, PATIENT),
    ]
}

fn content() -> Vec<Row> {
    let row = |name, behaviour, ends, secs| (name, vec![behaviour], Comments(20), ends, secs);
    // A forged copy may stand for a true event: read again and again, it ends with the fault in sight.
    let forged = |name, how| row(name, Corrupts(how), Faulty, SLOW);
    let flood = |name, how, ends| row(name, Floods(how), ends, SLOW);
    let over: Vec<String> = crate::common::noise(crate::common::now() - 60).into_iter().map(|event| event.json).collect();
    vec![
        row("events that nobody asked for", AlsoServes(over), Complete, PROMPT),
        row("a subscription that nobody opened", ForeignSubscription, Faulty, SLOW),
        forged("forged ids", Corruption::WrongId),
        forged("forged signatures", Corruption::WrongSignature),
        forged("swapped authors", Corruption::SwappedAuthor),
        forged("changed contents", Corruption::OtherContent),
        row("a time before 1970", Corrupts(Corruption::Second("-1")), Incomplete("faulty"), PATIENT),
        row("a time that is no integer", Corrupts(Corruption::Second("1e999")), Incomplete("faulty"), PATIENT),
        flood("no JSON", Flood::NoJson(1000), Down(DownClass::Banned)),
        flood("JSON that is no message", Flood::NoMessage(1000), Down(DownClass::Banned)),
        flood("deep JSON", Flood::DeepJson(100_000), Incomplete("idle")),
        flood("no UTF-8", Flood::BadUtf8, Down(DownClass::Closed)),
        flood("a binary message", Flood::Binary(1000), Incomplete("idle")),
        flood("10,000 pings", Flood::Pings(10_000), Down(DownClass::Banned)),
        flood("the header of a huge message", Flood::Header(1 << 40), Down(DownClass::Protocol)),
        flood("a huge message", Flood::HugeMessage(2_000_000), Down(DownClass::Protocol)),
    ]
}

async fn fine_and_absent() -> Vec<Cell> {
    let refused = format!("ws://127.0.0.1:{}", testkit::free_port());
    // Not within the reach of an announcement here, where 127.0.0.0/8 alone is.
    let loopback = format!("ws://[::1]:{}", testkit::free_port());
    let nobody = |url: String| Upstream::Nobody(url);
    vec![
        Cell::on("NIP-77: good", Upstream::Fine(Relay::counting().await), Comments(70), Complete, PROMPT).await,
        Cell::on(
            "NIP-77: good, and answered ids are closed",
            Upstream::Fine(Relay::local().await),
            Comments(70),
            Complete,
            PROMPT,
        )
        .await,
        Cell::on("no NIP-77", Upstream::Fine(Relay::counting_req_only().await), Comments(70), Complete, PROMPT).await,
        Cell::on("connection refused", nobody(refused), Comments(1), Down(DownClass::Refused), PROMPT).await,
        Cell::on("no such name", nobody("wss://relay.invalid/".into()), Comments(1), Down(DownClass::Dns), PROMPT).await,
        Cell::on("no TLS", nobody(no_tls().await), Comments(1), Down(DownClass::Tls), PROMPT).await,
        Cell::on("a private address", nobody(loopback), Comments(1), Excluded, PROMPT).await,
    ]
}

/// A relay that does everything right, behind a network that does this from the first connection on.
async fn broken_links() -> Vec<Cell> {
    let row = |name, breaks, ends| async move { Cell::on(name, behind(breaks).await, Comments(70), ends, DEAD).await };
    vec![
        row("the link drops, and is back after 1 s", Breaks::Refuses(Duration::from_secs(1)), Complete).await,
        row("the link drops, and is back after 30 s", Breaks::Refuses(Duration::from_secs(30)), Complete).await,
        row("a slow link, 300 ms for whatever is read at once", Breaks::Delays(Duration::from_millis(300)), Complete).await,
        row("half-open for 15 s", Breaks::Holds(Duration::from_secs(15)), Complete).await,
        row("half-open for ever", Breaks::Holds(Duration::from_secs(3600)), Incomplete("idle")).await,
    ]
}

/// What becomes of a link soon after it was made.
#[derive(Debug, Clone, Copy)]
enum Breaks {
    /// It is cut, and none is made for so long.
    Refuses(Duration),
    /// Nothing crosses it for so long, in either direction.
    Holds(Duration),
    /// Whatever crosses it is late by so much, in either direction, for ever.
    Delays(Duration),
}

async fn behind(breaks: Breaks) -> Upstream {
    let relay = Relay::counting().await;
    let mut proxy = ChaosProxy::start(&relay.url()).await;
    let url = proxy.url();
    let breaking = tokio::spawn(async move {
        wait_until("the link to be made", Duration::from_secs(3600), || async { proxy.bytes_to_target() > SAID_FIRST }).await;
        let lasts = match breaks {
            Breaks::Refuses(lasts) => {
                proxy.refuse().await;
                proxy.cut();
                lasts
            }
            Breaks::Holds(lasts) => {
                proxy.hold();
                lasts
            }
            Breaks::Delays(delay) => {
                proxy.delay(delay);
                Duration::from_secs(3600)
            }
        };
        tokio::time::sleep(lasts).await;
        proxy.pass().await;
        // It lives as long as this task.
        std::future::pending().await
    });
    Upstream::Behind { relay, url, _network: breaking }
}

/// Bytes of the upgrade, and of the first live filter and more: the link is at work.
const SAID_FIRST: u64 = 700;

/// Where a server answers whatever it is told with words of its own.
async fn no_tls() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    format!("wss://127.0.0.1:{port}")
}
