//! A relay's information document (NIP-11) over HTTP: one GET, on the same terms as a WebSocket, within bounds of size and
//! time. What it says is `engine::nip11`'s to read; nothing waits for it.

use std::sync::Arc;
use std::time::Duration;

use engine::nip11::{self, MOST_DOCUMENT_BYTES};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, DATE, HOST, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use model::{Assignment, Learned, RelayUrl, Role, Stated, Timestamp};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::dial::{DialError, Dialer};

/// From the first look-up to the last byte.
const WHOLE_LIMIT: Duration = Duration::from_secs(15);
/// The head of an answer, in bytes; hyper takes no less than 8 KiB.
const MOST_HEAD_BYTES: usize = 16 * 1024;
/// Documents asked for at the same time by one process: a start with a thousand upstreams is not to dial two thousand.
const AT_ONCE: usize = 8;

/// Facts about a relay that its link takes in when they come.
pub(crate) type News = watch::Receiver<Option<Learned>>;

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoDocument {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("HTTP {0}")]
    Status(StatusCode),
    #[error("it cannot be read, or has more than {} kB", MOST_DOCUMENT_BYTES / 1024)]
    Body,
    #[error(transparent)]
    NotADocument(#[from] nip11::NotADocument),
    #[error("it did not come within {} s", WHOLE_LIMIT.as_secs())]
    Timeout,
}

/// Asks for documents, a few at a time.
#[derive(Debug)]
pub(crate) struct Documents {
    dialer: Arc<Dialer>,
    places: Semaphore,
}

impl Documents {
    pub(crate) fn new(dialer: Arc<Dialer>) -> Self {
        Self { dialer, places: Semaphore::new(AT_ONCE) }
    }

    /// What there is to report of the document of `url`.
    pub(crate) async fn look(&self, url: &RelayUrl, role: Role) -> Learned {
        let _place = self.places.acquire().await.expect("the places are never closed");
        let read = timeout(WHOLE_LIMIT, fetch(&self.dialer, url, role)).await.unwrap_or(Err(NoDocument::Timeout));
        nip11::learned(read.map_err(|why| why.to_string()), Timestamp::now())
    }
}

/// Asks for the document of an upstream whose link has come up, if it is time for that. Ends with the handle.
pub(crate) fn ask_for(documents: &Arc<Documents>, assignment: &Assignment) -> (News, Option<AbortOnDropHandle<()>>) {
    let (say, news) = watch::channel(None);
    if !nip11::is_due(assignment.role, &assignment.learned, Timestamp::now()) {
        return (news, None);
    }
    let (documents, url, role) = (Arc::clone(documents), assignment.url.clone(), assignment.role);
    let asking = tokio::spawn(async move {
        say.send_replace(Some(documents.look(&url, role).await));
    });
    (news, Some(AbortOnDropHandle::new(asking)))
}

/// What a relay's web server answers.
#[derive(Debug)]
pub(crate) struct Answered {
    /// Its `Date` header.
    pub(crate) date: Option<String>,
    pub(crate) body: Result<Bytes, NoDocument>,
}

async fn fetch(dialer: &Dialer, url: &RelayUrl, role: Role) -> Result<Stated, NoDocument> {
    Ok(nip11::read(&get(dialer, url, role).await?.body?, Timestamp::now())?)
}

/// Asks once, within the time that a document may take.
pub(crate) async fn ask_once(dialer: &Dialer, url: &RelayUrl, role: Role) -> Result<Answered, NoDocument> {
    timeout(WHOLE_LIMIT, get(dialer, url, role)).await.unwrap_or(Err(NoDocument::Timeout))
}

async fn get(dialer: &Dialer, url: &RelayUrl, role: Role) -> Result<Answered, NoDocument> {
    let stream = TokioIo::new(dialer.connect(url, role).await?);
    let (mut sender, connection) = http1::Builder::new().max_buf_size(MOST_HEAD_BYTES).handshake(stream).await?;
    // It reads and writes; what is wrong with it comes out of the answer.
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let answer = sender.send_request(request(dialer, url)).await?;
    let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok()).map(str::to_owned);
    // A redirect is no answer: it may lead anywhere.
    let body = if answer.status() == StatusCode::OK { body(answer).await } else { Err(NoDocument::Status(answer.status())) };
    Ok(Answered { date, body })
}

async fn body(answer: Response<hyper::body::Incoming>) -> Result<Bytes, NoDocument> {
    let whole = Limited::new(answer.into_body(), MOST_DOCUMENT_BYTES).collect().await.map_err(|_| NoDocument::Body)?;
    Ok(whole.to_bytes())
}

