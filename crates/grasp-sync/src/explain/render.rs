//! An explanation as text: facts with their dates, and a reason behind every decision.

use std::fmt::Write;

use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use indicatif::{HumanBytes, HumanCount};
use model::{
    BatchShown, CoverageAt, EventExplained, Explained, Explanation, Faulty, Learned, Nip77, NotStated, Outcome, RelayUrl,
    RepoAddr, RepoAt, RepoExplained, Seen, Stated, Subject, Timestamp, UpstreamExplained, UpstreamStatus, Via,
};
use nostr::prelude::Kind;

use super::{Asked, live};
use crate::standing;

/// A text that grows by lines.
struct Page {
    text: String,
    now: Timestamp,
}

pub(super) fn text(asked: &Asked, explanation: &Explanation) -> String {
    let mut page = Page { text: String::new(), now: explanation.now };
    match &explanation.explained {
        Explained::Event(event) => page.event(asked, event),
        Explained::Repo(Some(repo)) => page.repo(repo),
        Explained::Upstream(Some(upstream)) => page.upstream(upstream),
        Explained::Repo(None) | Explained::Upstream(None) => page.nothing(asked),
    }
    page.text
}

impl Page {
    fn line(&mut self, text: &str) {
        // Writing into a string cannot fail.
        let _ = writeln!(self.text, "{text}");
    }

    fn fact(&mut self, name: &str, value: &str) {
        self.line(&format!("  {name:<14} {value}"));
    }

    fn fact_if(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = value {
            self.fact(name, &value);
        }
    }

    fn at(&self, moment: Timestamp) -> String {
        let (then, now) = (moment.as_secs(), self.now.as_secs());
        let distance = if then > now {
            format!("in {}", standing::span(then - now))
        } else {
            format!("{} ago", standing::span(now - then))
        };
        format!("{} ({distance})", date(moment))
    }

    fn nothing(&mut self, asked: &Asked) {
        match &asked.subject {
            Subject::Repo(addr) => {
                self.line(&format!("repository {addr}: nothing is known of it"));
                self.line(
                    "  Neither does home hold its announcement, nor does any root at home tag it. It would come with layer 1",
                );
                self.line("  of any upstream that serves its announcement, and only if home accepts that.");
            }
            Subject::Upstream(url) => {
                self.line(&format!("upstream {url}: nothing is known of it"));
                self.line("  It is not named by the operator, and no announcement at home lists it.");
            }
            Subject::Event(id) => self.line(&format!("event {id}: never seen")),
        }
        self.hints(&asked.hints);
    }

    fn hints(&mut self, hints: &[RelayUrl]) {
        if !hints.is_empty() {
            let urls: Vec<&str> = hints.iter().map(RelayUrl::as_str).collect();
            self.fact("hinted at", &urls.join(", "));
        }
    }

    fn event(&mut self, asked: &Asked, event: &EventExplained) {
        if !event.is_known() {
            return self.unseen(asked, event);
        }
        self.line(&format!("event {}", event.id));
        if let Some(seen) = &event.seen {
            self.seen(seen);
        }
        if let Some(waiting) = &event.waiting {
            let state = if waiting.is_released { "one has come: it is offered again" } else { "none has come yet" };
            self.fact("is kept", &format!("since {}; {state}", self.at(waiting.since)));
            for parent in &waiting.parents {
                self.fact("  waits for", parent);
            }
        }
        self.fact_if("announces", event.announces.as_ref().map(RepoAddr::to_string));
        if !event.coverage.is_empty() {
            self.line("what refers to it is covered at:");
            self.coverage(&event.coverage);
        }
    }

    fn seen(&mut self, seen: &Seen) {
        self.fact("kind", &format!("{}{}, dated {}", seen.kind.as_u16(), kind_name(seen.kind), date(seen.created_at)));
        let outcome = seen.outcome.map_or("forgotten", Outcome::as_str);
        self.fact("outcome", &format!("{outcome}, since {}: {}", self.at(seen.outcome_at), meaning(seen.outcome)));
        self.fact_if("reason", seen.reason.clone());
        let from = seen.first_upstream.as_ref().map_or("nobody remembers where", RelayUrl::as_str);
        let way = seen.via.map_or("", via);
        let when = seen.first_at.map_or_else(|| "before this was noted".to_owned(), |at| self.at(at));
        self.fact("came first", &format!("from {from}{way}, {when}"));
        self.fact_if("batch", seen.batch.as_ref().map(|batch| batch_line(batch, self.now)));
        for to in &seen.refs {
            self.fact("refers to", &format!("{} {}", to.tag.name(), to.value));
        }
    }

