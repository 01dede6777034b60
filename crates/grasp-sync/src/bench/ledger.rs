//! The ledger as it grows tenfold and tenfold again: rows written a second by the reports of several upstreams, and how long the set
//! of a hundred references takes to be read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{
    BatchCounts, BatchId, Epoch, EventId, Filter, Kind, LedgerRow, LedgerScope, Outcome, PublicKey, Ref, RefTag, Report, Said,
    StateError, Timestamp, UpstreamId, Via,
};
use nostr::prelude::SingleLetterTag;
use sha2::{Digest, Sha256};
use state::Store;
use tokio::task::JoinSet;

use super::figures::{Figure, figure, median};
use super::filled::{self, Filled, Held};
use super::history::millis;
use super::{BenchError, Measured, process};
use crate::cli::LedgerArgs;

/// The lanes of the state service.
const WRITERS: usize = 4;
/// Rows of one report, as sessions send them.
const ROWS_PER_REPORT: usize = 500;
/// Rows that are made before they are written, so that making them is not measured.
const ROWS_AT_ONCE: usize = WRITERS * ROWS_PER_REPORT * 5;
/// A hundred repositories are written side by side, as a filter of a hundred brings them. Each has ten issues, and nine comments on
/// each issue.
const REPOS_PER_FILTER: usize = 100;
const ROOTS_PER_REPO: usize = 10;
const EVENTS_PER_REPO: usize = 100;
const EVENTS_PER_FILTER: usize = REPOS_PER_FILTER * EVENTS_PER_REPO;
/// References of a set.
const REFS: usize = 100;
/// Comments on a hundred issues, and on a hundred repositories.
const ON_ROOTS: usize = 900;
const ON_REPOS: usize = 9_000;
/// Each read is of another set.
const READS: usize = 15;
/// Ids that are looked up at once, as a micro-batch of a session has them.
const IDS: usize = 128;
/// Five years of history (seconds).
const BEGAN: u64 = 1_600_000_000;
const SPAN: u64 = 5 * 365 * 24 * 3600;

pub(super) fn of(args: &LedgerArgs) -> String {
    let store = filled::words(args.store.as_ref());
    format!("up to {} events in {store}, {WRITERS} upstreams that report {ROWS_PER_REPORT} at once", args.events)
}

pub(super) async fn once(args: &LedgerArgs) -> Result<Measured, BenchError> {
    let bootstrap: Vec<_> = (0..WRITERS).map(|number| filled::relay(&format!("upstream{number}"))).collect();
    let filled = Filled::open(args.store.as_ref(), &bootstrap).await?;
    let mut links = Vec::new();
    for Held { upstream, epoch, .. } in filled.hold_all().await? {
        links.push(Link { upstream, epoch: filled.store.up(upstream, epoch).await?.epoch, sequence: 0 });
    }
    let (mut run, mut written, mut is_exact) = (Vec::new(), 0, true);
    for size in sizes(args.events) {
        let (took, used) = write(&filled.store, &mut links, written..size).await?;
        let rows = (size - written) as f64;
        run.push(figure(format!("written up to {size}"), "events/s", rows / took.as_secs_f64()));
        run.push(figure(format!("processor per event up to {size}"), "µs", used.as_secs_f64() * 1e6 / rows));
        written = size;
        let (figures, is_whole) = read(&*filled.store, size).await?;
        run.extend(figures);
        is_exact &= is_whole;
    }
    let rows: Vec<LedgerRow> = (0..ROWS_AT_ONCE * 5).map(|number| row(number, links[0].upstream)).collect();
    let plain = filled.plain(&rows, ROWS_PER_REPORT).await?;
    run.push(figure("limit: the same rows without an index, one writer", "events/s", rows.len() as f64 / plain.as_secs_f64()));
    Ok(Measured { run, is_exact })
}

/// Up to three, each ten times the one before; whole filters.
fn sizes(events: usize) -> Vec<usize> {
    let whole = |events: usize| events.div_ceil(EVENTS_PER_FILTER).max(1) * EVENTS_PER_FILTER;
    let mut sizes: Vec<usize> = [100, 10, 1].into_iter().map(|part| whole(events / part)).collect();
    sizes.dedup();
    sizes
}

