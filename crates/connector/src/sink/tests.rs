#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::auth::{Consent, Policy, Whom};
use futures_util::{SinkExt, StreamExt};
use model::{Outcome, Role};
use nostr::prelude::{EventBuilder, FinalizeEvent, Keys, Kind, Timestamp};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::*;
use crate::dial::{Dialer, Reach};
use crate::identity::Identity;

/// What a scripted home does with an event.
#[derive(Debug, Clone)]
pub(crate) enum Does {
    Takes,
    TakesAfter(Duration),
    Says(&'static str),
    /// It takes it from whoever has said who they are on this link, and asks for that otherwise.
    AsksWho,
    HangsUp,
}

/// A home that answers by a function of what it has heard so far; it keeps the kinds and times of what it took, in order.
pub(crate) struct Home {
    pub(crate) url: RelayUrl,
    taken: Arc<Mutex<Vec<(u16, u64)>>>,
    links: Arc<AtomicUsize>,
}

type Script = dyn Fn(usize, u16) -> Does + Send + Sync;

impl Home {
    pub(crate) async fn new(script: impl Fn(usize, u16) -> Does + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = RelayUrl::parse(&format!("ws://{}", listener.local_addr().unwrap())).unwrap();
        let home = Self { url, taken: Arc::default(), links: Arc::default() };
        let (taken, links, heard, script) =
            (Arc::clone(&home.taken), Arc::clone(&home.links), Arc::default(), Arc::new(script));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                links.fetch_add(1, Ordering::SeqCst);
                let script: Arc<Script> = Arc::clone(&script) as Arc<Script>;
                tokio::spawn(serve(socket, script, Arc::clone(&taken), Arc::clone(&heard)));
            }
        });
        home
    }

    pub(crate) fn taken(&self) -> Vec<(u16, u64)> {
        self.taken.lock().unwrap().clone()
    }
}

async fn serve(socket: TcpStream, script: Arc<Script>, taken: Arc<Mutex<Vec<(u16, u64)>>>, heard: Arc<AtomicUsize>) {
    let mut socket = tokio_tungstenite::accept_async(socket).await.unwrap();
    let mut is_known = false;
    while let Some(Ok(Message::Text(text))) = socket.next().await {
        let frame: serde_json::Value = serde_json::from_str(&text).unwrap();
        let event = &frame[1];
        let kind = u16::try_from(event["kind"].as_u64().unwrap()).unwrap();
        let (accepted, words) = match script(heard.fetch_add(1, Ordering::SeqCst), kind) {
            Does::Takes => (true, ""),
            Does::TakesAfter(wait) => {
                sleep(wait).await;
                (true, "")
            }
            Does::Says(words) => (false, words),
            Does::AsksWho if is_known => (true, ""),
            Does::AsksWho => {
                socket.send(Message::text(r#"["AUTH","who are you"]"#)).await.unwrap();
                (false, "auth-required: who are you")
            }
            Does::HangsUp => return,
        };
        is_known |= accepted && frame[0] == "AUTH" && frame.to_string().contains("who are you");
        if accepted {
            taken.lock().unwrap().push((kind, event["created_at"].as_u64().unwrap()));
        }
        let answer = serde_json::json!(["OK", event["id"], accepted, words]);
        if socket.send(Message::text(answer.to_string())).await.is_err() {
            return;
        }
    }
}

fn event(kind: u16, at: u64) -> Event {
    EventBuilder::new(Kind::Custom(kind), "").custom_created_at(Timestamp::from_secs(at)).finalize(&Keys::generate()).unwrap()
}

/// What links are made with, by one who is this.
pub(crate) fn means(identity: Identity) -> Arc<Means> {
    let reach = Reach { allow_non_public: Vec::new(), names: crate::names::Names::Nobody, onion_proxy: None };
    Arc::new(Means::new(Dialer::new(reach, None), identity, 600))
}

/// Somebody with a key, who tells home by this policy.
fn somebody(policy: Policy) -> Identity {
    let home = Whom { roles: BTreeSet::from([Role::Home]), ..Whom::default() };
    let consent = match policy {
        Policy::Never => Consent::default(),
        Policy::OnDemand => Consent { on_demand: home, ..Consent::default() },
        Policy::Always => Consent { always: home, ..Consent::default() },
    };
    Identity { key: Some(Keys::generate()), consent }
}

/// Offers these, then writes them to `home`; answers with the outcomes, once all have one.
async fn write(home: &Home, terms: Terms, events: &[(u16, u64)]) -> Vec<Outcome> {
    write_as(Identity::default(), home, terms, events).await
}

async fn write_as(identity: Identity, home: &Home, terms: Terms, events: &[(u16, u64)]) -> Vec<Outcome> {
    let (sink, stop) = (Sink::new(), CancellationToken::new());
    let (told, mut outcomes) = mpsc::unbounded_channel();
    for (kind, at) in events {
        let (event, told) = (event(*kind, *at), told.clone());
        let json = serde_json::to_string(&event).unwrap();
        sink.offer(UpstreamId(1), &event, json, Box::new(move |outcome, _| told.send(outcome).unwrap())).await;
    }
    let writing = tokio::spawn(sink.write(home.url.clone(), (terms, means(identity)), stop.clone()));
    let mut all = Vec::new();
    while all.len() < events.len() {
        all.push(timeout(Duration::from_secs(60), outcomes.recv()).await.expect("an outcome").unwrap());
    }
    stop.cancel();
    writing.await.unwrap();
    all
}

fn kinds_in_turn() -> impl Iterator<Item = u16> {
    [1111, 1621, 30617].into_iter().cycle()
}

const ONE_BY_ONE: Terms = Terms { links: 1, window: 1 };
const MIXED: [(u16, u64); 9] =
    [(1111, 1), (1621, 3), (30617, 5), (1111, 9), (30618, 2), (30617, 7), (1630, 8), (30617, 6), (1617, 4)];

#[tokio::test]
async fn announcements_go_first_and_the_newest_of_them_then_states_and_roots_then_the_rest() {
    let home = Home::new(|_, _| Does::Takes).await;
    write(&home, ONE_BY_ONE, &MIXED).await;
    let order = [(30617, 7), (30617, 6), (30617, 5), (1621, 3), (30618, 2), (1617, 4), (1111, 1), (1111, 9), (1630, 8)];
    assert_eq!(home.taken(), order);
}

#[tokio::test]
async fn l06_a_home_that_takes_few_writes_a_minute_is_fed_without_loss_and_with_the_newest_announcements_first() {
    // Its minute begins with the first refusal and lasts for 300 ms.
    const A_MINUTE: usize = 20;
    let state = Mutex::new((0, None::<Instant>));
    let home = Home::new(move |_, _| {
        let mut state = state.lock().unwrap();
        if state.1.is_some_and(|since| since.elapsed() > Duration::from_millis(300)) {
            *state = (0, None);
        }
        state.0 += 1;
        if state.0 <= A_MINUTE {
            return Does::Takes;
        }
        state.1.get_or_insert_with(Instant::now);
        Does::Says("rate-limited: slow down")
    })
    .await;
    let events: Vec<(u16, u64)> = kinds_in_turn().zip((0..60).map(|n| 1_000 + n * 37 % 61)).collect();
    let outcomes = write(&home, Terms { links: 1, window: 256 }, &events).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Stored), "{outcomes:?}");
    let taken = home.taken();
    assert_eq!(taken.len(), events.len(), "each once");
    let announcements: Vec<u64> = taken.iter().take(20).map(|(kind, at)| if *kind == 30617 { *at } else { 0 }).collect();
    assert!(announcements.is_sorted_by(|a, b| a > b) && announcements[19] > 0, "{announcements:?}");
}

