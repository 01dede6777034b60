//! What is said to a client, and when: every decision of the hostile relay, and no socket.

use super::behaviour::{Behaviour, Corruption, Flood, Negentropy, Refusal, Ruling};
use super::{filter, negentropy, stranger};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

/// Events that a relay with a rate takes at once.
const AT_ONCE: u32 = 5;
const CHALLENGE: &str = "who are you";

/// What the socket is to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Say(String),
    Wait(Duration),
    Keep(Value),
    Flood(Flood, String, Value),
    HangUp,
}

/// What the relay holds at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held<'a> {
    pub(super) events: &'a [Value],
    /// How many were ever published; what comes later is live.
    pub(super) published: usize,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Conversation {
    script: Vec<Behaviour>,
    subscriptions: BTreeMap<String, Subscription>,
    /// Rounds of each exchange.
    exchanges: BTreeMap<String, usize>,
    is_authenticated: bool,
    has_noticed: bool,
    /// When the next event would be taken if there were no first few.
    next_write: Option<Instant>,
}

#[derive(Debug)]
struct Subscription {
    filters: Vec<Value>,
    /// The number of the first event that was published after its page.
    first_live: usize,
    live_from: Instant,
}

impl Conversation {
    pub(super) fn new(script: Vec<Behaviour>) -> Self {
        Self {
            script,
            subscriptions: BTreeMap::new(),
            exchanges: BTreeMap::new(),
            is_authenticated: false,
            has_noticed: false,
            next_write: None,
        }
    }

    /// What a client is told before it has said anything.
    pub(super) fn greeting(&self) -> Vec<Step> {
        if self.does(&Behaviour::Challenges) { vec![challenge()] } else { Vec::new() }
    }

    /// What a message of the client leads to.
    pub(super) fn hear(&mut self, message: &Value, held: Held<'_>) -> Vec<Step> {
        let id = message[1].as_str().unwrap_or_default().to_owned();
        let mut steps = match message[0].as_str() {
            Some("REQ") => self.req(&id, message.as_array().and_then(|parts| parts.get(2..)).unwrap_or_default(), held),
            Some("CLOSE") => {
                self.subscriptions.remove(&id);
                Vec::new()
            }
            Some("AUTH") => vec![self.auth(&message[1])],
            Some("EVENT") => self.offer(&message[1], held.events),
            Some("NEG-OPEN") => self.neg_open(&id),
            Some("NEG-MSG") => self.neg_msg(&id),
            Some("NEG-CLOSE") => {
                self.exchanges.remove(&id);
                Vec::new()
            }
            Some(_) | None => vec![notice("ERROR: bad msg: unknown cmd")],
        };
        steps.extend(scripted!(self.script, Behaviour::NoticesAlways(text) => notice(text)));
        steps
    }

    /// What an event leads to that is published now, as the one of this number.
    pub(super) fn live(&self, number: usize, event: &Value) -> Vec<Step> {
        let now = Instant::now();
        let is_told = |subscription: &Subscription| {
            let is_new = subscription.first_live <= number && subscription.live_from <= now;
            is_new && subscription.filters.iter().any(|filter| filter::matches(filter, event))
        };
        let told = self.subscriptions.iter().filter(|(_, subscription)| is_told(subscription));
        told.map(|(id, _)| self.event(id, event)).collect()
    }

    fn req(&mut self, id: &str, filters: &[Value], held: Held<'_>) -> Vec<Step> {
        if self.does(&Behaviour::ReqNeedsAuth) && !self.is_authenticated {
            return vec![challenge(), closed(id, "auth-required: tell us who you are")];
        }
        if let Some(refusal) = self.refusal_of(id) {
            return self.refuse(refusal, id);
        }
        if let Some(flood) = scripted!(self.script, Behaviour::Floods(flood) => *flood) {
            return vec![Step::Flood(flood, id.to_owned(), filters.first().cloned().unwrap_or_default())];
        }
        let late = scripted!(self.script, Behaviour::LateLive(late) => *late);
        let live_from = Instant::now() + late.unwrap_or_default();
        self.subscriptions
            .insert(id.to_owned(), Subscription { filters: filters.to_vec(), first_live: held.published, live_from });
        self.page(id, filters, held.events)
    }

