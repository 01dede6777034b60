//! The first page, and what stands around every page: the five questions of an operator, answered from top to bottom.

use indicatif::{HumanBytes, HumanCount};
use model::{HomeWrites, LinkView, NextWhy, RelayUrl, Role, Status, Timestamp, UpstreamStatus};

use super::chart::{charts, permille};
use super::history::History;
use super::html::Html;
use super::looks::Look;
use crate::overview::{self, Overview, State, Verdict};
use crate::standing::{self, span};

/// Upstreams that are shown; thousands may be announced.
const ROWS: usize = 500;
/// Upstreams for which it is said what stands in the way.
const TROUBLES: usize = 50;

/// A whole page around its changing part.
pub(super) fn document(look: &Look, content: &str) -> String {
    let mut html = Html::new();
    html.raw(HEAD);
    match look {
        Look::Overview => html.raw("<title>grasp-sync</title>"),
        Look::Explain(what) => html.raw("<title>").text(what).raw(" – grasp-sync</title>"),
    };
    html.raw(BANNER).raw("<main id=\"view\" tabindex=\"-1\" data-live=\"/live");
    match look {
        Look::Overview => {}
        Look::Explain(what) => {
            let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("what", what).finish();
            html.raw("?").escaped(&query);
        }
    }
    html.raw("\">\n");
    let mut whole = html.done();
    whole.push_str(content);
    whole.push_str(FOOT);
    whole
}

pub(super) const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
    <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"robots\" content=\"noindex\">\n\
    <link rel=\"stylesheet\" href=\"/style.css\">\n<link rel=\"icon\" href=\"/icon.svg\" type=\"image/svg+xml\">\n";
pub(super) const BANNER: &str = "<script src=\"/script.js\" defer></script>\n</head>\n<body>\n\
    <a class=\"skip\" href=\"#view\">Skip to the content</a>\n<header class=\"bar\">\n\
    <a class=\"brand\" href=\"/\"><span class=\"mark\" aria-hidden=\"true\"></span>grasp-sync</a>\n\
    <form action=\"/explain\" role=\"search\"><label class=\"quiet\" for=\"what\">Explain</label>\
    <input id=\"what\" name=\"what\" type=\"search\" autocomplete=\"off\" spellcheck=\"false\" maxlength=\"2000\" \
    placeholder=\"relay, repository or event\"><button>Explain</button></form>\n\
    <p id=\"lamp\" class=\"lamp\" role=\"status\"><noscript>Reload to see news</noscript></p>\n</header>\n";
pub(super) const FOOT: &str = "\n</main>\n</body>\n</html>\n";

/// What differs where there is something new to see. A link that is live is good to a new moment at every look.
pub(super) fn key(status: &Status, history: &History, now: Timestamp) -> String {
    let still = |one: &UpstreamStatus| {
        let is_live = overview::behind(one, now) == overview::LIVE;
        let next = one.next.filter(|next| next.at > now || matches!(next.why, NextWhy::Dial));
        UpstreamStatus { good_to: one.good_to.filter(|_| !is_live), next, ..one.clone() }
    };
    let upstreams = status.upstreams.iter().map(still).collect();
    format!("{:?} {}", Status { upstreams, ..status.clone() }, history.key())
}

/// The changing part.
pub(super) fn render(status: &Status, home: Option<&RelayUrl>, history: &History, now: Timestamp) -> String {
    let overview = Overview::of(status, now);
    let mut html = Html::new();
    html.add(verdict(&overview, home, now)).add(tiles(status, &overview));
    html.raw("<section data-key=\"charts\" class=\"charts\" aria-label=\"The last hours\">")
        .add(charts(history))
        .raw("</section>\n");
    html.add(troubles(status)).add(upstreams(status, now));
    html.raw("<footer><p>Figures of ").add(time(now, now)).raw(". <a href=\"/status.json\">The same as JSON</a></p></footer>");
    html.done()
}