#[derive(Debug, Clone)]
struct Link {
    upstream: UpstreamId,
    epoch: Epoch,
    sequence: u64,
}

/// Time, and processor time of this process.
async fn write(
    store: &Arc<dyn Store>,
    links: &mut [Link],
    events: std::ops::Range<usize>,
) -> Result<(Duration, Duration), BenchError> {
    let (mut took, mut used) = (Duration::ZERO, Duration::ZERO);
    for begin in events.clone().step_by(ROWS_AT_ONCE) {
        let block = begin..(begin + ROWS_AT_ONCE).min(events.end);
        let share = block.len().div_ceil(links.len().min(WRITERS));
        let mut writing = JoinSet::new();
        let shares = block.clone().step_by(share).map(|from| from..(from + share).min(block.end));
        let reports: Vec<Vec<Report>> = links.iter_mut().zip(shares).map(|(link, share)| reports(link, share)).collect();
        let (began, before) = (Instant::now(), process::processor_time()?);
        for reports in reports {
            writing.spawn(take_all(Arc::clone(store), reports));
        }
        while let Some(done) = writing.join_next().await {
            done??;
        }
        took += began.elapsed();
        used += process::processor_time()? - before;
    }
    Ok((took, used))
}

async fn take_all(store: Arc<dyn Store>, reports: Vec<Report>) -> Result<(), StateError> {
    for report in reports {
        store.report(&report).await?;
    }
    Ok(())
}

fn reports(link: &mut Link, events: std::ops::Range<usize>) -> Vec<Report> {
    let rows: Vec<LedgerRow> = events.map(|number| row(number, link.upstream)).collect();
    let report = |rows: &[LedgerRow]| {
        link.sequence += 1;
        let counts = BatchCounts { events: rows.len() as u64, ..BatchCounts::default() };
        let said = Said::Progress { batches: Vec::new(), rows: rows.to_vec(), counts };
        Report { upstream: link.upstream, epoch: link.epoch, sequence: link.sequence, said }
    };
    rows.chunks(ROWS_PER_REPORT).map(report).collect()
}

/// The event of this number: who it is by and what it names follow from that.
fn row(number: usize, upstream: UpstreamId) -> LedgerRow {
    let (filter, within) = (number / EVENTS_PER_FILTER, number % EVENTS_PER_FILTER);
    let (repo, turn) = (filter * REPOS_PER_FILTER + within % REPOS_PER_FILTER, within / REPOS_PER_FILTER);
    let author = Ref { tag: RefTag::Author, value: hex("author", repo * 7 + turn % 20) };
    let mut refs = vec![author];
    let kind = if turn < ROOTS_PER_REPO {
        refs.push(Ref { tag: RefTag::Address, value: address(repo) });
        1621
    } else {
        let root = id(root(repo, turn % ROOTS_PER_REPO)).to_hex();
        refs.push(Ref { tag: RefTag::RootAddress, value: address(repo) });
        refs.extend([RefTag::RootEvent, RefTag::Event].map(|tag| Ref { tag, value: root.clone() }));
        1111
    };
    LedgerRow {
        id: id(number),
        // Scattered: repositories are of all times.
        created_at: Timestamp::from_secs(BEGAN + number as u64 * 7_919 % SPAN),
        kind: Kind::from_u16(kind),
        refs,
        outcome: Outcome::Stored,
        reason: None,
        upstream,
        batch: Some(BatchId(filter as i64 + 1)),
        via: Some(Via::Negentropy),
    }
}

/// The number of the event that is this issue of a repository.
fn root(repo: usize, nth: usize) -> usize {
    repo / REPOS_PER_FILTER * EVENTS_PER_FILTER + nth * REPOS_PER_FILTER + repo % REPOS_PER_FILTER
}

fn id(number: usize) -> EventId {
    EventId::from_byte_array(digest("event", number))
}

/// As a repository has one.
fn address(repo: usize) -> String {
    format!("30617:{}:repo-{repo}", hex("author", repo * 7))
}

fn hex(what: &str, number: usize) -> String {
    PublicKey::from_byte_array(digest(what, number)).to_hex()
}

