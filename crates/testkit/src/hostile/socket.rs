//! The hostile relay's side of a connection: HTTP, frames, floods. What is said is decided elsewhere.

use super::behaviour::{Behaviour, Flood, Link};
use super::conversation::{Conversation, Held, Step};
use super::{World, held, stranger};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

/// How long a client may take to send its HTTP request.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// Go on, or the connection is at its end.
type Flow = ControlFlow<()>;

/// Serves one connection, by the script of its beginning.
pub(super) async fn serve(client: TcpStream, world: Arc<World>) {
    let script = held(&world.script).clone();
    if script.contains(&Behaviour::Link(Link::BlackHole)) {
        return std::future::pending().await;
    }
    let drops_after = scripted!(script, Behaviour::Link(Link::DropsAfter(after)) => *after);
    let serving = answer_http(client, script, world);
    match drops_after {
        Some(after) => drop(timeout(after, serving).await),
        None => serving.await,
    }
}

async fn answer_http(mut client: TcpStream, script: Vec<Behaviour>, world: Arc<World>) {
    let Ok(Some(request)) = timeout(REQUEST_LIMIT, peek_request(&client)).await else { return };
    if let Some(answer) = plain_answer(&script, &request) {
        // Read before it is answered: a client would not hear the answer over the reset of what nobody has read.
        let _ = client.read_exact(&mut vec![0; request.len()]).await;
        let _ = client.write_all(answer.as_bytes()).await;
        return;
    }
    let from_the_upgrade = scripted!(script, Behaviour::Link(Link::DripsUpgrade(pause)) => (*pause, true));
    let after_it = scripted!(script, Behaviour::Link(Link::Drips(pause)) => (*pause, false));
    match from_the_upgrade.or(after_it) {
        None => upgrade(client, script, world).await,
        Some((pause, is_slow)) => {
            let (inner, outer) = duplex(64);
            tokio::select! {
                () = upgrade(inner, script, world) => {}
                () = drip(outer, client, pause, is_slow) => {}
            }
        }
    }
}

/// The head of the request, which stays to be read.
async fn peek_request(client: &TcpStream) -> Option<String> {
    let mut head = vec![0; 16 * 1024];
    loop {
        let length = client.peek(&mut head).await.ok()?;
        let text = String::from_utf8_lossy(&head[..length]).into_owned();
        if text.contains("\r\n\r\n") {
            return Some(text);
        }
        if length == 0 {
            return None;
        }
        sleep(Duration::from_millis(2)).await;
    }
}

/// What is answered instead of an upgrade.
fn plain_answer(script: &[Behaviour], request: &str) -> Option<String> {
    let whole = |status: &str, headers: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    if let Some(url) = scripted!(script, Behaviour::Link(Link::Redirects(url)) => url.clone()) {
        return Some(whole("302 Found", &format!("Location: {url}\r\n"), ""));
    }
    if let Some(status) = scripted!(script, Behaviour::Link(Link::Status(status)) => *status) {
        return Some(whole(&format!("{status} No"), "", "go away"));
    }
    if request.to_lowercase().contains("upgrade: websocket") {
        return None;
    }
    let document = scripted!(script, Behaviour::Describes(document) => document);
    let described = document.map(|document| whole("200 OK", "Content-Type: application/nostr+json\r\n", &document.to_string()));
    Some(described.unwrap_or_else(|| whole("404 Not Found", "", "")))
}