/// Is it complete, and how far behind? What is read aloud is said without the times, which change every second.
fn verdict(overview: &Overview, home: Option<&RelayUrl>, now: Timestamp) -> Html {
    let (class, shape) = match overview.verdict {
        Verdict::Complete => ("covered", State::Covered.shape()),
        Verdict::CompleteUpTo(_) => ("waiting", State::Waiting.shape()),
        Verdict::NotComplete => ("reading", State::Reading.shape()),
        Verdict::Nothing => ("new", State::New.shape()),
    };
    let mut html = Html::new();
    html.raw("<section class=\"verdict ").raw(class).raw("\"><div><h1><span class=\"shape\" aria-hidden=\"true\">");
    html.text(&shape.to_string()).raw("</span> ");
    match overview.verdict {
        Verdict::CompleteUpTo(at) => html.raw("Complete up to ").add(time(at, now)),
        verdict @ (Verdict::Nothing | Verdict::NotComplete | Verdict::Complete) => {
            html.text(&capital(&overview::words(verdict, now)))
        }
    };
    html.raw("</h1><p>").add(sentence(overview, now)).raw("</p>").add(read_aloud(overview)).raw("</div>");
    if let Some(home) = home {
        html.raw("<p class=\"home\">Home is ").link(home.as_str()).raw("</p>");
    }
    html.raw("</section>\n");
    html
}

fn sentence(overview: &Overview, now: Timestamp) -> Html {
    let Overview { verdict, covered, upstreams, behind_secs, .. } = overview;
    let mut html = Html::new();
    if *verdict == Verdict::Nothing {
        html.raw("Home holds no announcement that names another relay yet.");
        return html;
    }
    html.text(&format!("{covered} of {upstreams} upstreams covered; "));
    match behind_secs {
        None => html.raw("not every one has been read yet."),
        Some(0..2) => html.raw("nothing is behind."),
        Some(secs) => html.raw("at most ").add(lag(now - *secs, now)).raw(" behind."),
    };
    html
}

fn read_aloud(overview: &Overview) -> Html {
    let Overview { verdict, covered, upstreams, .. } = overview;
    let verdict = match verdict {
        Verdict::Nothing => "Nothing to cover",
        Verdict::NotComplete => "Not complete",
        Verdict::CompleteUpTo(_) => "Complete up to when a link was lost",
        Verdict::Complete => "Complete",
    };
    let mut html = Html::new();
    html.raw("<span class=\"quiet\" aria-live=\"polite\">").raw(verdict);
    html.text(&format!(": {covered} of {upstreams} upstreams covered")).raw("</span>");
    html
}

fn tiles(status: &Status, overview: &Overview) -> Html {
    let count = |n: u64| HumanCount(n).to_string();
    let mut html = Html::new();
    html.raw("<dl class=\"tiles\">");
    let missing = overview.wanted + overview.pending;
    let share = permille(overview.confirmed_permille());
    let items = format!(
        "{} wanted, {} pending, {} confirmed",
        count(overview.wanted),
        count(overview.pending),
        count(overview.confirmed)
    );
    html.add(tile("Confirmed", &if overview.items() == 0 { "–".to_owned() } else { format!("{share} %") }, &items));
    let rest = match missing {
        0 => "nothing is missing".to_owned(),
        1 => "1 item is missing".to_owned(),
        _ => format!("{} items are missing", count(missing)),
    };
    html.add(tile("At home", &count(status.at_home), &format!("events; {rest}")));
    html.add(tile("Repositories", &count(status.repos), &format!("with {} roots", count(status.roots))));
    html.add(writes(status.writes)).raw("</dl>\n");
    html
}

