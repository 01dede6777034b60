//! The page's addresses, what each needs, and the headers that keep a browser from doing more with it than showing it.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, LOCATION, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use url::form_urlencoded;

use super::access::Judgement;
use super::looks::{Look, news};
use super::{Page, detail, overview, series};
use crate::status::Document;

/// Nothing from elsewhere, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
/// Letters of a login form, and of a question.
const LONGEST_FORM: usize = 4096;

const STYLE: &str = include_str!("assets/page.css");
const SCRIPT: &str = include_str!("assets/page.js");
const ICON: &str = include_str!("assets/icon.svg");

/// Everything that the page answers; the rest of the process' addresses are not its business.
pub(crate) fn routes(page: Page) -> Router {
    let shown = Router::new()
        .route("/", get(front))
        .route("/explain", get(explain))
        .route("/live", get(live))
        .route("/status.json", get(status))
        .route("/metrics/upstreams", get(upstreams))
        .route_layer(from_fn_with_state(page.clone(), admit));
    let open = Router::new()
        .route("/login", post(login))
        .route("/style.css", get(async || asset("text/css; charset=utf-8", STYLE)))
        .route("/script.js", get(async || asset("text/javascript; charset=utf-8", SCRIPT)))
        .route("/icon.svg", get(async || asset("image/svg+xml", ICON)))
        .fallback(async || html(StatusCode::NOT_FOUND, detail::not_found()));
    shown.merge(open).with_state(page).layer(from_fn(guarded))
}

/// Headers of every answer.
async fn guarded(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn admit(State(page): State<Page>, request: Request, next: Next) -> Response {
    let is_for_people = matches!(request.uri().path(), "/" | "/explain");
    match page.access().judge(request.headers(), request.uri().query().unwrap_or_default()) {
        Judgement::Welcome => next.run(request).await,
        Judgement::Cookie(cookie) => moved(&without_token(request.uri()), Some(&cookie)),
        Judgement::Stranger if is_for_people => {
            let page = html(StatusCode::UNAUTHORIZED, detail::login(false));
            ([(WWW_AUTHENTICATE, "Bearer")], page).into_response()
        }
        Judgement::Stranger => (
            StatusCode::UNAUTHORIZED,
            [(WWW_AUTHENTICATE, "Bearer")],
            "this needs the header Authorization: Bearer <http_token>\n",
        )
            .into_response(),
        Judgement::OtherHost => plain(
            StatusCode::MISDIRECTED_REQUEST,
            "this is served to this machine only, under localhost or an address of loopback; set http_token to serve it under \
             other names\n",
        ),
        Judgement::OtherSite => plain(StatusCode::FORBIDDEN, "this is not for pages of other sites\n"),
        Judgement::Off(why) => plain(StatusCode::NOT_FOUND, &format!("the page is off: {why}\n")),
    }
}

/// Where the browser goes on, so that the token stays in no history.
fn without_token(uri: &Uri) -> String {
    let rest = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).filter(|(name, _)| name != "token");
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(rest).finish();
    // Of our own addresses only: a path of a stranger's choice could lead elsewhere.
    let path = if uri.path() == "/explain" { "/explain" } else { "/" };
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

async fn login(State(page): State<Page>, request: Request) -> Response {
    let Ok(form) = to_bytes(request.into_body(), LONGEST_FORM).await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, "that is no token\n");
    };
    let typed = form_urlencoded::parse(&form).find(|(name, _)| name == "token").map(|(_, token)| token.trim().to_owned());
    match typed.and_then(|token| page.access().cookie_for(&token)) {
        Some(cookie) => moved("/", Some(&cookie)),
        None => html(StatusCode::UNAUTHORIZED, detail::login(true)),
    }
}

async fn front(State(page): State<Page>) -> Response {
    seen(&page, Look::Overview).await
}

async fn explain(State(page): State<Page>, uri: Uri) -> Response {
    match asked(&uri) {
        Some(what) => seen(&page, Look::Explain(what)).await,
        None => moved("/", None),
    }
}

/// What is asked about, if anything is.
fn asked(uri: &Uri) -> Option<String> {
    let query = uri.query().unwrap_or_default();
    let what =
        form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "what").map(|(_, what)| what.trim().to_owned());
    what.filter(|what| !what.is_empty() && what.len() <= LONGEST_FORM)
}

async fn seen(page: &Page, look: Look) -> Response {
    match page.see(&look).await {
        Ok(seen) => {
            let status = if seen.is_known { StatusCode::OK } else { StatusCode::NOT_FOUND };
            html(status, overview::document(&look, &seen.html))
        }
        Err(trouble) => {
            let body = overview::document(&look, &detail::trouble(&trouble.to_string()));
            html(StatusCode::SERVICE_UNAVAILABLE, body)
        }
    }
}

async fn live(State(page): State<Page>, uri: Uri) -> Response {
    let look = asked(&uri).map_or(Look::Overview, Look::Explain);
    match news(&page, look) {
        Some(news) => ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(news)).into_response(),
        None => {
            let busy = plain(StatusCode::SERVICE_UNAVAILABLE, "too many look already\n");
            ([(RETRY_AFTER, "30")], busy).into_response()
        }
    }
}

async fn status(State(page): State<Page>) -> Response {
    match page.status().await {
        Ok((status, now)) => {
            let written = serde_json::to_string(&Document::of(&status, now)).expect("figures and texts always serialise");
            ([(CONTENT_TYPE, "application/json")], written).into_response()
        }
        Err(trouble) => plain(StatusCode::SERVICE_UNAVAILABLE, &format!("{trouble}\n")),
    }
}

async fn upstreams(State(page): State<Page>) -> Response {
    match page.status().await {
        Ok((status, now)) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], series::text(&status, now)).into_response(),
        Err(trouble) => plain(StatusCode::SERVICE_UNAVAILABLE, &format!("{trouble}\n")),
    }
}

fn html(status: StatusCode, text: String) -> Response {
    (status, [(CONTENT_TYPE, HTML)], text).into_response()
}

fn plain(status: StatusCode, text: &str) -> Response {
    (status, [(CONTENT_TYPE, TEXT)], text.to_owned()).into_response()
}

/// They change with the program only; asking again costs little, and shows a new program at once.
fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], text).into_response()
}

fn moved(to: &str, cookie: Option<&str>) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let value = |text: &str| HeaderValue::from_str(text).expect("a path and a cookie of ours are letters of ASCII");
    response.headers_mut().insert(LOCATION, value(to));
    if let Some(cookie) = cookie {
        response.headers_mut().insert(SET_COOKIE, value(cookie));
    }
    response
}