/// Carries bytes to the client one by one, slowly at once or from the first frame on, and from it as they come.
async fn drip(inner: DuplexStream, client: TcpStream, pause: Duration, mut is_slow: bool) {
    let (mut from_inner, mut to_inner) = tokio::io::split(inner);
    let (mut from_client, mut to_client) = client.into_split();
    let carrying = async {
        let mut last = [0; 4];
        while let Ok(byte) = from_inner.read_u8().await {
            if is_slow {
                sleep(pause).await;
            }
            last = [last[1], last[2], last[3], byte];
            is_slow |= last == *b"\r\n\r\n";
            if to_client.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = carrying => {}
        _ = tokio::io::copy(&mut from_client, &mut to_inner) => {}
    }
}

async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(stream: S, script: Vec<Behaviour>, world: Arc<World>) {
    let Ok(socket) = accept_async(stream).await else { return };
    if script.contains(&Behaviour::Link(Link::Deaf)) {
        let _open = socket;
        return std::future::pending().await;
    }
    let in_bytes = script.contains(&Behaviour::Link(Link::OneByteFrames));
    let mut line = Line { socket, world, in_bytes };
    line.converse(Conversation::new(script)).await;
}

struct Line<S> {
    socket: WebSocketStream<S>,
    world: Arc<World>,
    /// Every byte of a text is a frame.
    in_bytes: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    async fn converse(&mut self, mut conversation: Conversation) {
        let mut live = self.world.live.subscribe();
        let mut told = live.borrow().len();
        let mut steps = conversation.greeting();
        loop {
            for step in steps {
                if self.take(step).await.is_break() {
                    return;
                }
            }
            steps = tokio::select! {
                message = self.socket.next() => match message {
                    Some(Ok(Message::Text(text))) => self.hear(&mut conversation, &text),
                    Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Vec::new(),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                },
                _ = live.changed() => {
                    let live = live.borrow_and_update();
                    let new = live.iter().enumerate().skip(told).flat_map(|(number, event)| conversation.live(number, event));
                    let new = new.collect();
                    told = live.len();
                    new
                }
            };
        }
    }

    fn hear(&self, conversation: &mut Conversation, text: &str) -> Vec<Step> {
        let Ok(message) = serde_json::from_str::<Value>(text) else { return Vec::new() };
        held(&self.world.heard).push(message.clone());
        let events = held(&self.world.events);
        conversation.hear(&message, Held { events: &events, published: self.world.live.borrow().len() })
    }

    async fn take(&mut self, step: Step) -> Flow {
        match step {
            Step::Say(text) => self.say(text).await,
            Step::Wait(span) => {
                sleep(span).await;
                Flow::Continue(())
            }
            Step::Keep(event) => {
                self.world.keep(event);
                Flow::Continue(())
            }
            Step::Flood(flood, subscription, filter) => self.flood(flood, &subscription, &filter).await,
            Step::HangUp => Flow::Break(()),
        }
    }

    async fn say(&mut self, text: String) -> Flow {
        self.world.served.fetch_add(1, Ordering::Relaxed);
        if self.in_bytes {
            self.raw(&in_frames_of_one_byte(text.as_bytes())).await
        } else {
            self.send(Message::text(text)).await
        }
    }

    async fn send(&mut self, message: Message) -> Flow {
        flow(self.socket.send(message).await)
    }

    /// Past the library, which writes no frame that is wrong.
    async fn raw(&mut self, bytes: &[u8]) -> Flow {
        flow(self.socket.get_mut().write_all(bytes).await)?;
        flow(self.socket.get_mut().flush().await)
    }

    async fn flood(&mut self, flood: Flood, subscription: &str, filter: &Value) -> Flow {
        match flood {
            Flood::Strangers => self.endless(subscription, 1, &[]).await,
            Flood::Matching => {
                let (kind, tag) = (first_kind(filter), first_tag(filter));
                let tag: Vec<[&str; 2]> = tag.iter().map(|(letter, value)| [letter.as_str(), value.as_str()]).collect();
                self.endless(subscription, kind, &tag.iter().map(<[&str; 2]>::as_slice).collect::<Vec<_>>()).await
            }
            Flood::Foreign => self.over_and_over(|_| event_frame("nobody-s", &matching(&json!({}), 0, 0))).await,
            Flood::Repeats => {
                let frame = event_frame(subscription, &matching(filter, 0, 0));
                self.over_and_over(|_| frame.clone()).await
            }
            Flood::Forged => {
                let event: Value = serde_json::from_str(&matching(filter, 0, 0)).expect("it was written by a library");
                self.over_and_over(|number| {
                    let mut forged = event.clone();
                    forged["content"] = json!(number.to_string());
                    event_frame(subscription, &forged.to_string())
                })
                .await
            }
            Flood::ManyTags(count) => self.over_and_over(|n| event_frame(subscription, &matching(filter, count, n))).await,
            Flood::Notices => self.over_and_over(|number| json!(["NOTICE", number.to_string()]).to_string()).await,
            Flood::Ends => self.over_and_over(|number| json!(["EOSE", format!("nobody-s-{number}")]).to_string()).await,
            Flood::LongMessages(bytes) => {
                let long = json!(["NOTICE", "x".repeat(bytes)]).to_string();
                self.over_and_over(|_| long.clone()).await
            }
            Flood::NoJson(count) => self.repeat(count, |number| Message::text(format!("this is no JSON: {number}"))).await,
            Flood::NoMessage(count) => {
                let odd = [r#"{"a":1}"#, "[]", r#"["EVENT"]"#, "[1,2]", r#"["EOSE",{}]"#, "null", r#"["EVENT",5,{"id":[]}]"#];
                self.repeat(count, |number| Message::text(odd[number % odd.len()])).await
            }
            Flood::DeepJson(depth) => self.send(Message::text("[".repeat(depth) + &"]".repeat(depth))).await,
            Flood::BadUtf8 => self.raw(&[0x81, 2, 0xff, 0xfe]).await,
            Flood::Binary(bytes) => self.send(Message::binary(vec![0; bytes])).await,
            Flood::Pings(count) => self.repeat(count, |_| Message::Ping(b"ping".as_slice().into())).await,
            Flood::Header(bytes) => self.raw(&[&[0x81, 127][..], &bytes.to_be_bytes()].concat()).await,
            Flood::HugeMessage(bytes) => self.send(Message::text(json!(["NOTICE", "x".repeat(bytes)]).to_string())).await,
        }
    }

    async fn over_and_over(&mut self, text: impl Fn(u64) -> String) -> Flow {
        let mut number = 0;
        loop {
            self.say(text(number)).await?;
            number += 1;
        }
    }

    async fn repeat(&mut self, count: usize, message: impl Fn(usize) -> Message) -> Flow {
        for number in 0..count {
            self.send(message(number)).await?;
        }
        Flow::Continue(())
    }

    async fn endless(&mut self, subscription: &str, kind: u16, tags: &[&[&str]]) -> Flow {
        let flooder = stranger();
        let now = SystemTime::UNIX_EPOCH.elapsed().expect("it is after 1970").as_secs();
        let mut number = 0_u64;
        loop {
            let event = flooder.sign(kind, now, tags, &number.to_string());
            self.say(format!(r#"["EVENT",{},{event}]"#, json!(subscription))).await?;
            number += 1;
        }
    }
}

fn flow<E>(written: Result<(), E>) -> Flow {
    if written.is_ok() { Flow::Continue(()) } else { Flow::Break(()) }
}

fn event_frame(subscription: &str, event: &str) -> String {
    format!(r#"["EVENT",{},{event}]"#, json!(subscription))
}

/// A well-made event of this number that matches the kind and the first tag of a filter, with so many tags more.
fn matching(filter: &Value, more: usize, number: u64) -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("it is after 1970").as_secs();
    let tag = first_tag(filter);
    let mut tags: Vec<[&str; 2]> = tag.iter().map(|(letter, value)| [letter.as_str(), value.as_str()]).collect();
    tags.extend(std::iter::repeat_n(["t", "x"], more));
    let tags: Vec<&[&str]> = tags.iter().map(<[&str; 2]>::as_slice).collect();
    stranger().sign(first_kind(filter), now, &tags, &number.to_string())
}

fn first_kind(filter: &Value) -> u16 {
    filter["kinds"][0].as_u64().and_then(|kind| u16::try_from(kind).ok()).unwrap_or(1)
}

fn first_tag(filter: &Value) -> Option<(String, String)> {
    let fields = filter.as_object()?;
    fields.iter().find_map(|(name, values)| Some((name.strip_prefix('#')?.to_owned(), values[0].as_str()?.to_owned())))
}

/// A text as frames of an unfinished message, the last of which ends it.
fn in_frames_of_one_byte(text: &[u8]) -> Vec<u8> {
    let frame = |(at, byte): (usize, &u8)| {
        let opcode = u8::from(at == 0);
        let end = if at + 1 == text.len() { 0x80 } else { 0 };
        [opcode | end, 1, *byte]
    };
    text.iter().enumerate().flat_map(frame).collect()
}