fn writes(writes: HomeWrites) -> Html {
    let HomeWrites { waiting, per_minute, is_limited } = writes;
    let left = match writes.left_secs() {
        _ if waiting == 0 => "nothing waits".to_owned(),
        Some(secs) => format!("about {} for these", span(secs)),
        None => "nothing has moved for a minute".to_owned(),
    };
    let limit = if is_limited { "; home limits its rate" } else { "" };
    tile("Waiting for home", &HumanCount(waiting).to_string(), &format!("{left}; {} a minute{limit}", HumanCount(per_minute)))
}

pub(super) fn tile(name: &'static str, value: &str, note: &str) -> Html {
    let mut html = Html::new();
    html.raw("<div><dt>").raw(name).raw("</dt><dd class=\"value\">").text(value).raw("</dd><dd class=\"note\">").text(note);
    html.raw("</dd></div>");
    html
}

/// Why not that one, and what can be done about it.
fn troubles(status: &Status) -> Html {
    let is_told = |one: &&UpstreamStatus| matches!(State::of(one), State::Waiting | State::Down | State::Refused);
    let told: Vec<&UpstreamStatus> = overview::in_order(status).into_iter().filter(is_told).collect();
    let on_writes = overview::advice_on_writes(status.writes);
    let mut html = Html::new();
    if told.is_empty() && on_writes.is_none() {
        return html;
    }
    html.raw("<section data-key=\"troubles\" class=\"troubles\" aria-labelledby=\"why\"><h2 id=\"why\">What stands in the way</h2><ul>");
    if let Some(advice) = on_writes {
        html.raw("<li><strong>Writes to home</strong><p class=\"advice\">").text(&capital(advice)).raw("</p></li>");
    }
    for one in told.iter().take(TROUBLES) {
        html.raw("<li data-key=\"").escaped(one.url.as_str()).raw("\">").link(one.url.as_str()).raw(" ").add(state(one));
        if let Some(why) = standing::why(one) {
            html.raw("<p>").strange(&capital(&why)).raw("</p>");
        }
        if let Some(advice) = overview::advice(one) {
            html.raw("<p class=\"advice\">").text(&capital(advice)).raw("</p>");
        }
        html.raw("</li>");
    }
    html.raw("</ul>").add(more(told.len(), TROUBLES)).raw("</section>\n");
    html
}

fn more(of: usize, shown: usize) -> Html {
    let mut html = Html::new();
    if of > shown {
        html.raw("<p class=\"more\">")
            .text(&format!("{} more are in ", of - shown))
            .raw("<a href=\"/status.json\">status.json</a></p>");
    }
    html
}

/// What is it doing? Columns have their names in each cell too, for screens on which a row is a card.
fn upstreams(status: &Status, now: Timestamp) -> Html {
    let mut html = Html::new();
    html.raw("<section data-key=\"upstreams\" aria-labelledby=\"upstreams\"><h2 id=\"upstreams\">Upstreams</h2><div class=\"scroll\"><table role=\"table\">");
    html.raw("<thead role=\"rowgroup\"><tr role=\"row\">");
    for name in ["Upstream", "State", "By", "Next", "Wanted", "Pending", "Confirmed", "Behind", "Events", "Read", "Health"] {
        let class = if FIGURES.contains(&name) { " class=\"figure\"" } else { "" };
        html.raw("<th role=\"columnheader\" scope=\"col\"").raw(class).raw(">").raw(name).raw("</th>");
    }
    html.raw("</tr></thead><tbody role=\"rowgroup\">");
    for one in overview::in_order(status).into_iter().take(ROWS) {
        html.add(row(one, now));
    }
    html.raw("</tbody></table></div>").add(more(status.upstreams.len(), ROWS)).raw("</section>\n");
    html
}

const FIGURES: [&str; 5] = ["Wanted", "Pending", "Confirmed", "Events", "Read"];

