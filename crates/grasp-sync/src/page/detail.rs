//! The page of one upstream, repository or event: where it stands at a glance, then all that `grasp-sync explain` says of it.
//! And the pages that say why there is none.

use indicatif::{HumanBytes, HumanCount};
use model::{
    BatchShown, CoverageAt, EventExplained, Explained, Explanation, Outcome, RepoExplained, Timestamp, UpstreamExplained,
};

use super::html::Html;
use super::overview::{BANNER, FOOT, HEAD, behind, capital, next, state, tile};
use crate::explain::{self, Asked};
use crate::overview;
use crate::standing;

pub(super) fn render(text: &str, asked: &Asked, explanation: &Explanation) -> String {
    let now = explanation.now;
    let mut html = Html::new();
    html.raw("<nav class=\"way\" aria-label=\"Where this is\"><a href=\"/\">Overview</a> <span aria-hidden=\"true\">/</span> ");
    match &explanation.explained {
        Explained::Upstream(Some(told)) => html.raw("Upstream</nav>").add(upstream(told, now)),
        Explained::Repo(Some(told)) => html.raw("Repository</nav>").add(repo(told, now)),
        Explained::Event(told) => html.raw("Event</nav>").add(event(told)),
        Explained::Upstream(None) | Explained::Repo(None) => html.raw("Not known</nav>").add(title(text)),
    };
    html.raw(
        "<section aria-labelledby=\"all\"><h2 id=\"all\">All that is known</h2><pre role=\"region\" tabindex=\"0\" aria-labelledby=\"all\">",
    );
    html.lines(&explain::words(asked, explanation)).raw("</pre></section>");
    html.done()
}

fn title(subject: &str) -> Html {
    let mut html = Html::new();
    html.raw("<h1 class=\"subject\">").strange(subject).raw("</h1>");
    html
}

fn upstream(told: &UpstreamExplained, now: Timestamp) -> Html {
    let status = &told.status;
    let mut html = title(status.url.as_str());
    html.raw("<p class=\"lead\" aria-live=\"polite\">").add(state(status)).raw("</p>");
    if let Some(why) = standing::why(status) {
        html.raw("<p>").strange(&capital(&why)).raw("</p>");
    }
    if let Some(advice) = overview::advice(status) {
        html.raw("<p class=\"advice\">").text(&capital(advice)).raw("</p>");
    }
    html.raw("<dl class=\"tiles\"><div><dt>Next</dt><dd class=\"value\">").add(next(status, now));
    html.raw("</dd><dd class=\"note\">").text(&format!("history by {}", overview::method(status))).raw("</dd></div>");
    let missing = status.wanted + status.pending;
    let items = format!("{} wanted, {} pending", HumanCount(status.wanted), HumanCount(status.pending));
    html.add(tile(
        "Confirmed",
        &HumanCount(status.confirmed).to_string(),
        if missing == 0 { "nothing is missing" } else { &items },
    ));
    html.raw("<div><dt>Behind</dt><dd class=\"value\">").add(behind(status, now)).raw("</dd><dd class=\"note\">");
    html.text(&format!("link {}; health {}", standing::link(status), overview::health(status))).raw("</dd></div>");
    let read = format!("{} new; {} read", HumanCount(status.counts.fresh), HumanBytes(status.counts.bytes_in));
    html.add(tile("Events", &HumanCount(status.counts.events).to_string(), &read)).raw("</dl>");
    html.add(batches(&told.batches));
    html
}

fn batches(batches: &[BatchShown]) -> Html {
    let mut html = Html::new();
    if batches.is_empty() {
        return html;
    }
    html.raw("<section aria-labelledby=\"batches\"><h2 id=\"batches\">Batches, the newest first</h2><div class=\"scroll\">");
    html.raw(
        "<table role=\"table\"><thead role=\"rowgroup\"><tr role=\"row\"><th role=\"columnheader\" scope=\"col\">Batch</th>",
    );
    html.raw("<th role=\"columnheader\" scope=\"col\">State</th><th role=\"columnheader\" scope=\"col\">By</th>");
    html.raw("<th role=\"columnheader\" scope=\"col\" class=\"figure\">Items</th><th role=\"columnheader\" scope=\"col\" class=\"figure\">Events</th>");
    html.raw("<th role=\"columnheader\" scope=\"col\" class=\"figure\">New</th></tr></thead><tbody role=\"rowgroup\">");
    for batch in batches {
        let why = batch.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
        html.raw("<tr role=\"row\"><th role=\"rowheader\" scope=\"row\">").text(&batch.batch.to_string()).raw("</th>");
        html.raw("<td role=\"cell\" data-name=\"State\">").strange(&format!("{}{why}", batch.state)).raw("</td>");
        html.raw("<td role=\"cell\" data-name=\"By\">").text(&batch.method).raw("</td>");
        for (name, figure) in [("Items", batch.items), ("Events", batch.counts.events), ("New", batch.counts.fresh)] {
            html.raw("<td role=\"cell\" class=\"figure\" data-name=\"")
                .raw(name)
                .raw("\">")
                .text(&HumanCount(figure).to_string())
                .raw("</td>");
        }
        html.raw("</tr>");
    }
    html.raw("</tbody></table></div></section>");
    html
}