fn digest(what: &str, number: usize) -> [u8; 32] {
    Sha256::digest(format!("{what} {number}")).into()
}

/// Of a store with `size` events; and whether everything was found.
async fn read(store: &dyn Store, size: usize) -> Result<(Vec<Figure>, bool), BenchError> {
    let filters = size / EVENTS_PER_FILTER;
    let (mut of_roots, mut of_repos, mut known) = (Vec::new(), Vec::new(), Vec::new());
    let mut is_whole = true;
    for nth in 0..READS {
        let filter = nth * 31 % filters;
        let repos: Vec<usize> = (0..REFS).map(|repo| filter * REPOS_PER_FILTER + repo).collect();
        let roots = repos[..].iter().skip(nth * 10 % 90).take(REFS / ROOTS_PER_REPO);
        let roots: Vec<String> =
            roots.flat_map(|repo| (0..ROOTS_PER_REPO).map(|root_| id(root(*repo, root_)).to_hex())).collect();
        let (took, found) = set(store, SingleLetterTag::UPPERCASE_E, roots).await?;
        of_roots.push(millis(took));
        is_whole &= found == ON_ROOTS;
        let repos = repos.iter().map(|repo| address(*repo)).collect();
        let (took, found) = set(store, SingleLetterTag::UPPERCASE_A, repos).await?;
        of_repos.push(millis(took));
        is_whole &= found == ON_REPOS;
        let ids: Vec<EventId> = (0..IDS).map(|one| id((nth * 7_907 + one * 104_729) % size)).collect();
        let began = Instant::now();
        is_whole &= store.known(&ids).await?.len() == IDS;
        known.push(millis(began.elapsed()));
    }
    let named = |what: &str| format!("{what} of {size}");
    let figures = vec![
        figure(named("set of 100 roots, 900 events,"), "ms", median(&of_roots)),
        figure(named("set of 100 repositories, 9,000 events,"), "ms", median(&of_repos)),
        figure(named("128 ids looked up, out"), "ms", median(&known)),
    ];
    Ok((figures, is_whole))
}

/// All pages of a set: the time, and how many events are in it.
async fn set(store: &dyn Store, tag: SingleLetterTag, values: Vec<String>) -> Result<(Duration, usize), BenchError> {
    let scope = LedgerScope { filter: Filter::new().custom_tags(tag, values), at_home: false };
    let began = Instant::now();
    let (mut after, mut events) = (None, 0);
    loop {
        let page = store.ledger(&scope, after).await?;
        events += page.rows.len();
        after = page.rows.last().copied();
        if page.is_last || after.is_none() {
            return Ok((began.elapsed(), events));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_event_is_another_one_and_comments_name_issues_of_their_repository() {
        let rows: Vec<LedgerRow> = (0..2 * EVENTS_PER_FILTER).map(|number| row(number, UpstreamId(1))).collect();
        assert_eq!(rows.iter().map(|row| row.id).collect::<BTreeSet<_>>().len(), rows.len());
        let of = |row: &LedgerRow, tag| row.refs.iter().find(|one| one.tag == tag).map(|one| one.value.clone());
        let issues: BTreeSet<(String, Option<String>)> = rows
            .iter()
            .filter(|row| row.kind.as_u16() == 1621)
            .map(|row| (row.id.to_hex(), of(row, RefTag::Address)))
            .collect();
        assert_eq!(issues.len(), 2 * REPOS_PER_FILTER * ROOTS_PER_REPO);
        let comments = rows.iter().filter(|row| row.kind.as_u16() == 1111);
        let named: BTreeSet<(String, Option<String>)> =
            comments.filter_map(|row| Some((of(row, RefTag::RootEvent)?, of(row, RefTag::RootAddress)))).collect();
        assert_eq!(named, issues, "each issue has comments");
    }

    #[test]
    fn sizes_grow_tenfold_and_are_whole() {
        assert_eq!(sizes(1_000_000), [10_000, 100_000, 1_000_000]);
        assert_eq!(sizes(1), [10_000]);
        assert_eq!(sizes(150_001), [10_000, 20_000, 160_000]);
    }
}