    fn unseen(&mut self, asked: &Asked, event: &EventExplained) {
        self.line(&format!("event {}: never seen", event.id));
        self.line(
            "  An id does not say what it belongs to. If it tags a repository or a root at home, it comes from an upstream",
        );
        self.line("  that this repository lists.");
        if event.expected_at.is_empty() {
            self.line("  Every upstream is read to the end: none of them serves it, or it tags nothing that home holds.");
        } else {
            self.line("  It may still come from these, which are not read to the end:");
            for upstream in &event.expected_at {
                self.standing(upstream);
            }
        }
        self.hints(&asked.hints);
    }

    fn standing(&mut self, upstream: &UpstreamStatus) {
        let missing = upstream.wanted + upstream.pending;
        let next = standing::next(upstream, self.now);
        let why = standing::why(upstream).map_or(String::new(), |why| format!(": {why}"));
        self.line(&format!(
            "  {}  {}; {} items missing; {next}{why}",
            upstream.url,
            standing::link(upstream),
            HumanCount(missing)
        ));
    }

    fn coverage(&mut self, coverage: &[CoverageAt]) {
        let mut table = Table::new();
        table.load_preset(UTF8_FULL_CONDENSED).set_header(["upstream", "role", "state", "since", "by", "batch"]);
        for one in coverage {
            let batch = one.batch.map_or(String::new(), |batch| batch.to_string());
            let method = one.method.clone().unwrap_or_default();
            table.add_row([
                one.upstream.to_string(),
                standing::role(one.role).to_owned(),
                one.state.as_str().to_owned(),
                self.at(one.since),
                method,
                batch,
            ]);
        }
        self.line(&table.trim_fmt());
    }

    fn repo(&mut self, repo: &RepoExplained) {
        self.line(&format!("repository {}", repo.addr));
        match repo.announcement {
            Some((event, at)) => self.fact("announced by", &format!("{event}, dated {}", date(at))),
            None => self.fact("announced by", "nothing that home holds: it is known only as what roots tag, or was deleted"),
        }
        self.fact_if(
            "deleted",
            repo.removed_until.map(|until| format!("by its author: versions up to {} are gone", date(until))),
        );
        for maintainer in &repo.maintainers {
            self.fact("maintainer", &maintainer.to_hex());
        }
        for author in &repo.also_announced_by {
            self.fact("announced too", &format!("by {}, under the same identifier", author.to_hex()));
        }
        for url in &repo.clone_urls {
            self.fact("git data at", url);
        }
        self.fact("roots", &HumanCount(repo.roots).to_string());
        if repo.roots_beyond > 0 {
            let many = HumanCount(repo.roots_beyond);
            self.fact(
                "  of which",
                &format!("{many} over the budget of their authors (roots_per_author): only what tags the repository comes"),
            );
        }
        if repo.waiting > 0 {
            self.fact("kept", &format!("{} events until it is announced", HumanCount(repo.waiting)));
        }
        for one in &repo.upstreams {
            self.repo_at(one);
        }
    }

    fn repo_at(&mut self, one: &RepoAt) {
        let upstream = &one.upstream;
        self.line(&format!("at {} ({}, {})", upstream.url, standing::role(upstream.role), standing::link(upstream)));
        if let Some(why) = &one.refused {
            return self.fact("refused", &format!("{why}: nothing is asked for there"));
        }
        match &one.repo {
            Some(repo) => {
                let by = repo.method.as_ref().map_or(String::new(), |method| format!(", by {method}"));
                let batch = repo.batch.map_or(String::new(), |batch| format!(", batch {batch}"));
                self.fact("repository", &format!("{} since {}{by}{batch}", repo.state.as_str(), self.at(repo.since)));
            }
            None => self.fact("repository", "no target there: home does not hold its announcement"),
        }
        let (wanted, pending, confirmed) = one.roots;
        self.fact("roots", &format!("{wanted} wanted, {pending} pending, {confirmed} confirmed"));
        self.fact_if("last trouble", upstream.incomplete.clone());
        self.fact("next", &standing::next(upstream, self.now));
        self.fact_if("  because", standing::why(upstream));
    }