fn repo(told: &RepoExplained, now: Timestamp) -> Html {
    let mut html = title(&told.addr.identifier);
    html.raw("<p class=\"lead\"><code>").strange(&told.addr.to_string()).raw("</code></p>");
    html.raw("<section aria-labelledby=\"where\"><h2 id=\"where\">Coverage</h2><div class=\"scroll\"><table role=\"table\">");
    html.raw("<thead role=\"rowgroup\"><tr role=\"row\"><th role=\"columnheader\" scope=\"col\">Upstream</th><th role=\"columnheader\" scope=\"col\">State</th>");
    html.raw("<th role=\"columnheader\" scope=\"col\">Repository</th><th role=\"columnheader\" scope=\"col\" class=\"figure\">Roots wanted</th>");
    html.raw("<th role=\"columnheader\" scope=\"col\" class=\"figure\">pending</th><th role=\"columnheader\" scope=\"col\" class=\"figure\">confirmed</th>");
    html.raw("<th role=\"columnheader\" scope=\"col\">Next</th></tr></thead><tbody role=\"rowgroup\">");
    for at in &told.upstreams {
        let url = at.upstream.url.as_str();
        html.raw("<tr role=\"row\" data-key=\"")
            .escaped(url)
            .raw("\"><th role=\"rowheader\" scope=\"row\">")
            .link(url)
            .raw("</th>");
        html.raw("<td role=\"cell\" data-name=\"State\">")
            .add(state(&at.upstream))
            .raw("</td><td role=\"cell\" data-name=\"Repository\">");
        match (&at.refused, &at.repo) {
            (Some(why), _) => html.raw("refused: ").strange(why),
            (None, Some(repo)) => html.raw(repo.state.as_str()),
            (None, None) => html.raw("no target"),
        };
        html.raw("</td>");
        let (wanted, pending, confirmed) = at.roots;
        for (name, figure) in [("Roots wanted", wanted), ("Roots pending", pending), ("Roots confirmed", confirmed)] {
            html.raw("<td role=\"cell\" class=\"figure\" data-name=\"")
                .raw(name)
                .raw("\">")
                .text(&HumanCount(figure).to_string())
                .raw("</td>");
        }
        html.raw("<td role=\"cell\" data-name=\"Next\">").add(next(&at.upstream, now)).raw("</td></tr>");
    }
    html.raw("</tbody></table></div></section>");
    html
}

fn event(told: &EventExplained) -> Html {
    let mut html = title(&told.id.to_hex());
    let outcome = match &told.seen {
        None if told.is_known() => "known, not seen itself",
        None => "never seen",
        Some(seen) => seen.outcome.map_or("forgotten", Outcome::as_str),
    };
    html.raw("<p class=\"lead\" aria-live=\"polite\">").text(&capital(outcome)).raw("</p>");
    if !told.coverage.is_empty() {
        html.raw(
            "<section aria-labelledby=\"where\"><h2 id=\"where\">What refers to it is covered at</h2><ul class=\"plain\">",
        );
        for CoverageAt { upstream, state, .. } in &told.coverage {
            html.raw("<li>").link(upstream.as_str()).raw(" ").raw(state.as_str()).raw("</li>");
        }
        html.raw("</ul></section>");
    }
    html
}

/// What was typed names nothing that can be explained.
pub(super) fn unreadable(text: &str) -> String {
    let mut html = title(text);
    html.raw(
        "<p>This names no upstream, no event and no repository. Give a relay URL, 64 hex digits, note1…, nevent1…, naddr1… ",
    );
    html.raw("or 30617:&lt;pubkey&gt;:&lt;identifier&gt;.</p>");
    html.done()
}

/// There are no figures.
pub(super) fn trouble(why: &str) -> String {
    let mut html = Html::new();
    html.raw("<section class=\"verdict down\" data-trouble><div aria-live=\"polite\"><h1><span class=\"shape\" aria-hidden=\"true\">○</span> No figures</h1><p>");
    html.text(&capital(why)).raw("</p></div></section>");
    html.done()
}

pub(super) fn not_found() -> String {
    let mut html = Html::new();
    html.raw(HEAD).raw("<title>Not found – grasp-sync</title>").raw(BANNER);
    html.raw("<main id=\"view\" tabindex=\"-1\"><h1>Nothing is here</h1><p><a href=\"/\">To the overview</a></p>").raw(FOOT);
    html.done()
}

/// Asks for the token.
pub(super) fn login(was_wrong: bool) -> String {
    let mut html = Html::new();
    html.raw(HEAD).raw("<title>grasp-sync</title>\n</head>\n<body>\n<main id=\"view\" class=\"login\"><h1>grasp-sync</h1>");
    if was_wrong {
        html.raw("<p role=\"alert\">That is not the token.</p>");
    }
    html.raw("<form method=\"post\" action=\"/login\"><label for=\"token\">Token</label>");
    html.raw("<input id=\"token\" name=\"token\" type=\"password\" autocomplete=\"current-password\" required autofocus>");
    html.raw(
        "<button>Show the page</button></form><p class=\"note\">It is the value of the setting <code>http_token</code>.</p>",
    );
    html.raw(FOOT);
    html.done()
}