#[tokio::test]
async fn over_several_links_nothing_overtakes_what_it_may_depend_on() {
    let home =
        Home::new(|heard, _| if heard % 3 == 0 { Does::TakesAfter(Duration::from_millis(30)) } else { Does::Takes }).await;
    let events: Vec<(u16, u64)> = kinds_in_turn().zip(0..90).collect();
    write(&home, Terms { links: 3, window: 4 }, &events).await;
    assert_eq!(home.links.load(Ordering::SeqCst), 3);
    let kinds: Vec<u16> = home.taken().into_iter().map(|(kind, _)| kind).collect();
    let expected: Vec<u16> = [[30617; 30], [1621; 30], [1111; 30]].concat();
    assert_eq!(kinds, expected);
}

#[tokio::test]
async fn what_a_lost_link_left_without_an_answer_is_written_again() {
    let home = Home::new(|heard, _| if heard == 4 { Does::HangsUp } else { Does::Takes }).await;
    let outcomes = write(&home, Terms { links: 1, window: 8 }, &MIXED).await;
    assert_eq!(outcomes, [Outcome::Stored; 9]);
    assert_eq!(home.links.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn what_home_fails_to_take_is_tried_a_few_times_and_then_declined() {
    let home = Home::new(|_, kind| if kind == 1621 { Does::Says("error: unknown") } else { Does::Takes }).await;
    let outcomes = write(&home, ONE_BY_ONE, &[(1621, 1), (1111, 1)]).await;
    assert_eq!(outcomes, [Outcome::Declined, Outcome::Stored]);
    assert_eq!(home.taken(), [(1111, 1)]);
}

const AUTH: u16 = 22_242;

fn auths(home: &Home) -> usize {
    home.taken().iter().filter(|(kind, _)| *kind == AUTH).count()
}

#[tokio::test]
async fn a_home_that_asks_who_we_are_is_told_once_on_each_link_and_gets_everything() {
    for policy in [Policy::OnDemand, Policy::Always] {
        let home = Home::new(|_, kind| if kind == AUTH { Does::Takes } else { Does::AsksWho }).await;
        let outcomes = write_as(somebody(policy), &home, Terms { links: 1, window: 4 }, &MIXED).await;
        assert_eq!(outcomes, [Outcome::Stored; 9], "{policy:?}");
        assert_eq!((auths(&home), home.taken().len()), (1, 10));
        assert_eq!(home.taken()[1], (30617, 7), "and in write order");
    }
}

#[tokio::test]
async fn a_home_that_may_not_know_who_we_are_is_never_told() {
    let home = Home::new(|_, kind| if kind == AUTH { Does::Takes } else { Does::AsksWho }).await;
    let outcomes = write_as(somebody(Policy::Never), &home, ONE_BY_ONE, &MIXED[..2]).await;
    assert_eq!(outcomes, [Outcome::Declined; 2]);
    assert_eq!(home.taken(), []);
}

#[tokio::test]
async fn a_home_that_does_not_let_us_in_declines() {
    let home = Home::new(|_, kind| if kind == AUTH { Does::Says("restricted: not you") } else { Does::AsksWho }).await;
    let outcomes = write_as(somebody(Policy::OnDemand), &home, ONE_BY_ONE, &MIXED[..2]).await;
    assert_eq!(outcomes, [Outcome::Declined; 2]);
}