fn row(one: &UpstreamStatus, now: Timestamp) -> Html {
    let count = |n: u64| HumanCount(n).to_string();
    let mut html = Html::new();
    html.raw("<tr role=\"row\" data-key=\"").escaped(one.url.as_str()).raw("\"><th role=\"rowheader\" scope=\"row\">");
    html.link(one.url.as_str()).add(role(one.role)).raw("</th>");
    html.raw("<td role=\"cell\" data-name=\"State\">").add(state(one)).raw("</td>");
    html.raw("<td role=\"cell\" data-name=\"By\">").raw(overview::method(one)).raw("</td>");
    html.raw("<td role=\"cell\" data-name=\"Next\">").add(next(one, now)).raw("</td>");
    for (name, figure) in [("Wanted", count(one.wanted)), ("Pending", count(one.pending)), ("Confirmed", count(one.confirmed))]
    {
        html.add(figure_cell(name, &figure));
    }
    html.raw("<td role=\"cell\" data-name=\"Behind\">").add(behind(one, now)).raw("</td>");
    html.add(figure_cell("Events", &count(one.counts.events)));
    html.add(figure_cell("Read", &HumanBytes(one.counts.bytes_in).to_string()));
    html.raw("<td role=\"cell\" data-name=\"Health\">").text(&overview::health(one)).raw("</td></tr>\n");
    html
}

fn figure_cell(name: &'static str, figure: &str) -> Html {
    let mut html = Html::new();
    html.raw("<td role=\"cell\" class=\"figure\" data-name=\"").raw(name).raw("\">").text(figure).raw("</td>");
    html
}

fn role(role: Role) -> Html {
    let mut html = Html::new();
    match role {
        Role::Listed => {}
        role @ (Role::Home | Role::Bootstrap) => {
            html.raw(" <span class=\"role\">").raw(role.as_str()).raw("</span>");
        }
    }
    html
}

/// Shape, word and colour, so that none of them is needed.
pub(super) fn state(one: &UpstreamStatus) -> Html {
    let state = State::of(one);
    let mut html = Html::new();
    html.raw("<span class=\"state ").raw(state.as_str()).raw("\"><span class=\"shape\" aria-hidden=\"true\">");
    html.text(&state.shape().to_string()).raw("</span> ").raw(state.as_str()).raw("</span>");
    html
}

/// What is tried next, counted down by the browser.
pub(super) fn next(one: &UpstreamStatus, now: Timestamp) -> Html {
    let mut html = Html::new();
    match (one.next, one.link) {
        (None, _) => html.text(&standing::next(one, now)),
        (Some(next), LinkView::Up { .. } | LinkView::Down { .. }) if next.at <= now => html.raw(next.why.as_str()).raw(" now"),
        (Some(next), _) => html.raw(next.why.as_str()).raw(" ").add(time(next.at, now)),
    };
    html
}

/// A moment as a distance from now.
pub(super) fn time(at: Timestamp, now: Timestamp) -> Html {
    let (then, since) = (at.as_secs(), now.as_secs());
    let distance = if then > since { format!("in {}", span(then - since)) } else { format!("{} ago", span(since - then)) };
    let mut html = Html::new();
    html.raw("<time data-at=\"")
        .text(&then.to_string())
        .raw("\" data-now=\"")
        .text(&since.to_string())
        .raw("\">")
        .text(&distance);
    html.raw("</time>");
    html
}

/// How far an upstream is behind, counted up by the browser.
pub(super) fn behind(one: &UpstreamStatus, now: Timestamp) -> Html {
    let words = overview::behind(one, now);
    match one.good_to {
        Some(at) if !words.is_empty() && words != overview::LIVE => lag(at, now),
        Some(_) | None => {
            let mut html = Html::new();
            html.text(&words);
            html
        }
    }
}

/// The time that has gone by since a moment.
fn lag(at: Timestamp, now: Timestamp) -> Html {
    let mut html = Html::new();
    html.raw("<time data-since=\"")
        .text(&at.as_secs().to_string())
        .raw("\">")
        .text(&span(overview::since(at, now)))
        .raw("</time>");
    html
}

pub(super) fn capital(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