    fn page(&mut self, id: &str, filters: &[Value], events: &[Value]) -> Vec<Step> {
        let mut page = filter::page(&self.script, events, filters);
        let is_answered =
            filters.iter().all(|filter| filter["ids"].as_array().is_some_and(|ids| ids.len() <= page.events.len()));
        page.events.splice(0..0, self.strangers());
        let breaks_off = scripted!(self.script, Behaviour::BreaksOffAfter(count, text) => (*count, *text));
        if let Some((count, text)) = breaks_off {
            self.subscriptions.remove(id);
            let events = page.events.iter().take(count).map(|event| self.event(id, event));
            return events.chain([closed(id, text)]).collect();
        }
        let mut steps: Vec<Step> = page.events.iter().map(|event| self.event(id, event)).collect();
        let inside = scripted!(self.script, Behaviour::NoticesOnceInside(after, text) => (*after, *text));
        if let Some((after, text)) = inside.filter(|(after, _)| !self.has_noticed && steps.len() > *after) {
            self.has_noticed = true;
            steps.insert(after, notice(text));
        }
        steps.extend(self.end_of_page(id, page.is_cut));
        if is_answered && self.does(&Behaviour::ClosesAnsweredIds) {
            self.subscriptions.remove(id);
            steps.push(closed(id, ""));
        }
        steps
    }

    fn end_of_page(&self, id: &str, is_cut: bool) -> Vec<Step> {
        if self.does(&Behaviour::NoEose) {
            return Vec::new();
        }
        let honest = if is_cut { "more" } else { "finish" };
        let word = scripted!(self.script, Behaviour::EoseSays(word) => *word);
        let word = word.or(self.does(&Behaviour::HintsHonestly).then_some(honest));
        let eose = say(word.map_or_else(|| json!(["EOSE", id]), |word| json!(["EOSE", id, [word]])));
        let late = scripted!(self.script, Behaviour::LateEose(late) => Step::Wait(*late));
        let again = self.does(&Behaviour::EoseTwice).then(|| eose.clone());
        late.into_iter().chain([eose]).chain(again).collect()
    }

    /// What stands in the way of a REQ.
    fn refusal_of(&self, id: &str) -> Option<Refusal> {
        let is_one_more = |most: usize| !self.subscriptions.contains_key(id) && self.subscriptions.len() >= most;
        let over = scripted!(self.script, Behaviour::AtMostSubscriptions(most, refusal) => (*most, *refusal));
        let over = over.filter(|(most, _)| is_one_more(*most)).map(|(_, refusal)| refusal);
        scripted!(self.script, Behaviour::Refuses(refusal) => *refusal).or(over)
    }

    fn refuse(&self, refusal: Refusal, id: &str) -> Vec<Step> {
        match refusal {
            Refusal::Closed(text) => vec![closed(id, text)],
            Refusal::Notice(text) => vec![notice(text)],
            Refusal::Silence => Vec::new(),
            Refusal::HangUp => vec![Step::HangUp],
        }
    }

    fn auth(&mut self, event: &Value) -> Step {
        if self.does(&Behaviour::RefusesAuth) {
            return say(json!(["OK", event["id"], false, "restricted: not you"]));
        }
        if self.does(&Behaviour::OneKeyOnly) && self.is_authenticated {
            return say(json!(["OK", event["id"], false, "error: already authenticated"]));
        }
        let answers = |tag: &Value| tag[0] == "challenge" && tag[1] == CHALLENGE;
        self.is_authenticated =
            event["kind"] == 22_242 && event["tags"].as_array().is_some_and(|tags| tags.iter().any(answers));
        say(json!(["OK", event["id"], self.is_authenticated, ""]))
    }

    fn offer(&mut self, event: &Value, held: &[Value]) -> Vec<Step> {
        if self.does(&Behaviour::NoOk) {
            return Vec::new();
        }
        if let Some(objection) = self.objection(event, held) {
            return vec![say(json!(["OK", event["id"], false, objection]))];
        }
        let late = scripted!(self.script, Behaviour::LateOk(late) => Step::Wait(*late));
        if let Some(judge) = scripted!(self.script, Behaviour::Judges(judge) => judge) {
            let Ruling { accepted, words, is_kept } = judge.0.rule(event);
            let kept = is_kept.then(|| Step::Keep(event.clone()));
            return late.into_iter().chain([say(json!(["OK", event["id"], accepted, words]))]).chain(kept).collect();
        }
        let answer = scripted!(self.script, Behaviour::AnswersOffers(verdict, text) => (*verdict, *text));
        let answer = answer.or_else(|| self.answer_of(event["content"].as_str().unwrap_or_default()));
        let kept = answer.is_none().then(|| Step::Keep(event.clone()));
        let (verdict, text) = answer.unwrap_or((true, ""));
        late.into_iter().chain([say(json!(["OK", event["id"], verdict, text]))]).chain(kept).collect()
    }

