//! The report for a person: the answer, a line for each repository, a block for each pair with gaps. Plain text, no colours.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use indicatif::HumanCount;
use model::{EventId, RelayUrl, RepoAddr};
use nostr::nips::nip19::{Nip19Event, ToBech32};

use super::judge::Reason;
use super::report::{Gap, Named, Open, RepoFacts, Report, UpstreamFacts, Verdict};

const HEADER: [&str; 5] = ["repository", "upstreams judged", "missing", "lacking for a reason", ""];
/// The columns with figures.
const FIGURES: [usize; 3] = [1, 2, 3];
/// Events that are named of each reason.
const NAMED: usize = 3;
/// Where their names begin.
const INDENT: usize = 24;
/// Signs of an identifier that are shown.
const LONGEST: usize = 40;

pub(super) fn text(report: &Report) -> String {
    let mut text = format!("{}\n{}\n", summary(report), table(&report.repositories));
    for ((upstream, repository), gaps) in &by_pair(&report.gaps) {
        text += &block(repository.as_ref(), upstream, gaps);
    }
    let lines = open(&report.open).into_iter().chain(left_out(&report.upstreams)).chain(home(report));
    lines.for_each(|line| text += &format!("{line}\n"));
    text
}

/// The line that answers the question.
fn summary(report: &Report) -> String {
    let count = |count: usize| HumanCount(count as u64).to_string();
    let asked = report.upstreams.iter().filter(|one| one.left_out.is_none());
    let judged = asked.clone().filter(|one| one.is_judged).count();
    let verdict = match report.verdict {
        Verdict::Complete => "complete: nothing is missing".to_owned(),
        Verdict::Missing => format!("incomplete: {} events are missing", count(report.missing)),
        Verdict::NotJudged => "not judged: nothing is known to be missing, and not everything was read".to_owned(),
    };
    format!(
        "{verdict}; {} with {} events in {} repositories, compared with {} of {} upstreams",
        report.home.url,
        count(report.home.events),
        count(report.home.repositories),
        count(judged),
        count(asked.count())
    )
}

/// What needs to be looked at comes first.
fn table(repositories: &[RepoFacts]) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(HEADER);
    let mut repositories: Vec<&RepoFacts> = repositories.iter().collect();
    repositories.sort_by_key(|repo| (Reverse(repo.missing), Reverse(repo.upstreams - repo.judged), &repo.address));
    for repo in repositories {
        let count = |count: usize| HumanCount(count as u64).to_string();
        let note = if repo.private { "private: asked of private peers only" } else { "" };
        table.add_row([
            short(&repo.address),
            format!("{} of {}", count(repo.judged), count(repo.upstreams)),
            count(repo.missing),
            count(repo.explained),
            note.to_owned(),
        ]);
    }
    for column in FIGURES {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// The identifier, which is a stranger's text, and the beginning of the key.
fn short(address: &RepoAddr) -> String {
    let (key, all) = (address.pubkey.to_hex(), plain(&address.identifier));
    let shown: String = match all.chars().count() {
        0 => "(no name)".to_owned(),
        1..=LONGEST => all,
        _ => all.chars().take(LONGEST - 1).chain(['…']).collect(),
    };
    format!("{shown} ({}…)", key.get(..8).unwrap_or_default())
}

/// Without signs that would write over the terminal.
fn plain(text: &str) -> String {
    text.chars().map(|sign| if sign.is_control() { '\u{fffd}' } else { sign }).collect()
}

type Pair<'a> = (&'a RelayUrl, Option<RepoAddr>);

fn by_pair(gaps: &[Gap]) -> BTreeMap<Pair<'_>, Vec<&Gap>> {
    let mut pairs: BTreeMap<Pair<'_>, Vec<&Gap>> = BTreeMap::new();
    for gap in gaps {
        pairs.entry((&gap.upstream, gap.repository.clone())).or_default().push(gap);
    }
    pairs
}

fn block(repository: Option<&RepoAddr>, upstream: &RelayUrl, gaps: &[&Gap]) -> String {
    let of = repository.map_or_else(|| "beside these repositories".to_owned(), |address| plain(&address.to_string()));
    let mut block = format!("\n{of}\nat {upstream}\n");
    let indent = " ".repeat(INDENT);
    for gap in gaps {
        let mut names: Vec<String> = gap.events.iter().take(NAMED).map(name).collect();
        names.extend((gap.events.len() > NAMED).then(|| "…".to_owned()));
        block += &format!("  {:<13} {:>6}  {}\n", gap.reason.as_str(), gap.events.len(), names.join(&format!("\n{indent}")));
        block += &words(gap.reason).map_or_else(String::new, |words| {
            format!(
                "{indent}{words}
"
            )
        });
    }
    block
}

fn name(named: &Named) -> String {
    let kind = named.kind.map_or_else(|| "kind not known".to_owned(), |kind| format!("kind {kind}"));
    let nevent = EventId::from_hex(&named.id).ok().and_then(|id| Nip19Event::new(id).to_bech32().ok());
    format!("{} ({kind})", nevent.unwrap_or_else(|| named.id.clone()))
}

/// Where one word is not enough.
fn words(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::NotForHome => {
            Some("announced without naming home in clone and relays, by nobody whom home's announcements name")
        }
        Reason::NotServed => Some("the upstream names these ids in an exchange and does not serve them"),
        Reason::Forged => Some("id or signature is not that of the content"),
        Reason::Missing
        | Reason::Superseded
        | Reason::Deleted
        | Reason::Vanished
        | Reason::Expired
        | Reason::Expiring
        | Reason::Ephemeral
        | Reason::Protected
        | Reason::Private
        | Reason::Future
        | Reason::TooOld
        | Reason::TooLarge
        | Reason::Blocked => None,
    }
}

/// A line for each reason for which something of an upstream is not known.
fn open(open: &[Open]) -> Vec<String> {
    let mut by_reason: BTreeMap<(&RelayUrl, &str), usize> = BTreeMap::new();
    for one in open {
        *by_reason.entry((&one.upstream, &one.why)).or_default() += usize::from(one.repository.is_some());
    }
    let line = |((url, why), repositories): ((&RelayUrl, &str), usize)| match repositories {
        0 => format!("\nnot judged: {url}: {}", plain(why)),
        count => format!("\nnot judged: {url}, {} repositories: {}", HumanCount(count as u64), plain(why)),
    };
    by_reason.into_iter().map(line).collect()
}

fn left_out(upstreams: &[UpstreamFacts]) -> Vec<String> {
    let line = |one: &UpstreamFacts| one.left_out.as_ref().map(|why| format!("\nleft out: {}: {}", one.url, plain(why)));
    upstreams.iter().filter_map(line).collect()
}

fn home(report: &Report) -> Vec<String> {
    let after_all = (report.home.held_after_all > 0).then(|| {
        format!("\nhome holds {} more events than its filters showed: it was asked by id", report.home.held_after_all)
    });
    let waiting = report.home.may_wait_for_git;
    let waiting = (waiting > 0).then(|| {
        format!(
            "\n{waiting} of the missing events may wait at home for their git data, as GRASP-01 has it: nobody can see that"
        )
    });
    let open =
        report.home.open.iter().map(|why| format!("\nhome was not read to the end, and asked by id instead: {}", plain(why)));
    after_all.into_iter().chain(waiting).chain(open).collect()
}

#[cfg(test)]
mod tests;
