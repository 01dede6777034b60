//! The page over HTTP, with a state service that says what the test wants.

#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::{Bus, InProcess, StateClient};
use model::{Answer, Explained, Explanation, Query, RepoAddr, RepoExplained, StateError, Status, Subject, UpstreamStatus};
use testkit::wait_for;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::VIEWERS;
use crate::config::{Listen, Secret};
use crate::http::Server;
use crate::overview::tests::{at, covered, down, status};
use crate::readiness::Readiness;
use crate::telemetry;

const TOKEN: &str = "0123456789abcdef";
const PATIENCE: Duration = Duration::from_secs(60);
/// What a stranger may write where we show it.
const HOSTILE: &str = "<script>alert(1)</script>\u{202e}\"'><img src=x onerror=alert(2)>";

/// A server, and the status that its state service gives.
struct Stage {
    server: Server,
    status: Arc<Mutex<Status>>,
}

/// An answer, read to its end.
struct Got {
    code: u16,
    head: String,
    body: String,
}

impl Stage {
    async fn with(token: Option<&str>, shown: Status) -> Self {
        let stage = Self::starting(token, shown).await;
        let bus = Arc::new(InProcess::default());
        answer_on(&bus, Arc::clone(&stage.status)).await;
        stage.server.page().show(StateClient::new(bus), None, 70);
        stage
    }

    /// Its services have not started.
    async fn starting(token: Option<&str>, shown: Status) -> Self {
        let (metrics, _provider) = telemetry::unshared();
        let token = token.map(|token| Secret::from(token.to_owned()));
        let listen = Listen::Exactly(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let server = Server::start(listen, Readiness::default(), metrics, token.as_ref(), true).await.unwrap();
        Self { server, status: Arc::new(Mutex::new(shown)) }
    }

    async fn ask(&self, request: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.server.address()).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        socket
    }

    async fn request(&self, first: &str, headers: &str, body: &str) -> Got {
        let length = body.len();
        let request = format!("{first} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
        let mut answer = String::new();
        let mut socket = self.ask(&request).await;
        timeout(PATIENCE, socket.read_to_string(&mut answer)).await.expect("it answers").unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        Got { code, head: head.to_lowercase(), body: body.to_owned() }
    }

    /// As a browser on this machine asks.
    async fn get(&self, path: &str) -> Got {
        self.request(&format!("GET {path}"), "Host: localhost\r\n", "").await
    }

    async fn get_with(&self, path: &str, header: &str) -> Got {
        self.request(&format!("GET {path}"), &format!("Host: localhost\r\n{header}\r\n"), "").await
    }

    /// A viewer that hears news.
    async fn live(&self, path: &str) -> BufReader<TcpStream> {
        BufReader::new(self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await)
    }
}

async fn answer_on(bus: &Arc<InProcess>, status: Arc<Mutex<Status>>) {
    let mut questions = bus.questions().await.unwrap();
    tokio::spawn(async move {
        while let Some(question) = questions.recv().await {
            let shown = status.lock().unwrap().clone();
            let answer = if let Query::Explain { subject } = question.query {
                Answer::Explanation(Box::new(explained(subject, &shown)))
            } else if question.query == Query::Status {
                Answer::Status(shown)
            } else {
                Answer::Failed(StateError::Store("not played".to_owned()))
            };
            let _ = question.reply.send(answer);
        }
    });
}

fn explained(subject: Subject, status: &Status) -> Explanation {
    let explained = match subject {
        Subject::Repo(addr) => Explained::Repo(Some(Box::new(repo(addr, status)))),
        Subject::Upstream(_) | Subject::Event(_) => Explained::Upstream(None),
    };
    Explanation { now: at(1_000), explained }
}

fn repo(addr: RepoAddr, status: &Status) -> RepoExplained {
    let one = |upstream: &UpstreamStatus| model::RepoAt {
        refused: Some(HOSTILE.to_owned()),
        repo: None,
        roots: (1, 2, 3),
        upstream: upstream.clone(),
    };
    RepoExplained {
        addr,
        announcement: None,
        removed_until: None,
        maintainers: Vec::new(),
        also_announced_by: Vec::new(),
        clone_urls: vec![HOSTILE.to_owned()],
        roots: 6,
        roots_beyond: 0,
        waiting: 0,
        upstreams: status.upstreams.iter().map(one).collect(),
    }
}

/// Reads until a line holds `what`.
async fn until(viewer: &mut BufReader<TcpStream>, what: &str) -> String {
    let reading = async {
        loop {
            let mut line = String::new();
            assert!(viewer.read_line(&mut line).await.unwrap() > 0, "the stream ended before {what}");
            if line.contains(what) {
                return line;
            }
        }
    };
    timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("{what} does not come"))
}