    fn upstream(&mut self, told: &UpstreamExplained) {
        let status = &told.status;
        self.line(&format!("upstream {} ({})", status.url, standing::role(status.role)));
        self.fact("link", &standing::link(status));
        self.fact_if(
            "  since",
            told.up_since.filter(|_| matches!(status.link, model::LinkView::Up { .. })).map(|at| self.at(at)),
        );
        self.fact_if("  it said", told.last_detail.clone().filter(|words| !words.is_empty()));
        self.fact("next", &standing::next(status, self.now));
        self.fact_if("  because", standing::why(status));
        self.fact("items", &format!("{} wanted, {} pending, {} confirmed", status.wanted, status.pending, status.confirmed));
        self.fact("listed by", &format!("{} repositories", HumanCount(told.repos)));
        self.fact("epoch", &format!("{}, held by {}", told.epoch, told.owner.as_deref().unwrap_or("nobody")));
        self.fact_if("failing since", told.failing_since.map(|at| self.at(at)));
        if told.strikes > 0 {
            self.fact("strikes", &format!("{}: each ban for its conduct is longer than the one before", told.strikes));
        }
        self.fact_if("good up to", told.last_up.map(|at| format!("{}, when its last link ended", self.at(at))));
        self.fact_if("behind since", told.behind.map(|at| format!("{}: an event has no outcome yet", self.at(at))));
        if told.ask_failures > 0 {
            self.fact("incomplete", &format!("{} batches in a row: each waits longer than the one before", told.ask_failures));
        }
        self.fact_if("refresh", told.refresh_at.map(|at| self.at(at)));
        self.fact_if("empty since", told.empty_since.map(|at| self.at(at)));
        self.live(told);
        self.learned(&status.learned);
        self.batches(&told.batches);
    }

    fn live(&mut self, told: &UpstreamExplained) {
        let live = told.live;
        let (repos, roots) = live.chunks;
        self.fact(
            "live filters",
            &format!("{} needed: layer 1, {repos} chunks of repositories, {roots} of roots", live.filters),
        );
        if let Some(budget) = live.budget {
            self.fact("  allowed", &live::allowed(&budget));
            self.fact("  arranged", &live::arranged(budget.arranged));
        }
        if live.layout != live.layout_taken {
            self.fact("", "its chunks have changed: a rebuild is ordered until the session has taken it");
        }
    }

    fn learned(&mut self, learned: &Learned) {
        let Learned {
            nip77,
            hung_up,
            page_cap,
            ids_per_req,
            live_limit: _,
            live_limit_at,
            live_limit_by: _,
            refs_per_filter,
            excludes_until,
            ignores_limit_zero,
            stated,
            not_stated,
            faulty,
        } = learned;
        let verdict = match nip77 {
            Some(Nip77::Works { at }) => format!("works, seen {}", self.at(*at)),
            Some(Nip77::Refused { at, reason }) => {
                format!("refused, {}: {reason}; tried again at the next refresh", self.at(*at))
            }
            None => match hung_up {
                Some(at) => format!("the link ended over the first exchange, {}; tried once more", self.at(*at)),
                None => "not tried yet".to_owned(),
            },
        };
        self.fact("NIP-77", &verdict);
        self.fact_if("page cap", page_cap.map(|cap| format!("{cap} events, by what it left out")));
        self.fact_if("ids per REQ", ids_per_req.map(|ids| ids.to_string()));
        self.fact_if("live limit", live_limit_at.map(|at| format!("shown {}; tried again at the next refresh", self.at(at))));
        self.fact_if("refs a filter", refs_per_filter.map(|refs| format!("{refs}: it refused more")));
        if *excludes_until == Some(true) {
            self.fact("habit", "its `until` leaves out the second that it names, against NIP-01");
        }
        if *ignores_limit_zero == Some(true) {
            self.fact("habit", "`limit: 0` is no limit to it, against NIP-01");
        }
        if let Some(Faulty { at, forged, unreadable, astray }) = faulty {
            let what = format!("{forged} forged, {unreadable} unreadable, {astray} under a foreign id");
            self.fact("faults", &format!("{what}; read {}", self.at(*at)));
        }
        if let Some(stated) = stated {
            self.stated(stated);
        }
        if let Some(NotStated { at, why }) = not_stated {
            self.fact("NIP-11", &format!("asked for in vain {}: {why}", self.at(*at)));
        }
    }