fn request(dialer: &Dialer, url: &RelayUrl) -> Request<Empty<Bytes>> {
    let (_, rest) = url.as_str().split_once("://").expect("a normal form has a scheme");
    let (authority, path) = rest.split_once('/').expect("a normal form has a path");
    let request = Request::get(format!("/{path}"))
        .header(HOST, authority)
        .header(ACCEPT, "application/nostr+json")
        .header(USER_AGENT, dialer.user_agent());
    request.body(Empty::new()).expect("a normal form is made of what a request line and a header may hold")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::dial::Reach;

    fn documents() -> Documents {
        let reach = Reach {
            allow_non_public: vec!["127.0.0.0/8".parse().unwrap()],
            names: crate::names::Names::Nobody,
            onion_proxy: None,
        };
        Documents::new(Arc::new(Dialer::new(reach, Some("ops@sync.example"))))
    }

    /// A server that answers one request with these bytes, and the request.
    async fn serve(answer: Vec<u8>) -> (RelayUrl, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = RelayUrl::parse(&format!("ws://{}/inbox?a=1", listener.local_addr().unwrap())).unwrap();
        let serving = tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut heard = vec![0; 4096];
            let length = client.read(&mut heard).await.unwrap();
            // Who has read enough hangs up.
            let _ = client.write_all(&answer).await;
            String::from_utf8_lossy(&heard[..length]).into_owned()
        });
        (url, serving)
    }

    fn http(head: &str, body: &str) -> Vec<u8> {
        format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n{body}").into_bytes()
    }

    async fn look(answer: Vec<u8>) -> Learned {
        let (url, _serving) = serve(answer).await;
        documents().look(&url, Role::Listed).await
    }

    #[tokio::test]
    async fn a_document_is_asked_for_as_nip_11_says_and_read() {
        let (url, serving) = serve(http("200 OK", r#"{"limitation":{"max_limit":500}}"#)).await;
        let learned = documents().look(&url, Role::Listed).await;
        assert_eq!((learned.stated.unwrap().max_limit, learned.not_stated), (Some(500), None));
        let heard = serving.await.unwrap().to_lowercase();
        assert!(heard.starts_with("get /inbox?a=1 http/1.1\r\n"), "{heard}");
        let host = url.as_str().trim_start_matches("ws://").split('/').next().unwrap().to_owned();
        for header in [format!("host: {host}"), "accept: application/nostr+json".into(), "(ops@sync.example)".into()] {
            assert!(heard.contains(&header), "{header} in {heard}");
        }
    }

    #[tokio::test]
    async fn what_is_no_document_costs_a_dated_note() {
        let redirect = "302 Found\r\nLocation: http://127.0.0.1:1/";
        let endless = format!("200 OK\r\nX: {}", "x".repeat(100_000));
        let cases = [
            (http("404 Not Found", ""), "HTTP 404"),
            (http(redirect, ""), "HTTP 302"),
            (http("200 OK", "<!doctype html><p>hello</p>"), "no JSON object"),
            (http("200 OK", ""), "no JSON object"),
            (http("200 OK\r\nContent-Length: 10000000", &"x".repeat(10_000_000)), "more than 64 kB"),
            (http("200 OK", &" ".repeat(10_000_000)), "more than 64 kB"),
            (http("200 OK\r\nContent-Length: 100", "{"), "cannot be read"),
            (http(&endless, "{}"), "HTTP: "),
            (b"RTSP/1.0 nonsense\r\n\r\n".to_vec(), "HTTP: "),
            (Vec::new(), "HTTP: "),
        ];
        for (answer, expected) in cases {
            let learned = look(answer).await;
            let note = learned.not_stated.unwrap();
            assert!(note.why.contains(expected), "{note:?} should hold {expected}");
            assert!(learned.stated.is_none() && note.at.as_secs() > 0);
        }
    }

    #[tokio::test]
    async fn who_never_answers_is_left_after_a_while_and_an_address_out_of_reach_is_not_asked() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = RelayUrl::parse(&format!("ws://{}", listener.local_addr().unwrap())).unwrap();
        tokio::time::pause();
        let silent = documents().look(&url, Role::Listed).await;
        assert!(silent.not_stated.unwrap().why.contains("did not come"), "the time was over, not the connection");
        let away = documents().look(&RelayUrl::parse("ws://10.0.0.1").unwrap(), Role::Listed).await;
        assert!(away.not_stated.unwrap().why.contains("not dialed"));
    }
}