fn one_upstream() -> Status {
    status(vec![covered("wss://one.example")])
}

#[tokio::test]
async fn on_loopback_the_page_answers_this_machine_and_no_name_of_a_stranger() {
    let stage = Stage::with(None, one_upstream()).await;
    let page = stage.get("/").await;
    assert_eq!(page.code, 200);
    assert!(page.body.contains("wss://one.example/") && page.body.contains("1 of 1 upstreams covered"), "{}", page.body);
    for path in ["/", "/explain?what=wss://one.example", "/status.json", "/metrics/upstreams", "/live"] {
        let rebound = stage.request(&format!("GET {path}"), "Host: evil.example\r\n", "").await;
        assert_eq!(rebound.code, 421, "{path}");
        assert!(!rebound.body.contains("one.example/"), "{path}: {}", rebound.body);
    }
    assert_eq!(stage.request("GET /livez", "Host: probe\r\n", "").await.body, "ok");
}

#[tokio::test]
async fn with_a_token_nothing_that_names_a_relay_is_shown_without_it() {
    let stage = Stage::with(Some(TOKEN), one_upstream()).await;
    for path in
        ["/", "/explain?what=wss://one.example", "/status.json", "/metrics/upstreams", "/live", "/?token=0123456789abcdeg"]
    {
        let refused = stage.get(path).await;
        assert_eq!(refused.code, 401, "{path}");
        assert!(!refused.body.contains("one.example"), "{path}: {}", refused.body);
        assert!(refused.head.contains("www-authenticate: bearer"), "{path}: {}", refused.head);
    }
    assert_eq!((stage.get("/livez").await.code, stage.get("/readyz").await.code), (200, 503));
    let metrics = stage.get("/metrics").await;
    assert!(metrics.code == 200 && !metrics.body.contains("one.example"), "{}", metrics.body);
    let json = stage.get_with("/status.json", &format!("Authorization: Bearer {TOKEN}")).await;
    let document: serde_json::Value = serde_json::from_str(&json.body).unwrap();
    assert_eq!(document["upstreams"][0]["url"], "wss://one.example/");
    assert_eq!(document["overview"]["verdict"], "complete");
}

#[tokio::test]
async fn the_token_in_the_url_or_the_form_becomes_a_cookie_that_scripts_and_other_sites_cannot_use() {
    let stage = Stage::with(Some(TOKEN), one_upstream()).await;
    let by_url = stage.get(&format!("/explain?what=wss%3A%2F%2Fone.example&token={TOKEN}")).await;
    assert_eq!(by_url.code, 303);
    assert!(by_url.head.contains("location: /explain?what=wss%3a%2f%2fone.example\r\n"), "{}", by_url.head);
    let form = "Host: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let by_form = stage.request("POST /login", form, &format!("token={TOKEN}")).await;
    assert_eq!(by_form.code, 303);
    for got in [&by_url, &by_form] {
        let cookie = got.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
        assert!(cookie.contains("httponly") && cookie.contains("samesite=strict") && !cookie.contains(TOKEN), "{cookie}");
        let pair = cookie.split(';').next().unwrap();
        assert_eq!(stage.get_with("/", &format!("Cookie: {pair}")).await.code, 200);
    }
    let wrong = stage.request("POST /login", form, "token=0123456789abcdeg").await;
    assert!(wrong.code == 401 && wrong.body.contains("That is not the token"), "{}", wrong.body);
    assert!(!wrong.head.contains("set-cookie"));
    assert_eq!(stage.request("POST /login", form, &"a".repeat(10_000)).await.code, 413);
}

#[tokio::test]
async fn every_answer_carries_a_policy_that_lets_nothing_inline_or_foreign_run() {
    let stage = Stage::with(None, one_upstream()).await;
    for path in ["/", "/explain?what=wss://one.example", "/status.json", "/style.css", "/script.js", "/nothing"] {
        let got = stage.get(path).await;
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "nosniff", "no-referrer"] {
            assert!(got.head.contains(part), "{path}: {part}: {}", got.head);
        }
        assert!(!got.head.contains("unsafe"), "{path}");
    }
    let page = stage.get("/").await.body;
    assert_eq!(page.matches("<script").count(), 1, "the one with src");
    assert!(!page.contains(" style=") && !page.contains(" onclick=") && !page.contains("http://"), "{page}");
}