    fn stated(&mut self, stated: &Stated) {
        let Stated {
            at,
            max_subscriptions,
            max_limit,
            max_message_length,
            oldest,
            newest,
            nips,
            grasps,
            software,
            max_content_length,
            itself,
            operator,
            terms: _,
        } = stated;
        self.fact("NIP-11", &format!("read {}", self.at(*at)));
        self.fact_if("  software", software.clone());
        self.fact_if("  limits", max_subscriptions.map(|n| format!("{n} subscriptions")));
        self.fact_if("  limits", max_limit.map(|n| format!("{n} events a filter")));
        self.fact_if("  limits", max_message_length.map(|n| format!("{n} bytes a message")));
        self.fact_if("  limits", max_content_length.map(|n| format!("{n} characters of content")));
        self.fact_if("  relay's key", itself.map(|key| key.to_hex()));
        self.fact_if("  operator", operator.map(|key| key.to_hex()));
        self.fact_if("  takes", oldest.map(|secs| format!("events up to {} old", standing::span(secs))));
        self.fact_if("  takes", newest.map(|secs| format!("events up to {} ahead", standing::span(secs))));
        let nips: Vec<String> = nips.iter().map(u16::to_string).collect();
        self.fact_if("  NIPs", (!nips.is_empty()).then(|| nips.join(", ")));
        self.fact_if("  GRASP", (!grasps.is_empty()).then(|| grasps.join(", ")));
    }

    fn batches(&mut self, batches: &[BatchShown]) {
        if !batches.is_empty() {
            self.line("batches, the newest first:");
        }
        for batch in batches {
            self.line(&format!("  {}", batch_line(batch, self.now)));
        }
    }
}

fn batch_line(batch: &BatchShown, now: Timestamp) -> String {
    let BatchShown { batch: id, method, items, state, why, started_at, ended_at, deadline, counts } = batch;
    let why = why.as_ref().map_or(String::new(), |why| format!(" ({why})"));
    let time = match ended_at {
        Some(ended) => format!("took {}", standing::span(ended.as_secs().saturating_sub(started_at.as_secs()))),
        None => format!(
            "without progress until {} s from now it goes back to wanted",
            deadline.as_secs().saturating_sub(now.as_secs())
        ),
    };
    let read =
        format!("{} events ({} new), {} rounds, {}", counts.events, counts.fresh, counts.rounds, HumanBytes(counts.bytes_in));
    format!("{id}: {items} items by {method}, {state}{why}; begun {}, {time}; {read}", date(*started_at))
}

fn date(moment: Timestamp) -> String {
    let moment = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(moment.as_secs().min(253_402_300_799)));
    moment.map_or_else(String::new, |moment| humantime::format_rfc3339_seconds(moment).to_string())
}

fn kind_name(kind: Kind) -> &'static str {
    match kind.as_u16() {
        30617 => " (announcement)",
        30618 => " (state)",
        1617 => " (patch)",
        1618 => " (pull request)",
        1619 => " (pull request update)",
        1621 => " (issue)",
        1630..=1633 => " (status)",
        1111 => " (comment)",
        5 => " (deletion)",
        _ => "",
    }
}

fn via(via: Via) -> &'static str {
    match via {
        Via::Live => ", on a live subscription",
        Via::Page => ", on a page of history (REQ)",
        Via::Negentropy => ", named by negentropy",
        Via::Kept => ", kept here and offered again",
    }
}

/// What an outcome means for whoever looks for the event at home.
fn meaning(outcome: Option<Outcome>) -> &'static str {
    match outcome {
        None => "it may come again, and is offered to home then",
        Some(Outcome::Stored | Outcome::Duplicate) => "home serves it",
        Some(Outcome::Superseded) => "home holds a newer version",
        Some(Outcome::Held) => {
            "home has it without serving it, until git data arrives; it is offered again a day after that word"
        }
        Some(Outcome::Refused) => "home refuses it for good",
        Some(Outcome::Declined) => "home does not want it as long as its policy, or ours, is what it is",
        Some(Outcome::NeedsParent) => "home refuses it until something that it depends on arrives",
        Some(Outcome::Gated(_)) => "a gate of ours keeps it from home",
    }
}