    fn objection(&mut self, event: &Value, held: &[Value]) -> Option<&'static str> {
        let oldest = scripted!(self.script, Behaviour::RefusesOlderThan(secs) => *secs);
        if oldest.is_some_and(|secs| filter::second(event) + i128::from(secs) < i128::from(now())) {
            return Some("invalid: created_at is too far back");
        }
        if self.does(&Behaviour::WantsParents) && names_unknown(event, held) {
            return Some("blocked: parent event not found");
        }
        let each = scripted!(self.script, Behaviour::WritesPerMinute(most) => Duration::from_secs(60) / *most);
        each.and_then(|each| self.is_too_soon(each).then_some("rate-limited: slow down"))
    }

    /// Each event takes its time; those of the first few may come together.
    fn is_too_soon(&mut self, each: Duration) -> bool {
        let now = Instant::now();
        let next = self.next_write.map_or(now, |next| next.max(now)) + each;
        let is_too_soon = next > now + each * AT_ONCE;
        if !is_too_soon {
            self.next_write = Some(next);
        }
        is_too_soon
    }

    fn answer_of(&self, content: &str) -> Option<(bool, &'static str)> {
        let mut answers = self.script.iter().filter_map(|behaviour| {
            if let Behaviour::AnswersOffersOf(part, verdict, text) = behaviour { Some((*part, *verdict, *text)) } else { None }
        });
        answers.find(|(part, ..)| content.contains(part)).map(|(_, verdict, text)| (verdict, text))
    }

    fn neg_open(&mut self, id: &str) -> Vec<Step> {
        if self.does(&Behaviour::NegentropyNeedsAuth) && !self.is_authenticated {
            return vec![challenge(), say(json!(["NEG-ERR", id, "auth-required: tell us who you are"]))];
        }
        match self.negentropy() {
            None => vec![notice("ERROR: bad msg: unknown cmd")],
            Some(Negentropy::Error(text)) => vec![say(json!(["NEG-ERR", id, text]))],
            Some(Negentropy::ErrorWithLimit(text, limit)) => vec![say(json!(["NEG-ERR", id, text, limit]))],
            Some(Negentropy::Refused(refusal)) => self.refuse(refusal, id),
            Some(how) => {
                self.exchanges.insert(id.to_owned(), 0);
                neg_answer(how, id, 0)
            }
        }
    }

    fn neg_msg(&mut self, id: &str) -> Vec<Step> {
        let how = self.negentropy();
        let (Some(how), Some(round)) = (how, self.exchanges.get_mut(id)) else {
            return vec![say(json!(["NEG-ERR", id, "closed: unknown subscription handle"]))];
        };
        *round += 1;
        neg_answer(how, id, *round)
    }

    fn negentropy(&self) -> Option<Negentropy> {
        scripted!(self.script, Behaviour::Negentropy(how) => *how)
    }

    fn strangers(&self) -> Vec<Value> {
        let read = |events: &Vec<String>| events.iter().map(|event| serde_json::from_str(event).expect("JSON")).collect();
        scripted!(self.script, Behaviour::AlsoServes(events) => read(events)).unwrap_or_default()
    }

    fn event(&self, id: &str, event: &Value) -> Step {
        let id = if self.does(&Behaviour::ForeignSubscription) { "nobody's" } else { id };
        let corruption = scripted!(self.script, Behaviour::Corrupts(how) => *how);
        let event = corruption.map_or_else(|| event.to_string(), |how| corrupted(how, event));
        Step::Say(format!(r#"["EVENT",{},{event}]"#, json!(id)))
    }

    fn does(&self, behaviour: &Behaviour) -> bool {
        self.script.contains(behaviour)
    }
}

/// Whether it names an event that is not held.
fn names_unknown(event: &Value, held: &[Value]) -> bool {
    let tags = event["tags"].as_array().into_iter().flatten();
    let named = tags.filter(|tag| tag[0] == "e" || tag[0] == "E").map(|tag| &tag[1]);
    named.into_iter().any(|id| !held.iter().any(|event| event["id"] == *id))
}

fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().expect("it is after 1970").as_secs()
}

fn corrupted(how: Corruption, event: &Value) -> String {
    let mut event = event.clone();
    match how {
        Corruption::WrongId => event["id"] = json!("ab".repeat(32)),
        Corruption::WrongSignature => event["sig"] = json!("ab".repeat(64)),
        Corruption::SwappedAuthor => event["pubkey"] = json!(stranger().public_key()),
        Corruption::OtherContent => event["content"] = json!("not what was signed"),
        Corruption::Second(number) => {
            let was = format!(r#""created_at":{}"#, event["created_at"]);
            return event.to_string().replacen(&was, &format!(r#""created_at":{number}"#), 1);
        }
    }
    event.to_string()
}

fn neg_answer(how: Negentropy, id: &str, round: usize) -> Vec<Step> {
    negentropy::answer(how, round).map(|message| say(json!(["NEG-MSG", id, message]))).into_iter().collect()
}

fn say(message: Value) -> Step {
    Step::Say(message.to_string())
}

fn closed(id: &str, text: &str) -> Step {
    say(json!(["CLOSED", id, text]))
}

fn notice(text: &str) -> Step {
    say(json!(["NOTICE", text]))
}

fn challenge() -> Step {
    say(json!(["AUTH", CHALLENGE]))
}