#[tokio::test]
async fn a_strangers_words_are_shown_and_do_nothing() {
    let hostile = UpstreamStatus {
        incomplete: Some(format!("closed: {HOSTILE}{}", "w".repeat(20_000))),
        wanted: 1,
        next: Some(model::Next { at: at(9_000_000_000), why: model::NextWhy::AskAgain }),
        ..covered("wss://one.example")
    };
    let stage = Stage::with(None, status(vec![hostile])).await;
    let repository = format!("/explain?what=30617:{}:{}", "a".repeat(64), "%3Cscript%3Ealert(3)%3C/script%3E%E2%80%AE");
    let mut frames = stage.live("/live").await;
    let pushed = until(&mut frames, "data: ").await;
    let unreadable = format!("/explain?what={}", "%3Cimg%20src=x%20onerror=alert(4)%3E");
    for (name, body) in [
        ("overview", stage.get("/").await.body),
        ("repository", stage.get(&repository).await.body),
        ("unreadable", stage.get(&unreadable).await.body),
        ("pushed", serde_json::from_str(pushed.trim().strip_prefix("data: ").unwrap()).unwrap()),
    ] {
        assert!(body.contains("&lt;script&gt;alert(") || body.contains("&lt;img src=x"), "{name}: {body}");
        for part in ["<script>", "<img", "\u{202e}", &"w".repeat(2_000)] {
            assert!(!body.contains(part), "{name} holds {part:?}: {body}");
        }
    }
}

#[tokio::test]
async fn a_viewer_hears_of_what_changes_and_of_nothing_else() {
    let stage = Stage::with(None, one_upstream()).await;
    let mut viewer = stage.live("/live").await;
    until(&mut viewer, "text/event-stream").await;
    assert!(until(&mut viewer, "data: ").await.contains("1 of 1 upstreams covered"));
    // Nothing has changed: the next word is that the connection lives, not the same again. The chart may begin a minute.
    let mut repeats = 0;
    while until(&mut viewer, "event: ").await.trim() != "event: alive" {
        repeats += 1;
    }
    assert!(repeats <= 1, "{repeats}");
    *stage.status.lock().unwrap() = status(vec![covered("wss://one.example"), down("wss://two.example", Some(700))]);
    let news = until(&mut viewer, "wss://two.example/").await;
    assert!(news.contains("1 of 2 upstreams covered"), "{news}");
}

#[tokio::test]
async fn viewers_are_bounded_and_one_that_leaves_makes_room() {
    let stage = Stage::with(None, one_upstream()).await;
    let mut viewers = Vec::new();
    for _ in 0..VIEWERS {
        let mut viewer = stage.live("/live").await;
        until(&mut viewer, "200 OK").await;
        viewers.push(viewer);
    }
    assert_eq!(stage.get("/live").await.code, 503);
    assert_eq!(stage.get("/").await.code, 200, "the page itself is still there");
    viewers.clear();
    wait_for("room for a viewer", PATIENCE, || async {
        let mut viewer = stage.live("/live").await;
        let mut first = String::new();
        viewer.read_line(&mut first).await.unwrap();
        if first.contains("200 OK") { Ok(()) } else { Err(first) }
    })
    .await;
}

#[tokio::test]
async fn what_is_not_there_is_said_so_and_nothing_can_be_changed() {
    let stage = Stage::with(None, one_upstream()).await;
    assert_eq!(stage.get("/nothing").await.code, 404);
    assert_eq!(stage.get("/explain?what=wss://unknown.example").await.code, 404);
    assert_eq!(stage.get("/explain?what=everything").await.code, 404);
    assert_eq!(stage.get("/explain").await.code, 303);
    for method in ["POST", "PUT", "DELETE"] {
        assert_eq!(stage.request(&format!("{method} /"), "Host: localhost\r\n", "").await.code, 405, "{method}");
    }
}

#[tokio::test]
async fn before_its_services_have_started_the_page_says_so() {
    let stage = Stage::starting(None, one_upstream()).await;
    let page = stage.get("/").await;
    assert!(page.code == 503 && page.body.contains("is starting"), "{}", page.body);
    assert_eq!(stage.get("/status.json").await.code, 503);
}

#[tokio::test]
async fn figures_that_name_an_upstream_are_for_whom_the_page_is_for() {
    let stage = Stage::with(Some(TOKEN), one_upstream()).await;
    assert_eq!(stage.get("/metrics/upstreams").await.code, 401);
    let figures = stage.get_with("/metrics/upstreams", &format!("Authorization: Bearer {TOKEN}")).await;
    assert!(figures.body.contains("grasp_sync_upstream_covered{upstream=\"wss://one.example/\"} 1\n"), "{}", figures.body);
}
